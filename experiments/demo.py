r"""Shows what mixup does to a network's confidence, in minutes.

Command:
    make demo
    python -m experiments.demo --workdir=runs/demo

Small networks learn 300 real digits by heart, without mixup and with it, from
clean labels and from labels of which 40 % were drawn anew. Prints a table,
says in words which way each network errs, and draws two figures. Runs that
are complete are not repeated; one that was killed goes on.
"""

import dataclasses
import itertools
import os
import pathlib
import sys
import textwrap
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from absl import flags
from absl import logging

from experiments import _entry
from experiments.analysis import seed_statistics
from experiments.runs import config as config_lib
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_files
from experiments.runs import training
from experiments.runs.outputs import Outputs
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup.calibration import resampling

SEEDS = 3
# Of the table and the text.
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
# Names for readers of a share of labels drawn anew, and of a method.
LABELS = {"clean labels": 0.0, "40 % of labels redrawn": 0.4}
METHODS = {"no mixup": "erm", "mixup": "mixup"}
CONVENTION = calibration.CONVENTIONS["guo"]

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs/demo", "Gets a folder a run.", allow_override=True
)


class Arm(NamedTuple):
    """What is compared: one of `LABELS` with one of `METHODS`."""

    labels: str
    method: str

    def __str__(self) -> str:
        return f"{self.labels}, {self.method}"


ARMS = tuple(Arm(labels, method) for labels in LABELS for method in METHODS)


class Measure(NamedTuple):
    """A line of the table.

    Attributes:
        key: Its name in a record's results.
        title: Its name for readers, with its unit.
        better: 1 if more is better, -1 if less is, 0 if neither.
    """

    key: str
    title: str
    better: int = 0

    def format(self, value: float) -> str:
        """Returns a value as the table shows it."""
        scale = seed_statistics.scale_of(self.key)
        digits = 2 if scale == 1 else 1
        return f"{scale * value:.{digits}f}"


MEASURES = (
    Measure("train_accuracy", "accuracy in training (%)"),
    Measure("test_accuracy", "accuracy (%)", 1),
    Measure("test_confidence", "confidence (%)"),
    Measure("test_signed_gap", "signed gap (%)"),
    Measure("test_ece", "ECE (%)", -1),
    Measure("test_null_ece", "null ECE (%)"),
    Measure("test_oe", "OE (%)", -1),
    Measure("test_nll", "NLL (nats)", -1),
    Measure("gaussian_confidence", "confidence on noise (%)", -1),
    Measure("gaussian_auroc", "AUROC against noise (%)", 1),
)
LEGEND = (
    "Signed gap: confidence minus accuracy. ECE: their distance, bin by bin."
    " Null ECE: what perfectly calibrated predictions of the same confidences"
    " show on so few images, by chance. OE: the overconfident part of ECE,"
    " weighted by confidence. Noise: Gaussian, with the mean and variance of"
    " the digits; an AUROC of 50 cannot tell it from digits."
)


class Outcome(NamedTuple):
    """What the runs of one arm left, in the order of their seeds.

    Attributes:
        results: The numbers of each run.
        outputs: What each network said.
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
    """Trains what is missing; prints the table and the words; draws.

    Args:
        base: What all runs share.
        workdir: Gets a folder for each run, and the figures.
        seeds: How many runs for each arm.
    """
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
    """Trains all arms, seed by seed, with a line for each run.

    Returns:
        outcomes: What the runs left.
    """
    print(
        f"{seeds * len(ARMS)} networks learn {base.num_train} digits, without"
        f" mixup and with it (alpha {base.alpha:g})."
    )
    outcomes = {arm: Outcome([], []) for arm in ARMS}
    plan = list(itertools.product(range(seeds), ARMS))
    for number, (seed, arm) in enumerate(plan, 1):
        config = dataclasses.replace(
            base,
            corruption=LABELS[arm.labels],
            method=METHODS[arm.method],
            seed=seed,
        )
        labels = "redrawn" if config.corruption else "clean"
        folder = workdir / f"{labels}-{config.method}-seed{seed}"
        print(
            f"[{number:2d}/{len(plan)}] {arm}, seed {seed} ...",
            end=" ",
            flush=True,
        )
        complete = (folder / "record.json").exists()
        started = time.monotonic()
        results = training.run(config, folder)["results"]
        seconds = time.monotonic() - started
        print(
            f"accuracy {results['test_accuracy']:.1%},",
            f"ECE {results['test_ece']:.1%}",
            "(done before)" if complete else f"({seconds:.0f} s)",
        )
        outcomes[arm].results.append(results)
        outputs = outputs_lib.read(folder / run_files.PREDICTIONS)
        outcomes[arm].outputs.append(outputs)
    return outcomes


def table(outcomes: Outcomes) -> list[str]:
    """Returns the lines of a table: a measure a line, an arm a column."""
    runs = len(outcomes[ARMS[0]].results)
    title = f"mean ± deviation, {runs} seeds"
    groups = "".join(f"{labels:^28}" for labels in LABELS)
    heads = "".join(f"{arm.method:>14}" for arm in ARMS)
    lines = [f"{'':<26}{groups}".rstrip(), f"{title:<26}{heads}"]
    lines.append("-" * COLUMNS)
    for measure in MEASURES:
        cells = ""
        for arm in ARMS:
            spread = seed_statistics.spread(outcomes[arm].values(measure.key))
            cell = measure.format(spread.mean)
            if spread.num_seeds > 1:
                cell += f" ± {measure.format(spread.deviation):>4}"
            cells += f"{cell:>14}"
        lines.append(f"{measure.title:<26}{cells}")
    return lines


def judge(arm: Arm, outcome: Outcome) -> str:
    """Says which way the networks of an arm err, if they do."""
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
    """Puts an error of calibration into words.

    Args:
        ece: The calibration error.
        limit: What a calibrated network seldom exceeds by chance.
        gap: Mean confidence minus accuracy; its size is at most ECE.

    Returns:
        words: Which way the network errs and by how much, if it does.
    """
    if ece <= limit:
        return "calibrated, as far as so few images can tell"
    if abs(gap) < ece / 2:
        return "overconfident in some bins and underconfident in others"
    side = "overconfident" if gap > 0 else "underconfident"
    return f"{side} by {abs(100 * gap):.1f} points"


def compare(outcomes: Outcomes, labels: str) -> str:
    """Says what mixup makes better, worse, or now this and now that."""
    before, after = (outcomes[Arm(labels, method)] for method in METHODS)
    found: dict[str, list[str]] = {"better": [], "worse": [], "unclear": []}
    for measure in MEASURES:
        if not measure.better:
            continue
        gain = after.values(measure.key) - before.values(measure.key)
        gain = measure.better * gain
        # A change counts if no seed contradicts it.
        word = "better" if min(gain) > 0 else "unclear"
        word = "worse" if max(gain) < 0 else word
        found[word].append(
            f"{measure.title.split(' (')[0]}"
            f" {measure.format(before.mean(measure.key))} ->"
            f" {measure.format(after.mean(measure.key))}"
        )
    parts = (
        f"{word} {', '.join(changes)}"
        for word, changes in found.items()
        if changes
    )
    return f"Mixup, {labels}: {'; '.join(parts)}."


def conclude(outcomes: Outcomes) -> str:
    """Returns what the numbers say of mixup and calibration."""
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
    """Draws reliability and confidences of all arms, seeds pooled.

    Returns:
        paths: The figures.
    """
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
    """Returns the command, beside the Python of an environment in here."""
    folder = os.path.relpath(os.path.dirname(sys.executable))
    outside = folder.startswith(os.pardir)
    return "tensorboard" if outside else os.path.join(folder, "tensorboard")


def main() -> None:
    """Runs the demo in the folder that the flag names."""
    logging.set_verbosity(logging.WARNING)
    run(BASE, pathlib.Path(_WORKDIR.value))


if __name__ == "__main__":
    _entry.start(main)
