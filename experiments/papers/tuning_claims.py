"""Claims of this project about a tuned alpha, committed before their runs.

One thing changed after the first seed of four data sets: the rule, which did
not yet tune trainings of less than 30 epochs faster, took alpha back too late
on digits (20 epochs). The runs that it concerns were made again.

Each is judged on every data set. The sweep over fixed alphas may choose its
best one by the validation set in the measure that is compared, which is the
most that it can ask for. The least effects that matter: half a point of ECE
and accuracy, .02 nats where nothing may be lost and .005 where it is gained.
"""

import functools

from experiments.analysis.arms import NO_MIXUP
from experiments.analysis.arms import PLAIN
from experiments.analysis.arms import Arm
from experiments.analysis.claims import Claim
from experiments.analysis.claims import Direction
from experiments.papers import tuning

_MIXUP = {"method": "mixup", "per": "batch", "kernel_width": 0.0}
FIXED = {**_MIXUP, "tuning": "none"}
TUNED = Arm("tuned alpha", {**_MIXUP, "tuning": "follow"})
TUNED_SCALED = TUNED.then("temperature", "tuned alpha, temperature scaling")
SCALED = NO_MIXUP.then("temperature", "temperature scaling")
EARLY_STOPPING = Arm("early stopping", {**PLAIN, "restore_best": True})


def _best_fixed(measure: str) -> Arm:
    return Arm("best fixed alpha", FIXED, chosen_by=f"validation_{measure}")


# Of the alternatives, all with alpha 1.
STRONG = Arm("mixup", {**FIXED, "alpha": 1.0})
ALTERNATIVES = (
    Arm("MIT-L", {"method": "mit"}),
    Arm("similarity kernel", {**FIXED, "kernel_width": 0.25}),
    Arm("CAMixup", {"tuning": "camixup"}),
    Arm("alphas by class", {"per": "class", "tuning": "follow"}),
)

STARTS = {
    str(start): Arm(
        f"tuned alpha from {start}",
        {**_MIXUP, "tuning": "follow", "alpha": start},
    )
    for start in (0.1, 0.3)
}
FROM_ONE = Arm("tuned alpha", {**_MIXUP, "tuning": "follow", "alpha": 1.0})

# See docs/tuning.md.
_WHY = {
    "digits,": "digits need no mixup, and what the first epochs mixed stays",
    "labels corrupted": "with wrong labels, and right ones to validate on, a"
    " network is underconfident without any mixup",
    "UCI abalone": "alpha stays at its upper limit, 1, as the network is"
    " overconfident even there",
    "Fashion-MNIST, LeNet": "no fixed alpha has a lower NLL than a temperature"
    " alone",
    "MR,": "ten epochs are too few to take an alpha of 1 back: from 0.1 the"
    " accuracy is higher (table tuning_starts)",
}
_claim = functools.partial(
    Claim,
    source=tuning.PAPER,
    table="alpha_tuning",
    arm=TUNED,
    least=0.005,
    explanation=_WHY,
)
_FEW = "the gap of a class is known to 7 points from 50 validation examples"
_BY_CLASS = ("CAMixup", "alphas by class")
_other = functools.partial(_claim, table="tuning_alternatives", explanation="")
_start = functools.partial(
    _claim, table="tuning_starts", baseline=FROM_ONE, explanation=""
)
_not_higher = functools.partial(_claim, direction=Direction.NOT_HIGHER)
_not_lower = functools.partial(_claim, direction=Direction.NOT_LOWER)

CLAIMS = (
    _claim("A tuned alpha lowers ECE", "test_ece", least=0.01),
    _not_higher("A tuned alpha does not raise ECE", "test_ece"),
    _not_higher("A tuned alpha does not raise NLL", "test_nll", least=0.02),
    _not_lower("A tuned alpha does not cost accuracy", "test_accuracy"),
    _not_higher(
        "A tuned alpha has no higher ECE than the best fixed one",
        "test_ece",
        baseline=_best_fixed("ece"),
    ),
    _not_higher(
        "A tuned alpha has no higher NLL than the best fixed one",
        "test_nll",
        baseline=_best_fixed("nll"),
        least=0.02,
    ),
    _claim(
        "A tuned alpha has a lower NLL than the best fixed one",
        "test_nll",
        baseline=_best_fixed("nll"),
    ),
    _not_lower(
        "A tuned alpha has no lower accuracy than the best fixed one",
        "test_accuracy",
        baseline=_best_fixed("accuracy"),
    ),
    _claim(
        "A tuned alpha has a lower ECE than early stopping without mixup",
        "test_ece",
        baseline=EARLY_STOPPING,
    ),
    _claim(
        "A tuned alpha has a lower NLL than early stopping without mixup",
        "test_nll",
        baseline=EARLY_STOPPING,
    ),
    _not_higher(
        "A tuned alpha has no higher ECE than temperature scaling",
        "test_ece",
        baseline=SCALED,
    ),
    _claim(
        "A tuned alpha has a lower NLL than temperature scaling",
        "test_nll",
        baseline=SCALED,
    ),
    _claim(
        "After temperature scaling a tuned alpha has the lower NLL",
        "test_nll",
        arm=TUNED_SCALED,
        baseline=SCALED,
    ),
    # What a lower start is good for, committed before its runs.
    *(
        _start(f"From {start} {words}", result, arm=arm, **options)
        for start, arm in STARTS.items()
        for words, result, options in (
            (
                "a tuned alpha has a higher accuracy than from 1",
                "test_accuracy",
                {"direction": Direction.HIGHER},
            ),
            (
                "a tuned alpha has no higher ECE than from 1",
                "test_ece",
                {"direction": Direction.NOT_HIGHER},
            ),
        )
    ),
    # What their papers claim: of ECE before and after a temperature.
    *(
        _other(
            f"The ECE of {arm.name} is lower than that of mixup",
            "test_ece",
            arm=arm,
            baseline=STRONG,
            explanation=_FEW if arm.name in _BY_CLASS else "",
        )
        for arm in ALTERNATIVES
    ),
    *(
        _other(
            f"After temperature scaling the NLL of {arm.name} is lower than"
            " that of mixup",
            "test_nll",
            arm=arm.then("temperature"),
            baseline=STRONG.then("temperature"),
        )
        for arm in ALTERNATIVES
    ),
    _other(
        "After temperature scaling mixup has a higher NLL than no mixup",
        "test_nll",
        arm=STRONG.then("temperature"),
        baseline=SCALED,
        direction=Direction.HIGHER,
    ),
    *(
        _other(
            f"The ECE of a tuned alpha is not higher than that of {arm.name}",
            "test_ece",
            baseline=arm,
            direction=Direction.NOT_HIGHER,
        )
        for arm in ALTERNATIVES
    ),
)
