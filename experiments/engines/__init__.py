"""Engines: where the runs of a sweep are executed.

`local` has processes of this machine, `ray_tasks` the machines of a Ray
cluster, and `commands` prints what the jobs of another scheduler execute.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping

import keras
import tensorflow as tf

from experiments.distributed import preemption
from experiments.runs import config as config_lib
from experiments.runs import run_data
from experiments.runs import training

# Seconds that a run which goes on elsewhere waits for its workdir: NFS frees
# the lock of a machine that is gone after 90.
OWNER_TIMEOUT = 120
# The workdir of a run that has ended, and what it raised; None if nothing.
Ended = tuple[pathlib.Path, BaseException | None]
# Takes the workdir of each run -> its config, in this order, and where the data
# is. If it is closed or interrupted active runs save their state and end.
Engine = Callable[
    [Mapping[pathlib.Path, config_lib.Config], run_data.Sources],
    Generator[Ended, None, None],
]


def run_one(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources,
    threads: int,
) -> None:
    """Runs a config in a process of an engine, in its main thread.

    On SIGTERM the run saves its state and raises `SystemExit`.

    Args:
        config: What to run.
        workdir: For its record.
        sources: Where the data is.
        threads: To compute with; the same for all runs of a process.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Two, so that batches are made while the network computes.
    tf.config.threading.set_inter_op_parallelism_threads(max(threads, 2))
    try:
        with preemption.Preemption(supervised=True) as asked:
            saving = dataclasses.replace(sources, preemption=asked)
            training.run(config, workdir, saving)
    finally:
        # The next run of this process must not depend on this one.
        keras.backend.clear_session()
