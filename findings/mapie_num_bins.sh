#!/usr/bin/env bash
# MAPIE 1.6.0: `num_bins` of its calibration errors counts edges, not bins.
#
# Expected: `expected_calibration_error(..., num_bins=10, split_strategy=
# "uniform")` has ten bins of equal width, as its documentation says, and with
# one bin is |mean confidence - accuracy|.
# Guess before the run: num_bins=11 gives the ECE of ten bins, and num_bins=1,
# with the one edge 0, leaves out every example and gives NaN.
# Seen: both. On 3,000 confidences ten bins have an ECE of 0.103, and so has
# num_bins=11; num_bins=10 gives that of nine bins, 0.064. num_bins=2 is
# |mean confidence - accuracy|, num_bins=1 is NaN with a warning of NumPy. The
# default of 50 is 49 bins.
# Why it matters: a comparison of MAPIE's ECE with another package's at the same
# number of bins compares other bins, by more than most methods differ.
# Source: `_get_binning_groups` in mapie/metrics/calibration.py,
# `np.linspace(0.0, 1.0, num_bins)`; the quantiles of "quantile" are the same.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "mapie==1.6.0" "numpy==2.4.6" "scikit-learn==1.9.1"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
from mapie.metrics.calibration import expected_calibration_error

generator = np.random.default_rng(0)
confidence = generator.uniform(0.01, 0.99, 3000)
# A gap that changes its sign from one tenth to the next.
rate = np.clip(confidence + 0.1 * (-1) ** np.floor(10 * confidence), 0, 1)
correct = (generator.random(3000) < rate).astype(int)


def ece(num_bins):
    place = np.ceil(num_bins * confidence).astype(int)
    sums = np.bincount(place, correct - confidence)
    return np.abs(sums).sum() / len(confidence)


def theirs(num_bins):
    return expected_calibration_error(
        correct, confidence, num_bins=num_bins, split_strategy="uniform"
    )


for bins in (1, 2, 10, 11):
    print(f"{bins}: MAPIE {theirs(bins):.4f}, by hand {ece(bins):.4f}")
as_seen = (
    np.isnan(theirs(1))
    and np.isclose(theirs(2), ece(1))
    and np.isclose(theirs(11), ece(10))
    and abs(theirs(10) - ece(10)) > 0.01
)
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
