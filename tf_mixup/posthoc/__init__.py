"""Calibration after training: scalers, and models whose outputs they scale."""

from tf_mixup.posthoc.binary_scalers import BetaCalibration
from tf_mixup.posthoc.binary_scalers import PlattScaling
from tf_mixup.posthoc.calibrated_model import calibrate
from tf_mixup.posthoc.calibrated_model import check_disjoint
from tf_mixup.posthoc.conformal import ConformalSets
from tf_mixup.posthoc.conformal import conformal_radius
from tf_mixup.posthoc.ensembles import DeepEnsemble
from tf_mixup.posthoc.ensembles import MonteCarloDropout
from tf_mixup.posthoc.labelwise import LabelwiseScaling
from tf_mixup.posthoc.rescaling import MixupRescaling
from tf_mixup.posthoc.scalers import IsotonicScaling
from tf_mixup.posthoc.scalers import Scaler
from tf_mixup.posthoc.scalers import TemperatureScaling
from tf_mixup.posthoc.scalers import VectorScaling

__all__ = (
    "BetaCalibration",
    "ConformalSets",
    "DeepEnsemble",
    "IsotonicScaling",
    "LabelwiseScaling",
    "MixupRescaling",
    "MonteCarloDropout",
    "PlattScaling",
    "Scaler",
    "TemperatureScaling",
    "VectorScaling",
    "calibrate",
    "check_disjoint",
    "conformal_radius",
)
