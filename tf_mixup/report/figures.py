"""The figures of a report: inline SVG that takes its colors from the page.

Text and lines have the color of the page's text, and data the classes `c0` to
`c4` of its style, so a figure follows dark mode and fills any width. Each is a
`<figure>` with its legend.
"""

import html
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from tf_mixup import calibration
from tf_mixup import selective
from tf_mixup.report.measures import Errors
from tf_mixup.report.predictions import Predictions

# In units of the drawing; the page scales it to the width of a column.
_WIDTH, _LEFT, _RIGHT, _BELOW = 360, 46, 18, 34
_NUM_COLORS = 5
_NUM_BARS = 20
# Points of a curve: more are not seen.
_NUM_POINTS = 201


class _Panel:
    """Axes from 0 to 1 by 0 to `top`, in a rectangle of the drawing."""

    def __init__(self, above: float, height: float, top: float = 1.0) -> None:
        self.bottom = above + height
        self._scale = height / top
        self.top = top

    @staticmethod
    def x(value: float) -> float:
        """Returns a place from the left."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * float(value)

    def y(self, value: float) -> float:
        """Returns a place from above."""
        return self.bottom - self._scale * float(value)

    def axes(
        self, label: str, num_ticks: int, *, numbers: bool = True
    ) -> Iterable[str]:
        """Yields grid lines with their numbers, and the label on the left."""
        for tick in np.linspace(0, self.top, num_ticks):
            y = self.y(tick)
            yield (
                f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
                f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
                f"{_percent(tick)}</text>"
            )
        middle = (self.bottom + self.y(self.top)) / 2
        yield (
            f'<text text-anchor="middle" transform="translate(11 {middle:.1f})'
            f' rotate(-90)">{label}</text>'
        )
        if numbers:
            for tick in np.linspace(0, 1, 6):
                yield (
                    f'<text x="{self.x(tick):.1f}" y="{self.bottom + 14:.1f}"'
                    f' text-anchor="middle">{_percent(tick)}</text>'
                )

    def below(self, label: str, distance: float = 29) -> str:
        """Returns the label below the axis."""
        return (
            f'<text x="{self.x(0.5):.1f}" y="{self.bottom + distance:.1f}"'
            f' text-anchor="middle">{label}</text>'
        )

    def bar(
        self, left: float, right: float, height: float, title: str = ""
    ) -> str:
        """Returns a bar, with a title that shows under the pointer."""
        x, y = self.x(left), self.y(height)
        gap = min(1.0, 0.2 * (self.x(right) - x))
        return (
            f'<rect class="c0" x="{x + gap / 2:.2f}" y="{y:.2f}"'
            f' width="{self.x(right) - x - gap:.2f}"'
            f' height="{self.bottom - y:.2f}"><title>{title}</title></rect>'
        )

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Returns the description of a line through points."""
        return "M" + "L".join(
            f"{self.x(x):.2f} {self.y(y):.2f}"
            for x, y in zip(xs, ys, strict=True)
        )


def draw(
    examples: Predictions,
    conventions: Mapping[str, Errors],
    outside: Mapping[str, np.ndarray],
) -> dict[str, str]:
    """Draws all figures of a report, by name; `ood` and `roc` of other sets."""
    # Of soft targets the class with the most mass counts.
    right = examples.predicted == examples.labels
    answers = {
        "right answers": examples.confidence[right],
        "wrong answers": examples.confidence[~right],
    }
    figures = {
        **reliability_diagrams({"reliability": conventions["guo"].bins}),
        **reliability_diagrams({"fine": conventions["paper"].bins}),
        "confidence": confidence_histogram(answers),
        "selective": risk_coverage_curve(examples),
    }
    if outside:
        sets = {"data": examples.confidence, **outside}
        figures["ood"] = confidence_histogram(sets)
        figures["roc"] = roc_curves(examples.confidence, outside)
    return figures


def reliability_diagrams(
    tables: Mapping[str, calibration.Bins],
    *,
    x: str = "confidence",
    y: str = "accuracy",
) -> dict[str, str]:
    """Draws accuracy by bin for each table `(M,)`, on the same axes.

    Args:
        tables: Tables by name.
        x: What the figures call confidence.
        y: What they call accuracy.
    """
    top = _round_up(
        max(np.max(each.count) / np.sum(each.count) for each in tables.values())
    )
    return {
        name: _draw_reliability(bins, top, x=x, y=y)
        for name, bins in tables.items()
    }


def _draw_reliability(
    bins: calibration.Bins, top: float, *, x: str, y: str
) -> str:
    count, confidence, correct = (np.asarray(each) for each in bins)
    share = count / count.sum()
    upper, lower = _Panel(8, 216), _Panel(250, 54, top)
    parts = [
        *upper.axes(y, 6),
        *lower.axes("examples", 2, numbers=False),
        lower.below(x, 16),
    ]
    gaps = []
    for place in np.flatnonzero(count):
        left, right = place / len(count), (place + 1) / len(count)
        mean, accuracy = (
            each[place] / count[place] for each in (confidence, correct)
        )
        title = (
            f"{x} {left:.1%} to {right:.1%}, mean {mean:.1%};"
            f" {y} {accuracy:.1%}; {count[place]:,.0f} examples"
        )
        parts.append(upper.bar(left, right, accuracy, title))
        parts.append(lower.bar(left, right, share[place], title))
        gaps.append(upper.path([mean, mean], [accuracy, mean]))
    parts.append(f'<path class="diagonal" d="{upper.path([0, 1], [0, 1])}"/>')
    width = "gap" if len(count) < 50 else "gap thin"
    parts.append(f'<path class="{width} c1" d="{"".join(gaps)}"/>')
    keys = {y: "c0", f"gap to mean {x}": "c1"}
    height = lower.bottom + 22
    return _figure(f"Reliability, {len(count)} bins", height, parts, keys)


def confidence_histogram(sets: Mapping[str, np.ndarray]) -> str:
    """Draws the distribution of confidence of each set `(N,)`."""
    edges = np.linspace(0, 1, _NUM_BARS + 1)
    shares = {
        name: np.histogram(np.clip(values, 0, 1), edges)[0] / len(values)
        for name, values in sets.items()
        if len(values)
    }
    top = _round_up(max(share.max() for share in shares.values()))
    # As high as the reliability diagram that it stands beside.
    panel = _Panel(8, 284, top)
    parts = [*panel.axes("share of the set", 6), panel.below("confidence")]
    for index, share in enumerate(shares.values()):
        ys = [0, *np.repeat(share, 2), 0]
        path = panel.path(np.repeat(edges, 2).tolist(), ys)
        parts.append(f'<path class="area {_color(index)}" d="{path}"/>')
    keys = {name: _color(index) for index, name in enumerate(shares)}
    height = panel.bottom + _BELOW
    return _figure("Histogram of confidence", height, parts, keys)


def risk_coverage_curve(examples: Predictions) -> str:
    """Draws the error rate of the most confident examples by their share."""
    bins = selective.rank_scores(examples.confidence, examples.correct)
    curve = selective.risk_coverage_curve(bins)
    wrong = float(curve.risk[-1])
    panel = _Panel(8, 216, _round_up(curve.risk.max()))
    grid = np.linspace(curve.coverage[0], 1, _NUM_POINTS)
    best = np.linspace(0, 1, _NUM_POINTS)[1:]
    lines = {
        "by confidence": (grid, np.interp(grid, curve.coverage, curve.risk)),
        "right answers first": (best, np.maximum(1 - (1 - wrong) / best, 0)),
    }
    parts = [*panel.axes("risk", 6), panel.below("coverage")]
    for index, points in enumerate(lines.values()):
        path = panel.path(*map(np.ndarray.tolist, points))
        parts.append(f'<path class="line {_color(index)}" d="{path}"/>')
    keys = {name: _color(index) for index, name in enumerate(lines)}
    height = panel.bottom + _BELOW
    return _figure("Risk-coverage curve", height, parts, keys)


def roc_curves(inside: np.ndarray, outside: Mapping[str, np.ndarray]) -> str:
    """Draws the shares of the data and of each set above thresholds."""
    panel = _Panel(8, 284)
    parts = [
        *panel.axes("share of the data that passes", 6),
        panel.below("share of the other set that passes"),
        f'<path class="diagonal" d="{panel.path([0, 1], [0, 1])}"/>',
    ]
    for index, values in enumerate(outside.values()):
        is_in = np.repeat([1, 0], [len(inside), len(values)])
        x, y, _ = metrics.roc_curve(is_in, np.concatenate([inside, values]))
        length = x + y
        grid = np.linspace(0, 2, _NUM_POINTS)
        path = panel.path(
            np.interp(grid, length, x), np.interp(grid, length, y)
        )
        parts.append(f'<path class="line {_color(index + 1)}" d="{path}"/>')
    keys = {name: _color(index + 1) for index, name in enumerate(outside)}
    return _figure("ROC curves", panel.bottom + _BELOW, parts, keys)


def _figure(
    name: str, height: float, parts: Iterable[str], keys: Mapping[str, str]
) -> str:
    """Returns a drawing and its legend: what is shown -> its color."""
    legend = "".join(
        f'<span><i class="{color}"></i>{html.escape(str(key))}</span>'
        for key, color in keys.items()
    )
    return (
        f'<figure><svg role="img" aria-label="{name}"'
        f' viewBox="0 0 {_WIDTH} {height:.0f}">{"".join(parts)}</svg>'
        f'<figcaption class="legend">{legend}</figcaption></figure>\n'
    )


def _color(index: int) -> str:
    """Returns the classes of a set: its color, and dashes after the fifth."""
    dashed = " dashed" if index >= _NUM_COLORS else ""
    return f"c{index % _NUM_COLORS}{dashed}"


def _round_up(share: float) -> float:
    """Returns the end of an axis that has room for a share."""
    return min(
        top for top in (0.05, 0.1, 0.25, 0.5, 1.0) if top >= share - 1e-6
    )


def _percent(share: Any) -> str:
    return f"{100 * share:.3g}%"
