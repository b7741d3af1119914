"""The schema of results: name, title, unit and direction of every measure.

Results of a run are named `SET_MEASURE`, such as `test_ece` or
`mnist_test_auroc`, after a method `METHOD:SET_MEASURE`. A new column of all
tables is one line in `COLUMNS`.
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
        ends = (self.format(end, sign=True) for end in (found.low, found.high))
        return " to ".join(ends)


# Columns of the tables of all runs that have them, in this order. What holds
# for the test set holds for the validation set.
COLUMNS = (
    Measure("test_accuracy", "accuracy", better=1),
    Measure("test_top5_accuracy", "top-5 accuracy", better=1),
    Measure("test_best_accuracy", "accuracy, best epoch", better=1),
    Measure(
        "test_median_accuracy",
        "accuracy, median of the last 10 epochs",
        better=1,
    ),
    Measure("train_accuracy", "training accuracy"),
    Measure("train_real_accuracy", "training accuracy, true labels"),
    Measure("train_corrupted_accuracy", "training accuracy, corrupted labels"),
    Measure("validation_gain_of_best", "gain of the best epoch"),
    Measure(
        "validation_median_accuracy",
        "validation accuracy, median of the last 10 epochs",
    ),
    Measure("test_ece", "ECE, 15 bins", better=-1),
    Measure("test_null_ece", "null ECE, 15 bins"),
    Measure("test_ece_100", "ECE, 100 bins", better=-1),
    Measure("test_null_ece_100", "null ECE, 100 bins"),
    Measure("test_adaptive_ece", "adaptive ECE", better=-1),
    Measure("test_oe", "OE, 15 bins", better=-1),
    Measure("test_ace", "average calibration error, 15 bins", better=-1),
    Measure("test_mce", "MCE, 15 bins", better=-1),
    Measure("test_signed_gap", "signed gap"),
    Measure("bayes_gap", "distance to the true probabilities", better=-1),
    Measure("test_nll", "NLL", "nats", better=-1),
    Measure("bayes_kl", "KL to the true probabilities", "nats", better=-1),
    Measure("train_first_logit", "largest logit, training set", ""),
    Measure("train_second_logit", "second largest logit, training set", ""),
    Measure("modes_found", "modes found", better=1),
    Measure("good_samples", "samples near a mode", better=1),
    Measure("escaped_samples", "samples that escaped", better=-1),
)
# Not in the tables of all runs.
_OTHERS = (
    Measure("test_error", "error", better=-1),
    Measure("test_gain_of_best", "gain of the best epoch, test set"),
    Measure("test_confidence", "confidence"),
    Measure("test_oe_100", "OE, 100 bins", better=-1),
    Measure("test_brier", "Brier score", "", better=-1),
    Measure("validation_best_accuracy", "validation accuracy, best epoch"),
    Measure("temperature", "T", ""),
    Measure("bayes_nll", "NLL of the true probabilities", "nats"),
    Measure("clean_error", "top-1 error", better=-1),
    Measure("fgsm_white_error", "white-box FGSM, top-1 error", better=-1),
    Measure("ifgsm_white_error", "white-box I-FGSM, top-1 error", better=-1),
    Measure("fgsm_black_error", "black-box FGSM, top-1 error", better=-1),
    Measure(
        "fgsm_matched_error",
        "white-box FGSM of matched strength, top-1 error",
        better=-1,
    ),
    Measure("fgsm_matched_epsilon", "matched epsilon, of 255", ""),
    Measure("ifgsm_black_error", "black-box I-FGSM, top-1 error", better=-1),
)
# Endings of names that begin with an out-of-distribution set or a lam.
_ENDINGS = (
    Measure("confidence", "confidence on {}", better=-1),
    Measure("auroc", "AUROC against {}", better=1),
    Measure("aupr", "AUPR against {}", better=1),
    Measure("fpr95", "FPR95 against {}", better=-1),
    Measure("auroc_entropy", "AUROC of the entropy against {}", better=1),
    Measure("auroc_energy", "AUROC of the energy against {}", better=1),
    Measure("auroc_max_logit", "AUROC of the max logit against {}", better=1),
    Measure("fpr95_entropy", "FPR95 of the entropy against {}", better=-1),
    Measure("fpr95_energy", "FPR95 of the energy against {}", better=-1),
    Measure("fpr95_max_logit", "FPR95 of the max logit against {}", better=-1),
    Measure("miss", "class of neither at lam {}", better=-1),
    Measure("slope", "gradient norm at lam {}", "", better=-1),
)
_SETS = {
    "gaussian": "noise",
    "uniform": "uniform noise",
    "other": "the other set",
    "mnist": "MNIST",
    "mnist_test": "MNIST",
    "svhn_cropped": "SVHN",
    "imagenet_unseen": "other classes of ImageNet",
    "cifar100_test_subset1000": "CIFAR-100",
}
# Methods that are applied to the outputs of a run.
AFTER = {
    "": "before",
    "temperature": "temperature scaling",
    "temperature_noisy": "temperature scaling on noisy labels",
    "temperature_published": "temperature scaling as published",
    "vector": "vector scaling",
    "isotonic": "isotonic scaling",
    "dropout": "MC dropout",
    "rescaling": "rescaled inputs",
    "ensemble": "ensemble",
    "attacked": "attacked",
    "between": "between training points",
}
_BY_NAME = {each.name: each for each in (*COLUMNS, *_OTHERS)}
_BY_ENDING = {each.name: each for each in _ENDINGS}


def find(name: str) -> Measure:
    """Returns the measure of a result; an unknown one has no unit."""
    return _find(name) or Measure(name, name.replace("_", " "), "")


def describe_set(name: str) -> str:
    """Returns the name of an out-of-distribution set for readers."""
    return _SETS.get(name, name.replace("_", " "))


def is_known(name: str) -> bool:
    """Returns whether the schema has a measure of this name."""
    return _find(name) is not None


def _split(name: str) -> tuple[str, str]:
    """Returns the set or lam of a name, and which of `_ENDINGS` it has."""
    for ending in sorted(_BY_ENDING, key=len, reverse=True):
        if name.endswith(f"_{ending}"):
            return name.removesuffix(f"_{ending}"), ending
    return "", name


def _find(name: str) -> Measure | None:
    place, ending = _split(name)
    base = name.removesuffix("_top5").replace("validation_", "test_", 1)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if base in _BY_NAME:
        found = _BY_NAME[base]
        title = found.title.replace("top-1", "top-5")
        words = "validation " if name.startswith("validation_") else ""
        return found._replace(name=name, title=words + title)
    after, colon, rest = name.partition(":")
    if colon and is_known(rest):
        found = find(rest)
        title = f"{found.title}, {AFTER[after]}"
        return found._replace(name=name, title=title)
    if place and ending in _BY_ENDING:
        found, place = _BY_ENDING[ending], place.removeprefix("between_")
        place = describe_set(place)
        return found._replace(name=name, title=found.title.format(place))
    return None
