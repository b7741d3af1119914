"""Arrays from what users pass: lists, tensors, pandas, nested structures.

A **column** holds one entry for each example: inputs, labels or weights. It is
an array, or a nested structure of arrays of the same length. `name` is the
argument's name in messages.
"""

import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import numbers

_SPLIT = r"(?:(?:train|training|val|valid|validation|test)_)?{}"
_SPLIT += r"(?:_(?:train|val|valid|test))?"
_INPUT_KEY = re.compile(
    _SPLIT.format(
        "(?:x|inputs?|images?|imgs?|pixel_values|features?|data|text|sentence"
        "|audio|video)"
    )
)
_LABEL_KEY = re.compile(
    _SPLIT.format("(?:y|labels?|label_ids|targets?|class|classes)")
)
_WEIGHT_KEY = re.compile(_SPLIT.format("sample_weights?"))
# Labels beside the label, such as the coarse ones of CIFAR-100.
_OTHER_LABEL = re.compile(".*(?:label|class|target).*")
# What data sets keep beside an example, and no model takes.
_NOTE_KEY = re.compile(r"(?:.*_)?(?:id|ids?x|index|file_?name|path|url)")


def find_keys(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the keys that name inputs and those that name labels.

    Example:
        >>> find_keys(["id", "image", "label"])
        (['image'], ['label'])
    """
    names = [key for key in keys if isinstance(key, str)]
    return (
        [key for key in names if _INPUT_KEY.fullmatch(key.lower())],
        [key for key in names if _LABEL_KEY.fullmatch(key.lower())],
    )


def split(element: Any, takes: Sequence[str] = ()) -> tuple[Any, Any, Any]:
    """Splits a batch, or a whole data set, into inputs, labels and weights.

    Args:
        element: Inputs alone; a tuple or list `(inputs,)`, `(inputs, labels)`
            or `(inputs, labels, weights)`; or a dictionary. One key of labels
            makes the rest inputs, as in `{"image": ..., "label": ...}`, but
            for notes such as `"id"`; without such a key the dictionary is
            inputs alone.
        takes: Names of a model's inputs: these keys are inputs.

    Returns:
        parts: Inputs, labels and weights; None for missing ones.
    """
    if isinstance(element, Mapping):
        return _split_keys(element, takes)
    if not isinstance(element, (tuple, list)):
        return element, None, None
    if not 1 <= len(element) <= 3:
        raise _checks.refusal(
            "A batch must be inputs, (inputs, labels) or (inputs, labels,"
            " weights)",
            f"{len(element)} parts",
            "Put several inputs in a dictionary, as `({'a': a, 'b': b},"
            " labels)`",
        )
    inputs, labels, weights = (*element, None, None)[:3]
    return inputs, labels, weights


def _split_keys(
    element: Mapping[str, Any], takes: Sequence[str]
) -> tuple[Any, Any, Any]:
    found, labels = find_keys(element)
    labels = [key for key in labels if key not in takes]
    if len(labels) != 1:
        return dict(element), None, None
    weights = [key for key in element if _WEIGHT_KEY.fullmatch(str(key))]
    if takes and set(takes) <= set(element):
        kept = list(takes)
    elif len(takes) == len(found) == 1:
        kept = found
    else:
        rest = [key for key in element if key not in (*labels, *weights)]
        kept = [
            key
            for key in rest
            if key in found
            or not _is_note(str(key).lower(), element[key], found)
        ]
    if not kept:
        return dict(element), None, None
    inputs = {key: element[key] for key in kept}
    single = len(kept) == 1 and kept[0] not in takes
    return (
        inputs[kept[0]] if single else inputs,
        element[labels[0]],
        _first(element, weights),
    )


def _is_note(key: str, value: Any, found: list[str]) -> bool:
    """Returns whether a key is beside the inputs, of which some are found."""
    if found:
        return bool(_NOTE_KEY.fullmatch(key) or _OTHER_LABEL.fullmatch(key))
    # Numbers such as "user_id" may be what a model looks up.
    dtype = getattr(value, "dtype", None)
    text = str(getattr(dtype, "name", dtype)).startswith(("str", "obj", "byt"))
    ids = key.endswith("_id") and not text
    return _NOTE_KEY.fullmatch(key) is not None and not ids


def _first(element: Mapping[str, Any], keys: list[str]) -> Any:
    return element[keys[0]] if keys else None


def align(
    inputs: Any, labels: Any, weights: Any, *, name: str, several: bool
) -> tuple[Any, Any, Any]:
    """Returns the three columns of a data set in memory as arrays.

    A list is ambiguous: it holds examples, which are stacked, or several
    inputs. It is examples if there are as many labels as items, or if all
    items have one shape. `several`, whether the model takes several inputs,
    comes first.
    """
    size = _length(labels)
    if size is None:
        size = _length(inputs)
    lists = isinstance(labels, list) and isinstance(inputs, list)
    if size is None and lists and len(labels) == len(inputs):
        size = len(labels)
    return (
        _column(inputs, size, name, several=several),
        _column(labels, size, name),
        None if weights is None else _column(weights, size, name),
    )


def _length(column: Any) -> int | None:
    """Returns the number of examples, if it is certain."""
    if column is None or (isinstance(column, list) and has_arrays(column)):
        return None
    if isinstance(column, list):
        return len(column)
    leaves = [leaf for leaf in keras.tree.flatten(column) if np.ndim(leaf)]
    return len(leaves[0]) if leaves else None


def has_arrays(items: Iterable[Any]) -> bool:
    """Returns whether an item is an array, and not a single number."""
    return any(hasattr(item, "__array__") and np.ndim(item) for item in items)


def _column(
    column: Any, size: int | None, name: str, *, several: bool = False
) -> Any:
    if column is None:
        return None
    if isinstance(column, Mapping):
        return {key: _column(each, size, name) for key, each in column.items()}
    if isinstance(column, tuple):
        return tuple(_column(each, size, name) for each in column)
    if not isinstance(column, list):
        return to_sliceable(column, name)
    if has_arrays(column) and (several or _are_inputs(column, size)):
        return [to_sliceable(item, name) for item in column]
    return _stack(column, name)


def _are_inputs(items: list[Any], size: int | None) -> bool:
    """Returns whether arrays in a list are several inputs, not examples."""
    shapes = {np.shape(item) for item in items}
    lengths = {shape[:1] for shape in shapes}
    if size is None:
        return len(shapes) > 1 and len(lengths) == 1
    return len(items) != size and lengths == {(size,)}


def _stack(items: list[Any], name: str) -> np.ndarray:
    """Returns examples of one shape as one array."""
    if not items:
        return np.zeros(0)
    try:
        return np.stack([to_numpy(item, name) for item in items])
    except ValueError as error:
        shapes = sorted({np.shape(to_numpy(item, name)) for item in items})
        raise _checks.refusal(
            f"Examples of `{name}` in a list must have one shape",
            f"a list of {len(items)} items of shapes"
            f" {', '.join(map(str, shapes[:3]))}",
            "Resize or pad them to one shape and write `np.stack(items)`; give"
            " several inputs as a dictionary",
        ) from error


def to_sliceable(leaf: Any, name: str) -> Any:
    """Returns an array-like whose slices `to_numpy` reads; files stay files."""
    if hasattr(leaf, "to_numpy") or not hasattr(leaf, "shape"):
        return to_numpy(leaf, name)
    check_dense(leaf, name)
    return leaf


def to_numpy(leaf: Any, name: str) -> np.ndarray:
    """Returns an array, tensor or pandas object of any library as NumPy."""
    check_dense(leaf, name)
    if hasattr(leaf, "detach"):
        # Of PyTorch, where a tensor may be on a device or need a gradient.
        leaf = leaf.detach().cpu()
    if hasattr(leaf, "to_numpy"):
        return leaf.to_numpy()
    return np.asarray(leaf)


def check_dense(leaf: Any, name: str) -> None:
    """Refuses a ragged, sparse or masked array or specification."""
    numbers.check_dense(leaf, f"Arrays of `{name}`")
