"""What a dataset must yield to be mixed: batches of inputs and labels."""

from typing import Any

import keras
import tensorflow as tf

from tf_mixup import checks


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
        if isinstance(dataset, keras.utils.PyDataset) or hasattr(
            dataset, "__next__"
        ):
            remedy = (
                "Wrap it with `tf.data.Dataset.from_generator` and"
                " `.apply(tf.data.experimental.assert_cardinality(n))`"
            )
        raise checks.refusal(
            "MixUp takes a batched tf.data.Dataset",
            f"a {type(dataset).__name__}",
            remedy,
        )
    _check_element(dataset.element_spec)
    length = int(dataset.cardinality())
    if length == tf.data.UNKNOWN_CARDINALITY:
        raise checks.refusal(
            "The dataset must know its number of batches: without it Keras"
            " runs a phantom step at the end of each epoch",
            "a dataset of unknown cardinality",
            "Write `.apply(tf.data.experimental.assert_cardinality(n))` before"
            " `.apply(mixup)`",
        )
    return length


def _check_element(spec: Any) -> None:
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise checks.refusal(
            "The dataset must yield (x, y) or (x, y, sample_weight)",
            f"elements of structure {tf.nest.map_structure(_shape, spec)}",
            'Map them first, e.g. `.map(lambda e: (e["image"], e["label"]))`',
        )
    shapes = [_shape(each) for each in tf.nest.flatten(spec)]
    ranks_known = all(shape.rank is not None for shape in shapes)
    leading = {shape[0] if shape.rank else 0 for shape in shapes if ranks_known}
    if not ranks_known or 0 in leading or len(leading - {None}) > 1:
        raise checks.refusal(
            "All parts of an element must be batches of the same rows",
            f"shapes {[str(shape) for shape in shapes]}",
            "Write `.batch(128)` before `.apply(mixup)`",
        )


def _shape(spec: Any) -> tf.TensorShape:
    return getattr(spec, "shape", tf.TensorShape(None))
