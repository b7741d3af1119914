"""Scalers: a trained model's logits to calibrated probabilities.

Each is fitted on held-out rows, which neither trained the model nor will test
it: `fit(logits, labels)`. Then `apply(logits)` gives probabilities, and
`attach(model)` gives one Keras model that predicts them.

`TemperatureScaling` has one number and keeps every prediction's class, so
accuracy stays. `VectorScaling` has 2 K and `IsotonicScaling` as many as the
rows call for; they fit better, need more rows, and may change the class.

Letters: N rows, K classes.

References:
    Guo et al. On Calibration of Modern Neural Networks. ICML 2017.
    https://arxiv.org/abs/1706.04599
"""

import abc
import warnings
from typing import Any
from typing import Self

import keras
import numpy as np
from keras import ops

from tf_mixup import checks
from tf_mixup import model_outputs
from tf_mixup import output_layers
from tf_mixup import predictions

# Temperatures of trained networks lie between 0.3 and 10.
_BOUNDS = (1e-2, 1e3)


class Scaler(abc.ABC):
    """What all scalers do: fit on logits, apply to logits, attach to a model.

    Logits are float arrays `(N, K)`, or `(N,)` or `(N, 1)` of a sigmoid, of
    which probabilities have two columns. Logarithms of probabilities are
    logits.
    """

    def __init__(self) -> None:
        self._layer: keras.layers.Layer | None = None
        self._num_classes = 0

    def fit(self, logits: Any, labels: Any) -> Self:
        """Fits the scaler on held-out rows.

        Args:
            logits: Float array `(N, K)`, or `(N,)` or `(N, 1)`.
            labels: Class ids `(N,)` or `(N, 1)`, or targets `(N, K)`.

        Returns:
            self: The scaler.

        Raises:
            ValueError: If logits are not finite, labels are out of range or
                all of one class, or the shapes do not fit.
        """
        logits, targets = _check_pair(logits, labels)
        self._num_classes = logits.shape[1]
        self._layer = self._fit(logits, targets)
        return self

    def apply(self, logits: Any) -> np.ndarray:
        """Returns calibrated probabilities.

        Args:
            logits: Float array `(N, K)`, or `(N,)` or `(N, 1)`.

        Returns:
            probabilities: Float32 `(N, K)`; K is 2 for a sigmoid.

        Raises:
            ValueError: If the scaler is not fitted, logits are not finite, or
                they have another number of classes.
        """
        layer = self._fitted()
        logits = _check_logits(logits)
        self._check_classes(logits.shape[1])
        return self._apply(layer, logits)

    def attach(
        self, model: keras.Model, *, from_logits: bool = True
    ) -> keras.Model:
        """Returns a model that predicts calibrated probabilities.

        It shares its weights with `model`, and is saved as one `.keras` file
        that needs `import tf_mixup` to be loaded, and nothing else.

        Args:
            model: Functional or sequential model with one output.
            from_logits: Whether that output is logits. If not, its logarithm
                is scaled.

        Returns:
            calibrated: Model of the same inputs, with output `(N, K)`; K is 2
                for a sigmoid.

        Raises:
            ValueError: If the scaler is not fitted, or the model has other
                classes, several outputs or no defined inputs.
        """
        layer = self._fitted()
        inputs = model_outputs.structured_inputs(model)
        logits = output_layers.Logits(from_logits)(model.outputs[0])
        self._check_classes(logits.shape[1])
        return keras.Model(
            inputs, layer(logits), name=f"{model.name}_calibrated"
        )

    @abc.abstractmethod
    def _fit(
        self, logits: np.ndarray, targets: np.ndarray
    ) -> keras.layers.Layer:
        """Returns the fitted layer, from logits to probabilities."""

    def _apply(
        self, layer: keras.layers.Layer, logits: np.ndarray
    ) -> np.ndarray:
        """Returns the probabilities that the layer gives."""
        return ops.convert_to_numpy(layer(logits))

    def _fitted(self) -> keras.layers.Layer:
        if self._layer is None:
            raise checks.refusal(
                "A scaler must be fitted before it is used",
                f"a {type(self).__name__} that is not",
                "Call `fit(logits, labels)` on held-out rows first",
            )
        return self._layer

    def _check_classes(self, num_classes: int) -> None:
        if num_classes != self._num_classes:
            raise checks.refusal(
                f"This scaler was fitted on {self._num_classes} classes",
                f"{num_classes} classes",
                "Fit it on the model that it is used for",
            )


class TemperatureScaling(Scaler):
    """Divides logits by one temperature, that of the least cross-entropy.

    Cross-entropy is convex in 1/T, so its slope has one root, which is found
    to the precision of floats: no step size, no number of iterations. The
    predicted class never changes.

    A temperature above 1 softens an overconfident model, one below 1 sharpens
    an underconfident one, as mixup often leaves it. If labels for fitting are
    noisier than those of the test set, it softens too much.

    Args:
        bounds: Least and greatest temperature, above 0. Where the optimum is
            not between them, the nearer one is taken and a warning says so:
            logits that separate the classes have their optimum at 0, those
            that say nothing of the labels, or worse, at infinity.

    Attributes:
        temperature: T; NaN until it is fitted.
        at_bound: Whether T is one of the bounds.

    Raises:
        ValueError: If `bounds` are not in order.

    Example:
        >>> logits = np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
        >>> scaler = TemperatureScaling().fit(logits, [0, 0, 1])
        >>> round(scaler.temperature, 4), scaler.apply(logits)[0].round(4)
        (4.3281, array([0.6667, 0.3333], dtype=float32))

    References:
        Guo et al. On Calibration of Modern Neural Networks. ICML 2017,
        equation 9.
    """

    def __init__(self, bounds: tuple[float, float] = _BOUNDS) -> None:
        super().__init__()
        low, high = (float(bound) for bound in bounds)
        if not 0 < low < high < np.inf:
            raise checks.refusal(
                "`bounds` must be two temperatures, above 0 and in order",
                f"bounds={bounds!r}",
                "Write (0.01, 1000)",
            )
        self.bounds = (low, high)
        self.temperature = np.nan
        self.at_bound = False

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray
    ) -> keras.layers.Layer:
        self.temperature = _fit_temperature(logits, targets, self.bounds)
        self.at_bound = self.temperature in self.bounds
        if self.at_bound:
            warnings.warn(
                f"The temperature is at a bound: {self.temperature:g} of"
                f" {self.bounds}. Either the logits separate the classes, or"
                " they say nothing of the labels.",
                stacklevel=3,
            )
        weight = np.full(logits.shape[1], 1 / self.temperature)
        return _scaled_softmax(weight, np.zeros_like(weight))


class VectorScaling(Scaler):
    """Gives each class a weight and a bias: `softmax(weight * logits + bias)`.

    It starts at temperature scaling and minimises cross-entropy, plus a mild
    pull back to where it started. Accuracy may change, for better or worse,
    and with few rows a class it fits their noise. Unlike the others it depends
    on a constant added to all logits of a row, so logits and logarithms of
    probabilities differ: fit it on what the model that it is for puts out.

    Args:
        l2: The pull, at least 0: half of it times the squared length of the
            biases and of the weights' change, for logits of variance 1, is
            added to the mean cross-entropy in nats. With 0 the optimum may
            lie at infinity, as where a class has no rows.

    Attributes:
        weight: `(K,)`; empty until it is fitted.
        bias: `(K,)`, which sums to 0; empty until it is fitted.

    Raises:
        ValueError: If `l2` is below 0.

    References:
        Guo et al. On Calibration of Modern Neural Networks. ICML 2017,
        section 4.2.
    """

    def __init__(self, l2: float = 1e-4) -> None:
        super().__init__()
        self.l2 = checks.real_at_least(
            "l2", l2, 0, remedy="Write 0 for no pull"
        )
        self.weight = np.empty(0)
        self.bias = np.empty(0)

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray
    ) -> keras.layers.Layer:
        import scipy.optimize

        # In units in which logits have variance 1, so that one pull fits all.
        unit = float(logits.std()) or 1.0
        logits = logits / unit
        start = 1 / _fit_temperature(logits, targets, _BOUNDS)
        num_classes = logits.shape[1]
        result = scipy.optimize.minimize(
            _penalized_nll,
            np.repeat([start, 0.0], num_classes),
            args=(logits, targets, start, self.l2),
            method="L-BFGS-B",
            jac=True,
            options={"maxiter": 10_000, "ftol": 1e-14, "gtol": 1e-8},
        )
        weight, self.bias = result.x.reshape(2, num_classes)
        self.weight = weight / unit
        return _scaled_softmax(self.weight, self.bias)


class IsotonicScaling(Scaler):
    """Maps each class's probability by an increasing function, and normalises.

    One isotonic regression for each class against the rest, on the softmax of
    the logits; then each row is divided by its sum. The functions are steps
    with lines between them, as many as the rows call for: a good fit on
    thousands of rows, an overfit on hundreds.

    Accuracy may change: rows of different probabilities get the same, and ties
    go to the first class. Probabilities of exactly 0 occur, so that the
    cross-entropy can be infinite. A row whose classes all map to 0 gets the
    uniform distribution.

    References:
        Zadrozny and Elkan. Transforming Classifier Scores into Accurate
        Multiclass Probability Estimates. KDD 2002.
    """

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray
    ) -> keras.layers.Layer:
        from sklearn import isotonic

        probabilities = ops.convert_to_numpy(
            predictions.to_probabilities(logits)
        )
        curves = []
        for column, target in zip(probabilities.T, targets.T, strict=True):
            regression = isotonic.IsotonicRegression(y_min=0, y_max=1)
            regression.fit(column.astype(np.float64), target)
            curves.append((regression.X_thresholds_, regression.y_thresholds_))
        length = max(2, *(len(inputs) for inputs, _ in curves))
        table = np.array(
            [
                [np.pad(side, (0, length - len(side)), "edge") for side in pair]
                for pair in curves
            ]
        )
        layer = output_layers.IsotonicSoftmax(*table.shape[::2])
        layer.set_weights([table[:, 0], table[:, 1]])
        return layer

    def _apply(
        self, layer: keras.layers.Layer, logits: np.ndarray
    ) -> np.ndarray:
        # Outside of a compiled model NumPy is four times as fast.
        columns = ops.convert_to_numpy(ops.softmax(logits))
        columns = np.ascontiguousarray(columns.T)
        curves = [np.float64(weight) for weight in layer.get_weights()]
        for column, thresholds, values in zip(columns, *curves, strict=True):
            column[:] = np.interp(column, thresholds, values)
        total = columns.sum(axis=0, dtype=np.float64)
        columns[:, total == 0] = 1 / len(columns)
        columns /= np.where(total == 0, 1, total)
        return np.ascontiguousarray(columns.T)


def _scaled_softmax(
    weight: np.ndarray, bias: np.ndarray
) -> output_layers.ScaledSoftmax:
    layer = output_layers.ScaledSoftmax(len(weight))
    layer.set_weights([weight, bias])
    return layer


def _fit_temperature(
    logits: np.ndarray, targets: np.ndarray, bounds: tuple[float, float]
) -> float:
    import scipy.optimize
    import scipy.special

    logits = logits - logits.max(axis=-1, keepdims=True)

    def slope(log_temperature: float) -> float:
        """Returns the derivative of the mean cross-entropy by 1/T."""
        scaled = logits * np.exp(-log_temperature)
        excess = scipy.special.softmax(scaled, axis=-1) - targets
        return float(np.sum(excess * logits) / len(logits))

    low, high = np.log(bounds)
    if slope(high) >= 0:
        return bounds[1]
    if slope(low) <= 0:
        return bounds[0]
    return float(np.exp(scipy.optimize.brentq(slope, low, high, xtol=1e-12)))


def _penalized_nll(
    parameters: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    start: float,
    l2: float,
) -> tuple[float, np.ndarray]:
    """Returns vector scaling's objective and its gradient, `(2 K,)`."""
    import scipy.special

    weight, bias = np.split(parameters, 2)
    logs = scipy.special.log_softmax(weight * logits + bias, axis=-1)
    nll = -np.sum(targets * logs) / len(logits)
    excess = (np.exp(logs) - targets) / len(logits)
    change = np.concatenate([weight - start, bias])
    gradient = np.concatenate([(excess * logits).sum(0), excess.sum(0)])
    return nll + l2 / 2 * change @ change, gradient + l2 * change


def _check_logits(logits: Any) -> np.ndarray:
    logits = model_outputs.to_logits(logits, from_logits=True)
    wrong = int((~np.isfinite(logits)).any(axis=-1).sum())
    if wrong:
        raise checks.refusal(
            "Logits must be finite",
            f"{wrong} of {len(logits)} rows with NaN or infinite values",
            "Look for a diverged model; of a probability of 0 take no"
            " logarithm",
        )
    return logits


def _check_pair(logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and targets, float64 `(N, K)`."""
    shape = np.shape(logits)
    logits = _check_logits(logits)
    if np.shape(labels)[:1] != (len(logits),):
        raise checks.refusal(
            "There must be a label for each row of logits",
            f"logits of shape {shape} and labels of shape {np.shape(labels)}",
            "Give both from the same rows, in the same order",
        )
    columns = shape[1] if len(shape) > 1 else 1
    targets = predictions.to_targets(labels, columns)
    targets = ops.convert_to_numpy(targets).astype(np.float64)
    wrong = int(np.isnan(targets).any(axis=-1).sum())
    if wrong:
        raise checks.refusal(
            f"Labels must be class ids from 0 to {logits.shape[1] - 1}, or"
            " targets that sum to 1",
            f"{wrong} of {len(targets)} labels that are not",
            "Count classes from 0, and leave unlabelled rows out",
        )
    if np.count_nonzero(targets.sum(axis=0)) < 2:
        raise checks.refusal(
            "Labels must be of at least two classes",
            f"{len(targets)} labels of class {int(targets[0].argmax())}",
            "Draw the held-out rows at random from all classes",
        )
    return logits.astype(np.float64), targets
