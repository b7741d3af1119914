"""Bins and the errors that are functions of them."""

import math

import keras
import numpy as np
import pytest

from tests import backends
from tests import reference
from tf_mixup import calibration

ERRORS = {
    "expected": (
        calibration.expected_calibration_error,
        reference.expected_calibration_error,
    ),
    "overconfidence": (
        calibration.overconfidence_error,
        reference.overconfidence_error,
    ),
    "average": (
        calibration.average_calibration_error,
        reference.average_calibration_error,
    ),
    "maximum": (
        calibration.maximum_calibration_error,
        reference.maximum_calibration_error,
    ),
}


def draw(size, num_classes=10, *, seed=0, sharpness=1.0):
    """Returns labels drawn from probabilities, and sharper probabilities."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet(np.full(num_classes, 0.3), size)
    labels = (truth.cumsum(1) < generator.random((size, 1))).sum(1)
    claimed = truth**sharpness + 1e-9
    claimed /= claimed.sum(1, keepdims=True)
    return np.minimum(labels, num_classes - 1), claimed.astype("float32")


def table(count, confidence, correct):
    return calibration.Bins(*np.array([count, confidence, correct], "float64"))


# Four rows of confidence .9, one right: gap 3.6 - 1 = 2.6. Four of .6, all
# right: gap 2.4 - 4 = -1.6. Eight rows.
BY_HAND = table([4, 4], [3.6, 2.4], [1, 4])


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (calibration.expected_calibration_error, (2.6 + 1.6) / 8),
            (calibration.overconfidence_error, 0.9 * 2.6 / 8),
            (calibration.maximum_calibration_error, 2.6 / 4),
            (calibration.average_calibration_error, (2.6 + 1.6) / 4 / 2),
            (calibration.overconfident_part, 2.6 / 8),
            (calibration.underconfident_part, 1.6 / 8),
            (calibration.signed_gap, (2.6 - 1.6) / 8),
            (calibration.accuracy, 5 / 8),
            (calibration.mean_confidence, 6 / 8),
        ],
    )
    def test_by_hand(self, error, expected):
        np.testing.assert_allclose(
            error(BY_HAND), expected, rtol=backends.EXACT
        )

    @pytest.mark.parametrize(
        "error",
        [
            calibration.expected_calibration_error,
            calibration.overconfidence_error,
            calibration.maximum_calibration_error,
            calibration.average_calibration_error,
            calibration.overconfident_part,
            calibration.underconfident_part,
            calibration.signed_gap,
            calibration.accuracy,
            calibration.mean_confidence,
            calibration.debiased_calibration_error,
            lambda bins: calibration.adaptive_calibration_error(
                bins, num_bins=2
            ),
        ],
    )
    def test_empty_table_gives_nan(self, error):
        assert np.isnan(float(error(table([0] * 4, [0] * 4, [0] * 4))))

    @pytest.mark.parametrize("name", ERRORS)
    @pytest.mark.parametrize("edges", ["right", "left"])
    @pytest.mark.parametrize("num_bins", [1, 10, 15, 100])
    def test_agrees_with_the_reference(self, name, edges, num_bins):
        labels, probabilities = draw(1000, sharpness=2.0)
        error, slow_error = ERRORS[name]
        bins = calibration.bin_predictions(
            labels, probabilities, num_bins=num_bins, edges=edges
        )
        np.testing.assert_allclose(
            error(bins),
            slow_error(labels, probabilities, num_bins, edges),
            atol=backends.EXACT,
        )

    def test_sharper_is_overconfident_and_flatter_underconfident(self):
        sharp = calibration.bin_predictions(*draw(5000, sharpness=3.0))
        flat = calibration.bin_predictions(*draw(5000, sharpness=0.5))
        assert calibration.signed_gap(sharp) > 0.05
        assert calibration.signed_gap(flat) < -0.05

    def test_labels_drawn_from_the_predictions_are_calibrated(self):
        bins = calibration.bin_predictions(*draw(50_000))
        assert calibration.expected_calibration_error(bins) < 0.01

    def test_leading_axes_make_one_number_each(self):
        stacked = calibration.Bins(
            *(np.stack([part, part]) for part in BY_HAND)
        )
        for error in (
            calibration.expected_calibration_error,
            calibration.maximum_calibration_error,
            calibration.average_calibration_error,
            calibration.debiased_calibration_error,
        ):
            assert error(stacked).shape == (2,)


class TestBins:
    @pytest.mark.parametrize(
        ("edges", "places"),
        [("right", [0, 0, 0, 3, 4, 4]), ("left", [0, 0, 1, 4, 4, 4])],
    )
    def test_edges(self, edges, places):
        # Fifths: 0.2 and 0.8 lie on an edge, also as float32.
        confidence = np.array([0.0, 0.1, 0.2, 0.8, 0.9, 1.0], "float32")
        for row, place in zip(confidence, places, strict=True):
            bins = calibration.bin_confidences(
                [row], [1.0], num_bins=5, edges=edges
            )
            assert int(np.argmax(bins.count)) == place

    @pytest.mark.parametrize("edges", ["right", "left"])
    @pytest.mark.parametrize("num_bins", [7, 15, 100])
    def test_every_edge_is_counted_once_as_in_the_reference(
        self, edges, num_bins
    ):
        confidence = np.arange(num_bins + 1, dtype="float32") / num_bins
        counts = np.zeros(num_bins)
        for row in confidence:
            counts[reference.find_bin(row, num_bins, edges)] += 1
        bins = calibration.bin_confidences(
            confidence, confidence, num_bins=num_bins, edges=edges
        )
        np.testing.assert_array_equal(bins.count, counts)

    def test_confidence_beyond_one_by_rounding_counts(self):
        bins = calibration.bin_confidences(
            [np.nextafter(np.float32(1), np.float32(2))], [1.0], num_bins=3
        )
        np.testing.assert_array_equal(bins.count, [0, 0, 1])

    @pytest.mark.parametrize("edges", ["right", "left"])
    @pytest.mark.parametrize("num_bins", [3, 15, 100])
    def test_merging_fine_bins_gives_the_coarse_exactly(self, edges, num_bins):
        fine_edges = np.arange(301, dtype="float64") / 300
        confidence = np.append(
            fine_edges.astype("float32"), draw(500)[1].max(1)
        )
        coarse, fine = (
            calibration.bin_confidences(
                confidence, np.ones(801), num_bins=size, edges=edges
            )
            for size in (num_bins, num_bins * 7)
        )
        merged = calibration.merge_bins(fine, 7)
        np.testing.assert_array_equal(merged.count, coarse.count)
        np.testing.assert_allclose(
            merged.confidence, coarse.confidence, rtol=backends.EXACT
        )

    def test_weights_count_rows(self):
        labels, probabilities = draw(200)
        weight = np.random.default_rng(1).integers(0, 4, 200)
        weighted = calibration.bin_predictions(
            labels, probabilities, sample_weight=weight[:, None]
        )
        repeated = calibration.bin_predictions(
            labels.repeat(weight), probabilities.repeat(weight, 0)
        )
        for ours, theirs in zip(weighted, repeated, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=backends.EXACT)

    def test_many_rows_go_through_in_blocks(self):
        size = 300_000
        confidence = np.full(size, 0.55, "float32")
        bins = calibration.bin_confidences(
            confidence, np.ones(size), num_bins=10
        )
        assert float(bins.count[5]) == size
        np.testing.assert_allclose(
            bins.confidence[5],
            size * float(np.float32(0.55)),
            rtol=backends.EXACT,
        )

    @backends.needs_float64
    def test_a_million_rows_lose_nothing(self):
        confidence = np.random.default_rng(0).random(1_300_000, "float32")
        bins = calibration.bin_confidences(confidence, confidence, num_bins=2)
        exact = math.fsum(confidence.tolist())
        np.testing.assert_allclose(
            float(np.sum(bins.confidence)), exact, rtol=1e-13
        )

    def test_no_rows_make_an_empty_table(self):
        bins = calibration.bin_predictions(
            np.zeros(0, "int32"), np.zeros((0, 3), "float32"), num_bins=4
        )
        np.testing.assert_array_equal(bins.count, np.zeros(4))

    @pytest.mark.parametrize("jit", [False, True])
    def test_compiled_equals_eager(self, jit):
        labels, probabilities = draw(64)

        count = backends.compile_function(calibration.bin_predictions, jit=jit)
        for ours, theirs in zip(
            count(labels, probabilities),
            calibration.bin_predictions(labels, probabilities),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=backends.EXACT)

    @pytest.mark.parametrize("num_bins", [0, -1, 2.5, True])
    def test_refuses_a_number_of_bins(self, num_bins):
        message = "`num_bins` must be an integer, at least 1. Received: num"
        with pytest.raises(ValueError, match=message):
            calibration.bin_predictions(*draw(4), num_bins=num_bins)

    def test_refuses_unknown_edges(self):
        message = "`edges` must be one of 'right', 'left'. Received: edges='up'"
        with pytest.raises(ValueError, match=message):
            calibration.bin_predictions(*draw(4), edges="up")

    def test_refuses_a_factor_that_does_not_divide(self):
        message = "`factor` must divide the number of bins, 2. Received: fac"
        with pytest.raises(ValueError, match=message):
            calibration.merge_bins(BY_HAND, 3)


class TestConventions:
    def test_named_by_paper_or_package(self):
        settings = {
            name: (convention.num_bins, convention.edges)
            for name, convention in calibration.CONVENTIONS.items()
        }
        assert settings == {
            "paper": (100, "right"),
            "guo": (15, "right"),
            "tfp": (10, "left"),
            "torchmetrics": (15, "left"),
            "netcal": (10, "left"),
            "mapie": (49, "right"),
            "probcal": (15, "left"),
            "relplot": (10, "left"),
            "scikit-learn": (5, "right"),
            "torch-uncertainty": (10, "left"),
            "uncertainty-calibration": (15, "right"),
        }

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("num_bins", [10, 15, 100])
    def test_tfp_counts_as_its_convention(self, num_bins):
        import tensorflow_probability as tfp

        labels, probabilities = draw(5000, sharpness=2.0)
        logits = keras.ops.log(probabilities)
        theirs = tfp.stats.expected_calibration_error(
            num_bins,
            logits=np.asarray(logits),
            labels_true=labels.astype("int32"),
        )
        bins = calibration.bin_predictions(
            labels,
            keras.ops.softmax(logits),
            num_bins=num_bins,
            edges=calibration.CONVENTIONS["tfp"].edges,
        )
        np.testing.assert_allclose(
            calibration.expected_calibration_error(bins), theirs, atol=1e-6
        )


class TestClassBins:
    def test_agrees_with_the_reference(self):
        labels, probabilities = draw(300, 4, sharpness=2.0)
        bins = calibration.class_bins(labels, probabilities, num_bins=15)
        assert bins.count.shape == (4, 15)
        np.testing.assert_allclose(
            calibration.classwise_calibration_error(bins),
            reference.classwise_calibration_error(labels, probabilities, 15),
            atol=1e-7,
        )

    def test_weights_reach_every_class(self):
        labels, probabilities = draw(10, 3)
        bins = calibration.class_bins(
            labels, probabilities, sample_weight=np.full(10, 0.5)
        )
        np.testing.assert_allclose(np.sum(bins.count, -1), [5, 5, 5])


class TestAdaptive:
    def test_equal_masses(self):
        bins = calibration.equal_mass_bins(table([6, 2], [1.2, 1.8], [3, 1]), 2)
        # Each half holds 4 of 8; the first bin is cut 4 to 2.
        np.testing.assert_allclose(bins.count, [4, 4])
        np.testing.assert_allclose(bins.confidence, [0.8, 0.4 + 1.8])
        np.testing.assert_allclose(bins.correct, [2, 1 + 1])

    @pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
    @pytest.mark.parametrize("size", [97, 3000])
    def test_sketch_is_within_its_bound(self, size, sharpness):
        num_bins = 15
        labels, probabilities = draw(size, sharpness=sharpness)
        confidence, correct = calibration.top_label(labels, probabilities)
        fine = calibration.bin_confidences(confidence, correct, num_bins=300)
        sketch = calibration.adaptive_calibration_error(fine, num_bins=num_bins)
        exact = reference.adaptive_calibration_error(
            np.array(confidence), np.array(correct), num_bins
        )
        bound = 2 * (num_bins - 1) / size
        after = np.cumsum(fine.count)
        cuts = np.arange(1, num_bins) * size / num_bins
        for j in set(np.searchsorted(after, cuts).tolist()):
            count = float(fine.count[j])
            rate = float(fine.correct[j]) / count
            bound += count / size * (2 * rate * (1 - rate) + 1 / 300 / 2)
        assert abs(float(sketch) - exact) <= bound
        # In practice it is far better than its bound.
        assert abs(float(sketch) - exact) < 0.01 + 2 / size


class TestDebiased:
    def test_by_hand(self):
        # One bin: accuracy 1/2 of 4 rows, so the deviation is 1/4; gap 1/4.
        bins = table([4], [3.0], [2.0])
        draws = np.random.default_rng(0).normal(0.25, 0.25, 2_000_000)
        np.testing.assert_allclose(
            calibration.debiased_calibration_error(bins),
            2 * 0.25 - np.abs(draws).mean(),
            atol=1e-3,
        )

    def test_certain_bins_are_left_as_they_are(self):
        bins = table([5], [4.0], [5.0])
        np.testing.assert_allclose(
            calibration.debiased_calibration_error(bins), 0.2
        )

    def test_takes_two_fifths_off_a_calibrated_model(self):
        plain, debiased = [], []
        for seed in range(30):
            bins = calibration.bin_predictions(*draw(1000, seed=seed))
            plain.append(calibration.expected_calibration_error(bins))
            debiased.append(calibration.debiased_calibration_error(bins))
        assert 0.5 < np.mean(debiased) / np.mean(plain) < 0.7
