"""LeNet: the smallest convolutional network worth comparing with."""

from collections.abc import Sequence

import keras

from experiments.networks import parts
from tf_mixup import _checks

# Two 5x5 convolutions, each followed by a halving, leave nothing of less.
MINIMUM_SIDE = 16


def build_lenet(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 6,
    dropout: float = 0.0,
    mean: parts.PixelStatistic = None,
    std: parts.PixelStatistic = None,
    seed: int | None = None,
) -> keras.Model:
    """Builds LeNet-5 with ReLU and max-pooling, from pixels to logits.

    Args:
        input_shape: `(H, W, C)` of the images, sides of 16 at least.
        num_classes: Number of logits, K.
        width: Channels of the first convolution; all other layers scale with
            it (6 gives 6, 16, 120 and 84 units).
        dropout: Rate in `[0, 1)` after each hidden dense layer.
        mean: Of the pixels in `[0, 255]`; one number or one a channel.
        std: Likewise.
        seed: Of the weights and of dropout; `None` draws one, the same one
            after `keras.utils.set_random_seed`.

    Returns:
        model: From raw pixels `(B, H, W, C)` of any dtype to float32 logits
            `(B, K)`.

    Raises:
        ValueError: If the images are too small, or `parts` refuses the
            shape, the statistics or the number of classes.

    References:
        LeCun, Bottou, Bengio and Haffner. Gradient-Based Learning Applied to
        Document Recognition. Proceedings of the IEEE, 1998.
    """
    layers = parts.Parts(parts.draw_seeds(seed))
    inputs, features = parts.pixel_inputs(input_shape, mean=mean, std=std)
    if min(input_shape[:2]) < MINIMUM_SIDE:
        raise _checks.refusal(
            f"LeNet needs images of at least {MINIMUM_SIDE} pixels a side",
            f"input_shape={tuple(input_shape)}",
            "Take the narrow ResNet for smaller images",
        )
    for filters in (width, width * 8 // 3):
        features = keras.layers.Conv2D(
            filters,
            5,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(next(layers.seeds)),
        )(features)
        features = keras.layers.MaxPooling2D()(features)
    features = keras.layers.Flatten()(features)
    for units in (20 * width, 14 * width):
        features = layers.dropout(layers.hidden(features, units), dropout)
    return keras.Model(inputs, layers.logits(features, num_classes))
