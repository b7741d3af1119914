"""Arrays of labeled examples, their split by a seed, and label corruption.

Shapes: N examples, H and W sides, C channels, K classes.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from tf_mixup import _checks

# Each use of a seed has its own stream, so that no draw moves another.
_SPLIT_STREAM, _CORRUPTION_STREAM = range(2)


class Arrays(NamedTuple):
    """Labeled examples, in memory or, as photographs, decoded when asked for.

    Attributes:
        inputs: Images, uint8 `(N, H, W, C)`; sentences, int32 ids `(N, L)`;
            float32 features `(N, D)`, or waveforms `(N, T)`. Or a
            `streams.Stream`, which is indexed like an array.
        labels: int32 `(N,)` in `[0, K - 1]`; of training records empty.
    """

    inputs: Any
    labels: np.ndarray

    @property
    def in_memory(self) -> bool:
        """Whether the inputs are an array, not a `streams.Stream`."""
        return isinstance(self.inputs, np.ndarray)

    def watchers(self) -> list[keras.callbacks.Callback]:
        """Returns the callbacks that a run on these examples needs."""
        return [] if self.in_memory else [self.inputs.watcher]

    def take(self, chosen: np.ndarray) -> "Arrays":
        """Returns the chosen examples, in the order given."""
        return Arrays(self.inputs[chosen], self.labels[chosen])

    def without(self, other: "Arrays") -> "Arrays":
        """Returns the examples whose inputs are not among those of `other`.

        Streams are not searched: their sets come apart from each other.
        """
        if not self.in_memory:
            return self
        known = {each.tobytes() for each in other.inputs}
        apart = [each.tobytes() not in known for each in self.inputs]
        return self.take(np.flatnonzero(apart))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set, ready to train on.

    Attributes:
        name: What `load` was asked for.
        train: To fit on; its labels may be corrupted.
        validation: Carved from the training set; to choose with.
        test: The data set's own test set, or drawn where it has none; to
            report only.
        num_classes: K.
        mean: Of the training pixels, one a channel, in `[0, 255]`; of
            features one number, or one a feature.
        std: Standard deviation, in the same form.
        true_labels: Labels of `train` before any corruption, `(N,)`.
        corrupted: Bool `(N,)`: where the label of `train` was redrawn, also
            when the draw gave the true class again.
        test_posterior: True probabilities of the test examples' classes,
            `(N, K)`, where the data are drawn from a known law.
        vocabulary: Words by id, for sentences.
    """

    name: str
    train: Arrays
    validation: Arrays
    test: Arrays
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    true_labels: np.ndarray
    corrupted: np.ndarray
    test_posterior: np.ndarray | None = None
    vocabulary: tuple[str, ...] = ()


def clean(*, train: Arrays, **fields: Any) -> Splits:
    """Returns a data set of `Splits`' fields whose training labels are true."""
    return Splits(
        train=train,
        true_labels=train.labels,
        corrupted=np.zeros(len(train.labels), bool),
        **fields,
    )


def build(
    name: str,
    train: Arrays,
    test: Arrays,
    *,
    num_classes: int,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
    test_posterior: np.ndarray | None = None,
    **carving: Any,
) -> Splits:
    """Returns a data set whose validation set `carve` takes from `train`."""
    train, validation = carve(train, **carving)
    return clean(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
        test_posterior=test_posterior,
    )


def carve(
    train: Arrays,
    *,
    own: Arrays | None = None,
    num_validation: int | None = None,
    num_train: int | None = None,
    seed: int,
) -> tuple[Arrays, Arrays]:
    """Carves a validation set, and optionally fewer examples, from `train`.

    One permutation decides both: validation takes its head and training what
    follows. So the validation set does not depend on `num_train`, and a
    smaller training set is part of every larger one of the same seed. Drawn
    plainly, not stratified: class counts vary as in any sample.

    Args:
        train: The data set's own training set.
        own: The data set's own validation set, if it has one; validation
            examples are then drawn from it, all if `num_validation` is `None`.
        num_validation: For validation; a tenth if `None`; 0 gives none.
        num_train: For training; all others if `None`.
        seed: Decides the permutation.

    Returns:
        train: The examples to fit on.
        validation: Examples of no other set.

    Raises:
        ValueError: If the counts are negative or more than there are.
    """
    if own is not None:
        if num_validation is None:
            num_validation = len(own.labels)
        train, _ = carve(
            train, num_validation=0, num_train=num_train, seed=seed
        )
        _, validation = carve(
            own, num_validation=num_validation, num_train=0, seed=seed
        )
        return train, validation
    size = len(train.labels)
    if num_validation is None:
        num_validation = size // 10
    if num_train is None:
        num_train = size - num_validation
    check_counts(size, num_train, num_validation)
    order = np.random.default_rng([seed, _SPLIT_STREAM]).permutation(size)
    chosen = order[num_validation : num_validation + num_train]
    return train.take(chosen), train.take(order[:num_validation])


def check_counts(size: int, num_train: int, num_validation: int) -> None:
    """Refuses to take more examples than there are."""
    if min(num_validation, num_train) < 0 or num_train + num_validation > size:
        raise _checks.refusal(
            f"`num_train` and `num_validation` must fit into {size} examples",
            f"num_train={num_train}, num_validation={num_validation}",
            "Ask for fewer",
        )


def corrupt(
    splits: Splits,
    probability: float,
    *,
    seed: int,
    kind: str = "uniform",
    validation: bool = False,
) -> Splits:
    """Redraws training labels at random; the test set stays clean.

    `kind="uniform"` is the mixup paper's: each label is, with the given
    probability, drawn anew from all K classes including the true one, so
    that `probability * (1 - 1/K)` of the labels are wrong.
    `kind="class_map"` is the temperature-scaling paper's: a chosen label
    becomes one fixed other class, drawn once for each class.

    Args:
        splits: Clean data.
        probability: In `[0, 1]`, for each example independently.
        seed: Decides examples and labels.
        kind: `"uniform"` or `"class_map"`.
        validation: Whether validation labels are corrupted too, as where
            nobody owns clean labels. The training draw is the same.

    Raises:
        ValueError: If `probability` or `kind` is refused.

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, section 3.4. https://arxiv.org/abs/1710.09412
    """
    _checks.real_between(
        "probability", probability, 0, 1, remedy="Use 0.2 for 20 % noise"
    )
    _checks.one_of("kind", kind, ("uniform", "class_map"))
    rng = np.random.default_rng([seed, _CORRUPTION_STREAM])
    other = _other_classes(splits.num_classes, rng)

    def redraw(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.random(len(labels)) < probability
        drawn = rng.integers(splits.num_classes, size=len(labels))
        if kind == "class_map":
            drawn = other[labels]
        return np.where(chosen, drawn, labels).astype(labels.dtype), chosen

    labels, corrupted = redraw(splits.train.labels)
    held_out = splits.validation
    if validation:
        held_out = held_out._replace(labels=redraw(held_out.labels)[0])
    return dataclasses.replace(
        splits,
        train=splits.train._replace(labels=labels),
        validation=held_out,
        true_labels=splits.train.labels,
        corrupted=corrupted,
    )


def _other_classes(num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Draws for each class another one, `(K,)`."""
    shift = rng.integers(1, max(num_classes, 2), size=num_classes)
    return (np.arange(num_classes) + shift) % num_classes
