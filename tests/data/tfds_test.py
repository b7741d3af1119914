"""Tests of what is said of a damaged data set."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_mixup._data import tfds as tfds_lib


def store(data_dir, name="mnist", splits=("train", "test"), size=4):
    """Writes a small image set as TensorFlow Datasets does."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "label": tfds.features.ClassLabel(num_classes=size),
        }
    )
    images = np.arange(16 * size, dtype=np.uint8).reshape(size, 4, 4, 1)
    return tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version="3.0.1",
        features=features,
        split_datasets={
            split: (
                (k, {"image": image, "label": k})
                for k, image in enumerate(images)
            )
            for split in splits
        },
        data_dir=data_dir,
    )


def shard(builder, split):
    (part,) = builder.info.splits[split].file_instructions
    return pathlib.Path(part.filename)


def damage(path, place=0.6):
    """Flips a byte of a file."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 255
    path.write_bytes(data)


@pytest.fixture
def builder(tmp_path):
    store(tmp_path / "Größe")
    return tfds.builder("mnist:3.0.1", data_dir=tmp_path / "Größe")


def read(builder, split="train"):
    with tfds_lib.naming_damage(builder, split):
        return tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))


def test_whole_sets_are_read_from_any_folder(builder):
    assert len(read(builder)["label"]) == 4
    assert tfds_lib.find_damage(builder, "train[1:3]") is None


@pytest.mark.parametrize("place", [0.6, 0.99])
def test_a_damaged_shard_is_named(builder, place):
    path = shard(builder, "train")
    damage(path, place)
    with pytest.raises(
        ValueError,
        match=rf"`mnist` must be whole\. Received: '.*{path.name}', record"
        rf" \d: .*\. Delete '{path.parent}' and prepare",
    ):
        read(builder)
    assert len(read(builder, "test")["label"]) == 4


def test_a_shard_that_was_cut_is_named(builder):
    path = shard(builder, "train")
    data = path.read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    with pytest.raises(ValueError, match=f"{path.name}', record [1-3]: "):
        read(builder)


def test_other_errors_pass(builder):
    with pytest.raises(KeyError), tfds_lib.naming_damage(builder, "train"):
        raise KeyError("other")
