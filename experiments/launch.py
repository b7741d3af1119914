r"""Starts the workers of this host, each with a GPU of its own.

Command:
    python -m experiments.launch --workers=2 -- --dataset=digits \
        --workdir=runs/digits
    python -m experiments.launch --workers=8 --hosts=a,b,c,d --host=0 -- \
        --dataset=imagenet2012 --data_dir=DIR --workdir=runs/imagenet

What follows `--` are flags of `experiments.train`, the same on every host,
where `--host` alone differs. Worker 0, of host 0, shows its progress and
writes the results. If a worker dies the others end within a minute, with 75;
SIGTERM goes to all, which save themselves and end with 143, as they do when
this process is killed; a second SIGTERM kills them. The same command goes on
then.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

import tensorflow as tf
from absl import app
from absl import flags

from experiments.distributed import preemption
from experiments.distributed import workers as workers_lib
from tf_mixup import _checks


def describe_worker(
    hosts: Sequence[str], host: int, *, workers: int, port: int, place: int
) -> str:
    """Returns the `TF_CONFIG` of a worker.

    Args:
        hosts: Names or addresses of all hosts.
        host: Which of them, from 0; a ValueError if there is no such one.
        workers: On each host.
        port: Of the first worker of a host.
        place: Which of the host's workers, from 0.
    """
    if not 0 <= host < len(hosts):
        raise _checks.refusal(
            "`host` must be the place of this host in the list",
            f"host={host} of hosts={[*hosts]!r}",
            "Count from 0",
        )
    addresses = [
        f"{name}:{port + number}" for name in hosts for number in range(workers)
    ]
    task = {"type": "worker", "index": host * workers + place}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def choose_code(codes: Sequence[int]) -> int:
    """Returns the most telling of the exit codes of all workers.

    Negative ones are signals, as `subprocess` has them.
    """
    failed = [128 - code if code < 0 else code for code in codes if code]
    if preemption.EXIT_CODE in failed:
        return preemption.EXIT_CODE
    # A worker that lost another one is not the cause.
    causes = [code for code in failed if code != workers_lib.LOST]
    return [*causes, *failed, 0][0]


def start(
    arguments: Sequence[str],
    *,
    hosts: Sequence[str] = ("localhost",),
    host: int = 0,
    workers: int | None = None,
    port: int = 29400,
) -> list[subprocess.Popen]:
    """Starts this host's workers, with flags of `experiments.train`."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    count = workers or gpus or 1
    if gpus and count > gpus:
        raise _checks.refusal(
            "A worker needs a GPU of its own",
            f"workers={count} with {gpus} GPUs",
            "Leave --workers out",
        )
    # Open for as long as this process lives: that is what workers watch.
    read, _ = os.pipe()
    started = []
    for place in range(count):
        config = describe_worker(
            hosts, host, workers=count, port=port, place=place
        )
        environment = {
            **os.environ,
            "TF_CONFIG": config,
            preemption.LAUNCHER: str(read),
        }
        if gpus:
            # This host's, or those that this process may use.
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = visible.split(",") if visible else range(gpus)
            environment["CUDA_VISIBLE_DEVICES"] = str(names[place])
        quiet = [] if place == host == 0 else ["--verbose=0"]
        command = (sys.executable, "-m", "experiments.train")
        started.append(
            subprocess.Popen(
                [*command, "--strategy=multiworker", *arguments, *quiet],
                env=environment,
                pass_fds=(read,),
            )
        )
    os.close(read)
    return started


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_integer(
        "workers", None, "On each host; its GPUs by default.", lower_bound=1
    )
    flags.DEFINE_list("hosts", ["localhost"], "Names or addresses of all.")
    flags.DEFINE_integer("host", 0, "Which of the hosts this is, from 0.")
    flags.DEFINE_integer(
        "port",
        29400,
        "Of the first worker of a host; others take the next ones.",
        lower_bound=1,
        upper_bound=65535,
    )


def main(argv: Sequence[str]) -> None:
    """Starts the workers and waits for them."""
    names = ("hosts", "host", "workers", "port")
    options = {name: flags.FLAGS[name].value for name in names}
    try:
        processes = start(argv[1:], **options)
    except ValueError as error:
        raise app.UsageError(str(error)) from error

    def kill(number: int, frame: FrameType | None) -> None:
        del number, frame
        for process in processes:
            process.kill()

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, kill)
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    # A terminal interrupts the workers, too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(choose_code([process.wait() for process in processes]))


if __name__ == "__main__":
    define_flags()
    app.run(main)
