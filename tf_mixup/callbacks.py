"""Callbacks for `fit`: the clock of mixing, and what to measure each epoch.

`MixingSchedule` comes first in a list of callbacks; monitors may stand
anywhere in it.
"""

from tf_mixup.mixed_batch import MixedBatchSummary as MixedBatchSummary
from tf_mixup.mixing_schedule import MixingSchedule as MixingSchedule
from tf_mixup.monitors import CalibrationMonitor as CalibrationMonitor
from tf_mixup.monitors import OODMonitor as OODMonitor
