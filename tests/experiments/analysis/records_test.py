"""Records: in folders of runs, and in the ledger."""

import dataclasses
import json

import pytest

from experiments.analysis import records
from experiments.runs import config as config_lib
from tests.experiments.analysis.sweeps import write_run
from tests.experiments.analysis.sweeps import write_sweep

ERM = config_lib.Config(method="erm", alpha=0.0)
MIXED = config_lib.Config(method="mixup", alpha=0.4)


def line(config=ERM, *, seed=0, after="", hours=0.0, **results):
    config = dataclasses.replace(config, seed=seed)
    return records.Record(config, after, results, hours)


class TestFile:
    def test_round_trip(self, tmp_path):
        lines = [
            line(test_ece=0.1234567, hours=0.5),
            line(MIXED, seed=3, after="temperature", temperature=1.5),
        ]
        records.write(lines, tmp_path / "table.jsonl")
        first, second = records.read(tmp_path / "table.jsonl")
        assert first.results == {"test_ece": 0.123457}
        assert (first.config, first.hours) == (lines[0].config, 0.5)
        assert second == lines[1]

    def test_keeps_only_fields_that_differ_from_defaults(self, tmp_path):
        records.write([line(MIXED, seed=3)], tmp_path / "table.jsonl")
        text = (tmp_path / "table.jsonl").read_text()
        assert '"config": {"alpha": 0.4, "seed": 3}' in text

    def test_a_damaged_line_is_named(self, tmp_path):
        path = tmp_path / "table.jsonl"
        records.write([line()], path)
        path.write_text(path.read_text() + '{"config": {}}\n')
        with pytest.raises(ValueError, match=r"table.jsonl, line 2.*'after'"):
            records.read(path)


class TestLine:
    def test_other_is_the_first_named_set(self):
        config = dataclasses.replace(ERM, ood=("../ood/mnist_test.npz", "b"))
        run = line(config, mnist_test_auroc=0.7, b_auroc=0.2)
        assert run.value("other_auroc") == 0.7
        folder = dataclasses.replace(ERM, ood=("folder:away/images",))
        assert line(folder, images_auroc=0.3).value("other_auroc") == 0.3

    def test_what_is_missing_is_nan(self):
        assert line().value("test_ece") != line().value("test_ece")


class TestReadRuns:
    def test_reads_folders_of_any_depth(self, tmp_path):
        write_sweep(tmp_path / "a" / "b")
        runs = records.read_runs(tmp_path)
        assert len(runs.complete) == 9
        assert runs.complete[0].folder == tmp_path / "a/b/erm-0.0-0"
        assert runs.complete[0].hours == 0.5

    def test_each_scale_has_a_ledger_of_its_own(self):
        assert records.ledger("small") == records.LEDGER
        assert records.ledger("paper") == records.LEDGER / "paper"

    def test_one_run_has_one_result_in_all_tables(self):
        found = {}
        for table, lines in records.read_all(records.LEDGER).items():
            for line in lines:
                key = line.config, line.after
                name, results = found.setdefault(key, (table, line.results))
                assert results == line.results, (name, table, key)

    def test_leaves_out_runs_without_a_record(self, tmp_path):
        folder = write_run(tmp_path, 0.2, 0, {})
        (folder / "record.json").unlink()
        runs = records.read_runs(tmp_path)
        assert runs == records.Runs((), ("mixup-0.2-0",), ())

    @pytest.mark.parametrize(
        "text", ['{"config": {"al', "[]", "{}", '{"config": 3}', ""]
    )
    def test_a_damaged_record_gets_a_sentence(self, tmp_path, text):
        folder = write_run(tmp_path, 0.2, 0, {})
        (folder / "record.json").write_text(text)
        runs = records.read_runs(tmp_path)
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
        (run,) = records.read_runs(tmp_path).complete
        assert run.config.corruption == 0

    def test_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(
            FileNotFoundError,
            match=r"A sweep's folder must exist\. Received: --workdir=.*gone\."
            r" Run `python -m experiments\.sweep` first\.",
        ):
            records.read_runs(tmp_path / "gone")
