"""RESULTS.md: a function of the ledger, and of nothing else."""

import dataclasses

import pytest

from experiments import config as config_lib
from experiments import ledger
from experiments import papers
from experiments import results
from experiments.claims import Arm
from experiments.claims import Claim
from experiments.claims import Direction

ERM = config_lib.Config(method="erm", alpha=0.0, ood=("far.npz",))
CLAIM = Claim(
    says="Mixup lowers ECE",
    source="a paper",
    table="image_calibration",
    result="test_ece",
    arm=Arm("mixup", {"method": "mixup"}, by_validation=True),
    direction=Direction.LOWER,
    baseline=Arm("no mixup", {"method": "erm"}),
    least=0.01,
)


def lines(**eces):
    """Returns runs of alphas `a0`, `a02`, ... with one ECE a seed."""
    return [
        ledger.Line(
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
        (row,) = results.judge(dataclasses.replace(CLAIM, **changes), runs)
        return row

    def test_the_best_by_validation_speaks(self):
        says, where, numbers, difference, least, verdict, *_ = self.judge()
        assert says == "Mixup lowers ECE"
        assert where == "digits, resnet_narrow, 30 epochs"
        assert numbers == (
            "mixup, alpha 0.2 5.25 ± 0.35; no mixup 10.50 ± 0.71"
        )
        # -5 and -5.5 points: t(1) = 12.71 times .25 is 3.18.
        assert difference == "-5.25 (-8.43 to -2.07), 2 seeds"
        assert (least, verdict) == ("1 points", "**holds**")

    def test_against_zero(self):
        row = self.judge(baseline=None, direction=Direction.HIGHER)
        assert row[2] == "mixup, alpha 0.2 5.25 ± 0.35"

    def test_trend(self):
        falling = lines(a0=(0.3, 0.3, 0.3), a2=(0.2,) * 3, a10=(0.1,) * 3)
        row = self.judge(falling, direction=Direction.FALLS)
        assert row[2] == "30.00, 20.00, 10.00 at alpha 0, 0.2, 1"
        assert row[5] == "**holds**"

    @pytest.mark.parametrize(
        "runs", [[], lines(a0=(0.1, 0.1)), lines(a2=(0.1, 0.1))]
    )
    def test_without_runs_it_is_open(self, runs):
        row = self.judge(runs)
        assert row[2] == "no runs"
        assert row[5] == "**not decided here**"

    def test_other_settings_are_left_out(self):
        row = self.judge(settings={"corruption": (0.5,)})
        assert row[2] == "no runs"


class TestRender:
    def test_tables_show_what_there_is(self):
        text = results.render({"image_calibration": RUNS})
        assert "6 runs, 1.5 hours" in text
        assert "| arm | seeds | ECE, 15 bins | NLL (nats) |" in text
        assert "| no mixup | 2 | 10.50 ± 0.71 | 1.105 ± 0.007 |" in text
        assert "| arm | seeds | other set: AUROC |" in text
        assert "| mixup, alpha 1 | 2 | 80.00 ± 0.00 |" in text

    def test_every_claim_of_the_papers_has_a_row(self):
        text = results.render({})
        for claim in papers.CLAIMS:
            assert f"| {claim.says} | - | no runs |" in text

    def test_results_are_what_the_ledger_makes(self):
        if not results.RESULTS.exists():
            pytest.skip("no results yet")
        made = results.render(ledger.read_all(ledger.FOLDER))
        assert results.RESULTS.read_text() == made
