"""Tests of the tables, their statistics and choices, on records by hand."""

import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import tabulate
from experiments.analysis import alpha_figure
from experiments.analysis import run_tables
from experiments.analysis import seed_statistics
from experiments.analysis import selection
from experiments.runs import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALPHAS = (0.0, 0.2, 0.4)
# Over seeds 0, 1, 2. ECE: mixup at .4 has a third of no mixup's.
RESULTS = {
    0.0: {
        "test_accuracy": (0.80, 0.82, 0.84),
        "test_ece": (0.09, 0.10, 0.11),
        "test_ece_100": (0.12, 0.12, 0.12),
        "test_oe": (0.08, 0.09, 0.10),
        "test_nll": (0.6, 0.7, 0.8),
        "validation_ece": (0.01, 0.01, 0.01),
        "gaussian_confidence": (0.9, 0.8, 0.7),
        "gaussian_auroc": (0.5, 0.5, 0.5),
    },
    0.2: {
        "test_accuracy": (0.81, 0.83, 0.85),
        "test_ece": (0.02, 0.02, 0.02),
        "test_ece_100": (0.03, 0.03, 0.03),
        "test_oe": (0.02, 0.03, 0.04),
        "test_nll": (0.5, 0.6, 0.7),
        "validation_ece": (0.06, 0.06, 0.03),
        "gaussian_confidence": (0.8, 0.7, 0.6),
        "gaussian_auroc": (0.6, 0.6, 0.6),
    },
    0.4: {
        "test_accuracy": (0.79, 0.84, 0.84),
        "test_ece": (0.02, 0.04, 0.03),
        "test_ece_100": (0.06, 0.06, 0.06),
        "test_oe": (0.01, 0.02, 0.03),
        "test_nll": (0.3, 0.4, 0.5),
        "validation_ece": (0.04, 0.05, 0.05),
        "gaussian_confidence": (0.5, 0.5, 0.5),
        "gaussian_auroc": (0.9, 0.8, 0.7),
    },
}


def write_run(workdir, alpha, seed, results, *, seconds=1800.0, **fields):
    fields = {"method": "mixup" if alpha else "erm", **fields}
    config = config_lib.Config(alpha=alpha, seed=seed, **fields).to_json()
    name = "-".join(map(str, [*fields.values(), alpha, seed]))
    folder = workdir / name.replace("/", "_")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    record = {
        "config": config,
        # A record without any result is refused.
        "results": results or {"test_accuracy": 0.5},
        "duration_seconds": seconds,
    }
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def write_sweep(workdir, seeds=(0, 1, 2), **fields):
    for alpha, columns in RESULTS.items():
        for seed in seeds:
            results = {name: values[seed] for name, values in columns.items()}
            write_run(workdir, alpha, seed, results, **fields)
    return workdir


def read_table(workdir, **options):
    (table,) = run_tables.arrange(
        run_tables.read_runs(workdir).complete, **options
    )
    return table


def report_of(workdir, **options):
    runs = run_tables.read_runs(workdir)
    return tabulate.report(runs, run_tables.arrange(runs.complete), **options)


def row_of(markdown, start):
    (line,) = (x for x in markdown.splitlines() if x.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class TestSpread:
    def test_by_hand(self):
        # Deviations -2, 0, 2: (4 + 0 + 4) / 2 = 4, whose root is 2.
        assert seed_statistics.spread(np.array([1.0, 3.0, 5.0])) == (
            3.0,
            2.0,
            3,
        )

    def test_of_one_seed_is_unknown(self):
        found = seed_statistics.spread(np.array([1.0]))
        assert found.mean == 1
        assert math.isnan(found.deviation)


class TestScale:
    @pytest.mark.parametrize(
        ("name", "scale", "title"),
        [
            ("bayes_kl", 1, "bayes kl"),
            ("temperature", 1, "temperature"),
            ("between_0.50_slope", 1, "between 0.50 slope"),
            ("test_brier", 1, "Brier"),
            ("bayes_gap", 100, "bayes gap (%)"),
        ],
    )
    def test_only_shares_are_in_percent(self, name, scale, title):
        assert seed_statistics.scale_of(name) == scale
        assert tabulate.title_of(name) == title


class TestPairedDifference:
    def test_by_hand(self):
        # Differences 1, 2, 3: mean 2, deviation 1, t(2) at .975 = 4.30265.
        values, baseline = np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0])
        found = seed_statistics.paired_difference(values, baseline)
        half = 4.302653 / math.sqrt(3)
        np.testing.assert_allclose(found, (2, 2 - half, 2 + half, 3), rtol=1e-6)

    def test_equal_differences_are_certain(self):
        found = seed_statistics.paired_difference(
            np.array([3, 4]), np.array([1, 2])
        )
        assert found == (2, 2, 2, 2)

    def test_one_seed_has_no_interval(self):
        found = seed_statistics.paired_difference(
            np.array([3.0]), np.array([1.0])
        )
        assert found.mean == 2
        assert math.isnan(found.low)

    def test_interval_covers_at_its_level(self):
        rng = np.random.default_rng(0)
        held = 0
        for _ in range(500):
            found = seed_statistics.paired_difference(
                rng.normal(1, 2, 5), rng.normal(0, 1, 5)
            )
            held += found.low <= 1 <= found.high
        # 95 % of 500, within four standard deviations of a binomial.
        assert abs(held - 475) < 4 * math.sqrt(500 * 0.95 * 0.05)


class TestFallingTrend:
    def test_by_hand(self):
        # Ranks of the reversed levels are 1, 2, 3 in both rows:
        # L = 2 (1 + 4 + 9) = 28, one of (3!)^2 = 36 equally likely.
        found = seed_statistics.falling_trend(
            np.array([[3, 2, 1], [9.0, 8, 0]])
        )
        assert found.statistic == 28
        np.testing.assert_allclose(found.p_value, 1 / 36)

    def test_rising_values_are_no_falling_trend(self):
        found = seed_statistics.falling_trend(
            np.array([[1, 2, 3], [0.0, 8, 9]])
        )
        np.testing.assert_allclose(found.p_value, 1)

    @pytest.mark.parametrize("shape", [(1, 3), (2, 2)])
    def test_needs_seeds_and_levels(self, shape):
        assert seed_statistics.falling_trend(np.zeros(shape)) is None


class TestReadRuns:
    def test_reads_folders_of_any_depth(self, tmp_path):
        write_sweep(tmp_path / "a" / "b")
        runs = run_tables.read_runs(tmp_path)
        assert len(runs.complete) == 9
        assert runs.complete[0].name == "a/b/erm-0.0-0"
        assert runs.complete[0].seconds == 1800

    def test_leaves_out_runs_without_a_record(self, tmp_path):
        folder = write_run(tmp_path, 0.2, 0, {})
        (folder / "record.json").unlink()
        runs = run_tables.read_runs(tmp_path)
        assert runs == run_tables.Runs((), ("mixup-0.2-0",), ())

    @pytest.mark.parametrize(
        "text", ['{"config": {"al', "[]", "{}", '{"config": 3}', ""]
    )
    def test_a_damaged_record_gets_a_sentence(self, tmp_path, text):
        folder = write_run(tmp_path, 0.2, 0, {})
        (folder / "record.json").write_text(text)
        runs = run_tables.read_runs(tmp_path)
        assert runs.complete == runs.incomplete == ()
        assert runs.damaged == (
            "A record must be whole. Received: mixup-0.2-0/record.json, which"
            " is damaged. Delete this file and run the sweep again.",
        )

    def test_fields_that_did_not_exist_have_their_default(self, tmp_path):
        folder = write_run(tmp_path, 0.2, 0, {})
        path = folder / "record.json"
        record = json.loads(path.read_text())
        del record["config"]["corruption"]
        path.write_text(json.dumps(record))
        (run,) = run_tables.read_runs(tmp_path).complete
        assert run.config["corruption"] == 0

    def test_alpha_of_a_run_that_mixes_nothing_is_zero(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {}, method="erm")
        (run,) = run_tables.read_runs(tmp_path).complete
        assert run.config["alpha"] == 0

    def test_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(
            FileNotFoundError,
            match=r"A sweep's folder must exist\. Received: --workdir=.*gone\."
            r" Run `python -m experiments\.sweep` first\.",
        ):
            run_tables.read_runs(tmp_path / "gone")


class TestArrange:
    def test_rows_are_alphas_without_mixup_first(self, tmp_path):
        table = read_table(write_sweep(tmp_path))
        assert table.fields == ("alpha",)
        assert list(table.rows) == [(0.0,), (0.2,), (0.4,)]
        assert table.baseline == (0.0,)
        assert table.title == {"dataset": "digits"}

    def test_a_table_for_each_data_set(self, tmp_path):
        write_sweep(tmp_path, dataset="mnist", epochs=2)
        write_sweep(tmp_path, dataset="cifar10", epochs=9)
        tables = run_tables.arrange(run_tables.read_runs(tmp_path).complete)
        titles = [table.title["dataset"] for table in tables]
        assert titles == ["cifar10", "mnist"]
        # Epochs differ between the tables only.
        assert {table.fields for table in tables} == {("alpha",)}

    def test_rows_of_another_sweep(self, tmp_path):
        for target in ("mixed", "nearest"):
            for ood in ((), ("mnist", "svhn_cropped")):
                write_run(tmp_path, 0.2, 0, {}, target=target, ood=ood)
        table = read_table(tmp_path)
        assert table.fields == ("target", "ood")
        assert ("nearest", ("mnist", "svhn_cropped")) in table.rows
        assert table.baseline is None

    def test_alpha_says_less_than_the_method_that_determines_it(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {}, partner="same_class")
        write_run(tmp_path, 0.4, 0, {}, partner="random")
        assert read_table(tmp_path).fields == ("alpha",)

    def test_baseline_may_be_named(self, tmp_path):
        table = read_table(
            write_sweep(tmp_path),
            is_baseline=tabulate.parse_baseline(["alpha=0.2"]),
        )
        assert list(table.rows) == [(0.2,), (0.0,), (0.4,)]

    def test_missing_places_are_known(self, tmp_path):
        write_sweep(tmp_path)
        (tmp_path / "mixup-0.2-1" / "record.json").unlink()
        table = read_table(tmp_path)
        assert table.missing == [((0.2,), 1)]
        assert table.common_seeds == [0, 2]

    def test_runs_that_differ_otherwise_are_refused(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {}, epochs=1)
        write_run(tmp_path, 0.2, 0, {}, epochs=2)
        with pytest.raises(
            ValueError,
            match=r"Runs of a row must differ in their seeds\. Received:"
            r" .*1-0\.2-0 and .*2-0\.2-0\. Name with --group_by what differs,"
            r" or delete one of them\.",
        ):
            read_table(tmp_path, group_by=["alpha"])

    def test_unknown_field_is_refused(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {})
        with pytest.raises(
            ValueError,
            match=r"`group_by` must be one of 'dataset'.*\. Received:"
            r" group_by='alhpa'\. Choose one of these names\.",
        ):
            read_table(tmp_path, group_by=["alhpa"])


class TestChoose:
    def test_takes_the_lowest_mean_of_the_validation_set(self, tmp_path):
        # Means .05 and .04667; no mixup's .01 is no candidate.
        found = selection.choose(
            read_table(write_sweep(tmp_path)), "validation_ece"
        )
        assert found.row == (0.4,)
        assert found.by_seed == [(0.4,), (0.4,), (0.2,)]

    def test_compares_rows_over_the_seeds_that_all_have(self, tmp_path):
        # Without seeds 0 and 1 of .4 only seed 2 is left: .03 against .05.
        write_sweep(tmp_path)
        for seed in (0, 1):
            (tmp_path / f"mixup-0.4-{seed}" / "record.json").unlink()
        found = selection.choose(read_table(tmp_path), "validation_ece")
        assert found.row == (0.2,)

    def test_finds_nothing_without_the_result(self, tmp_path):
        table = read_table(write_sweep(tmp_path))
        assert selection.choose(table, "validation_gone") is None


class TestReport:
    def test_main_table_by_hand(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        head = "| alpha | seeds | accuracy (%) | validation ECE (%) |"
        assert head in markdown
        # Accuracy 80, 82, 84: 82 +- 2; validation ECE 1, 1, 1; ECE 9, 10, 11.
        first = [x for x in markdown.splitlines() if x.startswith("| no mixup")]
        assert first[0] == (
            "| no mixup | 3 | 82.00 ± 2.00 | 1.00 ± 0.00 | 10.00 ± 1.00 |"
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
            "**Choice: alpha 0.4**, the lowest mean validation ECE (%) over"
            " the seeds that all rows have (0, 1, 2)." in markdown
        )
        assert "would have been alpha 0.4, alpha 0.4, alpha 0.2." in markdown

    def test_tests_the_trend_also_without_the_first_step(self, tmp_path):
        markdown = report_of(write_sweep(tmp_path))
        # L = 3 (1 + 4 + 9); two levels are too few for a test.
        assert (
            "from no mixup on, L = 42, p = 0.0046; from alpha 0.2 on, needs 2"
            " seeds and 3 rows." in markdown
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
        assert row_of(markdown, "ECE, 15 bins (%)")[4] == "none: one seed"
        assert "nan" not in markdown
        assert "82.00 |" in markdown

    def test_says_why_there_is_no_comparison(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {"test_oe": 0.1})
        assert "No comparison: it takes one row without mixup" in report_of(
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
            "OE (%)",
            "gaussian auroc (%)",
        ]

    def test_unknown_columns_are_refused(self, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"--columns must name results\. Received: --columns=x,y\."
            r" Results are gaussian_auroc, .*validation_ece\.",
        ):
            report_of(write_sweep(tmp_path), columns=["x", "y"])

    def test_a_result_that_a_run_lacks_is_a_dash(self, tmp_path):
        write_run(tmp_path, 0.0, 0, {"test_oe": 0.1})
        write_run(tmp_path, 0.2, 0, {"test_nll": 0.1})
        assert row_of(report_of(tmp_path), "no mixup")[2:] == ["10.00", "-"]


class TestParseBaseline:
    @pytest.mark.parametrize("conditions", [["method"], ["method="]])
    def test_refuses_what_is_no_condition(self, conditions):
        with pytest.raises(
            ValueError,
            match=r"--baseline takes field=value\. Received: --baseline=method"
            r".*\. Write, for instance, --baseline=method=erm\.",
        ):
            tabulate.parse_baseline(conditions)

    def test_needs_all_conditions(self):
        baseline = tabulate.parse_baseline(["method=mixup", "alpha=1"])
        assert baseline({"method": "mixup", "alpha": 1.0})
        assert not baseline({"method": "mixup", "alpha": 0.1})


class TestFigure:
    def test_shows_means_and_deviations(self, tmp_path):
        figure = alpha_figure.draw(read_table(write_sweep(tmp_path)))
        axes = {each.get_title(): each for each in figure.axes}
        (bars,) = axes["overconfidence error"].containers
        line = bars.lines[0]
        np.testing.assert_allclose(line.get_ydata(orig=False), [9, 3, 2])
        # Deviations are .01 in all rows: bars from mean - 1 to mean + 1.
        segments = np.stack(bars.lines[2][0].get_segments())
        np.testing.assert_allclose(segments[:, :, 1], [[8, 10], [2, 4], [1, 3]])
        ticks = [x.get_text() for x in figure.axes[-1].get_xticklabels()]
        assert ticks == ["0\nno mixup", "0.2", "0.4"]

    def test_draws_one_seed(self, tmp_path):
        table = read_table(write_sweep(tmp_path, seeds=(0,)))
        figure = alpha_figure.draw(table)
        assert figure.get_suptitle().endswith("over seeds (n = 1)")

    def test_refuses_rows_of_other_fields(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {}, target="mixed")
        write_run(tmp_path, 0.2, 0, {}, target="nearest")
        with pytest.raises(
            ValueError,
            match=r"--figures draws against alpha alone\. Received: rows by"
            r" target\. Make tables of the other fields with --tables_by\.",
        ):
            alpha_figure.draw(read_table(tmp_path))


class TestBinary:
    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "experiments.tabulate", *arguments],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_prints_writes_and_draws(self, tmp_path):
        workdir = write_sweep(tmp_path / "runs")
        output = tmp_path / "table.md"
        done = self.run(
            f"--workdir={workdir}", f"--output={output}", "--figures"
        )
        assert done.returncode == 0, done.stderr
        assert "## digits" in done.stdout
        assert output.read_text() == done.stdout
        assert (workdir / "alpha-digits.png").stat().st_size > 1000
        # A table names no place of one machine.
        assert str(tmp_path) not in done.stdout

    @pytest.mark.slow
    def test_a_missing_folder_is_one_sentence(self, tmp_path):
        done = self.run(f"--workdir={tmp_path / 'gone'}")
        assert done.returncode == 1
        assert "A sweep's folder must exist." in done.stderr
        assert "Traceback" not in done.stderr
