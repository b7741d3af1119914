r"""Trains a network with or without mixup and measures its calibration.

Command:
    python -m experiments.train --dataset=digits --method=mixup --alpha=0.2 \
        --workdir=runs/digits
    python -m experiments.train --dataset=cifar10 --data_dir=DIR --download \
        --workdir=runs/cifar10
    tensorboard --logdir=runs

Flags that are left out take what the papers use for the data set. Killed at
any moment, the same command goes on from its last checkpoint: that of the last
epoch, or of --checkpoint_every_steps. On SIGTERM the run saves itself after the
step it is in and exits with 143 (128 + 15); a second SIGTERM kills it at once.
Of several workers (`experiments.launch`) one that lost another exits with 75.
The workdir gets `record.json`, `model.keras`, `predictions.npz`, `figures/`
and TensorBoard's `logs/`.
"""

import dataclasses
import pathlib

from absl import flags
from absl import logging

from experiments import _entry
from experiments import networks
from experiments.datasets import cards
from experiments.distributed import preemption
from experiments.distributed import strategy
from experiments.papers import defaults
from experiments.runs import config
from experiments.runs import run_data
from experiments.runs import training
from tf_mixup import _checks

# Flags of fields that take one of a few names.
_CHOICES = {"network": tuple(networks.BUILDERS), **config.CHOICES}
_DATASET = flags.DEFINE_string(
    "dataset",
    config.Config.dataset,
    f"{cards.describe()}.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of this run.", required=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of TensorFlow Datasets."
)
_DOWNLOAD = flags.DEFINE_bool(
    "download", False, "Fetch the data set if it is missing."
)
_CHECKPOINT_EVERY_STEPS = flags.DEFINE_integer(
    "checkpoint_every_steps",
    0,
    "Saves after as many steps of an epoch, too; 0 for after epochs only.",
    lower_bound=0,
)
_LOGICAL_CPUS = flags.DEFINE_integer(
    "logical_cpus",
    1,
    "Devices that the CPU counts as, to try --strategy=mirrored without GPUs.",
    lower_bound=1,
)
_VERBOSE = flags.DEFINE_integer(
    "verbose",
    1,
    "Keras' progress bar: 0, 1, 2.",
    lower_bound=0,
    upper_bound=2,
)


def define_config_flags() -> dict[str, flags.FlagHolder]:
    """Defines a flag for each field of `Config` but the data set.

    Returns:
        holders: Name of a field -> its flag; None where it is not given.
    """
    summaries = _attribute_summaries()
    holders: dict[str, flags.FlagHolder] = {}
    for field in dataclasses.fields(config.Config):
        name, kind = field.name, str(field.type)
        if name == "dataset":
            continue
        summary = summaries[name]
        if name in _CHOICES:
            holders[name] = flags.DEFINE_enum(
                name, None, _CHOICES[name], summary
            )
        elif "tuple" in kind:
            holders[name] = flags.DEFINE_list(name, None, summary)
        elif "bool" in kind:
            holders[name] = flags.DEFINE_bool(name, None, summary)
        elif "int" in kind:
            holders[name] = flags.DEFINE_integer(name, None, summary)
        elif "str" in kind:
            holders[name] = flags.DEFINE_string(name, None, summary)
        else:
            holders[name] = flags.DEFINE_float(name, None, summary)
    return holders


def _attribute_summaries() -> dict[str, str]:
    """Takes each flag's help from the docstring of `Config`."""
    summaries: dict[str, str] = {}
    text = (config.Config.__doc__ or "").split("Attributes:")[1]
    for line in text.strip().splitlines():
        line = line.strip()
        name, colon, summary = line.partition(": ")
        if colon and name.isidentifier():
            summaries[name] = summary
            last = name
        else:
            summaries[last] += " " + line
    return summaries


_FIELDS = define_config_flags()


def config_from_flags() -> config.Config:
    """Returns the data set's defaults, overridden by the flags given."""
    fields = defaults.paper_defaults(
        _DATASET.value,
        network=_FIELDS["network"].value,
        optimizer=_FIELDS["optimizer"].value,
    )
    for name, holder in _FIELDS.items():
        if holder.value is not None:
            fields[name] = holder.value
    if _FIELDS["milestones"].value is not None:
        fields["milestones"] = _epochs(_FIELDS["milestones"].value)
    for name in ("mix_layers", "ood"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return config.Config(dataset=_DATASET.value, **fields)


def _epochs(names: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(name) for name in names)
    except ValueError as error:
        raise _checks.refusal(
            "`milestones` are epochs",
            f"milestones={names!r}",
            "Write e.g. --milestones=60,120,160",
        ) from error


def main() -> None:
    """Runs what the flags say and prints its results."""
    workdir = pathlib.Path(_WORKDIR.value)
    if _LOGICAL_CPUS.value > 1:
        strategy.split_cpu(_LOGICAL_CPUS.value)
    supervised = preemption.follow_launcher()
    with preemption.Preemption(supervised=supervised) as asked:
        sources = run_data.Sources(
            data_dir=_DATA_DIR.value,
            download=_DOWNLOAD.value,
            verbose=_VERBOSE.value,
            checkpoint_every_steps=_CHECKPOINT_EVERY_STEPS.value,
            preemption=asked,
        )
        record = training.run(config_from_flags(), workdir, sources)
    if record:  # Of several workers the chief has it.
        for name, value in sorted(record["results"].items()):
            logging.info("%-28s %.4f", name, value)
        logging.info("Look at it with: tensorboard --logdir=%s", workdir)


if __name__ == "__main__":
    _entry.start(main)
