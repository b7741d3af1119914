"""Tests of runs in processes of this machine."""

import threading

import pytest

from experiments import engines
from experiments.distributed import processes
from experiments.engines import local
from experiments.runs import config as config_lib
from experiments.runs import run_data
from experiments.runs import run_files

SOURCES = run_data.Sources()


def folders(path, count=3, **fields):
    """Returns the folder of each run -> its config."""
    return {
        path / str(seed): config_lib.Config(seed=seed, epochs=1, **fields)
        for seed in range(count)
    }


@pytest.fixture
def runner(monkeypatch):
    """Replaces processes by calls, and training by a note of the seed."""
    ran = []

    def run(config, workdir, sources, threads):
        if config.seed == 1:
            raise ValueError("1 is refused.")
        ran.append(config.seed)

    monkeypatch.setattr(engines, "run_one", run)
    monkeypatch.setattr(
        processes.Process, "call", lambda _, function, *args: function(*args)
    )
    return ran


class TestRunEach:
    def test_yields_what_each_run_raised(self, runner, tmp_path):
        found = dict(local.run_each(folders(tmp_path), SOURCES, jobs=2))
        assert {path.name: str(error) for path, error in found.items()} == {
            "0": "None",
            "1": "1 is refused.",
            "2": "None",
        }
        assert sorted(runner) == [0, 2]

    def test_starts_them_in_their_order(self, runner, tmp_path):
        configs = dict(reversed(folders(tmp_path).items()))
        assert len([*local.run_each(configs, SOURCES)]) == 3
        assert runner == [2, 0]

    def test_runs_some_at_a_time(self, runner, tmp_path, monkeypatch):
        # Each waits for the other: one at a time would never end.
        meeting = threading.Barrier(2, timeout=10)
        monkeypatch.setattr(engines, "run_one", lambda *_: meeting.wait())
        found = local.run_each(folders(tmp_path, 2), SOURCES, jobs=2)
        assert [error for _, error in found] == [None, None]

    @pytest.mark.parametrize(
        ("cores", "jobs", "threads"), [(8, 2, 4), (2, 4, 1), (None, 1, 1)]
    )
    def test_runs_share_the_cores(
        self, cores, jobs, threads, runner, tmp_path, monkeypatch
    ):
        found = []
        monkeypatch.setattr(
            engines, "run_one", lambda *given: found.append(given[-1])
        )
        monkeypatch.setattr(local.os, "cpu_count", lambda: cores)
        assert len([*local.run_each(folders(tmp_path), SOURCES, jobs=jobs)])
        assert found == [threads] * 3

    def test_starts_nothing_after_an_interrupt(
        self, runner, tmp_path, monkeypatch
    ):
        started = threading.Event()

        def interrupt(futures):
            assert started.wait(10)
            raise KeyboardInterrupt

        ended = threading.Event()

        def run(*given):
            started.set()
            ended.wait(10)
            runner.append(given)

        monkeypatch.setattr(engines, "run_one", run)
        monkeypatch.setattr(local.concurrent.futures, "as_completed", interrupt)
        threading.Timer(0.5, ended.set).start()
        with pytest.raises(KeyboardInterrupt):
            next(local.run_each(folders(tmp_path), SOURCES))
        assert len(runner) == 1

    def test_starts_nothing_after_an_interrupt_while_it_submits(
        self, runner, tmp_path, monkeypatch
    ):
        class Interrupted(dict):
            """Gives one run, and is then interrupted."""

            def items(self):
                yield next(iter(super().items()))
                raise KeyboardInterrupt

        ended = []
        monkeypatch.setattr(
            local.Process, "terminate", lambda process: ended.append(process)
        )
        with pytest.raises(KeyboardInterrupt):
            next(local.run_each(Interrupted(folders(tmp_path)), SOURCES))
        assert len(ended) == 1
        assert len(runner) <= 1

    def test_starts_nothing_after_it_is_closed(
        self, runner, tmp_path, monkeypatch
    ):
        ended = []
        monkeypatch.setattr(
            local.Process, "terminate", lambda process: ended.append(process)
        )
        pairs = local.run_each(folders(tmp_path), SOURCES, jobs=1)
        monkeypatch.setattr(
            local.concurrent.futures, "as_completed", lambda futures: futures
        )
        next(pairs)
        pairs.close()
        assert len(ended) == 1


@pytest.mark.slow
def test_a_run_does_not_depend_on_those_before_it(tmp_path):
    fields = {"num_train": 128, "width": 4, "dropout": 0.1}
    both = folders(tmp_path / "both", 2, **fields)
    *_, config = both.values()
    for configs in (both, {tmp_path / "alone": config}):
        found = local.run_each(configs, SOURCES)
        assert {error for _, error in found} == {None}
    after, alone = (
        run_files.read_record(folder, config)
        for folder in ([*both][-1], tmp_path / "alone")
    )
    assert 0 < after["results"]["test_accuracy"] <= 1
    assert after["results"] == alone["results"]
    assert after["history"] == alone["history"]
