"""What training on several devices needs beside Keras."""

from typing import Any

import keras
import tensorflow as tf

from experiments.distributed import workers
from tf_mixup import _checks


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of a `--strategy` flag.

    `"none"` is TensorFlow's default strategy for one device, on which Keras may
    use XLA, or another backend; `"mirrored"` takes all GPUs of this process,
    else all logical CPUs; `"multiworker"` joins processes with a device each.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow, or a
            worker cannot know the others.
    """
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if name == "none":
        if not on_tensorflow:
            # Pipelines need no GPU, and TensorFlow would take its memory.
            tf.config.set_visible_devices([], "GPU")
        return tf.distribute.get_strategy()
    if not on_tensorflow:
        raise ValueError(
            f"Strategies are TensorFlow's. Received: strategy={name!r} with"
            f" the Keras backend {keras.backend.backend()!r}. Set"
            " KERAS_BACKEND=tensorflow, or leave --strategy out."
        )
    if name == "multiworker":
        return workers.join()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    # The default joins CPUs by keys that begin anew with each strategy: a
    # second one in the same process may meet the shapes of the first.
    join = None if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=join)


def split_cpu(number: int) -> None:
    """Splits the CPU into logical devices; before TensorFlow uses it."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * number,
    )


def check_batch_size(strategy: tf.distribute.Strategy, batch_size: int) -> None:
    """Refuses batches that replicas cannot share equally."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise _checks.refusal(
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
        # On another backend than TensorFlow a model has none.
        strategy = getattr(self.model, "distribute_strategy", None)
        if strategy is None or strategy.num_replicas_in_sync == 1:
            return
        statistics = [
            variable
            for layer in _flatten(self.model)
            if isinstance(layer, keras.layers.BatchNormalization)
            for variable in (layer.moving_mean, layer.moving_variance)
        ]

        def average() -> None:
            context = tf.distribute.get_replica_context()
            for variable in statistics:
                mean = context.all_reduce("MEAN", variable.value)
                variable.assign(mean)

        with strategy.scope():
            strategy.run(average)


def _flatten(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers of a model and of the models within it."""
    inner = getattr(layer, "layers", [])
    return [layer, *(each for one in inner for each in _flatten(one))]
