"""Calibration from stored scores."""

import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.calibration import resampling


def draw(size, *, shift=0.0, seed=0):
    """Returns confidences, and correctness too rare by `shift`."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1.0, size).astype("float32")
    return confidence, generator.random(size) < confidence - shift


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
        table = resampling._Table(confidence, 10, edges)
        bins = calibration.bin_confidences(
            confidence, confidence, num_bins=10, edges=edges
        )
        np.testing.assert_array_equal(
            table.sum([(slice(33), confidence, 1)]).count, bins.count
        )


class TestParts:
    """Many examples are drawn a part after another."""

    def test_each_sample_has_as_many_examples(self, monkeypatch):
        monkeypatch.setattr(resampling, "_PART", 7)
        weights = np.array(
            list(resampling.redraw(20, num_resamples=4000, seed=0))
        )
        assert (weights.sum(axis=1) == 20).all()
        # Multinomial: mean 1, variance 1 - 1 / 20.
        np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
        np.testing.assert_allclose(weights.var(axis=0), 0.95, rtol=0.1)
        # Also between the parts, where counts of a sample must sum to 20.
        covariance = np.cov(weights[:, 0], weights[:, -1])[0, 1]
        assert covariance == pytest.approx(-1 / 20, abs=0.05)

    def test_null_and_estimate_do_not_depend_on_them(self, monkeypatch):
        columns = draw(500, shift=0.1)

        def measure():
            null = resampling.null_calibration_error(columns[0], seed=0)
            interval = resampling.bootstrap_interval(
                *columns, num_resamples=10, seed=0
            )
            return *null, interval.estimate

        expected = measure()
        monkeypatch.setattr(resampling, "_PART", 64)
        assert measure() == pytest.approx(expected, abs=1e-12)


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
            resampling.bootstrap_interval(confidence, correct)

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
