"""Arms: grouped, named and chosen."""

import dataclasses

import pytest

from experiments.analysis import arms
from experiments.analysis import records
from experiments.analysis.arms import Arm
from experiments.runs import config as config_lib

ERM = config_lib.Config(method="erm", alpha=0.0)
MIXED = config_lib.Config(method="mixup", alpha=0.4)


def line(config=ERM, *, seed=0, after="", hours=0.0, **results):
    config = dataclasses.replace(config, seed=seed)
    return records.Record(config, after, results, hours)


class TestArm:
    def test_belongs_to_an_arm(self):
        arm = Arm("", {"method": "erm"}, after="temperature")
        assert arm.includes(line(after="temperature"))
        assert not arm.includes(line())
        assert not arm.includes(line(MIXED, after="temperature"))

    def test_an_arm_may_have_one_of_several_values(self):
        arm = Arm("", {"alpha": frozenset({0.2, MIXED.alpha})})
        assert arm.includes(line(MIXED))
        other = dataclasses.replace(MIXED, alpha=MIXED.alpha + 0.1)
        assert not arm.includes(line(other))


class TestGroups:
    def test_by_setting(self):
        other = dataclasses.replace(ERM, corruption=0.5)
        lines = [line(other), line(), line(MIXED)]
        groups = list(arms.by_setting(lines).values())
        assert groups == [lines[1:], lines[:1]]

    def test_sizes_of_photographs_are_settings(self):
        photographs = dataclasses.replace(ERM, dataset="imagefolder:x")
        lines = [
            line(dataclasses.replace(photographs, image_size=size))
            for size in (32, 64)
        ]
        groups = arms.by_setting(lines)
        assert list(groups.values()) == [lines[:1], lines[1:]]
        words = [arms.describe_setting(setting) for setting in groups]
        assert ", 32 pixels, " in words[0]
        assert words[1] == words[0].replace("32", "64")

    @pytest.mark.parametrize(
        ("fields", "after", "name"),
        [
            ({"method": "erm"}, "", "no mixup"),
            ({"num_points": 5}, "", "4-Mixup, alpha 0.2"),
            (
                {"mix": "inputs", "partner": "different_class"},
                "",
                "inputs only between classes, alpha 0.2",
            ),
            ({"tuning": "follow", "alpha": 1.0}, "", "mixup, alpha tuned"),
            ({"tuning": "follow"}, "", "mixup, alpha tuned from 0.2"),
            ({"mix": "targets"}, "", "labels only, alpha 0.2"),
            (
                {"network": "gan", "gan_pairs": "any"},
                "",
                "mixup of any two points, lam up to 0.2",
            ),
            ({"per": "example"}, "", "mixup per example, alpha 0.2"),
            (
                {"per": "class", "tuning": "camixup"},
                "",
                "CAMixup, alpha 0.2",
            ),
            (
                {"per": "class", "tuning": "follow"},
                "",
                "mixup by class, alpha tuned from 0.2",
            ),
            ({"method": "mit", "alpha": 1.0}, "", "MIT-L, alpha 1"),
            (
                {
                    "method": "mit",
                    "alpha": 1.0,
                    "margin": 0.5,
                    "mix_layers": ("input", "stage1"),
                },
                "",
                "MIT-A of margin 0.5, alpha 1",
            ),
            (
                {"kernel_width": 0.25, "alpha": 1.0},
                "",
                "mixup by similarity (width 0.25), alpha 1",
            ),
            ({"mix_layers": ("input", "a")}, "", "manifold mixup, alpha 0.2"),
            ({"mix_layers": ("stem",)}, "", "mixup at layer 1, alpha 0.2"),
            ({"mix_layers": ("embedding",)}, "", "mixup, alpha 0.2"),
            ({"neighbors": 5}, "", "mixup with 5 neighbors, alpha 0.2"),
            ({"weight_decay": 0.1}, "", "mixup, alpha 0.2, weight decay 0.1"),
            ({"method": "erm", "noise": 0.1}, "", "noise 0.1"),
            (
                {"method": "erm", "restore_best": True},
                "",
                "early stopping",
            ),
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
        assert arms.describe(run) == name


class TestSelect:
    STRONG = dataclasses.replace(MIXED, alpha=1.0)

    def test_one_row(self):
        lines = [line(seed=seed) for seed in (0, 1)] + [line(MIXED)]
        chosen = arms.select(lines, Arm("", {"method": "erm"}))
        assert chosen == {0: lines[0], 1: lines[1]}

    def test_validation_chooses_over_common_seeds(self):
        lines = [
            line(MIXED, seed=0, validation_ece=0.1, test_ece=0.9),
            line(MIXED, seed=1, validation_ece=0.9),
            line(self.STRONG, seed=0, validation_ece=0.2, test_ece=0.0),
        ]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        # Seed 1 has no rival; the test set has no say.
        assert set(arms.select(lines, arm)) == {0, 1}

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
        (run,) = arms.select(lines, arm).values()
        assert run.config.alpha == chosen

    def test_chooses_nothing_without_a_common_seed(self):
        lines = [
            line(MIXED, seed=0, validation_ece=0.1),
            line(self.STRONG, seed=1, validation_ece=0.2),
        ]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        assert arms.select(lines, arm) == {}
        assert arms.select(lines[:1], arm) == {0: lines[0]}

    @pytest.mark.parametrize("missing", [0, 1])
    def test_chooses_nothing_where_a_number_is_missing(self, missing):
        scores = [{"validation_ece": 0.1}, {"validation_ece": 0.2}]
        scores[missing] = {}
        lines = [line(MIXED, **scores[0]), line(self.STRONG, **scores[1])]
        arm = Arm("", {"method": "mixup"}, chosen_by="validation_ece")
        assert arms.select(lines, arm) == {}

    def test_refuses_two_rows(self):
        lines = [line(MIXED), line(self.STRONG)]
        with pytest.raises(ValueError, match=r"must be unique.*alpha 1"):
            arms.select(lines, Arm("mixup", {"method": "mixup"}))

    def test_none(self):
        assert arms.select([line()], Arm("", {"method": "mixup"})) == {}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("cifar10", "CIFAR-10"),
        ("uci:iris", "UCI iris"),
        ("gaussians:0.25", "Two Gaussians, mu 0.25"),
        ("speech:../a/b.zip", "Recordings"),
        ("folder:../a/b", "Images of a folder"),
    ],
)
def test_data_sets_have_names_without_paths(name, title):
    assert arms.describe_dataset(name) == title
