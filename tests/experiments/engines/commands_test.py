"""Tests of printed commands: each is that of its run."""

import dataclasses
import pathlib
import shlex
import subprocess
import sys

import pytest

from experiments import engines
from experiments import sweep
from experiments import train
from experiments.engines import commands
from experiments.papers import TABLES
from experiments.papers.tables import SCALES
from experiments.runs import config as config_lib
from experiments.runs import run_data
from experiments.runs import run_files
from tests import binaries

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCES = run_data.Sources()
# Fields whose values flags could spell otherwise than they are.
HARD = [
    config_lib.Config(
        dataset="folder:it's here/ü",
        ood=("a, b.npz", 'folder:c "d"', "mnist"),
        learning_rate=1e-5 / 3,
        weight_decay=0.1 + 0.2,
        zero_gamma=True,
        nesterov=False,
        seed=2**32 - 1,
    ),
    # What the data set's defaults are not.
    config_lib.Config(dataset="cifar10", milestones=(), method="erm"),
    config_lib.Config(dataset="trec", network="text_cnn", optimizer="adam"),
    config_lib.Config(per="class", tuning="camixup", alpha=0.3, dropout=0.0),
]


@pytest.fixture
def lines(capsys):
    """Prints commands and returns their lines."""

    def call(configs, sources=SOURCES):
        assert [*commands.run_each(configs, sources)] == []
        return capsys.readouterr().out.splitlines()

    return call


@pytest.fixture
def execute(monkeypatch):
    """Returns the config, workdir and sources that a command trains with."""

    def call(line):
        given = []
        monkeypatch.setattr(
            train.training, "run", lambda *each: given.extend(each)
        )
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "experiments.train"]
        binaries.run(train, *words[3:])
        config, workdir, sources = given
        return config, workdir, dataclasses.replace(sources, preemption=None)

    return call


@pytest.mark.parametrize("config", HARD)
def test_command_is_of_the_run(config, lines, execute, tmp_path):
    sources = run_data.Sources(
        data_dir="data of all",
        download=True,
        verbose=2,
        checkpoint_every_steps=9,
        owner_timeout=engines.OWNER_TIMEOUT,
    )
    folder = tmp_path / "a folder's" / config.run_name
    (line,) = lines({folder: config}, sources)
    assert execute(line) == (config, folder, sources)


@pytest.mark.parametrize("scale", SCALES)
def test_runs_of_each_table_have_commands(scale, lines, execute, tmp_path):
    for table in TABLES.values():
        for config in table.configs(scale, 1)[::7]:
            (line,) = lines({tmp_path: config})
            assert execute(line)[0] == config


def test_each_run_has_a_line(lines, execute):
    configs = {
        pathlib.Path(f"runs/{seed}"): config_lib.Config(seed=seed)
        for seed in (3, 1, 2)
    }
    found = [execute(line) for line in lines(configs)]
    assert [config.seed for config, *_ in found] == [3, 1, 2]
    # Whatever folder the sweep was given, the command has its whole path.
    assert [workdir for _, workdir, _ in found] == [
        pathlib.Path.cwd() / folder for folder in configs
    ]
    # The job of a machine that was lost is started again elsewhere.
    assert {sources.owner_timeout for *_, sources in found} == {120}


@pytest.mark.slow
def test_executed_it_completes_the_run(lines, tmp_path, capsys):
    config = config_lib.Config(width=4, epochs=1, num_train=256)
    (line,) = lines({tmp_path / config.run_name: config})
    program = shlex.quote(sys.executable)
    done = subprocess.run(
        line.replace("python", program, 1),
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert run_files.is_complete(tmp_path / config.run_name, config)
    # Nothing is left to print.
    assert sweep.sweep([config], tmp_path, SOURCES, commands.run_each) == 0
    assert capsys.readouterr().out == ""
