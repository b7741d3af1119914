"""RESULTS.md: a function of the ledger, and of nothing else."""

import dataclasses

import pytest

from experiments import papers
from experiments import results
from experiments.analysis import ledger
from experiments.analysis.claims import Arm
from experiments.analysis.claims import Claim
from experiments.analysis.claims import Direction
from experiments.runs import config as config_lib

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
        assert (least, verdict) == ("1 %", "**holds**")

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


class TestVariants:
    """The claims that a variant of mixup gains nothing."""

    def verdicts(self, gain):
        """Judges three points and one class that gain this much accuracy."""
        runs = []
        for config in papers.TABLES["variants"].configs("small", 3):
            accuracy = 0.5 + 0.1 * bool(config.alpha)
            if config.points == 3:
                accuracy = 0.6 + gain + 0.001 * config.seed
            if config.partner == "same_class":
                accuracy = 0.5 + gain + 0.001 * config.seed
            runs.append(ledger.Line(config, "", {"test_accuracy": accuracy}))
        claims = [x for x in papers.CLAIMS if x.table == "variants"]
        rows = [row for claim in claims for row in results.judge(claim, runs)]
        assert len(rows) == 2
        return {row[5] for row in rows}, [row[2] for row in rows]

    def test_hold_if_nothing_is_gained(self):
        verdicts, numbers = self.verdicts(-0.001)
        assert verdicts == {"**holds**"}
        assert numbers == [
            "mixup, alpha 1 60.00 ± 0.00; 2-Mixup, alpha 1 60.00 ± 0.10",
            "no mixup 50.00 ± 0.00; mixup within a class, alpha 1 50.00 ± 0.10",
        ]

    def test_do_not_hold_if_much_is(self):
        assert self.verdicts(0.02)[0] == {"**does not hold**"}


class TestRender:
    def test_tables_show_what_there_is(self):
        text = results.render({"image_calibration": RUNS})
        assert "6 runs, 1.5 hours" in text
        assert "| arm | seeds | ECE, 15 bins | NLL (nats) |" in text
        assert "| no mixup | 2 | 10.50 ± 0.71 | 1.105 ± 0.007 |" in text
        assert "| arm | seeds | other set: AUROC |" in text
        assert "| mixup, alpha 1 | 2 | 80.00 ± 0.00 |" in text

    def test_runs_of_two_tables_are_shown_once(self):
        attacked = dataclasses.replace(
            RUNS[0], after="attacked", results={"clean_error": 0.5}
        )
        text = results.render(
            {"image_calibration": RUNS, "adversarial": [RUNS[0], attacked]}
        )
        _, _, again = text.partition("## Adversarial")
        assert "Runs of the tables above." in again
        assert "| no mixup, attacked | 1 | 50.00 |" in again
        assert "| no mixup | " not in again

    def test_scaling_is_shown_before_and_after(self):
        scaled = [
            dataclasses.replace(
                run,
                after=after,
                results={
                    "test_ece": run.value("test_ece") / 2,
                    "test_nll": 0.5,
                    "test_accuracy": 0.7,
                    "temperature": 2.0,
                },
            )
            for run in RUNS
            for after in ("temperature", "isotonic")
        ]
        text = results.render({"image_calibration": [*RUNS, *scaled]})
        heads = [x for x in text.splitlines() if x.startswith("| arm")]
        head = next(line for line in heads if "isotonic" in line)
        assert head.split(" | ")[2:] == [
            "ECE, 15 bins: before",
            "ECE, 15 bins: temperature scaling",
            "ECE, 15 bins: isotonic scaling",
            "NLL (nats): before",
            "NLL (nats): temperature scaling",
            "NLL (nats): isotonic scaling",
            "accuracy: before",
            "accuracy: isotonic scaling",
            "T: temperature scaling |",
        ]
        assert (
            "| no mixup | 2 | 10.50 ± 0.71 | 5.25 ± 0.35 | 5.25 ± 0.35 |"
            " 1.105 ± 0.007 | 0.500 ± 0.000 | 0.500 ± 0.000 | - |"
            " 70.00 ± 0.00 | 2.000 ± 0.000 |"
        ) in text

    def test_every_claim_of_the_papers_has_a_row(self):
        text = results.render({})
        for claim in papers.CLAIMS:
            assert f"| {claim.says} | - | no runs |" in text


class TestSummary:
    def test_compares_what_validation_chose(self):
        text = results.render_summary({"image_calibration": RUNS})
        line = (
            "| scikit-learn's digits | 10.50 ± 0.71 | 5.25 ± 0.35 (alpha 0.2) |"
        )
        assert line in text
        assert "alpha 1)" not in text

    def test_counts_verdicts(self):
        text = results.render_summary({})
        assert f"0 hold, 0 do not and {len(papers.CLAIMS)} are" in text

    def test_goes_between_the_marks(self):
        text = f"a\n{results.BEGIN}\nold\n{results.END}\nb"
        found = results.insert_summary(text, "new")
        assert found == f"a\n{results.BEGIN}\nnew\n{results.END}\nb"


def test_documents_are_what_the_ledger_makes():
    made = ledger.read_all(ledger.FOLDER)
    assert results.RESULTS.read_text() == results.render(made)
    readme = results.README.read_text()
    assert readme == results.insert_summary(
        readme, results.render_summary(made)
    )
