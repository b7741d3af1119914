"""Keras metrics over bins: exact in any batches, on any number of replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tests import reference
from tf_mixup import calibration
from tf_mixup import metrics
from tf_mixup import mixing

METRICS = [
    metrics.CalibrationMetrics,
    metrics.OverconfidenceError,
    metrics.AURC,
    metrics.ClassCalibrationMetrics,
]


def draw(size, num_classes=10, *, seed=0):
    """Returns labels and the probabilities of a model that is too sure."""
    generator = np.random.default_rng(seed)
    truth = generator.dirichlet(np.full(num_classes, 0.3), size)
    labels = (truth.cumsum(1) < generator.random((size, 1))).sum(1)
    claimed = truth**2 + 1e-6
    claimed /= claimed.sum(1, keepdims=True)
    return np.minimum(labels, num_classes - 1), claimed.astype("float32")


def stream(metric, *columns, batch_size=128):
    """Feeds `metric` batch by batch, compiled as in training."""
    update = backends.compile_update(metric)
    for start in range(0, len(columns[0]), batch_size):
        update(*(column[start : start + batch_size] for column in columns))
    return metric


class TestResults:
    def test_by_hand(self):
        metric = metrics.CalibrationMetrics(num_bins=2)
        # One bin, (1/2, 1]: confidence .75, .75, .5625; two of three right.
        metric.update_state(
            [0, 1, 1], [[0.75, 0.25], [0.75, 0.25], [0.4375, 0.5625]]
        )
        results = metric.results()
        gap = 0.6875 - 2 / 3
        nll = -np.log([0.75, 0.25, 0.5625]).mean()
        expected = {
            "ece": gap,
            "oe": 0.6875 * gap,
            "mce": gap,
            "over": gap,
            "under": 0.0,
            "signed_gap": gap,
            "accuracy": 2 / 3,
            "confidence": 0.6875,
            "nll": nll,
            "brier": 2 * (0.0625 + 0.5625 + 0.4375**2) / 3,
            # Of the first two one is wrong; then one of three.
            "aurc": (1 / 2 + 1 / 2 + 1 / 3) / 3,
            "excess_aurc": (1 / 2 + 1 / 2) / 3,
            # Of either class one bin holds two examples, the other one.
            "classwise_ece": (abs(2 * 0.75 - 1) + 0.4375) / 3,
            "nonfinite": 0.0,
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                results[name], value, rtol=1e-6, atol=1e-9, err_msg=name
            )
        assert set(results) == {*expected, "adaptive_ece", "class_bias"}
        assert all(type(value) is float for value in results.values())

    def test_agrees_with_the_reference_at_fifty_thousand_rows(self):
        labels, probabilities = draw(50_000)
        results = stream(
            metrics.CalibrationMetrics(), labels, probabilities
        ).results()
        for name, error in (
            ("ece", reference.expected_calibration_error),
            ("oe", reference.overconfidence_error),
            ("mce", reference.maximum_calibration_error),
        ):
            np.testing.assert_allclose(
                results[name],
                error(labels, probabilities, 15),
                atol=1e-6,
                err_msg=name,
            )

    def test_agrees_with_the_functions(self):
        labels, probabilities = draw(1000)
        metric = stream(metrics.CalibrationMetrics(100), labels, probabilities)
        bins = calibration.bin_predictions(labels, probabilities, num_bins=100)
        for ours, theirs in zip(metric.bins(), bins, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=backends.EXACT)
        results = metric.results()
        np.testing.assert_allclose(
            results["nll"],
            keras.ops.mean(
                calibration.negative_log_likelihood(labels, probabilities)
            ),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            results["brier"],
            keras.ops.mean(calibration.brier_score(labels, probabilities)),
            rtol=1e-5,
        )
        confidence, correct = calibration.top_label(labels, probabilities)
        exact = reference.adaptive_calibration_error(
            np.array(confidence), np.array(correct), 100
        )
        np.testing.assert_allclose(results["adaptive_ece"], exact, atol=0.02)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_agrees_with_tfp_under_its_edges(self):
        import tensorflow_probability as tfp

        labels, probabilities = draw(3000)
        logits = np.log(probabilities)
        metric = stream(
            metrics.CalibrationMetrics(10, edges="left", from_logits=True),
            labels,
            logits,
        )
        theirs = tfp.stats.expected_calibration_error(
            10, logits=logits, labels_true=labels
        )
        np.testing.assert_allclose(metric.result(), theirs, atol=1e-6)

    @pytest.mark.parametrize(
        ("num_bins", "fine"), [(15, 300), (100, 300), (7, 301), (400, 400)]
    )
    def test_fine_table_merges_into_the_coarse(self, num_bins, fine):
        edges = (np.arange(num_bins + 1) / num_bins).astype("float32")
        column = edges[edges >= 0.5]
        labels = np.ones(len(column), "int32")
        metric = metrics.CalibrationMetrics(num_bins)
        metric.update_state(labels, column)
        assert metric.fine_bins().count.shape == (fine,)
        bins = calibration.bin_predictions(labels, column, num_bins=num_bins)
        np.testing.assert_array_equal(metric.bins().count, bins.count)

    @backends.needs_float64
    def test_a_million_rows_lose_nothing(self):
        metric = metrics.CalibrationMetrics()
        # The sums of 2**25 rows, where float32 cannot add 1.
        table = np.zeros(metric.variables[0].shape)
        table[:, -1] = 2.0**25
        metric.variables[0].assign(table)
        metric.update_state([0], [[1.0, 0.0]])
        assert float(metric.bins().count[-1]) == 2**25 + 1

    @pytest.mark.parametrize("size", [0, 5])
    def test_no_weight_gives_nan(self, size):
        labels, probabilities = draw(size)
        metric = metrics.CalibrationMetrics()
        metric.update_state(labels, probabilities, np.zeros(size))
        assert np.isnan(float(metric.result()))
        results = metric.results()
        assert results.pop("nonfinite") == 0
        assert np.isnan(list(results.values())).all()

    def test_reset_forgets(self):
        metric = stream(metrics.CalibrationMetrics(), *draw(100))
        before = metric.results()
        metric.reset_state()
        assert np.isnan(metric.results()["ece"])
        assert stream(metric, *draw(100)).results() == before

    def test_class_bias_is_that_of_the_report(self):
        labels, probabilities = draw(500, 4)
        weight = np.random.default_rng(1).integers(0, 3, 500)
        for targets in (labels, np.eye(4)[labels]):
            metric = metrics.CalibrationMetrics()
            metric.update_state(targets, probabilities, weight)
            sums = calibration.class_sums(
                targets, probabilities, sample_weight=weight
            )
            assert metric.results()["class_bias"] == pytest.approx(
                calibration.class_bias(sums).largest, rel=1e-5
            )


class TestClasswiseError:
    @pytest.mark.parametrize("num_bins", [1, 15])
    @pytest.mark.parametrize("soft", [False, True])
    def test_agrees_with_the_reference(self, num_bins, soft):
        labels, probabilities = draw(500, 12)
        if soft:
            labels = np.random.default_rng(1).dirichlet(np.ones(12), 500)
        metric = stream(
            metrics.CalibrationMetrics(num_bins), labels, probabilities
        )
        assert metric.results()["classwise_ece"] == pytest.approx(
            reference.classwise_calibration_error(
                labels, probabilities, num_bins
            ),
            abs=1e-6,
        )

    @pytest.mark.parametrize("edges", calibration.EDGES)
    def test_is_that_of_the_function_on_edges_and_with_weights(self, edges):
        labels, probabilities = draw(300, 5)
        # Multiples of 1/10, all of them on edges.
        rounded = np.diff(
            np.round(10 * probabilities.cumsum(1)), prepend=0, axis=1
        )
        rounded = (rounded / 10).astype("float32")
        weight = np.random.default_rng(1).integers(0, 3, 300)
        options = {"num_bins": 10, "edges": edges}
        metric = stream(
            metrics.CalibrationMetrics(**options), labels, rounded, weight
        )
        expected = calibration.classwise_calibration_error(
            labels, rounded, sample_weight=weight, **options
        )
        assert metric.results()["classwise_ece"] == pytest.approx(
            float(expected), abs=1e-6
        )

    def test_more_classes_need_the_metric_of_classes(self):
        data = draw(300, 101)
        assert (
            "classwise_ece"
            not in stream(metrics.CalibrationMetrics(), *data).results()
        )
        metric = stream(metrics.ClassCalibrationMetrics(), *data)
        assert metric.results()["classwise_ece"] == pytest.approx(
            float(calibration.classwise_calibration_error(*data)), abs=1e-6
        )


class TestClassGaps:
    def test_by_hand(self):
        metric = metrics.ClassCalibrationMetrics(from_logits=False)
        metric.update_state(
            [0, 0, 1],
            [[0.75, 0.25, 0], [0.25, 0.75, 0], [0.25, 0.75, 0]],
        )
        gap, error = metric.class_gaps()
        # Class 0: .75 - 1 and .75 - 0; class 1: .75 - 1; none of class 2.
        np.testing.assert_allclose(gap, [0.25, -0.25, np.nan])
        # Squares of class 0 are .25 twice, and one of 1 is counted too.
        np.testing.assert_allclose(error, [np.sqrt(1.5) / 2, 1, np.nan])

    @pytest.mark.parametrize("one_hot", [False, True])
    def test_against_reference(self, one_hot):
        labels, probabilities = draw(500, 5)
        metric = metrics.ClassCalibrationMetrics()
        given = np.eye(5, dtype="float32")[labels] if one_hot else labels
        stream(metric, given, probabilities)
        expected = [
            reference.class_gap(labels, probabilities, k) for k in range(5)
        ]
        np.testing.assert_allclose(
            np.transpose(metric.class_gaps()), expected, atol=1e-6
        )

    def test_has_the_results_of_the_plain_metric(self):
        data = draw(300)
        plain = stream(metrics.CalibrationMetrics(), *data)
        by_class = stream(metrics.ClassCalibrationMetrics(), *data)
        assert by_class.results() == plain.results()
        # Of all classes the gaps are the gap.
        gap = by_class.class_gaps().gap
        share = np.bincount(data[0], minlength=10) / 300
        np.testing.assert_allclose(
            (share * gap).sum(), plain.results()["signed_gap"], atol=1e-6
        )

    def test_weights_and_spoiled_rows(self):
        labels, probabilities = draw(60, 3)
        expected = metrics.ClassCalibrationMetrics(from_logits=False)
        expected.update_state(labels, probabilities)
        rows = np.concatenate([probabilities, np.full((4, 3), np.nan)])
        metric = metrics.ClassCalibrationMetrics(
            from_logits=False, ignore_label=-1
        )
        labels = np.concatenate([labels, [0, 1, 2, 0], labels, labels])
        labels[-60:] = -1
        rows = np.concatenate([rows, probabilities[::-1], probabilities])
        weight = np.repeat([2.0, 1.0, 0.0, 1.0], [60, 4, 60, 60])
        metric.update_state(labels, rows.astype("float32"), weight)
        np.testing.assert_allclose(
            metric.class_gaps().gap, expected.class_gaps().gap, atol=1e-6
        )

    def test_errors_do_not_depend_on_the_scale_of_weights(self):
        labels, probabilities = draw(400, 3)
        found = []
        for weight in (None, 0.01, 100.0):
            metric = metrics.ClassCalibrationMetrics(from_logits=False)
            given = weight and np.full(400, weight)
            metric.update_state(labels, probabilities, given)
            errors = metric.class_gaps().standard_error
            found.append([*errors, metric.signed_gap_error()])
        np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-5)

    def test_weights_that_differ_tell_less(self):
        # 5 % of weights are 200 times the others: some 20 examples.
        labels, probabilities = draw(400, 3)
        weight = np.ones(400)
        weight[::20] = 200.0
        metric = metrics.CalibrationMetrics(from_logits=False)
        metric.update_state(labels, probabilities, weight)
        generator = np.random.default_rng(0)
        gaps = probabilities.max(-1) - (probabilities.argmax(-1) == labels)
        drawn = generator.integers(400, size=(2000, 400))
        means = (weight * gaps)[drawn].sum(1) / weight[drawn].sum(1)
        error = metric.signed_gap_error()
        assert error == pytest.approx(np.std(means), rel=0.25)

    def test_without_examples(self):
        assert np.isnan(metrics.CalibrationMetrics().signed_gap_error())
        with pytest.raises(ValueError, match="Call `update_state` first"):
            metrics.ClassCalibrationMetrics().class_gaps()


def draw_labels(size=300, num_labels=4):
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(size, num_labels)) - 1
    labels = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 2))
    return labels.astype("int32"), logits.astype("float32")


class TestLabelCalibrationMetrics:
    @pytest.mark.parametrize("edges", ["right", "left"])
    def test_results_of_any_batches(self, edges):
        labels, logits = draw_labels()
        metric = metrics.LabelCalibrationMetrics(10, edges=edges)
        stream(metric, labels, logits)
        p = 1 / (1 + np.exp(-logits.astype("float64")))
        errors = reference.label_calibration_errors(
            labels, np.float32(p), 10, edges
        )
        expected = {
            "label_ece": np.mean(errors),
            "worst_label_ece": np.max(errors),
            "label_bias": np.abs((p - labels).mean(0)).max(),
            "label_nll": -np.log(np.where(labels == 1, p, 1 - p)).mean(),
            "label_brier": ((p - labels) ** 2).mean(),
            "nonfinite": 0,
        }
        assert metric.results() == pytest.approx(expected, abs=1e-6)
        assert float(metric.result()) == pytest.approx(np.mean(errors))

    def test_weights_and_unknown_labels(self):
        labels, logits = draw_labels()
        generator = np.random.default_rng(1)
        weight = generator.integers(0, 3, len(labels))
        labels[generator.random(labels.shape) < 0.2] = -1
        metric = metrics.LabelCalibrationMetrics(ignore_label=-1)
        stream(metric, labels, logits, weight)
        expected = calibration.label_calibration_error(
            *(labels, logits), sample_weight=weight, ignore_label=-1
        )
        assert float(metric.result()) == pytest.approx(float(expected))
        assert metric.results()["nonfinite"] == 0

    def test_broken_entries_are_left_out_and_counted(self):
        labels, logits = draw_labels()
        broken = logits.copy()
        broken[:5, 1] = np.nan
        metric = metrics.LabelCalibrationMetrics(from_logits=True)
        metric.update_state(labels, broken)
        found = metric.results()
        assert found.pop("nonfinite") == 5
        other = metrics.LabelCalibrationMetrics(from_logits=True)
        keep = np.isfinite(broken)
        other.update_state(labels, logits, sample_weight=keep)
        expected = other.results()
        assert expected.pop("nonfinite") == 0
        assert found == pytest.approx(expected)

    def test_without_examples(self):
        metric = metrics.LabelCalibrationMetrics()
        assert np.isnan(float(metric.result()))
        with pytest.raises(ValueError, match=r"empty metric.*`update_state`"):
            metric.bins()
        metric.build(2)
        assert np.isnan(list(metric.results().values())[:-1]).all()

    def test_refuses_other_labels(self):
        metric = metrics.LabelCalibrationMetrics()
        metric.update_state(*draw_labels())
        with pytest.raises(ValueError, match="3 labels after 4"):
            metric.update_state(*draw_labels(num_labels=3))

    @pytest.mark.parametrize("activation", ["sigmoid", None])
    def test_in_fit_after_mixup(self, activation):
        """Multi-hot labels are mixed, trained on and measured."""
        labels, logits = draw_labels(64)
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(4, activation)]
        )
        metric = metrics.LabelCalibrationMetrics()
        model.compile(
            keras.optimizers.Adam(0.1),
            keras.losses.BinaryCrossentropy(from_logits=activation is None),
            metrics=[metric],
        )
        data = tf.data.Dataset.from_tensor_slices((logits, labels)).batch(32)
        mixup = mixing.MixUp(0.4, num_classes=4, seed=0)
        history = model.fit(
            data.apply(mixup),
            validation_data=(logits, labels),
            epochs=8,
            verbose=0,
        ).history
        assert history["val_loss"][-1] < 0.8 * history["val_loss"][0]
        found = calibration.label_calibration_error(
            labels, model.predict(logits, verbose=0)
        )
        assert history["val_label_ece"][-1] == pytest.approx(
            float(found), abs=1e-5
        )

    def test_config_rebuilds(self):
        options = {"num_bins": 7, "edges": "left", "ignore_label": -1}
        metric = metrics.LabelCalibrationMetrics(**options)
        config = keras.saving.serialize_keras_object(metric)
        twin = keras.saving.deserialize_keras_object(config)
        assert twin.get_config() == metric.get_config()
        assert options.items() <= twin.get_config().items()


class TestInputs:
    @pytest.mark.parametrize("encode", ["ids", "column", "one_hot", "float"])
    def test_labels_in_every_form(self, encode):
        labels, probabilities = draw(300)
        given = {
            "ids": labels,
            "column": labels[:, None],
            "one_hot": np.eye(10)[labels],
            "float": labels.astype("float32"),
        }[encode]
        metric = stream(metrics.CalibrationMetrics(), given, probabilities)
        np.testing.assert_allclose(
            metric.result(),
            reference.expected_calibration_error(labels, probabilities, 15),
            atol=1e-6,
        )

    def test_soft_targets(self):
        _, probabilities = draw(300)
        targets = np.random.default_rng(1).dirichlet(np.ones(10), 300)
        results = stream(
            metrics.CalibrationMetrics(), targets, probabilities
        ).results()
        for name, error in (
            ("ece", reference.expected_calibration_error),
            ("oe", reference.overconfidence_error),
        ):
            np.testing.assert_allclose(
                results[name], error(targets, probabilities, 15), atol=1e-6
            )
        for name, score in (
            ("nll", reference.negative_log_likelihood),
            ("brier", reference.brier_score),
        ):
            np.testing.assert_allclose(
                results[name], score(targets, probabilities), rtol=1e-5
            )

    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
    def test_sigmoid(self, shape, from_logits):
        labels, probabilities = draw(300, 2)
        column = probabilities[:, 1]
        if from_logits:
            column = np.log(probabilities[:, 1] / probabilities[:, 0])
        results = stream(
            metrics.CalibrationMetrics(from_logits=from_logits),
            labels,
            column.reshape(shape),
        ).results()
        np.testing.assert_allclose(
            results["ece"],
            reference.expected_calibration_error(labels, probabilities, 15),
            atol=1e-6,
        )
        np.testing.assert_allclose(
            results["nll"],
            reference.negative_log_likelihood(labels, probabilities),
            rtol=1e-4,
        )

    def test_logits(self):
        labels, probabilities = draw(300)
        ours, theirs = (
            stream(
                metrics.CalibrationMetrics(from_logits=logits), labels, column
            )
            for logits, column in (
                (False, probabilities),
                (True, np.log(probabilities) + 3),
            )
        )
        for name, value in ours.results().items():
            np.testing.assert_allclose(
                theirs.results()[name], value, atol=1e-5, err_msg=name
            )

    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
    def test_sample_weight(self, shape):
        labels, probabilities = draw(200)
        weight = np.random.default_rng(1).integers(0, 4, 200)
        weighted = stream(
            metrics.CalibrationMetrics(),
            labels,
            probabilities,
            weight.reshape(shape).astype("float32"),
        )
        repeated = stream(
            metrics.CalibrationMetrics(),
            labels.repeat(weight),
            probabilities.repeat(weight, 0),
        )
        for name, value in repeated.results().items():
            # A mean over examples, whose weights have a mean of 1.
            rtol = 1e-2 if name.endswith("aurc") else 1e-6
            np.testing.assert_allclose(
                weighted.results()[name], value, rtol=rtol, err_msg=name
            )

    @pytest.mark.parametrize("jit", [False, True])
    def test_rows_that_are_not_finite_are_counted_and_left_out(self, jit):
        labels, probabilities = draw(20)
        spoiled = probabilities.copy()
        spoiled[3, 2], spoiled[5, 0] = np.nan, np.inf
        labels[7] = 10
        metric = metrics.CalibrationMetrics()
        backends.compile_update(metric, jit=jit)(labels, spoiled)
        rest = np.delete(np.arange(20), [3, 5, 7])
        expected = stream(
            metrics.CalibrationMetrics(), labels[rest], probabilities[rest]
        ).results()
        results = metric.results()
        assert results.pop("nonfinite") == 3
        for name, value in results.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-6)

    def test_spoiled_rows_of_no_weight_are_not_counted(self):
        metric = metrics.CalibrationMetrics()
        metric.update_state([0, 0], [[np.nan, 1], [1, 0]], [0.0, 1.0])
        assert metric.results()["nonfinite"] == 0

    @pytest.mark.parametrize("metric_class", METRICS)
    def test_nothing_but_spoiled_rows_is_not_zero(self, metric_class):
        metric = metric_class(from_logits=False)
        metric.update_state([0, 1], [[9.0, -3.0], [2.0, 4.0]])
        assert np.isnan(float(metric.result()))
        assert np.isnan(metric.results()["ece"])
        assert metric.results()["nonfinite"] == 2


class TestEagerBatches:
    """From the second batch of a shape on, TensorFlow compiles the update."""

    @pytest.mark.parametrize("from_logits", [None, True])
    @pytest.mark.parametrize("encode", ["ids", "soft"])
    def test_equal_compiled_steps(self, encode, from_logits):
        labels, probabilities = draw(40)
        outputs = np.log(probabilities) if from_logits else probabilities
        outputs[9, 3] = np.nan
        if encode == "soft":
            labels = np.random.default_rng(1).dirichlet(np.ones(10), 40)
        columns = labels, outputs, np.arange(40) % 3
        ours, theirs = (
            metrics.CalibrationMetrics(from_logits=from_logits)
            for _ in range(2)
        )
        # Batches of 8 and a last one of another shape.
        for start in range(0, 36, 8):
            ours.update_state(*(each[start:36][:8] for each in columns))
        stream(theirs, *(each[:36] for each in columns), batch_size=8)
        for name, value in theirs.results().items():
            np.testing.assert_allclose(
                ours.results()[name], value, rtol=1e-5, err_msg=name
            )

    def test_weights_may_come_and_go(self):
        labels, probabilities = draw(8)
        metric = metrics.CalibrationMetrics(ignore_label=labels[0])
        for weight in (None, None, np.ones(8), 2.0, None):
            metric.update_state(labels, probabilities, weight)
        counted = np.sum(labels != labels[0])
        assert float(keras.ops.sum(metric.bins().count)) == 6 * counted

    @backends.needs_tensorflow
    def test_still_refuse_and_warn(self):
        labels, probabilities = draw(8)
        metric = metrics.CalibrationMetrics(from_logits=True)
        for _ in range(3):
            with pytest.warns(UserWarning, match="was given examples that are"):
                metric.update_state(labels, probabilities)
        logits = np.log(probabilities)
        for _ in range(3):
            with pytest.raises(ValueError, match="`sample_weight` must be at"):
                metric.update_state(labels, logits, np.full(8, -1.0))


class TestConfig:
    @pytest.mark.parametrize("metric_class", METRICS)
    def test_rebuilds(self, metric_class):
        metric = metric_class(
            10, edges="left", from_logits=True, name="mine", dtype="float32"
        )
        twin = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert type(twin) is metric_class
        assert twin.get_config() == metric.get_config()
        assert twin.get_config()["edges"] == "left"

    def test_short_names(self):
        assert metrics.CalibrationMetrics().name == "ece"
        assert metrics.OverconfidenceError().name == "oe"

    def test_all_metrics_tell_one_story(self):
        all_numbers, *others = (stream(m(), *draw(300)) for m in METRICS)
        results = all_numbers.results()
        for each in others:
            np.testing.assert_allclose(
                each.result(),
                results[each.name],
                rtol=max(1e-6, 10 * backends.EXACT),
            )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_bins": 0}, "`num_bins` must be an integer, at least 1. Rec"),
            ({"edges": "up"}, "`edges` must be one of 'right', 'left'. Receiv"),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(ValueError, match=message):
            metrics.CalibrationMetrics(**options)


def build(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(
        "sgd",
        "categorical_crossentropy",
        metrics=["accuracy", metrics.CalibrationMetrics(10)],
        weighted_metrics=[metrics.OverconfidenceError(10)],
        **options,
    )
    return model


def rows(size):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(size, 4)).astype("float32")
    return inputs, np.eye(3, dtype="float32")[generator.integers(0, 3, size)]


class TestKeras:
    @pytest.mark.parametrize(
        ("jit_compile", "policy"),
        [
            pytest.param(True, "float32", marks=backends.compiles_quickly),
            (False, "mixed_bfloat16"),
            (False, "mixed_float16"),
            pytest.param(True, "mixed_bfloat16", marks=pytest.mark.slow),
        ],
    )
    def test_fit_and_evaluate(self, jit_compile, policy):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = build(jit_compile=jit_compile)
            inputs, targets = rows(150)
            # One shape of batch, one compilation.
            training = inputs[:128], targets[:128]
            history = model.fit(
                *training,
                batch_size=64,
                validation_data=(inputs, targets),
                validation_batch_size=150,
                verbose=0,
            ).history
            probabilities = model.predict(inputs, verbose=0)
        finally:
            keras.config.set_dtype_policy(before)
        expected = reference.expected_calibration_error(
            targets, np.array(probabilities, "float32"), 10
        )
        # The metric takes the logits, and `predict` rounds probabilities.
        loose = policy != "float32"
        np.testing.assert_allclose(
            history["val_ece"][0],
            expected,
            atol=0.02 if loose else 1e-6,
        )

    def test_saves_and_reloads_compiled(self, tmp_path):
        model = build()
        inputs, targets = rows(100)
        model.fit(inputs, targets, verbose=0)
        model.save(tmp_path / "model.keras")
        twin = keras.models.load_model(tmp_path / "model.keras")
        ours, theirs = (
            each.evaluate(inputs, targets, verbose=0, return_dict=True)
            for each in (model, twin)
        )
        assert ours == theirs
        assert {"ece", "oe"} <= set(theirs)

    # The last batch of 8 is one row, so the second replica gets none of it;
    # or five, of which it gets two.
    @pytest.mark.parametrize(
        "size", [9, pytest.param(13, marks=pytest.mark.slow)]
    )
    def test_two_replicas_equal_one_device(self, size, two_replicas):
        inputs, targets = rows(size)
        with two_replicas.scope():
            mirrored = build()
        single = build()
        expected = single.evaluate(
            inputs, targets, batch_size=8, verbose=0, return_dict=True
        )
        results = mirrored.evaluate(
            inputs, targets, batch_size=8, verbose=0, return_dict=True
        )
        for name, value in expected.items():
            np.testing.assert_allclose(
                results[name], value, atol=1e-6, err_msg=name
            )
        ours, theirs = (find(model).results() for model in (mirrored, single))
        assert float(np.sum(find(mirrored).bins().count)) == size
        for name, value in theirs.items():
            np.testing.assert_allclose(
                ours[name], value, atol=1e-6, err_msg=name
            )

    def test_callbacks_read_the_sum_of_replicas(self, two_replicas):
        inputs, targets = rows(41)
        with two_replicas.scope():
            model = build()
        counts, logged = [], []

        class Read(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                metric = find(self.model)
                counts.append(float(np.sum(metric.bins().count)))
                logged.append((metric.results()["ece"], logs))

        # Training batches are full, 5 of 8; validation's last has one row.
        model.fit(
            tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(
                8, drop_remainder=True
            ),
            validation_data=(inputs, targets),
            validation_batch_size=8,
            epochs=2,
            callbacks=[Read()],
            shuffle=False,
            verbose=0,
        )
        assert counts == [41, 41]
        for ece, logs in logged:
            np.testing.assert_allclose(logs["val_ece"], ece, atol=1e-6)

    def test_sample_weight_reaches_weighted_metrics(self):
        model = build()
        inputs, targets = rows(40)
        weight = (np.arange(40) < 25).astype("float32")
        results = model.evaluate(
            inputs, targets, sample_weight=weight, verbose=0, return_dict=True
        )
        expected = reference.overconfidence_error(
            targets[:25], model.predict(inputs[:25], verbose=0), 10
        )
        np.testing.assert_allclose(results["oe"], expected, atol=1e-6)


def find(model):
    """Returns the compiled metric, as a callback would."""
    (metric,) = (
        metric
        for outer in model.metrics
        for metric in getattr(outer, "metrics", [outer])
        if type(metric) is metrics.CalibrationMetrics
    )
    return metric
