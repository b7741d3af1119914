"""Claims of On Mixup Training (1905.11001).

The least effects that matter: one point of ECE, OE and accuracy (half a point
between calibrated methods), five points of confidence, .02 nats.
"""

import functools

from experiments.analysis.arms import NO_MIXUP
from experiments.analysis.arms import PLAIN
from experiments.analysis.arms import Arm
from experiments.analysis.claims import Claim
from experiments.analysis.claims import Direction
from experiments.papers import calibration

_MIXED = {"method": "mixup", "mix": "both"}
MIXUP = Arm("mixup", _MIXED, chosen_by="validation_ece")
SMOOTHING = Arm(
    "label smoothing",
    {**PLAIN, "label_smoothing": frozenset({0.05, 0.1})},
    chosen_by="validation_ece",
)
ERL = Arm("ERL", {**PLAIN, "entropy_weight": 0.1})
INPUTS_ONLY = Arm("inputs only", {"method": "mixup", "mix": "inputs"})
MIXUP_SAME = Arm("mixup, the same alpha", {**_MIXED, "alpha": 0.4})
STRONGEST = Arm("mixup, alpha 1", {**_MIXED, "alpha": 1.0})
SCALED = NO_MIXUP.then("temperature", "temperature scaling")
DROPOUT = Arm("MC dropout", {"method": "erm", "mc_passes": 10}, "dropout")
ENSEMBLE = NO_MIXUP.then("ensemble", "ensemble")

_image = functools.partial(
    Claim,
    table="image_calibration",
    arm=MIXUP,
    least=0.01,
    source=f"{calibration.PAPER}, figure 2",
)
_outside = functools.partial(
    Claim,
    table="out_of_distribution",
    arm=MIXUP,
    least=0.05,
    source=f"{calibration.PAPER}, section 5",
)
_imagenet = functools.partial(
    Claim,
    table="imagenet_calibration",
    arm=MIXUP,
    least=0.005,
    source=f"{calibration.PAPER}, figure 3",
)
_text = functools.partial(
    Claim,
    table="text",
    arm=MIXUP,
    least=0.01,
    source=f"{calibration.PAPER}, figure 4",
)
# Replication's mean over 4 trials, of no mixup and of alpha .2.
_STL = "STL-10, VGG-16 (replication)"

# Of claims about other scores.
_ADDED = "added when the AUROC of the confidence was known"

CLAIMS = (
    _image(
        "Mixup lowers ECE",
        "test_ece",
        printed=f"{_STL}: 15.1 -> 4.7 % with 100 bins",
    ),
    _image(
        "Mixup lowers ECE, also with the paper's 100 bins",
        "test_ece_100",
        printed=f"{_STL}: 15.1 -> 4.7 %",
    ),
    _image("Mixup lowers OE", "test_oe", printed=f"{_STL}: 13.6 -> 3.1 %"),
    _image(
        "OE falls as alpha grows",
        "test_oe",
        arm=Arm("mixup by alpha", _MIXED),
        direction=Direction.FALLS,
        printed=f"{_STL}: 13.6, 5.5, 3.1, .7, .1 % at alpha 0, .1, .2, .4, 1",
    ),
    _image(
        "Mixup does not cost accuracy",
        "test_accuracy",
        direction=Direction.NOT_LOWER,
        printed=f"{_STL}: 78.9 -> 81.5 %",
    ),
    _image(
        "Without mixup a network is overconfident",
        "test_signed_gap",
        arm=NO_MIXUP,
        direction=Direction.HIGHER,
        baseline=None,
    ),
    _image(
        "With alpha 1 it is underconfident",
        "test_signed_gap",
        arm=STRONGEST,
        baseline=None,
        printed=f"{_STL}: ECE 4.7 % at alpha .2, 10.0 % at alpha 1",
    ),
    _image(
        "Mixup is better calibrated than label smoothing",
        "test_ece",
        baseline=SMOOTHING,
        least=0.005,
    ),
    _image(
        "Mixup is better calibrated than ERL",
        "test_ece",
        baseline=ERL,
        least=0.005,
    ),
    _image(
        "Soft labels matter: mixing the inputs only is worse calibrated",
        "test_ece",
        arm=MIXUP_SAME,
        baseline=INPUTS_ONLY,
        source=f"{calibration.PAPER}, section 4.2",
    ),
    _outside("Mixup is less confident on random noise", "gaussian_confidence"),
    _outside(
        "Mixup is less confident on images of another kind", "other_confidence"
    ),
    _outside(
        "Mixup separates noise from test images better",
        "gaussian_auroc",
        least=0.01,
        printed="STL-10, VGG-16: AUROC 95.93 % with mixup",
    ),
    # Whether a poor AUROC comes from mixup or from the score.
    *(
        _outside(
            f"Mixup separates noise from test images better by {words}",
            f"gaussian_auroc_{score}",
            least=0.01,
            source=f"{calibration.PAPER}, section 5, here by another score",
            changed=_ADDED,
        )
        for score, words in (
            ("energy", "energy"),
            ("max_logit", "the largest logit"),
            ("entropy", "entropy"),
        )
    ),
    _outside(
        "Mixup separates images of another kind better by energy",
        "other_auroc_energy",
        least=0.01,
        explanation="mixup detects them a little worse by this score, and a"
        " little better by the confidence",
        source=f"{calibration.PAPER}, section 5, here by another score",
        changed=_ADDED,
    ),
    _outside(
        "Mixup separates images of another kind better",
        "other_auroc",
        least=0.01,
    ),
    _outside(
        "On noise temperature scaling stays more confident than mixup",
        "gaussian_confidence",
        baseline=SCALED,
    ),
    _outside(
        "On images of another kind temperature scaling is less confident"
        " than mixup",
        "other_confidence",
        arm=SCALED,
        baseline=MIXUP,
    ),
    _outside(
        "Mixup is less confident on noise than MC dropout",
        "gaussian_confidence",
        baseline=DROPOUT,
    ),
    _outside(
        "Mixup is less confident on images of another kind than MC dropout",
        "other_confidence",
        baseline=DROPOUT,
    ),
    _imagenet("Mixup lowers ECE on ImageNet", "test_ece"),
    _imagenet("Mixup lowers OE on ImageNet", "test_oe"),
    _text(
        "Mixup lowers ECE on text",
        "test_ece",
        explanation="on TREC the network is hardly overconfident without mixup",
    ),
    _text(says="Mixup lowers OE on text", result="test_oe"),
    _text(
        "Mixup does not cost accuracy on text",
        "test_accuracy",
        direction=Direction.NOT_LOWER,
    ),
    Claim(
        "After long training mixup is still better calibrated",
        "test_ece",
        source=f"{calibration.PAPER}, section 4.3",
        table="longer_training",
        arm=MIXUP,
        least=0.01,
    ),
)
