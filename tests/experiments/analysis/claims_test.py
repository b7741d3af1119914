"""The rule that decides a claim, case by case."""

import numpy as np
import pytest

from experiments.analysis import claims
from experiments.analysis.claims import Direction
from experiments.analysis.claims import Verdict
from experiments.papers import CLAIMS
from experiments.papers import TABLES

# Differences of -2 and -2.2 points: interval about -3.4 to -.8.
BASELINE = np.array([0.10, 0.11])
BETTER = np.array([0.08, 0.088])


def verdict(values, direction, least, baseline=BASELINE):
    return claims.decide(values, baseline, direction, least)[0]


class TestDecide:
    def test_holds_if_sure_and_large_enough(self):
        assert verdict(BETTER, Direction.LOWER, 0.01) is Verdict.HOLDS

    def test_is_open_if_sure_but_too_small(self):
        # The mean is 2.1 points, and the interval reaches to 3.4.
        assert verdict(BETTER, Direction.LOWER, 0.03) is Verdict.OPEN

    def test_fails_if_an_effect_that_matters_is_excluded(self):
        assert verdict(BETTER, Direction.LOWER, 0.05) is Verdict.FAILS
        assert verdict(BETTER, Direction.HIGHER, 0.01) is Verdict.FAILS

    def test_is_open_if_the_interval_holds_0(self):
        uncertain = np.array([0.06, 0.12])
        assert verdict(uncertain, Direction.LOWER, 0.01) is Verdict.OPEN

    def test_higher_mirrors_lower(self):
        for least in (0.01, 0.03, 0.05):
            mirrored = claims.decide(BASELINE, BETTER, Direction.HIGHER, least)[
                0
            ]
            assert mirrored is verdict(BETTER, Direction.LOWER, least)

    def test_not_lower_is_about_the_interval(self):
        not_lower = Direction.NOT_LOWER
        assert verdict(BASELINE + 0.01, not_lower, 0.01) is Verdict.HOLDS
        assert verdict(BETTER, not_lower, 0.05) is Verdict.HOLDS
        assert verdict(BETTER, not_lower, 0.02) is Verdict.OPEN
        assert verdict(BETTER, not_lower, 0.005) is Verdict.FAILS

    def test_one_seed_decides_nothing(self):
        decided, difference = claims.decide(
            np.array([0.5]), np.array([0.1]), Direction.HIGHER, 0.1
        )
        assert decided is Verdict.OPEN
        assert difference.mean == pytest.approx(0.4)


class TestDecideTrend:
    FALLING = np.array([[0.3, 0.2, 0.1, 0.0]] * 3)

    def test_holds(self):
        decided, trend = claims.decide_trend(self.FALLING, 0.01)
        assert decided is Verdict.HOLDS
        assert trend.p_value < 0.001

    def test_fails_if_it_falls_by_too_little_or_rises(self):
        assert claims.decide_trend(self.FALLING, 0.4)[0] is Verdict.FAILS
        rising = self.FALLING[:, ::-1]
        assert claims.decide_trend(rising, 0.01)[0] is Verdict.FAILS

    def test_is_open_if_ranks_do_not_agree(self):
        mixed = np.array([[0.3, 0.0, 0.2], [0.1, 0.3, 0.0]])
        assert claims.decide_trend(mixed, 0.01)[0] is Verdict.OPEN

    def test_is_open_without_a_test(self):
        assert claims.decide_trend(self.FALLING[:1], 0.01) == (
            Verdict.OPEN,
            None,
        )


class TestPapersClaims:
    def test_name_tables_that_exist(self):
        assert {claim.table for claim in CLAIMS} <= set(TABLES)

    @staticmethod
    def configs(claim):
        """Returns the runs that decide a claim; ImageNet has no small ones."""
        scale = "paper" if claim.table == "imagenet" else "small"
        return TABLES[claim.table].configs(scale, 1)

    def test_settings_have_runs_in_their_table(self):
        for claim in CLAIMS:
            configs = self.configs(claim)
            for name, values in claim.settings.items():
                found = {getattr(config, name) for config in configs}
                assert set(values) <= found, claim.says

    def test_each_table_of_uci_has_a_claim(self):
        claims_of = {
            claim.settings["dataset"]: (claim.direction, claim.printed)
            for claim in CLAIMS
            if claim.table == "uci"
        }
        runs = TABLES["uci"].configs("small", 1)
        assert set(claims_of) == {(run.dataset,) for run in runs}
        # The one set on which the paper prints no difference.
        direction, printed = claims_of["uci:htru2",]
        assert direction is Direction.NOT_LOWER
        assert printed == "error: 2.0 -> 2.0 %"

    def test_least_effects_are_effects(self):
        assert all(claim.least > 0 for claim in CLAIMS)
