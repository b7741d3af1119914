"""Reads the runs of a sweep and arranges them in tables: row x seed.

A run is known by its config. Runs whose configs differ in nothing but the
seed are one row; what differs within a table names its rows.
"""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.runs import config as config_lib
from experiments.runs import run_files
from tf_mixup import _checks

Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        name: Folder, relative to the sweep's.
        config: Field of `Config` -> value; alpha is 0 where nothing is mixed.
        results: Name -> number.
        seconds: Duration of the run's last start.
    """

    name: str
    config: dict[str, Any]
    results: dict[str, float]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Runs:
    """What a folder holds.

    Attributes:
        complete: Runs with a record.
        incomplete: Names of runs that were started and have none.
        damaged: A sentence for each record that cannot be read.
    """

    complete: tuple[Run, ...]
    incomplete: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """Runs of one data set, say, arranged by what differs among them.

    Attributes:
        title: Field -> value, what all runs of the table share.
        fields: Names of the fields whose values make a row.
        rows: Values of `fields` -> seed -> run; the baseline comes first.
        baseline: The row that others are compared with, if there is one.
    """

    title: dict[str, Any]
    fields: tuple[str, ...]
    rows: dict[Row, dict[int, Run]]
    baseline: Row | None

    @property
    def common_seeds(self) -> list[int]:
        """Seeds that every row has a run of."""
        return sorted(set.intersection(*(set(r) for r in self.rows.values())))

    @property
    def missing(self) -> list[tuple[Row, int]]:
        """Places without a run, in rows and seeds that have others."""
        seeds = sorted({seed for runs in self.rows.values() for seed in runs})
        return [
            (row, seed)
            for row, runs in self.rows.items()
            for seed in seeds
            if seed not in runs
        ]

    def values(
        self, row: Row, name: str, seeds: Iterable[int] | None = None
    ) -> np.ndarray:
        """Returns a result `(S,)` of a row's runs; NaN where one lacks it."""
        runs = self.rows[row]
        chosen = sorted(runs) if seeds is None else seeds
        return np.array(
            [runs[seed].results.get(name, np.nan) for seed in chosen]
        )

    def names(self, patterns: Sequence[str]) -> list[str]:
        """Returns the results that match, in the patterns' order."""
        known = sorted(
            {
                name
                for runs in self.rows.values()
                for run in runs.values()
                for name in run.results
            }
        )
        found = [
            name
            for pattern in patterns
            for name in fnmatch.filter(known, pattern)
        ]
        return list(dict.fromkeys(found))

    @property
    def ood_sets(self) -> list[str]:
        """Names of the out-of-distribution sets."""
        return [name.removesuffix("_auroc") for name in self.names(["*_auroc"])]


def read_runs(workdir: pathlib.Path) -> Runs:
    """Reads every record below a folder; leaves out what is half-written.

    Args:
        workdir: Folder of a sweep, or of several.

    Returns:
        runs: Complete ones, and what was left out.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(
            f"A sweep's folder must exist. Received: --workdir={workdir}. Run"
            " `python -m experiments.sweep` first."
        )
    complete, damaged = [], []
    for path in sorted(workdir.rglob(run_files.RECORD)):
        name = str(path.parent.relative_to(workdir))
        try:
            complete.append(_read_run(path.parent, name))
        except ValueError:
            damaged.append(
                f"A record must be whole. Received: {name}/{path.name}, which"
                " is damaged. Delete this file and run the sweep again."
            )
    incomplete = [
        str(path.parent.relative_to(workdir))
        for path in sorted(workdir.rglob(run_files.CONFIG))
        if not path.with_name(run_files.RECORD).exists()
    ]
    return Runs(tuple(complete), tuple(incomplete), tuple(damaged))


def _read_run(folder: pathlib.Path, name: str) -> Run:
    record = run_files.read_record(folder)
    # An older record lacks fields that had only their default then.
    config = config_lib.Config().to_json() | record["config"]
    results = {key: float(x) for key, x in record["results"].items()}
    if config["method"] == "erm":
        config["alpha"] = 0.0
    config = {
        key: tuple(x) if isinstance(x, list) else x for key, x in config.items()
    }
    return Run(name, config, results, float(record["duration_seconds"]))


def is_unmixed(config: dict[str, Any]) -> bool:
    """Tells whether a run trained without mixup or another method."""
    return config["method"] == "erm" or (
        config["method"] == "mixup" and config["alpha"] == 0
    )


def arrange(
    runs: Sequence[Run],
    *,
    tables_by: Sequence[str] = ("dataset",),
    group_by: Sequence[str] | None = None,
    is_baseline: Callable[[dict[str, Any]], bool] = is_unmixed,
) -> list[Table]:
    """Arranges runs in tables.

    Args:
        runs: Complete runs.
        tables_by: Fields whose every combination of values is a table.
        group_by: Fields whose values make a row; None takes those that vary
            within a table and that the other ones do not determine.
        is_baseline: Tells from a config whether others are compared with it.

    Returns:
        tables: In the order of their titles.

    Raises:
        ValueError: If a field is unknown, or runs of a row and a seed differ.
    """
    known = config_lib.Config().to_json()
    for name in (*tables_by, *(group_by or ())):
        _checks.one_of("group_by", name, known)
    parts: dict[Row, list[Run]] = {}
    for run in runs:
        title = tuple(run.config[name] for name in tables_by)
        parts.setdefault(title, []).append(run)
    return [
        _arrange_table(
            dict(zip(tables_by, title, strict=True)),
            parts[title],
            varying_fields(parts[title]) if group_by is None else group_by,
            is_baseline,
        )
        for title in sorted(parts, key=_order)
    ]


def varying_fields(runs: Sequence[Run]) -> tuple[str, ...]:
    """Returns the fields, but the seed, that tell the runs' rows apart.

    A field that the others determine is left out: where `"erm"` is alpha 0,
    alpha alone says it.
    """
    fields = [
        name
        for name in runs[0].config
        if name != "seed" and len({run.config[name] for run in runs}) > 1
    ]

    def count_rows(names: Sequence[str]) -> int:
        return len({tuple(run.config[name] for name in names) for run in runs})

    # Alpha is what a reader looks for, so it goes last, if it goes at all.
    for name in sorted(fields, key=lambda name: name == "alpha"):
        others = [other for other in fields if other != name]
        if others and count_rows(others) == count_rows(fields):
            fields = others
    return tuple(fields or ["alpha"])


def _arrange_table(
    title: dict[str, Any],
    runs: Sequence[Run],
    fields: Sequence[str],
    is_baseline: Callable[[dict[str, Any]], bool],
) -> Table:
    rows: dict[Row, dict[int, Run]] = {}
    for run in runs:
        row = rows.setdefault(tuple(run.config[name] for name in fields), {})
        other = row.setdefault(run.config["seed"], run)
        if other is not run:
            raise _checks.refusal(
                "Runs of a row must differ in their seeds",
                f"{other.name} and {run.name}",
                "Name with --group_by what differs, or delete one of them",
            )
    baselines = [
        row
        for row, by_seed in rows.items()
        if all(is_baseline(run.config) for run in by_seed.values())
    ]
    baseline = baselines[0] if len(baselines) == 1 else None
    ordered = sorted(rows, key=lambda row: (row != baseline, *_order(row)))
    return Table(
        title, tuple(fields), {row: rows[row] for row in ordered}, baseline
    )


def _order(values: Row) -> tuple[tuple[bool, float, str], ...]:
    """Orders numbers by value, before anything else by its text."""
    return tuple(
        (False, float(value), "")
        if isinstance(value, int | float)
        else (True, 0.0, str(value))
        for value in values
    )
