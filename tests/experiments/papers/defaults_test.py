"""The papers' defaults: of all data sets, found by name or kind."""

import pytest

from experiments import datasets
from experiments import networks
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import gan


class TestPaperDefaults:
    def test_are_those_of_all_data_sets(self):
        kinds = {"speech", "imagenet2012", "imagefolder", "gaussians", "points"}
        assert set(defaults.PAPER_DEFAULTS) == {*datasets.NAMES, *kinds}

    @pytest.mark.parametrize(
        ("name", "network"),
        [
            *(("uci:iris", "mlp"), ("uci:abalone", "mlp")),
            *(("gaussians:0.25", "resnext50_features"), ("mr", "text_cnn")),
            *(("speech:A/B:C", "speech_vgg11"), ("imagefolder:A", "resnet50")),
        ],
    )
    def test_are_found_by_name_or_by_kind(self, name, network):
        assert defaults.paper_defaults(name)["network"] == network

    def test_of_own_images_are_those_of_config(self):
        assert defaults.paper_defaults("folder:cats") == {}

    @pytest.mark.parametrize(
        ("asked", "rate"),
        [
            *(({}, None), ({"network": "resnet18"}, None)),
            *(({"network": "lenet"}, 0.02), ({"optimizer": "adam"}, 1e-3)),
            ({"network": "lenet", "optimizer": "adam"}, 1e-3),
            ({"network": "lenet", "optimizer": "sgd"}, 0.02),
        ],
    )
    def test_learning_rate_is_one_that_learns(self, asked, rate):
        found = defaults.paper_defaults("folder:cats", **asked)
        assert found.get("learning_rate") == rate

    @pytest.mark.parametrize(
        ("name", "asked"),
        [
            *(("mnist", {"network": "lenet"}), ("uci:iris", {})),
            ("speech", {"network": "speech_lenet", "optimizer": "adam"}),
            ("imagenet2012", {"network": "resnet101"}),
        ],
    )
    def test_learning_rate_of_the_papers_stays(self, name, asked):
        expected = defaults.paper_defaults(name)
        assert defaults.paper_defaults(name, **asked) == expected

    def test_are_a_copy(self):
        defaults.paper_defaults("digits")["epochs"] = 1
        assert defaults.PAPER_DEFAULTS["digits"]["epochs"] == 30

    @pytest.mark.parametrize("name", defaults.PAPER_DEFAULTS)
    def test_are_valid(self, name):
        config = config_lib.Config(
            dataset=name, **defaults.PAPER_DEFAULTS[name]
        )
        assert config.network in (*networks.BUILDERS, gan.NETWORK)
        assert all(epoch < config.epochs for epoch in config.milestones)
