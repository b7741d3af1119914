"""The one way to predict: every tool predicts as `model.predict` does.

A model is more than its graph. A subclass may override `call`, `predict_step`
or `predict`, as KerasHub does to run a preprocessor. So tools predict through
`model.predict`, and rebuild a graph only where nothing is overridden.
"""

import inspect
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._data.examples import Batch
from tf_mixup._data.examples import Examples

_PREDICTING = (
    "predict",
    "predict_step",
    "make_predict_function",
    "call",
    "__call__",
)
# Methods that KerasHub overrides to run a preprocessor.
PREPARING = ("fit", "predict", "__call__")
_TRAINING = (
    "fit",
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "make_train_function",
    "make_test_function",
)
# Several batches are predicted in one call, as each call takes some 30 ms.
_MOST_BYTES = 2**25


class Predicted(NamedTuple):
    """Predictions for examples.

    Attributes:
        outputs: Array `(N, ...)`, or a nested structure of several outputs.
        labels: Of the same examples; None where there are none.
        weights: `(N,)` or `(N, 1)`; None where there are none.
    """

    outputs: Any
    labels: Any
    weights: Any


def predict(
    model: keras.Model,
    inputs: Any,
    *,
    batch_size: int = 128,
    verbose: int | str = 0,
) -> Any:
    """Returns what `model.predict` does, with a single output unpacked.

    Args:
        model: Any Keras model.
        inputs: Array of N examples, a nested structure of them, or `Examples`.
        batch_size: Examples in a batch, for arrays.
        verbose: As in Keras' `predict`; 0 shows nothing.
    """
    if isinstance(inputs, Examples):
        return predict_examples(model, inputs, verbose=verbose).outputs
    check_model(model)
    options = {"batch_size": batch_size, "verbose": verbose}
    return single_output(call_predict(model, inputs, **options))


def predict_examples(
    model: keras.Model, examples: Examples, *, verbose: int | str = 0
) -> Predicted:
    """Predicts examples in one pass, with their labels and weights."""
    parts = [
        (outputs, batch.labels, batch.weights)
        for batch, outputs in predict_batches(model, examples, verbose=verbose)
    ]
    return Predicted(*map(_concatenate, zip(*parts, strict=True)))


def predict_batches(
    model: keras.Model,
    examples: Examples,
    *,
    check: Callable[[Any], None] | None = None,
    verbose: int | str = 0,
) -> Iterator[tuple[Batch, Any]]:
    """Yields batches with the model's predictions for them.

    Successive batches of one shape are joined up to 32 MiB of inputs.
    `check` is called with the inputs of a batch before the model is, and may
    refuse them.
    """
    check_model(model)
    for batch, size in _join(examples.batches(verbose=verbose)):
        if check is not None:
            check(batch.inputs)
        outputs = single_output(_predict_arrays(model, batch.inputs, size))
        for leaf in keras.tree.flatten(outputs):
            if np.shape(leaf)[:1] != (batch.size,):
                raise _checks.refusal(
                    "A model must predict one output for each example",
                    f"outputs of shape {np.shape(leaf)} for {batch.size}"
                    " examples",
                    "Return one output for each example from the model",
                )
        yield batch, outputs


def single_output(outputs: Any) -> Any:
    """Returns the one output of a dictionary or list of one; else all."""
    if isinstance(outputs, (Mapping, list, tuple)) and len(outputs) == 1:
        values = outputs.values() if isinstance(outputs, Mapping) else outputs
        return single_output(next(iter(values)))
    return outputs


def check_one_output(outputs: Any) -> Any:
    """Returns the one output of a model; refuses several."""
    outputs = single_output(outputs)
    if keras.tree.is_nested(outputs):
        keys = list(outputs) if isinstance(outputs, Mapping) else len(outputs)
        raise _checks.refusal(
            "The model must have one output",
            f"several outputs: {keys}",
            "Cut it with `keras.Model(model.inputs, one_output)`",
        )
    return outputs


def check_model(model: Any) -> None:
    """Refuses anything but a Keras 3 model; names `tf_keras`."""
    if isinstance(model, keras.Model):
        return
    kind = type(model)
    legacy = any("tf_keras" in each.__module__ for each in kind.__mro__)
    raise _checks.refusal(
        "The model must be a model of Keras 3, a `keras.Model`",
        f"a {kind.__name__} of `{kind.__module__.split('.')[0]}`",
        "Build it with `import keras` and copy its weights by"
        " `model.set_weights(old.get_weights())`"
        if legacy
        else "Wrap it in a `keras.Model`",
    )


def runs_plainly(model: keras.Model) -> bool:
    """Returns whether a model is its graph, which may then be rebuilt.

    Its inputs are defined, and calling it without training is all that
    `model.predict` does.
    """
    if override_in_the_way(model) is not None:
        return False
    try:
        return bool(model.inputs) and bool(model.outputs)
    except (AttributeError, ValueError):
        return False


def override_in_the_way(
    model: keras.Model, *, training: bool = False, kept: Sequence[str] = ()
) -> str | None:
    """Returns the override that a rebuilt graph would lose, or None.

    Args:
        model: Any Keras model.
        training: Whether overrides of training count too, such as
            `train_step` and `compute_loss`.
        kept: Methods that are not lost.

    Returns:
        override: Class and method, as `"Scaled.predict_step"`.
    """
    names = _PREDICTING + (_TRAINING if training else ())
    if getattr(model, "preprocessor", model) is None:
        # What KerasHub overrides to prepare inputs then does nothing.
        kept = (*kept, *PREPARING)
    for name in names:
        if name not in kept and overrides(model, name):
            owner = type(model)
            if name not in vars(model):
                owner = _owner(model, name)
            return f"{owner.__name__}.{name}"
    return None


def overrides(model: keras.Model, name: str) -> bool:
    """Returns whether a model overrides one method of `keras.Model`."""
    own = _owner(model, name).__module__.split(".")[0] != "keras"
    return own or name in vars(model)


def _owner(model: keras.Model, name: str) -> type:
    """Returns the class that defines a method of a model."""
    return next(each for each in type(model).__mro__ if name in vars(each))


def check_inputs(model: keras.Model, inputs: Any) -> None:
    """Refuses a list of the wrong length, of which Keras takes the first."""
    if not isinstance(inputs, (list, tuple)) or not runs_plainly(model):
        return
    shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(inputs)]
    if len(shapes) != len(model.inputs):
        raise _checks.refusal(
            "A model must be given as many inputs as it takes",
            f"{len(shapes)} inputs of shapes {shapes} for a model of"
            f" {len(model.inputs)}",
            "Give inputs and labels as a tuple, and examples as one array",
        )


def call_predict(model: keras.Model, inputs: Any, **options: Any) -> Any:
    """Calls `model.predict` with those of the options that it takes."""
    known = inspect.signature(model.predict).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        options = {key: options[key] for key in options if key in known}
    check_inputs(model, inputs)
    inputs = keras.tree.map_structure(_text_to_tensor, inputs)
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, model.predict(inputs, **options)
    )


def _predict_arrays(model: keras.Model, inputs: Any, batch_size: int) -> Any:
    """Predicts arrays of at least one example, as `model.predict` does.

    That starts a pipeline, which takes longer than a small set. Under a
    strategy `predict_on_batch` repeats a batch for each replica.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if (
        keras.backend.backend() != "tensorflow"
        or getattr(strategy, "num_replicas_in_sync", 1) > 1
        or not runs_plainly(model)
    ):
        options = {"batch_size": batch_size, "verbose": 0}
        return call_predict(model, inputs, **options)
    check_inputs(model, inputs)
    size = len(keras.tree.flatten(inputs)[0])
    parts = []
    for start in range(0, size, batch_size):
        place = slice(start, start + batch_size)
        part = keras.tree.map_structure(
            lambda leaf, place=place: _text_to_tensor(leaf[place]), inputs
        )
        parts.append(model.predict_on_batch(part))
    return _concatenate(tuple(parts))


def _text_to_tensor(leaf: Any) -> Any:
    # Keras takes text as tensors only.
    kind = getattr(getattr(leaf, "dtype", None), "kind", "")
    return tf.constant(leaf) if kind in ("O", "S", "U") else leaf


def _join(batches: Iterator[Batch]) -> Iterator[tuple[Batch, int]]:
    """Yields joined batches, each with the size of its largest part."""
    parts: list[Batch] = []
    size = 0
    for batch in batches:
        new = sum(leaf.nbytes for leaf in keras.tree.flatten(batch.inputs))
        if parts and (
            _signature(batch) != _signature(parts[0])
            or size + new > _MOST_BYTES
        ):
            yield _joined(parts)
            parts, size = [], 0
        parts.append(batch)
        size += new
    if parts:
        yield _joined(parts)


def _joined(parts: list[Batch]) -> tuple[Batch, int]:
    columns = map(_concatenate, zip(*parts, strict=True))
    return Batch(*columns), max(part.size for part in parts)


def _signature(batch: Batch) -> Any:
    leaves = keras.tree.flatten_with_path(tuple(batch))
    return [
        (path, None if leaf is None else (leaf.shape[1:], leaf.dtype.kind))
        for path, leaf in leaves
    ]


def _concatenate(parts: tuple[Any, ...]) -> Any:
    if any(part is None for part in parts):
        return None
    return keras.tree.map_structure(
        lambda *leaves: np.concatenate(leaves), *parts
    )
