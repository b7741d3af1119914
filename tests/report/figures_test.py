"""The figures are PNG files of what they should show."""

import numpy as np
import pytest
from sklearn import metrics

from tf_mixup import calibration
from tf_mixup.report import figures as report_figures
from tf_mixup.report import measures
from tf_mixup.report import predictions as report_predictions


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(60, 2)).astype(np.float32)
    return report_predictions.standardize(logits, "logits", np.arange(60) % 2)


@pytest.fixture
def drawn(monkeypatch):
    """Returns the figures as objects, in place of their files."""
    monkeypatch.setattr(report_figures, "_to_png", lambda figure: figure)


def draw(rows, outside):
    conventions = {
        name: measures.measure_errors(rows, each, num_resamples=2, seed=0)
        for name, each in calibration.CONVENTIONS.items()
    }
    return report_figures.draw(rows, conventions, outside)


class TestDraw:
    def test_makes_files(self, rows):
        figures = draw(rows, {})
        assert set(figures) == {"reliability", "confidence"}
        for figure in figures.values():
            assert figure.startswith(b"\x89PNG")

    def test_panels(self, rows, drawn):
        figures = draw(rows, {"noise": np.array([0.6, 0.7])})
        titles = [axes.get_title() for axes in figures["reliability"].axes[:2]]
        assert titles == ["15 bins", "100 bins"]
        (legend,) = figures["ood"].legends
        names = [text.get_text() for text in legend.get_texts()]
        assert names == ["data", "noise"]

    def test_all_right_leaves_no_wrong_answers(self, rows, drawn):
        right = report_predictions.standardize(
            np.array([[2.0, 0.0], [0.0, 1.0]]), "logits", [0, 1]
        )
        (legend,) = draw(right, {})["confidence"].legends
        names = [text.get_text() for text in legend.get_texts()]
        assert names == ["right answers"]

    def test_area_under_the_curve_is_auroc(self, rows, drawn):
        outside = np.random.default_rng(1).uniform(0.3, 0.9, 40)
        (axes,) = draw(rows, {"noise": outside})["roc"].axes
        curve = axes.get_lines()[0]
        expected = measures.measure_detection(rows.confidence, outside)
        area = metrics.auc(curve.get_xdata(), curve.get_ydata())
        assert area == pytest.approx(expected.auroc)
        assert curve.get_label().startswith("noise: ")
