"""Table: a paper's table as a list of `Config`s, at two scales."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from experiments.runs import config

SCALES = ("small", "paper")
Build = Callable[[str, int], list[config.Config]]


class Table(NamedTuple):
    """Runs of a table.

    Attributes:
        build: (scale, seeds) -> configs, seed by seed, so that an interrupted
            sweep has complete seeds. Its docstring begins with what it shows.
        paper: Number on arXiv, or a name.
        seeds: How many by default, at each of `SCALES`.
        hours: Of all runs at small scale, on two CPU cores.
        expected: A result at small scale, without -> with mixup.
        further: Of runs that claims at small scale need more often: how many
            seeds by default, and the fields that tell them, as of an `Arm`.
    """

    build: Build
    paper: str
    seeds: tuple[int, int]
    hours: float
    expected: str
    further: tuple[tuple[int, Mapping[str, Any]], ...] = ()

    def configs(
        self,
        scale: str,
        seeds: int | None = None,
        embeddings: str | None = None,
    ) -> list[config.Config]:
        """Returns the runs at a scale.

        Args:
            scale: One of `SCALES`.
            seeds: How many of each run; None for the default.
            embeddings: File of word vectors, for runs of sentences.

        Raises:
            ValueError: If there are embeddings for other runs.
        """
        if seeds is None:
            configs = self._default_configs(scale)
        else:
            configs = self.build(scale, seeds)
        if embeddings is None:
            return configs
        return [
            dataclasses.replace(each, embeddings=embeddings) for each in configs
        ]

    def _default_configs(self, scale: str) -> list[config.Config]:
        count = self.seeds[SCALES.index(scale)]
        further = self.further if scale == SCALES[0] else ()
        most = max([count, *(more for more, _ in further)])
        return [
            each
            for each in self.build(scale, most)
            if each.seed < count
            or any(each.seed < more and each.has(at) for more, at in further)
        ]

    @property
    def source(self) -> str:
        """The paper, in words."""
        return f"arXiv {self.paper}" if self.paper[0].isdigit() else self.paper

    def describe(self, name: str, scale: str = SCALES[0]) -> str:
        """Returns contents and command; of small scale what to expect."""
        shows = (self.build.__doc__ or "").partition("\n")[0]
        small = scale == SCALES[0]
        option = "" if small else f" --scale={scale}"
        text = (
            f"{self.source}. {shows}\n\n"
            f"Command: `python -m experiments.sweep --table={name}{option}"
            " --data_dir=DIR --workdir=runs`."
        )
        if small:
            text += (
                f" About {self.hours:g} hours on two CPU cores. Expected,"
                f" without -> with mixup: {self.expected}."
            )
        return text


def of_paper(
    paper: str, entries: Mapping[Build, tuple[Any, ...]]
) -> dict[str, Table]:
    """Returns name -> table, named as the functions that build them.

    Args:
        paper: Number on arXiv, or a name.
        entries: Builder of a table -> its fields from `seeds` on.
    """
    return {
        build.__name__: Table(build, paper, *entry)
        for build, entry in entries.items()
    }


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
