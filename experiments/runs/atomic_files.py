"""Files that are whole or absent, whatever stops the process."""

import contextlib
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_mixup import _checks

# Names of files that are being written begin with it.
PARTIAL = ".partial-"
# The file in a workdir that its owner locks.
LOCK = ".owner"


def write_atomically(
    path: pathlib.Path, write: Callable[[pathlib.Path], None]
) -> None:
    """Writes to a temporary name, flushes to the disk, then renames.

    `write` writes the file whose path it is given; the name ends as that of
    `path` does.

    Raises:
        OSError: If the disk is full or read-only; `path` is as it was.
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}{path.suffix}")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(path: pathlib.Path) -> Iterator[None]:
    """Says what to do when a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{path} must be writable. Received: {error}. Make room, or give"
            " the rights, and run the same command again: it goes on where it"
            " stopped."
        ) from error


def remove_partial(directory: pathlib.Path) -> None:
    """Removes what processes that were killed left half-written, at any depth.

    Workdirs inside have owners of their own and are left alone; no other
    process may write in the directory.
    """
    for path in directory.glob(f"{PARTIAL}*"):
        path.unlink()
    for inner in directory.iterdir():
        if inner.is_dir() and not (inner / LOCK).exists():
            remove_partial(inner)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically, as UTF-8."""

    def write(partial: pathlib.Path) -> None:
        # A name of a file need not be text.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    write_atomically(path, write)


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file; raises a ValueError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _checks.refusal(
            f"{path.name} must be a whole JSON file",
            f"{path} ({error})",
            "Delete this file and run the same command again",
        ) from error


def read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _checks.refusal(
            f"{path.name} must be a whole .npz file",
            f"{path} ({error})",
            "Delete it and record.json beside it, and run the same command"
            " again",
        ) from error
