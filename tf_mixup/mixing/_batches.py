"""What a dataset must yield to be mixed: batches of inputs and labels."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import run_time
from tf_mixup._data import columns
from tf_mixup._data import examples as examples_lib


def read_batches(data: Any) -> tuple[tf.data.Dataset, int]:
    """Returns the batches of a data set, and their number.

    Args:
        data: `tf.data.Dataset` of batches `(x, y)`, `(x, y, sample_weight)` or
            of dictionaries with a key of labels, such as `{"image": x,
            "label": y}`, that knows their number; or a
            `keras.utils.PyDataset`.

    Returns:
        dataset: Of `(x, y)` or `(x, y, sample_weight)`.
        length: Number of batches, or `tf.data.INFINITE_CARDINALITY`.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(data, keras.utils.PyDataset):
        data = _from_py_dataset(data)
    elif isinstance(data, tf.data.Dataset):
        data = _split_keys(data)
    return data, check_dataset(data)


def check_dataset(dataset: Any) -> int:
    """Refuses what is no dataset of batches that can be mixed.

    Args:
        dataset: Should be a `tf.data.Dataset` of batches `(x, y)` or
            `(x, y, sample_weight)` that knows their number.

    Returns:
        length: Number of batches, or `tf.data.INFINITE_CARDINALITY`.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(dataset, tf.data.Dataset):
        remedy = (
            "Write `tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x))"
            ".batch(128).apply(mixup)` for arrays"
        )
        if hasattr(dataset, "__next__"):
            remedy = (
                "Wrap it with `tf.data.Dataset.from_generator` and"
                " `.apply(tf.data.experimental.assert_cardinality(n))`"
            )
        raise _checks.refusal(
            "MixUp takes a batched tf.data.Dataset, or a PyDataset",
            f"a {type(dataset).__name__}",
            remedy,
        )
    _check_element(dataset.element_spec)
    length = tf.get_static_value(dataset.cardinality())
    if length is None:
        raise _checks.refusal(
            "A stage is applied outside of what TensorFlow compiles",
            "a dataset within a `tf.function`, or a function of `map`,"
            " `flat_map` or `interleave`",
            "Apply it before, and use the mixed dataset there",
        )
    length = int(length)
    if length == tf.data.UNKNOWN_CARDINALITY:
        raise _checks.refusal(
            "The dataset must know its number of batches: without it Keras"
            " runs a phantom step at the end of each epoch",
            "a dataset of unknown cardinality",
            "Write `.apply(tf.data.experimental.assert_cardinality(n))` before"
            " `.apply(mixup)`",
        )
    return length


class _Passes:
    """The batches of a PyDataset, which learns of the end of each pass."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __len__(self) -> int:
        return self._data.num_batches

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self._data[index]
        self._data.on_epoch_end()


def _from_py_dataset(data: Any) -> tf.data.Dataset:
    # Read once to have it checked: that it has an end, and batches.
    first = next(
        examples_lib.read(data, name="dataset", labeled=True).batches()
    )
    examples = examples_lib.read(_Passes(data), name="dataset", labeled=True)
    spec = tf.nest.map_structure(
        lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype),
        _present(first),
    )
    return tf.data.Dataset.from_generator(
        lambda: map(_present, examples.batches()), output_signature=spec
    ).apply(tf.data.experimental.assert_cardinality(data.num_batches))


def _split_keys(data: tf.data.Dataset) -> tf.data.Dataset:
    """Returns (x, y) of elements such as `{"image": x, "label": y}`."""
    if not isinstance(data.element_spec, Mapping):
        return data
    if columns.split(data.element_spec)[1] is None:
        return data
    return data.map(tf.autograph.experimental.do_not_convert(parts_of))


def parts_of(batch: Any) -> tuple:
    """Returns (x, y), with weights if it has some, of a batch of a dataset."""
    if isinstance(batch, Mapping):
        return _present(columns.split(batch))
    return tuple(batch)


def _present(parts: tuple) -> tuple:
    return tuple(part for part in parts if part is not None)


def count_batches(dataset: tf.data.Dataset, length: int) -> tf.data.Dataset:
    """Returns a dataset that checks the number it was asserted to have.

    TensorFlow's own error does not say where the number was given.

    Args:
        dataset: Of batches.
        length: Number of batches, or `tf.data.INFINITE_CARDINALITY`.

    Returns:
        dataset: The same batches; an error is raised where there are fewer,
            or where a batch is read beyond them. Unchanged if the last step
            is not `assert_cardinality`, or tensors are not dense.
    """
    # There is no public way to it; without it TensorFlow's error is shown.
    batches = getattr(dataset, "_input_dataset", None)
    asserted = type(dataset).__name__ == "_AssertCardinalityDataset"
    dense = all(
        isinstance(spec, tf.TensorSpec)
        for spec in tf.nest.flatten(dataset.element_spec)
    )
    if not (asserted and dense) or batches is None or length < 0:
        return dataset
    plain = tf.autograph.experimental.do_not_convert

    def check(number: tf.Tensor, marked: tuple) -> tf.Tensor:
        is_batch = marked[0]
        for valid, received in (
            (~is_batch | (number < length), "at least {}"),
            (is_batch | (number == length), "a dataset that ended after {}"),
        ):
            is_batch = run_time.require(
                is_batch,
                valid,
                "`assert_cardinality(n)` must give the number of batches",
                f"{received} of {length} batches",
                [number + tf.cast(is_batch, tf.int64)],
                "Count them, with `drop_remainder` as in training",
            )
        return is_batch

    end = tf.data.Dataset.from_tensors(False).map(
        plain(
            lambda mark: (
                mark,
                tf.nest.map_structure(_make_empty, dataset.element_spec),
            )
        )
    )
    marked = batches.map(plain(lambda *batch: (True, batch)))
    numbered = marked.concatenate(end).enumerate().take_while(plain(check))
    return numbered.map(plain(lambda _, marked: marked[1])).apply(
        tf.data.experimental.assert_cardinality(length)
    )


def _make_empty(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)


def _check_element(spec: Any) -> None:
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise _checks.refusal(
            "The dataset must yield (x, y) or (x, y, sample_weight)",
            f"elements of structure {tf.nest.map_structure(_shape, spec)}",
            'Map them first, e.g. `.map(lambda e: (e["image"], e["label"]))`',
        )
    _check_weights(spec[2:])
    shapes = [_shape(each) for each in tf.nest.flatten(spec)]
    if any(shape.rank is None for shape in shapes):
        raise _checks.refusal(
            "All parts of an element must be of known rank",
            f"shapes {[str(shape) for shape in shapes]}",
            "Give `output_signature` to `from_generator`, or after a function"
            " of Python write `tf.ensure_shape(x, (None, height, width,"
            " channels))`",
        )
    leading = {shape[0] if shape.rank else 0 for shape in shapes}
    if 0 in leading or len(leading - {None}) > 1:
        raise _checks.refusal(
            "All parts of an element must be batches of the same examples",
            f"shapes {[str(shape) for shape in shapes]}",
            "Write `.batch(128)` before `.apply(mixup)`",
        )


def _check_weights(weights: Any) -> None:
    for each in tf.nest.flatten(weights):
        dtype = getattr(each, "dtype", tf.float32)
        if dtype == tf.string or dtype.is_complex:
            raise _checks.refusal(
                "Sample weights must be real numbers",
                f"weights of dtype {dtype.name}",
                "Cast them to float32",
            )


def require_same_size(element: tuple) -> tuple:
    """Returns a batch; at run time its parts must have as many examples.

    Args:
        element: Batch whose sizes may not be known before.

    Returns:
        element: The same.

    Raises:
        tf.errors.InvalidArgumentError: If a part is longer than another.
    """
    parts = tf.nest.flatten(element)
    if all(_shape(part)[0] is not None for part in parts):
        return element
    sizes = [tf.shape(part)[0] for part in parts]
    return run_time.require(
        element,
        tf.reduce_all(tf.stack(sizes) == sizes[0]),
        "All parts of a batch must have as many examples",
        "parts of " + ", ".join(["{}"] * len(sizes)) + " examples",
        sizes,
        "Look at how inputs, labels and weights are put together",
    )


def require_finite(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset that refuses batches with NaN or infinity.

    Mixing would spread them to a partner. It reads each batch once more.

    Args:
        dataset: Of batches; write `dataset.apply(mixing.require_finite)`.

    Returns:
        dataset: The same batches.

    Raises:
        tf.errors.InvalidArgumentError: While batches are drawn, if a number
            of inputs, targets or weights is infinite or NaN.
    """
    return dataset.map(
        tf.autograph.experimental.do_not_convert(
            lambda *element: _require_finite(element)
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _require_finite(element: tuple) -> tuple:
    broken = [
        tf.reduce_any(
            ~tf.math.is_finite(part), axis=list(range(1, part.shape.rank))
        )
        for part in tf.nest.flatten(element)
        if part.dtype.is_floating
    ]
    if not broken:
        return element
    found = tf.reduce_any(tf.stack(broken), axis=0)
    return run_time.require(
        element,
        ~tf.reduce_any(found),
        "All inputs, targets and weights must be finite",
        "NaN or infinity in {} of {} examples",
        [tf.math.count_nonzero(found), tf.size(found)],
        "Fill the gaps, or leave these examples out",
    )


def _shape(spec: Any) -> tf.TensorShape:
    return getattr(spec, "shape", tf.TensorShape(None))
