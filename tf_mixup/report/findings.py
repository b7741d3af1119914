"""Explains the numbers of a report and suggests what to try."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_mixup.calibration import ClassBias
from tf_mixup.calibration.resampling import Interval
from tf_mixup.report.measures import ClassErrors
from tf_mixup.report.measures import Detection
from tf_mixup.report.measures import Errors
from tf_mixup.report.temperature import Temperature

# Fewer examples in a bin, and its accuracy is off by 10 points and more.
_FEW_EXAMPLES = 20
# How many times as frequent a class may be as another.
_IMBALANCE = 5
# Classes that a sentence names.
_MOST_NAMES = 3


class Finding(NamedTuple):
    """One result in words.

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
    num_ignored: int = 0,
    num_normalized: int = 0,
) -> Iterator[Finding]:
    """Yields what is wrong with inputs, labels or outputs."""
    labeled = np.array([each.labeled for each in classes])
    size = int(labeled.sum())
    if num_nonfinite:
        yield Finding(
            "warning",
            f"{num_nonfinite:,} of {size + num_nonfinite:,} examples have NaN"
            " or infinite predictions and are left out of all numbers. Look for"
            " NaN in these inputs, and for half precision that overflows.",
        )
    if num_ignored:
        yield Finding(
            "note",
            f"{num_ignored:,} examples with the ignored label or with a weight"
            " of 0 are left out of all numbers.",
        )
    if num_normalized:
        yield Finding(
            "note",
            f"{num_normalized:,} targets did not sum to 1, as rounded shares do"
            " not. They were divided by their sums.",
        )
    yield from _judge_scale(accuracies, num_tried)
    right = float(
        np.nansum([each.accuracy * each.predicted for each in classes])
    )
    chance = 1 / len(classes)
    margin = 2 * np.sqrt(chance * (1 - chance) / size)
    if right / size <= chance + margin:
        yield Finding(
            "warning",
            f"Accuracy, {right / size:.1%}, is no better than guessing among"
            f" {len(classes):,} classes. Check that labels are numbered and"
            " inputs are scaled as in training; calibration means little until"
            " then.",
        )
    frequent = [each.name for each in classes if each.predicted == size]
    if frequent:
        yield Finding(
            "warning",
            f"The model predicts one class, {frequent[0]}, for every example.",
        )
    yield from _judge_balance(classes, labeled)


def find_in_calibration(
    overall: Mapping[str, Interval],
    errors: Errors,
    temperature: Temperature | None,
    class_bias: ClassBias | None = None,
    names: Sequence[str] = (),
) -> Iterator[Finding]:
    """Yields which way the model errs, how surely, and what to try."""
    null = errors.null_ece
    if overall["accuracy"].estimate == 1:
        yield Finding(
            "note",
            "All predictions are right, so any confidence below 1 counts as"
            " too low. Harder data would show more.",
        )
    biased = list(_judge_class_bias(class_bias, names))
    yield from biased
    yield _judge_error(errors, overall["signed_gap"], good=not biased)
    if errors.examples_per_bin < _FEW_EXAMPLES:
        yield Finding(
            "warning",
            f"Few examples: {errors.examples_per_bin:.3g} for each of"
            f" {errors.num_bins} bins. ECE is then mostly chance: a calibrated"
            f" model would show {null.mean:.1%}. Use more examples, or fewer"
            " bins.",
        )
    yield _judge_temperature(temperature, biased=bool(biased))


def find_in_detection(
    confidence: float, detections: Mapping[str, Detection]
) -> Iterator[Finding]:
    """Yields the sets that confidence does not separate from the data."""
    for name, each in detections.items():
        if each.num_nonfinite:
            yield Finding(
                "warning",
                f"{each.num_nonfinite:,} examples of {name} have NaN or"
                " infinite predictions and are left out.",
            )
        if each.auroc < 0.6 or each.confidence >= confidence:
            yield Finding(
                "warning",
                f"Confidence does not separate {name} from the data: its mean"
                f" is {each.confidence:.1%} there and {confidence:.1%} on the"
                f" data, AUROC {each.auroc:.1%} (50% is chance). What to"
                " try: an ensemble, or another score (tf_mixup.ood). Mixup"
                " lowers such confidence, but seldom separates the sets.",
            )


def _judge_scale(
    accuracies: Mapping[str, float], num_tried: int
) -> Iterator[Finding]:
    given = accuracies.get("as given", 1.0)
    best = max(accuracies, key=lambda name: accuracies[name], default="")
    gain = accuracies.get(best, 0.0) - given
    # A safe bound for the difference of two shares of the same examples.
    error = np.sqrt(1 / (2 * max(num_tried, 1)))
    if gain > max(0.1, 2 * error):
        yield Finding(
            "warning",
            f"Inputs seem to have the wrong scale: with {best} in place of x"
            f" accuracy is {accuracies[best]:.1%}, as given it is"
            f" {given:.1%} ({num_tried:,} examples tried). Scale them as in"
            " training before you read on.",
        )


def _judge_balance(
    classes: Sequence[ClassErrors], labeled: np.ndarray
) -> Iterator[Finding]:
    absent = [each.name for each in classes if not each.labeled]
    if absent:
        more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
        yield Finding(
            "note",
            f"{len(absent):,} of {len(classes):,} classes have no examples:"
            f" {', '.join(absent[:5])}{more}.",
        )
    present = np.where(labeled > 0, labeled, labeled.max())
    most, least = int(labeled.argmax()), int(present.argmin())
    # So few examples could be this many by chance.
    likely = present[least] + 2 * np.sqrt(present[least]) + 2
    if labeled[most] > _IMBALANCE * likely:
        yield Finding(
            "note",
            f"Classes are imbalanced: {classes[most].name} has"
            f" {labeled[most]:,} examples, {classes[least].name}"
            f" {labeled[least]:,}. Accuracy and ECE are dominated by the"
            " frequent classes; see the table of classes.",
        )


def _judge_class_bias(
    class_bias: ClassBias | None, names: Sequence[str]
) -> Iterator[Finding]:
    if class_bias is None:
        return
    bias, limits = class_bias.bias, class_bias.limits
    excess = np.abs(bias) - limits
    worst = [k for k in np.argsort(-np.abs(bias)) if excess[k] > 0]
    if not worst:
        return
    more = len(worst) - _MOST_NAMES
    classes = ", ".join(
        f"{names[k] if len(names) else k}: {100 * bias[k]:+.1f} points (by"
        f" chance {100 * limits[k]:.1f})"
        for k in worst[:_MOST_NAMES]
    )
    yield Finding(
        "warning",
        "Class bias, mean probability minus share of the labels:"
        f" {classes}{f' and {more:,} more' if more > 0 else ''}. Class weights"
        " or resampled classes in training cause this, and so do data with"
        " other shares than those of training. What to try: vector scaling"
        " (tf_mixup.posthoc.VectorScaling), or training without the weights.",
    )


def _judge_error(errors: Errors, gap: Interval, *, good: bool) -> Finding:
    """Returns what ECE and the signed gap show together."""
    ece, limit = errors.values["ece"].estimate, errors.null_ece.high
    # A gap that is printed as 0.0 points does not matter.
    certain = max(gap.low, -gap.high) > 0 and abs(gap.estimate) >= 5e-4
    if ece > limit and abs(gap.estimate) < ece / 2:
        return Finding(
            "warning",
            f"Overconfident in some bins and underconfident in others: ECE is"
            f" {ece:.1%} (by chance at most {limit:.1%}), and signed gaps"
            f" cancel to {100 * gap.estimate:+.1f} points. One temperature"
            " does not correct that. See the diagram and the table of classes,"
            " and try vector scaling.",
        )
    if ece > limit:
        return _judge_gap(
            gap.estimate, f"ECE is {ece:.1%}, by chance at most {limit:.1%}"
        )
    within = (
        f"ECE, {ece:.1%}, is not above its null range: a calibrated model"
        f" shows up to {limit:.1%} by chance with this many examples"
    )
    if certain:
        return _judge_gap(
            gap.estimate,
            f"the 95% interval of the signed gap, {100 * gap.low:+.1f} to"
            f" {100 * gap.high:+.1f} points, excludes 0, though {within}",
        )
    if good:
        return Finding(
            "good",
            f"{within}. These data give no evidence against the calibration of"
            " this model.",
        )
    return Finding(
        "note",
        f"{within}. But ECE covers the predicted class only and does not see"
        " class bias.",
    )


def _judge_gap(gap: float, why: str) -> Finding:
    if gap > 0:
        word, cure = (
            "Overconfident",
            "first temperature scaling, which keeps every prediction; if you"
            " can train again, mixup with alpha 0.2 to 0.4 or label smoothing",
        )
    else:
        word, cure = (
            "Underconfident",
            "first temperature scaling, which keeps every prediction; if it"
            " was trained with mixup or label smoothing, train again with"
            " less: a smaller alpha, or the last epochs without mixing",
        )
    return Finding(
        "warning",
        f"{word} by {100 * abs(gap):.1f} points: {why}. What to try: {cure}.",
    )


def _judge_temperature(
    temperature: Temperature | None, *, biased: bool
) -> Finding:
    if temperature is None:
        return Finding(
            "note",
            "No temperature was tried: that takes at least 40 examples, with"
            " two classes in each half of them.",
        )
    if temperature.at_bound:
        return Finding(
            "note",
            "No finite temperature is optimal: either all predictions are"
            " right, or they are unrelated to the labels.",
        )
    before, after = (temperature.mean(f"nll_{w}") for w in ("before", "after"))
    verdict = "shows no difference beyond chance"
    if temperature.helps:
        verdict = "would help"
    elif temperature.harms:
        verdict = "would not help"
    change = temperature.nll_change
    interval = (
        f" (95% interval of the change {change.low:+.4f} to {change.high:+.4f})"
        if change
        else ""
    )
    return Finding(
        "note",
        f"Temperature {temperature.temperature:.3g} {verdict}: on examples"
        f" that it was not fitted on, NLL goes from {before:.3f} to"
        f" {after:.3f} nats{interval}. On them ECE goes from"
        f" {temperature.mean('ece_before'):.1%} to"
        f" {temperature.mean('ece_after'):.1%}; chance adds more to it than to"
        " the ECE of all examples."
        + (" It does not change class bias." if biased else ""),
    )
