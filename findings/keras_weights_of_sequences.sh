#!/usr/bin/env bash
# Keras 3.15.1: flat sample weights of sequences are weights of steps.
#
# Expected: the documentation of `fit` and `evaluate` allows a flat array of
# `sample_weight`, one weight for each sample, also for temporal data, where a
# 2D array has one for each step. With weights (1, 0) the second of two
# sequences should not count.
# Guess before the run: the weights are multiplied along the last axis of the
# losses (B, T); so they are those of steps where B equals T, and an error
# elsewhere.
# Seen: with two sequences of two steps the loss of the second one, 5.0, is in
# the result, 1.25, which should be 0 but for rounding; with the same weights as
# (B, 1) it is. With three steps there is an error about shapes.
# Why it matters: where the batch size equals the number of steps, sequences
# that are left out are trained on and steps of others are not, without a
# warning.
# Remedy: pass weights (B, 1), or (B, T).
# Source: `squeeze_or_expand_to_same_rank` and `reduce_weighted_values` in
# keras/src/losses/loss.py.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "keras==3.15.1" "jax==0.8.3" "numpy==2.4.6"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np

right, wrong = [9.0, 0.0], [0.0, 5.0]


def evaluate(steps, weights):
    layers = [keras.Input((steps, 2)), keras.layers.Identity()]
    model = keras.Sequential(layers)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    logits = np.array([[right] * steps, [wrong] * steps])
    labels = np.zeros((2, steps), "int32")
    return model.evaluate(
        logits, labels, sample_weight=weights, batch_size=2, verbose=0
    )


weights = np.array([1.0, 0.0])
flat, column = evaluate(2, weights), evaluate(2, weights[:, None])
try:
    other = str(evaluate(3, weights))
except Exception as error:
    other = type(error).__name__
print(f"flat: {flat:.4f}, as (B, 1): {column:.4f}, three steps: {other}")
as_seen = flat > 1 and column < 0.01 and other.endswith("Error")
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
