r"""Times mixing and measuring against Keras, plain ops and a copy.

Command:
    python -m experiments.benchmark --what=all
    python -m experiments.benchmark --what=mixing --output=benchmark.json
    python -m experiments.benchmark --what=imagenet --data=FOLDER

Cases run in turns in one process; the tables show the median of the rounds,
their least and greatest, and each target beside what was reached. Close other
programs first: a busy machine moves ratios too. On two CPU cores everything
takes three minutes with --repeats=5.
"""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import flags

from experiments import entry
from experiments import files
from experiments.benchmark import imagenet
from experiments.benchmark import mixing
from experiments.benchmark import step
from experiments.benchmark import timing
from experiments.benchmark import validation
from tf_mixup import checks

PARTS = ("mixing", "metrics", "monitors", "step", "imagenet")
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")

_WHAT = flags.DEFINE_enum("what", "all", (*PARTS, "all"), "What to time.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Rounds; medians are of these.")
_ROWS = flags.DEFINE_integer("rows", 500, "Rows of the validation set.")
_NUM_PARALLEL_CALLS = flags.DEFINE_integer(
    "num_parallel_calls", 2, "Batches that each pipeline makes at a time."
)
_DATA = flags.DEFINE_string(
    "data", None, "Folder of JPEGs for `imagenet`; noise without it."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "JSON file with all rounds.", allow_override=True
)


def describe_machine() -> dict[str, str]:
    """Returns the processor, the accelerators and the versions."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "CPU": f"{_processor()}, {os.cpu_count()} threads",
        "GPU": ", ".join(gpus) or "none",
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
    rows: int,
    num_parallel_calls: int,
    data: str | None = None,
) -> list[timing.Section]:
    """Runs one part, or all.

    Args:
        what: One of `PARTS`, or `"all"`.
        repeats: Rounds, at least 1.
        rows: Rows of the validation set, at least 1.
        num_parallel_calls: Batches that each pipeline makes at a time, at
            least 1.
        data: Folder of JPEGs for `imagenet`. Defaults to noise.

    Returns:
        sections: What was measured.

    Raises:
        ValueError: If a number is below 1.
    """
    for name, value in (
        ("repeats", repeats),
        ("rows", rows),
        ("num_parallel_calls", num_parallel_calls),
    ):
        checks.integer_at_least(name, value, 1, remedy="Leave the flag out")

    def time_mixing() -> list[timing.Section]:
        return [
            section
            for size in mixing.SIZES
            for section in mixing.measure(
                size, repeats=repeats, num_parallel_calls=num_parallel_calls
            )
        ]

    parts: dict[str, Callable[[], list[timing.Section]]] = {
        "mixing": time_mixing,
        "metrics": lambda: [
            *validation.measure_metrics(repeats),
            *validation.measure_pass(repeats, rows=rows),
        ],
        "monitors": lambda: validation.measure_monitors(repeats, rows=rows),
        "step": lambda: step.measure(repeats),
        "imagenet": lambda: imagenet.measure(repeats, data=data),
    }
    chosen = parts.values() if what == "all" else [parts[what]]
    return [section for part in chosen for section in part()]


def to_markdown(
    machine: dict[str, str], sections: list[timing.Section], repeats: int
) -> str:
    """Returns the machine and all tables."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines.append(f"- {repeats} rounds in turns: median, least to greatest")
    tables = [section.to_markdown() for section in sections]
    return "\n\n".join(["\n".join(lines), *tables]) + "\n"


def main() -> None:
    """Prints the tables and writes the rounds."""
    machine = describe_machine()
    sections = run(
        _WHAT.value,
        repeats=_REPEATS.value,
        rows=_ROWS.value,
        num_parallel_calls=_NUM_PARALLEL_CALLS.value,
        data=_DATA.value,
    )
    sys.stdout.write(to_markdown(machine, sections, _REPEATS.value))
    if _OUTPUT.value:
        record: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "machine": machine,
            "repeats": _REPEATS.value,
            "sections": [section.to_json() for section in sections],
        }
        files.write_json(pathlib.Path(_OUTPUT.value), record)


if __name__ == "__main__":
    entry.start(main)
