"""Monitors in real `fit`s: values, their place in `logs`, files, refusals."""

import copy
import itertools
import pickle
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import stages
from tests import summaries_test
from tf_mixup import calibration
from tf_mixup import callbacks as monitors
from tf_mixup import metrics
from tf_mixup import mixing
from tf_mixup import ood
from tf_mixup import plots
from tf_mixup import summaries
from tf_mixup.callbacks import calibration_monitor

K = 3
VAL_KEYS = {f"val_{key}" for key in calibration_monitor.CALIBRATION_KEYS}


class Counted(keras.layers.Layer):
    """Passes its input on and counts passes outside of training."""

    def __init__(self):
        super().__init__()
        with tf.device("/cpu:0"):
            self.count = tf.Variable(0, dtype=tf.int32, trainable=False)

    def call(self, x, training=False):
        if not training:
            self.count.assign_add(1)
        return x


class Spy(keras.callbacks.Callback):
    """Keeps what it finds in `logs`."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(dict(logs))


def examples(count=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, rng.integers(0, K, count)


def make_model(compiled=True, first=None, logits=False, graph=False):
    """Returns a small model; without `graph` it saves the time to trace."""
    keras.utils.set_random_seed(0)
    layers = [] if first is None else [first]
    activation = None if logits else "softmax"
    model = keras.Sequential(
        [keras.Input((4,)), *layers, keras.layers.Dense(K, activation)]
    )
    extra = [metrics.CalibrationMetrics(from_logits=logits)] if compiled else []
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        metrics=["accuracy", *extra],
        run_eagerly=not graph,
    )
    return model


def fit(model, *callbacks, epochs=2, validation=True, **options):
    if validation:
        options.setdefault("validation_data", examples(41, seed=1))
    x, y = examples()
    options = {"batch_size": 16, "verbose": 0, **options}
    return model.fit(
        x, y, epochs=epochs, callbacks=list(callbacks), **options
    ).history


def measure_directly(model, data, num_bins=15):
    metric = metrics.CalibrationMetrics(num_bins)
    x, y = data
    metric.update_state(y, model.predict(x, verbose=0))
    return metric.results()


def noise_of(monitor, kind="gaussian"):
    batches = monitor._sets[kind].read(labeled=False).batches()
    return np.concatenate([batch.inputs for batch in batches])


def two_outputs(only=None, compiled=True):
    """Returns a model of a softmax, a sigmoid, logits and a regression."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    outputs = {
        "a": keras.layers.Dense(K, "softmax")(inputs),
        "b": keras.layers.Dense(1, "sigmoid")(inputs),
        "l": keras.layers.Dense(K)(inputs),
        "r": keras.layers.Dense(1)(inputs),
    }
    losses = {
        "a": "sparse_categorical_crossentropy",
        "b": "binary_crossentropy",
        "l": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "r": "mse",
    }
    if only is not None:
        outputs, losses = {only: outputs[only]}, {only: losses[only]}
    model = keras.Model(inputs, outputs)
    bins = {
        name: [metrics.CalibrationMetrics(), metrics.OverconfidenceError()]
        for name in losses
        if name != "r"
    }
    model.compile(
        "sgd", losses, metrics=bins if compiled else None, run_eagerly=True
    )
    return model


class TestCalibrationMonitor:
    def test_values_are_those_of_the_validation_set(self):
        model = make_model(graph=True)
        history = fit(model, monitors.CalibrationMonitor())
        assert set(history) >= VAL_KEYS
        direct = measure_directly(model, examples(41, seed=1))
        for key in calibration_monitor.CALIBRATION_KEYS:
            assert history[f"val_{key}"][-1] == pytest.approx(
                direct[key], abs=1e-5
            )

    def test_many_classes_have_no_classwise_error(self, tmp_path):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(101, "softmax")]
        )
        model.compile(
            "sgd", "sparse_categorical_crossentropy", run_eagerly=True
        )
        monitor = monitors.CalibrationMonitor(
            examples(41, seed=1), log_dir=tmp_path
        )
        history = fit(model, monitor, epochs=1)
        assert VAL_KEYS - set(history) == {"val_classwise_ece"}
        tags = summaries_test.read(tmp_path / "validation")
        assert "calibration/class_bias" in tags
        assert "calibration/classwise_ece" not in tags

    @pytest.mark.parametrize("logits", [False, True])
    def test_own_data_gives_the_values_of_the_compiled_metric(self, logits):
        data = tf.data.Dataset.from_tensor_slices(examples(41, seed=1)).batch(
            16
        )
        read = monitors.CalibrationMonitor()
        own = monitors.CalibrationMonitor(data, from_logits=logits)
        fit(make_model(logits=logits), read, own)
        assert set(own.values) == VAL_KEYS
        assert own.values == pytest.approx(read.values, abs=1e-6)

    def test_takes_arrays_weights_and_bins(self):
        x, y = examples(41, seed=1)
        weight = np.arange(41) < 30
        monitor = monitors.CalibrationMonitor(
            (x, y, weight.astype("float32")), num_bins=7, batch_size=16
        )
        model = make_model(compiled=False)
        history = fit(model, monitor)
        direct = measure_directly(model, (x[:30], y[:30]), num_bins=7)
        assert history["val_ece"][-1] == pytest.approx(direct["ece"], abs=1e-5)

    def test_costs_no_forward_pass(self):
        counts = []
        for callbacks in ([], [monitors.CalibrationMonitor()]):
            layer = Counted()
            fit(make_model(first=layer), *callbacks)
            counts.append(int(layer.count))
        # 3 batches of 16 in each of 2 epochs; building may call it too.
        assert counts[0] == counts[1] >= 6

    def test_own_data_costs_one_pass(self):
        counts = []
        monitor = monitors.CalibrationMonitor(examples(41), batch_size=16)
        for callbacks in ([], [monitor]):
            layer = Counted()
            fit(make_model(first=layer), *callbacks)
            counts.append(int(layer.count))
        assert counts[1] - counts[0] == 2 * 3

    def test_reads_a_single_number_metric_too(self):
        model = make_model(compiled=False)
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=[metrics.CalibrationMetrics()],
            run_eagerly=True,
        )
        history = fit(model, monitors.CalibrationMonitor())
        assert set(history) >= VAL_KEYS

    def test_sees_no_training_examples(self):
        # 1000 training examples against 41: their counts would show.
        model = make_model()
        monitor = monitors.CalibrationMonitor()
        x, y = examples(1000)
        model.fit(
            x,
            y,
            validation_data=examples(41, seed=1),
            callbacks=[monitor],
            verbose=0,
        )
        _, bins, _ = monitor._tables[""]
        assert float(np.sum(bins.count)) == 41

    def test_measures_in_the_epochs_asked_for(self):
        spy = Spy()
        monitor = monitors.CalibrationMonitor(freq=2)
        fit(make_model(), monitor, spy, epochs=4, validation_freq=2)
        measured = ["val_oe" in logs for logs in spy.seen]
        assert measured == [False, True, False, True]

    def test_works_on_other_backends(self, monkeypatch):
        data = examples(41, seed=1)
        expected = fit(make_model(), monitors.CalibrationMonitor(data))
        monkeypatch.setattr(keras.backend, "backend", lambda: "other")
        found = fit(make_model(), monitors.CalibrationMonitor(data))
        np.testing.assert_allclose(found["val_ece"], expected["val_ece"])

    def test_examples_without_a_label(self):
        x, y = examples(41, seed=1)
        unknown = np.where(np.arange(41) < 30, y, -1)
        model = make_model(compiled=False)
        ignoring = monitors.CalibrationMonitor((x, unknown), ignore_label=-1)
        zero = np.arange(41)[:, None] < 30
        weighted = monitors.CalibrationMonitor(
            (x, unknown, zero.astype("int64")), name="zero"
        )
        fit(model, ignoring, weighted, epochs=1)
        direct = measure_directly(model, (x[:30], y[:30]))
        for key in ("ece", "nll", "class_bias"):
            expected = pytest.approx(direct[key], abs=1e-5)
            assert ignoring.values[f"val_{key}"] == expected
            assert weighted.values[f"zero_{key}"] == expected
        with pytest.raises(
            ValueError,
            match=r"Received: 11 examples that are not\. Count classes from 0,"
            r".* weight of 0 \(.*`weighted_metrics`.*or by `ignore_label=-1`;",
        ):
            fit(model, monitors.CalibrationMonitor((x, unknown)))

    def test_weights_of_zero_and_single_examples(self, tmp_path):
        x, y = examples(1)
        detect = monitors.OODMonitor({"far": 9 * x}, reference=x, noise=())
        single = monitors.CalibrationMonitor((x, y))
        nothing = monitors.CalibrationMonitor(
            (x, y, np.zeros(1)), name="nothing", log_dir=tmp_path
        )
        history = fit(
            make_model(compiled=False), detect, single, nothing, epochs=1
        )
        assert np.isnan(history["nothing_ece"][0])
        assert 0 < history["val_ece"][0] < 1
        assert history["far_auroc"][0] in (0, 1)
        assert (tmp_path / "nothing").is_dir()

    @pytest.mark.parametrize("eager", [False, True])
    def test_several_labels_are_refused(self, eager):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(K, "sigmoid")]
        )
        x = examples(41)[0]
        y = (x[:, :K] > 0).astype("float32")
        for compiled, monitor in (
            (True, monitors.CalibrationMonitor()),
            (False, monitors.CalibrationMonitor((x, y))),
            (False, monitors.OODMonitor({}, reference=x)),
        ):
            bins = [metrics.CalibrationMetrics()] if compiled else []
            model.compile(
                "sgd", "binary_crossentropy", metrics=bins, run_eagerly=eager
            )
            with pytest.raises(
                ValueError, match=r"For several labels .*LabelCalibrationMetric"
            ):
                model.fit(
                    x,
                    y,
                    validation_data=(x, y),
                    callbacks=[monitor],
                    verbose=0,
                )

    def test_two_replicas_give_the_values_of_one(self, two_replicas):
        # 41 examples: the last batch of 9 is split into 5 and 4.
        data = tf.data.Dataset.from_tensor_slices(examples(41, seed=1)).batch(
            16
        )
        expected = fit(make_model(), monitors.CalibrationMonitor())
        with two_replicas.scope():
            model = make_model(graph=True)
        read = monitors.CalibrationMonitor()
        own = monitors.CalibrationMonitor(data)
        fit(model, read, own, validation_data=data)
        for key in VAL_KEYS:
            assert read.values[key] == pytest.approx(
                expected[key][-1], abs=1e-5
            )
        assert own.values == pytest.approx(read.values, abs=1e-6)

    @pytest.mark.slow
    def test_mixed_precision_and_jit(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = make_model(graph=True)
        finally:
            keras.config.set_dtype_policy("float32")
        model.jit_compile = True
        read = monitors.CalibrationMonitor()
        own = monitors.CalibrationMonitor(examples(41, seed=1), name="own")
        fit(model, read, own, epochs=1)
        # Half precision rounds differently when XLA fuses operations, so an
        # example may change its bin; that of MCE may have one only.
        for key in calibration_monitor.CALIBRATION_KEYS:
            tolerance = 1 if key == "mce" else 0.02
            assert own.values[f"own_{key}"] == pytest.approx(
                read.values[f"val_{key}"], abs=tolerance
            )


class TestSeveralLabels:
    @staticmethod
    def make_model(*compiled, activation="sigmoid"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(K, activation)]
        )
        loss = keras.losses.BinaryCrossentropy(from_logits=activation is None)
        model.compile("sgd", loss, metrics=list(compiled))
        return model

    @staticmethod
    def draw():
        x = examples(41)[0]
        return x, (x[:, :K] + x[:, 1:] > 0).astype("int32")

    @pytest.mark.parametrize("activation", ["sigmoid", None])
    def test_values_are_those_of_the_validation_set(self, activation, tmp_path):
        x, y = self.draw()
        model = self.make_model(
            metrics.LabelCalibrationMetrics(10), activation=activation
        )
        read = monitors.CalibrationMonitor(log_dir=tmp_path)
        own = monitors.CalibrationMonitor(
            (x, y), multi_label=True, num_bins=10, name="own"
        )
        stopping = keras.callbacks.EarlyStopping("val_label_ece")
        history = model.fit(
            *(x, y),
            validation_data=(x, y),
            callbacks=[read, own, stopping],
            verbose=0,
        ).history
        keys = calibration_monitor.LABEL_KEYS
        assert set(read.values) == {f"val_{key}" for key in keys}
        for key in keys:
            assert own.values[f"own_{key}"] == pytest.approx(
                read.values[f"val_{key}"], abs=1e-6
            )
        bins = calibration.label_bins(
            y, model.predict(x, verbose=0), num_bins=10
        )
        errors = calibration.expected_calibration_error(bins)
        assert history["val_label_ece"] == pytest.approx([np.mean(errors)])
        assert history["val_worst_label_ece"] == pytest.approx([np.max(errors)])
        assert history["val_label_nll"] == pytest.approx(history["val_loss"])
        (table,) = summaries.read_tables(tmp_path / "validation").values()
        np.testing.assert_allclose(
            table.count, np.sum(bins.count, axis=0), atol=1e-6
        )

    def test_two_replicas_give_the_values_of_one(self, two_replicas):
        x, y = self.draw()
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        options = {"validation_data": data, "verbose": 0}
        one, read = (monitors.CalibrationMonitor() for _ in range(2))
        own = monitors.CalibrationMonitor(data, multi_label=True)
        with two_replicas.scope():
            model = self.make_model(metrics.LabelCalibrationMetrics())
        model.fit(data, callbacks=[read, own], **options)
        assert own.values == pytest.approx(read.values, abs=1e-6)
        alone = self.make_model(metrics.LabelCalibrationMetrics())
        alone.set_weights(model.get_weights())
        alone.evaluate(data, verbose=0)
        one.set_model(alone)
        assert one.measure(validated=True) == pytest.approx(
            read.values, abs=1e-5
        )

    @pytest.mark.parametrize(
        ("compiled", "factor", "message"),
        [
            (
                metrics.CalibrationMetrics,
                1,
                r"distributions over classes.*compile `metrics\.LabelCalib",
            ),
            (
                metrics.LabelCalibrationMetrics,
                2,
                r"lie in \[0, 1\].*entries that do not.*Write 1 where",
            ),
        ],
    )
    def test_refuses_labels_of_the_other_kind(self, compiled, factor, message):
        x, y = self.draw()
        # A linear layer does not show what it is for.
        model = self.make_model(compiled(), activation=None)
        with pytest.raises(ValueError, match=message):
            model.fit(
                *(x, 1.0 * y),
                validation_data=(x, factor * y),
                callbacks=[monitors.CalibrationMonitor()],
                verbose=0,
            )

    def test_classes_and_labels_of_one_model(self, tmp_path):
        x, labels = self.draw()
        classes = labels.argmax(axis=-1)

        def build():
            inputs = keras.Input((4,))
            outputs = {
                "one": keras.layers.Dense(K, "softmax")(inputs),
                "many": keras.layers.Dense(K, "sigmoid")(inputs),
            }
            return keras.Model(inputs, outputs)

        model = build()
        y = {"one": classes, "many": labels}
        losses = {
            "one": "sparse_categorical_crossentropy",
            "many": "binary_crossentropy",
        }
        compiled = {
            "one": [metrics.CalibrationMetrics()],
            "many": [metrics.LabelCalibrationMetrics()],
        }
        model.compile("sgd", losses, metrics=compiled)
        read = monitors.CalibrationMonitor()
        own = [
            monitors.CalibrationMonitor((x, y), multi_label=multi_label)
            for multi_label in (False, True)
        ]
        options = {"validation_data": (x, y), "verbose": 0}
        model.fit(x, y, callbacks=[read, *own], **options)
        assert {"val_one_ece", "val_many_label_ece"} <= set(read.values)
        for each in own:
            assert each.values == pytest.approx(read.values, abs=1e-6)
        # Where nothing is compiled the option says which are measured.
        model = build()
        model.compile("sgd", losses)
        for multi_label, prefix in ((False, "val_one"), (True, "val_many")):
            alone = monitors.CalibrationMonitor(
                (x, y), multi_label=multi_label, log_dir=tmp_path
            )
            model.fit(x, y, callbacks=[alone], verbose=0)
            assert {key[: len(prefix)] for key in alone.values} == {prefix}

    def test_refuses_a_word_for_multi_label(self):
        with pytest.raises(ValueError, match="`multi_label` must be True or"):
            monitors.CalibrationMonitor(self.draw(), multi_label="no")


class TestPlaceInLogs:
    """Values are there for all, whatever the order of callbacks."""

    @pytest.mark.parametrize("last", [False, True])
    def test_every_callback_sees_all_values(self, last):
        spy = Spy()
        both = [
            monitors.CalibrationMonitor(),
            monitors.OODMonitor({}, reference=examples()[0], max_examples=20),
        ]
        history = fit(make_model(), *([spy, *both] if last else [*both, spy]))
        expected = VAL_KEYS | {"gaussian_auroc", "uniform_confidence"}
        assert expected <= set(spy.seen[0])
        assert expected <= set(history)
        assert all(type(spy.seen[0][key]) is float for key in expected)
        assert "val_monitors" not in history

    def test_stopping_checkpoint_and_tensorboard_listed_before(self, tmp_path):
        model = make_model(graph=True)
        stop = keras.callbacks.EarlyStopping(
            "val_oe", mode="min", min_delta=1.0, patience=1
        )
        save = keras.callbacks.ModelCheckpoint(
            tmp_path / "{epoch}-{gaussian_auroc:.2f}.keras",
            monitor="val_nll",
            mode="min",
            save_best_only=True,
        )
        board = keras.callbacks.TensorBoard(tmp_path / "logs")
        monitor = monitors.CalibrationMonitor()
        detect = monitors.OODMonitor(
            {}, reference=examples()[0], noise=["gaussian"], max_examples=20
        )
        order = [stop, save, board, monitor, detect]
        history = fit(model, *order, epochs=5)
        # No epoch gains 1, so the second one is the last.
        assert len(history["val_oe"]) == 2
        best = int(np.argmin(history["val_nll"]))
        auroc = history["gaussian_auroc"][best]
        saved = tmp_path / f"{best + 1}-{auroc:.2f}.keras"
        tags = summaries_test.read(tmp_path / "logs" / "validation")
        assert tags["epoch_oe"][0][1] == pytest.approx(history["val_oe"][0])
        loaded = keras.saving.load_model(saved)
        found = loaded.evaluate(
            *examples(41, seed=1), verbose=0, return_dict=True
        )
        assert found["ece"] == pytest.approx(history["val_ece"][best])

    def test_without_validation_comes_in_its_turn(self):
        before, after = Spy(), Spy()
        monitor = monitors.CalibrationMonitor(examples(41))
        fit(make_model(), before, monitor, after, validation=False)
        assert "val_ece" not in before.seen[0]
        assert set(after.seen[0]) >= VAL_KEYS

    def test_a_models_own_evaluate_is_left_as_it_was(self):
        model = make_model()
        fit(model, monitors.CalibrationMonitor())
        assert "evaluate" not in vars(model)
        calls = []

        def evaluate(*args, **kwargs):
            calls.append(1)
            return type(model).evaluate(model, *args, **kwargs)

        model.evaluate = evaluate
        history = fit(model, monitors.CalibrationMonitor())
        assert model.evaluate is evaluate
        assert len(calls) == 2
        assert set(history) >= VAL_KEYS

    def test_users_own_evaluation_is_left_alone(self):
        class Evaluation(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.found = self.model.evaluate(
                    *examples(10), verbose=0, return_dict=True
                )

        measured = []

        class Monitor(monitors.CalibrationMonitor):
            def measure(self, validated):
                measured.append(validated)
                return super().measure(validated)

        evaluation = Evaluation()
        fit(make_model(), evaluation, Monitor())
        assert set(evaluation.found) == {
            "accuracy",
            "ece",
            "loss",
        }
        assert measured == [True, True]

    def test_evaluations_with_callbacks_are_left_alone(self, tmp_path):
        class Evaluation(keras.callbacks.Callback):
            found = None

            def on_epoch_end(self, epoch, logs=None):
                self.found = self.model.evaluate(
                    *examples(10),
                    verbose=0,
                    return_dict=True,
                    callbacks=[keras.callbacks.Callback()],
                )

        evaluation = Evaluation()
        board = keras.callbacks.TensorBoard(tmp_path)
        monitor = monitors.CalibrationMonitor()
        history = fit(make_model(), board, evaluation, monitor, epochs=1)
        assert set(evaluation.found) == {"accuracy", "ece", "loss"}
        assert [name for name in history if name.endswith("val_ece")] == [
            "val_ece"
        ]
        tags = summaries_test.read(tmp_path / "validation")
        assert tags["epoch_ece"][0][1] == pytest.approx(history["val_ece"][0])

    def test_two_values_of_one_name_are_warned_about(self):
        other = examples(30, seed=5)
        with pytest.warns(UserWarning, match=r"`val_.*` was measured twice"):
            history = fit(
                make_model(), monitors.CalibrationMonitor(other), epochs=1
            )
        monitor = monitors.CalibrationMonitor(other, name="test")
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            both = fit(make_model(), monitor, epochs=1)
        assert both["test_ece"] == pytest.approx(history["val_ece"])
        assert both["val_ece"] != pytest.approx(history["val_ece"])

    def test_keras_knows_that_less_ece_is_better(self, tmp_path):
        stop = keras.callbacks.EarlyStopping("val_ece", patience=9)
        save = keras.callbacks.ModelCheckpoint(
            tmp_path / "{epoch}.weights.h5",
            monitor="val_ece",
            save_best_only=True,
            save_weights_only=True,
        )
        monitor = monitors.CalibrationMonitor()
        history = fit(make_model(), stop, save, monitor, epochs=3)
        best = int(np.argmin(history["val_ece"]))
        assert stop.best_epoch == best
        assert (tmp_path / f"{best + 1}.weights.h5").exists()
        assert stop.best == pytest.approx(history["val_ece"][best])

    def test_evaluation_outside_of_fit_measures_nothing(self):
        model = make_model()
        monitor = monitors.CalibrationMonitor()
        found = model.evaluate(
            *examples(10), verbose=0, callbacks=[monitor], return_dict=True
        )
        assert set(found) == {"accuracy", "ece", "loss"}
        assert monitor.values == {}

    def test_a_crash_leaves_nothing_for_the_next_fit(self):
        class Crash(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                raise RuntimeError("killed")

        model = make_model()
        monitor = monitors.CalibrationMonitor()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="killed"):
                fit(model, monitor, Crash())
        assert "oe" not in model.evaluate(
            *examples(10), verbose=0, return_dict=True
        )
        another = monitors.OODMonitor(
            {}, reference=examples()[0], max_examples=20
        )
        history = fit(model, another)
        assert "val_oe" not in history
        assert "evaluate" not in vars(model)
        assert set(fit(model, monitor)) >= VAL_KEYS


class ScaledInCall(keras.Model):
    """Takes inputs a hundred times too large, as all of these."""

    def call(self, x, training=False):
        return super().call(x / 100, training=training)


class ScaledInTests(keras.Model):
    def test_step(self, data):
        return super().test_step((data[0] / 100, *data[1:]))


class ScaledInOwnTests(keras.Model):
    """Updates metrics by itself, as Keras' guide shows."""

    def test_step(self, data):
        x, y = data
        y_pred = self(x / 100, training=False)
        self.compute_loss(y=y, y_pred=y_pred)
        for metric in self.metrics:
            if metric.name != "loss":
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class ScaledInPredictions(keras.Model):
    def predict_step(self, data):
        return super().predict_step(data / 100)


class ScaledInBoth(ScaledInPredictions, ScaledInTests):
    pass


class ScaledBefore(keras.Model):
    """Preprocesses as tasks of KerasHub."""

    def predict(self, x, **kwargs):
        return super().predict(x / 100, **kwargs)

    def evaluate(self, x=None, **kwargs):
        return super().evaluate(x / 100, **kwargs)


class TestWhatTheModelSays:
    @pytest.mark.parametrize(
        "kind",
        [
            *(ScaledInCall, ScaledInBoth, ScaledBefore),
            *(
                pytest.param(kind, marks=pytest.mark.slow)
                for kind in (
                    ScaledInTests,
                    ScaledInOwnTests,
                    ScaledInPredictions,
                )
            ),
        ],
    )
    def test_overridden_steps(self, kind):
        x, y = examples(41, seed=1)
        inputs = keras.Input((4,))
        keras.utils.set_random_seed(0)
        outputs = keras.layers.Dense(K, "softmax")(inputs)
        model = kind(inputs, outputs)
        model.compile(
            "sgd", "sparse_categorical_crossentropy", run_eagerly=True
        )
        model.optimizer.learning_rate = 0.0
        plain = keras.Model(inputs, outputs)
        own = monitors.CalibrationMonitor((100 * x, y), batch_size=16)
        detect = monitors.OODMonitor({}, reference=100 * x, noise=["uniform"])
        history = fit(
            model, own, detect, epochs=1, validation_data=(100 * x, y)
        )
        direct = measure_directly(plain, (x, y))
        for key in ("ece", "nll", "class_bias"):
            assert history[f"val_{key}"][-1] == pytest.approx(
                direct[key], abs=1e-5
            )
        said = model.predict(100 * x, verbose=0).max(1).mean()
        assert detect.values["reference_confidence"] == pytest.approx(
            said, abs=1e-6
        )

    def test_own_steps_leave_the_compiled_metrics_alone(self):
        inputs = keras.Input((4,))
        outputs = keras.layers.Dense(K, "softmax")(inputs)
        model = ScaledInTests(inputs, outputs)
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=[metrics.CalibrationMetrics()],
            run_eagerly=True,
        )
        own = monitors.CalibrationMonitor(examples(30), name="own")
        read = monitors.CalibrationMonitor()
        fit(model, own, read, epochs=1)
        assert float(np.sum(read._tables[""][1].count)) == 41
        assert float(np.sum(own._tables[""][1].count)) == 30
        assert "compute_metrics" not in vars(model)

    def test_one_output_in_a_dictionary_is_that_output(self):
        model = two_outputs(only="a")
        data = examples(41, seed=1)
        x, y = data
        read, own = (
            monitors.CalibrationMonitor(),
            monitors.CalibrationMonitor((x, {"a": y})),
        )
        detect = monitors.OODMonitor({}, reference=x, noise=["gaussian"])
        x, y = examples()
        history = model.fit(
            x,
            {"a": y},
            validation_data=(data[0], {"a": data[1]}),
            callbacks=[read, own, detect],
            verbose=0,
        ).history
        assert own.values == pytest.approx(read.values, abs=1e-6)
        assert "val_ece" in history
        outputs = model.predict(data[0], verbose=0)["a"]
        assert history["reference_confidence"][-1] == pytest.approx(
            outputs.max(1).mean(), abs=1e-6
        )

    def test_several_outputs_have_their_names(self, tmp_path):
        model = two_outputs()
        x, y = examples(41, seed=1)
        labels = {"a": y, "b": y % 2, "l": y, "r": x[:, 0]}
        read = monitors.CalibrationMonitor(log_dir=tmp_path)
        own = monitors.CalibrationMonitor((x, labels))
        detect = monitors.OODMonitor(
            {}, reference=x, noise=["gaussian"], output="b"
        )
        history = model.fit(
            x,
            labels,
            validation_data=(x, labels),
            callbacks=[read, own, detect],
            verbose=0,
        ).history
        found = model.predict(x, verbose=0)
        for name in "abl":
            metric = metrics.CalibrationMetrics()
            metric.update_state(labels[name], found[name])
            for key, value in metric.results().items():
                if key in calibration_monitor.CALIBRATION_KEYS:
                    assert history[f"val_{name}_{key}"][-1] == pytest.approx(
                        value, abs=1e-5
                    )
        assert "val_ece" not in history
        assert "val_r_ece" not in history
        assert own.values == pytest.approx(read.values, abs=1e-6)
        column = found["b"][:, 0]
        assert history["reference_confidence"][-1] == pytest.approx(
            np.maximum(column, 1 - column).mean(), abs=1e-6
        )
        tags = summaries_test.read(tmp_path / "validation")
        assert {"calibration/a/ece", "calibration/b/table"} <= set(tags)

    def test_outputs_are_asked_for(self):
        model = two_outputs(compiled=False)
        x, y = examples(41)
        labels = {"a": y, "b": y % 2, "l": y, "r": x[:, 0]}
        for monitor, message in (
            (monitors.OODMonitor({}, reference=x), "Write e.g. `output='a'`"),
            (
                monitors.OODMonitor({}, reference=x, output="c"),
                r"\['c'\] for a model of \['a', 'b', 'l', 'r'\]",
            ),
            (
                monitors.CalibrationMonitor((x, labels), outputs=["c"]),
                r"\['c'\] for a model of",
            ),
        ):
            with pytest.raises(ValueError, match=message):
                model.fit(x, labels, callbacks=[monitor], verbose=0)
        # Without a metric of bins: those that end in probabilities.
        own = monitors.CalibrationMonitor((x, labels))
        one = monitors.CalibrationMonitor((x, labels), outputs="b", name="t")
        model.fit(x, labels, callbacks=[own, one], verbose=0)
        assert {"val_a_ece", "val_b_ece"} <= set(own.values)
        assert "val_l_ece" not in own.values
        assert all(name.startswith("t_b_") for name in one.values)

    @pytest.mark.parametrize(
        ("on_epoch", "orders"),
        [
            (False, [(0, 1, 2), (1, 2, 0)]),
            (True, [(1, 0, 2)]),
            *(
                pytest.param(
                    on_epoch,
                    [*itertools.permutations(range(3))],
                    marks=pytest.mark.slow,
                )
                for on_epoch in (False, True)
            ),
        ],
    )
    def test_averaged_weights_in_any_order(self, on_epoch, orders):
        x, y = examples(41, seed=1)
        expected = None
        for order in orders:
            keras.utils.set_random_seed(0)
            model = make_model()
            model.compile(
                keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9),
                "sparse_categorical_crossentropy",
                metrics=["accuracy", metrics.CalibrationMetrics()],
                run_eagerly=True,
            )
            swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=on_epoch)
            own = monitors.CalibrationMonitor((x, y))
            detect = monitors.OODMonitor({}, reference=x, noise=["uniform"])
            listed = [swap, own, detect]
            read = monitors.CalibrationMonitor(name="read")
            history = fit(
                model,
                *[listed[place] for place in order],
                read,
                batch_size=20,
                validation_batch_size=41,
                validation_data=(x, y),
            )
            for key in calibration_monitor.CALIBRATION_KEYS:
                assert history[f"val_{key}"] == pytest.approx(
                    history[f"read_{key}"], abs=1e-6
                )
            confidence = np.add(
                history["val_accuracy"], history["val_signed_gap"]
            )
            assert history["reference_confidence"] == pytest.approx(
                confidence, abs=1e-6
            )
            # Swapping adds and subtracts, which rounds.
            expected = expected or history["val_nll"]
            assert history["val_nll"] == pytest.approx(expected, abs=1e-5)


class TestWeightsAndNames:
    def test_examples_of_no_weight_are_left_out(self):
        x, y = examples(24)
        weight = np.r_[np.zeros(12), np.ones(12)]
        far = np.r_[np.full_like(x[:12], np.nan), 3 * x[12:]]
        reference = np.r_[np.full_like(x[:12], np.nan), x[12:]]
        weighted, short = (
            fit(
                make_model(),
                monitors.OODMonitor({"far": far}, reference=inside, noise=()),
                epochs=1,
            )
            for far, inside in (
                ((far, y, weight), (reference, y, weight)),
                (3 * x[12:], x[12:]),
            )
        )
        for name in ("far_confidence", "far_auroc", "reference_confidence"):
            assert weighted[name] == pytest.approx(short[name])

    def test_names_that_end_as_keras_own(self):
        x, y = examples(20)
        inputs = keras.Input(x.shape[1:])
        names = ["head", "head_weighted"]
        heads = {
            name: keras.layers.Dense(3, "softmax", name=name)(inputs)
            for name in names
        }
        model = keras.Model(inputs, heads)
        model.compile(
            "sgd",
            dict.fromkeys(names, "sparse_categorical_crossentropy"),
            metrics={name: [metrics.CalibrationMetrics()] for name in names},
        )
        labels = dict.fromkeys(names, y)
        history = model.fit(
            x,
            labels,
            validation_data=(x, labels),
            callbacks=[monitors.CalibrationMonitor()],
            verbose=0,
        ).history
        for name in names:
            assert history[f"val_{name}_oe"]


class TestCopies:
    @pytest.mark.parametrize(
        "duplicate",
        [
            copy.deepcopy,
            pytest.param(copy.copy, marks=pytest.mark.slow),
            pytest.param(
                lambda m: pickle.loads(pickle.dumps(m)),
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_measure_as_the_original(self, duplicate):
        x, y = examples(41, seed=1)
        originals = [
            monitors.CalibrationMonitor((x, y), num_bins=7),
            monitors.OODMonitor({"far": 3 * x}, reference=x, seed=3),
        ]
        before = [duplicate(each) for each in originals]
        expected = fit(make_model(), *originals)
        # A copy after training is as new, too.
        after = [duplicate(each) for each in originals]
        for copies in (before, after):
            assert not any(each.values for each in copies)
            found = fit(make_model(), *copies)
            for key in ("val_ece", "far_auroc", "gaussian_confidence"):
                np.testing.assert_array_equal(found[key], expected[key])

    def test_share_datasets(self):
        x, y = examples(41, seed=1)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        monitor = copy.deepcopy(monitors.CalibrationMonitor(data))
        detect = copy.deepcopy(monitors.OODMonitor({"a": data}, reference=x))
        history = fit(make_model(), monitor, detect, epochs=1)
        assert {"val_ece", "a_auroc"} <= set(history)
        for each in (monitor, detect):
            with pytest.raises(
                ValueError, match=r"a tf\.data\.Dataset.*\. Give arrays; `copy"
            ):
                pickle.dumps(each)

    def test_have_a_short_repr(self):
        x, y = examples(4)
        detect = monitors.OODMonitor({"far": x}, reference=x, noise=())
        assert repr(detect) == "<OODMonitor of reference, far, freq=1>"
        assert repr(monitors.CalibrationMonitor(freq=2)) == (
            "<CalibrationMonitor 'val' of the compiled metric, freq=2>"
        )
        assert "its own data" in repr(monitors.CalibrationMonitor((x, y)))


class TestFiles:
    def test_are_written_and_continued(self, tmp_path):
        model = make_model()
        reference = examples()[0]

        def callbacks():
            return [
                monitors.CalibrationMonitor(log_dir=tmp_path),
                monitors.OODMonitor(
                    {"zeros": np.zeros_like(reference)},
                    reference=reference,
                    log_dir=tmp_path,
                ),
                keras.callbacks.TensorBoard(tmp_path),
            ]

        first = fit(model, *callbacks(), epochs=1)
        second = fit(model, *callbacks(), epochs=2, initial_epoch=1)
        tags = summaries_test.read(tmp_path / "validation")
        expected = [(0, first["val_ece"][0]), (1, second["val_ece"][0])]
        np.testing.assert_allclose(tags["calibration/ece"], expected)
        np.testing.assert_allclose(tags["epoch_ece"], expected)
        for figure in (
            "reliability_diagram",
            "confidence_histogram",
            "accuracy_confidence_density",
            "risk_coverage",
        ):
            assert [s for s, _ in tags[f"calibration/{figure}"]] == [0, 1]
        tags = summaries_test.read(tmp_path / "ood")
        assert [s for s, _ in tags["ood/zeros_auroc"]] == [0, 1]
        assert [s for s, _ in tags["ood/gaussian_confidences"]] == [0, 1]

    def test_say_what_each_value_is(self, tmp_path):
        detect = monitors.OODMonitor(
            {"far_away": np.zeros_like(examples()[0])},
            reference=examples()[0],
            log_dir=tmp_path,
        )
        fit(make_model(), monitors.CalibrationMonitor(log_dir=tmp_path), detect)
        for name in ("validation", "ood"):
            found = summaries_test.read_descriptions(tmp_path / name)
            # No figure, and not read by a human.
            found.pop("calibration/table", None)
            assert all(found.values()), found
        assert "chance" in found["ood/far_away_auroc"]
        assert found["ood/reference_confidence"].startswith("Mean confidence")

    def test_figures_of_some_epochs(self, tmp_path):
        monitor = monitors.CalibrationMonitor(log_dir=tmp_path, figure_freq=2)
        fit(make_model(), monitor, epochs=3)
        tags = summaries_test.read(tmp_path / "validation")
        assert [s for s, _ in tags["calibration/ece"]] == [0, 1, 2]
        drawn = tags["calibration/reliability_diagram"]
        assert [s for s, _ in drawn] == [1]

    def test_no_folder_no_figures(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a figure was drawn")

        monkeypatch.setattr(plots, "_new_figure", refuse)
        another = monitors.OODMonitor(
            {}, reference=examples()[0], max_examples=20
        )
        fit(make_model(), monitors.CalibrationMonitor(), another)


class TestOODMonitor:
    def test_values_are_exact(self):
        model = make_model()
        reference, far = examples(50)[0], 3 * examples(30, seed=2)[0]
        monitor = monitors.OODMonitor(
            {"far": far}, reference=reference, noise=()
        )
        history = fit(model, monitor)
        inside = model.predict(reference, verbose=0).max(1)
        outside = model.predict(far, verbose=0).max(1)
        expected = {
            "reference_confidence": inside.mean(),
            "far_confidence": outside.mean(),
            "far_auroc": ood.auroc(inside, outside),
            "far_aupr": ood.aupr_in(inside, outside),
            "far_fpr95": ood.fpr_at_95_tpr(inside, outside),
        }
        for key, value in expected.items():
            assert history[key][-1] == pytest.approx(value, abs=1e-6)

    def test_predicts_with_the_model_of_a_twin(self):
        model = make_model()
        twin = stages.training_model(model)
        twin.compile("sgd", "mse", run_eagerly=True)
        mixup = mixing.MixUp(1.0, num_classes=K, seed=0).send_plans()
        x, y = examples()
        train = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        monitor = monitors.OODMonitor({}, reference=x, model=model)
        history = twin.fit(
            train.apply(mixup), callbacks=[monitor], verbose=0
        ).history
        assert history["reference_confidence"][-1] == pytest.approx(
            model.predict(x, verbose=0).max(1).mean(), abs=1e-6
        )
        assert "gaussian_auroc" in history
        for own in (x, train):
            monitor = monitors.OODMonitor({}, reference=own)
            with pytest.raises(
                ValueError,
                match=r"predicts only examples that .*`OODMonitor\(..., mod",
            ):
                twin.fit(train.apply(mixup), callbacks=[monitor], verbose=0)
        planned = train.apply(mixup.evaluation)
        monitor = monitors.OODMonitor(
            {"same": planned}, reference=planned, noise=()
        )
        twin.fit(train.apply(mixup), callbacks=[monitor], verbose=0)
        assert monitor.values["same_auroc"] == pytest.approx(0.5, abs=0.01)

    def test_a_set_like_the_reference_has_auroc_one_half(self):
        x = examples(50)[0]
        monitor = monitors.OODMonitor({"same": x}, reference=x, noise=())
        history = fit(make_model(), monitor)
        np.testing.assert_allclose(history["same_auroc"], 0.5)

    def test_takes_the_first_examples_of_datasets(self):
        x, y = examples(50)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
        monitor = monitors.OODMonitor(
            {"array": x[:20], "pair": (x[:20], y[:20]), "list": list(x)},
            reference=data,
            noise=(),
            max_examples=20,
            batch_size=16,
        )
        history = fit(make_model(), monitor)
        # In batches of another size an example may round otherwise.
        expected = pytest.approx(history["reference_confidence"], rel=1e-6)
        for name in ("array", "pair", "list"):
            assert history[f"{name}_confidence"] == expected
            assert history[f"{name}_auroc"] == pytest.approx(
                [0.5] * 2, abs=0.01
            )
        assert len(monitor._confidences["reference"]) == 20

    @pytest.mark.filterwarnings("error::UserWarning")
    def test_takes_datasets_of_unknown_length(self):
        x = examples(50)[0]
        data = tf.data.Dataset.from_tensor_slices(x).batch(8)
        data = data.filter(lambda batch: True)
        monitor = monitors.OODMonitor(
            {"few": data}, reference=data, noise=(), max_examples=20
        )
        fit(make_model(), monitor, epochs=1)
        assert len(monitor._confidences["few"]) == 20
        nothing = data.filter(lambda batch: False)
        with pytest.raises(
            ValueError, match=r"Received: a tf\.data\.Dataset without"
        ):
            monitors.OODMonitor({"few": nothing}, reference=data)

    def test_all_rows(self):
        x = examples(50)[0]
        monitor = monitors.OODMonitor(
            {}, reference=x, noise=["uniform"], max_examples=None, batch_size=16
        )
        fit(make_model(), monitor, epochs=1)
        sizes = {k: len(v) for k, v in monitor._confidences.items()}
        assert sizes == {"reference": 50, "uniform": 50}

    def test_noise_is_like_the_reference_and_fixed(self):
        x = 5 + 2 * examples(200)[0]
        drawn = [
            noise_of(monitors.OODMonitor({}, reference=x, seed=seed))
            for seed in (0, 0, 1)
        ]
        assert drawn[0].shape == x.shape
        np.testing.assert_allclose(drawn[0].mean(), 5, atol=0.4)
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])

    def test_takes_all_forms(self):
        x, y = examples(20)
        sets = {
            "stacked": [*x],
            "labeled": {"image": x, "label": y},
            "batches": [(x[:9], y[:9]), (x[9:], y[9:])],
            "generator": lambda: (x[i : i + 5] for i in range(0, 20, 5)),
            "endless": tf.data.Dataset.from_tensors(x).repeat(),
            7: x,
        }
        monitor = monitors.OODMonitor(
            sets, reference=x, noise=(), max_examples=20, batch_size=16
        )
        history = fit(make_model(), monitor, epochs=1)
        for name in map(str, sets):
            assert history[f"{name}_confidence"] == pytest.approx(
                history["reference_confidence"], rel=1e-6
            )
            assert len(monitor._confidences[name]) == 20

    @pytest.mark.parametrize("form", [list, tuple])
    def test_several_inputs_come_as_the_model_takes_them(self, form):
        x = examples(20)[0]
        inputs = [keras.Input((4,)), keras.Input((4,))]
        hidden = keras.layers.Subtract()(inputs)
        model = keras.Model(inputs, keras.layers.Dense(K, "softmax")(hidden))
        model.compile(
            "sgd", "sparse_categorical_crossentropy", run_eagerly=True
        )
        monitor = monitors.OODMonitor(
            {
                "swapped": form([2 * x, x]),
                "batches": tf.data.Dataset.from_tensors((2 * x, x)),
            },
            reference=form([x, 2 * x]),
            noise=(),
        )
        data = ([x, 2 * x], examples(20)[1])
        own = monitors.CalibrationMonitor(data)
        model.fit(*data, callbacks=[monitor, own], verbose=0)
        expected = model.predict([2 * x, x], verbose=0).max(1)
        for name in ("swapped", "batches"):
            np.testing.assert_allclose(
                monitor._confidences[name], expected, rtol=1e-6
            )
        if form is tuple:
            noisy = monitors.OODMonitor({}, reference=(x, 2 * x))
            with pytest.raises(ValueError, match="inputs that are one array"):
                model.fit(*data, callbacks=[noisy], verbose=0)
        # What is not stacked is never taken for its first item.
        wrong = monitors.OODMonitor({"pair": [x, x[:, :2]]}, reference=x)
        with pytest.raises(
            ValueError, match=r"as many inputs as it takes.* 2 inputs"
        ):
            fit(make_model(), wrong)
        with pytest.raises(ValueError, match="in a list must have one shape"):
            monitors.OODMonitor({"ragged": [x[0], x[1][:2]]}, reference=x)

    @pytest.mark.parametrize(
        "dtype",
        [
            *("uint8", "int8", "uint16", "int16", "int32", "int64"),
            *("float16", "float64", "bool"),
        ],
    )
    def test_noise_has_the_type_and_range_of_the_reference(self, dtype):
        one_hot = np.eye(4)[np.arange(60) % 4].astype(dtype)
        monitor = monitors.OODMonitor({}, reference=one_hot)
        for kind in ood.NOISES:
            noise = noise_of(monitor, kind)
            assert noise.dtype == dtype
            assert noise.shape == one_hot.shape
            if not np.issubdtype(dtype, np.floating):
                assert set(np.unique(noise).tolist()) == {0, 1}

    def test_logits(self):
        x = examples(50)[0]
        monitor = monitors.OODMonitor(
            {}, reference=x, from_logits=True, noise=["gaussian"]
        )
        history = fit(make_model(logits=True), monitor)
        confidence = np.array(history["gaussian_confidence"])
        assert ((confidence >= 1 / K) & (confidence <= 1)).all()

    @pytest.mark.slow
    def test_two_replicas_give_the_values_of_one(self, two_replicas):
        found = []
        for scope in (tf.device(None), two_replicas.scope()):
            with scope:
                model = make_model(compiled=False, graph=True)
            monitor = monitors.OODMonitor(
                {"far": 3 * examples(21)[0]},
                reference=examples(33)[0],
                batch_size=16,
            )
            found.append(fit(model, monitor, epochs=1))
        for key in ("far_auroc", "gaussian_fpr95", "reference_confidence"):
            assert found[0][key] == pytest.approx(found[1][key], abs=1e-5)

    def test_measures_every_few_epochs(self):
        spy = Spy()
        monitor = monitors.OODMonitor({}, reference=examples()[0], freq=2)
        fit(make_model(), monitor, spy, epochs=3, validation=False)
        measured = ["gaussian_auroc" in logs for logs in spy.seen]
        assert measured == [False, True, False]


class TestRefusals:
    def test_no_compiled_bins(self):
        with pytest.raises(
            ValueError,
            match=r"`LabelCalibrationMetrics`\. Received: metrics \["
            r"'loss', 'compile_metrics'\]\. Add `tf_mixup.metrics.Calib",
        ):
            fit(make_model(compiled=False), monitors.CalibrationMonitor())

    def test_no_names_of_outputs(self):
        with pytest.raises(ValueError, match="must name an output"):
            monitors.CalibrationMonitor(outputs=[])

    def test_a_model_as_data(self):
        with pytest.raises(ValueError, match="must be batches of examples"):
            monitors.CalibrationMonitor(make_model())

    def test_no_validation(self):
        with pytest.raises(
            ValueError,
            match=r"reads what `fit` has validated\. Received: an epoch without"
            r" validation\. Pass `validation_data` to `fit`",
        ):
            fit(make_model(), monitors.CalibrationMonitor(), validation=False)

    @pytest.mark.parametrize("own", [False, True])
    def test_non_finite_predictions_are_counted(self, own):
        x, y = examples(41, seed=1)
        x[:5] = np.nan
        monitor = monitors.CalibrationMonitor((x, y) if own else None)
        with pytest.raises(
            ValueError,
            match=r"must be distributions .* Received: 5 examples that are not"
            r"\. Look for NaN in the inputs.* diverged: lower the learning",
        ):
            fit(make_model(), monitor, validation_data=(x, y))

    def test_non_finite_predictions_on_a_set(self):
        x = examples(41)[0]
        bad = x.copy()
        bad[3] = np.nan
        monitor = monitors.OODMonitor({"bad": bad}, reference=x, noise=())
        with pytest.raises(
            ValueError,
            match=r"Received: 1 of 41 examples of the set 'bad' that",
        ):
            fit(make_model(), monitor)

    def test_contradictions_of_the_last_layer(self):
        x, y = examples(41)
        for logits in (False, True):
            monitor = monitors.OODMonitor(
                {}, reference=x, from_logits=not logits
            )
            with pytest.raises(
                ValueError,
                match=f"`from_logits` must say .* Write `from_logits={logits}`",
            ):
                fit(make_model(logits=logits), monitor)
        monitor = monitors.CalibrationMonitor((x, y), from_logits=False)
        with pytest.raises(
            ValueError,
            match=r"41 examples that .*leave `from_logits` out if outputs are",
        ):
            fit(make_model(logits=True), monitor)

    def test_endless_data(self):
        data = tf.data.Dataset.from_tensor_slices(examples()).batch(4).repeat()
        with pytest.raises(
            ValueError,
            match=r"come to an end\. Received: an endless.*`\.repeat\(\)`",
        ):
            monitors.CalibrationMonitor(data)

    @pytest.mark.parametrize(
        ("sets", "options", "message"),
        [
            ({}, {"noise": ()}, "no sets and no noise. Name some ex"),
            (
                {"reference": 1},
                {},
                r"Received: sets \['reference'\] with noise",
            ),
            ({"uniform": 1}, {}, "must differ.*Rename the set"),
            ({}, {"noise": "gaussian"}, "a sequence of names.*Received"),
            ({}, {"noise": ["salt"]}, "`noise` must be one of 'gaussian', 'un"),
            ({"_far": 1}, {}, r"begin with a letter .*name of a set='_far'\."),
            ({"a/b": 1}, {}, "must be letters, digits, spaces, '_', '-' and"),
            ({"$x$": 1}, {}, "must be letters, digits, spaces, '_', '-' and"),
            ({None: 1}, {}, "must be letters, digits, spaces, '_', '-' and"),
            ({1: 1, "1": 1}, {}, "Names of sets must differ"),
            ([1], {}, r"must be a dictionary of named sets.* a list\. Write"),
            ({}, {"seed": -1}, "`seed` must be an integer, at least 0"),
            ({}, {"model": 3}, "must be a model of Keras 3"),
            (
                {},
                {"max_examples": 0},
                "`max_examples` must be an integer, at least 1",
            ),
            ({}, {"freq": 0}, "`freq` must be an integer, at least 1"),
        ],
    )
    def test_unusable_sets(self, sets, options, message):
        with pytest.raises(ValueError, match=message):
            monitors.OODMonitor(sets, reference=examples()[0], **options)

    def test_models_of_other_kinds(self):
        with pytest.raises(ValueError, match="must be a model of Keras 3"):
            monitors.CalibrationMonitor().set_model(object())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_bins": 0}, "`num_bins` must be an integer"),
            ({"edges": "both"}, "`edges` must be one of"),
            ({"name": "a/b"}, "`name` must be letters"),
            ({"figure_freq": 0}, "`figure_freq` must be an integer"),
            ({"batch_size": 0}, "`batch_size` must be an integer"),
            ({"data": examples(4)[0]}, "`data` must come with their labels"),
        ],
    )
    def test_unusable_options(self, options, message):
        options = {"data": examples(4), **options}
        with pytest.raises(ValueError, match=message):
            monitors.CalibrationMonitor(**options)

    def test_noise_needs_one_array(self):
        x = {"a": examples()[0], "b": examples()[0]}
        with pytest.raises(
            ValueError, match=r"inputs that are one array.*Write `noise="
        ):
            monitors.OODMonitor({}, reference=x)

    def test_an_empty_set(self):
        with pytest.raises(
            ValueError, match=r"must be examples in `reference`.*without any"
        ):
            monitors.OODMonitor({}, reference=np.zeros((0, 4)))
