"""Tests of the rescaling of models that mixup trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tests.posthoc.ensembles_test import INPUTS
from tests.posthoc.ensembles_test import build
from tests.posthoc.ensembles_test import softmax
from tf_mixup import posthoc


class TestMixupRescaling:
    PRIORS = np.array([0.5, 0.3, 0.2])

    def make(self, alpha=1.0, **arguments):
        arguments = {
            "mean_inputs": np.array([1.0, 2.0, 0.0, -1.0]),
            "class_priors": self.PRIORS,
            **arguments,
        }
        return posthoc.MixupRescaling(alpha, **arguments)

    def test_theta_by_hand(self):
        # Uniform: the mean of [1/2, 1]. Of no mixing 1, of halves 1/2.
        assert self.make(1.0).theta == pytest.approx(0.75)
        assert self.make(0.0).theta == 1
        assert self.make(1e-4).theta == pytest.approx(1, abs=1e-3)
        assert self.make(1e6).theta == pytest.approx(0.5, abs=1e-3)

    @pytest.mark.parametrize("alpha", [1.5, 2.0, 8.0])
    def test_theta_is_a_mean(self, alpha):
        assert self.make(alpha).theta == pytest.approx(
            reference.mean_larger_coefficient(alpha), abs=1e-6
        )

    def test_formula(self):
        model = build(keras.layers.Dense(5, "relu"))
        rescaling = self.make(2.0)
        theta = reference.mean_larger_coefficient(2.0)
        pulled = theta * INPUTS + (1 - theta) * rescaling.mean_inputs
        logits = model.predict(pulled, verbose=0)
        rescaled = logits / theta + (1 - 1 / theta) * self.PRIORS
        np.testing.assert_allclose(
            rescaling.predict(model, INPUTS),
            reference.softmax(rescaled),
            atol=1e-5,
        )

    def test_takes_the_mix_back(self):
        # A model that is linear about both means is the same after it.
        model = build()
        kernel = model.get_weights()[0]
        rescaling = self.make(1.0)
        bias = self.PRIORS - rescaling.mean_inputs @ kernel
        model.set_weights([kernel, bias])
        np.testing.assert_allclose(
            rescaling.predict(model, INPUTS), softmax(model), atol=1e-5
        )

    def test_without_mixing_changes_nothing(self):
        model = build()
        np.testing.assert_allclose(
            self.make(0.0).predict(model, INPUTS), softmax(model), atol=1e-6
        )

    def test_of_bytes_does_not_round(self):
        model = build()
        rows = np.array([[0, 1, 2, 255]], "uint8")
        np.testing.assert_allclose(
            self.make().predict(model, rows),
            self.make().predict(model, rows.astype("float32")),
        )

    def test_refuses_a_mean_that_is_not_finite(self):
        with pytest.raises(ValueError, match="`mean_inputs` must be finite"):
            posthoc.MixupRescaling(
                0.2, mean_inputs=np.nan, class_priors=[0.5, 0.5]
            )

    def test_refuses_a_negative_alpha(self):
        with pytest.raises(ValueError, match="`alpha` must be a finite number"):
            self.make(-1.0)

    @pytest.mark.parametrize("priors", [[0.5, 0.6], [-0.5, 1.5], [[1.0]]])
    def test_refuses_priors_that_are_none(self, priors):
        with pytest.raises(ValueError, match="and sum to 1"):
            self.make(class_priors=priors)

    def test_refuses_other_classes(self):
        with pytest.raises(ValueError, match="2 classes and 3 priors"):
            self.make().predict(build(units=2), INPUTS)

    @pytest.mark.parametrize("shape", [(3,), (30, 4)])
    def test_refuses_a_mean_of_another_shape(self, shape):
        with pytest.raises(ValueError, match=r"examples of shape \(4,\)"):
            self.make(mean_inputs=np.zeros(shape)).predict(build(), INPUTS)

    def test_refuses_a_model_of_integers(self):
        tokens = keras.Input((4,), dtype="int32")
        embedded = keras.layers.Flatten()(keras.layers.Embedding(9, 2)(tokens))
        model = keras.Model(tokens, keras.layers.Dense(3)(embedded))
        with pytest.raises(ValueError, match="one input, of a float type"):
            self.make().predict(model, np.zeros((2, 4), "int32"))

    def test_fitted_in_one_pass_is_that_of_the_arrays(self):
        generator = np.random.default_rng(0)
        inputs = generator.normal(3.0, 2.0, (50, 4)).astype("float32")
        labels = generator.integers(3, size=50)
        batches = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(8)
        for train in (inputs, labels), (inputs, np.eye(3)[labels]), batches:
            found = posthoc.MixupRescaling.from_examples(
                0.4, train, num_classes=3
            )
            np.testing.assert_allclose(
                found.mean_inputs, inputs.mean(axis=0), rtol=1e-6
            )
            np.testing.assert_allclose(
                found.class_priors, np.bincount(labels) / 50
            )
        assert found.alpha == 0.4

    def test_examples_of_weight_0_are_left_out(self):
        inputs, weights = np.array([[1.0], [3.0], [np.nan]]), [1.0, 3.0, 0.0]
        found = posthoc.MixupRescaling.from_examples(
            1.0, (inputs, [0, 1, -1], np.array(weights)), num_classes=2
        )
        assert found.mean_inputs.tolist() == [2.5]
        assert found.class_priors.tolist() == [0.25, 0.75]
        with pytest.raises(ValueError, match="examples that all weigh 0"):
            posthoc.MixupRescaling.from_examples(
                1.0, (inputs, [0, 1, 1], np.zeros(3)), num_classes=2
            )

    def test_refuses_weights_below_0_and_a_fraction_of_classes(self):
        train = np.zeros((2, 1)), np.array([0, 1]), np.array([1.0, -1.0])
        with pytest.raises(ValueError, match="must be at least 0"):
            posthoc.MixupRescaling.from_examples(1.0, train, num_classes=2)
        with pytest.raises(ValueError, match="`num_classes` must be"):
            posthoc.MixupRescaling.from_examples(1.0, train, num_classes=2.5)

    def test_attached_to_a_model_of_any_size(self):
        inputs = keras.Input((None, None, 1))
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
        rescaling = self.make(mean_inputs=np.ones((8, 8, 1)))
        attached = rescaling.attach(model, from_logits=True)
        images = np.random.default_rng(0).normal(size=(5, 8, 8, 1))
        np.testing.assert_allclose(
            attached.predict(images, verbose=0),
            rescaling.predict(model, images),
            atol=1e-6,
        )

    @pytest.mark.parametrize("label", [-1, 2])
    def test_refuses_labels_that_are_no_classes(self, label):
        train = np.zeros((2, 1)), np.array([0, label])
        with pytest.raises(ValueError, match="must be classes 0 to K - 1"):
            posthoc.MixupRescaling.from_examples(1.0, train, num_classes=2)

    def test_refuses_several_inputs(self):
        train = {"a": np.zeros((2, 1)), "b": np.zeros((2, 1))}, [0, 1]
        with pytest.raises(ValueError, match="must have one input"):
            posthoc.MixupRescaling.from_examples(1.0, train, num_classes=2)

    @pytest.mark.parametrize("ends_in", ["logits", "softmax"])
    def test_attached_predicts_the_same_and_is_saved(self, ends_in, tmp_path):
        model = build(keras.layers.Dense(5, "relu"))
        if ends_in == "softmax":
            outputs = keras.layers.Softmax()(model.outputs[0])
            model = keras.Model(model.inputs, outputs)
        rescaling = self.make(2.0)
        attached = rescaling.attach(model, from_logits=ends_in == "logits")
        attached.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        expected = rescaling.predict(model, INPUTS)
        for each in attached, loaded:
            np.testing.assert_allclose(
                each.predict(INPUTS, verbose=0), expected, atol=1e-6
            )

    def test_attach_refuses_what_predict_refuses(self):
        with pytest.raises(ValueError, match="2 classes and 3 priors"):
            self.make().attach(build(units=2), from_logits=True)
        with pytest.raises(ValueError, match=r"examples of shape \(4,\)"):
            self.make(mean_inputs=np.zeros(3)).attach(build(), from_logits=True)

    def test_attach_refuses_a_model_that_overrides_call(self):
        class Own(keras.Model):
            def call(self, inputs):
                return inputs

        with pytest.raises(ValueError, match="can be attached to a model that"):
            self.make().attach(Own(), from_logits=True)
