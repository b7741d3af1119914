"""Symbolic inputs of models."""

import keras
import pytest

from tf_mixup._models import last_layer


class TestStructuredInputs:
    def test_of_a_sequence(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        assert last_layer.single_output_inputs(model).shape == (None, 4)

    def test_of_a_dictionary(self):
        inputs = {name: keras.Input((4,), name=name) for name in "ab"}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        model = keras.Model(inputs, keras.layers.Dense(3)(joined))
        assert set(last_layer.single_output_inputs(model)) == {"a", "b"}

    def test_refuses_a_model_without(self):
        model = keras.Sequential([keras.layers.Dense(3)], name="bare")
        with pytest.raises(ValueError, match="Sequential named 'bare'"):
            last_layer.single_output_inputs(model)

    def test_refuses_a_subclass(self):
        class Own(keras.Model):
            def call(self, inputs):
                return inputs

        with pytest.raises(ValueError, match="must have defined inputs"):
            last_layer.single_output_inputs(Own())

    def test_refuses_several_outputs(self):
        inputs = keras.Input((4,))
        heads = [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)]
        with pytest.raises(ValueError, match="must have one output"):
            last_layer.single_output_inputs(keras.Model(inputs, heads))

    def test_refuses_an_output_for_each_pixel(self):
        inputs = keras.Input((4, 4, 1))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        with pytest.raises(ValueError, match=r"\(None, 4, 4, 3\)"):
            last_layer.single_output_inputs(model)
