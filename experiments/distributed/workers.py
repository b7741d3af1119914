"""Several processes, on one host or on many, that train one model together.

Each has one device and makes its own share of every batch; gradients are
averaged over all. `TF_CONFIG`, which schedulers and `experiments.launch` set,
says which worker a process is.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks

# What sysexits.h calls a failure that another try may resolve.
LOST = 75
# The minor version whose private methods `WorkerModel` replaces.
KERAS = "3.15."
_REMEDY = (
    "Start each worker with `python -m experiments.launch`, or write e.g."
    ' TF_CONFIG=\'{"cluster": {"worker": ["host0:29400", "host1:29400"]},'
    ' "task": {"type": "worker", "index": 0}}\''
)
# How TensorFlow says that another worker is gone.
_LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)


@dataclasses.dataclass(frozen=True)
class Workers:
    """This worker among all W of them.

    Attributes:
        index: From 0, which is the chief: it alone writes results.
        addresses: Of all, HOST:PORT; none where a process trains by itself.
        strategy: By which they communicate; None for one.
    """

    index: int = 0
    addresses: tuple[str, ...] = ()
    strategy: tf.distribute.Strategy | None = None

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy) -> "Workers":
        """Returns this worker of a strategy, the only one for most."""
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return cls()
        index, addresses = _read_cluster()
        return cls(index, tuple(addresses), strategy)

    @property
    def count(self) -> int:
        """W, at least 1."""
        return max(len(self.addresses), 1)

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the results."""
        return self.index == 0

    def fold(self, seed: int) -> int:
        """Returns a seed of this worker's own, the first one's as it is."""
        if self.is_chief:
            return seed
        sequence = np.random.SeedSequence([seed, self.index])
        return int(sequence.generate_state(1)[0])

    def gather(self, numbers: Sequence[int]) -> np.ndarray:
        """Waits for all workers; returns the n integers of each, `(W, n)`."""
        mine = np.array([numbers], np.int64)
        if self.strategy is None:
            return mine

        def exchange(mine: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_gather(mine, axis=0)

        found = self.strategy.run(exchange, args=(tf.constant(mine),))
        return self.strategy.experimental_local_results(found)[0].numpy()

    def wait(self) -> None:
        """Waits until all workers have come here."""
        self.gather([0])

    def check_alike(self, what: Any) -> None:
        """Refuses workers that were started for different things.

        Args:
            what: JSON that must be the same for all.

        Raises:
            ValueError: If it is not, in every worker.
        """
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
        found = self.gather([int.from_bytes(digest.digest()[:7], "big")])
        others = np.flatnonzero((found != found[0]).any(axis=1))
        if others.size:
            raise _checks.refusal(
                "All workers must run the same command on the same data and"
                " versions, with the same list of workers",
                f"those of worker {others[0]} differ from those of worker 0:"
                f" here, in worker {self.index}, {what}",
                "Compare this line of both",
            )

    def distribute(self, batches: tf.data.Dataset) -> Any:
        """Returns this worker's batches for the model of all workers."""
        if self.strategy is None:
            return batches
        return self.strategy.distribute_datasets_from_function(
            lambda _: batches
        )

    def wrap(self, model: keras.Model) -> keras.Model:
        """Returns a model that all workers can fit, of the same layers."""
        if self.strategy is None:
            return model
        return WorkerModel(model.input, model.output, name=model.name)

    def detach(self, network: keras.Model) -> keras.Model:
        """Returns a copy on this worker's device, that needs no others."""
        if self.strategy is None:
            return network
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        return copy

    @contextlib.contextmanager
    def ending_if_lost(self) -> Iterator[None]:
        """Ends the process with `LOST` when another worker is gone."""
        try:
            yield
        except _LOSSES as error:
            if self.strategy is None:
                raise
            found = re.search("aborted by: (.*)", error.message)
            logging.error(
                "Worker %d lost another one (%s). Start all of them again:"
                " they go on from the last checkpoint that all have.",
                self.index,
                found[1] if found else type(error).__name__,
            )
            sys.exit(LOST)


def join() -> tf.distribute.Strategy:
    """Joins the other workers; call it before TensorFlow has done anything.

    Raises:
        ValueError: If `TF_CONFIG` is not that of a worker, there are several
            devices, or Keras is of another version.
    """
    _, addresses = _read_cluster()
    if len(addresses) == 1:
        return tf.distribute.get_strategy()
    if not keras.version().startswith(KERAS):
        raise _checks.refusal(
            f"Several workers replace private methods of Keras {KERAS}x",
            f"Keras {keras.version()}",
            "Install that version, or write --strategy=mirrored",
        )
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        raise _checks.refusal(
            "A worker has one GPU",
            f"{len(gpus)} visible ones",
            "Start a worker for each, as `python -m experiments.launch` does"
            " by CUDA_VISIBLE_DEVICES",
        )
    # NCCL where there are GPUs.
    return tf.distribute.MultiWorkerMirroredStrategy()


def _read_cluster() -> tuple[int, list[str]]:
    """Returns this worker's index, and the addresses of all."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        content = json.loads(text)
        jobs, task = content["cluster"], content["task"]
        # A chief comes first, and workers are counted after it.
        addresses = [*jobs.get("chief", ()), *jobs["worker"]]
        before = len(jobs.get("chief", ())) if task["type"] == "worker" else 0
        index = before + int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _checks.refusal(
            "Several workers need `TF_CONFIG` with a cluster and a task",
            f"TF_CONFIG={text!r}",
            _REMEDY,
        ) from error
    sound = (
        task["type"] in ("chief", "worker")
        and {*jobs} <= {"chief", "worker"}
        and 0 <= index < len(addresses)
        and len({*addresses}) == len(addresses)
        and all(":" in address for address in addresses)
    )
    if not sound:
        raise _checks.refusal(
            "`TF_CONFIG` must name each worker's HOST:PORT once, and a task"
            " among them",
            f"TF_CONFIG={text!r}",
            _REMEDY,
        )
    return index, addresses


class WorkerModel(keras.Model):
    """A functional model that Keras 3 can fit with several workers.

    Keras' own methods fail there: the one reduces values of replicas that
    have no such thing, the other reduces numbers along their first axis
    (keras#20585).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forward = tf.function(
            lambda inputs: self(inputs, training=False), reduce_retracing=True
        )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Returns numbers with an axis to reduce along."""
        return _with_axis(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Returns numbers with an axis to reduce along."""
        return _with_axis(super().test_step(data))

    def predict(self, x: tf.data.Dataset, **options: Any) -> np.ndarray:
        """Predicts batches of inputs in each worker by itself, `(N, K)`."""
        return np.concatenate([self._forward(batch) for batch in x])

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Leaves it to the first step to build metrics."""


def _with_axis(logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()}
