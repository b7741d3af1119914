#!/usr/bin/env bash
# scikit-learn 1.8.0: the inverse temperature of a binary classifier is half.
#
# Expected: `CalibratedClassifierCV(method="temperature")` leaves a model that
# is calibrated as it is, with an inverse temperature `beta_` of about 1,
# whether it is fitted on `decision_function` or on `predict_proba`.
# Guess before the run: about 1 for both, and for three classes.
# Seen: about 0.5 where a binary model has a `decision_function`, which is
# preferred, and about 1 for the same model with `predict_proba` alone and for
# three classes. Calibrated probabilities are the same.
# Why it matters: `1 / beta_` of a calibrated logistic regression is a
# temperature of 2, that of an overconfident model; numbers of binary and of
# multiclass models, or of two kinds of estimators, cannot be compared, nor put
# into another program that divides the log-odds by a temperature.
# Source: `_convert_to_logits` in sklearn/calibration.py, which makes of a
# log-odds x the two logits -x and x, whose difference is 2 x.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "scikit-learn==1.8.0" "numpy==2.4.6" "scipy==1.17.1"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression


class ProbabilitiesAlone(ClassifierMixin, BaseEstimator):
    """The same model without its `decision_function`."""

    def __init__(self, model):
        self.model = model

    def fit(self, inputs, labels):
        self.classes_ = self.model.classes_
        return self

    def predict(self, inputs):
        return self.model.predict(inputs)

    def predict_proba(self, inputs):
        return self.model.predict_proba(inputs)


def draw(num_classes, count=20_000):
    """Labels of a linear model, which logistic regression can find."""
    inputs = rng.normal(size=(count, 3))
    logits = inputs @ np.eye(3)[:, :num_classes] * 2
    noise = rng.gumbel(size=logits.shape)
    return inputs, (logits + noise).argmax(axis=1)


def calibrate(model, inputs, labels):
    frozen = FrozenEstimator(model)
    found = CalibratedClassifierCV(frozen, method="temperature")
    found.fit(inputs, labels)
    calibrator = found.calibrated_classifiers_[0].calibrators[0]
    return float(calibrator.beta_), found


as_seen = True
rng = np.random.default_rng(0)
for num_classes, expected in ((2, 0.5), (3, 1.0)):
    model = LogisticRegression(C=1e6).fit(*draw(num_classes))
    held_out = draw(num_classes)
    beta, calibrated = calibrate(model, *held_out)
    alone = ProbabilitiesAlone(model).fit(*held_out)
    other, same = calibrate(alone, *held_out)
    apart = np.abs(
        calibrated.predict_proba(held_out[0]) - same.predict_proba(held_out[0])
    ).max()
    print(
        f"{num_classes} classes: beta_ {beta:.3f} by decision_function,"
        f" {other:.3f} by predict_proba; probabilities differ by {apart:.1e}"
    )
    as_seen &= abs(beta - expected) < 0.05 and abs(other - 1) < 0.05
    as_seen &= apart < 1e-4
sys.exit(not as_seen)
PYTHON
