"""A self-test of a mixing stage, ours or anybody else's.

A stage that mixes wrongly trains without an error: coefficients from another
distribution, the same draws twice from parallel calls, labels that stay
behind. `check_mixing` sees the batches before and after the stage, recovers
who was mixed with whom and how much, and holds that against the method.

Letters: B rows, K columns of targets.
"""

import dataclasses
import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_mixup import checks
from tf_mixup import recovery

# False alarms: a correct stage fails a statistical check this often.
SIGNIFICANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixingReport:
    """What `check_mixing` measured on a stage.

    Attributes:
        num_batches: Batches that were compared.
        num_rows: Rows of these batches.
        nonfinite_rows: Rows with NaN or infinity; left out of all below.
        unmixed_rows: Rows whose own coefficient is 1, within the tolerance.
        p_value: Chance of coefficients as far from the distribution as these,
            if the stage is right (Kolmogorov-Smirnov).
        largest_residual: Largest distance of a mixed input from the line
            between its two rows, as a share of the range of the inputs.
        largest_target_residual: The same of the targets and of their sum, in
            units of probability.
        largest_coefficient_difference: Largest difference between the
            coefficient of the inputs and that of the targets, over rows whose
            partner has another target.
        largest_spread: Largest difference between a row's coefficient and
            that of its batch; 0 with `per="sample"`.
        repeated_plans: Batches with the partners and coefficients of an
            earlier batch.
    """

    num_batches: int
    num_rows: int
    nonfinite_rows: int
    unmixed_rows: int
    p_value: float
    largest_residual: float
    largest_target_residual: float
    largest_coefficient_difference: float
    largest_spread: float
    repeated_plans: int


def check_mixing(
    unmixed: tf.data.Dataset,
    mixed: tf.data.Dataset,
    *,
    alpha: float,
    per: str = "batch",
    probability: float = 1.0,
    folded: bool = False,
    self_share: float = 0.0,
    batches: int = 100,
    tolerance: float = 0.01,
) -> MixingReport:
    """Checks that a stage mixes rows and targets as mixup says.

    Row `i` of a mixed batch should be `lam * x_i + (1 - lam) * x_j` for one
    other row `j` of its batch, with the same `lam` and `j` for the targets,
    and `lam` from Beta(alpha, alpha). Partner and coefficient are recovered
    from the inputs by least squares, and from the targets again.

    It misleads when the two datasets come in different orders (seed the
    shuffling), when a random augmentation comes between them, and when batches
    are few: below about 50 of them `per="batch"` hardly tells one distribution
    from another. Ablations that leave labels unmixed fail, as they should.
    It knows mixtures of two whole rows only: a stage with more `points`, with
    `keep_clean` or CutMix fails too.

    Args:
        unmixed: Dataset of `(x, y)` or `(x, y, weight)`, batches of B rows
            before mixing, in the format of `mixed`. For our own stage,
            `train.apply(mixup.evaluation)`. Targets are vectors `(B, K)`.
        mixed: The same batches after mixing; `train.apply(mixup)`.
        alpha: Concentration that the stage should draw from, at least 0; with
            0 no row may be mixed.
        per: `"batch"` if all rows of a batch share one coefficient,
            `"sample"` if each row has its own. Defaults to `"batch"`.
        probability: Chance that a batch (or row) is mixed at all.
        folded: Whether the stage keeps `max(lam, 1 - lam)`, as some do; it
            trains alike, since partners are exchangeable.
        self_share: Share of rows that are their own partner by chance, where
            it is above 1/B: G/B if partners stay within G blocks of a batch,
            and K'/B if they stay within one of the K' classes in it.
        batches: Number of batches to look at, at most.
        tolerance: Largest error allowed to inputs (as a share of their range),
            targets and coefficients; coefficients closer than this to 0 or 1
            are not told apart. The default has room for uint8 outputs.

    Returns:
        report: What was measured, if all of it is as it should be.

    Raises:
        ValueError: If an argument is out of range, if the datasets cannot be
            compared, or with one line for each check that failed.

    Example:
        >>> from tf_mixup import pipeline
        >>> mixup = pipeline.MixUp(alpha=0.4, num_classes=3, seed=0)
        >>> x = np.random.default_rng(0).normal(size=(3200, 5))
        >>> rows = tf.data.Dataset.from_tensor_slices((x, np.arange(3200) % 3))
        >>> train = rows.batch(32)
        >>> report = check_mixing(
        ...     train.apply(mixup.evaluation), train.apply(mixup), alpha=0.4
        ... )
        >>> report.num_batches, report.repeated_plans
        (100, 0)

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, section 2. https://arxiv.org/abs/1710.09412
    """
    law = _Law(
        checks.real_at_least("alpha", alpha, 0, remedy="Write 0 for no mixing"),
        checks.one_of("per", per, ("batch", "sample")),
        checks.real_between(
            "probability", probability, 0, 1, remedy="Write 1 for always"
        ),
        folded,
        checks.real_between(
            "self_share", self_share, 0, 1, remedy="Write 0 for 1 of B rows"
        ),
        checks.real_between(
            "tolerance", tolerance, 1e-6, 0.1, remedy="Write 0.01"
        ),
    )
    batches = checks.integer_at_least(
        "batches", batches, 1, remedy="Write 100 or more"
    )
    pairs = itertools.zip_longest(unmixed.take(batches), mixed.take(batches))
    plans = [recovery.recover_plan(before, after) for before, after in pairs]
    if not plans:
        raise checks.refusal(
            "There must be a batch to check",
            "two empty datasets",
            "Check the files and filters they are made of",
        )
    report = _measure(plans, law)
    failures = _failures(report, plans, law)
    if failures:
        raise ValueError(
            f"Mixing is wrong in {len(failures)} ways.\n" + "\n".join(failures)
        )
    return report


class _Law(NamedTuple):
    """How coefficients should be distributed, and how well they are seen."""

    alpha: float
    per: str
    probability: float
    folded: bool
    self_share: float
    tolerance: float

    def cdf(self, lam: np.ndarray) -> np.ndarray:
        """Returns the chance of a coefficient of at most `lam`, below 1."""
        from scipy import stats

        if self.alpha == 0:
            return np.zeros_like(lam)
        cdf = stats.beta(self.alpha, self.alpha).cdf(lam)
        if self.folded:
            cdf = np.maximum(2 * cdf - 1, 0)
        return self.probability * cdf


def _measure(plans: Sequence[recovery.Plan], law: _Law) -> MixingReport:
    spread = 0.0
    if law.per == "batch":
        spread = _largest(
            np.abs(_mixed_lam(plan, law) - np.median(_mixed_lam(plan, law)))
            for plan in plans
            if _mixed_lam(plan, law).size
        )
    rows = sum(plan.lam.size + plan.num_nonfinite for plan in plans)
    return MixingReport(
        num_batches=len(plans),
        num_rows=rows,
        nonfinite_rows=sum(plan.num_nonfinite for plan in plans),
        unmixed_rows=sum(
            plan.lam.size - _mixed_lam(plan, law).size for plan in plans
        ),
        p_value=_coefficient_p_value(plans, law),
        largest_residual=_largest(plan.residual for plan in plans),
        largest_target_residual=_largest(
            plan.target_residual for plan in plans
        ),
        largest_coefficient_difference=_largest(
            plan.difference for plan in plans
        ),
        largest_spread=spread,
        repeated_plans=_repeated_plans(plans, law.tolerance),
    )


def _mixed_lam(plan: recovery.Plan, law: _Law) -> np.ndarray:
    return plan.lam[plan.lam < 1 - law.tolerance]


def _largest(parts: Iterable[np.ndarray]) -> float:
    return float(max((part.max(initial=0) for part in parts), default=0))


def _coefficient_p_value(plans: Sequence[recovery.Plan], law: _Law) -> float:
    """Tests the coefficients of batches, or of mixed rows, against the law.

    A row that is its own partner looks like one with `lam` of 1. So a batch
    goes by its other rows, and rows are tested given that they are mixed; how
    many are not is another check. Coefficients too near to 0 or 1 to be read
    are spread out there as the law has it, so they count, but as one heap.
    """
    from scipy import stats

    low, high = law.cdf(np.array([law.tolerance, 1 - law.tolerance]))
    if law.per == "sample":
        lam = np.concatenate([_mixed_lam(plan, law) for plan in plans])
        top = high
    else:
        lam = np.array(
            [_batch_lam(plan, law) for plan in plans if plan.twins < 1]
        )
        top = 1.0
    if not lam.size:
        return 1.0
    generator = np.random.default_rng(0)
    level = law.cdf(lam)
    heap = lam < law.tolerance
    level[heap] = generator.uniform(0, low, heap.sum())
    heap = lam >= 1 - law.tolerance
    level[heap] = generator.uniform(high, 1, heap.sum())
    if top == 0:
        return 0.0
    return float(stats.kstest(level / top, "uniform").pvalue)


def _batch_lam(plan: recovery.Plan, law: _Law) -> float:
    mixed = _mixed_lam(plan, law)
    return float(np.median(mixed)) if mixed.size else 1.0


def _unmixed_in_order(plans: Sequence[recovery.Plan], law: _Law) -> bool:
    """Tells whether as many rows are unmixed as draws and self-pairs make."""
    from scipy import stats

    alone = 0.0
    if law.per == "sample" or law.alpha == 0:
        alone = 1 - float(law.cdf(np.array([1 - law.tolerance]))[0])
    else:
        plans = [plan for plan in plans if _mixed_lam(plan, law).size]
    rows = sum(plan.lam.size for plan in plans)
    if not rows:
        return True
    unmixed = rows - sum(_mixed_lam(plan, law).size for plan in plans)
    paired = sum(
        plan.lam.size * max(plan.twins, law.self_share) for plan in plans
    )
    fewest = stats.binom.cdf(unmixed, rows, alone)
    # Within small classes self-pairs vary more than independent draws.
    most = stats.poisson.sf(unmixed - 1, alone * rows + (1 - alone) * paired)
    return bool(min(fewest, most) >= SIGNIFICANCE)


def _repeated_plans(plans: Sequence[recovery.Plan], tolerance: float) -> int:
    """Counts batches whose partners and coefficients were there before."""
    keys = []
    for plan in plans:
        clear = (plan.lam > tolerance) & (plan.lam < 1 - tolerance)
        keys.append((np.where(clear, plan.partner, -1), plan.lam * clear))
    keys = [(partner, lam) for partner, lam in keys if lam.any()]
    # Where pairs are always the same or few, coefficients can come close by
    # chance, and only equal ones count.
    distinct = len({partner.tobytes() for partner, _ in keys})
    closeness = 1e-3 if distinct > 0.9 * len(keys) else 1e-6
    return sum(
        any(_same(key, earlier, closeness) for earlier in keys[:index])
        for index, key in enumerate(keys)
    )


def _same(
    one: tuple[np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray],
    closeness: float,
) -> bool:
    return np.array_equal(one[0], other[0]) and bool(
        np.abs(one[1] - other[1]).max() <= closeness
    )


def _failures(
    report: MixingReport, plans: Sequence[recovery.Plan], law: _Law
) -> list[str]:
    """Returns a line for each check that failed."""

    def above(limit: float) -> Callable[[float], bool]:
        return lambda number: number > limit

    outcomes = [
        (
            "nonfinite_rows",
            above(0),
            "Inputs and targets must be finite",
            "Look for divisions by a standard deviation of 0 and for broken"
            " files",
        ),
        (
            "largest_residual",
            above(law.tolerance),
            "Each input must be made of its own row and one other",
            "Cast integers to float before mixing, mix after every random"
            " augmentation, and give both datasets the same order",
        ),
        (
            "largest_target_residual",
            above(law.tolerance),
            "Each target must be made of the targets of the same two rows",
            "Mix targets as float32 with the partner and coefficient of the"
            " inputs",
        ),
        (
            "largest_coefficient_difference",
            above(law.tolerance),
            "Inputs and targets must be mixed with the same coefficient",
            "Draw once, and use it for both",
        ),
        (
            "largest_spread",
            above(law.tolerance),
            "Rows of a batch must share one coefficient",
            'Draw one for each batch, or check with `per="sample"`',
        ),
        (
            "p_value",
            lambda number: number < SIGNIFICANCE,
            f"Coefficients must follow Beta({law.alpha:g}, {law.alpha:g})",
            "Draw them from the Beta distribution with this alpha, or check"
            " with the `per`, `probability` and `folded` of the stage",
        ),
        (
            "unmixed_rows",
            lambda _: not _unmixed_in_order(plans, law),
            "As many rows must be unmixed as alpha and chance make",
            "With alpha 0 mix none; else mix whole batches, or check with the"
            " `self_share` of the stage",
        ),
        (
            "repeated_plans",
            above(0),
            "Each batch must have draws of its own",
            "Draw from stateless seeds by step, because parallel calls race"
            " for a generator; cache before mixing, not after",
        ),
    ]
    return [
        f"- {rule}. Received: {name}={getattr(report, name):.3g}. {remedy}."
        for name, is_wrong, rule, remedy in outcomes
        if is_wrong(getattr(report, name))
    ]
