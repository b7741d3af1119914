"""Mixup training and calibrated predictive uncertainty for Keras."""

from tf_mixup import attacks as attacks
from tf_mixup import calibration as calibration
from tf_mixup import callbacks as callbacks
from tf_mixup import layers as layers
from tf_mixup import losses as losses
from tf_mixup import metrics as metrics
from tf_mixup import mixing as mixing
from tf_mixup import neighbors as neighbors
from tf_mixup import ood as ood
from tf_mixup import plots as plots
from tf_mixup import posthoc as posthoc
from tf_mixup import scores as scores
from tf_mixup import selftest as selftest
from tf_mixup import summaries as summaries
from tf_mixup.cutmix import CutMix as CutMix
from tf_mixup.mixing import mix as mix
from tf_mixup.pipeline import MixUp as MixUp
from tf_mixup.report import report as report

__version__ = "0.1.0"
