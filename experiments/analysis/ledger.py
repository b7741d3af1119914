"""The ledger: one line a run, kept with the code, which RESULTS.md is made of.

A line has the run's config, what was done to its outputs afterwards (`""` for
nothing), its results and its hours. Letters: S seeds.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis.claims import Arm
from experiments.runs import atomic_files
from experiments.runs import config as config_lib

# Of most runs: another one is named.
_DECAY = config_lib.Config().weight_decay
FOLDER = pathlib.Path(__file__).parents[1] / "ledger"
# Fields that tell settings apart, in which arms are compared.
SETTING = (
    "dataset",
    "network",
    "width",
    "corruption",
    "augmentation",
    "num_train",
    "epochs",
)


@dataclasses.dataclass(frozen=True)
class Line:
    """A run, or what was made of its outputs.

    Attributes:
        config: Of the run.
        after: What was done to its outputs; `""` for nothing.
        results: Name -> number.
        hours: That the run took; 0 for what was made afterwards.
    """

    config: config_lib.Config
    after: str
    results: Mapping[str, float]
    hours: float = 0.0

    @property
    def setting(self) -> tuple[Any, ...]:
        """Values of the fields `SETTING`."""
        return tuple(getattr(self.config, name) for name in SETTING)

    def value(self, result: str) -> float:
        """Returns a result; `other_*` is of the first named OOD set."""
        if result.startswith("other_") and self.config.ood:
            result = self.config.ood_names[0] + result.removeprefix("other")
        return self.results.get(result, float("nan"))

    def belongs_to(self, arm: Arm) -> bool:
        """Tells whether the run is one of an arm's."""
        return self.after == arm.after and all(
            getattr(self.config, name)
            in (value if isinstance(value, frozenset) else (value,))
            for name, value in arm.fields.items()
        )


def write(lines: Iterable[Line], path: pathlib.Path) -> None:
    """Writes lines as JSON, one each, whole or not at all."""
    defaults = config_lib.Config().to_json()
    rows = [
        {
            "config": {
                name: value
                for name, value in line.config.to_json().items()
                if value != defaults[name]
            },
            "after": line.after,
            "results": {k: round(float(v), 6) for k, v in line.results.items()},
            "hours": round(line.hours, 4),
        }
        for line in lines
    ]
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    atomic_files.write_text(path, text)


def read(path: pathlib.Path) -> list[Line]:
    """Reads what `write` wrote.

    Raises:
        ValueError: If a line is damaged.
    """
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(text)
            config = config_lib.Config.from_json(row["config"])
            lines.append(
                Line(config, row["after"], row["results"], row["hours"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "A ledger must hold a run a line. Received:"
                f" {path.name}, line {number}: {error}. Make it anew with"
                " `python -m experiments.collect`."
            ) from error
    return lines


def read_all(folder: pathlib.Path) -> dict[str, list[Line]]:
    """Returns the lines of each table that has a file in a folder."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.jsonl"))}


def by_setting(lines: Iterable[Line]) -> dict[tuple[Any, ...], list[Line]]:
    """Returns the lines of each setting, settings in their order."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(line.setting, []).append(line)
    return dict(sorted(groups.items(), key=lambda item: str(item[0])))


def by_arm(lines: Iterable[Line]) -> dict[str, dict[int, Line]]:
    """Returns for each arm's name its lines by seed, in the given order."""
    arms: dict[str, dict[int, Line]] = {}
    for line in lines:
        arms.setdefault(describe(line), {})[line.config.seed] = line
    return arms


def select(lines: Sequence[Line], arm: Arm) -> dict[int, Line]:
    """Returns the runs of an arm by seed, in one setting.

    Args:
        lines: Of one setting.
        arm: Which.

    Returns:
        runs: Seed -> line; empty if there is none. Of several rows the one
            whose mean of `chosen_by`, over the seeds that all of them have, is
            best; empty if they have no seed in common, or one of these runs
            lacks the number: then nothing tells which is best.

    Raises:
        ValueError: If several rows match an arm that must be one.
    """
    rows = by_arm(line for line in lines if line.belongs_to(arm))
    if not rows:
        return {}
    if len(rows) > 1 and not arm.chosen_by:
        raise ValueError(
            f"An arm must be one row. Received: {arm.name!r} with"
            f" {sorted(rows)}. Name more of its fields."
        )
    if len(rows) == 1:
        return next(iter(rows.values()))
    common = set.intersection(*(set(runs) for runs in rows.values()))
    scores = np.array(
        [
            [runs[seed].value(arm.chosen_by) for seed in common]
            for runs in rows.values()
        ]
    )
    if not common or np.isnan(scores).any():
        return {}
    highest = arm.chosen_by.endswith("accuracy")
    means = scores.mean(axis=1)
    best = means.argmax() if highest else means.argmin()
    return list(rows.values())[best]


AFTER = {
    "": "",
    "temperature": "temperature scaling",
    "temperature_noisy": "temperature scaling on noisy labels",
    "vector": "vector scaling",
    "isotonic": "isotonic scaling",
    "dropout": "MC dropout",
    "rescaling": "rescaled inputs",
    "ensemble": "ensemble",
    "attacked": "attacked",
    "between": "between training points",
}


_PARTNERS = {
    "random": "",
    "same_class": " within a class",
    "different_class": " between classes",
}
# Where rows are mixed, where its name is not the layer's.
_PLACES = {"spectrogram": " of spectrograms", "embedding": ""}


def describe(line: Line) -> str:
    """Returns an arm's name for readers."""
    name = describe_training(line.config)
    return f"{name}, {AFTER[line.after]}" if line.after else name


def describe_training(config: config_lib.Config) -> str:
    """Returns the name of a way of training."""
    parts = [describe_method(config)]
    if config.label_smoothing:
        parts.append(f"label smoothing {config.label_smoothing:g}")
    if config.entropy_weight:
        parts.append(f"ERL {config.entropy_weight:g}")
    if config.dropout is not None:
        parts.append(f"dropout {config.dropout:g}")
    if config.noise:
        parts.append(f"noise {config.noise:g}")
    if len(parts) > 1 and config.method == "erm":
        del parts[0]
    if config.optimizer == "sgd" and config.weight_decay != _DECAY:
        parts.append(f"weight decay {config.weight_decay:g}")
    return ", ".join(parts)


def describe_method(config: config_lib.Config) -> str:
    """Returns the name of a way of mixing."""
    if not config.alpha:
        return "no mixup"
    names = {"mixup": "mixup", "cutmix": "CutMix", "regmixup": "RegMixup"}
    name = names[config.method]
    if config.points > 2:
        name = f"{config.points - 1}-Mixup"
    if config.target == "nearest":
        name = "inputs only"
    if len(config.mix_layers) > 1:
        name = "manifold mixup"
    elif config.mix_layers:
        (place,) = config.mix_layers
        name += _PLACES.get(place, f" at {place}")
    return f"{name}{_describe_plan(config)}, alpha {config.alpha:g}"


def _describe_plan(config: config_lib.Config) -> str:
    """Returns who is mixed and how often lam is drawn, if not as usual."""
    text = _PARTNERS[config.partner]
    if config.neighbors:
        text += f" with {config.neighbors} neighbors"
    return text + (" by sample" if config.per == "sample" else "")
