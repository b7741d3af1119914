"""Tests of TensorBoard's files after a resume, and after damage."""

import logging

import pytest
import tensorflow as tf

from experiments.runs import callbacks
from experiments.runs import event_files


def steps_in(directory):
    """Returns (tag, step) of all events, in the order of their files."""
    return [
        (value.tag, event.step)
        for path in sorted(directory.rglob("events.out.tfevents.*"))
        for event in event_files.read(path)
        for value in event.summary.value
    ]


@pytest.fixture
def logs(tmp_path):
    """Returns a directory with scalars of epochs 0 to 3."""
    scalars = callbacks.EpochScalars(tmp_path)
    for epoch in range(4):
        scalars.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 2.0})
    scalars.on_train_end()
    return tmp_path


class TestDropSteps:
    def test_drops_steps_that_are_run_again(self, logs):
        event_files.drop_steps(logs, from_step=2)
        expected = [("epoch_loss", 0), ("epoch_loss", 1)]
        assert steps_in(logs / "train") == expected
        assert steps_in(logs / "validation") == expected

    def test_files_stay_readable(self, logs):
        event_files.drop_steps(logs, from_step=1)
        path = next((logs / "train").iterdir())
        events = list(tf.compat.v1.train.summary_iterator(str(path)))
        assert events[0].file_version == "brain.Event:2"
        assert len(events) == 2

    @pytest.mark.parametrize("lost", [1, 5, 60])
    def test_keeps_what_is_before_a_half_written_event(self, lost, logs):
        path = next((logs / "train").iterdir())
        path.write_bytes(path.read_bytes()[:-lost])
        event_files.drop_steps(logs, from_step=3)
        assert steps_in(logs / "train") == [
            ("epoch_loss", step) for step in range(3)
        ]

    @pytest.mark.parametrize("offset", [0, 9, 12, 30, -1])
    def test_one_flipped_bit_loses_one_event(self, offset, logs, caplog):
        path = next((logs / "train").iterdir())
        content = bytearray(path.read_bytes())
        # The last four, of epochs 0 to 3, are of one size.
        last = tf.data.TFRecordDataset(str(path)).reduce("", lambda _, x: x)
        size = len(last.numpy()) + 16
        start, end = len(content) - 3 * size, len(content) - 2 * size
        content[(start if offset >= 0 else end) + offset] ^= 1
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            event_files.drop_steps(logs, from_step=9)
        assert steps_in(logs / "train") == [
            ("epoch_loss", step) for step in (0, 2, 3)
        ]
        assert f"in its bytes {start} to {end - 1} are lost" in caplog.text
        # What was written anew is whole.
        caplog.clear()
        event_files.drop_steps(logs, from_step=9)
        assert not caplog.records

    @pytest.mark.parametrize("content", [b"", b"A note, and no events."])
    def test_file_without_events_is_left_alone(self, content, logs):
        path = next((logs / "train").iterdir())
        path.write_bytes(content)
        event_files.drop_steps(logs, from_step=9)
        assert steps_in(logs / "train") == []
        assert path.read_bytes() == content

    def test_full_disk_leaves_the_file(self, logs, monkeypatch):
        class Full(tf.io.TFRecordWriter):
            def write(self, record):
                raise tf.errors.ResourceExhaustedError(None, None, "disk full")

        monkeypatch.setattr(tf.io, "TFRecordWriter", Full)
        with pytest.raises(OSError, match=r"must be writable.*disk full"):
            event_files.drop_steps(logs, from_step=2)
        assert len(steps_in(logs / "train")) == 4

    def test_missing_directory_is_no_trouble(self, tmp_path):
        event_files.drop_steps(tmp_path / "logs", from_step=0)
