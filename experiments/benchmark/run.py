"""Times a run of `experiments.train` beside a plain Keras program.

Each program runs in a process of its own, which times its imports apart.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from experiments.benchmark import timing

OURS, PLAIN = "experiments.train", "plain Keras"
# Target of the time after the imports.
MAX_RATIO = 1.3
_PROGRAMS = {
    OURS: """
from absl import flags
from experiments import train as program
# These are imported late, when they are needed.
import matplotlib.backends.backend_agg, matplotlib.figure
import scipy.special, scipy.stats, sklearn.datasets, tensorflow_probability
def run(folder, epochs):
    program.define_flags()
    given = [f"--workdir={folder}", *(f"--epochs={each}" for each in epochs)]
    flags.FLAGS(["train", "--dataset=digits", "--verbose=0", *given])
    program.main()
""",
    PLAIN: """
import pathlib
from experiments.benchmark import plain_keras as program
def run(folder, epochs):
    program.main(pathlib.Path(folder), *epochs)
""",
}
_TEMPLATE = """
import json, sys, time
def now():
    return time.perf_counter(), time.process_time()
times = [now()]
{program}
times.append(now())
run(sys.argv[1], [int(each) for each in sys.argv[2:]])
times.append(now())
print(json.dumps(times))
"""
# What is timed, for titles: begin and end in the program's list of times, and
# which of its two clocks.
_PHASES = {
    "Run of digits after the imports, ms": (1, 2, 0),
    "Run of digits after the imports, ms of processor time": (1, 2, 1),
    "Imports of the run, ms": (0, 1, 0),
}


def measure(repeats: int, epochs: int | None = None) -> list[timing.Section]:
    """Times both programs in turns.

    Args:
        repeats: Rounds.
        epochs: To train for; None for the default of the data set.

    Returns:
        sections: Wall and processor time of the runs, and their imports.
    """
    times = {
        name: np.array(rounds)
        for name, rounds in _run_in_turns(repeats, epochs).items()
    }
    sections = []
    for title, (begin, end, clock) in _PHASES.items():
        milliseconds = {
            name: 1e3 * (each[:, end, clock] - each[:, begin, clock])
            for name, each in times.items()
        }
        ratio = timing.compare(
            milliseconds, OURS, PLAIN, at_most=MAX_RATIO if begin else None
        )
        sections.append(
            timing.Section(
                title=title, milliseconds=milliseconds, ratios=(ratio,)
            )
        )
    return sections


def _run_in_turns(
    repeats: int, epochs: int | None
) -> dict[str, list[list[list[float]]]]:
    """Returns the times that each program noted in each round."""
    rounds: dict[str, list[list[list[float]]]] = {
        name: [] for name in _PROGRAMS
    }
    for _ in range(repeats):
        for name in rounds:
            rounds[name].append(_start(name, epochs))
    return rounds


def _start(name: str, epochs: int | None) -> list[list[float]]:
    """Returns a program's times: start, after its imports, end."""
    code = _TEMPLATE.format(program=_PROGRAMS[name])
    given = [] if epochs is None else [str(epochs)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            (sys.executable, "-c", code, os.path.join(folder, "run"), *given),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])
