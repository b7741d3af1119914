"""C-Mixup: partners by the similarity of regression targets."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import mixing
from tf_mixup import testing
from tf_mixup.mixing import plans

SIZE = 12
DRAWS = 4000


def make_batch(shape=(SIZE,)):
    """Returns inputs that name the example, and targets."""
    generator = np.random.default_rng(0)
    inputs = np.eye(shape[0], dtype="float32")
    return inputs, generator.normal(size=shape).astype("float32")


def make_stage(bandwidth=0.5, *, kind="similar_target", alpha=1.0, **options):
    groups = {
        name: options.pop(name)
        for name in ("self_pairs", "groups")
        if name in options
    }
    partner = mixing.Partners(kind, bandwidth=bandwidth, **groups)
    return mixing.MixUp(alpha, partner=partner, **{"seed": 3} | options)


def choose_often(targets, bandwidth, **options):
    """Returns partners by many seeds, `(DRAWS, B)`."""

    def choose(seed):
        return plans.choose_similar(
            tf.constant(targets), bandwidth, seed=[seed, 2], **options
        )

    return tf.function(tf.map_fn)(choose, tf.range(DRAWS)).numpy()


def assert_follow(partners, expected):
    """Compares frequencies with probabilities `(B, B)` by chi-square."""
    for own, probabilities in enumerate(expected):
        count = np.bincount(partners[:, own], minlength=len(expected))
        assert count[probabilities == 0].sum() == 0
        often = len(partners) * probabilities >= 5
        observed = [*count[often], count[~often].sum()]
        awaited = [*probabilities[often], probabilities[~often].sum()]
        if awaited[-1] == 0:
            del observed[-1], awaited[-1]
        if len(awaited) > 1:
            awaited = np.multiply(len(partners), awaited)
            assert scipy.stats.chisquare(observed, awaited).pvalue > 1e-4, own


class TestLaw:
    @pytest.mark.parametrize("shape", [(SIZE,), (SIZE, 1), (SIZE, 3)])
    def test_partners_follow_the_kernel(self, shape):
        _, targets = make_batch(shape)
        assert_follow(
            choose_often(targets, 0.7),
            reference.partner_probabilities(targets, 0.7),
        )

    def test_a_large_bandwidth_chooses_any(self):
        _, targets = make_batch()
        assert_follow(
            choose_often(targets, 1e6), np.full((SIZE, SIZE), 1 / SIZE)
        )

    # The square of the last is 0.
    @pytest.mark.parametrize("bandwidth", [1e-3, 1e-30])
    def test_a_small_bandwidth_chooses_equals(self, bandwidth):
        targets = np.float32([5e3, 5e3, -1, -1, 2, 5e3, -1, 0])
        equal = targets[:, None] == targets
        expected = equal / equal.sum(1, keepdims=True)
        assert_follow(choose_often(targets, bandwidth), expected)

    def test_blocks_and_no_self_pairs(self):
        _, targets = make_batch((9,))
        block = np.arange(9) // 3
        kernel = reference.partner_probabilities(targets, 0.7)
        kernel *= (block[:, None] == block) & ~np.eye(9, dtype=bool)
        kernel /= kernel.sum(1, keepdims=True)
        partners = choose_often(targets, 0.7, groups=3, self_pairs=False)
        assert_follow(partners, kernel)

    def test_without_self_pairs_the_nearest_is_chosen(self):
        targets = np.float32([0, 1, 3, 7])
        partners = choose_often(targets, 1e-3, self_pairs=False)
        np.testing.assert_array_equal(partners, [[1, 0, 1, 2]] * DRAWS)

    def test_targets_that_are_not_finite_stay_alone(self):
        targets = np.float32([0, np.nan, 1, np.inf])
        partners = choose_often(targets, 100.0)
        assert set(np.unique(partners[:, [0, 2]])) == {0, 2}
        np.testing.assert_array_equal(partners[:, [1, 3]], [[1, 3]] * DRAWS)

    def test_an_example_alone(self):
        partners = choose_often(np.float32([4]), 1.0, self_pairs=False)
        np.testing.assert_array_equal(partners, 0)


class TestStage:
    def data(self, shape=(48, 2)):
        return tf.data.Dataset.from_tensor_slices(make_batch(shape)).batch(16)

    @pytest.mark.parametrize("shape", [(SIZE,), (SIZE, 1), (SIZE, 2)])
    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_inputs_and_targets_are_mixed_alike(self, shape, per):
        inputs, targets = make_batch(shape)
        replay = make_stage(per=per).replay((inputs, targets), epoch=0, step=0)
        lam, partner = np.array(replay.lam), np.array(replay.partner)
        share = lam.reshape(-1, *[1] * (len(shape) - 1))
        expected = share * targets + (1 - share) * targets[partner]
        np.testing.assert_allclose(replay.targets, expected, atol=1e-6)
        expected = lam[:, None] * inputs + (1 - lam[:, None]) * inputs[partner]
        np.testing.assert_allclose(replay.inputs, expected, atol=1e-6)
        assert len(np.unique(lam)) == (1 if per == "batch" else SIZE)

    def test_partners_are_nearer_than_random_ones(self):
        _, targets = batch = make_batch((200,))
        gap = {}
        for bandwidth in (0.1, 1e6):
            partner = make_stage(bandwidth).replay(batch, epoch=0, step=0)[1]
            gap[bandwidth] = np.abs(targets - targets[np.array(partner)])
        assert gap[0.1].max() < 0.5 < 1 < gap[1e6].mean()

    def test_host_and_model_agree(self):
        host, inside = make_stage(), make_stage()
        layers = [keras.Input((48,)), keras.layers.Flatten()]
        model = inside.training_model(keras.Sequential(layers))
        for (mixed, targets), (sent, same) in zip(
            self.data().apply(host), self.data().apply(inside), strict=True
        ):
            np.testing.assert_allclose(
                model(sent, training=True), mixed, atol=1e-6
            )
            np.testing.assert_array_equal(targets, same)

    def test_is_a_function_of_seed_epoch_and_step(self):
        plain, serial = make_stage(), make_stage()
        serial.num_parallel_calls = None
        for one, other in zip(
            self.data().apply(plain), self.data().apply(serial), strict=True
        ):
            tf.nest.map_structure(np.testing.assert_array_equal, one, other)
        _, batch = list(self.data().as_numpy_iterator())[:2]
        first = list(self.data().apply(make_stage()))[1]
        again = make_stage().replay(batch, epoch=0, step=1)
        np.testing.assert_allclose(again.targets, first[1], rtol=1e-6)
        later = make_stage().replay(batch, epoch=1, step=1)
        assert not np.array_equal(later.partner, again.partner)

    def test_more_points_have_other_partners(self):
        batch = make_batch((200,))
        partner = make_stage(num_points=3).replay(batch, epoch=0, step=0)[1]
        one, other = np.array(partner).T
        assert 0 < np.mean(one == other) < 0.2

    def test_repr_and_config(self):
        stage = make_stage(0.25, self_pairs=False)
        assert "self_pairs=False, bandwidth=0.25)" in repr(stage)
        again = mixing.MixUp(**stage.get_config())
        assert again.get_config() == stage.get_config()


class TestRefusals:
    @pytest.mark.parametrize("bandwidth", [0, -1.0, np.nan, "wide"])
    def test_bandwidth(self, bandwidth):
        with pytest.raises(ValueError, match="`bandwidth` must be"):
            make_stage(bandwidth)

    @pytest.mark.parametrize(
        ("kind", "bandwidth"), [("random", 0.1), ("similar_target", None)]
    )
    def test_bandwidth_of_no_use_or_missing(self, kind, bandwidth):
        with pytest.raises(
            ValueError,
            match=rf"partner='{kind}' with bandwidth={bandwidth}\. Write"
            r' `mixing.Partners\("similar_target", bandwidth',
        ):
            make_stage(bandwidth, kind=kind)

    @pytest.mark.parametrize("num_classes", [3, 1, {"a": None, "b": 3}])
    def test_classes(self, num_classes):
        with pytest.raises(
            ValueError, match=r'are for regression.*partner="same_class"'
        ):
            make_stage(num_classes=num_classes)

    def test_class_ids(self):
        batch = np.eye(4, dtype="float32"), np.arange(4)
        with pytest.raises(ValueError, match="regress on to float32"):
            make_stage().replay(batch, epoch=0, step=0)

    def test_several_outputs(self):
        inputs, targets = make_batch()
        batch = inputs, {"a": targets, "b": targets}
        with pytest.raises(ValueError, match=r"targets of 2 outputs\. Join"):
            make_stage().replay(batch, epoch=0, step=0)

    def test_the_check_of_pipelines(self):
        with pytest.raises(ValueError, match="partner='similar_target'"):
            testing.check_mixing(stage=make_stage(), dataset=make_batch())
