r"""Draws the papers' figures from the runs of their tables.

Command:
    python -m experiments.figures --workdir=runs --output=figures
    python -m experiments.figures --table=image_calibration --output=figures

Each table, data set and network gets PNG files, and TensorBoard the same
images in `logs`. Tables without runs are skipped and named. Measures that are
taken when runs are collected are drawn from the ledger.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import matplotlib.figure
import tensorflow as tf
from absl import flags
from absl import logging

from experiments import _entry
from experiments import papers
from experiments.analysis import records
from experiments.analysis.records import Record
from experiments.figures import bars
from experiments.figures import between
from experiments.figures import by_alpha
from experiments.figures import calibration
from experiments.figures import common
from experiments.figures import epochs
from experiments.figures import errors
from experiments.figures import gan
from experiments.figures import ood
from experiments.figures import overlaps
from experiments.figures import rings
from experiments.figures import tuning
from experiments.figures.common import Setting
from experiments.papers import tables
from experiments.runs import run_data
from tf_mixup import _checks
from tf_mixup import plots
from tf_mixup import summaries

# Table -> function that draws one of its settings.
DRAWN = {
    "image_calibration": calibration.draw,
    "out_of_distribution": ood.draw,
    "longer_training": epochs.draw,
    "cifar": errors.draw,
    "text": calibration.draw,
    "rings": rings.draw,
    "gans": gan.draw,
    "alpha_rules": tuning.draw,
}
# Table -> measures drawn as bars, and a key of `measures.AFTER`.
BARS: dict[str, tuple[tuple[str, ...], str]] = {
    "image_calibration": (("test_ece", "test_oe"), ""),
    "text": (("test_ece", "test_oe"), ""),
    "out_of_distribution": (("gaussian_confidence", "other_confidence"), ""),
    "further_methods": (("test_ece", "test_nll", "test_error"), ""),
    "corrupt_labels": (("test_error", "train_corrupted_accuracy"), ""),
    "ablation": (("test_error",), ""),
    "variants": (("test_error",), ""),
    "speech": (("test_error",), ""),
    "adversarial": (
        (
            *("clean_error", "fgsm_matched_error"),
            *("fgsm_black_error", "ifgsm_black_error"),
        ),
        "attacked",
    ),
}


def draw_tables(found: Sequence[Record]) -> common.Figures:
    """Draws standardized and raw features apart: six panels each."""
    for standardized, ending in ((True, ""), (False, "-raw")):
        chosen = [x for x in found if x.config.standardized is standardized]
        for name, figure in bars.draw(chosen, ("test_error",)):
            yield f"{name}{ending}", figure


OF_LEDGER: dict[str, Callable[[Sequence[Record]], common.Figures]] = {
    "gaussian_overlap": overlaps.draw,
    "image_overlap": overlaps.draw,
    "cifar": between.draw,
    "alpha_tuning": by_alpha.draw,
    "uci": draw_tables,
    **{
        table: functools.partial(bars.draw, results=results, after=after)
        for table, (results, after) in BARS.items()
    },
}
TABLES = tuple(dict.fromkeys((*OF_LEDGER, *DRAWN)))


def find_settings(
    table: str,
    scale: str,
    runs: records.Runs,
    sources: run_data.Sources | None = None,
) -> list[Setting]:
    """Returns the complete runs of a table, by data set and network."""
    # Whatever vectors words have started from.
    complete = {
        dataclasses.replace(record.config, embeddings=None): record
        for record in runs.complete
    }
    groups: dict[str, list[Record]] = {}
    for config in papers.TABLES[table].configs(scale):
        if config in complete:
            name = f"{config.dataset}-{config.network}".replace(":", "_")
            groups.setdefault(name, []).append(complete[config])
    return [Setting(name, group, sources) for name, group in groups.items()]


def draw(table: str, setting: Setting, output: pathlib.Path) -> None:
    """Draws a setting of a table into `output/TABLE/SETTING/*.png`."""
    for figure_name, figure in DRAWN[table](setting):
        _write(f"{table}/{setting.name}/{figure_name}", figure, output)


def draw_ledger(
    table: str, output: pathlib.Path, scale: str = tables.SCALES[0]
) -> int:
    """Draws a table from the ledger; returns the number of figures."""
    found = records.read_all(records.ledger(scale)).get(table, [])
    if not found:
        logging.info("Skipped %s: the ledger has no run of it.", table)
    count = 0
    for name, figure in OF_LEDGER[table](found):
        _write(f"{table}/{name}", figure, output)
        count += 1
    return count


def _write(
    name: str, figure: matplotlib.figure.Figure, output: pathlib.Path
) -> None:
    plots.save_figure(figure, output / f"{name}.png")
    summaries.write_figure(name, figure, step=0)
    logging.info("Drew %s", output / f"{name}.png")


def find_runs(
    chosen: Sequence[str],
    scale: str,
    workdir: pathlib.Path,
    sources: run_data.Sources | None = None,
) -> dict[str, list[Setting]]:
    """Returns the settings of the tables whose figures are made from runs.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If none of them has a complete run.
    """
    runs = records.read_runs(workdir)
    for sentence in runs.damaged:
        logging.warning("%s", sentence)
    found = {
        table: find_settings(table, scale, runs, sources) for table in chosen
    }
    if not any(found.values()):
        raise _checks.refusal(
            "Figures require complete runs",
            f"--workdir={workdir} without any of {', '.join(found)}",
            f"Run `python -m experiments.sweep --table={chosen[0]}` first",
        )
    return found


def draw_runs(
    found: Mapping[str, Sequence[Setting]], output: pathlib.Path
) -> None:
    """Draws the tables whose figures are made from runs."""
    for table, settings in found.items():
        if not settings:
            logging.info("Skipped %s: it has no complete run yet.", table)
        for setting in settings:
            draw(table, setting, output)


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_string("workdir", "runs", "Folder of the runs.")
    flags.DEFINE_string("output", "figures", "Folder that gets the figures.")
    flags.DEFINE_enum("table", None, TABLES, "One table; all by default.")
    flags.DEFINE_enum("scale", "small", tables.SCALES, "Of the tables.")
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of TensorFlow Datasets, for the ensemble; None omits it.",
    )


def main() -> None:
    """Draws what the flags name."""
    values = flags.FLAGS
    output = pathlib.Path(values.output)
    chosen = [values.table] if values.table else TABLES
    sources = None
    if values.data_dir is not None:
        sources = run_data.Sources(data_dir=values.data_dir)
    with tf.summary.create_file_writer(str(output / "logs")).as_default():
        drawn = sum(
            draw_ledger(table, output, values.scale)
            for table in OF_LEDGER
            if table in chosen
        )
        of_runs = [table for table in chosen if table in DRAWN]
        if of_runs:
            workdir = pathlib.Path(values.workdir)
            try:
                found = find_runs(of_runs, values.scale, workdir, sources)
            except (FileNotFoundError, ValueError) as error:
                if not drawn:
                    raise
                logging.info(
                    "Drew the figures of the ledger alone: no runs in"
                    " --workdir=%s. %s",
                    *(workdir, error),
                )
            else:
                draw_runs(found, output)


if __name__ == "__main__":
    _entry.start(main, define_flags)
