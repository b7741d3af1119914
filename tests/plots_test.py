"""What figures show: bars, points and densities are the numbers given."""

import itertools

import numpy as np
import pytest

from tests import figure_text_test
from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import plots
from tf_mixup import selective


class Table(tuple):
    """Stands for `calibration.Bins`: count, confidence, correct."""

    count = property(lambda self: self[0])
    correct = property(lambda self: self[2])


def table():
    """Bins [0, 1/2] with 2 rows and (1/2, 1] with 8 rows."""
    count = np.array([2.0, 8.0])
    return Table((count, count * [0.4, 0.9], count * [0.5, 0.6]))


def figures_named(names, panels, title):
    """Draws every figure, with names wherever it takes one."""
    tables = dict.fromkeys(panels, table())
    sets = {name: [0.5, 1.0] for name in names}
    pairs = {name: [([0.9, 0.6], [0.7, 0.5])] for name in names}
    return {
        "reliability": plots.reliability_diagram(tables, title=title),
        "panel": plots.reliability_diagram(table(), title=title),
        "histogram": plots.confidence_histogram(sets, title=title),
        "histograms": plots.confidence_histogram(
            {panel: {title: [0.5]} for panel in panels}, title=title
        ),
        "density": plots.accuracy_confidence_density(
            dict.fromkeys(panels[:2], tables), title=title
        ),
        "scatter": plots.accuracy_confidence_scatter(
            dict.fromkeys(names, table()), title=title
        ),
        "roc": plots.roc_curves(pairs, title=title),
        "risk": plots.risk_coverage_curves(
            dict.fromkeys(names, table()), title=title
        ),
    }


class TestNames:
    @pytest.mark.filterwarnings("error:constrained_layout")
    @pytest.mark.filterwarnings("ignore:Glyph")
    def test_any_name_is_drawn(self):
        names = figure_text_test.ODD_NAMES
        panels = ["$a$", r"$\frac$", "\udcff", 3, 900 * "x"]
        title = "".join(map(str, names[:16]))
        for figure in figures_named(names, panels, title).values():
            figure.set_dpi(20)
            assert plots.figure_to_image(figure).ndim == 3

    def test_names_show_as_written(self):
        name = "_a $b$"
        figures = figures_named([name, "other"], [name], name)
        for key in ("histogram", "scatter", "roc", "risk"):
            axes = figures[key].axes[0]
            (legend,) = figures[key].legends or [axes.get_legend()]
            first, other = legend.get_texts()
            assert first.get_text().startswith(name)
            assert other.get_text().startswith("other")
            assert not first.get_parse_math()
        for key in ("reliability", "panel", "histograms", "density"):
            title = figures[key].axes[0].title
            assert title.get_text() == name
            assert not title.get_parse_math()

    def test_long_titles_side_by_side_do_not_overlap(self):
        names = [
            f"{side} of the labels drawn anew\naccuracy 87.5%, confidence 99.1%"
            for side in "abcd"
        ]
        figure = plots.reliability_diagram(dict.fromkeys(names, table()))
        plots.figure_to_image(figure)
        boxes = [axes.title.get_window_extent() for axes in figure.axes[:4]]
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0
        assert max(box.y1 for box in boxes) <= figure.bbox.y1


class TestOddTables:
    @pytest.mark.parametrize("count", [5, 12])
    def test_many_panels_fit_into_a_page(self, count):
        tables = {str(number): table() for number in range(count)}
        for figure in (
            plots.reliability_diagram(tables),
            plots.confidence_histogram({k: {"a": [0.5]} for k in tables}),
        ):
            assert figure.get_figwidth() <= 17
            titles = [axes.get_title() for axes in figure.axes]
            assert [title for title in titles if title] == list(tables)

    @pytest.mark.parametrize(
        "draw",
        [
            plots.reliability_diagram,
            plots.accuracy_confidence_density,
            lambda tables: plots.confidence_histogram(
                {name: {"a": []} for name in tables}
            ),
        ],
    )
    def test_refuses_too_many_panels(self, draw):
        with pytest.raises(ValueError, match=r"1 to 100.*Received: 101 panels"):
            draw({str(number): table() for number in range(101)})

    @pytest.mark.parametrize(
        "draw", [plots.reliability_diagram, plots.accuracy_confidence_density]
    )
    def test_refuses_no_panel(self, draw):
        with pytest.raises(ValueError, match=r"Received: 0 panels\. Give a"):
            draw({})

    @pytest.mark.parametrize(
        "draw",
        [
            plots.reliability_diagram,
            plots.joint_density,
            plots.accuracy_confidence_density,
            lambda bins: plots.accuracy_confidence_scatter({"a": bins}),
            lambda bins: plots.confidence_histogram({"a": bins}),
        ],
    )
    @pytest.mark.parametrize(
        ("bins", "message"),
        [
            (np.full((3, 2), np.nan), "finite sums.*6 sums that are not"),
            (np.array([[-1.0, 2], [0, 1], [0, 1]]), "counts from -1"),
            ((np.ones(2), np.ones(3), np.ones(2)), r"three arrays.*\(3,\)"),
        ],
    )
    def test_refuses_what_is_no_table(self, draw, bins, message):
        with pytest.raises(ValueError, match=message):
            draw(Table(bins))

    def test_a_single_example_of_one_class(self):
        one = Table(
            (np.array([0.0, 1]), np.array([0.0, 1]), np.array([0.0, 1]))
        )
        for figure in (
            plots.reliability_diagram(one),
            plots.accuracy_confidence_density(one),
            plots.accuracy_confidence_scatter({"a": one}),
            plots.confidence_histogram({"a": one, "b": [1.0], "c": []}),
            plots.roc_curves({"a": [([1.0], [1.0])]}),
            plots.risk_coverage_curves({"a": one}),
        ):
            assert plots.figure_to_image(figure).std() > 0

    @pytest.mark.parametrize("values", [[0.5, np.nan], [0.3, 87.0], [-0.2]])
    def test_refuses_what_are_no_confidences(self, values):
        with pytest.raises(ValueError, match=r"lie in \[0, 1\].*'test' with"):
            plots.confidence_histogram({"test": values})

    def test_confidences_may_round_above_one(self):
        figure = plots.confidence_histogram({"a": np.float32([1.0000001, 1])})
        assert figure.axes[0].patches[0].get_xy().max() == pytest.approx(20)

    def test_the_sixth_set_has_another_line(self):
        sets = {str(number): [0.5] for number in range(6)}
        first, *_, last = plots.confidence_histogram(sets).axes[0].patches
        assert first.get_edgecolor() == last.get_edgecolor()
        assert first.get_linestyle() != last.get_linestyle()


class TestReliabilityDiagram:
    def test_bars_are_accuracies_and_shares(self):
        upper, lower = plots.reliability_diagram(table()).axes
        heights = [bar.get_height() for bar in upper.patches]
        np.testing.assert_allclose(heights, [0.5, 0.6])
        np.testing.assert_allclose(
            [bar.get_height() for bar in lower.patches], [0.2, 0.8]
        )
        assert [bar.get_x() for bar in upper.patches] == [0, 0.5]

    def test_gap_is_at_the_mean_confidence(self):
        upper = plots.reliability_diagram(table()).axes[0]
        segments = upper.collections[0].get_segments()
        np.testing.assert_allclose(segments[1], [[0.9, 0.6], [0.9, 0.9]])

    def test_draws_an_empty_table(self):
        empty = Table(np.zeros((3, 15)))
        image = plots.figure_to_image(plots.reliability_diagram(empty))
        assert image.ndim == 3

    def test_one_panel_for_each_table(self):
        first, second = table(), Table((np.ones(2), np.ones(2), np.ones(2)))
        figure = plots.reliability_diagram({"a": first, "b": second}, title="T")
        assert [each.get_title() for each in figure.axes[:2]] == ["a", "b"]
        assert figure.get_suptitle() == "T"
        # Upper panels, then lower ones.
        heights = [bar.get_height() for bar in figure.axes[1].patches]
        np.testing.assert_allclose(heights, [1, 1])
        shares = [bar.get_height() for bar in figure.axes[2].patches]
        np.testing.assert_allclose(shares, [0.2, 0.8])

    def test_refuses_several_tables(self):
        with pytest.raises(ValueError, match=r"one table.*shape \(4, 15\)"):
            plots.reliability_diagram(Table(np.zeros((3, 4, 15))))


class TestConfidenceHistogram:
    def test_a_mean_on_an_edge_stays_in_its_bin(self):
        # All of 0.8, which edges closed on the right put into (0.7, 0.8].
        bins = calibration.bin_confidences(
            np.full(10, 0.8), np.ones(10), num_bins=10
        )
        figure = plots.confidence_histogram({"a": bins}, num_bins=10)
        (bars,) = figure.axes[0].patches
        outline = bars.get_xy()
        filled = outline[outline[:, 1] > 0, 0]
        assert filled.min() == pytest.approx(0.7)
        assert filled.max() == pytest.approx(0.8)

    def test_bins_and_rows_give_the_same_bars(self):
        rows = np.repeat([0.4, 0.9], [2, 8])
        figure = plots.confidence_histogram(
            {"rows": rows, "table": table()}, num_bins=4
        )
        first, second = figure.axes[0].patches
        np.testing.assert_allclose(first.get_xy(), second.get_xy())
        # 2 and 8 of 10 rows on bars 1/4 wide.
        assert set(np.round(first.get_xy()[:, 1], 6)) == {0, 0.8, 3.2}

    def test_names_the_sets(self):
        figure = plots.confidence_histogram({"a": [0.5], "b": [0.7, 0.9]})
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]

    def test_names_stand_below_all_bars(self):
        sets = {name: [0.05] for name in "abcd"}
        figure = plots.confidence_histogram(sets)
        plots.figure_to_image(figure)
        bars = figure.axes[0].get_tightbbox()
        legend = figure.legends[0].get_window_extent()
        assert 0 <= legend.y0 < legend.y1 <= bars.y0

    def test_one_panel_for_each_mapping(self):
        figure = plots.confidence_histogram(
            {"clean": {"test": [0.5]}, "noisy": {"test": [0.9], "noise": [0.1]}}
        )
        titles = [each.get_title() for each in figure.axes]
        assert titles == ["clean", "noisy"]
        assert [len(each.patches) for each in figure.axes] == [1, 2]
        colors = [each.patches[0].get_facecolor() for each in figure.axes]
        assert colors[0] == colors[1]
        # The second panel has a set more.
        texts = figure.legends[0].get_texts()
        assert [text.get_text() for text in texts] == ["test", "noise"]

    def test_draws_nothing_of_an_empty_set(self):
        figure = plots.confidence_histogram({"a": Table(np.zeros((3, 15)))})
        assert not figure.axes[0].patches
        assert not figure.legends


class TestDensity:
    def test_one_bin_is_one_kernel(self):
        bins = Table((np.array([3.0]), np.array([1.5]), np.array([1.2])))
        density = plots.joint_density(bins, bandwidth=0.1, size=11)
        # The peak, (1 / (0.1 sqrt(2 pi)))^2, at accuracy 0.4, confidence 0.5.
        assert np.unravel_index(density.argmax(), (11, 11)) == (4, 5)
        assert density[4, 5] == pytest.approx(100 / (2 * np.pi))
        # One deviation away: exp(-1/2) of it.
        ratio = density[5, 5] / density[4, 5]
        assert ratio == pytest.approx(np.exp(-0.5))

    def test_integrates_to_one(self):
        density = plots.joint_density(table(), bandwidth=0.02, size=401)
        assert density.sum() / 400**2 == pytest.approx(1, abs=1e-3)

    def test_weighs_bins_by_rows(self):
        density = plots.joint_density(table(), bandwidth=0.02, size=101)
        assert density[60, 90] / density[50, 40] == pytest.approx(4, rel=1e-3)

    def test_is_zero_for_an_empty_table(self):
        assert not plots.joint_density(Table(np.zeros((3, 15)))).any()

    def test_one_panel_for_each_table(self):
        bins = {"epoch 1": table(), "epoch 2": table()}
        figure = plots.accuracy_confidence_density(bins, title="VGG")
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["epoch 1", "epoch 2"]

    def test_shows_few_examples_beside_a_bin_of_nearly_all(self):
        # One of 100 at (.55, .5), the others at (.99, 1).
        count = np.array([1.0, 99])
        bins = Table((count, count * [0.55, 0.99], count * [0.5, 1]))
        (image,) = plots.accuracy_confidence_density(bins).axes[0].images
        shade = image.norm(image.get_array())
        assert shade.max() == 1
        assert shade[50, 55] > 0.3
        assert shade[90, 10] == 0

    def test_a_grid_of_rows_and_epochs(self):
        other = Table((np.array([3.0]), np.array([1.5]), np.array([1.2])))
        figure = plots.accuracy_confidence_density(
            {
                "no mixup": {"epoch 1": table(), "epoch 2": table()},
                "mixup": {"epoch 1": table(), "epoch 2": other},
            }
        )
        axes = figure.axes
        assert [each.get_title() for each in axes[:2]] == ["epoch 1", "epoch 2"]
        assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == [
            "no mixup\naccuracy",
            "mixup\naccuracy",
        ]
        np.testing.assert_allclose(
            axes[3].images[0].get_array(), plots.joint_density(other)
        )

    def test_refuses_rows_of_other_epochs(self):
        with pytest.raises(
            ValueError,
            match=r"panels of the same names\. Received: panels"
            r" \[\['1'\], \['2'\]\]\. Give each row the same epochs\.",
        ):
            plots.accuracy_confidence_density(
                {"a": {"1": table()}, "b": {"2": table()}}
            )

    def test_refuses_no_bandwidth(self):
        with pytest.raises(ValueError, match="`bandwidth` must be a finite"):
            plots.joint_density(table(), bandwidth=0)


class TestScatter:
    def test_points_are_bins_and_areas_are_shares(self):
        bins = Table(
            (np.array([2.0, 0, 8]), np.array([0.8, 0, 7.2]), [1, 0, 6])
        )
        axes = plots.accuracy_confidence_scatter({"erm": bins}).axes[0]
        points = axes.collections[0]
        np.testing.assert_allclose(
            points.get_offsets(), [[0.4, 0.5], [0.9, 0.75]]
        )
        small, large = points.get_sizes()
        assert large / small == pytest.approx(4)

    def test_areas_do_not_depend_on_the_number_of_rows(self):
        more = Table(np.array(table()) * 10)
        axes = plots.accuracy_confidence_scatter(
            {"a": table(), "b": more}, styles={"b": {"color": "black"}}
        ).axes[0]
        first, second = axes.collections
        np.testing.assert_allclose(first.get_sizes(), second.get_sizes())
        np.testing.assert_allclose(second.get_facecolor()[0, :3], 0)
        assert tuple(first.get_facecolor()[0, :3]) != (0, 0, 0)

    def test_draws_an_empty_table(self):
        figure = plots.accuracy_confidence_scatter(
            {"a": Table(np.zeros((3, 5)))}
        )
        assert plots.figure_to_image(figure).ndim == 3


class TestRocCurves:
    def test_by_hand(self):
        # From the highest score down: in, out, in, out.
        figure = plots.roc_curves(
            {"a": [([0.9, 0.6], [0.7, 0.5])]}, styles={"a": {"color": "red"}}
        )
        line = figure.axes[0].lines[0]
        np.testing.assert_allclose(line.get_xdata(), [0, 0, 0.5, 0.5, 1])
        np.testing.assert_allclose(line.get_ydata(), [0, 0.5, 0.5, 1, 1])
        assert line.get_label() == "a: 75.0 %"
        assert line.get_color() == "red"

    def test_mean_of_seeds(self):
        # The second pair is told apart at all thresholds: AUROC 1.
        pairs = [([0.9, 0.6], [0.7, 0.5]), ([0.9], [0.1])]
        line = plots.roc_curves({"a": pairs}).axes[0].lines[0]
        kept = dict(zip(*line.get_data(), strict=True))
        assert kept[0.25] == pytest.approx((0.5 + 1) / 2)
        assert kept[0.75] == pytest.approx(1)
        # 75 and 100: mean 87.5, deviation 12.5 * sqrt(2).
        assert line.get_label() == "a: 87.5 ± 17.7 %"
        # The area under the mean is the mean of the areas.
        xs, ys = line.get_data()
        area = np.sum((ys[1:] + ys[:-1]) / 2 * np.diff(xs))
        assert area == pytest.approx(0.875, abs=1e-3)

    def test_agrees_with_the_measure(self):
        rng = np.random.default_rng(0)
        inside = np.round(rng.beta(4, 2, 300), 2)
        outside = np.round(rng.beta(2, 2, 200), 2)
        line = plots.roc_curves({"a": [(inside, outside)]}).axes[0].lines[0]
        expected = 100 * ood.auroc(inside, outside)
        assert line.get_label() == f"a: {expected:.1f} %"

    @pytest.mark.parametrize("wrong", [[], [[0.5]], [0.5, np.nan]])
    def test_refuses_what_are_no_scores(self, wrong):
        with pytest.raises(
            ValueError,
            match=r"one finite number for each example.*Received: erm",
        ):
            plots.roc_curves({"erm": [([0.5], wrong)]})


class TestRiskCoverageCurves:
    def test_by_hand(self):
        # Right, then one of two right.
        bins = selective.rank_scores([0.9, 0.8, 0.8], [1, 0, 1])
        figure = plots.risk_coverage_curves({"a": bins, "b": bins})
        for line in figure.axes[0].lines:
            np.testing.assert_allclose(line.get_xdata(), [1 / 3, 1])
            np.testing.assert_allclose(line.get_ydata(), [0, 1 / 3])
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
        assert figure.axes[0].get_ylim() == (0, 0.4)

    def test_one_curve_needs_no_legend(self):
        figure = plots.risk_coverage_curves({"a": table()})
        assert not figure.legends

    def test_refuses_tables_of_classes(self):
        with pytest.raises(ValueError, match=r"one table.*\(2, 2\)"):
            plots.risk_coverage_curves({"a": np.ones((3, 2, 2))})


class TestMixedBatch:
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
    def test_shows_source_partner_mixed(self, shape):
        batch = np.linspace(0, 255, 3 * np.prod(shape)).reshape(3, *shape)
        figure = plots.mixed_batch(
            batch,
            batch[::-1],
            (batch + batch[::-1]) / 2,
            0.25,
            targets=np.array([[0.25, 0, 0.75], [0, 1, 0], [0.75, 0, 0.25]]),
            max_examples=2,
        )
        assert len(figure.axes) == 6
        titles = [axes.get_title() for axes in figure.axes[:3]]
        assert titles == ["source: 0.25", "partner: 0.75", "2: 0.75, 0: 0.25"]
        shown = figure.axes[0].images[0].get_array()
        np.testing.assert_allclose(
            np.ravel(shown), np.ravel(batch[0]) / 255, atol=1e-6
        )
        plots.figure_to_image(figure)

    def test_titles_are_read_where_tensorboard_shrinks(self):
        images = np.zeros((6, 8, 8))
        targets = np.zeros((6, 1000))
        targets[:, [123, 456]] = 0.5
        figure = plots.mixed_batch(images, images, images, 0.5, targets=targets)
        width = plots.figure_to_image(figure).shape[1]
        # It gives pictures a width of 350 pixels.
        dots = figure.axes[0].title.get_fontsize() / 72 * figure.dpi
        assert dots * 350 / width > 10
        assert figure.axes[2].title.get_window_extent().x1 <= width

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"max_examples": 0}, "`max_examples` must be an integer"),
            ({"lam": np.ones(3)}, r"`lam`.*each image.*\(3,\) for 2 images"),
            ({"lam": np.array([0.5, np.nan])}, r"\[0, 1\].*'lam' with nan"),
            ({"lam": 1.5}, "'lam' with 1.5"),
            ({"targets": np.ones((1, 2))}, r"`targets`.*\(1, 2\) for 2"),
            ({"sources": np.ones((0, 4, 4))}, "images of one shape"),
        ],
    )
    def test_refuses_odd_arguments(self, change, message):
        images = np.zeros((2, 4, 4))
        named = dict.fromkeys(("sources", "partners", "mixed"), images)
        with pytest.raises(ValueError, match=message):
            plots.mixed_batch(**{**named, "lam": 0.5, **change})

    def test_nan_leaves_the_other_values_their_scale(self):
        images = np.array([[[0.0, np.nan], [50, 100]]])
        for lam in (0.5, np.full((1, 1, 1), 0.5)):
            figure = plots.mixed_batch(images, images, images, lam)
            shown = figure.axes[0].images[0].get_array()
            assert shown.min() == 0
            assert shown.max() == 1
        assert figure.axes[0].get_title() == "source: 0.50"

    def test_refuses_what_is_no_image(self):
        rows = np.zeros((8, 10))
        with pytest.raises(ValueError, match=r"images of one shape.*\(8, 10\)"):
            plots.mixed_batch(rows, rows, rows, 0.5)
        images = np.zeros((8, 10, 10))
        with pytest.raises(ValueError, match=r"\(7, 10, 10\)"):
            plots.mixed_batch(images, images, images[:7], 0.5)


class TestMixingCoefficients:
    @staticmethod
    def bars(axes):
        """Returns the heights of bars, and of the line if there is one."""
        return [patch.get_data().values for patch in axes.patches]

    def test_bars_by_hand(self):
        # In bars of .04 and of log(2) / 25 = .0277.
        figure = plots.mixing_coefficients([0.5, 0.5, 0.9, 1.0])
        coefficients, entropies = figure.axes
        (heights,) = self.bars(coefficients)
        assert heights.sum() == pytest.approx(100)
        assert np.flatnonzero(heights).tolist() == [12, 22, 24]
        assert heights[[12, 22, 24]].tolist() == [50, 25, 25]
        (heights,) = self.bars(entropies)
        # Of .9 it is .325, of 1 nothing.
        assert heights[[0, 11, 24]].tolist() == [25, 25, 50]
        assert entropies.get_xlim()[1] == pytest.approx(np.log(2))

    @pytest.mark.parametrize("alpha", [0.1, 1.0, 8.0])
    def test_lines_are_the_distribution(self, alpha):
        generator = np.random.default_rng(0)
        drawn = generator.beta(alpha, alpha, 200_000)
        figure = plots.mixing_coefficients(drawn, alpha=alpha)
        for axes in figure.axes:
            bars, line = self.bars(axes)
            assert line.sum() == pytest.approx(100)
            np.testing.assert_allclose(line, bars, atol=0.5)

    def test_points_have_the_margin_of_a_dirichlet(self):
        generator = np.random.default_rng(0)
        drawn = generator.dirichlet([0.5] * 3, 200_000)
        figure = plots.mixing_coefficients(drawn, alpha=0.5)
        bars, line = self.bars(figure.axes[0])
        np.testing.assert_allclose(line, bars, atol=0.5)
        (heights,) = self.bars(figure.axes[1])
        assert figure.axes[1].get_xlim()[1] == pytest.approx(np.log(3))
        assert heights.sum() == pytest.approx(100)

    @pytest.mark.parametrize("alpha", [None, 0.0])
    def test_without_alpha_there_is_no_line(self, alpha):
        figure = plots.mixing_coefficients([1.0, 1.0], alpha=alpha)
        assert [len(axes.patches) for axes in figure.axes] == [1, 1]
        assert figure.axes[0].get_legend() is None

    @pytest.mark.parametrize(
        "shares", [[], [[0.5, 0.9]], np.full((2, 3, 2), 0.5)]
    )
    def test_refuses_what_are_no_shares_of_a_mixture(self, shares):
        with pytest.raises(
            ValueError, match=r"\(N, P\), which sum to 1.*ravel"
        ):
            plots.mixing_coefficients(shares)

    def test_takes_one_share_or_a_column(self):
        for shares in (0.5, [[0.5], [0.5]]):
            figure = plots.mixing_coefficients(shares)
            (heights,) = self.bars(figure.axes[0])
            assert heights[12] == 100

    def test_refuses_an_alpha_below_0(self):
        with pytest.raises(ValueError, match="`alpha` must be"):
            plots.mixing_coefficients([0.5], alpha=-1.0)


class TestFiles:
    def test_image_is_rgba(self):
        image = plots.figure_to_image(plots.reliability_diagram(table()))
        assert image.dtype == np.uint8
        assert image.shape == (500, 400, 4)

    def test_saves_png_and_leaves_nothing_else(self, tmp_path):
        path = tmp_path / "figures" / "reliability.png"
        plots.save_figure(plots.reliability_diagram(table()), path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert list(path.parent.iterdir()) == [path]

    def test_failed_write_keeps_the_old_file(self, tmp_path):
        class Broken:
            def savefig(self, path, format):
                path.write_bytes(b"half")
                raise OSError("disk full")

        path = tmp_path / "old.png"
        path.write_bytes(b"old")
        with pytest.raises(OSError, match="disk full"):
            plots.save_figure(Broken(), path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
