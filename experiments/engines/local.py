"""Runs in processes of this machine, each of which has several in turn.

If this process is killed, its runs save their state and end.
"""

import concurrent.futures
import os
import pathlib
import queue
from collections.abc import Generator
from collections.abc import Mapping

from experiments import engines
from experiments.distributed.processes import Process
from experiments.runs import config as config_lib
from experiments.runs import run_data


def run_each(
    configs: Mapping[pathlib.Path, config_lib.Config],
    sources: run_data.Sources,
    *,
    jobs: int = 1,
) -> Generator[engines.Ended, None, None]:
    """Runs configs in processes of their own.

    Args:
        configs: Workdir of each run -> what to run, in this order.
        sources: Where the data is.
        jobs: Runs at a time; they share the cores.

    Yields:
        workdir: Of a run that has ended.
        error: What it raised; None if it is complete.
    """
    threads = max((os.cpu_count() or 1) // jobs, 1)
    processes = [Process() for _ in range(jobs)]
    free: queue.SimpleQueue[Process] = queue.SimpleQueue()
    for process in processes:
        free.put(process)

    def run(config: config_lib.Config, folder: pathlib.Path) -> None:
        process = free.get()
        try:
            process.call(engines.run_one, config, folder, sources, threads)
        finally:
            free.put(process)

    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        futures = {
            pool.submit(run, config, folder): folder
            for folder, config in configs.items()
        }
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.exception()
    except BaseException:
        # Ctrl-C, or SIGTERM: active runs save their state and end.
        for process in processes:
            process.terminate()
        raise
    finally:
        # Waiting runs must not start then.
        pool.shutdown(cancel_futures=True)
        for process in processes:
            process.close()
