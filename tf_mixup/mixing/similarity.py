"""The similarity of the examples of each pair.

Shapes: B examples.
"""

import math

import tensorflow as tf

from tf_mixup.mixing import plans

# Beyond them Beta(tau, tau) differs no more in float32.
_LARGEST = math.log(1e12)


def measure_distance(inputs: tuple, partner: tf.Tensor) -> tf.Tensor:
    """Returns the distance of each example to its partner, against the mean.

    Args:
        inputs: Tensors of numbers whose first axis is B, or longer where the
            examples beyond B are partners only.
        partner: Integer tensor `(B,)`.

    Returns:
        distance: Sum over all tensors of the squared differences, divided by
            the mean of finite ones, float32 `(B,)`; 0 where that is 0.
    """
    size = tf.shape(partner)[0]
    total = tf.zeros([size])
    for each in inputs:
        values = plans.as_numbers(each)
        values = tf.cast(values, plans.widen(values.dtype))
        gap = tf.abs(values[:size] - tf.gather(values, partner))
        squares = tf.reshape(tf.square(gap), [size, -1])
        total += tf.cast(tf.reduce_sum(squares, axis=1), tf.float32)
    # A pair that is not finite is left unmixed, and does not count.
    counted = tf.math.is_finite(total)
    mean = tf.reduce_mean(tf.boolean_mask(total, counted))
    return tf.math.divide_no_nan(total, mean)


def gaussian(distance: tf.Tensor, width: float) -> tf.Tensor:
    """Returns the kernel `exp((1 - d) / (2 width^2))` within [1e-12, 1e12].

    Args:
        distance: Squared distances of mean 1, float32 of any shape.
        width: Standard deviation of the kernel, above 0.

    References:
        Bouniot et al. Tailoring Mixup to Data for Calibration. ICLR 2025.
        https://arxiv.org/abs/2311.01434
    """
    # Divided twice: the square of a small width is 0.
    exponent = (1 - distance) / width / width / 2
    return tf.exp(tf.clip_by_value(exponent, -_LARGEST, _LARGEST))
