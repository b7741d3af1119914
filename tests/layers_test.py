"""Tests of mixing inside a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup import layers
from tf_mixup import mixing_schedule
from tf_mixup import pipeline

CLASSES = 4


def make_batches():
    generator = np.random.default_rng(0)
    rows = (
        generator.integers(0, 256, (24, 5, 5, 3), dtype="uint8"),
        generator.integers(0, CLASSES, 24),
    )
    return tf.data.Dataset.from_tensor_slices(rows).batch(
        8, drop_remainder=True
    )


def make_mixup(**options):
    return pipeline.MixUp(0.4, num_classes=CLASSES, seed=3, **options)


def make_model():
    inputs = keras.Input((5, 5, 3))
    features = keras.layers.Rescaling(1 / 255)(inputs)
    features = keras.layers.Conv2D(4, 3, activation="relu")(features)
    features = keras.layers.Flatten()(features)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(features))


def mix(rows, lam, shift, layer=None, *, training=True):
    layer = layers.Mix() if layer is None else layer
    plan = np.array(lam, "float32"), np.array(shift, "int32")
    return layer(rows, *plan, training=training)


def compile_(model):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=["accuracy"])
    return model


class TestMix:
    def test_by_hand(self):
        rows = np.array([[0.0], [8.0]], "float32")
        mixed = mix(rows, [0.75, 0.5], [1, -1])
        np.testing.assert_array_equal(mixed, [[2], [4]])

    @pytest.mark.parametrize("per", ["batch", "sample"])
    @pytest.mark.parametrize("scale", [{}, {"mean": [1.0, 2, 3], "std": 50.0}])
    def test_host_and_layer_agree(self, per, scale):
        host = make_batches().apply(make_mixup(per=per, **scale))
        plans = make_batches().apply(make_mixup(per=per, placement="model"))
        layer = layers.Mix(**scale)
        for (x, y), (plan, targets) in zip(host, plans, strict=True):
            assert plan["inputs"].dtype == tf.uint8
            mixed = layer(*plan.values(), training=True)
            np.testing.assert_allclose(mixed, x, rtol=1e-6, atol=1e-4)
            np.testing.assert_array_equal(targets, y)

    def test_identity_outside_of_training(self):
        rows = np.array([[3], [9]], np.uint8)
        mixed = mix(rows, [0.5, 0.5], [1, -1], training=False)
        np.testing.assert_array_equal(mixed, [[3], [9]])
        np.testing.assert_array_equal(layers.Mix()(rows), [[3], [9]])

    def test_coefficient_one_is_bit_identical(self):
        rows = np.array([[0.1], [np.inf]], "float32")
        mixed = mix(rows, [1.0, 1.0], [1, -1])
        assert np.asarray(mixed).tobytes() == rows.tobytes()

    def test_partner_outside_of_the_slice_gives_nan(self):
        rows = np.ones((2, 3), "float32")
        mixed = mix(rows, [0.5, 0.5], [2, -1])
        np.testing.assert_array_equal(np.isnan(mixed)[:, 0], [True, False])

    def test_half_precision_keeps_coefficients(self):
        # bfloat16 has 8 bits: .999 would become 1.
        rows = np.array([[0.0], [1000.0]], "float32")
        layer = layers.Mix(dtype="mixed_bfloat16")
        mixed = mix(rows, [0.999, 0.999], [1, -1], layer)
        assert keras.backend.standardize_dtype(mixed.dtype) == "bfloat16"
        np.testing.assert_allclose(
            np.asarray(mixed, "float32")[0], 1, rtol=0.01
        )

    def test_config(self):
        layer = layers.Mix(mean=[1.0], std=[2.0], name="stir")
        again = layers.Mix.from_config(layer.get_config())
        assert (again.mean, again.std, again.name) == ([1.0], [2.0], "stir")

    def test_rejects_std_of_zero(self):
        with pytest.raises(ValueError, match="`std` must be above 0"):
            layers.Mix(std=[1.0, 0.0])


class TestTrainingTwin:
    @pytest.mark.parametrize("jit", [False, True])
    def test_trains_as_mixing_on_the_host_does(self, jit):
        weights = []
        for placement in ("host", "model"):
            keras.utils.set_random_seed(0)
            model = make_model()
            twin = layers.training_twin(model)
            fitted = compile_(twin if placement == "model" else model)
            fitted.jit_compile = jit
            mixup = make_mixup(placement=placement)
            fitted.fit(
                make_batches().apply(mixup),
                validation_data=make_batches().apply(mixup.evaluation),
                epochs=2,
                verbose=0,
                callbacks=[mixing_schedule.MixingSchedule(mixup)],
            )
            weights.append(model.get_weights())
        for host, inside in zip(*weights, strict=True):
            np.testing.assert_allclose(host, inside, atol=1e-5)

    def test_evaluates_as_the_model_does(self):
        model = compile_(make_model())
        twin = compile_(layers.training_twin(model))
        host, inside = (
            make_batches().apply(make_mixup(placement=place).evaluation)
            for place in ("host", "model")
        )
        np.testing.assert_allclose(
            twin.evaluate(inside, verbose=0), model.evaluate(host, verbose=0)
        )

    def test_saves_and_reloads(self, tmp_path):
        twin = compile_(layers.training_twin(make_model(), mean=3.0, std=2.0))
        batch, _ = next(
            iter(make_batches().apply(make_mixup(placement="model")))
        )
        twin.save(tmp_path / "twin.keras")
        again = keras.models.load_model(tmp_path / "twin.keras")
        for training in (False, True):
            np.testing.assert_array_equal(
                again(batch, training=training), twin(batch, training=training)
            )

    def test_several_inputs_and_outputs(self):
        one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
        joined = keras.layers.Concatenate()([one, two])
        outputs = {"a": keras.layers.Dense(2)(joined), "b": joined}
        twin = layers.training_twin(
            keras.Model({"one": one, "two": two}, outputs)
        )
        inputs = {"one": np.eye(3)[:2], "two": np.eye(2)}
        lam, shift = np.array([0.5, 1.0]), np.array([1, -1])
        mixed = twin(
            {"inputs": inputs, "lam": lam, "shift": shift}, training=True
        )
        np.testing.assert_allclose(
            mixed["b"], [[0.5, 0.5, 0, 0.5, 0.5], [0, 1, 0, 0, 1]]
        )

    def test_two_replicas_equal_one_device_with_two_groups(self, two_replicas):
        weights = []
        for strategy in (tf.distribute.get_strategy(), two_replicas):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                model = make_model()
                twin = compile_(layers.training_twin(model))
            mixup = make_mixup(placement="model", groups=2)
            twin.fit(
                make_batches().apply(mixup),
                epochs=2,
                verbose=0,
                callbacks=[mixing_schedule.MixingSchedule(mixup)],
            )
            weights.append(model.get_weights())
        for one, two in zip(*weights, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)

    def test_rejects_models_without_inputs(self):
        model = keras.Sequential([keras.layers.Dense(2)])
        with pytest.raises(ValueError, match=r"keras\.Input\(shape\)"):
            layers.training_twin(model)
