"""Lists the files of folders whose names are the labels of their contents.

Files that a desktop, a notebook or a version control system leaves behind are
ignored: names that begin with a dot, and `_SYSTEM_NAMES`. Files of other types
are counted and logged. `suffixes` are in lower case; names may be in either.
"""

import collections
import logging
import os
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Of the types that `tf.io.decode_image` decodes.
IMAGE_SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"))

# Lower case: what Windows, macOS and network drives add to folders.
_SYSTEM_NAMES = frozenset(
    (
        "$recycle.bin",
        "__macosx",
        "@eadir",
        "desktop.ini",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)

AnyPath = str | os.PathLike[str]

_logger = logging.getLogger(__name__)


class Files(NamedTuple):
    """The files below a folder.

    Attributes:
        paths: Those of the wanted types, sorted.
        left_out: Those of other types, without hidden files.
    """

    paths: list[str]
    left_out: list[str]


class LabeledFiles(NamedTuple):
    """The files below the folders of several classes.

    Attributes:
        paths: Class by class, sorted within each.
        labels: Integers `(N,)`: the index of each file's class.
        left_out: Files of other types, without hidden files.
    """

    paths: list[str]
    labels: np.ndarray
    left_out: list[str]


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is not the user's data.

    Example:
        >>> [is_hidden(name) for name in ("._x.png", "Thumbs.db", "_x", "cat")]
        [True, True, False, False]
    """
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def class_names(folder: AnyPath) -> list[str]:
    """Returns the sorted names of the folders in `folder`, if it is one."""
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.is_dir() and not is_hidden(entry.name)
        )


def find_files(
    folder: AnyPath,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    *,
    relative: bool = False,
) -> Files:
    """Returns all files below `folder`, at any depth, also behind links.

    Args:
        folder: Where to look.
        suffixes: Of the wanted files.
        relative: Whether paths start at `folder`.
    """
    root = os.fspath(folder)
    found = list(_walk(root))
    if relative:
        found = [os.path.relpath(path, root) for path in found]
    return _split(found, suffixes)


def select(
    names: Sequence[str], suffixes: Collection[str] = IMAGE_SUFFIXES
) -> Files:
    """Sorts the names of an archive as `find_files` sorts those of a folder.

    Example:
        >>> names = ["b/1.PNG", "a/1.png", "__MACOSX/a/._1.png", "a/notes.txt"]
        >>> select(names)
        Files(paths=['a/1.png', 'b/1.PNG'], left_out=['a/notes.txt'])
    """
    visible = [
        name for name in names if not any(map(is_hidden, name.split("/")))
    ]
    return _split(visible, suffixes)


def find_labeled(
    folder: AnyPath,
    classes: Sequence[str],
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> LabeledFiles:
    """Returns the files of each class, at any depth below its folder.

    Args:
        folder: Holds a folder for each class; classes may be without.
        classes: Names of the K classes, in the order of their labels.
        suffixes: Of the wanted files.
    """
    groups = [
        find_files(os.path.join(folder, name), suffixes) for name in classes
    ]
    labels = np.repeat(
        np.arange(len(groups), dtype=np.int32),
        [len(group.paths) for group in groups],
    )
    return LabeledFiles(
        [path for group in groups for path in group.paths],
        labels,
        [path for group in groups for path in group.left_out],
    )


def log_left_out(folder: AnyPath, left_out: Sequence[str]) -> None:
    """Logs in one line how many files were left out, and of which types."""
    if left_out:
        _logger.warning(
            "%s: %s", printable(folder), describe_left_out(left_out)
        )


def describe_left_out(left_out: Sequence[str]) -> str:
    """Returns the line that `log_left_out` logs, without the folder.

    Example:
        >>> describe_left_out(["a/x.tif", "b/y.TIF", "b/README"])
        '3 files of other types were left out: 2 .tif, 1 without suffix.'
    """
    counts = collections.Counter(map(_suffix, left_out))
    types = ", ".join(
        f"{count} {printable(suffix) or 'without suffix'}"
        for suffix, count in counts.most_common()
    )
    files = "file" if len(left_out) == 1 else "files"
    were = "was" if len(left_out) == 1 else "were"
    return f"{len(left_out)} {files} of other types {were} left out: {types}."


def encode(paths: Iterable[AnyPath]) -> np.ndarray:
    """Returns paths as the bytes of the file system, for TensorFlow."""
    return np.array([os.fsencode(path) for path in paths], np.bytes_)


def printable(path: AnyPath) -> str:
    r"""Returns a path or a name as one line that can be printed and stored.

    Bytes that are no UTF-8, line breaks and other control characters become
    backslash escapes.

    Example:
        >>> print(printable("Käse"), printable(os.fsdecode(b"a\xff")))
        Käse a\xff
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] for each in text
    )


def _walk(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the paths of all visible files; stops at a link to itself."""
    real = os.path.realpath(folder)
    if real in above or not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not is_hidden(entry.name)]
    for entry in visible:
        if entry.is_dir():
            yield from _walk(entry.path, (*above, real))
        else:
            yield entry.path


def _split(paths: Sequence[str], suffixes: Collection[str]) -> Files:
    files = Files([], [])
    # As paths compare: "a/b" comes before "a-b/c".
    for path in sorted(paths, key=lambda path: path.split(os.sep)):
        files[_suffix(path) not in suffixes].append(path)
    return files


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
