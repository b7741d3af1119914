"""What the laws are tried on, and how often.

Shapes: B examples of a batch, N examples of a data set, K classes, P points.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import hypothesis
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int32", "bool")
SEEDS = st.integers(0, 2**31 - 1)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
# The first of several is tried first: the ordinary before the extreme.
SIZES = st.sampled_from([30, 1, 2, 3, 7, 40])
BATCH_SIZES = st.sampled_from([5, 8, 1, 2, 3, 4, 6, 7, 9])
POINTS = st.sampled_from([2, 3, 4])
ALPHAS = st.sampled_from([0.4, 0.0, 8.0, 1e-3, 1e-30, 1e6]) | st.floats(0.01, 9)
PARALLEL_CALLS = st.sampled_from([2, None, 1, 4, -1])  # -1 is AUTOTUNE.


def law(*, few: int = 20, many: int = 1000, **strategies: Any) -> Callable:
    """Makes two tests of a law: of few examples, and slow of many.

    Examples follow from the code (of the law, and constants of modules that
    are loaded), not from chance, so that no run fails by luck. None is kept.
    """

    def decorate(check: Callable) -> Callable:
        counts = [few, pytest.param(many, marks=pytest.mark.slow)]

        @pytest.mark.parametrize("examples", counts)
        def test(examples):
            settings = hypothesis.settings(
                max_examples=examples,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=[hypothesis.HealthCheck.too_slow],
            )
            settings(hypothesis.given(**strategies)(check))()

        return test

    return decorate


class Batch(NamedTuple):
    """Rows, and a plan: any coefficients and any partners."""

    inputs: np.ndarray  # (B, ...)
    labels: np.ndarray  # Of some form.
    num_classes: int
    lam: np.ndarray  # (B,) or (B, P)
    partner: np.ndarray  # (B,) or (B, P - 1)


@st.composite
def batches(draw):
    size, num_classes = draw(BATCH_SIZES), draw(st.integers(2, 5))
    return Batch(
        draw(examples(size)),
        draw(labels(size, num_classes)),
        num_classes,
        *draw(plans(size)),
    )


@st.composite
def examples(draw, size):
    """Finite numbers of any type, `(size, ...)`."""
    dtype = draw(st.sampled_from(FLOATS + INTEGERS))
    values = 100 * draw(generators()).normal(size=(size, *draw(SHAPES)))
    if dtype in INTEGERS:
        values = values.clip(0, 255)
    return values.astype(as_dtype(dtype))


@st.composite
def bits(draw, size):
    """Any bits of a float: NaN of any kind, the least numbers, infinity."""
    dtype = as_dtype(draw(st.sampled_from(FLOATS)))
    shape, generator = (size, *draw(SHAPES)), draw(generators())
    kind = f"uint{8 * dtype.itemsize}"
    limit = np.iinfo(kind).max
    values = generator.integers(0, limit, shape, kind, endpoint=True)
    values = values.view(dtype)
    values[generator.random(shape) < 0.1] = np.inf
    return values


@st.composite
def plans(draw, size):
    """Coefficients, one for a batch or for each row, and partners."""
    points = draw(POINTS)
    weights = draw(
        hnp.arrays(
            "float32",
            (draw(st.sampled_from([size, 1])), points),
            elements=st.integers(0, 8) | st.floats(0, 1, width=32),
            fill=st.nothing(),
        )
    )
    weights[:, 0] += weights.sum(1) == 0
    lam = weights / weights.sum(1, keepdims=True)
    lam = np.tile(lam, (size // len(lam), 1))
    shape = size, points - 1
    partner = draw(generators()).integers(0, size, shape, dtype="int32")
    return (lam[:, 0], partner[:, 0]) if points == 2 else (lam, partner)


@st.composite
def labels(draw, size, num_classes):
    """Class ids, `(size,)` or `(size, 1)`; one-hot or soft targets."""
    generator = draw(generators())
    ids = generator.integers(0, num_classes, size)
    form = draw(st.sampled_from(["ids", "column", "one-hot", "soft"]))
    if form in ("ids", "column"):
        ids = ids.astype(draw(st.sampled_from(["uint8", "int32", "int64"])))
        return ids if form == "ids" else ids[:, None]
    one_hot = np.eye(num_classes, dtype="float32")[ids]
    if form == "one-hot":
        kinds = ["bool", "uint8", "float16", "float32", "float64"]
        return one_hot.astype(draw(st.sampled_from(kinds)))
    soft = generator.dirichlet(np.ones(num_classes), size).astype("float32")
    return (one_hot + soft) / 2


class Stage(NamedTuple):
    """Options of `MixUp`, and what its dataset is made of."""

    options: dict[str, Any]
    inputs: np.ndarray  # (N, ...)
    labels: np.ndarray  # (N, ...)
    batch: dict[str, Any]  # Options of `Dataset.batch`.


@st.composite
def stages(draw):
    """Ten batches for any stage that mixes pairs, or more, of a batch."""
    groups = draw(st.sampled_from([1, 2, 3]))
    size = groups * draw(st.sampled_from([3, 1, 2]))
    num_examples = 10 * size - draw(st.integers(0, size - 1))
    num_classes = draw(st.integers(2, 5))
    options = {
        "alpha": draw(ALPHAS),
        "num_classes": num_classes,
        "seed": draw(SEEDS),
        "per": draw(st.sampled_from(["example", "batch"])),
        "num_points": draw(POINTS),
        "partner": draw(
            st.sampled_from(["random", "same_class", "different_class"])
        ),
        "self_pairs": draw(st.booleans()),
        "groups": groups,
        "probability": draw(st.sampled_from([1, 0.5, 0])),
        "mix": draw(st.sampled_from(["both", "inputs", "targets"])),
        "include_clean": draw(st.booleans()),
    }
    batch = {"batch_size": size, "drop_remainder": draw(st.booleans())}
    return Stage(
        options,
        draw(examples(num_examples)),
        draw(labels(num_examples, num_classes)),
        batch,
    )


class Scored(NamedTuple):
    """A data set's labels and predictions, and how they are binned."""

    labels: np.ndarray  # Of some form.
    probabilities: np.ndarray  # (N, K)
    weight: np.ndarray | None  # (N,)
    options: dict[str, Any]


@st.composite
def scored(draw):
    size, num_classes = draw(SIZES), draw(st.integers(2, 5))
    return Scored(
        draw(labels(size, num_classes)),
        draw(probabilities(size, num_classes)),
        draw(st.none() | weights(size)),
        {
            "num_bins": draw(st.integers(1, 30)),
            "edges": draw(st.sampled_from(["left", "right"])),
        },
    )


def weights(size):
    """Weights of examples, some of them 0."""
    return hnp.arrays("float32", size, elements=st.floats(0, 9, width=32))


@st.composite
def probabilities(draw, size, num_classes):
    """A softmax, or fractions that tie and lie on edges: 0, 1/2, 4/5, 1."""
    shape = size, num_classes
    generator = draw(generators())
    if draw(st.booleans()):
        values = draw(st.sampled_from([1, 0.01, 30])) * generator.normal(
            size=shape
        )
        values = np.exp(values - values.max(1, keepdims=True))
    else:
        values = generator.integers(0, 6, shape)
        values[:, 0] += values.sum(1) == 0
    values = values.astype("float32")
    return values / values.sum(1, keepdims=True)


@st.composite
def logits(draw):
    """Finite logits `(N, K)` of any size, many of which tie."""
    shape = draw(st.tuples(st.integers(2, 12), st.integers(2, 5)))
    elements = st.floats(-1e4, 1e4, width=32)
    return draw(hnp.arrays("float32", shape, elements=elements))


def generators():
    """For what is many: hypothesis draws the seed, NumPy the numbers."""
    return SEEDS.map(np.random.default_rng)


def as_dtype(name: str) -> np.dtype:
    """Returns the type; NumPy alone has no bfloat16."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def tolerance(values: np.ndarray) -> float:
    """Returns a step of the values' type, and four of float32, at most."""
    step = 4 * float(ml_dtypes.finfo("float32").eps)
    if values.dtype.name in FLOATS:
        step += float(ml_dtypes.finfo(values.dtype).eps)
    return step * np.abs(values.astype("float64")).max(initial=1.0)
