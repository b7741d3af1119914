#!/usr/bin/env bash
# Keras 3.15.1: scikit-learn's cross-validation trains one epoch, not 20.
#
# Expected: `SKLearnClassifier(model, fit_kwargs={"epochs": 20})` trains each
# clone that scikit-learn makes of it for 20 epochs, as it does when `fit` is
# called directly.
# Guess before the run: 20 epochs by `fit`, and 1 in each fold, from reading
# that the wrapper's own `__sklearn_clone__` does not pass `fit_kwargs` on.
# Seen: 20 by `fit`, and 1 in each fold. The clone has `fit_kwargs=None`.
# Why it matters: cross-validation, a grid search and its refitted best
# estimator are all of models that have hardly been trained, without a warning;
# an alpha or a temperature that is chosen by them is that of another model.
# Remedy: pass them to the search, `search.fit(x, y, epochs=20)`.
# Source: `SKLBase.__sklearn_clone__` in keras/src/wrappers/sklearn_wrapper.py.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "keras==3.15.1" "jax==0.8.3" "scikit-learn==1.9.1" "numpy==2.4.6"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np
from sklearn.model_selection import cross_validate

y = np.arange(60) % 3
x = np.eye(3)[y] + np.random.default_rng(0).normal(size=(60, 3))


def make(X, y):
    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    return model


options = {"epochs": 20, "verbose": 0}
wrapper = keras.wrappers.SKLearnClassifier(make, fit_kwargs=options)
alone = len(wrapper.fit(x, y).history_.epoch)
folds = cross_validate(wrapper, x, y, cv=2, return_estimator=True)["estimator"]
inside = [len(each.history_.epoch) for each in folds]
print(f"epochs by fit: {alone}, in each fold:", inside)
as_seen = alone == 20 and inside == [1, 1]
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
