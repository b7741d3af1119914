"""Setting and Method: the runs of a figure, and their styles."""

import dataclasses
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import matplotlib.axes
import numpy as np
from matplotlib.figure import Figure as Figure

from experiments.analysis import arms
from experiments.analysis.arms import Arm
from experiments.analysis.records import Record
from experiments.papers import calibration_claims as paper
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs.outputs import Outputs
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup import summaries

# Names of files without their suffix, and figures.
Figures = Iterator[tuple[str, Figure]]
GRID = {"color": "#dddddd", "linewidth": 0.6}
# Color-blind safe, as in the library's figures.
BLUE, ORANGE, GREEN, PURPLE, _ = plots.SET_COLORS
# Dashed: derived from networks without mixup.
STYLES: dict[str, dict[str, Any]] = {
    paper.NO_MIXUP.name: {"color": BLUE},
    paper.MIXUP.name: {"color": ORANGE},
    paper.SMOOTHING.name: {"color": GREEN},
    paper.ERL.name: {"color": PURPLE},
    paper.INPUTS_ONLY.name: {"color": "#ccbb44"},
    paper.SCALED.name: {"color": "#33bbee", "linestyle": "--"},
    paper.DROPOUT.name: {"color": "#666666", "linestyle": "--"},
    paper.ENSEMBLE.name: {"color": "#000000", "linestyle": "--"},
}


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def add_legend(axes: matplotlib.axes.Axes, *, columns: int) -> None:
    """Adds a legend of one panel below the figure."""
    axes.figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        fontsize="small",
    )


def style_of(name: str) -> dict[str, Any]:
    """Returns options of `Axes.plot` for a method, with or without alpha."""
    return STYLES[name.partition(" (")[0]]


def color_of(name: str) -> str:
    """Returns the color of a method, with or without alpha."""
    return style_of(name)["color"]


@dataclasses.dataclass(frozen=True)
class Method:
    """Complete runs of one arm in one setting.

    Attributes:
        name: For legends, with its alpha.
        records: The runs, by rising seed.
    """

    name: str
    records: Sequence[Record]

    @property
    def folders(self) -> list[pathlib.Path]:
        """Folders of the runs, in the same order."""
        return [each.folder for each in self.records if each.folder]

    def values(self, result: str) -> np.ndarray:
        """Returns a result of each seed, `(S,)`; NaN where one lacks it."""
        return np.array([record.value(result) for record in self.records])

    def outputs(self, name: str = run_files.PREDICTIONS) -> list[Outputs]:
        """Returns the outputs of each seed."""
        return [outputs_lib.read(folder / name) for folder in self.folders]

    def test_bins(self, num_bins: int) -> calibration.Bins:
        """Returns the test set's table, summed over seeds."""
        tables = [
            calibration.bin_predictions(
                outputs.labels["test"],
                outputs.probabilities("test"),
                num_bins=num_bins,
            )
            for outputs in self.outputs()
        ]
        return sum_tables(tables)

    def epochs(self) -> dict[int, calibration.Bins]:
        """Returns the validation set's fine table after each epoch.

        Summed over seeds; epochs that not all seeds have are left out.
        """
        seeds = [
            summaries.read_tables(folder / "logs" / "validation")
            for folder in self.folders
        ]
        common = sorted(set.intersection(*(set(tables) for tables in seeds)))
        return {
            step + 1: sum_tables([tables[step] for tables in seeds])
            for step in common
        }

    def history(self, name: str) -> np.ndarray:
        """Returns a quantity of each seed and epoch, `(S, E)`."""
        records = [run_files.read_record(folder) for folder in self.folders]
        return np.array([record["history"][name] for record in records])


def sum_tables(tables: Sequence[calibration.Bins]) -> calibration.Bins:
    """Returns the sum of tables of one shape, in NumPy."""
    return calibration.Bins(*np.sum([np.array(t) for t in tables], axis=0))


@dataclasses.dataclass(frozen=True)
class Setting:
    """Complete runs of one data set and network.

    Attributes:
        name: Of its folder of figures.
        records: The runs.
        sources: Location of the data, for new predictions; None skips them.
    """

    name: str
    records: Sequence[Record]
    sources: run_data.Sources | None = None

    @property
    def title(self) -> str:
        """Names the setting for readers."""
        config = self.records[0].config
        dataset = arms.describe_dataset(config.dataset)
        return f"{dataset}, {arms.describe_network(config.network)}"

    def find(self, *chosen: Arm) -> list[Method]:
        """Returns the runs of arms, without arms that have none."""
        methods = []
        for arm in chosen:
            by_seed = arms.select(self.records, arm)
            runs = [by_seed[seed] for seed in sorted(by_seed)]
            if runs:
                alpha = runs[0].config.alpha
                name = f"{arm.name} (alpha {alpha:g})" if alpha else arm.name
                methods.append(Method(name, runs))
        return methods


def draw_history(
    axes: matplotlib.axes.Axes, method: Method, values: np.ndarray
) -> None:
    """Draws a method's band along the epochs."""
    epochs = np.arange(1, values.shape[1] + 1)
    style = style_of(method.name)
    draw_band(axes, epochs, values, label=method.name, **style)


def draw_band(
    axes: matplotlib.axes.Axes,
    places: Sequence[float] | np.ndarray,
    values: np.ndarray,
    **options: Any,
) -> None:
    """Draws the mean of curves, in a band of one deviation if it has one."""
    mean = values.mean(axis=0)
    axes.plot(places, mean, **options)
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        axes.fill_between(
            places,
            mean - deviation,
            mean + deviation,
            color=options["color"],
            alpha=0.2,
            linewidth=0,
        )


def count_seeds(seeds: Iterable[Sequence[Any]]) -> str:
    """Returns how many seeds a figure's methods have, in words."""
    counts = sorted({len(each) for each in seeds})
    if counts == [1]:
        return "1 seed"
    ends = dict.fromkeys((counts[0], counts[-1]))
    return f"{'-'.join(map(str, ends))} seeds"
