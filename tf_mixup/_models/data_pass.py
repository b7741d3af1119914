"""A pass over data of the user's, with the outputs of Keras' validation.

`model.evaluate` runs `test_step`, and `model.predict` runs `predict_step`; a
subclass may override either, or `predict` itself. The pass runs the same
steps, in one graph where TensorFlow compiles the model: a call for each batch
takes three times as long on two replicas.
"""

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_mixup._data import examples as examples_lib
from tf_mixup._models import model_calls

# Is called with outputs, labels and weights of each batch.
Update = Callable[[Any, Any, Any], None]


def make(
    model: keras.Model, examples: examples_lib.Examples, update: Update
) -> Callable[[], None]:
    """Returns a function that calls `update` for each batch of the examples.

    Args:
        model: Any Keras model; on TensorFlow its strategy's replicas share the
            work.
        examples: With labels; they are read in each pass.
        update: Called for each batch, perhaps in a graph.
    """
    # `evaluate` is replaced on the instance during `fit`.
    tests = model_calls.overrides(model, "test_step") and (
        type(model).evaluate is keras.Model.evaluate
    )
    predicts = not tests and any(
        model_calls.overrides(model, name)
        for name in ("predict", "make_predict_function")
    )
    if keras.backend.backend() != "tensorflow" or predicts:
        return functools.partial(_predict, model, examples, update)
    strategy = model.distribute_strategy
    batches = strategy.experimental_distribute_dataset(examples.dataset())

    def step(batch: Any) -> None:
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        model_calls.check_inputs(model, inputs)
        heard = _listen(model, batch) if tests else None
        if heard is None:
            packed = keras.utils.pack_x_y_sample_weight(inputs)
            update(model.predict_step(packed), labels, weights)
        else:
            update(*heard[:2], weights if heard[2] is None else heard[2])

    def run(batches: Any) -> None:
        for batch in batches:
            strategy.run(step, args=(batch,))

    if not model.run_eagerly:
        run = tf.function(run, reduce_retracing=True)

    def run_all() -> None:
        with _keep_metrics(model) if tests else contextlib.nullcontext():
            run(batches)

    return run_all


def _predict(
    model: keras.Model, examples: examples_lib.Examples, update: Update
) -> None:
    for batch, outputs in model_calls.predict_batches(model, examples):
        update(outputs, batch.labels, batch.weights)


def _listen(model: keras.Model, batch: Any) -> tuple[Any, Any, Any] | None:
    """Returns what a model's own `test_step` measures, or None.

    The step passes outputs, labels and weights to `compute_metrics`, or to
    `compute_loss` if it updates metrics itself.
    """
    heard: dict[str, tuple[Any, Any, Any]] = {}

    def wrap(name: str) -> Callable[..., Any]:
        own = getattr(model, name)

        def listen(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            **options: Any,
        ) -> Any:
            heard[name] = y_pred, y, sample_weight
            return own(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **options
            )

        return listen

    with contextlib.ExitStack() as stack:
        for name in ("compute_metrics", "compute_loss"):
            stack.enter_context(_replaced(model, name, wrap(name)))
        model.test_step(batch)
    return heard.get("compute_metrics", heard.get("compute_loss"))


@contextlib.contextmanager
def _replaced(
    model: keras.Model, name: str, function: Callable[..., Any]
) -> Iterator[None]:
    before = vars(model).get(name)
    setattr(model, name, function)
    try:
        yield
    finally:
        delattr(model, name)
        if before is not None:
            setattr(model, name, before)


@contextlib.contextmanager
def _keep_metrics(model: keras.Model) -> Iterator[None]:
    """Restores the model's metrics, which hold the validation set."""
    kept = [
        (variable, keras.ops.convert_to_numpy(variable))
        for metric in model.metrics
        for variable in metric.variables
    ]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
