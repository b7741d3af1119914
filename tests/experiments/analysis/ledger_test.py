"""Lines of the ledger: written, read, arranged and chosen."""

import dataclasses

import pytest

from experiments.analysis import ledger
from experiments.analysis.claims import Arm
from experiments.runs import config as config_lib

ERM = config_lib.Config(method="erm", alpha=0.0)
MIXED = config_lib.Config(method="mixup", alpha=0.4)


def line(config=ERM, *, seed=0, after="", hours=0.0, **results):
    config = dataclasses.replace(config, seed=seed)
    return ledger.Line(config, after, results, hours)


class TestFile:
    def test_round_trip(self, tmp_path):
        lines = [
            line(test_ece=0.1234567, hours=0.5),
            line(MIXED, seed=3, after="temperature", temperature=1.5),
        ]
        ledger.write(lines, tmp_path / "table.jsonl")
        first, second = ledger.read(tmp_path / "table.jsonl")
        assert first.results == {"test_ece": 0.123457}
        assert (first.config, first.hours) == (lines[0].config, 0.5)
        assert second == lines[1]

    def test_keeps_only_fields_that_differ_from_defaults(self, tmp_path):
        ledger.write([line(MIXED, seed=3)], tmp_path / "table.jsonl")
        text = (tmp_path / "table.jsonl").read_text()
        assert '"config": {"alpha": 0.4, "seed": 3}' in text

    def test_a_damaged_line_is_named(self, tmp_path):
        path = tmp_path / "table.jsonl"
        ledger.write([line()], path)
        path.write_text(path.read_text() + '{"config": {}}\n')
        with pytest.raises(ValueError, match=r"table.jsonl, line 2.*'after'"):
            ledger.read(path)


class TestLine:
    def test_other_is_the_first_named_set(self):
        config = dataclasses.replace(ERM, ood=("../ood/mnist_test.npz", "b"))
        run = line(config, mnist_test_auroc=0.7, b_auroc=0.2)
        assert run.value("other_auroc") == 0.7
        folder = dataclasses.replace(ERM, ood=("folder:away/images",))
        assert line(folder, images_auroc=0.3).value("other_auroc") == 0.3

    def test_what_is_missing_is_nan(self):
        assert line().value("test_ece") != line().value("test_ece")

    def test_belongs_to_an_arm(self):
        arm = Arm("", {"method": "erm"}, after="temperature")
        assert line(after="temperature").belongs_to(arm)
        assert not line().belongs_to(arm)
        assert not line(MIXED, after="temperature").belongs_to(arm)

    def test_an_arm_may_have_one_of_several_values(self):
        arm = Arm("", {"alpha": frozenset({0.2, MIXED.alpha})})
        assert line(MIXED).belongs_to(arm)
        other = dataclasses.replace(MIXED, alpha=MIXED.alpha + 0.1)
        assert not line(other).belongs_to(arm)


class TestArrange:
    def test_by_setting(self):
        other = dataclasses.replace(ERM, corruption=0.5)
        lines = [line(other), line(), line(MIXED)]
        groups = list(ledger.by_setting(lines).values())
        assert groups == [lines[1:], lines[:1]]

    @pytest.mark.parametrize(
        ("fields", "after", "name"),
        [
            ({"method": "erm"}, "", "no mixup"),
            ({"method": "mixup", "alpha": 0.0}, "", "no mixup"),
            ({"method": "mixup"}, "", "mixup, alpha 0.2"),
            ({"points": 5}, "", "4-Mixup, alpha 0.2"),
            ({"target": "nearest"}, "", "inputs only, alpha 0.2"),
            (
                {"partner": "same_class"},
                "",
                "mixup within a class, alpha 0.2",
            ),
            (
                {"target": "nearest", "partner": "different_class"},
                "",
                "inputs only between classes, alpha 0.2",
            ),
            ({"per": "sample"}, "", "mixup by sample, alpha 0.2"),
            ({"mix_layers": ("input", "a")}, "", "manifold mixup, alpha 0.2"),
            (
                {"mix_layers": ("spectrogram",)},
                "",
                "mixup of spectrograms, alpha 0.2",
            ),
            ({"mix_layers": ("stem",)}, "", "mixup at stem, alpha 0.2"),
            (
                {"mix_layers": ("embedding",), "optimizer": "adadelta"},
                "",
                "mixup, alpha 0.2",
            ),
            (
                {"target": "nearest", "partner": "same_class", "neighbors": 5},
                "",
                "inputs only within a class with 5 neighbors, alpha 0.2",
            ),
            ({"weight_decay": 0.1}, "", "mixup, alpha 0.2, weight decay 0.1"),
            (
                {"weight_decay": 0.1, "optimizer": "adam"},
                "",
                "mixup, alpha 0.2",
            ),
            ({"method": "erm", "noise": 0.1}, "", "noise 0.1"),
            ({"method": "cutmix"}, "", "CutMix, alpha 0.2"),
            (
                {"method": "erm", "label_smoothing": 0.1},
                "",
                "label smoothing 0.1",
            ),
            ({"method": "erm", "entropy_weight": 0.1}, "", "ERL 0.1"),
            (
                {"method": "erm", "dropout": 0.3},
                "dropout",
                "dropout 0.3, MC dropout",
            ),
            (
                {"label_smoothing": 0.1},
                "isotonic",
                "mixup, alpha 0.2, label smoothing 0.1, isotonic scaling",
            ),
        ],
    )
    def test_names(self, fields, after, name):
        run = line(config_lib.Config(**fields), after=after)
        assert ledger.describe(run) == name


class TestSelect:
    STRONG = dataclasses.replace(MIXED, alpha=1.0)

    def test_one_row(self):
        lines = [line(seed=seed) for seed in (0, 1)] + [line(MIXED)]
        chosen = ledger.select(lines, Arm("", {"method": "erm"}))
        assert chosen == {0: lines[0], 1: lines[1]}

    def test_validation_chooses_over_common_seeds(self):
        lines = [
            line(MIXED, seed=0, validation_ece=0.1, test_ece=0.9),
            line(MIXED, seed=1, validation_ece=0.9),
            line(self.STRONG, seed=0, validation_ece=0.2, test_ece=0.0),
        ]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        # Seed 1 has no rival; the test set has no say.
        assert set(ledger.select(lines, arm)) == {0, 1}

    @pytest.mark.parametrize(
        ("result", "ece", "chosen"),
        [("validation_accuracy", 0.6, 1.0), ("validation_nll", 0.4, 0.4)],
    )
    def test_arm_names_what_chooses(self, result, ece, chosen):
        # The highest accuracy, the lowest of anything else; ECE, by which
        # the other one would be chosen, has no say.
        lines = [
            line(MIXED, **{result: 0.7}, validation_ece=0.5),
            line(self.STRONG, **{result: 0.8}, validation_ece=ece),
        ]
        arm = Arm("", {"method": "mixup"}, chosen_by=result)
        (run,) = ledger.select(lines, arm).values()
        assert run.config.alpha == chosen

    def test_chooses_nothing_without_a_common_seed(self):
        lines = [
            line(MIXED, seed=0, validation_ece=0.1),
            line(self.STRONG, seed=1, validation_ece=0.2),
        ]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        assert ledger.select(lines, arm) == {}
        assert ledger.select(lines[:1], arm) == {0: lines[0]}

    @pytest.mark.parametrize("missing", [0, 1])
    def test_chooses_nothing_where_a_number_is_missing(self, missing):
        scores = [{"validation_ece": 0.1}, {"validation_ece": 0.2}]
        scores[missing] = {}
        lines = [line(MIXED, **scores[0]), line(self.STRONG, **scores[1])]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        assert ledger.select(lines, arm) == {}

    def test_refuses_two_rows(self):
        lines = [line(MIXED), line(self.STRONG)]
        with pytest.raises(ValueError, match=r"must be one row.*alpha 1"):
            ledger.select(lines, Arm("mixup", {"method": "mixup"}))

    def test_none(self):
        assert ledger.select([line()], Arm("", {"method": "mixup"})) == {}
