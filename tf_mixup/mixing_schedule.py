"""MixingSchedule: tells the mixing stage which epoch it is."""

from collections.abc import Iterator
from typing import Any

import keras

from tf_mixup import checks
from tf_mixup import layers
from tf_mixup import pipeline


class MixingSchedule(keras.callbacks.Callback):
    """Tells `MixUp` the epoch, and in which epochs to mix.

    With it the plan of each batch is a function of (seed, epoch, step), so
    that a resumed `fit(initial_epoch=...)` mixes as an uninterrupted one does,
    and sees the same if the dataset orders its rows by the epoch, too. For an
    alpha that changes with the epoch give `MixUp` a function.

    Args:
        mixup: The stage that the training dataset went through.
        warmup_epochs: First epochs, without mixing. Defaults to 0.
        stop_epoch: First epoch, counted from 0, without mixing again.
            Defaults to `None`, which is never.

    Raises:
        ValueError: If the epochs are out of order; when training starts, if
            mixing inside the model cannot work with the strategy's replicas,
            or the model mixes in more or fewer places than `mixup` draws of.

    Example:
        >>> mixup = pipeline.MixUp(alpha=0.2, num_classes=10, seed=0)
        >>> schedule = MixingSchedule(mixup, warmup_epochs=5)
    """

    def __init__(
        self,
        mixup: pipeline.MixUp,
        *,
        warmup_epochs: int = 0,
        stop_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.mixup = mixup
        self.warmup_epochs = checks.integer_at_least(
            "warmup_epochs", warmup_epochs, 0, remedy="Write 0 for none"
        )
        if stop_epoch is not None:
            checks.integer_at_least(
                "stop_epoch",
                stop_epoch,
                warmup_epochs,
                remedy="Write None to mix to the end",
            )
        self.stop_epoch = stop_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Winds the clock to the start of a training run."""
        self._check_groups()
        self._check_places()
        self.mixup.restrict(self.warmup_epochs, self.stop_epoch)
        self.mixup.clock.start_training(self.params.get("steps"))

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Announces the epoch before its first batch is drawn."""
        self.mixup.clock.start_epoch(epoch)

    def _check_groups(self) -> None:
        strategy = getattr(self.model, "distribute_strategy", None)
        replicas = _count_sharing(strategy) if strategy else 1
        groups = self.mixup.groups
        if self.mixup.placement == "model" and groups % replicas:
            raise checks.refusal(
                "Inside the model a replica can mix its own rows only, so"
                " `groups` must be the number of replicas, or a multiple",
                f"groups={groups} with {replicas} replicas",
                f"Write `MixUp(..., groups={replicas})`",
            )

    def _check_places(self) -> None:
        places = max(_find_places(self.model), default=None)
        if self.mixup.placement == "model" and places not in (
            None,
            self.mixup.places,
        ):
            raise checks.refusal(
                "`places` must be how many places the model mixes in",
                f"places={self.mixup.places} with a model of {places}",
                f"Write `MixUp(..., places={places})`",
            )


def _find_places(model: Any) -> Iterator[int]:
    """Yields what the model's `Mix` layers take the places to be."""
    # One that only standardises inputs knows of no others, and says 1.
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, layers.Mix):
            yield layer.places
        yield from _find_places(layer)


def _count_sharing(strategy: Any) -> int:
    """Returns how many replicas share a batch: those of one worker."""
    replicas = strategy.num_replicas_in_sync
    if strategy.cluster_resolver is None:
        return replicas
    jobs = strategy.cluster_resolver.cluster_spec().as_dict()
    workers = sum(len(jobs.get(job, ())) for job in ("chief", "worker"))
    return replicas // max(workers, 1)
