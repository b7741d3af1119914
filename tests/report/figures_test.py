"""Figures are SVG of what they should show, in colors of the page."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.report import figures as report_figures
from tf_mixup.report import predictions as report_predictions

SPACE = "{http://www.w3.org/2000/svg}"


def read(figure):
    """Returns the elements of a figure, which must be well formed."""
    svg = figure.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return list(ElementTree.fromstring(svg).iter())


def bars(figure):
    return [each.attrib for each in read(figure) if each.tag == SPACE + "rect"]


def points(figure, css_class):
    """Returns the points of all lines of a class, `(P, 2)`."""
    (path,) = [
        each.get("d") for each in read(figure) if each.get("class") == css_class
    ]
    numbers = re.findall(r"[\d.]+", path)
    return np.array(numbers, float).reshape(-1, 2)


class TestReliability:
    def test_heights_are_accuracies_and_shares(self):
        bins = calibration.Bins(*np.array([[1, 3], [0.25, 2.7], [0.5, 1.5]]))
        (figure,) = report_figures.reliability_diagrams({"a": bins}).values()
        heights = [float(each["height"]) for each in bars(figure)]
        # Both accuracies are a half; 1/4 and 3/4 of examples, up to 1.
        assert heights == pytest.approx([108, 13.5, 108, 40.5])
        (_, low), (_, high), *_ = points(figure, "gap c1")
        assert low - high == pytest.approx((0.5 - 0.25) * -216)
        assert "mean 25.0%; accuracy 50.0%; 1 examples" in figure

    def test_empty_bins_have_no_bars(self):
        bins = calibration.Bins(*np.array([[0, 4], [0, 3], [0, 2]]))
        (figure,) = report_figures.reliability_diagrams({"a": bins}).values()
        assert len(bars(figure)) == 2

    def test_several_have_the_same_axes(self):
        even, one = (np.array([[2.0, 2], [0, 2], [0, 2]]), np.eye(3, 2) * 4)
        figures = report_figures.reliability_diagrams(
            {"a": calibration.Bins(*even), "b": calibration.Bins(*one)}
        )
        (_, low, *_), (_, high, *_) = map(bars, figures.values())
        assert float(high["height"]) == 2 * float(low["height"])


class TestRiskCoverage:
    def test_ends_at_the_error_rate(self):
        outputs = np.float32([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
        rows = report_predictions.standardize(
            outputs, np.array([0, 1, 1, 0]), from_logits=False
        )
        figure = report_figures.risk_coverage_curve(rows)
        ends = [points(figure, f"line c{k}")[-1] for k in (0, 1)]
        # A quarter, of an axis to 1/2 that is 216 high and ends at 224.
        for x, y in ends:
            assert (x, y) == pytest.approx((342, 224 - 216 / 2), abs=0.01)
        assert "right answers first" in figure


class TestHistogram:
    def test_heights_are_shares_of_each_set(self):
        sets = {"a": np.array([0.52, 0.98]), "none": np.array([])}
        figure = report_figures.confidence_histogram(sets)
        top, bottom = points(figure, "area c0")[:, 1].min(), 8 + 284
        assert bottom - top == pytest.approx(284)
        assert ">none<" not in figure

    def test_names_are_text_and_colors_of_the_page(self):
        sets = {f"<{k}>": np.array([0.5]) for k in range(7)}
        figure = report_figures.confidence_histogram(sets)
        texts = [each.text for each in read(figure)]
        assert "&lt;6&gt;" in figure
        assert any(text == "0%" for text in texts)
        assert 'class="area c1 dashed"' in figure
        assert "#" not in figure


class TestRoc:
    def test_encloses_auroc(self):
        generator = np.random.default_rng(1)
        inside, outside = generator.uniform(0.5, 1, 60), generator.random(40)
        figure = report_figures.roc_curves(inside, {"noise": outside})
        x, y = points(figure, "line c1").T
        x, y = (x - x[0]) / (x[-1] - x[0]), (y - y[0]) / (y[-1] - y[0])
        expected = np.mean(inside[:, None] > outside)
        assert np.trapezoid(y, x) == pytest.approx(expected, abs=0.01)
