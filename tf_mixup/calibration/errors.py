"""Calibration errors as functions of `Bins`."""

import math
from typing import Any

from keras import ops

from tf_mixup.calibration.bins import Bins
from tf_mixup.calibration.bins import divide
from tf_mixup.calibration.bins import equal_mass_bins


def accuracy(bins: Bins) -> Any:
    """Returns the fraction of correct predictions of a whole table.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        accuracy: Scalar in [0, 1], or one for each leading index of `bins`; NaN
            for an empty table.
    """
    return _average(bins.correct, bins)


def mean_confidence(bins: Bins) -> Any:
    """Returns the mean confidence of a whole table.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        confidence: Scalar in [0, 1], or one for each leading index of `bins`;
            NaN for an empty table.
    """
    return _average(bins.confidence, bins)


def signed_gap(bins: Bins) -> Any:
    """Returns mean confidence - accuracy: above 0 is over-confidence.

    gap = sum over m of |B_m| / n * (conf(B_m) - acc(B_m)), which is
    `overconfident_part - underconfident_part`. It can be 0 where ECE is large:
    bins that are too confident and bins that are not enough cancel.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        gap: Scalar in [-1, 1]; NaN for an empty table.
    """
    return mean_confidence(bins) - accuracy(bins)


def expected_calibration_error(bins: Bins) -> Any:
    """Averages |accuracy - confidence| over bins, weighted by their counts.

    ECE = sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|. It is biased
    upwards: a perfectly calibrated model has an ECE above 0 on finite data,
    more with more bins and fewer rows.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        ece: Scalar in [0, 1], or one for each leading index of `bins`; NaN for
            an empty table.

    Example:
        >>> bins = Bins(*np.array([[4.0, 4.0], [1.0, 3.6], [1.0, 3.0]]))
        >>> round(float(expected_calibration_error(bins)), 6)
        0.075

    References:
        Guo, Pleiss, Sun and Weinberger. On Calibration of Modern Neural
        Networks. ICML 2017, equation 3. https://arxiv.org/abs/1706.04599
    """
    return _average(ops.abs(bins.confidence - bins.correct), bins)


def overconfident_part(bins: Bins) -> Any:
    """Returns what the bins with conf > acc add to ECE.

    over = sum over m of |B_m| / n * max(conf(B_m) - acc(B_m), 0); ECE is
    `overconfident_part + underconfident_part`.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN for an empty table.
    """
    return _average(ops.relu(bins.confidence - bins.correct), bins)


def underconfident_part(bins: Bins) -> Any:
    """Returns what the bins with acc > conf add to ECE.

    under = sum over m of |B_m| / n * max(acc(B_m) - conf(B_m), 0).

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN for an empty table.
    """
    return _average(ops.relu(bins.correct - bins.confidence), bins)


def overconfidence_error(bins: Bins) -> Any:
    """Averages conf * max(conf - acc, 0) over bins: OE.

    OE = sum over m of |B_m| / n * conf(B_m) * max(conf(B_m) - acc(B_m), 0).
    Being wrong with confidence costs most; under-confidence costs nothing,
    so a model can lower OE by being under-confident: read it beside ECE.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        oe: Scalar in [0, 1], at most ECE; NaN for an empty table.

    References:
        Thulasidasan, Chennupati, Bilmes, Bhattacharya and Michalak. On Mixup
        Training: Improved Calibration and Predictive Uncertainty for Deep
        Neural Networks. NeurIPS 2019, section 3.
        https://arxiv.org/abs/1905.11001
    """
    confidence = divide(bins.confidence, bins.count)
    gap = confidence * ops.relu(bins.confidence - bins.correct)
    return _average(gap, bins)


def maximum_calibration_error(bins: Bins) -> Any:
    """Returns the largest |acc - conf| of any bin: MCE.

    MCE = max over m of |acc(B_m) - conf(B_m)|, of the bins with rows. A bin of
    one row counts as much as one of thousands, so it is mostly the noise of
    the emptiest bin.

    Args:
        bins: Table from `bin_predictions`, or a sum of several.

    Returns:
        mce: Scalar in [0, 1]; NaN for an empty table.
    """
    gap = ops.abs(bins.confidence - bins.correct)
    return _average(bins.count, bins) * ops.max(divide(gap, bins.count), -1)


def debiased_calibration_error(bins: Bins) -> Any:
    """Takes from ECE an estimate of its own bias.

    If m's accuracy had been drawn from N(acc, acc (1 - acc) / |B_m|), ECE
    would change on average by as much as ECE differs from the truth. With the
    gap g = |acc(B_m) - conf(B_m)| and s = sqrt(acc (1 - acc) / |B_m|) of each
    bin it is

        max(sum over m of |B_m| / n * (2 g - f(g, s)), 0)
        f(g, s) = s sqrt(2 / pi) exp(-g^2 / (2 s^2)) + g erf(g / (s sqrt(2)))

    where f, the mean of |N(g, s^2)|, is g if s is 0. Where the model is far
    from calibrated this is nothing; of the ECE of a calibrated model it takes
    about two fifths, and less where bins hold a handful of rows.
    `resampling.null_calibration_error` shows the rest.

    Args:
        bins: Table of rows of weight 1.

    Returns:
        ece: Scalar, at least 0; NaN for an empty table.

    References:
        Kumar, Liang and Ma. Verified Uncertainty Calibration. NeurIPS 2019;
        its L2 estimate, for ECE. https://arxiv.org/abs/1909.10155
    """
    rate = divide(bins.correct, bins.count)
    gap = ops.abs(divide(bins.confidence, bins.count) - rate)
    deviation = ops.sqrt(divide(ops.relu(rate * (1 - rate)), bins.count))
    # The mean of |N(gap, deviation)|, the folded normal distribution.
    ratio = divide(gap, deviation * math.sqrt(2))
    spread = math.sqrt(2 / math.pi) * deviation * ops.exp(-ops.square(ratio))
    redrawn = ops.where(deviation > 0, spread + gap * ops.erf(ratio), gap)
    return ops.relu(_average(bins.count * (2 * gap - redrawn), bins))


def classwise_calibration_error(bins: Bins) -> Any:
    """Averages the ECE of each class's own probability over classes.

    error = 1 / K * sum over k and m of |B_km| / n * |acc(B_km) - conf(B_km)|,
    where bin B_km holds the rows by their probability of class k. It is small
    by construction with many classes, most of whose probabilities are near 0:
    compare it only at equal K.

    Args:
        bins: Table `(K, M)` from `class_bins`.

    Returns:
        error: Scalar in [0, 1]; NaN for an empty table.

    References:
        Kull et al. Beyond temperature scaling. NeurIPS 2019, section 2.
        https://arxiv.org/abs/1910.12656
    """
    return ops.mean(expected_calibration_error(bins), -1)


def adaptive_calibration_error_from_bins(bins: Bins, num_bins: int) -> Any:
    """Estimates the ECE over equal-mass bins from a fine table.

    It differs from `resampling.adaptive_calibration_error` by at most

        2 (num_bins - 1) / n
        + sum over cut bins j of n_j / n * (2 acc_j (1 - acc_j) + w / 2)

    where cut bins are the fine ones (width w) that a boundary between equal
    masses falls in: rows within them may stand in any order. The estimate is
    good if the rows are spread out, or if the crowded fine bins are nearly
    all correct, as is usual.

    Args:
        bins: Fine table, such as `metrics.CalibrationMetrics.fine_bins()`.
        num_bins: Number of bins of equal count.

    Returns:
        error: Scalar in [0, 1]; NaN for an empty table.
    """
    return expected_calibration_error(equal_mass_bins(bins, num_bins))


def _average(sums: Any, bins: Bins) -> Any:
    """Divides sums over bins by the whole weight; of an empty table NaN."""
    weight = ops.sum(bins.count, -1)
    total = ops.sum(sums, -1)
    return divide(total, ops.where(weight == 0, float("nan"), weight))
