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
        build: (scale, seeds) -> configs, seed by seed, so that a sweep that
            is cut short has complete seeds.
        seeds: Scale -> how many seeds.
        paper: Its number on arXiv.
    """

    build: Callable[[str, int], list[config.Config]]
    seeds: Mapping[str, int]
    paper: str

    def configs(
        self, scale: str, seeds: int | None = None
    ) -> list[config.Config]:
        """Returns the runs at a scale."""
        count = self.seeds[scale] if seeds is None else seeds
        return self.build(scale, count)


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
