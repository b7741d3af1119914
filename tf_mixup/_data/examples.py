"""The one reader of examples: batches, whatever form the data come in.

`read` takes a batched `tf.data.Dataset`, arrays, lists, pandas objects, nested
inputs, a `keras.utils.PyDataset`, generators, generator functions and any
other iterable of batches. `name` is the argument's name in messages.
"""

import abc
import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._data import columns as columns_lib

# Data that do not know their length may be endless.
MOST_OF_UNKNOWN_LENGTH = 2**20


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        inputs: Array `(B, ...)`, or a nested structure of them.
        labels: Of the same examples; None where there are none.
        weights: `(B,)` or `(B, 1)`, as given; None where there are none.
    """

    inputs: Any
    labels: Any
    weights: Any

    @property
    def size(self) -> int:
        """Number of examples, B."""
        return len(keras.tree.flatten(self.inputs)[0])


def read(
    data: Any,
    *,
    name: str,
    labeled: bool | None = None,
    batch_size: int = 128,
    max_examples: int | None = None,
    model: keras.Model | None = None,
) -> "Examples":
    """Reads examples from any form.

    Args:
        data: Batched `tf.data.Dataset`, or another iterable of batches, of
            inputs, `(inputs, labels)`, `(inputs, labels, weights)` or
            dictionaries such as `{"image": ..., "label": ...}`; or one such
            element of all examples: arrays, lists of examples of one shape,
            pandas objects, or nested structures of arrays.
        name: Name of the argument.
        labeled: Whether labels are needed. False leaves labels and weights
            out; None takes them where they are.
        batch_size: Examples in a batch where `data` are arrays.
        max_examples: Examples to stop after, at least 1; None for all.
        model: The model that takes the inputs. It decides whether a list is
            several inputs, and which keys of a dictionary are inputs.

    Returns:
        examples: In batches, to be read several times if `data` can be.

    Raises:
        ValueError: If data are endless or not batched; while they are read,
            if there are none or their parts do not fit together.
    """
    if isinstance(data, Examples):
        return data
    batch_size = _checks.integer_at_least(
        "batch_size", batch_size, 1, remedy="Write 128"
    )
    if max_examples is not None:
        _checks.integer_at_least(
            "max_examples",
            max_examples,
            1,
            remedy="Write None to take all examples",
        )
    if labeled is False and _is_inputs(data, model):
        data = (data,)
    source = _find_source(data, name, batch_size, model)
    if source.endless and max_examples is None:
        raise _checks.refusal(
            f"The data `{name}` must come to an end",
            f"an endless {source.kind}",
            source.end,
        )
    return Examples(source, name, labeled, max_examples, model)


class Examples:
    """Examples in batches; made by `read`."""

    def __init__(
        self,
        source: "_Source",
        name: str,
        labeled: bool | None,
        max_examples: int | None,
        model: keras.Model | None,
    ) -> None:
        self.name = name
        self._source = source
        self._labeled = labeled
        self._max_examples = max_examples
        self._model = model
        self._takes = input_names(model)
        self._several = takes_several(model)
        self._scanned: tuple[int, Any] | None = None
        self._kept: list[Batch] | None = None
        if isinstance(source, _Dataset):
            # Inside of a `map` AutoGraph would add its traceback.
            _check_numbers(self._split(source.data.element_spec).labels, name)

    def __repr__(self) -> str:
        return f"<Examples `{self.name}` from a {self._source.kind}>"

    @property
    def num_batches(self) -> int:
        """Number of batches; counted in a pass where it is not known."""
        known = self._known_length()
        return self._scan()[0] if known is None else known

    def batches(self, *, verbose: int | str = 0) -> Iterator[Batch]:
        """Yields the batches, as NumPy; a `verbose` of 1 shows a progress bar.

        Raises:
            ValueError: If there are no examples, or more than 2**20 in data
                of unknown length; if parts of a batch do not fit together; or
                if an iterator is read a second time.
        """
        bar = progress_bar(self._known_length(), verbose)
        count = 0
        batches = self._read() if self._kept is None else iter(self._kept)
        for number, batch in enumerate(batches):
            yield batch
            count += 1
            if bar is not None:
                bar.update(number + 1)
        if bar is not None and bar.target is None:
            bar.update(count, finalize=True)
        if not count:
            raise _checks.refusal(
                f"There must be examples in `{self.name}`",
                f"a {self._source.kind} without any",
                "Look at how the data are made",
            )

    def dataset(self) -> tf.data.Dataset:
        """Returns the batches as a dataset that knows their number.

        An iterator, which can be read once, is kept in memory for it. Elements
        are `(inputs,)`, `(inputs, labels)` or `(inputs, labels, weights)`.
        """
        source = self._source
        known = isinstance(source, _Dataset) and source.ranks_known
        if known and self._max_examples is None:
            count = self.num_batches
            if not count:
                next(self.batches())
            choose = tf.autograph.experimental.do_not_convert(self._parts)
            data = source.data.map(choose)
        else:
            count, spec = self._scan()
            data = tf.data.Dataset.from_generator(
                lambda: map(_present, self.batches()), output_signature=spec
            )
        return data.apply(tf.data.experimental.assert_cardinality(count))

    def _known_length(self) -> int | None:
        return self._source.num_batches if self._max_examples is None else None

    def _parts(self, *element: Any) -> tuple[Any, ...]:
        """Returns the parts of a dataset's element, as a tuple."""
        nested = isinstance(self._source.data.element_spec, tuple)
        return _present(self._split(element if nested else element[0]))

    def _split(self, element: Any) -> Batch:
        """Returns the wanted parts of an element."""
        if self._labeled is False and _is_inputs(element, self._model):
            return Batch(element, None, None)
        inputs, labels, weights = columns_lib.split(element, self._takes)
        if self._labeled is False:
            labels = None
        elif labels is None:
            weights = None
        if self._labeled and labels is None:
            raise _checks.refusal(
                f"Examples of `{self.name}` must come with their labels",
                f"a {self._source.kind} of inputs alone",
                "Write `(inputs, labels)`, or give batches of both",
            )
        return Batch(inputs, labels, weights)

    def _read(self) -> Iterator[Batch]:
        left = self._max_examples
        count = 0
        for element in self._source.elements():
            batch = self._to_batch(element)
            if not batch.size:
                continue
            if left is not None:
                batch = _take(batch, left)
                left -= batch.size
            count += batch.size
            self._check_count(count)
            yield batch
            if left == 0:
                return

    def _check_count(self, count: int) -> None:
        unknown = self._source.endless is None and self._max_examples is None
        if unknown and count > MOST_OF_UNKNOWN_LENGTH:
            raise _checks.refusal(
                f"The data `{self.name}` must come to an end: they do not know"
                " their length, and are taken for endless after 2**20"
                " examples",
                f"a {self._source.kind} of more than"
                f" {MOST_OF_UNKNOWN_LENGTH} examples",
                self._source.end,
            )

    def _to_batch(self, element: Any) -> Batch:
        columns = columns_lib.align(
            *self._split(element), name=self.name, several=self._several
        )
        inputs, labels, weights = (
            _map(lambda leaf: columns_lib.to_numpy(leaf, self.name), each)
            for each in columns
        )
        batch = Batch(inputs, _map(_infer_type, labels), weights)
        self._check_sizes(batch)
        _check_numbers(batch.labels, self.name)
        return batch

    def _check_sizes(self, batch: Batch) -> None:
        shapes = [
            [np.shape(leaf) for leaf in keras.tree.flatten(part)]
            for part in batch
            if part is not None
        ]
        leading = {shape[:1] for part in shapes for shape in part}
        if len(leading) == 1 and leading != {()}:
            return
        counts = "" if () in leading else "Give as many of each. "
        raise _checks.refusal(
            f"Parts of `{self.name}` must be batches of the same number of"
            " examples",
            " and ".join(_describe(part) for part in shapes),
            counts + self._source.batched,
        )

    def _scan(self) -> tuple[int, Any]:
        """Returns the number of batches, and their specification."""
        if self._scanned is None:
            count, spec = 0, None
            kept: list[Batch] | None = [] if self._source.once else None
            for batch in self.batches():
                spec = _merge(spec, _present(batch), self.name)
                count += 1
                if kept is not None:
                    kept.append(batch)
            self._scanned = count, spec
            self._kept = kept
        return self._scanned


def input_names(model: keras.Model | None) -> tuple[str, ...]:
    """Returns the keys of a model's inputs, if they are a dictionary."""
    structure = _structure(model)
    return tuple(structure) if isinstance(structure, Mapping) else ()


def takes_several(model: keras.Model | None) -> bool:
    """Returns whether a model takes a list of several inputs."""
    structure = _structure(model)
    return isinstance(structure, (list, tuple)) and len(structure) > 1


def _is_inputs(element: Any, model: keras.Model | None) -> bool:
    """Returns whether a tuple holds a model's inputs, and not (x, y)."""
    structure = _structure(model)
    return (
        isinstance(structure, (list, tuple))
        and isinstance(element, tuple)
        and 1 < len(structure) == len(element)
        and not keras.tree.is_nested(element[0])
    )


def check_batched(spec: Any, *, name: str) -> None:
    """Refuses a dataset whose elements are single examples.

    Shapes of unknown rank pass, as they can be batches.
    """
    shapes = [_shape(leaf) for leaf in tf.nest.flatten(spec)]
    shapes = [shape for shape in shapes if shape.rank is not None]
    leading = {shape[0] if shape.rank else 0 for shape in shapes}
    if 0 in leading or len(leading - {None}) > 1:
        raise _checks.refusal(
            f"The dataset `{name}` must be of batches of examples",
            f"shapes {[str(shape) for shape in shapes]}",
            "Write `dataset.batch(128)`",
        )


def _shape(spec: Any) -> tf.TensorShape:
    return getattr(spec, "shape", tf.TensorShape(None))


def _structure(model: keras.Model | None) -> Any:
    """Returns a model's symbolic inputs; None where they are not defined."""
    if isinstance(model, keras.Sequential):
        return None
    try:
        return getattr(model, "input", None)
    except (AttributeError, ValueError):
        return None


class _Source(abc.ABC):
    """A source of elements.

    Attributes:
        kind: Name in messages.
        endless: Whether it never ends; None if that is not known.
        num_batches: None if it is not known.
        once: Whether it can be read one time only.
        batched: How to make batches.
        end: How to make it end.
    """

    kind = "data set"
    endless: bool | None = None
    num_batches: int | None = None
    once = False
    batched = "Yield batches of examples"
    end = "Write it so that it stops, or give arrays"
    data: Any = None

    @abc.abstractmethod
    def elements(self) -> Iterator[Any]:
        """Yields inputs, tuples or dictionaries."""


class _Dataset(_Source):
    """A `tf.data.Dataset`."""

    kind = "tf.data.Dataset"
    batched = "A dataset of single examples needs `dataset.batch(128)`"
    end = (
        "Leave `.repeat()` out, or write `.take(n)`; where the number of"
        " batches is known write"
        " `.apply(tf.data.experimental.assert_cardinality(n))`"
    )

    def __init__(self, data: tf.data.Dataset, name: str) -> None:
        self._name = name
        self.data = data
        length = int(data.cardinality())
        self.endless = length == tf.data.INFINITE_CARDINALITY
        if length == tf.data.UNKNOWN_CARDINALITY:
            self.endless = None
        if length >= 0:
            self.num_batches = length
        self.ranks_known = all(
            _shape(leaf).rank is not None
            for leaf in tf.nest.flatten(data.element_spec)
        )
        for leaf in tf.nest.flatten(data.element_spec):
            columns_lib.check_dense(leaf, name)
        check_batched(data.element_spec, name=name)

    def elements(self) -> Iterator[Any]:
        try:
            yield from self.data
        except tf.errors.OpError as error:
            # What the consumer raises does not pass through here.
            raise _checks.refusal(
                f"All examples of `{self._name}` must be readable",
                error.message.strip().splitlines()[0].rstrip("."),
                "Look for damaged files, and at what the dataset's own"
                " functions do",
            ) from error


class _Arrays(_Source):
    """Columns of all examples, in memory or in a file."""

    kind = "set of arrays"
    endless = False
    batched = "Give arrays with one entry for each example"

    def __init__(self, columns: tuple[Any, Any, Any], batch_size: int) -> None:
        # None has no slices.
        self._columns = [each for each in columns if each is not None]
        self._parts = [each is not None for each in columns]
        self._batch_size = batch_size
        leaves = keras.tree.flatten(self._columns)
        sizes = {leaf.shape[0] if len(leaf.shape) else 0 for leaf in leaves}
        self._size = max(sizes, default=0)
        self._whole = len(sizes) == 1
        self.num_batches = -(-self._size // batch_size)

    def elements(self) -> Iterator[Any]:
        # Sizes that differ are refused at once, not at the last batch.
        step = self._batch_size if self._whole else max(self._size, 1)
        for start in range(0, self._size, step):
            at = slice(start, start + step)
            parts = iter(
                keras.tree.map_structure(
                    lambda leaf, at=at: leaf[at] if leaf.shape else leaf,
                    self._columns,
                )
            )
            yield tuple(next(parts) if has else None for has in self._parts)


class _PyDataset(_Source):
    """A `keras.utils.PyDataset`."""

    kind = "PyDataset"
    batched = "Return batches of examples from `__getitem__`"
    end = "Define `__len__`, the number of batches"

    def __init__(self, data: Any, name: str) -> None:
        self.data = data
        try:
            self.num_batches = data.num_batches
        except NotImplementedError as error:
            raise _checks.refusal(
                f"The PyDataset `{name}` must know its number of batches",
                f"a {type(data).__name__} without `num_batches`",
                self.end,
            ) from error
        self.endless = self.num_batches is None

    def elements(self) -> Iterator[Any]:
        indices: Iterable[int] = itertools.count()
        if self.num_batches is not None:
            indices = range(self.num_batches)
        for index in indices:
            yield self.data[index]


class _Iterable(_Source):
    """Anything that gives batches when it is iterated over."""

    kind = "iterable"

    def __init__(self, start: Callable[[], Iterator[Any]], data: Any) -> None:
        self._start = start
        self.kind = type(data).__name__
        if hasattr(data, "__len__"):
            self.endless, self.num_batches = False, len(data)

    def elements(self) -> Iterator[Any]:
        return self._start()


class _Iterator(_Source):
    """An iterator or generator, which can be read one time only."""

    kind = "generator"
    once = True

    def __init__(self, data: Iterator[Any], name: str) -> None:
        self._data, self._name, self._used = data, name, False

    def elements(self) -> Iterator[Any]:
        if self._used:
            raise _checks.refusal(
                f"The data `{self._name}` are read more than once",
                "a generator, which gives its batches one time only",
                "Give the function that makes it, or wrap that with"
                " `tf.data.Dataset.from_generator`",
            )
        self._used = True
        return self._data


def _find_source(
    data: Any, name: str, batch_size: int, model: keras.Model | None
) -> _Source:
    if isinstance(data, tf.data.Dataset):
        return _Dataset(data, name)
    if isinstance(data, keras.utils.PyDataset):
        return _PyDataset(data, name)
    if hasattr(data, "__next__"):
        return _Iterator(data, name)
    if _holds_batches(data):
        return _Iterable(lambda: iter(data), data)
    if callable(data) and not isinstance(data, keras.Layer):
        return _Iterable(lambda: iter(data()), data)
    if _holds_all(data):
        return _Arrays(_read_columns(data, name, model), batch_size)
    raise _checks.refusal(
        f"`{name}` must be batches of examples, or arrays of all of them",
        f"a {type(data).__name__}",
        "Give a batched `tf.data.Dataset`, or arrays as `(inputs, labels)`",
    )


def _holds_all(data: Any) -> bool:
    """Returns whether it is an array, or a nested structure of arrays."""
    return isinstance(data, (list, tuple, Mapping)) or hasattr(data, "shape")


def _holds_batches(data: Any) -> bool:
    """Returns whether iterating gives batches, not examples or columns."""
    if isinstance(data, list):
        return bool(data) and (
            isinstance(data[0], Mapping)
            or (isinstance(data[0], tuple) and columns_lib.has_arrays(data[0]))
        )
    return (
        not _holds_all(data)
        and hasattr(data, "__iter__")
        and (not isinstance(data, (str, bytes)))
    )


def _read_columns(
    data: Any, name: str, model: keras.Model | None
) -> tuple[Any, Any, Any]:
    if isinstance(data, list):
        # A list of examples has no labels.
        parts: tuple[Any, Any, Any] = (data, None, None)
    else:
        parts = columns_lib.split(data, input_names(model))
    if any(leaf is None for leaf in keras.tree.flatten(parts[0])):
        raise _checks.refusal(
            f"All inputs of `{name}` must be given, optional ones too",
            "None as an input",
            "Give the model of the other inputs, as `keras.Model(inputs,"
            " model(inputs))`",
        )
    return columns_lib.align(*parts, name=name, several=takes_several(model))


def _map(function: Callable[[Any], Any], part: Any) -> Any:
    """Returns `function` of each array of a part; None for None."""
    if part is None:
        return None
    return keras.tree.map_structure(function, part)


def _infer_type(leaf: np.ndarray) -> np.ndarray:
    """Returns numbers in an array of objects as an array of numbers."""
    return np.array(leaf.tolist()) if leaf.dtype.kind == "O" else leaf


def _check_numbers(labels: Any, name: str) -> None:
    """Refuses labels of text, or such a specification."""
    leaves = [] if labels is None else keras.tree.flatten(labels)
    types = [getattr(x.dtype, "as_numpy_dtype", x.dtype) for x in leaves]
    if {np.dtype(each).kind for each in types} & set("OSU"):
        raise _checks.refusal(
            f"Labels of `{name}` must be numbers",
            "labels of text",
            "Number the classes from 0, for example by"
            " `keras.layers.StringLookup(vocabulary=names,"
            " num_oov_indices=0)`",
        )


def _describe(shapes: list[tuple[int, ...]]) -> str:
    """Returns the shapes of one part, for a message."""
    few = ", ".join(str(shape) for shape in shapes[:3])
    return f"shapes {few}" if len(shapes) > 1 else f"shape {few}"


def _take(batch: Batch, count: int) -> Batch:
    return Batch(*[_map(lambda leaf: leaf[:count], part) for part in batch])


def _present(batch: Batch) -> tuple[Any, ...]:
    """Returns the parts that are not None, in a form for tf.data."""
    if batch.labels is None:
        # A pair is inputs and labels.
        batch = batch._replace(weights=None)
    return tuple(_to_tuples(part) for part in batch if part is not None)


def _to_tuples(part: Any) -> Any:
    # tf.data would make one tensor of a list.
    if isinstance(part, Mapping):
        return {key: _to_tuples(each) for key, each in part.items()}
    if isinstance(part, (list, tuple)):
        return tuple(map(_to_tuples, part))
    return part


def _merge(spec: Any, parts: Any, name: str) -> Any:
    """Returns the common specification of all batches so far."""
    found = tf.nest.map_structure(_spec_of, parts)
    if spec is None:
        return found
    try:
        return tf.nest.map_structure(_common, spec, found)
    except (TypeError, ValueError) as error:
        raise _checks.refusal(
            f"All batches of `{name}` must have one structure and one rank",
            f"{found} after {spec}",
            "Yield the same parts, of the same types, in each batch",
        ) from error


def _spec_of(array: np.ndarray) -> tf.TensorSpec:
    text = array.dtype.kind in "OSU"
    dtype = tf.string if text else tf.as_dtype(array.dtype)
    return tf.TensorSpec((None, *array.shape[1:]), dtype)


def _common(one: tf.TensorSpec, other: tf.TensorSpec) -> tf.TensorSpec:
    if one.dtype != other.dtype or one.shape.rank != other.shape.rank:
        raise ValueError("no common specification")
    return one.most_specific_common_supertype([other])


def progress_bar(length: int | None, verbose: int | str) -> Any:
    """Returns Keras' progress bar; None where `verbose` shows nothing."""
    if verbose not in (1, 2, "auto"):
        return None
    return keras.utils.Progbar(length, verbose=1, unit_name="batch")
