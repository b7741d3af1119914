"""Tests of optimizers and learning rates."""

import keras
import numpy as np
import pytest

from experiments.runs import config as config_lib
from experiments.runs import optimizers


def pytorch_sgd(weights, gradients, *, rate, l2, momentum, nesterov):
    """Returns weights after each gradient, as torch.optim.SGD documents."""
    weights, velocity = np.array(weights, np.float64), None
    for gradient in gradients:
        gradient = gradient + l2 * weights
        if momentum:
            velocity = (
                gradient if velocity is None else momentum * velocity + gradient
            )
            gradient = gradient + momentum * velocity if nesterov else velocity
        weights = weights - rate * gradient
    return weights


def apply(optimizer, weights, gradients):
    variable = keras.Variable(np.array(weights, "float32"))
    for gradient in gradients:
        gradient = keras.ops.convert_to_tensor(np.array(gradient, "float32"))
        optimizer.apply([gradient], [variable])
    return variable.numpy()


def rates(steps_per_epoch=10, **fields):
    """Returns the learning rate of each step."""
    config = config_lib.Config(**fields)
    schedule = optimizers.build_schedule(config, steps_per_epoch)
    steps = range(config.epochs * steps_per_epoch)
    return np.array([float(schedule(step)) for step in steps])


def tiny_model():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


class TestSGDWithL2:
    def test_two_steps_by_hand(self):
        optimizer = optimizers.SGDWithL2(0.1, l2=0.5, momentum=0.5)
        # Step 1: g = 1 + .5 * 2 = 2, v = 2, w = 2 - .1 (2 + .5 * 2) = 1.7.
        # Step 2: g = 0 + .5 * 1.7 = .85, v = .5 * 2 + .85 = 1.85,
        #         w = 1.7 - .1 (.85 + .5 * 1.85) = 1.5225.
        first = apply(optimizer, [[2.0]], [[[1.0]]])
        np.testing.assert_allclose(first, [[1.7]], rtol=1e-6)
        optimizer = optimizers.SGDWithL2(0.1, l2=0.5, momentum=0.5)
        second = apply(optimizer, [[2.0]], [[[1.0]], [[0.0]]])
        np.testing.assert_allclose(second, [[1.5225]], rtol=1e-6)

    def test_compiled_in_fit_as_by_hand(self):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(4, 3)).astype("float32")
        y = generator.normal(size=(4, 2)).astype("float32")
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, use_bias=False)]
        )
        model.compile(optimizers.SGDWithL2(0.05, l2=0.1), "mse")
        (weights,), velocity = model.get_weights(), 0.0
        model.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0)
        for _ in range(5):
            gradient = x.T @ (x @ weights - y) / 4 + 0.1 * weights
            velocity = 0.9 * velocity + gradient
            weights = weights - 0.05 * (gradient + 0.9 * velocity)
        np.testing.assert_allclose(
            model.get_weights()[0], weights, rtol=1e-4, atol=1e-6
        )

    @pytest.mark.parametrize("nesterov", [False, True])
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    @pytest.mark.parametrize("l2", [0.0, 0.05])
    def test_equals_pytorch(self, l2, momentum, nesterov):
        generator = np.random.default_rng(0)
        weights = generator.normal(size=(4, 3))
        gradients = generator.normal(size=(8, 4, 3))
        options = {"l2": l2, "momentum": momentum, "nesterov": nesterov}
        expected = pytorch_sgd(weights, gradients, rate=0.1, **options)
        found = apply(optimizers.SGDWithL2(0.1, **options), weights, gradients)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_leaves_vectors_alone(self):
        gradients = np.ones((3, 2))
        with_l2 = apply(optimizers.SGDWithL2(l2=0.5), [1.0, 2], gradients)
        without = apply(optimizers.SGDWithL2(), [1.0, 2], gradients)
        np.testing.assert_array_equal(with_l2, without)

    def test_config_round_trip(self):
        schedule = optimizers.WarmUp(
            keras.optimizers.schedules.CosineDecay(0.2, 30), 5
        )
        optimizer = optimizers.SGDWithL2(
            schedule,
            l2=0.3,
            momentum=0.7,
            nesterov=False,
            use_ema=True,
            ema_momentum=0.9,
            name="mine",
        )
        config = keras.saving.serialize_keras_object(optimizer)
        copy = keras.saving.deserialize_keras_object(config)
        assert copy.get_config() == optimizer.get_config()
        assert (copy.l2, copy.momentum, copy.nesterov) == (0.3, 0.7, False)
        assert (copy.use_ema, copy.ema_momentum) == (True, 0.9)
        assert copy.name == "mine"

    def test_compiled_model_goes_on_after_reload(self, tmp_path):
        x, y = np.eye(3, dtype="float32"), np.ones((3, 2), "float32")
        model = tiny_model()
        rate = optimizers.WarmUp(
            keras.optimizers.schedules.CosineDecay(0.2, 30), 5
        )
        model.compile(optimizers.SGDWithL2(rate, l2=0.1), "mse")
        model.fit(x, y, epochs=2, verbose=0)
        model.save(tmp_path / "model.keras")
        copy = keras.models.load_model(tmp_path / "model.keras")
        for each in (model, copy):
            each.fit(x, y, epochs=2, shuffle=False, verbose=0)
        assert int(copy.optimizer.iterations) == 4
        for one, two in zip(
            model.get_weights(), copy.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, two)


class TestBuildSchedule:
    def test_steps_by_hand(self):
        found = rates(
            schedule="steps",
            learning_rate=0.5,
            epochs=6,
            milestones=(2, 4),
            decay=0.1,
        )
        # Epochs 0 and 1, then 2 and 3, then 4 and 5, ten steps each.
        expected = np.repeat([0.5, 0.05, 0.005], 20)
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_warm_up_by_hand(self):
        found = rates(
            schedule="steps",
            learning_rate=0.5,
            epochs=4,
            warmup_epochs=1,
            milestones=(2,),
        )
        # Ten steps rise to the peak, which lasts to the end of epoch 1.
        expected = [*np.arange(1, 11) / 20, *[0.5] * 10, *[0.05] * 20]
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_warm_up_from_a_start_by_hand(self):
        found = rates(
            learning_rate=0.4, warmup_start=0.1, epochs=2, warmup_epochs=1
        )
        # From .1 ten steps of .03 to .4, as for ImageNet.
        expected = [*(0.1 + 0.03 * np.arange(1, 11)), *[0.4] * 10]
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_cosine_by_hand(self):
        found = rates(schedule="cosine", learning_rate=0.4, epochs=2)
        expected = 0.2 * (1 + np.cos(np.pi * np.arange(20) / 20))
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_cosine_starts_after_the_warm_up(self):
        found = rates(
            schedule="cosine", learning_rate=0.4, epochs=3, warmup_epochs=1
        )
        expected = 0.2 * (1 + np.cos(np.pi * np.arange(20) / 20))
        np.testing.assert_allclose(found[10:], expected, rtol=1e-5)
        assert found[9] == pytest.approx(0.4)

    @pytest.mark.parametrize("schedule", ["constant", "steps"])
    def test_constant(self, schedule):
        found = rates(schedule=schedule, learning_rate=0.3, epochs=3)
        np.testing.assert_allclose(found, 0.3, rtol=1e-6)

    def test_milestones_after_the_end_do_nothing(self):
        found = rates(schedule="steps", epochs=3, milestones=(3, 100))
        np.testing.assert_allclose(found, 0.1, rtol=1e-6)

    def test_warm_up_config_round_trip(self):
        config = config_lib.Config(
            warmup_epochs=2, warmup_start=0.05, schedule="cosine"
        )
        schedule = optimizers.build_schedule(config, 5)
        copy = keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(schedule)
        )
        assert [float(copy(step)) for step in (0, 9, 10, 99)] == [
            float(schedule(step)) for step in (0, 9, 10, 99)
        ]


class TestBuildOptimizer:
    @pytest.mark.parametrize("name", ["sgd", "adam", "adadelta"])
    def test_average_of_the_weights_by_hand(self, name):
        config = config_lib.Config(
            optimizer=name, schedule="constant", weight_decay=0, ema=0.75
        )
        optimizer = optimizers.build_optimizer(config, 5)
        variable = keras.Variable(np.ones((2, 3), "float32"))
        seen = []
        for gradient in (1.0, -2.0, 0.5):
            optimizer.apply([keras.ops.full((2, 3), gradient)], [variable])
            seen.append(variable.numpy())
        # The first weights start the average.
        first, second, third = seen
        average = 0.25 * third + 0.75 * (0.25 * second + 0.75 * first)
        optimizer.finalize_variable_values([variable])
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-6)

    def test_no_average_by_default(self):
        for name in ("sgd", "adam", "adadelta"):
            config = config_lib.Config(optimizer=name)
            assert not optimizers.build_optimizer(config, 5).use_ema

    def test_sgd_takes_l2_from_weight_decay(self):
        config = config_lib.Config(weight_decay=0.02)
        optimizer = optimizers.build_optimizer(config, 5)
        assert isinstance(optimizer, optimizers.SGDWithL2)
        assert (optimizer.l2, optimizer.nesterov) == (0.02, True)
        assert optimizer.weight_decay is None

    def test_sgd_without_a_look_ahead(self):
        config = config_lib.Config(nesterov=False)
        assert not optimizers.build_optimizer(config, 5).nesterov

    @pytest.mark.parametrize("name", ["adam", "adadelta"])
    def test_others_decay_kernels_only(self, name):
        config = config_lib.Config(
            optimizer=name, weight_decay=0.5, schedule="constant"
        )
        optimizer = optimizers.build_optimizer(config, 5)
        layer = keras.layers.Dense(2, bias_initializer="ones")
        layer.build((None, 3))
        norm = keras.layers.BatchNormalization(beta_initializer="ones")
        norm.build((None, 2))
        variables = [*layer.variables, *norm.trainable_variables]
        before = [variable.numpy() for variable in variables]
        zeros = [keras.ops.zeros(each.shape) for each in variables]
        optimizer.apply(zeros, variables)
        # Gradients of zero move nothing; decay takes .1 * .5 of a kernel.
        kernel, *others = (variable.numpy() for variable in variables)
        np.testing.assert_allclose(kernel, 0.95 * before[0], rtol=1e-6)
        for found, expected in zip(others, before[1:], strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_adadelta_as_its_paper_writes_it(self):
        config = config_lib.Config(
            optimizer="adadelta",
            learning_rate=1.0,
            schedule="constant",
            weight_decay=0,
        )
        gradients = np.random.default_rng(0).normal(size=(5, 4))
        weights, squares, moves = np.ones(4), np.zeros(4), np.zeros(4)
        for gradient in gradients:
            squares = 0.95 * squares + 0.05 * gradient**2
            move = -np.sqrt((moves + 1e-6) / (squares + 1e-6)) * gradient
            moves = 0.95 * moves + 0.05 * move**2
            weights = weights + move
        optimizer = optimizers.build_optimizer(config, 5)
        found = apply(optimizer, np.ones(4), gradients)
        np.testing.assert_allclose(found, weights, rtol=1e-5)

    def test_adam_without_decay(self):
        config = config_lib.Config(optimizer="adam", weight_decay=0)
        assert optimizers.build_optimizer(config, 5).weight_decay is None
