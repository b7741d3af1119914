"""Calibration after training, with one call.

A calibrated model is saved as any Keras model. Where it is loaded, write
`import tf_mixup` before `keras.saving.load_model`; what `model.export` writes
needs no import. Shapes: N examples, K classes.
"""

import hashlib
import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import ml_dtypes
import numpy as np

from tf_mixup import _checks
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup.posthoc.scalers import Scaler

# Share of examples with a probability of exactly 0; some are usual for large K.
_MANY_ZEROS = 0.1
# Values are rounded to these before they are compared, the finest first.
_PRECISIONS = ("float64", "float32", "float16", "bfloat16")
_TYPES = {
    name: np.dtype(getattr(ml_dtypes, name, name)) for name in _PRECISIONS
}
_REAL_PARTS = {"complex128": "float64", "complex64": "float32"}


def calibrate(
    model: keras.Model,
    scaler: Scaler,
    calibration: Any,
    *,
    test: Any = None,
    from_logits: bool | None = None,
    ignore_label: int | None = None,
    batch_size: int = 128,
    verbose: int | str = 0,
) -> keras.Model:
    """Fits a scaler on a model's predictions and returns both as one model.

    The scaler is fitted on what `model.predict` returns. If the model is plain
    and ends with a softmax or a sigmoid, the logits before it are scaled, as
    saturated probabilities no longer hold them. A model that overrides `call`,
    `predict_step` or `predict` is called as a whole, as are KerasHub's tasks
    with their preprocessor, which take raw text or images.

    Args:
        model: Model with one output: logits or probabilities, `(N, K)`, or
            one sigmoid column.
        scaler: Any `Scaler`, such as `TemperatureScaling()`; a
            `LabelwiseScaling` for a model of several labels, K sigmoids. It is
            fitted in place.
        calibration: Validation set that did not train the model: arrays
            `(inputs, labels)` or `(inputs, labels, sample_weight)`; a batched
            `tf.data.Dataset`, `PyDataset`, generator or other iterable of such
            batches, or of `{"image": ..., "label": ...}`.
        test: Inputs of the test set, or the same with labels, in any of these
            forms. If given, it must share no example.
        from_logits: Whether the model's outputs are logits. None detects it by
            the last layer, else by the values.
        ignore_label: Examples with this label are left out; None ignores none.
        batch_size: Examples to predict at once, where they are arrays.
        verbose: 0 shows nothing; 1 or `"auto"` shows a progress bar.

    Returns:
        calibrated: Model that shares its weights with `model` and predicts
            probabilities `(N, K)`; see `Scaler.attach`.

    Raises:
        ValueError: If the sets share examples, if the model has several
            outputs or is not a Keras 3 model, or as `Scaler.fit`.

    Example:
        >>> import tf_mixup
        >>> labels = np.arange(60) % 3
        >>> noise = np.random.default_rng(0).normal(size=(60, 3))
        >>> inputs = (np.eye(3)[labels] + noise).astype("float32")
        >>> sharpen = keras.layers.Rescaling(9.0)
        >>> model = keras.Sequential([keras.Input((3,)), sharpen])
        >>> scaler = tf_mixup.posthoc.TemperatureScaling()
        >>> calibrated = calibrate(model, scaler, (inputs, labels))
        >>> scaler.temperature > 1, calibrated.output.shape
        (True, (None, 3))
    """
    model_calls.check_model(model)
    if not isinstance(scaler, Scaler):
        raise _checks.refusal(
            "`scaler` must be a scaler",
            f"scaler={scaler!r}",
            "Write `TemperatureScaling()`",
        )
    examples = examples_lib.read(
        calibration,
        name="calibration",
        labeled=True,
        batch_size=batch_size,
        model=model,
    )
    if test is not None:
        read = examples_lib.read(test, name="test", model=model)
        check_disjoint(examples, read)
    name = f"{model.name}_calibrated"
    several = scaler.multi_label
    if several:
        last_layer.refuse_softmax(model)
    model, from_logits = _cut(model, from_logits, several=several)
    predicted = model_calls.predict_examples(model, examples, verbose=verbose)
    outputs = np.asarray(model_calls.check_one_output(predicted.outputs))
    # `fit` checks declared logits, and warns once.
    looked_at = outputs[:1] if from_logits else outputs
    if several:
        looked_at = looked_at.reshape(-1, 1)
    from_logits = output_kind.are_logits(looked_at, from_logits, model=model)
    if not from_logits:
        _warn_of_zeros(outputs)
    scaler.fit(
        output_layers.to_logits(outputs, from_logits, multi_label=several),
        model_calls.single_output(predicted.labels),
        sample_weight=model_calls.single_output(predicted.weights),
        ignore_label=ignore_label,
    )
    calibrated = scaler.attach(model, from_logits=from_logits)
    calibrated.name = name
    return calibrated


def _cut(
    model: keras.Model, from_logits: bool | None, *, several: bool
) -> tuple[keras.Model, bool | None]:
    """Returns the model before its softmax, if it has one."""
    if from_logits is True or not model_calls.runs_plainly(model):
        return model, from_logits
    last_layer.single_output_inputs(model)
    before = last_layer.before_softmax(model, several=several)
    return (model, from_logits) if before is None else (before, True)


def _warn_of_zeros(probabilities: np.ndarray) -> None:
    columns = probabilities.reshape(len(probabilities), -1)
    share = float(np.mean(np.any(columns == 0, axis=-1)))
    if share > _MANY_ZEROS:
        warnings.warn(
            f"{share:.0%} of the examples have a probability of exactly 0,"
            " whose logit is lost. Let the model return logits, without its"
            " last softmax, and calibrate these.",
            stacklevel=3,
        )


def check_disjoint(calibration: Any, test: Any) -> None:
    """Refuses two sets of inputs that share an example.

    Examples are the same if their shapes and all their values are, of any
    type: 3 of uint8 is 3.0. Where one set is float32 or half precision, the
    other is rounded to it. Scaled, cropped or flipped copies are not found.

    Args:
        calibration: Inputs, an array or a nested structure of arrays; or a
            tuple of inputs and labels, of which labels are left out; or a
            dataset or other iterable of batches of either.
        test: In any of these forms.

    Raises:
        ValueError: If they share examples, with the number in `test`; or if
            they have another number of inputs, which could not be the same.

    Example:
        >>> check_disjoint(np.eye(4)[:2], np.eye(4)[2:])
    """
    seen: dict[str, set[bytes]] = {name: set() for name in _PRECISIONS}
    coarsest, inputs = 0, set()
    for digests, precision, num_inputs in _digests(calibration, "calibration"):
        inputs.add(num_inputs)
        coarsest = max(coarsest, precision)
        for name, digest in zip(_PRECISIONS, digests, strict=True):
            seen[name].add(digest)
    count = shared = 0
    for digests, precision, num_inputs in _digests(test, "test"):
        if num_inputs not in inputs:
            raise _checks.refusal(
                "Both sets must have the same inputs, to be compared",
                f"{num_inputs} inputs in `test`, {min(inputs)} in"
                " `calibration`",
                "Give inputs and labels, `((a, b), labels)`, or name the inputs"
                " in a dictionary",
            )
        count += 1
        place = max(coarsest, precision)
        shared += digests[place] in seen[_PRECISIONS[place]]
    if shared:
        raise _checks.refusal(
            "Examples for calibration and for the test must not be the same",
            f"{shared} of {count} examples of `test` that are in `calibration`",
            "Split the data once, before anything is fitted",
        )


def _digests(data: Any, name: str) -> Iterator[tuple[list[bytes], int, int]]:
    """Yields the hashes of each example's inputs in all of `_PRECISIONS`.

    With them come the index of the finest of these that its values have, and
    the number of inputs.
    """
    for batch in examples_lib.read(data, name=name).batches():
        leaves = [
            _Comparable(leaf) for leaf in keras.tree.flatten(batch.inputs)
        ]
        precision = max(leaf.precision for leaf in leaves)
        for index in range(batch.size):
            digests = []
            for place in range(len(_PRECISIONS)):
                parts = [leaf.digest(index, place) for leaf in leaves]
                digest = hashlib.blake2b(b"".join(parts), digest_size=16)
                digests.append(digest.digest())
            yield digests, precision, len(leaves)


class _Comparable:
    """A batch of arrays whose bytes are equal where its values are."""

    def __init__(self, leaf: np.ndarray) -> None:
        leaf = _to_numbers(leaf)
        self._shape = str(leaf.shape[1:]).encode()
        self._text = leaf.dtype.kind in "OSU"
        self._values = [leaf] * len(_PRECISIONS)
        self.precision = 0
        if self._text or leaf.dtype.kind in "mM":
            return
        name = _REAL_PARTS.get(leaf.dtype.name, leaf.dtype.name)
        if name in _PRECISIONS:
            self.precision = _PRECISIONS.index(name)
        self._values = [
            _canonical(_cast(leaf, precision)) for precision in _PRECISIONS
        ]

    def digest(self, index: int, precision: int) -> bytes:
        """Returns the bytes of one example, rounded to one of `_PRECISIONS`."""
        values = self._values[precision][index]
        if not self._text:
            return self._shape + values.tobytes()
        # The bytes of text are an address, or padded.
        texts = np.ravel(np.asarray(values)).tolist()
        return self._shape + repr([_to_text(each) for each in texts]).encode()


def _to_numbers(leaf: np.ndarray) -> np.ndarray:
    """Returns an array of objects as one of numbers, if they all are."""
    if leaf.dtype.kind != "O":
        return leaf
    values = np.ravel(leaf).tolist()
    real = all(isinstance(each, numbers.Real) for each in values)
    return leaf.astype(np.float64) if real else leaf


def _cast(leaf: np.ndarray, precision: str) -> np.ndarray:
    """Returns values rounded to a type."""
    if leaf.dtype.kind == "c":
        parts = (_cast(part, precision) for part in (leaf.real, leaf.imag))
        return np.stack(list(parts), axis=-1)
    whole = leaf.dtype.kind in "iu" and leaf.dtype.itemsize == 8
    wide = whole and np.abs(leaf.astype(np.float64)).max() >= 2.0**53
    if wide and precision == "float64":
        return leaf
    with np.errstate(over="ignore"):
        return leaf.astype(_TYPES[precision])


def _canonical(values: np.ndarray) -> np.ndarray:
    # Types such as bfloat16 are none of NumPy's own.
    if values.dtype.kind not in "fV":
        return values
    return np.where(np.isnan(values), np.nan, values + 0.0).astype(values.dtype)


def _to_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)
