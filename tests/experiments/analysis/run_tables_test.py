"""Tables of runs: rows and choices."""

import pytest

from experiments import tabulate
from experiments.analysis import records
from experiments.analysis import run_tables
from tests.experiments.analysis.sweeps import read_table
from tests.experiments.analysis.sweeps import write_run
from tests.experiments.analysis.sweeps import write_sweep


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
        tables = run_tables.arrange(records.read_runs(tmp_path).complete)
        titles = [table.title["dataset"] for table in tables]
        assert titles == ["cifar10", "mnist"]
        # Epochs differ between the tables only.
        assert {table.fields for table in tables} == {("alpha",)}

    def test_rows_of_another_sweep(self, tmp_path):
        for mix in ("both", "inputs"):
            for ood in ((), ("mnist", "svhn_cropped")):
                write_run(tmp_path, 0.2, 0, {}, mix=mix, ood=ood)
        table = read_table(tmp_path)
        assert table.fields == ("mix", "ood")
        assert ("inputs", ("mnist", "svhn_cropped")) in table.rows
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
            r" .*1-0\.2-0 and .*2-0\.2-0\. Name what differs with --group_by,"
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
        found = read_table(write_sweep(tmp_path)).choose("validation_ece")
        assert found.best == (0.4,)
        assert found.by_seed == [(0.4,), (0.4,), (0.2,)]

    def test_compares_rows_over_the_seeds_that_all_have(self, tmp_path):
        # Without seeds 0 and 1 of .4 only seed 2 is left: .03 against .05.
        write_sweep(tmp_path)
        for seed in (0, 1):
            (tmp_path / f"mixup-0.4-{seed}" / "record.json").unlink()
        found = read_table(tmp_path).choose("validation_ece")
        assert found.best == (0.2,)

    def test_finds_nothing_without_the_result(self, tmp_path):
        table = read_table(write_sweep(tmp_path))
        assert table.choose("validation_gone") is None
