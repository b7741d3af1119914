"""What training on several devices of one host needs beside Keras."""

from typing import Any

import keras
import tensorflow as tf

from tf_mixup import checks


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
    # The default joins CPUs by keys that begin anew with each strategy: a
    # second one in the same process may meet the shapes of the first.
    join = None if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=join)


def check_batch_size(strategy: tf.distribute.Strategy, batch_size: int) -> None:
    """Refuses batches that replicas cannot share equally.

    Raises:
        ValueError: If `batch_size` is no multiple of the replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise checks.refusal(
            "`batch_size` must be a multiple of the replicas",
            f"batch_size={batch_size} with {replicas} replicas",
            f"Write --batch_size={-(-batch_size // replicas) * replicas}",
        )


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
