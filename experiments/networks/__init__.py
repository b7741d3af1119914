"""The papers' networks: raw pixels in, float32 logits out.

Every builder takes `(input_shape, num_classes, *, width, dropout, mean, std,
seed)` and returns an uncompiled `keras.Model`. Letters: B rows, H and W
sides, C channels, K classes.
"""

from collections.abc import Callable
from collections.abc import Mapping

import keras

from experiments.networks.lenet import build_lenet
from experiments.networks.resnet import build_preact_resnet18
from experiments.networks.resnet import build_preact_resnet34
from experiments.networks.resnet import build_resnet
from experiments.networks.resnet import build_resnet18
from experiments.networks.resnet import build_resnet34
from experiments.networks.resnet import build_resnet_narrow
from experiments.networks.vgg import build_vgg16

__all__ = [
    "BUILDERS",
    "build_lenet",
    "build_preact_resnet18",
    "build_preact_resnet34",
    "build_resnet",
    "build_resnet18",
    "build_resnet34",
    "build_resnet_narrow",
    "build_vgg16",
]

# The names that a `--network` flag may take.
BUILDERS: Mapping[str, Callable[..., keras.Model]] = {
    "lenet": build_lenet,
    "preact_resnet18": build_preact_resnet18,
    "preact_resnet34": build_preact_resnet34,
    "resnet18": build_resnet18,
    "resnet34": build_resnet34,
    "resnet_narrow": build_resnet_narrow,
    "vgg16": build_vgg16,
}
