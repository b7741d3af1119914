"""Optimizers and learning-rate schedules of the papers."""

from typing import Any

import keras
from keras import ops

from experiments.runs import config as config_lib


@keras.saving.register_keras_serializable("tf_mixup_experiments")
class SGDWithL2(keras.optimizers.SGD):
    """SGD with momentum and L2 as PyTorch does it.

    The papers' weight decay is `gradient + l2 * weight`, so momentum
    multiplies it by up to ten. Keras' own `weight_decay` is added after
    momentum and would be ten times too weak. Vectors (batch norm, biases)
    are left alone. `l2` is at least 0; other arguments are Keras' own.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        *,
        l2: float = 0.0,
        momentum: float = 0.9,
        nesterov: bool = True,
        name: str = "sgd_with_l2",
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            name=name,
            **options,
        )
        self.l2 = l2

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        """Adds L2 of a kernel to its gradient; then SGD."""
        if self.l2 and len(variable.shape) > 1:
            decay = ops.cast(variable, gradient.dtype) * self.l2
            gradient = ops.add(gradient, decay)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this optimizer."""
        config = super().get_config()
        return {
            "learning_rate": config["learning_rate"],
            "l2": self.l2,
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "name": self.name,
        }


@keras.saving.register_keras_serializable("tf_mixup_experiments")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to a schedule's first value, then follows it.

    Args:
        after: Schedule of the steps after the warm-up, counted from 0.
        steps: Steps of the warm-up, at least 1; the first already learns.
        start: Learning rate that it rises from.
    """

    def __init__(self, after: Any, steps: int, start: float = 0.0) -> None:
        self.after = after
        self.steps = steps
        self.start = start

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rise = self.after(0) - self.start
        rising = self.start + rise * (step + 1) / self.steps
        following = self.after(ops.maximum(step - self.steps, 0))
        return ops.where(step < self.steps, rising, following)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this schedule."""
        after = keras.saving.serialize_keras_object(self.after)
        return {"after": after, "steps": self.steps, "start": self.start}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Rebuilds the schedule."""
        after = keras.saving.deserialize_keras_object(config["after"])
        # Older files have no start.
        return cls(after, config["steps"], config.get("start", 0.0))


def build_schedule(config: config_lib.Config, steps_per_epoch: int) -> Any:
    """Returns the learning rate as a Keras schedule of the step."""
    warmup = config.warmup_epochs * steps_per_epoch
    total = config.epochs * steps_per_epoch
    if config.schedule == "cosine":
        after: Any = keras.optimizers.schedules.CosineDecay(
            config.learning_rate, max(total - warmup, 1)
        )
    else:
        epochs = config.milestones if config.schedule == "steps" else ()
        # Keras holds the old value on the boundary itself.
        boundaries = [
            epoch * steps_per_epoch - warmup - 1
            for epoch in epochs
            if config.warmup_epochs < epoch < config.epochs
        ]
        values = [
            config.learning_rate * config.decay**drops
            for drops in range(len(boundaries) + 1)
        ]
        after = keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries or [total], values if boundaries else values * 2
        )
    return WarmUp(after, warmup, config.warmup_start) if warmup else after


def build_optimizer(
    config: config_lib.Config, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run; see `Config`."""
    schedule = build_schedule(config, steps_per_epoch)
    average: dict[str, Any] = {}
    if config.ema:
        average = {"use_ema": True, "ema_momentum": config.ema}
    if config.optimizer == "sgd":
        return SGDWithL2(
            schedule,
            l2=config.weight_decay,
            nesterov=config.nesterov,
            **average,
        )
    decay = config.weight_decay or None
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(
            schedule, weight_decay=decay, **average
        )
    else:
        optimizer = keras.optimizers.Adadelta(
            schedule, epsilon=1e-6, weight_decay=decay, **average
        )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
