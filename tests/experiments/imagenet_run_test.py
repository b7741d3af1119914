"""Tests of runs on photographs that are streamed."""

import dataclasses
import logging

import numpy as np
import pytest

from experiments.runs import config as config_lib
from experiments.runs import outputs
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs import training

CONFIG = config_lib.Config(
    dataset="imagefolder:.",
    network="lenet",
    augmentation="inception",
    epochs=2,
    batch_size=8,
    num_validation=6,
    learning_rate=0.01,
    ood_every=2,
)


@pytest.fixture
def folder(tmp_path, data_dir):
    """Sorts a part of the real photographs into two classes."""
    paths = sorted((data_dir / "imagenet_sample").glob("*.JPEG"))[:32]
    for index, path in enumerate(paths):
        part = "val" if index % 4 == 0 else "train"
        target = tmp_path / part / f"n0{index % 2 if part == 'train' else 1}"
        target.mkdir(parents=True, exist_ok=True)
        (target / path.name).write_bytes(path.read_bytes())
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["none", "mirrored"])
def test_leaves_a_record_and_tells_n(folder, tmp_path, caplog, strategy):
    cut(next((folder / "val" / "n01").iterdir()))
    cut(next((folder / "train" / "n00").iterdir()))
    sources = run_data.Sources(data_dir=str(folder))
    with caplog.at_level(logging.INFO):
        config = dataclasses.replace(CONFIG, strategy=strategy)
        record = training.run(config, tmp_path / "run", sources)
    assert "The test set has 7 images; 1 more are" in caplog.text
    assert 0 <= record["results"]["test_accuracy"] <= 1
    assert len(record["history"]["gaussian_auroc"]) == 1
    assert "train_accuracy" not in record["results"]
    found = outputs.read(tmp_path / "run" / run_files.PREDICTIONS)
    assert found.labels["test"].tolist() == [1] * 7
    assert found.logits["test"].shape == (7, 2)
    assert np.isfinite(found.logits["validation"]).all()
    assert found.logits["ood_gaussian"].shape == (6, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mc_passes": 2}, r"`mc_passes` is for.*mc_passes=2"),
        ({"noise": 0.1}, r"`noise` is for data sets"),
        ({"neighbors": 3}, r"`neighbors` is for data sets"),
        ({"augmentation": "standard"}, r"cropped before they are resized"),
    ],
)
def test_refuses_what_needs_memory(folder, tmp_path, changes, message):
    config = dataclasses.replace(CONFIG, **changes)
    sources = run_data.Sources(data_dir=str(folder))
    with pytest.raises(ValueError, match=message):
        training.run(config, tmp_path / "run", sources)


def test_rows_in_memory_have_no_areas(tmp_path):
    config = config_lib.Config(augmentation="inception", num_train=200)
    with pytest.raises(ValueError, match=r"Only photographs.*in memory"):
        training.run(config, tmp_path)
