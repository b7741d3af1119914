"""Monitors in real `fit`s: values, their place in `logs`, files, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import summaries_test
from tf_mixup import layers
from tf_mixup import metrics
from tf_mixup import monitors
from tf_mixup import ood
from tf_mixup import pipeline
from tf_mixup import plots

K = 3
VAL_KEYS = {f"val_{key}" for key in monitors.CALIBRATION_KEYS}


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


def rows(count=40, seed=0):
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
    extra = [metrics.CalibrationBins(from_logits=logits)] if compiled else []
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        metrics=["accuracy", *extra],
        run_eagerly=not graph,
    )
    return model


def fit(model, *callbacks, epochs=2, validation=True, **options):
    if validation:
        options.setdefault("validation_data", rows(41, seed=1))
    x, y = rows()
    options = {"batch_size": 16, "verbose": 0, **options}
    return model.fit(
        x, y, epochs=epochs, callbacks=list(callbacks), **options
    ).history


def measure_directly(model, data, num_bins=15):
    metric = metrics.CalibrationBins(num_bins)
    x, y = data
    metric.update_state(y, model.predict(x, verbose=0))
    return metric.results()


class TestCalibrationMonitor:
    def test_values_are_those_of_the_validation_set(self):
        model = make_model(graph=True)
        history = fit(model, monitors.CalibrationMonitor())
        assert set(history) >= VAL_KEYS
        direct = measure_directly(model, rows(41, seed=1))
        for key in monitors.CALIBRATION_KEYS:
            assert history[f"val_{key}"][-1] == pytest.approx(
                direct[key], abs=1e-5
            )

    @pytest.mark.parametrize("logits", [False, True])
    def test_own_data_gives_the_values_of_the_compiled_metric(self, logits):
        data = tf.data.Dataset.from_tensor_slices(rows(41, seed=1)).batch(16)
        read = monitors.CalibrationMonitor()
        own = monitors.CalibrationMonitor(data, from_logits=logits)
        fit(make_model(logits=logits), read, own)
        assert set(own.values) == VAL_KEYS
        assert own.values == pytest.approx(read.values, abs=1e-6)

    def test_takes_arrays_weights_and_bins(self):
        x, y = rows(41, seed=1)
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
            fit(make_model(first=layer, graph=True), *callbacks)
            counts.append(int(layer.count))
        # 3 batches of 16 in each of 2 epochs; building may call it too.
        assert counts[0] == counts[1] >= 6

    def test_own_data_costs_one_pass(self):
        counts = []
        monitor = monitors.CalibrationMonitor(rows(41), batch_size=16)
        for callbacks in ([], [monitor]):
            layer = Counted()
            fit(make_model(first=layer, graph=True), *callbacks)
            counts.append(int(layer.count))
        assert counts[1] - counts[0] == 2 * 3

    def test_reads_a_single_number_metric_too(self):
        model = make_model(compiled=False)
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=[metrics.ExpectedCalibrationError()],
            run_eagerly=True,
        )
        history = fit(model, monitors.CalibrationMonitor())
        assert set(history) >= VAL_KEYS

    def test_sees_no_training_rows(self):
        # 1000 training rows against 41: their counts would show.
        model = make_model()
        monitor = monitors.CalibrationMonitor()
        x, y = rows(1000)
        model.fit(
            x,
            y,
            validation_data=rows(41, seed=1),
            callbacks=[monitor],
            verbose=0,
        )
        bins = monitor._metric.bins()
        assert float(np.sum(bins.count)) == 41

    def test_measures_in_the_epochs_asked_for(self):
        spy = Spy()
        monitor = monitors.CalibrationMonitor(every=2)
        fit(make_model(), monitor, spy, epochs=4, validation_freq=2)
        measured = ["val_oe" in logs for logs in spy.seen]
        assert measured == [False, True, False, True]

    def test_works_on_other_backends(self, monkeypatch):
        data = rows(41, seed=1)
        expected = fit(make_model(), monitors.CalibrationMonitor(data))
        monkeypatch.setattr(monitors, "_on_tensorflow", lambda: False)
        found = fit(make_model(), monitors.CalibrationMonitor(data))
        np.testing.assert_allclose(found["val_ece"], expected["val_ece"])

    def test_two_replicas_give_the_values_of_one(self, two_replicas):
        # 41 rows: the last batch of 9 is split into 5 and 4.
        data = tf.data.Dataset.from_tensor_slices(rows(41, seed=1)).batch(16)
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

    def test_mixed_precision_and_jit(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = make_model(graph=True)
        finally:
            keras.config.set_dtype_policy("float32")
        model.jit_compile = True
        read = monitors.CalibrationMonitor()
        own = monitors.CalibrationMonitor(rows(41, seed=1))
        fit(model, read, own, epochs=1)
        # Half precision rounds differently when XLA fuses operations, so a
        # row may change its bin; that of MCE may have one row only.
        for values in (own.values, read.values):
            assert 0 <= values.pop("val_mce") <= 1
        assert own.values == pytest.approx(read.values, abs=0.02)


class TestPlaceInLogs:
    """Values are there for all, whatever the order of callbacks."""

    @pytest.mark.parametrize("last", [False, True])
    def test_every_callback_sees_all_values(self, last):
        spy = Spy()
        both = [
            monitors.CalibrationMonitor(),
            monitors.OODMonitor({}, reference=rows()[0], max_rows=20),
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
            {}, reference=rows()[0], noise=["gaussian"], max_rows=20
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
        found = loaded.evaluate(*rows(41, seed=1), verbose=0, return_dict=True)
        assert found["ece"] == pytest.approx(history["val_ece"][best])

    def test_without_validation_comes_in_its_turn(self):
        before, after = Spy(), Spy()
        monitor = monitors.CalibrationMonitor(rows(41))
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
                    *rows(10), verbose=0, return_dict=True
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

    def test_a_crash_leaves_nothing_for_the_next_fit(self):
        class Crash(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                raise RuntimeError("killed")

        model = make_model()
        monitor = monitors.CalibrationMonitor()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="killed"):
                fit(model, monitor, Crash())
        assert "ece" not in model.evaluate(
            *rows(10), verbose=0, return_dict=True
        )
        another = monitors.OODMonitor({}, reference=rows()[0], max_rows=20)
        history = fit(model, another)
        assert "val_ece" not in history
        assert "evaluate" not in vars(model)
        assert set(fit(model, monitor)) >= VAL_KEYS


class TestFiles:
    def test_are_written_and_continued(self, tmp_path):
        model = make_model()
        reference = rows()[0]

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
        ):
            assert [s for s, _ in tags[f"calibration/{figure}"]] == [0, 1]
        tags = summaries_test.read(tmp_path / "ood")
        assert [s for s, _ in tags["ood/zeros_auroc"]] == [0, 1]
        assert [s for s, _ in tags["ood/gaussian_confidences"]] == [0, 1]

    def test_say_what_each_value_is(self, tmp_path):
        detect = monitors.OODMonitor(
            {"far_away": np.zeros_like(rows()[0])},
            reference=rows()[0],
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
        monitor = monitors.CalibrationMonitor(log_dir=tmp_path, figures_every=2)
        fit(make_model(), monitor, epochs=3)
        tags = summaries_test.read(tmp_path / "validation")
        assert [s for s, _ in tags["calibration/ece"]] == [0, 1, 2]
        drawn = tags["calibration/reliability_diagram"]
        assert [s for s, _ in drawn] == [1]

    def test_no_folder_no_figures(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a figure was drawn")

        monkeypatch.setattr(plots, "_new_figure", refuse)
        another = monitors.OODMonitor({}, reference=rows()[0], max_rows=20)
        fit(make_model(), monitors.CalibrationMonitor(), another)


class TestOODMonitor:
    def test_values_are_exact(self):
        model = make_model()
        reference, far = rows(50)[0], 3 * rows(30, seed=2)[0]
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
        twin = layers.training_twin(model)
        twin.compile("sgd", "mse", run_eagerly=True)
        mixup = pipeline.MixUp(1.0, num_classes=K, seed=0, placement="model")
        x, y = rows()
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
                ValueError, match=r"twin predicts rows .*`OODMonitor\(..., mod"
            ):
                twin.fit(train.apply(mixup), callbacks=[monitor], verbose=0)
        planned = train.apply(mixup.evaluation)
        monitor = monitors.OODMonitor(
            {"same": planned}, reference=planned, noise=()
        )
        twin.fit(train.apply(mixup), callbacks=[monitor], verbose=0)
        assert monitor.values["same_auroc"] == pytest.approx(0.5, abs=0.01)

    def test_a_set_like_the_reference_has_auroc_one_half(self):
        x = rows(50)[0]
        monitor = monitors.OODMonitor({"same": x}, reference=x, noise=())
        history = fit(make_model(), monitor)
        np.testing.assert_allclose(history["same_auroc"], 0.5)

    def test_takes_the_first_rows_of_datasets(self):
        x, y = rows(50)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
        monitor = monitors.OODMonitor(
            {"array": x[:20], "pair": (x[:20], y[:20]), "list": [x, y]},
            reference=data,
            noise=(),
            max_rows=20,
            batch_size=16,
        )
        history = fit(make_model(), monitor)
        # In batches of another size a row may round otherwise.
        expected = pytest.approx(history["reference_confidence"], rel=1e-6)
        for name in ("array", "pair", "list"):
            assert history[f"{name}_confidence"] == expected
            assert history[f"{name}_auroc"] == pytest.approx(
                [0.5] * 2, abs=0.01
            )
        assert len(monitor._confidences["reference"]) == 20

    @pytest.mark.filterwarnings("error::UserWarning")
    def test_takes_datasets_of_unknown_length(self):
        x = rows(50)[0]
        data = tf.data.Dataset.from_tensor_slices(x).batch(8)
        data = data.filter(lambda batch: True)
        monitor = monitors.OODMonitor(
            {"few": data}, reference=data, noise=(), max_rows=20
        )
        fit(make_model(), monitor, epochs=1)
        assert len(monitor._confidences["few"]) == 20
        nothing = data.filter(lambda batch: False)
        with pytest.raises(ValueError, match="Received: an empty dataset"):
            monitors.OODMonitor({"few": nothing}, reference=data)

    def test_all_rows(self):
        x = rows(50)[0]
        monitor = monitors.OODMonitor(
            {}, reference=x, noise=["uniform"], max_rows=None, batch_size=16
        )
        fit(make_model(), monitor, epochs=1)
        sizes = {k: len(v) for k, v in monitor._confidences.items()}
        assert sizes == {"reference": 50, "uniform": 50}

    def test_noise_is_like_the_reference_and_fixed(self):
        x = 5 + 2 * rows(200)[0]
        drawn = [
            np.concatenate(
                list(
                    monitors.OODMonitor({}, reference=x, seed=seed)
                    ._sets["gaussian"]
                    .as_numpy_iterator()
                )
            )
            for seed in (0, 0, 1)
        ]
        assert drawn[0].shape == x.shape
        np.testing.assert_allclose(drawn[0].mean(), 5, atol=0.4)
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])

    def test_logits(self):
        x = rows(50)[0]
        monitor = monitors.OODMonitor(
            {}, reference=x, from_logits=True, noise=["gaussian"]
        )
        history = fit(make_model(logits=True), monitor)
        confidence = np.array(history["gaussian_confidence"])
        assert ((confidence >= 1 / K) & (confidence <= 1)).all()

    def test_two_replicas_give_the_values_of_one(self, two_replicas):
        found = []
        for scope in (tf.device(None), two_replicas.scope()):
            with scope:
                model = make_model(compiled=False, graph=True)
            monitor = monitors.OODMonitor(
                {"far": 3 * rows(21)[0]}, reference=rows(33)[0], batch_size=16
            )
            found.append(fit(model, monitor, epochs=1))
        for key in ("far_auroc", "gaussian_fpr95", "reference_confidence"):
            assert found[0][key] == pytest.approx(found[1][key], abs=1e-5)

    def test_measures_every_few_epochs(self):
        spy = Spy()
        monitor = monitors.OODMonitor({}, reference=rows()[0], every=2)
        fit(make_model(), monitor, spy, epochs=3, validation=False)
        measured = ["gaussian_auroc" in logs for logs in spy.seen]
        assert measured == [False, True, False]


class TestRefusals:
    def test_no_compiled_bins(self):
        with pytest.raises(
            ValueError,
            match=r"needs a compiled metric of bins\. Received: metrics \["
            r"'loss', 'compile_metrics'\]\. Add `tf_mixup.metrics.Calib",
        ):
            fit(make_model(compiled=False), monitors.CalibrationMonitor())

    def test_no_validation(self):
        with pytest.raises(
            ValueError,
            match=r"reads what `fit` has validated\. Received: an epoch without"
            r" validation\. Pass `validation_data` to `fit`",
        ):
            fit(make_model(), monitors.CalibrationMonitor(), validation=False)

    @pytest.mark.parametrize("own", [False, True])
    def test_non_finite_predictions_are_counted(self, own):
        x, y = rows(41, seed=1)
        x[:5] = np.nan
        monitor = monitors.CalibrationMonitor((x, y) if own else None)
        with pytest.raises(
            ValueError,
            match=r"must be distributions .* Received: 5 rows that are not\."
            r" Write `from_logits=True` if .* diverged",
        ):
            fit(make_model(), monitor, validation_data=(x, y))

    def test_non_finite_predictions_on_a_set(self):
        x = rows(41)[0]
        bad = x.copy()
        bad[3] = np.nan
        monitor = monitors.OODMonitor({"bad": bad}, reference=x, noise=())
        with pytest.raises(
            ValueError, match=r"Received: 1 of 41 rows of the set 'bad' that"
        ):
            fit(make_model(), monitor)

    def test_logits_are_not_taken_for_probabilities(self):
        x = 10 * rows(41)[0]
        model = make_model()
        model.layers[-1].activation = keras.activations.linear
        monitor = monitors.OODMonitor({}, reference=x)
        with pytest.raises(
            ValueError, match=r"must be distributions .*Write `from_logits=Tru"
        ):
            fit(model, monitor)

    def test_endless_data(self):
        data = tf.data.Dataset.from_tensor_slices(rows()).batch(4).repeat()
        with pytest.raises(
            ValueError,
            match=r"come to an end\. Received: an endless.*`\.repeat\(\)`",
        ):
            monitors.CalibrationMonitor(data)

    @pytest.mark.parametrize(
        ("sets", "options", "message"),
        [
            ({}, {"noise": ()}, "no sets and no noise. Name some rows"),
            (
                {"reference": 1},
                {},
                r"Received: sets \['reference'\] with noise",
            ),
            ({"uniform": 1}, {}, "must differ.*Rename the set"),
            ({}, {"noise": "gaussian"}, "a sequence of names.*Received"),
            ({}, {"noise": ["salt"]}, "`noise` must be one of 'gaussian', 'un"),
            ({}, {"max_rows": 0}, "`max_rows` must be an integer, at least 1"),
            ({}, {"every": 0}, "`every` must be an integer, at least 1"),
        ],
    )
    def test_unusable_sets(self, sets, options, message):
        with pytest.raises(ValueError, match=message):
            monitors.OODMonitor(sets, reference=rows()[0], **options)

    def test_noise_needs_one_array(self):
        x = {"a": rows()[0], "b": rows()[0]}
        with pytest.raises(
            ValueError, match=r"inputs that are one array.*Write `noise="
        ):
            monitors.OODMonitor({}, reference=x)

    def test_an_empty_set(self):
        with pytest.raises(
            ValueError, match=r"must have rows.*an empty dataset\. Look at how"
        ):
            monitors.OODMonitor({}, reference=np.zeros((0, 4)))
