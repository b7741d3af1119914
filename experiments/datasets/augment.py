"""Pad-and-crop with flips, on whole uint8 batches `(B, H, W, C)`."""

import tensorflow as tf

from tf_mixup import _checks


def crop_and_flip(
    images: tf.Tensor, seed: tf.Tensor, *, pad: int = 4, flip: bool = True
) -> tf.Tensor:
    """Shifts each image by up to `pad` pixels, and mirrors half of them.

    Each image is padded with black, cut back to its size at a place of its own,
    uniform over all `(2 * pad + 1)**2`, and mirrored left to right with
    probability 1/2. Map it over batches: an XLA gather of whole rows and
    columns is some 15 times faster than cropping image by image. The draws are
    made outside XLA, so that they are the same on every device.

    Args:
        images: `(B, H, W, C)` with static H, W and C; any dtype, which is
            kept. uint8 is fastest.
        seed: Integer tensor of shape `(2,)`; decides the batch entirely.
        pad: Largest shift in pixels, at least 0; 4 for CIFAR.
        flip: Whether to mirror. Not for digits or other handed classes.

    Raises:
        ValueError: If `images` has not four axes or `pad` is negative.
    """
    pad = _checks.integer_at_least(
        "pad", pad, 0, remedy="Use pad=0 for flips only"
    )
    if images.shape.rank != 4:
        raise _checks.refusal(
            "`images` must be a batch with axes (B, H, W, C)",
            f"images of shape {images.shape}",
            "Batch the dataset before augmenting it",
        )
    rows, columns = draw_pixels(
        tf.shape(images)[0], images.shape[1:3], seed, pad=pad, flip=flip
    )
    return _pad_and_gather(images, rows, columns, pad)


def draw_pixels(
    batch_size: int | tf.Tensor,
    sides: tf.TensorShape,
    seed: tf.Tensor,
    *,
    pad: int,
    flip: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws which rows and columns of the padded images are kept.

    Returns:
        rows: int32 `(B, H)` in `[0, H + 2 * pad - 1]`.
        columns: int32 `(B, W)` in `[0, W + 2 * pad - 1]`.
    """
    height, width = sides
    offset_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    offsets = tf.random.stateless_uniform(
        (batch_size, 2), offset_seed, maxval=2 * pad + 1, dtype=tf.int32
    )
    columns = tf.range(width)[tf.newaxis]
    if flip:
        draws = tf.random.stateless_uniform((batch_size, 1), flip_seed)
        columns = tf.where(draws < 0.5, width - 1 - columns, columns)
    return offsets[:, :1] + tf.range(height), offsets[:, 1:] + columns


@tf.function(jit_compile=True, autograph=False)
def _pad_and_gather(
    images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, pad: int
) -> tf.Tensor:
    """Pads with zeros and gathers rows, then columns, of each image."""
    margin = [pad, pad]
    padded = tf.pad(images, [[0, 0], margin, margin, [0, 0]])
    kept = tf.gather(padded, rows, batch_dims=1)
    # Columns first: a gather along the second axis is the fast one.
    kept = tf.transpose(kept, [0, 2, 1, 3])
    kept = tf.gather(kept, columns, batch_dims=1)
    return tf.transpose(kept, [0, 2, 1, 3])
