"""Tests of predicting: what `model.predict` says, for every kind of model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import model_calls

INPUTS = np.random.default_rng(0).normal(size=(22, 4)).astype("float32")
LABELS = np.arange(22) % 3


class Scaled(keras.Model):
    """Overrides `call`."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs / 10)


class Stepped(keras.Model):
    """Overrides `predict_step`, on TensorFlow."""

    def predict_step(self, data):
        return self(keras.utils.unpack_x_y_sample_weight(data)[0] / 10)


class Prepared(keras.Model):
    """Overrides `predict` with a preprocessor, as KerasHub's tasks do."""

    def predict(self, x, batch_size=None):
        return super().predict(np.asarray(x) / 10, batch_size, verbose=0)


class Trained(keras.Model):
    """Overrides training alone."""

    def train_step(self, *arguments):
        return super().train_step(*arguments)


class Subclass(keras.Model):
    """Has no graph."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def build(kind=keras.Model, outputs=None):
    """Returns a functional model, or such a subclass."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(3)
    head = dense(inputs)
    return kind(inputs, head if outputs is None else outputs(head))


MODELS = {
    "functional": build,
    "sequential": lambda: keras.Sequential([keras.layers.Dense(3)]),
    "subclass": Subclass,
    "call": lambda: build(Scaled),
    "predict": lambda: build(Prepared),
    "train_step": lambda: build(Trained),
    "dictionary": lambda: build(outputs=lambda head: {"logits": head}),
    "list": lambda: build(outputs=lambda head: [head]),
}
if keras.backend.backend() == "tensorflow":
    MODELS["predict_step"] = lambda: build(Stepped)


def predict_with_keras(model):
    options = {} if isinstance(model, Prepared) else {"verbose": 0}
    outputs = model.predict(INPUTS, **options)
    return model_calls.single_output(outputs)


@pytest.mark.parametrize("kind", MODELS)
class TestPredict:
    def test_says_what_the_model_predicts(self, kind):
        model = MODELS[kind]()
        expected = predict_with_keras(model)
        assert isinstance(expected, np.ndarray)
        outputs = model_calls.predict(model, INPUTS, batch_size=8)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        examples = examples_lib.read(INPUTS, name="data", batch_size=5)
        np.testing.assert_allclose(
            model_calls.predict(model, examples), expected, atol=1e-6
        )

    def test_keeps_labels_beside_outputs(self, kind):
        model = MODELS[kind]()
        weights = np.linspace(0, 1, 22)
        batches = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS, weights))
        examples = examples_lib.read(batches.shuffle(22).batch(5), name="data")
        predicted = model_calls.predict_examples(model, examples)
        order = np.argsort(predicted.weights)
        np.testing.assert_array_equal(predicted.labels[order], LABELS)
        np.testing.assert_allclose(
            predicted.outputs[order], predict_with_keras(model), atol=1e-6
        )


@backends.needs_tensorflow
class TestPipelines:
    """Keras' `predict` starts a pipeline, which takes a tenth of a second."""

    def predict_without(self, model, monkeypatch):
        def refuse(*_, **__):
            raise AssertionError("a pipeline was started")

        monkeypatch.setattr(keras.Model, "predict", refuse)
        examples = examples_lib.read(INPUTS, name="data", batch_size=8)
        return model_calls.predict(model, examples)

    def test_a_plain_model_starts_none(self, monkeypatch):
        model = build()
        expected = predict_with_keras(model)
        found = self.predict_without(model, monkeypatch)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_replicas_share_batches_of_one(self, two_replicas, monkeypatch):
        with two_replicas.scope():
            model = build()
        with pytest.raises(AssertionError, match="pipeline was started"):
            self.predict_without(model, monkeypatch)


class TestPredictBatches:
    def test_joins_small_batches(self, monkeypatch):
        examples = examples_lib.read(
            (INPUTS, LABELS), name="data", batch_size=5
        )
        model = build()
        pairs = list(model_calls.predict_batches(model, examples))
        assert [batch.size for batch, _ in pairs] == [22]
        monkeypatch.setattr(model_calls, "_MOST_BYTES", 10 * 4 * 4)
        pairs = list(model_calls.predict_batches(model, examples))
        assert [batch.size for batch, _ in pairs] == [10, 10, 2]
        outputs = np.concatenate([outputs for _, outputs in pairs])
        np.testing.assert_allclose(outputs, model.predict(INPUTS, verbose=0))

    def test_keeps_batches_of_other_shapes_apart(self):
        inputs = keras.Input((None, 2))
        pooled = keras.layers.GlobalMaxPooling1D()(inputs)
        model = keras.Model(inputs, pooled)
        lengths = [np.full((3, length, 2), length) for length in (1, 2, 2)]
        examples = examples_lib.read(lambda: iter(lengths), name="data")
        pairs = list(model_calls.predict_batches(model, examples))
        assert [batch.size for batch, _ in pairs] == [3, 6]
        assert [outputs[0, 0] for _, outputs in pairs] == [1, 2]

    @backends.needs_tensorflow
    def test_traces_once_for_all_sizes(self):
        traces = []

        class Traced(keras.Model):
            def call(self, inputs, training=None, mask=None):
                traces.append(inputs.shape)
                return super().call(inputs)

        model = build(Traced)
        for size in range(1, 8):
            model_calls.predict(model, INPUTS[:size], batch_size=8)
        # One for the first size, and one for all others.
        assert len(traces) <= 3

    def test_several_outputs_are_a_structure(self):
        model = build(outputs=lambda head: {"a": head, "b": 2 * head})
        examples = examples_lib.read(INPUTS, name="data", batch_size=5)
        outputs = model_calls.predict(model, examples)
        np.testing.assert_allclose(2 * outputs["a"], outputs["b"])
        with pytest.raises(ValueError, match=r"\['a', 'b'\].*one_output"):
            model_calls.check_one_output(outputs)

    def test_of_text(self):
        text = keras.layers.TextVectorization(output_sequence_length=2)
        text.adapt(["good film", "bad film"])
        inputs = keras.Input((), dtype="string")
        model = keras.Model(inputs, text(inputs))
        words = ["good", "bad film"]
        expected = model.predict(tf.constant(words), verbose=0)
        forms = (words, np.array(words, object), tf.constant(words))
        for form in forms:
            examples = examples_lib.read(form, name="data")
            np.testing.assert_array_equal(
                model_calls.predict(model, examples), expected
            )

    def test_under_replicas(self, two_replicas):
        with two_replicas.scope():
            model = build()
        examples = examples_lib.read(INPUTS, name="data", batch_size=5)
        np.testing.assert_allclose(
            model_calls.predict(model, examples),
            build().predict(INPUTS, verbose=0),
            atol=1e-6,
        )

    def test_refuses_outputs_of_another_number(self):
        class Mean(keras.Model):
            def predict(self, x, **options):
                return super().predict(x, **options).mean(axis=0)

        examples = examples_lib.read(INPUTS, name="data")
        with pytest.raises(ValueError, match=r"shape \(3,\) for 22 examples"):
            model_calls.predict(build(Mean), examples)

    def test_progress(self, capsys):
        examples = examples_lib.read(INPUTS, name="data", batch_size=5)
        model_calls.predict(build(), examples, verbose=1)
        assert "5/5" in capsys.readouterr().out


class TestOverrides:
    @pytest.mark.parametrize(
        ("kind", "predicting", "training"),
        [
            ("functional", None, None),
            ("sequential", None, None),
            ("dictionary", None, None),
            ("call", "Scaled.call", "Scaled.call"),
            ("predict", "Prepared.predict", "Prepared.predict"),
            ("subclass", "Subclass.call", "Subclass.call"),
            ("train_step", None, "Trained.train_step"),
        ],
    )
    def test_are_named(self, kind, predicting, training):
        model = MODELS[kind]()
        assert model_calls.override_in_the_way(model) == predicting
        named = model_calls.override_in_the_way(model, training=True)
        assert named == training

    def test_of_an_inherited_step(self):
        class Child(Stepped):
            pass

        named = model_calls.override_in_the_way(build(Child))
        assert named == "Stepped.predict_step"
        assert model_calls.overrides(build(Child), "predict_step")
        assert not model_calls.overrides(build(Child), "predict")

    def test_on_the_instance(self):
        model = build()
        model.predict_step = lambda data: data[0]
        assert model_calls.override_in_the_way(model) == (
            "Functional.predict_step"
        )
        assert not model_calls.runs_plainly(model)

    def test_models_that_run_plainly(self):
        assert model_calls.runs_plainly(build())
        assert model_calls.runs_plainly(build(Trained))
        assert not model_calls.runs_plainly(build(Scaled))
        assert not model_calls.runs_plainly(Subclass())
        # It has no graph yet.
        assert not model_calls.runs_plainly(MODELS["sequential"]())


class TestCheckModel:
    def test_names_models_of_tf_keras(self):
        import tf_keras

        model = tf_keras.Sequential([tf_keras.layers.Dense(3)])
        with pytest.raises(ValueError, match=r"`tf_keras`.*`import keras`"):
            model_calls.predict(model, INPUTS)

    def test_refuses_what_is_no_model(self):
        with pytest.raises(ValueError, match="a object of `builtins`"):
            model_calls.check_model(object())
