"""Out-of-distribution detection: scores, measures, and noise to test with."""

from tf_mixup.ood.measures import aupr_in
from tf_mixup.ood.measures import aupr_out
from tf_mixup.ood.measures import auroc
from tf_mixup.ood.measures import fpr_at_95_tpr
from tf_mixup.ood.noise import NOISES
from tf_mixup.ood.noise import gaussian_noise
from tf_mixup.ood.noise import noise_like
from tf_mixup.ood.noise import uniform_noise
from tf_mixup.ood.scores import confidence

__all__ = (
    "NOISES",
    "aupr_in",
    "aupr_out",
    "auroc",
    "confidence",
    "fpr_at_95_tpr",
    "gaussian_noise",
    "noise_like",
    "uniform_noise",
)
