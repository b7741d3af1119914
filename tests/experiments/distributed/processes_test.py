"""Tests of processes for runs: replaced, and ended with their parent."""

import concurrent.futures.process
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.distributed import processes

ROOT = pathlib.Path(__file__).resolve().parents[3]
PARENT = """
import os, sys, threading, time
from experiments.distributed import preemption, processes
def main():
    process = processes.Process()
    print(process.call(os.getpid), flush=True)
    process.call(time.sleep, float(sys.argv[1]))
    time.sleep(60)
if __name__ == "__main__":
    main()
"""


def is_alive(pid):
    """Whether a process is there, and is not merely waited for."""
    path = pathlib.Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def process():
    process = processes.Process(2)
    yield process
    process.close()


class TestProcess:
    # Functions of this module would make it import all of this.

    def test_is_another_one_after_its_runs(self, process):
        one, same, other = (process.call(os.getpid) for _ in range(3))
        assert len({os.getpid(), one, other}) == 3
        assert one == same

    def test_an_error_comes_back_and_ends_nothing(self, process, tmp_path):
        one = process.call(os.getpid)
        with pytest.raises(FileExistsError):
            process.call(os.mkdir, str(tmp_path))
        # It counted as a run.
        assert process.call(os.getpid) != one

    def test_a_killed_process_is_an_error_and_replaced(self, process):
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            process.call(os._exit, 1)
        assert process.call(os.getpid) != os.getpid()

    def test_asked_to_end_it_does_and_starts_nothing(self, process):
        pid = process.call(os.getpid)
        process.terminate()
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            process.call(os.getpid)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    # In a call, and between two.
    @pytest.mark.parametrize("seconds", [60, 0])
    def test_ends_with_a_killed_parent(self, seconds):
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        # Its end of this pipe is the last to be closed.
        parent.stdout.read()
        parent.communicate()
        deadline = time.monotonic() + 20
        while is_alive(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)
