"""RESULTS.md: a function of the ledger, and of nothing else."""

import dataclasses

from experiments import papers
from experiments import results
from experiments.analysis import records
from experiments.analysis.claims import Verdict
from tests.experiments.analysis.claims_test import RUNS


class TestRender:
    def test_tables_show_what_there_is(self):
        text = results.render({"image_calibration": RUNS})
        wanted = papers.TABLES["image_calibration"].configs("small")
        assert f"Runs here: 6 of {len(wanted)}." in text
        assert "| arm | seeds | ECE, 15 bins (%) | NLL (nats) |" in text
        assert "| no mixup | 2 | 10.50 ± 0.71 | 1.105 ± 0.007 |" in text
        assert "| arm | seeds | AUROC against the other set (%) |" in text
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
                    **({"temperature": 2.0} if after == "temperature" else {}),
                },
            )
            for run in RUNS
            for after in ("temperature", "isotonic")
        ]
        text = results.render({"image_calibration": [*RUNS, *scaled]})
        heads = [x for x in text.splitlines() if x.startswith("| arm")]
        head = next(line for line in heads if "isotonic" in line)
        assert head.split(" | ")[2:] == [
            "ECE, 15 bins, before (%)",
            "ECE, 15 bins, temperature scaling (%)",
            "ECE, 15 bins, isotonic scaling (%)",
            "NLL, before (nats)",
            "NLL, temperature scaling (nats)",
            "NLL, isotonic scaling (nats)",
            "accuracy, isotonic scaling (%)",
            "T, temperature scaling |",
        ]
        assert (
            "| no mixup | 2 | 10.50 ± 0.71 | 5.25 ± 0.35 | 5.25 ± 0.35 |"
            " 1.105 ± 0.007 | 0.500 ± 0.000 | 0.500 ± 0.000 |"
            " 70.00 ± 0.00 | 2.000 ± 0.000 |"
        ) in text

    def test_every_claim_of_the_papers_has_a_row(self):
        text = results.render({})
        for claim in papers.CLAIMS:
            assert f"| {claim.says} | - | " in text


class TestSummary:
    def test_compares_what_validation_chose(self):
        text = results.render_summary({"image_calibration": RUNS})
        line = (
            "| scikit-learn's digits | 10.50 ± 0.71 | 5.25 ± 0.35 (alpha 0.2) |"
        )
        assert line in text
        assert "alpha 1)" not in text

    def test_counts_verdicts(self):
        text = results.render_summary({"image_calibration": RUNS})
        verdicts = [
            judgment.verdict
            for judgment in results.judge_all({"image_calibration": RUNS})
            if judgment.claim.paper != papers.OWN
        ]
        decided = [each for each in verdicts if each is not Verdict.MISSING]
        assert 0 < len(decided) < len(verdicts)
        assert f"Of {len(decided)} verdicts" in text
        holds = verdicts.count(Verdict.HOLDS)
        assert f"claims {holds} hold, " in text

    def test_goes_between_the_marks(self):
        text = f"a\n{results.BEGIN}\nold\n{results.END}\nb"
        found = results.insert_summary(text, "new")
        assert found == f"a\n{results.BEGIN}\nnew\n{results.END}\nb"


def test_documents_are_what_the_ledger_makes():
    made = records.read_all(records.LEDGER)
    assert results.RESULTS.read_text() == results.render(made)
    readme = results.README.read_text()
    assert readme == results.insert_summary(
        readme, results.render_summary(made)
    )
