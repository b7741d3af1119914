"""Tests of files that are whole or absent."""

import errno
import shutil

import numpy as np
import pytest

from experiments.runs import atomic_files


def fail(path):
    path.write_text("half of")
    raise OSError(errno.ENOSPC, "No space left on device")


class TestWriteAtomically:
    def test_makes_folders_and_the_file(self, tmp_path):
        path = tmp_path / "deep" / "down" / "file.txt"
        atomic_files.write_atomically(
            path, lambda partial: partial.write_text("new")
        )
        assert path.read_text() == "new"

    def test_gives_the_ending_of_the_file(self, tmp_path):
        names = []

        def write(partial):
            names.append(partial.name)
            partial.touch()

        atomic_files.write_atomically(tmp_path / "weights.npz", write)
        assert names[0].startswith(atomic_files.PARTIAL)
        assert names[0].endswith(".npz")

    def test_leaves_the_old_file_when_the_disk_is_full(self, tmp_path):
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(OSError, match="No space left on device"):
            atomic_files.write_atomically(path, fail)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_says_which_file_and_what_to_do(self, tmp_path):
        path = tmp_path / "file.txt"
        with pytest.raises(OSError, match="must be writable") as caught:
            atomic_files.write_atomically(path, fail)
        assert str(path) in str(caught.value)
        assert "Make room" in str(caught.value)

    def test_says_so_when_folders_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="must be writable"):
            atomic_files.write_json(tmp_path / "file" / "record.json", {})

    def test_passes_other_errors_on(self, tmp_path):
        def write(partial):
            raise KeyError("a bug")

        with pytest.raises(KeyError):
            atomic_files.write_atomically(tmp_path / "file.txt", write)
        assert not any(tmp_path.iterdir())

    def test_rights_are_those_of_a_plain_file(self, tmp_path):
        (tmp_path / "plain").touch()
        atomic_files.write_json(tmp_path / "json", {})
        modes = {path.stat().st_mode for path in tmp_path.iterdir()}
        assert len(modes) == 1


class TestRemovePartial:
    def test_removes_what_a_kill_left(self, tmp_path):
        (tmp_path / "logs" / "train").mkdir(parents=True)
        (tmp_path / "logs" / "train" / f"{atomic_files.PARTIAL}77.v2").touch()
        (tmp_path / f"{atomic_files.PARTIAL}77.npz").touch()
        whole = tmp_path / "epoch-00001.npz"
        whole.touch()
        # A workdir inside has an owner, who may be writing.
        inner = tmp_path / "inner" / f"{atomic_files.PARTIAL}78.npz"
        inner.parent.mkdir()
        inner.touch()
        inner.with_name(atomic_files.LOCK).touch()
        atomic_files.remove_partial(tmp_path)
        assert inner.exists()
        shutil.rmtree(inner.parent)
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == [whole]


class TestJson:
    def test_round_trip(self, tmp_path):
        value = {"history": {"loss": [0.1, 1 / 3]}, "name": "é"}
        atomic_files.write_json(tmp_path / "record.json", value)
        assert atomic_files.read_json(tmp_path / "record.json") == value

    @pytest.mark.parametrize("content", [b"", b'{"config": {"al', b"\xff{}"])
    def test_damage_names_the_remedy(self, content, tmp_path):
        path = tmp_path / "record.json"
        path.write_bytes(content)
        message = r"record\.json must be a whole JSON file\. Received: .*\."
        with pytest.raises(ValueError, match=message) as caught:
            atomic_files.read_json(path)
        assert "Delete this file and run the same" in str(caught.value)


class TestNpz:
    def test_round_trip(self, tmp_path):
        np.savez(tmp_path / "a.npz", one=np.arange(3), two=np.eye(2))
        found = atomic_files.read_npz(tmp_path / "a.npz")
        assert list(found) == ["one", "two"]
        np.testing.assert_array_equal(found["two"], np.eye(2))

    @pytest.mark.parametrize("kept", [0, 10, 200, -1])
    def test_damage_names_the_remedy(self, kept, tmp_path):
        path = tmp_path / "a.npz"
        np.savez_compressed(path, one=np.arange(1000))
        path.write_bytes(path.read_bytes()[:kept])
        message = r"a\.npz must be a whole \.npz file\. Received: .*\. Delete"
        with pytest.raises(ValueError, match=message):
            atomic_files.read_npz(path)


def test_text_may_name_any_file(tmp_path):
    path = tmp_path / "table.md"
    atomic_files.write_text(path, "Größe \udcff")
    assert path.read_text("utf-8") == "Größe \\udcff"
