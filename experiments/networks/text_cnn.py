"""The convolutional network for sentences: word ids in, logits out."""

import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from experiments.networks import parts
from tf_mixup import _checks

# Words that a filter sees at once.
FILTER_WIDTHS = (3, 4, 5)
# Kim's, so that random vectors vary about as much as his pretrained ones.
INITIAL_LIMIT = 0.25
MAX_NORM = 3.0


@keras.saving.register_keras_serializable("tf_mixup_experiments")
class WordEmbedding(keras.layers.Embedding):
    """Looks up word vectors; that of padding, id 0, is always zero."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns vectors `(B, L, D)` of ids `(B, L)`."""
        # Through this product the gradient is dense. XLA would compile anew
        # in each step for a sparse one, and Adadelta reads all of it anyway.
        is_word = ops.arange(self.input_dim)[:, None] > 0
        vectors = self.embeddings * ops.cast(is_word, self.compute_dtype)
        return ops.take(vectors, inputs, axis=0)


def build_text_cnn(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    vocabulary: Sequence[str],
    embeddings: str | None = None,
    width: int = 300,
    maps: int = 100,
    dropout: float = 0.5,
    seed: int | None = None,
) -> keras.Model:
    """Builds Kim's network with one trained channel of word vectors.

    Filters of 3, 4 and 5 words slide over the word vectors (the layer named
    `embedding`, where sentences are mixed), also over the sentence's edges;
    ReLU, the largest value over time, dropout and a dense layer whose weights
    of a class have a norm of 3 at most. The vector of padding is and stays
    zero. Filters start from He normal weights, as in the other networks.

    Options of its own; the others are in `experiments.networks`:
        vocabulary: Words by id, V of them; the first one is padding.
        embeddings: Text file of a word and `width` numbers a line, such as
            GloVe's; a FileNotFoundError if it is missing. Words that it lacks
            are drawn with the variance of those that it has; `None` draws
            all, uniform in `[-0.25, 0.25]`.
        width: Dimension of the word vectors.
        maps: Filters of each width.
        dropout: Before the logits.

    References:
        Kim. Convolutional Neural Networks for Sentence Classification. EMNLP
        2014. https://arxiv.org/abs/1408.5882
    """
    if len(input_shape) != 1:
        raise _checks.refusal(
            "The sentence network takes word ids",
            f"input_shape={tuple(input_shape)}",
            "Take another network for images",
        )
    layers = parts.Parts(parts.draw_seeds(seed))
    vectors = _draw_vectors(vocabulary, width, next(layers.seeds), embeddings)
    inputs = keras.Input(tuple(input_shape), dtype="int32", name="ids")
    embedding = WordEmbedding(len(vocabulary), width, name="embedding")
    words = keras.layers.ZeroPadding1D(max(FILTER_WIDTHS) - 1)(
        embedding(inputs)
    )
    embedding.set_weights([vectors])
    largest = []
    for filter_width in FILTER_WIDTHS:
        features = keras.layers.Conv1D(
            maps,
            filter_width,
            activation="relu",
            kernel_initializer=layers.he_normal(),
        )(words)
        largest.append(keras.layers.GlobalMaxPooling1D()(features))
    features = layers.dropout(keras.layers.Concatenate()(largest), dropout)
    logits = layers.logits(
        features,
        num_classes,
        kernel_constraint=keras.constraints.MaxNorm(MAX_NORM),
    )
    return keras.Model(inputs, logits)


def _draw_vectors(
    vocabulary: Sequence[str], width: int, seed: int, path: str | None
) -> np.ndarray:
    """Returns vectors `(V, D)`: the file's, others random, the first zero."""
    found = {} if path is None else _read_vectors(path, set(vocabulary), width)
    limit = INITIAL_LIMIT
    if found:
        # The standard deviation of uniform numbers is limit / sqrt(3).
        limit = float(np.sqrt(3) * np.std(list(found.values())))
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-limit, limit, (len(vocabulary), width))
    for index, word in enumerate(vocabulary):
        vectors[index] = found.get(word, vectors[index])
    vectors[0] = 0
    return vectors.astype(np.float32)


def _read_vectors(
    path: str, words: set[str], width: int
) -> dict[str, np.ndarray]:
    """Reads the vectors of the words that a file has."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(
            f"A file of word vectors must exist. Received: {path!r}. Give its"
            " path, or leave --embeddings out."
        )
    found = {}
    with open(path, encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            # A word may be two dots with a space between.
            word, *numbers = line.rstrip().rsplit(" ", width)
            try:
                if len(numbers) < width or (number == 1 and " " in word):
                    raise ValueError("another width")
                if word in words:
                    found[word] = np.array(numbers, np.float32)
            except ValueError as error:
                raise _checks.refusal(
                    f"Each line must be a word and {width} numbers",
                    f"line {number} of {path}: {line[:60]!r}",
                    "Give the file's own dimension as --width",
                ) from error
    if not found:
        raise _checks.refusal(
            "A file of word vectors must have words of the training set",
            f"{path} without any",
            "Give one of the same language, in lower case",
        )
    return found
