"""Calibration, confidence and mixed batches as matplotlib figures.

Figures are plain objects: they open no window, do not use `pyplot` and need not
be closed. Matplotlib is imported when a figure is made. Functions of `bins`
take `calibration.Bins`.
"""

import os
import pathlib
import uuid
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from tf_mixup import _checks
from tf_mixup import _figure_text
from tf_mixup import calibration
from tf_mixup import selective
from tf_mixup._checks import numbers

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

    from tf_mixup import _panel_figure

# Read well by most color-blind eyes: blue for data, orange for the gap.
DATA_COLOR = "#4477aa"
GAP_COLOR = "#ee7733"
# One for each set of a histogram, in order.
SET_COLORS = (DATA_COLOR, GAP_COLOR, "#228833", "#aa3377", "#bbbbbb")
# For sets of the same color.
_LINES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
# Panels side by side, and in a figure.
_COLUMNS = 5
_MAX_PANELS = 100
# Of the density's peak, the least share that has a color.
_LEAST_SHARE = 1e-3
# In inches.
_LINE_HEIGHT = 0.17
# Digits that an axis of heights may end with.
_ENDS = np.array([1, 1.5, 2, 3, 4, 6, 8, 10, 15])
# By which a confidence may leave [0, 1], as sums in float16 do.
_ROUNDING = 1e-3
# Of the bars and the gaps of a reliability diagram.
_BAR = {"facecolor": DATA_COLOR, "edgecolor": "white"}
_GAP = {"color": GAP_COLOR, "linewidth": 2.5}
# Bars of each histogram of coefficients.
_COEFFICIENT_BARS = 25
# Of all points of a scatter together, in square points of 1/72 inch.
_POINTS_AREA = 4000


def reliability_diagram(
    bins: Any, *, title: str = ""
) -> "matplotlib.figure.Figure":
    """Draws accuracy against confidence by bin, above the share of examples.

    Bars below the diagonal are overconfident. The gap is drawn at the mean
    confidence of the bin. A bin of few examples may lie far off by chance; the
    lower panel shows how much each bin counts.

    Args:
        bins: `calibration.Bins` of shape `(M,)`, or a mapping of a panel's
            name to them: then side by side, on the same axes.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: The figure.

    Raises:
        ValueError: If a panel's `bins` are not one table.

    References:
        Guo et al. On Calibration of Modern Neural Networks. ICML 2017.
        https://arxiv.org/abs/1706.04599
    """
    panels = bins if isinstance(bins, Mapping) else {title: bins}
    _check_panels(len(panels))
    tables = [_read_one_table(table) for table in panels.values()]
    shares = [count / max(count.sum(), 1e-12) for count, *_ in tables]
    figure = _build(
        _frame_reliability,
        tuple(map(str, panels)),
        title if isinstance(bins, Mapping) else "",
        _round_up(max(share.max(initial=0) for share in shares)),
    )
    uppers, lowers = figure.grid[::2].ravel(), figure.grid[1::2].ravel()
    for upper, lower, table, share in zip(
        uppers, lowers, tables, shares, strict=False
    ):
        _draw_reliability(upper, lower, table, share)
    return figure


def _frame_reliability(
    names: tuple[str, ...], title: str, top: float
) -> "_panel_figure.PanelFigure":
    """Returns the figure without data; the lower panels end at `top`."""
    import matplotlib.lines
    import matplotlib.patches

    # Many panels are read side by side, so they must fit into a page.
    few = len(names) < 4
    side = 3.2 if few else 2.0
    rows, columns = _shape_grid(len(names))
    figure = _new_panel_figure(side * columns + 0.8, 5.0 * rows)
    if title:
        _draw_suptitle(figure, title)
    figure.add_grid(
        *(2 * rows, columns),
        sharex=True,
        sharey="row",
        gridspec_kw={"height_ratios": [3, 1] * rows},
    )
    uppers, lowers = figure.grid[::2].ravel(), figure.grid[1::2].ravel()
    for axes in (*uppers[len(names) :], *lowers[len(names) :]):
        axes.set_axis_off()
    for upper, lower, name in zip(uppers, lowers, names, strict=False):
        _draw_title(upper, name, side - 0.2)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        lower.set(xlabel="confidence", ylim=(0, top))
        lower.tick_params(labelbottom=True)
        if not few:
            lower.set(xticks=[0, 0.5, 1])
    for axes in figure.grid[::2, 0]:
        axes.set(ylabel="accuracy")
    for axes in figure.grid[1::2, 0]:
        axes.set(ylabel="share of\nexamples")
    _make_room(figure, rows)
    # Bars may stand anywhere inside.
    figure.legend(
        [
            matplotlib.patches.Patch(**_BAR),
            matplotlib.lines.Line2D([], [], **_GAP),
        ],
        ["accuracy", "gap to mean confidence"],
        loc="outside lower center",
        ncols=2,
    )
    return figure


def _draw_reliability(
    upper: "matplotlib.axes.Axes",
    lower: "matplotlib.axes.Axes",
    table: tuple[np.ndarray, ...],
    share: np.ndarray,
) -> None:
    import matplotlib.patches

    count, confidence, accuracy = table
    width = 1 / count.size
    left = np.arange(count.size) * width
    seen = count > 0
    for axes, heights in ((upper, accuracy), (lower, share)):
        for x, height in zip(left, heights, strict=True):
            # `axes.bar` would take most of the time to find known limits.
            bar = matplotlib.patches.Rectangle((x, 0), width, height, **_BAR)
            axes.add_artist(bar)
    upper.vlines(*(confidence[seen], accuracy[seen], confidence[seen]), **_GAP)
    _draw_diagonal(upper)


def _read_one_table(bins: Any) -> tuple[np.ndarray, ...]:
    table = _read_bins(bins)
    if table[0].ndim != 1:
        raise _checks.refusal(
            "A curve or a reliability diagram shows one table of bins",
            f"bins of shape {table[0].shape}",
            "Pick a class, or sum over the leading axes",
        )
    return table


def confidence_histogram(
    sets: Mapping[str, Any], *, num_bins: int = 20, title: str = ""
) -> "matplotlib.figure.Figure":
    """Draws the distribution of confidence of one or several sets.

    Args:
        sets: Name of a set to its confidences, an array `(N,)`, or to
            `calibration.Bins`, which count at their bins' mean confidence.
            Or a panel's name to such a mapping: then side by side, on the
            same axes.
        num_bins: Bars in the histogram. Defaults to 20.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: The figure; areas of all sets are equal.
    """
    _checks.integer_at_least(
        "num_bins", num_bins, 1, remedy="Write 20, or leave it out"
    )
    nested = any(isinstance(values, Mapping) for values in sets.values())
    panels = sets if nested else {title: sets}
    _check_panels(len(panels))
    edges = np.linspace(0, 1, num_bins + 1)
    densities = [_bin_confidences(panel, edges) for panel in panels.values()]
    heights = [bars.max() for each in densities for *_, bars in each]
    styles = {name: style for each in densities for name, style, _ in each}
    figure = _build(
        _frame_confidences,
        tuple(map(str, panels)),
        tuple((str(name), style) for name, style in styles.items()),
        title if nested else "",
        _round_up(max(heights, default=0)),
    )
    for axes, panel in zip(figure.grid.flat, densities, strict=False):
        for _, index, bars in panel:
            axes.hist(
                edges[:-1],
                bins=edges,
                weights=bars,
                histtype="stepfilled",
                **_nth_filling(index),
            )
    return figure


def _frame_confidences(
    names: tuple[str, ...],
    styles: tuple[tuple[str, int], ...],
    title: str,
    top: float,
) -> "_panel_figure.PanelFigure":
    """Returns the figure without data; the panels end at `top`."""
    import matplotlib.patches

    rows, columns = _shape_grid(len(names))
    figure = _new_panel_figure(2.9 * columns + 2.1, 4.0 * rows)
    if title:
        _draw_suptitle(figure, title)
    figure.add_grid(rows, columns, sharey=True)
    for axes, name in zip(figure.grid.flat, names, strict=False):
        _draw_title(axes, name, 2.7 if len(names) > 1 else 4.6)
        axes.set(xlabel="confidence", xlim=(0, 1), ylim=(0, top))
    for axes in figure.grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in figure.grid[:, 0]:
        axes.set(ylabel="density")
    # Bars may stand anywhere inside: those of noise do.
    ncols = max(min(len(styles), 2 * columns), 1)
    _figure_text.add_legend(
        figure,
        {
            name: matplotlib.patches.Patch(**_nth_filling(index))
            for name, index in styles
        },
        width=figure.get_figwidth() / ncols - 0.7,
        loc="outside lower center",
        ncols=ncols,
    )
    _make_room(figure, rows, ncols)
    return figure


def _bin_confidences(
    sets: Mapping[Any, Any], edges: np.ndarray
) -> list[tuple[Any, int, np.ndarray]]:
    """Returns name, number and density of each set that is not empty."""
    densities = []
    for index, (name, values) in enumerate(sets.items()):
        places, weights = _weigh_confidences(name, values)
        if weights.sum() > 0:
            density, _ = np.histogram(
                places, edges, weights=weights, density=True
            )
            densities.append((name, index, density))
    return densities


def _nth_filling(index: int) -> dict[str, Any]:
    """Returns the options of a set's area and its outline."""
    import matplotlib.colors

    style = _nth_style(index)
    return {
        "facecolor": matplotlib.colors.to_rgba(style["color"], 0.15),
        "edgecolor": style["color"],
        "linestyle": style["linestyle"],
        "linewidth": 1.5,
    }


def _weigh_confidences(
    name: object, values: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns confidences in [0, 1] and how much each counts."""
    if hasattr(values, "count") and hasattr(values, "correct"):
        count, confidence, _ = _read_bins(values)
        # A mean on an edge belongs to its own bin, which only it knows.
        width = 1 / count.shape[-1]
        low = np.arange(count.shape[-1]) * width
        inside = confidence.clip(low + width / 1e3, low + width * (1 - 1e-3))
        return np.ravel(inside), np.ravel(count)
    shares = read_shares(name, values)
    return shares, np.ones(shares.size)


def read_shares(name: object, values: Any) -> np.ndarray:
    """Returns numbers in [0, 1], such as confidences, as float64 `(N,)`.

    Args:
        name: What messages call them.
        values: Of any shape; sums in float16 may leave [0, 1] by a little.

    Raises:
        ValueError: If one is NaN or outside of [0, 1].
    """
    values = np.ravel(numbers.to_numpy(values, str(name), dtype=np.float64))
    inside = (values >= -_ROUNDING) & (values <= 1 + _ROUNDING)
    if not inside.all():
        raise _checks.refusal(
            "Confidences and shares must lie in [0, 1]",
            f"{name!r} with {values[~inside][0]:g}, and"
            f" {np.sum(~inside) - 1} more of {values.size} outside",
            "Give the largest probability of each example, or the"
            " coefficients of a plan",
        )
    return values.clip(0, 1)


def accuracy_confidence_density(
    bins: Any, *, bandwidth: float = 0.04, title: str = ""
) -> "matplotlib.figure.Figure":
    """Draws the joint density of accuracy and confidence over bins.

    Each bin is a point (mean confidence, accuracy), weighted by its examples; a
    Gaussian kernel turns the points into a density. Most of it lies on the
    diagonal for a calibrated model, below it for an overconfident one. Give
    several epochs to see the model move. Colors are logarithmic, so that bins
    of few examples show beside a bin that holds nearly all.

    Args:
        bins: `calibration.Bins`, or a mapping of a panel's name to them. Or a
            row's name to such a mapping: then a grid, whose rows have panels
            of the same names.
        bandwidth: Deviation of the kernel, in units of probability. It is
            fixed: an automatic one vanishes when all points lie on a line.
            Defaults to 0.04.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: The figure, one panel for each table; each has its own scale
            of colors, from its densest point to a thousandth of that.

    Raises:
        ValueError: If the rows of a grid have panels of different names.

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019, figure
        1. https://arxiv.org/abs/1905.11001
    """
    import matplotlib.colors

    panels = bins if isinstance(bins, Mapping) else {"": bins}
    nested = any(isinstance(values, Mapping) for values in panels.values())
    rows = panels if nested else {"": panels}
    _check_panels(len(rows))
    names = _shared_names(rows)
    _check_panels(len(rows) * len(names))
    figure = _build(
        _frame_densities,
        tuple(map(str, rows)) if nested else ("",),
        tuple(map(str, names)),
        title,
    )
    for axes, row in zip(figure.grid, rows.values(), strict=True):
        for panel, name in zip(axes, names, strict=True):
            density = joint_density(row[name], bandwidth=bandwidth)
            peak = max(density.max(), 1e-12)
            panel.imshow(
                density,
                origin="lower",
                extent=(0, 1, 0, 1),
                cmap="Blues",
                norm=matplotlib.colors.LogNorm(
                    _LEAST_SHARE * peak, peak, clip=True
                ),
            )
            _draw_diagonal(panel)
    return figure


def _frame_densities(
    rows: tuple[str, ...], names: tuple[str, ...], title: str
) -> "_panel_figure.PanelFigure":
    """Returns the figure without data."""
    side = 3.4 if len(names) < 4 else 1.6
    figure = _new_panel_figure(
        side * len(names) + 0.4, (side + 0.1) * len(rows) + 0.6
    )
    _draw_suptitle(figure, title)
    figure.add_grid(len(rows), len(names), sharex=True, sharey=True)
    for axes, row in zip(figure.grid[:, 0], rows, strict=True):
        label = (
            f"{_figure_text.fit(row, side)}\naccuracy" if row else "accuracy"
        )
        axes.set_ylabel(label, **_figure_text.AS_WRITTEN)
    for top, bottom, name in zip(
        figure.grid[0], figure.grid[-1], names, strict=True
    ):
        _draw_title(top, name, side - 0.1)
        bottom.set(xlabel="mean confidence")
    for axes in figure.axes:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.supxlabel(
        "darkest: densest; lightest: a thousandth of that or less",
        fontsize="small",
        color="gray",
    )
    _make_room(figure)
    return figure


def _shared_names(rows: Mapping[Any, Mapping[Any, Any]]) -> list[Any]:
    """Returns the names of the panels, which all rows must have."""
    names = [list(row) for row in rows.values()]
    if any(other != names[0] for other in names):
        raise _checks.refusal(
            "All rows must have panels of the same names",
            f"panels {names}",
            "Give each row the same epochs",
        )
    return names[0]


def accuracy_confidence_scatter(
    bins: Mapping[str, Any],
    *,
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Draws each bin as a point: its accuracy against its mean confidence.

    A point's area is its bin's share of the examples. Bins of few examples lie
    off the diagonal by chance.

    Args:
        bins: Name of a model to its `calibration.Bins`; leading axes are more
            points.
        styles: Name -> options of `Axes.scatter`, such as `color` and
            `marker`. Defaults to a color for each.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: One panel with all models; the areas of each add up to the
            same.

    References:
        Thulasidasan et al. On Mixup Training: Improved Calibration and
        Predictive Uncertainty for Deep Neural Networks. NeurIPS 2019, figure
        2. https://arxiv.org/abs/1905.11001
    """
    figure = _new_figure(4.6, 4.4)
    _draw_suptitle(figure, title)
    axes = figure.subplots()
    handles = {}
    for index, (name, table) in enumerate(bins.items()):
        count, confidence, accuracy = map(np.ravel, _read_bins(table))
        seen = count > 0
        options = {"color": SET_COLORS[index % len(SET_COLORS)]}
        options["marker"] = _MARKERS[index // len(SET_COLORS) % len(_MARKERS)]
        options |= (styles or {}).get(name, {})
        handles[name] = axes.scatter(
            confidence[seen],
            accuracy[seen],
            s=_POINTS_AREA * count[seen] / max(count.sum(), 1e-12),
            alpha=0.6,
            linewidths=0,
            **options,
        )
    _draw_diagonal(axes)
    axes.set(xlabel="mean confidence of the bin", ylabel="accuracy of the bin")
    axes.set_aspect("equal")
    # Names stand by equal points: areas of the largest bins differ.
    few = len(handles) < 6
    legend = _figure_text.add_legend(
        axes if few else figure,
        handles,
        width=2.0 if few else 3.6,
        loc="upper left" if few else "outside lower center",
    )
    for handle in legend.legend_handles if legend else ():
        handle.set_sizes([40])
    _make_room(figure)
    return figure


def roc_curves(
    scores: Mapping[str, Sequence[tuple[Any, Any]]],
    *,
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Draws how well scores separate examples inside from those outside.

    Each threshold is a point: the share of examples from outside that pass as
    inside, and the share of examples from inside that do. Curves of several
    pairs are averaged at equal shares from outside, so that the area under the
    mean is the mean of their areas.

    Args:
        scores: Name of a curve -> pairs of scores inside and outside of the
            distribution, `(N,)` and `(R,)`, higher for inside: a pair for
            each model, such as those of several seeds.
        styles: Name -> options of `Axes.plot`, such as `color` and
            `linestyle`. Defaults to a color for each.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: One panel with all curves. The legend has each one's AUROC in
            percent, of several pairs the mean and the standard deviation.

    Raises:
        ValueError: If scores are empty, not one-dimensional or not finite.
    """
    from sklearn import metrics

    figure = _new_figure(4.6, 4.4)
    _draw_suptitle(figure, title)
    axes = figure.subplots()
    handles = {}
    for index, (name, pairs) in enumerate(scores.items()):
        curves = [_roc_curve(name, *pair) for pair in pairs]
        if not curves:
            raise _checks.refusal(
                "A curve must have a pair of scores at least",
                f"none for {name!r}",
                "Leave the name out",
            )
        areas = 100 * np.array([metrics.auc(*curve) for curve in curves])
        area = f"{areas.mean():.1f}"
        if len(curves) > 1:
            area += f" ± {areas.std(ddof=1):.1f}"
        options = {**_nth_style(index), **(styles or {}).get(name, {})}
        label = f"{name}: {area} %"
        (handles[label],) = axes.plot(
            *_mean_curve(curves), label=label, **options
        )
    _draw_diagonal(axes)
    axes.set(
        xlabel="share of examples from outside that pass",
        ylabel="share of examples from inside that pass",
        ylim=(0, 1.01),
    )
    axes.set_aspect("equal")
    # Curves may go anywhere, also below the diagonal.
    _figure_text.add_legend(
        figure,
        handles,
        width=3.6,
        loc="outside lower center",
        title="AUROC",
        fontsize="small",
    )
    _make_room(figure)
    return figure


def risk_coverage_curves(
    tables: Mapping[str, Any], *, title: str = ""
) -> "matplotlib.figure.Figure":
    """Draws the error rate of the most confident examples by their share.

    A classifier that abstains at low confidence has a curve that rises: what
    it accepts first is right most often. The right end is the error rate of
    all examples.

    Args:
        tables: Name of a curve to `calibration.Bins` `(M,)` in ascending order
            of confidence, of `selective.rank_predictions` or
            `metrics.CalibrationMetrics.ranked_bins`.
        title: Text above the figure. Defaults to nothing.

    Returns:
        figure: One panel with all curves.

    Raises:
        ValueError: If a table is not one of bins with finite sums.

    References:
        Geifman and El-Yaniv. Selective Classification for Deep Neural
        Networks. NeurIPS 2017. https://arxiv.org/abs/1705.08500
    """
    curves = {}
    for name, table in tables.items():
        _read_one_table(table)
        bins = calibration.Bins(*table)
        curves[str(name)] = selective.risk_coverage_curve(bins)
    risks = [curve.risk.max(initial=0) for curve in curves.values()]
    top = min(_round_up(max(risks, default=0)), 1.0)
    figure = _build(_frame_risk_coverage, tuple(curves), title, top)
    (axes,) = figure.grid.flat
    for index, curve in enumerate(curves.values()):
        axes.plot(curve.coverage, curve.risk, **_nth_style(index))
    axes.set(xlim=(0, 1), ylim=(0, top))
    return figure


def _frame_risk_coverage(
    names: tuple[str, ...], title: str, top: float
) -> "_panel_figure.PanelFigure":
    """Returns the figure without data; the panel ends at `top`."""
    import matplotlib.lines

    figure = _new_panel_figure(4.6, 4.0)
    if title:
        _draw_suptitle(figure, title)
    figure.add_grid(1, 1)
    figure.grid[0, 0].set(
        xlabel="coverage: share of examples accepted",
        ylabel="risk: error rate of these",
        xlim=(0, 1),
        ylim=(0, top),
    )
    if len(names) > 1:
        handles = {
            name: matplotlib.lines.Line2D([], [], **_nth_style(index))
            for index, name in enumerate(names)
        }
        _figure_text.add_legend(
            figure, handles, width=3.6, loc="outside lower center"
        )
    _make_room(figure)
    return figure


def _roc_curve(
    name: str, inside: Any, outside: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shares from outside and from inside at each threshold."""
    from sklearn import metrics

    sets = [np.asarray(each, np.float64) for each in (inside, outside)]
    if any(x.ndim != 1 or not x.size or not np.isfinite(x).all() for x in sets):
        raise _checks.refusal(
            "Scores must be one finite number for each example, and at least"
            " one example",
            f"{name} with scores of shapes {[x.shape for x in sets]}",
            "Give two arrays, e.g. of `ood.confidence`, without NaN",
        )
    is_in = np.repeat([1, 0], [sets[0].size, sets[1].size])
    return metrics.roc_curve(is_in, np.concatenate(sets))[:2]


def _mean_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    if len(curves) == 1:
        return curves[0]
    grid = np.linspace(0, 1, 1001)
    rows = [np.interp(grid, *curve) for curve in curves]
    return grid, np.mean(rows, axis=0)


def joint_density(
    bins: Any, *, bandwidth: float = 0.04, size: int = 101
) -> np.ndarray:
    """Returns the density that `accuracy_confidence_density` draws.

    Args:
        bins: `calibration.Bins`; leading axes are more points.
        bandwidth: Deviation of the Gaussian kernel. Defaults to 0.04.
        size: Points of the grid on `[0, 1]`, each way. Defaults to 101.

    Returns:
        density: `(size, size)` array, accuracy by confidence; it integrates
            to 1 over the plane. Zero for an empty table.

    Raises:
        ValueError: If `bandwidth` is not above 0.
    """
    _checks.real_at_least(
        "bandwidth", bandwidth, 1e-3, remedy="Write 0.04, a fine bin's width"
    )
    count, confidence, accuracy = map(np.ravel, _read_bins(bins))
    grid = np.linspace(0, 1, size)

    def kernel(centers: np.ndarray) -> np.ndarray:
        z = (grid[:, None] - centers) / bandwidth
        return np.exp(-0.5 * z**2) / (bandwidth * np.sqrt(2 * np.pi))

    weight = count / max(count.sum(), 1e-12)
    return (kernel(accuracy) * weight) @ kernel(confidence).T


def mixed_batch(
    sources: Any,
    partners: Any,
    mixed: Any,
    lam: Any,
    *,
    targets: Any = None,
    max_examples: int = 6,
) -> "matplotlib.figure.Figure":
    """Draws images, their partners and what mixing made of them.

    Args:
        sources: Images `(B, H, W)` or `(B, H, W, C)` with 1, 3 or 4 channels.
            All three batches share one gray scale, found from their values.
        partners: The image that each one was mixed with, of the same shape.
        mixed: The mixed images, of the same shape.
        lam: Share of the source in each, in [0, 1], `(B,)` or a scalar.
        targets: Mixed targets `(B, K)`: the two largest are printed. Defaults
            to nothing.
        max_examples: Examples to draw at most. Defaults to 6.

    Returns:
        figure: One row for each example: source, partner, mixed.

    Raises:
        ValueError: If the batches are not images of one shape, or if a share
            is not in [0, 1].
    """
    _checks.integer_at_least(
        "max_examples", max_examples, 1, remedy="Write 6, or leave it out"
    )
    batches = [np.asarray(x, np.float32) for x in (sources, partners, mixed)]
    _check_images(batches)
    size = len(batches[0])
    rows = min(max_examples, size)
    lam = _one_each("lam", np.asarray(lam, np.float64), size)
    read_shares("lam", lam)
    if targets is not None:
        targets = _one_each("targets", np.asarray(targets, np.float64), size)
    figure = _new_figure(4.5, 1.5 * rows + 0.4)
    grid = figure.subplots(rows, 3, squeeze=False)
    for column, images in enumerate(_rescale(batches)):
        for row in range(rows):
            image = (
                np.squeeze(images[row], -1)
                if images.shape[-1:] == (1,)
                else images[row]
            )
            grid[row, column].imshow(image, cmap="gray", vmin=0, vmax=1)
            grid[row, column].set_axis_off()
    for row in range(rows):
        share = float(np.ravel(lam[row])[0])
        titles = [f"source: {share:.2f}", f"partner: {1 - share:.2f}"]
        if targets is not None:
            titles.append(_describe_target(targets[row]))
        for axes, title in zip(grid[row], titles, strict=False):
            # TensorBoard shows the figure at three quarters of its size.
            axes.set_title(title, fontsize="medium")
    return figure


def mixing_coefficients(
    shares: Any, *, alpha: float | None = None
) -> "matplotlib.figure.Figure":
    """Draws coefficients, and the entropy of labels mixed by them.

    The entropy is that of mixing different classes, `sum_p -lam_p log lam_p`
    in nats; no mixing has 0, an equal mixture of P examples `log P`.

    Args:
        shares: Share of an example in its mixture, in [0, 1], `(N,)`; or of
            all P examples in it, `(N, P)`.
        alpha: Of the Beta or Dirichlet distribution that they were drawn from.
            What it says of each bar is drawn as a line. None, the default, and
            0 draw none.

    Returns:
        figure: Two histograms side by side.

    Raises:
        ValueError: If there is no share, one is not in [0, 1], or those of P
            examples do not sum to 1.

    References:
        Zhang et al. mixup: Beyond Empirical Risk Minimization. ICLR 2018.
        https://arxiv.org/abs/1710.09412 (equation 2)

        Thulasidasan et al. On Mixup Training. NeurIPS 2019.
        https://arxiv.org/abs/1905.11001 (the entropy of mixed labels)
    """
    import scipy.special

    if alpha is not None:
        _checks.real_at_least(
            "alpha", alpha, 0, remedy="Write that of the stage"
        )
    columns = _read_points(shares)
    points = columns.shape[-1]
    entropies = scipy.special.entr(columns).sum(axis=-1)
    edges = np.linspace(0, 1, _COEFFICIENT_BARS + 1)
    expected: list[Any] = [None, None]
    if alpha:
        expected = _expect_coefficients(alpha, points, edges)
    widths = (edges, edges * np.log(points))
    values = (columns[:, 0].clip(0, 1), entropies.clip(0, np.log(points)))
    bars = [
        100 * np.histogram(each, ends)[0] / len(each)
        for each, ends in zip(values, widths, strict=True)
    ]
    lines = [None if each is None else 100 * each for each in expected]
    tops = [
        min(
            _round_up(max(heights.max(), 0 if line is None else line.max())),
            100,
        )
        for heights, line in zip(bars, lines, strict=True)
    ]
    label = f"Beta({alpha:g}, {(points - 1) * alpha:g})" if alpha else ""
    figure = _build(_frame_coefficients, points, label, *tops)
    for axes, heights, line, ends in zip(
        figure.grid.flat, bars, lines, widths, strict=True
    ):
        axes.stairs(heights, ends, fill=True, color=DATA_COLOR)
        if line is not None:
            axes.stairs(line, ends, color=GAP_COLOR, linewidth=1.5)
    return figure


def _frame_coefficients(
    points: int, label: str, left: float, right: float
) -> "_panel_figure.PanelFigure":
    """Returns the figure without data; the panels end at these heights."""
    import matplotlib.lines

    figure = _new_panel_figure(7.0, 3.2)
    figure.add_grid(1, 2)
    first, second = figure.grid.flat
    first.set(
        xlabel="coefficient of an example",
        ylabel="of all draws (%)",
        xlim=(0, 1),
        ylim=(0, left),
    )
    second.set(
        xlabel="entropy of two classes mixed by it (nats)",
        xlim=(0, np.log(points)),
        ylim=(0, right),
    )
    if label:
        line = matplotlib.lines.Line2D([], [], color=GAP_COLOR, label=label)
        figure.legend(
            handles=[line], loc="outside upper center", fontsize="small"
        )
    return figure


def _read_points(shares: Any) -> np.ndarray:
    """Returns the shares of all examples of mixtures, `(N, P)`."""
    shape = np.shape(shares)
    columns = read_shares("shares", shares)
    several = len(shape) == 2 and shape[1] > 1
    if several:
        columns = columns.reshape(shape)
    else:
        columns = np.stack([columns, 1 - columns], axis=-1)
    off = np.abs(columns.sum(axis=-1) - 1)
    if not columns.size or len(shape) > 2 or np.any(off > _ROUNDING):
        raise _checks.refusal(
            "Shares must be (N,), or those of all P examples of a mixture,"
            " (N, P), which sum to 1",
            f"shape {shape}" + (" with other sums" if several else ""),
            "Write `np.ravel(mixup.coefficients(...))` for pairs",
        )
    return columns


def _expect_coefficients(
    alpha: float, points: int, edges: np.ndarray
) -> list[np.ndarray | None]:
    """Returns the expected shares of draws in bars of coefficient and entropy.

    None for the entropy of more than two points, which has no simple form.
    """
    import scipy.special

    others = (points - 1) * alpha
    coefficients = np.diff(scipy.special.betainc(alpha, others, edges))
    if points > 2:
        return [coefficients, None]
    # Of the smaller share, at whose entropy a bar ends.
    halves = np.linspace(0, 0.5, 10_001)
    levels = scipy.special.entr(halves) + scipy.special.entr(1 - halves)
    ends = np.interp(edges * np.log(2), levels, halves)
    entropies = np.diff(2 * scipy.special.betainc(alpha, alpha, ends))
    return [coefficients, entropies]


def save_figure(
    figure: "matplotlib.figure.Figure", path: str | os.PathLike[str]
) -> None:
    """Writes a PNG file, under a temporary name first.

    Args:
        figure: The figure.
        path: The file; its folder is made if needed.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        figure.savefig(partial, format="png")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def figure_to_image(figure: "matplotlib.figure.Figure") -> np.ndarray:
    """Returns the figure's pixels.

    Args:
        figure: The figure.

    Returns:
        image: uint8 array `(H, W, 4)`: red, green, blue, opacity.
    """
    import matplotlib.backends.backend_agg

    if getattr(figure, "kept", False):
        return figure.draw_panels()
    canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def _new_figure(width: float, height: float) -> "matplotlib.figure.Figure":
    import matplotlib.figure

    return matplotlib.figure.Figure(
        figsize=(width, height), dpi=100, layout="constrained"
    )


def _new_panel_figure(
    width: float, height: float
) -> "_panel_figure.PanelFigure":
    from tf_mixup import _panel_figure

    return _panel_figure.PanelFigure(width, height)


def _build(
    frame: "Callable[..., _panel_figure.PanelFigure]", *options: Hashable
) -> "_panel_figure.PanelFigure":
    """Returns `frame(*options)`, or one from before that may be reused."""
    from tf_mixup import _panel_figure

    return _panel_figure.build(frame, *options)


def _nth_style(index: int) -> dict[str, Any]:
    return {
        "color": SET_COLORS[index % len(SET_COLORS)],
        "linestyle": _LINES[index // len(SET_COLORS) % len(_LINES)],
    }


def _make_room(
    figure: "matplotlib.figure.Figure", rows: int = 1, ncols: int = 1
) -> None:
    """Makes a figure higher by all lines of names but the first ones."""
    titles = [axes.get_title().count("\n") for axes in figure.axes]
    lines = rows * max(titles, default=0) + figure.get_suptitle().count("\n")
    for legend in figure.legends:
        texts = [text.get_text() for text in legend.get_texts()]
        lines += (len(texts) - 1) / ncols + "".join(texts).count("\n")
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * lines)


def _draw_suptitle(figure: "matplotlib.figure.Figure", title: str) -> None:
    figure.suptitle(
        _figure_text.fit(title, figure.get_figwidth() - 0.2, 12),
        **_figure_text.AS_WRITTEN,
    )


def _draw_title(
    axes: "matplotlib.axes.Axes", name: object, width: float
) -> None:
    axes.set_title(
        _figure_text.fit(name, width),
        fontsize="medium",
        **_figure_text.AS_WRITTEN,
    )


def _draw_diagonal(axes: "matplotlib.axes.Axes") -> None:
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _round_up(height: float) -> float:
    """Returns where an axis ends: panels of similar heights end alike."""
    unit = 10.0 ** np.floor(np.log10(height)) if height > 0 else 1.0
    ends = unit * _ENDS
    return float(ends[np.searchsorted(ends, 1.02 * height)])


def _check_panels(count: int) -> None:
    if not 1 <= count <= _MAX_PANELS:
        raise _checks.refusal(
            f"A figure has 1 to {_MAX_PANELS} panels",
            f"{count} panels",
            "Draw several figures" if count else "Give a table or a set",
        )


def _shape_grid(count: int) -> tuple[int, int]:
    """Returns the rows and columns of a grid of panels."""
    rows = -(-count // _COLUMNS)
    return rows, min(count, _COLUMNS)


def _read_bins(bins: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns counts, and mean confidence and accuracy (0 where empty)."""
    sums = [numbers.to_numpy(each, "Bins", dtype=np.float64) for each in bins]
    shapes = [each.shape for each in sums]
    if len(sums) != 3 or len(set(shapes)) > 1 or not shapes[0]:
        raise _checks.refusal(
            "Bins must be three arrays of one shape: counts, and sums of"
            " confidence and of correctness",
            f"shapes {shapes}",
            "Give what `calibration.bin_predictions` returns",
        )
    count, confidence, correct = sums
    if not np.isfinite(sums).all() or (count < 0).any():
        raise _checks.refusal(
            "Bins must hold finite sums, and counts of at least 0",
            f"{int(np.sum(~np.isfinite(sums)))} sums that are not finite, and"
            f" counts from {np.nanmin(count, initial=np.inf):g}",
            "Look for NaN in the predictions, and for labels out of range",
        )
    divisor = np.where(count > 0, count, 1)
    return count, confidence / divisor, correct / divisor


def _check_images(batches: list[np.ndarray]) -> None:
    shape = batches[0].shape
    images = len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3, 4))
    if (
        not images
        or not all(shape)
        or any(batch.shape != shape for batch in batches)
    ):
        raise _checks.refusal(
            "Sources, partners and mixed must be images of one shape,"
            " (B, H, W) or (B, H, W, C) with 1, 3 or 4 channels, at least one",
            f"shapes {[batch.shape for batch in batches]}",
            "Mixed tables or embeddings cannot be drawn as images",
        )


def _one_each(name: str, values: np.ndarray, size: int) -> np.ndarray:
    """Returns a value for each of `size` images, also of a scalar."""
    if values.ndim == 0:
        return np.full(size, values)
    if len(values) != size:
        raise _checks.refusal(
            f"`{name}` must have one value for each image",
            f"shape {values.shape} for {size} images",
            "Give those of the same batch",
        )
    return values


def _rescale(batches: list[np.ndarray]) -> list[np.ndarray]:
    """Maps the finite values of all batches together to [0, 1]."""
    finite = [batch[np.isfinite(batch)] for batch in batches]
    low = min(float(batch.min(initial=np.inf)) for batch in finite)
    high = max(float(batch.max(initial=-np.inf)) for batch in finite)
    if low > high:
        return batches
    return [
        np.clip((batch - low) / max(high - low, 1e-12), 0, 1)
        for batch in batches
    ]


def _describe_target(target: np.ndarray) -> str:
    """Returns the largest two entries of a target, `class: share`."""
    target = np.ravel(target)
    order = np.argsort(-target, kind="stable")[:2]
    return ", ".join(f"{k}: {target[k]:.2f}" for k in order if target[k] > 0)
