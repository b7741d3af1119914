"""A KerasTuner search over alpha, whose callbacks it copies for each trial."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup

keras_tuner = pytest.importorskip(
    "keras_tuner", reason="needs the extra `ecosystem`"
)

pytestmark = pytest.mark.slow

EPOCHS = 2
ALPHAS = [0.3, 2.0]
LABELS = np.arange(64) % 3
INPUTS = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
INPUTS[:, :3] += 2 * np.eye(3)[LABELS]
DATA = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(16)


def mixed(targets, _):
    """Is 1 for each target that is not of one class alone."""
    return keras.ops.cast(keras.ops.max(targets, axis=-1) < 1, "float32")


def largest(targets, _):
    return keras.ops.max(targets, axis=-1)


class Model(keras_tuner.HyperModel):
    """A model whose `fit` is remembered for each trial."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = alpha
        self.histories = {}

    def build(self, hp):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
        )
        model.compile(
            keras.optimizers.SGD(0.1),
            "categorical_crossentropy",
            metrics=[tf_mixup.metrics.CalibrationMetrics(), mixed, largest],
        )
        hp.Choice("alpha", ALPHAS)
        return model

    def fit(self, hp, model, data, callbacks, **options):
        alpha = hp.get("alpha")
        self.alpha.assign(alpha)
        result = model.fit(data, callbacks=callbacks, **options)
        self.histories[alpha] = result.history
        return result


def test_search_over_the_alpha_of_a_shared_stage(tmp_path):
    keras.utils.set_random_seed(0)
    alpha = tf.Variable(1.0)
    mixup = tf_mixup.MixUp(lambda epoch, step: alpha, num_classes=3, seed=0)
    callbacks = [
        tf_mixup.callbacks.CalibrationMonitor(),
        tf_mixup.callbacks.MixingSchedule(mixup, warmup_epochs=1),
    ]
    model = Model(alpha)
    tuner = keras_tuner.GridSearch(
        model,
        keras_tuner.Objective("val_ece", "min"),
        max_trials=2,
        directory=tmp_path,
        project_name="alpha",
    )
    tuner.search(
        DATA.apply(mixup),
        validation_data=DATA.apply(mixup.evaluation),
        epochs=EPOCHS,
        callbacks=callbacks,
        verbose=0,
    )

    histories = model.histories
    assert sorted(histories) == ALPHAS
    for history in histories.values():
        assert history["mixed"][0] == 0
        assert history["mixed"][1] > 0.5
    # The alpha of the trial is what was mixed with.
    assert histories[2.0]["largest"][1] < histories[0.3]["largest"][1]
    trials = tuner.oracle.get_best_trials(2)
    scores = [trial.score for trial in trials]
    expected = [
        min(histories[trial.hyperparameters.get("alpha")]["val_ece"])
        for trial in trials
    ]
    assert scores == pytest.approx(expected)
    assert scores == sorted(scores)
