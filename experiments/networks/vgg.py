"""VGG-16 with batch norm, for images of any size."""

from collections.abc import Sequence
from typing import Any

import keras

from experiments.networks import parts

# Convolutions in each stage of VGG-16 and their channels, relative to width.
STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


def build_vgg16(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 64,
    head: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    synchronized: bool = False,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds VGG-16 with batch norm, from pixels to logits.

    The last features are averaged over positions, so 32x32 (CIFAR) and 96x96
    (STL-10) images give the same head of `8 * width` inputs. The default head
    is that of the calibration paper's replication; `head=()` is the small one
    of https://github.com/kuangliu/pytorch-cifar. Convolutions have no bias,
    which batch norm would subtract; those codes carry 4,224 idle ones.

    Options of its own; the others are in `experiments.networks`:
        width: Channels of the first stage.
        head: Units of the hidden dense layers before the logits.
        dropout: After each hidden dense layer.

    References:
        Simonyan and Zisserman. Very Deep Convolutional Networks for
        Large-Scale Image Recognition. ICLR 2015, configuration D.
        https://arxiv.org/abs/1409.1556
    """
    layers = parts.Parts(parts.draw_seeds(seed), synchronized)
    images, features = parts.pixel_inputs(input_shape, **inputs)
    for stage, (num_convolutions, factor) in enumerate(STAGES):
        for _ in range(num_convolutions):
            features = layers.convolution(features, width * factor)
            features = layers.norm_relu(features)
        # Padded, so that sides below 32 shrink to 1 and not to nothing.
        features = keras.layers.MaxPooling2D(
            padding="same", name=f"stage{stage + 1}"
        )(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    for units in head:
        features = layers.dropout(layers.hidden(features, units), dropout)
    return keras.Model(images, layers.logits(features, num_classes))
