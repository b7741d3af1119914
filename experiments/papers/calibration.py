"""On Mixup Training (Thulasidasan et al. 2019): its tables as `Config`s.

At small scale a narrow network fits 2,500 images without augmentation in a
minute on one CPU core, and is overconfident on other images. At the paper's
scale the settings are the paper's, or if it does not state them its
replication's (batch 128, crops and flips).
"""

from typing import Any

from experiments.papers import defaults
from experiments.papers import tables
from experiments.runs import config

PAPER = "1905.11001"
Arms = list[dict[str, Any]]

ERM = config.NO_MIXING
SMOOTHING = {**ERM, "label_smoothing": 0.1}
ERL = {**ERM, "entropy_weight": 0.1}
# Rate of dropout for networks that have none of their own.
_RATE = 0.3


def mixup(alpha: float, **fields: Any) -> dict[str, Any]:
    """Returns the fields of an arm that mixes."""
    return {"method": "mixup", "alpha": alpha, **fields}


INPUTS_ONLY = mixup(0.4, mix="inputs")

# Out-of-distribution sets, in addition to noise.
_OOD = {
    "fashion_mnist": ("../ood/mnist_test.npz",),
    "cifar10": ("../ood/cifar100_test_subset1000.npz",),
}
SMALL: dict[str, Any] = {
    "network": "resnet_narrow",
    "epochs": 30,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "weight_decay": 5e-4,
    "augmentation": "none",
    "num_train": 2500,
    "num_validation": 1000,
}
_FULL = defaults.PAPER_DEFAULTS["fashion_mnist"]
# Data set and network of each image column of the paper's figures.
_IMAGES: tuple[dict[str, Any], ...] = (
    {
        "dataset": "stl10",
        "network": "vgg16",
        "num_validation": 500,
        # ImageNet classes that STL-10 lacks, in a folder beside the data.
        "ood": ("folder:imagenet_unseen",),
    },
    {"dataset": "cifar10", "network": "vgg16", "ood": ("svhn_cropped",)},
    {"dataset": "cifar10", "network": "resnet34", "ood": ("svhn_cropped",)},
    {"dataset": "cifar100", "network": "vgg16", "ood": ("svhn_cropped",)},
    {"dataset": "cifar100", "network": "resnet34", "ood": ("svhn_cropped",)},
    {"dataset": "fashion_mnist", "network": "resnet18", "ood": ("mnist",)},
    # The authors' answer to their reviewers adds these.
    {"dataset": "cifar10", "network": "resnet18", "ood": ("svhn_cropped",)},
    {"dataset": "cifar100", "network": "resnet18", "ood": ("svhn_cropped",)},
)


def _bases(scale: str) -> Arms:
    if scale == "paper":
        return [{**_FULL, **column} for column in _IMAGES]
    return [small_base(name) for name in _OOD]


def small_base(dataset: str) -> dict[str, Any]:
    """Returns the fields of all runs of a data set at small scale."""
    return {**SMALL, "dataset": dataset, "ood": _OOD[dataset]}


def image_calibration(scale: str, seeds: int) -> list[config.Config]:
    """Figures 1 and 2: mixup by alpha, label smoothing, ERL, inputs only."""
    alphas: tuple[float, ...] = (0.2, 0.4, 1.0)
    if scale == "paper":
        alphas = tuple(tenths / 10 for tenths in range(1, 11))
    arms = [ERM, *map(mixup, alphas), SMOOTHING, ERL, INPUTS_ONLY]
    if scale == "paper":
        arms.append({**SMOOTHING, "label_smoothing": 0.05})
    return tables.cross(range(seeds), _bases(scale), arms)


def alpha_sweep(scale: str, seeds: int) -> list[config.Config]:
    """ALPHA_STUDY.md: mixup by alpha, on 5,000 images."""
    bases = _bases(scale)
    if scale == "small":
        more = {"num_train": 5000, "num_validation": 2000}
        bases = [{**base, **more} for base in bases]
    arms = [ERM, *map(mixup, (0.1, 0.2, 0.4, 1.0))]
    return tables.cross(range(seeds), bases, arms)


def out_of_distribution(scale: str, seeds: int) -> list[config.Config]:
    """Section 5: out-of-distribution data, with MC dropout.

    Ensembles and temperature scaling use the predictions of these runs.
    """
    # At small scale the alphas that validation ECE chose: .2 and .4.
    mixed, sampled = [mixup(0.2), mixup(0.4)], {**ERM, "mc_passes": 10}
    others = [ERM, *mixed, SMOOTHING, ERL, {**sampled, "dropout": _RATE}]
    # VGG-16 has dropout in all arms: passes of the network without mixup.
    own = [sampled, *mixed, SMOOTHING, ERL]
    return [
        config
        for seed in range(seeds)
        for base in _bases(scale)
        for config in tables.cross(
            [seed], [base], own if base["network"] == "vgg16" else others
        )
    ]


def imagenet_calibration(scale: str, seeds: int) -> list[config.Config]:
    """Figure 3: ImageNet; no mixup, mixup, label smoothing, ERL.

    It has no runs at small scale. The paper does not state its alpha; these
    are of the range that it calls good. VGG-16 is added to its networks. Some
    runs are also those of `imagenet`.
    """
    if scale == "small":
        return []
    base = {
        **defaults.PAPER_DEFAULTS["imagenet2012"],
        "dataset": "imagenet2012",
    }
    bases = [
        {**base, "network": network}
        for network in ("resnet50", "resnext101", "vgg16")
    ]
    arms = [ERM, mixup(0.2), mixup(0.4), SMOOTHING, ERL]
    return tables.cross(range(seeds), bases, arms)


def further_methods(scale: str, seeds: int) -> list[config.Config]:
    """CutMix, RegMixup and manifold mixup, with the alphas of their authors."""
    layers = ("input", "stage1", "stage2")
    arms = [
        ERM,
        mixup(0.4),
        {"method": "cutmix", "alpha": 1.0},
        {"method": "regmixup", "alpha": 20.0},
        mixup(2.0, mix_layers=layers),
    ]
    bases = [base for base in _bases(scale) if base["dataset"] == "cifar10"]
    return tables.cross(range(seeds), bases[-1:], arms)


def longer_training(scale: str, seeds: int) -> list[config.Config]:
    """Section 4.3: calibration by epoch, with and without augmentation."""
    if scale == "small":
        chosen = [{**small_base("cifar10"), "epochs": 90}]
    else:
        milestones = tuple(2 * epoch for epoch in _FULL["milestones"])
        chosen = [
            {**base, "epochs": 400, "milestones": milestones}
            for base in _bases(scale)
            if base["network"] == "resnet18" and "cifar" in base["dataset"]
        ]
    bases = [
        {**base, "augmentation": augmentation}
        for base in chosen
        for augmentation in ("none", "standard")
    ]
    return tables.cross(range(seeds), bases, [ERM, mixup(0.4)])


def text(scale: str, seeds: int) -> list[config.Config]:
    """Figure 4: the sentence CNN, mixed in its embedding layer.

    The paper's words start as GloVe's vectors: `--embeddings=FILE`. SST-2 is
    added to its data sets.
    """
    sets = (
        ("trec", "mr") if scale == "small" else ("trec", "mr", "imdb", "sst2")
    )
    arms = [ERM, mixup(0.2, mix_layers=("embedding",))]
    if scale == "paper":
        arms += [SMOOTHING, ERL]
    # 100 numbers per word instead of 300; enough epochs to fit the data.
    changes: dict[str, dict[str, Any]] = {
        "trec": {"width": 100, "epochs": 15},
        "mr": {"width": 100, "epochs": 10},
    }
    if scale == "paper":
        # A tenth, as of the others; the default is that of a part of IMDB.
        changes = {"imdb": {"num_validation": 2500}}
    return [
        config.Config(
            **{**defaults.PAPER_DEFAULTS[name], **arm, **changes.get(name, {})},
            dataset=name,
            seed=seed,
        )
        for seed in range(seeds)
        for name in sets
        for arm in arms
    ]


# Fields of runs that claims need more often.
_UNSMOOTHED = {"label_smoothing": 0.0, "entropy_weight": 0.0}
_CIFAR = {"dataset": "cifar10"}
_FASHION = {"dataset": "fashion_mnist"}

TABLES = tables.of_paper(
    PAPER,
    {
        image_calibration: (
            (5, 5),
            5.1,
            "ECE 25.9 -> 2.1 % (CIFAR-10, alpha 1)",
        ),
        alpha_sweep: ((5, 5), 4.9, "ECE 23.7 -> 2.2 % (CIFAR-10, alpha 0.4)"),
        out_of_distribution: (
            (5, 5),
            6.1,
            "confidence on noise 81.8 -> 63.0 % (CIFAR-10, alpha 0.4)",
            (
                (8, {**_UNSMOOTHED, **_FASHION}),
                (16, {**_UNSMOOTHED, **_FASHION, "dropout": None}),
                (10, {**_UNSMOOTHED, **_CIFAR, "dropout": None}),
            ),
        ),
        imagenet_calibration: ((3, 3), 0.0, "none; no run at small scale"),
        text: (
            (10, 10),
            1.3,
            "ECE 12.9 -> 10.0 % (MR, alpha 0.2)",
            ((16, {"dataset": "mr"}),),
        ),
        longer_training: (
            (2, 3),
            1.2,
            "ECE 29.6 -> 3.9 % (CIFAR-10, alpha 0.4)",
        ),
        further_methods: (
            (2, 5),
            0.9,
            "ECE 25.9 -> 6.5 % (CIFAR-10, mixup, alpha 0.4)",
        ),
    },
)
