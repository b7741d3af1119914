"""Sentences as word ids, read from the sets' own files or TFDS.

Shapes: N sentences of L words, padded.
"""

import gzip
import json
import pathlib
import re
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.datasets import cards
from experiments.datasets import prepared
from experiments.datasets import splits
from experiments.datasets.prepared import DataDir
from tf_mixup import _checks
from tf_mixup._data import folders

# In the order of TFDS.
TREC_CLASSES = ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")
# Share of a set without test split that is its test set.
_TEST_DIVISOR = 10
# Streams 0 and 1 of a seed belong to `splits`.
_TEST_STREAM = 2

Parse = Callable[[str], tuple[str, int]]


def load(
    name: str,
    *,
    data_dir: DataDir = None,
    download: bool = False,
    seed: int = 0,
    **counts: Any,
) -> splits.Splits:
    """Loads a set of sentences, as ids of the words of its training examples.

    `"trec"` (six kinds of questions), `"mr"` (film reviews' sentences),
    `"sst2"` (sentences of the Stanford treebank) and `"imdb"` (film
    reviews). TREC and IMDB have a test set, and validation is carved from
    training. MR has none: a tenth of it, drawn by the seed, is the test set.
    SST-2 has a validation set of its own, of which `num_validation` examples
    are drawn.

    The files that its card names are looked for in the folder NAME of
    `data_dir`, of `data_dir/text` and of `data_dir/../text`; IMDB also in
    `imdb_subset` and `aclImdb`, there also as `train/pos/*.txt` and so on.
    Where there are none, TREC and IMDB are read from TFDS. Other arguments are
    those of `datasets.load`.

    Returns:
        splits: Inputs are int32 ids `(N, L)`, L the length of the longest
            training sentence and at most the card's `max_words`. Id 0 is
            padding, 1 an unknown word, and the others are in the order of
            frequency.

    Raises:
        FileNotFoundError: If the set is not there; says where it looked.
        ValueError: If a file is empty or a line in it is none of its kind.
    """
    parts = _read(name, data_dir, download)
    if "test" not in parts:
        parts = _hold_out_test(parts["train"], seed)
    num_classes = int(parts["train"].labels.max()) + 1
    train, validation = splits.carve(
        parts["train"],
        own=parts.get("validation"),
        seed=seed,
        **counts,
    )
    vectorize = _learn_words(train.inputs, cards.find(name).source.max_words)
    train, validation, test = (
        part._replace(inputs=_to_ids(part.inputs, vectorize))
        for part in (train, validation, parts["test"])
    )
    return splits.clean(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        mean=(0.0,),
        std=(1.0,),
        vocabulary=tuple(map(str, vectorize.get_vocabulary())),
    )


def clean(sentence: str) -> str:
    """Returns a sentence in lower case, with a space between any two words.

    As Kim does, but lower case also in TREC: letters, digits and some marks
    stay, marks are words, and so are the ends of contractions.

    Example:
        >>> clean("It's (not) what you'd expect...")
        "it 's ( not ) what you 'd expect"

    References:
        Kim. Convolutional Neural Networks for Sentence Classification. EMNLP
        2014. https://arxiv.org/abs/1408.5882
    """
    # The line breaks of IMDB.
    sentence = sentence.replace("<br />", " ")
    sentence = re.sub(r"[^a-z0-9(),!?'`]", " ", sentence.lower())
    sentence = re.sub(r"('s|'ve|n't|'re|'d|'ll)", r" \1", sentence)
    sentence = re.sub(r"([(),!?])", r" \1 ", sentence)
    return " ".join(sentence.split())


def _learn_words(
    sentences: np.ndarray, max_words: int
) -> keras.layers.TextVectorization:
    """Returns what turns sentences into ids of the words of these ones."""
    longest = max(len(sentence.split()) for sentence in sentences)
    vectorize = keras.layers.TextVectorization(
        standardize=None, output_sequence_length=min(longest, max_words)
    )
    vectorize.adapt(tf.constant(sentences))
    return vectorize


def _to_ids(
    sentences: np.ndarray, vectorize: keras.layers.TextVectorization
) -> np.ndarray:
    """Returns int32 ids `(N, L)`."""
    ids = vectorize(tf.constant(sentences, tf.string))
    return np.asarray(ids, np.int32)


def _hold_out_test(part: splits.Arrays, seed: int) -> dict[str, splits.Arrays]:
    """Returns a tenth of the sentences, drawn by the seed, as the test set."""
    rng = np.random.default_rng([seed, _TEST_STREAM])
    order = rng.permutation(len(part.labels))
    size = len(order) // _TEST_DIVISOR
    return {"train": part.take(order[size:]), "test": part.take(order[:size])}


def _read(
    name: str, data_dir: DataDir, download: bool
) -> dict[str, splits.Arrays]:
    """Reads `train` and, of a set that has them, `test` and `validation`."""
    source: cards.TextFiles = cards.find(name).source
    root = pathlib.Path(data_dir or ".")
    places = [
        parent / folder
        for parent in (root, root / "text", root / ".." / "text")
        for folder in source.folders or (name,)
    ]
    for folder in places:
        files = [folder / file for file in source.files]
        if all(file.is_file() for file in files):
            return _read_files(name, files)
        if name == "imdb" and (folder / "train" / "pos").is_dir():
            return {
                part: _read_reviews(folder / part) for part in ("train", "test")
            }
    if source.tfds is not None:
        found = _read_tfds(*source.tfds, data_dir, download)
        if found:
            return found
    remedy = "" if source.tfds is None else " or add --download"
    raise FileNotFoundError(
        f"The files {', '.join(source.files)} of `{name}` must be in one"
        f" folder. Received: data_dir={str(data_dir)!r}; looked in"
        f" {', '.join(map(str, places))}. Put them into one of these"
        f" folders{remedy}."
    )


def _read_files(
    name: str, files: Sequence[pathlib.Path]
) -> dict[str, splits.Arrays]:
    """Reads the files of a set."""
    if name == "mr":
        positive = _read_file(files[0], lambda line: (line, 1))
        negative = _read_file(files[1], lambda line: (line, 0))
        pairs = zip(positive, negative, strict=True)
        return {"train": splits.Arrays(*map(np.concatenate, pairs))}
    parts = ("train", "test", "validation")
    return {
        part: _read_file(file, _PARSERS[name])
        for part, file in zip(parts, files, strict=False)
    }


def _read_file(path: pathlib.Path, parse: Parse) -> splits.Arrays:
    """Reads a file of a labeled sentence in each line."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    # `clean` drops what is not ASCII, so this encoding is right for all. Not
    # splitlines(), for which some bytes within a sentence end a line.
    lines = data.decode("latin-1").removesuffix("\n").split("\n")
    examples = []
    for number, line in enumerate(lines if data else [], start=1):
        try:
            sentence, label = parse(line)
            if not sentence.strip():
                raise ValueError("no words")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _checks.refusal(
                "Each line must have a label and a sentence",
                f"line {number} of {path.name}: {line[:60]!r}",
                "Take the file as it was published",
            ) from error
        examples.append((sentence, label))
    return _to_arrays(examples, path)


def _read_reviews(folder: pathlib.Path) -> splits.Arrays:
    """Reads one file a review, in one folder a class."""
    found = folders.find_labeled(folder, ("neg", "pos"), {".txt"})
    folders.log_left_out(folder, found.left_out)
    texts = (
        pathlib.Path(path).read_text(encoding="latin-1") for path in found.paths
    )
    return _to_arrays(
        list(zip(texts, found.labels.tolist(), strict=True)), folder
    )


def _read_tfds(
    name: str, label: str, data_dir: DataDir, download: bool
) -> dict[str, splits.Arrays]:
    """Reads the splits of a TFDS text data set, if it has been prepared."""
    builder = prepared.open_builder(name, data_dir, download=download)
    parts: dict[str, splits.Arrays] = {}
    for part in ("train", "test") if builder else ():
        columns = prepared.read(builder, part)
        texts = (text.decode("latin-1") for text in columns["text"])
        examples = zip(texts, columns[label].tolist(), strict=True)
        parts[part] = _to_arrays([*examples], pathlib.Path(name))
    return parts


def _to_arrays(
    examples: Sequence[tuple[str, int]], path: pathlib.Path
) -> splits.Arrays:
    """Returns cleaned sentences and labels; refuses an empty set."""
    if not examples:
        raise _checks.refusal(
            "A file of sentences must not be empty",
            f"{path.name} without any",
            "Take the file as it was published",
        )
    sentences = [clean(text) for text, _ in examples]
    labels = [label for _, label in examples]
    return splits.Arrays(
        np.array(sentences, object), np.array(labels, np.int32)
    )


def _parse_trec(line: str) -> tuple[str, int]:
    """Reads `COARSE:fine question`."""
    label, sentence = line.split(" ", 1)
    return sentence, TREC_CLASSES.index(label.split(":")[0])


def _parse_sst2(line: str) -> tuple[str, int]:
    """Reads `0 sentence`."""
    label, sentence = line.split(" ", 1)
    return sentence, ("0", "1").index(label)


def _parse_imdb(line: str) -> tuple[str, int]:
    """Reads `{"text": ..., "label": ...}`."""
    example = json.loads(line)
    return example["text"], (0, 1).index(example["label"])


_PARSERS: dict[str, Parse] = {
    "trec": _parse_trec,
    "sst2": _parse_sst2,
    "imdb": _parse_imdb,
}
