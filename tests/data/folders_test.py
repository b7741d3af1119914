"""Tests of what counts as a class and as a file of a labeled folder."""

import logging
import os

import pytest

from tf_mixup._data import folders

# As a user, an archive or a system may name a class.
ODD_NAMES = ("猫", "hot dog", "_x", "$a$", "a%b", "a\nb", "x.png", b"\xff\xe9")


def write(folder, *names):
    for name in names:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


class TestListing:
    def test_hidden_folders_are_no_classes(self, tmp_path):
        write(
            tmp_path,
            *("cat/a.png", "ant/b.JPG", ".git/c.png", "__MACOSX/cat/d.png"),
            *(".ipynb_checkpoints/e.png", "@eaDir/f.png", "root.png"),
        )
        assert folders.class_names(tmp_path) == ["ant", "cat"]
        assert folders.class_names(tmp_path / "no") == []

    def test_files_of_any_depth_without_hidden_ones(self, tmp_path):
        write(
            tmp_path,
            *("a-b/1.png", "a/images/2.JPEG", "a/1.webp", "a/Thumbs.db"),
            *("a/._1.png", "a/.DS_Store", "a/.cache/3.png", "a/x.TIF", "a/y"),
        )
        paths, left_out = folders.find_files(tmp_path, relative=True)
        assert paths == ["a/1.webp", "a/images/2.JPEG", "a-b/1.png"]
        assert left_out == ["a/x.TIF", "a/y"]

    def test_a_link_to_a_folder_above_ends(self, tmp_path):
        write(tmp_path, "a/1.png")
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        (tmp_path / "b").symlink_to(tmp_path / "a")
        found = folders.find_labeled(tmp_path, folders.class_names(tmp_path))
        assert [os.path.relpath(path, tmp_path) for path in found.paths] == [
            *("a/1.png", "b/1.png"),
        ]

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_is_found_encoded_and_shown(self, tmp_path, name):
        raw = os.fsencode(name)
        write(tmp_path, raw + b"/" + raw + b".png", "zz/1.png")
        names = folders.class_names(tmp_path)
        assert sorted(map(os.fsencode, names)) == sorted((raw, b"zz"))
        found = folders.find_labeled(tmp_path, names)
        label = names.index(os.fsdecode(raw))
        assert found.labels.tolist() == [0, 1]
        path = folders.encode(found.paths)[label]
        with open(path, "rb") as file:
            assert file.read() == b"x"
        shown = folders.printable(found.paths[label])
        assert shown.encode("utf-8").decode("utf-8").isprintable()

    def test_classes_keep_the_numbers_that_are_asked_for(self, tmp_path):
        write(tmp_path, "a/1.png", "c/1.png", "c/2.png")
        found = folders.find_labeled(tmp_path, ["c", "b", "a"])
        assert found.labels.tolist() == [0, 0, 2]


class TestLeftOut:
    def test_one_line_counts_the_types(self, tmp_path, caplog):
        write(tmp_path, "a.tif", "b.TIF", "c", "d.png")
        left_out = folders.find_files(tmp_path).left_out
        with caplog.at_level(logging.WARNING):
            folders.log_left_out(tmp_path, left_out)
            folders.log_left_out(tmp_path, [])
        (record,) = caplog.records
        assert record.getMessage() == (
            f"{tmp_path}: 3 files of other types were left out: 2 .tif,"
            " 1 without suffix."
        )
