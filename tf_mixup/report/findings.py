"""What the numbers of a report mean, in words, and what to try."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_mixup.report.measures import ClassErrors
from tf_mixup.report.measures import Detection
from tf_mixup.report.measures import Errors
from tf_mixup.report.temperature import Temperature
from tf_mixup.scores import Interval

# Fewer rows in a bin, and its accuracy is off by 10 points and more.
_FEW_ROWS = 20
# How many times as frequent a class may be as another.
_IMBALANCE = 5


class Finding(NamedTuple):
    """One thing to know.

    Attributes:
        level: `"warning"`, `"note"` or `"good"`.
        text: Sentences.
    """

    level: str
    text: str


def find_in_data(
    classes: Sequence[ClassErrors],
    *,
    num_nonfinite: int,
    accuracies: Mapping[str, float],
    num_tried: int,
) -> Iterator[Finding]:
    """Yields what is wrong with inputs, labels or outputs.

    Args:
        classes: The table of classes.
        num_nonfinite: Rows left out because of NaN or infinite outputs.
        accuracies: Of `report_run.try_scales`; empty if it was not run.
        num_tried: Rows that it was run on.
    """
    labelled = np.array([each.labelled for each in classes])
    size = int(labelled.sum())
    if num_nonfinite:
        yield Finding(
            "warning",
            f"{num_nonfinite} of {size + num_nonfinite} rows have NaN or"
            " infinite predictions and are left out of all numbers. Look for"
            " NaN in these inputs, and for half precision that overflows.",
        )
    yield from _judge_scale(accuracies, num_tried)
    right = float(np.nansum([each.recall * each.labelled for each in classes]))
    chance = 1 / len(classes)
    margin = 2 * np.sqrt(chance * (1 - chance) / size)
    if right / size <= chance + margin:
        yield Finding(
            "warning",
            f"Accuracy, {right / size:.1%}, is that of guessing among"
            f" {len(classes)} classes. Check that labels are numbered and"
            " inputs are scaled as in training; calibration says little until"
            " then.",
        )
    frequent = [each.name for each in classes if each.predicted == size]
    if frequent:
        yield Finding(
            "warning",
            f"The model predicts one class, {frequent[0]}, for every row.",
        )
    yield from _judge_balance(classes, labelled)


def find_in_calibration(
    overall: Mapping[str, Interval],
    errors: Errors,
    temperature: Temperature | None,
) -> Iterator[Finding]:
    """Yields which way the model errs, how sure that is, and what to try.

    Args:
        overall: What no choice of bins changes.
        errors: Errors under the main convention.
        temperature: What temperature scaling would do.
    """
    ece, null = errors.values["ece"].estimate, errors.null_ece
    gap = overall["signed_gap"].estimate
    if overall["accuracy"].estimate == 1:
        yield Finding(
            "note",
            "All predictions are right, so any confidence below 1 counts as"
            " too low. Harder data would say more.",
        )
    if ece <= null.high:
        yield Finding(
            "good",
            f"ECE, {ece:.1%}, is not above its null range: a calibrated model"
            f" shows up to {null.high:.1%} by chance on as few rows. Nothing"
            " here speaks against the calibration of this model.",
        )
    elif abs(gap) < ece / 2:
        yield Finding(
            "warning",
            f"Overconfident in some bins and underconfident in others: ECE is"
            f" {ece:.1%} (by chance at most {null.high:.1%}), and signed gaps"
            f" cancel to {100 * gap:+.1f} points. One temperature will not"
            " mend that; look at the diagram and at the table of classes, and"
            " try vector scaling.",
        )
    else:
        yield _judge_gap(ece, null.high, gap)
    if errors.rows_per_bin < _FEW_ROWS:
        yield Finding(
            "warning",
            f"Few rows: {errors.rows_per_bin:.3g} for each of"
            f" {errors.num_bins} bins. ECE is then mostly chance, about"
            f" {null.mean:.1%} of it for a calibrated model. Take more rows,"
            " or fewer bins.",
        )
    yield _judge_temperature(temperature)


def find_in_detection(
    confidence: float, detections: Mapping[str, Detection]
) -> Iterator[Finding]:
    """Yields the sets that the model takes for its own data.

    Args:
        confidence: Mean confidence on the data.
        detections: The measures of each set.
    """
    for name, each in detections.items():
        if each.num_nonfinite:
            yield Finding(
                "warning",
                f"{each.num_nonfinite} rows of {name} have NaN or infinite"
                " predictions and are left out.",
            )
        if each.auroc < 0.6 or each.confidence >= confidence:
            yield Finding(
                "warning",
                f"The model hardly knows {name} from its data: mean confidence"
                f" {each.confidence:.1%} there and {confidence:.1%} on the"
                f" data, AUROC {each.auroc:.1%} (50% tells nothing). Mixup"
                " often helps with noise, an ensemble with other images.",
            )


def _judge_scale(
    accuracies: Mapping[str, float], num_tried: int
) -> Iterator[Finding]:
    given = accuracies.get("as given", 1.0)
    best = max(accuracies, key=lambda name: accuracies[name], default="")
    gain = accuracies.get(best, 0.0) - given
    # Of a difference between two shares, of the same rows: a safe bound.
    error = np.sqrt(1 / (2 * max(num_tried, 1)))
    if gain > max(0.1, 2 * error):
        yield Finding(
            "warning",
            f"Inputs seem to have the wrong scale: with {best} in place of x"
            f" accuracy is {accuracies[best]:.1%}, as given it is"
            f" {given:.1%} ({num_tried} rows tried). Scale them as in training"
            " before you read on.",
        )


def _judge_balance(
    classes: Sequence[ClassErrors], labelled: np.ndarray
) -> Iterator[Finding]:
    absent = [each.name for each in classes if not each.labelled]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        yield Finding(
            "note",
            f"{len(absent)} of {len(classes)} classes have no rows:"
            f" {', '.join(absent[:5])}{more}.",
        )
    present = np.where(labelled > 0, labelled, labelled.max())
    most, least = int(labelled.argmax()), int(present.argmin())
    # So few rows could be this many by chance.
    likely = present[least] + 2 * np.sqrt(present[least]) + 2
    if labelled[most] > _IMBALANCE * likely:
        yield Finding(
            "note",
            f"Classes are out of balance: {classes[most].name} has"
            f" {labelled[most]} rows, {classes[least].name}"
            f" {labelled[least]}. Accuracy and ECE are mostly those of the"
            " frequent classes; read the table of classes.",
        )


def _judge_gap(ece: float, limit: float, gap: float) -> Finding:
    if gap > 0:
        word, cure = (
            "Overconfident",
            "First temperature scaling, which keeps every prediction; if you"
            " can train again, mixup with alpha 0.2 to 0.4 or label smoothing",
        )
    else:
        word, cure = (
            "Underconfident",
            "First temperature scaling, which keeps every prediction; if it"
            " was trained with mixup or label smoothing, train again with"
            " less: a smaller alpha, or the last epochs without mixing",
        )
    return Finding(
        "warning",
        f"{word} by {100 * abs(gap):.1f} points: ECE is {ece:.1%}, by chance"
        f" at most {limit:.1%}. What to try: {cure}.",
    )


def _judge_temperature(temperature: Temperature | None) -> Finding:
    if temperature is None:
        return Finding(
            "note",
            "No temperature was tried: that takes 40 rows, and two classes in"
            " each half of them.",
        )
    if temperature.at_bound:
        return Finding(
            "note",
            "There is no best temperature: either all predictions are right,"
            " or they say nothing of the labels.",
        )
    before, after = (temperature.mean(f"nll_{w}") for w in ("before", "after"))
    helps = after < before
    return Finding(
        "note",
        f"Temperature {temperature.temperature:.3g}"
        f" {'would help' if helps else 'would not help'}: on rows that it was"
        f" not fitted on, NLL goes from {before:.3f} to {after:.3f} nats and"
        f" ECE from {temperature.mean('ece_before'):.1%} to"
        f" {temperature.mean('ece_after'):.1%}.",
    )
