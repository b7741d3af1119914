r"""Prints Markdown tables and comparisons of the runs in a folder.

Command:
    python -m experiments.tabulate --workdir=runs/image_calibration \
        --output=runs/image_calibration/table.md --figures
    python -m experiments.tabulate --workdir=runs/other \
        --group_by=mix,per --columns='test_accuracy,*_auroc'

Incomplete runs are left out, so it can run at any time. The validation set
chooses the row that is compared with no mixup; the test set takes no part.
"""

import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl import logging

from experiments import _entry
from experiments.analysis import arms
from experiments.analysis import measures
from experiments.analysis import records as records_lib
from experiments.analysis import run_tables
from experiments.analysis import seed_statistics
from experiments.figures import against_alpha
from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from tf_mixup import _checks
from tf_mixup import plots
from tf_mixup._data import folders

COMPARED = ("test_accuracy", "test_ece", "test_ece_100", "test_oe", "test_nll")


def report(
    runs: records_lib.Runs,
    tables: Sequence[run_tables.Table],
    *,
    columns: Sequence[str] | None = None,
    choose_by: str = "validation_ece",
) -> str:
    """Returns all tables and comparisons as Markdown.

    Raises:
        ValueError: If a column matches no result, or `choose_by` is none.
    """
    _check_columns(tables, columns or ())
    if not measures.is_known(choose_by):
        raise _checks.refusal(
            "--choose_by must name a result",
            f"--choose_by={choose_by}",
            "Write e.g. --choose_by=validation_accuracy",
        )
    parts = [_describe_runs(runs, tables)]
    for table in tables:
        parts.append(f"## {table.heading}\n")
        for names in _column_groups(table, columns):
            parts.append(table.markdown(names))
        parts += _compare(table, choose_by)
    return "\n".join(parts).rstrip() + "\n"


def _check_columns(
    tables: Iterable[run_tables.Table], columns: Sequence[str]
) -> None:
    """Refuses columns that match no result."""
    known = dict.fromkeys(
        name for table in tables for name in table.names(["*"])
    )
    for pattern in columns:
        if any(table.names([pattern]) for table in tables):
            continue
        if known or not measures.is_known(pattern):
            raise _checks.refusal(
                "--columns must name results",
                f"--columns={','.join(columns)}, where {pattern!r} is none",
                f"Results are {', '.join(known) or 'such as test_accuracy'}",
            )


def _describe_runs(
    runs: records_lib.Runs, tables: Sequence[run_tables.Table]
) -> str:
    hours = sum(record.hours for record in runs.complete)
    text = (
        f"{len(runs.complete)} complete runs, {hours:.2f} hours (the last"
        f" start of each). {len(runs.incomplete)} without a record yet,"
        f" {len(runs.damaged)} damaged. Mean ± standard deviation over seeds."
        " The null ECE is the ECE of perfectly calibrated predictions with the"
        " same confidences on as many examples.\n"
    )
    for table in tables:
        missing = [
            f"{table.describe(row)} seed {seed}" for row, seed in table.missing
        ]
        if missing:
            text += f"\nMissing of {table.heading}: {'; '.join(missing)}.\n"
    return text + "".join(f"\n{sentence}\n" for sentence in runs.damaged)


def _column_groups(
    table: run_tables.Table, columns: Sequence[str] | None
) -> list[list[str]]:
    """Returns the columns of each part of a table."""
    outside = [
        f"{name}_{measure}"
        for name in table.ood_sets
        for measure in (
            *("confidence", "auroc", "auroc_entropy"),
            *("auroc_energy", "auroc_max_logit"),
        )
    ]
    inside = ["validation_ece", *(each.name for each in measures.COLUMNS)]
    groups = [columns] if columns else [inside, outside]
    return [names for group in groups if (names := table.names(group))]


def _compare(table: run_tables.Table, choose_by: str) -> list[str]:
    """Returns the choice, its differences to the baseline and the trend."""
    choice = table.choose(choose_by)
    if table.baseline is None or choice is None:
        return [
            "No comparison: it requires one row without mixup (or --baseline),"
            " another row, and a seed that all rows have.\n"
        ]
    measure = measures.find(choose_by)
    unseen = " The test set was not used for the choice."
    if not choose_by.startswith("validation_"):
        unseen = ""
    parts = [
        f"**Choice: {table.describe(choice.best)}**, the"
        f" {'highest' if measure.better > 0 else 'lowest'} mean"
        f" {measure.heading} over the seeds that all rows have"
        f" ({_join(table.common_seeds)}).{unseen} Choice of each seed:"
        f" {_join(map(table.describe, choice.by_seed))}.\n",
        _difference_table(table, table.baseline, choice.best),
        _describe_trend(table),
    ]
    return [part for part in parts if part]


def _difference_table(
    table: run_tables.Table, baseline: run_tables.Row, row: run_tables.Row
) -> str:
    pair = [table.rows[baseline], table.rows[row]]
    lines = [
        [
            f"same seeds: {len(arms.values(pair, COMPARED[0]))}",
            *(table.describe(each) for each in (baseline, row)),
            *("difference", "95 % interval", "ratio"),
        ]
    ]
    confidences = [f"{name}_confidence" for name in table.ood_sets]
    for name in table.names([*COMPARED, *confidences]):
        others, values = arms.values(pair, name).T
        found = seed_statistics.paired_difference(values, others)
        measure = measures.find(name)
        ratio = f"{values.mean() / others.mean():.2f}" if others.mean() else "-"
        lines.append(
            [
                measure.heading,
                measure.format(others.mean()),
                measure.format(values.mean()),
                measure.format(found.mean, sign=True),
                measure.format_interval(found),
                ratio,
            ]
        )
    return run_tables.markdown(lines)


def _describe_trend(table: run_tables.Table) -> str:
    """Returns a sentence on OE over alpha, if only alpha varies."""
    if table.fields != ("alpha",):
        return ""
    rows = sorted(table.rows)
    parts = []
    for start in (0, 1):
        levels = [table.rows[row] for row in rows[start:]]
        trend = seed_statistics.falling_trend(arms.values(levels, "test_oe"))
        parts.append(
            f"from {table.describe(rows[start])}: "
            + (
                "needs 2 seeds and 3 rows"
                if trend is None
                else f"L = {trend.statistic:g}, p = {trend.p_value:.2g}"
            )
        )
    return f"**OE against alpha** (Page's trend test): {'; '.join(parts)}.\n"


def _join(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def parse_baseline(
    conditions: Sequence[str],
) -> Callable[[config_lib.Config], bool]:
    """Returns a test of configs from texts such as `"method=erm"`."""
    pairs = [text.partition("=")[::2] for text in conditions]
    known = config_lib.Config().to_json()
    if not all(name in known and value for name, value in pairs):
        raise _checks.refusal(
            "--baseline takes field=value",
            f"--baseline={','.join(conditions)}",
            "Write, for instance, --baseline=method=erm",
        )
    return lambda config: all(
        run_tables.format_field("", getattr(config, name)) == value
        for name, value in pairs
    )


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_string("workdir", "runs", "Folder of the runs.")
    flags.DEFINE_list(
        "columns", None, "Results to show, or patterns such as test_*."
    )
    flags.DEFINE_list(
        "group_by", None, "Fields of a row; None takes those that vary."
    )
    flags.DEFINE_list("tables_by", ["dataset"], "Fields of a table.")
    flags.DEFINE_list(
        "baseline",
        None,
        "Row that others are compared with, as field=value,...; None takes"
        " the one without mixup.",
    )
    flags.DEFINE_string(
        "choose_by", "validation_ece", "Result whose best mean chooses a row."
    )
    flags.DEFINE_bool(
        "figures", False, "Draw results against alpha, a PNG per table."
    )
    flags.DEFINE_string("output", None, "A file that gets the Markdown.")


def main() -> None:
    """Prints the tables of the runs that the flags name."""
    values = flags.FLAGS
    workdir = pathlib.Path(values.workdir)
    runs = records_lib.read_runs(workdir)
    options = {}
    if values.baseline is not None:
        options["is_baseline"] = parse_baseline(values.baseline)
    tables = run_tables.arrange(
        runs.complete,
        tables_by=values.tables_by,
        group_by=values.group_by,
        **options,
    )
    markdown = report(
        runs, tables, columns=values.columns, choose_by=values.choose_by
    )
    print(markdown, end="")
    if values.output:
        atomic_files.write_text(pathlib.Path(values.output), markdown)
    for table in tables if values.figures else ():
        name = "-".join(map(str, table.title.values())).replace("/", "_")
        # File systems take 255 bytes; a data set's folder may have more.
        ending = os.fsdecode(os.fsencode(name)[-200:])
        path = workdir / f"alpha-{ending}.png"
        plots.save_figure(against_alpha.draw(table), path)
        logging.info("Drew %s", folders.printable(path))


if __name__ == "__main__":
    _entry.start(main, define_flags)
