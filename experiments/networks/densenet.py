"""Densely connected networks with bottlenecks, for small images."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from experiments.networks import parts
from tf_mixup import _checks

# A bottleneck's channels, and what a transition keeps of its inputs.
BOTTLENECK = 4
COMPRESSION = 0.5
BLOCKS = 3


def build_densenet(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    depth: int = 100,
    width: int = 12,
    dropout: float = 0.0,
    synchronized: bool = False,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds DenseNet-BC of three dense blocks, from pixels to logits.

    Every layer sees the outputs of all layers before it in its block, and
    adds `width` channels to them. Between blocks a transition keeps half of
    the channels and halves the sides. A block's output is the layer named
    `stage1`, `stage2` or `stage3` (where manifold mixup mixes).

    Options of its own; the others are in `experiments.networks`:
        depth: Layers with weights, `6 n + 4`, of which `n` pairs in a block.
        width: Channels that each pair adds, the growth rate; the stem has
            twice as many.
        dropout: After each convolution of a pair.

    References:
        Huang, Liu, van der Maaten and Weinberger. Densely Connected
        Convolutional Networks. CVPR 2017. https://arxiv.org/abs/1608.06993
    """
    pairs, rest = divmod(depth - 4, 2 * BLOCKS)
    if rest or pairs < 1:
        raise _checks.refusal(
            "`depth` must be 6 n + 4, with n pairs of layers in a block",
            f"depth={depth}",
            "Write e.g. 40, 100 or 190",
        )
    layers = parts.Parts(parts.draw_seeds(seed), synchronized)
    images, features = parts.pixel_inputs(input_shape, **inputs)
    features = layers.convolution(features, 2 * width)
    for block in range(BLOCKS):
        for _ in range(pairs):
            features = _pair(layers, features, growth=width, dropout=dropout)
        features = keras.layers.Identity(name=f"stage{block + 1}")(features)
        if block < BLOCKS - 1:
            features = _transition(layers, features, dropout=dropout)
    features = layers.norm_relu(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.logits(features, num_classes))


def _pair(
    layers: parts.Parts,
    features: keras.KerasTensor,
    *,
    growth: int,
    dropout: float,
) -> keras.KerasTensor:
    """Applies norm, ReLU, 1x1, norm, ReLU, 3x3; puts it behind its inputs."""
    added = layers.convolution(
        layers.norm_relu(features), BOTTLENECK * growth, kernel_size=1
    )
    added = layers.dropout(added, dropout)
    added = layers.convolution(layers.norm_relu(added), growth)
    added = layers.dropout(added, dropout)
    return keras.layers.Concatenate()([features, added])


def _transition(
    layers: parts.Parts, features: keras.KerasTensor, *, dropout: float
) -> keras.KerasTensor:
    """Applies norm, ReLU, a 1x1 convolution, and averages of 2x2."""
    kept = int(COMPRESSION * features.shape[-1])
    features = layers.convolution(
        layers.norm_relu(features), kept, kernel_size=1
    )
    features = layers.dropout(features, dropout)
    # Padded, so that sides below 4 shrink to 1 and not to nothing.
    return keras.layers.AveragePooling2D(2, padding="same")(features)


# As in the mixup paper's figure 3.
build_densenet190 = functools.partial(build_densenet, depth=190, width=40)
