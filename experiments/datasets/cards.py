"""One card for each data set: all that is known of it without its files.

A new image data set of TensorFlow Datasets is one card here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from tf_mixup import _checks


class TextFiles(NamedTuple):
    """Where the sentences of a data set are.

    Attributes:
        files: As their authors publish them, the training file first.
        max_words: Words of a sentence; what follows is cut off.
        tfds: Name in TensorFlow Datasets and column of the labels, if any.
        folders: Names that the folder of the files may have; empty for the
            name of the data set.
    """

    files: tuple[str, ...]
    max_words: int = 64
    tfds: tuple[str, str] | None = None
    folders: tuple[str, ...] = ()


class TableFiles(NamedTuple):
    """How a table is published.

    Attributes:
        files: The names that each of its files may have.
        num_features: Columns before the class, which is the last one.
        openml: Name of its first version there; empty where it is not known.
        words: Column -> the words that it holds in place of numbers.
    """

    files: tuple[tuple[str, ...], ...]
    num_features: int
    openml: str = ""
    words: Mapping[int, tuple[str, ...]] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A data set, or a kind of them that is named `PREFIX:REST`.

    Attributes:
        name: Of `--dataset`; of a kind with the colon.
        title: For readers.
        kind: `"images"`, `"photographs"` (streamed), `"sentences"`,
            `"tables"`, `"recordings"`, `"rings"` or `"gaussians"`.
        shape: Of an input, such as `(H, W, C)`; None where files decide.
        num_classes: K; None where files decide.
        pixels: Mean and standard deviation of each channel over the official
            training images, in [0, 1]; None to take those of the pixels that
            are loaded, which depend on the run's split.
        flip: Whether mirrored images keep their class.
        num_words: Of the vocabulary, as Kim (2014) counted them.
        source: Where sentences or a table are.
        rest: What follows the colon of a kind.
    """

    name: str
    title: str
    kind: str
    shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    flip: bool = True
    num_words: int = 0
    source: Any = None
    rest: str = ""


def _images(
    name: str, title: str, side: int, channels: int, **more: Any
) -> Card:
    more = {"num_classes": 10, "shape": (side, side, channels), **more}
    return Card(name=name, title=title, kind="images", **more)


def _sentences(name: str, title: str, length: int, **more: Any) -> Card:
    return Card(
        name=name, title=title, kind="sentences", shape=(length,), **more
    )


def _table(name: str, columns: int, num_classes: int, source: Any) -> Card:
    """Returns the card of a UCI table, whose words become more columns."""
    return Card(
        name=f"uci:{name}",
        title=f"UCI {name}",
        kind="tables",
        shape=(columns,),
        num_classes=num_classes,
        source=source,
    )


def _recordings(name: str, title: str, **more: Any) -> Card:
    return Card(
        name=name, title=title, kind="recordings", shape=(16_000,), **more
    )


# The first release of Speech Commands, unpacked: the mixup paper's 30 words.
COMMANDS = "speech:speech_commands_v0.01"
# Recordings of the Free Spoken Digit Dataset.
SPOKEN_DIGITS = "speech:../speech/fsdd_test+../speech/fsdd_train_subset.zip"
BY_SPEAKER = "@speaker"

CARDS = (
    _images("digits", "scikit-learn's digits", 8, 1, flip=False),
    Card(
        name="rings",
        title="Two rings",
        kind="rings",
        shape=(2,),
        num_classes=2,
    ),
    _images(
        *("cifar10", "CIFAR-10", 32, 3),
        pixels=((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
    _images(
        *("cifar100", "CIFAR-100", 32, 3),
        num_classes=100,
        pixels=((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ),
    _images(
        *("fashion_mnist", "Fashion-MNIST", 28, 1),
        pixels=((0.2860,), (0.3530,)),
    ),
    _images(
        *("mnist", "MNIST", 28, 1), pixels=((0.1307,), (0.3081,)), flip=False
    ),
    _images(
        *("stl10", "STL-10", 96, 3),
        pixels=((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)),
    ),
    _images(
        *("svhn_cropped", "SVHN", 32, 3),
        pixels=((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        flip=False,
    ),
    _sentences(
        *("trec", "TREC", 37),
        num_classes=6,
        num_words=9_592,
        source=TextFiles(
            ("train_5500.label", "TREC_10.label"), tfds=("trec", "label-coarse")
        ),
    ),
    _sentences(
        *("mr", "MR", 56),
        num_classes=2,
        num_words=18_765,
        source=TextFiles(("rt-polarity.pos", "rt-polarity.neg")),
    ),
    _sentences(
        *("imdb", "IMDB", 400),
        num_classes=2,
        num_words=30_000,
        source=TextFiles(
            ("train.jsonl.gz", "test.jsonl.gz"),
            400,
            tfds=("imdb_reviews", "label"),
            folders=("imdb", "imdb_subset", "aclImdb"),
        ),
    ),
    # GLUE's SST-2 has phrases and no test labels, so it is not this one.
    _sentences(
        *("sst2", "SST-2", 53),
        num_classes=2,
        num_words=16_185,
        source=TextFiles(
            ("stsa.binary.train", "stsa.binary.test", "stsa.binary.dev")
        ),
    ),
    _table(
        *("abalone", 10, 28),
        TableFiles((("abalone.data",),), 8, "abalone", {0: ("F", "I", "M")}),
    ),
    # UCI's test set has no labels.
    _table(
        *("arcene", 10_000, 2),
        TableFiles(
            (
                ("arcene_train.data", "arcene_train.data.gz"),
                ("arcene_train.labels",),
                ("arcene_valid.data", "arcene_valid.data.gz"),
                ("arcene_valid.labels",),
            ),
            10_000,
            "arcene",
        ),
    ),
    _table(
        *("arrhythmia", 279, 13),
        TableFiles((("arrhythmia.data",),), 279, "arrhythmia"),
    ),
    _table("htru2", 8, 2, TableFiles((("HTRU_2.csv",),), 8)),
    _table(
        *("iris", 4, 3),
        TableFiles(
            (("iris.data",),),
            4,
            "iris",
            {4: ("Iris-setosa", "Iris-versicolor", "Iris-virginica")},
        ),
    ),
    _table(
        *("phishing", 30, 2),
        TableFiles(
            (("phishing*.arff", "Training Dataset.arff"),),
            30,
            "PhishingWebsites",
        ),
    ),
    # Ten words, silence and all other words.
    _recordings("speech_commands", "Speech Commands", num_classes=12),
    # Shape as networks see its images, which differ in size.
    Card(
        name="imagenet2012",
        title="ImageNet",
        kind="photographs",
        shape=(224, 224, 3),
        num_classes=1000,
    ),
    _recordings(COMMANDS, "Speech Commands of 30 words", num_classes=30),
    _recordings(SPOKEN_DIGITS, "Spoken digits", num_classes=10),
    _recordings(
        SPOKEN_DIGITS + BY_SPEAKER,
        "Spoken digits of a new speaker",
        num_classes=10,
    ),
    _recordings(
        "speech:",
        "Recordings",
        rest="PATH for wav files LABEL_SPEAKER_NUMBER.wav or LABEL/*.wav",
    ),
    Card(
        name="folder:",
        title="Images of a folder",
        kind="images",
        rest="PATH for images in a folder for each class",
    ),
    Card(
        name="imagefolder:",
        title="Photographs of a folder",
        kind="photographs",
        shape=(224, 224, 3),
        rest="PATH for photographs that do not fit into memory",
    ),
    Card(
        name="gaussians:",
        title="Two Gaussians",
        kind="gaussians",
        shape=(300,),
        num_classes=2,
        rest="MU for two classes of features whose means differ by MU",
    ),
)
_BY_NAME = {card.name: card for card in CARDS}
# Data sets that are not asked for by a path or a number.
NAMES = tuple(
    card.name
    for card in CARDS
    if not card.name.startswith("speech:") and not card.rest
)


def find(name: str) -> Card:
    """Returns the card of a data set.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> find("folder:photos").title
        'Images of a folder'
    """
    kind = name[: name.find(":") + 1]
    card = _BY_NAME.get(name) or _BY_NAME.get(kind)
    if card is None:
        raise _checks.refusal(
            f"A data set must be one of {describe()}",
            f"name={name!r}",
            "Put images of your own into folders named by class",
        )
    return card


def describe() -> str:
    """Returns the names that a data set may have, in words."""
    kinds = [card.name + card.rest for card in CARDS if card.rest]
    return ", ".join([*NAMES, *kinds[:-1]]) + f", or {kinds[-1]}"
