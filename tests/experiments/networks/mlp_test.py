"""Tests of the multilayer perceptron, and of networks that take features."""

import keras
import numpy as np
import pytest

from experiments import networks


def random_features(rows, dimensions, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, dimensions)).astype("float32")


def small(**options):
    return networks.build_mlp((7,), 3, **{"width": 5, "seed": 0, **options})


class TestMlp:
    def test_parameters_by_hand(self):
        model = networks.build_mlp((300,), 2, seed=0)
        assert model.count_params() == 301 * 512 + 513 * 512 + 513 * 2

    def test_equals_its_definition(self):
        model = small(mean=0.5, std=2.0)
        features = random_features(6, 7)
        rows = (features - 0.5) / 2
        for name in ("hidden1", "hidden2"):
            kernel, bias = model.get_layer(name).get_weights()
            rows = np.maximum(rows @ kernel + bias, 0)
        kernel, bias = model.get_layer("logits").get_weights()
        np.testing.assert_allclose(
            model(features), rows @ kernel + bias, rtol=1e-5, atol=1e-6
        )

    def test_without_hidden_layers_it_is_linear(self):
        model = small(depth=0)
        one, other = random_features(2, 7)[:, np.newaxis]
        both = np.asarray(model((one + other) / 2))
        np.testing.assert_allclose(
            both, (model(one) + model(other)) / 2, rtol=1e-5, atol=1e-6
        )
        assert model.count_params() == 8 * 3

    def test_statistics_of_each_feature(self):
        model = small(mean=np.arange(7.0), std=[1, 2, 4, 1, 2, 4, 1])
        standardise = keras.Model(
            model.inputs[0], model.get_layer("standardise").output
        )
        np.testing.assert_allclose(
            standardise(np.full((1, 7), 4.0)),
            [[4, 1.5, 0.5, 1, 0, -0.25, -2]],
        )

    def test_unstated_statistics_leave_features_alone(self):
        features = random_features(4, 7)
        model = small()
        standardise = keras.Model(
            model.inputs[0], model.get_layer("standardise").output
        )
        np.testing.assert_array_equal(standardise(features), features)
        # As a data set without channels says it.
        np.testing.assert_array_equal(
            model(features), small(mean=(0.0,), std=(1.0,))(features)
        )

    def test_dropout_follows_each_hidden_layer(self):
        dropouts = [
            layer
            for layer in small(dropout=0.5, depth=3).layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        assert len({layer.seed for layer in dropouts}) == 3
        sources = [
            layer.input._keras_history.operation.name for layer in dropouts
        ]
        assert sources == ["hidden1", "hidden2", "hidden3"]

    def test_the_seed_decides(self):
        features = random_features(4, 7)
        one, same, other = (small(seed=seed)(features) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert np.any(np.asarray(one) != np.asarray(other))

    def test_refuses_images(self):
        with pytest.raises(
            ValueError, match=r"\(features,\).*input_shape=\(8, 8, 3\)"
        ):
            networks.build_mlp((8, 8, 3), 2)

    def test_refuses_a_negative_depth(self):
        with pytest.raises(ValueError, match=r"Received: depth=-1\."):
            small(depth=-1)

    def test_refuses_statistics_of_other_features(self):
        with pytest.raises(
            ValueError, match=r"`std` must .* 2 numbers .*, 7\)"
        ):
            small(std=[1.0, 2.0])


class TestResnetFeatures:
    def test_is_the_narrow_resnet_on_features_laid_out(self):
        features = random_features(3, 300)
        model = networks.build_resnet_features((300,), 2, seed=5)
        images = networks.build_resnet_narrow(
            (10, 10, 3), 2, mean=0.0, std=1.0, seed=5
        )
        np.testing.assert_array_equal(
            model(features), images(features.reshape(3, 10, 10, 3))
        )

    def test_stages_are_layers_of_the_model(self):
        model = networks.build_resnet_features(
            (300,), 2, mean=(0.0,), std=(1.0,), seed=0
        )
        stages = [model.get_layer(f"stage{s}").output.shape for s in (1, 2, 3)]
        assert stages == [
            (None, 10, 10, 16),
            (None, 5, 5, 32),
            (None, 3, 3, 64),
        ]

    def test_saved_model_predicts_the_same_from_features(self, tmp_path):
        model = networks.build_resnet_features((300,), 2, width=4, seed=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        features = random_features(2, 300)
        np.testing.assert_array_equal(loaded(features), model(features))

    def test_refuses_another_number_of_features(self):
        with pytest.raises(ValueError, match="total size"):
            networks.build_resnet_features((299,), 2)
