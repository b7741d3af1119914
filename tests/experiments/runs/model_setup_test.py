"""From a `Config` to a network, a loss and a mixing stage."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from tf_mixup import metrics
from tf_mixup import mixing

CONFIG = config_lib.Config(alpha=0.7, width=4)
TARGETS = np.array([[0.0, 1.0, 0.0]], "float32")
LOGITS = np.array([[1.0, 2.0, 0.5]], "float32")


def build_mixup(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    return model_setup.build_mixup(config, 10, tf.distribute.get_strategy())


class TestBuildMetrics:
    def test_top_5_is_for_many_classes(self):
        names = [each.name for each in model_setup.build_metrics(10)]
        assert names == ["accuracy", "ece"]
        *_, top5 = model_setup.build_metrics(11)
        logits = np.arange(11, dtype="float32")[None].repeat(2, axis=0)
        top5.update_state(np.eye(11, dtype="float32")[[6, 5]], logits)
        assert top5.name == "top5_accuracy"
        assert float(top5.result()) == 0.5

    def test_by_class(self):
        _, by_class = model_setup.build_metrics(10, by_class=True)
        assert isinstance(by_class, metrics.ClassCalibrationMetrics)


class TestBuildNetwork:
    def test_takes_what_the_data_and_the_config_say(self):
        splits = datasets.make_placeholder("cifar100")
        network = model_setup.build_network(CONFIG, splits)
        assert network.output_shape == (None, 100)
        assert network.get_layer("stage1").output.shape[-1] == 4
        # Stem 27*4 + 8; stages of 4, 8 and 16 channels; logits 16*100 + 100.
        # A first block from f/2 to f has 14 f f + 6 f, the one of equal
        # width 18 f f + 4 f.
        stages = 304 + 14 * 64 + 48 + 14 * 256 + 96
        expected = 116 + stages + 1700
        assert model_setup.count_parameters(network) == expected

    @pytest.mark.parametrize("standardized", [True, False])
    def test_features_are_standardized_or_left(self, standardized):
        config = dataclasses.replace(
            CONFIG,
            dataset="uci:iris",
            network="mlp",
            standardized=standardized,
        )
        splits = datasets.make_placeholder("uci:iris")
        splits = dataclasses.replace(splits, mean=(1.0,) * 4, std=(2.0,) * 4)
        network = model_setup.build_network(config, splits)
        seen = keras.Model(network.input, network.layers[1].output)
        rows = np.array([[5.0, 1, 1, 3]], "float32")
        expected = (rows - 1) / 2 if standardized else rows
        np.testing.assert_allclose(seen.predict(rows, verbose=0), expected)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"network": "resnet19"}, "`network` must be one of"),
            ({"standardized": False}, "is for the features of tables"),
            ({"network": "text_cnn"}, "Sentences take the network `text_cnn`"),
        ],
    )
    def test_refuses(self, changes, match):
        config = dataclasses.replace(CONFIG, **changes)
        splits = datasets.make_placeholder("cifar10")
        with pytest.raises(ValueError, match=match):
            model_setup.build_network(config, splits)

    @pytest.mark.parametrize(
        ("option", "network"),
        [
            ("zero_gamma", "lenet"),
            ("zero_gamma", "preact_resnet18"),
            ("sync_batch_norm", "lenet"),
        ],
    )
    def test_refuses_options_that_a_network_lacks(self, option, network):
        config = dataclasses.replace(CONFIG, network=network, **{option: True})
        splits = datasets.make_placeholder("cifar10")
        with pytest.raises(ValueError, match=f"Leave --{option} out"):
            model_setup.build_network(config, splits)

    def test_refuses_synchronized_norm_on_another_backend(self, monkeypatch):
        config = dataclasses.replace(CONFIG, sync_batch_norm=True)
        splits = datasets.make_placeholder("cifar10")
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="the Keras backend 'jax'"):
            model_setup.build_network(config, splits)

    def test_refuses_to_mix_ids(self):
        config = dataclasses.replace(CONFIG, network="text_cnn")
        splits = datasets.make_placeholder("trec")
        with pytest.raises(ValueError, match="--mix_layers=embedding"):
            model_setup.build_network(config, splits)


class TestBuildLoss:
    def test_by_hand(self):
        logs = LOGITS[0] - np.log(np.exp(LOGITS[0]).sum())
        crossentropy = -logs[1]
        entropy = -(np.exp(logs) * logs).sum()
        for changes, expected in (
            ({}, crossentropy),
            ({"entropy_weight": 0.5}, crossentropy - 0.5 * entropy),
            (
                {"label_smoothing": 0.2},
                -(0.1 * logs[0] + 0.8 * logs[1] + 0.1 * logs[2]),
            ),
        ):
            loss = model_setup.build_loss(
                dataclasses.replace(CONFIG, **changes)
            )
            assert float(loss(TARGETS, LOGITS)) == pytest.approx(
                expected, abs=1e-6
            )

    @pytest.mark.parametrize(
        "changes", [{}, {"entropy_weight": 0.5}, {"label_smoothing": 0.2}]
    )
    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_is_float32_in_mixed_precision(self, changes, policy):
        # exp(-12) is 0 beside 1 in half precision.
        logits = np.array([[0.0, 12.0, -12.0]], "float32")
        config = dataclasses.replace(CONFIG, **changes)
        expected = model_setup.build_loss(config)(TARGETS, logits)
        keras.config.set_dtype_policy(policy)
        try:
            loss = model_setup.build_loss(config)
        finally:
            keras.config.set_dtype_policy("float32")
        found = loss(TARGETS, logits)
        assert found.dtype == "float32"
        assert float(found) == float(expected)


class TestBuildMixup:
    def test_erm_mixes_nothing(self):
        assert build_mixup(method="erm").alpha == 0
        assert build_mixup().alpha == 0.7

    def test_each_method_has_its_stage(self):
        assert isinstance(build_mixup(method="cutmix"), mixing.CutMix)
        assert build_mixup(method="regmixup").include_clean
        assert build_mixup(num_points=4).num_points == 4
        assert build_mixup(mix="inputs").mix == "inputs"
        assert build_mixup(mix="targets").mix == "targets"
        assert build_mixup(per="class", tuning="camixup").per == "class"
        assert build_mixup(per="class", method="erm").per == "batch"
        mit = build_mixup(method="mit", margin=0.5)
        assert isinstance(mit, mixing.DecoupledMixUp)
        assert mit.margin == 0.5
        kernel = build_mixup(kernel_width=0.5, per="example").per
        assert kernel == mixing.SimilarityKernel(0.5)
        assert build_mixup(neighbors=5).partner.kind == "given"
        assert build_mixup(neighbors=5, method="erm").partner.kind == "random"

    @pytest.mark.parametrize(
        ("changes", "placement"),
        [
            ({}, "host"),
            ({"placement": "model"}, "model"),
            ({"mix_layers": ("stage1",)}, "model"),
            ({"method": "cutmix"}, "host"),
            ({"method": "mit"}, "model"),
            ({"neighbors": 5}, "host"),
        ],
    )
    def test_placement_without_a_gpu(self, changes, placement):
        config = dataclasses.replace(CONFIG, **changes)
        assert model_setup.choose_placement(config) == placement

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            (
                {"mix_layers": ("stage1",), "placement": "host"},
                "mixes in the model",
            ),
            ({"method": "cutmix", "placement": "model"}, "mixes on the host"),
            ({"neighbors": 5, "placement": "model"}, "neighbors=5"),
            ({"method": "cutmix", "num_points": 3}, "Leave `num_points` out"),
        ],
    )
    def test_what_no_stage_could_do_is_refused(self, changes, match):
        with pytest.raises(ValueError, match=match):
            build_mixup(**changes)
