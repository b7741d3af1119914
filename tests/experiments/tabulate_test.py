"""Reports on runs with results by hand."""

import pytest

from experiments import tabulate
from experiments.analysis import records
from experiments.analysis import run_tables
from experiments.runs import config as config_lib
from tests import binaries
from tests.experiments.analysis.sweeps import write_run
from tests.experiments.analysis.sweeps import write_sweep


def report_of(workdir, **options):
    runs = records.read_runs(workdir)
    return tabulate.report(runs, run_tables.arrange(runs.complete), **options)


def row_of(markdown, start):
    (line,) = (x for x in markdown.splitlines() if x.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class TestReport:
    def test_main_table_by_hand(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        head = "| alpha | seeds | validation ECE, 15 bins (%) | accuracy (%) |"
        assert head in markdown
        # Accuracy 80, 82, 84: 82 +- 2; validation ECE 1, 1, 1; ECE 9, 10, 11.
        first = [x for x in markdown.splitlines() if x.startswith("| no mixup")]
        assert first[0] == (
            "| no mixup | 3 | 1.00 ± 0.00 | 82.00 ± 2.00 | 10.00 ± 1.00 |"
            " 12.00 ± 0.00 | 9.00 ± 1.00 | 0.700 ± 0.100 |"
        )
        assert first[1] == "| no mixup | 3 | 80.00 ± 10.00 | 50.00 ± 0.00 |"

    def test_differences_by_hand(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        # -.3 in each seed: no width; .4 / .7 = .57.
        assert row_of(markdown, "NLL (nats)")[1:] == [
            "0.700",
            "0.400",
            "-0.300",
            "-0.300 to -0.300",
            "0.57",
        ]
        assert row_of(markdown, "ECE, 15 bins (%)")[1:4] == [
            "10.00",
            "3.00",
            "-7.00",
        ]

    def test_states_the_choice_and_its_rule(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        assert (
            "**Choice: alpha 0.4**, the lowest mean validation ECE, 15 bins (%)"
            " over the seeds that all rows have (0, 1, 2)." in markdown
        )
        assert "of each seed: alpha 0.4, alpha 0.4, alpha 0.2." in markdown

    def test_tests_the_trend_also_without_the_first_step(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        # L = 3 (1 + 4 + 9); two levels are too few for a test.
        assert (
            "from no mixup: L = 42, p = 0.0046; from alpha 0.2: needs 2 seeds"
            " and 3 rows." in markdown
        )

    def test_counts_runs_and_hours(self, tmp_path):
        write_sweep(tmp_path)
        (tmp_path / "mixup-0.2-1" / "record.json").unlink()
        (tmp_path / "mixup-0.2-2" / "record.json").write_text("{")
        markdown = report_of(tmp_path)
        # Seven runs of half an hour.
        assert markdown.startswith(
            "7 complete runs, 3.50 hours (the last start of each). 1 without a"
            " record yet, 1 damaged."
        )
        assert (
            "Missing of digits: alpha 0.2 seed 1; alpha 0.2 seed 2." in markdown
        )
        assert "mixup-0.2-2/record.json, which is damaged." in markdown

    def test_one_seed_says_that_there_is_no_interval(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path, seeds=(1,)))
        assert row_of(markdown, "ECE, 15 bins (%)")[4] == "one seed"
        assert "nan" not in markdown
        assert "82.00 |" in markdown

    def test_says_why_there_is_no_comparison(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {"test_oe": 0.1})
        assert "No comparison: it requires one row without mixup" in report_of(
            tmp_path
        )

    def test_an_empty_folder_is_no_error(self, tmp_path):
        assert report_of(tmp_path).startswith("0 complete runs, 0.00 hours")

    def test_columns_may_be_patterns(self, tmp_path):
        markdown = report_of(
            write_sweep(tmp_path), columns=["test_oe", "*_auroc"]
        )
        assert row_of(markdown, "alpha") == [
            "alpha",
            "seeds",
            "OE, 15 bins (%)",
            "AUROC against noise (%)",
        ]

    def test_refuses_a_choice_by_no_result(self, tmp_path):
        with pytest.raises(ValueError, match="--choose_by must name a result"):
            report_of(write_sweep(tmp_path), choose_by="validation_foo")

    @pytest.mark.parametrize("columns", [["x", "y"], ["test_oe", "x"]])
    def test_unknown_columns_are_refused(self, columns, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"--columns must name results\. Received: --columns=.*, where"
            r" 'x' is none\. Results are gaussian_auroc, .*validation_ece\.",
        ):
            report_of(write_sweep(tmp_path), columns=columns)

    def test_unknown_columns_are_refused_without_runs(self, tmp_path):
        with pytest.raises(ValueError, match="where 'nope' is none"):
            report_of(tmp_path, columns=["nope"])
        assert report_of(tmp_path, columns=["test_ece"])

    def test_accuracy_chooses_the_highest(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path), choose_by="test_accuracy")
        assert "**Choice: alpha 0.2**, the highest mean accuracy" in markdown

    def test_a_result_that_a_run_lacks_is_a_dash(self, tmp_path):
        write_run(tmp_path, 0.0, 0, {"test_oe": 0.1})
        write_run(tmp_path, 0.2, 0, {"test_nll": 0.1})
        assert row_of(report_of(tmp_path), "no mixup")[2:] == ["10.00", "-"]


class TestParseBaseline:
    @pytest.mark.parametrize(
        "conditions", [["method"], ["method="], ["methods=erm"]]
    )
    def test_refuses_what_is_no_condition(self, conditions):
        with pytest.raises(
            ValueError,
            match=r"--baseline takes field=value\. Received: --baseline=method"
            r".*\. Write, for instance, --baseline=method=erm\.",
        ):
            tabulate.parse_baseline(conditions)

    def test_needs_all_conditions(self):
        baseline = tabulate.parse_baseline(["method=mixup", "alpha=1"])
        assert baseline(config_lib.Config(method="mixup", alpha=1.0))
        assert not baseline(config_lib.Config(method="mixup", alpha=0.1))


class TestBinary:
    def test_prints_writes_and_draws(self, tmp_path, capsys):
        workdir = write_sweep(tmp_path / "runs")
        output = tmp_path / "table.md"
        arguments = (f"--workdir={workdir}", f"--output={output}", "--figures")
        binaries.run(tabulate, *arguments)
        printed = capsys.readouterr().out
        assert "## digits" in printed
        assert output.read_text() == printed
        assert (workdir / "alpha-digits.png").stat().st_size > 1000
        # A table names no place of one machine.
        assert str(tmp_path) not in printed

    def test_a_missing_folder_is_refused(self, tmp_path):
        with pytest.raises((ValueError, OSError), match="folder must exist"):
            binaries.run(tabulate, f"--workdir={tmp_path / 'gone'}")
