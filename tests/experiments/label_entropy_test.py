"""Entropies of mixed targets: closed forms, the test, and the pipeline."""

import pathlib

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from experiments import label_entropy
from tests import binaries
from tests import reference

README = pathlib.Path(label_entropy.__file__).with_name("README.md")
ALPHAS = (0.1, 0.2, 0.4, 1.0, 8.0)


def draw_entropies(alpha, size=4000, seed=0):
    """Returns entropies of float32 targets, drawn by NumPy alone."""
    lam = np.random.default_rng(seed).beta(alpha, alpha, size)
    lam = lam.astype("float32")
    return reference.label_entropy(np.stack([lam, 1 - lam], axis=-1))


class TestClosedForms:
    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
    def test_entropy_of_two_classes(self, share):
        expected = reference.label_entropy(np.array([[share, 1 - share]]))
        found = label_entropy.binary_entropy(np.array([share]))
        np.testing.assert_allclose(found, expected, atol=1e-12)

    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_mean_is_the_integral(self, alpha):
        # By parts in lam^alpha, which takes the pole at 0 away.
        def integrand(power):
            share = power ** (1 / alpha)
            density = (1 - share) ** (alpha - 1) / alpha
            return label_entropy.binary_entropy(share) * density

        integral, _ = scipy.integrate.quad(integrand, 0, 0.5**alpha)
        expected = 2 * integral / scipy.special.beta(alpha, alpha)
        found = label_entropy.expected_label_entropy(alpha)
        assert found == pytest.approx(expected, rel=1e-6)

    def test_mean_of_random_pairs(self):
        # psi(3) - psi(2) = 1/2; a tenth of the pairs are of one class.
        found = label_entropy.expected_label_entropy(1, num_classes=10)
        assert found == pytest.approx(0.45)

    def test_mean_without_mixing_is_zero_and_at_most_ln_2(self):
        assert label_entropy.expected_label_entropy(0) == 0
        assert label_entropy.expected_label_entropy(1e6) == pytest.approx(
            np.log(2), abs=1e-5
        )

    def test_distribution_by_hand(self):
        # Alpha 1: lam is uniform, so the chance is twice the smaller share.
        shares = np.array([0.0, 1e-9, 0.1, 0.25, 0.5])
        entropies = label_entropy.binary_entropy(shares)
        found = label_entropy.entropy_distribution(entropies, 1.0)
        np.testing.assert_allclose(found, 2 * shares, atol=1e-7)

    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_distribution_is_that_of_draws(self, alpha):
        entropies = draw_entropies(alpha, 20_000)
        for level in (0.05, 0.2, 0.5, 0.65):
            share = np.mean(entropies <= level)
            chance = label_entropy.entropy_distribution(level, alpha)
            # Within four standard deviations of a binomial.
            assert abs(share - chance) < 4 * 0.5 / np.sqrt(20_000)

    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_density_is_the_slope_of_the_distribution(self, alpha):
        shares = np.array([0.01, 0.1, 0.3, 0.45])
        entropies = label_entropy.binary_entropy(shares)
        low, high = (
            label_entropy.entropy_distribution(entropies + step, alpha)
            for step in (-1e-5, 1e-5)
        )
        found = label_entropy.entropy_density(shares, alpha)
        np.testing.assert_allclose(found, (high - low) / 2e-5, rtol=1e-3)


class TestCompare:
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_draws_of_the_law_pass(self, alpha):
        _, p_value = label_entropy.compare(draw_entropies(alpha), alpha)
        assert p_value > 0.01

    def test_draws_of_another_alpha_do_not(self):
        statistic, p_value = label_entropy.compare(draw_entropies(0.2), 0.25)
        assert statistic > 0.04
        assert p_value < 1e-6

    def test_what_float32_does_not_resolve_is_no_difference(self):
        # 9 % of the coefficients are 1 in float32: a step in the distribution.
        entropies = draw_entropies(0.1)
        levels = label_entropy.entropy_distribution(entropies, 0.1)
        assert scipy.stats.kstest(levels, "uniform").pvalue < 1e-6
        assert label_entropy.compare(entropies, 0.1)[1] > 0.01

    def test_too_many_hard_targets_are_a_difference(self):
        entropies = draw_entropies(0.4)
        entropies[:400] = 0
        assert label_entropy.compare(entropies, 0.4)[1] < 1e-6


class TestMeasure:
    def test_pipeline_follows_the_law(self):
        found = label_entropy.measure(1.0, targets=1500, seed=0)
        # Whole batches.
        assert found.entropies.shape == found.random_entropies.shape == (2000,)
        assert label_entropy.compare(found.entropies, 1.0)[1] > 0.001
        for values, expected in (
            (found.entropies, 0.5),
            (found.random_entropies, 0.45),
        ):
            error = values.std() / np.sqrt(values.size)
            assert abs(values.mean() - expected) < 4 * error
        # A tenth of random pairs are of one class; none of the others is.
        alone = np.mean(found.random_entropies < 1e-6)
        assert abs(alone - 0.1) < 4 * np.sqrt(0.09 / 2000)
        assert np.mean(found.entropies == 0) < 0.01

    def test_refuses_no_mixing(self):
        with pytest.raises(
            ValueError,
            match=r"alphas above 0\. Received: alpha=0\. Leave it out:"
            r" without mixing all entropies are 0\.",
        ):
            label_entropy.measure(0.0, targets=1000, seed=0)


def measurement(alpha=1.0):
    entropies = np.array([0.4, 0.5, 0.6])
    return label_entropy.Measurement(alpha, entropies, entropies - 0.1)


class TestReport:
    def test_row_by_hand(self):
        row = label_entropy.report([measurement()]).splitlines()[-1]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        # Deviation .1 over sqrt(3).
        assert cells[:4] == ["1", "3", "0.5000 ± 0.0577", "0.5000"]
        assert cells[6:] == ["0.4000 ± 0.0577", "0.4500"]


class TestDraw:
    def test_a_panel_for_each_alpha(self):
        figure = label_entropy.draw([measurement(), measurement(0.2)] * 2)
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["alpha = 1", "alpha = 0.2"] * 2
        density, mean = figure.axes[0].lines
        entropies, heights = density.get_data()
        share = 0.25
        place = np.searchsorted(
            entropies, label_entropy.binary_entropy(np.array(share))
        )
        # 2 over the slope, ln 3.
        assert heights[place] == pytest.approx(2 / np.log(3), rel=0.01)
        assert mean.get_xdata()[0] == pytest.approx(0.5)

    def test_bars_have_area_one(self):
        bars = label_entropy.draw([measurement()]).axes[0].patches
        area = sum(bar.get_width() * bar.get_height() for bar in bars)
        assert area == pytest.approx(1)


class TestBinary:
    @pytest.mark.slow
    def test_prints_the_table_of_the_document(self, tmp_path, capsys):
        binaries.run(label_entropy, f"--output={tmp_path}")
        rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in capsys.readouterr().out.splitlines()[2:]
        ]
        text = README.read_text().partition("## Label entropy")[2]
        for alpha, _, measured, expected, statistic, p_value, *_ in rows:
            cells = (alpha, measured, expected, statistic, p_value)
            assert f"| {' | '.join(cells)} |" in text

    def test_prints_and_draws(self, tmp_path, capsys):
        arguments = ("--alphas=1", "--targets=1000", f"--output={tmp_path}")
        binaries.run(label_entropy, *arguments)
        lines = capsys.readouterr().out.splitlines()
        assert lines[2].startswith("| 1 | 1000 | 0.")
        assert (tmp_path / "label_entropy.png").stat().st_size > 1000
        assert len(list((tmp_path / "logs").glob("events*"))) == 1

    def test_words_are_no_alphas(self):
        with pytest.raises(
            ValueError, match=r"--alphas takes numbers\. .*--alphas=1,x\."
        ):
            binaries.run(label_entropy, "--alphas=1,x")
