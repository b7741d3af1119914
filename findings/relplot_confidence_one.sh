#!/usr/bin/env bash
# relplot 1.0.3: smooth ECE counts predictions of confidence 1 half.
#
# Expected: where no group of predictions is underconfident, smoothing only
# moves mass about, so that smooth ECE is the mean gap at any kernel width. A
# confidence of exactly 1 is what a saturated float32 softmax gives.
# Guess before the run: at each of three widths 0.067, which a test had met at
# one of them, and the mean gap with 0.99 in place of 1.
# Seen: 200 predictions, half of confidence 1 (80 % right), half of 0.9 (90 %
# right). `smECE_sigma` gives 0.067 at widths 0.02, 0.05 and 0.1. With 0.99 in
# place of 1 it gives the mean gap, 0.095.
# Why it matters: the most overconfident predictions are those that are counted
# half, and the comparison of a saturated network with another is off by up to
# a factor of 2. No warning is given.
# Source: `ReflectedGaussianKernel` in relplot/kernels.py, which reflects a
# histogram whose last point lies on the border.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "relplot==1.0.3" "numpy==2.4.6" "scipy==1.17.1"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import relplot

right = np.repeat([1.0, 0.0, 1.0, 0.0], [80, 20, 90, 10])
as_seen = True
for top, expected in ((1.0, 0.067), (0.99, 0.095)):
    confidence = np.repeat([top, 0.9], 100)
    gap = confidence.mean() - right.mean()
    found = [
        float(relplot.smECE_sigma(confidence, right, width))
        for width in (0.02, 0.05, 0.1)
    ]
    print(f"confidence {top} and 0.9: mean gap {gap:.4f}, smooth ECE", found)
    as_seen &= bool(np.allclose(found, expected, atol=0.002))
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
