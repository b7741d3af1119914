"""Conformal prediction sets: classes that cover the true one often enough.

A split conformal predictor: each example of a held-out set gives a score to
its true class, and a set has all classes whose score is at most a quantile of
these. Whatever the model, the sets then contain the true class of new
examples with at least the chosen probability, if these are drawn as the
held-out ones.

Shapes: N examples, K classes.
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._models import output_layers
from tf_mixup.calibration import regression
from tf_mixup.posthoc import scalers

SCORES = ("lac", "aps", "raps")
# Numbers that are sorted at once, to bound the memory.
_CHUNK = 2**24
# Equal scores may differ by as much, since processors round the elements of an
# array in more than one way.
_ROUNDING = 5e-7


@keras.saving.register_keras_serializable("tf_mixup")
class ConformalSets(scalers.Scaler):
    """Predicts sets of classes that contain the true one with a given coverage.

    It is fitted, attached and saved as a scaler is, on examples that neither
    trained the model, nor tuned or scaled it, nor test it:

        sets = ConformalSets("aps", coverage=0.9)
        predictor = calibrate(calibrated_model, sets, held_out, test=x_test)
        predictor.predict(x_test)  # 0 or 1, (N, K)

    Of n examples the quantile is the ceil((n + 1) coverage)-th smallest score.
    Over draws of these examples, the coverage of a fitted predictor has the
    distribution Beta(k, n + 1 - k) with this k where no two scores are equal,
    and is higher where some are. With a probability `p` of each class the
    scores are:

    - `"lac"`: `1 - p`, which makes the smallest sets on average;
    - `"aps"`: the sum of `p` over all classes that are at least as probable,
      which makes larger sets where the model is uncertain;
    - `"raps"`: that sum, plus `penalty` for each of these classes but
      `free_rank`, which keeps out the tail of many classes.

    Args:
        score: `"lac"`, `"aps"` or `"raps"`.
        coverage: Share of examples whose set contains their class, in (0, 1).
        per_class: Whether each class gets a quantile of its own, and so the
            coverage (Mondrian). A class needs `coverage / (1 - coverage)`
            examples, 9 at 0.9; one with fewer is in every set.
        allow_empty: Whether a set may be empty; if not, the score of the class
            with the largest probability is 0, so that it is in every set.
        penalty: Of `"raps"`, at least 0.
        free_rank: Of `"raps"`: classes without a penalty, at least 0.

    Attributes:
        thresholds: `(K,)`, the largest score that a class may have; infinite
            where there were too few examples. Empty until it is fitted.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> logits = np.log([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
        >>> sets = ConformalSets("lac", coverage=0.7).fit(logits, [0, 0, 1, 0])
        >>> sets.thresholds.round(3).tolist()
        [0.6, 0.6]
        >>> sets.apply(np.log([[0.65, 0.35], [0.5, 0.5]])).tolist()
        [[True, False], [True, True]]

    References:
        Sadinle, Lei and Wasserman. Least Ambiguous Set-Valued Classifiers with
        Bounded Error Levels. JASA 2019 (LAC).
        Romano, Sesia and Candes. Classification with Valid and Adaptive
        Coverage. NeurIPS 2020 (APS, without its randomization).
        Angelopoulos et al. Uncertainty Sets for Image Classifiers using
        Conformal Prediction. ICLR 2021 (RAPS).
    """

    _arguments = (
        *("score", "coverage", "per_class"),
        *("allow_empty", "penalty", "free_rank"),
    )
    _fitted = ("thresholds",)

    def __init__(
        self,
        score: str = "aps",
        *,
        coverage: float = 0.9,
        per_class: bool = False,
        allow_empty: bool = False,
        penalty: float = 0.01,
        free_rank: int = 5,
    ) -> None:
        super().__init__()
        self.score = _checks.one_of("score", score, SCORES)
        self.coverage = _check_coverage(coverage)
        self.per_class = _checks.boolean("per_class", per_class)
        self.allow_empty = _checks.boolean("allow_empty", allow_empty)
        self.penalty = _checks.real_at_least(
            "penalty", penalty, 0, remedy="Write 0 for none"
        )
        self.free_rank = _checks.integer_at_least(
            "free_rank", free_rank, 0, remedy="Write 0 to penalize all"
        )
        self.thresholds = np.empty(0)

    def apply(self, logits: Any) -> np.ndarray:
        """Returns which classes are in each example's set.

        Args:
            logits: Float array `(N, K)`, or `(N,)` or `(N, 1)` of a sigmoid.

        Returns:
            sets: Booleans `(N, K)`; K is 2 for a sigmoid.

        Raises:
            ValueError: As for a scaler.
        """
        return super().apply(logits)

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        if np.ptp(weights) > 1e-6 * weights.max():
            raise _checks.refusal(
                "Conformal sets take no weights: quantiles of weighted examples"
                " have no such coverage",
                f"weights from {weights.min():.3g} to {weights.max():.3g}",
                "Leave `sample_weight` out, or write 0 and 1",
            )
        soft = int((targets.max(axis=-1) < 1).sum())
        if soft:
            raise _checks.refusal(
                "Conformal sets are fitted on examples of one class each",
                f"{soft} of {len(targets)} targets with mass on several",
                "Draw a class from each target first",
            )
        labels = targets.argmax(axis=-1)
        scores = np.concatenate(
            [
                self._score_labels(
                    scalers.float32_softmax(logits[part]), labels[part]
                )
                for part in _parts(logits)
            ]
        )
        if not self.allow_empty:
            scores[logits.argmax(axis=-1) == labels] = 0
        num_classes = targets.shape[1]
        if self.per_class:
            parts = [scores[labels == each] for each in range(num_classes)]
        else:
            parts = [scores]
        found = np.array([_quantile(part, self.coverage) for part in parts])
        found *= 1 + _ROUNDING
        self.thresholds = np.broadcast_to(found, (num_classes,)).copy()
        if np.isinf(found).any():
            least = math.ceil(self.coverage / (1 - self.coverage) - 1e-9)
            what = "examples of each class" if self.per_class else "examples"
            warnings.warn(
                f"{np.isinf(found).sum()} of {len(found)} quantiles are"
                " infinite, and such classes are in every set: coverage"
                f" {self.coverage:g} takes at least {least} {what}.",
                stacklevel=3,
            )

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        sets = np.concatenate(
            [
                self._choose(scalers.float32_softmax(logits[part]))
                for part in _parts(logits)
            ]
        )
        if not self.allow_empty:
            sets[np.arange(len(sets)), logits.argmax(axis=-1)] = True
        return sets

    def _score_labels(
        self, probabilities: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Returns the score of each example's class, `(N,)`."""
        own = np.take_along_axis(probabilities, labels[:, None], axis=1)
        if self.score == "lac":
            return 1 - own[:, 0]
        # As they are summed for all classes, to the bit.
        falling, sums = self._sum_down(probabilities)
        last = (falling >= own).sum(axis=1, keepdims=True) - 1
        return np.take_along_axis(sums, last, axis=1)[:, 0]

    def _choose(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns which classes have a score of at most their threshold."""
        if self.score == "lac":
            return 1 - probabilities <= self.thresholds
        falling, sums = self._sum_down(probabilities)
        if self.per_class:
            rising = falling[:, ::-1]
            below = np.stack(list(map(np.searchsorted, rising, probabilities)))
            last = probabilities.shape[1] - 1 - below
            return np.take_along_axis(sums, last, axis=1) <= self.thresholds
        # Classes that are as probable as the first one left out are, too.
        kept = (sums <= self.thresholds[0]).sum(axis=1, keepdims=True)
        falling = np.pad(falling, ((0, 0), (0, 1)), constant_values=-1)
        return probabilities > np.take_along_axis(falling, kept, axis=1)

    def _sum_down(
        self, probabilities: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns falling probabilities and their sums with penalties."""
        falling = np.sort(probabilities, axis=1)[:, ::-1]
        sums = np.cumsum(falling, axis=1)
        if self.score == "raps":
            ranks = np.arange(1, sums.shape[1] + 1)
            late = np.maximum(ranks - self.free_rank, 0)
            sums += (self.penalty * late).astype(sums.dtype)
        return falling, sums

    def _make_layer(self) -> keras.layers.Layer:
        layer = ConformalLayer(
            self._num_classes,
            self.score,
            allow_empty=self.allow_empty,
            penalty=self.penalty if self.score == "raps" else 0.0,
            free_rank=self.free_rank,
        )
        layer.set_weights([self.thresholds])
        return layer

    def _describe(self) -> str:
        least, most = self.thresholds.min(), self.thresholds.max()
        ends = f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
        return f"threshold={ends}"


@keras.saving.register_keras_serializable("tf_mixup")
class ConformalLayer(keras.layers.Layer):
    """Turns logits `(B, K)` into sets: 1 for the classes in it, 0 for others.

    Args:
        num_classes: K.
        score: As for `ConformalSets`, as are the following.
        allow_empty: Whether a set may be empty.
        penalty: Of `"raps"`.
        free_rank: Of `"raps"`.
        name: Name of the layer.
    """

    def __init__(
        self,
        num_classes: int,
        score: str,
        *,
        allow_empty: bool,
        penalty: float,
        free_rank: int,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.num_classes = num_classes
        self.score = score
        self.allow_empty = allow_empty
        self.penalty = penalty
        self.free_rank = free_rank
        self.thresholds = self.add_weight(
            (num_classes,), "ones", trainable=False, name="thresholds"
        )

    def call(self, logits: Any) -> Any:
        """Returns float32 sets `(B, K)` of logits `(B, K)`."""
        output_layers.check_classes(logits, self.num_classes)
        probabilities = ops.softmax(logits, axis=-1)
        if self.score == "lac":
            scores = 1 - probabilities
        else:
            scores = self._sum_down(probabilities)
        sets = ops.cast(scores <= self.thresholds, "float32")
        if self.allow_empty:
            return sets
        top = ops.one_hot(ops.argmax(logits, axis=-1), self.num_classes)
        return ops.maximum(sets, top)

    def _sum_down(self, probabilities: Any) -> Any:
        """Returns the sum of classes that are at least as probable."""
        rising = ops.sort(probabilities, axis=-1)
        sums = ops.cumsum(ops.flip(rising, axis=-1), axis=-1)
        ranks = ops.arange(1, self.num_classes + 1, dtype="float32")
        late = ops.maximum(ranks - self.free_rank, 0)
        below = ops.vectorized_map(
            lambda pair: ops.searchsorted(*pair), (rising, probabilities)
        )
        last = self.num_classes - 1 - ops.cast(below, "int32")
        return ops.take_along_axis(sums + self.penalty * late, last, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        names = ("num_classes", "score", "allow_empty", "penalty", "free_rank")
        config = {key: getattr(self, key) for key in names}
        return {"name": super().get_config()["name"], **config}


def _parts(logits: np.ndarray) -> Iterator[slice]:
    """Yields places of as many examples as are sorted at once."""
    size = max(_CHUNK // logits.shape[1], 1)
    for start in range(0, len(logits), size):
        yield slice(start, start + size)


def conformal_radius(
    targets: Any, predictions: Any, *, coverage: float = 0.9
) -> float:
    """Returns r so that `prediction +- r` covers new targets often enough.

    Split conformal regression: the ceil((n + 1) coverage)-th smallest absolute
    residual of n held-out examples. Whatever the model, the interval covers a
    new target with at least this probability, if it is drawn as these are. All
    intervals have the same width.

    Args:
        targets: Numbers `(B,)` or `(B, 1)` of examples that nothing else was
            fitted on, and that do not test the model.
        predictions: The model's, in the same shapes.
        coverage: Share of new targets to be covered, in (0, 1).

    Returns:
        radius: In the unit of the targets; infinite where there are fewer than
            `coverage / (1 - coverage)` examples.

    Raises:
        ValueError: If they are not one finite number for each example, or the
            coverage is out of range.

    Example:
        >>> conformal_radius(np.arange(9), np.zeros(9), coverage=0.8)
        7.0

    References:
        Lei et al. Distribution-Free Predictive Inference for Regression. JASA
        2018, algorithm 2. https://arxiv.org/abs/1604.04173
    """
    coverage = _check_coverage(coverage)
    y, predicted = regression.read_columns(
        {"targets": targets, "predictions": predictions}
    )
    residuals = np.abs(y - predicted)
    if not np.isfinite(residuals).all():
        raise _checks.refusal(
            "Residuals must be finite",
            f"{np.sum(~np.isfinite(residuals))} that are not",
            "Look for NaN in the targets and the predictions",
        )
    return _quantile(residuals, coverage)


def _check_coverage(coverage: float) -> float:
    """Returns a number between 0 and 1."""
    remedy = "Write e.g. 0.9"
    checked = _checks.real_between("coverage", coverage, 0, 1, remedy=remedy)
    if not 0 < checked < 1:
        raise _checks.refusal(
            "`coverage` must lie between 0 and 1",
            f"coverage={coverage!r}",
            remedy,
        )
    return checked


def _quantile(scores: np.ndarray, coverage: float) -> float:
    """Returns the ceil((n + 1) coverage)-th smallest score, or infinity."""
    # Without what rounding adds to a whole number.
    place = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if place > len(scores):
        return math.inf
    return float(np.partition(scores, place - 1)[place - 1])
