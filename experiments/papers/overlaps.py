"""Limitations of Temperature Scaling (Chidambaram and Ge 2024): its tables.

Classes overlap, so a network that fits its training set is overconfident. The
paper compares no mixup after temperature scaling with mixup before it; here
both are measured before and after, with temperatures that are fitted to
convergence, on clean labels and on labels as noisy as the training set's.
"""

from typing import Any

from experiments.papers import calibration
from experiments.papers import defaults
from experiments.papers import tables
from experiments.runs import config as config_lib

PAPER = "2306.00740"
# Points in a mixture: d-Mixup mixes d + 1.
ARMS = (
    calibration.ERM,
    calibration.mixup(1.0),
    calibration.mixup(1.0, num_points=3),
    calibration.mixup(1.0, num_points=5),
)
DISTANCES = (0.25, 0.05, 0.01)
FLIPS = (0.0, 0.25, 0.5)
_SETTING = defaults.PAPER_DEFAULTS["gaussians"]


def gaussian_overlap(scale: str, seeds: int) -> list[config_lib.Config]:
    """Table 1: two Gaussians in 300 dimensions, at three distances.

    Small scale has a quarter of the paper's epochs, which suffice to fit the
    training set, and all of them where classes overlap most.
    """
    networks: tuple[str, ...] = ("resnext50_features",)
    setting = dict(_SETTING)
    if scale == "small":
        networks = ("mlp", "resnet_features")
        setting["epochs"] = 50
    configs = [
        config
        for network in networks
        for config in tables.cross(
            range(seeds),
            [
                {**setting, "dataset": f"gaussians:{mu}", "network": network}
                for mu in DISTANCES
            ],
            ARMS,
        )
    ]
    if scale == "small":
        long = {**_SETTING, "dataset": "gaussians:0.01", "network": "mlp"}
        arms = [arm for arm in ARMS if arm.get("num_points") != 3]
        configs += tables.cross(range(seeds), [long], arms)
    return configs


def _flip(share: float) -> dict[str, Any]:
    if not share:
        return {}
    return {"corruption": share, "corruption_kind": "class_map"}


def image_overlap(scale: str, seeds: int) -> list[config_lib.Config]:
    """Table 2: images whose labels are flipped to one wrong class per class."""
    if scale == "paper":
        settings = [
            {
                **_SETTING,
                "dataset": name,
                "network": "resnext50",
                "num_validation": validation,
            }
            for name, validation in (
                ("cifar10", 5000),
                ("cifar100", 5000),
                ("svhn_cropped", 7326),
            )
        ]
    else:
        # The runs without flips are also image_calibration's.
        settings = [calibration.small_base("cifar10")]
    bases = [
        {**setting, **_flip(flips)} for flips in FLIPS for setting in settings
    ]
    return tables.cross(range(seeds), bases, ARMS)


TABLES = tables.of_paper(
    PAPER,
    {
        gaussian_overlap: (
            (3, 5),
            3.0,
            "NLL 1.744 -> 0.929 nats (MLP, mu 0.01, alpha 1)",
            ((5, {"epochs": 50, "network": "mlp"}),),
        ),
        image_overlap: (
            (3, 3),
            3.4,
            "NLL 2.524 -> 1.678 nats (25 % of labels flipped, alpha 1)",
            (
                (5, {"num_points": 2}),
                (10, {"num_points": 2, "corruption": frozenset(FLIPS[1:])}),
            ),
        ),
    },
)
