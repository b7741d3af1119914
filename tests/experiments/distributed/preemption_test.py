"""Tests of SIGTERM: noted, postponed, and not kept from killing."""

import os
import signal
import subprocess
import sys

import pytest

from experiments.distributed import preemption

KILLED_TWICE = """
import os, signal, sys
from experiments.distributed import preemption
with preemption.Preemption() as asked:
    asked.postponed = True
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        print(asked.asked, flush=True)
"""

LAUNCHED = """
import sys, time
from experiments.distributed import preemption
supervised = preemption.follow_launcher()
with preemption.Preemption(supervised=supervised) as asked:
    asked.postponed = True
    print(supervised, flush=True)
    while not asked.asked:
        time.sleep(0.01)
    print("asked", flush=True)
    sys.exit(preemption.EXIT_CODE)
"""


class TestPreemption:
    def test_ends_at_once_with_the_shells_code(self):
        with (
            pytest.raises(SystemExit) as caught,
            preemption.Preemption(),
        ):
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.value.code == preemption.EXIT_CODE == 143

    def test_postponed_it_is_noted(self):
        with preemption.Preemption() as asked:
            asked.postponed = True
            assert not asked.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.asked

    def test_signal_is_given_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with preemption.Preemption():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before

    def test_takes_the_signal_over_again(self):
        with preemption.Preemption() as asked:
            asked.postponed = True
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.kill(os.getpid(), signal.SIGTERM)
            assert not asked.asked
            asked.listen()
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.asked

    def test_supervised_it_may_come_twice(self):
        with preemption.Preemption(supervised=True) as asked:
            asked.postponed = True
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                assert asked.asked
        before = signal.getsignal(signal.SIGTERM)
        assert before == signal.SIG_DFL

    def test_ends_with_its_launcher(self, monkeypatch):
        monkeypatch.delenv(preemption.LAUNCHER, raising=False)
        assert not preemption.follow_launcher()
        read, write = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHED],
            env={**os.environ, preemption.LAUNCHER: str(read)},
            pass_fds=(read,),
            stdout=subprocess.PIPE,
            text=True,
        )
        os.close(read)
        assert process.stdout.readline() == "True\n"
        os.close(write)
        assert process.communicate(timeout=30)[0] == "asked\n"
        assert process.returncode == preemption.EXIT_CODE

    def test_second_one_kills(self):
        done = subprocess.run(
            [sys.executable, "-c", KILLED_TWICE],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGTERM
        assert done.stdout == "True\n"
