"""Tests of the layers that turn a model's outputs into probabilities."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup._models import output_layers


class TestLogits:
    def test_of_logits_are_themselves(self):
        rows = np.array([[1.5, -2.0, 0.25]], "float32")
        logits = output_layers.Logits(from_logits=True)(rows)
        np.testing.assert_array_equal(logits, rows)

    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_of_a_sigmoid_have_two_columns(self, shape):
        column = np.reshape(np.array([-1.0, 0.0, 30.0], "float32"), shape)
        logits = output_layers.Logits(from_logits=True)(column)
        np.testing.assert_array_equal(logits, [[0, -1], [0, 0], [0, 30]])

    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_of_a_sigmoid_s_probabilities(self, shape):
        column = np.reshape(np.array([0.5, 0.9, 1e-20], "float32"), shape)
        logits = np.array(output_layers.Logits(from_logits=False)(column))
        np.testing.assert_allclose(
            logits[:, 1] - logits[:, 0],
            [0, np.log(9), np.log(1e-20)],
            rtol=1e-5,
            atol=1e-6,
        )

    def test_softmax_gives_probabilities_back(self):
        rows = np.array([[0.7, 0.3, 0.0], [1e-30, 0.5, 0.5]], "float32")
        logits = output_layers.Logits(from_logits=False)(rows)
        np.testing.assert_allclose(
            keras.ops.softmax(logits), rows, rtol=1e-5, atol=1e-37
        )

    def test_of_certainty_are_finite(self):
        layer = output_layers.Logits(from_logits=False)
        assert np.all(np.isfinite(layer(np.array([[1.0, 0.0]]))))
        # No float32 lies between 1 - 2**-24 and 1.
        column = np.array(layer(np.array([[1.0]], "float32")))
        assert column[0, 1] - column[0, 0] == pytest.approx(25 * np.log(2))

    def test_half_precision_is_left_before_the_logarithm(self):
        rows = np.array([[0.5, 0.5]], "float16")
        assert output_layers.Logits(False)(rows).dtype == "float32"

    @pytest.mark.parametrize(
        ("dtype", "tiny", "half_step"),
        [
            ("float16", 2.0**-24, 2.0**-12),
            ("bfloat16", 2.0**-126, 2.0**-9),
            ("float32", 2.0**-126, 2.0**-25),
        ],
    )
    def test_floors_are_those_of_the_type(self, dtype, tiny, half_step):
        layer = output_layers.Logits(False)
        rows = keras.ops.convert_to_tensor([[1.0, 0.0]], dtype)
        for logits in (
            layer(rows),
            keras.Model(i := keras.Input((2,), dtype=dtype), layer(i))(rows),
        ):
            np.testing.assert_allclose(logits, [[0, np.log(tiny)]], rtol=1e-6)
        column = keras.ops.convert_to_tensor([[1.0]], dtype)
        np.testing.assert_allclose(
            layer(column), [[np.log(half_step), 0]], rtol=1e-6
        )

    def test_half_precision_gives_a_warning(self):
        with pytest.warns(UserWarning, match="float16.*dtype='float32'"):
            output_layers.to_logits(np.ones((1, 2), "float16"), True)

    @pytest.mark.parametrize("shape", [(2, 3), (6, 1), (6,)])
    def test_of_labels_are_log_odds(self, shape):
        column = np.array([0.5, 0.9, 1e-20, 1, 0, 0.25], "float32")
        expected = [0, np.log(9), np.log(1e-20), 25 * np.log(2)]
        expected += [np.log(2.0**-126), -np.log(3)]
        layer = output_layers.Logits(from_logits=False, multi_label=True)
        logits = np.array(layer(column.reshape(shape)))
        assert logits.shape == (shape if len(shape) == 2 else (6, 1))
        assert layer.compute_output_shape(shape) == logits.shape
        np.testing.assert_allclose(
            logits.ravel(), expected, rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("columns", [1, 4])
    def test_shape_is_known_before_values(self, columns):
        symbolic = keras.Input((columns,))
        layer = output_layers.Logits(from_logits=True)
        shape = layer(np.zeros((2, columns), "float32")).shape
        assert layer(symbolic).shape == (None, *shape[1:])
        assert layer.compute_output_shape((2, columns)) == tuple(shape)
        assert layer.compute_output_shape((2,)) == (2, 2)


class TestScaledSoftmax:
    def test_by_hand(self):
        layer = output_layers.ScaledSoftmax(2)
        layer.set_weights([np.array([2.0, 1.0]), np.array([0.0, np.log(3)])])
        # exp(0) : 3 exp(0), and exp(2 log 3) : 3 exp(log 3).
        rows = np.array([[0.0, 0.0], [np.log(3), np.log(3)]], "float32")
        np.testing.assert_allclose(
            layer(rows), [[0.25, 0.75], [0.5, 0.5]], atol=1e-6
        )

    def test_starts_as_softmax(self):
        rows = np.random.default_rng(0).normal(size=(5, 3))
        np.testing.assert_allclose(
            output_layers.ScaledSoftmax(3)(rows),
            reference.softmax(rows),
            atol=1e-6,
        )

    def test_refuses_other_classes(self):
        with pytest.raises(ValueError, match=r"on 3 classes.*: 1 classes"):
            output_layers.ScaledSoftmax(3)(np.zeros((2, 1)))

    def test_training_leaves_it_alone(self):
        assert not output_layers.ScaledSoftmax(3).trainable_weights


class TestBetaLayers:
    def test_by_hand(self):
        layer = output_layers.BetaSigmoid(2)
        layer.set_weights(list(np.array([[2, 1], [0, 1], [0, np.log(3)]])))
        # The square of 1/2, as a logit; and log 3 more.
        rows = np.array([[0.0, 0.0]], "float32")
        odds = np.array([[0.25, 3.0]])
        np.testing.assert_allclose(layer(rows), odds / (1 + odds), atol=1e-6)
        two = output_layers.BetaSoftmax()
        two.set_weights(list(np.array([[2], [0], [0]])))
        np.testing.assert_allclose(
            two(np.array([[5.0, 5.0]])), [[0.8, 0.2]], atol=1e-6
        )

    def test_starts_as_sigmoid(self):
        rows = np.array([[-200.0, -1.0, 0.0, 3.0, 200.0]])
        np.testing.assert_allclose(
            output_layers.BetaSigmoid(5)(rows),
            1 / (1 + np.exp(-rows)),
            rtol=1e-6,
            atol=1e-37,
        )

    def test_refuses_others(self):
        with pytest.raises(ValueError, match=r"on 3 labels.*: 1 labels"):
            output_layers.BetaSigmoid(3)(np.zeros((2, 1)))
        with pytest.raises(ValueError, match=r"on 2 classes.*: 3 classes"):
            output_layers.BetaSoftmax()(np.zeros((2, 3)))


class TestIsotonicSoftmax:
    @pytest.fixture
    def layer(self):
        layer = output_layers.IsotonicSoftmax(2, 3)
        # The second curve has two points, and repeats its last.
        thresholds = np.array([[0.2, 0.4, 0.8], [0.3, 0.6, 0.6]])
        values = np.array([[0.0, 0.5, 0.75], [0.25, 1.0, 1.0]])
        layer.set_weights([thresholds, values])
        return layer

    def test_agrees_with_numpy(self, layer):
        first = np.linspace(0.01, 0.99, 50)
        probabilities = np.stack([first, 1 - first], axis=-1)
        mapped = np.stack(
            [
                np.interp(first, [0.2, 0.4, 0.8], [0, 0.5, 0.75]),
                np.interp(1 - first, [0.3, 0.6], [0.25, 1]),
            ],
            axis=-1,
        )
        np.testing.assert_allclose(
            layer(np.log(probabilities).astype("float32")),
            mapped / mapped.sum(axis=-1, keepdims=True),
            atol=1e-5,
        )

    def test_row_without_mass_is_uniform(self, layer):
        layer.set_weights([layer.get_weights()[0], np.zeros((2, 3))])
        rows = layer(np.array([[0.0, 1.0]], "float32"))
        np.testing.assert_array_equal(rows, [[0.5, 0.5]])

    def test_training_leaves_it_alone(self, layer):
        assert not layer.trainable_weights


@pytest.mark.parametrize(
    "layer",
    [
        output_layers.Logits(False, name="logs"),
        output_layers.Logits(False, multi_label=True, name="label_logs"),
        output_layers.ScaledSoftmax(3, name="scaled"),
        output_layers.BetaSigmoid(3, name="labels"),
        output_layers.BetaSoftmax(name="beta"),
        output_layers.IsotonicSoftmax(3, 7, name="isotonic"),
    ],
    ids=lambda layer: layer.name,
)
def test_config_rebuilds(layer):
    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert twin.dtype_policy == layer.dtype_policy
