r"""Runs the small experiments behind the guide's advice, and prints tables.

Command:
    python -m experiments.advice
    python -m experiments.advice --what=class_between --what=scalers
    python -m experiments.advice --output=experiments/ADVICE.md

Most compute or draw what they need in seconds; `rivals` trains 15 networks,
some minutes on two cores. A new one is a function here that returns the lines
of a table, and whose docstring is its text.
"""

import pathlib
import sys
from collections.abc import Callable
from collections.abc import Mapping

from absl import flags

from experiments import _entry
from experiments.advice import averaging
from experiments.advice import class_weights
from experiments.advice import infinite_data
from experiments.advice import intervals
from experiments.advice import rivals
from experiments.advice import scalers
from experiments.analysis import run_tables
from experiments.runs import atomic_files

EXPERIMENTS: Mapping[str, Callable[[], list[list[str]]]] = {
    each.__name__: each
    for each in (
        rivals.rivals,
        infinite_data.two_classes,
        infinite_data.class_between,
        class_weights.class_weights,
        averaging.averaging,
        scalers.scalers,
        intervals.intervals,
    )
}
PAGE = pathlib.Path(__file__).parents[1] / "ADVICE.md"
INTRODUCTION = """\
# Advice

What the guide advises and no paper measured, in small experiments.
`python -m experiments.advice --output=experiments/ADVICE.md` writes this page.
Numbers are means ± standard deviations over draws or seeds.
"""


def render(name: str) -> str:
    """Runs one experiment; returns its section."""
    experiment = EXPERIMENTS[name]
    title, _, text = (experiment.__doc__ or "").partition("\n\n")
    lines = " ".join(map(str.strip, text.strip().splitlines()))
    return (
        f"## {title.rstrip('.')}\n\n{lines}\n\n"
        f"Command: `python -m experiments.advice --what={name}`.\n\n"
        f"{run_tables.markdown(experiment())}"
    )


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_multi_enum(
        "what", list(EXPERIMENTS), list(EXPERIMENTS), "Which to run."
    )
    flags.DEFINE_string("output", None, "File that gets them, too.")


def main() -> None:
    """Prints the chosen experiments, and writes them if asked."""
    parts = [INTRODUCTION]
    for name in flags.FLAGS.what:
        parts.append(render(name))
        sys.stdout.write(f"{parts[-1]}\n")
        sys.stdout.flush()
    if flags.FLAGS.output:
        path = pathlib.Path(flags.FLAGS.output)
        atomic_files.write_text(path, "\n".join(parts))


if __name__ == "__main__":
    _entry.start(main, define_flags)
