r"""Times mixing and measuring against Keras, plain ops and a copy.

Command:
    python -m experiments.benchmark --what=all
    python -m experiments.benchmark --what=mixing --output=benchmark.json
    python -m experiments.benchmark --what=small
    python -m experiments.benchmark --what=run
    python -m experiments.benchmark --what=imagenet --data=FOLDER
    python -m experiments.benchmark --what=imagenet --peak_tflops=NUMBER
    python -m experiments.benchmark --what=peers
    python -m experiments.benchmark --what=long

`small` times epochs of 20 steps, where starting a pass is what costs.
`run` times `experiments.train` on digits beside a plain Keras program.
`memory` reads the peak of measures of 10 million scores.
`imagenet` times the pipeline of photographs and `fit` of ResNet-50: on a GPU
at the papers' size and beside `keras.applications.ResNet50`, else at a small
one. Utilization needs the GPU's peak in the precision that it computes in.
`peers` needs the extra of that name and is not part of `all`.
`long` trains a thousand epochs, and on 100,000 JPEGs with kills; it takes some
minutes and is not part of `all` either.

Cases run in turns in one process; the tables show the median of the rounds,
their least and greatest, and each target beside what was reached. Close other
programs first: a busy machine moves ratios too. On two CPU cores everything
takes some minutes with --repeats=5.
"""

import datetime
import importlib.metadata
import itertools
import os
import pathlib
import platform
import sys
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from absl import flags

from experiments import _entry
from experiments.benchmark import fitting
from experiments.benchmark import imagenet
from experiments.benchmark import killed_run
from experiments.benchmark import long_runs
from experiments.benchmark import memory
from experiments.benchmark import mixing
from experiments.benchmark import peers
from experiments.benchmark import run as run_lib
from experiments.benchmark import small
from experiments.benchmark import step
from experiments.benchmark import throughput
from experiments.benchmark import timing
from experiments.benchmark import validation
from experiments.runs import atomic_files
from tf_mixup import _checks

PARTS = (
    *("mixing", "small", "run", "metrics", "monitors"),
    *("memory", "step", "imagenet"),
)
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def describe_machine() -> dict[str, str]:
    """Returns the processor, the accelerators and the versions."""
    return {
        "CPU": f"{_processor()}, {os.cpu_count()} threads",
        "GPU": ", ".join(timing.gpu_names()) or "none",
        "Keras' backend": keras.backend.backend(),
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def run(
    what: str,
    *,
    repeats: int,
    num_examples: int,
    num_parallel_calls: int,
    data: str | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    peak_tflops: float | None = None,
) -> list[timing.Table]:
    """Runs one part, or all, and returns its tables.

    Args:
        what: One of `PARTS`, or `"all"` of them; or `"peers"`, or
            `"long"`.
        repeats: Rounds, at least 1.
        num_examples: Of the validation set, at least 1.
        num_parallel_calls: Batches that each pipeline makes at a time, at
            least 1.
        data: Folder of JPEGs for `imagenet`. Defaults to noise.
        image_size: Side of the images that `imagenet` trains on. Defaults to
            what `fitting.choose_size` says.
        batch_size: Examples in a step of `imagenet`, with the same default.
        peak_tflops: The GPU's peak, in 1e12 FLOPs a second.

    Raises:
        ValueError: If a number is below 1.
    """
    for name, value in (
        ("repeats", repeats),
        ("num_examples", num_examples),
        ("num_parallel_calls", num_parallel_calls),
    ):
        _checks.integer_at_least(name, value, 1, remedy="Leave the flag out")

    def time_mixing() -> list[timing.Table]:
        counts = {
            "repeats": repeats,
            "num_parallel_calls": num_parallel_calls,
        }
        images = [mixing.measure(size, **counts) for size in mixing.SIZES]
        return [*itertools.chain(*images), *mixing.measure_small(**counts)]

    def time_imagenet() -> list[timing.Table]:
        (photographs,) = imagenet.measure(repeats, data=data)
        steps = throughput.measure(
            fitting.choose_size(image_size, batch_size),
            repeats,
            pipeline=np.asarray(photographs.milliseconds[imagenet.OURS]),
            peak_tflops=peak_tflops,
            rival=fitting.build_keras if timing.gpu_names() else None,
        )
        return [photographs, *steps]

    parts: dict[str, Callable[[], Sequence[timing.Table]]] = {
        "mixing": time_mixing,
        "small": lambda: small.measure(repeats),
        "run": lambda: run_lib.measure(repeats),
        "metrics": lambda: [
            *validation.measure_metrics(repeats),
            *validation.measure_pass(repeats, num_examples=num_examples),
        ],
        "monitors": lambda: validation.measure_monitors(
            repeats, num_examples=num_examples
        ),
        "memory": memory.measure,
        "step": lambda: step.measure(repeats),
        "imagenet": time_imagenet,
        "peers": lambda: peers.measure(repeats),
        "long": lambda: [*long_runs.measure(), killed_run.measure()],
    }
    chosen = [parts[each] for each in (PARTS if what == "all" else (what,))]
    return [table for part in chosen for table in part()]


def to_markdown(
    machine: dict[str, str], tables: list[timing.Table], repeats: int
) -> str:
    """Returns the machine and all tables."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines.append(f"- {repeats} rounds in turns: median, least to greatest")
    texts = [table.to_markdown() for table in tables]
    return "\n\n".join(["\n".join(lines), *texts]) + "\n"


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_enum(
        "what", "all", (*PARTS, "peers", "long", "all"), "What to time."
    )
    flags.DEFINE_integer(
        "repeats", 7, "Rounds; medians are of these.", lower_bound=1
    )
    flags.DEFINE_integer(
        "examples", 500, "Examples of the validation set.", lower_bound=1
    )
    flags.DEFINE_integer(
        "num_parallel_calls",
        2,
        "Batches that each pipeline makes at a time.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "data", None, "Folder of JPEGs for `imagenet`; noise without it."
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side of the images that `imagenet` trains on; 224, without a GPU 64.",
        lower_bound=32,
    )
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Examples in a step of `imagenet`; 256, without a GPU 8.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "peak_tflops",
        None,
        "Most that the GPU can do, 1e12 FLOPs a second, for its utilization.",
        lower_bound=0.001,
    )
    flags.DEFINE_string("output", None, "JSON file with all rounds.")


def main() -> None:
    """Prints the tables and writes the rounds."""
    values = flags.FLAGS
    machine = describe_machine()
    tables = run(
        values.what,
        repeats=values.repeats,
        num_examples=values.examples,
        num_parallel_calls=values.num_parallel_calls,
        data=values.data,
        image_size=values.image_size,
        batch_size=values.batch_size,
        peak_tflops=values.peak_tflops,
    )
    sys.stdout.write(to_markdown(machine, tables, values.repeats))
    if values.output:
        record: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "machine": machine,
            "repeats": values.repeats,
            "sections": [table.to_json() for table in tables],
        }
        atomic_files.write_json(pathlib.Path(values.output), record)


if __name__ == "__main__":
    _entry.start(main, define_flags)
