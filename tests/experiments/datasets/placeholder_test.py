"""Shapes of data sets that are not there."""

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import cards

TABLES = [card.name for card in cards.CARDS if card.kind == "tables"]


def check_shape(name, data_dir=None):
    found = datasets.make_placeholder(name)
    loaded = datasets.load(name, data_dir=data_dir, num_validation=10)
    for part in ("train", "validation", "test"):
        left, right = getattr(found, part), getattr(loaded, part)
        assert left.inputs.shape[1:] == right.inputs.shape[1:]
        assert left.inputs.dtype == right.inputs.dtype
        assert left.labels.dtype == right.labels.dtype
    assert found.num_classes == loaded.num_classes
    return found, loaded


@pytest.mark.parametrize("name", ["digits", "gaussians:0.25"])
def test_has_the_shape_of_the_data(name):
    found, loaded = check_shape(name)
    assert len(found.mean) == len(loaded.mean)


@pytest.mark.parametrize("name", ["rings", *TABLES])
def test_has_the_shape_of_a_table(name, data_dir):
    check_shape(name, data_dir / "tfds")


def test_imagenet_has_a_shape_without_its_data():
    found = datasets.make_placeholder("imagenet2012")
    assert found.train.inputs.shape[1:] == (224, 224, 3)
    assert found.num_classes == 1000
    small = datasets.make_placeholder("imagenet2012", image_size=64)
    assert small.train.inputs.shape[1:] == (64, 64, 3)


def test_sentences_have_words_for_all_ids():
    found = datasets.make_placeholder("trec", num_examples=12)
    assert found.train.inputs.max() < len(found.vocabulary)
    assert set(np.unique(found.train.labels)) == set(range(6))


def test_refuses_a_folder():
    with pytest.raises(ValueError, match=r"must be known.*'folder:x'"):
        datasets.make_placeholder("folder:x")
