"""Files that version 0.1 saved still load, and predict the same numbers.

`old_files/predictions.npz` has the inputs `x` and what each model predicted.
"""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_mixup  # noqa: F401

FOLDER = pathlib.Path(__file__).parent / "old_files"
NAMES = ("temperature", "vector", "isotonic", "compiled", "erl")

_PROGRAM = """
import sys

import keras
import numpy as np

import tf_mixup

source, inputs, *names = sys.argv[1:]
x = np.load(inputs)["x"]
for name in names:
    model = keras.saving.load_model(f"{source}/{name}.keras")
    if model.compiled:
        model.evaluate(x, np.zeros(len(x), "int32"), verbose=0)
    np.save(f"{name}.npy", model.predict(x, verbose=0))
"""


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Returns predictions of a process that imports the package alone."""
    folder = tmp_path_factory.mktemp("old_files")
    inputs = FOLDER / "predictions.npz"
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(FOLDER), str(inputs), *NAMES],
        cwd=folder,
        check=True,
    )
    return {name: np.load(folder / f"{name}.npy") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_predicts_as_before(name, predicted):
    with np.load(FOLDER / "predictions.npz") as stored:
        np.testing.assert_allclose(predicted[name], stored[name], atol=1e-6)


@pytest.mark.parametrize("name", ["twin", "places_twin"])
def test_models_that_mix_inside_are_refused(name):
    with pytest.raises(ValueError, match=r"mixup\.training_model\(model\)"):
        keras.saving.load_model(FOLDER / f"{name}.keras")
