"""LabelwiseScaling: a scaler for each of several labels.

Shapes: N examples, K labels.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import Any
from typing import Self

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._models import output_layers
from tf_mixup.calibration import per_label
from tf_mixup.posthoc.binary_scalers import BinaryScaler
from tf_mixup.posthoc.scalers import Scaler
from tf_mixup.posthoc.scalers import TemperatureScaling


@keras.saving.register_keras_serializable("tf_mixup")
class LabelwiseScaling(Scaler):
    """Fits a scaler for each of K labels, whose outputs are K sigmoids.

    Each label is a binary problem of its own: its logit against whether an
    example has it. `apply` and the model of `attach` and `calibrate` give K
    independent probabilities, `(N, K)`.

    Args:
        scaler: A `TemperatureScaling`, `PlattScaling` or `BetaCalibration`,
            which is copied for each label. Labels with few positive examples
            need `smooth_targets`, as `PlattScaling` has it; those with none
            cannot be fitted.

    Attributes:
        scalers: The K fitted scalers, in order; empty until it is fitted.

    Raises:
        ValueError: If `scaler` is another one.

    Example:
        >>> from tf_mixup.posthoc import PlattScaling
        >>> logits = np.array([[1.0, -2.0], [-1.0, 2.0], [1.0, 3.0], [0.0, -1]])
        >>> labels = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
        >>> scaler = LabelwiseScaling(PlattScaling()).fit(logits, labels)
        >>> len(scaler.scalers), scaler.apply(logits).shape
        (2, (4, 2))
    """

    multi_label = True

    def __init__(self, scaler: Scaler) -> None:
        super().__init__()
        if not isinstance(scaler, (BinaryScaler, TemperatureScaling)):
            raise _checks.refusal(
                "The scaler of a label must be a `TemperatureScaling`,"
                " `PlattScaling` or `BetaCalibration`",
                f"scaler={scaler!r}",
                "Write `LabelwiseScaling(PlattScaling())`",
            )
        self.scaler = scaler
        self.scalers: list[Any] = []

    def fit(
        self,
        logits: Any,
        labels: Any,
        *,
        sample_weight: Any = None,
        ignore_label: int | None = None,
    ) -> Self:
        """Fits a scaler for each label on a validation set.

        Args:
            logits: Float array `(N, K)`.
            labels: Multi-hot `(N, K)` of 0 and 1, or targets in [0, 1].
            sample_weight: Weights `(N,)` or `(N, 1)`, or `(N, K)` for each
                label, at least 0; what has weight 0 is left out.
            ignore_label: Value of labels that are not known, often -1, which
                are left out, each by itself; None ignores none.

        Returns:
            self: The scaler.

        Raises:
            ValueError: If the shapes do not fit, a label lies outside of
                [0, 1], or as the scaler of a label, with its number.
        """
        return super().fit(
            logits,
            labels,
            sample_weight=sample_weight,
            ignore_label=ignore_label,
        )

    def _read(
        self, logits: Any, labels: Any, sample_weight: Any, ignore_label: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shape, targets, columns, weight = per_label.flatten(
            labels, logits, sample_weight, ignore_label
        )
        targets, columns = (
            keras.ops.convert_to_numpy(each).reshape(shape)
            for each in (targets, columns)
        )
        weights = np.ones(targets.shape)
        if weight is not None:
            weights = keras.ops.convert_to_numpy(weight).reshape(shape)
        return columns, targets, weights

    def _fit(
        self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> None:
        scalers = []
        for k in range(logits.shape[1]):
            scaler = copy.deepcopy(self.scaler)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    scaler.fit(
                        *(logits[:, k], targets[:, k]),
                        sample_weight=weights[:, k],
                    )
                except ValueError as error:
                    raise ValueError(f"Label {k}: {error}") from error
            for each in caught:
                warnings.warn(
                    f"Label {k}: {each.message}", each.category, stacklevel=4
                )
            scalers.append(scaler)
        self.scalers = scalers

    def get_config(self) -> dict[str, Any]:
        """Returns the argument and what was fitted, for JSON."""
        serialize = keras.saving.serialize_keras_object
        return {
            "scaler": serialize(self.scaler),
            "fitted": [serialize(each) for each in self.scalers],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Returns the scaler of a configuration, fitted if it was."""
        load = keras.saving.deserialize_keras_object
        scaler = cls(load(config["scaler"]))
        scaler.scalers = [load(each) for each in config["fitted"]]
        scaler._num_classes = len(scaler.scalers)
        return scaler

    def __repr__(self) -> str:
        fitted = f"fitted on {self._num_classes} labels"
        said = fitted if self.scalers else "not fitted"
        return f"{type(self).__name__}({type(self.scaler).__name__}, {said})"

    def _apply(self, logits: np.ndarray) -> np.ndarray:
        columns = zip(self.scalers, logits.T, strict=True)
        return np.stack(
            [scaler.apply(column)[:, 1] for scaler, column in columns], axis=-1
        )

    def _make_layer(self) -> keras.layers.Layer:
        layer = output_layers.BetaSigmoid(self._num_classes)
        parameters = [_parameters(each) for each in self.scalers]
        layer.set_weights(list(np.transpose(parameters)))
        return layer


def _parameters(scaler: Any) -> tuple[float, float, float]:
    """Returns the a, b and c of a fitted scaler of one label."""
    if isinstance(scaler, TemperatureScaling):
        return 1 / scaler.temperature, 1 / scaler.temperature, 0.0
    return scaler.parameters
