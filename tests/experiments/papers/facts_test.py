"""The tables at the papers' scale, number by number against their sources.

Each case quotes what `shared/papers/FACTS.md` says of a paper, if it is there,
and the values that the runs of a table must have for it.
"""

import re

import pytest

from experiments.papers import CLAIMS
from experiments.papers import TABLES
from experiments.runs import gan
from tests import conftest

FACTS = conftest.REAL_DATA.parent / "papers" / "FACTS.md"
# Table, fields that select its runs, all values of other fields, a quotation.
SETTINGS = (
    (
        "cifar",
        {},
        {
            "dataset": {"cifar10", "cifar100"},
            "network": {"preact_resnet18", "wide_resnet28_10", "densenet190"},
            "epochs": {200},
            "batch_size": {128},
            "alpha": {0.0, 1.0},
            "learning_rate": {0.1},
            "decay": {0.1},
            "weight_decay": {1e-4},
            "dropout": {None},
        },
        "200 epochs, batch 128, alpha=1, lr 0.1, /10 at 100 and 150 (WRN: at"
        " 60,120,180), weight decay 1e-4 (same for ERM and mixup!), no dropout",
    ),
    (
        "cifar",
        {"network": "preact_resnet18"},
        {
            "milestones": {(100, 150)},
            "nesterov": {False},
            "per": {"batch"},
            "augmentation": {"standard"},
        },
        "SGD momentum 0.9 (no Nesterov), RandomCrop(32,pad 4)+HFlip",
    ),
    (
        "cifar",
        {"network": "wide_resnet28_10"},
        {"milestones": {(60, 120, 180)}},
        "(WRN: at 60,120,180)",
    ),
    (
        "imagenet",
        {"epochs": 90},
        {
            "batch_size": {1024},
            "warmup_start": {0.1},
            "learning_rate": {0.4},
            "warmup_epochs": {5},
            "milestones": {(30, 60, 80)},
            "image_size": {None},
        },
        "batch 1,024; lr 0.1->0.4 linearly over first 5 epochs, then /10 at"
        " 30,60,80 (90-epoch runs) or 60,120,180 (200-epoch runs)",
    ),
    (
        "imagenet",
        {"epochs": 200},
        {
            "milestones": {(60, 120, 180)},
            "network": {"resnet50", "resnet101", "resnext101"},
        },
        "| ResNeXt-101 32*4d | ERM / mixup a=0.4 | 200 |",
    ),
    (
        "imagenet",
        {"network": "resnet50"},
        {"alpha": {0.0, 0.2}},
        "| ResNet-50 | ERM / mixup a=0.2 | 200 |",
    ),
    (
        "imagenet",
        {"network": "resnext101_64x4d"},
        {"alpha": {0.0, 0.4}, "epochs": {90}},
        "| ResNeXt-101 64*4d | ERM (Xie 2016) | 100 |",
    ),
    (
        "speech",
        {"method": "mixup"},
        {
            "epochs": {30},
            "batch_size": {100},
            "optimizer": {"adam"},
            "learning_rate": {3e-3},
            "milestones": {(10, 20)},
            "decay": {0.1},
            "mixing_warmup_epochs": {5},
            "mix_layers": {("spectrogram",)},
            "alpha": {0.1, 0.2},
            "network": {"speech_lenet", "speech_vgg11"},
        },
        "Adam, 30 epochs, batch 100, lr 3e-3 /10 every 10 epochs; mixup runs"
        " have **5 warm-up epochs on unmixed data**",
    ),
    (
        "corrupt_labels",
        {"dropout": None, "method": "mixup"},
        {
            "alpha": {1.0, 2.0, 8.0, 32.0},
            "corruption": {0.2, 0.5, 0.8},
            "corruption_kind": {"uniform"},
        },
        "mixup alpha in {1,2,8,32}",
    ),
    (
        "corrupt_labels",
        {"method": "erm"},
        {"dropout": {None, 0.5, 0.7, 0.8, 0.9}},
        "dropout p in {.5,.7,.8,.9}",
    ),
    (
        "adversarial",
        {},
        {"network": {"resnet101"}, "dataset": {"imagenet2012"}},
        "ImageNet, three ResNet-101, eps = 4 per pixel",
    ),
    (
        "uci",
        {},
        {
            "width": {128},
            "optimizer": {"adam"},
            "learning_rate": {1e-3},
            "epochs": {10},
            "batch_size": {16},
        },
        "2 hidden layers x128 ReLU, Adam default, 10 epochs, batch 16",
    ),
    (
        "gans",
        {},
        {
            "epochs": {20_000 // gan.ITERATIONS},
            "batch_size": {128},
            "alpha": {0.0, 0.2},
            "optimizer": {"adam"},
        },
        "20,000 minibatches of 128; Adam default; 5 D steps per G step; mixup"
        " alpha=0.2",
    ),
    (
        "ablation",
        {},
        {
            "neighbors": {0, 200},
            "weight_decay": {1e-4, 5e-4},
            "noise": {0.0, 0.05, 0.1, 0.2},
            # Of a correct class is left 1 - .9 epsilon.
            "label_smoothing": {0.0, 0.045, 0.09, 0.18, 0.36},
            "test_each_epoch": {True},
        },
        "median test error of last 10 epochs",
    ),
    (
        "image_calibration",
        {},
        {
            "epochs": {200},
            "learning_rate": {0.1},
            "milestones": {(60, 120, 160)},
            "weight_decay": {5e-4},
            "nesterov": {True},
        },
        "SGD + Nesterov; weight decay 5e-4; 200 epochs; lr 0.1, decayed at 60,"
        " 120, 160",
    ),
    (
        "image_calibration",
        {"dataset": "stl10"},
        {"network": {"vgg16"}, "ood": {("folder:imagenet_unseen",)}},
        "STL-10: VGG-16; CIFAR-10: VGG-16 and ResNet-34; CIFAR-100: VGG-16 and"
        " ResNet-34; Fashion-MNIST: ResNet-18; ImageNet: ResNet-50 and"
        " ResNeXt-101 (32x4d)",
    ),
    *(
        (
            "image_calibration",
            {"dataset": name},
            {"network": {"vgg16", "resnet34", "resnet18"}},
            "adds ResNet-18 on CIFAR-10/100",
        )
        for name in ("cifar10", "cifar100")
    ),
    (
        "image_calibration",
        {"method": "erm"},
        {"label_smoothing": {0.0, 0.05, 0.1}, "entropy_weight": {0.0, 0.1}},
        "eps in [0.05, 0.1]; ERL kappa = 0.1",
    ),
    (
        "imagenet_calibration",
        {"method": "erm"},
        {
            "network": {"resnet50", "resnext101", "vgg16"},
            "label_smoothing": {0.0, 0.1},
            "entropy_weight": {0.0, 0.1},
            "learning_rate": {0.4},
        },
        "ImageNet: Goyal et al. LR schedule",
    ),
    (
        "out_of_distribution",
        {"network": "vgg16"},
        # As in all other arms, of which only the passes differ.
        {"dropout": {None}, "mc_passes": {0, 10}},
        "MC-dropout averaged over 10 runs",
    ),
    (
        "longer_training",
        {},
        {
            "network": {"resnet18"},
            "dataset": {"cifar10", "cifar100"},
            "milestones": {(120, 240, 320)},
        },
        "adds ResNet-18 on CIFAR-10/100",
    ),
    (
        "text",
        {},
        {
            "batch_size": {50},
            "optimizer": {"adadelta"},
            "mix_layers": {("embedding",)},
            # SST-2 is ours.
            "dataset": {"trec", "mr", "imdb", "sst2"},
        },
        "dropout 0.5, max-norm 3, batch 50, Adadelta",
    ),
    *(
        (
            table,
            {},
            {
                "optimizer": {"adam"},
                "learning_rate": {1e-3},
                "batch_size": {500},
                "epochs": {200},
                "schedule": {"constant"},
                "weight_decay": {0.0},
                "augmentation": {"none"},
                "network": {network},
                "num_points": {2, 3, 5},
            },
            "Adam lr 1e-3 (default betas, no weight decay), batch 500, **200"
            " epochs, no lr schedule, no augmentation**",
        )
        for table, network in (
            ("gaussian_overlap", "resnext50_features"),
            ("image_overlap", "resnext50"),
        )
    ),
    (
        "gaussian_overlap",
        {},
        {
            "dataset": {f"gaussians:{mu}" for mu in (0.25, 0.05, 0.01)},
            # A tenth of the 4,000 that are not for testing.
            "num_validation": {400},
        },
        "n=5000 (4000/1000), mu in {.25,.05,.01}",
    ),
    (
        "image_overlap",
        {},
        {
            "corruption": {0.0, 0.25, 0.5},
            "dataset": {"cifar10", "cifar100", "svhn_cropped"},
        },
        'p in {0, .25, .5} [memory: medium; TS-rev says "0-50%"].'
        " CIFAR-10, CIFAR-100, SVHN",
    ),
    (
        "image_overlap",
        {"dataset": "cifar10"},
        {"num_validation": {5000}},
        "10% of train held out for TS",
    ),
    (
        "image_overlap",
        {"corruption": 0.5},
        {"corruption_kind": {"class_map"}},
        "label i -> fixed random other class map[i]",
    ),
)


@pytest.fixture(scope="module")
def facts():
    if not FACTS.exists():
        pytest.skip("needs shared/papers/FACTS.md, which is not there")
    return " ".join(FACTS.read_text().split())


@pytest.mark.parametrize(
    ("table", "chosen", "expected"), [case[:3] for case in SETTINGS]
)
def test_runs_have_the_papers_settings(table, chosen, expected):
    configs = [
        config
        for config in TABLES[table].configs("paper", 1)
        if all(getattr(config, name) == chosen[name] for name in chosen)
    ]
    found = {
        name: {getattr(config, name) for config in configs} for name in expected
    }
    assert found == expected


def test_settings_are_those_of_the_sources(facts):
    for *_, quotation in SETTINGS:
        assert quotation in facts


def test_every_table_of_the_papers_is_compared():
    # Ours, and those whose settings are those of other tables here.
    others = {"rings", "variants", "alpha_sweep", "further_methods"}
    own = {
        name for name, table in TABLES.items() if table.source == table.paper
    }
    assert {case[0] for case in SETTINGS} == set(TABLES) - others - own


def numbers(text):
    """Returns the numbers of a text, `.5` and `1,000` among them."""
    found = re.findall(r"(?<![\w.])\d*\.?\d+", text.replace(",", ""))
    return {round(float(each), 6) for each in found}


def test_printed_numbers_of_claims_are_those_of_the_sources(facts):
    known = numbers(facts)
    for claim in CLAIMS:
        if claim.source.startswith(("1710", "1905", "2306")):
            for number in numbers(claim.printed):
                percent = round(number / 100, 6)
                assert number in known or percent in known, claim.says
