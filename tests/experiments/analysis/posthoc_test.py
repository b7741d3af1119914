"""Scaling, ensembles and rescaling of runs that are done."""

import dataclasses

import numpy as np
import pytest

from experiments import collect
from experiments import papers
from experiments import results
from experiments.analysis import posthoc
from experiments.analysis import records
from experiments.papers import tables
from experiments.runs import config as config_lib
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs import training
from experiments.runs.outputs import Outputs
from tf_mixup import posthoc as posthoc_lib

CONFIG = config_lib.Config(
    width=4,
    epochs=2,
    num_train=128,
    num_validation=100,
    batch_size=64,
    schedule="constant",
    corruption=0.3,
    corruption_kind="class_map",
)
ERM = dataclasses.replace(
    CONFIG, method="erm", alpha=0.0, dropout=0.3, mc_passes=2
)
SOURCES = run_data.Sources()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns a folder with a run without mixup and one with it."""
    workdir = tmp_path_factory.mktemp("runs")
    for config in (ERM, CONFIG):
        training.run(config, workdir / config.run_name)
    return workdir


class TestScale:
    def test_law_confidence_becomes_accuracy(self):
        # Labels drawn from softmax(z); the network says softmax(3 z).
        rng = np.random.default_rng(0)
        truth = rng.normal(size=(4000, 3))
        chance = outputs_lib.softmax(truth)
        labels = (chance.cumsum(-1) > rng.random((4000, 1))).argmax(-1)
        said = (3 * truth).astype(np.float32)
        outputs = Outputs(
            {"validation": said[:2000], "test": said[2000:]},
            {"validation": labels[:2000], "test": labels[2000:]},
        )
        scaler = posthoc_lib.TemperatureScaling()
        scaled = posthoc.scale(outputs, scaler, "validation")
        assert scaler.temperature == pytest.approx(3, rel=0.1)
        correct = scaled.probabilities("test").argmax(-1) == labels[2000:]
        gap = scaled.confidence("test").mean() - correct.mean()
        assert abs(gap) < 0.03

    @pytest.mark.slow
    def test_leaves_out_what_it_was_fitted_on(self, runs):
        outputs = outputs_lib.read(runs / ERM.run_name / run_files.PREDICTIONS)
        scaled = posthoc.scale(
            outputs, posthoc_lib.VectorScaling(), "validation"
        )
        assert "validation" not in scaled.logits
        assert "validation" not in scaled.labels
        assert set(scaled.ood_names) == {"gaussian", "uniform"}

    def test_logits_of_certain_probabilities_are_finite(self):
        found = posthoc.to_logits(np.array([[1.0, 0.0]], np.float32))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(
            outputs_lib.softmax(found), [[1, 0]], atol=1e-7
        )


@pytest.mark.slow
class TestMeasureScaled:
    def test_has_every_method(self, runs):
        found = posthoc.measure_scaled(runs / ERM.run_name)
        assert set(found) == {*posthoc.SCALERS, posthoc.NOISY, "dropout"}
        mixed = posthoc.measure_scaled(runs / CONFIG.run_name)
        assert "dropout" not in mixed

    def test_is_of_what_the_scalers_are_now(self, runs, monkeypatch):
        folder = runs / ERM.run_name
        before = posthoc.measure_scaled(folder)
        scalers = {"vector": posthoc_lib.TemperatureScaling}
        monkeypatch.setattr(posthoc, "SCALERS", scalers)
        found = posthoc.measure_scaled(folder)["vector"]
        del before["temperature"]["temperature"]
        assert found == before["temperature"]

    def test_temperature_keeps_accuracy_and_lowers_validation_nll(self, runs):
        folder = runs / ERM.run_name
        outputs = outputs_lib.read(folder / run_files.PREDICTIONS)
        found = posthoc.measure_scaled(folder)["temperature"]
        before = (
            outputs.logits["test"].argmax(-1) == outputs.labels["test"]
        ).mean()
        assert found["test_accuracy"] == pytest.approx(before)
        assert found["temperature"] > 0

    def test_noisy_labels_are_the_validation_sets_as_training_has_them(
        self, runs
    ):
        outputs = outputs_lib.read(runs / ERM.run_name / run_files.PREDICTIONS)
        clean = outputs.labels["validation"]
        noisy = outputs.labels["validation_noisy"]
        assert 0.15 < np.mean(clean != noisy) < 0.45
        # One wrong class a class.
        changed = {(a, b) for a, b in zip(clean, noisy, strict=True) if a != b}
        assert len(changed) == len({a for a, _ in changed})


@pytest.mark.slow
class TestWithNetworks:
    def test_ensemble_of_one_is_the_run(self, runs):
        folder = runs / ERM.run_name
        found = posthoc.average(ERM, [folder], SOURCES)
        alone = outputs_lib.read(folder / run_files.PREDICTIONS)
        for name in ("test", "ood_gaussian"):
            np.testing.assert_allclose(
                found.probabilities(name),
                alone.probabilities(name),
                atol=1e-5,
            )

    def test_rescaling_predicts_every_set(self, runs):
        folder = runs / CONFIG.run_name
        found = posthoc.rescale(CONFIG, folder, SOURCES)
        np.testing.assert_allclose(
            found.probabilities("test").sum(-1), 1, rtol=1e-5
        )
        assert set(found.ood_names) == {"gaussian", "uniform"}


class TestCollect:
    @pytest.mark.slow
    def test_lines_of_complete_runs(self, runs, monkeypatch, tmp_path):
        second = dataclasses.replace(ERM, seed=1)
        training.run(second, runs / second.run_name)

        def build(scale, seeds):
            arms = [ERM, CONFIG]
            return [
                dataclasses.replace(arm, seed=seed)
                for seed in range(seeds)
                for arm in arms
            ]

        table = tables.Table(build, "Us", (2, 2), 0.0, "")
        monkeypatch.setitem(papers.TABLES, "out_of_distribution", table)
        monkeypatch.setattr(collect, "ENSEMBLE_SIZE", 2)
        lines = collect.collect(
            "out_of_distribution", "small", runs, SOURCES, {}
        )
        found = {(line.config.method, line.after) for line in lines}
        assert {after for method, after in found if method == "erm"} == {
            *("", "temperature", "temperature_noisy", "vector", "isotonic"),
            *("temperature_published", "dropout", "ensemble"),
        }
        assert ("mixup", "rescaling") in found
        assert sum(line.hours > 0 for line in lines) == 3
        text = results.render({"out_of_distribution": lines})
        assert "| dropout 0.3, ensemble | 1 |" in text
        assert "T, temperature scaling on noisy labels |" in text

    def test_attacks_the_seeds_that_are_here(self, monkeypatch, tmp_path):
        seeds = [dataclasses.replace(ERM, seed=seed) for seed in range(3)]
        table = tables.Table(lambda scale, _: seeds, "", (3, 3), 0.0, "")
        monkeypatch.setitem(papers.TABLES, "adversarial", table)
        monkeypatch.setattr(
            collect,
            "_measure",
            lambda config, _: [records.Record(config, "", {})],
        )
        monkeypatch.setitem(
            collect.MEASURES,
            "adversarial",
            (
                "attacked",
                lambda runs, _: [(run, {"clean_error": 0.2}) for run in runs],
            ),
        )
        for config in seeds[1:]:
            folder = tmp_path / config.run_name
            folder.mkdir()
            (folder / "record.json").touch()
        known = [records.Record(seeds[0], "attacked", {"clean_error": 0.5})]
        found = collect.collect(
            *("adversarial", "small", tmp_path, SOURCES),
            {"adversarial": known},
        )
        errors = {
            record.config.seed: record.value("clean_error")
            for record in found
            if record.after
        }
        assert errors == {0: 0.5, 1: 0.2, 2: 0.2}

    def test_keeps_what_needs_other_seeds(self, monkeypatch, tmp_path):
        second = dataclasses.replace(ERM, seed=1)
        table = tables.Table(
            lambda scale, seeds: [ERM, second], "", (2, 2), 0.0, ""
        )
        for name in ("out_of_distribution", "adversarial"):
            monkeypatch.setitem(papers.TABLES, name, table)
        folder = tmp_path / ERM.run_name
        folder.mkdir()
        (folder / "record.json").touch()
        plain = records.Record(ERM, "", {})
        monkeypatch.setattr(collect, "_measure", lambda *_: [plain])
        other = records.Record(second, "", {"test_ece": 0.1})
        attacked = records.Record(ERM, "attacked", {"clean_error": 0.5})
        ensemble = records.Record(ERM, "ensemble", {})
        known = {"adversarial": [other, attacked]}
        found = collect.collect(
            "adversarial", "small", tmp_path, SOURCES, known
        )
        assert found == [plain, other, attacked]
        known = {"out_of_distribution": [other, ensemble]}
        found = collect.collect(
            "out_of_distribution", "small", tmp_path, SOURCES, known
        )
        assert found == [plain, other, ensemble]

    def test_a_run_that_was_trained_again_has_one_result(self, tmp_path):
        old, new = (
            records.Record(ERM, "", {"test_ece": each}) for each in (0.1, 0.2)
        )
        other = records.Record(CONFIG, "", {"test_ece": 0.3})
        records.write([old, other], tmp_path / "image_overlap.jsonl")
        records.write([other], tmp_path / "cifar.jsonl")
        folder = tmp_path / "runs" / ERM.run_name
        folder.mkdir(parents=True)
        (folder / "record.json").touch()
        recalled = records.Record(CONFIG, "", {"test_ece": 0.9})
        collect.share([new, recalled], tmp_path / "runs", tmp_path)
        found = records.read_all(tmp_path)
        assert found == {"cifar": [other], "image_overlap": [new, other]}

    def test_recalls_what_is_not_here(self, monkeypatch, tmp_path):
        table = tables.Table(lambda scale, seeds: [ERM], "", (1, 1), 0.0, "")
        monkeypatch.setitem(papers.TABLES, "image_overlap", table)
        line, other = (
            records.Record(ERM, after, {"test_ece": 0.1}) for after in ("", "x")
        )
        stranger = records.Record(CONFIG, "", {"test_ece": 0.9})
        known = {"alpha_sweep": [stranger, other], "image_overlap": [line]}
        found = collect.collect(
            "image_overlap", "small", tmp_path, SOURCES, known
        )
        assert found == [line]
        del known["image_overlap"]
        found = collect.collect(
            "image_overlap", "small", tmp_path, SOURCES, known
        )
        assert found == [other]
