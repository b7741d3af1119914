"""Tests of the callbacks of every run."""

import math

import keras
import pytest

from experiments.runs import callbacks as callbacks_lib
from experiments.runs import event_files
from tf_mixup import callbacks


def read(directory):
    """Returns (tag, step, value) of the events in one directory."""
    return [
        (value.tag, event.step, pytest.approx(scalar(value)))
        for path in directory.glob("events.out.tfevents.*")
        for event in event_files.read(path)
        for value in event.summary.value
    ]


def scalar(value):
    import tensorflow as tf

    return float(tf.make_ndarray(value.tensor))


class TestEpochScalars:
    def test_writes_epochs_to_a_folder_for_each_set(self, tmp_path):
        scalars = callbacks_lib.EpochScalars(tmp_path)
        scalars.on_epoch_end(0, {"test_accuracy": 0.5})
        assert read(tmp_path / "test") == [("epoch_accuracy", 0, 0.5)]
        scalars.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.25})
        scalars.on_epoch_end(1, {"loss": 0.125, "val_ece": 0.75})
        scalars.on_train_end()
        assert read(tmp_path / "train") == [
            ("epoch_loss", 0, 0.5),
            ("epoch_loss", 1, 0.125),
        ]
        assert read(tmp_path / "validation") == [
            ("epoch_loss", 0, 0.25),
            ("epoch_ece", 1, 0.75),
        ]

    def test_leaves_what_monitors_write(self, tmp_path):
        # It would stand there twice, and confidence on noise as training's.
        monitor = callbacks.CalibrationMonitor()
        monitor.values = {"val_ece": 0.75, "noise_auroc": 0.5}
        scalars = callbacks_lib.EpochScalars(
            tmp_path, [keras.callbacks.Callback(), monitor]
        )
        scalars.on_epoch_end(0, {"loss": 0.5, "val_loss": 1} | monitor.values)
        scalars.on_train_end()
        assert read(tmp_path / "train") == [("epoch_loss", 0, 0.5)]
        assert read(tmp_path / "validation") == [("epoch_loss", 0, 1)]

    def test_an_epoch_is_on_the_disk_when_it_ends(self, tmp_path):
        scalars = callbacks_lib.EpochScalars(tmp_path)
        scalars.on_epoch_end(0, {"loss": 0.5})
        # Before `on_train_end`, which a kill does not reach.
        assert read(tmp_path / "train") == [("epoch_loss", 0, 0.5)]
        scalars.on_train_end()

    def test_makes_no_files_without_logs(self, tmp_path):
        scalars = callbacks_lib.EpochScalars(tmp_path)
        scalars.on_epoch_end(0)
        scalars.on_train_end()
        assert not any(tmp_path.iterdir())


class TestStopWhenDiverged:
    @pytest.mark.parametrize("name", ["loss", "val_loss"])
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_stops_with_a_sentence(self, name, value):
        with pytest.raises(ValueError, match="must stay finite") as caught:
            callbacks_lib.StopWhenDiverged().on_epoch_end(3, {name: value})
        assert f"Received: {name}={value} in epoch 3." in str(caught.value)
        assert "Lower --learning_rate" in str(caught.value)

    @pytest.mark.parametrize("logs", [None, {}, {"loss": 1e30, "ece": 0.1}])
    def test_lets_others_go_on(self, logs):
        callbacks_lib.StopWhenDiverged().on_epoch_end(0, logs)
