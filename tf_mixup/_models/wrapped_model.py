"""A model around models that are called as a whole.

A graph that is rebuilt from symbolic outputs loses what a subclass overrides.
Here each model predicts through its own `predict`, `predict_step` or `call`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._models import model_calls
from tf_mixup._models import output_layers


@keras.saving.register_keras_serializable("tf_mixup")
class WrappedModel(keras.Model):
    """The mean of the probabilities of models, each called as a whole.

    It shares its weights with the models. Their classes must be registered
    with `keras.saving.register_keras_serializable` to be loaded again.

    Args:
        models: At least one model of one output.
        from_logits: For each, whether its outputs are logits.
        head: Layer from logits to probabilities; None is the softmax.
        multi_label: Whether outputs are sigmoids of several labels.
        name: Name of the model.

    Raises:
        ValueError: If a model overrides `predict_step` on a backend where
            such a step cannot be called from a model.
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        from_logits: Sequence[bool],
        head: keras.layers.Layer | None = None,
        *,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.models = list(models)
        self.from_logits = list(from_logits)
        self.head = head or keras.layers.Softmax(dtype="float32")
        self.multi_label = multi_label
        self.to_logits = [
            output_layers.Logits(each, multi_label=multi_label)
            for each in from_logits
        ]
        for model in self.models:
            _check_step(model)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns probabilities `(B, K)`; in training, too, models predict."""
        del training
        return self._mean([_step(model, inputs) for model in self.models])

    def predict(
        self, x: Any, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Returns probabilities `(N, K)`, for what the models predict from."""
        if not self._prepares():
            return super().predict(x, batch_size=batch_size, **kwargs)
        options = {"batch_size": batch_size, **kwargs}
        outputs = [
            model_calls.single_output(
                model_calls.call_predict(model, x, **options)
            )
            for model in self.models
        ]
        return keras.ops.convert_to_numpy(self._mean(outputs))

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as Keras does; refuses models that override `predict`."""
        prepares = self._prepares()
        if prepares:
            raise _checks.refusal(
                "Keras cannot evaluate a model that prepares its inputs in"
                " `predict`",
                f"a model with the override `{prepares}`",
                "Measure what `predict` returns",
            )
        return super().evaluate(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this model."""
        serialize = keras.saving.serialize_keras_object
        return {
            "models": [serialize(model) for model in self.models],
            "from_logits": self.from_logits,
            "head": serialize(self.head),
            "multi_label": self.multi_label,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "WrappedModel":
        """Returns the model of a configuration."""
        config = dict(config)
        load = keras.saving.deserialize_keras_object
        config["models"] = [
            load(model, custom_objects=custom_objects)
            for model in config["models"]
        ]
        config["head"] = load(config["head"], custom_objects=custom_objects)
        return cls(**config)

    def _prepares(self) -> str | None:
        """Returns the first override of `predict` as a whole, or None."""
        for model in self.models:
            if isinstance(model, WrappedModel):
                inner = model._prepares()
                if inner:
                    return inner
                continue
            for name in ("predict", "make_predict_function"):
                if model_calls.overrides(model, name):
                    return f"{type(model).__name__}.{name}"
        return None

    def _mean(self, outputs: list[Any]) -> Any:
        parts = [
            self.head(to_logits(keras.ops.convert_to_tensor(each)))
            for to_logits, each in zip(self.to_logits, outputs, strict=True)
        ]
        return sum(parts[1:], parts[0]) / np.float32(len(parts))


def _check_step(model: keras.Model) -> None:
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if model_calls.overrides(model, "predict_step") and not on_tensorflow:
        raise _checks.refusal(
            "A model with a `predict_step` of its own can be called as a whole"
            " on TensorFlow only",
            f"`{model_calls.override_in_the_way(model)}` on"
            f" {keras.backend.backend()}",
            "Move what it does into `call` or into a layer",
        )


def _step(model: keras.Model, inputs: Any) -> Any:
    """Returns the one output for a batch, as the model predicts it."""
    if model_calls.overrides(model, "predict_step"):
        outputs = model.predict_step((inputs,))
    else:
        outputs = model(inputs, training=False)
    return model_calls.check_one_output(outputs)
