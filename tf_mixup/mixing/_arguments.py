"""Checks of the arguments of the mixing stages."""

import secrets
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup.mixing import epoch_counter
from tf_mixup.mixing import plans

PLACEMENTS = ("host", "model")
PARTNERS = (*plans.PARTNERS, "given")


def check_alpha(alpha: Any) -> Any:
    """Returns a function as it is, and a number as a float."""
    if callable(alpha):
        return alpha
    return _checks.real_at_least(
        "alpha", alpha, 0, remedy="Write 0 to train without mixing"
    )


def check_partner(partner: str, placement: str, groups: int) -> str:
    """Returns the kind of partner, which must go with the placement."""
    _checks.one_of("partner", partner, PARTNERS)
    if partner == "given" and (placement != "host" or groups != 1):
        raise _checks.refusal(
            "Partners that are given are mixed on the host, each with its"
            " example",
            f"partner='given' with placement={placement!r}, groups={groups}",
            "Leave `placement` and `groups` out",
        )
    return partner


def check_seed(seed: int | None) -> int:
    """Returns the seed, a fresh one for None."""
    if seed is None:
        return secrets.randbits(31)
    return _checks.integer_at_least(
        "seed", seed, 0, remedy="Write None for a fresh seed"
    )


def check_calls(num_parallel_calls: int | None) -> int | None:
    """Returns the number of parallel calls."""
    if num_parallel_calls in (None, tf.data.AUTOTUNE):
        return num_parallel_calls
    return _checks.integer_at_least(
        "num_parallel_calls",
        num_parallel_calls,
        1,
        remedy="Leave it out, or write None for one at a time",
    )


def check_clock(clock: Any) -> epoch_counter.Clock:
    """Returns the clock, a new one for None."""
    if clock is None:
        return epoch_counter.Clock()
    if not isinstance(clock, epoch_counter.Clock):
        raise _checks.refusal(
            "`clock` must be a clock",
            f"a {type(clock).__name__}",
            "Give the attribute `clock` of another stage",
        )
    return clock


def check_places(places: int, placement: str) -> int:
    """Returns the number of places, of which the host has one."""
    if placement == "host" and places != 1:
        raise _checks.refusal(
            "On the host examples are mixed in one place, the inputs",
            f"places={places!r} with placement='host'",
            'Write `placement="model"` and use `mixing.training_twin(at=...)`',
        )
    return _checks.integer_at_least(
        "places", places, 1, remedy="Write 1 to mix in one place", dtype="int32"
    )


def check_affine(
    mean: Any, std: Any, placement: str
) -> tuple[_checks.ChannelNumbers, _checks.ChannelNumbers] | None:
    """Returns the statistics; None if inputs are not scaled."""
    if mean is None and std is None:
        return None
    if placement == "model":
        raise _checks.refusal(
            "`mean` and `std` are applied where examples are mixed",
            f"mean={mean!r}, std={std!r} with placement='model'",
            "Give them to `mixing.training_twin`",
        )
    return _checks.statistics(mean, std)


def check_inputs(inputs: Any, placement: str) -> Any:
    """Returns the rules of inputs, which are for the host."""
    if inputs is not None and placement == "model":
        raise _checks.refusal(
            "`inputs` says how inputs are combined on the host",
            f"inputs={inputs!r} with placement='model'",
            "Leave it out: inputs go to the model as they are, which mixes"
            " where `mixing.training_twin(model, at=...)` says",
        )
    return inputs


def check_num_classes(num_classes: Any) -> Any:
    """Returns the number of classes, or a structure of such numbers."""

    def check(count: Any) -> int | None:
        if count is None:
            return None
        return _checks.integer_at_least(
            "num_classes",
            count,
            1,
            remedy="Write 1 for one sigmoid output, None for regression"
            " targets",
            dtype="int32",
        )

    return tf.nest.map_structure(check, num_classes)


def check_ignore_label(label: int | None, num_classes: Any) -> int | None:
    """Returns the label of unknown classes, if there are classes."""
    if label is None:
        return None
    if not any(tf.nest.flatten(num_classes)):
        raise _checks.refusal(
            "`ignore_label` is one of the labels of classes",
            f"ignore_label={label!r} with num_classes={num_classes!r}",
            "Give `num_classes`, or sample weights of 0 in the dataset",
        )
    return _checks.integer_at_least(
        "ignore_label",
        label,
        -(2**31),
        remedy="Write the label of unknown classes, e.g. -1",
        dtype="int32",
    )


def refuse_class_weight(received: str) -> ValueError:
    """Returns the error for targets that are not those of one output."""
    return _checks.refusal(
        "`class_weight` needs one output of at least 2 classes",
        f"class_weight with {received}",
        "Give `num_classes`, or sample weights in the dataset",
    )


def check_class_weight(
    class_weight: Any, num_classes: Any
) -> tuple[float, ...] | None:
    """Returns the weight of each class; None if there are none."""
    if class_weight is None:
        return None
    counts = tf.nest.flatten(num_classes)
    if len(counts) != 1 or (counts[0] or 0) < 2:
        raise refuse_class_weight(f"num_classes={num_classes!r}")
    classes = range(counts[0])
    if isinstance(class_weight, Mapping):
        given = [class_weight.get(k, 1.0) for k in classes]
        known = set(class_weight) <= set(classes)
    else:
        given = list(class_weight)
        known = len(given) == len(classes)
    if not known:
        raise _checks.refusal(
            "`class_weight` must give classes 0 to K - 1 a number >= 0",
            f"class_weight={class_weight!r} with num_classes={num_classes}",
            "Count classes from 0",
        )
    return tuple(
        _checks.real_at_least(
            f"class_weight[{k}]", weight, 0, remedy="Write 0 to leave it out"
        )
        for k, weight in enumerate(given)
    )
