"""A data set's shape without its data: to build networks and count."""

import numpy as np

from experiments.datasets import gaussians
from experiments.datasets import speech
from experiments.datasets import splits
from experiments.datasets.splits import Arrays
from experiments.datasets.splits import Splits
from tf_mixup import _checks

# Input shape and classes of images; for sentences their longest and the words
# that Kim (2014) counted, which a split of one's own may miss by some.
IMAGES = {
    "cifar10": ((32, 32, 3), 10),
    "cifar100": ((32, 32, 3), 100),
    "digits": ((8, 8, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    # As networks see its images, which differ in size.
    "imagenet2012": ((224, 224, 3), 1000),
    "mnist": ((28, 28, 1), 10),
    "stl10": ((96, 96, 3), 10),
    "svhn_cropped": ((32, 32, 3), 10),
}
SENTENCES = {
    "imdb": (400, 30_000, 2),
    "mr": (56, 18_765, 2),
    "sst2": (53, 16_185, 2),
    "trec": (37, 9_592, 6),
}
# Features, sex as three, and the classes that occur.
TABLES = {
    "rings": (2, 2),
    "uci:abalone": (10, 28),
    "uci:arcene": (10_000, 2),
    "uci:arrhythmia": (279, 13),
    "uci:htru2": (8, 2),
    "uci:iris": (4, 3),
    "uci:phishing": (30, 2),
}
# Classes of recordings.
RECORDINGS = {
    speech.TFDS_NAME: 12,
    speech.COMMANDS: 30,
    speech.DIGITS: 10,
    speech.DIGITS + speech.BY_SPEAKER: 10,
}


def make_placeholder(name: str, *, num_rows: int = 8) -> Splits:
    """Returns a few random rows in the shape of a data set.

    Args:
        name: Of a data set that `load` knows, or `imagenet2012`; not a
            folder.
        num_rows: In each split.

    Returns:
        splits: Noise, with labels that have every value if rows suffice.

    Raises:
        ValueError: If the shape of the data set is not known.
    """
    rng = np.random.default_rng(0)
    vocabulary: tuple[str, ...] = ()
    inputs: np.ndarray
    if name in IMAGES:
        shape, num_classes = IMAGES[name]
        inputs = rng.integers(256, size=(num_rows, *shape)).astype(np.uint8)
    elif name in SENTENCES:
        length, num_words, num_classes = SENTENCES[name]
        vocabulary = tuple(f"word{index}" for index in range(num_words))
        inputs = rng.integers(num_words, size=(num_rows, length), dtype="int32")
    elif name in TABLES or name.startswith(gaussians.PREFIX):
        size, num_classes = TABLES.get(name, (gaussians.DIMENSIONS, 2))
        inputs = rng.standard_normal((num_rows, size), dtype=np.float32)
    elif name in RECORDINGS:
        num_classes = RECORDINGS[name]
        inputs = rng.uniform(-1, 1, (num_rows, speech.RATE)).astype(np.float32)
    else:
        raise _checks.refusal(
            "The shape of a data set must be known without it",
            f"name={name!r}",
            "It is of"
            f" {', '.join((*IMAGES, *SENTENCES, *TABLES, *RECORDINGS))} and"
            " gaussians:MU",
        )
    channels = inputs.shape[-1] if name in IMAGES else 1
    rows = Arrays(inputs, (np.arange(num_rows) % num_classes).astype(np.int32))
    return splits.clean(
        name=name,
        train=rows,
        validation=rows,
        test=rows,
        num_classes=num_classes,
        mean=(127.5,) * channels if name in IMAGES else (0.0,),
        std=(64.0,) * channels if name in IMAGES else (1.0,),
        vocabulary=vocabulary,
    )
