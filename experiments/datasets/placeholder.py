"""A data set's shape without its data: to build networks and count."""

import numpy as np

from experiments.datasets import cards
from experiments.datasets import splits
from tf_mixup import _checks


def make_placeholder(
    name: str, *, num_examples: int = 8, image_size: int | None = None
) -> splits.Splits:
    """Returns a few random examples in the shape of a data set.

    Args:
        name: Of a data set whose card has a shape and classes; no folder.
        num_examples: Examples in each split.
        image_size: Side in pixels of photographs; that of the card if `None`.

    Returns:
        splits: Noise, with labels that have every value if examples suffice.

    Raises:
        ValueError: If the shape of the data set is not known.
    """
    card = cards.find(name)
    if card.shape is None or card.num_classes is None:
        raise _checks.refusal(
            "The shape of a data set must be known without it",
            f"name={name!r}",
            "Name one that is no folder",
        )
    rng = np.random.default_rng(0)
    shape = (num_examples, *card.shape)
    if card.kind == "photographs" and image_size is not None:
        shape = (num_examples, image_size, image_size, card.shape[-1])
    vocabulary: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    inputs: np.ndarray
    if len(card.shape) == 3:
        inputs = rng.integers(256, size=shape).astype(np.uint8)
        mean, std = ((value,) * card.shape[-1] for value in (127.5, 64.0))
    elif card.num_words:
        vocabulary = tuple(f"word{index}" for index in range(card.num_words))
        inputs = rng.integers(card.num_words, size=shape, dtype="int32")
    elif card.kind == "recordings":
        inputs = rng.uniform(-1, 1, shape).astype(np.float32)
    else:
        inputs = rng.standard_normal(shape, dtype=np.float32)
    labels = (np.arange(num_examples) % card.num_classes).astype(np.int32)
    examples = splits.Arrays(inputs, labels)
    return splits.clean(
        name=name,
        train=examples,
        validation=examples,
        test=examples,
        num_classes=card.num_classes,
        mean=mean,
        std=std,
        vocabulary=vocabulary,
    )
