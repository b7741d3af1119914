"""Tests of what is known of data sets without their files."""

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import cards


class TestFind:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            *(("svhn_cropped", "images"), ("folder:a:b", "images")),
            *(("imagefolder:a", "photographs"), ("gaussians:1", "gaussians")),
            *(("speech:a.zip", "recordings"), ("uci:iris", "tables")),
        ],
    )
    def test_names_and_kinds(self, name, kind):
        assert cards.find(name).kind == kind

    @pytest.mark.parametrize("name", ["svhn", "uci:wine", "folder", "x:", ""])
    def test_others_are_refused(self, name):
        with pytest.raises(ValueError, match="must be one of digits, rings"):
            cards.find(name)


def test_names_and_titles_are_used_once():
    for field in ("name", "title"):
        values = [getattr(card, field) for card in cards.CARDS]
        assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    "card", [card for card in cards.CARDS if card.pixels], ids=str
)
def test_statistics_fit_the_channels(card):
    mean, std = np.array(card.pixels)
    assert mean.shape == std.shape == card.shape[-1:]
    assert (mean > 0).all()
    assert (mean + std < 1).all()


def test_a_card_is_all_that_a_data_set_of_images_needs(monkeypatch, tmp_path):
    card = cards._images("kmnist", "KMNIST", 28, 1, flip=False)
    monkeypatch.setitem(cards._BY_NAME, "kmnist", card)
    splits = datasets.make_placeholder("kmnist", num_examples=3)
    assert splits.train.inputs.shape == (3, 28, 28, 1)
    assert not datasets.find_card("kmnist").flip
    with pytest.raises(FileNotFoundError, match="--dataset=kmnist"):
        datasets.load("kmnist", data_dir=tmp_path)
