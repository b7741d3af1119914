"""A model runs over arrays and datasets alike, or says what does not fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup.report import run as report_run


def passing(columns=2):
    """Returns a model whose outputs are its inputs."""
    return keras.Sequential(
        [keras.Input((columns,)), keras.layers.Activation("linear")]
    )


def numbered(size):
    """Returns rows `[i, -i]` and labels `i % 2`."""
    column = np.arange(size, dtype=np.float32)
    return np.stack([column, -column], axis=1), np.arange(size) % 2


class TestRun:
    @pytest.mark.parametrize("form", ["arrays", "list", "dataset"])
    def test_keeps_rows_in_order(self, form):
        x, y = numbered(10)
        data = {
            "arrays": (x, y),
            "list": (x, y.tolist()),
            "dataset": tf.data.Dataset.from_tensor_slices((x, y)).batch(4),
        }[form]
        run = report_run.run(passing(), data, batch_size=3)
        np.testing.assert_array_equal(run.outputs, x)
        np.testing.assert_array_equal(run.labels, y)
        np.testing.assert_array_equal(run.inputs, x)
        assert run.num_nonfinite == 0

    def test_needs_no_labels(self):
        x, y = numbered(5)
        with_labels = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
        for data in (x, (x, y), with_labels, with_labels.map(lambda x, y: x)):
            run = report_run.run(passing(), data, labeled=False)
            np.testing.assert_array_equal(run.outputs, x)
            assert run.labels is None

    @pytest.mark.parametrize("max_examples", [1, 4, 7, 99])
    def test_stops(self, max_examples):
        data = tf.data.Dataset.from_tensor_slices(numbered(10)).batch(4)
        run = report_run.run(passing(), data, max_examples=max_examples)
        assert len(run.outputs) == len(run.labels) == min(max_examples, 10)

    def test_endless_data_need_a_number_of_rows(self):
        data = tf.data.Dataset.from_tensor_slices(numbered(4)).batch(2)
        run = report_run.run(passing(), data.repeat(), max_examples=9)
        assert len(run.outputs) == 9
        with pytest.raises(ValueError, match="must come to an end"):
            report_run.run(passing(), data.repeat())

    def test_counts_what_it_leaves_out(self):
        x, y = numbered(6)
        x[2, 0], x[4, 1] = np.nan, np.inf
        run = report_run.run(passing(), (x, y))
        assert run.num_nonfinite == 2
        np.testing.assert_array_equal(run.outputs[:, 0], [0, 1, 3, 5])
        np.testing.assert_array_equal(run.labels, [0, 1, 1, 1])
        np.testing.assert_array_equal(run.inputs[:, 0], [0, 1, 3, 5])

    def test_sample_is_evenly_spaced(self):
        run = report_run.run(passing(), numbered(5001), batch_size=77)
        steps = np.diff(run.inputs[:, 0])
        assert set(steps) == {8}
        assert run.inputs[0, 0] == 0
        np.testing.assert_array_equal(
            run.input_labels, run.inputs[:, 0].astype(int) % 2
        )

    def test_inputs_may_be_a_dictionary(self):
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        model = keras.Model(inputs, keras.layers.Add()([*inputs.values()]))
        x, y = numbered(5)
        run = report_run.run(model, ({"a": x, "b": x}, y), batch_size=2)
        np.testing.assert_array_equal(run.outputs, 2 * x)
        assert run.inputs is None

    def test_each_row_counts_once_under_a_strategy(self, two_replicas):
        with two_replicas.scope():  # A model without weights ignores it.
            passing_on = keras.layers.Dense(2, kernel_initializer="identity")
            model = keras.Sequential([keras.Input((2,)), passing_on])
        x, y = numbered(7)
        run = report_run.run(model, (x, y), batch_size=3)
        np.testing.assert_array_equal(run.outputs, x)
        np.testing.assert_array_equal(run.labels, y)
        predicted = x.argmax(axis=-1)
        accuracies = report_run.try_scales(model, x, predicted, batch_size=3)
        assert accuracies["as given"] == 1

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (numbered(0), "There must be examples in `data`"),
            (numbered(4)[0], "must come with their labels"),
            (
                (*numbered(4), np.full(4, 0.5)),
                "must be 0 or 1.*from 0.5 to 0.5",
            ),
            ((numbered(4)[0], np.zeros(3)), "of the same number of examples"),
            ((np.zeros((4, 3)), np.zeros(4)), r"shape \(2,\).*shape \(3,\)"),
            (
                tf.data.Dataset.from_tensor_slices(numbered(4)),
                r"must be of batches.*batch\(128\)",
            ),
        ],
    )
    def test_refuses_data_that_do_not_fit(self, data, message):
        with pytest.raises(ValueError, match=message):
            report_run.run(passing(), data)

    def test_refuses_a_missing_input(self):
        inputs = {name: keras.Input((2,), name=name) for name in "ab"}
        model = keras.Model(inputs, keras.layers.Add()([*inputs.values()]))
        with pytest.raises(ValueError, match=r"2 inputs.*training model"):
            report_run.run(model, numbered(4))

    def test_refuses_several_outputs(self):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, [inputs + 1, inputs + 2])
        with pytest.raises(ValueError, match=r"one output.*outputs \[0, 1\]"):
            report_run.run(model, numbered(4))
        run = report_run.run(model, numbered(4), output=1)
        np.testing.assert_array_equal(run.outputs, numbered(4)[0] + 2)

    def test_outputs_may_be_a_dictionary(self):
        inputs = keras.Input((2,))
        x, y = numbered(4)
        one = keras.Model(inputs, {"a": inputs + 1})
        np.testing.assert_array_equal(
            report_run.run(one, (x, y)).outputs, x + 1
        )
        two = keras.Model(inputs, {"a": inputs + 1, "b": inputs + 2})
        with pytest.raises(ValueError, match=r"outputs \['a', 'b'\]"):
            report_run.run(two, (x, y))
        run = report_run.run(two, (x, {"a": y, "b": 1 - y}), output="b")
        np.testing.assert_array_equal(run.outputs, x + 2)
        np.testing.assert_array_equal(run.labels, 1 - y)

    def test_follows_an_overridden_step(self):
        class Scaled(keras.Model):
            def predict_step(self, data):
                return super().predict_step(
                    keras.tree.map_structure(lambda x: x / 255, data)
                )

        inputs = keras.Input((2,))
        model = Scaled(inputs, keras.layers.Activation("linear")(inputs))
        x, y = numbered(4)
        run = report_run.run(model, (255 * x, y))
        np.testing.assert_allclose(run.outputs, x, atol=1e-5)

    def test_reads_raw_strings(self):
        class Task(keras.Model):
            def predict_step(self, data):
                text = keras.tree.flatten(data)[0]
                return self(tf.strings.length(text)[:, None])

        inputs = keras.Input((1,), dtype="int32")
        column = keras.ops.cast(inputs, "float32")
        model = Task(inputs, keras.ops.concatenate([column, -column], -1))
        text = np.array(["a", "bcd", "ef"])
        run = report_run.run(model, (text, np.array([0, 1, 0])))
        np.testing.assert_array_equal(run.outputs[:, 0], [1, 3, 2])
        assert run.inputs is None

    @pytest.mark.parametrize("shape", [(6,), (6, 1)])
    def test_leaves_out_what_does_not_count(self, shape):
        x, y = numbered(6)
        y[1] = -1
        weight = np.array([1, 1, 0, 1, 1, 1]).reshape(shape)
        run = report_run.run(
            passing(), (x, y, weight), ignore_label=-1, batch_size=4
        )
        np.testing.assert_array_equal(run.outputs, x[[0, 3, 4, 5]])
        np.testing.assert_array_equal(run.labels, y[[0, 3, 4, 5]])
        np.testing.assert_array_equal(run.inputs, x[[0, 3, 4, 5]])
        assert (run.num_ignored, run.num_nonfinite) == (2, 0)
        with pytest.raises(ValueError, match="must have examples that count"):
            report_run.run(passing(), (x, y, 0 * weight))

    def test_refuses_outputs_of_another_rank(self):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Reshape((2, 1))(inputs))
        with pytest.raises(ValueError, match=r"shape \(4, 2, 1\)"):
            report_run.run(model, numbered(4))

    def test_refuses_a_damaged_image(self, tmp_path):
        (tmp_path / "0.png").write_bytes(b"no image")
        data = keras.utils.image_dataset_from_directory(
            tmp_path, labels=None, image_size=(2, 2), verbose=False
        )
        with pytest.raises(
            ValueError, match="examples of `data` must be readable"
        ):
            report_run.run(passing(), data, labeled=False)

    def test_refuses_predictions_that_are_all_nan(self):
        x, y = numbered(4)
        with pytest.raises(ValueError, match="for all 4 examples of `data`"):
            report_run.run(passing(), (x * np.nan, y))


class TestTryScales:
    @pytest.mark.parametrize(
        ("factor", "offset", "best"),
        [
            (1, 0, "as given"),
            (255, 0, "x / 255"),
            (127.5, 127.5, "x / 127.5 - 1"),
        ],
    )
    def test_finds_the_scale_of_training(self, factor, offset, best):
        # Knows the class by whether x is above a half, for x to 1.
        model = passing(1)
        x = np.random.default_rng(0).uniform(-1, 1, (200, 1))
        y = (x[:, 0] > 0.3).astype(int)
        given = (x * factor + offset).astype(np.float32)
        if best != "x / 127.5 - 1":
            given = np.abs(given)
            y = (np.abs(x[:, 0]) > 0.3).astype(int)
        accuracies = report_run.try_scales(model, given, y, threshold=0.3)
        assert max(accuracies, key=accuracies.get) == best
        assert accuracies[best] == 1
        assert next(iter(accuracies)) == "as given"

    def test_finds_the_scale_of_satellite_bands(self):
        bands = np.array([[3000], [9000]], np.uint16)
        accuracies = report_run.try_scales(
            passing(1), bands, np.array([0, 1]), threshold=0.5
        )
        assert accuracies["x / 10000"] == 1
        assert accuracies["x / 255"] == accuracies["as given"] == 0.5

    def test_bytes_are_read_as_numbers(self):
        pixels = np.array([[0], [255]], np.uint8)
        accuracies = report_run.try_scales(passing(1), pixels, np.array([0, 1]))
        assert accuracies["x / 255"] == 1
