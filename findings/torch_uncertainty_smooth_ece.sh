#!/usr/bin/env bash
# torch-uncertainty 0.13.0: its smooth ECE does not see confidences near 1.
#
# Expected: `SmoothCalibrationError()` of a classifier that is overconfident and
# nowhere underconfident is its mean gap, whatever the width, as smoothing only
# moves mass about. Confidences above 0.995 are what most networks give to most
# examples that they have fitted.
# Guess before the run: 0 for a confidence of 0.999, as a test had met it; the
# mean gap at 0.98.
# Seen: 200 predictions, half of them 80 % right, half of confidence 0.9 and 90 %
# right. With 0.98 in the first half the default kernel gives the mean gap,
# 0.090; with 0.999 it gives 0.000 where the mean gap is 0.0995.
# `kernel_type="reflected"` gives both.
# Why it matters: an overfitted network is reported as perfectly calibrated.
# Source: torch_uncertainty/metrics/classification/calibration: the default
# `kernel_type` evaluates on a grid of logits that ends before these.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "torch-uncertainty[cpu]==0.13.0" "torch==2.14.1" "torchvision==0.29.1" \
    "torchmetrics==1.9.0"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import torch
from torch_uncertainty.metrics.classification import SmoothCalibrationError

wrong = torch.tensor(np.repeat([0, 1, 0, 1], [80, 20, 90, 10]))
found = {}
for top in (0.98, 0.999):
    sure = torch.tensor([top, 0.9]).repeat_interleave(100)
    gap = float(sure.mean() - 0.85)
    for kernel in ("logit", "reflected"):
        metric = SmoothCalibrationError(kernel_type=kernel)
        metric.update(torch.stack([sure, 1 - sure], dim=1), wrong)
        found[top, kernel] = float(metric.compute())
        print(
            f"confidence {top} and 0.9, {kernel}: mean gap {gap:.4f},"
            f" smooth ECE {found[top, kernel]:.4f}"
        )
as_seen = (
    abs(found[0.98, "logit"] - 0.09) < 0.002
    and found[0.999, "logit"] < 0.001
    and abs(found[0.999, "reflected"] - 0.0995) < 0.002
)
print("as seen" if as_seen else "it has changed")
sys.exit(0 if as_seen else 1)
PYTHON
