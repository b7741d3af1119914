"""Label smoothing and the entropy-regularised loss, on soft targets."""

import keras
import numpy as np
import pytest

from tests import backends
from tests import reference
from tf_mixup import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype("float32") * 3
SOFT = RNG.dirichlet(np.ones(4), size=6).astype("float32")
PROBABILITIES = reference.softmax(LOGITS)


class TestSmooth:
    def test_by_hand(self):
        target = np.array([[0.0, 1.0, 0.0, 0.0, 0.0]])
        others = np.array(losses.smooth(target, 0.2))
        np.testing.assert_allclose(others, [[0.05, 0.8, 0.05, 0.05, 0.05]])
        everyone = np.array(losses.smooth(target, 0.2, spread="all"))
        np.testing.assert_allclose(everyone, [[0.04, 0.84, 0.04, 0.04, 0.04]])

    @pytest.mark.parametrize("spread", losses.SPREADS)
    def test_is_linear_so_it_goes_with_mixing(self, spread):
        a, b = SOFT[:3], SOFT[3:]
        mixed = losses.smooth(0.3 * a + 0.7 * b, 0.1, spread=spread)
        parts = [losses.smooth(each, 0.1, spread=spread) for each in (a, b)]
        np.testing.assert_allclose(
            mixed, 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-5
        )

    @pytest.mark.parametrize("spread", losses.SPREADS)
    def test_keeps_distributions(self, spread):
        smoothed = losses.smooth(SOFT, 0.3, spread=spread)
        np.testing.assert_allclose(np.sum(smoothed, -1), 1, rtol=1e-6)

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"`epsilon`.*epsilon=1.5"):
            losses.smooth(SOFT, 1.5)
        with pytest.raises(ValueError, match=r"`spread`.*'rest'"):
            losses.smooth(SOFT, 0.1, spread="rest")
        with pytest.raises(ValueError, match=r"at least 2 classes.*\(6, 1\)"):
            losses.smooth(SOFT[:, :1], 0.1)


@pytest.mark.parametrize(
    "loss",
    [
        losses.LabelSmoothingCrossentropy(
            0.1, from_logits=True, reduction=None
        ),
        losses.ConfidencePenaltyCrossentropy(
            0.1, from_logits=True, reduction=None
        ),
    ],
)
class TestForms:
    @pytest.mark.parametrize("label", [4, -1, 0.5])
    def test_label_that_is_no_class_gives_nan(self, loss, label):
        labels = np.array([0, 1, 2, 3, 0, label])
        found = np.array(loss(labels, LOGITS))
        assert np.isfinite(found[:5]).all()
        assert np.isnan(found[5])

    def test_targets_that_are_no_distribution_give_nan(self, loss):
        targets = SOFT.copy()
        targets[0] *= 2
        assert np.isnan(np.array(loss(targets, LOGITS))).tolist() == [
            *[True],
            *[False] * 5,
        ]

    def test_sigmoid_of_rank_1_is_a_column(self, loss):
        column, labels = LOGITS[:, 0], np.array([0, 1, 1, 0, 1, 0])
        expected = loss(labels, column[:, None])
        assert np.shape(expected) == (6,)
        np.testing.assert_allclose(loss(labels, column), expected)

    def test_each_step_is_an_example(self, loss):
        found = loss(SOFT.reshape(2, 3, 4), LOGITS.reshape(2, 3, 4))
        assert np.shape(found) == (2, 3)
        np.testing.assert_allclose(np.reshape(found, -1), loss(SOFT, LOGITS))
        ids = np.array([[0, 1, 2], [3, 0, 1]])
        found = loss(ids, LOGITS.reshape(2, 3, 4))
        expected = loss(np.eye(4)[ids], LOGITS.reshape(2, 3, 4))
        np.testing.assert_allclose(found, expected)
        with pytest.raises(
            ValueError, match=r"for each step\. Received: .*2, 4"
        ):
            loss(np.zeros((2, 4)), LOGITS.reshape(2, 3, 4))


class TestSmoothedCrossentropy:
    @pytest.mark.parametrize("spread", losses.SPREADS)
    def test_against_reference(self, spread):
        loss = losses.LabelSmoothingCrossentropy(
            0.1, spread=spread, from_logits=True, reduction=None
        )
        expected = reference.label_smoothing_crossentropy(
            SOFT, PROBABILITIES, 0.1, spread
        )
        np.testing.assert_allclose(loss(SOFT, LOGITS), expected, rtol=1e-5)

    def test_all_is_keras(self):
        ours = losses.LabelSmoothingCrossentropy(
            0.1, spread="all", from_logits=True
        )
        theirs = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        )
        np.testing.assert_allclose(
            ours(SOFT, LOGITS), theirs(SOFT, LOGITS), rtol=1e-5
        )

    def test_probabilities_are_logits_after_softmax(self):
        told = losses.LabelSmoothingCrossentropy(0.1)(SOFT, PROBABILITIES)
        logits = losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
        np.testing.assert_allclose(told, logits(SOFT, LOGITS), rtol=1e-5)

    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
    def test_class_ids_are_one_hot(self, shape):
        ids = np.array([0, 1, 2, 3, 0, 1])
        loss = losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
        np.testing.assert_allclose(
            loss(ids.reshape(shape), LOGITS), loss(np.eye(4)[ids], LOGITS)
        )

    def test_a_sigmoid_is_two_classes(self):
        column, targets = LOGITS[:, :1], SOFT[:, :1]
        loss = losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
        two = np.concatenate([np.zeros_like(column), column], axis=1)
        both = np.concatenate([1 - targets, targets], axis=1)
        np.testing.assert_allclose(
            loss(targets, column), loss(both, two), rtol=1e-6
        )

    def test_refuses_other_columns(self):
        loss = losses.LabelSmoothingCrossentropy(0.1, from_logits=True)
        with pytest.raises(ValueError, match=r"targets \(B, 4\).*\(6, 3\)"):
            loss(SOFT[:, :3], LOGITS)


class TestEntropyRegularized:
    def test_against_reference(self):
        loss = losses.ConfidencePenaltyCrossentropy(
            0.7, from_logits=True, reduction=None
        )
        expected = reference.confidence_penalty_crossentropy(
            SOFT, PROBABILITIES, 0.7
        )
        np.testing.assert_allclose(loss(SOFT, LOGITS), expected, rtol=1e-5)

    def test_without_weight_is_crossentropy(self):
        ours = losses.ConfidencePenaltyCrossentropy(0.0, from_logits=True)
        theirs = keras.losses.CategoricalCrossentropy(from_logits=True)
        np.testing.assert_allclose(
            ours(SOFT, LOGITS), theirs(SOFT, LOGITS), rtol=1e-6
        )

    def test_gradient_pushes_confidence_down(self):
        # A peer adds the entropy: its gradient has the other sign.
        logits = np.array([[4.0, 0.0, 0.0]], "float32")
        target = np.array([[1.0, 0.0, 0.0]], "float32")

        def gradient(kappa):
            loss = losses.ConfidencePenaltyCrossentropy(kappa, from_logits=True)
            return backends.gradient(lambda z: loss(target, z), logits)[0]

        # dH/dz_k = -p_k (log p_k + H).
        p = reference.softmax(logits)[0].astype("float64")
        entropy = -np.sum(p * np.log(p))
        expected = 2.0 * p * (np.log(p) + entropy)
        added = gradient(2.0) - gradient(0.0)
        np.testing.assert_allclose(added, expected, rtol=1e-4)
        assert added[0] > 0 > added[1]

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"`kappa`.*kappa=-0.1"):
            losses.ConfidencePenaltyCrossentropy(-0.1)


@pytest.mark.parametrize(
    "loss",
    [
        losses.LabelSmoothingCrossentropy(0.2, spread="all", from_logits=True),
        losses.ConfidencePenaltyCrossentropy(0.3, from_logits=True),
    ],
)
class TestInKeras:
    @backends.compiles_quickly
    def test_trains_jitted_and_reloads(self, loss, tmp_path):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        model.compile("adam", loss, jit_compile=True)
        x = RNG.normal(size=(6, 3)).astype("float32")
        before = model.evaluate(x, SOFT, verbose=0)
        model.fit(x, SOFT, epochs=30, verbose=0)
        after = model.evaluate(x, SOFT, verbose=0)
        assert after < before
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.loss.get_config() == loss.get_config()
        np.testing.assert_allclose(again.evaluate(x, SOFT, verbose=0), after)


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_zero_counts_as_the_least_of_its_type(self, dtype):
        # Keras casts to float32 first, whose least number is far smaller.
        probabilities = keras.ops.cast([[1.0, 0.0]], dtype)
        loss = losses.ConfidencePenaltyCrossentropy(0.0, from_logits=False)
        least = 2.0**-24 if dtype == "float16" else np.finfo("float32").tiny
        found = float(loss(np.array([1]), probabilities))
        np.testing.assert_allclose(found, -np.log(least), rtol=1e-5)


class TestIgnoredExamples:
    """Examples without a label change neither the loss nor its gradient."""

    @pytest.mark.parametrize("weights", [None, [0, 1, 0, 1, 1, 1]])
    @pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3), (2, 3, 1)])
    @pytest.mark.parametrize("columns", [4, 1])
    @pytest.mark.parametrize(
        "loss_class",
        [
            losses.LabelSmoothingCrossentropy,
            losses.ConfidencePenaltyCrossentropy,
        ],
    )
    def test_have_no_gradient(self, loss_class, columns, shape, weights):
        labels = np.array([-1, 1, -1, 0, 1, 0])
        kept = labels >= 0
        steps = shape[:2] if len(shape) > 1 and shape[1] > 1 else shape[:1]
        loss = loss_class(from_logits=True, ignore_label=-1)
        logits = keras.ops.convert_to_tensor(LOGITS[:, :columns])

        def total(values):
            return loss(
                labels.reshape(shape),
                keras.ops.reshape(values, (*steps, columns)),
                None if weights is None else np.reshape(weights, steps),
            )

        gradient = backends.gradient(total, logits)
        assert np.isfinite(gradient).all()
        assert (gradient[~kept] == 0).all()
        plain = loss_class(from_logits=True)
        expected = backends.gradient(
            lambda values: plain(labels[kept], values), logits[kept]
        )
        np.testing.assert_allclose(gradient[kept], expected, atol=1e-7)


class TestSteps:
    """Outputs `(B, T, K)` count as `(B, K)` do."""

    @staticmethod
    def build(bias, *steps, units=3, activation="softmax"):
        dense = keras.layers.Dense(
            units,
            activation,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(bias),
        )
        return keras.Sequential([keras.Input((*steps, 2)), dense])

    @pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="Only TensorFlow keeps the logits behind a softmax.",
    )
    @pytest.mark.parametrize("steps", [(), (2,)])
    @pytest.mark.parametrize("eager", [False, True])
    def test_logits_behind_a_saturated_softmax(self, steps, eager):
        model = self.build(0.0, *steps)
        model.layers[-1].bias.assign([200.0, 0.0, 0.0])
        model.compile(
            keras.optimizers.SGD(1.0),
            losses.LabelSmoothingCrossentropy(epsilon=0.0),
            run_eagerly=eager,
        )
        x, labels = np.zeros((4, *steps, 2)), np.ones((4, *steps), "int32")
        loss = model.train_on_batch(x, labels)
        assert float(loss) == pytest.approx(200, rel=1e-4)
        np.testing.assert_allclose(
            model.layers[-1].bias, [199, 1, 0], atol=1e-3
        )

    @pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="Only TensorFlow knows the operation of an output.",
    )
    def test_probabilities_that_are_called_logits(self):
        model = self.build(0.0, 2)
        loss = losses.LabelSmoothingCrossentropy(0.0, from_logits=True)
        model.compile("sgd", loss)
        data = np.zeros((4, 2, 2)), np.ones((4, 2), "int32")
        with pytest.warns(UserWarning, match="`from_logits=True` was given"):
            model.train_on_batch(*data)

    @pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="Only TensorFlow knows the operation of an output.",
    )
    def test_a_sigmoid_of_each_step(self):
        model = self.build(1.0, 2, units=1, activation="sigmoid")
        model.compile("sgd", losses.LabelSmoothingCrossentropy(0.0))
        found = model.train_on_batch(np.zeros((4, 2, 2)), np.ones((4, 2)))
        assert float(found) == pytest.approx(np.log1p(np.exp(-1)), rel=1e-5)

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_weights_of_examples(self, shape):
        logits = np.array([[[9.0, 0], [9, 0]], [[0, 5], [0, 5]]], "float32")
        loss = losses.LabelSmoothingCrossentropy(0.0, from_logits=True)
        weights = np.array([1.0, 0.0]).reshape(shape)
        # The second example is wrong, and has no valid label.
        found = loss(np.array([[0, 0], [0, 7]]), logits, weights)
        expected = 2 * np.log1p(np.exp(-9.0)) / 4
        assert float(found) == pytest.approx(expected, rel=1e-3)
