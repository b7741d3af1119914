"""Bars of a table, from records."""

import numpy as np
import pytest

from experiments.analysis import measures
from experiments.analysis.records import Record
from experiments.figures import __main__ as figures
from experiments.figures import bars
from experiments.papers import TABLES
from experiments.runs import config as config_lib
from tf_mixup import plots


def make(dataset, alpha, seed, after="", **results):
    config = config_lib.Config(dataset=dataset, alpha=alpha, seed=seed)
    return Record(config, after, results)


@pytest.fixture
def records():
    """Returns ECE .10 and .14 without mixup on one set, and others."""
    return [
        make("cifar10", 0, 0, test_ece=0.10, test_null_ece=0.02),
        make("cifar10", 0, 1, test_ece=0.14, test_null_ece=0.04),
        make("cifar10", 0.4, 0, test_ece=0.05, test_null_ece=0.01),
        make("mnist", 0.4, 0, test_ece=0.03, test_null_ece=0.01),
        make("cifar10", 0, 0, "temperature", test_ece=0.01),
    ]


class TestDraw:
    def test_means_deviations_and_null(self, records):
        ((name, figure),) = bars.draw(records, ["test_ece"])
        assert name == "test_ece"
        cifar, mnist = figure.axes
        assert [tick.get_text() for tick in cifar.get_yticklabels()] == [
            *("no mixup", "mixup, alpha 0.4")
        ]
        widths = [bar.get_width() for bar in cifar.patches]
        np.testing.assert_allclose(widths, [12, 5])
        (errors,) = cifar.containers[0].lines[2]
        low, high = errors.get_segments()[0][:, 0]
        assert high - low == pytest.approx(2 * np.std([10, 14], ddof=1))
        # One seed has no deviation.
        assert np.ptp(errors.get_segments()[1][:, 0]) == 0
        (null,) = (x for x in cifar.lines if "null ECE" in x.get_label())
        np.testing.assert_allclose(null.get_xdata(), [3, 1])
        assert [text.get_text() for text in cifar.texts] == ["12.0", "5.0"]
        # The bar of the set that lacks an arm is beside its name.
        (bar,) = mnist.patches
        assert bar.get_y() + bar.get_height() / 2 == pytest.approx(1)

    @pytest.mark.parametrize(
        ("values", "ends"),
        [((2.0, 3.0), (True, False)), ((-2.0, -3.0), (False, True))],
    )
    def test_bars_begin_at_an_end(self, values, ends):
        logit = "train_second_logit"
        made = [
            make("mnist", alpha, 0, **{logit: value})
            for alpha, value in zip((0, 0.4), values, strict=True)
        ]
        ((_, figure),) = bars.draw(made, [logit])
        low, high = figure.axes[0].get_xlim()
        assert (low == 0, high == 0) == ends
        assert low <= min(values)
        assert max(values) <= high

    def test_titles_say_what_settings_share_once(self, records):
        ((_, figure),) = bars.draw(records, ["test_ece"])
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["CIFAR-10", "MNIST"]
        assert figure.get_suptitle() == (
            "ECE, 15 bins (%): narrow ResNet, 30 epochs\nmean ± deviation over"
            " 1-2 seeds"
        )

    def test_many_panels_have_two_rows(self, records):
        names = [
            "no mixup, weight decay 0.1",
            "mixup",
            "mixup, weight decay 0.1",
        ]
        runs = {name: {0: records[0]} for name in names}
        measure = measures.find("test_ece")
        panels = [bars.Panel(str(place), runs, measure) for place in range(5)]
        figure = bars.draw_panels(panels, "title")
        places = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
        assert places == [0, 0, 0, 1, 1, 1]
        # What several arms end with stands in the title.
        names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert names == ["no mixup *", "mixup", "mixup *"]
        assert figure.get_suptitle().endswith("1 seed; * weight decay 0.1")

    def test_a_panel_for_each_result_of_one_setting(self, records):
        ((name, figure),) = bars.draw(
            records[:3], ["test_ece", "test_null_ece", "test_nll"]
        )
        assert name == "bars"
        # No run has the last one.
        titles = [axes.get_title() for axes in figure.axes]
        assert titles[0] == "ECE, 15 bins (%)"
        assert len(titles) == 2

    def test_outputs_after_a_method(self, records):
        ((_, figure),) = bars.draw(records, ["test_ece"], after="temperature")
        (tick,) = figure.axes[0].get_yticklabels()
        assert tick.get_text() == "no mixup"
        (bar,) = figure.axes[0].patches
        assert bar.get_width() == pytest.approx(1)
        plots.figure_to_image(figure)

    def test_says_what_a_run_lacks(self, records, monkeypatch):
        found = []
        monkeypatch.setattr(
            bars.logging, "info", lambda text, *args: found.append(text % args)
        )
        records.append(make("mnist", 0, 0, test_null_ece=0.01))
        assert list(bars.draw(records, ["test_ece"])) == []
        assert found == ["Skipped ECE, 15 bins (%): 1 of 5 runs lack it."]

    def test_nothing_without_runs(self):
        assert list(bars.draw([], ["test_ece"])) == []


def test_tables_exist():
    assert set(figures.BARS) <= set(TABLES)
