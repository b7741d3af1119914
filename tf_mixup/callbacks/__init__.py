"""Callbacks for `fit`: the schedule of mixing, and measures of each epoch.

`MixingSchedule` comes first in a list of callbacks; monitors may stand
anywhere in it.
"""

from tf_mixup.callbacks.alpha_tuner import AlphaTuner
from tf_mixup.callbacks.alpha_tuner import Observation
from tf_mixup.callbacks.alpha_tuner import follow_gap
from tf_mixup.callbacks.alpha_tuner import switch_by_gap
from tf_mixup.callbacks.calibration_monitor import CalibrationMonitor
from tf_mixup.callbacks.mixed_batch_summary import MixedBatchSummary
from tf_mixup.callbacks.mixing_schedule import MixingSchedule
from tf_mixup.callbacks.ood_monitor import OODMonitor

__all__ = (
    "AlphaTuner",
    "CalibrationMonitor",
    "MixedBatchSummary",
    "MixingSchedule",
    "OODMonitor",
    "Observation",
    "follow_gap",
    "switch_by_gap",
)
