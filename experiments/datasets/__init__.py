"""Data sets as arrays or streams, and sets from elsewhere for OOD.

Images are uint8 in `[0, 255]` and `(N, H, W, C)`, sentences int32 word ids
`(N, L)`, features float32 `(N, D)`, waveforms float32 `(N, T)`; networks
standardize, embed and transform by themselves. Augmentation of batches is in
`datasets.augment`. Photographs are a `Stream` that decodes them when asked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.datasets import augment as augment
from experiments.datasets import cards as cards
from experiments.datasets import gaussians
from experiments.datasets import images
from experiments.datasets import photographs
from experiments.datasets import rings
from experiments.datasets import speech
from experiments.datasets import splits as splits
from experiments.datasets import tabular
from experiments.datasets import text
from experiments.datasets.cards import NAMES as NAMES
from experiments.datasets.cards import find as find_card
from experiments.datasets.placeholder import (
    make_placeholder as make_placeholder,
)
from experiments.datasets.prepared import DataDir
from experiments.datasets.splits import Arrays as Arrays
from experiments.datasets.splits import Splits as Splits
from experiments.datasets.splits import corrupt as corrupt
from experiments.datasets.streams import Stream as Stream
from tf_mixup import _checks

# By the kind of a card.
_LOADERS: dict[str, Callable[..., Splits]] = {
    "images": images.load,
    "photographs": photographs.load,
    "sentences": text.load,
    "tables": tabular.load,
    "recordings": speech.load,
}
# Those that are drawn by the seed.
_DRAWN: dict[str, Callable[..., Splits]] = {
    "rings": rings.load,
    "gaussians": gaussians.load,
}


def load(
    name: str,
    *,
    data_dir: DataDir = None,
    download: bool = False,
    seed: int = 0,
    num_validation: int | None = None,
    num_train: int | None = None,
    image_size: int | None = None,
    corruption: float = 0.0,
    corruption_kind: str = "uniform",
) -> Splits:
    """Loads a data set: training, validation and test examples.

    Validation is carved from the training set by `seed` (see `splits.carve`);
    test is the official test set. Sentences, tables and recordings differ: see
    the `load` of `text`, `tabular` and `speech`. Only training labels are
    corrupted.

    Args:
        name: That of a card (`datasets.cards`). A PATH is absolute or relative
            to `data_dir`.
        data_dir: TFDS's folder; `None` is its default.
        download: Whether TFDS, or of tables OpenML, may be asked for a
            missing set.
        seed: Decides the validation examples, the subset and the corruption.
        num_validation: Validation examples; a tenth of the training set if
            `None`.
        num_train: Training examples; all the others if `None`.
        image_size: Side in pixels of photographs; 224 if `None`.
        corruption: Probability that a training label is redrawn.
        corruption_kind: How; see `corrupt`.

    Raises:
        ValueError: If the name is unknown or a number does not fit.
        FileNotFoundError: If the set is not there; says what fetches it.
    """
    kind = find_card(name).kind
    options: dict[str, Any] = {
        "seed": seed,
        "num_train": num_train,
        "num_validation": num_validation,
    }
    if image_size is not None:
        if kind != "photographs":
            raise _checks.refusal(
                "`image_size` is for photographs, which are cropped",
                f"image_size={image_size} for name={name!r}",
                "Leave it out",
            )
        options["image_size"] = image_size
    if kind in _DRAWN:
        clean = _DRAWN[kind](name, **options)
    else:
        options |= {"data_dir": data_dir, "download": download}
        clean = _LOADERS[kind](name, **options)
    if kind != "photographs":
        return corrupt(clean, corruption, seed=seed, kind=corruption_kind)
    if corruption:
        raise _checks.refusal(
            "The labels of photographs that are streamed are not redrawn",
            f"corruption={corruption} for name={name!r}",
            "Name a folder of some of them, as folder:PATH",
        )
    return clean


def load_ood(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    data_dir: DataDir = None,
    download: bool = False,
    num_examples: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Loads images of another source, in the shape that a model takes.

    Args:
        name: A data set of images (its test set is used); `folder:PATH`, all
            images below it; or the path of an `.npz` file with an array
            `image`. Paths are absolute or relative to `data_dir`.
        input_shape: `(H, W, C)` of the model; see `images.convert_images`.
        data_dir: TFDS's folder; `None` is its default.
        download: Whether TFDS may download a missing set.
        num_examples: Examples to draw; all if `None` or if there are fewer.
        seed: Decides the examples.

    Returns:
        images: uint8 `(N, H, W, C)`.

    Raises:
        ValueError: If the name is unknown or the images do not convert.
        FileNotFoundError: If the set is not there.
    """
    if name.endswith(".npz"):
        found = images.read_npz(images.resolve(name, data_dir))
    elif name.startswith(images.FOLDER):
        # Photographs differ in size: squares at once, stretched only then.
        paths = np.array(images.find_images(images.resolve(name, data_dir)))
        # Drawn first: a folder may hold a million.
        return images.convert_images(
            images.read_files(
                paths[_draw(len(paths), num_examples, seed)].tolist(),
                image_size=max(input_shape[:2]),
            ),
            input_shape,
        )
    elif find_card(name).kind == "images":
        found = images.read(name, data_dir, download=download)[1].inputs
    else:
        raise _checks.refusal(
            "Sets out of distribution are images that are read into memory",
            f"name={name!r}",
            "Name a set of images, of photographs a folder of some as"
            " folder:PATH",
        )
    found = found[_draw(len(found), num_examples, seed)]
    return images.convert_images(found, input_shape)


def _draw(count: int, num_examples: int | None, seed: int) -> np.ndarray:
    """Returns the places of drawn examples, all in order for None."""
    if num_examples is None:
        return np.arange(count)
    return np.random.default_rng(seed).permutation(count)[:num_examples]
