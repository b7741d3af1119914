"""The numbers of a report on several labels of an example.

Each label is a binary problem of its own. Shapes: N examples, K labels, M bins.
"""

import dataclasses
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import calibration
from tf_mixup.calibration import per_example
from tf_mixup.calibration import per_label
from tf_mixup.calibration import resampling
from tf_mixup.calibration.resampling import Interval
from tf_mixup.calibration.resampling import NullRange
from tf_mixup.report import measures
from tf_mixup.report.findings import Finding

# Of each label, with bootstrap intervals.
_MEASURES = {
    "ece": calibration.expected_calibration_error,
    "gap": calibration.signed_gap,
    "probability": calibration.mean_confidence,
    "frequency": calibration.accuracy,
}
# Labels that a sentence names.
_MOST_NAMES = 5
# How often the finding warns of K labels that are all calibrated, at most.
_CHANCE = 0.025


@dataclasses.dataclass(frozen=True)
class LabelErrors:
    """One label of the table.

    Attributes:
        name: The label.
        num_examples: Examples of which it is known whether they have it.
        num_positive: Those that have it; a sum of targets if these are soft.
        probability: Mean probability of the label.
        frequency: Share of the examples that have it.
        gap: Mean probability minus frequency.
        ece: ECE of the probability, under the convention `measures.MAIN`.
        null_ece: The ECE that a calibrated model would show.
        nll: Mean binary cross-entropy, in nats.
        brier: Mean squared difference of probability and target.
        bins: The table that the ECE is a function of, `(M,)`.
    """

    name: str
    num_examples: int
    num_positive: float
    probability: Interval
    frequency: Interval
    gap: Interval
    ece: Interval
    null_ece: NullRange
    nll: float
    brier: float
    bins: calibration.Bins


def measure_labels(
    labels: np.ndarray,
    outputs: np.ndarray,
    known: np.ndarray,
    names: Sequence[str],
    *,
    from_logits: bool,
    num_resamples: int,
    seed: int,
) -> list[LabelErrors]:
    """Measures each label by itself, in order.

    Args:
        labels: Targets in [0, 1], `(N, K)`.
        outputs: Logits or probabilities of labels, `(N, K)`.
        known: Which targets are known, bool `(N, K)`.
        names: Of the K labels.
        from_logits: Whether outputs are logits.
        num_resamples: Samples redrawn for an interval.
        seed: Seed of all that is drawn.
    """
    return [
        _measure(
            labels[known[:, k], k],
            outputs[known[:, k], k],
            name,
            from_logits=from_logits,
            num_resamples=num_resamples,
            seed=seed,
        )
        for k, name in enumerate(names)
    ]


def _measure(
    labels: np.ndarray,
    outputs: np.ndarray,
    name: str,
    *,
    from_logits: bool,
    **drawn: Any,
) -> LabelErrors:
    scores = per_example.ExampleScores(labels, outputs, from_logits=from_logits)
    nll, brier, probability = (
        keras.ops.convert_to_numpy(column)
        for column in (
            scores.nll,
            scores.brier / 2,
            scores.probabilities[:, 1],
        )
    )
    num_bins, edges, _ = calibration.CONVENTIONS[measures.MAIN]
    options: dict[str, Any] = {"num_bins": num_bins, "edges": edges}
    intervals = resampling.bootstrap_intervals(
        probability,
        labels,
        measures=list(_MEASURES.values()),
        **options,
        **drawn,
    )
    bins = calibration.bin_confidences(probability, labels, **options)
    return LabelErrors(
        name=name,
        num_examples=len(labels),
        num_positive=float(np.sum(labels, dtype=np.float64)),
        null_ece=resampling.null_calibration_error(
            probability, seed=drawn["seed"], **options
        ),
        nll=float(nll.mean(dtype=np.float64)),
        brier=float(brier.mean(dtype=np.float64)),
        bins=calibration.Bins(*map(keras.ops.convert_to_numpy, bins)),
        **dict(zip(_MEASURES, intervals, strict=True)),
    )


def summarize(labels: Sequence[LabelErrors]) -> dict[str, float]:
    """Returns means over labels or entries, and the worst label, by name."""
    errors = [each.ece.estimate for each in labels]
    sizes = [each.num_examples for each in labels]
    return {
        "label_ece": float(np.mean(errors)),
        "worst_label_ece": float(np.max(errors)),
        "null_label_ece": float(np.mean([x.null_ece.mean for x in labels])),
        "label_bias": max(abs(each.gap.estimate) for each in labels),
        # Means over all known entries, as in `LabelCalibrationMetrics`.
        "label_nll": float(np.average([x.nll for x in labels], weights=sizes)),
        "label_brier": float(
            np.average([x.brier for x in labels], weights=sizes)
        ),
    }


def find(
    labels: Sequence[LabelErrors], *, num_nonfinite: int, seed: int
) -> Iterator[Finding]:
    """Yields what the numbers mean, in words."""
    if num_nonfinite:
        yield Finding(
            "warning",
            f"{num_nonfinite:,} examples have NaN or infinite predictions and"
            " are left out of all numbers.",
        )
    constant = [
        each for each in labels if each.num_positive in (0, each.num_examples)
    ]
    if constant:
        yield Finding(
            "note",
            f"{_names(constant)} is present in all or in none of the examples,"
            " so its calibration cannot be measured."
            if len(constant) == 1
            else f"{_names(constant)} are each present in all or in none of the"
            " examples, so their calibration cannot be measured.",
        )
    wrong = [each for each in labels if each.ece.estimate > each.null_ece.high]
    num_above = len(wrong)
    wrong = [each for each in wrong if _exceeds_chance(each, len(labels), seed)]
    if not wrong:
        yield Finding(
            "good",
            "No label is miscalibrated beyond chance:"
            f" {num_above} of {len(labels)} have an ECE above their null"
            " range.",
        )
        return
    wrong = _order(wrong)
    yield Finding(
        "warning",
        f"The ECE of {len(wrong)} of {len(labels)} labels is larger than chance"
        f" explains: {_names(wrong)}. Fit"
        " posthoc.LabelwiseScaling(posthoc.PlattScaling()) on other held-out"
        " data.",
    )
    for words, biased in (
        ("high", [each for each in wrong if each.gap.low > 0]),
        ("low", [each for each in wrong if each.gap.high < 0]),
    ):
        if biased:
            yield Finding(
                "note",
                f"Probability too {words} on average: {_names(biased)}. Class"
                " weights and resampling do that; a temperature cannot correct"
                " it, and Platt scaling can.",
            )


def _exceeds_chance(label: LabelErrors, num_labels: int, seed: int) -> bool:
    """Returns whether an ECE is too large for one of K calibrated labels.

    The more labels, the larger is the largest ECE by chance; the level is
    divided by their number, as Bonferroni does. Labels are drawn bin by bin.
    """
    count, claimed, _ = label.bins
    filled = count > 0
    count, claimed = count[filled], claimed[filled]
    drawn = np.random.default_rng(seed).binomial(
        count.astype(np.int64),
        np.clip(claimed / count, 0, 1),
        size=(max(1000, 100 * num_labels), len(count)),
    )
    errors = np.abs(drawn - claimed).sum(axis=1) / count.sum()
    limit = np.quantile(errors, 1 - _CHANCE / num_labels)
    return bool(label.ece.estimate > limit)


def _names(labels: Sequence[LabelErrors]) -> str:
    named = ", ".join(each.name for each in labels[:_MOST_NAMES])
    rest = len(labels) - _MOST_NAMES
    return f"{named} and {rest} more" if rest > 0 else named


def sum_bins(labels: Sequence[LabelErrors]) -> calibration.Bins:
    """Returns the table of all labels together."""
    parts = zip(*(each.bins for each in labels), strict=True)
    return calibration.Bins(*(np.sum(part, axis=0) for part in parts))


def worst(
    labels: Sequence[LabelErrors], number: int
) -> Mapping[str, calibration.Bins]:
    """Returns the tables of the labels that lie the furthest above chance."""
    ordered = _order(labels)
    return {each.name: each.bins for each in ordered[:number]}


def _order(labels: Sequence[LabelErrors]) -> list[LabelErrors]:
    parts = zip(*(each.bins for each in labels), strict=True)
    bins = calibration.Bins(*map(np.stack, parts))
    return [labels[k] for k in per_label.find_worst(bins)]
