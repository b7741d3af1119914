"""A classifier's predictions in one form, whatever its outputs are.

Letters: N rows, K classes.
"""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from tf_mixup import _output_kind
from tf_mixup import checks
from tf_mixup import model_outputs
from tf_mixup import predictions

KINDS = ("probabilities", "logits", "sigmoid", "sigmoid_logits")
OUTPUTS = ("auto", *KINDS)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions in one form, and labels.

    Attributes:
        labels: Class ids, int64 `(N,)`.
        logits: Float32 `(N, K)`; K is 2 for one sigmoid.
        probabilities: Float32 `(N, K)`.
        from_logits: Whether the model gave logits, so that the likelihood
            needs no floor.
    """

    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    from_logits: bool

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """The largest probability of each row, `(N,)`."""
        return self._top_label[0]

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """1 where the predicted class is the label, else 0, `(N,)`."""
        return self._top_label[1]

    @property
    def nll(self) -> np.ndarray:
        """Negative log-likelihood of each row in nats, `(N,)`."""
        values = predictions.negative_log_likelihood(
            self.labels,
            self.logits if self.from_logits else self.probabilities,
            from_logits=self.from_logits,
        )
        return keras.ops.convert_to_numpy(values)

    def take(self, rows: np.ndarray) -> "Predictions":
        """Returns some of the rows."""
        return dataclasses.replace(
            self,
            labels=self.labels[rows],
            logits=self.logits[rows],
            probabilities=self.probabilities[rows],
        )

    def divide(self, temperature: float) -> "Predictions":
        """Returns what temperature scaling makes of them."""
        logits = self.logits / np.float32(temperature)
        probabilities = predictions.to_probabilities(logits)
        return dataclasses.replace(
            self,
            logits=logits,
            probabilities=keras.ops.convert_to_numpy(probabilities),
        )

    @functools.cached_property
    def _top_label(self) -> list[np.ndarray]:
        columns = predictions.top_label(self.labels, self.probabilities)
        return [keras.ops.convert_to_numpy(column) for column in columns]


def recognise(outputs: np.ndarray, told: str = "auto") -> str:
    """Finds out what a model's outputs are.

    Args:
        outputs: Finite outputs `(N, K)`.
        told: One of `OUTPUTS`; what is not `"auto"` is checked only.

    Returns:
        kind: One of `KINDS`. `"auto"` takes one column in [0, 1] for a
            sigmoid and another for its logit; rows that are at least 0 and
            sum to 1 for probabilities and others for logits.

    Raises:
        ValueError: If `told` cannot be, or if several columns in [0, 1] do
            not sum to 1.

    Example:
        >>> recognise(np.array([[0.25, 0.75]])), recognise(np.array([[0.3]]))
        ('probabilities', 'sigmoid')
    """
    checks.one_of("outputs", told, OUTPUTS)
    unit = bool(np.all((outputs >= 0) & (outputs <= 1 + 1e-6)))
    if outputs.shape[1] == 1:
        possible = ["sigmoid_logits"] if not unit else ["sigmoid"]
        possible += ["sigmoid_logits"]
    else:
        totals = outputs.sum(axis=-1)
        sums = bool(np.all(np.abs(totals - 1) <= _output_kind.SUM_TOLERANCE))
        if unit and not sums and told == "auto":
            raise checks.refusal(
                "Probabilities of a row must sum to 1",
                f"{outputs.shape[1]} columns in [0, 1] whose sums go from"
                f" {totals.min():.3g} to {totals.max():.3g}",
                "A model of several labels at once has no confidence in one"
                " class; if these are logits, say so with outputs='logits'",
            )
        possible = ["probabilities"] if unit and sums else ["logits"]
        possible += ["logits"]
    if told not in ("auto", *possible):
        raise checks.refusal(
            f"The model's outputs must be what `outputs` says, {told}",
            f"{outputs.shape[1]} columns from {outputs.min():.3g} to"
            f" {outputs.max():.3g}",
            f"Write outputs='auto', which finds {possible[0]}",
        )
    return possible[0] if told == "auto" else told


def standardise(outputs: np.ndarray, kind: str, labels: Any) -> Predictions:
    """Brings outputs and labels into one form.

    Args:
        outputs: Finite outputs `(N, K)`, K at least 1.
        kind: One of `KINDS`.
        labels: Class ids `(N,)` or `(N, 1)`, or one-hot targets `(N, K)`.

    Returns:
        predictions: With two columns of a sigmoid. Logits of probabilities
            are their logarithms, as in `posthoc.calibrate`.

    Raises:
        ValueError: If labels are soft, out of range or of one class only.
    """
    probabilities = to_probabilities(outputs, kind)
    ids = class_ids(np.asarray(labels), probabilities.shape[1])
    if np.unique(ids).size < 2:
        raise checks.refusal(
            "Data must hold at least two classes",
            f"{ids.size} rows that are all of class {ids[0]}",
            "Shuffle data that are sorted by class, or take more rows",
        )
    from_logits = kind.endswith("logits")
    return Predictions(
        labels=ids,
        logits=model_outputs.to_logits(outputs, from_logits),
        probabilities=probabilities,
        from_logits=from_logits,
    )


def to_probabilities(outputs: np.ndarray, kind: str) -> np.ndarray:
    """Returns a model's outputs as probabilities of all classes.

    Args:
        outputs: Finite outputs `(N, K)`, K at least 1.
        kind: One of `KINDS`.

    Returns:
        probabilities: Float32 `(N, K)`; K is 2 for a sigmoid.
    """
    outputs = outputs.astype(np.float32)
    if kind.endswith("logits"):
        probabilities = predictions.to_probabilities(outputs)
        return keras.ops.convert_to_numpy(probabilities)
    if kind == "sigmoid":
        return np.hstack([1 - outputs, outputs])
    return outputs


def class_ids(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns labels as class ids.

    Args:
        labels: Class ids `(N,)` or `(N, 1)`, or one-hot targets `(N, K)`.
        num_classes: K.

    Returns:
        ids: Int64 `(N,)`.

    Raises:
        ValueError: If labels are soft or out of range.
    """
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
        if not one_hot:
            raise checks.refusal(
                "Labels must be class ids or one-hot",
                "rows of targets with several classes in them",
                "Report on data that are neither mixed nor smoothed",
            )
        labels = labels.argmax(axis=-1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        raise checks.refusal(
            f"Labels must be class ids (N,) or one-hot (N, {num_classes})",
            f"labels of shape {labels.shape} and type {labels.dtype}",
            "Give one number for each row; a model with one output column"
            " has two classes, 0 and 1",
        )
    if not np.all((labels == np.rint(labels)) & (labels >= 0)) or np.any(
        labels >= num_classes
    ):
        raise checks.refusal(
            f"Labels must be whole numbers from 0 to {num_classes - 1}, as the"
            f" model tells {num_classes} classes apart",
            f"labels from {labels.min()} to {labels.max()}",
            "Number the classes from 0 in the order of the model's outputs",
        )
    return labels.astype(np.int64)
