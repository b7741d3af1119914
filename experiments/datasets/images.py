"""Reads images from TFDS, scikit-learn, folders and `.npz` files as uint8.

Letters: N rows, H and W sides, C channels.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from experiments.datasets import splits
from tf_mixup import checks

TFDS_NAMES = (
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "mnist",
    "stl10",
    "svhn_cropped",
)
SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png"))
# Share of a set without test split that is its test set, for every seed.
_TEST_DIVISOR = 5
_CHUNK_ROWS = 1024


def read_tfds(
    name: str, data_dir: pathlib.Path | None, *, download: bool
) -> tuple[splits.Arrays, splits.Arrays]:
    """Reads the training and test splits of a TFDS image data set.

    Args:
        name: One of `TFDS_NAMES`.
        data_dir: TFDS's folder; `None` is its default, in the home folder.
        download: Whether a missing set is downloaded and prepared there.

    Returns:
        train: The official training split, in its stored order.
        test: The official test split.

    Raises:
        FileNotFoundError: If the set is missing and `download` is false.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    if download:
        builder.download_and_prepare()
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"The data set `{name}` must have been prepared. Received: "
            f"data_dir={str(data_dir)!r} without it. Fetch it with `python -m "
            f"experiments.train --dataset={name} --data_dir=DIR --download`."
        )
    columns = [
        tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        for split in ("train", "test")
    ]
    train, test = (
        splits.Arrays(column["image"], column["label"].astype(np.int32))
        for column in columns
    )
    return train, test


def read_digits() -> tuple[splits.Arrays, splits.Arrays]:
    """Reads the 1,797 digits of 8x8 pixels that scikit-learn carries.

    The 17 gray levels are stretched to `[0, 255]`. A fifth, the same for
    every seed, is the test set.

    Returns:
        train: 1,438 digits.
        test: 359 digits.
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
    """Reads `train/CLASS/*` and `test/CLASS/*`, or `CLASS/*`, as RGB.

    Classes are numbered in the order of their names. Without a folder
    `test`, a fifth of the images, the same for every seed, is the test set.

    Args:
        folder: Holds the classes, or `train` and `test`; all images have the
            same size.

    Returns:
        train: uint8 images with three channels.
        test: Likewise.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If a test class is not a training class.
    """
    if not (folder / "test").is_dir():
        return _hold_out_test(_read_classes(folder, _class_names(folder)))
    names = _class_names(folder / "train")
    unknown = set(_class_names(folder / "test")) - set(names)
    if unknown:
        raise checks.refusal(
            "Each class of `test` must be a class of `train`",
            f"test classes {sorted(unknown)}",
            "Give `train` a folder of the same name",
        )
    train, test = (
        _read_classes(folder / split, names) for split in ("train", "test")
    )
    return train, test


def read_files(
    paths: Sequence[pathlib.Path], *, image_size: int | None = None
) -> np.ndarray:
    """Reads image files as RGB, optionally cut to a square and resized.

    Args:
        paths: JPEG, PNG or BMP files.
        image_size: Side of the result; the largest centred square is
            resized. `None` keeps images of equal size as they are.

    Returns:
        images: uint8 `(N, H, W, 3)`.

    Raises:
        ValueError: If the sizes differ and `image_size` is `None`, or a file
            is no whole image.
    """
    images = []
    for path in paths:
        image = _read_image(path)
        if image_size is not None:
            square = _centre_square(image)[np.newaxis]
            (image,) = convert_images(square, (image_size, image_size, 3))
        images.append(image)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise checks.refusal(
            "Images of a folder that is kept in memory must have one size",
            f"{len(sizes)} sizes among {len(paths)} images",
            "Resize them, or name photographs as imagefolder:PATH, which crops"
            " them",
        )
    return np.stack(images)


def _read_image(path: pathlib.Path) -> np.ndarray:
    """Reads one file as RGB."""
    try:
        return tf.io.decode_image(
            tf.io.read_file(str(path)), channels=3, expand_animations=False
        ).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise checks.refusal(
            "A file of images must be a whole JPEG, PNG or BMP",
            str(path),
            "Delete it, or replace it by its original",
        ) from error


def find_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns all image files below `folder`, sorted.

    Raises:
        FileNotFoundError: If there is none.
    """
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    )
    if not paths:
        raise FileNotFoundError(
            "A folder of images must hold .bmp, .jpeg, .jpg or .png files. "
            f"Received: {str(folder)!r} without any. Give "
            "`folder:PATH`, PATH absolute or relative to `data_dir`."
        )
    return paths


def convert_images(
    images: np.ndarray, input_shape: Sequence[int]
) -> np.ndarray:
    """Converts images to the shape that a model takes.

    Grayscale becomes RGB by repetition, RGB grayscale by its luma (0.299 R +
    0.587 G + 0.114 B). Sides are resized bilinearly, with antialiasing when
    they shrink; another aspect ratio stretches the image. Resized images are
    smoother than real ones: a model may tell them apart by that alone.

    Args:
        images: uint8 `(N, h, w, c)`, c 1 or 3.
        input_shape: `(H, W, C)`, C 1 or 3.

    Returns:
        images: uint8 `(N, H, W, C)`; the argument itself if it fits.

    Raises:
        ValueError: If channels cannot be converted.
    """
    height, width, channels = input_shape
    if images.shape[1:] == (height, width, channels):
        return images
    different = {images.shape[-1], channels}
    if len(different) == 2 and different != {1, 3}:
        raise checks.refusal(
            "Only images of 1 and 3 channels convert into each other",
            f"images of shape {images.shape} for input_shape={input_shape}",
            "Convert the channels before",
        )
    converted = np.empty((len(images), height, width, channels), np.uint8)
    # In pieces, because resizing needs them in float32.
    for start in range(0, len(images), _CHUNK_ROWS):
        piece = images[start : start + _CHUNK_ROWS].astype(np.float32)
        if piece.shape[-1] > channels:
            piece = piece @ np.array([[0.299], [0.587], [0.114]], np.float32)
        if piece.shape[1:3] != (height, width):
            piece = tf.image.resize(
                piece, (height, width), antialias=True
            ).numpy()
        converted[start : start + _CHUNK_ROWS] = np.rint(piece).clip(0, 255)
    return converted


def _hold_out_test(
    arrays: splits.Arrays,
) -> tuple[splits.Arrays, splits.Arrays]:
    """Splits off the same fifth, drawn once, as the test set."""
    order = np.random.default_rng(0).permutation(len(arrays.labels))
    num_test = len(order) // _TEST_DIVISOR
    return arrays.take(order[num_test:]), arrays.take(order[:num_test])


def _class_names(folder: pathlib.Path) -> list[str]:
    """Returns the names of the folders in `folder`, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _read_classes(folder: pathlib.Path, names: Sequence[str]) -> splits.Arrays:
    """Reads the images of each class in turn."""
    if not names:
        raise FileNotFoundError(
            "A folder of labelled images must hold one folder a class. "
            f"Received: {str(folder)!r} without any. Give `folder:PATH`, "
            "PATH absolute or relative to `data_dir`."
        )
    paths, labels = [], []
    for label, name in enumerate(names):
        if (folder / name).is_dir():
            found = find_images(folder / name)
            paths += found
            labels += [label] * len(found)
    images = read_files(paths)
    return splits.Arrays(images, np.array(labels, np.int32))


def _centre_square(image: np.ndarray) -> np.ndarray:
    """Returns the largest centred square of an image `(H, W, C)`."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
