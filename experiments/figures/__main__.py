r"""Draws the papers' figures from the runs of their tables.

Command:
    python -m experiments.figures --workdir=runs --output=figures
    python -m experiments.figures --table=image_calibration --output=figures

Each table, data set and network gets its PNG files, and TensorBoard the same
images in `logs`. What has no runs yet is left out, and named. Figures of what
is measured when runs are collected are made of the ledger.
"""

import pathlib
from typing import TYPE_CHECKING

import tensorflow as tf
from absl import flags
from absl import logging

from experiments import _entry
from experiments import papers
from experiments.analysis import ledger
from experiments.analysis import run_tables
from experiments.figures import between
from experiments.figures import calibration
from experiments.figures import epochs
from experiments.figures import errors
from experiments.figures import gan
from experiments.figures import ood
from experiments.figures import overlaps
from experiments.figures import rings
from experiments.figures.methods import Setting
from experiments.papers import tables
from experiments.runs import config as config_lib
from experiments.runs import run_data
from tf_mixup import _checks
from tf_mixup import plots
from tf_mixup import summaries

if TYPE_CHECKING:
    import matplotlib.figure

# What is drawn of each table.
DRAWN = {
    "image_calibration": calibration.draw,
    "out_of_distribution": ood.draw,
    "longer_training": epochs.draw,
    "cifar": errors.draw,
    "text": calibration.draw,
    "rings": rings.draw,
    "gans": gan.draw,
}
OF_LEDGER = {
    "gaussian_overlap": overlaps.draw,
    "image_overlap": overlaps.draw,
    "cifar": between.draw,
}
# A table may have figures of both kinds.
TABLES = tuple(dict.fromkeys((*OF_LEDGER, *DRAWN)))

_WORKDIR = flags.DEFINE_string(
    "workdir", "runs", "Folder of the runs.", allow_override=True
)
_OUTPUT = flags.DEFINE_string(
    "output", "figures", "Folder that gets the figures.", allow_override=True
)
_TABLE = flags.DEFINE_enum(
    "table",
    None,
    TABLES,
    "One table; all of them by default.",
    allow_override=True,
)
_SCALE = flags.DEFINE_enum(
    "scale", "small", tables.SCALES, "Of the tables.", allow_override=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of TensorFlow Datasets, for the ensemble; None leaves it out.",
    allow_override=True,
)


def find_settings(
    table: str,
    scale: str,
    runs: run_tables.Runs,
    workdir: pathlib.Path,
    sources: run_data.Sources | None = None,
) -> list[Setting]:
    """Returns the complete runs of a table, by data set and network.

    Args:
        table: Its name.
        scale: `"small"` or `"paper"`.
        runs: What `workdir` holds.
        workdir: Folder of the runs, at any depth.
        sources: Where the data is.
    """
    results, folders = {}, {}
    for run in runs.complete:
        config = config_lib.Config(**run.config)
        results[config], folders[config] = run.results, workdir / run.name
    groups: dict[str, list[ledger.Line]] = {}
    for config in papers.TABLES[table].configs(scale):
        if config in folders:
            title = f"{config.dataset}, {config.network}"
            line = ledger.Line(config, "", results[config])
            groups.setdefault(title, []).append(line)
    return [
        Setting(title, lines, folders, sources)
        for title, lines in groups.items()
    ]


def draw(table: str, setting: Setting, output: pathlib.Path) -> None:
    """Draws a setting of a table, as files and to the summary writer.

    Args:
        table: Its name.
        setting: Complete runs.
        output: Gets `TABLE/SETTING/*.png`.
    """
    folder = setting.title.replace(", ", "-").replace(":", "_")
    for figure_name, figure in DRAWN[table](setting):
        _write(f"{table}/{folder}/{figure_name}", figure, output)


def draw_ledger(table: str, output: pathlib.Path) -> None:
    """Draws a table from the ledger.

    Args:
        table: Its name.
        output: Gets `TABLE/*.png`.
    """
    lines = ledger.read_all(ledger.FOLDER).get(table, [])
    if not lines:
        logging.info("Skipped %s: the ledger has no run of it.", table)
    for name, figure in OF_LEDGER[table](lines):
        _write(f"{table}/{name}", figure, output)


def _write(
    name: str, figure: "matplotlib.figure.Figure", output: pathlib.Path
) -> None:
    plots.save_figure(figure, output / f"{name}.png")
    summaries.write_figure(name, figure, step=0)
    logging.info("Drew %s", output / f"{name}.png")


def draw_runs(
    chosen: list[str], workdir: pathlib.Path, output: pathlib.Path
) -> None:
    """Draws the tables whose figures are made of runs.

    Raises:
        ValueError: If there is no complete run of any of them.
    """
    sources = None
    if _DATA_DIR.value is not None:
        sources = run_data.Sources(data_dir=_DATA_DIR.value)
    runs = run_tables.read_runs(workdir)
    for sentence in runs.damaged:
        logging.warning("%s", sentence)
    found = {
        table: find_settings(table, _SCALE.value, runs, workdir, sources)
        for table in chosen
    }
    if not any(found.values()):
        raise _checks.refusal(
            "Figures are drawn of complete runs",
            f"--workdir={workdir} without any of {', '.join(found)}",
            f"Run `python -m experiments.sweep --table={chosen[0]}` first",
        )
    for table, settings in found.items():
        if not settings:
            logging.info("Skipped %s: it has no complete run yet.", table)
        for setting in settings:
            draw(table, setting, output)


def main() -> None:
    """Draws what the flags name."""
    output = pathlib.Path(_OUTPUT.value)
    chosen = [_TABLE.value] if _TABLE.value else TABLES
    with tf.summary.create_file_writer(str(output / "logs")).as_default():
        for table in OF_LEDGER:
            if table in chosen:
                draw_ledger(table, output)
        of_runs = [table for table in chosen if table in DRAWN]
        if of_runs:
            draw_runs(of_runs, pathlib.Path(_WORKDIR.value), output)


if __name__ == "__main__":
    _entry.start(main)
