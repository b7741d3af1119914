"""Reads the data that a report's flags name, and prepares them for a model.

Three forms: `tfds:NAME[:SPLIT]`, `folder:PATH` of images by class, and a
`.npz` file of arrays. The preparation of inputs is also described in words: a
report means little if they are not scaled as in training.
"""

import dataclasses
import os
import pathlib
import re
import zipfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import channels
from tf_mixup._data import folders
from tf_mixup._data import tfds as tfds_lib

SCALES = ("none", "0-1", "-1-1")

# Those of a test set come first. MedMNIST's files have `test_images`.
_INPUT_KEYS = (
    *("x_test", "test_images", "test_x", "x"),
    *("image", "images", "inputs"),
)
_LABEL_KEYS = (
    *("y_test", "test_labels", "test_y", "y"),
    *("label", "labels", "targets"),
)
# Images of these types are decoded in color only.
_COLOR_ONLY = (b"GIF8", b"RIFF")


class Source(NamedTuple):
    """A data set to report on.

    Attributes:
        dataset: Batches of `(inputs, labels)`, or of inputs alone.
        class_names: Names of the classes, if the data have them.
        about: Where the examples are from, in words, and how many files were
            left out.
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
        channels: 1 or 3: images of the other number are made gray, or their
            gray is repeated; None leaves them as they are.
        scale: `"none"` leaves values as they are, `"0-1"` divides them by
            255, `"-1-1"` by 127.5 and then subtracts 1.
        mean: Subtracted after scaling, one number or one for each channel;
            empty for nothing.
        std: Divided by after that, above 0, in the same form.

    Raises:
        ValueError: If an option is out of range.
    """

    image_size: tuple[int, int] | None = None
    channels: int | None = None
    scale: str = "none"
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Refuses values out of range; one number becomes a tuple."""
        _checks.one_of("scale", self.scale, SCALES)
        for name in ("mean", "std"):
            given = getattr(self, name)
            if np.ndim(given) == 0:
                given = (given,)
            object.__setattr__(self, name, tuple(given))
        channels.statistics(self.mean or None, self.std or None)
        if self.channels not in (None, 1, 3):
            raise _checks.refusal(
                "`channels` must be 1, 3 or None",
                f"channels={self.channels!r}",
                "Leave it out to keep those of the images",
            )
        if self.image_size is not None:
            _check_image_size(self.image_size)

    def describe(self) -> str:
        """Returns a description in words."""
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
        """Prepares one example, float32 if a number in it changed."""
        row = self._fit_image(row)
        if self.scale != "none":
            row = tf.cast(row, tf.float32)
            row = row / 255 if self.scale == "0-1" else row / 127.5 - 1
        if self.mean or self.std:
            channels.check_fit(
                tuple(self.mean), tuple(self.std), (None, *row.shape)
            )
        rank = len(row.shape) + 1
        for values, operation in (
            (self.mean, tf.subtract),
            (self.std, tf.divide),
        ):
            if values:
                shaped = channels.along(tuple(values), rank)
                row = operation(
                    tf.cast(row, tf.float32), tf.cast(shaped, tf.float32)
                )
        return row

    def _fit_image(self, row: tf.Tensor) -> tf.Tensor:
        if not (self.image_size or self.channels):
            return row
        if row.shape.rank == 2:
            row = row[..., tf.newaxis]
        if row.shape.rank != 3:
            raise _checks.refusal(
                "The model takes images, so examples must be (H, W) or"
                " (H, W, C)",
                f"examples of shape {row.shape}",
                "Give images",
            )
        if self.image_size and self.image_size != tuple(row.shape[:2]):
            row = tf.image.resize(row, self.image_size)
        if self.channels == 3 and row.shape[-1] == 1:
            row = tf.image.grayscale_to_rgb(row)
        elif self.channels == 1 and row.shape[-1] == 3:
            row = tf.image.rgb_to_grayscale(row)
        return row


def _check_image_size(size: tuple[int, int]) -> None:
    sides = tuple(size) if isinstance(size, Sequence) else (size,)
    if len(sides) != 2:
        raise _checks.refusal(
            "`image_size` must be a height and a width",
            f"image_size={size!r}",
            "Write (224, 224)",
        )
    for side in sides:
        _checks.integer_at_least("image_size", side, 1, remedy="Write 224")


def prepare_for(
    model: keras.Model,
    *,
    image_size: tuple[int, int] | None = None,
    scale: str = "none",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Preparation:
    """Returns the preparation that makes images fit a model's input."""
    inputs = getattr(model, "inputs", None)
    shape = tuple(inputs[0].shape[1:]) if inputs else ()
    channels = None
    if len(shape) == 3:
        channels = shape[2] if shape[2] in (1, 3) else None
        if image_size is None and None not in shape[:2]:
            image_size = (shape[0], shape[1])
    return Preparation(image_size, channels, scale, mean, std)


def parse_name(spec: str) -> tuple[str, str]:
    """Splits `NAME=SPEC`; the name defaults to that of the set or file.

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
    if named and not pathlib.Path(spec).exists():
        return named[1], named[2]
    if spec.startswith("tfds:"):
        return spec.split(":")[1], spec
    return pathlib.Path(spec.removeprefix("folder:")).stem, spec


def parse_names(specs: Sequence[str], *, flag: str = "ood") -> dict[str, str]:
    """Splits several specs, which must have different names.

    Args:
        specs: As `parse_name` takes them.
        flag: The flag that they are from.

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
            raise _checks.refusal(
                f"Each `{flag}` must have a name of its own",
                f"{sets[name]} and {spec}, both named {name!r}",
                f"Give one another name: --{flag}=NAME={spec}",
            )
        sets[name] = spec
    return sets


def load(
    spec: str,
    preparation: Preparation,
    *,
    labeled: bool = True,
    data_dir: str | None = None,
    max_examples: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
) -> Source:
    """Reads a data set.

    Args:
        spec: `tfds:NAME[:SPLIT]`, `folder:PATH` or the path of a `.npz` file.
        preparation: What is done to each input.
        labeled: Whether labels are needed; else they are left out.
        data_dir: Folder of TensorFlow Datasets; None is its own default.
        max_examples: Examples at most: the first ones of TFDS, else a random
            sample; None for all.
        batch_size: Examples of a batch.
        seed: Seed of the sample.

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
    if max_examples is not None:
        _checks.integer_at_least(
            "max_examples",
            max_examples,
            1,
            remedy="Write None to take all examples",
        )
    _checks.integer_at_least("batch_size", batch_size, 1, remedy="Write 128")
    _checks.integer_at_least("seed", seed, 0, remedy="Write 0")
    if spec.startswith("tfds:"):
        found = _read_tfds(spec, data_dir, labeled)
    elif spec.startswith("folder:"):
        folder = pathlib.Path(spec.removeprefix("folder:"))
        found = _read_folder(folder, preparation, labeled, seed)
    elif spec.endswith(".npz"):
        arrays = _read_npz(pathlib.Path(spec), labeled)
        found = _Found(_draw(arrays, max_examples, seed))
    else:
        raise _checks.refusal(
            "Data must be `tfds:NAME[:SPLIT]`, `folder:PATH` or a `.npz` file",
            spec,
            "Write arrays to a file with `np.savez(path, x=inputs, y=labels)`",
        )
    examples = found.examples.take(-1 if max_examples is None else max_examples)
    examples = examples.map(
        lambda x, *y: (preparation.apply(x), *y),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    shape = keras.tree.flatten(examples.element_spec)[0].shape
    if not shape.is_fully_defined():
        raise _checks.refusal(
            "Images must have one size, as the model takes any",
            f"{spec} with examples of shape {shape}",
            "Say what to resize them to: `--image_size=224,224`",
        )
    dataset = examples.batch(batch_size)
    if found.find_damage is not None:
        dataset = _naming_damage(dataset, found.find_damage)
    about = _describe(spec, max_examples)
    return Source(
        dataset, found.class_names, " ".join([about, *found.left_out])
    )


class _Found(NamedTuple):
    """What a reader found.

    Attributes:
        examples: One by one, as tuples.
        class_names: Names of the classes, if the data have them.
        left_out: Sentences on files that were left out.
        find_damage: Names the first damaged file, if there is one.
    """

    examples: tf.data.Dataset
    class_names: list[str] | None = None
    left_out: tuple[str, ...] = ()
    find_damage: Callable[[], str | None] | None = None


def _naming_damage(
    dataset: tf.data.Dataset, find_damage: Callable[[], str | None]
) -> tf.data.Dataset:
    """Returns a dataset whose errors name the damaged file."""

    def batches() -> Iterator[Any]:
        try:
            yield from dataset
        except tf.errors.OpError as error:
            damage = find_damage()
            if damage is None:
                raise
            raise _checks.refusal(
                "All files of the data must be whole",
                damage,
                "Delete it, or replace it by its original",
            ) from error

    named = tf.data.Dataset.from_generator(
        batches, output_signature=dataset.element_spec
    )
    size = dataset.cardinality()
    return named.apply(tf.data.experimental.assert_cardinality(size))


def _read_tfds(spec: str, data_dir: str | None, labeled: bool) -> _Found:
    import tensorflow_datasets as tfds

    _, name, *rest = spec.split(":", 2)
    split = rest[0] if rest else "test"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise _checks.refusal(
            "TensorFlow Datasets must know the set",
            f"{spec}",
            "Look its name up in the catalog of TensorFlow Datasets",
        ) from error
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"The set `{name}` must have been prepared. Received:"
            f" data_dir={data_dir!r} without it. Run `tfds build {name}"
            " --data_dir=DIR`, or name another folder with --data_dir."
        )
    keys = builder.info.supervised_keys or ("image", "label")
    columns = keys[: 2 if labeled else 1]
    features = builder.info.features
    if not all(isinstance(key, str) and key in features for key in columns):
        raise _checks.refusal(
            f"The set must have inputs{' and labels' if labeled else ''}",
            f"{name} with features {list(features)}",
            "Give a classification set, or write arrays to a `.npz` file",
        )
    examples = builder.as_dataset(split=split, shuffle_files=False)
    label = dict(features).get(keys[1])
    return _Found(
        examples.map(lambda each: tuple(each[key] for key in columns)),
        getattr(label, "names", None),
        find_damage=lambda: tfds_lib.find_damage(builder, split),
    )


def _read_folder(
    folder: pathlib.Path,
    preparation: Preparation,
    labeled: bool,
    seed: int,
) -> _Found:
    """Reads images in a random order, resized as Keras does."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There must be a folder of images. Received: {folder}, which is"
            " none. Give its path."
        )
    if preparation.image_size is None:
        raise _checks.refusal(
            "Images must have one size, as the model takes any",
            "image_size=None",
            "Say what to resize them to: `--image_size=224,224`",
        )
    names = folders.class_names(folder) if labeled else None
    if labeled and not names:
        raise _checks.refusal(
            "A folder of data must hold a folder of images for each class",
            f"{folder} without folders",
            "Arrange the images as PATH/CLASS/*.png",
        )
    if names is None:
        paths, left_out = folders.find_files(folder)
        labels = np.zeros(len(paths), np.int32)
    else:
        paths, labels, left_out = folders.find_labeled(folder, names)
    if not paths:
        raise _checks.refusal(
            "A folder of data must hold images",
            f"{folder} without any",
            "Give png, jpeg, gif, webp or bmp files",
        )
    order = np.random.default_rng(seed).permutation(len(paths))
    columns = folders.encode(paths)[order], labels[order]
    examples = tf.data.Dataset.from_tensor_slices(columns)
    return _Found(
        examples.map(
            lambda path, label: (
                _read_image(path, preparation),
                *([label] if labeled else []),
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        ),
        None if names is None else [folders.printable(each) for each in names],
        (f"({folders.describe_left_out(left_out).rstrip('.')})",)
        if left_out
        else (),
        lambda: _find_damaged_image(paths),
    )


def _read_image(path: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """Returns an image as float32 `(H, W, C)`, in the model's size."""
    contents = tf.io.read_file(path)
    channels = preparation.channels or 3
    image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    if channels == 1:
        in_color = tf.reduce_any(
            tf.strings.substr(contents, 0, 4) == _COLOR_ONLY
        )
        image = tf.cond(
            in_color,
            lambda: tf.image.rgb_to_grayscale(image),
            lambda: tf.io.decode_image(
                contents, channels=1, expand_animations=False
            ),
        )
    image.set_shape((None, None, channels))
    return tf.image.resize(image, preparation.image_size)


def _find_damaged_image(paths: Sequence[str]) -> str | None:
    """Returns the first file that cannot be decoded, and why."""
    for path in paths:
        try:
            tf.io.decode_image(
                tf.io.read_file(os.fsencode(path)), expand_animations=False
            )
        except tf.errors.OpError as error:
            reason = error.message.strip().splitlines()[0]
            return f"{folders.printable(path)!r} ({reason})"
    return None


def _read_npz(path: pathlib.Path, labeled: bool) -> list[np.ndarray]:
    """Returns inputs, and labels if they are needed."""
    if not path.exists():
        raise FileNotFoundError(
            f"There must be a file of data. Received: {path}, which does not"
            " exist. Give the path of a `.npz` file."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = (_INPUT_KEYS, _LABEL_KEYS)[: 2 if labeled else 1]
            keys = [next((k for k in each if k in file), "") for each in wanted]
            found, arrays = list(file), [file[key] for key in keys if key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _checks.refusal(
            "Data must be a whole `.npz` file of plain arrays",
            f"{path} ({error})",
            "Write it with `np.savez(path, x=inputs, y=labels)`, without"
            " arrays of objects",
        ) from error
    if "" in keys or len({len(np.atleast_1d(array)) for array in arrays}) > 1:
        raise _checks.refusal(
            "A `.npz` file must hold inputs under one of"
            f" {', '.join(_INPUT_KEYS)} and as many labels under one of"
            f" {', '.join(_LABEL_KEYS)}",
            f"{path} with arrays {found}",
            "Write it with `np.savez(path, x=inputs, y=labels)`",
        )
    return arrays


def _draw(
    arrays: list[np.ndarray], max_examples: int | None, seed: int
) -> tf.data.Dataset:
    """Returns all examples or a random sample, in their order."""
    size = len(arrays[0])
    if max_examples is not None and max_examples < size:
        rows = np.random.default_rng(seed).choice(
            size, max_examples, replace=False
        )
        arrays = [array[np.sort(rows)] for array in arrays]
    return tf.data.Dataset.from_tensor_slices(tuple(arrays))


def _describe(spec: str, max_examples: int | None) -> str:
    """Returns the name of a set, without its folder."""
    if not spec.startswith("tfds:"):
        spec = pathlib.Path(spec.removeprefix("folder:")).name
    spec = folders.printable(spec)
    return (
        spec
        if max_examples is None
        else f"{spec}, at most {max_examples} examples"
    )
