"""The data of a run: its splits, its OOD sets, partners and noise."""

import dataclasses
from typing import Any

import numpy as np

from experiments import datasets
from experiments.distributed import preemption as preemption_lib
from experiments.runs import config as config_lib
from tf_mixup import _checks
from tf_mixup import mixing
from tf_mixup import ood

# Examples of each out-of-distribution set.
OOD_EXAMPLES = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a run finds its data, and how it survives; not what it results in.

    Attributes:
        data_dir: Folder of TensorFlow Datasets; None for its default.
        download: Whether missing data sets may be fetched.
        verbose: Keras' `verbose` of `fit`.
        checkpoint_every_steps: Steps of an epoch between two checkpoints; 0
            for one after each epoch only.
        owner_timeout: Seconds to wait for a workdir that another process
            holds.
        preemption: Says when to save and to end the process; None for never.
    """

    data_dir: str | None = None
    download: bool = False
    verbose: int = 0
    checkpoint_every_steps: int = 0
    owner_timeout: float = 0.0
    preemption: preemption_lib.Preemption | None = None


def load_splits(config: config_lib.Config, sources: Sources) -> datasets.Splits:
    """Loads, splits and, if asked, corrupts the data of a run.

    Validation examples that are also in the test set are left out.

    Raises:
        ValueError: If photographs are streamed and an option needs all
            examples in memory, or the data set is refused.
        FileNotFoundError: If the data set is missing.
    """
    splits = datasets.load(
        config.dataset,
        data_dir=sources.data_dir,
        download=sources.download,
        seed=config.seed,
        num_train=config.num_train or None,
        num_validation=config.num_validation,
        image_size=config.image_size,
        corruption=config.corruption,
        corruption_kind=config.corruption_kind,
    )
    for name in ("neighbors", "noise", "mc_passes"):
        if getattr(config, name) and not splits.train.in_memory:
            raise _checks.refusal(
                f"`{name}` is for data sets that are kept in memory",
                f"{name}={getattr(config, name)} with"
                f" dataset={config.dataset!r}",
                "Leave it out, or name a folder of some images as folder:PATH",
            )
    # What is fitted on the validation set must not have seen the test set.
    apart = splits.validation.without(splits.test)
    return dataclasses.replace(splits, validation=apart)


def split_validation(
    config: config_lib.Config, splits: datasets.Splits
) -> tuple[datasets.Splits, datasets.Splits]:
    """Returns the data to train with, and those to evaluate on.

    They are the same, but that with `tuning` each has one half of the
    validation examples: what alpha is tuned on is not reported, nor is a
    temperature fitted on it.
    """
    if not config.tunes_alpha:
        return splits, splits
    held_out = splits.validation
    places = np.arange(len(held_out.labels))
    tuned, reported = (
        dataclasses.replace(splits, validation=held_out.take(places[start::2]))
        for start in (0, 1)
    )
    return tuned, reported


def load_ood(
    config: config_lib.Config, splits: datasets.Splits, sources: Sources
) -> dict[str, np.ndarray]:
    """Loads the out-of-distribution sets, shaped as the network's input.

    Returns:
        sets: Name -> uint8 images, `OOD_EXAMPLES` at most, and of photographs
            as many as there are to validate on; `gaussian` and `uniform` noise
            with the training images' mean and variance, and those of
            `config.ood`. Empty where the inputs are no images.

    Raises:
        ValueError: If sets are asked for and the inputs are no images.
    """
    shape = splits.train.inputs.shape[1:]
    if len(shape) != 3:
        if config.ood or config.ood_every:
            raise _checks.refusal(
                "Out-of-distribution sets are for images",
                f"ood={config.ood!r}, ood_every={config.ood_every} with"
                f" dataset={config.dataset!r}",
                "Leave both out",
            )
        return {}
    inputs, count = splits.train.inputs, OOD_EXAMPLES
    if not splits.train.in_memory:
        # Of the same photographs, and known to be whole.
        inputs = splits.validation.inputs[:OOD_EXAMPLES]
        count = len(inputs)
    sets = {
        kind: ood.noise_like(
            inputs, kind=kind, num_examples=count, seed=config.seed
        )
        for kind in ood.NOISES
    }
    for name, source in zip(config.ood_names, config.ood, strict=True):
        sets[name] = datasets.load_ood(
            source,
            input_shape=shape,
            data_dir=sources.data_dir,
            download=sources.download,
            num_examples=count,
        )
    return sets


def corrupt_validation_labels(
    config: config_lib.Config, splits: datasets.Splits
) -> np.ndarray:
    """Returns validation labels corrupted as the training labels are."""
    noisy = datasets.corrupt(
        splits,
        config.corruption,
        seed=config.seed,
        kind=config.corruption_kind,
        validation=True,
    )
    return noisy.validation.labels


def find_neighbors(
    config: config_lib.Config, splits: datasets.Splits
) -> np.ndarray | None:
    """Returns the candidates for each training example's partner, if given."""
    if not config.brings_partners:
        return None
    within = config.partner == "same_class"
    return mixing.nearest_neighbors(
        splits.train.inputs,
        k=config.neighbors,
        labels=splits.train.labels if within else None,
    )


def scale_noise(config: config_lib.Config, splits: datasets.Splits) -> Any:
    """Returns the deviation of noise in the unit of the inputs."""
    if config.noise and splits.vocabulary:
        raise _checks.refusal(
            "Words have no noise",
            f"noise={config.noise} with dataset={config.dataset!r}",
            "Leave --noise out",
        )
    return np.float32(config.noise) * np.asarray(splits.std, np.float32)
