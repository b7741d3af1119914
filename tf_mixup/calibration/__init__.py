"""Calibration measures: bins of confidence, and errors as functions of them.

`bin_predictions` sums predictions into `Bins`, which add with `+` over
batches, replicas and data sets. The submodule `resampling` has intervals and
the error that chance alone would show; `per_example` has measures that need
no bins.
"""

from tf_mixup.calibration.bins import EDGES
from tf_mixup.calibration.bins import Bins
from tf_mixup.calibration.bins import bin_confidences
from tf_mixup.calibration.bins import bin_edges
from tf_mixup.calibration.bins import bin_predictions
from tf_mixup.calibration.bins import class_bins
from tf_mixup.calibration.bins import equal_mass_bins
from tf_mixup.calibration.bins import merge_bins
from tf_mixup.calibration.conventions import CONVENTIONS
from tf_mixup.calibration.conventions import Convention
from tf_mixup.calibration.errors import accuracy
from tf_mixup.calibration.errors import adaptive_calibration_error_from_bins
from tf_mixup.calibration.errors import classwise_calibration_error
from tf_mixup.calibration.errors import debiased_calibration_error
from tf_mixup.calibration.errors import expected_calibration_error
from tf_mixup.calibration.errors import maximum_calibration_error
from tf_mixup.calibration.errors import mean_confidence
from tf_mixup.calibration.errors import overconfidence_error
from tf_mixup.calibration.errors import overconfident_part
from tf_mixup.calibration.errors import signed_gap
from tf_mixup.calibration.errors import underconfident_part
from tf_mixup.calibration.per_example import brier_score
from tf_mixup.calibration.per_example import negative_log_likelihood
from tf_mixup.calibration.per_example import top_label

__all__ = (
    "CONVENTIONS",
    "EDGES",
    "Bins",
    "Convention",
    "accuracy",
    "adaptive_calibration_error_from_bins",
    "bin_confidences",
    "bin_edges",
    "bin_predictions",
    "brier_score",
    "class_bins",
    "classwise_calibration_error",
    "debiased_calibration_error",
    "equal_mass_bins",
    "expected_calibration_error",
    "maximum_calibration_error",
    "mean_confidence",
    "merge_bins",
    "negative_log_likelihood",
    "overconfidence_error",
    "overconfident_part",
    "signed_gap",
    "top_label",
    "underconfident_part",
)
