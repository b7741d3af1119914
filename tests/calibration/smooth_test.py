"""Smooth ECE."""

import numpy as np
import pytest
from scipy import optimize
from scipy import special
from scipy import stats

from tests import reference
from tf_mixup import calibration
from tf_mixup.calibration import smooth


def draw(size, *, shift=0.0, seed=0):
    """Returns labels and probabilities of two classes."""
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1.0, size).astype("float32")
    wrong = generator.random(size) > confidence - shift
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    return wrong.astype(int), probabilities


def two_confidences(first, second, gap):
    """Returns bins of which one is over- and one underconfident by `gap`."""
    confidence = np.array([first, second])
    return calibration.Bins(
        np.ones(2), confidence, confidence + np.array([-gap, gap])
    )


@pytest.mark.parametrize("kernel", smooth.KERNELS)
@pytest.mark.parametrize("bandwidth", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_agrees_with_the_reference(kernel, bandwidth, shift):
    labels, probabilities = draw(40, shift=shift)
    found = calibration.smooth_calibration_error(
        labels, probabilities, kernel=kernel, bandwidth=bandwidth
    )
    expected = reference.smooth_calibration_error(
        probabilities[:, 0], labels == 0, bandwidth, kernel
    )
    # Cells of log-odds are wider beside a narrow kernel.
    atol = 5e-5 if kernel == "logit" else 1e-6
    assert found == pytest.approx(expected, abs=atol)


@pytest.mark.parametrize("kernel", smooth.KERNELS)
def test_is_as_wide_as_it_is_large(kernel):
    labels, probabilities = draw(40)
    found = calibration.smooth_calibration_error(
        labels, probabilities, kernel=kernel
    )
    expected = reference.smooth_calibration_error(
        probabilities[:, 0], labels == 0, found, kernel
    )
    assert found == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("kernel", smooth.KERNELS)
def test_closed_form_of_two_confidences(kernel):
    # The densities of opposite sign cancel but for 2 Phi(d / 2s) - 1.
    places = 0.4, 0.5
    distance = 0.1
    if kernel == "logit":
        distance = special.logit(0.5) - special.logit(0.4)

    def excess(width):
        overlap = stats.norm.cdf(distance / 2 / width)
        return 0.1 * (2 * overlap - 1) - width

    found = calibration.smooth_calibration_error(
        two_confidences(*places, 0.1), kernel=kernel
    )
    expected = optimize.brentq(excess, 1e-6, 1)
    assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("kernel", smooth.KERNELS)
def test_zero_where_each_confidence_is_right(kernel):
    table = two_confidences(0.5, 0.8, 0.0)
    assert calibration.smooth_calibration_error(table, kernel=kernel) == 0


def test_falls_to_zero_with_calibrated_examples():
    errors = [
        calibration.smooth_calibration_error(*draw(size))
        for size in (100, 10_000, 1_000_000)
    ]
    # About as the third root of their number.
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0
    assert errors[2] < 0.005


def test_confidences_of_0_and_1_count():
    table = calibration.Bins(*np.array([[1.0, 3.0], [0.0, 3.0], [1.0, 0.0]]))
    for kernel in smooth.KERNELS:
        found = calibration.smooth_calibration_error(table, kernel=kernel)
        assert 0.5 <= found <= 1


def test_weights_repeat_examples():
    labels, probabilities = draw(30)
    weight = np.random.default_rng(1).integers(0, 4, 30)
    repeated = calibration.smooth_calibration_error(
        np.repeat(labels, weight), np.repeat(probabilities, weight, axis=0)
    )
    found = calibration.smooth_calibration_error(
        labels, probabilities, sample_weight=0.3 * weight
    )
    assert found == pytest.approx(repeated, abs=1e-6)


def test_ignored_labels_are_left_out():
    labels, probabilities = draw(30)
    expected = calibration.smooth_calibration_error(
        labels[labels == 0], probabilities[labels == 0]
    )
    found = calibration.smooth_calibration_error(
        labels, probabilities, ignore_label=1
    )
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("size", [0, 1])
def test_nan_without_examples_or_distribution(size):
    outputs = np.full((size, 2), np.nan)
    error = calibration.smooth_calibration_error([0] * size, outputs)
    assert np.isnan(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "gauss"}, "`kernel` must be .*'reflected', 'logit'"),
        ({"bandwidth": 0}, "`bandwidth` must be a number in .*Write None"),
        ({"bandwidth": 2}, "`bandwidth` must be a number in .*Write None"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        calibration.smooth_calibration_error(*draw(5), **options)


def test_refuses_bins_of_other_scores():
    table = two_confidences(-3.0, 2.0, 0.5)
    with pytest.raises(ValueError, match="Give bins of confidences"):
        calibration.smooth_calibration_error(table)
