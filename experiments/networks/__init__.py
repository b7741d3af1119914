"""The papers' networks: raw inputs in, float32 logits out.

A builder returns an uncompiled `keras.Model` from raw inputs of any dtype,
`(B, *input_shape)`, to float32 logits `(B, K)`. It raises a ValueError for a
shape, statistics or classes that do not fit. All builders take:

    input_shape: `(H, W, C)` of images, `(D,)` of features, `(16000,)` of
        waveforms, `(L,)` of word ids.
    num_classes: Number of logits, K.
    width: Channels or units that the other layers scale with.
    dropout: Rate in `[0, 1)`.
    mean: Of the inputs in their own unit, pixels in `[0, 255]`; one number or
        one a channel. The network of sentences has `vocabulary` instead.
    std: Standard deviation, in the same form.
    seed: Of the weights and of dropout; `None` draws one, the same one after
        `keras.utils.set_random_seed`.

Those with batch norm may also take:

    synchronized: Whether batch norm uses the batch of all replicas.
    zero_gamma: Whether the last batch norm of each residual block starts at
        0, and the block as its shortcut (Goyal et al. 2017, section 5.1,
        https://arxiv.org/abs/1706.02677).
    image_shape: `(H, W, C)` into which features are laid row by row; `None`
        where the inputs are images.
"""

from collections.abc import Callable
from collections.abc import Mapping

import keras

from experiments.networks.densenet import build_densenet as build_densenet
from experiments.networks.densenet import build_densenet190
from experiments.networks.lenet import build_lenet
from experiments.networks.mlp import build_mlp
from experiments.networks.resnet import build_preact_resnet18
from experiments.networks.resnet import build_preact_resnet34
from experiments.networks.resnet import build_resnet as build_resnet
from experiments.networks.resnet import build_resnet18
from experiments.networks.resnet import build_resnet34
from experiments.networks.resnet import build_resnet_features
from experiments.networks.resnet import build_resnet_narrow
from experiments.networks.resnet import build_wide_resnet28_10
from experiments.networks.resnext import build_resnet50
from experiments.networks.resnext import build_resnet101
from experiments.networks.resnext import build_resnext as build_resnext
from experiments.networks.resnext import build_resnext50
from experiments.networks.resnext import build_resnext50_features
from experiments.networks.resnext import build_resnext101
from experiments.networks.resnext import build_resnext101_64x4d
from experiments.networks.speech import build_speech_lenet
from experiments.networks.speech import build_speech_vgg11
from experiments.networks.text_cnn import build_text_cnn
from experiments.networks.vgg import build_vgg16

# The names that a `--network` flag may take.
BUILDERS: Mapping[str, Callable[..., keras.Model]] = {
    "densenet190": build_densenet190,
    "lenet": build_lenet,
    "mlp": build_mlp,
    "preact_resnet18": build_preact_resnet18,
    "preact_resnet34": build_preact_resnet34,
    "resnet18": build_resnet18,
    "resnet34": build_resnet34,
    "resnet50": build_resnet50,
    "resnet101": build_resnet101,
    "resnet_features": build_resnet_features,
    "resnet_narrow": build_resnet_narrow,
    "resnext50": build_resnext50,
    "resnext50_features": build_resnext50_features,
    "resnext101": build_resnext101,
    "resnext101_64x4d": build_resnext101_64x4d,
    "speech_lenet": build_speech_lenet,
    "speech_vgg11": build_speech_vgg11,
    "text_cnn": build_text_cnn,
    "vgg16": build_vgg16,
    "wide_resnet28_10": build_wide_resnet28_10,
}
