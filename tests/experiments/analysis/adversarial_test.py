"""Errors of finished runs under attacks."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import collect
from experiments import papers
from experiments import results
from experiments.analysis import adversarial
from experiments.analysis import records
from experiments.datasets import Arrays
from experiments.papers import tables
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import run_data
from tf_mixup import attacks

MIXED = config_lib.Config(width=4, num_train=128, num_validation=100)
ERM = dataclasses.replace(MIXED, method="erm", alpha=0.0)
OTHER = dataclasses.replace(ERM, seed=1)
SOURCES = run_data.Sources()
BOXES = ("fgsm_white", "ifgsm_white", "fgsm_black", "ifgsm_black")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns the folders of two networks without mixup and of one with it."""
    workdir = tmp_path_factory.mktemp("runs")
    folders = {}
    for config in (ERM, OTHER, MIXED):
        splits = run_data.load_splits(config, SOURCES)
        network = model_setup.build_network(config, splits)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile("adam", loss)
        network.fit(*splits.train, epochs=1 + len(folders), verbose=0)
        folders[config] = workdir / config.run_name
        folders[config].mkdir()
        network.save(folders[config] / "model.keras")
    return folders


@pytest.mark.slow
class TestMeasure:
    def test_epsilon_0_leaves_the_error(self, runs):
        unmixed = {config: runs[config] for config in (ERM, OTHER)}
        for config, found in adversarial.measure(
            unmixed, SOURCES, num_examples=10_000, epsilon=0
        ):
            test = run_data.load_splits(config, SOURCES).test
            model = keras.saving.load_model(runs[config] / "model.keras")
            classes = model.predict(test.inputs, verbose=0).argmax(-1)
            assert found["clean_error"] == pytest.approx(
                np.mean(classes != test.labels), abs=1e-6
            )
            for name in BOXES:
                for end in ("_error", "_error_top5"):
                    assert found[name + end] == found["clean" + end]

    def test_black_box_is_the_next_seed_without_mixup(self, runs):
        found = dict(adversarial.measure(runs, SOURCES, num_examples=60))
        test = run_data.load_splits(ERM, SOURCES).test
        order = np.random.default_rng(0).permutation(len(test.labels))
        rows = test.take(order[:60])
        models = {
            config: keras.saving.load_model(folder / "model.keras")
            for config, folder in runs.items()
        }
        made = {
            config: attacks.fgsm(model, *rows, 4.0)
            for config, model in models.items()
        }
        for config, source in ((ERM, OTHER), (OTHER, ERM), (MIXED, OTHER)):
            for box, maker in (("white", config), ("black", source)):
                logits = models[config].predict(made[maker], verbose=0)
                wrong = np.mean(logits.argmax(-1) != rows.labels)
                assert found[config][f"fgsm_{box}_error"] == pytest.approx(
                    wrong, abs=1e-6
                )

    def test_without_another_seed_there_is_no_black_box(self, runs):
        alone = {ERM: runs[ERM]}
        ((_, found),) = adversarial.measure(alone, SOURCES, num_examples=10)
        assert {name.split("_error")[0] for name in found} == {
            *("clean", "fgsm_white", "ifgsm_white"),
            *("fgsm_matched", "fgsm_matched_epsilon"),
        }

    def test_matched_strength_is_that_of_the_same_seed(self, runs):
        found = dict(adversarial.measure(runs, SOURCES, num_examples=200))
        for config in (ERM, OTHER):
            # As near to .9 as one of 200 examples, if 4 suffice for it.
            strength = found[config]["fgsm_matched_epsilon"]
            error = found[config]["fgsm_matched_error"]
            assert error >= 0.9 or strength == adversarial.EPSILON
            assert error <= max(0.92, found[config]["clean_error"])
        strength = found[MIXED]["fgsm_matched_epsilon"]
        assert strength == found[ERM]["fgsm_matched_epsilon"]
        # As if it had been made as strong at once.
        model = keras.saving.load_model(runs[MIXED] / "model.keras")
        test = run_data.load_splits(MIXED, SOURCES).test
        order = np.random.default_rng(0).permutation(len(test.labels))
        rows = test.take(order[:200])
        made = attacks.fgsm(model, *rows, strength)
        classes = model.predict(made, verbose=0).argmax(-1)
        assert found[MIXED]["fgsm_matched_error"] == pytest.approx(
            np.mean(classes != rows.labels), abs=0.006
        )


def test_errors_by_hand():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Identity()])
    logits = np.tile(np.arange(6.0, dtype="float32"), (4, 1))
    rows = Arrays(logits, np.array([5, 4, 1, 0], "int32"))
    assert adversarial.errors(model, rows, "some") == {
        "some_error": 0.75,
        "some_error_top5": 0.25,
    }


@pytest.mark.slow
def test_collect_adds_lines(runs, monkeypatch):
    table = tables.Table(lambda scale, seeds: list(runs), "Us", (2, 2), 0.0, "")
    monkeypatch.setitem(papers.TABLES, "adversarial", table)

    def measure(found, sources):
        return [(config, {"fgsm_black_error": 0.5}) for config in found]

    monkeypatch.setitem(collect.MEASURES, "adversarial", ("attacked", measure))
    monkeypatch.setattr(
        collect,
        "_measure",
        lambda config, folder: [records.Record(config, "", {})],
    )
    for folder in runs.values():
        (folder / "record.json").touch()
    workdir = runs[ERM].parent
    lines = collect.collect("adversarial", "small", workdir, SOURCES, {})
    attacked = [line for line in lines if line.after == "attacked"]
    assert [line.config for line in attacked] == list(runs)
    text = results.render({"adversarial": lines})
    assert "| black-box FGSM, top-1 error (%) |" in text
    assert "| no mixup, attacked | 2 | 50.00 ± 0.00 |" in text
