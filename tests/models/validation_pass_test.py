"""The hook on `evaluate` sees the pass of `fit` only."""

import keras
import numpy as np
import pytest

from tf_mixup._models import validation_pass


class Counting(keras.callbacks.Callback):
    """A monitor that counts."""

    def __init__(self, fails=False):
        super().__init__()
        self.values = {}
        self.fails = fails

    def on_train_begin(self, logs=None):
        validation_pass.attach(self)

    def on_train_end(self, logs=None):
        validation_pass.detach(self.model)

    def measure_validated(self):
        if self.fails:
            raise RuntimeError("broken")
        self.values = {"count": self.values.get("count", 0.0) + 1}


class Evaluating(keras.callbacks.Callback):
    """Evaluates by itself, with a list of callbacks."""

    def on_epoch_end(self, epoch, logs=None):
        data = np.ones((2, 1)), np.ones((2, 1))
        self.found = self.model.evaluate(
            *data, verbose=0, return_dict=True, callbacks=[Evaluating()]
        )


def make_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def fit(model, *callbacks):
    data = np.ones((4, 1)), np.ones((4, 1))
    return model.fit(
        *data,
        validation_data=data,
        epochs=2,
        verbose=0,
        callbacks=list(callbacks),
    ).history


def test_measures_once_in_each_pass_of_fit():
    model, monitor, own = make_model(), Counting(), Evaluating()
    history = fit(model, own, monitor, monitor)
    assert history["count"] == [1, 2]
    assert set(own.found) == {"loss"}
    assert "evaluate" not in vars(model)


def test_an_error_leaves_the_list_of_callbacks_as_it_was():
    model, before = make_model(), keras.callbacks.Callback()
    listed = keras.callbacks.CallbackList(
        [before, Counting(fails=True)], model=model, epochs=2
    )
    data = np.ones((4, 1)), np.ones((4, 1))
    with pytest.raises(RuntimeError, match="broken"):
        model.fit(
            *data, validation_data=data, callbacks=listed, verbose=0, epochs=2
        )
    assert listed.callbacks[0] is before
    assert fit(model, Counting())["count"] == [1, 2]
