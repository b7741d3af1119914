"""Mixing: the stages that mix batches, and what they are made of."""

from tf_mixup.mixing.cutmix import CutMix
from tf_mixup.mixing.epoch_counter import Clock
from tf_mixup.mixing.layers import Mix
from tf_mixup.mixing.layers import Unite
from tf_mixup.mixing.mixup import MixUp
from tf_mixup.mixing.mixup import Plan
from tf_mixup.mixing.mixup import Replay
from tf_mixup.mixing.neighbors import choose_neighbors
from tf_mixup.mixing.neighbors import nearest_neighbors
from tf_mixup.mixing.plans import choose_partner
from tf_mixup.mixing.plans import draw_lam
from tf_mixup.mixing.plans import mix
from tf_mixup.mixing.plans import take_nearer
from tf_mixup.mixing.training_model import mixable_layers
from tf_mixup.mixing.training_model import training_twin

__all__ = (
    "Clock",
    "CutMix",
    "Mix",
    "MixUp",
    "Plan",
    "Replay",
    "Unite",
    "choose_neighbors",
    "choose_partner",
    "draw_lam",
    "mix",
    "mixable_layers",
    "nearest_neighbors",
    "take_nearer",
    "training_twin",
)
