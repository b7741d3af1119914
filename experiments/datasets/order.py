"""The order of an epoch: f(seed, epoch, step), with nothing buffered."""

import tensorflow as tf


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
