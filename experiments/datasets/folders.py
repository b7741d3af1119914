"""Finds the labeled images of a folder with training and test images.

Classes are the folders of `train`, in the order of their names. The test
images are laid out the same way; or they lie in one folder, with their labels
in a file of lines `FILE CLASS`, as of ImageNet and of Tiny-ImageNet.
"""

import logging
import os
import pathlib
import re
from collections.abc import Collection
from collections.abc import Sequence

import numpy as np

from tf_mixup import _checks
from tf_mixup._data import folders

# Beside a flat folder, such as `val_labels.txt` for `val`.
LABELS_SUFFIX = "_labels.txt"
# Within a flat folder, such as `val_annotations.txt`: FILE, CLASS and a box,
# between tabs. The images lie in a folder of their own.
ANNOTATIONS_SUFFIX = "_annotations.txt"
_IMAGES = "images"


def find_parts(
    folder: pathlib.Path, test: str
) -> tuple[folders.LabeledFiles, folders.LabeledFiles]:
    """Finds the training images below `train`, and the test images.

    Args:
        folder: Holds `train` and the folder of test images.
        test: The name of that folder; see `find_test`.
    """
    classes = folders.class_names(folder / "train")
    found = find_classes(folder / "train"), find_test(folder / test, classes)
    left_out = [path for part in found for path in part.left_out]
    folders.log_left_out(folder, left_out)
    return found


def find_classes(folder: pathlib.Path) -> folders.LabeledFiles:
    """Finds `CLASS/*`, of classes that must all have an image.

    Raises:
        FileNotFoundError: If there is no folder, or no image at all.
        ValueError: If a class has no image.
    """
    classes = folders.class_names(folder)
    shown = repr(folders.printable(folder))
    if not classes:
        raise FileNotFoundError(
            "A folder of labeled images must hold one folder a class."
            f" Received: {shown} without any. Put the images of each class"
            " into a folder of its name."
        )
    found = folders.find_labeled(folder, classes)
    counts = np.bincount(found.labels, minlength=len(classes))
    if not found.paths:
        raise FileNotFoundError(
            f"A folder of images must hold {_types()} files. Received:"
            f" {shown} without any. Name another folder, or convert the"
            " images."
        )
    if not counts.all():
        empty = os.path.join(folder, classes[int(counts.argmin())])
        raise _checks.refusal(
            "Each class must have an image",
            f"{folders.printable(empty)!r} without any {_types()} file",
            "Unpack its archive, or delete the empty folder",
        )
    return found


def find_test(
    folder: pathlib.Path, classes: Sequence[str]
) -> folders.LabeledFiles:
    """Finds test images of known classes, in class folders or by a file.

    Args:
        folder: Holds `CLASS/*`, where a class may be missing; or images whose
            labels are in `FOLDER_labels.txt` beside it, by the class's name
            or its number; or `images/*` with `FOLDER_annotations.txt`.
        classes: Of the training images, by number.

    Raises:
        ValueError: If a class is unknown, or a label does not fit.
        FileNotFoundError: If there are no images, or no labels of them.
    """
    labels_file = _labels_file(folder)
    names = {*folders.class_names(folder)}
    unknown = sorted(names - {*classes})
    if labels_file is not None and names == {*unknown} <= {_IMAGES}:
        return _find_listed(folder, labels_file, classes)
    if unknown:
        raise _checks.refusal(
            f"Each class of `{folder.name}` must be a class of `train`",
            f"{folder.name} classes {unknown[:3]}",
            "Give `train` a folder of the same name",
        )
    found = folders.find_labeled(folder, classes)
    if not found.paths:
        count = len(folders.find_files(folder).paths)
        raise FileNotFoundError(
            f"`{folder.name}` must hold a folder for each class, or images"
            f" whose labels are in '{folder.name}{LABELS_SUFFIX}' beside it."
            f" Received: {folders.printable(folder)!r} with {count} images"
            f" and no {'labels' if count else 'folder'}. Write a line"
            " `FILE CLASS` for each image."
        )
    return found


def is_labeled(folder: pathlib.Path, classes: Sequence[str]) -> bool:
    """Whether a folder has class folders, or a file of labels."""
    known = set(folders.class_names(folder)) & set(classes)
    return bool(known) or _labels_file(folder) is not None


def _types() -> str:
    return ", ".join(sorted(folders.IMAGE_SUFFIXES))


def _labels_file(folder: pathlib.Path) -> pathlib.Path | None:
    beside = folder.with_name(folder.name + LABELS_SUFFIX)
    within = folder / f"{folder.name}{ANNOTATIONS_SUFFIX}"
    return next((file for file in (beside, within) if file.is_file()), None)


def _find_listed(
    folder: pathlib.Path, labels_file: pathlib.Path, classes: Sequence[str]
) -> folders.LabeledFiles:
    """Finds images whose labels are in a file."""
    files = folders.find_files(folder)
    left_out = [path for path in files.left_out if path != str(labels_file)]
    names = [os.path.basename(path) for path in files.paths]
    if len(set(names)) < len(names):
        names = [os.path.relpath(path, folder) for path in files.paths]
    by_name = dict(zip(names, files.paths, strict=True))
    labels = _read_labels(labels_file, classes, by_name)
    different = sorted(labels.keys() ^ by_name.keys())
    if different:
        where = "label" if different[0] in by_name else "image"
        raise _checks.refusal(
            f"{labels_file.name!r} must have one line for each image of"
            f" `{folder.name}`",
            f"{different[0]!r} without {where}, and {len(different) - 1} more",
            "Make the file anew for these images",
        )
    return folders.LabeledFiles(
        list(by_name.values()),
        np.array([labels[name] for name in by_name], np.int32),
        left_out,
    )


def _read_labels(
    path: pathlib.Path, classes: Sequence[str], files: Collection[str]
) -> dict[str, int]:
    """Reads lines `FILE CLASS`, where both may have spaces."""
    by_name = {name: number for number, name in enumerate(classes)}
    numbers, allowed = by_name, "the name of a folder of `train`"
    # A folder named "7" need not be the eighth: then only names count.
    if not any(name.isdecimal() for name in classes):
        allowed += f" or its number below {len(classes)}"
        numbers = {str(number): number for number in range(len(classes))}
        numbers |= by_name
    labels: dict[str, int] = {}
    counted = 0
    for line in _lines(path):
        file, word = _split_line(line, files)
        if word not in numbers:
            raise _checks.refusal(
                f"A line of {path.name!r} must be `FILE CLASS`, the class"
                f" {allowed}",
                f"line={line!r}",
                "Correct the file, or unpack the other classes",
            )
        counted += word not in by_name
        if labels.setdefault(file, numbers[word]) != numbers[word]:
            raise _checks.refusal(
                f"An image of {path.name!r} must have one class",
                f"{file!r} with the classes {classes[labels[file]]!r} and"
                f" {word!r}",
                "Delete the wrong line",
            )
    if counted:
        logging.warning(
            "%s: %d labels are numbers; they count the folders of `train`"
            " from 0, in the order of their names. The ids of ImageNet's"
            " development kit have another order: they must be translated to"
            " the names of synsets first.",
            path.name,
            counted,
        )
    return labels


def _lines(path: pathlib.Path) -> list[str]:
    """Returns the lines that are not blank, with bytes as in file names."""
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    return [line for line in map(str.strip, text.split("\n")) if line]


def _split_line(line: str, files: Collection[str]) -> tuple[str, str]:
    """Returns the file and the class of a line; no class if it has none."""
    if "\t" in line:
        file, word = line.split("\t")[:2]
        return file.strip(), word.strip()
    for gap in re.finditer(r"\s+", line):
        if line[: gap.start()] in files:
            return line[: gap.start()], line[gap.end() :]
    file, _, word = line.partition(" ")
    return file, word.strip()
