"""Tests of calibration after training, from data to a saved model."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tests import reference
from tf_mixup import posthoc
from tf_mixup._models import model_calls


def draw(num_rows=60, seed=0):
    """Returns inputs and labels of which the inputs are the true logits."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(num_rows, 3)).astype("float32")
    labels = [generator.choice(3, p=row) for row in reference.softmax(inputs)]
    return inputs, np.array(labels)


def build(factor=4.0, activation="linear"):
    """Returns a model that is `factor` times too sure."""
    layers = [keras.layers.Rescaling(factor)]
    layers.append(keras.layers.Activation(activation))
    return keras.Sequential([keras.Input((3,)), *layers])


def to_dataset(*columns, size=25):
    columns = columns[0] if len(columns) == 1 else columns
    return tf.data.Dataset.from_tensor_slices(columns).batch(size)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "DeepEnsemble",
            "IsotonicScaling",
            "MixupRescaling",
            "MonteCarloDropout",
            "Scaler",
            "TemperatureScaling",
            "VectorScaling",
        ],
    )
    def test_are_all_here(self, name):
        assert isinstance(getattr(posthoc, name), type)


class TestCalibrate:
    @pytest.mark.parametrize("activation", ["linear", "softmax"])
    def test_undoes_what_was_too_sure(self, activation):
        rows = draw(3000)
        scaler = posthoc.TemperatureScaling()
        model = posthoc.calibrate(build(4.0, activation), scaler, rows)
        assert scaler.temperature == pytest.approx(4, rel=0.1)
        inputs = draw(50, seed=1)[0]
        np.testing.assert_allclose(
            model.predict(inputs, verbose=0),
            reference.softmax(4 * inputs / scaler.temperature),
            atol=1e-5,
        )

    def test_of_a_dataset_equals_of_arrays(self):
        inputs, labels = draw()
        arrays, dataset, shuffled = (
            posthoc.VectorScaling(),
            posthoc.VectorScaling(),
            posthoc.VectorScaling(),
        )
        posthoc.calibrate(build(), arrays, (inputs, labels))
        batches = to_dataset(inputs, labels)
        posthoc.calibrate(build(), dataset, batches)
        np.testing.assert_allclose(dataset.weight, arrays.weight, rtol=1e-6)
        # Each row must meet its own label, in whatever order they come.
        posthoc.calibrate(
            build(), shuffled, batches.unbatch().shuffle(60, seed=0).batch(25)
        )
        np.testing.assert_allclose(shuffled.weight, arrays.weight, rtol=1e-4)

    def test_takes_labels_in_a_list_and_targets(self):
        inputs, labels = draw()
        temperatures = []
        for column in (labels.tolist(), np.eye(3)[labels], labels[:, None]):
            scaler = posthoc.TemperatureScaling()
            posthoc.calibrate(build(), scaler, (inputs, column))
            temperatures.append(scaler.temperature)
        np.testing.assert_allclose(temperatures, temperatures[0])

    def test_under_replicas(self, two_replicas):
        rows = draw(31)
        with two_replicas.scope():
            model = build()
        one, two = posthoc.TemperatureScaling(), posthoc.TemperatureScaling()
        posthoc.calibrate(build(), one, rows)
        posthoc.calibrate(model, two, to_dataset(*rows))
        assert two.temperature == pytest.approx(one.temperature)

    def test_says_what_outputs_are(self):
        # Logits that happen to be distributions.
        inputs = reference.softmax(draw()[0]).astype("float32")
        scaler = posthoc.TemperatureScaling()
        rows = inputs, inputs.argmax(-1)
        with pytest.warns(UserWarning, match="at a bound"):
            model = posthoc.calibrate(
                build(1.0), scaler, rows, from_logits=True
            )
        np.testing.assert_allclose(
            model.predict(inputs, verbose=0),
            reference.softmax(inputs / scaler.temperature),
            atol=1e-5,
        )

    @pytest.mark.slow
    def test_one_file_loads_in_a_new_process(self, tmp_path):
        inputs, labels = draw()
        scalers = [
            posthoc.TemperatureScaling(),
            posthoc.VectorScaling(),
            posthoc.IsotonicScaling(),
        ]
        models = [
            posthoc.calibrate(build(), scaler, (inputs, labels))
            for scaler in scalers
        ]
        ensemble = posthoc.DeepEnsemble([build(), build(1.0)], from_logits=True)
        models.append(ensemble.to_model())
        np.save(tmp_path / "inputs.npy", inputs)
        for number, model in enumerate(models):
            model.save(tmp_path / f"{number}.keras")
        code = (
            "import keras, numpy as np, tf_mixup\n"
            "rows = np.load('inputs.npy')\n"
            "for number in range(4):\n"
            "    model = keras.models.load_model(f'{number}.keras')\n"
            "    outputs = model.predict(rows, verbose=0)\n"
            "    np.save(f'{number}.npy', outputs)\n"
        )
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300
        )
        for number, model in enumerate(models):
            np.testing.assert_allclose(
                np.load(tmp_path / f"{number}.npy"),
                model.predict(inputs, verbose=0),
                atol=1e-6,
            )

    def test_refuses_examples_of_the_test_set(self):
        rows, test = draw(), draw(40, seed=1)[0]
        test[7:10] = rows[0][20:23]
        for other in (test, (test, np.zeros(40)), to_dataset(test)):
            with pytest.raises(ValueError, match="3 of 40 examples of `test`"):
                posthoc.calibrate(
                    build(), posthoc.TemperatureScaling(), rows, test=other
                )

    def test_takes_a_test_set_of_other_rows(self):
        scaler = posthoc.TemperatureScaling()
        posthoc.calibrate(build(), scaler, draw(), test=draw(seed=1))
        assert scaler.temperature > 1

    @pytest.mark.parametrize("form", ["array", "list", "dataset"])
    def test_refuses_examples_without_labels(self, form):
        inputs, labels = draw()
        data = {
            "array": inputs,
            "list": [inputs, labels],
            "dataset": to_dataset(inputs),
        }[form]
        with pytest.raises(ValueError, match="come with their labels"):
            posthoc.calibrate(build(), posthoc.TemperatureScaling(), data)

    def test_refuses_no_examples(self):
        batches = to_dataset(*draw()).take(0)
        with pytest.raises(ValueError, match="must be examples in"):
            posthoc.calibrate(build(), posthoc.TemperatureScaling(), batches)

    def test_refuses_columns_of_different_length(self):
        inputs, labels = draw()
        with pytest.raises(ValueError, match=r"60, 3.*59,.*Give as many"):
            posthoc.calibrate(
                build(), posthoc.TemperatureScaling(), (inputs, labels[1:])
            )

    def test_refuses_a_model_of_tf_keras(self):
        import tf_keras

        model = tf_keras.Sequential([tf_keras.layers.Dense(3)])
        with pytest.raises(ValueError, match=r"Keras 3.*`tf_keras`"):
            posthoc.calibrate(model, posthoc.TemperatureScaling(), draw())

    @pytest.mark.parametrize(
        "form",
        [
            lambda x, y: (list(x), y.tolist()),
            lambda x, y: {"image": x, "label": y[:, None]},
            lambda x, y: ((x[:20], y[:20]), (x[20:], y[20:])).__iter__(),
            lambda x, y: to_dataset(x, y, np.ones(60)),
        ],
        ids=["lists", "dictionary", "generator", "weighted dataset"],
    )
    def test_takes_any_form(self, form):
        one, two = posthoc.TemperatureScaling(), posthoc.TemperatureScaling()
        posthoc.calibrate(build(), one, draw())
        posthoc.calibrate(build(), two, form(*draw()))
        assert two.temperature == pytest.approx(one.temperature, rel=1e-5)

    def test_weights_of_zero_and_ignored_labels_equal_removal(self):
        inputs, labels = draw()
        scalers = [posthoc.TemperatureScaling() for _ in range(3)]
        posthoc.calibrate(build(), scalers[0], (inputs[:40], labels[:40]))
        weights = np.where(np.arange(60) < 40, 1, 0)
        wrong = np.where(weights, labels, -1)
        posthoc.calibrate(build(), scalers[1], (inputs, wrong, weights))
        posthoc.calibrate(build(), scalers[2], (inputs, wrong), ignore_label=-1)
        temperatures = [scaler.temperature for scaler in scalers]
        np.testing.assert_allclose(temperatures, temperatures[0], rtol=1e-6)
        with pytest.raises(ValueError, match="ignore_label=-1"):
            posthoc.calibrate(build(), scalers[0], (inputs, wrong))

    def test_votes_are_divided_by_their_sums(self):
        inputs, labels = draw()
        targets = 0.97 * (0.8 * np.eye(3)[labels] + 0.2 / 3)
        one, two = posthoc.TemperatureScaling(), posthoc.TemperatureScaling()
        posthoc.calibrate(build(), one, (inputs, targets / 0.97))
        with pytest.warns(UserWarning, match="divided by their sums"):
            posthoc.calibrate(build(), two, (inputs, targets))
        assert two.temperature == pytest.approx(one.temperature, rel=1e-5)
        with pytest.raises(ValueError, match="divide counts by their sums"):
            posthoc.calibrate(build(), two, (inputs, 51 * targets))

    def test_refuses_sigmoids_of_several_labels(self):
        with pytest.raises(ValueError, match="3 sigmoids"):
            posthoc.calibrate(
                build(1.0, "sigmoid"), posthoc.TemperatureScaling(), draw()
            )

    def test_refuses_what_is_no_scaler(self):
        with pytest.raises(ValueError, match=r"`TemperatureScaling\(\)`"):
            posthoc.calibrate(build(), posthoc.TemperatureScaling, draw())

    def test_shows_progress(self, capsys):
        batches = to_dataset(*draw())
        scaler = posthoc.TemperatureScaling()
        posthoc.calibrate(build(), scaler, batches, verbose=1)
        assert "3/3" in capsys.readouterr().out

    @pytest.mark.parametrize("units", [1, 3])
    def test_takes_the_logits_before_a_saturated_activation(self, units):
        inputs, labels = draw(400)
        labels = labels % 2 if units == 1 else labels
        ends = {1: ("linear", "sigmoid"), 3: ("linear", "softmax")}[units]
        scalers = []
        for activation in ends:
            dense = keras.layers.Dense(units, activation)
            model = keras.Sequential([keras.Input((3,)), dense])
            kernel = 30 * np.eye(3)[:, :units] - 10 * np.ones((3, 1))
            dense.set_weights([kernel, np.zeros(units)])
            scalers.append(posthoc.TemperatureScaling())
            calibrated = posthoc.calibrate(
                model, scalers[-1], (inputs, labels), from_logits=None
            )
        one, two = scalers
        assert two.temperature == pytest.approx(one.temperature, rel=1e-5)
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            two.apply(inputs @ kernel),
            atol=1e-5,
        )

    def test_warns_where_the_logits_are_lost(self):
        inputs, labels = draw()
        outputs = reference.softmax(300 * inputs).astype("float32")
        model = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()])
        with pytest.warns(UserWarning, match="probability of exactly 0"):
            posthoc.calibrate(
                model, posthoc.TemperatureScaling(), (outputs, labels)
            )

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_half_precision(self, dtype, activation):
        inputs, labels = draw(2000)
        if activation == "sigmoid":
            inputs = inputs[:, :1]
            noise = np.random.default_rng(1).logistic(size=(2000, 1))
            labels = (inputs + noise > 0).astype(int)
        columns = inputs.shape[1]
        half = keras.layers.Activation(activation, dtype=dtype)
        layers = [keras.layers.Rescaling(8.0), half]
        # The activation is not the last layer that is known.
        last = keras.layers.Identity(dtype=dtype)
        model = Called(keras.Input((columns,)), layers=[*layers, last])
        scaler, exact = (posthoc.TemperatureScaling() for _ in range(2))
        with pytest.warns(UserWarning, match="dtype='float32'"):
            posthoc.calibrate(
                model, scaler, (255 * inputs, labels), from_logits=False
            )
        exact.fit(8 * inputs, labels)
        assert scaler.temperature == pytest.approx(exact.temperature, rel=0.2)


class Called(keras.Model):
    """Divides its inputs in `call`, so that its graph is a part of it."""

    def __init__(self, inputs, layers):
        outputs = inputs
        for layer in layers:
            outputs = layer(outputs)
        super().__init__(inputs, outputs)

    def call(self, inputs, training=None, mask=None):
        return super().call(keras.ops.cast(inputs, "float32") / 255)


@keras.saving.register_keras_serializable("tests")
class Whole(keras.Model):
    """A model of three columns that divides its inputs by 255 somewhere."""

    def __init__(self, where, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.where, self.seed = where, seed
        self.dense = keras.layers.Dense(
            3, kernel_initializer=keras.initializers.RandomNormal(seed=seed)
        )

    def call(self, inputs, training=None):
        inputs = inputs / 255 if self.where == "call" else inputs
        outputs = 40 * self.dense(inputs)
        return {"logits": outputs} if self.where == "dictionary" else outputs

    def predict_step(self, data):
        inputs = keras.utils.unpack_x_y_sample_weight(data)[0]
        scale = 255 if self.where in ("predict_step", "dictionary") else 1
        return self(inputs / scale, training=False)

    def get_config(self):
        return {"where": self.where, "seed": self.seed, "name": self.name}


@keras.saving.register_keras_serializable("tests")
class Prepared(Whole):
    """Divides its inputs in `predict`."""

    def predict(self, x, batch_size=None, **options):
        x = np.asarray(x) / 255
        return super().predict(x, batch_size=batch_size, **options)


def make_whole(where, seed=0):
    return (Prepared if where == "predict" else Whole)(where, seed)


class Task(keras.Model):
    """Prepares text in `predict`, as KerasHub's tasks do."""

    words = ("bad", "fine", "good")

    def predict(self, x, batch_size=None, **options):
        texts = [bytes(each).decode() for each in np.asarray(x)]
        rows = np.eye(3)[[self.words.index(text) for text in texts]]
        return super().predict(rows, batch_size=batch_size, **options)


WHERE = ["call", "predict_step", "predict", "dictionary"]


@backends.needs_tensorflow
class TestWholeModels:
    """What a model overrides is kept: it agrees with `model.predict`."""

    @pytest.mark.parametrize("where", WHERE)
    def test_calibrated_models_agree_with_predict(self, where, tmp_path):
        inputs, labels = draw(100)
        inputs = 255 * inputs
        model = make_whole(where)
        scaler = posthoc.TemperatureScaling()
        calibrated = posthoc.calibrate(model, scaler, (inputs, labels))
        expected = model.predict(inputs, verbose=0)
        if where == "dictionary":
            expected = expected["logits"]
        outputs = calibrated.predict(inputs, verbose=0)
        np.testing.assert_array_equal(outputs.argmax(1), expected.argmax(1))
        np.testing.assert_allclose(outputs, scaler.apply(expected), atol=1e-6)
        calibrated.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            loaded.predict(inputs, verbose=0), outputs, atol=1e-6
        )

    @pytest.mark.parametrize("where", WHERE)
    def test_ensembles_agree_with_predict(self, where):
        inputs = 255 * draw(30)[0]
        models = [make_whole(where, seed) for seed in range(2)]
        ensemble = posthoc.DeepEnsemble(models, from_logits=True)
        expected = ensemble.predict(inputs)
        outputs = ensemble.to_model().predict(inputs, verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        members = [
            reference.softmax(model_calls.predict(model, inputs))
            for model in models
        ]
        np.testing.assert_allclose(expected, np.mean(members, 0), atol=1e-6)

    @pytest.mark.parametrize("where", ["call", "predict_step"])
    def test_evaluate_measures_what_predict_says(self, where):
        inputs, labels = draw(100)
        inputs = 255 * inputs
        scaler = posthoc.TemperatureScaling()
        model = posthoc.calibrate(make_whole(where), scaler, (inputs, labels))
        model.compile(loss="sparse_categorical_crossentropy")
        loss = reference.negative_log_likelihood(
            labels, model.predict(inputs, verbose=0)
        )
        assert model.evaluate(inputs, labels, verbose=0) == pytest.approx(
            loss, rel=1e-4
        )

    def test_refuses_to_evaluate_what_is_not_prepared(self):
        scaler = posthoc.TemperatureScaling()
        inputs, labels = draw(100)
        model = posthoc.calibrate(
            make_whole("predict"), scaler, (inputs, labels)
        )
        model.compile(loss="sparse_categorical_crossentropy")
        with pytest.raises(ValueError, match=r"`Prepared\.predict`.*`predict`"):
            model.evaluate(inputs, labels)

    def test_of_tasks_with_a_preprocessor(self):
        inputs = keras.Input((3,))
        task = Task(inputs, keras.layers.Rescaling(5.0)(inputs))
        texts = ["good", "bad", "fine", "good"] * 5
        labels = [2, 0, 1, 0] * 5
        scaler = posthoc.TemperatureScaling()
        for data in ((texts, labels), to_dataset(texts, labels, size=6)):
            calibrated = posthoc.calibrate(task, scaler, data)
            outputs = calibrated.predict(np.array(texts, "S"), verbose=0)
            np.testing.assert_array_equal(outputs.argmax(1), [2, 0, 1, 2] * 5)
        assert scaler.temperature > 1

    def test_of_a_calibrated_ensemble(self):
        inputs, labels = draw(100)
        inputs = 255 * inputs
        models = [make_whole("predict_step", seed) for seed in range(2)]
        ensemble = posthoc.DeepEnsemble(models, from_logits=True).to_model()
        scaler = posthoc.VectorScaling()
        calibrated = posthoc.calibrate(ensemble, scaler, (inputs, labels))
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            scaler.apply(np.log(ensemble.predict(inputs, verbose=0))),
            atol=1e-5,
        )

    def test_of_a_sequential_model_without_inputs(self):
        inputs, labels = draw(100)
        model = keras.Sequential([keras.layers.Dense(3)])
        scaler = posthoc.TemperatureScaling()
        calibrated = posthoc.calibrate(model, scaler, (inputs, labels))
        logits = model.predict(inputs, verbose=0)
        np.testing.assert_allclose(
            calibrated.predict(inputs, verbose=0),
            scaler.apply(logits),
            atol=1e-6,
        )

    def test_refuses_several_outputs(self):
        inputs = keras.Input((3,))
        outputs = {"a": keras.layers.Dense(3)(inputs)}
        outputs["b"] = keras.layers.Dense(3)(inputs)
        with pytest.raises(ValueError, match="must have one output"):
            posthoc.calibrate(
                keras.Model(inputs, outputs),
                posthoc.TemperatureScaling(),
                draw(),
            )


class TestCheckDisjoint:
    def test_counts_shared_rows(self):
        rows = np.arange(24).reshape(6, 2, 2)
        test = np.concatenate([rows[4:], rows[:1] + 100, rows[4:5]])
        with pytest.raises(ValueError, match="3 of 4 examples of `test`"):
            posthoc.check_disjoint(rows, test)

    def test_passes_rows_that_differ_in_one_byte(self):
        rows = np.zeros((3, 8, 8), "uint8")
        others = rows.copy()
        others[:, 7, 7] = 1
        posthoc.check_disjoint(rows, others)

    def test_passes_other_types_and_shapes_of_the_same_bytes(self):
        rows = np.ones((3, 4), "float32")
        posthoc.check_disjoint(rows, rows.view("int32"))
        posthoc.check_disjoint(rows, rows.reshape(3, 2, 2))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("float32", "float64"),
            ("float64", "float32"),
            ("uint8", "float32"),
            ("uint8", "float64"),
            ("uint8", "int64"),
            ("float16", "float32"),
            ("bool", "float32"),
            ("int32", "float64"),
        ],
    )
    def test_compares_values_of_any_type(self, one, other):
        values = np.random.default_rng(0).uniform(0, 255, (5, 4))
        if one == "bool":
            values = values > 128
        with pytest.raises(ValueError, match="5 of 5 examples"):
            posthoc.check_disjoint(
                values.astype(one), values.astype(one).astype(other)
            )
        with pytest.raises(ValueError, match="5 of 5 examples"):
            posthoc.check_disjoint(
                values.astype(one).astype(other), values.astype(one)
            )

    def test_rounds_to_the_narrower_type(self):
        values = np.random.default_rng(0).normal(size=(5, 4))
        for pair in (
            (values, values.astype("float32")),
            (values.astype("float32"), values),
        ):
            with pytest.raises(ValueError, match="5 of 5 examples"):
                posthoc.check_disjoint(*pair)

    @pytest.mark.parametrize("dtype", ["int32", "int64", "uint64", "float64"])
    def test_passes_numbers_that_float32_cannot_tell_apart(self, dtype):
        start = 2**62 if dtype.endswith("t64") and "f" not in dtype else 2**30
        one = np.array([[start], [start + 2]], dtype)
        posthoc.check_disjoint(one, one + np.array(1, dtype))

    def test_zeros_and_nans_are_one_value(self):
        with pytest.raises(ValueError, match="1 of 1 examples"):
            posthoc.check_disjoint(
                np.array([[0.0, np.nan]]), np.array([[-0.0, -np.nan]])
            )

    @pytest.mark.parametrize("size", [1, 4, 100])
    def test_of_datasets(self, size):
        inputs, labels = draw(20)
        batches = to_dataset(inputs[10:], labels[10:], size=size)
        posthoc.check_disjoint(inputs[:10], batches)
        with pytest.raises(ValueError, match="9 of 10 examples"):
            posthoc.check_disjoint(batches, to_dataset(inputs[9:19]))

    def test_of_rows_with_two_inputs(self):
        rows = {"a": np.array([[1], [2]]), "b": np.array([[3], [4]])}
        crossed = {"a": rows["a"], "b": rows["b"][::-1]}
        posthoc.check_disjoint(rows, crossed)
        with pytest.raises(ValueError, match="2 of 2 examples"):
            posthoc.check_disjoint(rows, rows)

    def test_of_text(self):
        one = tf.constant(["a good film", "bad"])
        posthoc.check_disjoint(one, tf.constant(["a very good film"]))
        with pytest.raises(ValueError, match="1 of 2 examples"):
            posthoc.check_disjoint(one, tf.constant(["so so", "bad"]))
        # NumPy pads text to the longest of an array.
        for text in (np.array(["bad"]), np.array([b"bad"]), ["bad"]):
            with pytest.raises(ValueError, match="1 of 1 examples"):
                posthoc.check_disjoint(np.array(["bad", "worse"]), text)

    def test_refuses_endless_data(self):
        endless = to_dataset(draw()[0]).repeat()
        with pytest.raises(ValueError, match="`test` must come to an end"):
            posthoc.check_disjoint(draw()[0], endless)


class TestSameExamples:
    """What is one example in two sets, and what is not."""

    A = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")

    @pytest.mark.parametrize(
        ("calibration", "test"),
        [
            (A, A[:2].astype("float16")),
            (A, tf.cast(A[:2], tf.bfloat16)),
            (A.astype("float16"), A[:1].astype("float64")),
            (np.array([[1, 2]], object), np.array([[1.0, 2.0]])),
            (np.array([[1 + 1j]]), np.array([[1 + 1j]], "complex64")),
            (np.array([["2020-01-01"]], "M8[s]"),) * 2,
            (A[::-1], np.asfortranarray(A)[:1]),
        ],
    )
    def test_refuses(self, calibration, test):
        with pytest.raises(ValueError, match="must not be the same"):
            posthoc.check_disjoint(calibration, test)

    @pytest.mark.parametrize(
        ("calibration", "test"),
        [
            (A, (A + 1).astype("float16")),
            (np.array([[1 + 1j]]), np.array([[1 + 2j]])),
            (np.array([[2**53 + 1]]), np.array([[2**53]])),
            (
                np.array([["2020-01-01"]], "M8[s]"),
                np.array([["2020-01-02"]], "M8[s]"),
            ),
        ],
    )
    def test_passes(self, calibration, test):
        posthoc.check_disjoint(calibration, test)

    def test_refuses_masked_examples(self):
        masked = np.ma.masked_array(self.A, mask=self.A > 1)
        with pytest.raises(ValueError, match="no masked entries"):
            posthoc.check_disjoint(masked, self.A + 9)


class TestOneColumn:
    def test_soft_labels(self):
        head = keras.layers.Dense(1, "sigmoid")
        model = keras.Sequential([keras.Input((3,)), head])
        x, mass = TestSameExamples.A, np.array([0.1, 0.9, 0.2, 0.8, 0.4, 1])
        logits = x @ model.get_weights()[0]
        scaler = posthoc.TemperatureScaling().fit(logits, mass)
        found = posthoc.TemperatureScaling()
        posthoc.calibrate(model, found, (x, mass[:, None]))
        assert found.temperature == pytest.approx(scaler.temperature, rel=1e-4)

    def test_refuses_a_softmax(self):
        head = keras.layers.Dense(1, "softmax")
        model = keras.Sequential([keras.Input((3,)), head])
        data = TestSameExamples.A, np.arange(6) % 2
        with pytest.raises(ValueError, match="at least 2 columns"):
            posthoc.calibrate(model, posthoc.TemperatureScaling(), data)

    def test_refuses_logits_of_a_softmax_without_values(self):
        head = keras.layers.Dense(2, "softmax")
        model = keras.Sequential([keras.Input((3,)), head])
        scaler = posthoc.TemperatureScaling()
        scaler.fit([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]], [0, 0, 1])
        message = "what the model's last layer gives"
        with pytest.raises(ValueError, match=message):
            scaler.attach(model, from_logits=True)
        with pytest.raises(ValueError, match=message):
            posthoc.DeepEnsemble([model], from_logits=True).to_model()
        inputs = np.array([[1.0, 2.0, 3.0]])
        np.testing.assert_allclose(
            scaler.attach(model).predict(inputs, verbose=0),
            scaler.apply(np.log(model.predict(inputs, verbose=0))),
            rtol=1e-4,
        )


class TestSeveralInputs:
    """Models of two inputs, and of outputs in a dictionary."""

    @staticmethod
    def build():
        inputs = [keras.Input((3,)), keras.Input((3,))]
        return keras.Model(inputs, {"out": keras.layers.Add()(inputs)})

    def test_finds_the_same_examples(self):
        logits, labels = draw()
        with pytest.raises(ValueError, match="60 of 60 examples of `test`"):
            posthoc.calibrate(
                self.build(),
                posthoc.TemperatureScaling(),
                ((logits, logits), labels),
                test=[logits, logits],
                from_logits=True,
            )

    def test_other_numbers_of_inputs_are_refused(self):
        x = np.eye(3)
        with pytest.raises(ValueError, match="2 inputs in `test`, 1 in `cal"):
            posthoc.check_disjoint(x, ((x, x), np.arange(3)))

    def test_weights_of_the_output(self):
        logits, labels = draw()
        weights = (np.arange(60) % 2).astype("float32")
        fitted = []
        for each in (weights, {"out": weights}):
            scaler = posthoc.TemperatureScaling()
            data = ((logits, logits), {"out": labels}, each)
            posthoc.calibrate(self.build(), scaler, data, from_logits=True)
            fitted.append(scaler.temperature)
        assert fitted[0] == fitted[1]
