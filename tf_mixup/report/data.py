"""Reads the data that a report's flags name, and prepares them for a model.

Three forms: `tfds:NAME[:SPLIT]`, `folder:PATH` of images by class, and a
`.npz` file of arrays. What is done to inputs is also said in words, for a
report is worth little where they are not scaled as in training.
"""

import dataclasses
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import checks

SCALES = ("none", "0-1", "-1-1")

_INPUT_KEYS = ("image", "images", "inputs", "x", "x_test")
_LABEL_KEYS = ("label", "labels", "y", "y_test")
_COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}


class Source(NamedTuple):
    """A data set to report on.

    Attributes:
        dataset: Batches of `(inputs, labels)`, or of inputs alone.
        class_names: Names of the classes, if the data tell them.
        about: Where the rows are from, in words.
    """

    dataset: tf.data.Dataset
    class_names: list[str] | None
    about: str


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What is done to each input before the model sees it.

    Attributes:
        image_size: Height and width that images are resized to; None leaves
            them as they are.
        channels: 1 or 3: images of the other number are made grey, or their
            grey is repeated; None leaves them as they are.
        scale: `"none"` leaves values as they are, `"0-1"` divides them by
            255, `"-1-1"` by 127.5 and then subtracts 1.
        mean: Subtracted after scaling, one number or one for each channel;
            empty for nothing.
        std: Divided by after that, likewise.
    """

    image_size: tuple[int, int] | None = None
    channels: int | None = None
    scale: str = "none"
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        checks.one_of("scale", self.scale, SCALES)
        if any(value <= 0 for value in self.std):
            raise checks.refusal(
                "`std` must be above 0", f"std={self.std}", "Leave it out"
            )

    def describe(self) -> str:
        """Returns it in words."""
        steps = []
        if self.image_size:
            height, width = self.image_size
            steps.append(f"images resized to {height} x {width} (bilinear)")
        if self.channels:
            steps.append(f"{self.channels} channels")
        steps += {"0-1": ["x / 255"], "-1-1": ["x / 127.5 - 1"]}.get(
            self.scale, []
        )
        if self.mean:
            steps.append(f"minus mean {list(self.mean)}")
        if self.std:
            steps.append(f"divided by deviation {list(self.std)}")
        return "; ".join(steps) or "none: the values as they are stored"

    def apply(self, row: tf.Tensor) -> tf.Tensor:
        """Prepares one input.

        Args:
            row: One row without a batch axis, of any type.

        Returns:
            prepared: The row, float32 if a number in it changed.
        """
        row = self._fit_image(row)
        if self.scale != "none":
            row = tf.cast(row, tf.float32)
            row = row / 255 if self.scale == "0-1" else row / 127.5 - 1
        if self.mean or self.std:
            checks.fits_channels(
                tuple(self.mean), tuple(self.std), (None, *row.shape)
            )
        for values, operation in (
            (self.mean, tf.subtract),
            (self.std, tf.divide),
        ):
            if values:
                row = operation(tf.cast(row, tf.float32), list(values))
        return row

    def _fit_image(self, row: tf.Tensor) -> tf.Tensor:
        if not (self.image_size or self.channels):
            return row
        if row.shape.rank == 2:
            row = row[..., tf.newaxis]
        if row.shape.rank != 3:
            raise checks.refusal(
                "The model takes images, so rows must be (H, W) or (H, W, C)",
                f"rows of shape {row.shape}",
                "Give images",
            )
        if self.image_size and self.image_size != tuple(row.shape[:2]):
            row = tf.image.resize(row, self.image_size)
        if self.channels == 3 and row.shape[-1] == 1:
            row = tf.image.grayscale_to_rgb(row)
        elif self.channels == 1 and row.shape[-1] == 3:
            row = tf.image.rgb_to_grayscale(row)
        return row


def prepare_for(
    model: keras.Model,
    *,
    image_size: tuple[int, int] | None = None,
    scale: str = "none",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Preparation:
    """Returns the preparation that makes images fit a model.

    Args:
        model: Of its first input the shape is read, if it has a fixed one.
        image_size: Height and width; None takes the model's own.
        scale: As in `Preparation`.
        mean: As in `Preparation`.
        std: As in `Preparation`.
    """
    inputs = getattr(model, "inputs", None)
    shape = tuple(inputs[0].shape[1:]) if inputs else ()
    channels = None
    if len(shape) == 3:
        channels = shape[2] if shape[2] in (1, 3) else None
        if image_size is None and None not in shape[:2]:
            image_size = (shape[0], shape[1])
    return Preparation(image_size, channels, scale, tuple(mean), tuple(std))


def parse_name(spec: str) -> tuple[str, str]:
    """Splits `NAME=SPEC`; without a name, the set's or file's own is it.

    Args:
        spec: As the flag has it.

    Returns:
        name: The set's name.
        spec: The rest, for `load`.

    Example:
        >>> parse_name("svhn=tfds:svhn_cropped:test")
        ('svhn', 'tfds:svhn_cropped:test')
        >>> parse_name("tfds:svhn_cropped")
        ('svhn_cropped', 'tfds:svhn_cropped')
    """
    named = re.fullmatch(r"([^=:/\\]+)=(.+)", spec)
    if named:
        return named[1], named[2]
    if spec.startswith("tfds:"):
        return spec.split(":")[1], spec
    return pathlib.Path(spec.removeprefix("folder:")).stem, spec


def parse_names(specs: Sequence[str]) -> dict[str, str]:
    """Splits several, each of which must have a name of its own.

    Args:
        specs: As `parse_name` takes them.

    Returns:
        sets: Name -> spec, in the given order.

    Raises:
        ValueError: If two share a name.

    Example:
        >>> parse_names(["seen=tfds:mnist:train", "tfds:mnist:test"])
        {'seen': 'tfds:mnist:train', 'mnist': 'tfds:mnist:test'}
    """
    sets: dict[str, str] = {}
    for name, spec in map(parse_name, specs):
        if name in sets:
            raise checks.refusal(
                "Each other set must have a name of its own",
                f"{sets[name]} and {spec}, both named {name!r}",
                f"Give one another name: --ood=NAME={spec}",
            )
        sets[name] = spec
    return sets


def load(
    spec: str,
    preparation: Preparation,
    *,
    labelled: bool = True,
    data_dir: str | None = None,
    max_rows: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
) -> Source:
    """Reads a data set.

    Args:
        spec: `tfds:NAME[:SPLIT]`, `folder:PATH` or the path of a `.npz` file.
        preparation: What is done to each input.
        labelled: Whether labels are needed; else they are left out.
        data_dir: Folder of TensorFlow Datasets; None is its own default.
        max_rows: Rows at most: the first ones of TFDS, else drawn by chance;
            None for all.
        batch_size: Rows of a batch.
        seed: Seed of what is drawn.

    Returns:
        source: The batches, prepared.

    Raises:
        FileNotFoundError: If there is no such set or file.
        ValueError: If it is damaged or empty, or has another form.

    Example:
        >>> np.savez("rows.npz", x=np.zeros((3, 4)), y=[0, 1, 0])
        >>> load("rows.npz", Preparation()).about
        'rows.npz'
    """
    if spec.startswith("tfds:"):
        rows, names = _read_tfds(spec, data_dir, labelled)
    elif spec.startswith("folder:"):
        folder = pathlib.Path(spec.removeprefix("folder:"))
        size, channels = preparation.image_size, preparation.channels
        rows, names = _read_folder(folder, size, channels, labelled, seed)
    elif spec.endswith(".npz"):
        arrays = _read_npz(pathlib.Path(spec), labelled)
        rows, names = _draw(arrays, max_rows, seed), None
    else:
        raise checks.refusal(
            "Data must be `tfds:NAME[:SPLIT]`, `folder:PATH` or a `.npz` file",
            spec,
            "Write arrays to a file with `np.savez(path, x=inputs, y=labels)`",
        )
    rows = rows.take(-1 if max_rows is None else max_rows)
    rows = rows.map(
        lambda x, *y: (preparation.apply(x), *y),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    shape = keras.tree.flatten(rows.element_spec)[0].shape
    if not shape.is_fully_defined():
        raise checks.refusal(
            "Images must have one size, as the model takes any",
            f"{spec} with rows of shape {shape}",
            "Say what to resize them to: `--image_size=224,224`",
        )
    return Source(rows.batch(batch_size), names, _describe(spec, max_rows))


def _read_tfds(
    spec: str, data_dir: str | None, labelled: bool
) -> tuple[tf.data.Dataset, list[str] | None]:
    import tensorflow_datasets as tfds

    _, name, *rest = spec.split(":", 2)
    split = rest[0] if rest else "test"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise checks.refusal(
            "TensorFlow Datasets must know the set",
            f"{spec}",
            "Look its name up in the catalogue of TensorFlow Datasets",
        ) from error
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"The set `{name}` must have been prepared. Received:"
            f" data_dir={data_dir!r} without it. Run `tfds build {name}"
            " --data_dir=DIR`, or name another folder with --data_dir."
        )
    keys = builder.info.supervised_keys or ("image", "label")
    columns = keys[: 2 if labelled else 1]
    features = builder.info.features
    if not all(isinstance(key, str) and key in features for key in columns):
        raise checks.refusal(
            f"The set must have inputs{' and labels' if labelled else ''}",
            f"{name} with features {list(features)}",
            "Give a classification set, or write arrays to a `.npz` file",
        )
    rows = builder.as_dataset(split=split, shuffle_files=False)
    rows = rows.map(lambda row: tuple(row[key] for key in columns))
    label = dict(features).get(keys[1])
    return rows, getattr(label, "names", None)


def _read_folder(
    folder: pathlib.Path,
    image_size: tuple[int, int] | None,
    channels: int | None,
    labelled: bool,
    seed: int,
) -> tuple[tf.data.Dataset, list[str] | None]:
    """Reads images as Keras does, in an order drawn by chance."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There must be a folder of images. Received: {folder}, which is"
            " none. Give its path."
        )
    if image_size is None:
        raise checks.refusal(
            "Images must have one size, as the model takes any",
            "image_size=None",
            "Say what to resize them to: `--image_size=224,224`",
        )
    if labelled and not any(path.is_dir() for path in folder.iterdir()):
        raise checks.refusal(
            "A folder of data must hold a folder of images for each class",
            f"{folder} without folders",
            "Arrange the images as PATH/CLASS/*.png",
        )
    try:
        rows = keras.utils.image_dataset_from_directory(
            folder,
            labels="inferred" if labelled else None,
            color_mode=_COLOR_MODES[channels or 3],
            image_size=image_size,
            batch_size=None,
            shuffle=True,
            seed=seed,
            verbose=False,
        )
    except ValueError as error:
        raise checks.refusal(
            "A folder of data must hold images",
            f"{folder} ({error})",
            "Give png, jpeg, gif or bmp files",
        ) from error
    names = getattr(rows, "class_names", None)
    return rows if labelled else rows.map(lambda x: (x,)), names


def _read_npz(path: pathlib.Path, labelled: bool) -> list[np.ndarray]:
    """Returns inputs, and labels where they are wanted."""
    if not path.exists():
        raise FileNotFoundError(
            f"There must be a file of data. Received: {path}, which does not"
            " exist. Give the path of a `.npz` file."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = (_INPUT_KEYS, _LABEL_KEYS)[: 2 if labelled else 1]
            keys = [next((k for k in each if k in file), "") for each in wanted]
            found, arrays = list(file), [file[key] for key in keys if key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise checks.refusal(
            "Data must be a whole `.npz` file of plain arrays",
            f"{path} ({error})",
            "Write it with `np.savez(path, x=inputs, y=labels)`, without"
            " arrays of objects",
        ) from error
    if "" in keys or len({len(np.atleast_1d(array)) for array in arrays}) > 1:
        raise checks.refusal(
            "A `.npz` file must hold inputs under one of"
            f" {', '.join(_INPUT_KEYS)} and as many labels under one of"
            f" {', '.join(_LABEL_KEYS)}",
            f"{path} with arrays {found}",
            "Write it with `np.savez(path, x=inputs, y=labels)`",
        )
    return arrays


def _draw(
    arrays: list[np.ndarray], max_rows: int | None, seed: int
) -> tf.data.Dataset:
    """Returns all rows, or some that are drawn by chance, in their order."""
    size = len(arrays[0])
    if max_rows is not None and max_rows < size:
        rows = np.random.default_rng(seed).choice(size, max_rows, replace=False)
        arrays = [array[np.sort(rows)] for array in arrays]
    return tf.data.Dataset.from_tensor_slices(tuple(arrays))


def _describe(spec: str, max_rows: int | None) -> str:
    """Returns the name of a set, not where it lies on this machine."""
    if not spec.startswith("tfds:"):
        spec = pathlib.Path(spec.removeprefix("folder:")).name
    return spec if max_rows is None else f"{spec}, at most {max_rows} rows"
