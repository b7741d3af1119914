"""Trains on a folder of many small JPEGs under two replicas, with kills.

`experiments.train` runs in a process of its own, once left alone and once
killed and started again several times.
"""

import contextlib
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.benchmark import memory
from experiments.benchmark import timing
from experiments.distributed import preemption
from experiments.runs import run_files

NUM_IMAGES = 100_000
NUM_TEST = 1000
NUM_CLASSES = 10
IMAGE_SIZE = 32
FLAGS = (
    *("--network=lenet", "--optimizer=adam", "--learning_rate=0.001"),
    *("--epochs=3", "--batch_size=250", f"--image_size={IMAGE_SIZE}"),
    *("--strategy=mirrored", "--logical_cpus=2", "--verbose=0"),
    *("--num_validation=1000", "--checkpoint_every_steps=50"),
)
# The signal that ends a start of the run, and after which share of the time
# that the run takes if it is left alone.
KILLS = (
    (signal.SIGKILL, 0.2),
    (signal.SIGTERM, 0.4),
    (signal.SIGKILL, 0.2),
)
# The exit code of a run that a signal ended.
_CODES = {
    signal.SIGKILL: -signal.SIGKILL,
    signal.SIGTERM: preemption.EXIT_CODE,
}


class Start(NamedTuple):
    """One start of the run.

    Attributes:
        seconds: That it ran.
        sizes: Its memory in MiB, each half second.
        killed: Whether the signal ended it, and not its end.
    """

    seconds: float
    sizes: list[float]
    killed: bool


def measure(
    num_images: int = NUM_IMAGES, given: Sequence[str] = FLAGS
) -> timing.Facts:
    """Compares both runs.

    Args:
        num_images: Training and validation images.
        given: Flags of `experiments.train`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_images(folder / "train", num_images)
        write_images(folder / "val", NUM_TEST)
        command = (
            *(sys.executable, "-m", "experiments.train", *given),
            f"--dataset=imagefolder:{folder}",
        )
        alone, sizes, _ = _run(command, folder / "alone")
        starts = [
            _run(command, folder / "killed", number, share * alone)
            for number, share in KILLS
        ]
        starts.append(_run(command, folder / "killed"))
        killed = sum(start.seconds for start in starts)
        results = [_read_results(folder / each) for each in ("alone", "killed")]
        events = sum(
            path.stat().st_size
            for path in (folder / "alone").rglob("events.out*")
        )
    return timing.Facts(
        title=f"{num_images:,} JPEGs of {IMAGE_SIZE} pixels, 3 epochs, two"
        f" replicas; {sum(start.killed for start in starts)} kills",
        values={
            "seconds, left alone": alone,
            "time with kills / left alone": killed / alone,
            "equal predictions": "yes" if results[0] == results[1] else "no",
            "memory after a third of the run, MiB": max(
                sizes[: len(sizes) // 3 + 1]
            ),
            "memory at most, MiB": max(sizes),
            "event files, MiB": events / memory.MIB,
        },
    )


def write_images(folder: pathlib.Path, count: int) -> None:
    """Writes noisy JPEGs whose color says the class, as `folder/CLASS/*`."""
    generator = np.random.default_rng(count)
    for number in range(NUM_CLASSES):
        (folder / f"class{number}").mkdir(parents=True)
    colors = generator.integers(256, size=(NUM_CLASSES, 3))
    for number in range(count):
        label = number % NUM_CLASSES
        noise = generator.normal(0, 60, (IMAGE_SIZE, IMAGE_SIZE, 3))
        pixels = (colors[label] + noise).clip(0, 255).astype(np.uint8)
        encoded = tf.io.encode_jpeg(pixels).numpy()
        (folder / f"class{label}" / f"{number}.jpg").write_bytes(encoded)


def _read_results(workdir: pathlib.Path) -> tuple[Any, str]:
    """Returns the results, and a digest of the predictions."""
    record = run_files.read_record(workdir)
    return record["results"], record[run_files.DIGESTS][run_files.PREDICTIONS]


def _run(
    command: Sequence[str],
    workdir: pathlib.Path,
    number: signal.Signals | None = None,
    after: float = 0.0,
) -> Start:
    """Runs, or ends the run by a signal after as many seconds.

    Raises:
        RuntimeError: If it ended in another way.
    """
    started = time.monotonic()
    process = subprocess.Popen((*command, f"--workdir={workdir}"))
    sizes, sent = [], False
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                sizes.append(memory.resident_memory(process.pid) / memory.MIB)
            time.sleep(0.5)
            late = time.monotonic() - started > after
            if number is not None and late and not sent:
                process.send_signal(number)
                sent = True
    finally:
        process.kill()
        code = process.wait()
    expected = _CODES[number] if number is not None and sent else 0
    if code not in {0, expected}:
        raise RuntimeError(
            f"A run must end by itself or by its signal. Received: code {code}."
            " Read its messages above."
        )
    return Start(time.monotonic() - started, sizes, killed=code != 0)
