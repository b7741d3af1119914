"""Times measuring and mixing beside other libraries, in one process.

All get the same float32 arrays of NumPy and two threads. Needs the extra
`peers`; a library that is missing is refused, since a table without its
fastest entry would flatter.
"""

import importlib.util
import multiprocessing
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.benchmark import memory
from experiments.benchmark import mixing
from experiments.benchmark import timing
from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import metrics
from tf_mixup import ood

LIBRARIES = ("torch", "torchmetrics", "netcal")
THREADS = 2
OURS = "tf_mixup"
METRIC, EAGER = f"{OURS}, metric", f"{OURS}, metric outside of a function"
_BARE = "bare softmax and argmax, TensorFlow"
# Logits of the ECE, `(N, K)`, in batches of so many.
LOGITS_SHAPE = (50_000, 1_000)
BATCH_SIZE = 500
# Of both sets together.
NUM_SCORES = 100_000
# Examples after which memory is read, in batches of so many; of few classes,
# so that they are quickly made.
MEMORY_STEPS = (500_000, 10_000_000)
MEMORY_SHAPE = (5_000, 2)


def check_installed() -> None:
    """Refuses to compare with some libraries only.

    Raises:
        ValueError: If one is not installed.
    """
    missing = [
        name for name in LIBRARIES if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise _checks.refusal(
            "The peers must be installed",
            f"no {', '.join(missing)}",
            "Write `pip install -e '.[peers]'`",
        )


def measure(
    repeats: int,
    *,
    shape: tuple[int, int] = LOGITS_SHAPE,
    size: mixing.Size = mixing.SIZES[0],
    num_scores: int = NUM_SCORES,
) -> list[timing.Table]:
    """Times ECE, mixing and AUROC beside the others', and reads memory.

    Args:
        repeats: Rounds.
        shape: Of the logits whose ECE is taken.
        size: The batch that is mixed; as float32 here.
        num_scores: Scores of which AUROC is taken.
    """
    check_installed()
    import torch

    torch.set_num_threads(THREADS)
    cases = {
        f"ECE of {shape[0]:,} x {shape[1]:,} logits in batches of"
        f" {BATCH_SIZE}, ms": error_cases(*draw_logits(*shape)),
        f"Mixing {'x'.join(map(str, size.shape))} float32, ms a batch": (
            mixing_cases(size)
        ),
        f"AUROC of {num_scores:,} scores, ms": ranking_cases(
            *draw_scores(num_scores)
        ),
    }
    sections: list[timing.Table] = []
    for title, each in cases.items():
        milliseconds = timing.run_in_turns(each, repeats=repeats)
        ratios = _compare(milliseconds)
        if METRIC in milliseconds:
            ratios += _compare_metric(milliseconds)
        sections.append(
            timing.Section(
                title=title, milliseconds=milliseconds, ratios=ratios
            )
        )
    return [*sections, measure_memory()]


def _compare(milliseconds: dict[str, np.ndarray]) -> tuple[timing.Ratio, ...]:
    """Compares our first case with all others."""
    ours = next(name for name in milliseconds if name.startswith(OURS))
    return tuple(
        timing.Ratio(
            name=f"{ours} / {name}",
            rounds=milliseconds[ours] / rounds,
            # Bare parts are no peers, and our other cases are none.
            at_most=None if name.startswith((OURS, "bare", "copy")) else 1.0,
        )
        for name, rounds in milliseconds.items()
        if name != ours
    )


def _compare_metric(
    milliseconds: dict[str, np.ndarray],
) -> tuple[timing.Ratio, ...]:
    """Compares our metric, of which NLL and Brier score follow too."""
    return tuple(
        timing.compare(milliseconds, *names, at_most=at_most)
        for *names, at_most in (
            (METRIC, "torchmetrics", 0.8),
            (METRIC, _BARE, None),
            (EAGER, METRIC, 1.5),
        )
    )


def draw_logits(count: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits `(N, K)` that are often right, and labels `(N,)`."""
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((count, num_classes), np.float32)
    labels = generator.integers(0, num_classes, count, np.int32)
    boost = 6 * generator.standard_normal(count, np.float32)
    logits[np.arange(count), labels] += boost
    return logits, labels


def error_cases(
    logits: np.ndarray, labels: np.ndarray
) -> dict[str, timing.Case]:
    """Returns the ways to an ECE of 15 bins, and a bare pass beside them.

    From our bins OE follows too, from our metric NLL and Brier score as well;
    TFP and netcal take all examples at once, netcal's softmax by SciPy.
    """
    parts = [
        (logits[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE])
        for start in range(0, len(labels), BATCH_SIZE)
    ]
    functions = {
        f"{OURS}, bins": _add_bins,
        METRIC: _updater(),
        EAGER: _updater(compiled=False),
        _BARE: _pass_tensorflow,
        "bare softmax and argmax, torch": _pass_torch,
        "torchmetrics": _update_torchmetrics,
    }
    return {
        **{
            name: timing.calling(function, parts)
            for name, function in functions.items()
        },
        "TFP": timing.calling(_tfp_error, logits, labels),
        "netcal": timing.calling(_netcal_error, logits, labels),
    }


@tf.function
def _tabulate(logits: tf.Tensor, labels: tf.Tensor) -> calibration.Bins:
    return calibration.bin_predictions(labels, logits, from_logits=True)


def _add_bins(parts: list) -> float:
    first, *others = (_tabulate(*part) for part in parts)
    return float(calibration.expected_calibration_error(sum(others, first)))


def _updater(*, compiled: bool = True) -> Callable[[list], float]:
    metric, update = _make_metric(compiled=compiled)

    def run(parts: list) -> float:
        metric.reset_state()
        for part in parts:
            update(*part)
        return float(metric.result())

    return run


def _make_metric(
    *, compiled: bool = True
) -> tuple[metrics.CalibrationMetrics, Callable[..., None]]:
    metric = metrics.CalibrationMetrics(from_logits=True)

    def update(batch: Any, targets: Any) -> None:
        metric.update_state(targets, batch)

    return metric, tf.function(update) if compiled else update


@tf.function
def _predict(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    probabilities = tf.nn.softmax(logits)
    return tf.reduce_max(probabilities, 1), tf.argmax(probabilities, 1)


def _pass_tensorflow(parts: list) -> None:
    for logits, _ in parts:
        _predict(logits)


def _pass_torch(parts: list) -> None:
    import torch

    for logits, _ in parts:
        torch.softmax(torch.from_numpy(logits), 1).max(1)


def _update_torchmetrics(parts: list) -> float:
    import torch
    import torchmetrics

    metric = torchmetrics.CalibrationError(
        "multiclass", num_classes=parts[0][0].shape[1]
    )
    for part in parts:
        metric.update(*(torch.from_numpy(each) for each in part))
    return float(metric.compute())


def _netcal_error(logits: np.ndarray, labels: np.ndarray) -> float:
    from netcal import metrics as netcal_metrics
    from scipy import special

    return netcal_metrics.ECE(15).measure(
        special.softmax(logits, axis=1), labels
    )


def _tfp_error(logits: np.ndarray, labels: np.ndarray) -> float:
    import tensorflow_probability as tfp

    error = tfp.stats.expected_calibration_error(
        15, logits=logits, labels_true=labels
    )
    return float(error)


def mixing_cases(size: mixing.Size) -> dict[str, timing.Case]:
    """Returns the mixing of float images whose coefficients are drawn."""
    import torch

    images = mixing.draw_batch(size)[0].astype(np.float32)
    tensor, given = tf.constant(images), torch.from_numpy(images)
    lam, partner = mixing.draw_plan(size)
    layer = keras.layers.MixUp(mixing.ALPHA, seed=0)

    @tf.function
    def by_keras(batch: tf.Tensor) -> tf.Tensor:
        return layer(batch, training=True)

    def by_torch() -> Any:
        # As torchvision: partners are the neighbors, one lambda for all.
        return given.roll(1, 0).mul_(0.3).add_(given.mul(0.7))

    shares = np.reshape(lam, (-1, 1, 1, 1))

    def by_numpy() -> np.ndarray:
        return shares * images + (1 - shares) * images[partner.numpy()]

    calls = size.calls
    return {
        OURS: timing.calling(
            mixing.own_op(None, None), tensor, lam, partner, calls=calls
        ),
        mixing.COPY: mixing.copy_case(size),
        "keras.layers.MixUp": timing.calling(by_keras, tensor, calls=calls),
        "torch, torchvision's formula": timing.calling(by_torch, calls=calls),
        "NumPy": timing.calling(by_numpy, calls=calls),
    }


def draw_scores(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns confidences inside of a distribution and outside of it."""
    generator = np.random.default_rng(0)
    half = count // 2
    inside = generator.beta(5, 1, half).astype(np.float32)
    return inside, generator.beta(2, 1, count - half).astype(np.float32)


def ranking_cases(
    inside: np.ndarray, outside: np.ndarray
) -> dict[str, timing.Case]:
    """Returns the exact ways to an AUROC."""
    import torch
    from sklearn import metrics as sklearn_metrics
    from torchmetrics.functional import classification

    scores = np.concatenate([inside, outside])
    is_in = np.repeat([1, 0], [len(inside), len(outside)])
    given = torch.from_numpy(scores), torch.from_numpy(is_in)
    return {
        OURS: timing.calling(ood.auroc, inside, outside),
        "scikit-learn": timing.calling(
            sklearn_metrics.roc_auc_score, is_in, scores
        ),
        "torchmetrics": timing.calling(classification.binary_auroc, *given),
    }


def measure_memory() -> timing.Facts:
    """Reads how much memory the streaming metrics take for more examples.

    Each runs in a process of its own, which draws the examples batch by
    batch and keeps none.
    """
    values: dict[str, float | str] = {}
    for name in _STREAMS:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            first, last = pool.apply(_read_memory, (name,))
        values[f"{name}, MiB more at {MEMORY_STEPS[1]:,} examples"] = (
            last - first
        )
    return timing.Facts(
        title=f"Memory of a streaming ECE from {MEMORY_STEPS[0]:,} examples on",
        values=values,
    )


def _read_memory(name: str) -> list[float]:
    """Returns the memory in use after some examples, in MiB."""
    generator = np.random.default_rng(0)
    size, num_classes = MEMORY_SHAPE
    update = _STREAMS[name]()
    found, done = [], 0
    for stop in MEMORY_STEPS:
        for _ in range(done, stop, size):
            update(
                generator.standard_normal(MEMORY_SHAPE, np.float32),
                generator.integers(0, num_classes, size),
            )
        done = stop
        found.append(memory.resident_memory() / memory.MIB)
    return found


def _stream_ours() -> Callable[..., None]:
    return _make_metric()[1]


def _stream_torchmetrics() -> Callable[..., None]:
    import torch
    import torchmetrics

    metric = torchmetrics.CalibrationError(
        "multiclass", num_classes=MEMORY_SHAPE[1]
    )
    return lambda *batch: metric.update(
        *(torch.from_numpy(part) for part in batch)
    )


_STREAMS = {OURS: _stream_ours, "torchmetrics": _stream_torchmetrics}
