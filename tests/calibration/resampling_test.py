"""Calibration from stored scores."""

import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration
from tf_mixup.calibration import resampling


def draw(size, *, shift=0.0, seed=0):
    """Returns confidences, and correctness too rare by `shift`."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1.0, size).astype("float32")
    return confidence, generator.random(size) < confidence - shift


class TestAdaptive:
    def test_by_hand(self):
        # Sorted: .6 (right), .7 (wrong) | .8 (right), .9 (right):
        # |1.3 - 1| + |1.7 - 2| over 4 rows.
        error = resampling.adaptive_calibration_error(
            [0.9, 0.6, 0.8, 0.7], [1, 1, 1, 0], num_bins=2
        )
        np.testing.assert_allclose(error, (0.3 + 0.3) / 4)

    @pytest.mark.parametrize("size", [5, 100, 1003])
    def test_agrees_with_the_reference(self, size):
        columns = draw(size, shift=0.1)
        np.testing.assert_allclose(
            resampling.adaptive_calibration_error(*columns),
            reference.adaptive_calibration_error(*columns, 15),
            atol=1e-12,
        )

    @pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
    def test_equal_confidences_share_their_correctness(self, order):
        # |0.8 - 0.8| in both runs, whichever examples stand in them.
        correct = np.repeat([1, 0], [8, 2])[order]
        error = resampling.adaptive_calibration_error(
            np.full(10, 0.8), correct, num_bins=2
        )
        np.testing.assert_allclose(error, 0, atol=1e-12)

    def test_a_cut_shares_out_a_group(self):
        # Runs {.5, .8} and {.8, .8}; two thirds of the .8 are right:
        # |1.3 - 1 - 2/3| + |1.6 - 4/3| over 4 examples.
        error = resampling.adaptive_calibration_error(
            [0.8, 0.5, 0.8, 0.8], [1, 1, 0, 1], num_bins=2
        )
        np.testing.assert_allclose(error, (0.3667 + 0.2667) / 4, atol=1e-4)

    def test_agrees_with_the_reference_on_rounded_confidences(self):
        confidence, correct = draw(203, shift=0.1)
        columns = confidence.round(1), correct
        np.testing.assert_allclose(
            resampling.adaptive_calibration_error(*columns),
            reference.adaptive_calibration_error(*columns, 15),
            atol=1e-12,
        )

    def test_one_example(self):
        error = resampling.adaptive_calibration_error([0.75], [1])
        np.testing.assert_allclose(error, 0.25)

    def test_no_examples_have_no_error(self):
        assert np.isnan(resampling.adaptive_calibration_error([], []))


class TestBootstrap:
    def test_same_seed_same_interval(self):
        first, second = (
            resampling.bootstrap_interval(*draw(300), num_resamples=20, seed=3)
            for _ in range(2)
        )
        assert first == second

    def test_estimate_is_the_measure_of_the_rows(self):
        confidence, correct = draw(500, shift=0.1)
        bins = calibration.bin_confidences(confidence, correct)
        interval = resampling.bootstrap_interval(
            confidence,
            correct,
            measure=calibration.overconfidence_error,
            num_resamples=10,
            seed=0,
        )
        np.testing.assert_allclose(
            interval.estimate, calibration.overconfidence_error(bins)
        )

    def test_interval_of_accuracy_is_the_binomial_one(self):
        correct = np.arange(400) < 300
        interval = resampling.bootstrap_interval(
            np.full(400, 0.8),
            correct,
            measure=calibration.accuracy,
            num_resamples=2000,
            seed=0,
        )
        # 1.96 sqrt(.75 .25 / 400) = .0424
        np.testing.assert_allclose(
            interval[1:], [0.75 - 0.0424, 0.75 + 0.0424], atol=0.006
        )

    @pytest.mark.parametrize(
        "measure",
        [
            calibration.expected_calibration_error,
            calibration.overconfidence_error,
            calibration.maximum_calibration_error,
            calibration.overconfident_part,
            calibration.underconfident_part,
            calibration.debiased_calibration_error,
        ],
    )
    @pytest.mark.parametrize("size", [3, 500])
    def test_of_errors_hold_estimate_and_truth_of_the_calibrated(
        self, measure, size
    ):
        for num_bins in (15, 100):
            interval = resampling.bootstrap_interval(
                *draw(size, seed=2),
                measure=measure,
                num_bins=num_bins,
                num_resamples=100,
                seed=0,
            )
            assert interval.low == 0
            assert interval.estimate <= interval.high <= 1

    @pytest.mark.parametrize("shift", [0.0, 0.2])
    def test_of_signed_gap_is_not_floored(self, shift):
        low, high = resampling.bootstrap_interval(
            *draw(2000, shift=shift),
            measure=calibration.signed_gap,
            num_resamples=200,
            seed=0,
        )[1:]
        # 1.96 sqrt(.75 .25 / 2000) = .019, less where confidence explains it.
        assert low < shift < high
        assert 0.02 < high - low < 0.05

    def test_of_miscalibrated_excludes_zero(self):
        interval = resampling.bootstrap_interval(
            *draw(2000, shift=0.1), num_resamples=200, seed=0
        )
        assert 0.02 < interval.low < 0.1 < interval.high < 0.16

    def test_several_measures_share_their_draws(self):
        columns = draw(50, shift=0.1)
        measures = [
            calibration.accuracy,
            calibration.expected_calibration_error,
        ]
        options = {"num_resamples": 20, "seed": 3}
        assert resampling.bootstrap_intervals(
            *columns, measures=measures, **options
        ) == [
            resampling.bootstrap_interval(*columns, measure=measure, **options)
            for measure in measures
        ]

    def test_rounding_does_not_leave_the_unit_interval(self):
        confidence = np.full(20, 1 + 1e-6)
        interval = resampling.bootstrap_interval(
            confidence,
            np.ones(20),
            measure=calibration.mean_confidence,
            num_resamples=5,
            seed=0,
        )
        assert interval == (1, 1, 1)

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [500, 2000])
    @pytest.mark.parametrize("shift", [0.0, 0.02, 0.1])
    def test_covers_the_truth(self, size, shift):
        covered = 0
        for seed in range(200):
            generator = np.random.default_rng(seed)
            confidence = generator.uniform(0.4, 1.0, size)
            correct = generator.random(size) < confidence - shift
            interval = resampling.bootstrap_interval(
                confidence, correct, num_resamples=200, seed=seed
            )
            covered += interval.low <= shift <= interval.high
        # At a coverage of 0.95 fewer than 182 occur 1 % of the time.
        assert covered >= 182


class TestErrorInterval:
    def test_by_hand(self):
        # min(2 * .3 - .45, .3 - .1) and .3 + (.4 - .32).
        interval = resampling.error_interval(
            0.3, [0.32, 0.4, 0.45], [0.05, 0.1], level=1.0
        )
        np.testing.assert_allclose(interval, (0.3, 0.15, 0.38))

    def test_keeps_within_the_bounds_of_the_values(self):
        interval = resampling.error_interval(
            0.9, [0.5, 0.95, 1.0], [0.0, 0.1], level=1.0
        )
        np.testing.assert_allclose(interval, (0.9, 0.8, 1.0))


class TestClassBias:
    def test_by_hand(self):
        probabilities = np.array([[0.8, 0.2], [0.6, 0.4]])
        sums = resampling.class_sums([0, 1], probabilities)
        np.testing.assert_allclose(sums.count, 2)
        np.testing.assert_allclose(sums.probability, [1.4, 0.6], rtol=1e-6)
        np.testing.assert_allclose(sums.target, [1, 1])
        np.testing.assert_allclose(sums.variance, [0.4, 0.4], rtol=1e-6)
        np.testing.assert_allclose(sums.residual, [0.4, 0.4], rtol=1e-6)
        bias = resampling.class_bias(sums)
        np.testing.assert_allclose(bias.bias, [0.2, -0.2], rtol=1e-6)
        np.testing.assert_allclose(bias.largest, 0.2, rtol=1e-6)
        # z = 2.2414 of 1 - .05 / 4.
        limit = (2.2414 * np.sqrt(0.4) + (2.2414**2 + 2) / 6) / 2
        np.testing.assert_allclose(bias.limits, limit, rtol=1e-4)
        np.testing.assert_allclose(bias.chance, limit, rtol=1e-4)

    @pytest.mark.parametrize("labels", ["ids", "one_hot", "sigmoid"])
    def test_forms_agree(self, labels):
        generator = np.random.default_rng(0)
        column = generator.random(50)
        probabilities = np.stack([1 - column, column], axis=1)
        ids = generator.integers(0, 2, 50)
        given = {
            "ids": (ids, probabilities),
            "one_hot": (np.eye(2)[ids], probabilities),
            "sigmoid": (ids[:, None], column),
        }[labels]
        found = resampling.class_bias(resampling.class_sums(*given))
        expected = (probabilities - np.eye(2)[ids]).mean(0)
        np.testing.assert_allclose(found.bias, expected, atol=1e-6)

    @pytest.mark.parametrize("shape", [(60,), (60, 1)])
    def test_sums_add_and_weights_repeat(self, shape):
        generator = np.random.default_rng(0)
        probabilities = generator.dirichlet(np.ones(3), 60)
        labels = generator.integers(0, 3, 60)
        weight = generator.integers(0, 2, 60)
        kept = weight > 0
        weighted = resampling.class_sums(
            labels, probabilities, sample_weight=weight.reshape(shape)
        )
        parts = [
            resampling.class_sums(labels[kept][part], probabilities[kept][part])
            for part in (slice(10), slice(10, None))
        ]
        for one, other in zip(weighted, parts[0] + parts[1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    @pytest.mark.parametrize(
        ("temperature", "rarity"), [(1.0, [0, 1, 2, 5]), (0.3, [0, 0, 0, 0])]
    )
    def test_chance_holds(self, temperature, rarity):
        # Sharpened predictions are overconfident, but of no class too often.
        exceeded = 0
        for seed in range(60):
            generator = np.random.default_rng(seed)
            logits = 2 * generator.normal(size=(300, 4)) - rarity
            labels = (logits + generator.gumbel(size=(300, 4))).argmax(-1)
            scaled = np.exp(logits / temperature)
            scaled /= scaled.sum(-1, keepdims=True)
            bias = resampling.class_bias(resampling.class_sums(labels, scaled))
            exceeded += np.any(np.abs(bias.bias) > bias.limits)
        assert exceeded <= 7

    def test_class_weights_are_seen(self):
        # Odds of the rare class times 9, as balanced weights make them.
        generator = np.random.default_rng(0)
        rare = np.clip(generator.beta(0.5, 4.5, 1000), 1e-3, 0.999)
        labels = generator.random(1000) < rare
        shifted = 9 * rare / (9 * rare + 1 - rare)
        bias = resampling.class_bias(resampling.class_sums(labels, shifted))
        assert bias.bias[1] > 0.1 > bias.chance
        honest = resampling.class_bias(resampling.class_sums(labels, rare))
        assert honest.largest < honest.chance

    def test_no_examples_have_no_bias(self):
        sums = resampling.class_sums(np.zeros(0, int), np.zeros((0, 3)))
        bias = resampling.class_bias(sums)
        assert np.isnan([bias.largest, bias.chance, *bias.bias]).all()

    def test_what_is_no_distribution_shows(self):
        sums = resampling.class_sums([0, 5], np.full((2, 2), 0.5))
        assert np.isnan(resampling.class_bias(sums).largest)


class TestNull:
    def test_a_hundred_bins_and_five_hundred_rows_show_a_tenth(self):
        confidence, _ = draw(500)
        null = resampling.null_calibration_error(
            confidence, **_options("paper"), seed=0
        )
        assert 0.08 < null.mean < 0.12
        assert null.low < null.mean < null.high

    def test_follows_the_normal_approximation(self):
        # E|N(0, s)| = s sqrt(2 / pi), with s^2 = p (1 - p) / n for each bin.
        confidence = np.full(1000, 0.8)
        null = resampling.null_calibration_error(
            confidence, num_resamples=4000, seed=0
        )
        expected = np.sqrt(2 / np.pi * 0.8 * 0.2 / 1000)
        np.testing.assert_allclose(null.mean, expected, rtol=0.05)

    def test_holds_calibrated_models_and_excludes_others(self):
        for shift, inside in ((0.0, True), (0.15, False)):
            confidence, correct = draw(2000, shift=shift, seed=1)
            ece = calibration.expected_calibration_error(
                calibration.bin_confidences(confidence, correct)
            )
            null = resampling.null_calibration_error(confidence, seed=0)
            assert (float(ece) <= null.high) == inside

    @pytest.mark.parametrize("edges", ["right", "left"])
    def test_bins_as_the_library_does(self, edges):
        # Only with every row in the same bin is the null of a sure row 0.
        confidence = np.repeat(np.arange(11, dtype="float32") / 10, 3)
        place = resampling._place(confidence, 10, edges)
        bins = calibration.bin_confidences(
            confidence, confidence, num_bins=10, edges=edges
        )
        np.testing.assert_array_equal(
            np.bincount(place, minlength=10), bins.count
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("confidence", "correct", "message"),
        [
            ([0.5], [1, 0], "must be two columns of one length. Received: sh"),
            ([[0.5]], [[1]], "must be two columns of one length. Received: sh"),
            ([1.5], [1], "`confidence` must lie in .* Received: confidence fr"),
            ([np.nan], [1], "`confidence` must lie in .* Received: confidence"),
            ([0.5], [2], "`correct` must lie in .* Received: correct from 2"),
            (["high"], [1], "`confidence` must be real numbers.*top_label"),
        ],
    )
    def test_columns(self, confidence, correct, message):
        with pytest.raises(ValueError, match=message):
            resampling.adaptive_calibration_error(confidence, correct)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"num_resamples": 0},
                "`num_resamples` must be an integer, at least 1. Received",
            ),
            ({"level": 2}, r"`level` must be a number in \[0, 1\]. Received"),
            ({"num_bins": 0}, "`num_bins` must be an integer, at least 1. Rec"),
            ({"edges": "up"}, "`edges` must be one of 'right', 'left'. Receiv"),
            ({"seed": -1}, "`seed` must be an integer, at least 0. Received"),
            ({"level": np.nan}, r"`level` must be a number in \[0, 1\]. Rec"),
            (
                {"num_resamples": 2.5},
                "`num_resamples` must be an integer, at least 1. Received",
            ),
        ],
    )
    def test_options(self, options, message):
        for function, columns in (
            (resampling.null_calibration_error, draw(10)[:1]),
            (resampling.bootstrap_interval, draw(10)),
        ):
            with pytest.raises(ValueError, match=message):
                function(*columns, **options)

    def test_number_of_runs(self):
        message = "`num_bins` must be an integer, at least 1. Received: num"
        with pytest.raises(ValueError, match=message):
            resampling.adaptive_calibration_error(*draw(10), num_bins=0)

    def test_no_rows_to_draw_from(self):
        message = "There must be at least one example. Received: 0 examples"
        for function in (
            lambda: resampling.null_calibration_error([]),
            lambda: resampling.bootstrap_interval([], []),
        ):
            with pytest.raises(ValueError, match=message):
                function()


def _options(name):
    convention = calibration.CONVENTIONS[name]
    return {"num_bins": convention.num_bins, "edges": convention.edges}


class TestClassSumsForms:
    LABELS = np.array([0, 1, 1])
    PROBABILITIES = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])

    def bias(self, labels, probabilities, **options):
        sums = resampling.class_sums(labels, probabilities, **options)
        return resampling.class_bias(sums).largest

    def test_weight_of_zero_and_ignored_labels_leave_out(self):
        expected = self.bias(self.LABELS[:2], self.PROBABILITIES[:2])
        outputs = np.vstack([self.PROBABILITIES[:2], [[np.nan, 0.5]]])
        labels = np.array([0, 1, 99])
        weight = np.array([[1], [1], [0]])
        found = self.bias(labels, outputs, sample_weight=weight)
        assert found == pytest.approx(expected)
        found = self.bias(labels, outputs, ignore_label=99)
        assert found == pytest.approx(expected)

    def test_takes_steps(self):
        expected = self.bias(self.LABELS, self.PROBABILITIES)
        found = self.bias(self.LABELS[None], self.PROBABILITIES[None])
        assert found == pytest.approx(expected)

    @pytest.mark.parametrize("weight", [[1, -1, 1], [1, 1]])
    def test_refuses_weights(self, weight):
        with pytest.raises(ValueError, match="`sample_weight` must be"):
            self.bias(self.LABELS, self.PROBABILITIES, sample_weight=weight)
