"""The order of an epoch's rows: f(seed, epoch, step), with nothing buffered."""

import tensorflow as tf


def fold_epoch(seed: int, epoch: tf.Tensor, worker: int = 0) -> tf.Tensor:
    """Returns an epoch's seed, int64 `(2,)`, from which those of steps fold.

    Args:
        seed: The run's.
        epoch: Counted from 0, an int64 scalar.
        worker: Counted from 0; each draws its own order and augmentation.
    """
    # Apart from the seeds of mixing, which start from [seed, 0].
    start = tf.constant([seed, 1 + worker], tf.int64)
    return tf.random.fold_in(start, epoch)


def draw_rows(
    epoch_seed: tf.Tensor, step: tf.Tensor, *, batch_size: int, num_rows: int
) -> tf.Tensor:
    """Returns a step's rows: a stretch of a random bijection of them all.

    Args:
        epoch_seed: What `fold_epoch` returns.
        step: Counted from 0, an int64 scalar.
        batch_size: B.
        num_rows: N, at least B.

    Returns:
        rows: int64 `(B,)` in `[0, N - 1]`, none twice in the N // B steps of
            an epoch.
    """
    places = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    return tf.random.experimental.index_shuffle(
        places,
        seed=tf.cast(epoch_seed % tf.int32.max, tf.int32),
        max_index=tf.constant(num_rows - 1, tf.int64),
    )
