"""Records of runs: in their folders, and in the ledger beside the code.

RESULTS.md is made from the ledger, which has one line per run and per method
that was applied to its outputs. Shapes: S seeds.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from experiments.runs import run_files

# Of runs at small scale; those at the papers' are in a folder within.
LEDGER = pathlib.Path(__file__).parents[1] / "ledger"


@dataclasses.dataclass(frozen=True)
class Record:
    """Results of a run, or of a method applied to its outputs.

    Attributes:
        config: Of the run.
        after: Key of `measures.AFTER`: the method, or `""` for none.
        results: Name -> number; `measures.find` describes it.
        hours: Duration of the run's last start; 0 for applied methods.
        folder: Of the run; None for records of the ledger.
    """

    config: config_lib.Config
    after: str
    results: Mapping[str, float]
    hours: float = 0.0
    folder: pathlib.Path | None = None

    def value(self, result: str) -> float:
        """Returns a result, or NaN.

        `other_*` is of the first set of `ood`, `test_error` what the accuracy
        leaves.
        """
        if result == "test_error":
            return 1 - self.value("test_accuracy")
        if result.startswith("other_") and self.config.ood:
            result = self.config.ood_names[0] + result.removeprefix("other")
        return self.results.get(result, float("nan"))


@dataclasses.dataclass(frozen=True)
class Runs:
    """Contents of a folder of runs.

    Attributes:
        complete: Runs with a record.
        incomplete: Names of runs that were started and have none.
        damaged: A sentence for each record that cannot be read.
    """

    complete: tuple[Record, ...]
    incomplete: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def read_runs(workdir: pathlib.Path) -> Runs:
    """Reads every record below a folder.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(
            f"A sweep's folder must exist. Received: --workdir={workdir}. Run"
            " `python -m experiments.sweep` first."
        )
    complete, damaged = [], []
    for path in sorted(workdir.rglob(run_files.RECORD)):
        try:
            complete.append(_read_run(path.parent))
        except ValueError:
            damaged.append(
                "A record must be whole. Received:"
                f" {path.relative_to(workdir)}, which is damaged. Delete this"
                " file and run the sweep again."
            )
    incomplete = [
        str(path.parent.relative_to(workdir))
        for path in sorted(workdir.rglob(run_files.CONFIG))
        if not path.with_name(run_files.RECORD).exists()
    ]
    return Runs(tuple(complete), tuple(incomplete), tuple(damaged))


def _read_run(folder: pathlib.Path) -> Record:
    record = run_files.read_record(folder)
    return Record(
        config_lib.Config.from_json(record["config"]),
        "",
        {name: float(value) for name, value in record["results"].items()},
        float(record["duration_seconds"]) / 3600,
        folder,
    )


def write(records: Iterable[Record], path: pathlib.Path) -> None:
    """Writes a file of the ledger, whole or not at all."""
    defaults = config_lib.Config().to_json()
    lines = [
        {
            "config": {
                name: value
                for name, value in record.config.to_json().items()
                if value != defaults[name]
            },
            "after": record.after,
            "results": {
                name: round(float(value), 6)
                for name, value in record.results.items()
            },
            "hours": round(record.hours, 4),
        }
        for record in records
    ]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    atomic_files.write_text(path, text)


def read(path: pathlib.Path) -> list[Record]:
    """Reads a file of the ledger.

    Raises:
        ValueError: If a line is damaged.
    """
    records = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            line = json.loads(text)
            config = config_lib.Config.from_json(line["config"])
            records.append(
                Record(config, line["after"], line["results"], line["hours"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "A ledger must have one run per line. Received:"
                f" {path.name}, line {number}: {error}. Rebuild it with"
                " `python -m experiments.collect`."
            ) from error
    return records


def ledger(scale: str) -> pathlib.Path:
    """Returns the folder of the ledger of a scale."""
    return LEDGER if scale == "small" else LEDGER / scale


def read_all(folder: pathlib.Path) -> dict[str, list[Record]]:
    """Returns the records of each table that has a file in a folder."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.jsonl"))}
