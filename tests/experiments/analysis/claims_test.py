"""The rule that decides a claim, case by case."""

import dataclasses

import numpy as np
import pytest

from experiments import papers
from experiments.analysis import claims
from experiments.analysis import records
from experiments.analysis.arms import Arm
from experiments.analysis.claims import Claim
from experiments.analysis.claims import Direction
from experiments.analysis.claims import Verdict
from experiments.papers import CLAIMS
from experiments.papers import TABLES
from experiments.runs import config as config_lib

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

    def test_not_higher_mirrors_not_lower(self):
        for least in (0.005, 0.02, 0.05):
            mirrored, _ = claims.decide(
                BASELINE, BETTER, Direction.NOT_HIGHER, least
            )
            assert mirrored is verdict(BETTER, Direction.NOT_LOWER, least)

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
        imagenet = claim.table.startswith("imagenet")
        scale = "paper" if imagenet else "small"
        return TABLES[claim.table].configs(scale, 1)

    def test_settings_have_runs_in_their_table(self):
        for claim in CLAIMS:
            configs = self.configs(claim)
            for name, values in claim.settings.items():
                found = {getattr(config, name) for config in configs}
                assert set(values) <= found, claim.says

    def test_least_effects_are_effects(self):
        assert all(claim.least > 0 for claim in CLAIMS)


ERM = config_lib.Config(method="erm", alpha=0.0, ood=("far.npz",))
CLAIM = Claim(
    says="Mixup lowers ECE",
    source="a paper",
    table="image_calibration",
    result="test_ece",
    arm=Arm("mixup", {"method": "mixup"}, chosen_by="validation_ece"),
    direction=Direction.LOWER,
    baseline=Arm("no mixup", {"method": "erm"}),
    least=0.01,
)


def lines(**eces):
    """Returns runs of alphas `a0`, `a02`, ... with one ECE a seed."""
    return [
        records.Record(
            dataclasses.replace(
                ERM,
                method="mixup" if alpha else "erm",
                alpha=alpha,
                seed=seed,
            ),
            "",
            {
                "test_ece": ece,
                "validation_ece": ece,
                "test_nll": 1 + ece,
                "far_auroc": 0.8,
            },
            0.25,
        )
        for name, values in eces.items()
        for alpha in [float(name[1:]) / 10]
        for seed, ece in enumerate(values)
    ]


RUNS = lines(a0=(0.10, 0.11), a2=(0.05, 0.055), a10=(0.07, 0.08))


class TestJudge:
    def judge(self, runs=RUNS, **changes):
        (found,) = claims.judge(dataclasses.replace(CLAIM, **changes), runs)
        return found

    def test_the_best_by_validation_speaks(self):
        found = self.judge()
        assert (
            found.setting == "scikit-learn's digits, narrow ResNet, 30 epochs"
        )
        assert found.numbers == (
            "mixup, alpha 0.2 5.25 ± 0.35; no mixup 10.50 ± 0.71"
        )
        # -5 and -5.5 points: t(1) = 12.71 times .25 is 3.18.
        assert found.difference == "-5.25 (-8.43 to -2.07), 2 seeds"
        assert found.verdict is Verdict.HOLDS
        assert found.explanation == ""

    def test_against_zero(self):
        found = self.judge(baseline=None, direction=Direction.HIGHER)
        assert found.numbers == "mixup, alpha 0.2 5.25 ± 0.35"

    def test_trend(self):
        falling = lines(a0=(0.3, 0.3, 0.3), a2=(0.2,) * 3, a10=(0.1,) * 3)
        found = self.judge(falling, direction=Direction.FALLS)
        assert found.numbers == "30.00, 20.00, 10.00 at alpha 0, 0.2, 1"
        assert found.verdict is Verdict.HOLDS

    @pytest.mark.parametrize(
        "runs", [[], lines(a0=(0.1, 0.1)), lines(a2=(0.1, 0.1))]
    )
    def test_without_runs_of_both_there_is_no_verdict(self, runs):
        assert self.judge(runs).verdict is Verdict.MISSING

    def test_other_settings_are_left_out(self):
        found = self.judge(settings={"corruption": (0.5,)})
        assert found.verdict is Verdict.MISSING

    def test_what_does_not_hold_is_explained(self):
        higher = {"direction": Direction.HIGHER}
        assert self.judge(**higher).explanation == "not explained yet"
        known = self.judge(**higher, explanation="known")
        assert known.explanation == "known"
        assert "below the least effect" in self.judge(least=0.1).explanation
        by_set = {"MNIST": "there", "digits": "here"}
        assert self.judge(**higher, explanation=by_set).explanation == "here"
        # A difference of less than matters, in the other direction.
        close = self.judge(direction=Direction.HIGHER, least=0.2)
        assert close.explanation == "no difference as large as the least effect"


class TestVariants:
    """The claims that a variant of mixup gains nothing."""

    def judge(self, gain):
        """Judges three points and one class that gain this much accuracy."""
        runs = []
        for config in papers.TABLES["variants"].configs("small", 3):
            if config.augmentation != "none":
                continue
            accuracy = 0.5 + 0.1 * bool(config.alpha)
            if config.num_points == 3:
                accuracy = 0.6 + gain + 0.001 * config.seed
            if config.partner == "same_class":
                accuracy = 0.5 + gain + 0.001 * config.seed
            runs.append(records.Record(config, "", {"test_accuracy": accuracy}))
        found = [
            judgment
            for claim in papers.CLAIMS
            if claim.table == "variants"
            for judgment in claims.judge(claim, runs)
        ]
        assert len(found) == 2
        return {x.verdict for x in found}, [x.numbers for x in found]

    def test_hold_if_nothing_is_gained(self):
        verdicts, numbers = self.judge(-0.001)
        assert verdicts == {Verdict.HOLDS}
        assert numbers == [
            "mixup, alpha 1 60.00 ± 0.00; 2-Mixup, alpha 1 60.00 ± 0.10",
            "no mixup 50.00 ± 0.00; mixup within a class, alpha 1 50.00 ± 0.10",
        ]

    def test_do_not_hold_if_much_is(self):
        assert self.judge(0.02)[0] == {Verdict.FAILS}
