"""Files that are whole or absent, whatever stops the process."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any


def write_atomically(
    path: pathlib.Path, write: Callable[[pathlib.Path], None]
) -> None:
    """Writes to a temporary name, flushes to the disk, then renames.

    Args:
        path: The file to make or to replace.
        write: Writes the file whose path it is given. Its name ends as that
            of `path` does.

    Raises:
        OSError: If the disk is full or read-only; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=".partial-", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    partial = pathlib.Path(name)
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file atomically."""
    text = json.dumps(value, indent=2, sort_keys=True)
    write_atomically(path, lambda partial: _write_text(partial, text))


def _write_text(path: pathlib.Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
        ValueError: If it is truncated or otherwise no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path.name} is damaged: {error}. Received: {path}. Delete this"
            " file and run the same command again."
        ) from error
