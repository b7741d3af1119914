"""Calibration reports of any Keras classifier, and comparisons of models."""

from tf_mixup.report.build import Report
from tf_mixup.report.build import calibration_report
from tf_mixup.report.build_labels import LabelReport
from tf_mixup.report.build_labels import label_report
from tf_mixup.report.comparison import Comparison
from tf_mixup.report.comparison import compare

__all__ = (
    "Comparison",
    "LabelReport",
    "Report",
    "calibration_report",
    "compare",
    "label_report",
)
