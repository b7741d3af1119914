"""A classifier's predictions in one form, whatever its outputs are.

Only the outputs are held as `(N, K)`; everything else is computed in blocks of
examples, or as one number for each example.

Shapes: N examples, K classes.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup import ood
from tf_mixup._models import last_layer
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup.calibration import per_example

# Numbers of a block, 8 MB as float64.
_BLOCK = 2**20
# Sums of targets further from 1 than this are no rounding of float32.
_ROUNDING = 1e-3


class Targets(NamedTuple):
    """Labels in one form.

    Attributes:
        values: Class ids, int64 `(N,)`; or distributions, float32 `(N, K)`.
        num_normalized: Distributions whose sums were within 0.05 of 1, and
            which were divided by them.
    """

    values: np.ndarray
    num_normalized: int = 0


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Outputs beside labels.

    Attributes:
        targets: Class ids, int64 `(N,)`; or distributions, float32 `(N, K)`.
        outputs: Float32 `(N, K)`, or `(N, 1)` of a sigmoid.
        from_logits: Whether outputs are logits.
        num_normalized: As in `Targets`.
    """

    targets: np.ndarray
    outputs: np.ndarray
    from_logits: bool
    num_normalized: int = 0

    def __len__(self) -> int:
        """Returns the number of examples, N."""
        return len(self.outputs)

    @property
    def num_classes(self) -> int:
        """Number of classes, K; 2 of a sigmoid."""
        return max(self.outputs.shape[1], 2)

    @property
    def has_ids(self) -> bool:
        """Whether targets are class ids."""
        return self.targets.ndim == 1

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The class with the most mass of each example, int64 `(N,)`."""
        return self.targets if self.has_ids else self.targets.argmax(axis=-1)

    @property
    def confidence(self) -> np.ndarray:
        """The largest probability of each example, `(N,)`."""
        return self._columns["confidence"]

    @property
    def correct(self) -> np.ndarray:
        """The target's mass on the predicted class, `(N,)`; 0 or 1 of ids."""
        return self._columns["correct"]

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class of each example, `(N,)`."""
        return self._columns["predicted"]

    @property
    def nll(self) -> np.ndarray:
        """Negative log-likelihood of each example in nats, `(N,)`."""
        return self._columns["nll"]

    @property
    def impossible(self) -> np.ndarray:
        """Whether the true class has probability exactly 0, bool `(N,)`.

        The NLL of such an example is that of the least positive number.
        """
        return self._columns["impossible"]

    @property
    def brier(self) -> np.ndarray:
        """Brier score of each example, `(N,)`."""
        return self._columns["brier"]

    @property
    def probabilities(self) -> np.ndarray:
        """All probabilities, float32 `(N, K)`; for few examples."""
        return np.concatenate([p for _, p in self.probability_blocks()])

    def blocks(self) -> Iterator[slice]:
        """Yields the places of blocks of examples."""
        step = max(1, _BLOCK // self.num_classes)
        for start in range(0, len(self), step):
            yield slice(start, start + step)

    def probability_blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields the places of blocks, and their probabilities `(B, K)`."""
        for at in self.blocks():
            outputs = self.outputs[at]
            yield at, to_probabilities(outputs, from_logits=self.from_logits)

    def logits(self, at: slice | np.ndarray) -> np.ndarray:
        """Returns logits of some examples, float32 `(B, K)`."""
        layer = output_layers.Logits(self.from_logits)
        return keras.ops.convert_to_numpy(layer(self.outputs[at]))

    def distributions(self, at: slice | np.ndarray) -> np.ndarray:
        """Returns targets of some examples as float32 `(B, K)`."""
        if not self.has_ids:
            return self.targets[at]
        ids = self.targets[at]
        return (ids[:, None] == np.arange(self.num_classes)).astype(np.float32)

    def halves(
        self, *, seed: int, least: int
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Splits the examples: to fit a method on a half, test on the other.

        Args:
            seed: Fixes the split.
            least: Examples that it takes.

        Returns:
            halves: Places of the examples, in order; None if there are fewer
                than `least`, or not two classes in each half.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        halves = np.sort(order[::2]), np.sort(order[1::2])
        classes = [np.unique(self.labels[half]).size for half in halves]
        return None if len(order) < least or min(classes) < 2 else halves

    def take(self, examples: np.ndarray) -> "Predictions":
        """Returns some of the examples."""
        return dataclasses.replace(
            self,
            targets=self.targets[examples],
            outputs=self.outputs[examples],
        )

    def scaled(
        self, examples: np.ndarray, temperature: float
    ) -> dict[str, np.ndarray]:
        """Returns columns of some examples after temperature scaling."""
        step = max(1, _BLOCK // self.num_classes)
        places = (
            examples[start : start + step]
            for start in range(0, len(examples), step)
        )
        return _join(
            _measure(
                self.targets[at],
                self.logits(at) / np.float32(temperature),
                from_logits=True,
            )
            for at in places
        )

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return _join(
            _measure(
                self.targets[at],
                self.outputs[at],
                from_logits=self.from_logits,
            )
            for at in self.blocks()
        )


def detect_logits(
    outputs: np.ndarray,
    from_logits: bool | None = None,
    *,
    model: keras.Model | None = None,
) -> bool:
    """Returns whether a model's outputs are logits.

    Args:
        outputs: Finite outputs `(N, K)`.
        from_logits: What the caller says; None detects it.
        model: What predicted them; its last layer decides.

    Returns:
        from_logits: Where neither the last layer nor the caller says it, one
            column within [0, 1] is taken for probabilities.

    Raises:
        ValueError: As `output_kind.are_logits`.

    Example:
        >>> detect_logits(np.array([[0.3]])), detect_logits(np.array([[3.0]]))
        (False, True)
    """
    told = output_kind.check_from_logits(from_logits)
    layer = last_layer.last_layer_gives_logits(model) if model else None
    if outputs.shape[1] == 1 and told is None and layer is None:
        tolerance = output_kind.SUM_TOLERANCE
        return bool(outputs.min() < -tolerance or outputs.max() > 1 + tolerance)
    return output_kind.are_logits(outputs, told, model=model)


def standardize(
    outputs: np.ndarray, labels: Any, *, from_logits: bool
) -> Predictions:
    """Returns finite outputs `(N, K)`, and labels, in one form."""
    outputs = np.asarray(outputs, np.float32)
    single = outputs.shape[1] == 1
    targets, num_normalized = read_targets(
        np.asarray(labels), max(outputs.shape[1], 2), single=single
    )
    classes = (
        np.unique(targets)
        if targets.ndim == 1
        else np.flatnonzero(targets.any(axis=0))
    )
    if classes.size < 2:
        raise _checks.refusal(
            "Data must hold at least two classes",
            f"{len(targets)} examples, all of class {classes[0]}",
            "Shuffle data that are sorted by class, or take more examples",
        )
    return Predictions(
        targets=targets,
        outputs=outputs,
        from_logits=from_logits,
        num_normalized=num_normalized,
    )


def to_probabilities(outputs: np.ndarray, *, from_logits: bool) -> np.ndarray:
    """Returns finite outputs as float32 probabilities `(N, K)`."""
    columns = per_example.Outputs(outputs, from_logits=from_logits)
    return keras.ops.convert_to_numpy(columns.probabilities)


def confidence(outputs: np.ndarray, *, from_logits: bool) -> np.ndarray:
    """Returns the largest probability of each example, `(N,)`."""
    step = max(1, _BLOCK // outputs.shape[1])
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(
                ood.confidence(
                    outputs[start : start + step], from_logits=from_logits
                )
            )
            for start in range(0, len(outputs), step)
        ]
    )


def read_targets(
    labels: np.ndarray, num_classes: int, *, single: bool = False
) -> Targets:
    """Returns labels as class ids, or as distributions if they are soft."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    matrix = labels.ndim == 2 and labels.shape[1] == num_classes
    # Types such as bfloat16 are none of NumPy's own.
    if not (matrix or labels.ndim == 1) or labels.dtype.kind not in "biufV":
        raise _checks.refusal(
            f"Labels must be class ids (N,), or targets (N, {num_classes}), one"
            " column for each class of the model",
            f"labels of shape {labels.shape} and type {labels.dtype}",
            "Give one class id for each example; a model with one output"
            " column has two classes, 0 and 1",
        )
    if matrix:
        return _read_distributions(labels)
    if single and labels.dtype.kind in "fV":
        mass = labels.astype(np.float32)
        if np.any(mass != np.rint(mass)) and np.all((mass >= 0) & (mass <= 1)):
            return Targets(np.stack([1 - mass, mass], axis=1))
    return Targets(_read_ids(labels, num_classes))


def _read_ids(labels: np.ndarray, num_classes: int) -> np.ndarray:
    if labels.dtype.kind == "V":
        labels = labels.astype(np.float32)
    whole = np.all(labels == np.rint(labels)) if labels.size else True
    if not whole or np.any((labels < 0) | (labels >= num_classes)):
        raise _checks.refusal(
            f"Labels must be whole numbers from 0 to {num_classes - 1}, as the"
            f" model has {num_classes} classes",
            f"labels from {labels.min()} to {labels.max()}",
            "Leave out examples without a label by `ignore_label=-1`"
            if np.all(labels[labels < 0] == -1) and np.any(labels < 0)
            else "Number the classes from 0 in the order of the model's"
            " outputs",
        )
    return labels.astype(np.int64)


def _read_distributions(labels: np.ndarray) -> Targets:
    labels = labels.astype(np.float32)
    totals = labels.sum(axis=-1)
    off = np.abs(totals - 1)
    valid = (labels >= 0).all(axis=-1) & (off <= per_example.TARGET_TOLERANCE)
    if not valid.all():
        raise _checks.refusal(
            "Targets must be at least 0 and sum to 1 over the classes",
            f"{np.sum(~valid)} of {len(labels)} examples with sums from"
            f" {totals.min():.3g} to {totals.max():.3g} and values from"
            f" {labels.min():.3g}",
            "Divide counts of votes by their sums; with several labels for an"
            " example use `report.label_report`",
        )
    if np.isin(labels, (0, 1)).all():
        return Targets(labels.argmax(axis=-1))
    normalized = labels / totals[:, np.newaxis]
    return Targets(normalized, int(np.sum(off > _ROUNDING)))


def _measure(
    targets: np.ndarray, outputs: np.ndarray, *, from_logits: bool
) -> dict[str, np.ndarray]:
    """Returns one number for each example, by name."""
    scores = per_example.ExampleScores(
        targets, outputs, from_logits=from_logits
    )
    probabilities = keras.ops.convert_to_numpy(scores.probabilities)
    columns = {
        name: keras.ops.convert_to_numpy(getattr(scores, name))
        for name in ("confidence", "correct", "nll", "brier")
    }
    return {
        **columns,
        "predicted": probabilities.argmax(axis=-1),
        # Of logits no probability is 0, but for rounding.
        "impossible": _have_no_mass(targets, probabilities) & (not from_logits),
    }


def _have_no_mass(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns which examples `(B,)` have a true class of probability 0."""
    if targets.ndim == 1:
        return probabilities[np.arange(len(targets)), targets] == 0
    return np.any((probabilities == 0) & (targets > 0), axis=-1)


def _join(parts: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    blocks = list(parts)
    return {
        name: np.concatenate([block[name] for block in blocks])
        for name in blocks[0]
    }
