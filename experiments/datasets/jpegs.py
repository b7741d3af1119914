"""Encoded photographs -> uint8 squares, decoding only what is looked at.

A JPEG is decoded within a window of it alone, at a half, a quarter or an
eighth of its size where the window is so much larger than the square. ImageNet
also holds grayscale JPEGs, CMYK JPEGs and a PNG named JPEG: all become RGB.
Shapes: B images, A attempts; windows are `(top, left, height, width)`.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# It costs no more than the fast one, and gives Pillow's pixels to the bit;
# TensorFlow's default is the fast one, which is off by up to 12 of 255.
DCT_METHOD = "INTEGER_ACCURATE"
# What libjpeg can leave out while it decodes.
RATIOS = (1, 2, 4, 8)
ATTEMPTS = 10
MIN_AREA = 0.08
MAX_ASPECT = 4 / 3
# The papers resize the shorter side to 256 and keep the central 224.
CENTRAL_SHARE = 224 / 256

# From an image's height and width, int32 `(2,)`, to a window, int32 `(4,)`.
Choose = Callable[[tf.Tensor], tf.Tensor]


class Crops(NamedTuple):
    """Draws that choose a window in an image of any size.

    Attributes:
        sides: Heights and widths to try in turn, in units of the root of the
            image's area, float32 `(B, A, 2)`.
        places: Where the window lies, from top left to bottom right, float32
            `(B, 2)` in `[0, 1 - 2**-20)`: times any size it stays below.
        flips: Whether the square is mirrored left to right, bool `(B,)`.
    """

    sides: tf.Tensor
    places: tf.Tensor
    flips: tf.Tensor


def draw_crops(batch_size: int, seed: tf.Tensor) -> Crops:
    """Draws windows of random area and aspect, and flips, for B images.

    Areas are uniform in `[0.08, 1]` of the image, logarithms of the aspect
    ratio in those of `[3/4, 4/3]`; half of the images flip. `seed`, an integer
    tensor `(2,)`, decides all draws.

    References:
        Szegedy et al. Going Deeper with Convolutions. CVPR 2015, section 6.
        https://arxiv.org/abs/1409.4842
        Goyal et al. Accurate, Large Minibatch SGD. 2017, section 5.1.
        https://arxiv.org/abs/1706.02677
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    attempts = (batch_size, ATTEMPTS)
    area = tf.random.stateless_uniform(attempts, seeds[0], MIN_AREA, 1.0)
    reach = math.log(MAX_ASPECT)
    aspect = tf.exp(
        tf.random.stateless_uniform(attempts, seeds[1], -reach, reach)
    )
    return Crops(
        tf.stack([tf.sqrt(area / aspect), tf.sqrt(area * aspect)], axis=-1),
        tf.random.stateless_uniform((batch_size, 2), seeds[2], 0, 1 - 2**-20),
        tf.random.stateless_uniform((batch_size,), seeds[3]) < 0.5,
    )


def choose_window(
    shape: tf.Tensor, sides: tf.Tensor, place: tf.Tensor
) -> tf.Tensor:
    """Returns the first drawn window that fits into an image, int32 `(4,)`.

    If none does, which is rare but for panoramas, it is the largest centered
    one whose aspect ratio is within 3/4 and 4/3.

    Args:
        shape: Height and width in pixels, int32 `(2,)`.
        sides: Of one image in `Crops.sides`, `(A, 2)`.
        place: Of one image in `Crops.places`, `(2,)`.

    Example:
        >>> sides, place = tf.constant([[2.0, 0.5], [0.5, 0.5]]), [0.0, 0.9]
        >>> choose_window(tf.constant([100, 400]), sides, place).numpy()
        array([  0, 270, 100, 100], dtype=int32)
    """
    limits = tf.cast(shape, tf.float32)
    drawn = tf.sqrt(tf.reduce_prod(limits)) * sides
    fits = tf.reduce_all(drawn <= limits, axis=-1)
    first = tf.argmax(tf.cast(fits, tf.int32))
    fitting = tf.gather(fits, first)
    largest = tf.minimum(limits, MAX_ASPECT * tf.reverse(limits, [0]))
    chosen = tf.where(fitting, tf.gather(drawn, first), largest)
    chosen = tf.maximum(tf.round(chosen), 1)
    place = tf.where(fitting, place, 0.5)
    corner = tf.floor(place * (limits - chosen + 1))
    return tf.cast(tf.concat([corner, chosen], axis=0), tf.int32)


def central_window(shape: tf.Tensor) -> tf.Tensor:
    """Returns the central square of 7/8 of an image's shorter side.

    Resized to 224 it is the central crop of the image resized to 256.

    Example:
        >>> central_window(tf.constant([256, 512])).numpy()
        array([ 16, 144, 224, 224], dtype=int32)
    """
    shortest = tf.cast(tf.reduce_min(shape), tf.float32)
    side = tf.cast(tf.maximum(tf.round(CENTRAL_SHARE * shortest), 1), tf.int32)
    return tf.concat([(shape - side) // 2, [side, side]], axis=0)


def decode(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a whole JPEG, PNG, GIF or BMP as RGB, uint8 `(H, W, 3)`.

    Of an animation the first picture is taken.
    """
    image = tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method=DCT_METHOD),
        lambda: _decode_other(contents),
    )
    return tf.ensure_shape(image, [None, None, 3])


def decode_square(
    contents: tf.Tensor,
    choose: Choose,
    side: int,
    flip: tf.Tensor | None = None,
) -> tf.Tensor:
    """Decodes a window of an image and resizes it to a square.

    Where the window is at least twice, four or eight times as large as the
    square, the JPEG is decoded at that part of its size. What is left to
    shrink by is about two at most, so that bilinear interpolation sees all
    pixels without a filter before it.

    Args:
        contents: As in `decode`.
        choose: From the image's height and width to a window within.
        side: S, of the square.
        flip: Whether to mirror it left to right, a bool scalar. Defaults to
            no.

    Returns:
        square: uint8 `(S, S, 3)`.
    """

    def decode_window() -> tf.Tensor:
        window = choose(tf.io.extract_jpeg_shape(contents)[:2])
        least = tf.reduce_min(window[2:])
        # Few windows are large, and a choice among all ratios costs some 3 %
        # of the decoding.
        return tf.cond(
            least >= RATIOS[1] * side,
            lambda: _decode_scaled(contents, window, least, side),
            lambda: _decode_window(contents, window, 1),
        )

    def decode_all() -> tf.Tensor:
        image = _decode_other(contents)
        window = choose(tf.shape(image)[:2])
        return tf.slice(
            image, [window[0], window[1], 0], [window[2], window[3], 3]
        )

    # libjpeg decodes windows; other formats are rare.
    cut = tf.cond(tf.io.is_jpeg(contents), decode_window, decode_all)
    cut.set_shape([None, None, 3])
    # `tf.image.resize` is this with ten more operations around it.
    resized = tf.raw_ops.ResizeBilinear(
        images=tf.expand_dims(cut, 0),
        size=(side, side),
        half_pixel_centers=True,
    )
    square = tf.cast(tf.squeeze(resized, 0) + 0.5, tf.uint8)
    if flip is None:
        return square
    return tf.cond(flip, lambda: tf.reverse(square, [1]), lambda: square)


def _decode_scaled(
    contents: tf.Tensor, window: tf.Tensor, least: tf.Tensor, side: int
) -> tf.Tensor:
    """Decodes at the largest ratio that leaves `side` of the least side."""
    enough = least >= side * tf.constant(RATIOS[2:])
    return tf.switch_case(
        tf.reduce_sum(tf.cast(enough, tf.int32)),
        [
            functools.partial(_decode_window, contents, window, ratio)
            for ratio in RATIOS[1:]
        ],
    )


def _decode_window(
    contents: tf.Tensor, window: tf.Tensor, ratio: int
) -> tf.Tensor:
    """Decodes a window, given in pixels of the full size."""
    if ratio > 1:
        # Within the scaled image, whose sides are rounded up.
        window //= ratio
    return tf.image.decode_and_crop_jpeg(
        contents,
        window,
        channels=3,
        ratio=ratio,
        dct_method=DCT_METHOD,
    )


def _decode_other(contents: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(contents, channels=3, expand_animations=False)
