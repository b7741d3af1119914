"""Finds the public metrics, losses and measures, and calls them alike.

Shapes: B examples, K classes.
"""

import inspect

import keras
import numpy as np

import tf_mixup

# Five examples of three classes; logits whose softmax is PROBABILITIES.
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.8, 0.1],
        [0.3, 0.3, 0.4],
        [0.6, 0.3, 0.1],
        [0.05, 0.05, 0.9],
    ]
)
LOGITS = np.log(PROBABILITIES) + np.arange(5)[:, None] - 2
LABELS = np.array([0, 1, 0, 2, 2])


def _classes(module, base):
    return [
        each
        for name, each in sorted(vars(module).items())
        if not name.startswith("_")
        and inspect.isclass(each)
        and issubclass(each, base)
        and each.__module__ == module.__name__
    ]


# Those of several labels take other labels.
METRICS = _classes(tf_mixup.metrics, tf_mixup.metrics.CalibrationMetrics)
LOSSES = _classes(tf_mixup.losses, keras.losses.Loss)


def measure_metric(metric_class):
    """Returns a function of a batch that gives the metric's value."""

    def measure(labels, outputs, weight=None, **options):
        metric = metric_class(**options)
        metric.update_state(labels, outputs, sample_weight=weight)
        return float(metric.result())

    measure.__name__ = metric_class.__name__
    return measure


def measure_loss(loss_class):
    """Returns a function of a batch that gives the loss."""

    def measure(labels, outputs, weight=None, **options):
        loss = loss_class(**options)
        return float(loss(labels, outputs, sample_weight=weight))

    measure.__name__ = loss_class.__name__
    return measure


def measure_bins(function):
    """Returns a function of a batch that gives the error of its bins."""

    def measure(labels, outputs, weight=None, **options):
        bins = function(labels, outputs, sample_weight=weight, **options)
        error = tf_mixup.calibration.expected_calibration_error(bins)
        return float(np.mean(keras.ops.convert_to_numpy(error)))

    measure.__name__ = function.__name__
    return measure


def measure_selective(function):
    """Returns a function of a batch that gives a selective measure."""

    def measure(labels, outputs, weight=None, **options):
        return function(labels, outputs, sample_weight=weight, **options)

    measure.__name__ = function.__name__
    return measure


# All that takes labels, outputs, `sample_weight`, `from_logits` and
# `ignore_label`, and gives one number.
WEIGHTED = [
    *map(measure_metric, METRICS),
    *map(measure_bins, [tf_mixup.calibration.bin_predictions]),
    *map(measure_bins, [tf_mixup.calibration.class_bins]),
    *map(measure_selective, [tf_mixup.selective.aurc]),
]
# Whose weights have a mean of 1, so that 2 is not the same as two examples.
SCALED = ("AURC", "aurc")
ALL = [*WEIGHTED, *map(measure_loss, LOSSES)]


def name(measure):
    """Returns the name of a test's case."""
    return getattr(measure, "__name__", None)
