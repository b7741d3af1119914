"""MixUpOrCutMix: one of two stages, chosen for each batch."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup.mixing import cutmix as cutmix_lib
from tf_mixup.mixing import mixup as mixup_lib
from tf_mixup.mixing import stage as stage_lib
from tf_mixup.mixing.stage import Position
from tf_mixup.mixing.stage import Replay
from tf_mixup.mixing.stage import Stage


class MixUpOrCutMix(Stage):
    """Mixes each batch by mixup or by CutMix, one of them at random.

    It is used as `MixUp` is, in `dataset.apply(stage)`, with the same
    callbacks. Which of both a batch gets is a function of (seed, epoch, step).

    Args:
        mixup: Stage that mixes on the host. Its seed and its window are those
            of the switch, which counts epochs of its own.
        cutmix: Stage for the other batches, with the same labels, partners
            that are given or not, and `include_clean`.
        switch_probability: Chance that a batch gets CutMix, in [0, 1].
            Defaults to 0.5.

    Attributes:
        mixup: As given.
        cutmix: As given.
        switch_probability: As given.

    Raises:
        ValueError: If a stage is of another class, mixes inside a model, or
            would give batches of another form than the other.

    Example:
        >>> from tf_mixup.mixing import CutMix, MixUp
        >>> stage = MixUpOrCutMix(
        ...     MixUp(alpha=0.8, num_classes=4, seed=0), CutMix(num_classes=4)
        ... )
        >>> arrays = np.zeros((8, 9, 9, 1), "uint8"), np.arange(8) % 4
        >>> batches = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
        >>> x, y = next(iter(batches.apply(stage)))
        >>> x.shape.as_list(), y.shape.as_list()
        ([4, 9, 9, 1], [4, 4])

    References:
        Wightman, Touvron and Jegou. ResNet strikes back. 2021, section 2.
        https://arxiv.org/abs/2110.00476
    """

    def __init__(
        self,
        mixup: mixup_lib.MixUp,
        cutmix: cutmix_lib.CutMix,
        *,
        switch_probability: float = 0.5,
    ) -> None:
        _check_stages(mixup, cutmix)
        self.mixup, self.cutmix = mixup, cutmix
        self.switch_probability = _checks.real_between(
            "switch_probability",
            switch_probability,
            0,
            1,
            remedy="Write 0.5 for as many batches of each",
        )
        super().__init__(mixup.seed)
        self.restrict(*mixup.window)
        self.num_parallel_calls = mixup.num_parallel_calls

    def __repr__(self) -> str:
        return (
            f"MixUpOrCutMix({self.mixup!r}, {self.cutmix!r},"
            f" switch_probability={self.switch_probability})"
        )

    def _maker(self) -> Callable[[], "MixUpOrCutMix"]:
        return functools.partial(
            MixUpOrCutMix,
            self.mixup,
            self.cutmix,
            switch_probability=self.switch_probability,
        )

    def restrict(self, first_epoch: int, end_epoch: int | None) -> None:
        """Restricts both stages; see `Stage.restrict`."""
        super().restrict(first_epoch, end_epoch)
        for each in (self.mixup, self.cutmix):
            each.restrict(first_epoch, end_epoch)

    @property
    def tuned_alpha(self) -> Any:
        """What the stages with `alpha="auto"` mix with now; else None."""
        found = self.mixup.tuned_alpha
        return self.cutmix.tuned_alpha if found is None else found

    def _set_alpha(self, alpha: Any) -> None:
        for each in (self.mixup, self.cutmix):
            each._set_alpha(alpha)

    def _check_inputs(self, spec: Any, *, mixes: bool = True) -> None:
        for each in (self.mixup, self.cutmix):
            each._check_inputs(spec, mixes=mixes)

    def _mix_element(self, position: Position, element: tuple) -> tuple:
        return self._switch(
            position,
            lambda: self.cutmix._mix_element(position, element),
            lambda: self.mixup._mix_element(position, element),
        )

    def _leave_element(self, *element: Any) -> tuple:
        return self.mixup._leave_element(*element)

    def _replay_element(self, position: Position, element: tuple) -> Replay:
        return self._switch(
            position,
            lambda: self.cutmix._replay_element(position, element),
            lambda: self.mixup._replay_element(position, element),
        )

    def _draw_element(self, position: Position, element: tuple) -> tf.Tensor:
        return self._switch(
            position,
            lambda: self.cutmix._draw_element(position, element),
            lambda: self.mixup._draw_element(position, element),
        )

    def _switch(
        self, position: Position, cut: Callable[[], Any], mix: Callable[[], Any]
    ) -> Any:
        seed = self._seed_at(position, stage_lib.SWITCH)
        drawn = tf.random.stateless_uniform([], seed)
        return tf.cond(drawn < self.switch_probability, cut, mix)


def _check_stages(mixup: Any, cutmix: Any) -> None:
    is_mixup = isinstance(mixup, mixup_lib.MixUp)
    is_cutmix = isinstance(cutmix, cutmix_lib.CutMix)
    if not is_mixup or isinstance(mixup, cutmix_lib.CutMix) or not is_cutmix:
        raise _checks.refusal(
            "The switch is between a `MixUp` and a `CutMix`",
            f"a {type(mixup).__name__} and a {type(cutmix).__name__}",
            "Write `MixUpOrCutMix(mixup, cutmix)`",
        )
    if mixup.num_places or mixup.num_points != 2:
        raise _checks.refusal(
            "Both stages mix pairs on the host",
            f"num_places={mixup.num_places}, num_points={mixup.num_points}",
            "Give a `MixUp` without them",
        )
    if (mixup.per == "class") != (cutmix.per == "class"):
        raise _checks.refusal(
            "Both stages must have alphas of the same form",
            f"per={mixup.per!r} and {cutmix.per!r}",
            'Write `per="class"` for both',
        )
    for name in ("labels", "include_clean", "inputs"):
        one, two = getattr(mixup, name), getattr(cutmix, name)
        if one != two:
            raise _checks.refusal(
                "Both stages must give batches of the same form",
                f"{name} of {one!r} and {two!r}",
                "Give both the same options",
            )
    if (mixup.partner.kind == "given") != (cutmix.partner.kind == "given"):
        raise _checks.refusal(
            "Both stages must give batches of the same form",
            f"partner={mixup.partner.kind!r} and {cutmix.partner.kind!r}",
            "Give both the same partners",
        )
