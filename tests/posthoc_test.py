"""Tests of calibration after training, from data to a saved model."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tf_mixup import posthoc


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

    def test_refuses_rows_of_the_test_set(self):
        rows, test = draw(), draw(40, seed=1)[0]
        test[7:10] = rows[0][20:23]
        for other in (test, (test, np.zeros(40)), to_dataset(test)):
            with pytest.raises(ValueError, match="3 of 40 rows of `test`"):
                posthoc.calibrate(
                    build(), posthoc.TemperatureScaling(), rows, test=other
                )

    def test_takes_a_test_set_of_other_rows(self):
        scaler = posthoc.TemperatureScaling()
        posthoc.calibrate(build(), scaler, draw(), test=draw(seed=1))
        assert scaler.temperature > 1

    @pytest.mark.parametrize("form", ["array", "list", "dataset", "rows"])
    def test_refuses_rows_without_labels(self, form):
        inputs, labels = draw()
        data = {
            "array": inputs,
            "list": [inputs, labels],
            "dataset": to_dataset(inputs),
            "rows": to_dataset(inputs, labels).unbatch(),
        }[form]
        with pytest.raises(ValueError, match="in batches, with their labels"):
            posthoc.calibrate(build(), posthoc.TemperatureScaling(), data)

    def test_refuses_no_rows(self):
        batches = to_dataset(*draw()).take(0)
        with pytest.raises(ValueError, match="must be rows to calibrate on"):
            posthoc.calibrate(build(), posthoc.TemperatureScaling(), batches)

    def test_refuses_columns_of_different_length(self):
        inputs, labels = draw()
        with pytest.raises(ValueError, match=r"\[59, 60\] rows"):
            posthoc.calibrate(
                build(), posthoc.TemperatureScaling(), (inputs, labels[1:])
            )

    def test_refuses_a_model_without_inputs(self):
        model = keras.Sequential([keras.layers.Dense(3)])
        with pytest.raises(ValueError, match="must have defined inputs"):
            posthoc.calibrate(model, posthoc.TemperatureScaling(), draw())


class TestCheckDisjoint:
    def test_counts_shared_rows(self):
        rows = np.arange(24).reshape(6, 2, 2)
        test = np.concatenate([rows[4:], rows[:1] + 100, rows[4:5]])
        with pytest.raises(ValueError, match="3 of 4 rows of `test`"):
            posthoc.check_disjoint(rows, test)

    def test_passes_rows_that_differ_in_one_byte(self):
        rows = np.zeros((3, 8, 8), "uint8")
        others = rows.copy()
        others[:, 7, 7] = 1
        posthoc.check_disjoint(rows, others)

    def test_passes_other_types_and_shapes_of_the_same_bytes(self):
        rows = np.zeros((3, 4), "float32")
        posthoc.check_disjoint(rows, rows.view("int32"))
        posthoc.check_disjoint(rows, rows.reshape(3, 2, 2))

    @pytest.mark.parametrize("size", [1, 4, 100])
    def test_of_datasets(self, size):
        inputs, labels = draw(20)
        batches = to_dataset(inputs[10:], labels[10:], size=size)
        posthoc.check_disjoint(inputs[:10], batches)
        with pytest.raises(ValueError, match="9 of 10 rows"):
            posthoc.check_disjoint(batches, to_dataset(inputs[9:19]))

    def test_of_rows_with_two_inputs(self):
        rows = {"a": np.array([[1], [2]]), "b": np.array([[3], [4]])}
        crossed = {"a": rows["a"], "b": rows["b"][::-1]}
        posthoc.check_disjoint(rows, crossed)
        with pytest.raises(ValueError, match="2 of 2 rows"):
            posthoc.check_disjoint(rows, rows)

    def test_of_text(self):
        one = tf.constant(["a good film", "bad"])
        posthoc.check_disjoint(one, tf.constant(["a very good film"]))
        with pytest.raises(ValueError, match="1 of 2 rows"):
            posthoc.check_disjoint(one, tf.constant(["so so", "bad"]))
        # NumPy pads text to the longest of an array.
        with pytest.raises(ValueError, match="1 of 1 rows"):
            posthoc.check_disjoint(
                np.array(["bad", "worse"]), np.array(["bad"])
            )
