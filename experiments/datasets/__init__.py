"""Data sets as arrays or streams, and sets from elsewhere for OOD.

Images are uint8 in `[0, 255]` and `(N, H, W, C)`, sentences int32 word ids
`(N, L)`, features float32 `(N, D)`, waveforms float32 `(N, T)`; networks
standardise, embed and transform by themselves. Augmentation of batches is in
`datasets.augment`. Photographs are a `Stream` that decodes them when asked.
"""

import pathlib
from typing import Any

import numpy as np

from experiments.datasets import augment as augment
from experiments.datasets import gaussians
from experiments.datasets import images
from experiments.datasets import photographs
from experiments.datasets import rings
from experiments.datasets import speech
from experiments.datasets import splits
from experiments.datasets import tabular
from experiments.datasets import text
from experiments.datasets.placeholder import (
    make_placeholder as make_placeholder,
)
from experiments.datasets.splits import Arrays as Arrays
from experiments.datasets.splits import Splits as Splits
from experiments.datasets.splits import corrupt as corrupt
from experiments.datasets.streams import Stream as Stream
from tf_mixup import _checks

NAMES = (
    "digits",
    rings.NAME,
    *images.TFDS_NAMES,
    *text.NAMES,
    *tabular.NAMES,
    speech.TFDS_NAME,
)
FOLDER = "folder:"
# What names that are no images are, or begin with.
_NO_IMAGES = (
    rings.NAME,
    *text.NAMES,
    *tabular.NAMES,
    speech.TFDS_NAME,
    speech.PREFIX,
    gaussians.PREFIX,
)
# Their classes are not what a mirror shows.
_HANDED = ("digits", "mnist", "svhn_cropped")
# Mean and standard deviation of the official training pixels, in [0, 1], so
# that they do not depend on a run's split.
PIXEL_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "mnist": ((0.1307,), (0.3081,)),
    "stl10": ((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)),
    "svhn_cropped": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}


def load(
    name: str,
    *,
    data_dir: str | pathlib.Path | None = None,
    download: bool = False,
    seed: int = 0,
    num_validation: int | None = None,
    num_train: int | None = None,
    corruption: float = 0.0,
    corruption_kind: str = "uniform",
) -> Splits:
    """Loads a data set: training, validation and test rows.

    Validation is carved from the training set by `seed` (see
    `splits.carve`), test is the official test set; sentences, tables and
    recordings differ, see `text.load`, `tabular.load` and `speech.load`. Only
    training labels are corrupted; see `corrupt`.

    Args:
        name: One of `NAMES`; `folder:PATH` of `CLASS/*` or of
            `train/CLASS/*` and `test/CLASS/*`, PATH absolute or relative to
            `data_dir`; `imagenet2012` or `imagefolder:PATH`, whose images are
            not kept in memory, see `photographs.load`; `speech:PATH` of wav
            files; or `gaussians:MU`, drawn by `seed`.
        data_dir: TFDS's folder; `None` is its default. Where the files of
            sentences and of tables are looked for `text.load` and
            `tabular.load` say.
        download: Whether TFDS, or of tables OpenML, may be asked for a
            missing set.
        seed: Decides the validation rows, the subset and the corruption.
        num_validation: Validation rows; a tenth of the training set if
            `None`.
        num_train: Training rows; all the others if `None`.
        corruption: Probability that a training label is redrawn.
        corruption_kind: How; see `corrupt`.

    Returns:
        splits: See `Splits`.

    Raises:
        ValueError: If the name is unknown or a number does not fit.
        FileNotFoundError: If the set is not there; says what fetches it.
    """
    numbers: dict[str, Any] = {
        "seed": seed,
        "num_train": num_train,
        "num_validation": num_validation,
    }
    files: dict[str, Any] = {"data_dir": data_dir, "download": download}
    if photographs.is_streamed(name):
        return _load_photographs(name, corruption, data_dir=data_dir, **numbers)
    if name.startswith(gaussians.PREFIX):
        clean = gaussians.load(name, **numbers)
    elif name == rings.NAME:
        clean = rings.load(**numbers)
    elif name in text.NAMES:
        clean = text.load(name, **files, **numbers)
    elif name in tabular.NAMES:
        clean = tabular.load(name, **files, **numbers)
    elif name == speech.TFDS_NAME or name.startswith(speech.PREFIX):
        clean = speech.load(name, **files, **numbers)
    else:
        arrays = _read(name, data_dir, download)
        clean = _split_images(name, *arrays, **numbers)
    return corrupt(clean, corruption, seed=seed, kind=corruption_kind)


def _load_photographs(name: str, corruption: float, **options: Any) -> Splits:
    if corruption:
        raise _checks.refusal(
            "The labels of photographs that are streamed are not redrawn",
            f"corruption={corruption} for name={name!r}",
            "Name a folder of some of them, as folder:PATH",
        )
    return photographs.load(name, **options)


def _split_images(
    name: str,
    train: Arrays,
    test: Arrays,
    **numbers: Any,
) -> Splits:
    """Carves the validation set."""
    # From all training labels: a small subset may lack a class.
    num_classes = int(train.labels.max()) + 1
    mean, std = _pixel_statistics(name, train.inputs)
    train, validation = splits.carve(train, **numbers)
    return splits.clean(
        name=name,
        train=train,
        validation=validation,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
    )


def may_be_mirrored(name: str) -> bool:
    """Tells whether images keep their class in a mirror: digits do not.

    Of a folder nobody knows; its images are taken to be things.
    """
    return name not in _HANDED


def load_ood(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    data_dir: str | pathlib.Path | None = None,
    download: bool = False,
    num_rows: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Loads images of another source, in the shape that a model takes.

    Args:
        name: One of `NAMES`, images (its test set is used); `folder:PATH`, all
            images below it; or the path of an `.npz` file with an array
            `image`. Paths are absolute or relative to `data_dir`.
        input_shape: `(H, W, C)` of the model; see `images.convert_images`.
        data_dir: TFDS's folder; `None` is its default.
        download: Whether TFDS may download a missing set.
        num_rows: Rows to draw; all if `None` or if there are fewer.
        seed: Decides the rows.

    Returns:
        images: uint8 `(N, H, W, C)`.

    Raises:
        ValueError: If the name is unknown or the images do not convert.
        FileNotFoundError: If the set is not there.
    """
    if name.endswith(".npz"):
        found = _read_npz(_resolve(name, data_dir))
    elif name.startswith(FOLDER):
        paths = images.find_images(
            _resolve(name.removeprefix(FOLDER), data_dir)
        )
        # Photographs differ in size: squares at once, stretched only then.
        found = images.read_files(paths, image_size=max(input_shape[:2]))
    elif name.startswith(_NO_IMAGES):
        raise _checks.refusal(
            "Sets out of distribution are images",
            f"name={name!r}",
            "Name a set of images",
        )
    else:
        found = _read(name, data_dir, download)[1].inputs
    if num_rows is not None:
        order = np.random.default_rng(seed).permutation(len(found))
        found = found[order[:num_rows]]
    return images.convert_images(found, input_shape)


def _read(
    name: str,
    data_dir: str | pathlib.Path | None,
    download: bool,
) -> tuple[Arrays, Arrays]:
    """Reads the training and test arrays of a named set."""
    if name == "digits":
        return images.read_digits()
    if name.startswith(FOLDER):
        return images.read_folder(_resolve(name.removeprefix(FOLDER), data_dir))
    if photographs.is_streamed(name):
        raise _checks.refusal(
            "Sets out of distribution are read into memory",
            f"name={name!r}",
            "Name a folder of some of its images, as folder:PATH",
        )
    if name not in images.TFDS_NAMES:
        raise _checks.refusal(
            f"A data set must be one of {', '.join(NAMES)}, imagenet2012,"
            " imagefolder:PATH, folder:PATH, speech:PATH or gaussians:MU",
            f"name={name!r}",
            "Put images of your own into folders named by class",
        )
    return images.read_tfds(
        name, pathlib.Path(data_dir) if data_dir else None, download=download
    )


def _resolve(path: str, data_dir: str | pathlib.Path | None) -> pathlib.Path:
    """Returns `path`, taken relative to `data_dir` unless absolute."""
    if not path:
        raise _checks.refusal(
            "The name of a folder follows the colon",
            "an empty name",
            "Write e.g. folder:photos, or folder:. for this folder",
        )
    return pathlib.Path(data_dir or ".", path)


def _read_npz(path: pathlib.Path) -> np.ndarray:
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


def _pixel_statistics(
    name: str, pixels: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation a channel, in `[0, 255]`."""
    if name in PIXEL_STATISTICS:
        mean, std = PIXEL_STATISTICS[name]
        return tuple(255 * m for m in mean), tuple(255 * s for s in std)
    flat = pixels.reshape(-1, pixels.shape[-1])
    mean, std = flat.mean(axis=0), flat.std(axis=0)
    return tuple(mean.tolist()), tuple(std.tolist())
