"""Tests of the small experiments behind the guide's advice."""

import numpy as np
import pytest
import scipy.stats

from experiments.advice import __main__ as advice
from experiments.advice import averaging
from experiments.advice import class_weights
from experiments.advice import infinite_data
from experiments.advice import intervals
from experiments.advice import rivals
from experiments.advice import scalers
from experiments.advice import spread

PAIR = infinite_data.Classes((-1.0, 1.0), 1.0, (0.5, 0.5))
THREE = infinite_data.Classes((-2.0, 0.0, 2.0), 0.3, (0.475, 0.05, 0.475))


class TestInfiniteData:
    def test_without_mixing_the_optimum_is_the_posterior(self):
        joint = PAIR.joint()
        predicted = infinite_data.optimum(PAIR, 0.0)
        posterior = 1 / (1 + np.exp(-2 * PAIR.grid()))
        np.testing.assert_allclose(predicted[:, 1], posterior, atol=1e-12)
        gap = infinite_data.signed_gap(joint, predicted)
        assert gap == pytest.approx(0, abs=1e-9)
        assert infinite_data.best_temperature(joint, predicted) == (
            pytest.approx(1, abs=1e-3)
        )

    def test_accuracy_is_that_of_the_bayes_rule(self):
        joint = PAIR.joint()
        recall = infinite_data.recalls(joint, infinite_data.optimum(PAIR, 1.0))
        np.testing.assert_allclose(recall, scipy.stats.norm.cdf(1), atol=1e-3)

    def test_optimum_is_the_mean_target_of_drawn_mixtures(self):
        rng = np.random.default_rng(0)
        count, alpha = 4_000_000, 0.4
        labels = rng.choice(3, (2, count), p=THREE.priors)
        inputs = rng.normal(np.array(THREE.means)[labels], THREE.deviation)
        lam = rng.beta(alpha, alpha, count)
        mixed = lam * inputs[0] + (1 - lam) * inputs[1]
        near = np.abs(mixed - 0.1) < 0.02
        shares = [
            np.mean(np.where(labels == k, [lam, 1 - lam], 0).sum(0)[near])
            for k in range(3)
        ]
        predicted = infinite_data.optimum(THREE, alpha)
        place = np.abs(THREE.grid() - 0.1).argmin()
        np.testing.assert_allclose(predicted[place], shares, atol=5e-3)

    def test_negative_alpha_is_refused(self):
        with pytest.raises(ValueError, match=r"`alpha` must be .* at least 0"):
            infinite_data.optimum(PAIR, -1.0)

    def test_tables(self):
        _, *lines = infinite_data.two_classes()
        gaps = [float(line[3]) for line in lines]
        assert max(gaps) < 0
        assert all(weak > strong for weak, strong in np.reshape(gaps, (-1, 2)))
        _, *lines = infinite_data.class_between()
        recalls = [float(line[1]) for line in lines]
        assert recalls == sorted(recalls, reverse=True)
        assert recalls[0] > 99
        assert recalls[-1] == 0


class TestClassWeights:
    def test_balanced_weights_leave_the_top_label_calibrated(self):
        # At a distance from the middle accuracy is that of equal priors.
        _, none, temperature, vector = class_weights.class_weights(2)
        top, rare = (float(cell.partition(" ")[0]) for cell in none[1:3])
        assert top < 1
        # E |posterior of equal priors - posterior|, by numerical integration.
        x = np.linspace(-8, 8, 4001)
        density = 0.9 * scipy.stats.norm.pdf(x, -1) + 0.1 * (
            scipy.stats.norm.pdf(x, 1)
        )
        posterior = 0.1 * scipy.stats.norm.pdf(x, 1) / density
        difference = np.abs(1 / (1 + np.exp(-2 * x)) - posterior)
        expected = 100 * np.trapezoid(difference * density, x)
        assert rare == pytest.approx(expected, abs=0.3)
        repaired = float(vector[2].partition(" ")[0])
        assert repaired < 1 < float(temperature[2].partition(" ")[0])
        recall = 100 * scipy.stats.norm.cdf(1 - np.log(9) / 2)
        assert float(vector[4].partition(" ")[0]) == pytest.approx(
            recall, abs=2
        )


class TestOthers:
    def test_members_are_calibrated(self):
        _, first, *_ = averaging.averaging(2)
        error, gap = (float(first[i].partition(" ")[0]) for i in (1, 4))
        assert error < 1.5
        assert gap < -20

    def test_temperature_is_the_one_that_was_drawn(self, monkeypatch):
        monkeypatch.setattr(scalers, "SIZES", (50, 2000))
        _, none, few, many = scalers.scalers(2)
        errors = [
            float(line[1].partition(" ")[0]) for line in (none, few, many)
        ]
        assert errors == sorted(errors, reverse=True)
        vector = [
            float(line[4].partition(" ")[0]) for line in (none, few, many)
        ]
        assert vector[1] > vector[0] > vector[2]

    def test_quantiles_are_those_of_redrawn_examples(self):
        rng = np.random.default_rng(0)
        columns = intervals.draw(0.1, rng)
        low, high = intervals.quantile_interval(*columns, rng)
        interval = intervals.calibration.bootstrap_interval(*columns, seed=0)
        assert low < interval.estimate < high
        assert low == pytest.approx(interval.low, abs=0.01)
        _, first, *_ = intervals.intervals(4)
        assert first[2:] == ["0.0", "100.0"]

    def test_cells(self):
        cells = spread.cells([[0.1, 1], [0.3, 3]], scale=[100, 1], digits=1)
        assert cells == ["20.0 ± 14.1", "2.0 ± 1.4"]

    @pytest.mark.slow
    def test_rivals_have_a_line_for_each_arm(self, monkeypatch):
        monkeypatch.setattr(rivals, "EPOCHS", 3)
        lines = rivals.rivals(2)
        assert len(lines) == 1 + len(rivals.ARMS)
        assert "nan" not in str(lines)


def test_page_has_every_experiment():
    text = advice.render("class_between")
    assert text.startswith("## Mixup can erase a rare class")
    assert "--what=class_between`.\n\n| alpha | recall" in text
    page = advice.PAGE.read_text()
    for name in advice.EXPERIMENTS:
        assert f"--what={name}`" in page
    # Computed, so that it is the same everywhere.
    assert text in page
