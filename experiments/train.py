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
A GAN has no checkpoints: SIGTERM ends its run, which begins anew.
Of several workers (`experiments.launch`) one that lost another exits with 75.
The workdir gets `record.json`, `model.keras`, `predictions.npz`, `figures/`
and TensorBoard's `logs/`.
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Callable
from typing import Any

from absl import flags
from absl import logging

from experiments import _entry
from experiments import networks
from experiments.datasets import cards
from experiments.distributed import preemption
from experiments.distributed import strategy
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import gan
from experiments.runs import run_data
from experiments.runs import training
from experiments.runs import tuning
from tf_mixup import _checks

# Fields of `Config` that have a flag, and their types.
_FIELDS = {
    field.name: str(field.type)
    for field in dataclasses.fields(config_lib.Config)
    if field.name != "dataset"
}
# Those that take one of a few names.
_CHOICES = {"network": (*networks.BUILDERS, gan.NETWORK), **config_lib.CHOICES}
# By the type of a field, the first that fits.
_DEFINE: dict[str, Callable[..., Any]] = {
    "tuple": flags.DEFINE_list,
    "bool": flags.DEFINE_bool,
    "int": flags.DEFINE_integer,
    "str": flags.DEFINE_string,
    "float": flags.DEFINE_float,
}


def define_flags() -> None:
    """Defines the flags of this binary: one for each field of `Config`, too."""
    flags.DEFINE_string(
        "dataset", config_lib.Config.dataset, f"{cards.describe()}."
    )
    flags.DEFINE_string(
        "workdir", None, "Directory of this run.", required=True
    )
    flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
    flags.DEFINE_bool("download", False, "Fetch the data set if it is missing.")
    flags.DEFINE_integer(
        "checkpoint_every_steps",
        0,
        "Saves after as many steps of an epoch, too; 0 for after epochs only.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "owner_timeout",
        0,
        "Seconds to wait for a workdir that another process holds. A file"
        " system may keep the lock of a host that is gone for two minutes.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "logical_cpus",
        1,
        "Devices that the CPU counts as, to try --strategy=mirrored without"
        " GPUs.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "verbose",
        1,
        "Keras' progress bar: 0, 1, 2.",
        lower_bound=0,
        upper_bound=2,
    )
    summaries = _attribute_summaries()
    for name, kind in _FIELDS.items():
        if name in _CHOICES:
            flags.DEFINE_enum(name, None, _CHOICES[name], summaries[name])
            continue
        if name == "alpha":
            # A number, or `auto`.
            kind = "str"
        define = next(each for key, each in _DEFINE.items() if key in kind)
        define(name, None, summaries[name])


def _attribute_summaries() -> dict[str, str]:
    """Takes each flag's help from the docstring of `Config`."""
    summaries: dict[str, str] = {}
    text = (config_lib.Config.__doc__ or "").split("Attributes:")[1]
    for line in text.strip().splitlines():
        line = line.strip()
        name, colon, summary = line.partition(": ")
        if colon and name.isidentifier():
            summaries[name] = summary
            last = name
        else:
            summaries[last] += " " + line
    return summaries


def config_from_flags() -> config_lib.Config:
    """Returns the data set's defaults, overridden by the flags given."""
    values = flags.FLAGS
    fields = defaults.paper_defaults(
        values.dataset, network=values.network, optimizer=values.optimizer
    )
    given = {name: values[name].value for name in _FIELDS}
    fields |= {name: each for name, each in given.items() if each is not None}
    if given["milestones"] is not None:
        fields["milestones"] = _epochs(given["milestones"])
    if given["alpha"] is not None:
        fields |= _alpha(given["alpha"], given["tuning"])
    for name in ("mix_layers", "ood"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return config_lib.Config(dataset=values.dataset, **fields)


def command(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources,
) -> str:
    """Returns the command line of a run, with a flag for each field.

    Default values are written out, too: those of the data set are others.
    """
    values = {
        "workdir": workdir.absolute(),
        **dataclasses.asdict(sources),
        **dataclasses.asdict(config),
    }
    # A program's object, which no flag stands for.
    del values["preemption"]
    given = (
        f"--{name}={_write(value)}"
        for name, value in values.items()
        if value is not None
    )
    return shlex.join(["python", "-m", "experiments.train", *given])


def _write(value: Any) -> str:
    """Returns a value as a flag has it."""
    if isinstance(value, tuple):
        # Quotes what has a comma.
        return flags.CsvListSerializer(",").serialize([*value])
    return str(value)


def _alpha(text: str, rule: str | None) -> dict[str, Any]:
    """Returns the fields that `--alpha` stands for, beside `--tuning`."""
    if text == "auto":
        if rule == "none":
            raise _checks.refusal(
                "`--alpha=auto` tunes alpha",
                "--tuning=none",
                "Leave it out, or give a number as --alpha",
            )
        return {**tuning.AUTO, **({"tuning": rule} if rule else {})}
    try:
        return {"alpha": float(text)}
    except ValueError as error:
        raise _checks.refusal(
            "`alpha` is a number, or `auto`",
            f"alpha={text!r}",
            "Write e.g. --alpha=0.2",
        ) from error


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
    values = flags.FLAGS
    workdir = pathlib.Path(values.workdir)
    if values.logical_cpus > 1:
        strategy.split_cpu(values.logical_cpus)
    supervised = preemption.follow_launcher()
    with preemption.Preemption(supervised=supervised) as asked:
        sources = run_data.Sources(
            data_dir=values.data_dir,
            download=values.download,
            verbose=values.verbose,
            checkpoint_every_steps=values.checkpoint_every_steps,
            owner_timeout=values.owner_timeout,
            preemption=asked,
        )
        record = training.run(config_from_flags(), workdir, sources)
    if record:  # Of several workers the chief has it.
        for name, value in sorted(record["results"].items()):
            logging.info("%-28s %.4f", name, value)
        logging.info("Look at it with: tensorboard --logdir=%s", workdir)


if __name__ == "__main__":
    _entry.start(main, define_flags)
