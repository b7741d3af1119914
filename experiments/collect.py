r"""Collects the runs of the papers' tables into the ledger.

Command:
    python -m experiments.collect --workdir=runs --data_dir=DIR
    python -m experiments.results

Each complete run is also measured after temperature, vector and isotonic
scaling, with MC dropout, as an ensemble of three seeds, and with test-time
rescaling of mixup; runs of the table `adversarial` under attacks, and those of
`cifar` between their training points. A run that is not in the folder keeps
its records of the ledger, from any table, so that several machines can
contribute. What is measured here also replaces what other tables of the ledger
have of the same runs.
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
from experiments.analysis import posthoc
from experiments.analysis import records as records_lib
from experiments.analysis.records import Record
from experiments.papers import tables
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import run_data
from experiments.runs import run_files

# Tables whose networks are also averaged over seeds and rescaled.
WITH_NETWORKS = ("out_of_distribution", "further_methods")
# Seeds whose networks are averaged.
ENSEMBLE_SIZE = 3
# Table -> key of `measures.AFTER`, and the function that measures its networks.
MEASURES: dict[str, tuple[str, Callable[..., Iterator]]] = {
    "adversarial": ("attacked", adversarial.measure),
    "cifar": ("between", interpolation.measure),
}


def collect(
    table: str,
    scale: str,
    workdir: pathlib.Path,
    sources: run_data.Sources,
    known: Mapping[str, Sequence[Record]],
    embeddings: str | None = None,
) -> list[Record]:
    """Returns the records of a table's runs."""
    configs = papers.TABLES[table].configs(scale, embeddings=embeddings)
    complete = {
        config: workdir / config.run_name
        for config in configs
        if (workdir / config.run_name / run_files.RECORD).exists()
    }
    found: list[Record] = []
    for config in configs:
        if config in complete:
            found += _measure(config, complete[config])
        else:
            found += _recall(config, table, known)
    if table in WITH_NETWORKS:
        found += _with_networks(complete, sources)
    if table in MEASURES:
        after, measure = MEASURES[table]
        found += [
            Record(config, after, results)
            for config, results in measure(complete, sources)
        ]
    # What needs networks of other seeds, which are not in the folder.
    measured = {(record.config, record.after) for record in found}
    found += [
        record
        for record in known.get(table, ())
        if record.config in complete
        and record.after in ("ensemble", "attacked")
        and (record.config, record.after) not in measured
    ]
    num_found = len({record.config for record in found})
    logging.info(
        "%s: %d runs here, %d in the ledger, %d missing.",
        table,
        len(complete),
        num_found - len(complete),
        len(configs) - num_found,
    )
    return found


def _measure(
    config: config_lib.Config, folder: pathlib.Path
) -> Iterator[Record]:
    """Yields the records of a run, before and after each scaler."""
    record = run_files.read_record(folder, config)
    hours = record["duration_seconds"] / 3600
    yield Record(config, "", record["results"], hours)
    if not (folder / run_files.PREDICTIONS).exists():
        return  # GANs have nothing to scale.
    for name, results in posthoc.measure_scaled(folder).items():
        yield Record(config, name, results)


def _recall(
    config: config_lib.Config,
    table: str,
    known: Mapping[str, Sequence[Record]],
) -> list[Record]:
    """Returns the records of a run in the ledger, first from its table."""
    for name in sorted(known, key=lambda name: name != table):
        found = [record for record in known[name] if record.config == config]
        if found:
            return found
    return []


def share(
    found: Sequence[Record], workdir: pathlib.Path, output: pathlib.Path
) -> None:
    """Writes what was measured here into the other tables of the same runs.

    A run that was trained again has one result, whichever table shows it.
    """
    fresh = {
        (record.config, record.after): record
        for record in found
        if (workdir / record.config.run_name / run_files.RECORD).exists()
    }
    for name, lines in records_lib.read_all(output).items():
        keys = [(line.config, line.after) for line in lines]
        if not fresh.keys().isdisjoint(keys):
            pairs = zip(keys, lines, strict=True)
            records_lib.write(
                [fresh.get(key, line) for key, line in pairs],
                output / f"{name}.jsonl",
            )


def _with_networks(
    complete: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
) -> Iterator[Record]:
    """Yields the records of ensembles and of rescaled mixup.

    An ensemble is of the first seeds of an arm, and is left out where one is
    not in the folder.
    """
    groups: dict[config_lib.Config, list[pathlib.Path]] = {}
    for config, folder in complete.items():
        if config.seed < ENSEMBLE_SIZE:
            alike = dataclasses.replace(config, seed=0)
            groups.setdefault(alike, []).append(folder)
        plain = config.num_points == 2 and not config.mix_layers
        if config.method == "mixup" and plain and config.mix == "both":
            outputs = posthoc.rescale(config, folder, sources)
            results = evaluation.measure_outputs(outputs)
            yield Record(config, "rescaling", results)
    for config, folders in groups.items():
        unmixed = not config.alpha and not config.label_smoothing
        whole = len(folders) == ENSEMBLE_SIZE
        if whole and unmixed and not config.entropy_weight:
            outputs = posthoc.average(config, folders, sources)
            results = evaluation.measure_outputs(outputs)
            yield Record(config, "ensemble", results)


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_string("workdir", "runs", "Folder of the runs.")
    flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
    flags.DEFINE_enum(
        "table", None, list(papers.TABLES), "One table; all by default."
    )
    flags.DEFINE_enum("scale", "small", tables.SCALES, "Of the tables.")
    flags.DEFINE_string("embeddings", None, "Of the sweep, with --table=text.")
    flags.DEFINE_string(
        "output",
        None,
        "Folder that gets a file for each table; the ledger's by default.",
    )


def main() -> None:
    """Writes the ledger of the chosen tables that have a run."""
    values = flags.FLAGS
    workdir = pathlib.Path(values.workdir)
    output = pathlib.Path(values.output or records_lib.ledger(values.scale))
    sources = run_data.Sources(data_dir=values.data_dir)
    known = records_lib.read_all(output)
    for table in [values.table] if values.table else papers.TABLES:
        found = collect(
            *(table, values.scale, workdir, sources, known),
            embeddings=values.embeddings,
        )
        if found:
            records_lib.write(found, output / f"{table}.jsonl")
            share(found, workdir, output)


if __name__ == "__main__":
    _entry.start(main, define_flags)
