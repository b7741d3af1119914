"""Who may run in a workdir: one process at a time, of one config."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator

from experiments.runs import atomic_files
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import owner
from experiments.runs import run_files

CHECKPOINTS = "checkpoints"


@contextlib.contextmanager
def take(
    workdir: pathlib.Path,
    config: config_lib.Config,
    *,
    owner_timeout: float = 0.0,
) -> Iterator[bool]:
    """Takes a workdir for a run, within a `with` statement.

    Args:
        workdir: Of the run.
        config: What the run is of.
        owner_timeout: Seconds to wait for another process that holds it.

    Yields:
        complete: Whether the run is; then nothing is written, nor locked.

    Raises:
        ValueError: If another process still holds it, it is of another
            config, or a file that says so is damaged.
        OSError: If nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        record = workdir / run_files.RECORD
        owned = not record.exists()
        if owned:
            stack.enter_context(owner.hold(workdir, timeout=owner_timeout))
        claim(workdir, config)
        if owned:
            atomic_files.remove_partial(workdir)
        # Another process may have ended it just before the lock.
        complete = record.exists()
        if complete:
            logging.info("%s is complete and not run again.", workdir)
        yield complete


def claim(workdir: pathlib.Path, config: config_lib.Config) -> None:
    """Marks a directory as that of `config`; refuses that of another.

    Its record, its `config.json` and its checkpoints say whose it is. Before
    its first epoch is done a directory is nobody's: there is nothing to lose
    if the data set was missing, or the network did not fit.

    Raises:
        ValueError: If it belongs to another config, or a file is damaged.
    """
    complete = (workdir / run_files.RECORD).exists()
    saved = checkpoint.find(workdir / CHECKPOINTS)
    path = workdir / run_files.CONFIG
    if complete:
        run_files.read_record(workdir, config)
    if path.exists() and (complete or saved):
        run_files.check_config(run_files.read_config(workdir), config, path)
    elif not complete:
        checkpoint.check_config(saved, config)
        atomic_files.write_json(path, config.to_json())
