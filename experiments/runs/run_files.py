"""What a complete run left, read and checked in one place.

A record says which config it is of, and the digests of the files beside it:
so no file of another run, and none that is damaged, passes for this one's.
"""

import contextlib
import hashlib
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from tf_mixup import _checks

CONFIG = "config.json"
RECORD = "record.json"
PREDICTIONS = "predictions.npz"
MC_PREDICTIONS = "mc_predictions.npz"
MODEL = "model.keras"
# Files whose digests a record has.
WRITTEN = (PREDICTIONS, MC_PREDICTIONS, MODEL)
# Key of a record: name of a file -> its digest.
DIGESTS = "files"
# Fields that runs of every version have had.
_ALWAYS = ("dataset", "network", "method", "alpha", "seed")


def read_record(
    folder: pathlib.Path, config: config_lib.Config | None = None
) -> dict[str, Any]:
    """Reads the record of a run.

    Args:
        folder: Its workdir.
        config: What the run must have been of; None for any.

    Returns:
        record: `config`, `results` (name -> number) and `duration_seconds` at
            least. Fields of `config` that did not exist when the run was made
            are left out.

    Raises:
        FileNotFoundError: If there is no record.
        ValueError: If it is damaged, or of another config.
    """
    path = folder / RECORD
    record = atomic_files.read_json(path)
    with _refusing_damage(path, f"{RECORD} must be the record of a run"):
        _check_fields(record["config"])
        if not record["results"]:
            raise ValueError("no results")
        for value in (*record["results"].values(), record["duration_seconds"]):
            float(value)
    if config is not None:
        check_config(record["config"], config, path)
    return record


def write_record(
    folder: pathlib.Path,
    config: config_lib.Config,
    files: Iterable[str],
    **fields: Any,
) -> dict[str, Any]:
    """Writes and returns the record of a run, with digests of its files."""
    digests = {
        name: digest(folder / name)
        for name in files
        if (folder / name).exists()
    }
    record = {"config": config.to_json(), DIGESTS: digests, **fields}
    atomic_files.write_json(folder / RECORD, record)
    return record


def is_complete(folder: pathlib.Path, config: config_lib.Config) -> bool:
    """Whether a run of `config` has a record that can be read."""
    try:
        read_record(folder, config)
    except (FileNotFoundError, ValueError):
        return False
    return True


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """Reads a workdir's config; raises a ValueError if it is damaged."""
    path = folder / CONFIG
    fields = atomic_files.read_json(path)
    with _refusing_damage(path, f"{CONFIG} must hold the fields of a config"):
        _check_fields(fields)
    return fields


@contextlib.contextmanager
def _refusing_damage(path: pathlib.Path, rule: str) -> Iterator[None]:
    """Turns what a check of a file's content raises into one refusal."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _checks.refusal(
            rule,
            f"{path} ({type(error).__name__}: {error})",
            "Delete this file and run the same command again",
        ) from error


def _check_fields(fields: dict[str, Any]) -> None:
    """Raises one of several errors if these are not a config's fields."""
    config_lib.Config.from_json(fields)
    for name in _ALWAYS:
        fields[name]  # A KeyError names the one that is missing.


def describe_changes(
    found: Mapping[str, Any], wanted: config_lib.Config
) -> str:
    """Returns the fields of `found` that differ; empty if it is the same.

    A run that is older than a field had the field's default.
    """
    there, asked = config_lib.Config().to_json() | {**found}, wanted.to_json()
    if there["method"] == "erm" or not there["alpha"]:
        there |= config_lib.NO_MIXING
    return ", ".join(
        f"{name}: {there.get(name)!r} there, {asked.get(name)!r} asked"
        for name in sorted({*there, *asked})
        if there.get(name) != asked.get(name)
    )


def check_config(
    found: Mapping[str, Any], wanted: config_lib.Config, path: pathlib.Path
) -> None:
    """Refuses a file of another config."""
    changes = describe_changes(found, wanted)
    if changes:
        raise _checks.refusal(
            "A workdir belongs to one config",
            f"workdir={path.parent}, whose {path.name} is another's"
            f" ({changes})",
            "Take another --workdir, or delete this one",
        )


def digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: pathlib.Path) -> pathlib.Path:
    """Returns a path; refuses a file that the record beside it does not name.

    Without a record, or with one that is older than digests, any file passes.
    """
    if (path.parent / RECORD).exists() and path.exists():
        record = read_record(path.parent)
        known = record.get(DIGESTS, {}).get(path.name)
        if known is not None and known != digest(path):
            raise _checks.refusal(
                f"{path.name} must be the file that this run wrote",
                f"{path}, which is damaged or of another run",
                f"Delete it and the {RECORD} beside it, and run the same"
                " command again: it goes on from the last checkpoint",
            )
    return path
