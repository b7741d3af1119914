"""Mix: the plan of `pipeline.MixUp` applied inside a model.

On an accelerator the batch then travels as it is stored (uint8: a quarter of
the bytes) and XLA fuses the mixing into the training step.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tf_mixup import checks


@keras.saving.register_keras_serializable("tf_mixup")
class Mix(keras.layers.Layer):
    """Mixes each row with its partner in training; passes rows otherwise.

    Computes `lam * row + (1 - lam) * partner's row` in float32, then
    `(mixed - mean) / std`. Outside of training only the second.

    Under a strategy each replica sees a slice of the batch, so a partner is
    given by its distance, and `pipeline.MixUp(groups=replicas)` keeps it
    within the slice. A partner outside of the slice gives NaN, so that the
    loss shows it, rather than a wrong row.

    Args:
        mean: Subtracted after mixing, a number or one for each channel.
        std: Divides after mixing, above 0.
        name: Name of the layer.
        dtype: Type, or policy, of what is returned.

    Raises:
        ValueError: If `std` is not above 0.

    Example:
        >>> rows = np.array([[0.0], [8.0]], "float32")
        >>> lam, shift = np.array([0.75, 0.75]), np.array([1, -1])
        >>> np.array(Mix()(rows, lam, shift, training=True)).tolist()
        [[2.0], [6.0]]
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        # Without autocast: half precision would round the coefficients.
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.mean = 0.0 if mean is None else mean
        self.std = 1.0 if std is None else std
        if min(keras.tree.flatten(self.std)) <= 0:
            raise checks.refusal(
                "`std` must be above 0",
                f"std={std!r}",
                "Leave it out to divide by nothing",
            )

    def call(
        self,
        inputs: Any,
        lam: Any = None,
        shift: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns the mixed rows in training, else the rows.

        Args:
            inputs: Tensor of any type and rank with B rows.
            lam: Coefficients in `[0, 1]`, float `(B,)`.
            shift: Rows from each row to its partner, integer `(B,)`, so that
                `row + shift` lies in `[0, B - 1]`.
            training: Whether to mix.

        Returns:
            mixed: Tensor like `inputs`, of the layer's compute type.
        """
        rows = ops.cast(inputs, "float32")
        if training and lam is not None:
            rows = self._mix(rows, lam, shift)
        if self.mean != 0.0 or self.std != 1.0:
            rows = (rows - ops.convert_to_tensor(self.mean, "float32")) / (
                ops.convert_to_tensor(self.std, "float32")
            )
        return ops.cast(rows, self.compute_dtype)

    def _mix(self, rows: Any, lam: Any, shift: Any) -> Any:
        size = ops.shape(rows)[0]
        partner = ops.arange(size, dtype="int32") + ops.cast(shift, "int32")
        inside = ops.logical_and(partner >= 0, partner < size)
        lam = ops.where(inside, ops.cast(lam, "float32"), float("nan"))
        lam = ops.reshape(lam, (-1,) + (1,) * (len(rows.shape) - 1))
        others = ops.take(rows, ops.clip(partner, 0, size - 1), axis=0)
        mixed = lam * rows + (1 - lam) * others
        return ops.where(lam == 1, rows, mixed)

    def compute_output_shape(
        self, inputs_shape: Any, lam_shape: Any = None, shift_shape: Any = None
    ) -> Any:
        """Returns the shape of the inputs."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        config = super().get_config()
        # There is nothing to train, and `__init__` does not take it.
        del config["trainable"]
        return {**config, "mean": self.mean, "std": self.std}


def training_twin(
    model: keras.Model,
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> keras.Model:
    """Returns a model that mixes its inputs and shares `model`'s weights.

    Train the twin on batches of `MixUp(..., placement="model")`, and evaluate
    it on `dataset.apply(mixup.evaluation)`; predict, save and serve with
    `model`, whose weights are the same variables.

    Args:
        model: Functional or sequential model with defined inputs.
        mean: Subtracted from the inputs after mixing; see `Mix`.
        std: Divides the inputs after mixing; see `Mix`.

    Returns:
        twin: Model of `{"inputs": ..., "lam": (B,), "shift": (B,)}`. It saves
            and reloads as any Keras model.

    Raises:
        ValueError: If the inputs of `model` are not defined.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> twin = training_twin(model)
        >>> sorted(twin.input), twin.output.shape
        (['inputs', 'lam', 'shift'], (None, 3))
    """
    try:
        sequential = isinstance(model, keras.Sequential)
        structure = model.inputs[0] if sequential else model.input
    except (AttributeError, ValueError) as error:
        raise checks.refusal(
            "The model must have defined inputs",
            f"a {type(model).__name__} named {model.name!r}",
            "Build it as a functional model, or start a `keras.Sequential`"
            " with `keras.Input(shape)`",
        ) from error
    single = not keras.tree.is_nested(structure)
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            # Keras warns where a key and its tensor's name differ.
            name="inputs" if single else tensor.name,
        ),
        structure,
    )
    lam = keras.Input((), dtype="float32", name="lam")
    shift = keras.Input((), dtype="int32", name="shift")
    mixed = keras.tree.map_structure(
        lambda tensor: Mix(mean=mean, std=std)(tensor, lam, shift), inputs
    )
    return keras.Model(
        {"inputs": inputs, "lam": lam, "shift": shift},
        model(mixed),
        name=f"{model.name}_mixing",
    )
