"""Tests of the sweep: names, skipping, failures, the dry run, engines."""

import dataclasses
import inspect
import json
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
from absl import flags
from absl import logging

from experiments import sweep
from experiments.analysis import records
from experiments.engines import commands
from experiments.engines import local
from experiments.engines import ray_tasks
from experiments.papers import calibration
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import run_data
from tests import binaries
from tests.experiments.distributed import processes_test

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = run_data.Sources()


def configs(count=3, **fields):
    return [
        config_lib.Config(seed=seed, epochs=1, **fields)
        for seed in range(count)
    ]


def write_record(workdir, config, seconds=60.0):
    folder = workdir / config.run_name
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "config": config.to_json(),
        "results": {"test_accuracy": 0.5},
        "duration_seconds": seconds,
    }
    (folder / "record.json").write_text(json.dumps(record))


class Runner(list):
    """An engine that only notes its configs; seed 1 of MNIST fails."""

    def __call__(self, configs, sources):
        for folder, config in configs.items():
            self.append(config)
            if config.seed == 1 and config.dataset == "mnist":
                yield folder, ValueError("mnist is not there.")
                continue
            write_record(folder.parent, config)
            yield folder, None


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
def messages(monkeypatch):
    """Collects what is logged."""
    found = []
    monkeypatch.setattr(
        logging, "info", lambda text, *args: found.append(text % args)
    )
    return found


class TestRunName:
    def test_is_the_same_for_equal_configs(self):
        one, two = (config_lib.Config(alpha=0.4, seed=3) for _ in range(2))
        assert one.run_name == two.run_name

    def test_survives_the_record(self):
        config = config_lib.Config(milestones=(3, 5), ood=("mnist",))
        text = json.dumps(config.to_json())
        read = config_lib.Config.from_json(json.loads(text))
        assert read.run_name == config.run_name

    def test_is_readable(self):
        name = config_lib.Config(alpha=0.4, seed=3).run_name
        stem, _, digest = name.rpartition("-")
        assert stem == "digits-resnet_narrow-mixup-alpha0.4-seed3"
        assert len(digest) == 8

    def test_says_alpha_0_where_nothing_is_mixed(self):
        name = config_lib.Config(method="erm", alpha=0.4).run_name
        assert "-erm-alpha0-seed0-" in name

    @pytest.mark.parametrize(
        "field", [field.name for field in dataclasses.fields(config_lib.Config)]
    )
    def test_differs_for_every_field(self, field):
        default = config_lib.Config()
        changed = dataclasses.replace(default)
        # Past the checks: whatever the values, names differ.
        value = 0.7 if field == "alpha" else "other"
        object.__setattr__(changed, field, value)
        assert changed.run_name != default.run_name

    def test_is_one_folder(self):
        config = config_lib.Config(dataset="folder:some/place")
        assert "/" not in config.run_name
        # Some file systems and commands give colons a meaning.
        config = config_lib.Config(dataset="gaussians:0.25")
        assert config.run_name.startswith("gaussians_0.25-")


class TestFindConfigs:
    def test_are_those_of_the_table(self):
        found = sweep.find_configs("alpha_sweep", "small", 2)
        assert found == calibration.alpha_sweep("small", 2)

    def test_sentences_start_from_the_embeddings_asked_for(self):
        found = sweep.find_configs("text", "paper", 1, "glove.txt")
        assert {config.embeddings for config in found} == {"glove.txt"}
        with pytest.raises(ValueError, match="for the network of sentences"):
            sweep.find_configs("uci", "small", 1, "glove.txt")

    def test_refuses_a_table_without_runs(self):
        with pytest.raises(
            ValueError,
            match=r"needs runs\. Received: --table=imagenet --scale=small,",
        ):
            sweep.find_configs("imagenet", "small")


class TestSweep:
    def test_runs_all_in_their_order(self, runner, tmp_path):
        assert sweep.sweep(configs(), tmp_path, SOURCES, runner) == 0
        assert runner == configs()

    def test_skips_what_is_complete(self, runner, tmp_path, messages):
        write_record(tmp_path, configs()[1])
        assert sweep.sweep(configs(), tmp_path, SOURCES, runner) == 0
        assert [config.seed for config in runner] == [0, 2]
        assert messages[0] == "3 runs, 2 to do."

    def test_runs_again_what_has_no_record(self, runner, tmp_path):
        folder = tmp_path / configs()[1].run_name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        sweep.sweep(configs(), tmp_path, SOURCES, runner)
        assert len(runner) == 3

    @pytest.mark.parametrize("text", ["{}", "", "another's"])
    def test_a_record_that_is_not_the_runs_is_not_complete(
        self, text, runner, tmp_path
    ):
        first, second, _ = configs()
        write_record(tmp_path, first)
        path = tmp_path / first.run_name / "record.json"
        if text == "another's":
            text = path.read_text().replace('"seed": 0', '"seed": 1')
        path.write_text(text)
        write_record(tmp_path, second)
        sweep.sweep(configs(), tmp_path, SOURCES, runner)
        assert [config.seed for config in runner] == [0, 2]
        _, total = cells(sweep.describe(configs(), tmp_path, SOURCES))
        assert total.startswith("3 runs, 0 to do")

    def test_goes_on_after_a_failure_and_counts_it(
        self, runner, tmp_path, messages
    ):
        wanted = configs(dataset="mnist")
        assert sweep.sweep(wanted, tmp_path, SOURCES, runner) == 1
        assert [config.seed for config in runner] == [0, 1, 2]
        assert f"{wanted[1].run_name}: mnist is not there." in messages
        assert f"{wanted[2].run_name}: done" in messages

    def test_the_second_time_only_the_failure_is_left(self, runner, tmp_path):
        wanted = configs(dataset="mnist")
        sweep.sweep(wanted, tmp_path, SOURCES, runner)
        runner.clear()
        assert sweep.sweep(wanted, tmp_path, SOURCES, runner) == 1
        assert [config.seed for config in runner] == [1]


def cells(table):
    """Returns the cells of each run's row, and the line below the table."""
    *lines, total = table.splitlines()
    assert lines.pop() == ""
    rows = [line.strip("| ").split(" | ") for line in lines]
    assert rows[0] == ["run", "training", "parameters", "hours"]
    return rows[2:], total


class TestDescribe:
    def test_says_training_parameters_and_sum(self, tmp_path):
        wanted = [*configs(1, width=4), *configs(1, width=4, alpha=0.0)]
        (first, second), total = cells(
            sweep.describe(wanted, tmp_path, SOURCES)
        )
        network = model_setup.build_network(
            wanted[0], run_data.load_splits(wanted[0], SOURCES)
        )
        count = f"{model_setup.count_parameters(network):,}"
        name = wanted[0].run_name
        assert first == [name, "mixup, alpha 0.2", count, "unknown"]
        assert second[1] == "no mixup"
        assert total == "2 runs, 2 to do: hours unknown before the first run"

    def test_needs_no_vectors_of_words(self, tmp_path):
        wanted = sweep.find_configs("text", "paper", 1, "absent.txt")[:1]
        ((_, _, count, _),), _ = cells(
            sweep.describe(wanted, tmp_path, SOURCES)
        )
        assert int(count.replace(",", "")) > 1e6

    def test_estimates_by_what_is_done(self, tmp_path):
        wanted = configs(3, width=4)
        write_record(tmp_path, wanted[0], seconds=1800.0)
        rows, total = cells(sweep.describe(wanted, tmp_path, SOURCES))
        assert [row[3] for row in rows] == ["done", "0.500", "0.500"]
        assert total == "3 runs, 2 to do: 1.00 hours"

    def test_hours_are_those_of_the_ledger_before_the_first_run(self, tmp_path):
        wanted = configs()
        known = [
            records.Record(wanted[0], "", {}, hours=0.5),
            records.Record(wanted[0], "temperature", {}),
        ]
        rows, total = cells(sweep.describe(wanted, tmp_path, SOURCES, known))
        assert {row[-1] for row in rows[1:]} == {"0.500"}
        assert total == "3 runs, 3 to do: 1.50 hours"
        assert sweep.describe([], tmp_path, SOURCES, known).endswith(
            "0 runs, 0 to do: 0.00 hours\n"
        )

    def test_runs_of_other_tables_tell_no_hours(self, tmp_path):
        write_record(tmp_path, *configs(1, width=8), seconds=1800.0)
        wanted = configs(2, width=4)
        described = sweep.describe(wanted, tmp_path, SOURCES)
        assert described.endswith("hours unknown before the first run\n")
        write_record(tmp_path, wanted[0], seconds=3600.0)
        described = sweep.describe(wanted, tmp_path, SOURCES)
        assert described.endswith("2 runs, 1 to do: 1.00 hours\n")

    def test_trains_nothing(self, runner, tmp_path):
        sweep.describe(configs(1, width=4), tmp_path, SOURCES)
        assert runner == []
        assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_counts_the_papers_networks_for_imagenet(tmp_path):
    wanted = sweep.find_configs("imagenet", "paper", 1)
    rows, total = cells(sweep.describe(wanted, tmp_path, SOURCES))
    counts = {
        "resnet50": "25,557,032",
        "resnet101": "44,549,160",
        "resnext101": "44,177,704",
        "resnext101_64x4d": "83,455,272",
    }
    for config, row in zip(wanted, rows, strict=True):
        assert row[2] == counts[config.network]
    assert total.startswith("14 runs, 14 to do")


class TestChooseEngine:
    def choose(self, *arguments):
        found = []
        binaries.run(
            types.SimpleNamespace(
                define_flags=sweep.define_flags,
                main=lambda: found.append(sweep.choose_engine(flags.FLAGS)),
            ),
            *("--table=uci", *arguments),
        )
        return found[0]

    def test_is_this_machine_by_default(self):
        engine = self.choose("--jobs=2")
        assert engine.func is local.run_each
        assert engine.keywords == {"jobs": 2}

    def test_prints(self):
        assert self.choose("--engine=print") is commands.run_each

    def test_gives_ray_its_options(self):
        engine = self.choose(
            *("--engine=ray", "--ray_address=auto", "--cpus_per_run=4"),
            *("--gpus_per_run=1", "--retries=0"),
        )
        assert engine.func is ray_tasks.run_each
        options = {"address": "auto", "cpus": 4, "gpus": 1, "retries": 0}
        assert engine.keywords == options
        # Its defaults are the flags'.
        given = inspect.signature(ray_tasks.run_each).parameters
        defaults = self.choose("--engine=ray").keywords
        assert defaults == {name: given[name].default for name in options}


SWEEP = """
import importlib, pathlib, sys
from experiments import sweep
from experiments.distributed import preemption
from experiments.runs import config, run_data
longer = config.Config(width=4, epochs=1000, num_train=256, batch_size=64)
def main():
    engine, workdir = sys.argv[1:]
    engine = importlib.import_module(f"experiments.engines.{engine}").run_each
    with preemption.Preemption():
        sweep.sweep([longer], pathlib.Path(workdir), run_data.Sources(), engine)
if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "number"),
    [
        ("local", signal.SIGTERM),
        ("local", signal.SIGKILL),
        ("ray_tasks", signal.SIGTERM),
    ],
)
def test_runs_save_themselves_and_end_with_the_sweep(engine, number, tmp_path):
    if engine == "ray_tasks":
        pytest.importorskip("ray", reason="needs the extra `cluster`")
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEP, engine, str(tmp_path)], cwd=ROOT
    )
    while not (found := [*tmp_path.glob("*/checkpoints/epoch-00001.npz")]):
        assert process.poll() is None
        time.sleep(0.05)
    folder = found[0].parents[1]
    child = json.loads((folder / ".owner").read_text())["pid"]
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert code == (143 if number == signal.SIGTERM else -number)
    deadline = time.monotonic() + 60
    while processes_test.is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_test.is_alive(child)
    assert not list(folder.rglob(".partial-*"))
    # Within an epoch, unless the signal came at its very end.
    assert checkpoint.find(folder / "checkpoints")
