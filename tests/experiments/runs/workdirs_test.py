"""Tests of whose a workdir is, and of what its files claim to be."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from experiments.runs import atomic_files
from experiments.runs import checkpoint
from experiments.runs import config
from experiments.runs import gan
from experiments.runs import owner
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs import training
from experiments.runs import workdirs
from tf_mixup import mixing

CONFIG = config.Config(seed=3)
OTHER = dataclasses.replace(CONFIG, seed=5)
RECORD = {
    "config": CONFIG.to_json(),
    "results": {"test_ece": 0.5},
    "duration_seconds": 1.0,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Returns the bytes of a checkpoint of `CONFIG`."""
    folder = tmp_path_factory.mktemp("saved")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    saver = checkpoint.Checkpoint(folder, mixing.EpochCounter(), config=CONFIG)
    saver.restore(model)
    saver.set_model(model)
    saver.on_epoch_end(0, {"loss": 1.0})
    return (folder / "epoch-00001.npz").read_bytes()


def write_checkpoint(workdir, content):
    path = workdir / "checkpoints" / "epoch-00001.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def marked_with(workdir):
    return json.loads((workdir / "config.json").read_text())["seed"]


class TestClaim:
    def test_workdir_without_an_epoch_is_free(self, tmp_path):
        workdirs.claim(tmp_path, CONFIG)
        (tmp_path / "config.json").write_text("[]")
        workdirs.claim(tmp_path, OTHER)
        assert marked_with(tmp_path) == 5

    def test_record_alone_says_whose_it_is(self, tmp_path):
        atomic_files.write_json(tmp_path / "record.json", RECORD)
        workdirs.claim(tmp_path, CONFIG)
        with pytest.raises(ValueError, match="one config") as caught:
            workdirs.claim(tmp_path, OTHER)
        assert "whose record.json is another's (seed: 3 there, 5 asked)" in (
            str(caught.value)
        )

    def test_checkpoint_alone_says_whose_it_is(self, saved, tmp_path):
        write_checkpoint(tmp_path, saved)
        with pytest.raises(ValueError, match="seed: 3 there, 5 asked"):
            workdirs.claim(tmp_path, OTHER)
        # The attempt left no mark that would keep the owner out.
        workdirs.claim(tmp_path, CONFIG)
        assert marked_with(tmp_path) == 3
        with pytest.raises(ValueError, match=r"whose config\.json is"):
            workdirs.claim(tmp_path, OTHER)

    @pytest.mark.parametrize("text", ["[]", "{}", "3", '{"seed": 3', ""])
    def test_damaged_config_is_refused(self, text, saved, tmp_path):
        write_checkpoint(tmp_path, saved)
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"^config\.json must") as caught:
            workdirs.claim(tmp_path, CONFIG)
        assert "Delete this file and run the same" in str(caught.value)
        # As it says; the checkpoint knows.
        (tmp_path / "config.json").unlink()
        workdirs.claim(tmp_path, CONFIG)

    def test_fields_that_did_not_exist_have_their_default(self, tmp_path):
        record = json.loads(json.dumps(RECORD))
        del record["config"]["noise"]
        atomic_files.write_json(tmp_path / "record.json", record)
        atomic_files.write_json(tmp_path / "config.json", record["config"])
        workdirs.claim(tmp_path, CONFIG)

    @pytest.mark.parametrize("name", ["record.json", "config.json"])
    def test_fields_of_another_version_are_refused(self, name, tmp_path):
        fields = CONFIG.to_json() | {"not_yet": 1}
        atomic_files.write_json(tmp_path / "record.json", RECORD)
        value = RECORD | {"config": fields} if "record" in name else fields
        atomic_files.write_json(tmp_path / name, value)
        with pytest.raises(ValueError, match=f"{name} must .*'not_yet'"):
            workdirs.claim(tmp_path, CONFIG)


class TestTake:
    def test_owns_it_and_removes_partial_files(self, tmp_path):
        (tmp_path / f"{atomic_files.PARTIAL}7.npz").touch()
        with workdirs.take(tmp_path, CONFIG) as complete:
            assert not complete
            assert not list(tmp_path.glob(f"{atomic_files.PARTIAL}*"))
            partial = tmp_path / f"{atomic_files.PARTIAL}8.npz"
            partial.touch()
            with (
                pytest.raises(ValueError, match="has one owner"),
                workdirs.take(tmp_path, CONFIG),
            ):
                raise AssertionError
            assert partial.exists()

    @pytest.mark.parametrize(
        "fields",
        [{"dataset": "digits"}, {**gan.SETTING, "dataset": "points:ring"}],
    )
    def test_a_run_waits_for_another_owner(self, fields, tmp_path, monkeypatch):
        waited = []

        def hold(workdir, *, timeout):
            waited.append(timeout)
            raise ValueError("It is still held.")

        monkeypatch.setattr(owner, "hold", hold)
        with pytest.raises(ValueError, match="still held"):
            training.run(
                config.Config(**fields),
                tmp_path,
                run_data.Sources(owner_timeout=7),
            )
        assert waited == [7]

    def test_complete_run_needs_no_lock(self, tmp_path):
        atomic_files.write_json(tmp_path / "record.json", RECORD)
        with (
            owner.hold(tmp_path),
            workdirs.take(tmp_path, CONFIG) as complete,
        ):
            assert complete


class TestReadRecord:
    @pytest.mark.parametrize(
        "value",
        [
            *({}, [], 3, None, {"config": 3}, RECORD | {"config": {}}),
            RECORD | {"results": {}},
            *(RECORD | {"results": []}, RECORD | {"results": {"ece": "x"}}),
            RECORD | {"duration_seconds": None},
        ],
    )
    def test_what_is_no_record_is_refused(self, value, tmp_path):
        atomic_files.write_json(tmp_path / "record.json", value)
        message = r"^record\.json must be the record of a run\. Received: .*"
        with pytest.raises(ValueError, match=message + "Delete this file"):
            run_files.read_record(tmp_path)
        assert not run_files.is_complete(tmp_path, CONFIG)

    def test_is_of_the_config_asked_for(self, tmp_path):
        assert not run_files.is_complete(tmp_path, CONFIG)
        atomic_files.write_json(tmp_path / "record.json", RECORD)
        assert run_files.read_record(tmp_path, CONFIG) == RECORD
        assert run_files.is_complete(tmp_path, CONFIG)
        assert not run_files.is_complete(tmp_path, OTHER)


class TestCheckFile:
    def test_another_runs_file_is_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, one=np.arange(3))
        fields = {name: RECORD[name] for name in RECORD if name != "config"}
        record = run_files.write_record(
            tmp_path, CONFIG, ["a.npz", "absent.npz"], **fields
        )
        assert list(record[run_files.DIGESTS]) == ["a.npz"]
        assert run_files.check_file(path) == path
        np.savez(path, one=np.arange(4))
        with pytest.raises(ValueError, match="that this run wrote"):
            run_files.check_file(path)
        # Records that are older than digests name none.
        atomic_files.write_json(tmp_path / "record.json", RECORD)
        run_files.check_file(path)
