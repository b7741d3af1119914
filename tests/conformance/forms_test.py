"""Every tool that reads examples, against every form that they come in.

The forms are those of the one reader's own test, so a new form is tried with
every tool.
"""

import keras
import numpy as np
import pytest

import tf_mixup
from tests.data import examples_test
from tests.data.examples_test import FORMS
from tests.data.examples_test import INPUTS
from tests.data.examples_test import LABELS

# Weights change what is measured; the reader's own test has them.
UNWEIGHTED = [name for name in FORMS if "weight" not in name]
# Read again and again, which a single pass of a generator does not allow.
AGAIN = [name for name in UNWEIGHTED if "generator" not in name]
# One of each kind, for tools that take a second for each form.
SOME = ["tfds", "images in a list", "pandas", "PyDataset", "list of batches"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(5, "softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def calibrate(model, data):
    scaler = tf_mixup.posthoc.TemperatureScaling()
    tf_mixup.posthoc.calibrate(model, scaler, data)
    return scaler.temperature


def report(model, data):
    result = tf_mixup.calibration_report(
        model, data, num_resamples=2, noise=False
    )
    return result.overall["nll"].estimate


def monitor_calibration(model, data):
    monitor = tf_mixup.callbacks.CalibrationMonitor(data)
    return measure(model, monitor)["val_nll"]


def monitor_outside(model, data):
    monitor = tf_mixup.callbacks.OODMonitor(
        {"far": data}, reference=INPUTS, noise=()
    )
    return measure(model, monitor)["far_confidence"]


def measure(model, monitor):
    """Returns what a monitor says of the untrained model."""
    history = model.fit(
        INPUTS, LABELS, batch_size=22, verbose=0, callbacks=[Frozen(), monitor]
    )
    return {name: values[-1] for name, values in history.history.items()}


class Frozen(keras.callbacks.Callback):
    """Keeps the weights as they are."""

    def on_train_begin(self, logs=None):
        self.model.optimizer.learning_rate = 0.0


class TestTools:
    @pytest.mark.parametrize(
        ("tool", "forms"),
        [
            (calibrate, UNWEIGHTED),
            pytest.param(report, SOME, marks=pytest.mark.slow),
            (monitor_calibration, SOME),
            (monitor_outside, SOME),
            pytest.param(report, UNWEIGHTED, marks=pytest.mark.slow),
            pytest.param(monitor_calibration, AGAIN, marks=pytest.mark.slow),
            pytest.param(monitor_outside, AGAIN, marks=pytest.mark.slow),
        ],
    )
    def test_every_form_is_the_same(self, model, tool, forms):
        expected = tool(model, (INPUTS, LABELS))
        for name in forms:
            found = tool(model, FORMS[name]())
            assert found == pytest.approx(expected, rel=1e-5), name

    @pytest.mark.parametrize("tool", [calibrate, report, monitor_calibration])
    @pytest.mark.parametrize(
        "data",
        [
            lambda: examples_test.to_dataset(INPUTS, LABELS).repeat(),
            lambda: (INPUTS[:0], LABELS[:0]),
            lambda: (INPUTS, LABELS[:-1]),
            lambda: ([INPUTS[0], INPUTS[1][:2]], LABELS[:2]),
        ],
        ids=["endless", "empty", "unequal", "shapes"],
    )
    def test_refuses_alike(self, model, tool, data):
        with pytest.raises(ValueError, match=r"\. Received: .*\."):
            tool(model, data())


def test_overlap_is_found_in_every_form():
    for name in UNWEIGHTED:
        with pytest.raises(ValueError, match="2 of 2 "):
            tf_mixup.posthoc.check_disjoint(FORMS[name](), INPUTS[5:7])
    tf_mixup.posthoc.check_disjoint((INPUTS, LABELS), np.ones_like(INPUTS))
