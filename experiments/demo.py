r"""Shows what mixup does to a network's confidence, in minutes.

Command:
    make demo
    python -m experiments.demo --workdir=runs/demo

Small networks fit 300 real digits, without mixup and with it, with clean labels
and with 40 % of the labels redrawn. Prints a table and a summary in words, and
draws two figures. As many networks as there are cores, 4 at most, train at a
time. Complete runs are not repeated, interrupted ones resume.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
import textwrap
from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from absl import flags
from absl import logging

from experiments import _entry
from experiments.analysis import measures
from experiments.engines import local
from experiments.runs import config as config_lib
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs.outputs import Outputs
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup.calibration import resampling

SEEDS = 3
MAX_JOBS = 4
# Width of the output.
COLUMNS = 82
BASE = config_lib.Config(
    dataset="digits",
    network="resnet_narrow",
    width=12,
    alpha=0.4,
    epochs=20,
    batch_size=16,
    learning_rate=0.1,
    schedule="cosine",
    num_train=300,
)
# Name -> share of labels that is redrawn, and name -> method.
LABELS = {"clean labels": 0.0, "40 % of labels redrawn": 0.4}
METHODS = {"no mixup": "erm", "mixup": "mixup"}
CONVENTION = calibration.CONVENTIONS["guo"]


class Arm(NamedTuple):
    """One of `LABELS` with one of `METHODS`."""

    labels: str
    method: str

    def __str__(self) -> str:
        return f"{self.labels}, {self.method}"


ARMS = tuple(Arm(labels, method) for labels in LABELS for method in METHODS)
MEASURES = [
    *map(measures.find, ("train_accuracy", "test_accuracy", "test_confidence")),
    *map(measures.find, ("test_signed_gap", "test_ece", "test_null_ece")),
    *map(measures.find, ("test_oe", "test_nll", "gaussian_confidence")),
    measures.find("gaussian_auroc"),
]
LEGEND = (
    "Signed gap: confidence minus accuracy. ECE: their distance, bin by bin."
    " Null ECE: the ECE that perfectly calibrated predictions with the same"
    " confidences have by chance on so few images. OE: the overconfident part"
    " of ECE, weighted by confidence. Noise: Gaussian, with the mean and"
    " variance of the digits; at an AUROC of 50 it cannot be distinguished from"
    " digits."
)


class Outcome(NamedTuple):
    """Results of the runs of one arm, in the order of their seeds.

    Attributes:
        results: The numbers of each run.
        outputs: Predictions of each network.
    """

    results: list[dict[str, float]]
    outputs: list[Outputs]

    def values(self, key: str) -> np.ndarray:
        """Returns one result of each run, `(S,)`."""
        return np.array([result[key] for result in self.results])

    def mean(self, key: str) -> float:
        """Returns the mean of one result over seeds."""
        return float(self.values(key).mean())

    def pool(self, choose: Callable[[Outputs], np.ndarray]) -> np.ndarray:
        """Returns an array of each run's outputs, end to end."""
        return np.concatenate([choose(each) for each in self.outputs])


Outcomes = Mapping[Arm, Outcome]


def run(
    base: config_lib.Config, workdir: pathlib.Path, *, seeds: int = SEEDS
) -> None:
    """Trains what is missing; prints table and summary; draws."""
    outcomes = train(base, workdir, seeds=seeds)
    sentences = [judge(arm, outcomes[arm]) for arm in ARMS]
    sentences += [compare(outcomes, labels) for labels in LABELS]
    print("", *table(outcomes), sep="\n")
    for text in (LEGEND, *sentences, conclude(outcomes)):
        print("", textwrap.fill(text, COLUMNS), sep="\n")
    print()
    for path in draw(outcomes, workdir):
        print(f"Figure: {path}")
    print(f"Curves: {_tensorboard()} --logdir={workdir}")


def train(
    base: config_lib.Config, workdir: pathlib.Path, *, seeds: int
) -> Outcomes:
    """Trains all arms, several runs at a time, with a line for each run."""
    print(
        f"Training {seeds * len(ARMS)} networks on {base.num_train} digits,"
        f" without and with mixup (alpha {base.alpha:g})."
    )
    runs = {
        _name_folder(arm, seed): (arm, seed)
        for seed, arm in itertools.product(range(seeds), ARMS)
    }
    configs = {
        workdir / name: dataclasses.replace(
            base,
            corruption=LABELS[arm.labels],
            method=METHODS[arm.method],
            seed=seed,
        )
        for name, (arm, seed) in runs.items()
    }
    ended = itertools.count(1)

    def report(folder: pathlib.Path, done: str = "") -> None:
        arm, seed = runs[folder.name]
        record = run_files.read_record(folder, configs[folder])
        print(
            f"[{next(ended):2d}/{len(runs)}] {arm}, seed {seed}:"
            f" accuracy {record['results']['test_accuracy']:.1%},"
            f" ECE {record['results']['test_ece']:.1%}",
            done or f"({record['duration_seconds']:.0f} s)",
            flush=True,
        )

    missing = {}
    for folder, config in configs.items():
        if run_files.is_complete(folder, config):
            report(folder, "(done before)")
        else:
            missing[folder] = config
    with contextlib.closing(
        local.run_each(missing, run_data.Sources(), jobs=_count_jobs())
    ) as pairs:
        for folder, error in pairs:
            if error is not None:
                raise error
            report(folder)
    outcomes = {arm: Outcome([], []) for arm in ARMS}
    for name, (arm, _) in runs.items():
        record = run_files.read_record(workdir / name)
        outcomes[arm].results.append(record["results"])
        outputs = outputs_lib.read(workdir / name / run_files.PREDICTIONS)
        outcomes[arm].outputs.append(outputs)
    return outcomes


def _name_folder(arm: Arm, seed: int) -> str:
    labels = "redrawn" if LABELS[arm.labels] else "clean"
    return f"{labels}-{METHODS[arm.method]}-seed{seed}"


def _count_jobs() -> int:
    """Returns how many runs share the cores; each takes up to 1 GB."""
    return min(os.cpu_count() or 1, MAX_JOBS)


def table(outcomes: Outcomes) -> list[str]:
    """Returns the lines of a table: a line per measure, a column per arm."""
    runs = len(outcomes[ARMS[0]].results)
    title = f"mean ± deviation, {runs} seeds"
    groups = "".join(f"{labels:^28}" for labels in LABELS)
    heads = "".join(f"{arm.method:>14}" for arm in ARMS)
    lines = [f"{'':<26}{groups}".rstrip(), f"{title:<26}{heads}"]
    lines.append("-" * COLUMNS)
    for measure in MEASURES:
        cells = ""
        for arm in ARMS:
            values = outcomes[arm].values(measure.name)
            cells += f"{measure.format_spread(values, precision=-1):>14}"
        lines.append(f"{measure.heading:<26}{cells}")
    return lines


def judge(arm: Arm, outcome: Outcome) -> str:
    """Returns a sentence on the calibration of an arm."""
    limits = [
        resampling.null_calibration_error(
            each.confidence("test"),
            num_bins=CONVENTION.num_bins,
            edges=CONVENTION.edges,
            seed=0,
        ).high
        for each in outcome.outputs
    ]
    limit = float(np.mean(limits))
    ece = outcome.mean("test_ece")
    gap = outcome.mean("test_signed_gap")
    return (
        f"{arm}: {direction(ece, limit, gap)}"
        f" (ECE {ece:.1%}; chance alone gives up to {limit:.1%})."
    )


def direction(ece: float, limit: float, gap: float) -> str:
    """Returns an error of calibration in words."""
    if ece <= limit:
        return "calibrated, as far as so few images can show"
    if abs(gap) < ece / 2:
        return "overconfident in some bins and underconfident in others"
    side = "overconfident" if gap > 0 else "underconfident"
    return f"{side} by {abs(100 * gap):.1f} points"


def compare(outcomes: Outcomes, labels: str) -> str:
    """Returns a sentence on what mixup improves, worsens or leaves unclear."""
    before, after = (outcomes[Arm(labels, method)] for method in METHODS)
    found: dict[str, list[str]] = {"better": [], "worse": [], "unclear": []}
    for measure in MEASURES:
        if not measure.better:
            continue
        gain = after.values(measure.name) - before.values(measure.name)
        gain = measure.better * gain
        # A change counts if no seed contradicts it.
        word = "better" if min(gain) > 0 else "unclear"
        word = "worse" if max(gain) < 0 else word
        means = (
            measure.format(outcome.mean(measure.name), precision=-1)
            for outcome in (before, after)
        )
        title = measure.title.partition(",")[0]
        found[word].append(f"{title} {' -> '.join(means)}")
    parts = (
        f"{word} {', '.join(changes)}"
        for word, changes in found.items()
        if changes
    )
    return f"Mixup, {labels}: {'; '.join(parts)}."


def conclude(outcomes: Outcomes) -> str:
    """Returns a sentence on mixup and calibration."""
    parts = []
    for labels in LABELS:
        before, after = (outcomes[Arm(labels, method)] for method in METHODS)
        change = after.mean("test_ece") - before.mean("test_ece")
        verb = "raises" if change > 0 else "lowers"
        gaps = (each.mean("test_signed_gap") for each in (before, after))
        shift = " to ".join(f"{100 * gap:+.1f}" for gap in gaps)
        parts.append(
            f"{verb} ECE by {abs(100 * change):.1f} points with {labels}"
            f" (signed gap {shift})"
        )
    return f"Mixup {' and '.join(parts)}."


def draw(outcomes: Outcomes, workdir: pathlib.Path) -> list[pathlib.Path]:
    """Draws reliability and confidences of all arms, with pooled seeds."""
    tables, sets = {}, {}
    for arm, outcome in outcomes.items():
        labels = outcome.pool(lambda run: run.labels["test"])
        probabilities = outcome.pool(lambda run: run.probabilities("test"))
        confidence = probabilities.max(-1)
        right = probabilities.argmax(-1) == labels
        title = (
            f"{arm}\naccuracy {right.mean():.1%},"
            f" confidence {confidence.mean():.1%}"
        )
        tables[title] = calibration.bin_predictions(
            labels,
            probabilities,
            num_bins=CONVENTION.num_bins,
            edges=CONVENTION.edges,
        )
        sets[str(arm)] = {
            "right answers": confidence[right],
            "Gaussian noise": outcome.pool(
                lambda run: run.confidence("ood_gaussian")
            ),
            "wrong answers": confidence[~right],
        }
    figures = {
        "reliability.png": plots.reliability_diagram(tables),
        "confidence.png": plots.confidence_histogram(sets),
    }
    for name, figure in figures.items():
        plots.save_figure(figure, workdir / name)
    return [workdir / name for name in figures]


def _tensorboard() -> str:
    """Returns the command, from this environment if it is in this folder."""
    folder = os.path.relpath(os.path.dirname(sys.executable))
    outside = folder.startswith(os.pardir)
    return "tensorboard" if outside else os.path.join(folder, "tensorboard")


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_string("workdir", "runs/demo", "Gets a folder per run.")


def main() -> None:
    """Runs the demo in the folder that the flag names."""
    logging.set_verbosity(logging.WARNING)
    run(BASE, pathlib.Path(flags.FLAGS.workdir))


if __name__ == "__main__":
    _entry.start(main, define_flags)
