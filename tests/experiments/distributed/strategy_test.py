"""Tests of training on two replicas."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.datasets import batches
from experiments.distributed import strategy as strategy_lib
from experiments.networks import resnet
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import optimizers
from tf_mixup import callbacks
from tf_mixup import metrics
from tf_mixup import mixing

STEPS = 5
BATCH = 12
CONFIG = {"alpha": 0.4, "schedule": "constant", "learning_rate": 0.01}


def make_rows(num_rows):
    generator = np.random.default_rng(0)
    return (
        generator.integers(0, 256, (num_rows, 8, 8, 1), np.uint8),
        generator.integers(0, 4, num_rows).astype(np.int32),
    )


def fit(
    name,
    *,
    placement="host",
    groups=2,
    replicas=2,
    sync=True,
    validate=False,
):
    """Takes five steps; returns the network and the history."""
    config = config_lib.Config(placement=placement, **CONFIG)
    strategy = strategy_lib.build_strategy(name)
    mixup = model_setup.build_mixup(config, 4, strategy)
    if placement == "model":
        # One device must mix within the same halves as two do.
        mixup.partner = mixing.Partners(groups=groups)
    with strategy.scope():
        network = resnet.build_resnet(
            (8, 8, 1), 4, blocks=(1,), width=2, synchronized=sync, seed=0
        )
        model = model_setup.training_model(config, mixup, network)
    dataset = batches.training_batches(
        *make_rows(STEPS * BATCH + 3),
        batch_size=BATCH,
        seed=0,
        augmentation="none",
        epoch_counter=mixup.epoch_counter,
    ).apply(mixup)
    # Batches of 8, 8 and 3 rows: the last one has unequal shares.
    validation = batches.evaluation_batches(
        *make_rows(19), batch_size=7, replicas=replicas
    )
    validation = validation.apply(mixup.evaluation)
    with strategy.scope():
        model.compile(
            optimizers.build_optimizer(config, STEPS),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy", metrics.CalibrationMetrics(from_logits=True)],
        )
    history = model.fit(
        dataset,
        validation_data=validation if validate else None,
        shuffle=False,
        verbose=0,
        callbacks=[
            strategy_lib.AverageMovingStatistics(),
            callbacks.MixingSchedule(mixup),
        ],
    )
    return network, model, validation, history.history


def moving_statistics(network):
    return [
        variable
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def on_each_replica(variable):
    """Returns a variable's values, one for each replica."""
    strategy = strategy_lib.build_strategy("mirrored")
    values = strategy.experimental_local_results(variable.value)
    return [value.numpy() for value in values]


@pytest.fixture(scope="module")
def single():
    return fit("none", validate=True)


@pytest.fixture(scope="module")
def mirrored():
    return fit("mirrored", validate=True)


@pytest.fixture(scope="module")
def unsynchronized():
    return fit("mirrored", sync=False, validate=True)


class TestBuildStrategy:
    def test_none_is_one_device(self):
        strategy = strategy_lib.build_strategy("none")
        assert strategy.num_replicas_in_sync == 1
        assert not isinstance(strategy, tf.distribute.MirroredStrategy)

    def test_another_backend_has_the_gpus_to_itself(self, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        hidden = []
        monkeypatch.setattr(
            tf.config, "set_visible_devices", lambda *args: hidden.append(args)
        )
        assert strategy_lib.build_strategy("none").num_replicas_in_sync == 1
        assert hidden == [([], "GPU")]

    def test_mirrored_takes_all_logical_cpus(self):
        strategy = strategy_lib.build_strategy("mirrored")
        assert strategy.num_replicas_in_sync == 2

    def test_needs_tensorflow(self, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="backend 'jax'") as caught:
            strategy_lib.build_strategy("mirrored")
        assert "KERAS_BACKEND=tensorflow" in str(caught.value)

    def test_two_of_a_process_do_not_meet(self):
        # TensorFlow's default for CPUs fails at the second shape: "Shape
        # mismatch in the collective instance 100".
        for size in (3, 4, 5):
            strategy = strategy_lib.build_strategy("mirrored")

            @tf.function
            def add(strategy=strategy, size=size):
                def replica():
                    context = tf.distribute.get_replica_context()
                    return context.all_reduce("SUM", tf.ones([size]))

                return strategy.run(replica)

            for part in strategy.experimental_local_results(add()):
                np.testing.assert_array_equal(part, np.full(size, 2))


class TestCheckBatchSize:
    def test_refuses_unequal_shares(self):
        strategy = strategy_lib.build_strategy("mirrored")
        with pytest.raises(ValueError, match="multiple of the replicas") as e:
            strategy_lib.check_batch_size(strategy, 63)
        assert "batch_size=63 with 2 replicas" in str(e.value)
        assert "Write --batch_size=64." in str(e.value)

    def test_lets_equal_ones_pass(self):
        for name, batch_size in (("mirrored", 64), ("none", 63)):
            strategy = strategy_lib.build_strategy(name)
            strategy_lib.check_batch_size(strategy, batch_size)


class TestTwoReplicas:
    def test_weights_are_those_of_one_device(self, single, mirrored):
        for one, two in zip(
            single[0].get_weights(), mirrored[0].get_weights(), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-4)

    def test_history_is_that_of_one_device(self, single, mirrored):
        assert set(single[3]) == set(mirrored[3])
        for name, values in single[3].items():
            np.testing.assert_allclose(values, mirrored[3][name], atol=1e-4)

    def test_metrics_on_fixed_weights_are_those_of_one_device(
        self, single, mirrored
    ):
        network, model, validation, _ = mirrored
        single[0].set_weights(network.get_weights())
        one = single[1].evaluate(validation, verbose=0, return_dict=True)
        two = model.evaluate(validation, verbose=0, return_dict=True)
        assert set(one) == set(two)
        for name, value in one.items():
            assert two[name] == pytest.approx(value, abs=1e-6), name

    @pytest.mark.slow
    def test_inside_the_model_with_the_same_groups(self):
        one = fit("none", placement="model")
        two = fit("mirrored", placement="model")
        for a, b in zip(
            one[0].get_weights(), two[0].get_weights(), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-4)


# Of a process that has not yet counted its devices.
FOUR_REPLICAS = """
import numpy as np
from experiments.distributed import strategy as distribution
distribution.split_cpu(4)
from tests.experiments.distributed import strategy_test as tests
one, four = (
    tests.fit(name, placement="model", groups=4, replicas=4, validate=True)
    for name in ("none", "mirrored")
)
assert four[1].distribute_strategy.num_replicas_in_sync == 4
for a, b in zip(one[0].get_weights(), four[0].get_weights(), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
assert one[3].keys() == four[3].keys()
for name, values in one[3].items():
    np.testing.assert_allclose(values, four[3][name], atol=1e-4)
"""


@pytest.mark.slow
class TestFourReplicas:
    def test_train_as_one_device_does(self):
        done = subprocess.run(
            [sys.executable, "-c", FOUR_REPLICAS],
            cwd=pathlib.Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


class TestAverageMovingStatistics:
    def test_replicas_agree_after_an_epoch(self, unsynchronized):
        for variable in moving_statistics(unsynchronized[0]):
            one, two = on_each_replica(variable)
            np.testing.assert_array_equal(one, two)

    def test_average_is_the_mean(self, unsynchronized):
        network, model, _, _ = unsynchronized
        strategy = model.distribute_strategy
        variable = moving_statistics(network)[0]
        kept = variable.numpy()
        with strategy.scope():

            @tf.function
            def differ():
                def replica():
                    context = tf.distribute.get_replica_context()
                    number = context.replica_id_in_sync_group
                    variable.assign(
                        tf.fill(variable.shape, tf.cast(number + 1, "float32"))
                    )

                strategy.run(replica)

            differ()
        one, two = on_each_replica(variable)
        assert (one[0], two[0]) == (1, 2)
        callback = strategy_lib.AverageMovingStatistics()
        callback.set_model(model)
        callback.on_epoch_end(0)
        np.testing.assert_array_equal(on_each_replica(variable), 1.5)
        variable.assign(kept)

    def test_saved_model_is_the_one_that_was_evaluated(
        self, unsynchronized, tmp_path
    ):
        network, model, validation, history = unsynchronized
        network.save(tmp_path / "model.keras")
        copy = keras.models.load_model(tmp_path / "model.keras")
        for variable, saved in zip(
            moving_statistics(network), moving_statistics(copy), strict=True
        ):
            each = np.mean(on_each_replica(variable), axis=0)
            np.testing.assert_allclose(saved.numpy(), each, rtol=1e-6)
        copy.compile(metrics=["accuracy"], loss=model.loss)
        found = copy.evaluate(validation, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(history["val_loss"][0], abs=1e-5)

    def test_one_device_is_left_alone(self, single):
        callback = strategy_lib.AverageMovingStatistics()
        callback.set_model(single[1])
        before = single[0].get_weights()
        callback.on_test_begin()
        for one, two in zip(before, single[0].get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
