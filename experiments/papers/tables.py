"""Table: a paper's table as a list of `Config`s, at two scales."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from experiments.runs import config

SCALES = ("small", "paper")


class Table(NamedTuple):
    """Runs of a table.

    Attributes:
        build: (scale, seeds) -> configs, seed by seed, so that an interrupted
            sweep has complete seeds.
        paper: Its number on arXiv.
        shows: Tables or figures of the paper.
        seeds: How many by default, at each of `SCALES`.
        hours: Of all runs at small scale, on two CPU cores.
        expected: A number to expect at small scale, without -> with mixup.
    """

    build: Callable[[str, int], list[config.Config]]
    paper: str
    shows: str
    seeds: tuple[int, int]
    hours: float
    expected: str

    def configs(
        self, scale: str, seeds: int | None = None
    ) -> list[config.Config]:
        """Returns the runs at a scale."""
        count = self.seeds[SCALES.index(scale)] if seeds is None else seeds
        return self.build(scale, count)

    def describe(self, name: str) -> str:
        """Returns command, duration and expected number of a small table."""
        return (
            f"arXiv {self.paper}, {self.shows}."
            f" Command: `python -m experiments.sweep --table={name}"
            " --data_dir=DIR --workdir=runs`."
            f" About {self.hours:g} hours on two CPU cores."
            f" Expected, without -> with mixup: {self.expected}."
        )


def cross(
    seeds: Iterable[int],
    bases: Iterable[Mapping[str, Any]],
    arms: Iterable[Mapping[str, Any]],
) -> list[config.Config]:
    """Returns a config for each seed, arm and base, in this order."""
    bases, arms = list(bases), list(arms)
    return [
        config.Config(**{**base, **arm}, seed=seed)
        for seed in seeds
        for arm in arms
        for base in bases
    ]
