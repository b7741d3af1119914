"""Tests of several workers: alone, two on this host, and one killed."""

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.datasets import batches
from experiments.distributed import strategy as strategy_lib
from experiments.distributed import workers
from experiments.runs import atomic_files
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import optimizers
from experiments.runs import run_data
from tests.experiments.runs import training_test
from tf_mixup import callbacks
from tf_mixup import metrics

ROOT = pathlib.Path(__file__).resolve().parents[3]
TWO = ("a:1", "b:1")
CONFIG = config_lib.Config(
    width=4,
    epochs=1,
    num_train=128,
    num_validation=101,
    batch_size=16,
    learning_rate=0.01,
    schedule="constant",
    sync_batch_norm=True,
    strategy="multiworker",
)
LONGER = dataclasses.replace(
    CONFIG, epochs=4, sync_batch_norm=False, placement="model"
)
EVERY_STEPS = 3


def set_config(monkeypatch, cluster=None, task=None):
    cluster = {"worker": [*TWO]} if cluster is None else cluster
    task = {"type": "worker", "index": 1} if task is None else task
    text = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", text)


class TestReadCluster:
    def test_is_index_and_addresses(self, monkeypatch):
        set_config(monkeypatch)
        assert workers._read_cluster() == (1, [*TWO])

    def test_a_chief_comes_first(self, monkeypatch):
        cluster = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
        set_config(monkeypatch, cluster)
        assert workers._read_cluster() == (2, ["a:1", "b:1", "c:1"])
        set_config(monkeypatch, cluster, {"type": "chief", "index": 0})
        assert workers._read_cluster()[0] == 0

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"cluster": {}}', "3"])
    def test_refuses_what_is_no_config(self, monkeypatch, text):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="need `TF_CONFIG`") as caught:
            workers._read_cluster()
        assert "experiments.launch" in str(caught.value)

    @pytest.mark.parametrize(
        ("cluster", "task"),
        [
            ({"worker": [*TWO]}, {"type": "worker", "index": 2}),
            ({"worker": [*TWO]}, {"type": "worker", "index": -1}),
            ({"worker": [*TWO]}, {"type": "evaluator", "index": 0}),
            ({"worker": ["a:1", "a:1"]}, {"type": "worker", "index": 0}),
            ({"worker": ["a", "b"]}, {"type": "worker", "index": 0}),
            ({"worker": [*TWO], "ps": []}, {"type": "worker", "index": 0}),
        ],
    )
    def test_refuses_lists_that_do_not_match(self, monkeypatch, cluster, task):
        set_config(monkeypatch, cluster, task)
        with pytest.raises(ValueError, match="each worker's HOST:PORT once"):
            workers._read_cluster()


class TestJoin:
    def test_one_worker_needs_no_others(self, monkeypatch):
        set_config(
            monkeypatch, {"worker": ["a:1"]}, {"type": "worker", "index": 0}
        )
        strategy = strategy_lib.build_strategy("multiworker")
        assert strategy is tf.distribute.get_strategy()

    def test_refuses_another_keras(self, monkeypatch):
        set_config(monkeypatch)
        monkeypatch.setattr(keras, "version", lambda: "3.16.0")
        with pytest.raises(ValueError, match=r"Received: Keras 3\.16\.0"):
            workers.join()

    def test_refuses_several_gpus(self, monkeypatch):
        set_config(monkeypatch)
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: [kind] * 8
        )
        with pytest.raises(ValueError, match="8 visible ones") as caught:
            workers.join()
        assert "CUDA_VISIBLE_DEVICES" in str(caught.value)


class TestAlone:
    def test_is_the_chief_of_one(self):
        for name in ("none", "mirrored"):
            strategy = strategy_lib.build_strategy(name)
            assert workers.Workers.of(strategy) == workers.Workers()
        assert workers.Workers().is_chief
        assert workers.Workers().count == 1

    def test_gathers_its_own(self):
        rows = workers.Workers().gather([3, -1])
        np.testing.assert_array_equal(rows, [[3, -1]])

    def test_changes_nothing(self):
        alone = workers.Workers()
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        rows = tf.data.Dataset.range(3)
        assert alone.wrap(model) is model
        assert alone.detach(model) is model
        assert alone.distribute(rows) is rows
        assert alone.fold(7) == 7

    def test_errors_are_its_own(self):
        with (
            pytest.raises(tf.errors.UnavailableError),
            workers.Workers().ending_if_lost(),
        ):
            raise tf.errors.UnavailableError(None, None, "a disk")


class TestTwo:
    def test_seeds_differ(self):
        second = workers.Workers(1, TWO)
        third = workers.Workers(2, (*TWO, "c:1"))
        seeds = [0, 1]
        for each in (second, third):
            seeds += [each.fold(seed) for seed in (0, 1)]
        assert len({*seeds}) == 6
        assert second.fold(0) == workers.Workers(1, (*TWO, "c:1")).fold(0)

    def test_must_be_alike(self, monkeypatch):
        brought = []
        monkeypatch.setattr(
            workers.Workers,
            "gather",
            lambda self, numbers: np.array([*brought, numbers]),
        )
        second = workers.Workers(1, TWO)
        second.check_alike({"seed": 0, "alpha": 1.0})
        brought.append([1])
        with pytest.raises(ValueError, match="the same command") as caught:
            second.check_alike({"seed": 1})
        assert "here, in worker 1, {'seed': 1}" in str(caught.value)

    def test_ends_when_another_is_lost(self, caplog):
        strategy = tf.distribute.get_strategy()
        second = workers.Workers(1, TWO, strategy)
        words = "x\nCollective ops is aborted by: Socket closed\ny"
        with pytest.raises(SystemExit) as caught, second.ending_if_lost():
            raise tf.errors.UnavailableError(None, None, words)
        assert caught.value.code == workers.LOST == 75
        assert "Worker 1 lost another one (Socket closed)" in caplog.text

    def test_other_errors_stay(self):
        second = workers.Workers(1, TWO, tf.distribute.get_strategy())
        with pytest.raises(ValueError, match="mine"), second.ending_if_lost():
            raise ValueError("mine")


class TestShares:
    @pytest.mark.parametrize("num_rows", [2, 5, 8, 101, 999, 1000, 1001, 10007])
    @pytest.mark.parametrize("count", [2, 3, 32])
    def test_all_have_as_many_batches_and_rows_in_each(self, num_rows, count):
        if num_rows < count:
            with pytest.raises(
                ValueError, match=f"{num_rows} examples for {count}"
            ):
                batches.share_size(num_rows, 100, count)
            return
        size = batches.share_size(num_rows, 100, count)
        shares = [len(range(each, num_rows, count)) for each in range(count)]
        assert len({-(-share // size) for share in shares}) == 1
        assert size <= 150

    def test_training_batches_are_parts_of_the_whole(self):
        images = np.arange(40, dtype=np.float32)[:, None]
        labels = np.arange(40)

        def make(**share):
            mixup = model_setup.build_mixup(
                CONFIG, 40, strategy_lib.build_strategy("none")
            )
            return batches.training_batches(
                images,
                labels,
                batch_size=12,
                seed=0,
                augmentation="none",
                epoch_counter=mixup.epoch_counter,
                **share,
            )

        parts = [make(worker=each, workers=3) for each in range(3)]
        for whole, *shares in zip(make(), *parts, strict=True):
            joined = np.concatenate([rows for rows, _ in shares])
            np.testing.assert_array_equal(joined, whole[0])

    def test_evaluation_rows_are_dealt_out(self):
        rows = np.arange(11, dtype=np.float32)[:, None]
        found = []
        for worker in range(3):
            share = batches.evaluation_batches(
                rows, np.arange(11), batch_size=2, worker=worker, workers=3
            )
            assert len(share) == 2
            found += np.concatenate([x for x, _ in share])[:, 0].tolist()
        assert sorted(found) == list(range(11))


def free_port():
    """Returns a port; the one after it is most likely free, too."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def launch(workdir, config=CONFIG, every_steps=0):
    """Starts two workers by the launcher."""
    flags = training_test.flags_of(workdir, config, every_steps)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.launch", "--workers=2"),
            *(f"--port={free_port()}", "--", *flags),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(workdir, config=CONFIG, every_steps=0):
    process = launch(workdir, config, every_steps)
    words = process.communicate(timeout=600)[1]
    return process.returncode, words


def fit_alone(config):
    """Trains on what both workers read, in one process."""
    config = dataclasses.replace(config, strategy="none")
    splits = run_data.load_splits(config, run_data.Sources())
    strategy = strategy_lib.build_strategy("none")
    parts, stages = [], []
    for worker in range(2):
        mixup = model_setup.build_mixup(config, splits.num_classes, strategy)
        mixup.seed = workers.Workers(worker, TWO).fold(config.seed)
        stages.append(mixup)
        parts.append(
            batches.training_batches(
                *splits.train,
                batch_size=config.batch_size,
                seed=config.seed,
                augmentation="none",
                epoch_counter=mixup.epoch_counter,
                worker=worker,
                workers=2,
            ).apply(mixup)
        )
    both = tf.data.Dataset.zip(*parts).map(
        lambda one, two: tf.nest.map_structure(
            lambda *pair: tf.concat(pair, axis=0), one, two
        )
    )
    network = model_setup.build_network(config, splits)
    network.compile(
        optimizers.build_optimizer(config, len(both)),
        model_setup.build_loss(config),
        metrics=["accuracy", metrics.CalibrationMetrics(from_logits=True)],
    )
    network.fit(
        both,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.MixingSchedule(each) for each in stages],
    )
    return network, splits, stages[0]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Returns where two workers have trained."""
    workdir = tmp_path_factory.mktemp("workers") / "run"
    status, words = finish(workdir)
    assert status == 0, words
    return workdir


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Returns where two have trained longer, and nobody was killed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert finish(workdir, LONGER, EVERY_STEPS)[0] == 0
    return workdir


@pytest.mark.slow
class TestTwoWorkers:
    def test_train_as_one_process_on_the_same_rows(self, workdir):
        network, splits, mixup = fit_alone(CONFIG)
        path = workdir / "checkpoints" / "epoch-00001.npz"
        arrays = checkpoint._read(path)
        about = json.loads(arrays.pop(checkpoint.ABOUT).tobytes())
        history = about["history"]
        assert about["backend"] == "tensorflow"
        alone = checkpoint._state(network)
        for name, variable in zip(sorted(arrays), alone, strict=True):
            np.testing.assert_allclose(
                arrays[name], variable.numpy(), atol=1e-4, err_msg=name
            )
        trained = keras.models.load_model(workdir / "model.keras")
        network.set_weights(trained.get_weights())
        rows = batches.evaluation_batches(*splits.validation, batch_size=500)
        found = network.evaluate(
            rows.apply(mixup.evaluation), verbose=0, return_dict=True
        )
        for name, value in found.items():
            assert history[f"val_{name}"] == [pytest.approx(value, abs=1e-6)]

    def test_have_the_same_weights(self, workdir):
        one, two = (
            checkpoint._read(each / "checkpoints" / "epoch-00001.npz")
            for each in (workdir, workdir.with_name("run.worker-1"))
        )
        assert one.keys() == two.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, two[name])

    def test_the_chief_alone_writes_results(self, workdir):
        other = workdir.with_name("run.worker-1")
        names = sorted(path.name for path in other.iterdir())
        assert names == [atomic_files.LOCK, "checkpoints", "config.json"]
        record = atomic_files.read_json(workdir / "record.json")
        assert "test_ece" in record["results"]
        assert (workdir / "logs" / "validation").exists()


@pytest.mark.slow
class TestSurvival:
    def interrupt(self, workdir, number, *, everyone):
        """Sends a signal after the second epoch; returns code and words."""
        process = launch(workdir, LONGER, EVERY_STEPS)
        other = workdir.with_name("run.worker-1") / "checkpoints"
        while process.poll() is None and not [*other.glob("epoch-00002-*")]:
            time.sleep(0.01)
        if everyone:
            process.send_signal(number)
        else:
            os.kill(self.find_worker(workdir), number)
        sent = time.monotonic()
        words = process.communicate()[1]
        assert time.monotonic() - sent < 60
        return process.returncode, words

    def find_worker(self, workdir):
        """Returns the second worker's process."""
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                text = path.read_text(errors="replace")
                command = (path.parent / "cmdline").read_text()
            except OSError:
                continue
            if f"--workdir={workdir}" in command and '"index": 1' in text:
                return int(path.parent.name)
        raise AssertionError("There is no second worker.")

    def assert_same(self, workdir, whole):
        for end in ("run", "run.worker-1"):
            one, two = (
                checkpoint._read(
                    each.with_name(end) / "checkpoints" / "epoch-00004.npz"
                )
                for each in (workdir, whole)
            )
            assert one.keys() == two.keys()
            for name, array in one.items():
                np.testing.assert_array_equal(array, two[name])

    def test_a_killed_worker_ends_the_others(self, whole, tmp_path):
        workdir = tmp_path / "run"
        code, words = self.interrupt(workdir, signal.SIGKILL, everyone=False)
        assert code == 128 + signal.SIGKILL
        assert "Worker 0 lost another one" in words
        # As if the chief had been killed while it saved.
        newest = checkpoint.find(workdir / "checkpoints")[-1]
        newest.unlink()
        assert finish(workdir, LONGER, EVERY_STEPS)[0] == 0
        self.assert_same(workdir, whole)

    def test_all_save_themselves_when_asked_to_end(self, whole, tmp_path):
        workdir = tmp_path / "run"
        code, _ = self.interrupt(workdir, signal.SIGTERM, everyone=True)
        assert code == 143
        one, two = (
            checkpoint.find(each / "checkpoints")
            for each in (workdir, workdir.with_name("run.worker-1"))
        )
        assert [path.name for path in one] == [path.name for path in two]
        assert finish(workdir, LONGER, EVERY_STEPS)[0] == 0
        self.assert_same(workdir, whole)
