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

import numpy as np
import tensorflow as tf

from experiments.benchmark import memory
from experiments.benchmark import timing
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
    (signal.SIGKILL, 0.4),
    (signal.SIGTERM, 0.5),
    (signal.SIGKILL, 0.3),
)


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
        alone, sizes = _run(command, folder / "alone")
        killed = 0.0
        for number, share in KILLS:
            killed += _run(command, folder / "killed", number, share * alone)[0]
        killed += _run(command, folder / "killed")[0]
        results = [_read_results(folder / each) for each in ("alone", "killed")]
        events = sum(
            path.stat().st_size
            for path in (folder / "alone").rglob("events.out*")
        )
    third = len(sizes) // 3
    return timing.Facts(
        title=f"{num_images:,} JPEGs of {IMAGE_SIZE} pixels, 3 epochs, two"
        f" replicas; {len(KILLS)} kills",
        values={
            "seconds, left alone": alone,
            "time with kills / left alone": killed / alone,
            "equal predictions": "yes" if results[0] == results[1] else "no",
            "memory after a third of the run, MiB": max(sizes[:third]),
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
    number: int | None = None,
    after: float = 0.0,
) -> tuple[float, list[float]]:
    """Runs, or ends the run by a signal after as many seconds.

    Returns:
        seconds: That it ran.
        sizes: Its memory in MiB, each half second.
    """
    started = time.monotonic()
    process = subprocess.Popen((*command, f"--workdir={workdir}"))
    sizes = []
    while process.poll() is None:
        time.sleep(0.5)
        with contextlib.suppress(OSError, IndexError):
            sizes.append(memory.resident_memory(process.pid) / memory.MIB)
        if number is not None and time.monotonic() - started > after:
            process.send_signal(number)
            number = None
    return time.monotonic() - started, sizes
