"""Mixup training and calibrated predictive uncertainty for Keras."""

from tf_mixup import attacks
from tf_mixup import calibration
from tf_mixup import callbacks
from tf_mixup import layers
from tf_mixup import losses
from tf_mixup import metrics
from tf_mixup import mixing
from tf_mixup import neighbors
from tf_mixup import ood
from tf_mixup import plots
from tf_mixup import posthoc
from tf_mixup import scores
from tf_mixup import selftest
from tf_mixup import summaries
from tf_mixup.cutmix import CutMix
from tf_mixup.mixing import mix
from tf_mixup.pipeline import MixUp
from tf_mixup.report import report

__all__ = (
    "CutMix",
    "MixUp",
    "attacks",
    "calibration",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "mix",
    "mixing",
    "neighbors",
    "ood",
    "plots",
    "posthoc",
    "report",
    "scores",
    "selftest",
    "summaries",
)

__version__ = "0.1.0"
