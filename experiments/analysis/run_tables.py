"""Tables of runs: what differs among them makes the rows."""

import dataclasses
import fnmatch
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis.records import Record
from experiments.runs import config as config_lib
from tf_mixup import _checks

Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Runs of one data set, say, arranged by what differs among them.

    Attributes:
        title: Field -> value that all runs of the table share.
        fields: Names of what makes a row.
        rows: Values of `fields` -> runs by seed; the baseline comes first.
        baseline: The row that others are compared with, if there is one.
    """

    title: dict[str, Any]
    fields: tuple[str, ...]
    rows: dict[Row, dict[int, Record]]
    baseline: Row | None = None

    @property
    def common_seeds(self) -> list[int]:
        """Seeds that every row has a run of."""
        return sorted(set.intersection(*map(set, self.rows.values())))

    @property
    def missing(self) -> list[tuple[Row, int]]:
        """Rows and seeds without a run, of the seeds that other rows have."""
        seeds = sorted({seed for runs in self.rows.values() for seed in runs})
        return [
            (row, seed)
            for row, runs in self.rows.items()
            for seed in seeds
            if seed not in runs
        ]

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [each for runs in self.rows.values() for each in runs.values()]

    @property
    def ood_sets(self) -> list[str]:
        """Names of the out-of-distribution sets."""
        return [name.removesuffix("_auroc") for name in self.names(["*_auroc"])]

    @property
    def heading(self) -> str:
        """The title in words."""
        return ", ".join(map(str, self.title.values()))

    def values(self, row: Row, name: str) -> np.ndarray:
        """Returns a result `(S,)` of a row's runs; NaN where one lacks it."""
        runs = self.rows[row]
        return np.array([runs[seed].value(name) for seed in sorted(runs)])

    def names(self, patterns: Iterable[str]) -> list[str]:
        """Returns the results that match, in the patterns' order."""
        known = {name for record in self.records for name in record.results}
        found: list[str] = []
        for pattern in patterns:
            found += fnmatch.filter(sorted(known), pattern)
            if not np.isnan([x.value(pattern) for x in self.records]).all():
                found.append(pattern)
        return list(dict.fromkeys(found))

    def choose(self, result: str) -> arms.Choice | None:
        """Chooses a row, not the baseline; see `arms.choose`."""
        rows = {
            row: {seed: runs[seed] for seed in self.common_seeds}
            for row, runs in self.rows.items()
            if row != self.baseline
        }
        return arms.choose(rows, result)

    def markdown(self, names: Iterable[str]) -> str:
        """Returns a Markdown table: a line per row, a column per result.

        Rows without any of the results are left out, and so are results that
        no row has of all its runs. Empty if nothing remains.
        """
        columns = {
            measure.heading: [
                measure.format_spread(self.values(row, measure.name))
                for row in self.rows
            ]
            for measure in map(measures.find, names)
        }
        shown = {
            heading: cells
            for heading, cells in columns.items()
            if set(cells) != {"-"}
        }
        lines = [[*self.fields, "seeds", *shown]]
        for place, (row, runs) in enumerate(self.rows.items()):
            cells = [column[place] for column in shown.values()]
            if set(cells) != {"-"}:
                fields = map(format_field, self.fields, row)
                lines.append([*fields, str(len(runs)), *cells])
        return markdown(lines) if len(lines) > 1 else ""

    def describe(self, row: Row) -> str:
        """Returns a row's fields in words."""
        return ", ".join(
            format_field(name, value)
            if name == "alpha" and value == 0
            else f"{name} {format_field(name, value)}"
            for name, value in zip(self.fields, row, strict=True)
        )


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the first line is its head."""
    head, *rows = lines
    return "".join(
        f"| {' | '.join(cells)} |\n"
        for cells in (head, ["---"] * len(head), *rows)
    )


def format_field(name: str, value: Any) -> str:
    """Returns the value of a field for readers."""
    if name == "alpha" and value == 0:
        return "no mixup"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def arrange(
    records: Sequence[Record],
    *,
    tables_by: Sequence[str] = ("dataset",),
    group_by: Sequence[str] | None = None,
    is_baseline: Callable[[config_lib.Config], bool] = lambda config: (
        not config.alpha
    ),
) -> list[Table]:
    """Arranges runs in tables.

    Raises:
        ValueError: If a field is unknown, or runs of a row and a seed differ.
    """
    for name in (*tables_by, *(group_by or ())):
        _checks.one_of("group_by", name, config_lib.Config().to_json())
    parts: dict[Row, list[Record]] = {}
    for record in records:
        parts.setdefault(_fields(record, tables_by), []).append(record)
    return [
        _arrange_table(
            dict(zip(tables_by, title, strict=True)),
            parts[title],
            varying_fields(parts[title]) if group_by is None else group_by,
            is_baseline,
        )
        for title in sorted(parts, key=_order)
    ]


def varying_fields(records: Sequence[Record]) -> tuple[str, ...]:
    """Returns the fields, without the seed, that distinguish runs.

    A field that the others determine is left out: the method `"erm"` is
    alpha 0, so alpha alone remains.
    """
    fields = [
        field.name
        for field in dataclasses.fields(config_lib.Config)
        if field.name != "seed"
        and len({_fields(x, [field.name]) for x in records}) > 1
    ]
    # Alpha is what a reader looks for, so it is considered last.
    for name in sorted(fields, key=lambda name: name == "alpha"):
        others = [other for other in fields if other != name]
        counts = [
            len({_fields(record, names) for record in records})
            for names in (others, fields)
        ]
        if others and counts[0] == counts[1]:
            fields = others
    return tuple(fields or ["alpha"])


def _fields(record: Record, names: Iterable[str]) -> Row:
    return tuple(getattr(record.config, name) for name in names)


def _arrange_table(
    title: dict[str, Any],
    records: Sequence[Record],
    fields: Sequence[str],
    is_baseline: Callable[[config_lib.Config], bool],
) -> Table:
    rows: dict[Row, dict[int, Record]] = {}
    for record in records:
        row = rows.setdefault(_fields(record, fields), {})
        other = row.setdefault(record.config.seed, record)
        if other is not record:
            raise _checks.refusal(
                "Runs of a row must differ in their seeds",
                f"{other.folder} and {record.folder}",
                "Name what differs with --group_by, or delete one of them",
            )
    baselines = [
        row
        for row, runs in rows.items()
        if all(is_baseline(record.config) for record in runs.values())
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
