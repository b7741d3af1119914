"""The callbacks have one home; each one's tests stand beside its module."""

import inspect

import keras

from tf_mixup import callbacks


class TestNames:
    def test_are_all_callbacks(self):
        names = {
            name
            for name, value in vars(callbacks).items()
            if inspect.isclass(value)
        }
        # What a rule of `AlphaTuner` sees.
        names.remove("Observation")
        assert names == {
            "AlphaTuner",
            "CalibrationMonitor",
            "MixedBatchSummary",
            "MixingSchedule",
            "OODMonitor",
        }
        for name in names:
            value = getattr(callbacks, name)
            assert issubclass(value, keras.callbacks.Callback)
