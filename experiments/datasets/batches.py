"""Examples in memory -> augmented batches: f(seed, epoch, step)."""

from typing import Any

import numpy as np
import tensorflow as tf

from experiments.datasets import augment
from tf_mixup import _checks
from tf_mixup import mixing

EVALUATION_BATCH = 500
# Each draw of a step has its own stream beside that of the augmentation.
_PARTNERS, _NOISE = 1, 2


def training_batches(
    images: Any,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    augmentation: str,
    epoch_counter: mixing.EpochCounter,
    flip: bool = True,
    neighbors: np.ndarray | None = None,
    noise: np.ndarray | float = 0.0,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Returns an epoch of full batches, in another order each epoch.

    Examples that do not fill a batch are left out, others each epoch. Example
    `k` of an epoch is found by a random bijection, so nothing is buffered and a
    resumed run continues with the very batches that it would have seen.

    Args:
        images: uint8 `(N, H, W, C)`; or features or ids `(N, D)`; or a stream
            of photographs, which brings its own labels.
        labels: Integers `(N,)`.
        batch_size: Examples in a step of all workers, at most N.
        seed: Fixes order and augmentation.
        augmentation: `"none"`, or `"standard"`: crops after padding by 4,
            and flips, for images only; or `"inception"`, for streams only.
        epoch_counter: Counts the epochs.
        flip: Whether `"standard"` mirrors.
        neighbors: Integers `(N, k)`: candidates for each example's partner.
            Defaults to no partners.
        noise: Deviation of Gaussian noise, in the unit of the images, one
            number or one for the last axis.
        worker: Which of several workers is to have them, from 0: each has its
            own part of each batch.
        workers: How many, a divisor of `batch_size`; B is its quotient.

    Returns:
        batches: Dataset of `(images (B, ...), labels (B,))`; with `neighbors`
            `2 B` examples, the partners last; with `noise` in float32.

    Raises:
        ValueError: If there are fewer examples than a batch holds, or the
            augmentation does not fit them.
    """
    share = batch_size // workers
    if not isinstance(images, np.ndarray):  # A stream.
        return images.training_batches(
            batch_size=share,
            seed=seed,
            augmentation=augmentation,
            epoch_counter=epoch_counter,
            worker=worker,
            workers=workers,
        )
    _check_augmentation(augmentation, images)
    count = len(labels)
    if count < batch_size:
        raise _checks.refusal(
            "A batch must not be larger than the training set",
            f"batch_size={batch_size} with {count} training examples",
            "Lower --batch_size",
        )
    with tf.device("/cpu:0"):
        all_images, all_labels = tf.constant(images), tf.constant(labels)

    def load(epoch: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch_seed = fold_epoch(seed, epoch)
        chosen = draw_indices(
            epoch_seed, step, batch_size=batch_size, count=count
        )[worker * share : (worker + 1) * share]
        step_seed = tf.random.fold_in(fold_epoch(seed, epoch, worker), step)
        if neighbors is not None:
            partners = mixing.choose_neighbors(
                neighbors, chosen, seed=tf.random.fold_in(step_seed, _PARTNERS)
            )
            chosen = tf.concat([chosen, partners], axis=0)
        batch = tf.gather(all_images, chosen)
        if augmentation == "standard":
            batch = augment.crop_and_flip(batch, step_seed, flip=flip)
        if np.any(noise):
            draws = tf.random.stateless_normal(
                tf.shape(batch), tf.random.fold_in(step_seed, _NOISE)
            )
            batch = tf.cast(batch, tf.float32) + draws * noise
        return batch, tf.gather(all_labels, chosen)

    return epoch_counter.positions(count // batch_size).map(
        load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _check_augmentation(augmentation: str, images: np.ndarray) -> None:
    if augmentation == "inception":
        raise _checks.refusal(
            "Only photographs that are streamed have other areas and aspects",
            f"augmentation={augmentation!r} for examples in memory",
            "Write --augmentation=standard, or none",
        )
    if augmentation != "none" and images.ndim != 4:
        raise _checks.refusal(
            "Only images can be cropped and flipped",
            f"augmentation={augmentation!r} for examples of shape"
            f" {images.shape[1:]}",
            "Write --augmentation=none",
        )


def evaluation_batches(
    images: Any,
    labels: np.ndarray,
    *,
    batch_size: int = EVALUATION_BATCH,
    replicas: int = 1,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Returns all examples in order, in batches of `even_size`.

    Of several workers each has every `workers`-th example, from the example
    `worker`, in batches of `share_size`.
    """
    if workers > 1:
        size = share_size(len(labels), batch_size, workers)
    else:
        size = even_size(len(labels), batch_size, replicas=replicas)
    if not isinstance(images, np.ndarray):  # A stream.
        return images.evaluation_batches(size, worker=worker, workers=workers)
    with tf.device("/cpu:0"):
        examples = tf.data.Dataset.from_tensor_slices(
            (images[worker::workers], labels[worker::workers])
        )
    return examples.batch(size).prefetch(tf.data.AUTOTUNE)


def unlabeled_batches(images: Any) -> tf.data.Dataset:
    """Returns `evaluation_batches` with labels of 0."""
    return evaluation_batches(images, np.zeros(len(images), np.int32))


def even_size(count: int, batch_size: int, *, replicas: int = 1) -> int:
    """Returns a size at which all batches are about equal, the last one too.

    A last batch of one example would leave a second replica without any, and
    TensorFlow's convolutions fail on none. Keras adds up the replicas' parts of
    the first batch, so these must be equal: the size is a multiple of
    `replicas`.
    """
    batches = -(-count // batch_size)
    if count % replicas:
        batches = max(batches, 2)
    share = -(-count // (batches * replicas))
    return share * replicas


def share_size(count: int, batch_size: int, workers: int) -> int:
    """Returns a size with which all workers have as many batches.

    They wait for each other, and none may be without examples. Examples are
    dealt out one by one.

    Raises:
        ValueError: If there are fewer examples than workers.
    """
    least, most = count // workers, -(-count // workers)
    for batches in range(-(-most // batch_size), 0, -1):
        size = -(-most // batches)
        if (batches - 1) * size < least:
            return size
    raise _checks.refusal(
        "Each worker needs an example to evaluate",
        f"{count} examples for {workers} workers",
        "Raise --num_validation, or take fewer workers",
    )


def fold_epoch(seed: int, epoch: tf.Tensor, worker: int = 0) -> tf.Tensor:
    """Returns an epoch's seed, int64 `(2,)`, from which those of steps fold."""
    # Apart from the seeds of mixing, which start from [seed, 0].
    start = tf.constant([seed, 1 + worker], tf.int64)
    return tf.random.fold_in(start, epoch)


def draw_indices(
    epoch_seed: tf.Tensor, step: tf.Tensor, *, batch_size: int, count: int
) -> tf.Tensor:
    """Returns a step's examples: a stretch of a random bijection of them all.

    Returns:
        indices: int64 `(B,)` in `[0, N - 1]`, none twice in the N // B steps of
            an epoch; N must be at least B.
    """
    places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    return tf.random.experimental.index_shuffle(
        places,
        seed=tf.cast(epoch_seed % tf.int32.max, tf.int32),
        max_index=tf.constant(count - 1, tf.int64),
    )
