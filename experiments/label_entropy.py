r"""Measures the entropy of mixed targets, against its closed form.

Command:
    python -m experiments.label_entropy --alphas=.1,.2,.4,1 --output=figures

The calibration paper (1905.11001) explains mixup by the entropy of mixed
labels. With lam ~ Beta(alpha, alpha) and two different classes it is
H(lam) = -lam ln lam - (1 - lam) ln(1 - lam), in nats, and its distribution is
known. The library's own stage mixes the targets. Nothing is trained.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable
from collections.abc import Sequence

import matplotlib.figure
import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
from absl import flags
from absl import logging

import tf_mixup
from experiments import _entry
from experiments.analysis import run_tables
from tf_mixup import _checks
from tf_mixup import plots
from tf_mixup import summaries

# Float32 has steps of 6e-8 near 1: smaller shares are not resolved.
RESOLVED = 1e-6
# Each class has 100 examples of a batch.
NUM_CLASSES = 10
BATCH = 1000
BITS = 60


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Entropies of mixed targets of one alpha, in nats.

    Attributes:
        alpha: Concentration of the coefficients.
        entropies: Of pairs of two different classes, `(N,)`.
        random_entropies: Of pairs drawn at random, `(N,)`.
    """

    alpha: float
    entropies: np.ndarray
    random_entropies: np.ndarray


def binary_entropy(share: np.ndarray) -> np.ndarray:
    """Returns the entropy of a target of two classes, in nats."""
    return scipy.special.entr(share) + scipy.special.entr(1 - share)


def expected_label_entropy(
    alpha: float, *, num_classes: int | None = None
) -> float:
    """Returns the mean entropy of a mixed target, psi(2a + 1) - psi(a + 1).

    In nats. With `num_classes` K for random partners from K classes of one
    size, of which 1 / K have the same class, else for two different classes.

    Example:
        >>> round(expected_label_entropy(1.0), 9)
        0.5
    """
    mean = scipy.special.digamma(2 * alpha + 1)
    mean -= scipy.special.digamma(alpha + 1)
    return float(mean) * (1 - 1 / num_classes if num_classes else 1)


def entropy_distribution(entropy: np.ndarray, alpha: float) -> np.ndarray:
    """Returns the probability of an entropy of at most `entropy`.

    H rises on [0, 1/2] and is symmetric, so it is 2 I_s(alpha, alpha), with s
    the smaller share that has this entropy.
    """
    return 2 * scipy.special.betainc(alpha, alpha, _smaller_share(entropy))


def _smaller_share(entropy: np.ndarray) -> np.ndarray:
    """Returns the share in [0, 1/2] of an entropy, by bisection."""
    entropy = np.asarray(entropy, np.float64)
    low, high = np.zeros_like(entropy), np.full_like(entropy, 0.5)
    for _ in range(BITS):
        middle = (low + high) / 2
        below = binary_entropy(middle) < entropy
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    return high


def entropy_density(share: np.ndarray, alpha: float) -> np.ndarray:
    """Returns the density of the entropy of a smaller share in (0, 1/2).

    Twice the density of lam, over the slope ln((1 - s) / s) of H, in 1 / nats.
    """
    slope = np.log1p(-share) - np.log(share)
    return 2 * scipy.stats.beta.pdf(share, alpha, alpha) / slope


def compare(
    entropies: np.ndarray, alpha: float, *, seed: int = 0
) -> tuple[float, float]:
    """Returns statistic and p-value of entropies against their distribution.

    With the test of Kolmogorov and Smirnov. Entropies that float32 does not
    resolve are redrawn from their exact distribution.
    """
    level = entropy_distribution(entropies, alpha)
    lowest = binary_entropy(np.array(RESOLVED))
    small = entropies <= lowest
    top = float(entropy_distribution(lowest, alpha))
    generator = np.random.default_rng(seed)
    level[small] = generator.uniform(0, top, small.sum())
    found = scipy.stats.kstest(level, "uniform")
    return float(found.statistic), float(found.pvalue)


def measure(alpha: float, *, targets: int, seed: int) -> Measurement:
    """Measures the entropies of the targets that the pipeline mixes."""
    if alpha <= 0:
        raise _checks.refusal(
            "Entropies are measured for alphas above 0",
            f"alpha={alpha:g}",
            "Leave it out: without mixing all entropies are 0",
        )
    drawn = [
        np.concatenate(list(_entropies(alpha, partner, targets, seed)))
        for partner in ("different_class", "random")
    ]
    return Measurement(alpha, *drawn)


def _entropies(
    alpha: float, partner: str, count: int, seed: int
) -> Iterable[np.ndarray]:
    """Yields the entropies of each batch, from float32 targets."""
    mixup = tf_mixup.MixUp(
        alpha,
        num_classes=NUM_CLASSES,
        seed=seed,
        per="example",
        partner=partner,
    )
    labels = np.arange(BATCH) % NUM_CLASSES
    inputs = np.zeros((BATCH, 1), np.float32)
    batch = tf.data.Dataset.from_tensors((inputs, labels))
    for _, targets in batch.repeat(-(-count // BATCH)).apply(mixup):
        yield scipy.special.entr(targets.numpy().astype(np.float64)).sum(-1)


def report(measurements: Sequence[Measurement]) -> str:
    """Returns measured and exact numbers as a Markdown table."""
    head = (
        "alpha|targets|E[H], measured (nats)|closed form|KS statistic|p|"
        f"random pairs of {NUM_CLASSES} classes (nats)|closed form"
    )
    lines = [head.split("|")]
    for each in measurements:
        statistic, p_value = compare(each.entropies, each.alpha)
        expected = expected_label_entropy(each.alpha)
        random = expected_label_entropy(each.alpha, num_classes=NUM_CLASSES)
        lines.append(
            [
                f"{each.alpha:g}",
                f"{each.entropies.size}",
                _mean(each.entropies),
                f"{expected:.4f}",
                f"{statistic:.4f}",
                f"{p_value:.2f}",
                _mean(each.random_entropies),
                f"{random:.4f}",
            ]
        )
    return run_tables.markdown(lines)


def _mean(values: np.ndarray) -> str:
    """Returns a mean with its standard error."""
    error = values.std(ddof=1) / np.sqrt(values.size)
    return f"{values.mean():.4f} ± {error:.4f}"


def draw(measurements: Sequence[Measurement]) -> matplotlib.figure.Figure:
    """Draws a histogram of entropies for each alpha, and the exact density."""
    rows = -(-len(measurements) // 2)
    figure = matplotlib.figure.Figure(
        figsize=(6.5, 2.4 * rows + 0.7), dpi=120, layout="constrained"
    )
    grid = figure.subplots(rows, 2, sharex=True, squeeze=False)
    shares = np.geomspace(RESOLVED, 0.4999, 2000)
    edges = np.linspace(0, np.log(2), 36)
    for axes, each in zip(grid.flat, measurements, strict=False):
        heights, *_ = axes.hist(
            each.entropies,
            edges,
            density=True,
            color=plots.DATA_COLOR,
            alpha=0.5,
            label="measured",
        )
        axes.plot(
            binary_entropy(shares),
            entropy_density(shares, each.alpha),
            color="black",
            linewidth=1,
            label="density of H(lam)",
        )
        axes.axvline(
            expected_label_entropy(each.alpha),
            color=plots.GAP_COLOR,
            linewidth=2,
            label="its mean, closed form",
        )
        axes.set_title(f"alpha = {each.alpha:g}", fontsize="medium")
        # The density has poles at 0 (alpha below 1) and at ln 2.
        axes.set(xlim=(0, np.log(2)), ylim=(0, 1.15 * heights.max()))
    for axes in grid.flat[len(measurements) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set(xlabel="entropy of the target (nats)")
    for axes in grid[:, 0]:
        axes.set(ylabel="density (1/nat)")
    size = measurements[0].entropies.size
    figure.suptitle(
        f"Mixed targets of two classes, {size:,} per alpha",
        fontsize="medium",
    )
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_list(
        "alphas",
        ["0.1", "0.2", "0.4", "1"],
        "Concentrations of the coefficients.",
    )
    flags.DEFINE_integer(
        "targets", 100_000, "Targets per alpha, in batches of 1000.", BATCH
    )
    flags.DEFINE_integer("seed", 0, "Fixes all draws.", lower_bound=0)
    flags.DEFINE_string(
        "output",
        None,
        "Folder that gets the figure, and `logs` of TensorBoard.",
    )


def main() -> None:
    """Prints the table, and draws the figure if a folder is given."""
    values = flags.FLAGS
    try:
        alphas = [float(text) for text in values.alphas]
    except ValueError as error:
        raise _checks.refusal(
            "--alphas takes numbers",
            f"--alphas={','.join(values.alphas)}",
            "Write, for instance, --alphas=.1,.2,.4,1",
        ) from error
    measurements = [
        measure(alpha, targets=values.targets, seed=values.seed + place)
        for place, alpha in enumerate(alphas)
    ]
    sys.stdout.write(report(measurements))
    if values.output:
        figure = draw(measurements)
        path = pathlib.Path(values.output, "label_entropy.png")
        plots.save_figure(figure, path)
        logs = str(path.with_name("logs"))
        with tf.summary.create_file_writer(logs).as_default():
            summaries.write_figure("label_entropy", figure, step=0)
        logging.info("Drew %s", path)


if __name__ == "__main__":
    _entry.start(main, define_flags)
