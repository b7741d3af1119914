"""Mixing: the stages that mix batches, and what they are made of."""

from tf_mixup.mixing._batches import require_finite
from tf_mixup.mixing.cutmix import CutMix
from tf_mixup.mixing.decoupled import DecoupledMixUp
from tf_mixup.mixing.epoch_counter import EpochCounter
from tf_mixup.mixing.layers import Mix
from tf_mixup.mixing.layers import Unite
from tf_mixup.mixing.layers import Unmix
from tf_mixup.mixing.mixup import MixUp
from tf_mixup.mixing.mixup import Plan
from tf_mixup.mixing.neighbors import choose_neighbors
from tf_mixup.mixing.neighbors import nearest_neighbors
from tf_mixup.mixing.options import Inputs
from tf_mixup.mixing.options import Labels
from tf_mixup.mixing.options import Partners
from tf_mixup.mixing.options import SimilarityKernel
from tf_mixup.mixing.plans import choose_partner
from tf_mixup.mixing.plans import draw_lam
from tf_mixup.mixing.plans import mix
from tf_mixup.mixing.plans import take_nearer
from tf_mixup.mixing.stage import Replay
from tf_mixup.mixing.stage import Stage
from tf_mixup.mixing.switch import MixUpOrCutMix
from tf_mixup.mixing.training_model import mixable_layers

__all__ = (
    "CutMix",
    "DecoupledMixUp",
    "EpochCounter",
    "Inputs",
    "Labels",
    "Mix",
    "MixUp",
    "MixUpOrCutMix",
    "Partners",
    "Plan",
    "Replay",
    "SimilarityKernel",
    "Stage",
    "Unite",
    "Unmix",
    "choose_neighbors",
    "choose_partner",
    "draw_lam",
    "mix",
    "mixable_layers",
    "nearest_neighbors",
    "require_finite",
    "take_nearer",
)
