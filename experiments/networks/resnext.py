"""Residual networks of bottlenecks for large images: ResNet and ResNeXt.

With their defaults the named builders have exactly the trainable parameters
of torchvision's, which the mixup papers used for ImageNet.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from experiments.networks import parts

# Channels that a bottleneck puts out, relative to its stage's width.
EXPANSION = 4


def build_resnext(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    blocks: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    cardinality: int = 32,
    base_width: int = 4,
    dropout: float = 0.0,
    synchronized: bool = False,
    zero_gamma: bool = False,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds a residual network of bottlenecks, from pixels to logits.

    The stem is ImageNet's: a 7x7 convolution and a max-pooling, each of
    stride 2. Stage `s` has `blocks[s]` blocks that put out
    `4 * width * 2**s` channels, and each stage but the first halves the
    sides, in its first 3x3 convolution. Its output is the layer named
    `stage1`, `stage2`, ... (where manifold mixup mixes). torchvision draws
    convolutions by their outputs, here by their inputs as everywhere in this
    package; batch norm follows each, so only the first steps differ.

    Options of its own; the others are in `experiments.networks`:
        blocks: Blocks in each stage.
        width: Channels of the stem, and a quarter of those that the first
            stage puts out.
        cardinality: Groups of the 3x3 convolutions; 1 is a ResNet.
        base_width: Channels of each group in the first stage, doubled in
            each further one; 64 for a ResNet. It does not follow `width`.
        dropout: Before the last convolution of each block, after the ReLU.

    References:
        Xie, Girshick, Dollar, Tu and He. Aggregated Residual Transformations
        for Deep Neural Networks. CVPR 2017. https://arxiv.org/abs/1611.05431
    """
    layers = parts.Parts(parts.draw_seeds(seed), synchronized)
    images, features = parts.pixel_inputs(input_shape, **inputs)
    features = layers.norm_relu(
        layers.convolution(features, width, kernel_size=7, strides=2)
    )
    features = keras.layers.MaxPooling2D(3, strides=2, padding="same")(features)
    for stage, num_blocks in enumerate(blocks):
        for index in range(num_blocks):
            features = _bottleneck(
                layers,
                features,
                filters=EXPANSION * width * 2**stage,
                inner=cardinality * base_width * 2**stage,
                groups=cardinality,
                strides=2 if stage > 0 and index == 0 else 1,
                dropout=dropout,
                zero_gamma=zero_gamma,
            )
        features = keras.layers.Identity(name=f"stage{stage + 1}")(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.logits(features, num_classes))


def _bottleneck(
    layers: parts.Parts,
    features: keras.KerasTensor,
    *,
    filters: int,
    inner: int,
    groups: int,
    strides: int,
    dropout: float,
    zero_gamma: bool,
) -> keras.KerasTensor:
    """Applies 1x1, grouped 3x3 and 1x1 convolutions, addition, ReLU."""
    shortcut = layers.shortcut(features, filters, strides)
    features = layers.convolution(features, inner, kernel_size=1)
    features = layers.convolution(
        layers.norm_relu(features), inner, strides=strides, groups=groups
    )
    features = layers.dropout(layers.norm_relu(features), dropout)
    features = layers.norm(
        layers.convolution(features, filters, kernel_size=1),
        zero_gamma=zero_gamma,
    )
    return keras.layers.ReLU()(keras.layers.Add()([features, shortcut]))


build_resnet50 = functools.partial(
    build_resnext, blocks=(3, 4, 6, 3), cardinality=1, base_width=64
)
build_resnet101 = functools.partial(
    build_resnext, blocks=(3, 4, 23, 3), cardinality=1, base_width=64
)
build_resnext50 = functools.partial(build_resnext, blocks=(3, 4, 6, 3))
build_resnext101 = functools.partial(build_resnext, blocks=(3, 4, 23, 3))
build_resnext101_64x4d = functools.partial(
    build_resnext, blocks=(3, 4, 23, 3), cardinality=64
)
# The overlap task's 300 features, as its paper lays them out.
build_resnext50_features = functools.partial(
    build_resnext50, image_shape=(10, 10, 3), mean=0.0, std=1.0
)
