"""Times cases in turns, compares them, and makes tables of the results.

Cases run A B C A B C ..., so that a machine that slows down for a while slows
them all. A ratio is taken within each round before its median.
"""

import dataclasses
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Everything else can be measured everywhere.
NOT_MEASURED = "not measured: no GPU"

# Runs once and returns the seconds that one unit of its work took.
Case = Callable[[], float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """A comparison of two cases and its target.

    Attributes:
        name: What is over what.
        rounds: The ratio in each round; None where there was no GPU for it.
        at_most: Target of the median; None for no such target.
        at_least: The same from below.
    """

    name: str
    rounds: np.ndarray | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def reached(self) -> bool | None:
        """Whether the median is within the target; None if it is unknown."""
        if self.rounds is None or not self.target:
            return None
        return self._is_within(float(np.median(self.rounds)))

    @property
    def verdict(self) -> str:
        """The median's verdict, and how many rounds agree with the target."""
        if self.rounds is None or not self.target:
            return ""
        within = sum(self._is_within(float(each)) for each in self.rounds)
        word = "yes" if self.reached else "no"
        return f"{word}, {within} of {len(self.rounds)} rounds"

    def _is_within(self, value: float) -> bool:
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """What one set of cases that ran in turns showed.

    Attributes:
        title: What was timed, and per what.
        milliseconds: Case -> its time in each round; None where it needs a
            GPU and there is none.
        ratios: Comparisons of these cases.
    """

    title: str
    milliseconds: Mapping[str, np.ndarray | None]
    ratios: tuple[Ratio, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns all rounds, medians and targets as plain values."""
        return {
            "title": self.title,
            "milliseconds": {
                name: _summary(rounds)
                for name, rounds in self.milliseconds.items()
            },
            "ratios": {
                ratio.name: {
                    "target": ratio.target or None,
                    "reached": ratio.reached,
                    **(_summary(ratio.rounds) or {}),
                }
                for ratio in self.ratios
            },
        }

    def to_markdown(self) -> str:
        """Returns the section as one or two Markdown tables."""
        lines = [f"### {self.title}", "", "| Case | ms | rounds |", "|-|-|-|"]
        for name, rounds in self.milliseconds.items():
            lines.append(f"| {name} | {_cells(rounds)} |")
        if self.ratios:
            lines += ["", "| Ratio | median | rounds | target | reached |"]
            lines.append("|-|-|-|-|-|")
        for ratio in self.ratios:
            cells = _cells(ratio.rounds)
            lines.append(
                f"| {ratio.name} | {cells} | {ratio.target} | {ratio.verdict} |"
            )
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """Numbers by name that follow from shapes or medians.

    A value is text where there is no number.
    """

    title: str
    values: Mapping[str, float | str]

    def to_json(self) -> dict[str, Any]:
        """Returns the title and the values."""
        return {"title": self.title, "values": dict(self.values)}

    def to_markdown(self) -> str:
        """Returns a Markdown table."""
        lines = [f"### {self.title}", "", "| What | value |", "|-|-|"]
        for name, value in self.values.items():
            lines.append(f"| {name} | {_fact(value)} |")
        return "\n".join(lines)


Table = Section | Facts


def _fact(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else _number(value)


def _summary(rounds: np.ndarray | None) -> dict[str, Any] | None:
    if rounds is None:
        return None
    return {
        "median": float(np.median(rounds)),
        "min": float(np.min(rounds)),
        "max": float(np.max(rounds)),
        "rounds": [float(each) for each in rounds],
    }


def _cells(rounds: np.ndarray | None) -> str:
    if rounds is None:
        return f"{NOT_MEASURED} | "
    low, high = np.min(rounds), np.max(rounds)
    return f"{_number(np.median(rounds))} | {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def compare(
    measured: Mapping[str, np.ndarray | None],
    name: str,
    other: str,
    **targets: float | None,
) -> Ratio:
    """Returns one case over another; without rounds if either has none."""
    one, two = measured.get(name), measured.get(other)
    rounds = None if one is None or two is None else one / two
    return Ratio(name=f"{name} / {other}", rounds=rounds, **targets)


def gpu_names() -> list[str]:
    """Returns the models of the GPUs; nothing where there is none."""
    return [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]


def describe_device() -> str:
    """Returns the device that a model trains on, and Keras' backend."""
    device = (*gpu_names(), "CPU")[0]
    return f"{device}, {keras.backend.backend()}"


def run_in_turns(
    cases: Mapping[str, Case], *, repeats: int
) -> dict[str, np.ndarray]:
    """Runs each case once a round, after a round that does not count.

    Returns:
        milliseconds: Name -> time in each round, `(repeats,)`.
    """
    rounds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats + 1):
        for name, case in cases.items():
            rounds[name].append(case())
    return {name: 1e3 * np.array(each[1:]) for name, each in rounds.items()}


def calling(function: Callable[..., Any], *args: Any, calls: int = 1) -> Case:
    """Returns a case that takes the mean over some calls of a function."""

    def case() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            function(*args)
        # An accelerator answers before it is done; the host does not.
        tf.test.experimental.sync_devices()
        return (time.perf_counter() - started) / calls

    return case


def batch_seconds(dataset: tf.data.Dataset, *, ahead: int) -> float:
    """Returns the seconds that a batch of a finite dataset takes.

    As many batches as it makes at a time are taken before the clock starts:
    their making goes on in parallel with its start.
    """
    batches = iter(dataset)
    for _ in range(ahead):
        next(batches)
    started = time.perf_counter()
    count = sum(1 for _ in batches)
    return (time.perf_counter() - started) / count
