"""SIGTERM: who runs the machine wants it back, and the run saves itself."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

# What a shell reports of a process that SIGTERM killed.
EXIT_CODE = 128 + signal.SIGTERM
# Names the file descriptor of a pipe that `experiments.launch` keeps open.
LAUNCHER = "TF_MIXUP_LAUNCHER"


class Preemption:
    """Handles SIGTERM within a `with` statement, in the main thread.

    The first signal is noted, and ends the process with `EXIT_CODE` at once
    unless that is postponed. A second one kills it as usual.

    Args:
        supervised: Whether another process passes the signal on, so that it
            may come twice: then all but the first are ignored.

    Attributes:
        asked: Whether the signal has come.
        postponed: Whether someone looks at `asked` and ends the process.
    """

    def __init__(self, *, supervised: bool = False) -> None:
        self._supervised = supervised
        self.asked = False
        self.postponed = False
        self._before: Any = None

    def __enter__(self) -> "Preemption":
        """Takes the signal over."""
        self._before = self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        """Gives the signal back to its former handler."""
        signal.signal(signal.SIGTERM, self._before)

    def listen(self) -> Any:
        """Takes the signal over, and returns its former handler.

        Where there are several workers TensorFlow has one, which ends nothing.
        """
        return signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if not self._supervised:
            signal.signal(number, signal.SIG_DFL)
        elif self.asked:
            return
        self.asked = True
        if not self.postponed:
            sys.exit(EXIT_CODE)


def follow_parent() -> None:
    """Has a `multiprocessing` process end with the one that started it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _follow(parent.sentinel)


def follow_launcher() -> bool:
    """Has a worker end with its `experiments.launch`.

    Returns:
        supervised: Whether it has one, which passes signals on.
    """
    descriptor = os.environ.pop(LAUNCHER, None)
    if descriptor is None:
        return False
    _follow(int(descriptor))
    return True


def _follow(descriptor: int) -> None:
    """Sends SIGTERM to this process once the other end of a pipe is closed.

    The system closes it however the other process ends.
    """

    def watch() -> None:
        multiprocessing.connection.wait([descriptor])
        main = threading.main_thread().ident
        while main is not None:
            # Again and again: it may be between two runs, or about to wait.
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()
