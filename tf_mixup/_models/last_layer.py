"""What a model's last layer gives, and the model before it.

Shapes: B examples, K classes.
"""

from typing import Any

import keras

from tf_mixup import _checks

# Activations by name: those that give probabilities, and those that do not.
_PROBABILITIES = ("softmax", "sigmoid")
_LOGITS = ("linear", "log_softmax", "log_sigmoid")
# Layers that change the shape of outputs, or nothing.
_PASSING = (
    keras.layers.Identity,
    keras.layers.Reshape,
    keras.layers.Flatten,
)


def input_structure(model: keras.Model) -> Any:
    """Returns the symbolic inputs of a model, structured as it takes them.

    Raises:
        ValueError: If they are not defined.
    """
    try:
        sequential = isinstance(model, keras.Sequential)
        return model.inputs[0] if sequential else model.input
    except (AttributeError, ValueError) as error:
        raise _checks.refusal(
            "The model must have defined inputs",
            f"a {type(model).__name__} named {model.name!r}",
            "Build it as a functional model, or start a `keras.Sequential`"
            " with `keras.Input(shape)`",
        ) from error


def single_output_inputs(model: keras.Model) -> Any:
    """Returns the symbolic inputs of a model of one output, as given to it."""
    inputs = input_structure(model)
    outputs = model.outputs
    if len(outputs) != 1 or len(outputs[0].shape) > 2:
        raise _checks.refusal(
            "The model must have one output, (B, K), or one sigmoid column",
            f"outputs of shape {[tuple(tensor.shape) for tensor in outputs]}",
            "Cut it with `keras.Model(model.inputs, one_output)`",
        )
    return inputs


def last_layer_gives_logits(model: keras.Model) -> bool | None:
    """Returns whether the last layer gives logits; None if it is unknown."""
    activation = last_activation(model)
    if activation in _PROBABILITIES:
        return False
    return True if activation in _LOGITS else None


def check_single_label(model: keras.Model) -> None:
    """Refuses a model that ends in the sigmoids of several labels."""
    if last_activation(model) == "sigmoid":
        refuse_several_labels(int(_last_tensor(model).shape[-1] or 1))


def before_softmax(
    model: keras.Model, *, several: bool = False
) -> keras.Model | None:
    """Returns the model without its last softmax, or sigmoid of one column.

    Args:
        model: Any Keras model of one output.
        several: Whether columns are of several labels: then without its
            sigmoids, and a softmax stays.

    Returns:
        logits: Model of the same inputs and layers, whose outputs are logits;
            None if the model does not end in such an activation.
    """
    activation = last_activation(model)
    columns = model.outputs[0].shape[-1] if activation else None
    sigmoids = activation == "sigmoid" and (several or columns == 1)
    if not sigmoids and (several or activation != "softmax"):
        return None
    if activation == "softmax" and columns == 1:
        raise _checks.refusal(
            "A softmax needs at least 2 columns: of one it is always 1",
            f"a model named {model.name!r} that ends with a softmax of one",
            'End it with `Dense(1, "sigmoid")` or `Dense(2, "softmax")`',
        )
    layer = _last_tensor(model)._keras_history.operation
    if isinstance(layer, (keras.Model, *_PASSING)) or _is_named(
        layer, "linear"
    ):
        return None
    inside = _single_input(layer)
    if inside is None:
        return None
    if not _is_bare_activation(layer):
        if getattr(layer, "activation", None) is None:
            return None
        inside = BeforeActivation(layer, name=f"{layer.name}_logits")(inside)
    inputs = input_structure(model)
    return keras.Model(inputs, inside, name=f"{model.name}_logits")


@keras.saving.register_keras_serializable("tf_mixup")
class BeforeActivation(keras.layers.Layer):
    """Calls a layer without its activation, on the layer's own weights."""

    def __init__(
        self, layer: keras.layers.Layer, *, name: str | None = None
    ) -> None:
        # The policy of a quantized layer asks for a call that this has not.
        super().__init__(name=name, dtype=layer.compute_dtype)
        self.layer = layer

    def call(self, inputs: Any) -> Any:
        """Returns the layer's output before its activation."""
        activation = self.layer.activation
        self.layer.activation = keras.activations.linear
        try:
            return self.layer(inputs)
        finally:
            self.layer.activation = activation

    def build(self, input_shape: Any) -> None:
        """Builds the layer, if it is not built."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the layer's output."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        return {
            "name": self.name,
            "layer": keras.saving.serialize_keras_object(self.layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BeforeActivation":
        """Returns the layer of a configuration."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, name=config["name"])


def refuse_several_labels(columns: int) -> None:
    if columns > 1:
        raise _checks.refusal(
            "Calibration of one label for each example needs probabilities"
            " that sum to 1 over classes",
            f"{columns} sigmoids, as of a model of several labels",
            "For several labels use `metrics.LabelCalibrationMetrics`,"
            " `multi_label=True` of a monitor, `report.label_report` or"
            " `posthoc.LabelwiseScaling`; for exclusive classes end the model"
            " with a softmax",
        )


def refuse_softmax(model: keras.Model) -> None:
    """Refuses exclusive classes where each label needs a sigmoid."""
    if last_activation(model) == "softmax":
        raise _checks.refusal(
            "Several labels need a sigmoid each",
            f"a model named {model.name!r} that ends with a softmax",
            "For exclusive classes use `calibration_report`, or a scaler of"
            " classes such as `TemperatureScaling`",
        )


def last_activation(model: keras.Model) -> str | None:
    """Returns the name of the activation that a model ends with, if known."""
    tensor = _last_tensor(model)
    while tensor is not None:
        layer = tensor._keras_history.operation
        if isinstance(layer, keras.Model):
            # A model within the model: its own last layer.
            tensor = _last_tensor(layer)
        elif isinstance(layer, _PASSING) or (
            _is_bare_activation(layer) and _is_named(layer, "linear")
        ):
            tensor = _single_input(layer)
        else:
            return _activation_name(layer)
    return None


def _last_tensor(model: keras.Model) -> Any:
    """Returns the symbolic output of a model of one output, else None."""
    try:
        outputs = model.outputs
    except (AttributeError, ValueError):
        return None
    if not outputs or len(outputs) != 1:
        return None
    history = getattr(outputs[0], "_keras_history", None)
    return outputs[0] if history is not None else None


def _single_input(layer: Any) -> Any:
    """Returns the symbolic input of a layer that was called once, or None."""
    try:
        tensor = layer.input
    except (AttributeError, ValueError):
        return None
    return None if keras.tree.is_nested(tensor) else tensor


def _activation_name(layer: Any) -> str | None:
    """Returns the activation of a layer or operation, by Keras' name."""
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    if activation is not None:
        return getattr(activation, "__name__", None)
    # `keras.ops.softmax` on a symbolic tensor is an operation of that name.
    name = type(layer).__name__.lower()
    if name in ("scaledsoftmax", "isotonicsoftmax", "betasoftmax"):
        return "softmax"
    if name == "betasigmoid":
        return "sigmoid"
    return name if name in _PROBABILITIES else None


def _is_bare_activation(layer: Any) -> bool:
    """Returns whether a layer or operation is nothing but an activation."""
    if isinstance(layer, keras.layers.Softmax | keras.layers.Activation):
        return True
    return type(layer).__name__.lower() in _PROBABILITIES


def _is_named(layer: Any, name: str) -> bool:
    return _activation_name(layer) == name
