"""Tests of runs as tasks of Ray: a worker of two is killed."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import signal
import sys
import threading
import time
import types

import keras
import numpy as np
import pytest

from experiments.engines import local
from experiments.engines import ray_tasks
from experiments.runs import config as config_lib
from experiments.runs import outputs
from experiments.runs import run_data
from experiments.runs import run_files
from tests.experiments.distributed import processes_test

SOURCES = run_data.Sources()
# Of a record: how long it took, and digests of files that hold a date.
TIMES = ("duration_seconds", "files")
CONFIGS = [
    config_lib.Config(
        width=4, dropout=0.1, num_train=256, batch_size=32, epochs=8, seed=seed
    )
    for seed in range(2)
]


def run_all(engine, folder, configs, **options):
    """Returns the error of each run by its seed."""
    given = {folder / str(each.seed): each for each in configs}
    found = engine.run_each(given, SOURCES, **options)
    return {int(path.name): error for path, error in found}


def read_all(folder):
    """Returns what runs left that a restart must not change."""
    return [read(folder / str(each.seed), each) for each in CONFIGS]


def read(folder, config):
    record = run_files.read_record(folder, config)
    path = run_files.check_file(folder / run_files.PREDICTIONS)
    model = run_files.check_file(folder / run_files.MODEL)
    return {
        "record": {
            name: value for name, value in record.items() if name not in TIMES
        },
        "logits": outputs.read(path).logits,
        "weights": keras.models.load_model(model).get_weights(),
    }


def kill(folder, end):
    """Ends a worker that has saved two epochs, once there is one.

    Args:
        folder: Has a folder for each run.
        end: Takes the number of the worker's process.

    Returns:
        found: Gets the number of the process that was ended within its run.
    """
    found = []

    def watch():
        deadline = time.monotonic() + 120
        while not (saved := [*folder.glob("*/checkpoints/epoch-00002.npz")]):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        run = saved[0].parents[1]
        pid = json.loads((run / ".owner").read_text())["pid"]
        end(pid)
        if not (run / run_files.RECORD).exists():
            found.append(pid)

    threading.Thread(target=watch, daemon=True).start()
    return found


@pytest.fixture(scope="module")
def ray():
    return pytest.importorskip("ray", reason="needs the extra `cluster`")


@pytest.fixture(scope="module")
def expected(ray, tmp_path_factory):
    """Returns what runs in processes of this machine leave."""
    folder = tmp_path_factory.mktemp("local")
    # As many threads as a task has CPUs: one.
    errors = run_all(local, folder, CONFIGS, jobs=os.cpu_count())
    assert errors == {0: None, 1: None}
    return read_all(folder)


@pytest.fixture
def cluster(ray):
    """Two machines with a CPU each, and a third that starts no runs."""
    from ray import cluster_utils

    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0}
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def test_refuses_where_ray_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ValueError,
        match=r"needs the extra `cluster`\. Received: no package ray"
        r" \(.*\)\. Write `pip install -e '\.\[cluster\]'`, or"
        r" --engine=local",
    ):
        run_all(ray_tasks, tmp_path, CONFIGS)


class Task:
    """A task that has raised, and notes whether it was canceled."""

    def __init__(self, error):
        self._future = concurrent.futures.Future()
        self._future.set_exception(error)
        self.canceled = False

    def future(self):
        return self._future

    def cancel(self):
        self.canceled = True


class TestCollect:
    RAY = types.SimpleNamespace(cancel=Task.cancel)

    def collect(self, submit, configs=CONFIGS):
        given = {pathlib.Path(str(each.seed)): each for each in configs}
        return ray_tasks._collect(self.RAY, submit, given)

    @pytest.mark.parametrize("cause", [None, ValueError("Refused.")])
    def test_yields_the_cause_if_there_is_one(self, cause):
        error = RuntimeError("Lost.")
        error.cause = cause
        ((folder, found),) = self.collect(lambda *_: Task(error), CONFIGS[:1])
        assert str(folder) == "0"
        assert found is (cause or error)

    def test_ends_what_it_had_submitted(self):
        tasks = []

        def submit(folder, config):
            if tasks:
                raise KeyboardInterrupt
            tasks.append(Task(ValueError()))
            return tasks[0]

        with pytest.raises(KeyboardInterrupt):
            next(self.collect(submit))
        assert [each.canceled for each in tasks] == [True]


def test_keeps_the_handler_if_it_cannot_connect(monkeypatch, tmp_path):
    def init(*_, **__):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ConnectionError("no one listens")

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(init=init))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ValueError, match=r"--ray_address=a:1 \(no one"):
            run_all(ray_tasks, tmp_path, CONFIGS, address="a:1")
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("cpus", "gpus", "fits"),
    [(4, 0, True), (2, 1, True), (3, 1, False), (8, 0, False), (1, 2, False)],
)
def test_a_run_fits_into_one_machine(cpus, gpus, fits):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert ray_tasks._fits(nodes, cpus, gpus) == fits


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
class TestRunEach:
    # The process of a worker alone, or with all others of its machine.
    @pytest.mark.parametrize("lost", ["process", "machine"])
    def test_a_lost_worker_changes_nothing(
        self, lost, cluster, expected, tmp_path
    ):
        def end(pid):
            if lost == "process":
                os.kill(pid, signal.SIGKILL)
                return
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            parent = int(re.search(r"PPid:\s+(\d+)", status)[1])
            (node,) = (
                each
                for each in cluster.worker_nodes
                if each.all_processes["raylet"][0].process.pid == parent
            )
            cluster.remove_node(node, allow_graceful=False)

        ended = kill(tmp_path, end)
        errors = run_all(ray_tasks, tmp_path, CONFIGS, address=cluster.address)
        assert errors == {0: None, 1: None}
        assert len(ended) == 1
        assert not processes_test.is_alive(ended[0])
        np.testing.assert_equal(read_all(tmp_path), expected)

    def test_yields_what_each_run_raised(self, ray, tmp_path):
        too_many = dataclasses.replace(CONFIGS[0], num_train=5000)
        killed = dataclasses.replace(CONFIGS[1], epochs=1000)
        ended = kill(tmp_path, lambda pid: os.kill(pid, signal.SIGKILL))
        before = signal.getsignal(signal.SIGTERM)
        errors = run_all(ray_tasks, tmp_path, [too_many, killed], retries=0)
        assert type(errors[0]) is ValueError
        assert str(errors[0]).startswith("`num_train` and")
        assert isinstance(errors[1], ray.exceptions.WorkerCrashedError)
        assert len(ended) == 1
        assert signal.getsignal(signal.SIGTERM) == before

    def test_refuses_what_is_no_address(self, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"must be that of a running cluster\. Received:"
            r" --ray_address=nowhere \(.*nowhere\)\. Start one with `ray",
        ):
            run_all(ray_tasks, tmp_path, CONFIGS, address="nowhere")

    def test_refuses_more_than_this_machine_has(self, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"must fit into this machine\. Received: --cpus_per_run=1"
            r" --gpus_per_run=99 with {'CPU': \d+, 'GPU': \d+}"
            r"\. Lower them, or name a cluster by --ray_address",
        ):
            run_all(ray_tasks, tmp_path, CONFIGS, gpus=99)
