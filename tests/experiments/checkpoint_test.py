"""Tests of checkpoints, and of TensorBoard's files after a resume."""

import errno
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import checkpoint
from experiments import files
from experiments import optimizers
from experiments import summaries

EPOCHS = 4


def make_model(units=4):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    features = keras.layers.Dense(units)(inputs)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Dropout(0.5, seed=1)(features)
    model = keras.Model(inputs, keras.layers.Dense(2)(features))
    rate = keras.optimizers.schedules.CosineDecay(0.2, 3 * EPOCHS)
    model.compile(optimizers.SGDWithL2(rate, l2=0.1), "mse")
    return model


class StopAfter(keras.callbacks.Callback):
    """Ends a fit as a kill would, in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.now = None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise KeyboardInterrupt


def train(directory, *, stop_in=None, epochs=EPOCHS, units=4):
    """Starts, or goes on; returns weights, history and epochs restored."""
    model = make_model(units)
    saver = checkpoint.Checkpoint(directory)
    saver.restore(model)
    restored = saver.epochs_done
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    if restored < epochs:
        model.fit(
            x,
            x[:, :2],
            batch_size=4,
            epochs=epochs,
            initial_epoch=restored,
            shuffle=False,
            verbose=0,
            callbacks=[StopAfter(stop_in), saver],
        )
    weights = [variable.numpy() for variable in model.variables]
    return weights, saver.history, restored


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def assert_same(found, expected):
    assert found[1] == expected[1]
    for one, two in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns a directory and what an uninterrupted training gives."""
    directory = tmp_path_factory.mktemp("finished")
    return directory, train(directory)


@pytest.fixture
def damaged(finished, tmp_path):
    """Returns a directory with the last two checkpoints, to be damaged."""
    for path in finished[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


class TestCheckpoint:
    def test_keeps_two(self, finished):
        assert names(finished[0]) == ["epoch-00003.npz", "epoch-00004.npz"]

    def test_history_has_a_number_for_each_epoch(self, finished):
        history = finished[1][1]
        assert list(history) == ["loss"]
        assert len(history["loss"]) == EPOCHS

    @pytest.mark.parametrize("epoch", [0, 2])
    def test_interrupted_training_ends_the_same(
        self, epoch, finished, tmp_path
    ):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=epoch)
        resumed = train(tmp_path)
        assert resumed[2] == epoch
        assert_same(resumed, finished[1])

    def test_complete_training_is_only_restored(self, finished):
        restored = train(finished[0])
        assert restored[2] == EPOCHS
        assert_same(restored, finished[1])

    def test_starts_from_scratch_without_any(self, tmp_path, caplog):
        model = make_model()
        saver = checkpoint.Checkpoint(tmp_path / "missing")
        saver.restore(model)
        assert (saver.epochs_done, saver.history) == (0, {})
        assert not caplog.records


class TestDamage:
    @pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99, 1.0])
    def test_truncated_newest_ends_the_same(
        self, kept, finished, damaged, caplog
    ):
        path = damaged / "epoch-00004.npz"
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * (len(content) - 1))])
        with caplog.at_level(logging.WARNING):
            resumed = train(damaged)
        assert resumed[2] == EPOCHS - 1
        assert_same(resumed, finished[1])
        assert "epoch-00004.npz is damaged" in caplog.text

    def test_any_flipped_byte_is_found(self, damaged):
        path = damaged / "epoch-00004.npz"
        content = path.read_bytes()
        model = make_model()
        for offset in range(0, len(content), max(len(content) // 60, 1)):
            flipped = bytearray(content)
            flipped[offset] ^= 0x40
            path.write_bytes(flipped)
            saver = checkpoint.Checkpoint(damaged)
            saver.restore(model)
            assert saver.epochs_done == EPOCHS - 1, offset

    def test_without_a_whole_one_starts_from_scratch(
        self, finished, damaged, caplog
    ):
        for path in damaged.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
        with caplog.at_level(logging.WARNING):
            resumed = train(damaged)
        assert resumed[2] == 0
        assert "starting from scratch" in caplog.text
        assert_same(resumed, finished[1])

    def test_new_ones_replace_damaged_ones_of_later_epochs(self, damaged):
        for path in damaged.iterdir():
            path.write_bytes(b"")
        with pytest.raises(KeyboardInterrupt):
            train(damaged, stop_in=1)
        assert names(damaged) == ["epoch-00001.npz"]
        assert train(damaged)[2] == 1

    def test_another_network_is_refused(self, damaged):
        with pytest.raises(ValueError, match="must fit the model") as caught:
            train(damaged, units=5)
        assert "epoch-00004.npz" in str(caught.value)
        assert "another --workdir" in str(caught.value)

    def test_half_written_ones_are_not_looked_at(self, finished, damaged):
        (damaged / f"{files.PARTIAL}9.npz").write_bytes(b"PK")
        assert train(damaged)[2] == EPOCHS

    def test_full_disk_keeps_the_last_good_one(
        self, finished, tmp_path, monkeypatch
    ):
        def fail(path, *args, **arrays):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        train(tmp_path, epochs=2)
        before = names(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(np, "savez", fail)
            with pytest.raises(OSError, match="No space left") as caught:
                train(tmp_path)
        assert "epoch-00003.npz must be writable" in str(caught.value)
        assert names(tmp_path) == before
        assert_same(train(tmp_path), finished[1])


def steps_in(directory):
    """Returns (tag, step) of all events, in the order of their files."""
    return [
        (value.tag, event.step)
        for path in sorted(directory.rglob("events.out.tfevents.*"))
        for event in checkpoint._read_events(path)
        for value in event.summary.value
    ]


@pytest.fixture
def logs(tmp_path):
    """Returns a directory with scalars of epochs 0 to 3."""
    scalars = summaries.EpochScalars(tmp_path)
    for epoch in range(4):
        scalars.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 2.0})
    scalars.on_train_end()
    return tmp_path


class TestDropSummaries:
    def test_drops_steps_that_are_run_again(self, logs):
        checkpoint.drop_summaries(logs, from_step=2)
        expected = [("epoch_loss", 0), ("epoch_loss", 1)]
        assert steps_in(logs / "train") == expected
        assert steps_in(logs / "validation") == expected

    def test_files_stay_readable(self, logs):
        checkpoint.drop_summaries(logs, from_step=1)
        path = next((logs / "train").iterdir())
        events = list(tf.compat.v1.train.summary_iterator(str(path)))
        assert events[0].file_version == "brain.Event:2"
        assert len(events) == 2

    @pytest.mark.parametrize("lost", [1, 5, 60])
    def test_keeps_what_is_before_a_half_written_event(self, lost, logs):
        path = next((logs / "train").iterdir())
        path.write_bytes(path.read_bytes()[:-lost])
        checkpoint.drop_summaries(logs, from_step=3)
        assert steps_in(logs / "train") == [
            ("epoch_loss", step) for step in range(3)
        ]

    def test_empty_file_is_no_trouble(self, logs):
        path = next((logs / "train").iterdir())
        path.write_bytes(b"")
        checkpoint.drop_summaries(logs, from_step=9)
        assert steps_in(logs / "train") == []

    def test_missing_directory_is_no_trouble(self, tmp_path):
        checkpoint.drop_summaries(tmp_path / "logs", from_step=0)
