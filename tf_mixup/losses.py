"""Losses that mixup is compared with; soft targets are welcome.

Label smoothing says how sure the targets are, the entropy-regularised loss
how sure the predictions may be. Both are linear in the targets, so they go
with mixed targets as well as with class ids. Letters: B rows, K classes.
"""

from typing import Any

import keras
from keras import ops

from tf_mixup import checks
from tf_mixup import predictions

SPREADS = ("others", "all")


def smooth(targets: Any, epsilon: float, *, spread: str = "others") -> Any:
    """Moves a share of each target's mass from its classes to the rest.

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
    checks.real_between("epsilon", epsilon, 0, 1, remedy="It is a share")
    checks.one_of("spread", spread, SPREADS)
    num_classes = targets.shape[-1]
    if num_classes < 2:
        raise checks.refusal(
            "Label smoothing needs a column for each of at least 2 classes",
            f"targets of shape {tuple(targets.shape)}",
            "Write a sigmoid's targets as two columns",
        )
    if spread == "all":
        return (1 - epsilon) * targets + epsilon / num_classes
    return (1 - epsilon) * targets + epsilon * (1 - targets) / (num_classes - 1)


@keras.saving.register_keras_serializable("tf_mixup")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy against smoothed targets.

    Args:
        epsilon: Share of each target's mass that is moved, in `[0, 1]`. The
            calibration paper: 0.05 and 0.1.
        spread: Which classes get it, `"others"` or `"all"`; see `smooth`.
        from_logits: Whether predictions are logits. Defaults to `False`.
        reduction: As in Keras' losses.
        name: Name of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> loss = SmoothedCrossentropy(0.1, from_logits=True)
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
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.epsilon = checks.real_between(
            "epsilon", epsilon, 0, 1, remedy="It is a share"
        )
        self.spread = checks.one_of("spread", spread, SPREADS)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each row, `(B,)`, in nats.

        It is NaN where the label is no distribution, such as an id out of
        range.

        Args:
            y_true: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
            y_pred: Probabilities or logits `(B, K)`; `(B,)` or `(B, 1)` of a
                sigmoid. Of higher rank `(..., K)`, with targets like it.

        Raises:
            ValueError: If the shapes do not fit.
        """
        targets, logs = _read(y_true, y_pred, from_logits=self.from_logits)
        smoothed = smooth(targets, self.epsilon, spread=self.spread)
        return -ops.sum(smoothed * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "spread": self.spread,
            "from_logits": self.from_logits,
        }


@keras.saving.register_keras_serializable("tf_mixup")
class EntropyRegularized(keras.losses.Loss):
    """Cross-entropy minus `kappa` times the predictions' entropy (ERL).

    `loss = -sum_k y_k log p_k - kappa * H(p)` with `H(p) = -sum_k p_k log
    p_k`: a confident prediction, which has little entropy, costs more.

    Args:
        kappa: Weight of the entropy, at least 0. The calibration paper: 0.1.
        from_logits: Whether predictions are logits. Defaults to `False`.
        reduction: As in Keras' losses.
        name: Name of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: If `kappa` is negative or not finite.

    Example:
        >>> loss = EntropyRegularized(0.5, from_logits=True)
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
        from_logits: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "entropy_regularized",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.kappa = checks.real_at_least(
            "kappa", kappa, 0, remedy="Write 0 for cross-entropy alone"
        )
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each row, `(B,)`, in nats.

        It is NaN where the label is no distribution, such as an id out of
        range.

        Args:
            y_true: Class ids `(B,)` or `(B, 1)`, or targets `(B, K)`.
            y_pred: Probabilities or logits `(B, K)`; `(B,)` or `(B, 1)` of a
                sigmoid. Of higher rank `(..., K)`, with targets like it.

        Raises:
            ValueError: If the shapes do not fit.
        """
        targets, logs = _read(y_true, y_pred, from_logits=self.from_logits)
        # -sum y log p - kappa H(p), in one sum.
        weights = targets - self.kappa * ops.exp(logs)
        return -ops.sum(weights * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this loss."""
        return {
            **super().get_config(),
            "kappa": self.kappa,
            "from_logits": self.from_logits,
        }


def _read(labels: Any, outputs: Any, *, from_logits: bool) -> tuple[Any, Any]:
    """Returns targets and the logarithms of probabilities, `(..., K)`."""
    labels = ops.convert_to_tensor(labels)
    outputs = ops.convert_to_tensor(outputs)
    inner = ops.shape(outputs)[:-1] if len(outputs.shape) > 2 else None
    if inner is not None:
        if len(labels.shape) != len(outputs.shape):
            raise checks.refusal(
                "Predictions of more than one row for each example need"
                " targets of their shape",
                f"labels of shape {tuple(labels.shape)} for predictions of"
                f" shape {tuple(outputs.shape)}",
                "Give one-hot targets, or reshape both to one row per"
                " prediction",
            )
        outputs = ops.reshape(outputs, (-1, outputs.shape[-1]))
        labels = ops.reshape(labels, (-1, labels.shape[-1]))
    num_classes = predictions.count_columns(outputs)
    targets = predictions.to_targets(labels, num_classes, outputs.shape[0])
    logs = predictions.to_columns(outputs, from_logits=from_logits)
    if from_logits:
        logs = ops.log_softmax(logs, axis=-1)
    else:
        logs = ops.log(ops.clip(logs, predictions.TINY_PROBABILITY, 1.0))
    if inner is not None:
        shape = (*inner, logs.shape[-1])
        targets, logs = ops.reshape(targets, shape), ops.reshape(logs, shape)
    return targets, logs
