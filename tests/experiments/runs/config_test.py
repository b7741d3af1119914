"""Tests of what decides the result of a run."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.runs import config as config_lib

REFUSED = [
    *((name, "other") for name in config_lib.CHOICES),
    ("alpha", -0.1),
    ("alpha", float("nan")),
    ("learning_rate", float("inf")),
    ("weight_decay", -1e-4),
    ("decay", -0.1),
    ("epochs", 0),
    ("epochs", 1.5),
    ("batch_size", 0),
    ("num_validation", 0),
    ("num_train", -1),
    ("seed", -1),
    ("ood_every", -1),
    ("warmup_epochs", -1),
    ("mixing_warmup_epochs", -1),
    ("corruption", 1.1),
    *(("width", 0), ("image_size", 0), ("image_size", 1.5)),
    ("dropout", 1.0),
    *(("mc_passes", -1), ("neighbors", -1), ("num_points", 1), ("noise", -0.1)),
    *(("batch_size", -1), ("batch_size", True), ("seed", 2**32)),
    *(("learning_rate", 0.0), ("learning_rate", float("nan"))),
    *(("alpha", 1e39), ("alpha", 1e-39), ("learning_rate", 1e-45)),
    *(("ood", "mnist"), ("mix_layers", None), ("milestones", 3)),
    ("ema", 1.0),
    ("ema", -0.5),
    ("kernel_width", -0.5),
    ("margin", 1.5),
]


class TestConfig:
    @pytest.mark.parametrize(("name", "value"), REFUSED)
    def test_refuses(self, name, value):
        with pytest.raises(ValueError, match="must") as caught:
            config_lib.Config(**{name: value})
        rule, _, rest = str(caught.value).partition(". Received: ")
        assert f"`{name}`" in rule
        assert rest.startswith(f"{name}={value!r}. ")

    def test_refuses_milestones_that_are_no_epochs(self):
        with pytest.raises(ValueError, match="`milestones` must be an integ"):
            config_lib.Config(milestones=(1.5,))

    @pytest.mark.parametrize("milestones", [(30, 20), (5, 5), (0, 5), (2, 9)])
    def test_refuses_milestones_out_of_order(self, milestones):
        with pytest.raises(ValueError, match="must rise") as caught:
            config_lib.Config(milestones=milestones, warmup_epochs=2)
        assert f"milestones={milestones}" in str(caught.value)
        assert "warmup_epochs=2" in str(caught.value)

    def test_refuses_word_vectors_for_images(self):
        with pytest.raises(ValueError, match="Received: network='lenet'"):
            config_lib.Config(network="lenet", embeddings="glove.txt")

    def test_layers_are_mixed_by_mixup_alone(self):
        for method in ("erm", "mixup"):
            config_lib.Config(mix_layers=("stage1",), method=method)
        with pytest.raises(ValueError, match="neighbors=3 with mix_layers"):
            config_lib.Config(mix_layers=("stage1",), neighbors=3)
        with pytest.raises(ValueError, match="partner='different_class'"):
            config_lib.Config(partner="different_class", neighbors=3)
        with pytest.raises(ValueError, match="method='mit'"):
            config_lib.Config(method="mit", neighbors=3)
        with pytest.raises(ValueError, match="are mixed by mixup"):
            config_lib.Config(mix_layers=("stage1",), method="regmixup")

    @pytest.mark.parametrize(
        "options", [{"num_points": 3}, {"mix": "inputs"}, {"kernel_width": 0.5}]
    )
    def test_mit_mixes_pairs_for_their_own_targets(self, options):
        config_lib.Config(method="mit", margin=0.5, mix_layers=("stem",))
        with pytest.raises(ValueError, match="MIT mixes pairs twice"):
            config_lib.Config(method="mit", **options)

    def test_alphas_by_class_are_tuned(self):
        for rule in ("follow", "camixup"):
            config_lib.Config(per="class", tuning=rule)
        config_lib.Config(per="class", method="erm")
        for options in ({"per": "class"}, {"tuning": "camixup"}):
            with pytest.raises(ValueError, match="CAMixup is by class"):
                config_lib.Config(**options)

    def test_names_sets_by_the_last_part_of_their_path(self):
        sources = ("mnist", "../ood/noise.npz", "folder:away/images")
        config = config_lib.Config(ood=sources)
        assert config.ood_names == ("mnist", "noise", "images")

    @pytest.mark.parametrize(
        "sources",
        [
            *(("a/one.npz", "b/one.npz"), ("mnist", "folder:x/mnist")),
            *(("gaussian.npz",), ("folder:svhn/test",), ("folder:.",)),
        ],
    )
    def test_refuses_sets_that_share_a_name(self, sources):
        with pytest.raises(ValueError, match="a name of its own") as caught:
            config_lib.Config(ood=sources)
        assert f"{sources[-1]!r} is named" in str(caught.value)

    def test_survives_json(self):
        config = config_lib.Config(
            milestones=(3, 5), ood=("mnist", "a.npz"), width=None, alpha=1 / 3
        )
        text = json.dumps(config.to_json())
        assert config_lib.Config.from_json(json.loads(text)) == config

    def test_erm_mixes_nothing(self):
        assert config_lib.Config(method="erm", alpha=1.0).alpha == 0
        assert config_lib.Config(alpha=1.0).alpha == 1

    def test_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            config_lib.Config().seed = 3


def test_equal_values_name_the_same_run():
    plain = config_lib.Config(dropout=0, milestones=[3], ood=["a"], seed=1)
    same = config_lib.Config(
        dropout=np.float32(0), milestones=(3,), ood=("a",), seed=np.int64(1)
    )
    assert plain == same
    assert hash(plain) == hash(same)
    assert plain.run_name == same.run_name


def test_whole_numbers_name_the_same_run():
    whole = config_lib.Config(alpha=1, weight_decay=0, corruption=0)
    assert isinstance(whole.alpha, float)
    same = config_lib.Config(alpha=1.0, weight_decay=0.0, corruption=0.0)
    assert whole.run_name == same.run_name
