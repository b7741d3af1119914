"""Coefficients by the similarity of each pair."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import mixing
from tf_mixup import testing
from tf_mixup.mixing import similarity

NUM_CLASSES = 4


def make_batch(size=16):
    """Returns images of four brightnesses, and their classes."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, NUM_CLASSES, size)
    images = generator.normal(60 * labels[:, None], 20, (size, 12))
    images = images.clip(0, 255).reshape(size, 2, 2, 3)
    return images.astype("uint8"), labels


def make_stage(width=0.5, alpha=1.0, **options):
    return mixing.MixUp(
        alpha,
        per=mixing.SimilarityKernel(width),
        **{"num_classes": NUM_CLASSES, "seed": 3} | options,
    )


def replay(stage, batch, step=0):
    return stage.replay(batch, epoch=0, step=step)


class TestKernel:
    def test_by_hand(self):
        # |1 - 4|^2 = 9 twice and 0 once: a mean of 6, so d = 1.5, 1.5, 0.
        distance = similarity.measure_distance(
            (tf.constant([[1.0], [4.0], [7.0]]),), tf.constant([1, 0, 2])
        )
        np.testing.assert_allclose(distance, [1.5, 1.5, 0], rtol=1e-6)
        # exp(-0.5 / 2) and exp(1 / 2).
        np.testing.assert_allclose(
            similarity.gaussian(distance, 1.0),
            np.exp([-0.25, -0.25, 0.5]),
            rtol=1e-6,
        )

    @pytest.mark.parametrize("width", [0.25, 1.25])
    def test_against_reference(self, width):
        images, _ = make_batch()
        partner = np.random.default_rng(1).permutation(len(images))
        distance = similarity.measure_distance(
            (tf.constant(images),), tf.constant(partner, tf.int32)
        )
        np.testing.assert_allclose(
            similarity.gaussian(distance, width),
            reference.similarity(images, partner, width),
            rtol=1e-4,
        )

    def test_is_one_for_an_infinite_width(self):
        kernel = similarity.gaussian(tf.constant([0.0, 1.0, 50.0]), 1e6)
        np.testing.assert_allclose(kernel, 1, rtol=1e-6)

    def test_stays_finite_for_the_least_width(self):
        kernel = similarity.gaussian(tf.constant([0.0, 1.0, 2.0]), 1e-30)
        np.testing.assert_allclose(kernel, [1e12, 1, 1e-12], rtol=1e-4)

    def test_equal_examples_are_at_distance_0(self):
        distance = similarity.measure_distance(
            (tf.ones([3, 2]),), tf.constant([1, 2, 0])
        )
        np.testing.assert_array_equal(distance, 0)


class TestCoefficients:
    @pytest.mark.parametrize("alpha", [0.4, 1.0])
    def test_follow_beta_of_tau(self, alpha):
        stage, batch = make_stage(alpha=alpha), make_batch(200)
        uniform = []
        for step in range(5):
            lam, partner, *_ = replay(stage, batch, step)
            tau = alpha * reference.similarity(batch[0], partner, 0.5)
            own = partner == np.arange(len(tau))
            # Beta's distribution function makes what is drawn uniform. The
            # lower half: near 1 float32 has atoms.
            half = ~np.array(own) & (np.array(lam) < 0.5)
            chance = scipy.stats.beta.cdf(lam, tau, tau)
            uniform.extend(2 * chance[half])
        assert len(uniform) > 300
        assert scipy.stats.kstest(uniform, "uniform").pvalue > 0.001

    def test_infinite_width_is_mixup_per_example(self):
        stage, batch = make_stage(1e6, alpha=0.7), make_batch(64)
        lam = stage.coefficients(batch, epoch=0, steps=20).numpy()
        assert len(np.unique(lam[0].round(5))) > 50
        law = scipy.stats.beta(0.7, 0.7)
        assert scipy.stats.kstest(lam.ravel(), law.cdf).pvalue > 0.001

    def test_near_pairs_are_mixed_more_than_far_ones(self):
        # Two copies of two images: a partner is equal or far.
        images = np.repeat(np.eye(2, dtype="float32"), 8, axis=0)
        stage = make_stage(0.25, partner="random", num_classes=None)
        lam, partner, *_ = replay(stage, (images, images))
        near = (images[np.array(partner)] == images).all(1)
        assert 0 < near.sum() < len(near)
        lam = np.array(lam)
        # tau is e^8 at d = 0: a deviation of 0.0065.
        np.testing.assert_allclose(lam[near], 0.5, atol=0.04)
        assert np.minimum(lam, 1 - lam)[~near].max() < 1e-2

    def test_identical_images_keep_their_pixels(self):
        images = np.full((8, 4), 7.0, "float32")
        labels = np.arange(8) % NUM_CLASSES
        replayed = replay(make_stage(0.25), (images, labels))
        np.testing.assert_allclose(replayed.inputs, images)
        np.testing.assert_allclose(replayed.lam, 0.5, atol=0.04)

    def test_units_do_not_matter(self):
        images, labels = make_batch()
        plain = replay(make_stage(), (images, labels))
        scaled = replay(
            make_stage(), (3 * images.astype("float32") - 100, labels)
        )
        np.testing.assert_allclose(plain.lam, scaled.lam, atol=1e-4)

    def test_statistics_weigh_the_channels(self):
        images, labels = make_batch()
        std = np.array([1.0, 10.0, 100.0])
        options = {"inputs": mixing.Inputs(std=std)}
        plain = replay(make_stage(**options), (images, labels))
        divided = replay(make_stage(), (images / std, labels))
        np.testing.assert_allclose(plain.lam, divided.lam, atol=1e-4)

    def test_ids_have_no_distance(self):
        images, labels = make_batch()
        rules = {"inputs": {"id": "keep"}}
        ids = np.arange(len(labels))
        with_ids = replay(
            make_stage(**rules), ({"id": ids, "image": images}, labels)
        )
        alone = replay(make_stage(), (images, labels))
        np.testing.assert_array_equal(with_ids.lam, alone.lam)

    def test_alpha_may_be_tuned(self):
        stage, batch = make_stage(alpha="auto"), make_batch()
        stage.set_alpha(0.3)
        expected = replay(make_stage(alpha=0.3), batch).lam
        np.testing.assert_array_equal(replay(stage, batch).lam, expected)
        stage.set_alpha(0.0)
        np.testing.assert_array_equal(replay(stage, batch).lam, 1)

    @pytest.mark.parametrize("alpha", [1.2e-38, 3e38])
    def test_extreme_alphas(self, alpha):
        lam = np.array(replay(make_stage(alpha=alpha), make_batch()).lam)
        assert np.isin(lam.round(3), [0, 0.5, 1]).all()


class TestStage:
    def data(self):
        return tf.data.Dataset.from_tensor_slices(make_batch(48)).batch(16)

    def test_host_and_model_agree(self):
        host, inside = make_stage(), make_stage()
        layers = [keras.Input((2, 2, 3)), keras.layers.Flatten()]
        model = inside.training_model(keras.Sequential(layers))
        for (mixed, targets), (sent, same) in zip(
            self.data().apply(host), self.data().apply(inside), strict=True
        ):
            flat = tf.reshape(mixed, [16, 12])
            np.testing.assert_allclose(
                model(sent, training=True), flat, atol=1e-3
            )
            np.testing.assert_array_equal(targets, same)

    def test_is_a_function_of_seed_epoch_and_step(self):
        plain, serial = make_stage(), make_stage()
        serial.num_parallel_calls = None
        for one, other in zip(
            self.data().apply(plain), self.data().apply(serial), strict=True
        ):
            np.testing.assert_array_equal(one[0], other[0])
        _, batch = list(self.data().as_numpy_iterator())[:2]
        first = list(self.data().apply(make_stage()))[1]
        again = replay(make_stage(), batch, step=1)
        np.testing.assert_allclose(again.inputs, first[0], rtol=1e-5)
        later = make_stage().replay(batch, epoch=1, step=1)
        assert not np.array_equal(later.lam, again.lam)

    def test_repr_and_config(self):
        stage = make_stage(0.5, seed=1)
        assert "per=SimilarityKernel(0.5)" in repr(stage)
        again = mixing.MixUp(**stage.get_config())
        assert again.get_config() == stage.get_config()


class TestRefusals:
    @pytest.mark.parametrize("width", [0, -1.0, np.nan, "wide"])
    def test_width(self, width):
        with pytest.raises(ValueError, match="`width` must be"):
            mixing.SimilarityKernel(width)

    def test_more_points(self):
        with pytest.raises(ValueError, match="by similarity supports pairs"):
            make_stage(num_points=3)

    @pytest.mark.parametrize("places", [0, 1])
    def test_ids_alone(self, places):
        stage = make_stage(inputs=None if places else "keep")
        stage = stage.send_plans() if places else stage
        ids = tf.data.Dataset.from_tensors(([1, 2], [0, 1]))
        with pytest.raises(ValueError, match=r"inputs of dtypes \['int32'\]"):
            ids.apply(stage)

    def test_the_check_of_pipelines(self):
        with pytest.raises(ValueError, match=r"per=SimilarityKernel\(0.5\)"):
            testing.check_mixing(stage=make_stage(0.5), dataset=make_batch())


def test_one_example_that_is_not_finite_stays_alone():
    inputs = np.arange(8, dtype="float32")[:, None] ** 2
    inputs[0] = np.nan
    partner = tf.constant([1, 2, 3, 4, 5, 6, 7, 1])
    found = similarity.measure_distance((tf.constant(inputs),), partner)
    assert np.isnan(found[0])
    assert np.mean(found[1:]) == pytest.approx(1, rel=1e-6)
