"""A command for each run, for the jobs of any scheduler."""

import dataclasses
import pathlib
from collections.abc import Generator
from collections.abc import Mapping

from experiments import engines
from experiments import train
from experiments.runs import config as config_lib
from experiments.runs import run_data


def run_each(
    configs: Mapping[pathlib.Path, config_lib.Config],
    sources: run_data.Sources,
) -> Generator[engines.Ended, None, None]:
    """Prints a line for each run, and runs nothing.

    Line N is the command of job N of an array. The next sweep of the folder
    prints those that are not complete by then.

    Args:
        configs: Workdir of each run -> what to run, in this order.
        sources: Where the data is.

    Yields:
        Nothing: no run has ended.
    """
    patient = dataclasses.replace(sources, owner_timeout=engines.OWNER_TIMEOUT)
    for folder, config in configs.items():
        print(train.command(config, folder, patient))
    yield from ()
