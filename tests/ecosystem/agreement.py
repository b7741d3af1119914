"""Holds every tool's numbers against those of `model.predict`."""

import keras
import numpy as np
import pytest
import sklearn.metrics

import tf_mixup
from tests import reference

ATOL = 1e-5
MEASURES = {
    "ece": reference.expected_calibration_error,
    "oe": reference.overconfidence_error,
    "mce": reference.maximum_calibration_error,
}


def collect(batches):
    """Returns inputs, and class ids if there are labels, in one order."""
    elements = list(batches)
    if not isinstance(elements[0], tuple):
        return np.concatenate(elements)
    inputs, labels = (
        np.concatenate(column) for column in zip(*elements, strict=True)
    )
    if labels.ndim == 2:
        labels = labels.argmax(1) if labels.shape[1] > 1 else labels[:, 0]
    return inputs, labels.astype(int)


def to_probabilities(outputs, *, from_logits):
    """Returns `(N, K)`; of one column K is 2."""
    if outputs.shape[1] == 1:
        positive = 1 / (1 + np.exp(-outputs)) if from_logits else outputs
        return np.concatenate([1 - positive, positive], axis=1)
    return reference.softmax(outputs) if from_logits else outputs


def expect(labels, probabilities):
    """Returns what the slow reference says, by name."""
    expected = {
        name: measure(labels, probabilities, 15)
        for name, measure in MEASURES.items()
    }
    expected["nll"] = reference.negative_log_likelihood(labels, probabilities)
    expected["brier"] = reference.brier_score(labels, probabilities)
    confidence = np.mean(np.max(probabilities, axis=1))
    accuracy = np.mean(np.argmax(probabilities, axis=1) == labels)
    expected["signed_gap"] = confidence - accuracy
    return expected


def check_history(history, labels, probabilities):
    """Checks the last epoch's values of a compiled metric and a monitor."""
    expected = expect(labels, probabilities)
    found = {name: history[f"val_{name}"][-1] for name in expected}
    assert found == pytest.approx(expected, abs=ATOL)
    # One name for one value.
    names = {name for name in history if "ece" in name or "bins" in name}
    others = {"val_adaptive_ece", "val_classwise_ece"}
    assert names == {"ece", "val_ece", *others}


def check_detection(history, name, inside, outside):
    """Checks an OODMonitor's values of one set in the last epoch."""
    inside, outside = inside.max(1), outside.max(1)
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    scores = np.concatenate([inside, outside])
    expected = {
        "reference_confidence": inside.mean(),
        f"{name}_confidence": outside.mean(),
        f"{name}_auroc": sklearn.metrics.roc_auc_score(truth, scores),
    }
    found = {key: history[key][-1] for key in expected}
    assert found == pytest.approx(expected, abs=ATOL)


def check_report(report, labels, probabilities):
    """Checks a report's numbers and that it can be saved."""
    expected = expect(labels, probabilities)
    errors = report.conventions["guo"].values
    found = {name: errors[name].estimate for name in MEASURES}
    for name in ("nll", "brier", "signed_gap"):
        found[name] = report.overall[name].estimate
    assert found == pytest.approx(expected, abs=ATOL)
    assert report.to_json()


def check_calibrated(calibrated, scaler, inputs, outputs, *, from_logits):
    """Checks that a calibrated model only divides the logits."""
    found = calibrated.predict(inputs, verbose=0)
    logits = outputs
    if not from_logits:
        outputs = to_probabilities(outputs, from_logits=False)
        logits = np.log(outputs)
    expected = to_probabilities(logits / scaler.temperature, from_logits=True)
    np.testing.assert_allclose(found, expected, atol=ATOL)
    predicted = to_probabilities(outputs, from_logits=from_logits).argmax(1)
    np.testing.assert_array_equal(found.argmax(1), predicted)
    return found


def check_saved(calibrated, inputs, folder):
    """Checks that a calibrated model is one file."""
    calibrated.save(folder / "calibrated.keras")
    loaded = keras.models.load_model(folder / "calibrated.keras")
    np.testing.assert_array_equal(
        loaded.predict(inputs, verbose=0), calibrated.predict(inputs, verbose=0)
    )


def monitors(mixup, sets, **options):
    """Returns the callbacks that README and guide add to `fit`."""
    return [
        tf_mixup.callbacks.MixingSchedule(mixup),
        tf_mixup.callbacks.CalibrationMonitor(),
        tf_mixup.callbacks.OODMonitor(sets, **options),
    ]
