"""LeNet: the smallest convolutional network worth comparing with."""

from collections.abc import Sequence
from typing import Any

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
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds LeNet-5 with ReLU and max-pooling, from pixels to logits.

    Options of its own; the others are in `experiments.networks`:
        input_shape: With sides of at least 16.
        width: Channels of the first convolution; all other layers scale with
            it (6 gives 6, 16, 120 and 84 units).
        dropout: After each hidden dense layer.

    References:
        LeCun, Bottou, Bengio and Haffner. Gradient-Based Learning Applied to
        Document Recognition. Proceedings of the IEEE, 1998.
    """
    layers = parts.Parts(parts.draw_seeds(seed))
    images, features = parts.pixel_inputs(input_shape, **inputs)
    if min(input_shape[:2]) < MINIMUM_SIDE:
        raise _checks.refusal(
            f"LeNet needs images of at least {MINIMUM_SIDE} pixels a side",
            f"input_shape={tuple(input_shape)}",
            "Write --network=resnet_narrow for smaller images",
        )
    for filters in (width, width * 8 // 3):
        features = keras.layers.Conv2D(
            filters,
            5,
            activation="relu",
            kernel_initializer=layers.he_normal(),
        )(features)
        features = keras.layers.MaxPooling2D()(features)
    features = keras.layers.Flatten()(features)
    for units in (20 * width, 14 * width):
        features = layers.dropout(layers.hidden(features, units), dropout)
    return keras.Model(images, layers.logits(features, num_classes))
