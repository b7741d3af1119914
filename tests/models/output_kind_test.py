"""Whether outputs are logits: of values, of a last layer, of both."""

import keras
import numpy as np
import pytest

from tests import reference
from tests.conformance.outputs_test import examples
from tests.conformance.outputs_test import head
from tf_mixup._models import last_layer
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers


class TestAreLogits:
    def test_rows_that_sum_to_one_are_probabilities(self):
        assert not output_kind.are_logits([[0.5, 0.5], [1.0, 0.0]])

    @pytest.mark.parametrize(
        "rows",
        [
            [[1.5, -0.5]],
            [[0.5, 1.6]],
            [[0.5, 0.5], [-0.5, 0.6]],
            # Of a model before training.
            [[0.002, -0.003], [0.001, 0.004]],
        ],
    )
    def test_others_are_logits(self, rows):
        assert output_kind.are_logits(rows)

    @pytest.mark.parametrize("rows", [[[0.5, 0.6]], [[0.5, 0.5], [0.5, 0.6]]])
    def test_refuses_several_sigmoids(self, rows):
        with pytest.raises(ValueError, match="2 columns that do not"):
            output_kind.are_logits(rows)
        assert output_kind.are_logits(rows, from_logits=True)

    def test_of_half_precision(self):
        rows = np.full((2, 1000), 1 / 1000, "float16")
        assert not output_kind.are_logits(rows)

    def test_rows_of_nan_say_nothing(self):
        assert not output_kind.are_logits([[np.nan, 1.0], [0.5, 0.5]])
        assert output_kind.are_logits([[np.nan, np.nan]])

    def test_what_is_said_counts(self):
        assert output_kind.are_logits([[0.5, 0.5]], from_logits=True)
        assert not output_kind.are_logits([[0.5]], from_logits=False)

    @pytest.mark.parametrize("values", [[[3.0]], [[0.5, 0.6]], [[2.0, -1.0]]])
    def test_refuses_what_cannot_be_probabilities(self, values):
        with pytest.raises(ValueError, match="from_logits=False with 1 of 1"):
            output_kind.are_logits(values, from_logits=False)

    def test_warns_of_logits_that_are_probabilities(self):
        values = np.full((4, 2), 0.5)
        with pytest.warns(UserWarning, match="`from_logits=True` was given"):
            assert output_kind.are_logits(values, from_logits=True)

    @pytest.mark.parametrize(
        "column", [[-0.5, 0.5], [[1.5], [0.5]], [0.01, -0.01]]
    )
    def test_column_beyond_one_is_logits(self, column):
        assert output_kind.are_logits(column)

    @pytest.mark.parametrize("column", [[0.5, 0.75], [[0.5], [1.0]]])
    def test_refuses_to_guess_a_column(self, column):
        with pytest.raises(ValueError, match="from_logits=False"):
            output_kind.are_logits(column)

    @pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
    def test_refuses_other_shapes(self, shape):
        with pytest.raises(ValueError, match=r"Outputs must have shape \(N, K"):
            output_kind.are_logits(np.zeros(shape))


class TestLastLayer:
    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            ([keras.layers.Dense(3)], True),
            ([keras.layers.Dense(3, "softmax")], False),
            ([keras.layers.Dense(1, "sigmoid")], False),
            ([keras.layers.Dense(3), keras.layers.Softmax()], False),
            (
                [keras.layers.Dense(3), keras.layers.Activation("softmax")],
                False,
            ),
            ([keras.layers.Dense(3), keras.layers.Activation("linear")], True),
            ([keras.layers.Dense(3, "relu")], None),
            ([keras.layers.Dense(3, "softmax"), keras.layers.Flatten()], False),
            ([keras.layers.Rescaling(3.0)], None),
        ],
    )
    def test_tells(self, layers, expected):
        model = keras.Sequential([keras.Input((4,)), *layers])
        assert last_layer.last_layer_gives_logits(model) is expected
        outer = keras.Sequential([keras.Input((4,)), model])
        assert last_layer.last_layer_gives_logits(outer) is expected

    def test_of_an_operation(self):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.ops.softmax(inputs))
        assert last_layer.last_layer_gives_logits(model) is False

    def test_knows_nothing_of_a_subclass(self):
        class Own(keras.Model):
            def call(self, inputs):
                return inputs

        assert last_layer.last_layer_gives_logits(Own()) is None

    @pytest.mark.parametrize("activation", ["softmax", None])
    @pytest.mark.parametrize("told", [False, True])
    def test_contradiction_is_refused(self, activation, told):
        model = head(activation)
        outputs = model.predict(examples()[0], verbose=0)
        if told == (activation is None):
            assert output_kind.are_logits(outputs, told, model=model) == told
            return
        with pytest.raises(ValueError, match=f"from_logits={told} with a last"):
            output_kind.are_logits(outputs, told, model=model)

    def test_a_sigmoid_says_what_it_is(self):
        model = head("sigmoid", units=1)
        outputs = model.predict(examples()[0], verbose=0)
        assert output_kind.are_logits(outputs, model=model) is False


class TestBeforeSoftmax:
    @pytest.mark.parametrize(
        "layers",
        [
            [keras.layers.Dense(3, "softmax")],
            [keras.layers.Dense(3), keras.layers.Softmax()],
            [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        ],
    )
    def test_gives_the_logits_on_the_same_weights(self, layers, tmp_path):
        model = keras.Sequential([keras.Input((4,)), *layers])
        logits = last_layer.before_softmax(model)
        x, _ = examples()
        for _ in range(2):
            found = logits.predict(x, verbose=0)
            np.testing.assert_allclose(
                reference.softmax(found), model.predict(x, verbose=0), rtol=1e-5
            )
            model.set_weights([w + 0.5 for w in model.get_weights()])
        logits.save(tmp_path / "logits.keras")
        loaded = keras.saving.load_model(tmp_path / "logits.keras")
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), logits.predict(x, verbose=0)
        )

    def test_of_a_model_of_logits_there_is_none(self):
        assert last_layer.before_softmax(head(None)) is None

    def test_quantized(self):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
        )
        model.quantize("int8")
        rows = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
        logits = last_layer.before_softmax(model).predict(rows, verbose=0)
        np.testing.assert_allclose(
            reference.softmax(logits), model.predict(rows, verbose=0), atol=1e-6
        )

    @pytest.mark.parametrize(
        "last",
        [
            output_layers.ScaledSoftmax(3),
            output_layers.IsotonicSoftmax(3, 2),
        ],
    )
    def test_none_of_calibrated_models(self, last):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3), last]
        )
        assert last_layer.last_layer_gives_logits(model) is False
        assert last_layer.before_softmax(model) is None
