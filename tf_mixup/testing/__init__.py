"""Tests of mixing pipelines, made with this library or not."""

from tf_mixup.testing.mixing_checks import MixingReport
from tf_mixup.testing.mixing_checks import check_mixing

__all__ = ("MixingReport", "check_mixing")
