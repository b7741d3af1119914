"""Labels, outputs and weights of every type, shape and `floatx`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tests.conformance import objects
from tests.conformance.objects import LABELS
from tests.conformance.objects import LOGITS
from tests.conformance.objects import PROBABILITIES
from tf_mixup import calibration
from tf_mixup import losses
from tf_mixup import metrics
from tf_mixup import ood

every = pytest.mark.parametrize("measure", objects.ALL, ids=objects.name)
every_weighted = pytest.mark.parametrize(
    "measure", objects.WEIGHTED, ids=objects.name
)
SOFT = np.array(
    [[0.9, 0.1, 0], [0, 1, 0], [0.5, 0.2, 0.3], [0, 0.3, 0.7], [0, 0, 1]]
)


@pytest.fixture(params=["float16", "bfloat16", "float64"])
def floatx(request):
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(before)


class TestLabels:
    @every
    def test_every_form_is_the_same(self, measure):
        expected = measure(LABELS, PROBABILITIES)
        forms = [
            *(LABELS.astype(f"{k}int{b}") for k in ("", "u") for b in (8, 64)),
            *(LABELS.astype(f"float{b}") for b in (16, 32, 64)),
            LABELS[:, None],
            LABELS.tolist(),
            np.eye(3)[LABELS],
            np.eye(3, dtype="bool")[LABELS],
            np.eye(3, dtype="uint8")[LABELS].tolist(),
            tf.constant(LABELS, tf.int32),
            tf.constant(LABELS, tf.uint8),
        ]
        for labels in forms:
            found = measure(labels, PROBABILITIES)
            assert found == pytest.approx(expected, rel=1e-6), labels

    @every
    @pytest.mark.parametrize(
        "label", [2**32, 2**31, 2**40 + 1, -(2**32), 3, -1, 2**63]
    )
    def test_id_that_is_no_class_is_never_right(self, measure, label):
        labels = [label, *LABELS[1:].tolist()]
        for form in (labels, np.array(labels)):
            found = measure(form, PROBABILITIES, from_logits=False)
            # A metric leaves the example out, and counts it.
            expected = np.nan
            if measure.__name__ in {each.__name__ for each in objects.METRICS}:
                expected = measure(
                    LABELS[1:], PROBABILITIES[1:], from_logits=False
                )
            assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)

    def test_large_ids_are_wrong_by_hand(self):
        probabilities = [[0.9, 0.1], [0.2, 0.8]]
        _, correct = calibration.top_label([2**32, 1], probabilities)
        np.testing.assert_array_equal(correct, [np.nan, 1])
        metric = metrics.CalibrationMetrics()
        metric.update_state([2**32, 1], probabilities)
        assert metric.results()["nonfinite"] == 1

    @every
    def test_shares_of_votes_are_normalized(self, measure):
        # Rounded to two decimals, sums are .97 to 1.03.
        rounded = SOFT * np.array([0.97, 1, 1.03, 1.02, 0.98])[:, None]
        with pytest.warns(UserWarning, match="divided by their sums"):
            found = measure(rounded, PROBABILITIES)
        assert found == pytest.approx(measure(SOFT, PROBABILITIES), rel=1e-6)

    @every
    def test_counts_of_votes_are_no_targets(self, measure):
        assert np.isnan(measure(51 * SOFT, PROBABILITIES))

    # Keras' losses convert labels themselves, and refuse text in their words.
    @every_weighted
    @pytest.mark.parametrize(
        "labels", [list("abcab"), np.array(list("abcab"), object)]
    )
    def test_refuses_text(self, measure, labels):
        with pytest.raises(ValueError, match="num_oov_indices=0"):
            measure(labels, PROBABILITIES)

    @every
    def test_ignored_label_is_left_out(self, measure):
        labels = np.array([0, -1, 0, 2, -1])
        kept = labels >= 0
        expected = measure(labels[kept], PROBABILITIES[kept])
        for form in (labels, labels[:, None], labels.astype("float32")):
            found = measure(form, PROBABILITIES, ignore_label=-1)
            assert found == pytest.approx(expected, rel=1e-6)
        other = np.where(kept, labels, 255)
        found = measure(other, PROBABILITIES, ignore_label=255)
        assert found == pytest.approx(expected, rel=1e-6)
        # Another number out of range is not ignored.
        found = measure(np.where(kept, labels, -2), PROBABILITIES)
        assert np.isnan(found) or found == pytest.approx(expected, rel=1e-6)


class TestOutputs:
    @every
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "list"])
    def test_every_type_is_the_same(self, measure, dtype):
        expected = measure(LABELS, PROBABILITIES)
        loose = 1e-2 if dtype == "float16" else 1e-5
        for outputs in (PROBABILITIES, LOGITS):
            given = outputs.tolist() if dtype == "list" else outputs
            if dtype != "list":
                given = outputs.astype(dtype)
            found = measure(LABELS, given)
            assert found == pytest.approx(expected, rel=loose, abs=loose / 10)

    @every
    def test_floatx_changes_nothing(self, measure, floatx):
        found = measure(LABELS, PROBABILITIES.tolist())
        wide = measure(LABELS, PROBABILITIES.astype("float32"))
        keras.config.set_floatx("float32")
        expected = measure(LABELS, PROBABILITIES.astype("float32"))
        # Keras rounds results of metrics, and outputs for losses, to `floatx`.
        close = 1e-6 if floatx == "float64" else 3e-2
        assert wide == pytest.approx(expected, rel=close)
        assert found == pytest.approx(expected, rel=close, abs=close)

    def test_functions_under_any_floatx(self, floatx):
        column = np.array([0.2, 0.9, 0.6], "float32")
        np.testing.assert_allclose(
            ood.confidence(column), [0.8, 0.9, 0.6], rtol=1e-6
        )
        bins = calibration.bin_predictions([0, 1, 1], column)
        for error in (
            calibration.overconfidence_error,
            calibration.maximum_calibration_error,
            calibration.average_calibration_error,
            calibration.debiased_calibration_error,
            calibration.signed_gap,
            lambda each: calibration.adaptive_calibration_error(
                each, num_bins=2
            ),
        ):
            assert np.isfinite(float(error(bins)))
        smoothed = losses.smooth(np.eye(3, dtype="float32"), 0.3)
        np.testing.assert_allclose(np.sum(smoothed, -1), 1, rtol=1e-6)

    @every
    def test_column_a_rounding_step_above_one(self, measure):
        column = np.array([1.0000001, 0.3, 0.8, 0.6, 0.2, 0.9], "float32")
        labels = np.array([1, 0, 1, 0, 0, 1])
        expected = measure(labels, np.minimum(column, 1))
        for form in (column, column[:, None]):
            found = measure(labels, form)
            assert found == pytest.approx(expected, rel=1e-5)

    @every
    def test_sums_of_columns_may_round_below_zero(self, measure):
        outputs = PROBABILITIES.copy()
        outputs[4] = [-1e-7, 0.05, 0.95]
        clipped = np.maximum(outputs, 0)
        assert measure(LABELS, outputs) == pytest.approx(
            measure(LABELS, clipped), rel=1e-5
        )

    @every
    def test_steps_of_a_sequence_are_examples(self, measure):
        labels = np.array([[0, 1], [2, 2]])
        outputs = PROBABILITIES[:4].reshape(2, 2, 3)
        expected = measure(labels.ravel(), PROBABILITIES[:4])
        for form in (labels, labels[..., None], np.eye(3)[labels]):
            found = measure(form, outputs)
            assert found == pytest.approx(expected, rel=1e-6)
        with pytest.raises(ValueError, match=r"labels of shape \(B, 2\)"):
            measure(labels[:, :1], outputs)


class TestWeights:
    WEIGHTS = np.array([2, 0, 1, 3, 1])

    @every_weighted
    def test_every_form_is_the_same(self, measure):
        repeated = LABELS.repeat(self.WEIGHTS)
        outputs = PROBABILITIES.repeat(self.WEIGHTS, 0)
        expected = measure(repeated, outputs)
        if objects.name(measure) in objects.SCALED:
            expected = measure(LABELS, PROBABILITIES, self.WEIGHTS)
        for dtype in ("int32", "int64", "uint8", "float16", "float64"):
            for weight in (self.WEIGHTS, self.WEIGHTS[:, None]):
                found = measure(LABELS, PROBABILITIES, weight.astype(dtype))
                assert found == pytest.approx(expected, rel=1e-6)
        found = measure(LABELS, PROBABILITIES, self.WEIGHTS.tolist())
        assert found == pytest.approx(expected, rel=1e-6)
        kept = self.WEIGHTS > 0
        assert measure(LABELS, PROBABILITIES, kept) == pytest.approx(
            measure(LABELS[kept], PROBABILITIES[kept]), rel=1e-6
        )

    @every_weighted
    def test_weight_of_zero_leaves_out(self, measure):
        labels, outputs = LABELS.copy(), PROBABILITIES.copy()
        labels[1], outputs[3, 0] = 77, np.nan
        weight = np.array([1, 0, 1, 0, 1.0])
        kept = weight > 0
        assert measure(labels, outputs, weight) == pytest.approx(
            measure(LABELS[kept], PROBABILITIES[kept]), rel=1e-6
        )

    @every_weighted
    def test_without_weight_there_is_no_error(self, measure):
        assert np.isnan(measure(LABELS, PROBABILITIES, np.zeros(5)))
        empty = measure(np.zeros(0, "int32"), np.zeros((0, 3), "float32"))
        assert np.isnan(empty)

    @every_weighted
    def test_refuses_negative_weights(self, measure):
        with pytest.raises(ValueError, match=r"at least 0\. Received: .* -1"):
            measure(LABELS, PROBABILITIES, np.array([1, -1, 1, 1, 1.0]))

    @every_weighted
    def test_refuses_weights_of_other_examples(self, measure):
        with pytest.raises(ValueError, match="one number for each example"):
            measure(LABELS, PROBABILITIES, np.ones(4))

    @backends.needs_tensorflow
    def test_negative_weight_in_a_graph_is_left_out_and_counted(self):
        metric = metrics.CalibrationMetrics()
        weight = np.array([1, -1, 1, 1, 1.0])
        backends.compile_update(metric)(LABELS, PROBABILITIES, weight)
        rest = weight > 0
        expected = objects.measure_metric(metrics.CalibrationMetrics)(
            LABELS[rest], PROBABILITIES[rest]
        )
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
        assert metric.results()["nonfinite"] == 1


class TestForms:
    """What is no number is refused; nothing is dropped in silence."""

    MASK = np.arange(5) == 4
    WRONG = (
        np.ma.masked_array(LABELS, MASK),
        LABELS + 0j,
        LABELS.astype(str),
        LABELS.astype("M8[s]"),
        np.array([0, 1, None, 2, 2]),
    )

    @every
    @pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.dtype)
    def test_refuses_labels(self, measure, wrong):
        with pytest.raises(ValueError, match=r"Labels must .*Received"):
            measure(wrong, PROBABILITIES)

    @every
    @pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.dtype)
    def test_refuses_weights(self, measure, wrong):
        with pytest.raises(ValueError, match=r"Weights must .*Received"):
            measure(LABELS, PROBABILITIES, wrong)

    @every
    def test_refuses_predictions(self, measure):
        masked = np.ma.masked_array(PROBABILITIES, PROBABILITIES > 0.8)
        for wrong in (masked, PROBABILITIES + 0j, PROBABILITIES.astype(str)):
            with pytest.raises(
                ValueError, match=r"Predictions must .*Received"
            ):
                measure(LABELS, wrong)

    @every
    @pytest.mark.parametrize("wrong", [1.5, "a", [-1], True, np.nan, 2**40])
    def test_refuses_ignore_label(self, measure, wrong):
        with pytest.raises(ValueError, match="`ignore_label` must be"):
            measure(LABELS, PROBABILITIES, ignore_label=wrong)

    @every
    @pytest.mark.parametrize("wrong", ["yes", 2, [True]])
    def test_refuses_from_logits(self, measure, wrong):
        with pytest.raises(ValueError, match="`from_logits` must be True, Fal"):
            measure(LABELS, PROBABILITIES, from_logits=wrong)

    @backends.needs_float64
    @every_weighted
    @pytest.mark.parametrize("unit", [1e-300, 1e300])
    def test_weights_of_any_size(self, measure, unit):
        weight = np.array([1, 2, 0, 0.5, 3])
        assert measure(LABELS, PROBABILITIES, unit * weight) == pytest.approx(
            measure(LABELS, PROBABILITIES, weight), rel=1e-6
        )

    @backends.needs_float64
    @pytest.mark.parametrize("unit", [1e-300, 1e300])
    def test_class_bias_of_weights_of_any_size(self, unit):
        weight = np.array([1, 2, 0, 0.5, 3])
        metric = metrics.CalibrationMetrics()
        metric.update_state(LABELS, PROBABILITIES, unit * weight)
        excess = weight @ (PROBABILITIES - np.eye(3)[LABELS])
        expected = np.abs(excess).max() / weight.sum()
        assert metric.results()["class_bias"] == pytest.approx(
            expected, rel=1e-5
        )

    def test_refuses_batches_of_other_classes(self):
        metric = metrics.CalibrationMetrics()
        metric.update_state(LABELS, PROBABILITIES)
        with pytest.raises(
            ValueError, match=r"same classes.*2 classes after 3"
        ):
            metric.update_state([0], [[0.5, 0.5]])


class TestConfidences:
    @pytest.mark.parametrize(
        ("confidence", "correct"), [([90, 80], [1, 0]), ([0.9], [2])]
    )
    def test_refuses_percent(self, confidence, correct):
        with pytest.raises(ValueError, match=r"in \[0, 1\].*not percent"):
            calibration.bin_confidences(confidence, correct)

    @pytest.mark.parametrize(
        ("confidence", "correct"),
        [
            ([0.9, 0.8], [[1], [0]]),
            ([[0.9], [0.8]], [1, 0]),
            ([[0.9, 0.8]] * 2, [1, 0]),
            ([0.9, 0.8], [1]),
            (0.9, 1),
        ],
    )
    def test_refuses_columns_of_other_shapes(self, confidence, correct):
        with pytest.raises(ValueError, match="must have the same shape"):
            calibration.bin_confidences(confidence, correct)


class TestLossWeights:
    @pytest.mark.parametrize("loss_class", objects.LOSSES)
    @pytest.mark.parametrize("column", [False, True])
    @pytest.mark.parametrize(
        "labels",
        [
            np.array([-1, 1, 0, 2, 2]),
            np.array([-1, 1, 0, 2, 2])[:, None],
            np.vstack([np.zeros((1, 3)), np.eye(3)[[1, 0, 2, 2]]]),
        ],
    )
    def test_weight_of_zero_needs_no_label(self, loss_class, labels, column):
        weight = np.array([0, 1, 1, 1, 1.0])
        if column:
            weight = weight[:, None]
        nll = -np.log(PROBABILITIES[np.arange(5), LABELS])[1:].sum() / 5
        found = loss_class(0.0)(labels, PROBABILITIES, sample_weight=weight)
        assert float(found) == pytest.approx(nll, rel=1e-5)

    @pytest.mark.parametrize("loss_class", objects.LOSSES)
    def test_masked_step_needs_no_label(self, loss_class):
        labels = np.array([[-1, 1, 0, 2, 2]])
        weight = np.array([[0, 1, 1, 1, 1.0]])
        nll = -np.log(PROBABILITIES[np.arange(5), LABELS])[1:].sum() / 5
        found = loss_class(0.0)(labels, PROBABILITIES[None], weight)
        assert float(found) == pytest.approx(nll, rel=1e-5)

    @pytest.mark.parametrize("loss_class", objects.LOSSES)
    def test_refuses_logits_as_probabilities(self, loss_class):
        with pytest.raises(ValueError, match=r"in \[0, 1\].*from_logits=True"):
            loss_class(0.0, from_logits=False)(LABELS, objects.LOGITS)


class TestLossGradients:
    @pytest.mark.parametrize(
        "loss",
        [
            losses.LabelSmoothingCrossentropy(0.1),
            losses.LabelSmoothingCrossentropy(0.0),
            losses.ConfidencePenaltyCrossentropy(0.1),
        ],
        ids=lambda loss: loss.name,
    )
    def test_masked_class_leaves_a_finite_gradient(self, loss):
        logits = np.array([[1.0, -np.inf, 2.0]], "float32")
        targets = np.array([[0.0, 0.0, 1.0]], "float32")
        if isinstance(loss, losses.ConfidencePenaltyCrossentropy):
            two = float(loss(targets[:, [0, 2]], logits[:, [0, 2]]))
            assert float(loss(targets, logits)) == pytest.approx(two)
        gradient = backends.gradient(lambda z: loss(targets, z), logits)
        assert np.isfinite(gradient).all()
        assert gradient[0, 1] == 0

    @pytest.mark.parametrize("loss_class", objects.LOSSES)
    def test_certain_and_wrong_softmax_learns(self, loss_class):
        # As Keras' own loss: the bias moves by [1, -1, 0].
        head = keras.layers.Dense(3, "softmax")
        model = keras.Sequential([keras.Input((2,)), head])
        head.set_weights([np.zeros((2, 3)), np.array([20.0, 0.0, 0.0])])
        model.compile(keras.optimizers.SGD(1.0), loss_class(0.0))
        model.train_on_batch(np.zeros((1, 2)), np.array([1]))
        np.testing.assert_allclose(head.get_weights()[1], [19, 1, 0], atol=1e-4)

    @backends.needs_tensorflow
    @pytest.mark.parametrize("loss_class", objects.LOSSES)
    def test_half_precision_softmax_learns(self, loss_class):
        head = keras.layers.Dense(3, "softmax", dtype="mixed_float16")
        model = keras.Sequential([keras.Input((2,)), head])
        head.set_weights([np.zeros((2, 3)), np.array([20.0, 0.0, 0.0])])
        model.compile(keras.optimizers.SGD(1.0), loss_class(0.0))
        model.train_on_batch(np.zeros((1, 2)), np.array([1]))
        np.testing.assert_allclose(head.get_weights()[1], [19, 1, 0], atol=1e-2)

    def test_softmax_in_memory_keeps_a_gradient(self):
        # Without the logits: log p of p = 2e-9 has the slope -1 / p.
        loss = losses.LabelSmoothingCrossentropy(0.0)
        outputs = np.array([[1.0, 2e-9, 0.0]], "float32")
        gradient = backends.gradient(lambda p: loss([1], p), outputs)
        assert gradient[0, 1] == pytest.approx(-5e8, rel=1e-3)
