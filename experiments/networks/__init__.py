"""The papers' networks: raw inputs in, float32 logits out.

Every builder takes `(input_shape, num_classes, *, width, dropout, mean, std,
seed)` and returns an uncompiled `keras.Model`; the one for sentences takes
their vocabulary in the place of mean and std. Letters: B rows, H and W sides,
C channels, K classes.
"""

from collections.abc import Callable
from collections.abc import Mapping

import keras

from experiments.networks.densenet import build_densenet
from experiments.networks.densenet import build_densenet190
from experiments.networks.lenet import build_lenet
from experiments.networks.mlp import build_mlp
from experiments.networks.resnet import build_preact_resnet18
from experiments.networks.resnet import build_preact_resnet34
from experiments.networks.resnet import build_resnet
from experiments.networks.resnet import build_resnet18
from experiments.networks.resnet import build_resnet34
from experiments.networks.resnet import build_resnet_features
from experiments.networks.resnet import build_resnet_narrow
from experiments.networks.resnet import build_wide_resnet28_10
from experiments.networks.resnext import build_resnet50
from experiments.networks.resnext import build_resnet101
from experiments.networks.resnext import build_resnext
from experiments.networks.resnext import build_resnext50
from experiments.networks.resnext import build_resnext50_features
from experiments.networks.resnext import build_resnext101
from experiments.networks.resnext import build_resnext101_64x4d
from experiments.networks.speech import build_speech_lenet
from experiments.networks.speech import build_speech_vgg11
from experiments.networks.text_cnn import build_text_cnn
from experiments.networks.vgg import build_vgg16

__all__ = [
    "BUILDERS",
    "build_densenet",
    "build_densenet190",
    "build_lenet",
    "build_mlp",
    "build_preact_resnet18",
    "build_preact_resnet34",
    "build_resnet",
    "build_resnet18",
    "build_resnet34",
    "build_resnet50",
    "build_resnet101",
    "build_resnet_features",
    "build_resnet_narrow",
    "build_resnext",
    "build_resnext50",
    "build_resnext50_features",
    "build_resnext101",
    "build_resnext101_64x4d",
    "build_speech_lenet",
    "build_speech_vgg11",
    "build_text_cnn",
    "build_vgg16",
    "build_wide_resnet28_10",
]

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
