"""Residual networks for small images: 3x3 stem, no max-pooling.

With their defaults the named builders have exactly the trainable parameters
of https://github.com/kuangliu/pytorch-cifar, which the mixup paper used.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from experiments.networks import parts
from tf_mixup import _checks


def build_resnet(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    blocks: Sequence[int] = (2, 2, 2, 2),
    width: int = 64,
    stem: int | None = None,
    preactivation: bool = False,
    final_norm: bool = False,
    dropout: float = 0.0,
    synchronized: bool = False,
    zero_gamma: bool = False,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds a residual network of basic blocks, from pixels to logits.

    Stage `s` has `blocks[s]` blocks of `width * 2**s` channels, and each
    stage but the first halves the sides. What comes before the first stage is
    the layer named `stem`, the outputs of stages are `stage1`, `stage2`, ...
    (where manifold mixup mixes). The pre-activation
    network has no batch norm after the stem nor, unless `final_norm`, before
    the pooling, as in the mixup paper's code.

    Options of its own; the others are in `experiments.networks`:
        blocks: Blocks in each stage.
        width: Channels of the first stage.
        stem: Channels of the stem; `None` for as many as the first stage.
        preactivation: Whether norm and ReLU come before the convolutions.
        final_norm: Whether norm and ReLU come before the pooling.
        dropout: Between the two convolutions of each block, after the ReLU
            (corrupted-labels table of the mixup paper).
        zero_gamma: Not with `preactivation`.

    References:
        He, Zhang, Ren and Sun. Deep Residual Learning for Image Recognition.
        CVPR 2016. https://arxiv.org/abs/1512.03385
        He, Zhang, Ren and Sun. Identity Mappings in Deep Residual Networks.
        ECCV 2016. https://arxiv.org/abs/1603.05027
        Zagoruyko and Komodakis. Wide Residual Networks. BMVC 2016.
        https://arxiv.org/abs/1605.07146
    """
    layers = parts.Parts(parts.draw_seeds(seed), synchronized)
    block = _preactivation_block
    if not preactivation:
        block = functools.partial(_plain_block, zero_gamma=zero_gamma)
    elif zero_gamma:
        raise _checks.refusal(
            "A block starts as its shortcut where it ends in a batch norm",
            "zero_gamma=True with a pre-activation network, where a ReLU"
            " follows, which would never open",
            "Leave --zero_gamma out, or take another network",
        )
    images, features = parts.pixel_inputs(input_shape, **inputs)
    features = layers.convolution(features, stem or width)
    if not preactivation:
        features = layers.norm_relu(features)
    features = keras.layers.Identity(name="stem")(features)
    for stage, num_blocks in enumerate(blocks):
        for index in range(num_blocks):
            features = block(
                layers,
                features,
                filters=width * 2**stage,
                strides=2 if stage > 0 and index == 0 else 1,
                dropout=dropout,
            )
        features = keras.layers.Identity(name=f"stage{stage + 1}")(features)
    if final_norm:
        features = layers.norm_relu(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.logits(features, num_classes))


def _plain_block(
    layers: parts.Parts,
    features: keras.KerasTensor,
    *,
    filters: int,
    strides: int,
    dropout: float,
    zero_gamma: bool,
) -> keras.KerasTensor:
    """Applies conv, norm, ReLU, conv, norm, addition, ReLU."""
    shortcut = layers.shortcut(features, filters, strides)
    features = layers.convolution(features, filters, strides=strides)
    features = layers.dropout(layers.norm_relu(features), dropout)
    features = layers.norm(
        layers.convolution(features, filters), zero_gamma=zero_gamma
    )
    return keras.layers.ReLU()(keras.layers.Add()([features, shortcut]))


def _preactivation_block(
    layers: parts.Parts,
    features: keras.KerasTensor,
    *,
    filters: int,
    strides: int,
    dropout: float,
) -> keras.KerasTensor:
    """Applies norm, ReLU, conv, norm, ReLU, conv, addition."""
    active = layers.norm_relu(features)
    shortcut = features
    if strides > 1 or features.shape[-1] != filters:
        shortcut = layers.convolution(
            active, filters, kernel_size=1, strides=strides
        )
    features = layers.convolution(active, filters, strides=strides)
    features = layers.dropout(layers.norm_relu(features), dropout)
    features = layers.convolution(features, filters)
    return keras.layers.Add()([features, shortcut])


build_resnet18 = functools.partial(build_resnet, blocks=(2, 2, 2, 2))
build_resnet34 = functools.partial(build_resnet, blocks=(3, 4, 6, 3))
build_preact_resnet18 = functools.partial(
    build_resnet, blocks=(2, 2, 2, 2), preactivation=True
)
build_preact_resnet34 = functools.partial(
    build_resnet, blocks=(3, 4, 6, 3), preactivation=True
)
# WideResNet-28-10: 28 layers, ten times as wide as its stem.
build_wide_resnet28_10 = functools.partial(
    build_resnet,
    blocks=(4, 4, 4),
    width=160,
    stem=16,
    preactivation=True,
    final_norm=True,
)
# Trains in minutes on a laptop; the tables at --scale=small use it.
build_resnet_narrow = functools.partial(
    build_resnet, blocks=(1, 1, 1), width=16
)
# The overlap task's 300 features, as its paper lays them out.
build_resnet_features = functools.partial(
    build_resnet_narrow, image_shape=(10, 10, 3), mean=0.0, std=1.0
)
