r"""Runs the `Config`s of a table; resumes an interrupted sweep.

Command:
    python -m experiments.sweep --table=image_calibration --data_dir=DIR \
        --workdir=runs/image_calibration
    python -m experiments.sweep --table=image_calibration --dry_run

Each run has its own folder; complete runs are skipped, and a failure does not
stop the others. Several sweeps may share a folder: a run that another process
owns is refused, which counts as a failure. On SIGTERM all runs save their state
and the sweep exits with 143 (128 + 15); those of GANs have no checkpoints, end
and begin anew.

--engine says where the runs are executed: in processes of this machine
(`local`), as tasks of a Ray cluster (`ray`), or by another scheduler, for which
a command for each run is printed (`print`).
"""

import dataclasses
import functools
import pathlib
import statistics
import sys
from collections.abc import Sequence

from absl import flags
from absl import logging

from experiments import _entry
from experiments import datasets
from experiments import engines
from experiments.analysis import arms
from experiments.analysis import records
from experiments.analysis import run_tables
from experiments.distributed import preemption
from experiments.engines import commands
from experiments.engines import local
from experiments.engines import ray_tasks
from experiments.papers import TABLES
from experiments.papers.tables import SCALES
from experiments.runs import config as config_lib
from experiments.runs import gan
from experiments.runs import model_setup
from experiments.runs import run_data
from experiments.runs import run_files
from tf_mixup import _checks


def find_configs(
    table: str,
    scale: str,
    seeds: int | None = None,
    embeddings: str | None = None,
) -> list[config_lib.Config]:
    """Returns the runs of a table.

    Args:
        table: Its name.
        scale: One of `SCALES`.
        seeds: How many; None for the table's default.
        embeddings: File of word vectors that networks of sentences start from.

    Raises:
        ValueError: If the table has no runs at this scale, or no sentences.
    """
    configs = TABLES[table].configs(scale, seeds, embeddings)
    if not configs:
        raise _checks.refusal(
            "A sweep needs runs",
            f"--table={table} --scale={scale}, which has none",
            "Choose the other --scale; --dry_run lists its runs",
        )
    return configs


def sweep(
    configs: Sequence[config_lib.Config],
    workdir: pathlib.Path,
    sources: run_data.Sources,
    engine: engines.Engine,
) -> int:
    """Runs incomplete configs in order; returns the number of failures."""
    missing = [
        config
        for config in configs
        if not run_files.is_complete(workdir / config.run_name, config)
    ]
    logging.info("%d runs, %d to do.", len(configs), len(missing))
    failures = 0
    folders = {workdir / config.run_name: config for config in missing}
    for folder, error in engine(folders, sources):
        failures += error is not None
        logging.info("%s: %s", folder.name, "done" if error is None else error)
    return failures


def describe(
    configs: Sequence[config_lib.Config],
    workdir: pathlib.Path,
    sources: run_data.Sources,
    known: Sequence[records.Record] = (),
) -> str:
    """Returns a Markdown table of the runs, and below it how many are left.

    Hours are the median of the complete runs in this folder, or without one of
    those that are `known`.
    """
    complete = {
        config
        for config in configs
        if run_files.is_complete(workdir / config.run_name, config)
    }
    durations = [
        run_files.read_record(workdir / config.run_name)["duration_seconds"]
        / 3600
        for config in complete
    ] or [each.hours for each in known if not each.after]
    hours = statistics.median(durations) if durations else None
    estimate = f"{hours:.3f}" if hours else "unknown"
    rows = [("run", "training", "parameters", "hours")]
    parameters: dict[tuple, int] = {}
    for config in configs:
        key = (
            *(config.dataset, config.image_size),
            *(config.network, config.width),
        )
        if key not in parameters:
            parameters[key] = _count_parameters(config, sources)
        rows.append(
            (
                config.run_name,
                arms.describe_training(config),
                f"{parameters[key]:,}",
                "done" if config in complete else estimate,
            )
        )
    left = len(configs) - len(complete)
    total = f"{left * (hours or 0):.2f} hours"
    if left and not hours:
        total = "hours unknown before the first run"
    return (
        f"{run_tables.markdown(rows)}\n"
        f"{len(configs)} runs, {left} to do: {total}\n"
    )


def _count_parameters(
    config: config_lib.Config, sources: run_data.Sources
) -> int:
    """Counts without the data if its shape is known."""
    if config.dataset in gan.MODES:
        return gan.count_parameters()
    # They are large, and change no number.
    config = dataclasses.replace(config, embeddings=None)
    try:
        splits = datasets.make_placeholder(
            config.dataset, image_size=config.image_size
        )
    except ValueError:
        splits = run_data.load_splits(config, sources)
    return model_setup.count_parameters(
        model_setup.build_network(config, splits)
    )


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_enum(
        "table", None, tuple(TABLES), "Which runs.", required=True
    )
    flags.DEFINE_string("workdir", "runs", "Gets a folder per run.")
    flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
    flags.DEFINE_bool("download", False, "Fetch data sets that are missing.")
    flags.DEFINE_enum(
        "scale",
        "small",
        SCALES,
        "Hours on two CPU cores, or the paper's settings on GPUs.",
    )
    flags.DEFINE_integer(
        "seeds", None, "Number of seeds; the table's default.", lower_bound=1
    )
    flags.DEFINE_string(
        "embeddings", None, "Word vectors of the table `text`, e.g. GloVe's."
    )
    flags.DEFINE_enum(
        "engine",
        "local",
        ("local", "print", "ray"),
        "Where runs are executed; `print` only prints their commands.",
    )
    flags.DEFINE_integer(
        "jobs",
        1,
        "Runs at a time of --engine=local; they share the cores.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "ray_address",
        "local",
        "Of a Ray cluster, HOST:PORT or `auto`; `local` starts one here.",
    )
    flags.DEFINE_integer(
        "cpus_per_run",
        1,
        "CPUs, and threads, of each run with --engine=ray.",
        lower_bound=1,
    )
    flags.DEFINE_integer("gpus_per_run", 0, "With --engine=ray.", lower_bound=0)
    flags.DEFINE_integer(
        "retries",
        3,
        "How often a run is resumed after its worker was lost.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "checkpoint_every_steps",
        0,
        "Saves after as many steps of an epoch, too; 0 for after epochs only.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "verbose",
        0,
        "Keras' progress bar of each run: 0, 1, 2.",
        lower_bound=0,
        upper_bound=2,
    )
    flags.DEFINE_bool("skip_known", False, "Skip the runs of the ledger.")
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Print a table of the runs, their parameters and hours, and stop.",
    )


def choose_engine(values: flags.FlagValues) -> engines.Engine:
    """Returns the engine that the flags name, with its options."""
    options: dict[str, engines.Engine] = {
        "local": functools.partial(local.run_each, jobs=values.jobs),
        "print": commands.run_each,
        "ray": functools.partial(
            ray_tasks.run_each,
            address=values.ray_address,
            cpus=values.cpus_per_run,
            gpus=values.gpus_per_run,
            retries=values.retries,
        ),
    }
    return options[values.engine]


def main() -> None:
    """Runs or describes the table that the flags name."""
    values = flags.FLAGS
    configs = find_configs(
        values.table, values.scale, values.seeds, values.embeddings
    )
    tables = {}
    if values.skip_known or values.dry_run:
        tables = records.read_all(records.ledger(values.scale))
    if values.skip_known:
        done = {each.config for found in tables.values() for each in found}
        configs = [config for config in configs if config not in done]
    workdir = pathlib.Path(values.workdir)
    sources = run_data.Sources(
        data_dir=values.data_dir,
        download=values.download,
        verbose=values.verbose,
        checkpoint_every_steps=values.checkpoint_every_steps,
    )
    if values.dry_run:
        table = TABLES[values.table]
        logging.info("%s", table.describe(values.table, values.scale))
        known = tables.get(values.table, ())
        sys.stdout.write(describe(configs, workdir, sources, known))
        return
    with preemption.Preemption():
        failures = sweep(configs, workdir, sources, choose_engine(values))
    if failures:
        raise ValueError(
            f"All runs must succeed. Received: {failures} failed runs, see"
            " above. Fix the cause and run the same command again."
        )


if __name__ == "__main__":
    _entry.start(main, define_flags)
