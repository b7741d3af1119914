"""Arms and settings: how runs are grouped, named and chosen.

A setting is what arms have in common when they are compared; an arm is the
runs of one setting that differ in their seeds only. Shapes: S seeds, A arms.
"""

import dataclasses
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple
from typing import TypeVar

import numpy as np

from experiments.analysis import measures
from experiments.analysis.records import Record
from experiments.datasets import cards
from experiments.runs import config as config_lib

Key = TypeVar("Key", bound=Hashable)
BySeed = Mapping[int, Record]
# Fields of a setting.
SETTING = (
    "dataset",
    "image_size",
    "network",
    "width",
    "corruption",
    "augmentation",
    "standardized",
    "num_train",
    "epochs",
)
_METHODS = {
    "mixup": "mixup",
    "cutmix": "CutMix",
    "regmixup": "RegMixup",
    "mit": "MIT-L",
}
_PARTNERS = {
    "random": "",
    "same_class": " within a class",
    "different_class": " between classes",
}
_GAN_PAIRS = {"real_generated": "", "any": " of any two points"}
# Of mixing not both inputs and labels.
_ALONE = {"inputs": "inputs only", "targets": "labels only"}
# Places of mixing that are not named after their layer: a residual network's
# are numbered, as in the paper's ablation.
_PLACES = {
    "spectrogram": " of spectrograms",
    "embedding": "",
    "stem": " at layer 1",
    **{f"stage{number}": f" at layer {number + 1}" for number in range(1, 5)},
}
# Rules by which alpha is tuned; that of the library has no name.
_RULES = {
    "calibrate_late": " late",
    "follow": "",
    "follow_average": " with averaged weights",
    "aim_ahead": " ahead",
}
# Weight decay of most runs; others are named.
_DECAY = config_lib.Config().weight_decay
# Targets of GANs, which are no data sets.
_TARGETS = {
    "points:ring": "Ring of 8 points",
    "points:grid": "Grid of 25 points",
}
_NETWORKS = {
    "resnet_narrow": "narrow ResNet",
    "preact_resnet18": "PreAct ResNet-18",
    "resnet_features": "residual net",
    "mlp": "MLP",
    "lenet": "LeNet",
    "text_cnn": "sentence CNN",
    "speech_lenet": "LeNet",
    "speech_vgg11": "VGG-11",
    "gan": "GAN",
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in their seeds only, found by their fields.

    Attributes:
        name: For readers.
        fields: Field of `Config` -> value that a run must have, or the
            frozenset of those that it may have.
        after: Key of `measures.AFTER`: what was applied to its outputs.
        chosen_by: Where several arms have these fields, the result on the
            validation set that chooses the one with the best mean. Empty if
            there is one arm.
    """

    name: str
    fields: Mapping[str, Any]
    after: str = ""
    chosen_by: str = ""

    def then(self, after: str, name: str = "") -> "Arm":
        """Returns this arm after a method was applied to its outputs."""
        return dataclasses.replace(self, after=after, name=name or self.name)

    def includes(self, record: Record) -> bool:
        """Returns whether the run is one of the arm's."""
        return self.after == record.after and record.config.has(self.fields)


# Other ways of training have one of these fields, too.
PLAIN = {
    **config_lib.NO_MIXING,
    "label_smoothing": 0.0,
    "entropy_weight": 0.0,
    "dropout": None,
    "restore_best": False,
}
NO_MIXUP = Arm("no mixup", PLAIN)


class Choice(NamedTuple):
    """Key of the arm with the best mean, and of the best one for each seed."""

    best: Any
    by_seed: list[Any]


def by_setting(
    records: Iterable[Record],
) -> dict[tuple[Any, ...], list[Record]]:
    """Returns the records of each setting, ordered by setting."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        setting = tuple(getattr(record.config, name) for name in SETTING)
        groups.setdefault(setting, []).append(record)
    return dict(sorted(groups.items(), key=lambda item: str(item[0])))


def by_arm(records: Iterable[Record]) -> dict[str, dict[int, Record]]:
    """Returns the records of each arm by seed, arms by name."""
    groups: dict[str, dict[int, Record]] = {}
    for record in records:
        groups.setdefault(describe(record), {})[record.config.seed] = record
    return groups


def values(arms: Iterable[BySeed], result: str) -> np.ndarray:
    """Returns a result `(S, A)` of the seeds that all arms have, in order."""
    arms = list(arms)
    seeds = sorted(set.intersection(*map(set, arms))) if arms else []
    return np.array(
        [[runs[seed].value(result) for runs in arms] for seed in seeds]
    ).reshape(len(seeds), len(arms))


def choose(arms: Mapping[Key, BySeed], result: str) -> Choice | None:
    """Chooses the arm with the best mean of a result of the validation set.

    The lowest value is best, unless `measures` says that higher ones are.
    Returns None if the arms have no seed in common or a value is missing.
    """
    found = values(arms.values(), result)
    if not found.size or not np.isfinite(found).all():
        return None
    found = found * (measures.find(result).better or -1)
    keys = list(arms)
    return Choice(
        keys[int(found.mean(axis=0).argmax())],
        [keys[place] for place in found.argmax(axis=1)],
    )


def select(records: Sequence[Record], arm: Arm) -> dict[int, Record]:
    """Returns the runs of an arm by seed, among records of one setting.

    `choose` decides between several arms; without a choice there are no runs.

    Raises:
        ValueError: If several arms match and `chosen_by` is empty.
    """
    found = by_arm(record for record in records if arm.includes(record))
    if len(found) < 2:
        return next(iter(found.values()), {})
    if not arm.chosen_by:
        raise ValueError(
            f"An arm must be unique. Received: {arm.name!r}, which matches"
            f" {sorted(found)}. Name more of its fields."
        )
    choice = choose(found, arm.chosen_by)
    return found[choice.best] if choice else {}


def describe_setting(setting: tuple[Any, ...]) -> str:
    """Returns a setting in words."""
    fields = dict(zip(SETTING, setting, strict=True))
    parts = [
        describe_dataset(fields["dataset"]),
        describe_network(fields["network"], fields["width"]),
    ]
    if fields["image_size"]:
        parts.append(f"{fields['image_size']} pixels")
    if fields["corruption"]:
        parts.append(f"{fields['corruption']:.0%} of labels corrupted")
    if fields["augmentation"] != "none":
        parts.append("augmented")
    if not fields["standardized"]:
        parts.append("raw features")
    if fields["num_train"]:
        parts.append(f"{fields['num_train']:,} examples")
    return ", ".join([*parts, f"{fields['epochs']} epochs"])


def describe_network(name: str, width: int | None = None) -> str:
    """Returns the name of a network for readers, with its width if given."""
    title = _NETWORKS.get(name, name)
    return f"{title} of width {width}" if width else title


def describe_dataset(name: str) -> str:
    """Returns the name of a data set for readers, without any path."""
    if name in _TARGETS:
        return _TARGETS[name]
    kind, _, rest = name.partition(":")
    title = cards.find(name).title
    return f"{title}, mu {rest}" if kind == "gaussians" else title


def describe(record: Record) -> str:
    """Returns an arm's name for readers."""
    name = describe_training(record.config)
    return f"{name}, {measures.AFTER[record.after]}" if record.after else name


def describe_training(config: config_lib.Config) -> str:
    """Returns the name of a way of training."""
    parts = [describe_method(config)]
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    if config.entropy_weight:
        parts.append(f"ERL {config.entropy_weight:g}")
    if config.dropout is not None:
        parts.append(f"dropout {config.dropout:g}")
    if config.restore_best:
        parts.append("early stopping")
    if config.noise:
        parts.append(f"noise {config.noise:g}")
    if len(parts) > 1 and not config.alpha:
        del parts[0]
    if config.optimizer == "sgd" and config.weight_decay != _DECAY:
        parts.append(f"weight decay {config.weight_decay:g}")
    return ", ".join(parts)


def describe_method(config: config_lib.Config) -> str:
    """Returns the name of a way of mixing."""
    if not config.alpha:
        return "no mixup"
    name = _METHODS[config.method]
    if config.tuning == "camixup":
        name = name.replace("mixup", "CAMixup")
    if config.num_points > 2:
        name = f"{config.num_points - 1}-Mixup"
    name = _ALONE.get(config.mix, name)
    if len(config.mix_layers) > 1:
        name = "MIT-A" if config.method == "mit" else "manifold mixup"
    elif config.mix_layers:
        (place,) = config.mix_layers
        name += _PLACES.get(place, f" at {place}")
    elif config.network.startswith("speech_"):
        name += " of waveforms"
    name += _PARTNERS[config.partner] + _GAN_PAIRS[config.gan_pairs]
    if config.neighbors:
        name += f" with {config.neighbors} neighbors"
    return f"{name}{_describe_per(config)}, {_describe_alpha(config)}"


def _describe_per(config: config_lib.Config) -> str:
    if config.margin:
        return f" of margin {config.margin:g}"
    if config.kernel_width:
        return f" by similarity (width {config.kernel_width:g})"
    if config.per == "class" and config.tuning != "camixup":
        return " by class"
    return " per example" if config.per == "example" else ""


def _describe_alpha(config: config_lib.Config) -> str:
    if config.gan_pairs == "any":
        return f"lam up to {config.alpha:g}"
    if config.tuning not in _RULES:
        return f"alpha {config.alpha:g}"
    start = "" if config.alpha == 1 else f" from {config.alpha:g}"
    return f"alpha tuned{_RULES[config.tuning]}{start}"
