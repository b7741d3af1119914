"""Tests of averages over dropout masks and over models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tf_mixup import posthoc

INPUTS = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")


def build(*layers, units=3, activation=None, seed=0, name=None):
    """Returns a model of four columns, with some layers before its last."""
    keras.utils.set_random_seed(seed)
    last = keras.layers.Dense(units, activation)
    return keras.Sequential([keras.Input((4,)), *layers, last], name=name)


def build_with_norm(rate):
    """Returns a model whose batch norm has seen other data than its inputs."""
    norm = keras.layers.BatchNormalization()
    model = build(norm, keras.layers.Dropout(rate))
    generator = np.random.default_rng(1)
    norm.set_weights([generator.uniform(1, 3, 4) for _ in range(4)])
    return model


def softmax(model):
    return reference.softmax(keras.ops.convert_to_numpy(model(INPUTS)))


class TestMonteCarloDropout:
    def test_of_rate_zero_equals_the_model(self):
        model = build_with_norm(rate=0.0)
        dropout = posthoc.MonteCarloDropout(model, num_samples=2)
        np.testing.assert_allclose(
            dropout.predict(INPUTS), softmax(model), atol=1e-6
        )

    def test_mean_by_hand(self):
        # One column, kept and doubled half the time: logits (2, 0) or (0, 0).
        model = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(2, use_bias=False),
            ]
        )
        model.set_weights([np.array([[1.0, 0.0]])])
        dropout = posthoc.MonteCarloDropout(
            model, num_samples=2, batch_size=4000
        )
        first = dropout.predict(np.ones((4000, 1), "float32"))[:, 0]
        kept = 1 / (1 + np.exp(-2))
        # Of two passes none, one or two are kept.
        np.testing.assert_allclose(
            np.unique(first.round(5)),
            [0.5, (0.5 + kept) / 2, kept],
            atol=1e-5,
        )
        assert first.mean() == pytest.approx((0.5 + kept) / 2, abs=0.01)

    def test_passes_and_layers_draw_different_masks(self):
        # Dropped at all in one layer, rarely in both alike.
        twice = [keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)]
        model = keras.Sequential([keras.Input((1,)), *twice])
        dropout = posthoc.MonteCarloDropout(
            model, num_samples=1, batch_size=4000, from_logits=True
        )
        once = dropout.predict(np.ones((4000, 1), "float32"))
        dropout.num_samples = 2
        pair = dropout.predict(np.ones((4000, 1), "float32"))
        assert np.mean(once[:, 1] > 0.6) == pytest.approx(1 / 4, abs=0.03)
        assert np.mean(pair[:, 1] > 0.6) == pytest.approx(7 / 16, abs=0.03)

    def test_same_seed_same_probabilities(self):
        model = build(keras.layers.Dropout(0.5))
        dropout = posthoc.MonteCarloDropout(model, num_samples=3, seed=1)
        first = dropout.predict(INPUTS)
        np.testing.assert_array_equal(dropout.predict(INPUTS), first)
        twin = posthoc.MonteCarloDropout(model, num_samples=3, seed=1)
        np.testing.assert_array_equal(twin.predict(INPUTS), first)
        other = posthoc.MonteCarloDropout(model, num_samples=3, seed=2)
        assert np.abs(other.predict(INPUTS) - first).max() > 0.01

    def test_variance_falls_as_one_over_passes(self):
        model = build(keras.layers.Dropout(0.5))
        dropout = posthoc.MonteCarloDropout(model)
        inputs = np.repeat(INPUTS, 30, axis=0)
        variance = {}
        for passes in (1, 8):
            dropout.num_samples = passes
            drawn = dropout.predict(inputs).reshape(30, 30, 3)
            variance[passes] = drawn.var(axis=1).mean()
        assert variance[1] / variance[8] == pytest.approx(8, rel=0.25)

    def test_leaves_the_model_as_it_was(self):
        model = build_with_norm(rate=0.5)
        weights = [weight.copy() for weight in model.get_weights()]
        variables = model.non_trainable_variables
        states = [keras.ops.convert_to_numpy(v) for v in variables]
        before = softmax(model)
        names = [layer.name for layer in model.layers]
        posthoc.MonteCarloDropout(model, num_samples=2).predict(INPUTS)
        for now, then in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
        for variable, then in zip(variables, states, strict=True):
            now = keras.ops.convert_to_numpy(variable)
            np.testing.assert_array_equal(now, then)
        assert all(layer.trainable for layer in model.layers)
        assert [layer.name for layer in model.layers] == names
        np.testing.assert_array_equal(softmax(model), before)

    def test_batch_norm_does_not_look_at_the_batch(self):
        dropout = posthoc.MonteCarloDropout(build_with_norm(0.0), num_samples=1)
        np.testing.assert_allclose(
            dropout.predict(INPUTS[:1]), dropout.predict(INPUTS)[:1], atol=1e-6
        )

    def test_other_random_layers_stay_off(self):
        model = build(
            keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.0)
        )
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        np.testing.assert_allclose(
            dropout.predict(INPUTS), softmax(model), atol=1e-6
        )

    def test_follows_the_weights_of_the_model(self):
        model = build(keras.layers.Dropout(0.0))
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        model.set_weights([-weight for weight in model.get_weights()])
        np.testing.assert_allclose(
            dropout.predict(INPUTS), softmax(model), atol=1e-6
        )

    @pytest.mark.parametrize(
        "layer",
        [
            keras.layers.SpatialDropout1D(0.5),
            keras.layers.GaussianDropout(0.5),
            keras.layers.AlphaDropout(0.5),
            keras.Sequential([keras.layers.Dropout(0.5)]),
        ],
        ids=lambda layer: type(layer).__name__,
    )
    def test_finds_every_kind_and_depth(self, layer):
        shape = keras.layers.Reshape((1, 4)), keras.layers.Flatten()
        model = build(shape[0], layer, shape[1])
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        assert np.abs(dropout.predict(INPUTS) - softmax(model)).max() > 0.01

    def test_of_two_inputs(self):
        inputs = {name: keras.Input((4,), name=name) for name in "ab"}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        dropped = keras.layers.Dropout(0.0)(joined)
        model = keras.Model(inputs, keras.layers.Dense(3)(dropped))
        both = {"a": INPUTS, "b": -INPUTS}
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        np.testing.assert_allclose(
            dropout.predict(both),
            reference.softmax(model.predict(both, verbose=0)),
            atol=1e-6,
        )

    def test_of_a_softmax_and_of_a_sigmoid(self):
        model = build(keras.layers.Dropout(0.0), activation="softmax")
        np.testing.assert_allclose(
            posthoc.MonteCarloDropout(model, num_samples=1).predict(INPUTS),
            model.predict(INPUTS, verbose=0),
            atol=1e-6,
        )
        model = build(keras.layers.Dropout(0.0), units=1, activation="sigmoid")
        dropout = posthoc.MonteCarloDropout(
            model, num_samples=1, from_logits=False
        )
        np.testing.assert_allclose(
            dropout.predict(INPUTS)[:, 1:],
            model.predict(INPUTS, verbose=0),
            atol=1e-6,
        )

    def test_logarithms_are_finite(self):
        model = build(keras.layers.Dropout(0.0))
        model.set_weights([1e4 * weight for weight in model.get_weights()])
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        probabilities = dropout.predict(INPUTS)
        assert probabilities.dtype == np.float32
        assert probabilities.min() < 1e-37
        assert np.all(np.isfinite(np.log(probabilities)))

    def test_of_an_output_in_a_dictionary(self):
        model = build(keras.layers.Dropout(0.0))
        inputs = keras.Input((4,))
        named = keras.Model(inputs, {"logits": model(inputs)})
        dropout = posthoc.MonteCarloDropout(named, num_samples=1)
        np.testing.assert_allclose(
            dropout.predict(list(INPUTS)), softmax(model), atol=1e-6
        )

    @pytest.mark.parametrize("nested", [False, True])
    def test_refuses_a_model_that_is_more_than_its_graph(self, nested):
        class Scaled(keras.Model):
            def call(self, inputs, training=None, mask=None):
                return super().call(inputs / 255)

        inputs = keras.Input((4,))
        model = Scaled(inputs, build(keras.layers.Dropout(0.5))(inputs))
        if nested:
            model = build(model)
        with pytest.raises(ValueError, match=r"override `Scaled\.call`"):
            posthoc.MonteCarloDropout(model)

    def test_refuses_a_model_without_dropout(self):
        with pytest.raises(ValueError, match="must have a dropout layer"):
            posthoc.MonteCarloDropout(build())

    @pytest.mark.parametrize(
        "layer",
        [
            keras.layers.LSTM(3, dropout=0.5),
            keras.layers.Bidirectional(keras.layers.GRU(3, dropout=0.5)),
            keras.layers.TimeDistributed(keras.layers.Dropout(0.5)),
        ],
        ids=lambda layer: type(layer).__name__,
    )
    def test_refuses_dropout_out_of_reach(self, layer):
        model = build(
            keras.layers.Reshape((2, 2)),
            layer,
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
        )
        with pytest.raises(ValueError, match=f"{layer.name}'?, which draws"):
            posthoc.MonteCarloDropout(model)

    def test_takes_own_layers_and_operations(self):
        class Own(keras.layers.Layer):
            def __init__(self, factor):
                super().__init__()
                self.factor = factor

            def call(self, inputs):
                return self.factor * inputs

        inputs = keras.Input((4,))
        part = build(keras.layers.Dropout(0.5))
        model = keras.Model(inputs, part(Own(2)(inputs)) + part(inputs))
        dropout = posthoc.MonteCarloDropout(model, num_samples=1)
        assert np.abs(dropout.predict(INPUTS) - softmax(model)).max() > 0.01

    def test_refuses_dropout_in_an_own_layer(self):
        class Block(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.dropout = keras.layers.Dropout(0.5)

            def call(self, inputs, training=False):
                return self.dropout(inputs, training=training)

        model = build(Block(), keras.layers.Dropout(0.5))
        with pytest.raises(ValueError, match="Block named 'block"):
            posthoc.MonteCarloDropout(model)

    def test_takes_layers_that_could_drop_and_do_not(self):
        model = build(
            keras.layers.Reshape((2, 2)),
            keras.layers.LSTM(3),
            keras.layers.Dropout(0.0),
        )
        np.testing.assert_allclose(
            posthoc.MonteCarloDropout(model, num_samples=1).predict(INPUTS),
            softmax(model),
            atol=1e-6,
        )

    def test_refuses_a_dataset(self):
        dropout = posthoc.MonteCarloDropout(build(keras.layers.Dropout(0.5)))
        dataset = tf.data.Dataset.from_tensor_slices(INPUTS).batch(10)
        with pytest.raises(ValueError, match="Inputs must be arrays"):
            dropout.predict(dataset)

    @pytest.mark.parametrize(
        ("name", "value"), [("num_samples", 0), ("seed", -1), ("batch_size", 0)]
    )
    def test_refuses_numbers_out_of_range(self, name, value):
        model = build(keras.layers.Dropout(0.5))
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            posthoc.MonteCarloDropout(model, **{name: value})


class TestDeepEnsemble:
    def test_of_one_is_the_model(self):
        model = build()
        ensemble = posthoc.DeepEnsemble([model], from_logits=True)
        np.testing.assert_allclose(
            ensemble.predict(INPUTS), softmax(model), atol=1e-6
        )
        np.testing.assert_allclose(
            ensemble.to_model().predict(INPUTS, verbose=0),
            softmax(model),
            atol=1e-6,
        )

    def test_averages_probabilities(self):
        models = [build(seed=seed) for seed in range(3)]
        expected = np.mean([softmax(model) for model in models], axis=0)
        ensemble = posthoc.DeepEnsemble(models)
        np.testing.assert_allclose(
            ensemble.predict(INPUTS), expected, atol=1e-6
        )
        ensemble.from_logits = True
        np.testing.assert_allclose(
            ensemble.to_model().predict(INPUTS, verbose=0), expected, atol=1e-6
        )

    def test_members_are_predicted_apart(self):
        models = [build(seed=seed) for seed in range(3)]
        ensemble = posthoc.DeepEnsemble(models, from_logits=True)
        members = ensemble.predict_members(INPUTS)
        np.testing.assert_allclose(
            members, [softmax(model) for model in models], atol=1e-6
        )
        np.testing.assert_allclose(
            members.mean(axis=0), ensemble.predict(INPUTS), atol=1e-6
        )

    def test_finds_out_what_each_member_says(self):
        models = [build(), build(activation="softmax")]
        np.testing.assert_allclose(
            posthoc.DeepEnsemble(models).predict(INPUTS),
            softmax(models[0]),
            atol=1e-6,
        )

    def test_scores_no_worse_than_its_members_do_on_average(self):
        # Jensen's inequality, for any labels.
        models = [build(seed=seed) for seed in range(3)]
        labels = np.arange(30) % 3
        pooled = posthoc.DeepEnsemble(models).predict(INPUTS)
        members = [
            reference.negative_log_likelihood(labels, softmax(model))
            for model in models
        ]
        loss = reference.negative_log_likelihood(labels, pooled)
        assert loss < np.mean(members)

    def test_one_file_holds_models_of_one_name(self, tmp_path):
        models = [build(seed=seed, name="network") for seed in range(2)]
        ensemble = posthoc.DeepEnsemble(models, from_logits=True)
        ensemble.to_model().save(tmp_path / "ensemble.keras")
        loaded = keras.models.load_model(tmp_path / "ensemble.keras")
        np.testing.assert_allclose(
            loaded.predict(INPUTS, verbose=0),
            ensemble.predict(INPUTS),
            atol=1e-6,
        )

    def test_model_shares_the_weights_of_members(self):
        models = [build(seed=seed) for seed in range(2)]
        ensemble = posthoc.DeepEnsemble(models, from_logits=True).to_model()
        for model in models:
            model.set_weights([0 * weight for weight in model.get_weights()])
        np.testing.assert_allclose(
            ensemble.predict(INPUTS, verbose=0), 1 / 3, atol=1e-6
        )

    def test_refuses_a_model_alone(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        with pytest.raises(ValueError, match=r"DeepEnsemble\(\[first, second"):
            posthoc.DeepEnsemble(model)

    def test_reprs_are_short(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)])
        rescaling = posthoc.MixupRescaling(
            0.2, mean_inputs=0.0, class_priors=[0.5, 0.5]
        )
        assert [
            repr(posthoc.DeepEnsemble([model, model])),
            repr(posthoc.MonteCarloDropout(model, num_samples=3)),
            repr(rescaling),
        ] == [
            "<DeepEnsemble of 2 models>",
            "<MonteCarloDropout of 3 samples>",
            "<MixupRescaling of alpha 0.2>",
        ]

    def test_refuses_no_models(self):
        with pytest.raises(ValueError, match="at least one model"):
            posthoc.DeepEnsemble([])

    def test_refuses_other_classes(self):
        with pytest.raises(ValueError, match=r"outputs \(3,\) and .* \(2,\)"):
            posthoc.DeepEnsemble([build(), build(units=2)])

    def test_refuses_other_inputs(self):
        other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
        with pytest.raises(ValueError, match="the same inputs and classes"):
            posthoc.DeepEnsemble([build(), other])

    def test_refuses_to_build_without_knowing_the_outputs(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
        with pytest.raises(ValueError, match="from_logits=None"):
            posthoc.DeepEnsemble([model]).to_model()

    def test_builds_by_the_last_layers(self):
        models = [build(), build(activation="softmax")]
        outputs = posthoc.DeepEnsemble(models).to_model()
        np.testing.assert_allclose(
            outputs.predict(INPUTS, verbose=0), softmax(models[0]), atol=1e-6
        )

    def test_takes_an_output_in_a_dictionary_and_inputs_in_a_list(self):
        model = build()
        inputs = keras.Input((4,))
        named = keras.Model(inputs, {"logits": model(inputs)})
        ensemble = posthoc.DeepEnsemble([named, model], from_logits=True)
        expected = softmax(model)
        for each in (
            ensemble.predict(list(INPUTS)),
            ensemble.to_model().predict(INPUTS, verbose=0),
        ):
            np.testing.assert_allclose(each, expected, atol=1e-6)

    def test_shows_progress(self, capsys):
        ensemble = posthoc.DeepEnsemble([build()] * 3)
        ensemble.predict(INPUTS, verbose="auto")
        assert "3/3" in capsys.readouterr().out

    def test_refuses_several_outputs(self):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, [build()(inputs), build()(inputs)])
        with pytest.raises(ValueError, match="must have one output"):
            posthoc.DeepEnsemble([model])

    def test_refuses_a_dataset(self):
        dataset = tf.data.Dataset.from_tensor_slices(INPUTS).batch(10)
        with pytest.raises(ValueError, match="Inputs must be arrays"):
            posthoc.DeepEnsemble([build()]).predict(dataset)
