"""Figures that are kept and filled again equal new ones."""

import concurrent.futures
import gc
import pickle
import weakref

import matplotlib
import numpy as np
import pytest

from tests import plots_test
from tf_mixup import _panel_figure
from tf_mixup import plots

FEW = plots_test.table()
EMPTY = plots_test.Table(np.zeros((3, 15)))


def table(seed, num_bins=15, scale=1.0):
    generator = np.random.default_rng(seed)
    count = np.floor(generator.exponential(scale * 100, num_bins))
    middle = (np.arange(num_bins) + generator.random(num_bins)) / num_bins
    correct = np.floor(count * generator.random(num_bins))
    return plots_test.Table((count, count * middle, correct))


def one_full_bin(num_bins, place):
    count = np.eye(num_bins)[place] * 7
    return plots_test.Table((count, count * (place + 0.5) / num_bins, count))


# Other ranges, other bins, none at all; each is drawn after the others.
TABLES = {
    "first": table(0),
    "few": FEW,
    "empty": EMPTY,
    "many bins": table(2, num_bins=100),
    "all in one": one_full_bin(15, 14),
    "all in the lowest": one_full_bin(100, 0),
}
DRAW = {
    "reliability": plots.reliability_diagram,
    "reliability, title": lambda bins: plots.reliability_diagram(
        bins, title="a $title$ " * 9
    ),
    "reliability, panels": lambda bins: plots.reliability_diagram(
        {"a": bins, "b\nb": FEW}, title="T"
    ),
    "histogram": lambda bins: plots.confidence_histogram(
        {"examples": bins}, num_bins=np.size(bins[0]), title="T"
    ),
    "histogram, sets": lambda bins: plots.confidence_histogram(
        {"_a": bins, "b " * 40: [0.5, 1.0], "none": []}
    ),
    "histogram, panels": lambda bins: plots.confidence_histogram(
        {"x": {"a": bins}, "y": {"a": [0.5], "b": bins}}, title="T"
    ),
    "density": plots.accuracy_confidence_density,
    "density, grid": lambda bins: plots.accuracy_confidence_density(
        {"x": {1: bins, 2: FEW}, "y": {1: FEW, 2: bins}}, title="T"
    ),
}


def draw_kept(draw, bins):
    with _panel_figure.reusing():
        figure = draw(bins)
        return figure, plots.figure_to_image(figure)


@pytest.mark.parametrize("kind", DRAW)
def test_kept_figures_equal_new_ones(kind):
    draw = DRAW[kind]
    for bins in TABLES.values():
        draw_kept(draw, bins)
    for name, bins in TABLES.items():
        figure, image = draw_kept(draw, bins)
        new = plots.figure_to_image(draw(bins))
        np.testing.assert_array_equal(image, new, err_msg=name)
        assert draw_kept(draw, bins)[0] is figure


def test_titles_and_names_make_other_figures():
    for name, title in (("a", ""), ("b", ""), ("b", "T"), ("a", "T")):
        panels = {title: {name: FEW}}
        _, image = draw_kept(plots.confidence_histogram, panels)
        new = plots.figure_to_image(plots.confidence_histogram(panels))
        np.testing.assert_array_equal(image, new)


def test_users_get_figures_of_their_own():
    kept, _ = draw_kept(plots.reliability_diagram, FEW)
    first, second = map(plots.reliability_diagram, (FEW, FEW))
    assert len({id(kept), id(first), id(second)}) == 3
    image = plots.figure_to_image(first)
    first.axes[0].set_title("changed")
    assert (plots.figure_to_image(first) != image).any()


def test_figures_can_be_pickled():
    figure = plots.reliability_diagram(FEW)
    copied = pickle.loads(pickle.dumps(figure))
    np.testing.assert_array_equal(*map(plots.figure_to_image, (figure, copied)))


def test_style_sheets_count():
    draw_kept(plots.reliability_diagram, FEW)
    with matplotlib.rc_context({"axes.facecolor": "black"}):
        _, image = draw_kept(plots.reliability_diagram, FEW)
        new = plots.figure_to_image(plots.reliability_diagram(FEW))
    np.testing.assert_array_equal(image, new)


def test_a_refused_table_leaves_figures_usable():
    broken = plots_test.Table(np.full((3, 15), np.nan))
    with pytest.raises(ValueError, match="finite"):
        draw_kept(plots.reliability_diagram, broken)
    _, image = draw_kept(plots.reliability_diagram, FEW)
    new = plots.figure_to_image(plots.reliability_diagram(FEW))
    np.testing.assert_array_equal(image, new)


def test_keeps_the_figures_used_last(monkeypatch):
    monkeypatch.setattr(_panel_figure, "_MAX_KEPT", 2)
    monkeypatch.setattr(_panel_figure, "_KEPT", {})
    first, second, again, third, last = (
        draw_kept(plots.accuracy_confidence_density, {title: FEW})[0]
        for title in "abacb"
    )
    assert again is first
    kept = [figure for _, figure in _panel_figure._KEPT.values()]
    assert kept == [third, last]
    assert last is not second


@pytest.mark.parametrize("kind", DRAW)
def test_figures_are_freed(kind, monkeypatch):
    monkeypatch.setattr(_panel_figure, "_KEPT", {})
    figures = [DRAW[kind](FEW), draw_kept(DRAW[kind], FEW)[0]]
    plots.figure_to_image(figures[0])
    alive = [weakref.ref(figure) for figure in figures]
    figures.clear()
    _panel_figure._KEPT.clear()
    gc.collect()
    assert [each() for each in alive] == [None, None]


def test_threads_draw_one_after_another():
    tables = [table(seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        drawn = pool.map(
            lambda bins: draw_kept(plots.reliability_diagram, bins)[1], tables
        )
    for bins, image in zip(tables, drawn, strict=True):
        new = plots.figure_to_image(plots.reliability_diagram(bins))
        np.testing.assert_array_equal(image, new)
