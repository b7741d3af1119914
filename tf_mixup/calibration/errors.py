"""Calibration measures of binned predictions.

Each takes `(labels, probabilities)`, or a table of `Bins` alone, which can be
summed over batches and shared by several measures. Both give the same number.
All have 15 bins by default, as in Guo et al. 2017; see `CONVENTIONS` for those
of other papers and packages. `conf`, `acc` and `n_m` below are the mean
confidence, the accuracy and the number of examples of bin m; `n` is the number
of all examples.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

from keras import ops

from tf_mixup.calibration.bins import Bins
from tf_mixup.calibration.bins import bin_predictions
from tf_mixup.calibration.bins import class_bins
from tf_mixup.calibration.bins import divide
from tf_mixup.calibration.bins import table_of
from tf_mixup.calibration.per_label import label_bins

_Measure = Callable[[Bins], Any]
_EITHER = "Takes labels and probabilities, or `Bins` from `{}` alone.\n\n"


def _in_one_call(
    tabulate: Callable[..., Bins] = bin_predictions,
) -> Callable[[_Measure], Callable[..., Any]]:
    """Lets a function of `Bins` also take what `tabulate` takes."""

    def decorate(error: _Measure) -> Callable[..., Any]:
        @functools.wraps(error)
        def measure(
            labels: Any, probabilities: Any = None, **options: Any
        ) -> Any:
            table = table_of(Bins, tabulate, labels, probabilities, options)
            # PyTorch multiplies no array of NumPy by a tensor.
            return error(Bins(*map(ops.convert_to_tensor, table)))

        signature = inspect.signature(tabulate)
        parameters = dict(signature.parameters)
        parameters["probabilities"] = parameters["probabilities"].replace(
            default=None
        )
        measure.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=list(parameters.values()), return_annotation=Any
        )
        # The arguments are those of `tabulate`, and so is what it says of them.
        first, _, rest = (inspect.getdoc(error) or "").partition("Returns:\n")
        _, _, made = (inspect.getdoc(tabulate) or "").partition("Args:\n")
        arguments, _, _ = made.partition("Returns:\n")
        measure.__doc__ = (
            f"{first}{_EITHER.format(tabulate.__name__)}"
            f"Args:\n{arguments}Returns:\n{rest}"
        )
        return measure

    return decorate


@_in_one_call()
def accuracy(bins: Bins) -> Any:
    """Returns the fraction of correct predictions.

    Returns:
        accuracy: Scalar in [0, 1], or one for each leading index of `Bins`;
            NaN without examples.
    """
    return _average(bins.correct, bins)


@_in_one_call()
def mean_confidence(bins: Bins) -> Any:
    """Returns the mean confidence.

    Returns:
        confidence: Scalar in [0, 1], or one for each leading index of `Bins`;
            NaN without examples.
    """
    return _average(bins.confidence, bins)


@_in_one_call()
def signed_gap(bins: Bins) -> Any:
    """Returns mean confidence - accuracy: above 0 is overconfidence.

    It is `overconfident_part - underconfident_part`, and can be 0 where ECE is
    large: overconfident and underconfident bins cancel.

    Returns:
        gap: Scalar in [-1, 1]; NaN without examples.
    """
    return _average(bins.confidence, bins) - _average(bins.correct, bins)


@_in_one_call()
def expected_calibration_error(bins: Bins) -> Any:
    """Returns ECE = sum over m of n_m / n * |acc - conf|.

    It is biased upwards: a perfectly calibrated model has an ECE above 0 on
    finite data, more with more bins and fewer examples. Report it beside
    `resampling.null_calibration_error`.

    Returns:
        ece: Scalar in [0, 1], or one for each leading index of `Bins`; NaN
            without examples.

    Example:
        >>> labels, probabilities = [0, 1], [[0.9, 0.1], [0.8, 0.2]]
        >>> ece = expected_calibration_error(labels, probabilities)
        >>> round(float(ece), 6)
        0.45
        >>> bins = Bins(*np.array([[4.0, 4.0], [1.0, 3.6], [1.0, 3.0]]))
        >>> round(float(expected_calibration_error(bins)), 6)
        0.075

    References:
        Guo, Pleiss, Sun and Weinberger. On Calibration of Modern Neural
        Networks. ICML 2017, equation 3. https://arxiv.org/abs/1706.04599
    """
    return _average(ops.abs(bins.confidence - bins.correct), bins)


@_in_one_call()
def overconfident_part(bins: Bins) -> Any:
    """Returns the part of ECE in bins with conf > acc.

    It is the sum over m of n_m / n * max(conf - acc, 0); ECE is
    `overconfident_part + underconfident_part`.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN without examples.
    """
    return _average(ops.relu(bins.confidence - bins.correct), bins)


@_in_one_call()
def underconfident_part(bins: Bins) -> Any:
    """Returns the part of ECE in bins with acc > conf.

    Returns:
        part: Scalar in [0, 1], at most ECE; NaN without examples.
    """
    return _average(ops.relu(bins.correct - bins.confidence), bins)


@_in_one_call()
def overconfidence_error(bins: Bins) -> Any:
    """Returns OE = sum over m of n_m / n * conf * max(conf - acc, 0).

    Confident errors cost most, and underconfidence costs nothing. An
    underconfident model has a low OE: read it beside ECE.

    Returns:
        oe: Scalar in [0, 1], at most ECE; NaN without examples.

    References:
        Thulasidasan, Chennupati, Bilmes, Bhattacharya and Michalak. On Mixup
        Training: Improved Calibration and Predictive Uncertainty for Deep
        Neural Networks. NeurIPS 2019, section 3.
        https://arxiv.org/abs/1905.11001
    """
    confidence = divide(bins.confidence, bins.count)
    gap = confidence * ops.relu(bins.confidence - bins.correct)
    return _average(gap, bins)


@_in_one_call()
def average_calibration_error(bins: Bins) -> Any:
    """Returns the mean of |acc - conf| over the bins with examples.

    Each of them counts alike, however few its examples. It is netcal's ACE;
    for bins of equally many examples see `adaptive_calibration_error`, which
    others abbreviate so.

    Returns:
        ace: Scalar in [0, 1]; NaN without examples.

    References:
        Neumann, Zisserman and Vedaldi. Relaxed Softmax: Efficient Confidence
        Auto-Calibration for Safe Pedestrian Detection. NeurIPS 2018 Workshop
        on Machine Learning for Intelligent Transportation Systems.
    """
    gap = divide(ops.abs(bins.confidence - bins.correct), bins.count)
    filled = ops.sum(ops.cast(bins.count != 0, gap.dtype), -1)
    return ops.sum(gap, -1) / ops.where(filled == 0, float("nan"), filled)


@_in_one_call()
def maximum_calibration_error(bins: Bins) -> Any:
    """Returns MCE, the largest |acc - conf| of any bin with examples.

    A bin of one example counts as much as one of thousands, so it is mostly
    the noise of the emptiest bin.

    Returns:
        mce: Scalar in [0, 1]; NaN without examples.
    """
    gap = ops.abs(bins.confidence - bins.correct)
    return _average(bins.count, bins) * ops.max(divide(gap, bins.count), -1)


@_in_one_call()
def debiased_calibration_error(bins: Bins) -> Any:
    """Returns ECE minus an estimate of its bias.

    The bias is taken to be what a second draw of the labels would add: with
    g = |acc - conf| and s = sqrt(acc (1 - acc) / n_m) of each bin, the result
    is

        max(sum over m of n_m / n * (2 g - f(g, s)), 0)
        f(g, s) = s sqrt(2 / pi) exp(-g^2 / (2 s^2)) + g erf(g / (s sqrt(2)))

    where f, the mean of |N(g, s^2)|, is g if s is 0. Far from calibration the
    correction is 0; of the ECE of a calibrated model it removes about two
    fifths, and less where bins hold few examples.
    `resampling.null_calibration_error` shows the rest. Weights must be 0 or 1.

    Returns:
        ece: Scalar, at least 0; NaN without examples.

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


@_in_one_call(class_bins)
def classwise_calibration_error(bins: Bins) -> Any:
    """Returns the mean over classes of the ECE of each class's probability.

    It is 1 / K * sum over k and m of n_km / n * |acc_km - conf_km|, where the
    bins of class k hold all examples by their probability of k. It is small by
    construction with many classes, most of whose probabilities are near 0:
    compare it only at equal K.

    Returns:
        error: Scalar in [0, 1]; NaN without examples.

    References:
        Kull et al. Beyond temperature scaling. NeurIPS 2019, section 2.
        https://arxiv.org/abs/1910.12656
    """
    return ops.mean(expected_calibration_error(bins), -1)


@_in_one_call(label_bins)
def label_calibration_error(bins: Bins) -> Any:
    """Returns the mean over labels of the ECE of each label's probability.

    For examples with several labels or none, and K sigmoids. Each label is a
    binary problem: it is 1 / K * sum over k and m of
    n_km / n_k * |freq_km - prob_km|, where the bins of label k hold the
    examples by their probability of k, freq is the share of them that have the
    label, and prob their mean probability. A label without examples is left
    out of the mean. Of one label it is the binary ECE of torchmetrics and
    netcal. Rare labels, whose probabilities are near 0, make it small: look at
    each, by `expected_calibration_error(label_bins(...))`.

    Returns:
        error: Scalar in [0, 1]; NaN without examples.

    Example:
        >>> labels = np.array([[1, 1], [1, 0], [0, 0], [1, 0]])
        >>> probabilities = np.tile([0.75, 0.5], (4, 1))
        >>> float(label_calibration_error(labels, probabilities))
        0.125
    """
    error = expected_calibration_error(bins)
    seen = ops.cast(ops.sum(bins.count, -1) != 0, error.dtype)
    total = ops.sum(ops.where(seen == 0, ops.zeros_like(error), error), -1)
    number = ops.sum(seen, -1)
    return divide(total, ops.where(number == 0, float("nan"), number))


def _average(sums: Any, bins: Bins) -> Any:
    """Returns sums over bins divided by the total weight; NaN if it is 0."""
    weight = ops.sum(bins.count, -1)
    total = ops.sum(sums, -1)
    return divide(total, ops.where(weight == 0, float("nan"), weight))
