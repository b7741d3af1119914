"""Mixup training and calibrated predictive uncertainty for Keras."""

from tf_mixup import attacks
from tf_mixup import calibration
from tf_mixup import callbacks
from tf_mixup import losses
from tf_mixup import metrics
from tf_mixup import mixing
from tf_mixup import ood
from tf_mixup import plots
from tf_mixup import posthoc
from tf_mixup import report
from tf_mixup import selective
from tf_mixup import summaries
from tf_mixup import testing
from tf_mixup.mixing import CutMix
from tf_mixup.mixing import MixUp
from tf_mixup.mixing import mix
from tf_mixup.report import calibration_report

__all__ = (
    "CutMix",
    "MixUp",
    "attacks",
    "calibration",
    "calibration_report",
    "callbacks",
    "losses",
    "metrics",
    "mix",
    "mixing",
    "ood",
    "plots",
    "posthoc",
    "report",
    "selective",
    "summaries",
    "testing",
)

__version__ = "0.2.0"
