"""Tests of the callback that tells the mixing stage the epoch."""

import copy
import functools
import pickle
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import stages
from tf_mixup import callbacks

CLASSES = 5


def make_batches(**options):
    generator = np.random.default_rng(0)
    rows = (
        generator.integers(0, 256, (22, 6, 6, 3), dtype="uint8"),
        generator.integers(0, CLASSES, 22),
    )
    return tf.data.Dataset.from_tensor_slices(rows).batch(8, **options)


def make_mixup(alpha=0.4, **options):
    return stages.make_stage(alpha, num_classes=CLASSES, seed=1, **options)


def make_model():
    inputs = keras.Input((6, 6, 3))
    features = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(features))


def make_flat_model():
    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Dense(1)(inputs))


def make_deep_model():
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Flatten(name="one"),
            keras.layers.Dense(4, name="two"),
            keras.layers.Dense(CLASSES),
        ]
    )


def alphas_at_work(mixup, batches, **fit):
    """Returns for each step of a `fit` whether its batch was mixed."""
    mixed = []

    class Spy(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs["inputs"][:, :1])

        def train_step(self, data):
            lam = data[0]["lam"]
            tf.py_function(lambda v: mixed.append(float(v[0])), [lam], [])
            return super().train_step(data)

    model = Spy()
    model.compile("sgd", "mse")
    model.fit(batches, verbose=0, **fit)
    return np.array(mixed) < 1


class Recorder(keras.Model):
    """Notes the coefficients of each step in place of training."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.bias = self.add_weight(shape=())
        self.compile("sgd", run_eagerly=True)

    def call(self, inputs):
        return inputs

    def train_step(self, data):
        self.seen.append(tuple(data[0]["lam"].numpy()))
        self.optimizer.iterations.assign_add(1)
        return {"loss": 0.0}

    def test_step(self, data):
        return {"loss": 0.0}

    def fit(self, data, **options):
        """Returns what was seen in this training alone, by epoch."""
        first = len(self.seen)
        super().fit(data, verbose=0, shuffle=False, **options)
        epochs = options.get("epochs", 1) - options.get("initial_epoch", 0)
        seen = np.array(self.seen[first:])
        return seen.reshape(epochs, -1, *seen.shape[1:])


def plain_batches():
    rows = np.zeros((12, 1), "float32"), np.zeros((12, 1), "float32")
    return tf.data.Dataset.from_tensor_slices(rows).batch(4)


def plain_mixup(alpha=1.0, **options):
    return stages.make_stage(alpha, seed=0, places=1, **options)


@functools.cache
def three_epochs():
    """Returns the coefficients of an ordinary training."""
    mixup = plain_mixup()
    return Recorder().fit(
        plain_batches().apply(mixup),
        epochs=3,
        callbacks=[callbacks.MixingSchedule(mixup)],
    )


def assert_distinct(*epochs):
    steps = np.concatenate([each.reshape(-1, 4) for each in epochs])
    assert len(np.unique(steps, axis=0)) == len(steps)


class TestLoops:
    """Calls of `fit` that follow each other."""

    @pytest.mark.parametrize(
        ("scheduled", "anew"),
        [
            *((True, True), (False, False)),
            pytest.param(True, False, marks=pytest.mark.slow),
            pytest.param(False, True, marks=pytest.mark.slow),
        ],
    )
    def test_one_epoch_at_a_time(self, scheduled, anew):
        mixup, model = plain_mixup(), Recorder()
        batches = plain_batches().apply(mixup)
        schedule = callbacks.MixingSchedule(mixup)
        epochs = [
            model.fit(
                plain_batches().apply(mixup) if anew else batches,
                callbacks=[schedule] if scheduled else [],
            )
            for _ in range(3)
        ]
        expected = three_epochs()
        np.testing.assert_array_equal(np.concatenate(epochs), expected)

    def test_warmup_ends_whatever_the_loop(self):
        mixup, model = plain_mixup(), Recorder()
        schedule = callbacks.MixingSchedule(mixup, warmup_epochs=2)
        mixed = [
            (
                model.fit(plain_batches().apply(mixup), callbacks=[schedule])
                < 1
            ).any()
            for _ in range(4)
        ]
        assert mixed == [False, False, True, True]

    def test_another_model_warms_up_again_with_other_draws(self):
        mixup = plain_mixup()
        batches = plain_batches().apply(mixup)
        both = [
            Recorder().fit(
                batches,
                epochs=3,
                callbacks=[callbacks.MixingSchedule(mixup, warmup_epochs=1)],
            )
            for _ in range(2)
        ]
        for each in both:
            assert (each[0] == 1).all()
        assert_distinct(*(each[1:] for each in both))

    def test_alpha_by_epoch_starts_again_with_another_model(self):
        mixup = plain_mixup(lambda epoch, _: tf.cast(epoch, tf.float32))
        batches = plain_batches().apply(mixup)
        for _ in range(2):
            lam = Recorder().fit(
                batches,
                epochs=2,
                callbacks=[callbacks.MixingSchedule(mixup)],
            )
            np.testing.assert_array_equal((lam < 1).any((1, 2)), [False, True])

    @pytest.mark.parametrize("same_stage", [True, False])
    def test_initial_epoch_says_where(self, same_stage):
        mixup = plain_mixup()
        batches = plain_batches().apply(mixup)
        schedule = callbacks.MixingSchedule(mixup)
        one = Recorder().fit(batches, epochs=4, callbacks=[schedule])
        if not same_stage:
            mixup = plain_mixup()
            batches = plain_batches().apply(mixup)
            schedule = callbacks.MixingSchedule(mixup)
        resumed = Recorder().fit(
            batches, epochs=4, initial_epoch=2, callbacks=[schedule]
        )
        np.testing.assert_array_equal(resumed, one[2:])

    @pytest.mark.parametrize("freq", [1, 2])
    def test_validation_between_epochs(self, freq):
        mixup = plain_mixup()
        lam = Recorder().fit(
            plain_batches().apply(mixup),
            epochs=3,
            # That validation is mixed is a mistake; it must not spread.
            validation_data=plain_batches().apply(mixup),
            validation_freq=freq,
            callbacks=[callbacks.MixingSchedule(mixup)],
        )
        np.testing.assert_array_equal(lam, three_epochs())

    @pytest.mark.parametrize("how", ["zip", "concatenation"])
    def test_two_datasets_of_one_stage(self, how):
        mixup, model = plain_mixup(), Recorder()
        both = [plain_batches().apply(mixup) for _ in range(2)]
        if how == "zip":
            batches = tf.data.Dataset.zip(*both).flat_map(
                lambda *each: tf.data.Dataset.from_tensors(each[0]).concatenate(
                    tf.data.Dataset.from_tensors(each[1])
                )
            )
            batches = batches.apply(tf.data.experimental.assert_cardinality(6))
        else:
            batches = both[0].concatenate(both[1])
        lam = model.fit(
            batches,
            epochs=3,
            callbacks=[callbacks.MixingSchedule(mixup)],
        )
        assert_distinct(lam)
        own = lam[:, ::2] if how == "zip" else lam[:, :3]
        np.testing.assert_array_equal(own, three_epochs())

    def test_goes_on_under_a_strategy(self, two_replicas):
        mixup = plain_mixup(groups=2)
        seen = []
        with two_replicas.scope():
            model = stages.training_model(make_flat_model())
            model.compile("sgd", "mse")

        class Note(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                seen.append(mixup.epoch_counter.epoch)

        batches = plain_batches().apply(mixup)
        for _ in range(2):
            model.fit(
                batches,
                verbose=0,
                callbacks=[callbacks.MixingSchedule(mixup), Note()],
            )
        assert seen == [0, 1]


class TestBounds:
    """Which stage a schedule belongs to."""

    def fit(self, batches, *schedules, model=None, **options):
        model = Recorder() if model is None else model
        return model.fit(batches, callbacks=list(schedules), **options)

    def test_copies_lead_to_the_same_stage(self):
        # KerasTuner copies callbacks before each trial.
        mixup = plain_mixup()
        schedule = callbacks.MixingSchedule(mixup, warmup_epochs=1)
        for copied in (copy.copy(schedule), copy.deepcopy(schedule)):
            assert copied.mixup is mixup
            lam = self.fit(plain_batches().apply(mixup), copied, epochs=2)
            np.testing.assert_array_equal((lam < 1).any((1, 2)), [False, True])

    def test_pickled_schedule_brings_its_stage(self):
        pickled = pickle.dumps(callbacks.MixingSchedule(plain_mixup()))
        schedule = pickle.loads(pickled)
        lam = self.fit(plain_batches().apply(schedule.mixup), schedule)
        np.testing.assert_array_equal(lam, three_epochs()[:1])

    def test_representation(self):
        schedule = callbacks.MixingSchedule(
            plain_mixup(), warmup_epochs=1, stop_epoch=4
        )
        expected = "MixingSchedule(warmup_epochs=1, stop_epoch=4)"
        assert repr(schedule) == expected

    def test_listed_twice(self):
        mixup = plain_mixup()
        batches = plain_batches().apply(mixup)
        one, same, other = (
            callbacks.MixingSchedule(mixup, warmup_epochs=epochs)
            for epochs in (1, 1, 2)
        )
        for twice in ((one, one), (one, same)):
            lam = self.fit(batches, *twice, epochs=2)
            np.testing.assert_array_equal((lam < 1).any((1, 2)), [False, True])
        with pytest.raises(ValueError, match="Leave one of them out"):
            self.fit(batches, one, other)
        # What was refused leaves nothing behind.
        self.fit(batches, other)

    @pytest.mark.parametrize("mixed", [True, False])
    def test_data_that_did_not_go_through_the_stage(self, mixed):
        mixup = plain_mixup()
        schedule = callbacks.MixingSchedule(mixup)
        batches = plain_batches().apply(mixup if mixed else plain_mixup())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                self.fit(batches, schedule, epochs=2)
        caught = [str(each.message) for each in caught]
        caught = [each for each in caught if "MixingSchedule" in each]
        assert len(caught) == (0 if mixed else 1)

    def test_only_evaluated(self):
        mixup, model = plain_mixup(), Recorder()
        schedule = callbacks.MixingSchedule(mixup)
        batches = plain_batches().apply(mixup)
        model.evaluate(batches, verbose=0, callbacks=[schedule])
        np.testing.assert_array_equal(
            self.fit(batches, schedule, model=model), three_epochs()[:1]
        )


class TestMixingSchedule:
    def batches(self):
        return plain_batches()

    def mixup(self, alpha=1.0, **options):
        return plain_mixup(alpha, **options)

    @pytest.mark.parametrize(
        ("order", "first"),
        [
            *(("plain", 0), ("before", 1), ("after", 0)),
            *(
                pytest.param(*each, marks=pytest.mark.slow)
                for each in (("plain", 1), ("before", 0), ("after", 1))
            ),
        ],
    )
    def test_window_of_epochs(self, order, first):
        mixup = self.mixup()
        schedule = callbacks.MixingSchedule(
            mixup, warmup_epochs=2, stop_epoch=4
        )
        batches = self.batches()
        if order == "before":
            batches = batches.repeat()
        batches = batches.apply(mixup)
        if order == "after":
            batches = batches.repeat()
        active = alphas_at_work(
            mixup,
            batches.prefetch(tf.data.AUTOTUNE),
            epochs=6,
            initial_epoch=first,
            steps_per_epoch=None if order == "plain" else 3,
            callbacks=[schedule],
        )
        expected = np.repeat([False, False, True, True, False, False], 3)
        np.testing.assert_array_equal(active, expected[3 * first :])

    def test_alpha_by_epoch_is_traced_once(self):
        traces = []

        def alpha(epoch, step):
            traces.append(1)
            return tf.where(epoch % 2 == 0, 1.0, 0.0) + 0.0 * tf.cast(
                step, tf.float32
            )

        mixup = self.mixup(alpha)
        active = alphas_at_work(
            mixup,
            self.batches().apply(mixup),
            epochs=4,
            callbacks=[callbacks.MixingSchedule(mixup)],
        )
        np.testing.assert_array_equal(
            active, np.repeat([True, False, True, False], 3)
        )
        assert len(traces) == 1

    def test_negative_alpha_of_a_function(self):
        mixup = self.mixup(lambda epoch, step: tf.constant(-1.0))
        with pytest.raises(tf.errors.InvalidArgumentError, match="finite"):
            list(self.batches().apply(mixup))

    def test_resumed_fit_sees_the_same_batches(self):
        def losses(first):
            keras.utils.set_random_seed(0)
            model = make_model()
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(0.0), loss)
            mixup = make_mixup()
            history = model.fit(
                make_batches().apply(mixup),
                epochs=4,
                initial_epoch=first,
                verbose=0,
                callbacks=[callbacks.MixingSchedule(mixup)],
            )
            return history.history["loss"]

        assert losses(0)[2:] == losses(2)

    def test_each_worker_makes_its_own_batches(self):
        hosts = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(hosts)
        )
        model = types.SimpleNamespace(
            distribute_strategy=types.SimpleNamespace(
                num_replicas_in_sync=6, cluster_resolver=resolver
            )
        )
        for groups in (1, 2, 4):
            mixup = make_mixup(places=1, groups=groups)
            schedule = callbacks.MixingSchedule(mixup)
            schedule.set_model(model)
            if groups > 1:
                schedule._check_groups()
                continue
            with pytest.raises(ValueError, match="groups=1 with 2 replicas"):
                schedule._check_groups()

    def test_rejects_epochs_out_of_order(self):
        with pytest.raises(ValueError, match="stop_epoch"):
            callbacks.MixingSchedule(
                self.mixup(), warmup_epochs=3, stop_epoch=2
            )
        with pytest.raises(ValueError, match=r"Received: a int. Give the"):
            callbacks.MixingSchedule(5)
        with pytest.raises(ValueError, match="warmup_epochs=-1"):
            callbacks.MixingSchedule(self.mixup(), warmup_epochs=-1)

    def test_rejects_replicas_without_groups(self, two_replicas):
        mixup = make_mixup(places=1)
        with two_replicas.scope():
            model = make_model()
            twin = stages.training_model(model)
            twin.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"groups=2"):
            twin.fit(
                make_batches(drop_remainder=True).apply(mixup),
                callbacks=[callbacks.MixingSchedule(mixup)],
                verbose=0,
            )

    @pytest.mark.parametrize(
        ("places", "at"),
        [
            *((2, ("input", "one", "two")), (3, ("input", "one"))),
            *((1, ("one", "two")), (3, None)),
        ],
    )
    def test_rejects_other_places_than_the_twins(self, places, at):
        twin = stages.training_model(make_deep_model(), mean=1.0, at=at)
        twin.compile("sgd", "mse")
        mixup = make_mixup(places=places)
        right = len(at) if at else 1
        with pytest.raises(ValueError, match=f"with a model of {right}"):
            twin.fit(
                make_batches().apply(mixup),
                callbacks=[callbacks.MixingSchedule(mixup)],
                verbose=0,
            )

    def test_takes_the_twins_places(self):
        twin = stages.training_model(make_deep_model(), mean=1.0, at=("one",))
        twin.compile("sgd", "mse")
        mixup = make_mixup(places=1)
        twin.fit(
            make_batches().apply(mixup),
            callbacks=[callbacks.MixingSchedule(mixup)],
            verbose=0,
        )


def test_a_later_training_is_not_left_out():
    mixup, model = make_mixup(), make_model()
    model.compile("sgd", "mse")
    schedule = callbacks.MixingSchedule(mixup, stop_epoch=1)
    batches = make_batches().apply(mixup)
    model.fit(batches, epochs=2, callbacks=[schedule], verbose=0)
    assert mixup.window == (0, None)
