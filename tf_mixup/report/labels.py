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
# Above its null range a calibrated label lies so often.
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
    """Returns means over labels, and the worst of them, by name."""
    errors = [each.ece.estimate for each in labels]
    return {
        "label_ece": float(np.mean(errors)),
        "worst_label_ece": float(np.max(errors)),
        "null_label_ece": float(np.mean([x.null_ece.mean for x in labels])),
        "label_bias": max(abs(each.gap.estimate) for each in labels),
        "label_nll": float(np.mean([each.nll for each in labels])),
        "label_brier": float(np.mean([each.brier for each in labels])),
    }


def find(
    labels: Sequence[LabelErrors], *, num_nonfinite: int
) -> Iterator[Finding]:
    """Yields what the numbers mean, in words."""
    import scipy.stats

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
            f"No example is with, or none is without, {_names(constant)}:"
            " nothing can be said of these.",
        )
    wrong = [each for each in labels if each.ece.estimate > each.null_ece.high]
    expected = scipy.stats.binom.ppf(0.95, len(labels), _CHANCE)
    if len(wrong) <= expected:
        yield Finding(
            "good",
            "Nothing here speaks against the calibration of the labels: as"
            " many have an ECE above its null range as chance makes"
            f" ({len(wrong)} of {len(labels)}).",
        )
        return
    wrong.sort(key=lambda each: each.null_ece.mean - each.ece.estimate)
    yield Finding(
        "warning",
        f"The ECE of {len(wrong)} of {len(labels)} labels is above its null"
        f" range: {_names(wrong)}. Fit"
        " posthoc.LabelwiseScaling(posthoc.PlattScaling()) on other held-out"
        " data.",
    )
    for words, biased in (
        ("often", [each for each in wrong if each.gap.low > 0]),
        ("rarely", [each for each in wrong if each.gap.high < 0]),
    ):
        if biased:
            yield Finding(
                "note",
                f"Expected too {words}, as the mean probability shows:"
                f" {_names(biased)}. Class weights and resampling do that; a"
                " temperature cannot correct it, and Platt scaling can.",
            )


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
    ordered = sorted(
        labels, key=lambda each: each.null_ece.mean - each.ece.estimate
    )
    return {each.name: each.bins for each in ordered[:number]}
