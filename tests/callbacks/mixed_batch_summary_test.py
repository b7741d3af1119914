"""Tests of the picture of a mixed batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import stages
from tf_mixup import calibration
from tf_mixup import callbacks
from tf_mixup import mixing
from tf_mixup import plots


def make_batch():
    generator = np.random.default_rng(0)
    return (
        generator.integers(0, 256, (8, 6, 6, 3), dtype="uint8"),
        np.arange(8) % 4,
    )


def make_tuned():
    mixup = mixing.MixUp("auto", num_classes=4)
    mixup.set_alpha(0.25)
    return mixup


def read_tags(folder):
    """Returns tag -> steps of all event files below a folder."""
    found: dict[str, list[int]] = {}
    for path in folder.glob("**/events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def read_counts(folder, tag):
    """Returns the counts of a histogram's buckets, for each time written."""
    return [
        tf.make_ndarray(value.tensor)[:, 2]
        for path in folder.glob("**/events*")
        for record in tf.data.TFRecordDataset(str(path))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
        if value.tag == tag
    ]


def draw():
    return plots.reliability_diagram(
        calibration.bin_predictions([0], [[0.5, 0.5]])
    )


class TestReplay:
    def test_is_what_training_saw(self):
        batches = tf.data.Dataset.from_tensors(make_batch()).repeat(3)
        mixup = mixing.MixUp(0.4, num_classes=4, seed=2, per="example")
        mixed = batches.apply(mixup)
        for epoch in range(2):
            for step, (x, y) in enumerate(mixed):
                replay = mixup.replay(make_batch(), epoch=epoch, step=step)
                # XLA rounds once where plain operations round twice.
                np.testing.assert_allclose(replay.inputs, x, rtol=1e-6)
                np.testing.assert_array_equal(replay.targets, y)

    @pytest.mark.parametrize("places", [0, 1])
    def test_shows_the_plan(self, places):
        mixup = stages.make_stage(
            num_classes=4, seed=2, mix="inputs", places=places
        )
        replay = mixup.replay(make_batch(), epoch=1, step=5)
        x = make_batch()[0].astype("float32")
        lam = replay.lam.numpy()[:, None, None, None]
        expected = lam * x + (1 - lam) * x[replay.partner]
        np.testing.assert_allclose(replay.inputs, expected, rtol=1e-5)
        assert set(np.unique(replay.targets)) == {0, 1}


class TestCoefficients:
    @pytest.mark.parametrize("options", [{"num_points": 3}, {"per": "example"}])
    def test_are_those_of_the_steps(self, options):
        mixup = stages.make_stage(num_classes=4, seed=2, **options)
        lam = mixup.coefficients(make_batch(), epoch=1, steps=3)
        for step in range(3):
            replay = mixup.replay(make_batch(), epoch=1, step=step)
            np.testing.assert_array_equal(lam[step], replay.lam)

    def test_obey_the_schedule(self):
        mixup = mixing.MixUp(0.4, num_classes=4, seed=2)
        mixup.restrict(1, None)
        lam = [
            mixup.coefficients(make_batch(), epoch=epoch, steps=4).numpy()
            for epoch in range(2)
        ]
        assert (lam[0] == 1).all()
        assert (lam[1] < 1).any()


class TestMixedBatchSummary:
    def test_histogram_is_of_all_steps(self, tmp_path):
        # Outside of `fit` the length of an epoch is not known.
        mixup = mixing.MixUp(1.0, num_classes=4, seed=0)
        callback = callbacks.MixedBatchSummary(mixup, make_batch(), tmp_path)
        callback.on_epoch_end(0)
        callback.set_params({"steps": 3})
        callback.on_epoch_end(1)
        callback.on_train_end()
        long, short = read_counts(tmp_path, "mixup/lam")
        assert long.sum() == 256 * 8
        # Beta(1, 1) is uniform: no bucket of 30 is likely to stay empty.
        assert (long > 0).all()
        assert short.sum() == 3 * 8
        assert read_tags(tmp_path)["mixup/coefficients"] == [0, 1]

    @pytest.mark.parametrize(
        ("stage", "expected"),
        [
            (lambda: mixing.MixUp(0.4, num_classes=4), 0.4),
            (lambda: mixing.CutMix(num_classes=4), None),
            (lambda: mixing.MixUp(0.4, num_classes=4, num_points=3), 0.4),
            (lambda: mixing.MixUp(0.4, num_classes=4, probability=0.5), None),
            (make_tuned, 0.25),
            (lambda: mixing.MixUp(lambda *_: 0.4, num_classes=4), None),
            (
                lambda: mixing.MixUp(0.4, num_classes=4, include_clean=True),
                None,
            ),
            (
                lambda: mixing.MixUp(
                    0.4, num_classes=4, per=mixing.SimilarityKernel()
                ),
                None,
            ),
        ],
    )
    def test_line_is_of_an_alpha_that_all_draws_have(
        self, stage, expected, tmp_path, monkeypatch
    ):
        drawn = []
        monkeypatch.setattr(
            plots,
            "mixing_coefficients",
            lambda _, alpha: drawn.append(alpha) or draw(),
        )
        callback = callbacks.MixedBatchSummary(stage(), make_batch(), tmp_path)
        callback.on_epoch_end(0)
        callback.mixup.restrict(1, None)
        callback.on_epoch_end(0)
        callback.on_train_end()
        assert drawn == [pytest.approx(expected) if expected else None, None]

    def test_given_partners_are_shown_as_partners(self, tmp_path, monkeypatch):
        shown = []
        monkeypatch.setattr(
            plots,
            "mixed_batch",
            lambda *args, **_: shown.append(args) or draw(),
        )
        mixup = mixing.MixUp(0.4, num_classes=4, seed=0, partner="given")
        callback = callbacks.MixedBatchSummary(mixup, make_batch(), tmp_path)
        callback.on_epoch_end(0)
        ((sources, partners, mixed, lam),) = shown
        x = make_batch()[0]
        np.testing.assert_array_equal(sources, x[:4])
        np.testing.assert_array_equal(partners, x[4:])
        assert len(mixed) == len(lam) == 4

    def test_writes_pictures(self, tmp_path):
        mixup = mixing.MixUp(0.4, num_classes=4, seed=0)
        inputs = keras.Input((6, 6, 3))
        model = keras.Model(
            inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
        )
        model.compile("sgd", "mse")
        model.fit(
            tf.data.Dataset.from_tensors(make_batch()).apply(mixup),
            epochs=4,
            verbose=0,
            callbacks=[
                callbacks.MixingSchedule(mixup),
                callbacks.MixedBatchSummary(
                    mixup, make_batch(), tmp_path, freq=2
                ),
            ],
        )
        tags = read_tags(tmp_path)
        assert tags["mixup/mixed_batch"] == [1, 3]
        assert tags["mixup/lam"] == [1, 3]

    @pytest.mark.parametrize("num_points", [2, 4])
    def test_partners_are_shown_as_they_were_mixed(
        self, num_points, tmp_path, monkeypatch
    ):
        shown = []
        draw = plots.mixed_batch

        def look(*batches, **options):
            shown.append([np.asarray(batch) for batch in batches])
            return draw(*batches, **options)

        monkeypatch.setattr(plots, "mixed_batch", look)
        mixup = mixing.MixUp(
            1.0, num_classes=4, seed=0, num_points=num_points, per="example"
        )
        callback = callbacks.MixedBatchSummary(mixup, make_batch(), tmp_path)
        callback.on_epoch_end(0)
        callback.on_train_end()
        ((own, partners, mixed, lam),) = shown
        lam = lam[:, None, None, None]
        expected = lam * own + (1 - lam) * partners
        np.testing.assert_allclose(mixed, expected, atol=1e-3)
        assert read_tags(tmp_path)["mixup/lam"] == [0]

    def test_rejects_what_is_no_image(self, tmp_path):
        mixup = mixing.MixUp(0.4, num_classes=4)
        images = np.zeros((8, 4, 4))
        for batch in (
            (images[0], np.zeros(8)),
            (images,),
            images,
            {"x": images},
        ):
            with pytest.raises(ValueError, match=r"must be \(x, y\) with one"):
                callbacks.MixedBatchSummary(mixup, batch, tmp_path)

    def test_rejects_what_is_no_stage(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"a mixing stage\. Received: a fl"
        ):
            callbacks.MixedBatchSummary(0.2, make_batch(), tmp_path)

    def test_rejects_every_below_one(self, tmp_path):
        mixup = mixing.MixUp(0.4, num_classes=4)
        with pytest.raises(ValueError, match="freq=0"):
            callbacks.MixedBatchSummary(mixup, make_batch(), tmp_path, freq=0)
