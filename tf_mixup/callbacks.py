"""Callbacks for `fit`: the clock of mixing, and what to measure each epoch.

`MixingSchedule` comes first in a list of callbacks; monitors may stand
anywhere in it.
"""

from tf_mixup.mixed_batch import MixedBatchSummary
from tf_mixup.mixing_schedule import MixingSchedule
from tf_mixup.monitors import CalibrationMonitor
from tf_mixup.monitors import OODMonitor

__all__ = (
    "CalibrationMonitor",
    "MixedBatchSummary",
    "MixingSchedule",
    "OODMonitor",
)
