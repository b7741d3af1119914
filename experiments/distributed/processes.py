"""Processes for runs, which end with the process that started them."""

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from experiments.distributed import preemption

# TensorFlow takes ten seconds to start, and never gives memory back.
RUNS_PER_PROCESS = 10


class Process:
    """A process for some runs, one after another; then a new one.

    One that the system kills breaks its pool, which holds nobody else. It
    gets SIGTERM when this process is gone, even if that was killed.
    """

    def __init__(self, runs: int = RUNS_PER_PROCESS) -> None:
        self._runs = self._left = runs
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._pid: int | None = None
        self._terminated = False

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function in the process and returns what it returns.

        Raises:
            BrokenProcessPool: If the process is killed; the next call has
                another one.
        """
        broken = concurrent.futures.process.BrokenProcessPool
        try:
            if self._pool is None:
                self._left = self._runs
                self._pool = concurrent.futures.ProcessPoolExecutor(
                    1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=preemption.follow_parent,
                )
                self._pid = self._pool.submit(os.getpid).result()
            self._left -= 1
            if self._terminated:
                raise broken("The process was asked to end.")
            return self._pool.submit(function, *args).result()
        except broken:
            self._left = 0
            raise
        finally:
            if self._left == 0:
                self.close()

    def terminate(self) -> None:
        """Has the process save its run and end; nothing else starts in it."""
        self._terminated = True
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def close(self) -> None:
        """Ends the process, after its run."""
        pool, self._pool, self._pid = self._pool, None, None
        if pool is not None:
            pool.shutdown()
