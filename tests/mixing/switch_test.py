"""Tests of MixUpOrCutMix: one of two stages for each batch."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup import callbacks
from tf_mixup import mixing

CLASSES = 4


def make_stage(probability=0.5, **options):
    return mixing.MixUpOrCutMix(
        mixing.MixUp(0.8, num_classes=CLASSES, seed=3, **options),
        mixing.CutMix(1.0, num_classes=CLASSES, seed=4, **options),
        switch_probability=probability,
    )


def make_batches(count=12):
    # Each image is one gray value of its own: CutMix keeps values, mixup not.
    values = np.arange(4 * count, dtype="uint8")
    images = np.tile(values[:, None, None, None], (1, 9, 9, 1))
    data = tf.data.Dataset.from_tensor_slices((images, values % CLASSES))
    return data.batch(4)


def read(dataset):
    return [tf.nest.map_structure(np.array, batch) for batch in dataset]


class TestBatches:
    def test_each_batch_is_mixed_by_one_of_both(self):
        stage, plain = make_stage(), make_batches()
        both = [plain.apply(stage.mixup), plain.apply(stage.cutmix)]
        kinds = []
        for found, *expected in zip(
            read(plain.apply(stage)), *map(read, both), strict=True
        ):
            same = [all(map(np.array_equal, found, each)) for each in expected]
            assert sum(same) == 1
            kinds.append(same.index(True))
        assert set(kinds) == {0, 1}

    @pytest.mark.parametrize("probability", [0, 1])
    def test_ends_of_the_probability(self, probability):
        stage, plain = make_stage(probability), make_batches()
        expected = stage.cutmix if probability else stage.mixup
        tf.nest.map_structure(
            np.testing.assert_array_equal,
            read(plain.apply(stage)),
            read(plain.apply(expected)),
        )

    def test_probability_is_that_of_batches(self):
        stage = make_stage(0.25)
        seen = [
            mixing_kind(stage, epoch, step)
            for epoch in range(10)
            for step in range(20)
        ]
        assert abs(np.mean(seen) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 200)

    def test_coefficients_are_those_of_the_steps(self):
        stage = make_stage()
        batch = next(iter(make_batches()))
        lam = stage.coefficients(batch, epoch=1, steps=4)
        for step in range(4):
            replay = stage.replay(batch, epoch=1, step=step)
            np.testing.assert_array_equal(lam[step], replay.lam)

    def test_pictures_of_mixed_batches(self, tmp_path):
        batch = next(iter(make_batches()))
        callback = callbacks.MixedBatchSummary(make_stage(), batch, tmp_path)
        callback.on_epoch_end(0)
        callback.on_train_end()
        assert list(tmp_path.rglob("events*"))

    def test_epochs_and_the_schedule(self):
        stage, plain = make_stage(), make_batches()
        mixed = plain.apply(stage)
        first, second = read(mixed), read(mixed)
        assert any(
            not np.array_equal(one[1], two[1])
            for one, two in zip(first, second, strict=True)
        )
        schedule = callbacks.MixingSchedule(stage, warmup_epochs=1)
        assert schedule.mixup is stage
        stage.restrict(5, None)
        for (x, _), (z, _) in zip(read(mixed), read(plain), strict=True):
            np.testing.assert_array_equal(x, z)

    def test_evaluation_and_pickles(self):
        stage, plain = make_stage(), make_batches()
        for (x, y), (z, labels) in zip(
            read(plain.apply(stage.evaluation)), read(plain), strict=True
        ):
            np.testing.assert_array_equal(x, z)
            np.testing.assert_array_equal(y, np.eye(CLASSES)[labels])
        stage.num_parallel_calls = 2
        again = pickle.loads(pickle.dumps(stage))
        assert again.num_parallel_calls == 2
        tf.nest.map_structure(
            np.testing.assert_array_equal,
            read(plain.apply(again)),
            read(plain.apply(stage)),
        )
        assert repr(again) == repr(stage)


def mixing_kind(stage, epoch, step):
    """Returns 1 if the stage gives a position to CutMix."""
    position = tf.constant(epoch, tf.int64), tf.constant(step, tf.int64)
    return int(
        stage._switch(position, lambda: tf.constant(1), lambda: tf.constant(0))
    )


class TestRefusals:
    def test_stages_of_other_kinds(self):
        mixup, cutmix = mixing.MixUp(1.0), mixing.CutMix()
        for pair in ((cutmix, mixup), (mixup, mixup), (cutmix, cutmix)):
            with pytest.raises(ValueError, match="a `MixUp` and a `CutMix`"):
                mixing.MixUpOrCutMix(*pair)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_classes": 3}, "labels of Labels"),
            ({"num_points": 3}, "num_points=3"),
            ({"include_clean": True}, "include_clean of True and False"),
            ({"partner": "given"}, "partner='given' and 'random'"),
        ],
    )
    def test_batches_of_other_forms(self, options, message):
        with pytest.raises(ValueError, match=message):
            mixing.MixUpOrCutMix(mixing.MixUp(1.0, **options), mixing.CutMix())

    def test_probability(self):
        with pytest.raises(ValueError, match="switch_probability=2"):
            make_stage(2)

    def test_a_stage_that_mixes_in_a_model(self):
        with pytest.raises(ValueError, match="num_places=1"):
            mixing.MixUpOrCutMix(
                mixing.MixUp(1.0).send_plans(), mixing.CutMix()
            )


def test_takes_over_the_window_of_mixup():
    mixup = mixing.MixUp(0.4, num_classes=3, seed=0)
    mixup.restrict(2, 5)
    stage = mixing.MixUpOrCutMix(mixup, mixing.CutMix(num_classes=3))
    assert stage.window == stage.cutmix.window == (2, 5)
