"""Tests of mixing inside a model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tests import stages
from tf_mixup import callbacks
from tf_mixup import mixing

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


def first(dataset):
    """Returns a dataset's first batch, as any backend takes it."""
    return next(dataset.as_numpy_iterator())


def make_mixup(**options):
    return stages.make_stage(num_classes=CLASSES, seed=3, **options)


def make_model():
    inputs = keras.Input((5, 5, 3))
    features = keras.layers.Rescaling(1 / 255)(inputs)
    features = keras.layers.Conv2D(4, 3, activation="relu")(features)
    features = keras.layers.Flatten()(features)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(features))


def make_residual_model():
    """Returns a model with a branch, and layers of several kinds."""
    inputs = keras.Input((5, 5, 3), name="pixels")
    features = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    stem = keras.Sequential(
        [keras.Input((5, 5, 3)), keras.layers.Conv2D(4, 3)], name="stem"
    )
    features = stem(features)
    branch = keras.layers.Conv2D(4, 3, padding="same", name="inside")(features)
    branch = keras.layers.BatchNormalization(name="norm")(branch)
    features = keras.layers.Add(name="sum")([features, branch])
    features = keras.layers.ReLU(name="stage")(features)
    features = keras.layers.Flatten(name="flat")(features)
    outputs = keras.layers.Dense(CLASSES, name="logits")(features)
    return keras.Model(inputs, outputs)


def make_text_model(mask_zero=False):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Embedding(9, 4, name="words", mask_zero=mask_zero),
            keras.layers.LSTM(3, name="sentence"),
            keras.layers.Dense(CLASSES),
        ]
    )


@keras.saving.register_keras_serializable("tests")
class Attend(keras.layers.Layer):
    """Adds up the steps that a mask keeps."""

    def call(self, inputs, padding_mask=None):
        mask = keras.ops.cast(padding_mask, "float32")
        return keras.ops.sum(inputs * mask[..., None], axis=1)


def make_task():
    """Returns a classifier of text around a backbone, as KerasHub has it."""
    inputs = {
        "ids": keras.Input((6,), dtype="int32", name="ids"),
        "padding_mask": keras.Input((6,), dtype="int32", name="padding_mask"),
    }
    hidden = keras.layers.Embedding(9, 4, name="token_embedding")(inputs["ids"])
    hidden = keras.layers.LayerNormalization(name="norm")(hidden)
    hidden = Attend(name="attend")(hidden, padding_mask=inputs["padding_mask"])
    backbone = keras.Model(inputs, {"pooled": hidden}, name="backbone")
    outer = {
        name: keras.Input((6,), dtype="int32", name=name) for name in inputs
    }
    pooled = keras.layers.Dense(3, name="pooled")(backbone(outer)["pooled"])
    logits = keras.layers.Dense(CLASSES, name="head")(pooled)
    return keras.Model(outer, {"logits": logits})


def make_segments_model():
    """Returns a model of tokens whose segments go around the embedding."""
    names = ("ids", "segment_ids", "padding_mask", "kind")
    inputs = {
        name: keras.Input((3,), dtype="int32", name=name) for name in names
    }
    words = keras.layers.Embedding(9, 4, name="words")(inputs["ids"])
    segments = keras.layers.Embedding(2, 4)(inputs["segment_ids"])
    kinds = keras.layers.Embedding(3, 4)(inputs["kind"])
    hidden = keras.layers.Add(name="sum")([words, segments, kinds])
    hidden = Attend(name="attend")(hidden, padding_mask=inputs["padding_mask"])
    return keras.Model(inputs, keras.layers.Dense(CLASSES, name="head")(hidden))


def mix(rows, lam, partner_offset, layer=None, *, training=True, place=None):
    layer = mixing.Mix() if layer is None else layer
    plan = np.array(lam, "float32"), np.array(partner_offset, "int32")
    return layer(rows, *plan, place, training=training)


def compile_(model):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=["accuracy"])
    return model


class TestMix:
    def test_by_hand(self):
        rows = np.array([[0.0], [8.0]], "float32")
        mixed = mix(rows, [0.75, 0.5], [1, -1])
        np.testing.assert_array_equal(mixed, [[2], [4]])

    @pytest.mark.parametrize("per", ["batch", "example"])
    @pytest.mark.parametrize("scale", [{}, {"mean": [1.0, 2, 3], "std": 50.0}])
    def test_host_and_layer_agree(self, per, scale):
        host = make_batches().apply(make_mixup(per=per, **scale))
        plans = make_batches().apply(make_mixup(per=per, places=1))
        layer = mixing.Mix(**scale)
        for (x, y), (plan, targets) in zip(
            host, plans.as_numpy_iterator(), strict=True
        ):
            assert plan["inputs"].dtype == np.uint8
            mixed = layer(*plan.values(), training=True)
            np.testing.assert_allclose(mixed, x, rtol=1e-6, atol=1e-4)
            np.testing.assert_array_equal(targets, y)

    @pytest.mark.parametrize("num_points", [3, 4])
    def test_host_and_layer_agree_on_more_points(self, num_points):
        options = {"num_points": num_points, "per": "example"}
        host = make_batches().apply(make_mixup(**options))
        plans = make_batches().apply(make_mixup(places=1, **options))
        for (x, _), (plan, _) in zip(
            host, plans.as_numpy_iterator(), strict=True
        ):
            mixed = mixing.Mix()(*plan.values(), training=True)
            np.testing.assert_allclose(mixed, x, rtol=1e-6, atol=1e-4)

    def test_three_points_by_hand(self):
        rows = np.array([[0.0], [8.0], [4.0]], "float32")
        lam = [[0.5, 0.25, 0.25], [1, 0, 0], [0.25, 0.0, 0.75]]
        mixed = mix(rows, lam, [[1, 2], [-1, 1], [-1, -2]])
        np.testing.assert_array_equal(mixed, [[3], [8], [1]])

    def test_any_partner_outside_of_the_slice_gives_nan(self):
        rows = np.ones((2, 3), "float32")
        mixed = mix(rows, [[0.5, 0.25, 0.25]] * 2, [[1, 1], [-1, 1]])
        np.testing.assert_array_equal(np.isnan(mixed)[:, 0], [False, True])

    def test_mixes_at_its_place_only(self):
        rows = np.array([[0.1], [0.7]], "float32")
        plan = [0.75, 0.75], [1, -1], mixing.Mix(place=1, places=2)
        other = mix(rows, *plan, place=np.array([0, 0]))
        assert np.asarray(other).tobytes() == rows.tobytes()
        here = mix(rows, *plan, place=np.array([1, 1]))
        np.testing.assert_array_equal(here, mix(rows, *plan[:2]))

    def test_unknown_place_gives_nan(self):
        # A plan of three places, for a model of two.
        rows, lam = np.ones((2, 3), "float32"), [0.5, 1.0]
        layer = mixing.Mix(place=1, places=2)
        mixed = mix(rows, lam, [1, -1], layer, place=np.array([2, 2]))
        assert np.isnan(mixed).all()

    @pytest.mark.parametrize(
        ("options", "received"),
        [
            ({"place": 5, "places": 2}, "place=5 with places=2"),
            ({"place": -1}, "place=-1"),
            ({"places": 0}, "places=0"),
            ({"places": 1.5}, "places=1.5"),
        ],
    )
    def test_rejects_places(self, options, received):
        with pytest.raises(ValueError, match=f"Received: {received}"):
            mixing.Mix(**options)

    def test_rejects_a_plan_without_place(self):
        rows, layer = np.ones((2, 3), "float32"), mixing.Mix(places=2)
        with pytest.raises(ValueError, match="no `place` with places=2"):
            mix(rows, [0.5, 1.0], [1, -1], layer)
        np.testing.assert_array_equal(layer(rows), rows)

    def test_rejects_masks(self):
        with pytest.raises(ValueError, match="mask_zero=False"):
            mixing.Mix()(
                np.ones((2, 3), "float32"),
                np.ones(2),
                np.zeros(2, "int32"),
                mask=np.ones((2, 3), bool),
            )

    def test_identity_outside_of_training(self):
        rows = np.array([[3], [9]], np.uint8)
        mixed = mix(rows, [0.5, 0.5], [1, -1], training=False)
        np.testing.assert_array_equal(mixed, [[3], [9]])
        np.testing.assert_array_equal(mixing.Mix()(rows), [[3], [9]])

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
        layer = mixing.Mix(dtype="mixed_bfloat16")
        mixed = mix(rows, [0.999, 0.999], [1, -1], layer)
        assert keras.backend.standardize_dtype(mixed.dtype) == "bfloat16"
        np.testing.assert_allclose(
            np.asarray(mixed, "float32")[0], 1, rtol=0.01
        )

    def test_config(self):
        layer = mixing.Mix(mean=[1.0], std=[2.0], name="stir")
        again = mixing.Mix.from_config(layer.get_config())
        assert (again.mean, again.std, again.name) == ((1.0,), (2.0,), "stir")
        layer = mixing.Mix(place=1, places=3)
        again = mixing.Mix.from_config(layer.get_config())
        assert (again.place, again.places) == (1, 3)

    def test_arrays_are_statistics_too(self):
        mean, std = np.array([1, 2, 3]), np.float32(2)
        layer = mixing.Mix(mean=mean, std=std)
        json.dumps(layer.get_config())
        rows = np.ones((2, 4, 4, 3), "float32")
        np.testing.assert_array_equal(layer(rows), (rows - mean) / std)

    def test_statistics_follow_the_format_of_keras(self, channels_first):
        del channels_first
        rows = np.ones((4, 3, 5, 3), "float32")
        scaled = mixing.Mix(mean=[1.0, 2, 3], std=[1.0, 2, 4])(rows)
        expected = np.array([0, -0.5, -0.5])[:, None, None] * rows
        np.testing.assert_array_equal(scaled, expected)

    @pytest.mark.parametrize("std", [[1.0, 0.0], np.nan, [], [[1.0]], "a"])
    def test_rejects_std(self, std):
        with pytest.raises(ValueError, match=r"`std` must be .* above 0"):
            mixing.Mix(std=std)

    @pytest.mark.parametrize("scale", [{"mean": [1, 2, 3]}, {"std": [1, 2]}])
    def test_rejects_statistics_of_other_channels(self, scale):
        rows = np.ones((2, 4, 4, 1), "float32")
        with pytest.raises(ValueError, match="one for each channel"):
            mixing.Mix(**scale)(rows)


class TestUnite:
    @pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
    def test_by_hand(self, dtype):
        masks = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype)
        # The share of the second's partner is 0, of the third it is all.
        plan = np.float32([0.5, 1.0, 0.0]), np.array([1, 1, -2])
        united = mixing.Unite()(masks, *plan, training=True)
        assert keras.backend.standardize_dtype(united.dtype) == dtype
        expected = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]], dtype)
        np.testing.assert_array_equal(united, expected)
        np.testing.assert_array_equal(mixing.Unite()(masks, *plan), masks)

    def test_three_points(self):
        masks = np.eye(3, dtype="int32")
        lam = np.float32([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
        partner_offset = np.array([[1, 2], [1, -1], [-1, -2]])
        united = mixing.Unite()(masks, lam, partner_offset, training=True)
        expected = [[1, 1, 0], [1, 0, 1], [1, 0, 0]]
        np.testing.assert_array_equal(united, expected)


class TestPlans:
    @pytest.mark.parametrize(
        ("lam", "partner_offset"),
        [
            ([0.5, 0.5], [1.0, -1.0]),
            ([0.5], [1, -1]),
            ([[0.5], [0.5]], [1, -1]),
            (0.5, [1, -1]),
            ([[0.5, 0.3, 0.2]] * 2, [[1], [-1]]),
        ],
    )
    def test_refuses_what_is_no_plan(self, lam, partner_offset):
        plan = np.array(lam, "float32"), np.array(partner_offset)
        with pytest.raises(ValueError, match=r"A plan must have coefficients"):
            mixing.Mix()(np.ones((2, 3)), *plan, training=True)

    @backends.needs_float64
    def test_far_partners_are_unknown_in_any_type(self):
        lam = np.float32([0.5, 0.5])
        for partner_offset in ([1, 2**32 - 1], [1, -(2**40)]):
            found = mixing.Mix()(
                np.ones((2, 3)),
                lam,
                np.array(partner_offset, "int64"),
                training=True,
            )
            assert np.isfinite(np.array(found)).all(1).tolist() == [True, False]

    @backends.needs_float64
    def test_evaluation_rounds_nothing(self):
        mix = mixing.Mix(dtype="float64")
        for dtype in ("float64", "int64"):
            found = mix(np.array([[16777217]], dtype), training=False)
            assert np.array(found).tolist() == [[16777217.0]]


class TestIntegerInputs:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "bool"])
    @pytest.mark.parametrize("nested", [False, True])
    def test_mixtures_are_not_rounded(self, dtype, nested):
        inputs = keras.Input((2,), dtype=dtype)
        model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
        if nested:
            outer = keras.Input((2,), dtype=dtype)
            model = keras.Model(outer, model(outer))
        x = np.array([[1, 0], [1, 1]]).astype(dtype)
        plan = {
            "lam": np.float32([0.75, 0.25]),
            "partner_offset": np.array([1, -1]),
        }
        twin = stages.training_model(model)
        found = twin({"inputs": x, **plan}, training=True)
        np.testing.assert_allclose(found, [[1, 0.25], [1, 0.25]])
        twin = stages.training_model(model, mean=0.5, std=2.0)
        found = twin({"inputs": x, **plan}, training=True)
        np.testing.assert_allclose(found, [[0.25, -0.125], [0.25, -0.125]])


class TestTrainingModel:
    @pytest.mark.parametrize(
        "jit",
        [
            pytest.param(True, marks=backends.compiles_quickly),
            pytest.param(False, marks=pytest.mark.slow),
        ],
    )
    def test_trains_as_mixing_on_the_host_does(self, jit):
        weights = []
        for places in (0, 1):
            keras.utils.set_random_seed(0)
            model = make_model()
            twin = stages.training_model(model)
            fitted = compile_(twin if places else model)
            fitted.jit_compile = jit
            mixup = make_mixup(places=places)
            fitted.fit(
                make_batches().apply(mixup),
                validation_data=make_batches().apply(mixup.evaluation),
                epochs=2,
                verbose=0,
                callbacks=[callbacks.MixingSchedule(mixup)],
            )
            weights.append(model.get_weights())
        for host, inside in zip(*weights, strict=True):
            np.testing.assert_allclose(host, inside, atol=1e-5)

    def test_evaluates_as_the_model_does(self):
        model = compile_(make_model())
        twin = compile_(stages.training_model(model))
        host, inside = (
            make_batches().apply(make_mixup(places=places).evaluation)
            for places in (0, 1)
        )
        np.testing.assert_allclose(
            twin.evaluate(inside, verbose=0), model.evaluate(host, verbose=0)
        )

    def test_saves_and_reloads(self, tmp_path):
        twin = compile_(stages.training_model(make_model(), mean=3.0, std=2.0))
        batch, _ = first(make_batches().apply(make_mixup(places=1)))
        twin.save(tmp_path / "twin.keras")
        again = keras.models.load_model(tmp_path / "twin.keras")
        for training in (False, True):
            np.testing.assert_array_equal(
                again(batch, training=training), twin(batch, training=training)
            )

    def test_takes_arrays_as_statistics(self):
        mean, std = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
        twin = stages.training_model(make_model(), mean=mean, std=std)
        again = keras.Model.from_config(twin.get_config())
        (mix,) = (x for x in again.layers if isinstance(x, mixing.Mix))
        assert (mix.mean, mix.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))

    def test_several_inputs_and_outputs(self):
        one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
        joined = keras.layers.Concatenate()([one, two])
        outputs = {"a": keras.layers.Dense(2)(joined), "b": joined}
        twin = stages.training_model(
            keras.Model({"one": one, "two": two}, outputs)
        )
        inputs = {"one": np.eye(3)[:2], "two": np.eye(2)}
        lam, partner_offset = np.array([0.5, 1.0]), np.array([1, -1])
        mixed = twin(
            {"inputs": inputs, "lam": lam, "partner_offset": partner_offset},
            training=True,
        )
        np.testing.assert_allclose(
            mixed["b"], [[0.5, 0.5, 0, 0.5, 0.5], [0, 1, 0, 0, 1]]
        )

    @pytest.mark.slow
    def test_two_replicas_equal_one_device_with_two_groups(self, two_replicas):
        weights = []
        for strategy in (tf.distribute.get_strategy(), two_replicas):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                model = make_model()
                twin = compile_(stages.training_model(model))
            mixup = make_mixup(places=1, groups=2)
            twin.fit(
                make_batches().apply(mixup),
                epochs=2,
                verbose=0,
                callbacks=[callbacks.MixingSchedule(mixup)],
            )
            weights.append(model.get_weights())
        for one, two in zip(*weights, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)

    def test_rejects_models_without_inputs(self):
        model = keras.Sequential([keras.layers.Dense(2)])
        with pytest.raises(ValueError, match=r"keras\.Input\(shape\)"):
            stages.training_model(model)


class TestMixableLayers:
    def test_layers_that_all_paths_cross(self):
        found = mixing.mixable_layers(make_residual_model())
        assert found == ["scale", "stem", "sum", "stage", "flat"]

    def test_sequential_model(self):
        # The last gives the outputs; a mask is a path around "words".
        found = mixing.mixable_layers(make_text_model())
        assert found == ["words", "sentence"]
        found = mixing.mixable_layers(make_text_model(mask_zero=True))
        assert found == ["sentence"]

    def test_several_inputs_and_outputs(self):
        one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
        left = keras.layers.Dense(2, name="left")(one)
        joined = keras.layers.Concatenate(name="joined")([left, two])
        split = keras.layers.Dense(2, name="split")(joined)
        after = keras.layers.Dense(2, name="after")(split)
        outputs = {"b": keras.layers.Dense(2, name="b")(after), "a": split}
        found = mixing.mixable_layers(keras.Model([one, two], outputs))
        assert found == ["joined"]

    def test_layer_that_is_called_twice(self):
        inputs = keras.Input((3,))
        twice = keras.layers.Dense(3, name="twice")
        features = keras.layers.ReLU(name="relu")(twice(twice(inputs)))
        model = keras.Model(inputs, keras.layers.Dense(2)(features))
        assert mixing.mixable_layers(model) == ["relu"]

    def test_integers_are_not_mixed(self):
        inputs = keras.Input((1,))
        bins = keras.layers.Discretization([0.0, 1.0], name="bins")(inputs)
        vectors = keras.layers.Embedding(3, 2, name="vectors")(bins)
        model = keras.Model(inputs, keras.layers.Flatten()(vectors))
        assert mixing.mixable_layers(model) == ["vectors"]

    def test_layers_of_a_model_inside(self):
        found = mixing.mixable_layers(make_task())
        assert found == [
            "backbone/token_embedding",
            "backbone/norm",
            "backbone",
            "pooled",
        ]

    def test_models_inside_models_inside(self):
        inner = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(3, name="a"),
                keras.layers.Dense(3, name="b"),
            ],
            name="inner",
        )
        middle = keras.Sequential([keras.Input((3,)), inner], name="middle")
        model = keras.Sequential(
            [keras.Input((3,)), middle, keras.layers.Dense(2)]
        )
        found = mixing.mixable_layers(model)
        assert found == ["middle/inner/a", "middle"]
        stages.training_model(model, at=found)

    def test_models_inside_with_a_call_of_their_own(self):
        class Own(keras.Model):
            def call(self, inputs, training=None, mask=None):
                return super().call(inputs / 255)

        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(3, name="a")(inputs)
        own = Own(inputs, keras.layers.Dense(3)(hidden), name="own")
        model = keras.Sequential(
            [keras.Input((3,)), own, keras.layers.Dense(2)]
        )
        assert mixing.mixable_layers(model) == ["own"]

    def test_a_model_inside_that_is_called_twice(self):
        inner = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(3, name="a"),
                keras.layers.Dense(3),
            ]
        )
        inputs = keras.Input((3,))
        model = keras.Model(inputs, inner(inner(inputs)))
        assert mixing.mixable_layers(model) == []

    def test_leaves_the_model_as_it_is(self):
        model = make_residual_model()
        output = model.get_layer("stage").output
        config = model.get_config()
        mixing.mixable_layers(model)
        assert model.get_layer("stage").output is output
        assert model.get_config() == config

    def test_rejects_models_without_inputs(self):
        model = keras.Sequential([keras.layers.Dense(2)])
        with pytest.raises(ValueError, match=r"keras\.Input\(shape\)"):
            mixing.mixable_layers(model)


class TestHiddenMixing:
    @pytest.mark.parametrize("name", ["token_embedding", "norm"])
    def test_mixes_inside_a_model_inside(self, name, tmp_path):
        model = make_task()
        twin = stages.training_model(model, at=f"backbone/{name}")
        inputs = {
            "ids": np.random.default_rng(0).integers(0, 9, (4, 6)),
            "padding_mask": np.ones((4, 6), "int32"),
        }
        lam = np.full(4, 0.4, "float32")
        partner = np.array([2, 3, 0, 1])
        plan = {
            "lam": lam,
            "partner_offset": (partner - np.arange(4)).astype("int32"),
        }
        batch = {"inputs": inputs, **plan}
        backbone = model.get_layer("backbone")
        below = keras.Model(backbone.input, backbone.get_layer(name).output)
        hidden = np.array(below(inputs))
        hidden = 0.4 * hidden + 0.6 * hidden[partner]
        if name == "token_embedding":
            hidden = backbone.get_layer("norm")(hidden)
        pooled = backbone.get_layer("attend")(
            hidden, padding_mask=inputs["padding_mask"]
        )
        expected = model.get_layer("head")(model.get_layer("pooled")(pooled))
        mixed = twin(batch, training=True)
        np.testing.assert_allclose(mixed["logits"], expected, atol=1e-6)
        np.testing.assert_allclose(
            twin(batch)["logits"], model(inputs)["logits"], atol=1e-6
        )
        assert {each.path for each in twin.trainable_weights} == {
            each.path for each in model.trainable_weights
        }
        twin.save(tmp_path / "twin.keras")
        loaded = keras.models.load_model(tmp_path / "twin.keras")
        np.testing.assert_allclose(
            loaded(batch, training=True)["logits"], expected, atol=1e-6
        )

    def test_inputs_that_are_not_mixed(self, tmp_path):
        model = make_segments_model()
        rules = {"kind": "keep"}
        found = mixing.mixable_layers(model, inputs=rules)
        assert found == ["words", "sum", "attend"]
        twin = stages.training_model(model, at="words", inputs=rules)
        generator = np.random.default_rng(0)
        inputs = {
            name: generator.integers(0, high, (4, 3))
            for name, high in {"ids": 9, "segment_ids": 2, "kind": 3}.items()
        }
        masks = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]])
        lam = np.array([0.4, 0.4, 0.4, 1.0], "float32")
        partner = np.array([1, 0, 3, 2])
        partner_offset = (partner - np.arange(4)).astype("int32")
        inputs["padding_mask"] = masks
        batch = {"inputs": inputs, "lam": lam, "partner_offset": partner_offset}
        share = lam[:, None, None]
        total = 0
        for layer in model.layers:
            if isinstance(layer, keras.layers.Embedding):
                part = np.array(layer(inputs[layer.input.name]))
                if layer.name == "words":
                    part = share * part + (1 - share) * part[partner]
                total = total + part
        # The last example is not mixed and keeps its own mask.
        union = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0]])
        attend = model.get_layer("attend")
        expected = model.get_layer("head")(attend(total, padding_mask=union))
        np.testing.assert_allclose(
            twin(batch, training=True), expected, atol=1e-5
        )
        np.testing.assert_allclose(twin(batch), model(inputs), atol=1e-6)
        twin.save(tmp_path / "twin.keras")
        loaded = keras.models.load_model(tmp_path / "twin.keras")
        np.testing.assert_allclose(
            loaded(batch, training=True), expected, atol=1e-5
        )

    @pytest.mark.parametrize(
        ("inputs", "match"),
        [
            (None, "at='words'.*name in `inputs` what goes around it"),
            ("keep", "At least one input"),
            ({"kind": "mix"}, "name in `inputs`"),
            ({"kinds": "keep"}, "'kinds'"),
            (dict.fromkeys(("ids", "kind"), "keep"), "At least one input"),
        ],
    )
    def test_rejects_rules(self, inputs, match):
        with pytest.raises(ValueError, match=match):
            stages.training_model(
                make_segments_model(), at="words", inputs=inputs
            )

    def test_mixes_images_beside_ids_that_are_kept(self):
        image = keras.Input((2,), name="image")
        place = keras.Input((), dtype="int32", name="place")
        places = keras.layers.Embedding(3, 2)(place)
        outputs = keras.layers.Add()([image, places])
        model = keras.Model({"image": image, "place": place}, outputs)
        with pytest.raises(ValueError, match=r'inputs=\{name: "keep"\}'):
            stages.training_model(model)
        twin = stages.training_model(model, inputs={"place": "keep"})
        inputs = {"image": np.eye(2, dtype="float32"), "place": np.arange(2)}
        plan = {
            "lam": np.full(2, 0.5, "float32"),
            "partner_offset": np.array([1, -1]),
        }
        found = twin({"inputs": inputs, **plan}, training=True)
        half = np.full((2, 2), 0.5, "float32")
        expected = model({"image": half, "place": np.arange(2)})
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_names_the_places_inside_a_model(self):
        match = "Choose among .*'backbone/token_embedding', 'backbone/norm'"
        with pytest.raises(ValueError, match=match):
            stages.training_model(make_task(), at="token_embedding")

    def test_mixes_the_output_of_the_layer(self):
        model = make_residual_model()
        twin = stages.training_model(model, at="stage", mean=10.0, std=3.0)
        x = first(make_batches())[0].astype("float32")
        generator = np.random.default_rng(1)
        lam, partner = generator.random(8, "float32"), generator.permutation(8)
        found = twin(
            {"inputs": x, "lam": lam, "partner_offset": partner - np.arange(8)},
            training=True,
        )
        hidden = model.get_layer("stage").output
        lower, upper = (
            keras.Model(model.input, hidden),
            keras.Model(hidden, model.output),
        )
        features = lower((x - 10) / 3, training=True)
        mixed, _ = mixing.mix(features, (), lam, partner)
        expected = upper(mixed.numpy(), training=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_only_the_drawn_place_mixes(self):
        model = make_residual_model()
        names = ("input", "flat", "scale")
        twin = stages.training_model(model, at=names)
        batch = first(make_batches())[0]
        plan = {
            "inputs": batch,
            "lam": np.full(8, 0.3, "float32"),
            "partner_offset": np.roll(np.arange(8), 1) - np.arange(8),
        }
        for place, name in enumerate(names):
            found = twin(plan | {"place": np.full(8, place)}, training=True)
            alone = stages.training_model(model, at=name)
            expected = alone(plan, training=True)
            np.testing.assert_allclose(found, expected, atol=1e-5)
        unknown = twin(plan | {"place": np.full(8, 3)}, training=True)
        assert np.isnan(unknown).all()

    @pytest.mark.parametrize(
        "jit", [False, pytest.param(True, marks=pytest.mark.slow)]
    )
    def test_trains_evaluates_saves_and_reloads(self, jit, tmp_path):
        keras.utils.set_random_seed(0)
        model = compile_(make_residual_model())
        twin = compile_(
            stages.training_model(model, at=("stage", "input"), num_points=3)
        )
        model.jit_compile = twin.jit_compile = jit
        mixup = make_mixup(places=2, num_points=3)
        before = model.get_weights()
        twin.fit(make_batches().apply(mixup), epochs=2, verbose=0)
        assert all(
            np.any(one != other)
            for one, other in zip(before, model.get_weights(), strict=True)
        )
        unmixed = make_batches().apply(mixup.evaluation)
        np.testing.assert_array_equal(
            twin.predict(unmixed, verbose=0),
            model.predict(make_batches(), verbose=0),
        )
        twin.save(tmp_path / "twin.keras")
        again = keras.models.load_model(tmp_path / "twin.keras")
        batch, _ = first(make_batches().apply(mixup))
        for training in (False, True):
            np.testing.assert_array_equal(
                again(batch, training=training), twin(batch, training=training)
            )

    def test_embeddings_of_text(self):
        model = make_text_model()
        twin = stages.training_model(model, at="words")
        ids = np.random.default_rng(0).integers(0, 9, (4, 6))
        lam = np.full(4, 0.4, "float32")
        partner = np.array([2, 3, 0, 1])
        plan = {
            "inputs": ids,
            "lam": lam,
            "partner_offset": partner - np.arange(4),
        }
        words, sentence, dense = model.layers
        mixed, _ = mixing.mix(words(ids), (), lam, partner)
        np.testing.assert_allclose(
            twin(plan, training=True),
            dense(sentence(mixed.numpy())),
            atol=1e-6,
        )
        np.testing.assert_array_equal(twin(plan), model(ids))

    def test_half_precision_keeps_types(self):
        inputs = keras.Input((3,))
        half = keras.layers.Dense(4, dtype="mixed_bfloat16", name="half")
        full = keras.layers.Dense(4, dtype="float32", name="full")
        model = keras.Model(inputs, keras.layers.ReLU()(full(half(inputs))))
        twin = stages.training_model(model, at=("input", "half", "full"))
        x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        zeros = np.zeros(4, "int32")
        plan = {"lam": np.ones(4), "partner_offset": zeros, "place": zeros}
        np.testing.assert_array_equal(twin({"inputs": x, **plan}), model(x))

    def test_several_inputs(self):
        one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
        joined = keras.layers.Concatenate(name="joined")([one, two])
        outputs = {"a": keras.layers.ReLU()(joined)}
        twin = stages.training_model(
            keras.Model({"one": one, "two": two}, outputs), at="joined"
        )
        inputs = {"one": np.eye(3)[:2], "two": np.eye(2)}
        lam, partner_offset = np.array([0.5, 1.0]), np.array([1, -1])
        mixed = twin(
            {"inputs": inputs, "lam": lam, "partner_offset": partner_offset},
            training=True,
        )
        np.testing.assert_allclose(
            mixed["a"], [[0.5, 0.5, 0, 0.5, 0.5], [0, 1, 0, 0, 1]]
        )

    @pytest.mark.parametrize(
        ("at", "match"),
        [
            ("stage9", "Choose among 'input', 'scale', 'stem', 'sum', 'stage'"),
            ("inside", "Take 'stem' or 'sum'"),
            ("logits", "Take 'flat'"),
            ((), "each once"),
            (("sum", "sum"), "each once"),
        ],
    )
    def test_refusals(self, at, match):
        with pytest.raises(ValueError, match=match):
            stages.training_model(make_residual_model(), at=at)

    @pytest.mark.parametrize("at", [None, ("words", "input")])
    def test_rejects_mixing_of_tokens(self, at):
        match = r"Write one of \['words', 'sentence'\] as `at`"
        with pytest.raises(ValueError, match=match):
            stages.training_model(make_text_model(), at=at)

    def test_rejects_mixing_of_ids_in_a_model_inside(self):
        match = "Integer ids.*'backbone/token_embedding'"
        with pytest.raises(ValueError, match=match):
            stages.training_model(make_task())
        inner = keras.Sequential(
            [keras.Input((6,)), keras.layers.Embedding(9, 4, name="words")],
            name="inner",
        )
        layers_above = [keras.layers.Flatten(), keras.layers.Dense(2)]
        model = keras.Sequential([keras.Input((6,)), inner, *layers_above])
        with pytest.raises(ValueError, match=r"Integer ids.*\['inner'"):
            stages.training_model(model)

    def test_rejects_rows_with_a_mask(self):
        with pytest.raises(ValueError, match=r"\(a mask is one\).*Take 'sent"):
            stages.training_model(make_text_model(mask_zero=True), at="words")

    def test_rejects_points_below_two(self):
        with pytest.raises(ValueError, match="num_points=1"):
            stages.training_model(make_model(), num_points=1)


def override(name):
    """Returns a model that overrides one method, and changes nothing."""

    def method(self, *args, **kwargs):
        return getattr(keras.Model, name)(self, *args, **kwargs)

    if name == "call":

        def method(self, inputs, training=None, mask=None):
            return super(kind, self).call(inputs / 255)

    kind = type("Own", (keras.Model,), {name: method})
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")(inputs)
    return kind(inputs, keras.layers.Dense(3)(hidden))


class TestOverrides:
    @pytest.mark.parametrize(
        "name",
        [
            "train_step",
            "test_step",
            "predict_step",
            "compute_loss",
            "compute_metrics",
            "fit",
            "predict",
        ],
    )
    def test_that_a_twin_would_lose(self, name):
        with pytest.raises(ValueError, match=rf"`Own\.{name}`.*leave `train"):
            stages.training_model(override(name))

    def test_of_call(self):
        model = override("call")
        with pytest.raises(ValueError, match=r"`Own\.call`"):
            stages.training_model(model, at="hidden")
        x = np.full((2, 4), 255.0, "float32")
        plan = {
            "lam": np.ones(2, "float32"),
            "partner_offset": np.zeros(2, "int32"),
        }
        twin = stages.training_model(model)
        np.testing.assert_allclose(
            twin({"inputs": x, **plan}), model(x), atol=1e-6
        )

    def test_of_a_preprocessor(self):
        model = override("fit")
        model.preprocessor = keras.layers.Rescaling(1 / 255)
        with pytest.raises(ValueError, match=r"model\.preprocessor = None"):
            stages.training_model(model)
        model.preprocessor = None
        stages.training_model(model)

    def test_of_a_preprocessor_of_text(self):
        class Task(keras.Model):
            def fit(self, x, **options):
                return super().fit(self.preprocessor(x), **options)

        inner = make_text_model()
        ids = keras.Input((6,), dtype="int32")
        model = Task(ids, inner(ids))
        model.preprocessor = keras.layers.TextVectorization()
        # Text is not mistaken for the ids that the twin takes.
        stages.training_model(model, at=f"{inner.name}/words")


def test_a_share_of_0_leaves_nothing_behind():
    rows = np.array([[np.nan], [2.0]], "float32")
    mixed = mix(rows, np.array([0.0, 1.0]), np.array([1, -1]))
    np.testing.assert_array_equal(mixed, [[2], [2]])


def test_masks_without_a_plan_stay():
    mask = np.array([[1, 0]])
    assert mixing.Unite()(mask, training=True) is not None
    np.testing.assert_array_equal(mixing.Unite()(mask, training=True), mask)
