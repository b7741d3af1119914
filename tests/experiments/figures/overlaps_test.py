"""Figures of overlapping classes: order, means, what is left out."""

import dataclasses

import numpy as np
import pytest

from experiments import papers
from experiments.analysis import records
from experiments.figures import __main__ as figures
from experiments.figures import overlaps

NLL = {"": 2.0, "temperature": 1.0, "temperature_noisy": 1.5}


def make_lines(table, network, seeds=2):
    """Returns lines whose numbers tell their seed and what was done."""
    lines = []
    for config in papers.TABLES[table].configs("small", seeds):
        if config.network != network:
            continue
        for after, nll in NLL.items():
            if after == "temperature_noisy" and not config.corruption:
                continue
            nll_here = nll + config.corruption + config.seed - config.alpha / 2
            results = {"test_nll": nll_here, "test_ece": 0.1}
            if config.dataset.startswith("gaussians"):
                results |= {"bayes_gap": 0.2, "bayes_nll": 0.5}
            lines.append(records.Record(config, after, results))
    return lines


class TestLogits:
    def test_are_drawn_of_runs_that_measured_them(self):
        lines = make_lines("image_overlap", "resnet_narrow")
        plain = [line for line in lines if not line.after]
        for line in plain:
            if line.config.corruption:
                continue
            line.results.update(train_first_logit=9.0, train_second_logit=1.0)
        found = dict(overlaps.draw(lines))
        (name,) = (name for name in found if name.startswith("logits"))
        first, second = found[name].axes
        assert first.get_title().startswith("largest logit")
        assert {bar.get_width() for bar in first.patches} == {9.0}
        assert {bar.get_width() for bar in second.patches} == {1.0}


@pytest.fixture
def images():
    return make_lines("image_overlap", "resnet_narrow")


@pytest.fixture
def points():
    return make_lines("gaussian_overlap", "mlp")


def drawn(axes):
    """Returns label -> the heights of its points."""
    return {
        container.get_label(): container.lines[0].get_ydata()
        for container in axes.containers
    }


class TestOrder:
    def test_near_classes_overlap_most(self, points):
        labels = list(overlaps.order_by_overlap(points))
        assert labels == ["0.25", "0.05", "0.01"]

    def test_shares_rise(self, images):
        labels = list(overlaps.order_by_overlap(images))
        assert labels == ["0%", "25%", "50%"]


class TestDraw:
    def test_means_by_hand(self, images):
        ((name, figure),) = overlaps.draw(images)
        assert name == "cifar10-resnet_narrow"
        heights = drawn(figure.axes[0])
        # Seeds 0 and 1: on average .5 more; alpha is 0, then 1.
        np.testing.assert_allclose(heights["no mixup"], [2.5, 2.75, 3.0])
        np.testing.assert_allclose(
            heights["no mixup, temperature scaling"], [1.5, 1.75, 2.0]
        )
        np.testing.assert_allclose(heights["mixup"], [2.0, 2.25, 2.5])
        # Without flips no label is noisy.
        noisy = heights["no mixup, temperature scaling on noisy labels"]
        np.testing.assert_allclose(noisy, [2.25, 2.5])

    def test_percent_and_the_least_likelihood(self, points):
        ((_, figure),) = overlaps.draw(points)
        nll, ece, gap = figure.axes
        np.testing.assert_allclose(drawn(ece)["mixup"], 10)
        np.testing.assert_allclose(drawn(gap)["4-Mixup"], 20)
        (bayes,) = (
            line for line in nll.get_lines() if line.get_label() == "Bayes"
        )
        np.testing.assert_allclose(bayes.get_ydata(), 0.5)

    def test_images_have_no_panel_of_the_truth(self, images):
        ((_, figure),) = overlaps.draw(images)
        assert len(figure.axes) == 2

    def test_a_figure_for_each_network(self, points):
        other = [
            dataclasses.replace(
                line, config=dataclasses.replace(line.config, network="lenet")
            )
            for line in points
        ]
        names = [name for name, _ in overlaps.draw(points + other)]
        assert names == ["gaussians-mlp", "gaussians-lenet"]


class TestProgram:
    def test_draws_the_ledger(self, images, tmp_path, monkeypatch):
        records.write(images, tmp_path / "image_overlap.jsonl")
        monkeypatch.setattr(records, "LEDGER", tmp_path)
        figures.draw_ledger("image_overlap", tmp_path)
        figures.draw_ledger("gaussian_overlap", tmp_path)
        assert [path.name for path in tmp_path.rglob("*.png")] == [
            "cifar10-resnet_narrow.png"
        ]
