"""Scalers of two classes: Platt scaling and beta calibration.

Both fit a logistic regression on the logit z = log(p / (1 - p)) of class 1,

    logit(p') = a log(p) - b log(1 - p) + c,

Platt scaling with a = b. Where a sigmoid or a softmax of two classes is both
overconfident and expects class 1 too often, a temperature corrects the first
alone. `labelwise.LabelwiseScaling` fits one for each of several labels.

Shapes: N examples. Logits are `(N,)` or `(N, 1)` of a sigmoid, or `(N, 2)`.
"""

import abc
import warnings

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._models import output_layers
from tf_mixup.posthoc.scalers import Scaler


class BinaryScaler(Scaler):
    """Base of scalers of one logit.

    Args:
        smooth_targets: Whether labels are moved away from 0 and 1; see
            `PlattScaling`.

    Raises:
        ValueError: If `smooth_targets` is no bool.
    """

    _arguments = ("smooth_targets",)

    def __init__(self, smooth_targets: bool) -> None:
        super().__init__()
        self.smooth_targets = _checks.boolean("smooth_targets", smooth_targets)

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[float, float, float]:
        """The a, b and c of `a log(p) - b log(1 - p) + c`."""

    @abc.abstractmethod
    def _fit_column(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        """Fits on the logit and the target of class 1, float64 `(N,)`."""

    @abc.abstractmethod
    def _is_separated(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Returns whether the optimum for two sets of logits is infinite.

        Args:
            low: Logits of the examples of class 0.
            high: Those of class 1.
        """

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        if logits.shape[1] != 2:
            raise _checks.refusal(
                f"{type(self).__name__} is for two classes, one sigmoid or a"
                " softmax of two",
                f"logits of {logits.shape[1]} classes",
                "Use `TemperatureScaling` or `VectorScaling` for exclusive"
                f" classes, `LabelwiseScaling({type(self).__name__}())` for"
                " several labels",
            )
        column, target = logits[:, 1] - logits[:, 0], targets[:, 1]
        if self.smooth_targets:
            target = _smooth(target, weights)
        elif np.ptp(column) and self._is_separated(
            column[target < 1], column[target > 0]
        ):
            raise _checks.refusal(
                "The logits of two classes must overlap: no finite scaling is"
                " optimal for separated ones",
                f"{len(column)} examples whose classes are separated",
                "Write `smooth_targets=True`, or give more examples",
            )
        self._fit_column(column, target, weights)

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        import scipy.special

        a, b, c = self.parameters
        column = logits[:, 1] - logits[:, 0]
        log_p, log_q = map(scipy.special.log_expit, (column, -column))
        scaled = a * log_p - b * log_q + c
        columns = np.stack([-scaled, scaled], axis=-1)
        return scipy.special.expit(columns).astype(np.float32)

    def _make_layer(self) -> keras.layers.Layer:
        layer = output_layers.BetaSoftmax()
        layer.set_weights([np.array([each]) for each in self.parameters])
        return layer


@keras.saving.register_keras_serializable("tf_mixup")
class PlattScaling(BinaryScaler):
    """Gives the logit of two classes a weight and a bias.

    `p' = sigmoid(weight * z + bias)`, of the least cross-entropy, which is
    convex: a temperature of 1 / weight, and a bias that corrects how often
    class 1 is expected. The default smooths the labels as Platt does: of n1
    examples of class 1 and n0 of class 0, theirs become (n1 + 1) / (n1 + 2)
    and 1 / (n0 + 2), so that few or separated examples have a finite optimum,
    too. With weights n1 and n0 are of weights whose mean is 1.

    Args:
        smooth_targets: Whether to smooth the labels. Defaults to True, as in
            the paper and in scikit-learn; False is plain logistic regression.

    Attributes:
        weight: NaN until it is fitted. Below 0 the model is worse than chance,
            and a warning says so.
        bias: NaN until it is fitted.

    Raises:
        ValueError: If `smooth_targets` is no bool.

    Example:
        >>> scaler = PlattScaling(smooth_targets=False)
        >>> scaler.fit([-1.0, -1.0, -1.0, -1.0, 1.0, 1.0], [0, 0, 0, 1, 0, 1])
        PlattScaling(smooth_targets=False, weight=0.5493, bias=-0.5493)

    References:
        Platt. Probabilistic Outputs for Support Vector Machines and
        Comparisons to Regularized Likelihood Methods. Advances in Large Margin
        Classifiers, 1999, section 2.
    """

    _fitted = ("weight", "bias")

    def __init__(self, smooth_targets: bool = True) -> None:
        super().__init__(smooth_targets)
        self.weight = self.bias = np.nan

    @property
    def parameters(self) -> tuple[float, float, float]:
        """The a, b and c of `a log(p) - b log(1 - p) + c`."""
        return self.weight, self.weight, self.bias

    def _fit_column(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        found = _fit_logistic(logits[:, None], targets, weights)
        self.weight, self.bias = map(float, found)
        if self.weight < 0:
            warnings.warn(
                f"The weight is below 0, {self.weight:.3g}: the larger its"
                " logit, the less often class 1 is right. Look for swapped"
                " labels.",
                stacklevel=4,
            )

    def _is_separated(self, low: np.ndarray, high: np.ndarray) -> bool:
        return bool(low.max() <= high.min() or high.max() <= low.min())

    def _describe(self) -> str:
        return f"weight={self.weight:.4g}, bias={self.bias:.4g}"


@keras.saving.register_keras_serializable("tf_mixup")
class BetaCalibration(BinaryScaler):
    """Scales the logarithms of both probabilities apart, and adds a bias.

    `logit(p') = a log(p) - b log(1 - p) + c` with a and b of at least 0, of
    the least cross-entropy, which is convex. Unlike Platt scaling, it can
    correct one end of [0, 1] more than the other. Both contain the identity:
    a = b = 1, c = 0. The order of predictions stays. Where both would be below
    0 the model is worse than chance: they are 0, and a warning says so.

    Args:
        smooth_targets: Whether to smooth the labels as `PlattScaling` does.
            Defaults to False, as in the paper.

    Attributes:
        a: Of log(p), at least 0; NaN until it is fitted.
        b: Of -log(1 - p), at least 0; NaN until it is fitted.
        c: The bias; NaN until it is fitted.

    Raises:
        ValueError: If `smooth_targets` is no bool.

    Example:
        >>> scaler = BetaCalibration().fit([-1.0, 0.0, 1.0], [0.25, 0.5, 0.75])
        >>> round(scaler.a, 4), round(scaler.b, 4), abs(scaler.c) < 1e-6
        (1.0986, 1.0986, True)

    References:
        Kull, Silva Filho and Flach. Beta calibration: a well-founded and
        easily implemented improvement on logistic calibration for binary
        classifiers. AISTATS 2017.
        https://proceedings.mlr.press/v54/kull17a.html
    """

    _fitted = ("a", "b", "c")

    def __init__(self, smooth_targets: bool = False) -> None:
        super().__init__(smooth_targets)
        self.a = self.b = self.c = np.nan

    @property
    def parameters(self) -> tuple[float, float, float]:
        """The a, b and c of `a log(p) - b log(1 - p) + c`."""
        return self.a, self.b, self.c

    def _fit_column(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        import scipy.special

        log_p, log_q = map(scipy.special.log_expit, (logits, -logits))
        features = np.stack([log_p, -log_q], axis=-1)
        found = _fit_logistic(features, targets, weights)
        kept = np.array([True, True, True])
        # Of a convex loss the bound that the free optimum breaks is active.
        while np.any(found < 0, where=[True, True, False]):
            kept[:2] &= found[:2] >= 0
            found = np.zeros(3)
            found[kept] = _fit_logistic(features[:, kept[:2]], targets, weights)
        self.a, self.b, self.c = map(float, found)
        if not kept[:2].any():
            warnings.warn(
                "Both weights are at their bound, 0, so that all examples get"
                " the same probability: the larger its logit, the less often"
                " class 1 is right. Look for swapped labels.",
                stacklevel=4,
            )

    def _is_separated(self, low: np.ndarray, high: np.ndarray) -> bool:
        return bool(low.max() <= high.min())

    def _describe(self) -> str:
        return f"a={self.a:.4g}, b={self.b:.4g}, c={self.c:.4g}"


def _smooth(targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns Platt's targets; soft ones lie between them."""
    size = len(targets)
    ones = size * float(weights @ targets)
    high, low = (ones + 1) / (ones + 2), 1 / (size - ones + 2)
    return low + (high - low) * targets


def _fit_logistic(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns coefficients and the bias of the least cross-entropy, `(P + 1,)`.

    Args:
        features: Float64 `(N, P)`; what is constant gets the coefficient 0.
        targets: Probabilities of class 1, `(N,)`.
        weights: They sum to 1, `(N,)`.
    """
    import scipy.optimize
    import scipy.special

    # In units in which features have mean 0 and deviation 1.
    mean, unit = features.mean(axis=0), features.std(axis=0)
    varies = unit > 1e-12 * np.abs(mean)
    mean, unit = mean[varies], unit[varies]
    scaled = (features[:, varies] - mean) / unit
    scaled = np.hstack([scaled, np.ones((len(scaled), 1))])

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logit = scaled @ theta
        costs = np.logaddexp(0, logit) - targets * logit
        excess = weights * (scipy.special.expit(logit) - targets)
        return float(weights @ costs), excess @ scaled

    def curvature(theta: np.ndarray) -> np.ndarray:
        p = scipy.special.expit(scaled @ theta)
        return (scaled.T * (weights * p * (1 - p))) @ scaled

    result = scipy.optimize.minimize(
        loss,
        np.zeros(scaled.shape[1]),
        method="trust-exact",
        jac=True,
        hess=curvature,
        options={"gtol": 1e-10, "maxiter": 200},
    )
    theta = result.x[:-1] / unit
    found = np.zeros(len(varies) + 1)
    found[:-1][varies] = theta
    found[-1] = result.x[-1] - theta @ mean
    return found
