r"""Collects the runs of the papers' tables into the ledger.

Command:
    python -m experiments.collect --workdir=runs --data_dir=DIR
    python -m experiments.results

Measures each complete run also after temperature, vector and isotonic
scaling, with MC dropout, as an ensemble over seeds, and mixup with test-time
rescaling. Runs that are missing are left out, and named.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from absl import flags
from absl import logging

from experiments import afterwards
from experiments import config as config_lib
from experiments import entry
from experiments import evaluation
from experiments import files
from experiments import ledger
from experiments import papers
from experiments import training
from experiments.papers import tables

# The tests import several binaries into one process.
_WORKDIR = flags.DEFINE_string(
    "workdir", "runs", "Folder of the runs.", allow_override=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of TensorFlow Datasets.", allow_override=True
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


def collect(
    table: str,
    scale: str,
    workdir: pathlib.Path,
    sources: training.Sources,
) -> list[ledger.Line]:
    """Returns the lines of a table's complete runs.

    Args:
        table: Its name.
        scale: `"small"` or `"paper"`.
        workdir: Folder of the runs.
        sources: Where the data is; for what needs the networks again.
    """
    complete = [
        (config, workdir / config.run_name)
        for config in papers.TABLES[table].configs(scale)
        if (workdir / config.run_name / "record.json").exists()
    ]
    missing = len(papers.TABLES[table].configs(scale)) - len(complete)
    logging.info("%s: %d runs, %d missing.", table, len(complete), missing)
    lines = []
    for config, folder in complete:
        record = files.read_json(folder / "record.json")
        hours = record["duration_seconds"] / 3600
        lines.append(ledger.Line(config, "", record["results"], hours))
        for name, results in afterwards.measure_scaled(folder).items():
            lines.append(ledger.Line(config, name, results))
    if table in WITH_NETWORKS:
        lines += _with_networks(complete, sources)
    return lines


def _with_networks(
    complete: list[tuple[config_lib.Config, pathlib.Path]],
    sources: training.Sources,
) -> Iterator[ledger.Line]:
    """Yields what takes the networks: ensembles, and rescaled mixup."""
    groups: dict[config_lib.Config, list[pathlib.Path]] = {}
    for config, folder in complete:
        alike = dataclasses.replace(config, seed=0)
        groups.setdefault(alike, []).append(folder)
        plain = config.points == 2 and not config.mix_layers
        if config.method == "mixup" and plain and config.target == "mixed":
            outputs = afterwards.rescale(config, folder, sources)
            results = evaluation.measure_outputs(outputs)
            yield ledger.Line(config, "rescaling", results)
    for config, folders in groups.items():
        unmixed = not config.effective_alpha and not config.label_smoothing
        if len(folders) > 1 and unmixed and not config.entropy_weight:
            outputs = afterwards.average(config, folders, sources)
            results = evaluation.measure_outputs(outputs)
            yield ledger.Line(config, "ensemble", results)


def main() -> None:
    """Writes the ledger of every table that has a run."""
    workdir = pathlib.Path(_WORKDIR.value)
    sources = training.Sources(data_dir=_DATA_DIR.value)
    for table in papers.TABLES:
        lines = collect(table, _SCALE.value, workdir, sources)
        if lines:
            ledger.write(lines, pathlib.Path(_OUTPUT.value, f"{table}.jsonl"))


if __name__ == "__main__":
    entry.start(main)
