"""Whole runs on Keras' JAX backend: asked to end, and gone on with."""

import dataclasses
import importlib.util

import pytest

from experiments.runs import atomic_files
from experiments.runs import checkpoint
from tests.experiments.runs import training_test

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None,
        reason="needs JAX, which `make test-jax` installs",
    ),
]


@pytest.fixture(autouse=True)
def jax(monkeypatch):
    """Has the processes that a test starts run on JAX."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")


@pytest.mark.parametrize("placement", ["host", "model"])
def test_resumed_run_ends_as_if_it_had_not_been_interrupted(
    placement, tmp_path
):
    config = dataclasses.replace(
        training_test.CONFIG, placement=placement, epochs=2
    )
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    training_test.finish_well(whole, config=config)
    record = atomic_files.read_json(whole / "record.json")
    assert "jax" in record["versions"]
    assert {"val_ece", "uniform_auroc"} <= set(record["history"])
    first, second = record["history"]["loss"]
    assert second < first

    status, words = training_test.finish(
        halves, training_test.ASK_TO_END, config=config
    )
    assert status == 143, words
    found = checkpoint.find(halves / "checkpoints")[-1]
    assert found.name == "epoch-00001-step-0000003.npz"
    training_test.finish_well(halves, config=config)
    training_test.assert_same_run(halves, whole)
