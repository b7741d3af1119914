"""Calibration measures.

Every measure takes `(labels, probabilities)`, or a table of sums: `Bins` of
`bin_predictions`, which add with `+` over batches, replicas and data sets;
those of regression are in `intervals`.
Intervals and the null range are made by resampling one confidence and one
correctness for each example, from `top_label`.
"""

from tf_mixup.calibration.bins import EDGES
from tf_mixup.calibration.bins import Bins
from tf_mixup.calibration.bins import bin_confidences
from tf_mixup.calibration.bins import bin_edges
from tf_mixup.calibration.bins import bin_predictions
from tf_mixup.calibration.bins import class_bins
from tf_mixup.calibration.bins import merge_bins
from tf_mixup.calibration.conventions import CONVENTIONS
from tf_mixup.calibration.conventions import Convention
from tf_mixup.calibration.decomposition import BrierParts
from tf_mixup.calibration.decomposition import brier_decomposition
from tf_mixup.calibration.equal_mass import adaptive_calibration_error
from tf_mixup.calibration.equal_mass import equal_mass_bins
from tf_mixup.calibration.errors import accuracy
from tf_mixup.calibration.errors import average_calibration_error
from tf_mixup.calibration.errors import classwise_calibration_error
from tf_mixup.calibration.errors import debiased_calibration_error
from tf_mixup.calibration.errors import expected_calibration_error
from tf_mixup.calibration.errors import label_calibration_error
from tf_mixup.calibration.errors import maximum_calibration_error
from tf_mixup.calibration.errors import mean_confidence
from tf_mixup.calibration.errors import overconfidence_error
from tf_mixup.calibration.errors import overconfident_part
from tf_mixup.calibration.errors import signed_gap
from tf_mixup.calibration.errors import underconfident_part
from tf_mixup.calibration.per_class import ClassBias
from tf_mixup.calibration.per_class import ClassSums
from tf_mixup.calibration.per_class import class_bias
from tf_mixup.calibration.per_class import class_sums
from tf_mixup.calibration.per_example import brier_score
from tf_mixup.calibration.per_example import negative_log_likelihood
from tf_mixup.calibration.per_example import top_label
from tf_mixup.calibration.per_label import label_bins
from tf_mixup.calibration.regression import interval_coverage
from tf_mixup.calibration.regression import quantile_calibration_error
from tf_mixup.calibration.resampling import Interval
from tf_mixup.calibration.resampling import NullRange
from tf_mixup.calibration.resampling import bootstrap_interval
from tf_mixup.calibration.resampling import null_calibration_error
from tf_mixup.calibration.smooth import smooth_calibration_error

__all__ = (
    "CONVENTIONS",
    "EDGES",
    "Bins",
    "BrierParts",
    "ClassBias",
    "ClassSums",
    "Convention",
    "Interval",
    "NullRange",
    "accuracy",
    "adaptive_calibration_error",
    "average_calibration_error",
    "bin_confidences",
    "bin_edges",
    "bin_predictions",
    "bootstrap_interval",
    "brier_decomposition",
    "brier_score",
    "class_bias",
    "class_bins",
    "class_sums",
    "classwise_calibration_error",
    "debiased_calibration_error",
    "equal_mass_bins",
    "expected_calibration_error",
    "interval_coverage",
    "label_bins",
    "label_calibration_error",
    "maximum_calibration_error",
    "mean_confidence",
    "merge_bins",
    "negative_log_likelihood",
    "null_calibration_error",
    "overconfidence_error",
    "overconfident_part",
    "quantile_calibration_error",
    "signed_gap",
    "smooth_calibration_error",
    "top_label",
    "underconfident_part",
)
