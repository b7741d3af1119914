r"""Makes Markdown tables and comparisons of a sweep's records.

Command:
    python -m experiments.tabulate --workdir=runs/image_calibration \
        --output=runs/image_calibration/table.md --figures
    python -m experiments.tabulate --workdir=runs/other \
        --group_by=target,per --columns='test_accuracy,*_auroc'

Runs that go on are left out, so it may be run at any time. The row that is
compared with no mixup is chosen by the validation set; the test set only
reports.
"""

import math
import os
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl import logging

from experiments import _entry
from experiments.analysis import alpha_figure
from experiments.analysis import run_tables
from experiments.analysis import seed_statistics
from experiments.analysis import selection
from experiments.runs import atomic_files
from tf_mixup import _checks
from tf_mixup import plots
from tf_mixup._data import folders

# Names that results are shown by; of an out-of-distribution set, its own.
TITLES = {
    "test_accuracy": "accuracy",
    "train_accuracy": "train accuracy",
    "validation_ece": "validation ECE",
    "test_ece": "ECE, 15 bins",
    "test_null_ece": "null ECE, 15 bins",
    "test_ece_100": "ECE, 100 bins",
    "test_null_ece_100": "null ECE, 100 bins",
    "test_oe": "OE",
    "test_nll": "NLL (nats)",
    "test_brier": "Brier",
    "test_signed_gap": "signed gap",
}
CALIBRATION_COLUMNS = (
    "test_accuracy",
    "train_accuracy",
    "validation_ece",
    "test_ece",
    "test_null_ece",
    "test_ece_100",
    "test_null_ece_100",
    "test_oe",
    "test_nll",
    "test_signed_gap",
)
COMPARED = (
    "test_accuracy",
    "test_ece",
    "test_ece_100",
    "test_oe",
    "test_nll",
)

# The tests import several binaries into one process.
_WORKDIR = flags.DEFINE_string(
    "workdir", "runs", "Folder of the runs.", allow_override=True
)
_COLUMNS = flags.DEFINE_list(
    "columns", None, "Results to show, or patterns of them: test_*."
)
_GROUP_BY = flags.DEFINE_list(
    "group_by", None, "Fields of a row; None takes those that vary."
)
_TABLES_BY = flags.DEFINE_list("tables_by", ["dataset"], "Fields of a table.")
_BASELINE = flags.DEFINE_list(
    "baseline",
    None,
    "Row that others are compared with, as field=value,...; None takes that"
    " without mixup.",
)
_CHOOSE_BY = flags.DEFINE_string(
    "choose_by", "validation_ece", "Result whose lowest mean chooses a row."
)
_FIGURES = flags.DEFINE_bool(
    "figures", False, "Draw alpha against the results, a PNG a table."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "A file that gets the Markdown.", allow_override=True
)


def report(
    runs: run_tables.Runs,
    tables: Sequence[run_tables.Table],
    *,
    columns: Sequence[str] | None = None,
    choose_by: str = "validation_ece",
) -> str:
    """Returns all tables and comparisons as Markdown.

    Args:
        runs: What the folder holds.
        tables: The complete runs, arranged.
        columns: Results to show, or patterns; None takes those of the paper.
        choose_by: Result whose lowest mean chooses the row to compare.

    Returns:
        markdown: Ends with a line feed.
    """
    lines = [*_describe_runs(runs, tables), ""]
    for table in tables:
        title = ", ".join(str(value) for value in table.title.values())
        lines += [f"## {title}", ""]
        for names in _column_groups(table, columns):
            lines += [*main_table(table, names), ""]
        lines += _compare(table, choose_by)
    return "\n".join(lines).rstrip() + "\n"


def _describe_runs(
    runs: run_tables.Runs, tables: Sequence[run_tables.Table]
) -> list[str]:
    hours = sum(run.seconds for run in runs.complete) / 3600
    lines = [
        f"{len(runs.complete)} complete runs, {hours:.2f} hours (the last"
        f" start of each). {len(runs.incomplete)} without a record yet,"
        f" {len(runs.damaged)} damaged. Mean ± standard deviation over seeds."
        " The null ECE is that of perfectly calibrated predictions of the"
        " same confidences on as many images: what the number of bins and"
        " images alone makes."
    ]
    for table in tables:
        missing = [
            f"{describe_row(table, row)} seed {seed}"
            for row, seed in table.missing
        ]
        if missing:
            title = ", ".join(map(str, table.title.values()))
            lines += ["", f"Missing of {title}: {'; '.join(missing)}."]
    for sentence in runs.damaged:
        lines += ["", sentence]
    return lines


def _column_groups(
    table: run_tables.Table, columns: Sequence[str] | None
) -> list[list[str]]:
    """Returns the columns of each part of a table too wide to be read."""
    if columns is not None:
        names = table.names(columns)
        if not names:
            raise _checks.refusal(
                "--columns must name results",
                f"--columns={','.join(columns)}",
                f"Results are {', '.join(table.names(['*']))}",
            )
        return [names]
    outside = [
        f"{name}_{measure}"
        for name in table.ood_sets
        for measure in ("confidence", "auroc")
    ]
    groups = [table.names(CALIBRATION_COLUMNS), table.names(outside)]
    return [group for group in groups if group]


def main_table(table: run_tables.Table, names: Sequence[str]) -> list[str]:
    """Returns a Markdown table: a line a row, a column a result."""
    head = [*table.fields, "seeds", *(title_of(name) for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row, runs in table.rows.items():
        cells = [
            *map(_format_field, table.fields, row),
            str(len(runs)),
            *(_format_spread(name, table.values(row, name)) for name in names),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def title_of(name: str) -> str:
    """Returns a result's name for readers, with its unit."""
    title = TITLES.get(name, name.replace("_", " "))
    return title if seed_statistics.scale_of(name) == 1 else f"{title} (%)"


def describe_row(table: run_tables.Table, row: run_tables.Row) -> str:
    """Returns a row's fields in words."""
    return ", ".join(
        _format_field(name, value)
        if name == "alpha" and value == 0
        else f"{name} {_format_field(name, value)}"
        for name, value in zip(table.fields, row, strict=True)
    )


def _format_field(name: str, value: Any) -> str:
    if name == "alpha" and value == 0:
        return "no mixup"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _format_number(name: str, value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return "-"
    scale = seed_statistics.scale_of(name)
    digits = 3 if scale == 1 else 2
    return f"{scale * value:{'+' if sign else ''}.{digits}f}"


def _format_spread(name: str, values: Any) -> str:
    mean, deviation, num_seeds = seed_statistics.spread(values)
    text = _format_number(name, mean)
    if num_seeds < 2 or math.isnan(mean):
        return text
    return f"{text} ± {_format_number(name, deviation)}"


def _compare(table: run_tables.Table, choose_by: str) -> list[str]:
    """Returns the choice, its differences to the baseline and the trend."""
    chosen = selection.choose(table, choose_by)
    if table.baseline is None or chosen is None:
        return [
            "No comparison: it takes one row without mixup (or --baseline),"
            " another one, and a seed that all rows have.",
            "",
        ]
    row = chosen.row
    return [
        f"**Choice: {describe_row(table, row)}**, the lowest mean"
        f" {title_of(choose_by)} over the seeds that all rows have"
        f" ({_join(table.common_seeds)}). The test set took no part in it."
        " Seed by seed it would have been"
        f" {_join(describe_row(table, each) for each in chosen.by_seed)}.",
        "",
        *_difference_table(table, row),
        "",
        *_describe_trend(table),
        "",
    ]


def _difference_table(
    table: run_tables.Table, row: run_tables.Row
) -> list[str]:
    confidences = [f"{name}_confidence" for name in table.ood_sets]
    seeds = selection.paired_seeds(table, row)
    baseline = describe_row(table, table.baseline or row)
    head = f"{baseline} | {describe_row(table, row)}"
    lines = [
        f"| same seeds: {len(seeds)} | {head} | difference | 95 % interval |"
        " ratio |",
        "|" + " --- |" * 6,
    ]
    for name in table.names([*COMPARED, *confidences]):
        values = table.values(row, name, seeds)
        others = table.values(table.baseline or row, name, seeds)
        found = seed_statistics.paired_difference(values, others)
        interval = "none: one seed"
        if found.num_seeds > 1:
            low, high = (
                _format_number(name, end, sign=True)
                for end in (found.low, found.high)
            )
            interval = f"{low} to {high}"
        cells = (
            title_of(name),
            _format_number(name, others.mean()),
            _format_number(name, values.mean()),
            _format_number(name, found.mean, sign=True),
            interval,
            f"{values.mean() / others.mean():.2f}" if others.mean() else "-",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _describe_trend(table: run_tables.Table) -> list[str]:
    """Returns a sentence on OE over alpha, where alpha is what varies."""
    if table.fields != ("alpha",):
        return []
    rows = sorted(table.rows)
    parts = []
    for levels in (rows, rows[1:]):
        trend = selection.oe_trend(table, levels)
        start = describe_row(table, levels[0]) if levels else "?"
        parts.append(
            f"from {start} on, needs 2 seeds and 3 rows"
            if trend is None
            else f"from {start} on, L = {trend.statistic:g},"
            f" p = {trend.p_value:.2g}"
        )
    return [f"**OE against alpha** (Page's trend test): {'; '.join(parts)}."]


def _join(values: Any) -> str:
    return ", ".join(map(str, values))


def parse_baseline(
    conditions: Sequence[str],
) -> Callable[[dict[str, Any]], bool]:
    """Returns a test of configs from texts such as `"method=erm"`."""
    pairs = [tuple(text.partition("=")[::2]) for text in conditions]
    if not all(value for _, value in pairs):
        raise _checks.refusal(
            "--baseline takes field=value",
            f"--baseline={','.join(conditions)}",
            "Write, for instance, --baseline=method=erm",
        )
    return lambda config: all(
        _format_value(config.get(name)) == value for name, value in pairs
    )


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Prints the tables of the runs that the flags name."""
    workdir = pathlib.Path(_WORKDIR.value)
    runs = run_tables.read_runs(workdir)
    options = {}
    if _BASELINE.value is not None:
        options["is_baseline"] = parse_baseline(_BASELINE.value)
    tables = run_tables.arrange(
        runs.complete,
        tables_by=_TABLES_BY.value,
        group_by=_GROUP_BY.value,
        **options,
    )
    markdown = report(
        runs, tables, columns=_COLUMNS.value, choose_by=_CHOOSE_BY.value
    )
    print(markdown, end="")
    if _OUTPUT.value:
        atomic_files.write_text(pathlib.Path(_OUTPUT.value), markdown)
    for table in tables if _FIGURES.value else ():
        name = "-".join(str(value) for value in table.title.values())
        # File systems take 255 bytes; a data set's folder may have more.
        ending = os.fsdecode(os.fsencode(name.replace("/", "_"))[-200:])
        path = workdir / f"alpha-{ending}.png"
        plots.save_figure(alpha_figure.draw(table), path)
        logging.info("Drew %s", folders.printable(path))


if __name__ == "__main__":
    _entry.start(main)
