"""Tests of what all stages share: arrays to batches, and where they mix."""

import keras
import numpy as np
import pytest

from tests import stages
from tf_mixup import callbacks
from tf_mixup import mixing


def make_arrays(count=23):
    x = np.arange(count, dtype="float32")[:, None]
    return x, np.arange(count) % 3


def inputs_of(batches):
    return np.concatenate([np.array(x) for x, *_ in batches]).reshape(-1)


class TestFromArrays:
    def make(self, alpha=0, seed=0, **options):
        mixup = mixing.MixUp(alpha, num_classes=3, seed=seed)
        return mixup.from_arrays(*make_arrays(), batch_size=4, **options)

    def test_each_epoch_has_other_batches_of_the_examples(self):
        train, validation = self.make()
        assert validation is None
        epochs = [inputs_of(train) for _ in range(6)]
        for epoch in epochs:
            # 20 of 23: the examples that do not fill a batch are left out.
            assert len(np.unique(epoch)) == len(epoch) == 20
        assert not np.array_equal(epochs[0], epochs[1])
        assert len(np.unique(epochs)) == 23

    def test_the_split_is_random_and_disjoint(self):
        train, validation = self.make(validation_split=0.2)
        held_out = inputs_of(validation)
        assert len(held_out) == 5
        seen = np.concatenate([inputs_of(train) for _ in range(5)])
        assert set(seen) == set(range(23)) - set(held_out)
        again = inputs_of(self.make(validation_split=0.2)[1])
        other = inputs_of(self.make(validation_split=0.2, seed=1)[1])
        np.testing.assert_array_equal(held_out, again)
        assert not np.array_equal(held_out, other)

    def test_labels_and_weights_stay_with_their_examples(self):
        x, y = make_arrays()
        mixup = mixing.MixUp(0, num_classes=3)
        train, _ = mixup.from_arrays(
            {"a": x, "b": 2 * x}, y, sample_weight=3 * x[:, 0], batch_size=8
        )
        for inputs, targets, weights in train:
            values = np.array(inputs["a"])[:, 0]
            np.testing.assert_array_equal(inputs["b"][:, 0], 2 * values)
            np.testing.assert_array_equal(weights, 3 * values)
            np.testing.assert_array_equal(
                targets, np.eye(3)[values.astype(int) % 3]
            )

    def test_a_resumed_fit_sees_the_same_batches(self):
        seen = []

        class Seen(keras.layers.Layer):
            def call(self, inputs, training=None):
                if training:
                    seen.append(np.array(inputs))
                return inputs

        def fit(**epochs):
            seen.clear()
            mixup = mixing.MixUp(1.0, num_classes=3, seed=2)
            train, _ = mixup.from_arrays(*make_arrays(), batch_size=4)
            model = keras.Sequential([Seen(), keras.layers.Dense(3)])
            model.compile("sgd", "mse", run_eagerly=True)
            model.fit(
                train,
                verbose=0,
                callbacks=[callbacks.MixingSchedule(mixup)],
                **epochs,
            )
            return np.array(seen)

        whole = fit(epochs=3)
        resumed = fit(epochs=3, initial_epoch=2)
        np.testing.assert_array_equal(resumed, whole[10:])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"batch_size": 24},
                "23 training and 0 validation .*batch_size=24",
            ),
            ({"batch_size": 0}, "batch_size=0"),
            ({"validation_split": 1.5}, "validation_split=1.5"),
            ({"validation_split": 0.01}, "0 validation examples"),
            ({"y": np.zeros(9)}, r"shapes \(23, 1\), \(9,\)"),
            ({"x": 5}, r"shapes \(\), \(23,\)"),
        ],
    )
    def test_refusals(self, change, message):
        x, y = make_arrays()
        arguments = {"x": x, "y": y} | change
        with pytest.raises(ValueError, match=message):
            mixing.MixUp(1.0, num_classes=3).from_arrays(**arguments)


class TestPlaces:
    def make_model(self):
        return keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(3, name="dense")]
        )

    def test_a_stage_that_was_applied_keeps_where_it_mixes(self):
        mixup = mixing.MixUp(1.0, num_classes=3)
        mixup.from_arrays(*make_arrays(), batch_size=4)
        with pytest.raises(ValueError, match="with none"):
            mixup.training_model(self.make_model())

    def test_several_models_of_one_stage(self):
        mixup = mixing.MixUp(1.0, num_classes=3, seed=0)
        mixup.training_model(self.make_model())
        train, _ = mixup.from_arrays(*make_arrays(), batch_size=4)
        model = mixup.training_model(self.make_model())
        model.compile("sgd", "mse")
        model.fit(train, verbose=0)

    def test_given_partners(self):
        mixup = mixing.MixUp(1.0, partner="given")
        with pytest.raises(ValueError, match="partner='given' with a model"):
            mixup.training_model(self.make_model())

    def test_statistics_belong_to_the_stage(self):
        model = stages.training_model(self.make_model(), mean=2.0, std=4.0)
        (layer,) = [
            each for each in model.layers if isinstance(each, mixing.Mix)
        ]
        assert (layer.mean, layer.std) == ((2.0,), (4.0,)) or (
            np.ravel(layer.mean).tolist(),
            np.ravel(layer.std).tolist(),
        ) == ([2.0], [4.0])


def test_lists_of_numbers_are_arrays():
    x, labels = [[1.0, 2.0]] * 8, [0, 1] * 4
    mixup = mixing.MixUp(0.4, num_classes=2, seed=0)
    train, _ = mixup.from_arrays(x, labels, batch_size=4)
    inputs, targets = next(iter(train))
    assert inputs.shape == targets.shape == (4, 2)
