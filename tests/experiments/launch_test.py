"""Tests of starting a host's workers."""

import json
import sys

import pytest
import tensorflow as tf

from experiments import launch


class TestDescribeWorker:
    def test_counts_through_all_hosts(self):
        config = launch.describe_worker(
            ["a", "b"], 1, workers=2, port=100, place=1
        )
        assert json.loads(config) == {
            "cluster": {"worker": ["a:100", "a:101", "b:100", "b:101"]},
            "task": {"type": "worker", "index": 3},
        }

    @pytest.mark.parametrize("host", [-1, 2])
    def test_refuses_a_host_that_is_not_listed(self, host):
        with pytest.raises(ValueError, match=f"host={host} of hosts="):
            launch.describe_worker(["a", "b"], host, workers=1, port=1, place=0)


class TestChooseCode:
    @pytest.mark.parametrize(
        ("codes", "code"),
        [
            ([0, 0], 0),
            ([75, -9], 137),
            ([75, 1, 75], 1),
            ([75, 75], 75),
            ([143, 143], 143),
            ([75, 143], 143),
        ],
    )
    def test_is_that_of_the_cause(self, codes, code):
        assert launch.choose_code(codes) == code


class TestStart:
    @pytest.fixture
    def started(self, monkeypatch):
        """Returns the commands and environments of what is started."""
        calls = []
        monkeypatch.setattr(
            launch.subprocess,
            "Popen",
            lambda command, env, pass_fds: calls.append((command, env)),
        )
        return calls

    def gpus(self, monkeypatch, number):
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: [kind] * number
        )

    def test_each_gpu_gets_a_worker(self, monkeypatch, started):
        self.gpus(monkeypatch, 3)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        launch.start(["--dataset=digits"])
        assert [env["CUDA_VISIBLE_DEVICES"] for _, env in started] == [*"012"]
        tasks = [json.loads(env["TF_CONFIG"])["task"] for _, env in started]
        assert [task["index"] for task in tasks] == [0, 1, 2]
        first, *others = [command for command, _ in started]
        assert first == [
            *(sys.executable, "-m", "experiments.train"),
            *("--strategy=multiworker", "--dataset=digits"),
        ]
        assert others == [[*first, "--verbose=0"]] * 2

    def test_only_gpus_that_are_visible(self, monkeypatch, started):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5c")
        self.gpus(monkeypatch, 2)
        launch.start([])
        given = [env["CUDA_VISIBLE_DEVICES"] for _, env in started]
        assert given == ["2", "GPU-5c"]

    def test_without_gpus_devices_are_not_chosen(self, monkeypatch, started):
        self.gpus(monkeypatch, 0)
        launch.start([], workers=2)
        assert len(started) == 2
        for _, environment in started:
            assert "CUDA_VISIBLE_DEVICES" not in environment

    def test_refuses_more_workers_than_gpus(self, monkeypatch):
        self.gpus(monkeypatch, 2)
        with pytest.raises(ValueError, match="workers=3 with 2 GPUs"):
            launch.start([], workers=3)
