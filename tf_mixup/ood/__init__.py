"""Out-of-distribution detection: scores, measures, and noise to test with."""

from tf_mixup.ood.measures import POSITIVES
from tf_mixup.ood.measures import aupr
from tf_mixup.ood.measures import aupr_in
from tf_mixup.ood.measures import aupr_out
from tf_mixup.ood.measures import auroc
from tf_mixup.ood.measures import fpr_at_95_tpr
from tf_mixup.ood.neighbors import NearestNeighbors
from tf_mixup.ood.noise import NOISES
from tf_mixup.ood.noise import noise_like
from tf_mixup.ood.scores import NEED_LOGITS
from tf_mixup.ood.scores import SCORES
from tf_mixup.ood.scores import confidence
from tf_mixup.ood.scores import energy
from tf_mixup.ood.scores import max_logit
from tf_mixup.ood.scores import negative_entropy

__all__ = (
    "NEED_LOGITS",
    "NOISES",
    "POSITIVES",
    "SCORES",
    "NearestNeighbors",
    "aupr",
    "aupr_in",
    "aupr_out",
    "auroc",
    "confidence",
    "energy",
    "fpr_at_95_tpr",
    "max_logit",
    "negative_entropy",
    "noise_like",
)
