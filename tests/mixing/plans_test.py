"""Tests of plans and of mixing."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import mixing
from tf_mixup.mixing import plans

SEED = tf.constant([3, 5], tf.int64)


class TestDrawLam:
    @pytest.mark.parametrize("alpha", [1e-3, 0.01, 0.1, 0.4, 1.0, 8.0, 100.0])
    def test_moments(self, alpha):
        lam = mixing.draw_lam(alpha, 40_000, seed=SEED).numpy()
        # Beta(a, a): mean 1/2, E[lam (1 - lam)] = a / (4 a + 2).
        np.testing.assert_allclose(lam.mean(), 0.5, atol=0.01)
        expected = alpha / (4 * alpha + 2)
        spread = (lam * (1 - lam)).std() / 200
        assert abs((lam * (1 - lam)).mean() - expected) < 4 * spread + 1e-6

    @pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 8.0])
    def test_distribution(self, alpha):
        lam = mixing.draw_lam(alpha, 10_000, seed=SEED).numpy()
        # The lower half: near 1 float32 has steps of 6e-8, which are atoms of
        # a tenth of the mass at alpha 0.1.
        lower = lam[lam < 0.5]
        beta = scipy.stats.beta(alpha, alpha)
        test = scipy.stats.kstest(lower, lambda x: 2 * beta.cdf(x))
        assert test.pvalue > 0.001

    def test_small_alpha_is_not_one_half(self):
        # The ratio of two float32 Gammas gives 1/2 to 18 % at alpha 0.01.
        lam = mixing.draw_lam(0.01, 10_000, seed=SEED).numpy()
        assert np.mean(np.abs(lam - 0.5) < 1e-3) < 0.001

    def test_least_and_largest_alpha_give_numbers(self):
        least = mixing.draw_lam(1.2e-38, 100_000, seed=SEED).numpy()
        assert set(np.unique(least)) == {0, 1}
        largest = mixing.draw_lam(tf.constant(3e38), 100, seed=SEED).numpy()
        np.testing.assert_allclose(largest, 0.5)

    def test_one_alpha_for_each(self):
        alpha = tf.constant([1e-3, 0.0, 1e6])
        lam = tf.stack(
            [mixing.draw_lam(alpha, 3, seed=SEED + k) for k in range(100)]
        ).numpy()
        assert np.isclose(lam[:, 0].round(1), [[0], [1]]).any(0).mean() > 0.95
        np.testing.assert_array_equal(lam[:, 1], 1)
        np.testing.assert_allclose(lam[:, 2], 0.5, atol=0.01)

    def test_alpha_zero_is_no_mixing(self):
        lam = mixing.draw_lam(0.0, 16, seed=SEED).numpy()
        np.testing.assert_array_equal(lam, 1)

    @pytest.mark.parametrize("num_points", [3, 5])
    @pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0, 20.0])
    def test_moments_of_more_points(self, alpha, num_points):
        lam = mixing.draw_lam(
            alpha, 10_000, seed=SEED, num_points=num_points
        ).numpy()
        assert lam.shape == (10_000, num_points)
        assert lam.min() >= 0
        np.testing.assert_allclose(lam.sum(1), 1, atol=1e-6)
        # Dirichlet(a, ..., a): mean 1/P, variance (P - 1) / (P^2 (P a + 1)).
        mean = 1 / num_points
        variance = mean * (1 - mean) / (num_points * alpha + 1)
        deviation = np.sqrt(variance / 10_000)
        np.testing.assert_allclose(lam.mean(0), mean, atol=5 * deviation)
        squares = (lam - mean) ** 2
        assert np.all(
            np.abs(squares.mean(0) - variance) < 5 * squares.std(0) / 100
        )

    @pytest.mark.parametrize("alpha", [0.4, 2.0])
    def test_distribution_of_more_points(self, alpha):
        lam = mixing.draw_lam(alpha, 10_000, seed=SEED, num_points=4).numpy()
        # Each coefficient of Dirichlet(a, ..., a) follows Beta(a, (P - 1) a).
        beta = scipy.stats.beta(alpha, 3 * alpha)
        for column in lam.T:
            assert scipy.stats.kstest(column, beta.cdf).pvalue > 0.001

    def test_alpha_zero_of_more_points_is_no_mixing(self):
        lam = mixing.draw_lam(0.0, 2, seed=SEED, num_points=3).numpy()
        np.testing.assert_array_equal(lam, [[1, 0, 0]] * 2)

    def test_seed_decides(self):
        one, same = (mixing.draw_lam(0.4, 8, seed=SEED) for _ in range(2))
        other = mixing.draw_lam(0.4, 8, seed=SEED + 1)
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


class TestChoosePartner:
    labels = np.array([0, 1, 0, 2, 1, 0, 2, 2, 0, 1, 1, 0], np.int32)

    def choose(self, **options):
        options = {"seed": SEED, "labels": tf.constant(self.labels)} | options
        return mixing.choose_partner(12, **options).numpy()

    @staticmethod
    def choose_often(size, **options):
        """Returns partners by 2,000 seeds, `(2000, size)`."""

        def choose(seed):
            return mixing.choose_partner(size, seed=[seed, 2], **options)

        return tf.function(tf.map_fn)(choose, tf.range(2_000)).numpy()

    @pytest.mark.parametrize("kind", ["random", "same_class"])
    @pytest.mark.parametrize("self_pairs", [True, False])
    @pytest.mark.parametrize("groups", [1, 2, 3])
    def test_is_a_permutation(self, kind, self_pairs, groups):
        partner = self.choose(kind=kind, self_pairs=self_pairs, groups=groups)
        np.testing.assert_array_equal(np.sort(partner), np.arange(12))

    @pytest.mark.parametrize("kind", plans.PARTNERS)
    @pytest.mark.parametrize("groups", [2, 3, 4])
    def test_stays_in_its_block(self, kind, groups):
        for seed in range(20):
            partner = self.choose(
                kind=kind, groups=groups, seed=tf.constant([seed, 0])
            )
            size = 12 // groups
            np.testing.assert_array_equal(
                partner // size, np.arange(12) // size
            )

    def test_same_class(self):
        partner = self.choose(kind="same_class")
        np.testing.assert_array_equal(self.labels[partner], self.labels)

    def test_different_class(self):
        for seed in range(20):
            partner = self.choose(
                kind="different_class", seed=tf.constant([seed, 1])
            )
            assert np.all(self.labels[partner] != self.labels)

    def test_different_class_reaches_every_other_row_equally(self):
        partners = self.choose_often(
            12, kind="different_class", labels=tf.constant(self.labels)
        )
        counts = np.zeros((12, 12))
        np.add.at(counts, (np.arange(12), partners), 1)
        for row in range(12):
            others = self.labels != self.labels[row]
            assert counts[row][~others].sum() == 0
            assert scipy.stats.chisquare(counts[row][others]).pvalue > 1e-5

    def test_different_class_of_one_class_is_no_mixing(self):
        labels = tf.zeros([4], tf.int32)
        partner = mixing.choose_partner(
            4, seed=SEED, kind="different_class", labels=labels
        )
        np.testing.assert_array_equal(partner, np.arange(4))

    def test_random_permutations_are_uniform(self):
        counts = np.zeros((4, 4))
        np.add.at(counts, (np.arange(4), self.choose_often(4)), 1)
        assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-5

    @pytest.mark.parametrize("kind", ["random", "same_class"])
    def test_no_self_pairs(self, kind):
        for seed in range(50):
            partner = self.choose(
                kind=kind, self_pairs=False, seed=tf.constant([seed, 4])
            )
            assert np.all(partner != np.arange(12))

    def test_no_self_pairs_but_a_row_alone(self):
        partner = mixing.choose_partner(1, seed=SEED, self_pairs=False)
        np.testing.assert_array_equal(partner, [0])

    def test_partial_block(self):
        # 5 rows in 2 groups: blocks of 3 and 2.
        for seed in range(20):
            partner = mixing.choose_partner(
                5, seed=tf.constant([seed, 0]), groups=2
            )
            np.testing.assert_array_equal(partner.numpy() // 3, [0, 0, 0, 1, 1])

    @pytest.mark.parametrize("kind", plans.PARTNERS)
    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_few_examples_in_many_groups(self, kind, size):
        partner = mixing.choose_partner(
            tf.constant(size),
            seed=SEED,
            kind=kind,
            labels=tf.zeros([size], tf.int32),
            groups=2**31 - 1,
        )
        np.testing.assert_array_equal(partner, np.arange(size))


class TestMix:
    def test_by_hand(self):
        # .75 * 0 + .25 * 8 = 2 and .75 * 8 + .25 * 0 = 6.
        x, y = mixing.mix([[0.0], [8.0]], [[1.0, 0], [0, 1]], 0.75, [1, 0])
        np.testing.assert_array_equal(x, [[2], [6]])
        np.testing.assert_array_equal(y, [[0.75, 0.25], [0.25, 0.75]])

    @pytest.mark.parametrize(
        "shape", [(6,), (6, 3), (6, 4, 4, 3), (6, 2, 2, 2, 2)]
    )
    @pytest.mark.parametrize("per_row", [True, False])
    def test_against_reference(self, shape, per_row):
        generator = np.random.default_rng(0)
        inputs = generator.normal(size=shape).astype("float32")
        targets = generator.random((6, 5)).astype("float32")
        lam = generator.random(6 if per_row else ()).astype("float32")
        partner = generator.permutation(6)
        x, y = mixing.mix(inputs, targets, lam, partner)
        rows = np.broadcast_to(lam, [6])
        expected = reference.mix(inputs, targets, rows, partner)
        np.testing.assert_allclose(x, expected[0], atol=1e-6)
        np.testing.assert_allclose(y, expected[1], atol=1e-6)

    def test_rows_beyond_lam_are_partners_only(self):
        # .75 * 0 + .25 * 8 = 2 and .75 * 4 + .25 * 16 = 7.
        x, y = mixing.mix(
            [[0.0], [4.0], [8.0], [16.0]],
            tf.eye(4),
            [0.75, 0.75],
            [2, 3],
        )
        np.testing.assert_array_equal(x, [[2], [7]])
        np.testing.assert_array_equal(
            y, [[0.75, 0, 0.25, 0], [0, 0.75, 0, 0.25]]
        )

    def test_three_points_by_hand(self):
        # .5 * 0 + .25 * 8 + .25 * 4 = 3, 8 alone, .25 * 4 + .75 * 0 = 1.
        mixed, _ = mixing.mix(
            np.array([[0], [8], [4]], np.uint8),
            (),
            [[0.5, 0.25, 0.25], [1, 0, 0], [0.25, 0, 0.75]],
            [[1, 2], [0, 2], [1, 0]],
        )
        np.testing.assert_array_equal(mixed, [[3], [8], [1]])

    def test_more_points_against_reference(self):
        generator = np.random.default_rng(0)
        inputs = generator.normal(size=(6, 4, 3)).astype("float32")
        targets = generator.random((6, 5)).astype("float32")
        lam = generator.dirichlet([1.0] * 4, 6).astype("float32")
        partner = generator.integers(0, 6, (6, 3))
        x, y = mixing.mix({"a": inputs}, targets, lam, partner)
        for found, values in ((x["a"], inputs), (y, targets)):
            expected = reference.mix_points(values, lam, partner)
            np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_own_share_of_one_is_bit_identical(self):
        x = np.array([[0.1], [np.inf], [-0.0]], "float32")
        lam = tf.one_hot([0, 0, 0], 3)
        mixed, _ = mixing.mix(x, (), lam, [[1, 1], [0, 1], [1, 1]])
        assert mixed.numpy().tobytes() == x.tobytes()

    @pytest.mark.parametrize(
        ("lam", "partner"),
        [
            ([0.5, 0.5], [[1], [0]]),
            ([[0.5, 0.5]] * 2, [1, 0]),
            ([[0.5, 0.25, 0.25]] * 2, [[1], [0]]),
        ],
    )
    @pytest.mark.parametrize("function", [mixing.mix, mixing.take_nearer])
    def test_rejects_coefficients_that_do_not_fit(self, function, lam, partner):
        values = [np.ones((2, 3))] * (2 if function is mixing.mix else 1)
        with pytest.raises(ValueError, match=r"Give shapes \(B,\) and \(B,\)"):
            function(*values, lam, partner)

    def test_uint8_does_not_overflow(self):
        x = np.array([[250], [255]], np.uint8)
        mixed, _ = mixing.mix(x, (), 0.5, [1, 0])
        np.testing.assert_array_equal(mixed, [[252.5], [252.5]])

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            ("uint8", "float32"),
            ("int16", "float32"),
            ("int32", "float64"),
            ("uint64", "float64"),
            ("bool", "float32"),
            ("float16", "float16"),
            ("bfloat16", "bfloat16"),
            ("float32", "float32"),
            ("float64", "float64"),
            ("complex64", "complex64"),
        ],
    )
    def test_dtypes(self, dtype, expected):
        x = tf.cast([[0], [1]], dtype)
        mixed, _ = mixing.mix(x, (), 0.75, [1, 0])
        assert mixed.dtype.name == expected
        np.testing.assert_array_equal(
            tf.cast(tf.math.real(mixed), tf.float32), [[0.25], [0.75]]
        )

    @pytest.mark.parametrize("number", [2**24 + 1, 2**40, -(2**52) - 1])
    def test_coefficient_one_keeps_integers(self, number):
        x = np.array([[number], [0]])
        mixed, _ = mixing.mix(x, (), tf.ones([2]), [1, 0])
        np.testing.assert_array_equal(mixed, x)

    @pytest.mark.parametrize("jit", [True, False])
    def test_coefficient_one_is_bit_identical(self, jit):
        x = np.array([[0.1], [np.inf], [-0.0], [1e-40]], "float32")
        function = tf.function(mixing.mix, jit_compile=jit)
        mixed, _ = function(x, (), tf.ones([4]), [1, 0, 1, 1])
        assert mixed.numpy().tobytes() == x.tobytes()

    @pytest.mark.parametrize(
        ("dtype", "bits"), [("float16", 0x7D01), ("bfloat16", 0x7F81)]
    )
    def test_coefficient_one_keeps_a_nan_of_half_precision(self, dtype, bits):
        # These bits do not come back from float32.
        kind = tf.as_dtype(dtype).as_numpy_dtype
        x = np.array([bits, 0], np.uint16).view(kind)
        mixed, _ = mixing.mix(x, (), tf.ones([2]), [1, 0])
        assert mixed.numpy().tobytes() == x.tobytes()

    def test_nested_inputs(self):
        inputs = {"a": np.array([[0.0], [4.0]]), "b": (np.array([8, 0]),)}
        mixed, _ = mixing.mix(inputs, (), 0.75, [1, 0])
        np.testing.assert_array_equal(mixed["a"], [[1], [3]])
        np.testing.assert_array_equal(mixed["b"][0], [6, 2])

    def test_labels_keep_their_mass(self):
        targets = np.eye(5, dtype="float32")[[0, 1, 2, 3]]
        _, y = mixing.mix((), targets, [0.1, 0.4, 0.6, 1.0], [1, 2, 3, 0])
        np.testing.assert_allclose(tf.reduce_sum(y, 1), 1, atol=1e-6)

    def test_rejects_strings(self):
        with pytest.raises(ValueError, match=r"mixing\.Mix"):
            mixing.mix(tf.constant([["a"], ["b"]]), (), 0.5, [1, 0])

    def test_rejects_ragged_rows(self):
        with pytest.raises(ValueError, match="to_tensor"):
            mixing.mix(tf.ragged.constant([[1.0], []]), (), 0.5, [1, 0])


class TestTakeNearer:
    def test_by_hand(self):
        nearer = mixing.take_nearer(
            tf.constant([[1.0, 0], [0, 1]]), tf.constant([0.6, 0.4]), [1, 0]
        )
        np.testing.assert_array_equal(nearer, [[1, 0], [1, 0]])

    def test_rows_beyond_lam_are_partners_only(self):
        # The own row at .75, the partner's at .25.
        nearer = mixing.take_nearer(tf.eye(4), [0.75, 0.25], [2, 3])
        np.testing.assert_array_equal(nearer, [[1, 0, 0, 0], [0, 0, 0, 1]])

    def test_three_points_by_hand(self):
        # The third of row 0; the own, which ties, of row 1.
        nearest = mixing.take_nearer(
            tf.constant([10, 11, 12]),
            [[0.2, 0.2, 0.6], [0.4, 0.2, 0.4], [0.1, 0.8, 0.1]],
            [[1, 2], [0, 2], [1, 0]],
        )
        np.testing.assert_array_equal(nearest, [12, 11, 11])

    def test_more_points_against_reference(self):
        generator = np.random.default_rng(1)
        targets = np.eye(4, dtype="float32")[generator.integers(0, 4, 9)]
        lam = generator.dirichlet([1.0] * 3, 9).astype("float32")
        partner = generator.integers(0, 9, (9, 2))
        np.testing.assert_array_equal(
            mixing.take_nearer(targets, lam, partner),
            reference.nearest_of_points(targets, lam, partner),
        )

    def test_against_reference(self):
        generator = np.random.default_rng(1)
        targets = np.eye(4, dtype="float32")[generator.integers(0, 4, 9)]
        lam, partner = generator.random(9), generator.permutation(9)
        np.testing.assert_array_equal(
            mixing.take_nearer(targets, lam, partner),
            reference.nearest_targets(targets, lam, partner),
        )


class TestStructures:
    def test_lists_of_inputs_are_mixed_each(self):
        a, b = np.array([[1.0], [2]]), np.array([[10.0], [20]])
        inputs, _ = mixing.mix([a, b], (), [0.5, 0.5], [1, 0])
        np.testing.assert_allclose(inputs[0], [[1.5], [1.5]])
        np.testing.assert_allclose(inputs[1], [[15], [15]])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_share_of_0_leaves_nothing_behind(self, bad):
        examples = np.array([[bad], [2.0]], "float32")
        mixed, _ = mixing.mix(examples, (), [0.0, 1.0], [1, 0])
        np.testing.assert_array_equal(mixed, [[2], [2]])
        lam = np.array([[0.0, 0, 1], [1, 0, 0]], "float32")
        mixed, _ = mixing.mix(examples, (), lam, [[0, 1], [0, 0]])
        np.testing.assert_array_equal(mixed, [[2], [2]])
