"""SIGTERM: who runs the machine wants it back, and the run saves itself."""

import signal
import sys
from types import FrameType
from typing import Any

# What a shell reports of a process that SIGTERM killed.
EXIT_CODE = 128 + signal.SIGTERM


class Preemption:
    """Handles SIGTERM within a `with` statement, in the main thread.

    The first signal is noted, and ends the process with `EXIT_CODE` at once
    unless that is postponed. A second one kills it as usual.

    Attributes:
        asked: Whether the signal has come.
        postponed: Whether someone looks at `asked` and ends the process.

    Example:
        >>> with Preemption() as preemption:
        ...     preemption.postponed = True
        ...     signal.raise_signal(signal.SIGTERM)
        ...     preemption.asked
        True
    """

    def __init__(self) -> None:
        self.asked = False
        self.postponed = False
        self._before: Any = None

    def __enter__(self) -> "Preemption":
        """Takes the signal over."""
        self._before = self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leaves the signal to whom it was."""
        signal.signal(signal.SIGTERM, self._before)

    def listen(self) -> Any:
        """Takes the signal over, also from TensorFlow.

        Where there are several workers TensorFlow has a handler of its own,
        which ends nothing.

        Returns:
            handler: What handled it before.
        """
        return signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        self.asked = True
        if not self.postponed:
            sys.exit(EXIT_CODE)
