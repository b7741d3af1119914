"""What the papers train each data set with; flags override each field.

The settings of `digits` are ours.
"""

from typing import Any

from experiments.runs import gan
from experiments.runs.config import Config

# The mixup paper's, as in its authors' code: no Nesterov momentum, one weight
# decay for all. It holds out no examples; 1,000 are needed to choose alpha.
_CIFAR = {
    "network": "preact_resnet18",
    "epochs": 200,
    "milestones": (100, 150),
    "weight_decay": 1e-4,
    "nesterov": False,
    "alpha": 1.0,
    "augmentation": "standard",
}
# The calibration paper's; its text says decay 0.5, its replication's code 0.2.
_CALIBRATION = {
    "epochs": 200,
    "milestones": (60, 120, 160),
    "decay": 0.2,
    "alpha": 0.3,
    "augmentation": "standard",
}
# The mixup paper's; momentum, which looks ahead, and weight decay, which it
# does not state, are those of Goyal et al., whose augmentation it takes.
_IMAGENET = {
    "network": "resnet50",
    "epochs": 90,
    "batch_size": 1024,
    "learning_rate": 0.4,
    "warmup_epochs": 5,
    "warmup_start": 0.1,
    "milestones": (30, 60, 80),
    "weight_decay": 1e-4,
    "augmentation": "inception",
    "strategy": "mirrored",
}
_LENET = {
    "network": "lenet",
    "epochs": 20,
    "schedule": "cosine",
    "learning_rate": 0.05,
}
# Kim's settings, as in the calibration paper, which only states the layer.
_SENTENCES = {
    "network": "text_cnn",
    "epochs": 25,
    "batch_size": 50,
    "optimizer": "adadelta",
    "learning_rate": 1.0,
    "schedule": "constant",
    "weight_decay": 0.0,
    "mix_layers": ("embedding",),
}
# The mixup paper's tables. It states no alpha and no validation set: here a
# fifth of the examples that are not in the test set.
_TABLES = {
    "network": "mlp",
    "width": 128,
    "epochs": 10,
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
}
# Mixed just before the network proper, after five epochs without.
_SPEECH = {
    "network": "speech_vgg11",
    "epochs": 30,
    "batch_size": 100,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "milestones": (10, 20),
    "weight_decay": 0.0,
    "mix_layers": ("spectrogram",),
    "mixing_warmup_epochs": 5,
}
# Chidambaram and Ge's: Adam as their code has it, and no flips of labels.
_OVERLAPS = {
    "network": "resnext50_features",
    "epochs": 200,
    "batch_size": 500,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
    "alpha": 1.0,
}
# Recipe and validation examples.
_TRAINED: tuple[tuple[dict[str, Any], dict[str, int]], ...] = (
    (_CIFAR, {"cifar10": 1000, "cifar100": 1000}),
    (_IMAGENET, {"imagenet2012": 10_000, "imagefolder": 10_000}),
    (
        {**_CALIBRATION, "network": "resnet18"},
        {"fashion_mnist": 5000, "svhn_cropped": 5000},
    ),
    ({**_CALIBRATION, "network": "vgg16"}, {"stl10": 500}),
    (_LENET, {"mnist": 5000}),
    (_SENTENCES, {"trec": 545, "mr": 959, "imdb": 200, "sst2": 872}),
    ({**_TABLES, "epochs": 100}, {"rings": 200}),
    (
        _TABLES,
        {
            "uci:abalone": 417,
            "uci:arcene": 20,
            "uci:arrhythmia": 45,
            "uci:htru2": 1789,
            "uci:iris": 15,
            "uci:phishing": 1105,
        },
    ),
    (_SPEECH, {"speech_commands": 5000, "speech": 60}),
    (_OVERLAPS, {"gaussians": 400}),
)
# By name, or by the part before the colon.
PAPER_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"schedule": "cosine", "epochs": 30, "batch_size": 64},
    "points": gan.SETTING,
} | {
    name: {**recipe, "num_validation": count}
    for recipe, counts in _TRAINED
    for name, count in counts.items()
}
# Learning rates of optimizers that are not the data set's default.
_OF_OPTIMIZERS = {"sgd": 0.1, "adam": 1e-3, "adadelta": 1.0}
# With SGD. At 0.1 two of three seeds stay at chance, at 0.05 one: LeNet has no
# batch norm.
_OF_NETWORKS = {"lenet": 0.02}


def paper_defaults(
    dataset: str, *, network: str | None = None, optimizer: str | None = None
) -> dict[str, Any]:
    """Returns the default fields of a data set.

    Args:
        dataset: As the field `dataset`. A name with a colon that has no entry
            of its own, such as `speech:PATH`, takes that of its kind.
        network: Asked for; None for the data set's own.
        optimizer: Asked for; None for the data set's own. Another optimizer,
            or with SGD LeNet, takes a learning rate that it learns with.

    Returns:
        fields: Name -> value; empty for images in folders of your own.

    Example:
        >>> paper_defaults("gaussians:0.25")["network"]
        'resnext50_features'
    """
    kind = dataset.partition(":")[0]
    fields = dict(PAPER_DEFAULTS.get(dataset, PAPER_DEFAULTS.get(kind, {})))
    own = {"network": Config.network, "optimizer": Config.optimizer} | fields
    optimizer = optimizer or own["optimizer"]
    if optimizer != own["optimizer"]:
        fields["learning_rate"] = _OF_OPTIMIZERS[optimizer]
    other = network != own["network"]
    if optimizer == "sgd" and other and network in _OF_NETWORKS:
        fields["learning_rate"] = _OF_NETWORKS[network]
    return fields
