"""Calibration during `fit` and `evaluate`: Keras metrics over one state.

A metric keeps sums (`calibration.Bins` of a fine table, of the likelihood and
of the Brier score), so that it is exact whatever the batch size, the last
batch and the number of replicas. The average of per-batch ECEs is another
number: a batch of 128 rows has an ECE of several per cent from noise alone.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import calibration
from tf_mixup import checks
from tf_mixup import predictions

# Bins of the fine table, at least: equal-mass bins are estimated from it.
_FINE = 300


@keras.saving.register_keras_serializable("tf_mixup")
class CalibrationBins(keras.metrics.Metric):
    """Sums predictions into bins of confidence; the result is ECE.

    One pass over the data gives all that `results()` lists. The state is a
    table of about 300 bins, a refinement of `num_bins`, in float64, so that
    nothing is lost over millions of rows.

    Rows whose prediction or label is no distribution (NaN, logits without
    `from_logits`, a label out of range) are left out and counted; if no other
    row remains the result is NaN, not 0.

    Args:
        num_bins: Bins of the result, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits: `(B, K)` of a softmax,
            `(B,)` or `(B, 1)` of a sigmoid. Defaults to `False`.
        name: Name in the logs.
        dtype: Type of the result; sums are float64 where the backend has it.

    Raises:
        ValueError: If `num_bins` or `edges` is out of range.

    Example:
        >>> metric = CalibrationBins(num_bins=10)
        >>> metric.update_state([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> results = metric.results()
        >>> round(results["ece"], 4), round(results["over"], 4)
        (0.45, 0.4)

        In training: `model.compile(..., metrics=[CalibrationBins()])`.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        edges: str = "right",
        from_logits: bool = False,
        name: str = "calibration_bins",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_bins = checks.integer_at_least(
            "num_bins", num_bins, 1, remedy="Write 15, as most papers do"
        )
        self.edges = checks.one_of("edges", edges, calibration.EDGES)
        self.from_logits = from_logits
        self._factor = -(-_FINE // self.num_bins)
        sums = calibration.accumulator_dtype()
        # Rows of the table: count, confidence, correct.
        self._table = self.add_weight(
            shape=(3, self.num_bins * self._factor),
            initializer="zeros",
            dtype=sums,
            name="table",
        )
        # Negative log-likelihood, Brier score, number of rows left out.
        self._totals = self.add_weight(
            shape=(3,), initializer="zeros", dtype=sums, name="totals"
        )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
            y_pred: Predictions `(B, K)`, or `(B,)` or `(B, 1)` of a sigmoid.
            sample_weight: Optional weights `(B,)` or `(B, 1)`, or a scalar.
        """
        sums = self._table.dtype
        # Half precision cannot tell confidences above 0.99 apart.
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        rows = predictions.Rows(y_true, y_pred, from_logits=self.from_logits)
        confidence, correct = rows.confidence, rows.correct
        weight = ops.ones_like(confidence, dtype=sums)
        if sample_weight is not None:
            given = ops.cast(ops.convert_to_tensor(sample_weight), sums)
            weight = weight * ops.reshape(given, (-1,))

        # Zeroed, not only weighted by 0: 0 * NaN is NaN.
        counted = ops.isfinite(correct)
        left_out = ops.logical_and(ops.logical_not(counted), weight != 0)
        weight = ops.where(counted, weight, 0.0)
        confidence, correct, nll, brier = (
            ops.where(counted, column, 0.0)
            for column in (confidence, correct, rows.nll, rows.brier)
        )
        bins = calibration.bin_confidences(
            confidence,
            correct,
            num_bins=self.num_bins * self._factor,
            edges=self.edges,
            sample_weight=weight,
        )
        self._table.assign_add(ops.stack(bins))
        totals = (
            ops.sum(weight * ops.cast(nll, sums)),
            ops.sum(weight * ops.cast(brier, sums)),
            ops.sum(ops.cast(left_out, sums)),
        )
        self._totals.assign_add(ops.stack(totals))

    def result(self) -> Any:
        """Returns the expected calibration error, a scalar."""
        return self._measure(calibration.expected_calibration_error)

    def fine_bins(self) -> calibration.Bins:
        """Returns the table of about 300 bins, summed over replicas."""
        table = ops.convert_to_tensor(self._table)
        return calibration.Bins(table[0], table[1], table[2])

    def bins(self) -> calibration.Bins:
        """Returns the table of `num_bins` bins, summed over replicas."""
        return calibration.merge_bins(self.fine_bins(), self._factor)

    def results(self) -> dict[str, float]:
        """Returns every number the state holds.

        Call it between steps (in a callback, after `evaluate`), not inside a
        compiled function.

        Returns:
            results: `ece`, `oe`, `mce`; `over` and `under`, the parts of ECE;
                `signed_gap` = `confidence` - `accuracy`; `nll` in nats;
                `brier` in [0, 2]; `adaptive_ece`, estimated from the fine
                table; `nonfinite`, how many rows were left out. All but the
                last are 0 before the first row, and NaN if all rows were left
                out.
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
            "adaptive_ece": calibration.adaptive_calibration_error_from_bins(
                fine, self.num_bins
            ),
        }
        results = {name: float(value) for name, value in numbers.items()}
        weight = float(ops.sum(bins.count))
        totals = ops.convert_to_tensor(self._totals)
        nll, brier, nonfinite = (float(totals[place]) for place in range(3))
        results["nll"] = nll / weight if weight else 0.0
        results["brier"] = brier / weight if weight else 0.0
        if nonfinite and not weight:
            results = dict.fromkeys(results, float("nan"))
        return {**results, "nonfinite": nonfinite}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this metric."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "edges": self.edges,
            "from_logits": self.from_logits,
        }

    def _measure(self, error: Any) -> Any:
        """Returns `error` of the bins; NaN if all rows were left out."""
        bins = self.bins()
        nonfinite = ops.convert_to_tensor(self._totals)[2]
        lost = ops.logical_and(ops.sum(bins.count) == 0, nonfinite > 0)
        value = ops.where(lost, np.nan, error(bins))
        return ops.cast(value, self.dtype)


@keras.saving.register_keras_serializable("tf_mixup")
class ExpectedCalibrationError(CalibrationBins):
    """ECE by its short name: `CalibrationBins` that logs as `ece`.

    Biased upwards on few rows; see `calibration.expected_calibration_error`.

    Args:
        num_bins: Number of bins, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits. Defaults to `False`.
        name: Name in the logs. Defaults to `"ece"`.
        dtype: Type of the result.

    Example:
        >>> metric = ExpectedCalibrationError(num_bins=10)
        >>> metric.update_state([0, 0], [[0.75, 0.25], [0.25, 0.75]])
        >>> float(metric.result())
        0.25
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        edges: str = "right",
        from_logits: bool = False,
        name: str = "ece",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            edges=edges,
            from_logits=from_logits,
            name=name,
            dtype=dtype,
        )


@keras.saving.register_keras_serializable("tf_mixup")
class OverconfidenceError(CalibrationBins):
    """The same state, whose result is OE, the cost of over-confidence.

    Under-confidence costs nothing; see `calibration.overconfidence_error`.

    Args:
        num_bins: Number of bins, at least 1. Defaults to `15`.
        edges: The closed side of bins, `"right"` (papers) or `"left"` (tfp).
        from_logits: Whether predictions are logits. Defaults to `False`.
        name: Name in the logs. Defaults to `"oe"`.
        dtype: Type of the result.

    Example:
        >>> metric = OverconfidenceError(num_bins=10)
        >>> metric.update_state([0, 0], [[0.75, 0.25], [0.25, 0.75]])
        >>> float(metric.result())
        0.1875
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        edges: str = "right",
        from_logits: bool = False,
        name: str = "oe",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_bins,
            edges=edges,
            from_logits=from_logits,
            name=name,
            dtype=dtype,
        )

    def result(self) -> Any:
        """Returns the overconfidence error, a scalar."""
        return self._measure(calibration.overconfidence_error)
