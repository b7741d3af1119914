"""Tests of what a model's outputs are taken for."""

import keras
import numpy as np
import pytest

from tf_mixup import model_outputs


class TestAreLogits:
    def test_rows_that_sum_to_one_are_probabilities(self):
        assert not model_outputs.are_logits([[0.5, 0.5], [1.0, 0.0]])

    @pytest.mark.parametrize(
        "rows", [[[1.5, -0.5]], [[0.5, 1.6]], [[0.5, 0.5], [-0.5, 0.6]]]
    )
    def test_others_are_logits(self, rows):
        assert model_outputs.are_logits(rows)

    @pytest.mark.parametrize("rows", [[[0.5, 0.6]], [[0.5, 0.5], [0.5, 0.6]]])
    def test_refuses_several_sigmoids(self, rows):
        with pytest.raises(ValueError, match="2 columns that do not"):
            model_outputs.are_logits(rows)
        assert model_outputs.are_logits(rows, from_logits=True)

    def test_of_half_precision(self):
        rows = np.full((2, 1000), 1 / 1000, "float16")
        assert not model_outputs.are_logits(rows)

    def test_rows_of_nan_say_nothing(self):
        assert not model_outputs.are_logits([[np.nan, 1.0], [0.5, 0.5]])
        assert model_outputs.are_logits([[np.nan, np.nan]])

    def test_what_is_said_counts(self):
        assert model_outputs.are_logits([[0.5, 0.5]], from_logits=True)
        assert not model_outputs.are_logits([[0.5]], from_logits=False)

    @pytest.mark.parametrize("values", [[[3.0]], [[0.5, 0.6]], [[2.0, -1.0]]])
    def test_refuses_what_cannot_be_probabilities(self, values):
        with pytest.raises(ValueError, match="from_logits=False with 1 of 1"):
            model_outputs.are_logits(values, from_logits=False)

    def test_warns_of_logits_that_are_probabilities(self):
        values = np.full((4, 2), 0.5)
        with pytest.warns(UserWarning, match="`from_logits=True` was given"):
            assert model_outputs.are_logits(values, from_logits=True)

    @pytest.mark.parametrize("column", [[-0.5, 0.5], [[1.5], [0.5]]])
    def test_column_beyond_one_is_logits(self, column):
        assert model_outputs.are_logits(column)

    @pytest.mark.parametrize("column", [[0.5, 0.75], [[0.5], [1.0]]])
    def test_refuses_to_guess_a_column(self, column):
        with pytest.raises(ValueError, match="from_logits=False"):
            model_outputs.are_logits(column)

    @pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
    def test_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match=r"Outputs must have shape \(N, K"):
            model_outputs.are_logits(np.zeros(shape))


class TestToLogits:
    def test_takes_logarithms_of_probabilities(self):
        logits = model_outputs.to_logits([[0.25, 0.75]])
        np.testing.assert_allclose(logits, np.log([[0.25, 0.75]]), rtol=1e-6)
        assert logits.dtype == np.float32

    def test_leaves_logits(self):
        rows = [[2.0, -1.0, 0.5]]
        np.testing.assert_array_equal(model_outputs.to_logits(rows), rows)


class TestStructuredInputs:
    def test_of_a_sequence(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        assert model_outputs.structured_inputs(model).shape == (None, 4)

    def test_of_a_dictionary(self):
        inputs = {name: keras.Input((4,), name=name) for name in "ab"}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        model = keras.Model(inputs, keras.layers.Dense(3)(joined))
        assert set(model_outputs.structured_inputs(model)) == {"a", "b"}

    def test_refuses_a_model_without(self):
        model = keras.Sequential([keras.layers.Dense(3)], name="bare")
        with pytest.raises(ValueError, match="Sequential named 'bare'"):
            model_outputs.structured_inputs(model)

    def test_refuses_a_subclass(self):
        class Own(keras.Model):
            def call(self, inputs):
                return inputs

        with pytest.raises(ValueError, match="must have defined inputs"):
            model_outputs.structured_inputs(Own())

    def test_refuses_several_outputs(self):
        inputs = keras.Input((4,))
        heads = [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)]
        with pytest.raises(ValueError, match="must have one output"):
            model_outputs.structured_inputs(keras.Model(inputs, heads))

    def test_refuses_an_output_for_each_pixel(self):
        inputs = keras.Input((4, 4, 1))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        with pytest.raises(ValueError, match=r"\(None, 4, 4, 3\)"):
            model_outputs.structured_inputs(model)
