"""The owner of a workdir: one process at a time, for as long as it lives.

The lock is `flock` on a file that stays: the system frees it however the
process ends, `kill -9` included. Between hosts it works where the shared file
system passes locks on, as NFS does, which frees those of a host that is gone
when its lease ends; where there are none a warning says so.
Readers of a workdir need no lock, since files are replaced whole.
"""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from experiments.runs import atomic_files
from tf_mixup import _checks

# Between two looks at a lock that another process has.
RETRY_SECONDS = 0.2
_held: set[int] = set()


@contextlib.contextmanager
def hold(workdir: pathlib.Path, *, timeout: float = 0.0) -> Iterator[None]:
    """Holds a workdir within a `with` statement; makes it if it is missing.

    Args:
        workdir: What to hold.
        timeout: Seconds to wait for another process that holds it.

    Raises:
        ValueError: If another process still holds it.
        OSError: If nothing can be written there.
    """
    path = workdir / atomic_files.LOCK
    with atomic_files.writable(path):
        workdir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(descriptor)
    try:
        _lock(descriptor, path, timeout)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        # A forked child has closed its own already.
        if descriptor in _held:
            _held.remove(descriptor)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(descriptor: int, path: pathlib.Path, timeout: float) -> None:
    """Locks an open file and notes in it who did."""
    deadline = time.monotonic() + timeout
    try:
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise _checks.refusal(
                    "A workdir has one owner at a time",
                    f"workdir={path.parent}, which {_describe(descriptor)}"
                    " holds",
                    "Wait until it ends, or take another --workdir",
                )
            time.sleep(RETRY_SECONDS)
    except OSError as error:
        logging.warning(
            "The file system of %s has no locks (%s). Make sure that no other"
            " process runs in it.",
            path.parent,
            error,
        )
    now = datetime.datetime.now().astimezone()
    note = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": now.isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _try_lock(descriptor: int) -> bool:
    """Locks an open file, unless another process has; whether it did."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(descriptor: int) -> str:
    """Returns words for the owner that a lock file names."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return (
            f"process {note['pid']} on host {note['host']!r}, started"
            f" {note['since']},"
        )
    except (ValueError, KeyError, TypeError):
        return "another process"  # It has not written its note yet.


def _leave_to_parent() -> None:
    """Closes what a forked child inherits: it would outlive the owner."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_leave_to_parent)
