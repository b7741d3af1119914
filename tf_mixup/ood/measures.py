"""Measures of out-of-distribution detection: exact, without a threshold grid.

A detector scores every example; examples of the training distribution ("in")
should score higher than others ("out"). A random score has AUROC 1/2, AUPR the
share of its positives, FPR95 0.95.

Packages differ in what they count as **positive**. Here it is the examples
from inside, as in Hendrycks and Gimpel, unless `positive="out"` or the name
ends in `_out`. Others, such as OpenOOD, count those from outside for FPR95, and
take AUPR by the trapezoidal rule, which interpolates between thresholds; AUROC
is the same. For
scores `[.9, .8, .7, .3]` inside and `[.6, .5, .4, .2]` outside FPR95 is 0.75
here and 0.25 there, and AUPR of "in" 0.893 here and 0.884 there.

References:
    Hendrycks and Gimpel. A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks. ICLR 2017.
    https://arxiv.org/abs/1610.02136
"""

from typing import Any

import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import numbers

# Which examples FPR95 and AUPR can count as positive.
POSITIVES = ("in", "out")
# Scores whose ranks are found at a time.
_PART = 2**18


def auroc(in_scores: Any, out_scores: Any) -> float:
    """Returns the area under the ROC curve.

    It is the probability that an example from inside scores higher than one
    from outside, ties counting half. It depends neither on the sizes of the
    sets nor on which of them counts as positive.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        auroc: In `[0, 1]`; 1/2 for a random score.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.

    Example:
        >>> auroc([0.9, 0.6], [0.7, 0.5])
        0.75
    """
    inside = _check_scores("in_scores", in_scores)
    outside = _check_scores("out_scores", out_scores)
    inside.sort()
    outside.sort()
    # Its definition, counted: a tenth of the time of a curve and its area.
    count = sum(
        int(np.searchsorted(outside, inside[start : start + _PART], side).sum())
        for start in range(0, inside.size, _PART)
        for side in ("left", "right")
    )
    return float(count / 2 / (inside.size * outside.size))


def aupr(in_scores: Any, out_scores: Any, *, positive: str = "in") -> float:
    """Returns `aupr_in`, or `aupr_out` for `positive="out"`.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.
        positive: Whose examples are to be found, `"in"` or `"out"`.

    Returns:
        aupr: In `[0, 1]`.

    Raises:
        ValueError: As `auroc`; if `positive` is another word.
    """
    _checks.one_of("positive", positive, POSITIVES)
    measure = aupr_in if positive == "in" else aupr_out
    return measure(in_scores, out_scores)


def aupr_in(in_scores: Any, out_scores: Any) -> float:
    """Returns the average precision of finding examples from inside.

    It is the sum of precision times the step of recall; the trapezoidal rule
    gives another number. It depends on the sizes of the sets: compare it only
    between detectors on the same two.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `N / (N + M)` for a random score.

    Raises:
        ValueError: As `auroc`.

    Example:
        >>> aupr_in([0.9, 0.8], [0.1])
        1.0
    """
    from sklearn import metrics as sklearn_metrics

    is_in, scores = _pool(in_scores, out_scores)
    return float(sklearn_metrics.average_precision_score(is_in, scores))


def aupr_out(in_scores: Any, out_scores: Any) -> float:
    """Returns the average precision of finding examples from outside.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.

    Returns:
        aupr: In `[0, 1]`; near `M / (N + M)` for a random score.

    Raises:
        ValueError: As `auroc`.
    """
    from sklearn import metrics as sklearn_metrics

    is_in, scores = _pool(in_scores, out_scores)
    return float(sklearn_metrics.average_precision_score(1 - is_in, -scores))


def fpr_at_95_tpr(
    in_scores: Any, out_scores: Any, *, positive: str = "in"
) -> float:
    """Returns the share of examples from outside that pass for inside.

    The threshold is the highest one that still accepts 95% of the examples
    from inside; scores equal to it are accepted. With `positive="out"`, as in
    OpenOOD, it is the share of examples from inside that are flagged where 95%
    of those from outside are.

    Args:
        in_scores: Scores inside the distribution, `(N,)`, higher for inside.
        out_scores: Scores outside of it, `(M,)`.
        positive: Whose examples 95% are of, `"in"` or `"out"`.

    Returns:
        fpr: In `[0, 1]`; 0 is best.

    Raises:
        ValueError: As `auroc`; if `positive` is another word.

    Example:
        >>> inside, outside = [0.9, 0.8, 0.7, 0.3], [0.6, 0.5, 0.4, 0.2]
        >>> fpr_at_95_tpr(inside, outside)
        0.75
        >>> fpr_at_95_tpr(inside, outside, positive="out")
        0.25
    """
    from sklearn import metrics as sklearn_metrics

    _checks.one_of("positive", positive, POSITIVES)
    is_in, scores = _pool(in_scores, out_scores)
    if positive == "out":
        is_in, scores = 1 - is_in, -scores
    # Without `drop_intermediate=False` points of the curve are left out.
    fpr, tpr, _ = sklearn_metrics.roc_curve(
        is_in, scores, drop_intermediate=False
    )
    return float(fpr[np.argmax(tpr >= 0.95)])


def _pool(in_scores: Any, out_scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns 1 for examples from inside, 0 for others, and all scores."""
    inside = _check_scores("in_scores", in_scores)
    outside = _check_scores("out_scores", out_scores)
    is_in = np.concatenate([np.ones(inside.size), np.zeros(outside.size)])
    return is_in.astype(np.int64), np.concatenate([inside, outside])


def _check_scores(name: str, scores: Any) -> np.ndarray:
    """Returns a copy of scores as float64."""
    given = numbers.to_numpy(scores, f"`{name}`")
    scores = given.astype(np.float64)
    largest = max(scores.max(initial=0), -scores.min(initial=0))
    if given.dtype.kind in "iu" and largest >= 2**53:
        raise _checks.refusal(
            f"`{name}` must be numbers that float64 holds",
            f"integers up to {int(largest)}",
            "Subtract what all scores have in common",
        )
    if scores.ndim != 1 or not scores.size:
        raise _checks.refusal(
            f"`{name}` must be one score for each example, at least one",
            f"{name} of shape {scores.shape}",
            "Give a one-dimensional array, e.g. of `ood.confidence`",
        )
    wrong = int(np.sum(~np.isfinite(scores)))
    if wrong:
        raise _checks.refusal(
            f"`{name}` must be finite",
            f"{name} with {wrong} of {scores.size} scores NaN or infinite",
            "Look for a diverged model, or leave these examples out",
        )
    return scores
