"""Recovers mixing plans from what a stage did to batches.

Who was mixed with whom, and how much, is found by least squares: example `z_i`
of a mixed batch lies on the line between `x_i` and the one it was mixed with.

Shapes: B examples, D features, K columns of targets.
"""

import hashlib
import math
from typing import Any
from typing import NamedTuple

import numpy as np
from keras import tree

from tf_mixup import _checks

# Distances between examples are taken on this many random projections.
NUM_PROJECTIONS = 64
# Between partners that explain the inputs alike, the targets decide.
TARGET_SHARE = 1e-4


class Plan(NamedTuple):
    """What was recovered from a batch; arrays are of finite examples only.

    Attributes:
        lam: Share of the example itself in its mixed input, in `[0, 1]`.
        partner: The other example; any where `lam` is 1.
        residual: Largest distance of a feature from what these two give, as
            a share of the range of the inputs.
        target_residual: The same of the targets and of their sum.
        difference: Between `lam` and the share in the target; 0 where the
            targets of both are equal and any share gives them.
        twins: Share of pairs of examples with equal inputs, each example's
            pair with itself included.
        distance: Of the target from all mixtures of the own target and one
            other of the batch, whatever the inputs are made of.
        finite: `(B,)`, false for examples left out because of NaN or infinity
            in the mixed batch.
        num_nonfinite_before: Examples with NaN or infinity before mixing.
    """

    lam: np.ndarray
    partner: np.ndarray
    residual: np.ndarray
    target_residual: np.ndarray
    difference: np.ndarray
    twins: float
    distance: np.ndarray
    finite: np.ndarray
    num_nonfinite_before: int


def recover_plan(before: Any, after: Any) -> Plan:
    """Finds for each example of `after` the two of `before` it is made of.

    Between examples of equal inputs the targets decide.
    Takes time B * B, and memory for some float32 copies of the batch.

    Args:
        before: `(x, y)` or `(x, y, weight)` of a batch before mixing, or None
            if there is none; `x` any structure, `y` `(B, K)`.
        after: The same after mixing, in the same order.

    Returns:
        plan: The plan, and how well it explains `after`.

    Raises:
        ValueError: If the two cannot be compared.
    """
    x, y, z, t = _comparable(before, after)
    sound = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    finite = sound & np.isfinite(z).all(axis=1) & np.isfinite(t).all(axis=1)
    # Broken ones keep their place, so that partners keep their numbers.
    x, y = (_without(~sound, part) for part in (x, y))
    z, t = (_without(~finite, part) for part in (z, t))
    lam, partner, twins = _search(_project(x), _project(z), y, t, sound)
    away = x - x[partner]
    lam = np.where(
        lam < 1, np.clip(_coefficient(z - x[partner], away), 0, 1), 1
    )
    error = np.abs(z - x[partner] - lam[:, None].astype(np.float32) * away)
    target_away = y - y[partner]
    target_lam = _coefficient(t - y[partner], target_away)
    target_error = t - y[partner] - target_lam[:, None] * target_away
    target_residual = np.maximum(
        np.abs(target_error).max(axis=1), np.abs(target_error.sum(axis=1))
    )
    # Between examples of the same target any coefficient gives that target,
    # and between those of the same inputs theirs cannot be seen.
    telling = (np.square(target_away).sum(axis=1) > 0) & (
        np.square(away).sum(axis=1) > 0
    )
    difference = np.where(telling, np.abs(lam - target_lam), 0)
    return Plan(
        lam=lam[finite],
        partner=partner[finite],
        residual=error.max(axis=1)[finite],
        target_residual=target_residual[finite],
        difference=difference[finite],
        twins=twins,
        distance=_distance(y, t, sound)[finite],
        finite=finite,
        num_nonfinite_before=int((~sound).sum()),
    )


def fingerprint(element: Any) -> list[bytes]:
    """Returns what distinguishes each example of a batch from all others.

    Args:
        element: `(x, y)` or `(x, y, weight)`, each any structure.

    Returns:
        digests: B digests; equal where inputs and targets are, bit by bit.
    """
    leaves = [np.asarray(leaf) for leaf in tree.flatten(tuple(element)[:2])]
    examples = zip(*leaves, strict=True)
    return [
        hashlib.blake2b(
            b"".join(np.ascontiguousarray(part).tobytes() for part in row),
            digest_size=16,
        ).digest()
        for row in examples
    ]


def _without(broken: np.ndarray, examples: np.ndarray) -> np.ndarray:
    return np.where(broken[:, None], 0, examples).astype(np.float32)


def _comparable(before: Any, after: Any) -> list[np.ndarray]:
    """Returns inputs and targets of both batches as matrices of B examples."""
    if before is None or after is None:
        raise _checks.refusal(
            "`unmixed` and `mixed` must have the same number of batches",
            f"one batch less in `{'unmixed' if after else 'mixed'}`",
            "Make both from the same batched dataset",
        )
    # Weights are not compared: class weights add them.
    before, after = (tuple(element)[:2] for element in (before, after))
    shapes = [_shapes(element) for element in (before, after)]
    if _names(before) != _names(after):
        raise _checks.refusal(
            "`unmixed` and `mixed` must have the same structure",
            f"unmixed={shapes[0]}, mixed={shapes[1]}",
            "Compare what the model is fed in the end: a stage that mixes on"
            " the host",
        )
    if shapes[0] != shapes[1]:
        raise _checks.refusal(
            "`unmixed` and `mixed` must have batches of the same shapes",
            f"unmixed={shapes[0]}, mixed={shapes[1]}",
            "Make `unmixed` with the same preprocessing and target format, and"
            " give a stage one-hot targets (B, K) if it made (B, B) of (B,)",
        )
    y, t = (np.asarray(element[1], np.float64) for element in (before, after))
    if y.ndim != 2:
        raise _checks.refusal(
            "Targets must be vectors of shape (B, K)",
            f"targets of shape {y.shape}",
            "Encode them, e.g. with `mixup.evaluation` or `tf.one_hot`",
        )
    inputs = zip(tree.flatten(before[0]), tree.flatten(after[0]), strict=True)
    scaled = [_scale(np.asarray(a), np.asarray(b)) for a, b in inputs]
    x, z = (np.concatenate(each, axis=1) for each in zip(*scaled, strict=True))
    return [x, y, z, t]


def _names(element: Any) -> list[tuple]:
    return [path for path, _ in tree.flatten_with_path(element)]


def _shapes(element: Any) -> Any:
    return tree.map_structure(lambda part: tuple(part.shape), element)


def _scale(
    before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Flattens examples; subtracts the minimum and divides by the range.

    Columns of a table have ranges of their own. Pixels share one, and so do
    whole numbers, since rounding to them is no fault. Where a range is below
    0.1 % of the values float32 may not hold the mixtures.
    """
    whole = np.array_equal(after, np.round(after), equal_nan=True)
    axis = 0 if before.ndim == 2 and not whole else None
    before, after = (
        examples.astype(np.float64).reshape(len(examples), -1)
        for examples in (before, after)
    )
    finite = np.isfinite(before)
    low = before.min(axis, where=finite, initial=np.inf)
    high = before.max(axis, where=finite, initial=-np.inf)
    # Of a column without a finite value both are 0.
    low, high = (np.where(np.isfinite(each), each, 0) for each in (low, high))
    size = 1e-3 * np.maximum(np.abs(low), np.abs(high))
    width = np.maximum(high - low, size)
    width = np.where(width > 0, width, 1.0)
    return (before - low) / width, (after - low) / width


def _project(examples: np.ndarray) -> np.ndarray:
    """Keeps distances but not D: Gaussian projections, the same each time."""
    width = examples.shape[1]
    if width <= NUM_PROJECTIONS:
        return examples.astype(np.float64)
    directions = np.random.default_rng(0).standard_normal(
        (width, NUM_PROJECTIONS), np.float32
    )
    return (examples @ directions).astype(np.float64) / math.sqrt(
        NUM_PROJECTIONS
    )


def _search(
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    sound: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns each one's best coefficient and partner, and share of twins."""
    square, linear, constant = _quadratic(x, z)
    twin = square <= 1e-12 * max(square.max(), 1e-12)
    lam = np.clip(linear / np.where(twin, 1, square), 0, 1)
    lam = np.where(twin, 1, lam)
    cost = _root(square * lam**2 - 2 * linear * lam + constant)
    square, linear, constant = _quadratic(y, t)
    # Equal inputs leave any coefficient to the targets.
    free = np.clip(linear / np.where(square > 0, square, 1), 0, 1)
    shown = np.where(twin, free, lam)
    target_cost = _root(square * shown**2 - 2 * linear * shown + constant)
    cost = cost + TARGET_SHARE * target_cost
    cost[:, ~sound] = np.inf
    partner = cost.argmin(axis=1)
    twins = twin[sound][:, sound]
    share = float(twins.mean()) if twins.size else 1.0
    return lam[np.arange(len(lam)), partner], partner, share


def _distance(y: np.ndarray, t: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """Returns each target's distance from the best mixture of its own."""
    square, linear, constant = _quadratic(y, t)
    lam = np.clip(linear / np.where(square > 0, square, 1), 0, 1)
    cost = _root(square * lam**2 - 2 * linear * lam + constant)
    cost[:, ~sound] = np.inf
    return cost.min(axis=1)


def _quadratic(
    x: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expands the squared distance of `z[i]` from the line of i and j.

    |z_i - x_j - lam (x_i - x_j)|^2 = a lam^2 - 2 b lam + c, as Gram matrices,
    so that no array of B * B * D numbers is needed.
    """
    center = x.mean(axis=0, dtype=np.float64)
    x, z = x - center, z - center
    inner, cross = x @ x.T, z @ x.T
    norm = np.diag(inner)
    a = norm[:, None] - 2 * inner + norm
    b = np.diag(cross)[:, None] - cross - inner + norm
    c = np.square(z).sum(axis=1)[:, None] - 2 * cross + norm
    return a, b, c


def _root(squares: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(squares, 0))


def _coefficient(from_partner: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Solves `from_partner = lam * away` for each; 1 where away is 0."""
    product = np.einsum("ij,ij->i", from_partner, away, dtype=np.float64)
    square = np.einsum("ij,ij->i", away, away, dtype=np.float64)
    return np.where(square > 0, product / np.where(square > 0, square, 1), 1)
