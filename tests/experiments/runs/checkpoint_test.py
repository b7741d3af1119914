"""Tests of checkpoints: a stopped run ends as one that was not."""

import errno
import json
import logging
import os
import pathlib
import random
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.distributed import preemption
from experiments.distributed import strategy
from experiments.runs import atomic_files
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import optimizers
from tf_mixup import mixing

EPOCHS = 4
STEPS = 5
VALIDATION = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")


def make_model(units=4):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    features = keras.layers.Dense(units)(inputs)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Dropout(0.5, seed=1)(features)
    model = keras.Model(inputs, keras.layers.Dense(2)(features))
    rate = keras.optimizers.schedules.CosineDecay(0.02, STEPS * EPOCHS)
    model.compile(optimizers.SGDWithL2(rate, l2=0.1), "mse", metrics=["mae"])
    return model


def make_batches(clock):
    """Returns an epoch of batches, functions of the epoch and the step."""

    def draw(epoch, step):
        seed = tf.stack([epoch, step])
        x = tf.random.stateless_normal([4, 3], seed)
        return x, x[:, :2]

    return clock.positions(STEPS).map(draw)


class Announce(keras.callbacks.Callback):
    """Winds the clock, as `MixingSchedule` does."""

    def __init__(self, clock):
        super().__init__()
        self.epoch_counter = clock

    def on_train_begin(self, logs=None):
        self.epoch_counter.start_training(STEPS)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_counter.start_epoch(epoch)


class Interrupt(keras.callbacks.Callback):
    """Calls `act` within a step, or before validation if `step` is None."""

    def __init__(self, epoch, step, act):
        super().__init__()
        self.place = epoch, step
        self.act = act
        self.now = None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.place == (self.now, batch):
            self.act()

    def on_test_begin(self, logs=None):
        if self.place == (self.now, None):
            self.act()


def kill():
    raise KeyboardInterrupt


def train(
    directory, *, stop_in=None, epochs=EPOCHS, units=4, act=kill, **options
):
    """Starts, or goes on; returns weights, history and place restored."""
    clock = mixing.EpochCounter()
    model = make_model(units)
    saver = checkpoint.Checkpoint(directory, clock, **options)
    saver.restore(model)
    if saver.steps_done:
        model.evaluate(*VALIDATION, batch_size=4, verbose=0)
    if saver.epochs_done < epochs:
        epoch, step = stop_in if isinstance(stop_in, tuple) else (stop_in, 1)
        model.fit(
            make_batches(clock),
            validation_data=VALIDATION,
            validation_batch_size=4,
            epochs=epochs,
            initial_epoch=saver.epochs_done,
            verbose=0,
            shuffle=False,
            callbacks=[
                strategy.AverageMovingStatistics(),
                Announce(clock),
                Interrupt(epoch, step, act),
                saver,
            ],
        )
    weights = [
        copy.numpy()
        for variable in model.variables
        for copy in checkpoint._copies(model, variable)
    ]
    return weights, saver.history, (saver.epochs_done, saver.steps_done)


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
        assert list(history) == ["loss", "mae", "val_loss", "val_mae"]
        assert {len(values) for values in history.values()} == {EPOCHS}

    @pytest.mark.parametrize(
        "epoch", [pytest.param(0, marks=pytest.mark.slow), 2]
    )
    def test_interrupted_training_ends_the_same(
        self, epoch, finished, tmp_path
    ):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=epoch)
        resumed = train(tmp_path)
        assert resumed[2] == (epoch, 0)
        assert_same(resumed, finished[1])

    def test_complete_training_is_only_restored(self, finished):
        restored = train(finished[0])
        assert restored[2] == (EPOCHS, 0)
        assert_same(restored, finished[1])

    def test_starts_from_scratch_without_any(self, tmp_path, caplog):
        model = make_model()
        saver = checkpoint.Checkpoint(
            tmp_path / "missing", mixing.EpochCounter()
        )
        saver.restore(model)
        assert (saver.epochs_done, saver.history) == (0, {})
        assert not caplog.records


class TestSteps:
    @pytest.mark.parametrize(
        ("every", "stop_in", "restored"),
        [
            (1, (0, 0), (0, 0)),
            pytest.param(1, (0, 1), (0, 1), marks=pytest.mark.slow),
            pytest.param(2, (1, 3), (1, 2), marks=pytest.mark.slow),
            pytest.param(2, (1, 4), (1, 4), marks=pytest.mark.slow),
            pytest.param(STEPS, (2, 4), (2, 0), marks=pytest.mark.slow),
            (4, (EPOCHS - 1, None), (EPOCHS - 1, 4)),
        ],
    )
    def test_resumed_within_an_epoch_ends_the_same(
        self, every, stop_in, restored, finished, tmp_path
    ):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=stop_in, every_steps=every)
        resumed = train(tmp_path, every_steps=every)
        assert resumed[2] == restored
        assert_same(resumed, finished[1])

    @pytest.mark.slow
    def test_stopped_again_and_again_ends_the_same(self, finished, tmp_path):
        for place in [(1, 2), (1, 0), (1, 1), (3, 2)]:
            with pytest.raises(KeyboardInterrupt):
                # Counted from where the run goes on.
                train(tmp_path, stop_in=place, every_steps=1)
        assert names(tmp_path) == [
            "epoch-00003-step-0000001.npz",
            "epoch-00003-step-0000002.npz",
        ]
        assert_same(train(tmp_path), finished[1])
        assert names(tmp_path)[-1] == "epoch-00004.npz"

    @pytest.mark.slow
    def test_two_replicas_end_the_same(self, two_replicas, tmp_path):
        # Within an epoch they differ in moving statistics and sums.
        with two_replicas.scope():
            expected = train(tmp_path / "whole")
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "killed", stop_in=(1, 3), every_steps=2)
            resumed = train(tmp_path / "killed")
        assert resumed[2] == (1, 2)
        assert_same(resumed, expected)

    # Half precision is emulated on a processor.
    @pytest.mark.slow
    def test_scaled_loss_of_half_precision_ends_the_same(self, tmp_path):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            expected = train(tmp_path / "whole", epochs=2)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "killed", stop_in=(1, 3), every_steps=2)
            resumed = train(tmp_path / "killed", epochs=2)
        finally:
            keras.config.set_dtype_policy("float32")
        assert resumed[2] == (1, 2)
        assert_same(resumed, expected)

    @pytest.mark.slow
    def test_steps_between_checkpoints_may_change(self, finished, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=(2, 3), every_steps=2)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=(3, 3), every_steps=3)
        resumed = train(tmp_path, every_steps=4)
        assert resumed[2] == (3, 3)
        assert_same(resumed, finished[1])


class TestPreemption:
    @pytest.mark.parametrize(
        ("stop_in", "restored"),
        [
            ((1, 2), (1, 3)),
            pytest.param((0, 0), (0, 1), marks=pytest.mark.slow),
            pytest.param((1, None), (1, STEPS - 1), marks=pytest.mark.slow),
        ],
    )
    def test_saves_itself_and_ends_the_same(
        self, stop_in, restored, finished, tmp_path
    ):
        asked = preemption.Preemption()

        def ask():
            asked.asked = True

        with pytest.raises(SystemExit) as caught:
            train(tmp_path, stop_in=stop_in, act=ask, preemption=asked)
        assert caught.value.code == 143
        resumed = train(tmp_path, preemption=preemption.Preemption())
        assert resumed[2] == restored
        assert_same(resumed, finished[1])

    def test_end_is_postponed_while_training(self, tmp_path):
        asked = preemption.Preemption()
        seen = []
        train(
            tmp_path,
            epochs=1,
            stop_in=(0, 1),
            act=lambda: seen.append(asked.postponed),
            preemption=asked,
        )
        assert seen == [True]
        assert not asked.postponed


class TestDamage:
    @pytest.mark.parametrize(
        "kept",
        [
            1.0,
            *(
                pytest.param(kept, marks=pytest.mark.slow)
                for kept in (0.0, 0.01, 0.5, 0.99)
            ),
        ],
    )
    def test_truncated_newest_ends_the_same(
        self, kept, finished, damaged, caplog
    ):
        path = damaged / "epoch-00004.npz"
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * (len(content) - 1))])
        with caplog.at_level(logging.WARNING):
            resumed = train(damaged)
        assert resumed[2] == (EPOCHS - 1, 0)
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
            saver = checkpoint.Checkpoint(damaged, mixing.EpochCounter())
            saver.restore(model)
            assert saver.epochs_done == EPOCHS - 1, offset

    def test_without_a_whole_one_starts_from_scratch(
        self, finished, damaged, caplog
    ):
        for path in damaged.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
        with caplog.at_level(logging.WARNING):
            resumed = train(damaged)
        assert resumed[2] == (0, 0)
        assert "starting from scratch" in caplog.text
        assert_same(resumed, finished[1])

    @pytest.mark.slow
    def test_new_ones_replace_damaged_ones_of_later_epochs(self, damaged):
        for path in damaged.iterdir():
            path.write_bytes(b"")
        with pytest.raises(KeyboardInterrupt):
            train(damaged, stop_in=1)
        assert names(damaged) == ["epoch-00001.npz"]
        assert train(damaged)[2] == (1, 0)

    def test_another_network_is_refused(self, damaged):
        with pytest.raises(ValueError, match="must fit the model") as caught:
            train(damaged, units=5)
        assert "epoch-00004.npz" in str(caught.value)
        assert "another --workdir" in str(caught.value)

    def test_another_backends_is_refused(self, damaged):
        path = checkpoint.find(damaged)[-1]
        rewrite(path, path, backend="torch")
        message = "Set KERAS_BACKEND=torch, or take another --workdir"
        with pytest.raises(ValueError, match=message):
            train(damaged)

    def test_half_written_ones_are_not_looked_at(self, finished, damaged):
        (damaged / f"{atomic_files.PARTIAL}9.npz").write_bytes(b"PK")
        assert train(damaged)[2] == (EPOCHS, 0)

    def test_truncated_anywhere_the_other_one_serves(self, damaged, caplog):
        generator = random.Random(0)
        model = make_model()
        contents = {path: path.read_bytes() for path in damaged.iterdir()}
        first, second = sorted(contents)
        for kept in [[first], [second], []] * 20:
            for path, content in contents.items():
                size = len(content)
                if path not in kept:
                    size = generator.randrange(size)
                path.write_bytes(content[:size])
            saver = checkpoint.Checkpoint(damaged, mixing.EpochCounter())
            caplog.clear()
            saver.restore(model)
            done = int(kept[0].stem[-5:]) if kept else 0
            assert saver.epochs_done == done
            assert ("is damaged" in caplog.text) == (kept != [second])

    @pytest.mark.slow
    def test_damaged_newer_one_does_not_push_out_a_good_one(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=(1, 4), every_steps=2)
        (tmp_path / "epoch-00001-step-0000004.npz").write_bytes(b"")
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=(2, 1))
        assert names(tmp_path) == [
            "epoch-00001-step-0000002.npz",
            "epoch-00002.npz",
        ]

    @pytest.mark.parametrize(
        ("owner", "name", "number"),
        [
            (np, "savez", errno.ENOSPC),
            *(
                pytest.param(*owner, number, marks=pytest.mark.slow)
                for owner in ((os, "fsync"), (pathlib.Path, "replace"))
                for number in (errno.ENOSPC, errno.EROFS)
            ),
        ],
    )
    def test_failed_write_keeps_the_last_good_one(
        self, owner, name, number, finished, tmp_path, monkeypatch
    ):
        def fail(path, *args, **arrays):
            if name == "savez":
                path.write_bytes(b"half")
            raise OSError(number, os.strerror(number))

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_in=(2, 3), every_steps=2)
        before = names(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match=os.strerror(number)) as caught:
                train(tmp_path, every_steps=2)
        assert "step-0000004.npz must be writable" in str(caught.value)
        assert names(tmp_path) == before
        assert_same(train(tmp_path), finished[1])


CONFIG = config_lib.Config(seed=3)


def rewrite(source, path, **changes):
    """Writes a checkpoint that says something else of itself."""
    arrays = checkpoint._read(source)
    about = json.loads(arrays.pop(checkpoint.ABOUT).tobytes()) | changes
    if changes != {"format": None}:
        text = json.dumps(about).encode()
        arrays[checkpoint.ABOUT] = np.frombuffer(text, np.uint8)
    checkpoint._write(path, arrays)


class TestIdentity:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"format": None}, "which has no format version"),
            ({"format": 1}, "of format 1, which is not 2"),
            ({"config": CONFIG.to_json()}, r"\(seed: 3 there, 0 asked\)"),
            ({}, "which is a copy of epoch-00004.npz"),
        ],
    )
    def test_foreign_ones_are_passed_over_and_kept(
        self, changes, reason, damaged, caplog
    ):
        config = config_lib.Config()
        for path in checkpoint.find(damaged):
            rewrite(path, path, config=config.to_json())
        stray = damaged / "epoch-00099.npz"
        rewrite(damaged / "epoch-00004.npz", stray, position=(99, 0))
        rewrite(damaged / "epoch-00004.npz", stray, **changes)
        if "config" in changes:
            rewrite(stray, stray, position=(99, 0))
        (damaged / "epoch-00004.npz").unlink()
        model = make_model()

        def restore():
            clock = mixing.EpochCounter()
            saver = checkpoint.Checkpoint(damaged, clock, config=config)
            saver.restore(model)
            saver.set_model(model)
            return saver

        with caplog.at_level(logging.WARNING):
            saver = restore()
        assert (saver.epochs_done, saver.steps_done) == (EPOCHS - 1, 0)
        saver.on_epoch_end(EPOCHS - 1, {"loss": 1.0})
        assert names(damaged) == [
            *(f"epoch-0000{epoch}.npz" for epoch in (3, 4)),
            stray.name,
        ]
        assert re.search(reason, caplog.text)
        assert caplog.text.count("Passed over a checkpoint") == 1
        # With none of its own the run is not started anew over them.
        for path in checkpoint.find(damaged):
            if path != stray:
                path.unlink()
        with pytest.raises(ValueError, match="must be of its run") as caught:
            restore()
        assert re.search(reason, str(caught.value))
        assert "move this file away" in str(caught.value)

    def test_other_names_are_ignored_with_a_warning(
        self, finished, damaged, caplog
    ):
        strays = ["epoch-00099", "epoch-5.npz", "epoch-best.npz"]
        for name in strays:
            (damaged / name).write_bytes(b"stray")
        (damaged / "epoch-00005.npz").mkdir()
        with caplog.at_level(logging.WARNING):
            assert train(damaged)[2] == (EPOCHS, 0)
        assert caplog.text.count("Ignored what is no checkpoint") == 1
        for name in strays:
            assert name in caplog.text
            assert (damaged / name).exists()
