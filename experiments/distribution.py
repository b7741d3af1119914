"""What training on several devices of one host needs beside Keras."""

from typing import Any

import keras
import tensorflow as tf


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of a `--strategy` flag.

    Args:
        name: `"none"` for one device, or `"mirrored"` for all GPUs, else all
            logical CPUs.

    Returns:
        strategy: Keras' default strategy for one device, on which it may use
            XLA; `MirroredStrategy` for more.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Strategies are TensorFlow's. Received: strategy='mirrored' with"
            f" the Keras backend {keras.backend.backend()!r}. Set"
            " KERAS_BACKEND=tensorflow, or leave --strategy out."
        )
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(devices)


class AverageMovingStatistics(keras.callbacks.Callback):
    """Averages batch norm's moving statistics over the replicas.

    Keras leaves each replica its own: evaluation would use another model on
    each replica, and saving would keep the first one's. List it first.
    """

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Averages before validation."""
        self._average()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Averages before checkpoints."""
        self._average()

    def _average(self) -> None:
        strategy = self.model.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return
        with strategy.scope():
            for layer in _flatten(self.model):
                if isinstance(layer, keras.layers.BatchNormalization):
                    _average_variable(strategy, layer.moving_mean)
                    _average_variable(strategy, layer.moving_variance)


def _average_variable(strategy: tf.distribute.Strategy, variable: Any) -> None:
    values = strategy.experimental_local_results(variable.value)
    copies = [tf.identity(value) for value in values]
    variable.assign(tf.add_n(copies) / len(copies))


def _flatten(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers of a model and of the models within it."""
    inner = getattr(layer, "layers", [])
    return [layer, *(each for one in inner for each in _flatten(one))]
