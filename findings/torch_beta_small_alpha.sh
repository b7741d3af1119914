#!/usr/bin/env bash
# torch 2.14.1: Beta and Dirichlet of a small concentration are often 1/2.
#
# Expected: Beta(a, a) draws nearly always next to 0 or 1 if `a` is small, and
# never exactly 1/2; Dirichlet(a, a, a) has one share near 1. So do NumPy's,
# TensorFlow Probability's and JAX's draws for `a` down to 0.0001.
# Guess before the run: draws of exactly 0 and 1, as float32 cannot hold less.
# Seen: at 0.003 in 1.5 % of the draws, at 0.001 in 24 % and at 0.0001 in 87 %
# the draw is exactly 0.5, in float64 as in float32; of Dirichlet 12 % and 81 %
# have three shares of exactly 1/3. Between 0.01 and 0.99 should lie 0.5 % of
# the draws at 0.001; 25 % do.
# Why it matters: mixup with alpha near 0 is nearly no mixing. In torch a sweep
# or a search that goes below 0.003 finds its strongest mixing there, without a
# warning, and a prior that should be sparse is flat.
# Source: draws are ratios of Gamma variates, which are rounded up to the least
# positive number of the type where they are smaller; two of these are equal.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    "torch==2.14.1" "numpy==2.4.6" "scipy==1.17.1"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import scipy.special
import torch

torch.manual_seed(0)
as_seen = True
for dtype in (torch.float32, torch.float64):
    for alpha, halves, thirds in ((0.003, 0.015, 0), (0.001, 0.24, 0.12),
                                  (0.0001, 0.87, 0.81)):
        each = torch.tensor(alpha, dtype=dtype)
        drawn = torch.distributions.Beta(each, each).sample((100_000,))
        half = float((drawn == 0.5).double().mean())
        inside = float(((drawn > 0.01) & (drawn < 0.99)).double().mean())
        exact = 1 - 2 * scipy.special.betainc(alpha, alpha, 0.01)
        shares = torch.distributions.Dirichlet(each.repeat(3)).sample(
            (100_000,)
        )
        equal = (shares - 1 / 3).abs().max(dim=1).values < 1e-6
        third = float(equal.double().mean())
        print(
            f"{dtype}, {alpha}: {half:.1%} are 1/2, {inside:.1%} in"
            f" (0.01, 0.99) where {exact:.2%} should be; Dirichlet:"
            f" {third:.1%} are 1/3 each"
        )
        as_seen &= abs(half - halves) < 0.01 and abs(third - thirds) < 0.02
sys.exit(not as_seen)
PYTHON
