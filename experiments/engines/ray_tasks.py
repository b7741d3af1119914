"""Runs as tasks of a Ray cluster, one of this machine or of many.

A run whose worker is lost goes on from its last checkpoint in another one. All
machines see the checkout, the data and the workdirs at the same paths.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
import signal
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from absl import logging

from experiments import engines
from experiments.distributed import processes
from experiments.runs import config as config_lib
from experiments.runs import run_data
from tf_mixup import _checks

# Environment variables that workers on other machines must share.
_PASSED_ON = {"KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"}


def run_each(
    configs: Mapping[pathlib.Path, config_lib.Config],
    sources: run_data.Sources,
    *,
    address: str = "local",
    cpus: int = 1,
    gpus: int = 0,
    retries: int = 3,
) -> Generator[engines.Ended, None, None]:
    """Runs as many configs at a time as the cluster has CPUs and GPUs for.

    Args:
        configs: Workdir of each run -> what to run, in this order.
        sources: Where the data is.
        address: Of a Ray cluster; `"local"` starts one on this machine, and
            `"auto"` finds the one that this machine belongs to.
        cpus: For each run, which has as many threads.
        gpus: For each run.
        retries: Times that a run goes on after its worker was lost.

    Yields:
        workdir: Of a run that has ended.
        error: What it raised; None if it is complete.

    Raises:
        ValueError: If Ray is not installed, there is no cluster at the
            address, or this machine is too small for a run.
    """
    ray = _connect(address)
    try:
        if address == "local":
            _check_size(ray.cluster_resources(), cpus, gpus)
        elif not _fits(ray.nodes(), cpus, gpus):
            logging.warning(
                "No machine of the cluster has the %d CPUs and %d GPUs of a"
                " run: all wait until one joins it.",
                *(cpus, gpus),
            )
        task = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=retries,
            # TensorFlow keeps a GPU's memory as long as its process lives.
            max_calls=1 if gpus else processes.RUNS_PER_PROCESS,
        )(_run)

        def submit(folder: pathlib.Path, config: config_lib.Config) -> Any:
            return task.options(name=folder.name).remote(
                config, folder, sources, cpus, os.getcwd()
            )

        yield from _collect(ray, submit, configs)
    finally:
        ray.shutdown()


def _collect(
    ray: Any,
    submit: Callable[[pathlib.Path, config_lib.Config], Any],
    configs: Mapping[pathlib.Path, config_lib.Config],
) -> Generator[engines.Ended, None, None]:
    """Yields tasks as they end; if interrupted has all save their state."""
    tasks, futures = [], {}
    try:
        for folder, config in configs.items():
            tasks.append(submit(folder, config))
            # Within `ray.wait` the exit code of a signal's handler is lost.
            futures[tasks[-1].future()] = folder
        for future in concurrent.futures.as_completed(futures):
            error = future.exception()
            # What a task raised, without Ray's traceback in its message.
            yield futures[future], getattr(error, "cause", None) or error
    except BaseException:
        for task in tasks:
            ray.cancel(task)
        concurrent.futures.wait(futures)
        raise


def _run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources,
    threads: int,
    directory: str,
) -> None:
    """Is the task, in the main thread of a worker."""
    # Ray starts workers elsewhere.
    os.chdir(directory)
    # By which Ray cancels a task; on SIGTERM a run saves itself.
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    patient = dataclasses.replace(sources, owner_timeout=engines.OWNER_TIMEOUT)
    engines.run_one(config, workdir, patient, threads)


def _connect(address: str) -> Any:
    """Returns Ray, connected to a cluster; a ValueError if it cannot be."""
    try:
        import ray
    except ImportError as error:
        raise _checks.refusal(
            "--engine=ray needs the extra `cluster`",
            f"no package ray ({error})",
            "Write `pip install -e '.[cluster]'`, or --engine=local",
        ) from error
    passed = {name: os.environ[name] for name in _PASSED_ON & {*os.environ}}
    # Ray takes it over.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(address, runtime_env={"env_vars": passed})
    except (ValueError, ConnectionError, RuntimeError) as error:
        raise _checks.refusal(
            "--ray_address must be that of a running cluster",
            f"--ray_address={address} ({error})",
            "Start one with `ray start --head`, or leave --ray_address out",
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)
    logging.info("Dashboard: %s", context.dashboard_url or "none")
    return ray


def _fits(nodes: Sequence[Mapping[str, Any]], cpus: int, gpus: int) -> bool:
    """Returns whether a run fits into one of the machines."""
    totals = [node["Resources"] for node in nodes if node["Alive"]]
    return any(
        each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus
        for each in totals
    )


def _check_size(total: Mapping[str, float], cpus: int, gpus: int) -> None:
    """Refuses a run that this machine would never start."""
    found = {kind: int(total.get(kind, 0)) for kind in ("CPU", "GPU")}
    if found["CPU"] < cpus or found["GPU"] < gpus:
        raise _checks.refusal(
            "A run must fit into this machine",
            f"--cpus_per_run={cpus} --gpus_per_run={gpus} with {found}",
            "Lower them, or name a cluster by --ray_address",
        )
