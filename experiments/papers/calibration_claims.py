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

PAPER = "1905.11001"
_MIXED = {"method": "mixup", "target": "mixed"}
MIXUP = Arm("mixup", _MIXED, chosen_by="validation_ece")
SMOOTHING = Arm("label smoothing", {**PLAIN, "label_smoothing": 0.1})
ERL = Arm("ERL", {**PLAIN, "entropy_weight": 0.1})
INPUTS_ONLY = Arm("inputs only", {"method": "mixup", "target": "nearest"})
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
    source=f"{PAPER}, figure 2",
)
_outside = functools.partial(
    Claim,
    table="out_of_distribution",
    arm=MIXUP,
    least=0.05,
    source=f"{PAPER}, section 5",
)
_text = functools.partial(
    Claim,
    table="text",
    arm=MIXUP,
    least=0.01,
    source=f"{PAPER}, figure 4",
)
# Replication's mean over 4 trials, of no mixup and of alpha .2.
_STL = "STL-10, VGG-16 (replication)"

CLAIMS = (
    _image(
        says="Mixup lowers ECE",
        result="test_ece",
        printed=f"{_STL}: 15.1 -> 4.7 % with 100 bins",
    ),
    _image(
        says="Mixup lowers ECE, also with the paper's 100 bins",
        result="test_ece_100",
        printed=f"{_STL}: 15.1 -> 4.7 %",
    ),
    _image(
        says="Mixup lowers OE",
        result="test_oe",
        printed=f"{_STL}: 13.6 -> 3.1 %",
    ),
    _image(
        says="OE falls as alpha grows",
        result="test_oe",
        arm=Arm("mixup by alpha", _MIXED),
        direction=Direction.FALLS,
        printed=f"{_STL}: 13.6, 5.5, 3.1, .7, .1 % at alpha 0, .1, .2, .4, 1",
    ),
    _image(
        says="Mixup does not cost accuracy",
        result="test_accuracy",
        direction=Direction.NOT_LOWER,
        printed=f"{_STL}: 78.9 -> 81.5 %",
    ),
    _image(
        says="Without mixup a network is overconfident",
        result="test_signed_gap",
        arm=NO_MIXUP,
        direction=Direction.HIGHER,
        baseline=None,
    ),
    _image(
        says="With alpha 1 it is underconfident: ECE by alpha is a U",
        result="test_signed_gap",
        arm=STRONGEST,
        baseline=None,
        printed=f"{_STL}: ECE 4.7 % at alpha .2, 10.0 % at alpha 1",
    ),
    _image(
        says="Mixup is better calibrated than label smoothing",
        result="test_ece",
        baseline=SMOOTHING,
        least=0.005,
    ),
    _image(
        says="Mixup is better calibrated than ERL",
        result="test_ece",
        baseline=ERL,
        least=0.005,
    ),
    _image(
        says="Soft labels matter: mixing the inputs only is worse calibrated",
        result="test_ece",
        arm=MIXUP_SAME,
        baseline=INPUTS_ONLY,
        source=f"{PAPER}, section 4.2",
    ),
    _image(
        says="Mixing the inputs only does not lower ECE",
        result="test_ece",
        arm=INPUTS_ONLY,
        direction=Direction.NOT_LOWER,
        source=f"{PAPER}, section 4.2",
    ),
    _outside(
        says="Mixup is less confident on random noise",
        result="gaussian_confidence",
    ),
    _outside(
        says="Mixup is less confident on images of another kind",
        result="other_confidence",
    ),
    _outside(
        says="Mixup separates noise from test images better",
        result="gaussian_auroc",
        least=0.01,
        printed="STL-10, VGG-16: AUROC 95.93 % with mixup",
    ),
    _outside(
        says="Mixup separates images of another kind better",
        result="other_auroc",
        least=0.01,
    ),
    _outside(
        says="On noise temperature scaling stays more confident than mixup",
        result="gaussian_confidence",
        baseline=SCALED,
    ),
    _outside(
        says="On images of another kind temperature scaling is less confident"
        " than mixup",
        result="other_confidence",
        arm=SCALED,
        baseline=MIXUP,
    ),
    _outside(
        says="Mixup is less confident on noise than MC dropout",
        result="gaussian_confidence",
        baseline=DROPOUT,
    ),
    _outside(
        says="Mixup is less confident on images of another kind than MC"
        " dropout",
        result="other_confidence",
        baseline=DROPOUT,
    ),
    _text(
        says="Mixup lowers ECE on text",
        result="test_ece",
        explanation="on TREC the network is hardly overconfident without mixup",
    ),
    _text(says="Mixup lowers OE on text", result="test_oe"),
    _text(
        says="Mixup does not cost accuracy on text",
        result="test_accuracy",
        direction=Direction.NOT_LOWER,
    ),
    Claim(
        says="After long training mixup is still better calibrated",
        source=f"{PAPER}, section 4.3",
        table="longer_training",
        result="test_ece",
        arm=MIXUP,
        least=0.01,
    ),
)
