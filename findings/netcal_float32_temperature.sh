#!/usr/bin/env bash
# netcal 1.4.0 (torch 2.13.0): TemperatureScaling of float32 does nothing.
#
# Expected: fitting on the same probabilities in float32 and in float64 gives
# the same temperature, but for rounding; half the bits of a softmax that most
# networks put out are no reason to fit another one.
# Guess before the run: the same temperature to three digits.
# Seen: on 2,000 overconfident predictions of 5 classes the weight (1 / T) is
# 0.34 from float64, which takes ECE from 0.22 to 0.03, and exactly 1 from
# float32, which leaves the predictions and their ECE as they were. No warning
# and no error: an overconfident model is reported as calibrated.
# Why it matters: a comparison with netcal on a network's own float32 outputs
# compares with nothing.
# Source: netcal/scaling/AbstractLogisticRegression.py: scipy's `minimize` without
# a gradient takes differences over steps of 1.5e-8, which float32 rounds away.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "torch==2.13.0" "netcal==1.4.0" "numpy==2.4.6" "tensorboard==2.21.0" \
    "setuptools<81"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
from netcal.metrics import ECE
from netcal.scaling import TemperatureScaling

generator = np.random.default_rng(0)
truth = generator.dirichlet(np.full(5, 0.3), 2000)
labels = (truth.cumsum(1) < generator.random((2000, 1))).sum(1).clip(0, 4)
claimed = truth**3 + 1e-9
claimed /= claimed.sum(1, keepdims=True)
found = {}
for dtype in ("float64", "float32"):
    given = claimed.astype(dtype)
    scaler = TemperatureScaling()
    scaler.fit(given, labels)
    weight = float(np.ravel(scaler.temperature)[0])
    before = ECE(15).measure(given, labels)
    after = ECE(15).measure(scaler.transform(given), labels)
    found[dtype] = weight
    print(f"{dtype}: weight {weight:.4f}, ECE {before:.4f} -> {after:.4f}")
as_seen = found["float32"] == 1 and 0.3 < found["float64"] < 0.4
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
