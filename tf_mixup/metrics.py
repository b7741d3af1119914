"""Calibration during `fit` and `evaluate`: Keras metrics over one state.

A metric keeps sums (a fine table of `calibration.Bins`, of the likelihood and
of the Brier score), so that it is exact for any batch size and number of
replicas. The average of per-batch ECEs is a different number: a batch of 128
examples has an ECE of several per cent from noise alone.
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import selective
from tf_mixup._checks import numbers as numbers_lib
from tf_mixup._models import output_kind
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import per_example
from tf_mixup.calibration import per_label

# Bins of the fine table, at least: equal-mass bins are estimated from it.
_FINE = 300
# Beyond it, binning all probabilities would cost more than all else.
_MOST_CLASSES = 100


class _BinnedMetric(keras.metrics.Metric):
    """Base of metrics that sum predictions into bins: arguments and state."""

    # Keras' callbacks read which way is better.
    _direction = "down"
    _key: str

    def __init__(
        self,
        num_bins: int = 15,
        *,
        edges: str = "right",
        from_logits: bool | None = None,
        ignore_label: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self._key, dtype=dtype)
        self.num_bins = _checks.integer_at_least(
            "num_bins", num_bins, 1, remedy="Write 15, as most papers do"
        )
        self.edges = _checks.one_of("edges", edges, calibration.EDGES)
        self.from_logits = output_kind.check_from_logits(from_logits)
        self.ignore_label = per_example.check_ignore_label(ignore_label)
        self._sums = bins_lib.accumulator_dtype()
        # Parts of the table: count, confidence, correct.
        self._table: Any = self._make_table()
        # Negative log-likelihood, Brier score, number of examples left out,
        # evidence that outputs are logits, number of examples counted, sum of
        # squared weights.
        self._totals = self._add_sums("totals", 6)

    def _make_table(self) -> Any:
        """Returns the variable `(3, ...)`; None if it needs the first batch."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this metric."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "edges": self.edges,
            "from_logits": self.from_logits,
            "ignore_label": self.ignore_label,
        }

    def _add_sums(self, name: str, *shape: int) -> Any:
        return self.add_weight(
            shape=shape, initializer="zeros", dtype=self._sums, name=name
        )

    def _find_evidence(self) -> Any:
        """Returns the evidence of earlier batches, if it is needed."""
        if self.from_logits is not None:
            return 0.0
        return ops.cast(ops.convert_to_tensor(self._totals)[3], "float32")


@keras.saving.register_keras_serializable("tf_mixup")
class CalibrationMetrics(_BinnedMetric):
    """Sums predictions into bins of confidence; the result is ECE.

    One pass over the data gives all numbers of `results()`. The state is a
    table of about 400 bins in float64, so that nothing is lost over millions of
    examples: about 300 of equal width, a refinement of `num_bins`, and finer
    ones next to confidence 1, which rank the predictions of a sure model.

    Examples whose prediction or label is no distribution (NaN, a label out of
    range, a weight below 0) are left out and counted. So are targets with
    several labels in a compiled function; outside of one they are refused.
    Without examples the result is NaN.

    It is logged as `ece`, and Keras knows that less is better:
    `EarlyStopping("val_ece")` needs no `mode`.

    Args:
        num_bins: Bins of the result, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits. None, the default, detects
            it: on TensorFlow by the activation that made them, else by the
            values of this and earlier batches. A column within [0, 1] is taken
            for probabilities.
        ignore_label: Class id of examples without a label, often -1, which are
            left out and not counted; None, the default, ignores none.
        name: Name in the logs. Defaults to `"ece"`.
        dtype: Type of the result; sums are float64 where the backend has it.

    Raises:
        ValueError: If `num_bins` or `edges` is out of range.

    Example:
        >>> metric = CalibrationMetrics(num_bins=10)
        >>> metric.update_state([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> results = metric.results()
        >>> round(results["ece"], 4), round(results["over"], 4)
        (0.45, 0.4)

        In training: `model.compile(..., metrics=[CalibrationMetrics()])`.
    """

    _key = "ece"

    # Probability less target of each class by its bin, or of all bins; made
    # when K is known.
    _residuals: Any = None
    # Of labels and outputs, as of the last batch.
    _last_shapes: Any = None

    def _make_table(self) -> Any:
        return self._add_sums("table", 3, len(self._inner_edges()) + 1)

    @property
    def _factor(self) -> int:
        """Fine bins in each of the result's."""
        return -(-_FINE // self.num_bins)

    def build(self, num_classes: int) -> None:
        """Creates the sums by class, as the first batch does.

        Args:
            num_classes: K, at least 2.

        Raises:
            ValueError: If earlier batches had other classes.
        """
        residuals = self._residuals
        if residuals is not None and residuals.shape[0] != num_classes:
            raise _checks.refusal(
                "All batches of a metric must have the same classes",
                f"{num_classes} classes after {residuals.shape[0]}",
                "Make a metric for each model",
            )
        if residuals is None:
            bins = self.num_bins if self._bins_classes(num_classes) else 1
            with _outside_of_functions():
                self._residuals = self._add_sums("residuals", num_classes, bins)

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`; of each
                step of a sequence `(B, T)`, `(B, T, 1)` or `(B, T, K)`.
            y_pred: Predictions `(B, K)`, or `(B,)` or `(B, 1)` of a sigmoid;
                of each step `(B, T, K)`, of which masked steps are left out.
            sample_weight: Optional weights `(B,)`, `(B, 1)` or `(B, T)`, or a
                scalar, at least 0; an example of weight 0 is left out.
        """
        labels, columns, weight = self._read(y_true, y_pred, sample_weight)
        self.build(columns.values.shape[-1])
        shapes = tuple(labels.values.shape), tuple(columns.values.shape)
        # Compiling takes as long as some twenty batches.
        again, self._last_shapes = shapes == self._last_shapes, shapes
        add = _add_compiled if again and _runs_eagerly() else _add_batch
        add(
            (self._table, self._totals, self._residuals),
            labels,
            columns,
            weight,
            num_bins=self.num_bins * self._factor,
            edges=self.edges,
        )

    def _read(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple:
        """Returns labels, columns of outputs, and weights or None."""
        mask = getattr(y_pred, "_keras_mask", None)
        if mask is not None and len(y_pred.shape) > 2:
            sample_weight = _weigh_by_mask(sample_weight, mask)
        y_true, y_pred, sample_weight = per_example.flatten_steps(
            y_true, y_pred, sample_weight
        )
        labels, columns = per_example.read_examples(
            y_true,
            y_pred,
            from_logits=self.from_logits,
            prior=self._find_evidence(),
        )
        weight = self._weigh(y_true, sample_weight, columns.values.shape[0])
        return labels, columns, weight

    def result(self) -> Any:
        """Returns the expected calibration error, a scalar."""
        error = calibration.expected_calibration_error(self.bins())
        return ops.cast(error, self.dtype)

    def ranked_bins(self) -> calibration.Bins:
        """Returns all of about 400 bins, summed over replicas.

        They are for `tf_mixup.selective`: weights have a mean of 1, so that
        counts sum to the number of examples.
        """
        table = ops.convert_to_tensor(self._table)
        weight, size = ops.sum(table[0]), ops.convert_to_tensor(self._totals)[4]
        table = table * (size / ops.where(weight == 0, 1.0, weight))
        return calibration.Bins(table[0], table[1], table[2])

    def signed_gap_error(self) -> float:
        """Returns the standard error of `signed_gap`, by chance of examples.

        Confidences of a bin are taken to be equal. It does not depend on the
        scale of weights, and one example more that misses by 1 is counted, so
        that few examples which agree are not taken for certain. NaN without
        examples.
        """
        count, confidence, correct = map(ops.convert_to_numpy, self.fine_bins())
        total = float(count.sum())
        if not total:
            return math.nan
        mean = confidence / np.maximum(count, 1e-30)
        squares = mean * confidence - 2 * mean * correct + correct
        gap = (confidence.sum() - correct.sum()) / total
        squared = float(ops.convert_to_numpy(self._totals)[5])
        return float(
            _error_of_mean(squares.sum() / total - gap**2, total**2 / squared)
        )

    def fine_bins(self) -> calibration.Bins:
        """Returns about 300 bins of equal width, summed over replicas."""
        last = self.num_bins * self._factor - 1
        table = ops.convert_to_tensor(self._table)
        end = ops.sum(table[:, last:], axis=1, keepdims=True)
        table = ops.concatenate([table[:, :last], end], axis=1)
        return calibration.Bins(table[0], table[1], table[2])

    def bins(self) -> calibration.Bins:
        """Returns the table of `num_bins` bins, summed over replicas."""
        return calibration.merge_bins(self.fine_bins(), self._factor)

    def results(self) -> dict[str, float]:
        """Returns every number of the state.

        Call it between steps (in a callback, after `evaluate`), not inside a
        compiled function.

        Returns:
            results: `ece`, `oe`, `mce`; `over` and `under`, the parts of ECE;
                `signed_gap` = `confidence` - `accuracy`; `nll` in nats;
                `brier` in [0, 2]; `adaptive_ece`, estimated from the fine
                table; `aurc` and `excess_aurc`, estimated from all bins (see
                `selective.aurc_bounds`); `class_bias`, the largest difference
                over classes between the mean probability of a class and its
                frequency, which a temperature cannot correct; of at most 100
                classes `classwise_ece`, the mean over classes of the ECE of
                each class's own probability; `nonfinite`, the number of
                examples left out. All others are NaN without examples.
        """
        bins, fine = self.bins(), self.fine_bins()
        numbers = {
            "ece": calibration.expected_calibration_error(bins),
            "oe": calibration.overconfidence_error(bins),
            "mce": calibration.maximum_calibration_error(bins),
            "over": calibration.overconfident_part(bins),
            "under": calibration.underconfident_part(bins),
            "signed_gap": calibration.signed_gap(bins),
            "accuracy": calibration.accuracy(bins),
            "confidence": calibration.mean_confidence(bins),
            "adaptive_ece": calibration.adaptive_calibration_error(
                fine, num_bins=self.num_bins
            ),
        }
        results = {name: float(value) for name, value in numbers.items()}
        ranked = self.ranked_bins()
        results["aurc"] = selective.aurc(ranked)
        results["excess_aurc"] = selective.excess_aurc(ranked)
        weight = float(ops.sum(bins.count))
        totals = ops.convert_to_tensor(self._totals)
        nll, brier, nonfinite = (float(totals[place]) for place in range(3))
        results["nll"] = nll / weight if weight else math.nan
        results["brier"] = brier / weight if weight else math.nan
        results["nonfinite"] = nonfinite
        return {**results, **self._class_results(weight)}

    def _class_results(self, weight: float) -> dict[str, float]:
        """Returns the numbers of all classes, of examples of a weight."""
        if self._residuals is None:
            return {"class_bias": math.nan, "classwise_ece": math.nan}
        residuals = ops.convert_to_numpy(self._residuals)
        residuals = residuals / (weight or math.nan)
        results = {"class_bias": float(np.abs(residuals.sum(1)).max())}
        if self._bins_classes(residuals.shape[0]):
            errors = np.abs(residuals).sum(1)
            results["classwise_ece"] = float(errors.mean())
        return results

    def _bins_classes(self, num_classes: int) -> bool:
        """Returns whether the probability of each class is binned."""
        return num_classes <= _MOST_CLASSES

    def _inner_edges(self) -> np.ndarray:
        return selective.ranked_edges(self.num_bins * self._factor, self.edges)

    def _weigh(self, labels: Any, sample_weight: Any, size: int | None) -> Any:
        """Returns weights `(B,)` or `(1,)`, 0 where ignored; None if all 1."""
        weight = None
        if sample_weight is not None:
            weight = bins_lib.read_weights(sample_weight, size)
        ignored = per_example.ignored(labels, self.ignore_label)
        if ignored is None:
            return weight
        kept = ops.ones((1,), self._sums) if weight is None else weight
        return ops.where(ignored, ops.zeros_like(kept), kept)


@keras.saving.register_keras_serializable("tf_mixup")
class LabelCalibrationMetrics(_BinnedMetric):
    """Sums the probability of each of K labels into bins; label-wise ECE.

    For models of several labels, K sigmoids and multi-hot targets, where each
    label is a binary problem of its own. The result is the mean over labels of
    their ECE, see `calibration.label_calibration_error`; it is logged as
    `label_ece`. `calibration.expected_calibration_error(metric.bins())` gives
    that of each label.

    An entry whose prediction is no number, or whose target lies outside of
    [0, 1], is left out and counted. Without examples the result is NaN.

    Args:
        num_bins: Bins of each label, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits; None detects it.
        ignore_label: Value of labels that are not known, often -1, which are
            left out, each by itself; None ignores none.
        name: Name in the logs. Defaults to `"label_ece"`.
        dtype: Type of the result; sums are float64 where the backend has it.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> metric = LabelCalibrationMetrics()
        >>> labels = np.array([[1, 1], [1, 0], [0, 0], [1, 0]])
        >>> metric.update_state(labels, np.tile([0.75, 0.5], (4, 1)))
        >>> float(metric.result())
        0.125
    """

    _key = "label_ece"

    def build(self, num_labels: int) -> None:
        """Creates the table, as the first batch does.

        Args:
            num_labels: K, at least 1.

        Raises:
            ValueError: If earlier batches had other labels.
        """
        if self._table is not None and self._table.shape[1] != num_labels:
            raise _checks.refusal(
                "All batches of a metric must have the same labels",
                f"{num_labels} labels after {self._table.shape[1]}",
                "Make a metric for each model",
            )
        if self._table is None:
            with _outside_of_functions():
                self._table = self._add_sums(
                    "table", 3, num_labels, self.num_bins
                )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: Multi-hot `(B, K)` of 0 and 1, or targets in [0, 1].
            y_pred: Predictions `(B, K)` of K sigmoids.
            sample_weight: Optional weights `(B,)` or `(B, 1)`, or `(B, K)` for
                each label, at least 0; what has weight 0 is left out.
        """
        shape, labels, outputs, weight = per_label.flatten(
            y_true, y_pred, sample_weight, self.ignore_label
        )
        self.build(shape[1])
        outputs, from_logits = output_kind.flatten_sigmoids(
            outputs, self.from_logits
        )
        scores = per_example.ExampleScores(
            *per_example.read_examples(
                labels,
                outputs,
                from_logits=from_logits,
                prior=self._find_evidence(),
            )
        )
        ones = ops.ones_like(scores.missing, dtype=self._sums)
        weight = ones if weight is None else ones * weight
        counted = ops.logical_and(scores.missing == 0, weight >= 0)
        left_out = ops.logical_and(ops.logical_not(counted), weight != 0)
        weight = ops.where(counted, weight, 0.0)
        bins = per_label.sum_labels(
            scores.probabilities[:, 1],
            scores.targets[:, 1],
            weight,
            shape=shape,
            num_bins=self.num_bins,
            edges=self.edges,
        )
        # Of two classes the Brier score counts each difference twice.
        nll, brier = (
            ops.sum(weight * ops.cast(ops.where(counted, x, 0.0), self._sums))
            for x in (scores.nll, scores.brier / 2)
        )
        totals = (
            nll,
            brier,
            ops.sum(ops.cast(left_out, self._sums)),
            ops.cast(scores.evidence, self._sums),
            ops.sum(ops.cast(weight > 0, self._sums)),
            ops.sum(ops.square(weight)),
        )
        self._table.assign_add(ops.stack(bins))
        self._totals.assign_add(ops.stack(totals))

    def result(self) -> Any:
        """Returns the mean over labels of their ECE, a scalar."""
        if self._table is None:
            return ops.cast(math.nan, self.dtype)
        error = calibration.label_calibration_error(self.bins())
        return ops.cast(error, self.dtype)

    def bins(self) -> calibration.Bins:
        """Returns the tables of all labels `(K, M)`, summed over replicas.

        Raises:
            ValueError: If there has been no batch.
        """
        if self._table is None:
            raise _checks.refusal(
                "`bins()` needs at least one batch",
                "an empty metric",
                "Call `update_state` first",
            )
        return calibration.Bins(
            *ops.unstack(ops.convert_to_tensor(self._table))
        )

    def results(self) -> dict[str, float]:
        """Returns every number of the state.

        Call it between steps (in a callback, after `evaluate`), not inside a
        compiled function.

        Returns:
            results: `label_ece`; `worst_label_ece`, that of the worst label;
                `label_bias`, the largest difference over labels between the
                mean probability of a label and its frequency; `label_nll` in
                nats and `label_brier` in [0, 1], means over examples and
                labels: the binary cross-entropy, and the squared difference
                of probability and target; `nonfinite`, the number of entries
                left out. All others are NaN without examples.

        Raises:
            ValueError: If there has been no batch.
        """
        bins = self.bins()
        errors, gaps = (
            ops.convert_to_numpy(measure(bins))
            for measure in (
                calibration.expected_calibration_error,
                calibration.signed_gap,
            )
        )
        weight = float(ops.sum(bins.count))
        nll, brier, nonfinite, *_ = ops.convert_to_numpy(self._totals)
        return {
            "label_ece": float(self.result()),
            "worst_label_ece": _largest(errors),
            "label_bias": _largest(np.abs(gaps)),
            "label_nll": float(nll) / weight if weight else math.nan,
            "label_brier": float(brier) / weight if weight else math.nan,
            "nonfinite": float(nonfinite),
        }


def _largest(values: np.ndarray) -> float:
    """Returns the largest that is a number; NaN if none is."""
    return float(max(values[~np.isnan(values)], default=math.nan))


def _add_batch(
    variables: tuple[Any, Any, Any],
    labels: per_example.Labels,
    columns: output_kind.Columns,
    weight: Any,
    *,
    num_bins: int,
    edges: str,
) -> None:
    """Adds a batch to the table, the totals and the sums by class."""
    scores = per_example.ExampleScores(labels, columns)
    confidence, correct = scores.confidence, scores.correct
    dtype = bins_lib.accumulator_dtype()
    ones = ops.ones_like(confidence, dtype=dtype)
    weight = ones if weight is None else ones * weight
    # Zeroed, not only weighted by 0: 0 * NaN is NaN.
    counted = ops.logical_and(ops.isfinite(correct), weight >= 0)
    left_out = ops.logical_and(ops.logical_not(counted), weight != 0)
    weight = ops.where(counted, weight, 0.0)
    confidence, correct, nll, brier = (
        ops.where(counted, column, 0.0)
        for column in (confidence, correct, scores.nll, scores.brier)
    )
    bins = bins_lib.sum_into_bins(
        confidence,
        ops.cast(correct, dtype),
        weight,
        inner=selective.ranked_edges(num_bins, edges),
        edges=edges,
    )
    totals = (
        ops.sum(weight * ops.cast(nll, dtype)),
        ops.sum(weight * ops.cast(brier, dtype)),
        ops.sum(ops.cast(left_out, dtype)),
        ops.cast(scores.evidence, dtype),
        ops.sum(ops.cast(weight > 0, dtype)),
        ops.sum(ops.square(weight)),
    )
    residuals = _sum_residuals(
        scores, counted, weight, variables[2].shape[1], edges
    )
    sums = ops.stack(bins), ops.stack(totals), residuals
    for variable, value in zip(variables, sums, strict=True):
        variable.assign_add(value)


def _sum_residuals(
    scores: Any, counted: Any, weight: Any, num_bins: int, edges: str
) -> Any:
    """Returns probability less target of each class by its bin, `(K, M)`."""
    # In units of the largest: float32 does not hold all of float64.
    unit = ops.max(weight, initial=0.0)
    unit = ops.where(unit > 0, unit, 1.0)
    weight = ops.cast(weight / unit, "float32")
    columns = scores.probabilities
    if num_bins > 1:
        residuals = ops.where(counted[:, None], columns - scores.targets, 0.0)
        residuals = weight[:, None] * residuals
        sums = _sum_by_column(residuals, columns, num_bins, edges)
    else:
        # A copy of all columns without NaN would cost more than their sum.
        predicted = ops.cond(
            ops.all(counted),
            lambda: ops.matmul(weight[None, :], columns)[0],
            lambda: ops.matmul(
                weight[None, :], ops.where(counted[:, None], columns, 0.0)
            )[0],
        )
        sums = (predicted - scores.sum_targets(weight))[:, None]
    return unit * ops.cast(sums, unit.dtype)


def _sum_by_column(values: Any, columns: Any, num_bins: int, edges: str) -> Any:
    """Returns the sums of values by column and its bin, `(K, M)`."""
    num_classes = columns.shape[1]
    inner = bins_lib.bin_edges(num_bins)[1:-1]
    place = bins_lib.find_bins(columns, inner, edges)
    place = place + num_bins * ops.arange(num_classes, dtype=place.dtype)
    sums = ops.segment_sum(
        ops.reshape(values, (-1,)),
        ops.reshape(place, (-1,)),
        num_segments=num_classes * num_bins,
    )
    return ops.reshape(sums, (num_classes, num_bins))


def _runs_eagerly() -> bool:
    """Returns whether TensorFlow runs operation by operation on one device."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.executing_eagerly() and not tf.distribute.has_strategy()


def _add_compiled(
    variables: tuple[Any, Any, Any],
    labels: per_example.Labels,
    columns: output_kind.Columns,
    weight: Any,
    **options: Any,
) -> None:
    """Adds a batch as `_add_batch` does, in one call of TensorFlow."""
    values, from_logits, floor, evidence = columns
    sums = (variable.value for variable in variables)
    add = _compile_add(from_logits, floor, **options)
    add(*sums, *labels, values, evidence, weight)


@functools.cache
def _compile_add(
    from_logits: bool, floor: float, **options: Any
) -> Callable[..., None]:
    """Returns `_add_batch` of flat arguments, for all metrics."""
    import tensorflow as tf

    def add(*args: Any) -> None:
        *variables, labels, valid, values, evidence, weight = args
        _add_batch(
            tuple(variables),
            per_example.Labels(labels, valid),
            output_kind.Columns(values, from_logits, floor, evidence),
            weight,
            **options,
        )

    # Nested arguments would double what a call costs.
    return tf.function(add, autograph=False)


def _weigh_by_mask(sample_weight: Any, mask: Any) -> Any:
    """Returns weights `(B, T)` that are 0 for masked steps."""
    mask = ops.cast(mask, bins_lib.accumulator_dtype())
    if sample_weight is None:
        return mask
    weight = numbers_lib.read(sample_weight, "Weights")
    weight = ops.cast(ops.convert_to_tensor(weight), mask.dtype)
    if len(weight.shape) == 1:
        weight = weight[:, None]
    elif len(weight.shape) > len(mask.shape):
        weight = weight[..., 0]
    return mask * weight


def _outside_of_functions() -> Any:
    """Returns the context in which TensorFlow makes variables at any time."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


@keras.saving.register_keras_serializable("tf_mixup")
class OverconfidenceError(CalibrationMetrics):
    """The overconfidence error, over the state of `CalibrationMetrics`.

    Underconfidence costs nothing; see `calibration.overconfidence_error`.

    Args:
        num_bins: Number of bins, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits; None detects it.
        ignore_label: Class id of examples without a label; None ignores none.
        name: Name in the logs. Defaults to `"oe"`.
        dtype: Type of the result.

    Example:
        >>> metric = OverconfidenceError(num_bins=10)
        >>> metric.update_state([0, 0], [[0.75, 0.25], [0.25, 0.75]])
        >>> float(metric.result())
        0.1875
    """

    _key = "oe"

    def result(self) -> Any:
        """Returns the overconfidence error, a scalar."""
        error = calibration.overconfidence_error(self.bins())
        return ops.cast(error, self.dtype)


@keras.saving.register_keras_serializable("tf_mixup")
class AURC(CalibrationMetrics):
    """The area under the risk-coverage curve, over the same state.

    How well confidence tells right predictions from wrong ones, and how many
    are wrong; see `selective.aurc`. It is streamed over about 400 bins:
    `selective.aurc_bounds(metric.ranked_bins())` holds the exact number.

    Args:
        num_bins: Number of bins of the other measures, at least 1. Defaults to
            `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits; None detects it.
        ignore_label: Class id of examples without a label; None ignores none.
        name: Name in the logs. Defaults to `"aurc"`.
        dtype: Type of the result.

    Example:
        >>> metric = AURC()
        >>> metric.update_state([0, 0], [[0.75, 0.25], [0.125, 0.875]])
        >>> float(metric.result())
        0.75
    """

    _key = "aurc"

    def result(self) -> Any:
        """Returns the area, a scalar; NaN without examples."""
        return ops.cast(selective.area(self.ranked_bins()), self.dtype)


class ClassGaps(NamedTuple):
    """The signed gap of each class, by the label.

    Attributes:
        gap: Mean confidence minus accuracy of the examples of each class,
            float `(K,)` in [-1, 1]; NaN for a class without examples.
        standard_error: Of each gap, `(K,)`, as
            `CalibrationMetrics.signed_gap_error` has it.
    """

    gap: np.ndarray
    standard_error: np.ndarray


@keras.saving.register_keras_serializable("tf_mixup")
class ClassCalibrationMetrics(CalibrationMetrics):
    """`CalibrationMetrics` that also knows the signed gap of each class.

    `callbacks.AlphaTuner` tunes the alpha of each class by it. It is logged as
    `ece`, too, and has the class-wise ECE of any number of classes. In gaps
    the examples of a class are those with its label; a soft target counts for
    each class by its mass.

    Args:
        num_bins: As for `CalibrationMetrics`.
        options: The other arguments of `CalibrationMetrics`.

    Example:
        >>> metric = ClassCalibrationMetrics(from_logits=False)
        >>> outputs = [[0.75, 0.25], [0.25, 0.75], [0.25, 0.75]]
        >>> metric.update_state([0, 0, 1], outputs)
        >>> metric.class_gaps().gap.tolist()
        [0.25, -0.25]
    """

    def __init__(self, num_bins: int = 15, **options: Any) -> None:
        super().__init__(num_bins, **options)
        # Of each class the sums of weights, of squared weights, of gaps and of
        # squared gaps; made when K is known.
        self._class_sums: Any = None

    def build(self, num_classes: int) -> None:
        """Creates the sums by class; see `CalibrationMetrics.build`."""
        super().build(num_classes)
        if self._class_sums is None:
            with _outside_of_functions():
                self._class_sums = self._add_sums("classes", 4, num_classes)

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch; see `CalibrationMetrics.update_state`."""
        labels, columns, weight = self._read(y_true, y_pred, sample_weight)
        super().update_state(y_true, y_pred, sample_weight)
        scores = per_example.ExampleScores(labels, columns)
        gap = scores.confidence - scores.correct
        weight = ops.ones_like(gap) if weight is None else weight
        weight = ops.cast(weight, gap.dtype) * ops.ones_like(gap)
        counted = ops.logical_and(ops.isfinite(gap), weight >= 0)
        gap, weight = (ops.where(counted, x, 0.0) for x in (gap, weight))
        parts = [
            *(weight, ops.square(weight)),
            *(weight * gap, weight * ops.square(gap)),
        ]
        sums = ops.stack([scores.sum_targets(part) for part in parts])
        self._class_sums.assign_add(ops.cast(sums, self._sums))

    def _bins_classes(self, num_classes: int) -> bool:
        return True

    def class_gaps(self) -> ClassGaps:
        """Returns the gap of each class; call it between steps.

        Raises:
            ValueError: If there has been no batch.
        """
        if self._class_sums is None:
            raise _checks.refusal(
                "`class_gaps()` needs at least one batch",
                "an empty metric",
                "Call `update_state` first",
            )
        sums = ops.convert_to_numpy(self._class_sums)
        weight, squared, total, squares = sums
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = total / weight
            size = weight**2 / squared
            return ClassGaps(
                gap, _error_of_mean(squares / weight - gap**2, size)
            )


def _error_of_mean(variance: Any, size: Any) -> Any:
    """Returns the standard error of a mean of gaps, each in [-1, 1].

    One more that is 1 off is counted: few that agree are not certain.

    Args:
        variance: Of the gaps.
        size: Their number; with weights the effective sample size,
            (sum of w)^2 / sum of w^2.
    """
    return np.sqrt(size * np.maximum(variance, 0) + 1) / size
