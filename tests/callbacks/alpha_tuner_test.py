"""AlphaTuner in real `fit`s: what it sees, decides, keeps and refuses."""

import copy
import json
import math
import pickle
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import backends
from tests import reference
from tf_mixup import callbacks
from tf_mixup import metrics
from tf_mixup import mixing

K = 3
BATCHES = 4


def examples(count, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 4)).astype("float32")
    return x, generator.integers(0, K, count)


def make_mixup(alpha="auto", **options):
    return mixing.MixUp(alpha, num_classes=K, seed=0, **options)


def make_model(learning_rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(K, "softmax")]
    )
    compile_model(model, learning_rate)
    return model


def compile_model(model, learning_rate=0.1, metric=metrics.CalibrationMetrics):
    model.compile(
        keras.optimizers.SGD(learning_rate),
        "categorical_crossentropy",
        metrics=[metric(from_logits=False)],
    )


def batches_of(data, size=16):
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def fit(model, mixup, *more, epochs=3, validation=None, **options):
    held_out = batches_of(validation or examples(300, seed=1), 100)
    return model.fit(
        batches_of(examples(16 * BATCHES)).apply(mixup),
        validation_data=held_out.apply(mixup.evaluation),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.MixingSchedule(mixup), *more],
        **options,
    ).history


class Recorder:
    """A rule that keeps what it sees and returns what it is told to."""

    def __init__(self, *changes):
        self.changes = list(changes)
        self.seen = []

    def __call__(self, seen):
        self.seen.append(seen)
        return self.changes.pop(0) if self.changes else -0.25


class TestClasses:
    def start(self, **options):
        mixup, model = make_mixup(per="class"), make_model()
        compile_model(model, metric=metrics.ClassCalibrationMetrics)
        return mixup, model, callbacks.AlphaTuner(mixup, **options)

    def test_camixup_against_reference(self):
        mixup, model, tuner = self.start(
            start=0.01, limits=(0.01, 0.4), rule=callbacks.switch_by_gap
        )
        x, y = examples(90, seed=1)
        expected, found = [np.zeros(K)], []

        def look(epoch, logs):
            probabilities = model.predict(x, verbose=0)
            expected.append(reference.camixup(y, probabilities, K, 0.4))
            found.append(mixup.tuned_alpha)

        later = keras.callbacks.LambdaCallback(on_epoch_end=look)
        fit(model, mixup, later, tuner, epochs=4, validation=(x, y))
        found.append(mixup.tuned_alpha)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        # Some classes are mixed, and some are not.
        assert {0.0, 0.4} == set(np.ravel(expected))

    def test_each_class_follows_its_own_gap(self):
        rule = Recorder(-0.5, 0.0, -9.0)
        mixup, model, tuner = self.start(start=0.5, rule=rule)
        x, y = examples(90, seed=1)
        history = fit(model, mixup, tuner, epochs=1, validation=(x, y))
        probabilities = model.predict(x, verbose=0)
        for k, seen in enumerate(rule.seen):
            np.testing.assert_allclose(
                (seen.gap, seen.standard_error),
                reference.class_gap(y, probabilities, k),
                atol=1e-5,
            )
        np.testing.assert_allclose(tuner.alpha, [0.5 * math.exp(-0.5), 0.5, 0])
        np.testing.assert_allclose(mixup.tuned_alpha, tuner.alpha, rtol=1e-6)
        assert history["alpha"] == [pytest.approx(0.5)]
        assert "[" in repr(tuner)

    def test_a_class_without_examples_keeps_its_alpha(self):
        mixup, model, tuner = self.start(rule=Recorder(-1.0, -1.0))
        x, y = examples(90, seed=1)
        held_out = x[y != 1], y[y != 1]
        fit(model, mixup, tuner, epochs=1, validation=held_out)
        np.testing.assert_allclose(tuner.alpha, np.exp([-1, 0, -1]))

    def test_reads_data_of_its_own(self):
        mixup, model, _ = self.start()
        compile_model(model)
        rule = Recorder()
        data = examples(60, seed=2)
        fit(
            model, mixup, callbacks.AlphaTuner(mixup, data, rule=rule), epochs=1
        )
        probabilities = model.predict(data[0], verbose=0)
        gap, _ = reference.class_gap(data[1], probabilities, 0)
        assert rule.seen[0].gap == pytest.approx(gap, abs=1e-5)

    def test_state_goes_through_json(self):
        mixup, model, tuner = self.start(rule=Recorder(-0.5, 0.0, -9.0))
        fit(model, mixup, tuner, epochs=1)
        kept = json.loads(json.dumps(tuner.get_state()))
        other = callbacks.AlphaTuner(make_mixup(per="class"))
        other.set_state(kept)
        np.testing.assert_array_equal(other.alpha, tuner.alpha)
        with pytest.raises(ValueError, match="what `get_state` returned"):
            callbacks.AlphaTuner(make_mixup()).set_state(kept)

    def test_several_labels_are_refused(self):
        data = np.ones((4, 2)), np.ones((4, 3))
        with pytest.raises(ValueError, match=r"in one class.*`val_label_ece`"):
            callbacks.AlphaTuner(make_mixup(), data, multi_label=True)

    def test_plain_metric_is_refused(self):
        mixup, model, tuner = self.start()
        compile_model(model)
        with pytest.raises(ValueError, match="in place of `CalibrationMetr"):
            fit(model, mixup, tuner, epochs=1)


class TestDecisions:
    def test_alpha_follows_the_rule(self):
        mixup = make_mixup()
        rule = Recorder(-0.5, 0.2, -0.1)
        tuner = callbacks.AlphaTuner(mixup, start=0.5, rule=rule)
        history = fit(make_model(), mixup, tuner)
        logs = [math.log(0.5), math.log(0.5) - 0.5, math.log(0.5) - 0.3]
        np.testing.assert_allclose(np.log(history["alpha"]), logs, rtol=1e-6)
        assert tuner.alpha == pytest.approx(0.5 * math.exp(-0.4))
        assert mixup.tuned_alpha == pytest.approx(tuner.alpha)

    def test_callbacks_at_the_end_of_an_epoch_see_its_alpha(self):
        mixup, seen = make_mixup(), []
        later = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(mixup.tuned_alpha)
        )
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder())
        history = fit(make_model(), mixup, tuner, later)
        np.testing.assert_allclose(seen, history["alpha"], rtol=1e-6)

    @pytest.mark.parametrize(("change", "end"), [(9.0, 2.0), (-9.0, 0.0)])
    def test_alpha_stays_within_the_limits(self, change, end):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(
            mixup, limits=(0.1, 2.0), rule=Recorder(change, change)
        )
        fit(make_model(), mixup, tuner, epochs=2)
        assert tuner.alpha == pytest.approx(end)

    def test_mixing_that_was_turned_off_comes_back(self):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder(-9.0, math.log(2)))
        history = fit(make_model(), mixup, tuner, epochs=2)
        assert history["alpha"] == [1.0, 0.0]
        assert tuner.alpha == pytest.approx(0.02)

    @pytest.mark.parametrize("stage", [mixing.MixUp, mixing.CutMix])
    def test_batches_are_mixed_with_it(self, stage):
        mixup = stage("auto", num_classes=K, per="example", seed=0)
        mixup.set_alpha(0.3)
        images = np.zeros((64, 9, 9, 1), "float32"), np.zeros(64, int)
        fixed = stage(0.3, num_classes=K, per="example", seed=0)
        drawn, expected = (
            each.coefficients(images, epoch=0, steps=2)
            for each in (mixup, fixed)
        )
        np.testing.assert_array_equal(drawn, expected)
        mixup.set_alpha(0)
        drawn = mixup.coefficients(images, epoch=0, steps=2)
        np.testing.assert_array_equal(drawn, np.ones((2, 64)))

    def test_both_stages_of_a_switch_follow(self):
        stage = mixing.MixUpOrCutMix(
            mixing.MixUp(0.2, num_classes=K),
            mixing.CutMix("auto", num_classes=K),
        )
        callbacks.AlphaTuner(stage, start=0.5)
        assert stage.cutmix.tuned_alpha == 0.5
        assert stage.mixup.alpha == 0.2
        assert stage.tuned_alpha == 0.5

    @pytest.mark.parametrize("at", ["input", ("one", "two")])
    def test_plans_that_models_apply_follow(self, at):
        layers = [
            keras.layers.Dense(4, name=name, activation="relu")
            for name in ("one", "two")
        ]
        model = keras.Sequential(
            [keras.Input((4,)), *layers, keras.layers.Dense(K, "softmax")]
        )
        mixup = make_mixup()
        trained = mixup.training_model(model, at=at)
        compile_model(trained)
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder(-9.0))
        fit(trained, mixup, tuner, epochs=2)
        batch = next(iter(batches_of(examples(16)).apply(mixup)))
        np.testing.assert_array_equal(batch[0]["lam"], np.ones(16))

    @backends.needs_tensorflow
    def test_replicas_agree(self):
        strategy = tf.distribute.MirroredStrategy(
            [each.name for each in tf.config.list_logical_devices("CPU")]
        )
        with strategy.scope():
            mixup = make_mixup()
            tuner = callbacks.AlphaTuner(mixup, rule=Recorder(-0.5))
            model = make_model()
        history = fit(model, mixup, tuner, epochs=2)
        np.testing.assert_allclose(history["alpha"], [1, math.exp(-0.5)])


class TestObservations:
    def test_gap_and_its_error_are_those_of_the_predictions(self):
        mixup, rule, model = make_mixup(), Recorder(), make_model()
        x, y = examples(300, seed=1)
        history = fit(
            model, mixup, callbacks.AlphaTuner(mixup, rule=rule), epochs=1
        )
        gap, error = reference.signed_gap(model.predict(x, verbose=0), y)
        assert rule.seen[0].gap == pytest.approx(gap, abs=1e-6)
        assert rule.seen[0].standard_error == pytest.approx(error, rel=1e-3)
        assert history["val_signed_gap_error"] == [rule.seen[0].standard_error]

    def test_progress_and_learning_rate(self):
        mixup, rule = make_mixup(), Recorder()
        steps = 4 * BATCHES
        schedule = keras.optimizers.schedules.CosineDecay(0.1, steps)
        tuner = callbacks.AlphaTuner(mixup, rule=rule)
        fit(make_model(schedule), mixup, tuner, epochs=4)
        assert [seen.progress for seen in rule.seen] == [0.25, 0.5, 0.75, 1]
        assert {seen.num_epochs for seen in rule.seen} == {4}
        now = (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2
        # The largest rate that was seen is that after the first epoch.
        np.testing.assert_allclose(
            [seen.learning_rate for seen in rule.seen],
            now / now[0],
            atol=1e-6,
        )

    def test_measures_in_every_second_epoch(self):
        mixup, rule = make_mixup(), Recorder(-0.1, -0.1)
        tuner = callbacks.AlphaTuner(mixup, freq=2, rule=rule)
        history = fit(make_model(), mixup, tuner, epochs=4, validation_freq=2)
        np.testing.assert_allclose(history["alpha"], [1, math.exp(-0.2)])
        assert tuner.alpha == pytest.approx(math.exp(-0.4))

    def test_measures_data_of_its_own(self):
        mixup, rule, model = make_mixup(), Recorder(), make_model()
        x, y = examples(200, seed=5)
        tuner = callbacks.AlphaTuner(mixup, (x, y), name="tuning", rule=rule)
        history = fit(model, mixup, tuner, epochs=1)
        gap, _ = reference.signed_gap(model.predict(x, verbose=0), y)
        assert rule.seen[0].gap == pytest.approx(gap, abs=1e-6)
        assert "tuning_ece" in history
        assert "alpha" in history

    def test_a_gap_that_is_no_number_changes_nothing(self):
        mixup, rule = make_mixup(), Recorder()
        x, y = examples(300, seed=1)
        nothing = (x, y, np.zeros(300, "float32"))
        tuner = callbacks.AlphaTuner(mixup, nothing, rule=rule)
        fit(make_model(), mixup, tuner, epochs=1)
        assert rule.seen == []
        assert tuner.alpha == 1

    def test_few_examples_are_warned_about(self):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder())
        with pytest.warns(UserWarning, match="gap of so few examples to"):
            fit(make_model(), mixup, tuner, validation=examples(30, seed=1))


class TestTrainings:
    def test_a_resumed_training_is_the_same_to_the_bit(self):
        def start():
            mixup = make_mixup()
            return (
                mixup,
                callbacks.AlphaTuner(mixup),
                make_model(
                    keras.optimizers.schedules.CosineDecay(0.1, 6 * BATCHES)
                ),
            )

        mixup, tuner, model = start()
        whole = fit(model, mixup, tuner, epochs=6)
        mixup, tuner, model = start()
        # The schedule knows of the end, as in a training that was killed.
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: setattr(
                model, "stop_training", epoch == 2
            )
        )
        first = fit(model, mixup, tuner, stop, epochs=6)
        kept = json.loads(json.dumps(tuner.get_state()))
        mixup, tuner, other = start()
        other.optimizer.build(other.trainable_variables)
        for new, old in zip(
            [*other.variables, *other.optimizer.variables],
            [*model.variables, *model.optimizer.variables],
            strict=True,
        ):
            new.assign(old)
        tuner.set_state(kept)
        second = fit(other, mixup, tuner, epochs=6, initial_epoch=3)
        for name in ("alpha", "val_signed_gap", "val_loss"):
            assert first[name] + second[name] == whole[name]

    def test_a_second_fit_goes_on(self):
        mixup, model = make_mixup(), make_model()
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder())
        fit(model, mixup, tuner, epochs=2)
        history = fit(model, mixup, tuner, epochs=1)
        assert history["alpha"] == [pytest.approx(math.exp(-0.5))]

    def test_another_model_that_is_trained_starts_anew_with_a_warning(self):
        mixup, other, own = make_mixup(), make_model(), make_mixup()
        fit(other, own, callbacks.AlphaTuner(own), epochs=1)
        tuner = callbacks.AlphaTuner(mixup, start=0.5, rule=Recorder(-0.5))
        fit(make_model(), mixup, tuner, epochs=1)
        tuner.rule = Recorder(-0.1)
        with pytest.warns(UserWarning, match="starts with alpha=0.5"):
            history = fit(other, mixup, tuner, epochs=1)
        assert history["alpha"] == [pytest.approx(0.5)]

    def test_a_copy_is_new(self):
        mixup, model = make_mixup(), make_model()
        tuner = callbacks.AlphaTuner(mixup, start=0.5, rule=Recorder())
        fit(model, mixup, tuner, epochs=2)
        for other in (copy.deepcopy(tuner), copy.copy(tuner)):
            assert (
                other.get_state()
                == callbacks.AlphaTuner(make_mixup(), start=0.5).get_state()
            )

    def test_epochs_without_mixing_change_nothing(self):
        mixup, rule = make_mixup(), Recorder(-0.5, -0.5)
        tuner = callbacks.AlphaTuner(mixup, rule=rule)
        held_out = batches_of(examples(300, seed=1), 100)
        history = (
            make_model()
            .fit(
                batches_of(examples(16 * BATCHES)).apply(mixup),
                validation_data=held_out.apply(mixup.evaluation),
                epochs=5,
                shuffle=False,
                verbose=0,
                callbacks=[
                    callbacks.MixingSchedule(
                        mixup, warmup_epochs=2, stop_epoch=4
                    ),
                    tuner,
                ],
            )
            .history
        )
        expected = [0, 0, 1, math.exp(-0.5), 0]
        assert history["alpha"] == pytest.approx(expected)
        assert len(rule.seen) == 2

    def test_another_model_starts_anew(self):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(mixup, rule=Recorder())
        fit(make_model(), mixup, tuner, epochs=2)
        assert fit(make_model(), mixup, tuner, epochs=1)["alpha"] == [1]

    def test_a_trained_model_without_a_state_is_warned_about(self):
        mixup, model = make_mixup(), make_model()
        fit(model, mixup, callbacks.AlphaTuner(mixup), epochs=1)
        with pytest.warns(UserWarning, match="give its state to `set_state`"):
            fit(
                model,
                mixup,
                callbacks.AlphaTuner(mixup),
                epochs=2,
                initial_epoch=1,
            )

    def test_files_show_alpha(self, tmp_path):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(
            mixup, log_dir=tmp_path, figure_freq=9, rule=Recorder(-0.5)
        )
        fit(make_model(), mixup, tuner, epochs=2)
        (path,) = (tmp_path / "validation").iterdir()
        shown = [
            float(tf.make_ndarray(value.tensor))
            for event in tf.compat.v1.train.summary_iterator(str(path))
            for value in event.summary.value
            if value.tag == "mixing/alpha"
        ]
        np.testing.assert_allclose(shown, [1, math.exp(-0.5)])


class TestRule:
    @pytest.mark.parametrize("gap", [-0.2, -0.03, -0.004, 0.02, 0.3])
    @pytest.mark.parametrize("num_epochs", [1, 10, 20, 30, 200])
    def test_default_is_that_of_the_document(self, gap, num_epochs):
        seen = callbacks.Observation(gap, 0.01, 0.5, 0.5, num_epochs)
        expected = reference.follow_gap(gap, 0.01, num_epochs)
        assert callbacks.follow_gap(seen) == pytest.approx(expected)


class TestStage:
    def test_mixes_nothing_before_alpha_is_set(self):
        batches = batches_of(examples(16)).apply(make_mixup())
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"mixes when its alpha is set. Received: a batch before",
        ):
            next(iter(batches))

    def test_is_made_anew_from_its_config_and_pickle(self):
        mixup = make_mixup()
        mixup.set_alpha(0.5)
        assert mixup.get_config()["alpha"] == "auto"
        assert repr(mixup) == "MixUp(alpha='auto', num_classes=3, seed=0)"
        other = pickle.loads(pickle.dumps(mixup))
        assert other.alpha == "auto"
        assert math.isnan(other.tuned_alpha)

    def test_fixed_alpha_cannot_be_set(self):
        with pytest.raises(ValueError, match=r"made for an alpha that changes"):
            make_mixup(0.2).set_alpha(0.3)
        with pytest.raises(ValueError, match=r"at least 0. Received: alpha=-1"):
            make_mixup().set_alpha(-1)

    def test_other_words_are_refused(self):
        with pytest.raises(ValueError, match=r"`alpha` must be one of"):
            make_mixup("automatic")


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mixup": 3}, "a stage that was made for it. Received: 3"),
            ({"mixup": make_mixup(0.2)}, "made for it. Received: MixUp"),
            ({"limits": (0.5, 0.1)}, r"`limits` are the smallest"),
            ({"limits": (0, 1)}, r"`limits` are the smallest"),
            ({"limits": 3}, r"`limits` are the smallest"),
            ({"start": 2.0}, r"`start` must be .* Received: start=2.0"),
            ({"rule": "late"}, r"`rule` must be a function of an"),
            ({"freq": 0}, r"`freq` must be"),
        ],
    )
    def test_arguments(self, options, message):
        options = {"mixup": make_mixup(), **options}
        with pytest.raises(ValueError, match=message):
            callbacks.AlphaTuner(**options)

    def test_no_validation(self):
        mixup = make_mixup()
        model = make_model()
        with pytest.raises(ValueError, match="AlphaTuner without `data` reads"):
            model.fit(
                batches_of(examples(64)).apply(mixup),
                verbose=0,
                shuffle=False,
                callbacks=[callbacks.AlphaTuner(mixup)],
            )

    def test_state_of_something_else(self):
        tuner = callbacks.AlphaTuner(make_mixup())
        with pytest.raises(ValueError, match="what `get_state` returned"):
            tuner.set_state({"alpha": 1})
        with pytest.raises(ValueError, match="what `get_state` returned"):
            tuner.set_state({**tuner.get_state(), "log_alpha": math.nan})

    def test_change_that_is_no_number(self):
        mixup = make_mixup()
        tuner = callbacks.AlphaTuner(mixup, rule=lambda seen: math.nan)
        with pytest.raises(ValueError, match="`rule` must return a finite"):
            fit(make_model(), mixup, tuner, epochs=1)

    def test_nothing_is_warned_about_in_a_plain_training(self):
        mixup = make_mixup()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            fit(
                make_model(),
                mixup,
                callbacks.AlphaTuner(mixup),
                validation=examples(900, seed=2),
            )


@pytest.mark.parametrize(
    ("window", "moves"),
    [({"stop_epoch": 100}, [1, 1]), ({"warmup_epochs": 2}, [0, 0])],
)
def test_each_training_has_the_epochs_of_its_schedule(window, moves):
    mixup = make_mixup()
    schedule = callbacks.MixingSchedule(mixup, **window)
    tuner = callbacks.AlphaTuner(mixup, rule=Recorder(*[0.1] * 9), start=0.1)
    for _ in range(2):
        history = (
            make_model()
            .fit(
                batches_of(examples(64)).apply(mixup),
                validation_data=batches_of(examples(300, seed=1), 100).apply(
                    mixup.evaluation
                ),
                epochs=3,
                verbose=0,
                callbacks=[schedule, tuner],
            )
            .history
        )
        changes = np.diff(history["alpha"][:2]) > 0
        assert changes.tolist() == [bool(moves[0])]
        assert (history["alpha"][0] > 0) == bool(moves[0])
