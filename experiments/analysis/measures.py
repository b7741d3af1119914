"""The schema of results: name, title, unit and direction of every measure.

Results of a run are named `SET_MEASURE`, such as `test_ece` or
`mnist_test_auroc`. A new measure is one line here, and its columns in tables
and figures follow.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.analysis import seed_statistics


class Measure(NamedTuple):
    """A number that runs have.

    Attributes:
        name: Key in a record's results.
        title: For readers, without the unit.
        unit: `"%"` of a share, which is stored in [0, 1]; `"nats"`; or `""`.
        better: 1 if higher is better, -1 if lower is, 0 if neither.
    """

    name: str
    title: str
    unit: str = "%"
    better: int = 0

    @property
    def heading(self) -> str:
        """Title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def scale(self) -> int:
        """Factor from the stored to the shown number."""
        return 100 if self.unit == "%" else 1

    def format(
        self, value: float, *, sign: bool = False, precision: int = 0
    ) -> str:
        """Returns a value without its unit, or a dash for NaN.

        Args:
            value: As stored.
            sign: Whether to show a plus.
            precision: Digits more than 2 of a percentage and 3 of others.
        """
        if math.isnan(value):
            return "-"
        digits = (2 if self.unit == "%" else 3) + precision
        return f"{self.scale * value:{'+' if sign else ''}.{digits}f}"

    def format_spread(
        self, values: Sequence[float] | np.ndarray, *, precision: int = 0
    ) -> str:
        """Returns mean ± deviation over seeds, or a dash if one is NaN."""
        mean, deviation, num_seeds = seed_statistics.spread(np.array(values))
        text = self.format(mean, precision=precision)
        if num_seeds < 2 or math.isnan(mean):
            return text
        return f"{text} ± {self.format(deviation, precision=precision)}"

    def format_interval(self, found: seed_statistics.Difference) -> str:
        """Returns the ends of a difference's interval."""
        if found.num_seeds < 2:
            return "one seed"
        low, high = self.format(found.low, sign=True), found.high
        return f"{low} to {self.format(high, sign=True)}"


# Of predictions on the sets of a run, where `test` goes without saying.
_INSIDE = (
    Measure("accuracy", "accuracy", better=1),
    Measure("top5_accuracy", "top-5 accuracy", better=1),
    Measure("confidence", "confidence"),
    Measure("ece", "ECE, 15 bins", better=-1),
    Measure("null_ece", "null ECE, 15 bins"),
    Measure("ece_100", "ECE, 100 bins", better=-1),
    Measure("null_ece_100", "null ECE, 100 bins"),
    Measure("adaptive_ece", "adaptive ECE", better=-1),
    Measure("oe", "OE, 15 bins", better=-1),
    Measure("oe_100", "OE, 100 bins", better=-1),
    Measure("signed_gap", "signed gap"),
    Measure("nll", "NLL", "nats", better=-1),
    Measure("brier", "Brier score", "", better=-1),
)
_INSIDE_SETS = {"test": "", "validation": "validation ", "train": "training "}
# Of any other set: the part before the last underscore of the name.
_OUTSIDE = (
    Measure("confidence", "confidence on {}", better=-1),
    Measure("auroc", "AUROC against {}", better=1),
    Measure("aupr", "AUPR against {}", better=1),
    Measure("fpr95", "FPR95 against {}", better=-1),
    Measure("miss", "class of neither at lam {}", better=-1),
    Measure("slope", "gradient norm at lam {}", "", better=-1),
)
_OUTSIDE_SETS = {
    "gaussian": "noise",
    "uniform": "uniform noise",
    "other": "the other set",
    "mnist_test": "MNIST",
    "cifar100_test_subset1000": "CIFAR-100",
}
_OTHERS = (
    Measure("train_real_accuracy", "training accuracy, true labels"),
    Measure("train_corrupted_accuracy", "training accuracy, corrupted labels"),
    Measure("validation_best_accuracy", "best epoch's validation accuracy"),
    Measure("validation_gain_of_best", "gain of the best epoch"),
    Measure(
        "validation_median_accuracy",
        "validation accuracy, median of the last 10 epochs",
    ),
    Measure("temperature", "T", ""),
    Measure("bayes_nll", "NLL of the true probabilities", "nats"),
    Measure("bayes_kl", "KL to the true probabilities", "nats", better=-1),
    Measure("bayes_gap", "distance to the true probabilities", better=-1),
    Measure("modes_found", "modes found", better=1),
    Measure("good_samples", "samples near a mode", better=1),
    Measure("escaped_samples", "samples that escaped", better=-1),
    Measure("clean_error", "top-1 error", better=-1),
    Measure("fgsm_white_error", "white-box FGSM, top-1 error", better=-1),
    Measure("ifgsm_white_error", "white-box I-FGSM, top-1 error", better=-1),
    Measure("fgsm_black_error", "black-box FGSM, top-1 error", better=-1),
    Measure("ifgsm_black_error", "black-box I-FGSM, top-1 error", better=-1),
)
_BY_NAME = {
    f"{prefix}_{each.name}": each._replace(
        name=f"{prefix}_{each.name}", title=words + each.title
    )
    for prefix, words in _INSIDE_SETS.items()
    for each in _INSIDE
} | {each.name: each for each in _OTHERS}
_BY_ENDING = {each.name: each for each in _OUTSIDE}


def find(name: str) -> Measure:
    """Returns the measure of a result; an unknown one has no unit."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.endswith("_top5"):
        found = find(name.removesuffix("_top5"))
        title = found.title.replace("top-1", "top-5")
        return found._replace(name=name, title=title)
    place, _, ending = name.rpartition("_")
    if place and ending in _BY_ENDING:
        place = place.removeprefix("between_")
        place = _OUTSIDE_SETS.get(place, place.replace("_", " "))
        found = _BY_ENDING[ending]
        return found._replace(name=name, title=found.title.format(place))
    return Measure(name, name.replace("_", " "), "")


def is_known(name: str) -> bool:
    """Returns whether the schema has a measure of this name."""
    return find(name).title != name.replace("_", " ") or name in _BY_NAME
