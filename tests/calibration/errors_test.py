"""Measures in one call equal those of bins."""

import inspect

import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.calibration import errors

MEASURES = {
    name: measure
    for name, measure in vars(errors).items()
    if getattr(measure, "__module__", None) == errors.__name__
    and not name.startswith("_")
}
LABELS = np.array([0, 1, 1, 0])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
OPTIONS = {
    "num_bins": 2,
    "edges": "left",
    "from_logits": False,
    "sample_weight": [1, 1, 1, 0],
    "ignore_label": -1,
}


def test_ece_by_hand():
    # Gaps of 0.1, 0.2 and 0.7 in bins of their own, and 0.4.
    ece = calibration.expected_calibration_error(LABELS, PROBABILITIES)
    np.testing.assert_allclose(ece, 1.4 / 4, rtol=1e-6)
    # Two bins: all confidences lie in the upper one.
    ece = calibration.expected_calibration_error(
        LABELS, PROBABILITIES, num_bins=2
    )
    np.testing.assert_allclose(ece, 0.0, atol=1e-6)


def test_oe_by_hand():
    # The only overconfident bin has confidence 0.7 and accuracy 0.
    oe = calibration.overconfidence_error(LABELS, PROBABILITIES)
    np.testing.assert_allclose(oe, 0.7 * 0.7 / 4, rtol=1e-6)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("options", [{}, OPTIONS])
def test_equals_two_steps(name, options):
    make, labels = calibration.bin_predictions, LABELS
    if name == "classwise_calibration_error":
        make = calibration.class_bins
    if name == "label_calibration_error":
        make, labels = calibration.label_bins, np.eye(2)[LABELS]
    bins = make(labels, PROBABILITIES, **options)
    found = MEASURES[name](labels, PROBABILITIES, **options)
    np.testing.assert_array_equal(found, MEASURES[name](bins))


@pytest.mark.parametrize("name", MEASURES)
def test_shows_its_arguments(name):
    parameters = inspect.signature(MEASURES[name]).parameters
    assert list(parameters) == ["labels", "probabilities", *OPTIONS]
    assert parameters["num_bins"].default == 15
    document = inspect.getdoc(MEASURES[name])
    assert all(f"\n    {each}: " in document for each in parameters)


@pytest.mark.parametrize(
    "measure", [*MEASURES.values(), calibration.adaptive_calibration_error]
)
@pytest.mark.parametrize(
    ("arguments", "options", "received"),
    [
        ((LABELS,), {}, "a ndarray alone"),
        (("bins", PROBABILITIES), {}, "Bins with probabilities"),
        (("bins",), {"ignore_label": 3}, "Bins with ignore_label"),
    ],
)
def test_refuses_both_and_none(measure, arguments, options, received):
    bins = calibration.bin_predictions(LABELS, PROBABILITIES)
    arguments = [bins if isinstance(each, str) else each for each in arguments]
    with pytest.raises(ValueError, match=f"Bins alone. Received: {received}"):
        measure(*arguments, **options)
