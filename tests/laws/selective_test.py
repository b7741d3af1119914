"""Laws of selective classification, for any labels and predictions."""

import numpy as np
from hypothesis import strategies as st

from tests.laws.strategies import SEEDS
from tests.laws.strategies import law
from tests.laws.strategies import scored
from tf_mixup import selective

ROUNDING = 1e-7


def rank(data, rows=slice(None)):
    weight = None if data.weight is None else data.weight[rows]
    return selective.rank_predictions(
        data.labels[rows], data.probabilities[rows], sample_weight=weight
    )


def draw(seed, levels):
    """Returns scores with ties, and whether each prediction is right."""
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 60))
    scores = generator.integers(0, levels, size)
    return scores, generator.integers(0, 2, size)


@law(data=scored(), seed=SEEDS)
def test_order_does_not_matter(data, seed):
    order = np.random.default_rng(seed).permutation(len(data.probabilities))
    one, other = selective.aurc(rank(data)), selective.aurc(rank(data, order))
    np.testing.assert_allclose(one, other, atol=ROUNDING)


@law(seed=SEEDS, levels=st.sampled_from([1, 4, 10**6]))
def test_areas_are_ordered(seed, levels):
    scores, correct = draw(seed, levels)
    bins = selective.rank_scores(scores, correct)
    area, excess = selective.aurc(bins), selective.excess_aurc(bins)
    low, high = selective.aurc_bounds(bins)
    assert -ROUNDING <= excess <= area + ROUNDING <= 1 + 2 * ROUNDING
    assert low - ROUNDING <= area <= high + ROUNDING


@law(seed=SEEDS, levels=st.sampled_from([4, 10**6]))
def test_only_the_order_of_scores_matters(seed, levels):
    scores, correct = draw(seed, levels)
    areas = [
        selective.aurc(selective.rank_scores(each, correct))
        for each in (scores, np.exp(scores / levels), 3 * scores - 7)
    ]
    np.testing.assert_allclose(areas, areas[0], atol=ROUNDING)


@law(seed=SEEDS, width=st.integers(1, 200))
def test_bounds_of_any_bins_hold_the_exact_area(seed, width):
    scores, correct = draw(seed, 1000)
    exact = selective.aurc(selective.rank_scores(scores, correct))
    table = selective.rank_scores(scores // width, correct)
    low, high = selective.aurc_bounds(table)
    assert low - ROUNDING <= exact <= high + ROUNDING
    assert abs(selective.aurc(table) - exact) <= high - low + ROUNDING


@law(seed=SEEDS, levels=st.sampled_from([1, 4, 10**6]))
def test_flipping_right_and_wrong_gives_the_rest(seed, levels):
    scores, correct = draw(seed, levels)
    one, other = (
        selective.aurc(selective.rank_scores(scores, each))
        for each in (correct, 1 - correct)
    )
    np.testing.assert_allclose(one + other, 1, atol=ROUNDING)


@law(seed=SEEDS, levels=st.sampled_from([1, 4]), percent=st.integers(0, 100))
def test_coverage_and_risk_are_inverse(seed, levels, percent):
    share = percent / 100
    bins = selective.rank_scores(*draw(seed, levels))
    coverage = selective.coverage_at_risk(bins, risk=share)
    if coverage:
        found = selective.risk_at_coverage(bins, coverage=coverage)
        assert found <= share
    risk = selective.risk_at_coverage(bins, coverage=share)
    assert selective.coverage_at_risk(bins, risk=risk) >= share
