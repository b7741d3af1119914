r"""Collects the runs of the papers' tables into the ledger.

Command:
    python -m experiments.collect --workdir=runs --data_dir=DIR
    python -m experiments.results

Measures each complete run also after temperature, vector and isotonic
scaling, with MC dropout, as an ensemble over seeds, mixup with test-time
rescaling; the runs of the table `adversarial` under attacks, and those of
`cifar` between their training points. A run that is not in the folder keeps
the lines that the ledger has of it, in whichever table, so that tables may
grow over several machines.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from absl import flags
from absl import logging

from experiments import _entry
from experiments import papers
from experiments.analysis import adversarial
from experiments.analysis import interpolation
from experiments.analysis import ledger
from experiments.analysis import posthoc
from experiments.papers import tables
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import run_data
from experiments.runs import run_files

# The tests import several binaries into one process.
_WORKDIR = flags.DEFINE_string(
    "workdir", "runs", "Folder of the runs.", allow_override=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of TensorFlow Datasets.", allow_override=True
)
_TABLE = flags.DEFINE_enum(
    "table",
    None,
    list(papers.TABLES),
    "One table; all of them by default.",
    allow_override=True,
)
_SCALE = flags.DEFINE_enum(
    "scale", "small", tables.SCALES, "Of the tables.", allow_override=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    str(ledger.FOLDER),
    "Folder that gets a file for each table.",
    allow_override=True,
)
# Tables whose networks are also averaged over seeds, and rescaled.
WITH_NETWORKS = ("out_of_distribution", "further_methods")
# Table -> what else its networks are measured for, and by what.
MEASURES: dict[str, tuple[str, Callable[..., Iterator]]] = {
    "adversarial": ("attacked", adversarial.measure),
    "cifar": ("between", interpolation.measure),
}


def collect(
    table: str,
    scale: str,
    workdir: pathlib.Path,
    sources: run_data.Sources,
    known: Mapping[str, Sequence[ledger.Line]],
) -> list[ledger.Line]:
    """Returns the lines of a table's runs.

    Args:
        table: Its name.
        scale: `"small"` or `"paper"`.
        workdir: Folder of the runs.
        sources: Where the data is; for what needs the networks again.
        known: Name of a table -> the lines that the ledger has already.
    """
    configs = papers.TABLES[table].configs(scale)
    complete = {
        config: workdir / config.run_name
        for config in configs
        if (workdir / config.run_name / run_files.RECORD).exists()
    }
    lines: list[ledger.Line] = []
    for config in configs:
        if config in complete:
            lines += _measure(config, complete[config])
        else:
            lines += _recall(config, table, known)
    if table in WITH_NETWORKS:
        lines += _with_networks(complete, sources)
    if table in MEASURES:
        after, measure = MEASURES[table]
        for config, results in measure(complete, sources):
            lines.append(ledger.Line(config, after, results))
    found = len({line.config for line in lines})
    logging.info(
        "%s: %d runs here, %d in the ledger, %d missing.",
        table,
        len(complete),
        found - len(complete),
        len(configs) - found,
    )
    return lines


def _measure(
    config: config_lib.Config, folder: pathlib.Path
) -> Iterator[ledger.Line]:
    """Yields the lines of a run, as it is and after each scaler."""
    record = run_files.read_record(folder, config)
    hours = record["duration_seconds"] / 3600
    yield ledger.Line(config, "", record["results"], hours)
    if not (folder / run_files.PREDICTIONS).exists():
        return  # What draws points has nothing to scale.
    for name, results in posthoc.measure_scaled(folder).items():
        yield ledger.Line(config, name, results)


def _recall(
    config: config_lib.Config,
    table: str,
    known: Mapping[str, Sequence[ledger.Line]],
) -> list[ledger.Line]:
    """Returns what the ledger has of a run, first by its own table."""
    for name in sorted(known, key=lambda name: name != table):
        found = [line for line in known[name] if line.config == config]
        if found:
            return found
    return []


def _with_networks(
    complete: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
) -> Iterator[ledger.Line]:
    """Yields what takes the networks: ensembles, and rescaled mixup."""
    groups: dict[config_lib.Config, list[pathlib.Path]] = {}
    for config, folder in complete.items():
        alike = dataclasses.replace(config, seed=0)
        groups.setdefault(alike, []).append(folder)
        plain = config.points == 2 and not config.mix_layers
        if config.method == "mixup" and plain and config.target == "mixed":
            outputs = posthoc.rescale(config, folder, sources)
            results = evaluation.measure_outputs(outputs)
            yield ledger.Line(config, "rescaling", results)
    for config, folders in groups.items():
        unmixed = not config.alpha and not config.label_smoothing
        if len(folders) > 1 and unmixed and not config.entropy_weight:
            outputs = posthoc.average(config, folders, sources)
            results = evaluation.measure_outputs(outputs)
            yield ledger.Line(config, "ensemble", results)


def main() -> None:
    """Writes the ledger of the chosen tables that have a run."""
    workdir = pathlib.Path(_WORKDIR.value)
    sources = run_data.Sources(data_dir=_DATA_DIR.value)
    output = pathlib.Path(_OUTPUT.value)
    known = ledger.read_all(output)
    for table in [_TABLE.value] if _TABLE.value else papers.TABLES:
        lines = collect(table, _SCALE.value, workdir, sources, known)
        if lines:
            ledger.write(lines, output / f"{table}.jsonl")


if __name__ == "__main__":
    _entry.start(main)
