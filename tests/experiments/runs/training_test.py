"""Tests of whole runs: killed, damaged, misused, on two replicas."""

import collections
import dataclasses
import errno
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets
from experiments.analysis import posthoc
from experiments.analysis import records
from experiments.distributed import strategy as strategy_lib
from experiments.runs import atomic_files
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import event_files
from experiments.runs import outputs
from experiments.runs import run_data
from experiments.runs import run_evaluation
from experiments.runs import run_files
from experiments.runs import training
from experiments.runs import tuning
from experiments.runs import workdirs
from tf_mixup import callbacks

ROOT = pathlib.Path(__file__).resolve().parents[3]
EPOCHS = 4
CONFIG = config_lib.Config(
    width=4,
    dropout=0.2,
    epochs=EPOCHS,
    num_train=256,
    num_validation=100,
    batch_size=64,
    learning_rate=0.05,
    schedule="cosine",
    ood_every=2,
    test_each_epoch=True,
)
# Prepended to the program: what is done there is followed by a kill.
KILL = "import os, signal; kill = lambda: os.kill(os.getpid(), 9)\n"
WHILE_A_CHECKPOINT_IS_WRITTEN = f"""{KILL}
import numpy as np
savez, calls = np.savez, []
def save(path, *args, **arrays):
    savez(path, *args, **arrays)
    calls.append(path)
    if len(calls) == NUMBER:
        os.truncate(path, path.stat().st_size // 2)
        kill()
np.savez = save
"""
WHILE_EVENTS_ARE_REWRITTEN = f"""{KILL}
import tensorflow as tf
class Writer(tf.io.TFRecordWriter):
    def write(self, record):
        super().write(record)
        self.flush()
        kill()
tf.io.TFRecordWriter = Writer
"""
WHILE_PREDICTIONS_ARE_WRITTEN = f"""{KILL}
import numpy as np
def save(path, **arrays):
    path.write_bytes(b"PK")
    kill()
np.savez_compressed = save
"""
ASK_TO_END = """
import os, signal
from experiments.runs import checkpoint
begin = checkpoint.Checkpoint.on_train_batch_begin
def ask(self, batch, logs=None):
    if (self._epoch, batch) == (1, 3):
        os.kill(os.getpid(), signal.SIGTERM)
    begin(self, batch, logs)
checkpoint.Checkpoint.on_train_batch_begin = ask
"""
PROGRAM = """
from experiments import _entry
from experiments import train
_entry.start(train.main, train.define_flags)
"""


def flags_of(workdir, config, every_steps=0):
    """Returns a command's flags, with a flag for each field of the config."""
    flags = [
        f"--workdir={workdir}",
        "--verbose=0",
        f"--checkpoint_every_steps={every_steps}",
    ]
    for name, value in config.to_json().items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no{name}")
        elif value is not None:
            if isinstance(value, list):
                value = ",".join(map(str, value))
            flags.append(f"--{name}={value}")
    return flags


def start(workdir, before="", config=CONFIG, every_steps=0):
    """Starts the binary as a process of its own."""
    flags = flags_of(workdir, config, every_steps)
    return subprocess.Popen(
        [sys.executable, "-c", before + PROGRAM, *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(workdir, before="", config=CONFIG):
    """Runs the binary to its end; returns its exit status and words."""
    process = start(workdir, before, config)
    words = process.communicate(timeout=1000)[1]
    return process.returncode, words


def finish_well(workdir, config=CONFIG):
    status, words = finish(workdir, config=config)
    assert status == 0, words
    return words


def epochs_done(workdir):
    """Returns the newest epoch on the disk, 0 before the first."""
    found = checkpoint.find(workdir / workdirs.CHECKPOINTS)
    return checkpoint._position(found[-1])[0] if found else 0


def kill_after(process, workdir, *, epochs, delay, number=signal.SIGKILL):
    """Kills a process some seconds after it has saved an epoch."""
    while process.poll() is None and epochs_done(workdir) < epochs:
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)
    sent = time.monotonic()
    process.communicate()
    assert time.monotonic() - sent < 30
    return process.returncode


def truncate(path, generator):
    os.truncate(path, generator.randrange(path.stat().st_size))


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def read_events(workdir):
    """Returns (folder, tag, step) -> value of all events, each once."""
    found = collections.Counter()
    values = {}
    for path in (workdir / "logs").rglob("events.out.tfevents.*"):
        for event in event_files.read(path):
            for value in event.summary.value:
                key = path.parent.name, value.tag, event.step
                found[key] += 1
                values[key] = value.tensor.SerializeToString()
    assert set(found.values()) == {1}, found.most_common(5)
    return values


def read_arrays(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def assert_same_run(workdir, expected):
    """Asserts that a workdir holds the same results, bit by bit."""
    one, two = (
        atomic_files.read_json(each / "record.json")
        for each in (workdir, expected)
    )
    for name in ("config", "results", "history", "trainable_parameters"):
        assert one[name] == two[name]
    last = f"checkpoints/epoch-{one['config']['epochs']:05d}.npz"
    for name in ("predictions.npz", last):
        found, wanted = (
            read_arrays(each / name) for each in (workdir, expected)
        )
        assert set(found) == set(wanted)
        for key, values in wanted.items():
            np.testing.assert_array_equal(found[key], values)
    weights = [
        keras.models.load_model(each / "model.keras").get_weights()
        for each in (workdir, expected)
    ]
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert read_events(workdir) == read_events(expected)
    assert not list(workdir.rglob(f"{atomic_files.PARTIAL}*"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Returns the workdir of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("reference")
    finish_well(workdir)
    return workdir


@pytest.fixture
def complete(reference, tmp_path):
    """Returns a copy of that workdir, to be spoiled."""
    return shutil.copytree(reference, tmp_path / "complete")


class TestWorkdir:
    def test_history_has_every_epoch(self, reference):
        record = atomic_files.read_json(reference / "record.json")
        history = record["history"]
        assert {"loss", "val_ece", "val_oe", "uniform_auroc"} <= set(history)
        assert len(history["loss"]) == len(history["val_ece"]) == EPOCHS
        measured = record["results"]["test_accuracy"]
        assert len(history["test_accuracy"]) == EPOCHS
        assert history["test_accuracy"][-1] == pytest.approx(measured)
        # Looked at in every second epoch.
        assert len(history["uniform_auroc"]) == EPOCHS // 2

    def test_events_have_every_epoch(self, reference):
        events = read_events(reference)
        for folder, tag in (
            ("train", "epoch_loss"),
            ("validation", "epoch_loss"),
            ("validation", "calibration/ece"),
        ):
            steps = [key[2] for key in events if key[:2] == (folder, tag)]
            assert sorted(steps) == list(range(EPOCHS))
        steps = [key[2] for key in events if key[1] == "ood/uniform_auroc"]
        assert sorted(steps) == [1, 3]

    def test_record_tells_what_made_it(self, reference):
        record = atomic_files.read_json(reference / "record.json")
        assert config_lib.Config.from_json(record["config"]) == CONFIG
        assert set(record["versions"]) == set(training.PACKAGES)
        assert record["duration_seconds"] > 0
        network = keras.models.load_model(reference / "model.keras")
        assert record["trainable_parameters"] == sum(
            variable.numpy().size for variable in network.trainable_variables
        )

    def test_saved_model_gives_the_saved_predictions(self, reference):
        splits = run_data.load_splits(CONFIG, run_data.Sources())
        network = keras.models.load_model(reference / "model.keras")
        saved = outputs.read(reference / run_files.PREDICTIONS)
        found = run_evaluation.predict_logits(network, splits.test.inputs)
        np.testing.assert_allclose(found, saved.logits["test"], atol=1e-5)
        np.testing.assert_array_equal(saved.labels["test"], splits.test.labels)
        accuracy = (found.argmax(-1) == splits.test.labels).mean()
        results = atomic_files.read_json(reference / "record.json")["results"]
        assert results["test_accuracy"] == pytest.approx(accuracy)

    def test_figures_are_drawn(self, reference):
        names = {path.name for path in (reference / "figures").iterdir()}
        assert names == {"reliability.png", "confidence.png"}

    def test_complete_run_is_not_run_again(self, complete, monkeypatch):
        monkeypatch.setattr(run_data, "load_splits", None)
        # Readers need no lock.
        (complete / atomic_files.LOCK).unlink()
        before = {path: path.stat().st_mtime_ns for path in complete.rglob("*")}
        record = training.run(CONFIG, complete)
        assert record == atomic_files.read_json(complete / "record.json")
        for path, modified in before.items():
            assert path.stat().st_mtime_ns == modified

    def test_another_config_is_refused(self, complete):
        config = dataclasses.replace(CONFIG, alpha=0.4, seed=1)
        with pytest.raises(ValueError, match="belongs to one config") as caught:
            training.run(config, complete)
        message = str(caught.value)
        assert "(alpha: 0.2 there, 0.4 asked, seed: 0 there, 1" in message
        assert "Take another --workdir, or delete this one." in message

    def test_truncated_record_is_refused(self, complete):
        path = complete / "record.json"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ValueError, match=r"record\.json must be a whole"):
            training.run(CONFIG, complete)

    def test_changed_files_are_refused(self, complete):
        for name, read in (
            ("predictions.npz", outputs.read),
            ("model.keras", lambda path: posthoc.load_model(path.parent)),
        ):
            read(complete / name)
            flip_byte(complete / name)
            message = f"{name} must be the file that this run wrote"
            with pytest.raises(ValueError, match=message) as caught:
                read(complete / name)
            assert "Delete it and the record.json beside" in str(caught.value)

    def test_unknown_network_is_refused(self, tmp_path):
        config = dataclasses.replace(CONFIG, network="resnet999")
        with pytest.raises(ValueError, match="`network` must be one of"):
            training.run(config, tmp_path)


class TestKill:
    @pytest.mark.slow
    def test_killed_run_ends_as_if_it_had_not_been(self, reference, tmp_path):
        second = WHILE_A_CHECKPOINT_IS_WRITTEN.replace("NUMBER", "2")
        status, _ = finish(tmp_path, second)
        assert status == -signal.SIGKILL
        assert len(list(tmp_path.rglob(f"{atomic_files.PARTIAL}*.npz"))) == 1
        assert len(checkpoint.find(tmp_path / "checkpoints")) == 1
        finish_well(tmp_path)
        assert_same_run(tmp_path, reference)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"alpha": 1.0, "tuning": "follow"}, id="tunes_alpha"),
            pytest.param(
                {"method": "erm", "learning_rate": 0.3, "restore_best": True},
                id="keeps_its_best_weights",
            ),
        ],
    )
    def test_killed_run_keeps_what_callbacks_know(self, tmp_path, changes):
        config = dataclasses.replace(CONFIG, **changes)
        finish_well(tmp_path / "whole", config=config)
        killed = tmp_path / "killed"
        second = WHILE_A_CHECKPOINT_IS_WRITTEN.replace("NUMBER", "3")
        status, _ = finish(killed, second, config)
        assert status == -signal.SIGKILL
        finish_well(killed, config=config)
        assert_same_run(killed, tmp_path / "whole")

    @pytest.mark.slow
    def test_killed_and_the_newest_damaged(self, reference, tmp_path):
        process = start(tmp_path, every_steps=1)
        status = kill_after(
            process,
            tmp_path,
            epochs=EPOCHS - 1,
            delay=random.uniform(0, 0.3),
        )
        assert status == -signal.SIGKILL
        # A disk that lies: the one before must do.
        flip_byte(checkpoint.find(tmp_path / "checkpoints")[-1])
        words = finish_well(tmp_path)
        assert "is damaged (its digest is another)" in words
        assert_same_run(tmp_path, reference)

    @pytest.mark.slow
    def test_killed_as_it_goes_on(self, reference, tmp_path):
        second = WHILE_A_CHECKPOINT_IS_WRITTEN.replace("NUMBER", "2")
        for moment in (second, WHILE_EVENTS_ARE_REWRITTEN):
            status, _ = finish(tmp_path, moment)
            assert status == -signal.SIGKILL
        assert list((tmp_path / "logs").rglob(f"{atomic_files.PARTIAL}*"))
        finish_well(tmp_path)
        assert_same_run(tmp_path, reference)

    @pytest.mark.slow
    def test_killed_after_the_last_epoch(self, reference, complete):
        (complete / "record.json").unlink()
        status, _ = finish(complete, WHILE_PREDICTIONS_ARE_WRITTEN)
        assert status == -signal.SIGKILL
        finish_well(complete)
        assert_same_run(complete, reference)

    @pytest.mark.slow
    def test_preempted_run_saves_itself(self, reference, tmp_path):
        status, words = finish(tmp_path, ASK_TO_END)
        assert status == 143
        assert "SIGTERM in epoch 1; the same command goes on." in words
        assert "Traceback" not in words
        names = [
            path.name for path in checkpoint.find(tmp_path / "checkpoints")
        ]
        assert names == ["epoch-00001.npz", "epoch-00001-step-0000003.npz"]
        finish_well(tmp_path)
        assert_same_run(tmp_path, reference)

    @pytest.mark.slow
    def test_twenty_kills(self, tmp_path):
        config = dataclasses.replace(CONFIG, epochs=60)
        finish_well(tmp_path / "reference", config)
        workdir = tmp_path / "killed"
        generator = random.Random(0)
        # A life ends early, amid a save, when asked to, or at any moment.
        for number in range(20):
            kind = ("early", "save", "ask", "any")[number % 4]
            amid_save = WHILE_A_CHECKPOINT_IS_WRITTEN.replace(
                "NUMBER", str(generator.randint(1, 8))
            )
            done = epochs_done(workdir)
            process = start(
                workdir,
                amid_save if kind == "save" else "",
                config,
                every_steps=generator.randint(1, 3),
            )
            if kind == "save":
                process.communicate()
                status = process.returncode
            else:
                status = kill_after(
                    process,
                    workdir,
                    epochs=done + (kind != "early"),
                    delay=generator.uniform(0, 8 if kind == "early" else 0.5),
                    number=signal.SIGTERM if kind == "ask" else signal.SIGKILL,
                )
            assert status == (143 if kind == "ask" else -signal.SIGKILL)
            if number % 5 == 4:
                # The third time there is no good one left.
                found = checkpoint.find(workdir / "checkpoints")
                for path in found if number == 14 else found[-1:]:
                    truncate(path, generator)
        finish_well(workdir, config)
        assert_same_run(workdir, tmp_path / "reference")


class TestFailure:
    @pytest.mark.slow
    def test_full_disk_keeps_the_last_good_one(self, reference, complete):
        (complete / "record.json").unlink()
        last = complete / "checkpoints" / f"epoch-{EPOCHS:05d}.npz"
        # No file may be as large as the last checkpoint.
        size = last.stat().st_size - 1
        last.unlink()
        # Nor are TensorBoard's files in the way of this.
        shutil.rmtree(complete / "logs")
        limit = (
            "import resource\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        )
        status, words = finish(complete, limit)
        assert status == 1
        assert "Traceback" not in words
        assert f"{last.name} must be writable. Received: " in words
        assert "run the same command again" in words
        assert not list(complete.rglob(f"{atomic_files.PARTIAL}*"))
        shutil.rmtree(complete / "logs")
        shutil.copytree(reference / "logs", complete / "logs")
        finish_well(complete)
        assert_same_run(complete, reference)

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
    def test_each_file_may_fail_once(self, number, tmp_path, monkeypatch):
        sources = run_data.Sources(checkpoint_every_steps=1)
        expected = training.run(SHORT, tmp_path / "whole", sources)
        write, failed = atomic_files.write_atomically, set()

        def fail_once(path, writer):
            def fail(partial):
                partial.write_bytes(b"half")
                raise OSError(number, os.strerror(number))

            first = path not in failed
            failed.add(path)
            write(path, fail if first else writer)

        monkeypatch.setattr(atomic_files, "write_atomically", fail_once)
        record, words = None, []
        while record is None:
            try:
                record = training.run(SHORT, tmp_path / "failing", sources)
            except OSError as error:
                words.append(str(error))
        assert len(words) == len(failed)
        for each in words:
            assert "must be writable" in each
            assert os.strerror(number) in each
        names = {path.name for path in failed}
        assert {"config.json", "model.keras", "record.json"} < names
        assert "epoch-00000-step-0000001.npz" in names
        for name in ("results", "history"):
            assert record[name] == expected[name]

    def test_diverging_run_stops_in_words(self, tmp_path):
        config = dataclasses.replace(
            CONFIG, learning_rate=1e12, schedule="constant", ood_every=0
        )
        with pytest.raises(
            ValueError, match=r"must (be distributions|stay finite)"
        ) as caught:
            training.run(config, tmp_path)
        assert "earning" in str(caught.value)
        epochs = checkpoint.find(tmp_path / "checkpoints")
        assert len(epochs) < EPOCHS
        for path in epochs:
            for values in read_arrays(path).values():
                assert np.isfinite(values).all()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"ood": ("folder:typo",)}, "typo"),
            ({"ood": ("typo.npz",)}, r"OOD file must exist.*typo\.npz"),
            ({"ood": ("typo",)}, "must be one of .*'typo'"),
            ({"mc_passes": 2, "dropout": 0.0}, "must have a dropout layer"),
        ],
    )
    def test_what_is_read_after_training_is_checked_before(
        self, changes, message, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(keras.Model, "fit", None)
        config = dataclasses.replace(CONFIG, ood_every=0, **changes)
        sources = run_data.Sources(data_dir=str(tmp_path))
        with pytest.raises((ValueError, OSError), match=message):
            training.run(config, tmp_path / "run", sources)
        # Nothing was done: the workdir is free for the right config.
        workdirs.claim(tmp_path / "run", CONFIG)


SHORT = dataclasses.replace(
    CONFIG,
    epochs=1,
    dropout=0.0,
    num_train=128,
    num_validation=101,
    learning_rate=0.01,
    ood_every=0,
    placement="host",
)


def train(workdir, **changes):
    """Returns the network's weights and the history of a short run."""
    config = dataclasses.replace(SHORT, **changes)
    keras.utils.set_random_seed(config.seed)
    sources = run_data.Sources()
    splits = run_data.load_splits(config, sources)
    strategy = strategy_lib.build_strategy(config.strategy)
    sets = run_data.load_ood(config, splits, sources)
    network, history = training.train(
        config, splits, sets, workdir, sources, strategy
    )
    logits = run_evaluation.predict_logits(network, splits.test.inputs)
    return network.get_weights(), history, logits


@pytest.fixture(scope="module")
def on_the_host(tmp_path_factory):
    return train(tmp_path_factory.mktemp("host"))


def assert_close(found, expected):
    for one, two in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    assert set(found[1]) == set(expected[1])
    for name, values in expected[1].items():
        np.testing.assert_allclose(found[1][name], values, atol=1e-3)
    np.testing.assert_allclose(found[2], expected[2], atol=1e-3)


class TestTrain:
    def test_mixing_inside_the_model_gives_the_same(
        self, on_the_host, tmp_path
    ):
        assert_close(train(tmp_path, placement="model"), on_the_host)

    @pytest.mark.slow
    def test_two_replicas_give_the_same(self, on_the_host, tmp_path):
        # 101 rows of validation do not divide among two.
        found = train(tmp_path, strategy="mirrored", sync_batch_norm=True)
        assert_close(found, on_the_host)

    @pytest.mark.slow
    def test_two_replicas_reach_the_same_accuracy(self, tmp_path):
        # Each with its own batch statistics, so not the same weights.
        longer = {"epochs": 10, "num_train": 0, "learning_rate": 0.1}
        accuracies = [
            [
                train(
                    tmp_path / f"{strategy}{seed}",
                    strategy=strategy,
                    seed=seed,
                    **longer,
                )[1]["val_accuracy"][-1]
                for seed in range(3)
            ]
            for strategy in ("none", "mirrored")
        ]
        assert np.min(accuracies) > 0.8
        one, two = np.mean(accuracies, axis=1)
        assert two == pytest.approx(one, abs=0.03)

    @pytest.mark.slow
    def test_averages_take_the_weights_place_at_the_end(
        self, on_the_host, tmp_path
    ):
        found = train(tmp_path, ema=0.5)
        # Validation saw the weights themselves.
        assert found[1] == on_the_host[1]
        moved = [
            np.abs(one - two).max()
            for one, two in zip(found[0], on_the_host[0], strict=True)
        ]
        assert max(moved) > 1e-4

    @pytest.mark.slow
    def test_a_run_killed_after_its_last_epoch_averages_too(self, tmp_path):
        found, again = (train(tmp_path, ema=0.5) for _ in range(2))
        for one, two in zip(again[0], found[0], strict=True):
            np.testing.assert_array_equal(one, two)

    def test_batches_that_replicas_cannot_share_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="Write --batch_size=64"):
            train(tmp_path, strategy="mirrored", batch_size=63)

    def test_policy_is_given_back(self, tmp_path, monkeypatch):
        def fail(*args):
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise ValueError("stop here")

        monkeypatch.setattr(run_data, "load_splits", fail)
        config = dataclasses.replace(SHORT, precision="mixed_bfloat16")
        with pytest.raises(ValueError, match="stop here"):
            training.run(config, tmp_path)
        assert keras.config.dtype_policy().name == "float32"

    @pytest.mark.slow
    def test_epochs_on_the_disk_survive_a_full_disk(
        self, tmp_path, monkeypatch
    ):
        def fail(self, step):
            raise tf.errors.ResourceExhaustedError(None, None, "disk is full")

        monkeypatch.setattr(
            training.callbacks.CalibrationMonitor, "write", fail
        )
        with pytest.raises(tf.errors.ResourceExhaustedError):
            train(tmp_path)
        assert not checkpoint.find(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def unmixed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("erm"), method="erm")


class TestRestoreBest:
    def test_result_is_that_of_the_lowest_validation_loss(
        self, tmp_path, monkeypatch
    ):
        losses = iter([0.7, 0.5, 0.6])

        class Written(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_loss"] = next(losses)
                weights.append(self.model.get_weights())

        weights: list = []
        monkeypatch.setattr(training.callbacks_lib, "StopWhenDiverged", Written)
        found, history, _ = train(tmp_path, epochs=3, restore_best=True)
        assert history["val_loss"] == [0.7, 0.5, 0.6]
        for one, two in zip(found, weights[1], strict=True):
            np.testing.assert_array_equal(one, two)
        assert not np.array_equal(found[0], weights[2][0])

    def test_averaged_weights_are_refused(self):
        message = "does not see averaged weights.*Leave one of them out"
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(SHORT, ema=0.9, restore_best=True)


class TestTuning:
    def test_alpha_follows_the_gap_of_half_the_validation_set(self, tmp_path):
        _, history, _ = train(
            tmp_path, alpha=1.0, tuning="follow", epochs=2, num_validation=200
        )
        seen = callbacks.Observation(
            gap=history["val_signed_gap"][0],
            standard_error=history["val_signed_gap_error"][0],
            progress=0.5,
            learning_rate=1.0,
            num_epochs=2,
        )
        change = tuning.RULES["follow"](seen)
        wanted = min(max(math.exp(change), 0.01), 1.0)
        assert history["alpha"] == [1.0, pytest.approx(wanted)]

    def test_camixup_starts_without_mixing(self, tmp_path):
        _, history, _ = train(
            tmp_path,
            alpha=0.4,
            per="class",
            tuning="camixup",
            epochs=2,
            num_validation=200,
        )
        assert history["alpha"][0] == 0
        # The mean over ten classes, each with alpha 0 or 0.4.
        num_mixed = history["alpha"][1] / 0.04
        assert num_mixed == pytest.approx(round(num_mixed), abs=1e-4)

    def test_reported_examples_are_others(self):
        config = dataclasses.replace(SHORT, tuning="follow")
        splits = run_data.load_splits(config, run_data.Sources())
        tuned, reported = run_data.split_validation(config, splits)
        parts = tuned.validation, reported.validation
        assert [len(each.labels) for each in parts] == [51, 50]
        assert len(parts[0].without(parts[1]).labels) == 51
        for each in (tuned, reported):
            assert len(each.test.labels) == len(splits.test.labels)

    def test_fixed_alpha_has_the_whole_validation_set(self):
        splits = run_data.load_splits(SHORT, run_data.Sources())
        assert run_data.split_validation(SHORT, splits) == (splits, splits)


class TestMethods:
    # Stages alone are what `building` makes; hidden layers and neighbors
    # are wired in training.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"method": "cutmix"}, id="cutmix"),
            pytest.param({"method": "regmixup"}, id="regmixup"),
            pytest.param({"num_points": 3}, id="points"),
            pytest.param(
                {"mix_layers": ("stage1", "stage2"), "placement": "auto"},
                id="mix_layers",
            ),
            pytest.param(
                {"neighbors": 3, "partner": "same_class", "mix": "inputs"},
                id="smote",
            ),
        ],
    )
    @pytest.mark.parametrize("alpha", [1.0, 0.0])
    def test_alpha_decides_whether_rows_are_mixed(
        self, unmixed, tmp_path, changes, alpha
    ):
        mixed = train(tmp_path, alpha=alpha, **changes)
        if not alpha:
            assert_close(mixed, unmixed)
            return
        assert np.abs(mixed[2] - unmixed[2]).max() > 0.01
        assert np.isfinite(mixed[1]["loss"]).all()

    def test_more_neighbors_than_a_class_has_are_refused(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"k=100 with .* examples in class"
        ):
            train(tmp_path, neighbors=100, partner="same_class")

    def test_noise_is_in_units_of_the_data(self):
        config = dataclasses.replace(SHORT, noise=0.5)
        splits = run_data.load_splits(config, run_data.Sources())
        noise = run_data.scale_noise(config, splits)
        deviation = splits.train.inputs.std()
        np.testing.assert_allclose(noise, 0.5 * deviation, rtol=0.1)

    def test_hidden_layers_are_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"Choose .*'stage1'"):
            train(tmp_path, mix_layers=("stage9",), placement="auto")


class TestAugmentation:
    @pytest.mark.parametrize(
        ("dataset", "expected"),
        [
            *(("digits", False), ("mnist", False), ("svhn_cropped", False)),
            *(("cifar10", True), ("folder:PATH", True)),
        ],
    )
    def test_digits_are_not_mirrored(
        self, monkeypatch, tmp_path, dataset, expected
    ):
        class StopError(Exception):
            pass

        def note(*args, flip, **options):
            raise StopError(flip)

        monkeypatch.setattr(training.batches, "training_batches", note)
        splits = datasets.make_placeholder("digits")
        config = dataclasses.replace(SHORT, dataset=dataset)
        with pytest.raises(StopError, match=str(expected)):
            training.train(
                *(config, splits, {}, tmp_path, run_data.Sources()),
                tf.distribute.get_strategy(),
            )


class TestLoadOod:
    @pytest.mark.parametrize("asked", [{"ood": ("mnist",)}, {"ood_every": 1}])
    def test_sets_are_for_images(self, asked):
        config = config_lib.Config(dataset="gaussians:0.25", network="mlp")
        splits = datasets.make_placeholder(config.dataset)
        assert run_data.load_ood(config, splits, run_data.Sources()) == {}
        asking = dataclasses.replace(config, **asked)
        with pytest.raises(ValueError, match=r"for images.*'gaussians:0.25'"):
            run_data.load_ood(asking, splits, run_data.Sources())

    def test_are_named_as_the_ledger_names_them(self, tmp_path):
        rows = np.zeros((3, 8, 8), np.uint8)
        np.savez(tmp_path / "blank.npz", image=rows)
        folder = tmp_path / "away" / "images"
        folder.mkdir(parents=True)
        keras.utils.save_img(folder / "one.png", np.zeros((8, 8, 1)))
        config = config_lib.Config(ood=("folder:away/images", "blank.npz"))
        sets = run_data.load_ood(
            config,
            datasets.make_placeholder(config.dataset),
            run_data.Sources(data_dir=str(tmp_path)),
        )
        assert list(sets) == ["gaussian", "uniform", "images", "blank"]
        run = records.Record(config, "", {"images_auroc": 0.5})
        assert run.value("other_auroc") == 0.5
