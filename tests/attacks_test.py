"""Tests of adversarial inputs, most on linear models, whose are known."""

import keras
import numpy as np
import pytest
import scipy.special

from tests import reference
from tf_mixup import attacks

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3)).astype("float32")
BIAS = RNG.normal(size=3).astype("float32")
INPUTS = RNG.uniform(0, 10, size=(7, 4)).astype("float32")
LABELS = np.arange(7) % 3
WIDE = {"low": -100.0, "high": 100.0}


def linear(kernel=KERNEL, bias=BIAS, activation=None, dtype="float32"):
    """Returns a linear classifier of the columns of `kernel`."""
    model = keras.Sequential(
        [
            keras.Input((len(kernel),), dtype=dtype),
            keras.layers.Dense(len(bias), activation, dtype="float32"),
        ]
    )
    model.set_weights([np.asarray(kernel), np.asarray(bias)])
    return model


def crossentropy(inputs, labels, kernel=KERNEL, bias=BIAS):
    logits = np.asarray(inputs, np.float64) @ kernel + bias
    logs = scipy.special.log_softmax(logits, axis=-1)
    return -logs[np.arange(len(labels)), labels]


class TestFgsm:
    def test_softmax_by_hand(self):
        # Two values speak for class 0 and the third for none.
        kernel = [[2.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
        model = linear(kernel, [0.0, 0.0], "softmax")
        row = [[5.0, 5.0, 5.0]]
        found = attacks.fgsm(model, row, [0], 4.0)
        assert found.dtype == np.float32
        # sign(0) = 0.
        np.testing.assert_array_equal(found, [[1.0, 1.0, 5.0]])
        found = attacks.fgsm(model, row, [1], 4.0)
        np.testing.assert_array_equal(found, [[9.0, 9.0, 5.0]])

    @pytest.mark.parametrize("labels", [[1, 0], [[1], [0]], [[0, 1], [1, 0]]])
    def test_one_sigmoid_by_hand(self, labels):
        model = linear([[1.0], [-2.0]], [0.0], "sigmoid")
        if np.shape(labels)[-1] == 2 and np.ndim(labels) == 2:
            labels = np.array(labels)[:, 1]
        found = attacks.fgsm(model, np.full((2, 2), 9.0), labels, 1.0)
        np.testing.assert_array_equal(found, [[8.0, 10.0], [10.0, 8.0]])

    @pytest.mark.parametrize("kind", ["ids", "one-hot", "soft"])
    def test_against_reference(self, kind):
        targets = np.eye(3, dtype="float32")[LABELS]
        if kind == "soft":
            targets = 0.7 * targets + 0.1
        labels = LABELS if kind == "ids" else targets
        found = attacks.fgsm(linear(), INPUTS, labels, 2.0, low=0, high=10)
        slow = reference.attack_linear(
            INPUTS, targets, KERNEL, BIAS, 2.0, low=0, high=10
        )
        np.testing.assert_allclose(found, slow, rtol=1e-6)

    def test_closed_form_of_two_classes(self):
        # The margin loses epsilon for each unit of the weights' 1-norm.
        weights = KERNEL[:, :1]
        signs = np.array([1, -1, 1, 1, -1, -1, 1])
        found = attacks.fgsm(
            linear(weights, [0.5]), INPUTS, signs > 0, 3.0, **WIDE
        )
        margin = signs * (INPUTS @ weights[:, 0] + 0.5)
        attacked = signs * (found @ weights[:, 0] + 0.5)
        np.testing.assert_allclose(
            np.logaddexp(0, -attacked),
            np.logaddexp(0, 3.0 * np.abs(weights).sum() - margin),
            rtol=1e-5,
        )
        # Nothing else within the ball does worse.
        others = INPUTS + RNG.uniform(-3, 3, size=(1000, 7, 4))
        assert (signs * (others @ weights[:, 0] + 0.5) > attacked - 1e-4).all()

    def test_law_loss_of_a_linear_model_does_not_fall(self):
        found = attacks.fgsm(linear(), INPUTS, LABELS, 1.0)
        assert (
            crossentropy(found, LABELS) >= crossentropy(INPUTS, LABELS)
        ).all()

    def test_uint8_pixels(self):
        pixels = INPUTS.astype("uint8")
        model = linear(dtype="uint8")
        found = attacks.fgsm(model, pixels, LABELS, 0.5)
        np.testing.assert_array_equal(
            found, attacks.fgsm(linear(), pixels, LABELS, 0.5)
        )
        assert (found != pixels).any()


class TestSaturation:
    # Logits 60 apart: the softmax is 1 and 1e-26, the sigmoid exactly 1.
    TOWARDS = np.array([[20.0, -40.0, -30.0], [3.0, 1.0, -8.0]], "float32")
    ROWS = np.array([[1.0, 0.5]], "float32")

    def test_confident_rows_keep_their_signs(self):
        targets = np.array([[1.0, 0.0, 0.0]])
        slow = reference.attack_linear(
            self.ROWS, targets, self.TOWARDS, np.zeros(3), 0.25
        )
        np.testing.assert_array_equal(slow, [[0.75, 0.25]])
        for activation in (None, "softmax"):
            model = linear(self.TOWARDS, np.zeros(3), activation)
            found = attacks.fgsm(model, self.ROWS, [0], 0.25, **WIDE)
            np.testing.assert_array_equal(found, slow)

    @pytest.mark.parametrize("own", [keras.layers.Softmax(), "softmax"])
    def test_a_last_softmax_is_seen_through(self, own):
        # 1e-52 is 0 in float32.
        layer = keras.layers.Activation(own) if own == "softmax" else own
        scores = linear(2 * self.TOWARDS, np.zeros(3))
        inner = keras.Sequential([scores, layer])
        inputs = keras.Input((2,))
        model = keras.Model(inputs, inner(inputs))
        found = attacks.fgsm(model, self.ROWS, [0], 0.25, **WIDE)
        np.testing.assert_array_equal(found, [[0.75, 0.25]])

    def test_a_last_sigmoid_is_seen_through(self):
        model = linear([[60.0], [-1.0]], [0.0], "sigmoid")
        found = attacks.fgsm(model, self.ROWS, [1], 0.25, **WIDE)
        np.testing.assert_array_equal(found, [[0.75, 0.75]])

    def test_a_softmax_that_is_not_last(self):
        # Its logarithm is good to 1e-38.
        inputs = keras.Input((2,))
        chances = linear(self.TOWARDS, np.zeros(3), "softmax")(inputs)
        model = keras.Model(inputs, keras.layers.Reshape((3,))(chances))
        found = attacks.fgsm(model, self.ROWS, [0], 0.25, **WIDE)
        np.testing.assert_array_equal(found, [[0.75, 0.25]])


class TestIterativeFgsm:
    def test_against_reference(self):
        targets = np.eye(3)[LABELS]
        for options in ({}, {"low": 0.0, "high": 10.0}):
            found = attacks.bim(
                linear(), INPUTS, LABELS, 4.0, steps=5, **{**WIDE, **options}
            )
            slow = reference.attack_linear(
                INPUTS, targets, KERNEL, BIAS, 4.0, steps=5, **options
            )
            np.testing.assert_allclose(found, slow, rtol=1e-5, atol=1e-5)

    def test_one_step_is_fgsm(self):
        model = bent()
        found = attacks.bim(model, INPUTS, LABELS, 2.0, steps=1)
        np.testing.assert_array_equal(
            found, attacks.fgsm(model, INPUTS, LABELS, 2.0)
        )

    def test_stays_in_the_ball_and_the_range(self):
        found = attacks.bim(
            bent(), INPUTS, LABELS, 4.0, step_size=3.0, low=0.0, high=10.0
        )
        assert np.abs(found - INPUTS).max() <= 4.0 + 1e-6
        assert found.min() >= 0
        assert found.max() <= 10
        assert np.abs(found - INPUTS).max() > 3.5

    def test_epsilon_0_is_the_identity(self):
        found = attacks.bim(linear(), INPUTS, LABELS, 0)
        np.testing.assert_array_equal(found, INPUTS)

    @pytest.mark.parametrize("batch_size", [1, 3, 7])
    def test_batches_do_not_matter(self, batch_size):
        model = bent()
        np.testing.assert_allclose(
            attacks.bim(
                model, INPUTS, LABELS, 2.0, steps=3, batch_size=batch_size
            ),
            attacks.bim(model, INPUTS, LABELS, 2.0, steps=3),
            atol=1e-6,
        )

    def test_softmax_and_logits_give_the_same(self):
        for columns in (3, 1):
            kernel, bias = KERNEL[:, :columns], BIAS[:columns]
            activation = "softmax" if columns == 3 else "sigmoid"
            labels = LABELS if columns == 3 else LABELS == 1
            found = [
                attacks.bim(
                    linear(kernel, bias, activation),
                    INPUTS,
                    labels,
                    2.0,
                    from_logits=from_logits,
                )
                for activation, from_logits in (
                    (None, True),
                    (activation, None),
                    (activation, False),
                )
            ]
            np.testing.assert_array_equal(found[0], found[1])
            np.testing.assert_array_equal(found[0], found[2])


def bent():
    """Returns a model with batch norm, dropout and a softmax."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    model.layers[1].set_weights([RNG.uniform(1, 2, 8) for _ in range(4)])
    model.compile("sgd", lambda targets, outputs: 0.0)
    return model


class TestModel:
    def test_stays_as_it_is(self):
        model = bent()
        config = model.get_config()
        variables = [variable.numpy() for variable in model.variables]
        before = model.predict(INPUTS, verbose=0)
        attacks.bim(model, INPUTS, LABELS, 2.0)
        for old, new in zip(variables, model.variables, strict=True):
            np.testing.assert_array_equal(old, new.numpy())
        np.testing.assert_array_equal(before, model.predict(INPUTS, verbose=0))
        assert model.get_config() == config

    def test_predicts_as_in_inference(self):
        model = bent()
        inputs = keras.Input((4,))
        hidden = model.layers[1](model.layers[0](inputs))
        still = keras.Model(inputs, model.layers[3](hidden))
        np.testing.assert_array_equal(
            attacks.fgsm(model, INPUTS, LABELS, 2.0),
            attacks.fgsm(still, INPUTS, LABELS, 2.0),
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epsilon": -1}, "`epsilon` must be a finite number, at least 0"),
            ({"steps": 0}, "`steps` must be an integer, at least 1"),
            ({"step_size": -1}, "`step_size` must be a finite number"),
            ({"batch_size": 0}, "`batch_size` must be an integer"),
            ({"low": 1.0, "high": 1.0}, "`low` must be below `high`"),
            ({"high": 1.0}, r"Inputs must lie in \[0, 1\].*epsilon"),
            ({"inputs": np.full((7, 4), np.nan)}, "values from nan"),
            (
                {"labels": LABELS[:3]},
                r"one label for each example.*\(3,\) for 7",
            ),
            ({"labels": np.eye(4)[LABELS]}, r"targets \(B, 3\)"),
            ({"labels": LABELS + 1}, r"class ids in \[0, 2\].*2 labels"),
            ({"labels": np.ones((7, 3))}, "targets with several ones"),
        ],
    )
    def test_arguments(self, options, message):
        arguments = {"inputs": INPUTS, "labels": LABELS, "epsilon": 1.0}
        with pytest.raises(ValueError, match=message):
            attacks.bim(linear(), **{**arguments, **options})

    def test_ids_of_words(self):
        model = keras.Sequential(
            [
                keras.Input((4,), dtype="int32", name="ids"),
                keras.layers.Embedding(20, 5),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(3),
            ],
            name="reader",
        )
        with pytest.raises(ValueError, match=r"^The gradient must.*'reader'"):
            attacks.fgsm(model, INPUTS.astype("int32"), LABELS, 1.0)

    def test_nan(self):
        model = linear(np.full_like(KERNEL, np.nan))
        with pytest.raises(ValueError, match=r"must have a gradient.*NaN"):
            attacks.fgsm(model, INPUTS, LABELS, 1.0)

    def test_a_column_that_could_be_either(self):
        inputs = keras.Input((4,))
        column = keras.layers.Dense(1, "hard_sigmoid")(inputs)
        model = keras.Model(inputs, column)
        with pytest.raises(ValueError, match="from_logits=False"):
            attacks.fgsm(model, INPUTS, LABELS == 1, 1.0)

    def test_several_inputs(self):
        pair = [keras.Input((4,)), keras.Input((4,))]
        joined = keras.layers.Concatenate()(pair)
        model = keras.Model(pair, keras.layers.Dense(3)(joined))
        with pytest.raises(ValueError, match=r"must have one input.*2 inputs"):
            attacks.fgsm(model, INPUTS, LABELS, 1.0)

    def test_another_backend(self, monkeypatch):
        monkeypatch.setattr(keras.config, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="the Keras backend 'jax'"):
            attacks.fgsm(linear(), INPUTS, LABELS, 1.0)


class TestForms:
    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"low": np.zeros(2)}, "`low` must be a finite number"),
            ({"low": np.nan}, "`low` must be a finite number"),
            ({"high": np.inf}, "`high` must be a finite number"),
            ({"inputs": np.zeros((0, 2))}, "at least one example"),
            ({"inputs": np.array([["1", "2"]])}, "Inputs must be real"),
            (
                {"inputs": np.ma.masked_array([[1, 2.0]], [[0, 1]])},
                "no masked entries",
            ),
            (
                {"labels": np.ma.masked_array([1], mask=[1])},
                "Labels must have no masked entries",
            ),
        ],
    )
    def test_refuses(self, changed, message):
        layer = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((2,)), layer])
        given = {"inputs": [[9.0, 5.0]], "labels": [0]} | changed
        with pytest.raises(ValueError, match=message):
            attacks.fgsm(model, epsilon=1.0, **given)
