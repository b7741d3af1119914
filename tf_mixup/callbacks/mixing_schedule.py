"""MixingSchedule: announces each epoch to the mixing stage."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras

from tf_mixup import _checks
from tf_mixup import mixing


def check_stage(mixup: mixing.Stage) -> mixing.Stage:
    """Returns a mixing stage; refuses anything else."""
    if not isinstance(mixup, mixing.Stage):
        raise _checks.refusal(
            "`mixup` must be a mixing stage",
            f"a {type(mixup).__name__}",
            "Give the `MixUp` that the dataset was applied to",
        )
    return mixup


class MixingSchedule(keras.callbacks.Callback):
    """Announces each epoch to `MixUp`, and says in which epochs to mix.

    With it the plan of each batch is a function of (seed, epoch, step), so
    that a resumed `fit(initial_epoch=...)` mixes as an uninterrupted one does,
    and sees the same if the dataset orders its examples by the epoch, too. A
    second `fit` of the same model goes on with the epochs after the first; a
    model that has not been trained yet starts at epoch 0, warm-up included,
    with draws of its own. For an alpha that changes with the epoch give
    `MixUp` a function.

    Evaluate on data from `mixup.evaluation`: a whole pass over the mixed
    training data during `fit` may count as its next epoch. Copies, deep ones
    too, belong to the same stage; what is pickled brings a stage of its own,
    to which datasets must be applied. A warning is given if `fit` trains in its
    first epoch on nothing that went through the stage.

    Args:
        mixup: The stage that the training dataset went through; several
            schedules for one stage must agree.
        warmup_epochs: First epochs, without mixing. Defaults to 0.
        stop_epoch: First epoch, counted from 0, without mixing again.
            Defaults to `None`, which is never.

    Raises:
        ValueError: If the epochs are out of order; when training starts, if
            mixing inside the model cannot work with the strategy's replicas,
            the model mixes in more or fewer places than `mixup` draws, or
            another schedule restricts the stage to other epochs.

    Example:
        >>> mixup = mixing.MixUp(alpha=0.2, num_classes=10, seed=0)
        >>> schedule = MixingSchedule(mixup, warmup_epochs=5)
    """

    def __init__(
        self,
        mixup: mixing.Stage,
        *,
        warmup_epochs: int = 0,
        stop_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.mixup = check_stage(mixup)
        self.warmup_epochs = _checks.integer_at_least(
            "warmup_epochs", warmup_epochs, 0, remedy="Write 0 for none"
        )
        if stop_epoch is not None:
            _checks.integer_at_least(
                "stop_epoch",
                stop_epoch,
                warmup_epochs,
                remedy="Write None to mix to the end",
            )
        self.stop_epoch = stop_epoch
        self._first_epoch = True
        self._warned = False

    def __repr__(self) -> str:
        return (
            f"MixingSchedule(warmup_epochs={self.warmup_epochs},"
            f" stop_epoch={self.stop_epoch})"
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch counter to the start of a training run."""
        self._first_epoch = True
        self._check_groups()
        self._check_places()
        self.mixup.restrict(self.warmup_epochs, self.stop_epoch)
        self.mixup.epoch_counter.start_training(
            self.params.get("steps"), goes_on=has_trained(self.model)
        )

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Announces the epoch before its first batch is drawn."""
        if self._first_epoch:
            self._check_window()
        self.mixup.epoch_counter.start_epoch(epoch)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Warns after the first epoch if nothing went through the stage."""
        drawn = self.mixup.epoch_counter.has_started(self.mixup)
        if self._first_epoch and not drawn and not self._warned:
            self._warned = True
            warnings.warn(
                "MixingSchedule: no batch of this epoch was drawn from its"
                " stage. Train on `dataset.apply(mixup)` with the same `mixup`"
                " that the schedule was given.",
                stacklevel=2,
            )
        self._first_epoch = False

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the training for the stage, which mixes all epochs again."""
        self.mixup.restrict(0, None)
        self.mixup.epoch_counter.end_training()

    def _check_window(self) -> None:
        mine, found = (self.warmup_epochs, self.stop_epoch), self.mixup.window
        if mine != found:
            raise _checks.refusal(
                "The schedules of one stage must agree",
                f"warmup_epochs and stop_epoch of {mine} and {found}",
                "Leave one of them out",
            )

    def _check_groups(self) -> None:
        stage = self.mixup
        if not isinstance(stage, mixing.MixUp) or not stage.num_places:
            return
        strategy = getattr(self.model, "distribute_strategy", None)
        replicas = _count_sharing(strategy) if strategy else 1
        groups = stage.partner.groups
        if groups % replicas:
            raise _checks.refusal(
                "Inside the model a replica can mix its own examples only, so"
                " `groups` must be the number of replicas, or a multiple",
                f"groups={groups} with {replicas} replicas",
                f"Write `MixUp(..., partner=Partners(groups={replicas}))`",
            )

    def _check_places(self) -> None:
        if isinstance(self.mixup, mixing.DecoupledMixUp):
            # All places mix, and the shape of `lam` says how many.
            return
        found = max(_find_places(self.model), default=None)
        drawn = self.mixup.num_places
        if drawn and found not in (None, drawn):
            raise _checks.refusal(
                "The stage must draw as many places as the model mixes in",
                f"{drawn} places with a model of {found}",
                "Train the model of the last `mixup.training_model(...)`",
            )


def has_trained(model: Any) -> bool:
    """Returns whether the model's optimizer has taken a step."""
    optimizer = getattr(model, "optimizer", None)
    iterations = getattr(optimizer, "iterations", 0)
    return int(keras.ops.convert_to_numpy(iterations)) > 0


def _find_places(model: Any) -> Iterator[int]:
    """Yields what the model's `Mix` layers take the places to be."""
    # One that only standardizes inputs knows of no others, and says 1.
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, mixing.Mix):
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
