"""Scalers: a trained model's logits to calibrated probabilities.

Each is fitted on a validation set, which neither trained the model nor will
test it: `fit(logits, labels)`. Then `apply(logits)` gives probabilities, and
`attach(model)` gives one Keras model that predicts them.

`TemperatureScaling` has one number and keeps every prediction's class, so
accuracy stays. `binary_scalers` has those of two classes, `labelwise` that of
several labels. `VectorScaling` has 2 K numbers and `IsotonicScaling` as many
as the data require; they fit better, need more examples, and may change the
class.

Shapes: N examples, K classes. Logits are float arrays `(N, K)`, or `(N,)` or
`(N, 1)` of a sigmoid, of which probabilities have two columns. Logarithms of
probabilities are logits.

References:
    Guo et al. On Calibration of Modern Neural Networks. ICML 2017.
    https://arxiv.org/abs/1706.04599
"""

import abc
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Self

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup._models import wrapped_model
from tf_mixup.calibration import bins
from tf_mixup.calibration import per_example

# Temperatures of trained networks lie between 0.3 and 10.
BOUNDS = (1e-2, 1e3)


class Scaler(abc.ABC):
    """Base of all scalers: fit on logits, apply to logits, attach to a model.

    A scaler can be copied and pickled, and its configuration holds what was
    fitted.
    """

    # Whether columns are sigmoids of several labels, not classes.
    multi_label = False
    # Arguments, and public attributes that `fit` sets.
    _arguments: tuple[str, ...] = ()
    _fitted: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._num_classes = 0

    def fit(
        self,
        logits: Any,
        labels: Any,
        *,
        sample_weight: Any = None,
        ignore_label: int | None = None,
    ) -> Self:
        """Fits the scaler on a validation set.

        Args:
            logits: Float array `(N, K)`, or `(N,)` or `(N, 1)`.
            labels: Class ids `(N,)` or `(N, 1)`, or targets `(N, K)`. Targets
                whose sums lie within 0.05 of 1 are divided by their sums. Of
                two classes also the mass of class 1, `(N,)` or `(N, 1)`.
            sample_weight: Weights `(N,)` or `(N, 1)`, at least 0; 0 leaves an
                example out. None weighs all the same.
            ignore_label: Examples with this label are left out; None ignores
                none.

        Returns:
            self: The scaler.

        Raises:
            ValueError: If logits are not finite, labels are out of range or
                all of one class, or the shapes do not fit.
        """
        columns = self._read(logits, labels, sample_weight, ignore_label)
        self._fit(*columns)
        self._num_classes = columns[0].shape[1]
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
        self._check_fitted()
        logits = _check_logits(logits, multi_label=self.multi_label)
        self._check_classes(logits.shape[1])
        return self._apply(logits)

    def attach(
        self, model: keras.Model, *, from_logits: bool | None = None
    ) -> keras.Model:
        """Returns a model that predicts calibrated probabilities.

        It shares its weights with `model`. It is saved as one `.keras` file
        that needs `import tf_mixup` before `keras.saving.load_model`; what
        `export` writes needs nothing. A model that overrides `call` or
        `predict_step`, or prepares its inputs in `predict` as KerasHub's tasks
        do, is called as a whole.

        Args:
            model: Model with one output.
            from_logits: Whether that output is logits. If not, its logarithm
                is scaled. None detects it by the last layer.

        Returns:
            calibrated: Model of the same inputs, with output `(N, K)`; K is 2
                for a sigmoid.

        Raises:
            ValueError: If the scaler is not fitted, the model has other
                classes or several outputs, or it is not known whether it gives
                logits; or if a scaler of several labels gets a softmax.
        """
        self._check_fitted()
        model_calls.check_model(model)
        if self.multi_label:
            last_layer.refuse_softmax(model)
        from_logits = output_kind.must_give_logits(model, from_logits)
        name = f"{model.name}_calibrated"
        layer = self._make_layer()
        if not model_calls.runs_plainly(model):
            return wrapped_model.WrappedModel(
                *([model], [from_logits], layer),
                multi_label=self.multi_label,
                name=name,
            )
        inputs = last_layer.single_output_inputs(model)
        to_logits = output_layers.Logits(
            from_logits, multi_label=self.multi_label
        )
        logits = to_logits(model.outputs[0])
        self._check_classes(logits.shape[1])
        return keras.Model(inputs, layer(logits), name=name)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments and what was fitted, for JSON."""
        config = {key: getattr(self, key) for key in self._arguments}
        fitted = None
        if self._num_classes:
            fitted = {
                key: np.asarray(getattr(self, key)).tolist()
                for key in self._fitted
            }
            fitted["num_classes"] = self._num_classes
        return {**config, "fitted": fitted}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Returns the scaler of a configuration, fitted if it was."""
        arguments = dict(config)
        fitted = arguments.pop("fitted", None)
        scaler = cls(**arguments)
        if fitted is not None:
            scaler._num_classes = fitted["num_classes"]
            for key in cls._fitted:
                value = fitted[key]
                array = np.array(value) if isinstance(value, list) else value
                setattr(scaler, key, array)
        return scaler

    def __repr__(self) -> str:
        parts = [f"{key}={getattr(self, key)!r}" for key in self._arguments]
        parts.append(self._describe() if self._num_classes else "not fitted")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _describe(self) -> str:
        """Returns in a few words what was fitted."""
        return f"fitted on {self._num_classes} classes"

    def _read(
        self, logits: Any, labels: Any, sample_weight: Any, ignore_label: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns what `fit` takes as columns for `_fit`."""
        return _check_examples(logits, labels, sample_weight, ignore_label)

    @abc.abstractmethod
    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        """Fits on float64 columns; weights sum to 1."""

    @abc.abstractmethod
    def _apply(self, logits: np.ndarray) -> np.ndarray:
        """Returns float32 probabilities of float64 logits, both `(N, K)`."""

    @abc.abstractmethod
    def _make_layer(self) -> keras.layers.Layer:
        """Returns the fitted layer, from logits to probabilities."""

    def _check_fitted(self) -> None:
        if not self._num_classes:
            raise _checks.refusal(
                "A scaler must be fitted before it is used",
                f"a {type(self).__name__} that is not",
                "Call `fit(logits, labels)` on a validation set first",
            )

    def _check_classes(self, num_classes: int) -> None:
        if num_classes != self._num_classes:
            what = "labels" if self.multi_label else "classes"
            raise _checks.refusal(
                f"This scaler was fitted on {self._num_classes} {what}",
                f"{num_classes} {what}",
                "Fit it on the model that it is used for",
            )


@keras.saving.register_keras_serializable("tf_mixup")
class TemperatureScaling(Scaler):
    """Divides logits by the temperature of the least cross-entropy.

    Cross-entropy is convex in 1/T, so its slope has one root, which is found
    to floating-point precision, without a step size. The predicted class never
    changes. A temperature above 1 softens an overconfident model, one below 1
    sharpens an underconfident one, as mixup often leaves it. If the labels are
    noisier than those of the test set, it softens too much.

    Args:
        bounds: Least and greatest temperature, above 0. An optimum outside of
            them becomes the nearer bound, with a warning: logits that separate
            the classes have their optimum at 0, uninformative ones at infinity.

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

    _arguments = ("bounds",)
    _fitted = ("temperature", "at_bound")

    def __init__(self, bounds: tuple[float, float] = BOUNDS) -> None:
        super().__init__()
        try:
            low, high = (float(bound) for bound in bounds)
        except (TypeError, ValueError):
            low = high = np.nan
        if not 0 < low < high < np.inf:
            raise _checks.refusal(
                "`bounds` must be two temperatures, above 0 and in order",
                f"bounds={bounds!r}",
                "Write (0.01, 1000)",
            )
        self.bounds = (low, high)
        self.temperature = np.nan
        self.at_bound = False

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        self.temperature = _fit_temperature(
            logits, targets, weights, self.bounds
        )
        self.at_bound = self.temperature in self.bounds
        if self.at_bound:
            warnings.warn(
                f"The temperature is at a bound: {self.temperature:g} of"
                f" {self.bounds}. Either the logits separate the classes, or"
                " they are unrelated to the labels.",
                stacklevel=3,
            )

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        return _softmax(logits / self.temperature)

    def _make_layer(self) -> keras.layers.Layer:
        weight = np.full(self._num_classes, 1 / self.temperature)
        return _scaled_softmax(weight, np.zeros_like(weight))

    def _describe(self) -> str:
        return f"temperature={self.temperature:.4g}"


@keras.saving.register_keras_serializable("tf_mixup")
class VectorScaling(Scaler):
    """Gives each class a weight and a bias: `softmax(weight * logits + bias)`.

    It starts at temperature scaling and minimizes cross-entropy, plus an L2
    penalty on the distance from the start. Accuracy may change, and with few
    examples of a class it fits their noise. It depends on a constant added to
    all logits of an example, so logits and logarithms of probabilities differ:
    fit it on the outputs of the model that it is for.

    Args:
        l2: Penalty, at least 0: half of it times the squared length of the
            biases and of the weights' change, for logits of variance 1, is
            added to the mean cross-entropy in nats. With 0 the optimum may
            lie at infinity, as where a class has no examples.

    Attributes:
        weight: `(K,)`; empty until it is fitted.
        bias: `(K,)`, which sums to 0; empty until it is fitted.

    Raises:
        ValueError: If `l2` is below 0.

    References:
        Guo et al. On Calibration of Modern Neural Networks. ICML 2017,
        section 4.2.
    """

    _arguments = ("l2",)
    _fitted = ("weight", "bias")

    def __init__(self, l2: float = 1e-4) -> None:
        super().__init__()
        self.l2 = _checks.real_at_least(
            "l2", l2, 0, remedy="Write 0 for no penalty"
        )
        self.weight = np.empty(0)
        self.bias = np.empty(0)

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        import scipy.optimize

        # In units in which logits have variance 1: one penalty fits all.
        unit = float(logits.std()) or 1.0
        logits = logits / unit
        start = 1 / _fit_temperature(logits, targets, weights, BOUNDS)
        num_classes = logits.shape[1]
        result = scipy.optimize.minimize(
            _penalized_nll,
            np.repeat([start, 0.0], num_classes),
            args=(logits, targets, weights, start, self.l2),
            method="L-BFGS-B",
            jac=True,
            options={"maxiter": 10_000, "ftol": 1e-14, "gtol": 1e-8},
        )
        weight, self.bias = result.x.reshape(2, num_classes)
        self.weight = weight / unit

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        return _softmax(self.weight * logits + self.bias)

    def _make_layer(self) -> keras.layers.Layer:
        return _scaled_softmax(self.weight, self.bias)


@keras.saving.register_keras_serializable("tf_mixup")
class IsotonicScaling(Scaler):
    """Maps each class's probability by an increasing function, and normalizes.

    One isotonic regression for each class against the rest, on the softmax of
    the logits; then the classes of an example are divided by their sum. The
    functions are piecewise linear, with as many pieces as the data require: a
    good fit on thousands of examples, an overfit on hundreds.

    Accuracy may change, as different probabilities can become equal, and ties
    go to the first class. Probabilities of exactly 0 occur, so the
    cross-entropy can be infinite. An example whose classes all map to 0 gets
    the uniform distribution.

    Attributes:
        thresholds: `(K, L)`, the probabilities at which each function bends,
            in order; a shorter one repeats its last. Empty until it is fitted.
        values: `(K, L)`, of each function there; empty until it is fitted.

    References:
        Zadrozny and Elkan. Transforming Classifier Scores into Accurate
        Multiclass Probability Estimates. KDD 2002.
    """

    _fitted = ("thresholds", "values")

    def __init__(self) -> None:
        super().__init__()
        self.thresholds = np.empty((0, 0))
        self.values = np.empty((0, 0))

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        from sklearn import isotonic

        probabilities = float32_softmax(logits).astype(np.float64)
        curves = []
        for column, target in zip(probabilities.T, targets.T, strict=True):
            regression = isotonic.IsotonicRegression(y_min=0, y_max=1)
            regression.fit(column, target, sample_weight=weights)
            curves.append((regression.X_thresholds_, regression.y_thresholds_))
        length = max(2, *(len(inputs) for inputs, _ in curves))
        table = np.array(
            [
                [np.pad(side, (0, length - len(side)), "edge") for side in pair]
                for pair in curves
            ]
        )
        self.thresholds, self.values = table[:, 0], table[:, 1]

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        # Outside of a compiled model NumPy is four times as fast.
        columns = np.ascontiguousarray(float32_softmax(logits).T)
        for column, thresholds, values in zip(
            columns, self.thresholds, self.values, strict=True
        ):
            column[:] = np.interp(column, thresholds, values)
        total = columns.sum(axis=0, dtype=np.float64)
        columns[:, total == 0] = 1 / len(columns)
        columns /= np.where(total == 0, 1, total)
        return np.ascontiguousarray(columns.T)

    def _make_layer(self) -> keras.layers.Layer:
        layer = output_layers.IsotonicSoftmax(*self.thresholds.shape)
        layer.set_weights([self.thresholds, self.values])
        return layer


def _softmax(logits: np.ndarray) -> np.ndarray:
    import scipy.special

    return scipy.special.softmax(logits, axis=-1).astype(np.float32)


def float32_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the same bits as the layer of a model."""
    # A constant changes nothing, and large ones would cost digits.
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return ops.convert_to_numpy(ops.softmax(shifted.astype(np.float32)))


def _scaled_softmax(
    weight: np.ndarray, bias: np.ndarray
) -> output_layers.ScaledSoftmax:
    layer = output_layers.ScaledSoftmax(len(weight))
    layer.set_weights([weight, bias])
    return layer


def _fit_temperature(
    logits: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    bounds: tuple[float, float],
) -> float:
    def slope(temperature: float) -> float:
        return float(weights @ temperature_slopes(logits, targets, temperature))

    return find_temperature(slope, bounds)


def find_temperature(
    slope: Callable[[float], float], bounds: tuple[float, float] = BOUNDS
) -> float:
    """Returns the temperature of the least cross-entropy, within bounds.

    Args:
        slope: Weighted sum of `temperature_slopes`, by temperature.
        bounds: Least and greatest temperature.
    """
    import scipy.optimize

    low, high = bounds
    if slope(high) >= 0:
        return high
    if slope(low) <= 0:
        return low
    root = scipy.optimize.brentq(
        lambda place: slope(np.exp(place)), *np.log(bounds), xtol=1e-12
    )
    return float(np.exp(root))


def temperature_slopes(
    logits: np.ndarray, targets: np.ndarray, temperature: float
) -> np.ndarray:
    """Returns the derivative `(N,)` of each example's cross-entropy by 1/T.

    Args:
        logits: Float64 `(N, K)`.
        targets: Distributions `(N, K)`.
        temperature: T.
    """
    import scipy.special

    logits = logits - logits.max(axis=-1, keepdims=True)
    excess = scipy.special.softmax(logits / temperature, axis=-1) - targets
    return np.sum(excess * logits, axis=-1)


def _penalized_nll(
    parameters: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    start: float,
    l2: float,
) -> tuple[float, np.ndarray]:
    """Returns vector scaling's objective and its gradient, `(2 K,)`."""
    import scipy.special

    weight, bias = np.split(parameters, 2)
    logs = scipy.special.log_softmax(weight * logits + bias, axis=-1)
    nll = -float(weights @ np.sum(targets * logs, axis=-1))
    excess = weights[:, None] * (np.exp(logs) - targets)
    change = np.concatenate([weight - start, bias])
    gradient = np.concatenate([(excess * logits).sum(0), excess.sum(0)])
    return nll + l2 / 2 * change @ change, gradient + l2 * change


def _check_logits(logits: Any, *, multi_label: bool = False) -> np.ndarray:
    """Returns finite logits of all classes, or labels, float64 `(N, K)`."""
    output_kind.are_logits(logits, True)
    columns = numbers.to_numpy(logits, "Logits", dtype=np.float64)
    columns = columns.reshape(len(columns), -1)
    if columns.shape[1] == 1 and not multi_label:
        columns = np.hstack([np.zeros_like(columns), columns])
    wrong = int((~np.isfinite(columns)).any(axis=-1).sum())
    if wrong:
        raise _checks.refusal(
            "Logits must be finite",
            f"{wrong} of {len(columns)} examples with NaN or infinite values",
            "Look for a diverged model, and for logarithms of 0",
        )
    return columns


def _check_examples(
    logits: Any, labels: Any, sample_weight: Any, ignore_label: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits and targets `(N, K)`, and weights that sum to 1."""
    logits = numbers.to_numpy(logits, "Logits")
    labels = numbers.to_numpy(per_example.to_label_tensor(labels), "Labels")
    if not logits.ndim:
        raise _checks.refusal(
            "Logits must have shape (N, K), or (N,) or (N, 1) of a sigmoid",
            "a number",
            "Give one list of logits for each example",
        )
    size = len(logits)
    if labels.shape[:1] != (size,):
        raise _checks.refusal(
            "There must be a label for each example",
            f"logits of shape {logits.shape} and labels of shape"
            f" {labels.shape}",
            "Give both from the same examples, in the same order",
        )
    weights = np.ones(size)
    if sample_weight is not None:
        given = bins.read_weights(sample_weight, size)
        weights = weights * ops.convert_to_numpy(given)
    if not np.isfinite(weights).all():
        raise _checks.refusal(
            "`sample_weight` must be finite",
            f"{np.sum(~np.isfinite(weights))} weights of {size} that are not",
            "Write 0 to leave an example out",
        )
    ignored = per_example.ignored(labels, ignore_label)
    kept = weights > 0
    if ignored is not None:
        kept &= ~ops.convert_to_numpy(ignored)
    if not kept.any():
        raise _checks.refusal(
            "There must be examples to fit on",
            f"{size} examples that are all ignored or of weight 0",
            "Label some examples",
        )
    columns = _check_logits(logits[kept])
    # The mass of class 1 is a label of two columns, too.
    columns_of_labels = 1 if columns.shape[1] == 2 else columns.shape[1]
    targets = per_example.to_targets(labels[kept], columns_of_labels)
    targets = ops.convert_to_numpy(targets).astype(np.float64)
    _check_targets(targets)
    return columns, targets, weights[kept] / weights[kept].sum()


def _check_targets(targets: np.ndarray) -> None:
    wrong = int(np.isnan(targets).any(axis=-1).sum())
    if wrong:
        raise _checks.refusal(
            f"Labels must be class ids from 0 to {targets.shape[1] - 1}, or"
            " targets that sum to 1",
            f"{wrong} of {len(targets)} labels that are not",
            "Count classes from 0, leave unlabeled examples out with"
            " `ignore_label=-1`, and divide counts by their sums",
        )
    if np.count_nonzero(targets.sum(axis=0)) < 2:
        raise _checks.refusal(
            "Labels must be of at least two classes",
            f"{len(targets)} labels of class {int(targets[0].argmax())}",
            "Draw the validation set at random from all classes",
        )
