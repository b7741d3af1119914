"""Calibration from stored scores."""

import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration
from tf_mixup import scores


def draw(size, *, shift=0.0, seed=0):
    """Returns confidences, and correctness too rare by `shift`."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1.0, size).astype("float32")
    return confidence, generator.random(size) < confidence - shift


class TestAdaptive:
    def test_by_hand(self):
        # Sorted: .6 (right), .7 (wrong) | .8 (right), .9 (right):
        # |1.3 - 1| + |1.7 - 2| over 4 rows.
        error = scores.adaptive_calibration_error(
            [0.9, 0.6, 0.8, 0.7], [1, 1, 1, 0], num_bins=2
        )
        np.testing.assert_allclose(error, (0.3 + 0.3) / 4)

    @pytest.mark.parametrize("size", [5, 100, 1003])
    def test_agrees_with_the_reference(self, size):
        columns = draw(size, shift=0.1)
        np.testing.assert_allclose(
            scores.adaptive_calibration_error(*columns),
            reference.adaptive_calibration_error(*columns, 15),
            atol=1e-12,
        )

    def test_no_rows_give_zero(self):
        assert scores.adaptive_calibration_error([], []) == 0


class TestBootstrap:
    def test_same_seed_same_interval(self):
        first, second = (
            scores.bootstrap_interval(*draw(300), draws=20, seed=3)
            for _ in range(2)
        )
        assert first == second

    def test_estimate_is_the_measure_of_the_rows(self):
        confidence, correct = draw(500, shift=0.1)
        bins = calibration.bin_confidences(confidence, correct)
        interval = scores.bootstrap_interval(
            confidence,
            correct,
            measure=calibration.overconfidence_error,
            draws=10,
            seed=0,
        )
        np.testing.assert_allclose(
            interval.estimate, calibration.overconfidence_error(bins)
        )

    def test_interval_of_accuracy_is_the_binomial_one(self):
        correct = np.arange(400) < 300
        interval = scores.bootstrap_interval(
            np.full(400, 0.8),
            correct,
            measure=calibration.accuracy,
            draws=2000,
            seed=0,
        )
        # 1.96 sqrt(.75 .25 / 400) = .0424
        np.testing.assert_allclose(
            interval[1:], [0.75 - 0.0424, 0.75 + 0.0424], atol=0.006
        )


class TestNull:
    def test_a_hundred_bins_and_five_hundred_rows_show_a_tenth(self):
        confidence, _ = draw(500)
        null = scores.null_calibration_error(
            confidence, **_options("paper"), seed=0
        )
        assert 0.08 < null.mean < 0.12
        assert null.low < null.mean < null.high

    def test_follows_the_normal_approximation(self):
        # E|N(0, s)| = s sqrt(2 / pi), with s^2 = p (1 - p) / n for each bin.
        confidence = np.full(1000, 0.8)
        null = scores.null_calibration_error(confidence, draws=4000, seed=0)
        expected = np.sqrt(2 / np.pi * 0.8 * 0.2 / 1000)
        np.testing.assert_allclose(null.mean, expected, rtol=0.05)

    def test_holds_calibrated_models_and_excludes_others(self):
        for shift, inside in ((0.0, True), (0.15, False)):
            confidence, correct = draw(2000, shift=shift, seed=1)
            ece = calibration.expected_calibration_error(
                calibration.bin_confidences(confidence, correct)
            )
            null = scores.null_calibration_error(confidence, seed=0)
            assert (float(ece) <= null.high) == inside

    @pytest.mark.parametrize("edges", ["right", "left"])
    def test_bins_as_the_library_does(self, edges):
        # Only with every row in the same bin is the null of a sure row 0.
        confidence = np.repeat(np.arange(11, dtype="float32") / 10, 3)
        place = scores._place(confidence, 10, edges)
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
        ],
    )
    def test_columns(self, confidence, correct, message):
        with pytest.raises(ValueError, match=message):
            scores.adaptive_calibration_error(confidence, correct)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"draws": 0}, "`draws` must be an integer, at least 1. Received"),
            ({"level": 2}, r"`level` must be a number in \[0, 1\]. Received"),
            ({"num_bins": 0}, "`num_bins` must be an integer, at least 1. Rec"),
            ({"edges": "up"}, "`edges` must be one of 'right', 'left'. Receiv"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            scores.null_calibration_error(draw(10)[0], **options)

    def test_number_of_runs(self):
        message = "`num_bins` must be an integer, at least 1. Received: num"
        with pytest.raises(ValueError, match=message):
            scores.adaptive_calibration_error(*draw(10), num_bins=0)

    def test_no_rows_to_draw_from(self):
        message = "There must be at least one row. Received: 0 rows"
        for function in (
            lambda: scores.null_calibration_error([]),
            lambda: scores.bootstrap_interval([], []),
        ):
            with pytest.raises(ValueError, match=message):
                function()


def _options(name):
    convention = calibration.CONVENTIONS[name]
    return {"num_bins": convention.num_bins, "edges": convention.edges}
