"""Reads images from TFDS, scikit-learn, folders and `.npz` files as uint8."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.datasets import cards
from experiments.datasets import folders
from experiments.datasets import prepared
from experiments.datasets import splits
from experiments.datasets.prepared import DataDir
from tf_mixup import _checks
from tf_mixup._data import folders as folders_lib

FOLDER = "folder:"
# Share of a set without test split that is its test set, for every seed.
_TEST_DIVISOR = 5
_CHUNK_SIZE = 1024


def load(
    name: str, *, data_dir: DataDir, download: bool, **counts: Any
) -> splits.Splits:
    """Loads images that are kept in memory; see `datasets.load`."""
    train, test = read(name, data_dir, download=download)
    mean, std = _pixel_statistics(name, train.inputs)
    # Classes of all training labels: a small subset may lack one.
    num_classes = int(train.labels.max()) + 1
    return splits.build(
        *(name, train, test),
        num_classes=num_classes,
        mean=mean,
        std=std,
        **counts,
    )


def _pixel_statistics(
    name: str, pixels: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation a channel, in `[0, 255]`."""
    known = cards.find(name).pixels
    if known is not None:
        mean, std = known
        return tuple(255 * m for m in mean), tuple(255 * s for s in std)
    flat = pixels.reshape(-1, pixels.shape[-1])
    return tuple(flat.mean(axis=0).tolist()), tuple(flat.std(axis=0).tolist())


def read(
    name: str, data_dir: DataDir, *, download: bool = False
) -> tuple[splits.Arrays, splits.Arrays]:
    """Reads the training and the test images of a data set, in stored order.

    Args:
        name: `digits`, `folder:PATH`, or that of a TFDS data set.
        data_dir: TFDS's folder, or where PATH starts from.
        download: Whether a missing set is downloaded and prepared there.

    Raises:
        FileNotFoundError: If the set is missing and `download` is false.
        ValueError: If a file of it is damaged.
    """
    if name == "digits":
        return read_digits()
    if name.startswith(FOLDER):
        return read_folder(resolve(name, data_dir))
    builder = prepared.open_builder(name, data_dir, download=download)
    if builder is None:
        raise prepared.missing(name, data_dir)
    parts = (prepared.read(builder, split) for split in ("train", "test"))
    train, test = (
        splits.Arrays(part["image"], part["label"].astype(np.int32))
        for part in parts
    )
    return train, test


def resolve(name: str, data_dir: DataDir) -> pathlib.Path:
    """Returns a name's path, taken relative to `data_dir` unless absolute."""
    path = name.removeprefix(FOLDER)
    if not path:
        raise _checks.refusal(
            "The name of a folder follows the colon",
            "an empty name",
            "Write e.g. folder:photos, or folder:. for this folder",
        )
    return pathlib.Path(data_dir or ".", path)


def read_npz(path: pathlib.Path) -> np.ndarray:
    """Reads the uint8 array `image` of an `.npz` file; gray gets a channel."""
    if not path.is_file():
        raise FileNotFoundError(
            "An OOD file must exist. Received: "
            f"{str(path)!r}. Give its path, absolute or relative to "
            "`data_dir`."
        )
    with np.load(path) as arrays:
        if "image" not in arrays or arrays["image"].dtype != np.uint8:
            raise _checks.refusal(
                "An OOD file must hold a uint8 array `image`",
                f"{path.name} with {sorted(arrays)}",
                "Write it with np.savez(path, image=images)",
            )
        image = arrays["image"]
    return image if image.ndim == 4 else image[..., np.newaxis]


def read_digits() -> tuple[splits.Arrays, splits.Arrays]:
    """Reads the 1,797 digits of 8x8 pixels that scikit-learn carries.

    The 17 gray levels are stretched to `[0, 255]`. A fifth, the same for
    every seed, is the test set.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return _hold_out_test(
        splits.Arrays(images[..., np.newaxis], digits.target.astype(np.int32))
    )


def read_folder(
    folder: pathlib.Path,
) -> tuple[splits.Arrays, splits.Arrays]:
    """Reads `train/CLASS/*` and a test set, or `CLASS/*`, as RGB of one size.

    Classes are numbered in the order of their names. The test set is `test`
    or, where that is missing or has no labels, `val`, laid out as
    `folders.find_test` says; a class may have no test image. Of `CLASS/*` a
    fifth of the images, the same for every seed, is the test set.

    Raises:
        FileNotFoundError: If there is no image, or no test set.
        ValueError: If a class has no training image, a test class is not a
            training class, a label does not fit, or a file is damaged.
    """
    classes = folders_lib.class_names(folder / "train")
    if classes:
        parts = folders.find_parts(folder, _test_folder(folder, classes).name)
        train, test = map(_read_labeled, parts)
        return train, test
    found = folders.find_classes(folder)
    folders_lib.log_left_out(folder, found.left_out)
    return _hold_out_test(_read_labeled(found))


def _test_folder(folder: pathlib.Path, classes: Sequence[str]) -> pathlib.Path:
    """Returns `test`, or `val` if only that has labels."""
    present = [
        folder / name for name in ("test", "val") if (folder / name).is_dir()
    ]
    if not present:
        raise FileNotFoundError(
            "A folder with training images must hold `test` or `val` beside"
            f" `train`. Received: {folders_lib.printable(folder)!r} without"
            f" either. Name {folders_lib.printable(folder / 'train')!r}, of"
            " which a fifth is the test set, or add `test`."
        )
    labeled = (each for each in present if folders.is_labeled(each, classes))
    return next(labeled, present[0])


def read_files(
    paths: Sequence[folders_lib.AnyPath], *, image_size: int | None = None
) -> np.ndarray:
    """Reads image files as RGB, uint8 `(N, H, W, 3)`.

    Args:
        paths: Of an animation the first picture is taken.
        image_size: Side of the result; the largest centered square is
            resized. `None` keeps images of equal size as they are.

    Raises:
        ValueError: If the sizes differ and `image_size` is `None`, or a file
            is no whole image.
    """
    images = []
    for path in paths:
        image = _read_image(path)
        if image_size is not None:
            square = _center_square(image)[np.newaxis]
            (image,) = convert_images(square, (image_size, image_size, 3))
        images.append(image)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise _checks.refusal(
            "Images of a folder that is kept in memory must have one size",
            f"{len(sizes)} sizes among {len(paths)} images",
            "Resize them, or name photographs as imagefolder:PATH, which crops"
            " them",
        )
    return np.stack(images)


def _read_image(path: folders_lib.AnyPath) -> np.ndarray:
    """Reads one file as RGB."""
    try:
        return tf.io.decode_image(
            tf.io.read_file(os.fsencode(path)),
            channels=3,
            expand_animations=False,
        ).numpy()
    except tf.errors.OpError as error:
        raise _checks.refusal(
            "A file of images must be a whole JPEG, PNG, GIF, WebP or BMP",
            f"{folders_lib.printable(path)!r}",
            "Delete it, or replace it by its original",
        ) from error


def find_images(folder: pathlib.Path) -> list[str]:
    """Returns all image files below `folder`, sorted.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = folders_lib.find_files(folder)
    if not found.paths:
        types = ", ".join(sorted(folders_lib.IMAGE_SUFFIXES))
        raise FileNotFoundError(
            f"A folder of images must hold {types} files. Received:"
            f" {folders_lib.printable(folder)!r} without any. Give"
            " `folder:PATH`, PATH absolute or relative to `data_dir`."
        )
    folders_lib.log_left_out(folder, found.left_out)
    return found.paths


def convert_images(
    images: np.ndarray, input_shape: Sequence[int]
) -> np.ndarray:
    """Converts uint8 images `(N, h, w, c)` to the shape that a model takes.

    Grayscale becomes RGB by repetition, RGB grayscale by its luma (0.299 R +
    0.587 G + 0.114 B). Sides are resized bilinearly, with antialiasing when
    they shrink; another aspect ratio stretches the image. Resized images are
    smoother than real ones: a model may distinguish them by that alone.

    Raises:
        ValueError: If channels are neither equal nor 1 and 3.
    """
    height, width, channels = input_shape
    if images.shape[1:] == (height, width, channels):
        return images
    different = {images.shape[-1], channels}
    if len(different) == 2 and different != {1, 3}:
        raise _checks.refusal(
            "Only images of 1 and 3 channels convert into each other",
            f"images of shape {images.shape} for input_shape={input_shape}",
            "Convert the channels before",
        )
    converted = np.empty((len(images), height, width, channels), np.uint8)
    # In pieces, because resizing needs them in float32.
    for start in range(0, len(images), _CHUNK_SIZE):
        piece = images[start : start + _CHUNK_SIZE].astype(np.float32)
        if piece.shape[-1] > channels:
            piece = piece @ np.array([[0.299], [0.587], [0.114]], np.float32)
        if piece.shape[1:3] != (height, width):
            piece = tf.image.resize(
                piece, (height, width), antialias=True
            ).numpy()
        converted[start : start + _CHUNK_SIZE] = np.rint(piece).clip(0, 255)
    return converted


def _hold_out_test(
    arrays: splits.Arrays,
) -> tuple[splits.Arrays, splits.Arrays]:
    """Splits off the same fifth, drawn once, as the test set."""
    order = np.random.default_rng(0).permutation(len(arrays.labels))
    num_test = len(order) // _TEST_DIVISOR
    return arrays.take(order[num_test:]), arrays.take(order[:num_test])


def _read_labeled(found: folders_lib.LabeledFiles) -> splits.Arrays:
    return splits.Arrays(read_files(found.paths), found.labels)


def _center_square(image: np.ndarray) -> np.ndarray:
    """Returns the largest centered square of an image `(H, W, C)`."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
