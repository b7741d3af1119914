"""Files that version 0.1 saved still load, and predict the same numbers.

`old_files/predictions.npz` has the inputs `x` and what each model predicted.
"""

import pathlib

import keras
import numpy as np
import pytest

import tf_mixup  # noqa: F401

FOLDER = pathlib.Path(__file__).parent / "old_files"
NAMES = ("temperature", "vector", "isotonic", "compiled", "erl")


@pytest.mark.parametrize("name", NAMES)
def test_predicts_as_before(name):
    model = keras.saving.load_model(FOLDER / f"{name}.keras")
    with np.load(FOLDER / "predictions.npz") as stored:
        x = stored["x"]
        found = model.predict(x, verbose=0)
        np.testing.assert_allclose(found, stored[name], atol=1e-6)
    if model.compiled:
        model.evaluate(x, np.zeros(len(x), "int32"), verbose=0)


@pytest.mark.parametrize("name", ["twin", "places_twin"])
def test_models_that_mix_inside_are_refused(name):
    with pytest.raises(ValueError, match=r"mixup\.training_model\(model\)"):
        keras.saving.load_model(FOLDER / f"{name}.keras")
