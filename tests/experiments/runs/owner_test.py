"""Tests of the lock on a workdir: who holds it, and how it is freed."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from experiments.runs import atomic_files
from experiments.runs import owner

ROOT = pathlib.Path(__file__).resolve().parents[3]
# A forked child would inherit the lock, and outlive the owner.
HOLD = """
import os, pathlib, sys, time
from experiments.runs import owner
with owner.hold(pathlib.Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


class TestHold:
    def test_second_owner_is_refused_by_name(self, tmp_path):
        with owner.hold(tmp_path / "new" / "run"):
            with (
                pytest.raises(ValueError, match="one owner at") as caught,
                owner.hold(tmp_path / "new" / "run"),
            ):
                raise AssertionError
            with owner.hold(tmp_path / "other"):
                pass
        message = str(caught.value)
        assert f"process {os.getpid()} on host {socket.gethostname()!r}" in (
            message
        )
        assert "or take another --workdir." in message

    def test_is_free_again_after_an_error(self, tmp_path):
        with pytest.raises(KeyError), owner.hold(tmp_path):
            raise KeyError
        with owner.hold(tmp_path):
            note = json.loads((tmp_path / atomic_files.LOCK).read_text())
        assert note["pid"] == os.getpid()

    def test_waits_for_another_owner(self, tmp_path):
        with contextlib.ExitStack() as former:
            former.enter_context(owner.hold(tmp_path))
            threading.Timer(0.3, former.close).start()
            started = time.monotonic()
            with owner.hold(tmp_path, timeout=30):
                assert 0.3 <= time.monotonic() - started < 10

    def test_waits_no_longer_than_asked(self, tmp_path):
        with owner.hold(tmp_path):
            started = time.monotonic()
            with (
                pytest.raises(ValueError, match="one owner at a time"),
                owner.hold(tmp_path, timeout=0.3),
            ):
                raise AssertionError
            assert 0.3 <= time.monotonic() - started < 10

    @pytest.mark.slow
    def test_kill_frees_it_whatever_it_has_forked(self, tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        child = int(process.stdout.readline())
        with (
            pytest.raises(ValueError, match=f"process {process.pid} on"),
            owner.hold(tmp_path),
        ):
            raise AssertionError
        process.kill()
        process.wait()
        try:
            with owner.hold(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)
            process.stdout.close()

    def test_without_a_note_another_process_is_named(self, tmp_path):
        with owner.hold(tmp_path):
            (tmp_path / atomic_files.LOCK).write_text("")
            with (
                pytest.raises(ValueError, match="another process holds"),
                owner.hold(tmp_path),
            ):
                raise AssertionError

    def test_file_systems_without_locks_get_a_warning(
        self, tmp_path, monkeypatch, caplog
    ):
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
        with caplog.at_level(logging.WARNING), owner.hold(tmp_path):
            pass
        assert "has no locks ([Errno 37] No locks available)" in caplog.text

    def test_closed_directory_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with (
            pytest.raises(OSError, match="must be writable"),
            owner.hold(tmp_path / "file" / "run"),
        ):
            raise AssertionError
