"""Tests of the callback that tells the mixing stage the epoch."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup import layers
from tf_mixup import mixing_schedule
from tf_mixup import pipeline

CLASSES = 5


def make_batches(**options):
    generator = np.random.default_rng(0)
    rows = (
        generator.integers(0, 256, (22, 6, 6, 3), dtype="uint8"),
        generator.integers(0, CLASSES, 22),
    )
    return tf.data.Dataset.from_tensor_slices(rows).batch(8, **options)


def make_mixup(alpha=0.4, **options):
    return pipeline.MixUp(alpha, num_classes=CLASSES, seed=1, **options)


def make_model():
    inputs = keras.Input((6, 6, 3))
    features = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(features))


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


class TestMixingSchedule:
    def batches(self):
        rows = np.zeros((12, 1), "float32"), np.zeros((12, 1), "float32")
        return tf.data.Dataset.from_tensor_slices(rows).batch(4)

    def mixup(self, alpha=1.0, **options):
        return pipeline.MixUp(alpha, seed=0, placement="model", **options)

    @pytest.mark.parametrize("order", ["plain", "before", "after"])
    @pytest.mark.parametrize("first", [0, 1])
    def test_window_of_epochs(self, order, first):
        mixup = self.mixup()
        schedule = mixing_schedule.MixingSchedule(
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
            callbacks=[mixing_schedule.MixingSchedule(mixup)],
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
                callbacks=[mixing_schedule.MixingSchedule(mixup)],
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
            mixup = make_mixup(placement="model", groups=groups)
            schedule = mixing_schedule.MixingSchedule(mixup)
            schedule.set_model(model)
            if groups > 1:
                schedule._check_groups()
                continue
            with pytest.raises(ValueError, match="groups=1 with 2 replicas"):
                schedule._check_groups()

    def test_rejects_epochs_out_of_order(self):
        with pytest.raises(ValueError, match="stop_epoch"):
            mixing_schedule.MixingSchedule(
                self.mixup(), warmup_epochs=3, stop_epoch=2
            )
        with pytest.raises(ValueError, match="warmup_epochs=-1"):
            mixing_schedule.MixingSchedule(self.mixup(), warmup_epochs=-1)

    def test_rejects_replicas_without_groups(self, two_replicas):
        mixup = make_mixup(placement="model")
        with two_replicas.scope():
            model = make_model()
            twin = layers.training_twin(model)
            twin.compile("sgd", "mse")
        with pytest.raises(ValueError, match=r"groups=2"):
            twin.fit(
                make_batches(drop_remainder=True).apply(mixup),
                callbacks=[mixing_schedule.MixingSchedule(mixup)],
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
        twin = layers.training_twin(make_deep_model(), mean=1.0, at=at)
        twin.compile("sgd", "mse")
        mixup = make_mixup(placement="model", places=places)
        right = len(at) if at else 1
        with pytest.raises(ValueError, match=f"places={right}"):
            twin.fit(
                make_batches().apply(mixup),
                callbacks=[mixing_schedule.MixingSchedule(mixup)],
                verbose=0,
            )

    def test_takes_the_twins_places(self):
        twin = layers.training_twin(make_deep_model(), mean=1.0, at=("one",))
        twin.compile("sgd", "mse")
        mixup = make_mixup(placement="model")
        twin.fit(
            make_batches().apply(mixup),
            callbacks=[mixing_schedule.MixingSchedule(mixup)],
            verbose=0,
        )
