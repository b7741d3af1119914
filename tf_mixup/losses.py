"""Losses that mixup is compared with, for class ids and for mixed targets.

Shapes: B examples, T steps of a sequence, K classes.
"""

import abc
from typing import Any

import keras
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import output_kind
from tf_mixup.calibration import per_example

SPREADS = ("others", "all")
# In place of logits of -inf, whose products with 0 would be NaN.
_MASKED = -1e30


def smooth(targets: Any, epsilon: float, *, spread: str = "others") -> Any:
    """Moves a share of each target's mass from its classes to the others.

    With `spread="others"` a class of mass `y` gets
    `(1 - epsilon) y + epsilon (1 - y) / (K - 1)`: the true class keeps
    `1 - epsilon`, as in the calibration paper. With `"all"` it gets
    `(1 - epsilon) y + epsilon / K`, as in Szegedy et al., the mixup paper's
    ablation and Keras.

    Args:
        targets: Float tensor `(..., K)`, distributions over classes.
        epsilon: Share that is moved, in `[0, 1]`.
        spread: Which classes get it, `"others"` or `"all"`.

    Returns:
        smoothed: Float tensor like `targets`.

    Raises:
        ValueError: If an argument is out of range, or K is 1.

    Example:
        >>> target = np.array([[1.0, 0.0, 0.0]])
        >>> np.round(np.array(smooth(target, 0.5)), 3).tolist()
        [[0.5, 0.25, 0.25]]

    References:
        Szegedy et al. Rethinking the Inception Architecture. CVPR 2016.
        https://arxiv.org/abs/1512.00567
    """
    _checks.real_between(
        "epsilon", epsilon, 0, 1, remedy="Write a number from 0 to 1"
    )
    _checks.one_of("spread", spread, SPREADS)
    num_classes = targets.shape[-1]
    if num_classes < 2:
        raise _checks.refusal(
            "Label smoothing needs a column for each of at least 2 classes",
            f"targets of shape {tuple(targets.shape)}",
            "Write a sigmoid's targets as two columns",
        )
    if spread == "all":
        return (1 - epsilon) * targets + epsilon / num_classes
    return (1 - epsilon) * targets + epsilon * (1 - targets) / (num_classes - 1)


class _Loss(keras.losses.Loss, abc.ABC):
    """Checks labels, outputs and weights, which Keras' losses only convert.

    An example of weight 0 needs no valid label.
    """

    def __init__(
        self, from_logits: bool | None, ignore_label: int | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.from_logits = output_kind.check_from_logits(from_logits)
        self.ignore_label = per_example.check_ignore_label(ignore_label)
        self._given_dtype: Any = None

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Returns the loss of a batch, with the `reduction` applied."""
        y_true = per_example.to_label_tensor(y_true)
        y_pred = numbers.read(y_pred, "Predictions")
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(
                numbers.read(sample_weight, "Weights")
            )
            y_true = self._label_unused(y_true, y_pred, sample_weight)
            if len(y_pred.shape) > 2:
                # Keras would take weights of examples for those of steps.
                sample_weight = per_example.spread(sample_weight, y_pred)
        # Keras casts, too, but drops the logits behind a softmax; and the
        # least probability is that of the type before the cast.
        self._given_dtype = getattr(y_pred, "dtype", None)
        y_pred = output_kind.cast(y_pred, self.dtype)
        try:
            return super().__call__(y_true, y_pred, sample_weight)
        finally:
            self._given_dtype = None

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(B,)`, in nats.

        It is NaN where the label is no distribution, such as an id out of
        range.

        Args:
            y_true: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
            y_pred: Probabilities or logits `(B, K)`; `(B,)` or `(B, 1)` of a
                sigmoid. Of each step `(B, T, K)`, with class ids `(B, T)` or
                targets `(B, T, K)`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        labels = per_example.to_label_tensor(y_true)
        rank = max(len(y_pred.shape) - 1, 1)
        kept = _find_kept(labels, rank, self.ignore_label)
        if kept is None:
            return self._measure(*self._read(labels, y_pred))
        # The NaN of a label that is none would be in the gradient, too.
        shown = kept[..., None] if len(labels.shape) > rank else kept
        labels = ops.where(shown, labels, ops.zeros_like(labels))
        return _leave_out(self._measure(*self._read(labels, y_pred)), kept)

    @abc.abstractmethod
    def _measure(self, targets: Any, logs: Any) -> Any:
        """Returns the loss `(...)` of targets and log-probabilities."""

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_label": self.ignore_label,
        }

    def _read(self, labels: Any, outputs: Any) -> tuple[Any, Any]:
        """Returns targets and the logarithms of probabilities, `(..., K)`."""
        outputs = ops.convert_to_tensor(outputs)
        inner = ops.shape(outputs)[:-1] if len(outputs.shape) > 2 else None
        labels, outputs, _ = per_example.flatten_steps(labels, outputs)
        columns = output_kind.read(
            outputs, self.from_logits, ask=True, dtype=self._given_dtype
        )
        targets = per_example.to_targets(
            labels, output_kind.count_columns(outputs), outputs.shape[0]
        )
        logs = ops.log_softmax(_to_logits(columns), axis=-1)
        if inner is not None:
            shape = (*inner, logs.shape[-1])
            targets = ops.reshape(targets, shape)
            logs = ops.reshape(logs, shape)
        return targets, logs

    def _label_unused(self, labels: Any, outputs: Any, weight: Any) -> Any:
        """Returns labels that are valid where the weight is 0."""
        unused = weight == 0
        rank = len(labels.shape)
        if len(unused.shape) == rank + 1 and unused.shape[-1] == 1:
            unused = unused[..., 0]
        while len(unused.shape) < rank:
            unused = unused[..., None]
        columns = labels.shape[-1] if rank >= max(len(outputs.shape), 2) else 1
        if self.ignore_label is not None and columns == 1:
            unused = ops.logical_and(unused, labels != self.ignore_label)
        if columns > 1:
            labels = ops.cast(labels, "float32")
        valid = ops.full_like(labels, 1 / columns if columns > 1 else 0)
        return ops.where(unused, valid, labels)


@keras.saving.register_keras_serializable("tf_mixup")
class LabelSmoothingCrossentropy(_Loss):
    """Cross-entropy against smoothed targets.

    Args:
        epsilon: Share of each target's mass that is moved, in `[0, 1]`. The
            calibration paper: 0.05 and 0.1.
        spread: Which classes get it, `"others"` or `"all"`; see `smooth`.
        from_logits: Whether predictions are logits; None, the default, detects
            it. Prefer logits: on TensorFlow those behind a softmax are used,
            elsewhere its rounding to 0 loses gradients.
        ignore_label: Class id of examples without a label, often -1, whose
            loss is 0 and not counted in means; None ignores none.
        reduction: As in Keras' losses.
        name: Name of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> loss = LabelSmoothingCrossentropy(0.1, from_logits=True)
        >>> round(float(loss(np.array([0]), np.array([[0.0, 0.0]]))), 4)
        0.6931

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        *,
        spread: str = "others",
        from_logits: bool | None = None,
        ignore_label: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "label_smoothing_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits,
            ignore_label,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.epsilon = _checks.real_between(
            "epsilon", epsilon, 0, 1, remedy="Write a number from 0 to 1"
        )
        self.spread = _checks.one_of("spread", spread, SPREADS)

    def _measure(self, targets: Any, logs: Any) -> Any:
        smoothed = smooth(targets, self.epsilon, spread=self.spread)
        return -ops.sum(smoothed * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "spread": self.spread,
        }


@keras.saving.register_keras_serializable("tf_mixup")
class ConfidencePenaltyCrossentropy(_Loss):
    """Cross-entropy minus `kappa` times the predictions' entropy.

    `loss = -sum_k y_k log p_k - kappa * H(p)` with `H(p) = -sum_k p_k log
    p_k`: confident predictions, of little entropy, cost more. The calibration
    paper calls it the entropy-regularized loss (ERL).

    Args:
        kappa: Weight of the entropy, at least 0. The calibration paper: 0.1.
        from_logits: As in `LabelSmoothingCrossentropy`.
        ignore_label: As in `LabelSmoothingCrossentropy`.
        reduction: As in Keras' losses.
        name: Name of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: If `kappa` is negative or not finite.

    Example:
        >>> loss = ConfidencePenaltyCrossentropy(0.5, from_logits=True)
        >>> round(float(loss(np.array([0]), np.array([[0.0, 0.0]]))), 4)
        0.3466

    References:
        Pereyra et al. Regularizing Neural Networks by Penalizing Confident
        Output Distributions. 2017. https://arxiv.org/abs/1701.06548
    """

    def __init__(
        self,
        kappa: float = 0.1,
        *,
        from_logits: bool | None = None,
        ignore_label: int | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "confidence_penalty_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits,
            ignore_label,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.kappa = _checks.real_at_least(
            "kappa", kappa, 0, remedy="Write 0 for cross-entropy alone"
        )

    def _measure(self, targets: Any, logs: Any) -> Any:
        # -sum y log p - kappa H(p), in one sum.
        weights = targets - self.kappa * ops.exp(logs)
        return -ops.sum(weights * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this loss."""
        return {**super().get_config(), "kappa": self.kappa}


def _to_logits(columns: output_kind.Columns) -> Any:
    """Returns finite logits, whose gradient is that of the outputs."""
    if columns.from_logits is True:
        # A class masked with -inf has 0 log 0 = 0, and gradient 0.
        return ops.maximum(columns.values, _MASKED)
    # Each branch gets valid values, as a NaN would spoil both gradients.
    inside = ops.where(columns.from_logits, 1.0, columns.values)
    inside = output_kind.refuse_outside(
        inside,
        "Probabilities",
        received="values",
        remedy="Write `from_logits=True` if they are logits",
    )
    inside = ops.maximum(inside, columns.floor)
    if columns.from_logits is False:
        return ops.log(inside)
    logits = ops.maximum(columns.values, _MASKED)
    return ops.where(columns.from_logits, logits, ops.log(inside))


def _find_kept(labels: Any, rank: int, ignore_label: int | None) -> Any:
    """Returns which examples or steps have a label; None if all have."""
    if ignore_label is None:
        return None
    if len(labels.shape) > rank:
        if labels.shape[-1] != 1:
            return None
        labels = labels[..., 0]
    return labels != ops.cast(ignore_label, labels.dtype)


def _leave_out(losses: Any, kept: Any) -> Any:
    """Returns losses that are 0, and not counted, where nothing is kept."""
    losses = ops.where(kept, losses, 0.0)
    try:
        # Keras' reductions leave out masked losses, as for `ignore_class`.
        losses._keras_mask = kept
    except AttributeError:
        # Tensors of other backends take no attributes.
        size = ops.cast(ops.size(kept), losses.dtype)
        count = ops.sum(ops.cast(kept, losses.dtype))
        losses = losses * size / ops.maximum(count, 1.0)
    return losses
