"""A self-test of a mixing stage, ours or anybody else's.

A stage that mixes wrongly trains without an error: coefficients from another
distribution, the same draws twice from parallel calls, labels that stay
behind. `check_mixing` sees the batches before and after the stage, recovers
who was mixed with whom and how much, and holds that against the method.

Shapes: B examples, K columns of targets.
"""

import dataclasses
import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup import mixing
from tf_mixup._data import examples
from tf_mixup.testing import _plan_recovery

# False alarms: a correct stage fails a statistical check this often.
SIGNIFICANCE = 1e-3
# The same for counts of unmixed examples, whose law is an approximation.
COUNT_SIGNIFICANCE = 1e-4
# Batches after which the first pass is left though it has not ended.
MOST_READ = 10_000
# Of mixed examples, chance and rounding repeat fewer in a second pass.
MOST_REPEATED = 0.05
# Where more inputs, and more targets, than this are made of none in their
# batch, the two datasets are not of the same batches.
MOST_STRANGE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class MixingReport:
    """What `check_mixing` measured on a stage.

    Attributes:
        num_batches: Batches that were compared.
        num_examples: Examples of these batches.
        nonfinite_before: Examples with NaN or infinity before mixing.
        num_nonfinite: Examples with NaN or infinity after mixing, which
            spreads them to partners; left out of all below.
        num_unmixed: Examples whose own coefficient is 1, within the
            tolerance.
        p_value: Chance of coefficients as far from the distribution as these,
            if the stage is right (Kolmogorov-Smirnov).
        largest_residual: Largest distance of a mixed input from the line
            between its two sources, as a share of the range of the inputs.
        largest_target_residual: The same of the targets and of their sum, in
            units of probability.
        largest_coefficient_difference: Largest difference between the
            coefficient of the inputs and that of the targets, over examples
            whose partner has another target.
        largest_spread: Largest difference between an example's coefficient
            and that of its batch; 0 with `per="example"`.
        repeated_plans: Batches with the partners and coefficients of an
            earlier batch.
        repeated_examples: Mixed examples of the first pass that came again,
            bit by bit, in the second; 0 without a second pass.
    """

    num_batches: int
    num_examples: int
    nonfinite_before: int
    num_nonfinite: int
    num_unmixed: int
    p_value: float
    largest_residual: float
    largest_target_residual: float
    largest_coefficient_difference: float
    largest_spread: float
    repeated_plans: int
    repeated_examples: int

    def __repr__(self) -> str:
        return (
            f"MixingReport(num_batches={self.num_batches},"
            f" num_examples={self.num_examples},"
            f" p_value={self.p_value:.3g}, ...)"
        )


def check_mixing(
    unmixed: Iterable | None = None,
    mixed: Iterable | None = None,
    *,
    stage: Callable[[tf.data.Dataset], tf.data.Dataset] | None = None,
    dataset: Any = None,
    alpha: float | None = None,
    per: str | None = None,
    probability: float | None = None,
    folded: bool = False,
    self_share: float | None = None,
    batches: int = 100,
    compare_passes: bool = True,
    tolerance: float = 0.01,
) -> MixingReport:
    """Checks that a stage mixes inputs and targets as mixup says.

    Give the stage and data that it has not mixed,
    `check_mixing(stage=mixup, dataset=train)`: the data are read once, so they
    may be shuffled or augmented at random. Or give datasets before and after
    mixing, `check_mixing(train.apply(mixup.evaluation), train.apply(mixup),
    alpha=0.2)`: these must come in the same order.

    Example `i` of a mixed batch should be `lam * x_i + (1 - lam) * x_j` for
    one other `j` of its batch, with the same `lam` and `j` for the targets,
    and `lam` from Beta(alpha, alpha). Partner and coefficient are recovered
    from the inputs by least squares, and from the targets again. A second
    pass over the mixed data must have other mixes than the first.

    Use at least 50 batches with `per="batch"`: with fewer the test has little
    power to distinguish similar distributions. Ablations that leave
    labels unmixed fail, as they should. It knows mixtures of two whole
    examples only: of this library's stages those with more `num_points`,
    `include_clean` or CutMix are refused.

    Args:
        unmixed: Dataset of `(x, y)` or `(x, y, weight)`, batches of B examples
            before mixing, in the format of `mixed`. For our own stage,
            `train.apply(mixup.evaluation)`. Targets are vectors `(B, K)`.
        mixed: The same batches after mixing; `train.apply(mixup)`.
        stage: In place of these two: what makes a dataset of mixed batches of
            one that is not mixed, a `MixUp` or a function.
        dataset: What `stage` is applied to: batches or arrays, in the forms
            that `fit` takes; an endless dataset too. Its first `batches` are
            kept in memory.
        alpha: Concentration that the stage should draw from, at least 0; with
            0 no example may be mixed. Defaults to that of `stage`.
        per: `"batch"` if all examples of a batch share one coefficient,
            `"example"` if each has its own. Defaults to that of `stage`, or
            `"batch"`.
        probability: Chance that a batch (or example) is mixed at all. Defaults
            to that of `stage`, or 1.
        folded: Whether the stage keeps `max(lam, 1 - lam)`, as some do; it
            trains alike, since partners are exchangeable.
        self_share: Share of examples that are their own partner by chance,
            where it is above 1/B: G/B if partners stay within G blocks of a
            batch, and K'/B if they stay within one of the K' classes in it.
            Defaults to that of `stage`, or 0.
        batches: Number of batches to look at, at most.
        compare_passes: Whether to read the mixed data a second time, after
            the first pass was read to its end. Write False for batches that
            were recorded.
        tolerance: Largest error allowed to inputs (as a share of their range),
            targets and coefficients; coefficients closer than this to 0 or 1
            count as these. The default has room for uint8 outputs.

    Returns:
        report: What was measured, if all of it is as it should be.

    Raises:
        ValueError: If an argument is out of range, if the datasets cannot be
            compared because they come in another order or format, or with one
            line for each check that failed.

    Example:
        >>> mixup = mixing.MixUp(alpha=0.4, num_classes=3, seed=0)
        >>> x = np.random.default_rng(0).normal(size=(3200, 5))
        >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(3200) % 3))
        >>> train = data.shuffle(3200).batch(32)
        >>> report = check_mixing(stage=mixup, dataset=train)
        >>> report.num_batches, report.repeated_plans
        (100, 0)

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, section 2. https://arxiv.org/abs/1710.09412
    """
    batches = _checks.integer_at_least(
        "batches", batches, 1, remedy="Write 100 or more"
    )
    _check_form((unmixed, mixed), (stage, dataset))
    before: Any = unmixed
    after: Any = mixed
    found: dict[str, Any] = {
        "alpha": alpha,
        "per": per,
        "probability": probability,
        "self_share": self_share,
    }
    if stage is not None:
        before, after = _apply(stage, dataset, batches)
        found = _properties(stage, before, found)
    law = _law(folded=folded, tolerance=tolerance, **found)
    first = iter(after)
    plans, seen = _compare(before, first, batches, law)
    repeated = 0
    if compare_passes:
        _read_to_the_end(after, first)
        repeated = sum(
            digest in seen
            for element in itertools.islice(after, batches)
            for digest in _plan_recovery.fingerprint(element)
        )
    report = _measure(plans, law, repeated)
    failures = _failures(report, plans, law, len(seen))
    if failures:
        raise ValueError(
            f"Mixing is wrong in {len(failures)} ways.\n" + "\n".join(failures)
        )
    return report


def _check_form(datasets: tuple, stage: tuple) -> None:
    """Refuses what is neither of the two forms."""
    given = [[each is not None for each in form] for form in (datasets, stage)]
    if given not in ([[True] * 2, [False] * 2], [[False] * 2, [True] * 2]):
        names = np.array(["unmixed", "mixed", "stage", "dataset"])
        raise _checks.refusal(
            "The self-test takes a stage and a dataset, or two datasets",
            ", ".join(names[np.ravel(given)]) or "none of them",
            "Write `check_mixing(stage=mixup, dataset=train)`",
        )


def _apply(
    stage: Callable[[tf.data.Dataset], tf.data.Dataset],
    dataset: Any,
    batches: int,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns the same batches before and after the stage."""
    _check_stage(stage)
    if isinstance(dataset, tf.data.Dataset):
        dataset = dataset.take(batches)
    data = examples.read(dataset, name="dataset", labeled=True)
    kept = [
        tuple(part for part in batch if part is not None)
        for batch in itertools.islice(data.batches(), batches)
    ]
    fixed = examples.read(lambda: iter(kept), name="dataset").dataset()
    leave = getattr(stage, "evaluation", None)
    return fixed.apply(leave) if leave else fixed, fixed.apply(stage)


def _check_stage(stage: Any) -> None:
    """Refuses a stage whose mixtures are not of two whole examples."""
    if not callable(stage):
        raise _checks.refusal(
            "`stage` must be callable and map a dataset to a dataset",
            f"a {type(stage).__name__} as `stage`",
            "Give a `MixUp`, or a function that `dataset.apply` takes",
        )
    if not isinstance(stage, mixing.MixUp):
        return
    plain = {
        "num_points": 2,
        "include_clean": False,
        "num_places": 0,
        "mix": "both",
    }
    other = [
        f"{name}={getattr(stage, name)!r}"
        for name, value in plain.items()
        if getattr(stage, name) != value
    ]
    if stage.per not in ("batch", "example"):
        other.append(f"per={stage.per!r}")
    if stage.partner.kind in ("given", "similar_target"):
        other.append(f"partner={stage.partner.kind!r}")
    if isinstance(stage, mixing.CutMix):
        other.append("CutMix")
    if other:
        raise _checks.refusal(
            "The self-test knows mixtures of two whole examples of a batch,"
            " made on the host with their targets",
            ", ".join(other),
            "Test a stage without it, which draws in the same way",
        )


def _properties(
    stage: Any, unmixed: tf.data.Dataset, given: dict[str, Any]
) -> dict[str, Any]:
    """Returns what was given, and else what the stage says of itself."""
    if not isinstance(stage, mixing.MixUp):
        return given
    found = {
        "alpha": stage.alpha
        if isinstance(stage.alpha, float)
        else stage.tuned_alpha,
        "per": stage.per,
        "probability": stage.probability,
        "self_share": _self_share(stage, unmixed),
    }
    return {
        name: found[name] if value is None else value
        for name, value in given.items()
    }


def _self_share(stage: mixing.MixUp, unmixed: tf.data.Dataset) -> float:
    """Returns the share of examples that are their own partner by chance."""
    partner = stage.partner
    if not partner.self_pairs or partner.kind == "different_class":
        return 0.0
    shares = []
    for _, targets, *_ in unmixed:
        cells = partner.groups
        if partner.kind == "same_class":
            targets = np.asarray(targets)
            classes = np.unique(np.round(targets), axis=0)
            cells *= len(classes)
        shares.append(min(cells / len(targets), 1))
    return float(np.mean(shares)) if shares else 0.0


def _law(
    *,
    alpha: float | None,
    per: str | None,
    probability: float | None,
    self_share: float | None,
    folded: bool,
    tolerance: float,
) -> "_Law":
    if alpha is None:
        raise _checks.refusal(
            "The self-test needs the `alpha` that coefficients should follow",
            "a stage that does not say it, or none",
            "Write `alpha=0.2`, a number",
        )
    return _Law(
        _checks.real_at_least(
            "alpha", alpha, 0, remedy="Write 0 for no mixing"
        ),
        _checks.one_of(
            "per", "batch" if per is None else per, ("batch", "example")
        ),
        _checks.real_between(
            "probability",
            1.0 if probability is None else probability,
            0,
            1,
            remedy="Write 1 for always",
        ),
        folded,
        _checks.real_between(
            "self_share",
            0.0 if self_share is None else self_share,
            0,
            1,
            remedy="Write 0 for 1 of B examples",
        ),
        _checks.real_between(
            "tolerance", tolerance, 1e-6, 0.1, remedy="Write 0.01"
        ),
    )


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

    def is_mixed(self, lam: np.ndarray) -> np.ndarray:
        """Returns whether coefficients are neither 0 nor 1, as far as seen."""
        return (lam > self.tolerance) & (lam < 1 - self.tolerance)


def _compare(
    unmixed: Iterable, mixed: Iterable, batches: int, law: _Law
) -> tuple[list[_plan_recovery.Plan], set[bytes]]:
    """Returns the plans, and fingerprints of the examples that are mixed."""
    plans: list[_plan_recovery.Plan] = []
    first: list[bytes] = []
    seen: set[bytes] = set()
    pairs = itertools.zip_longest(
        itertools.islice(unmixed, batches), itertools.islice(mixed, batches)
    )
    for before, after in pairs:
        plan = _plan_recovery.recover_plan(before, after)
        first = first if plans else _plan_recovery.fingerprint(before)
        plans.append(plan)
        digests = np.array(_plan_recovery.fingerprint(after), object)[
            plan.finite
        ]
        seen.update(digests[law.is_mixed(plan.lam)])
    if not plans:
        raise _checks.refusal(
            "There must be a batch to check",
            "two empty datasets",
            "Check the files and filters they are made of",
        )
    if all(plan.twins == 1 for plan in plans):
        raise _checks.refusal(
            "A batch must have different examples, so that mixing can be seen",
            "batches of one example, or of equal ones",
            "Write `.batch(128)` before the stage",
        )
    if _are_of_other_batches(plans, unmixed, first, law):
        raise _checks.refusal(
            "The examples come in another order after mixing than before, or"
            " are others, so nothing can be compared",
            "batches that are not made of the same examples",
            "Write `check_mixing(stage=mixup, dataset=train)`, which reads"
            " `train` once, or shuffle with a seed and"
            " `reshuffle_each_iteration=False`",
        )
    return plans, seen


def _read_to_the_end(mixed: Iterable, rest: Iterator) -> None:
    """Ends a pass, without which a cache keeps nothing of it."""
    endless = isinstance(mixed, tf.data.Dataset) and (
        mixed.cardinality() == tf.data.INFINITE_CARDINALITY
    )
    for _ in itertools.islice(rest, 0 if endless else MOST_READ):
        pass


def _are_of_other_batches(
    plans: Sequence[_plan_recovery.Plan],
    unmixed: Iterable,
    first: list[bytes],
    law: _Law,
) -> bool:
    """Returns whether the two datasets are not of the same batches."""
    residual = np.concatenate([plan.residual for plan in plans])
    distance = np.concatenate([plan.distance for plan in plans])
    # Inputs that are broken in some other way leave the targets as they are.
    if np.mean(residual > law.tolerance) <= MOST_STRANGE:
        return False
    if np.mean(distance > law.tolerance) > MOST_STRANGE:
        return True
    again = next(iter(unmixed), None)
    return again is not None and _plan_recovery.fingerprint(again) != first


def _measure(
    plans: Sequence[_plan_recovery.Plan], law: _Law, repeated: int
) -> MixingReport:
    spread = 0.0
    if law.per == "batch":
        spread = _largest(
            np.abs(_mixed_lam(plan, law) - np.median(_mixed_lam(plan, law)))
            for plan in plans
            if _mixed_lam(plan, law).size
        )
    return MixingReport(
        num_batches=len(plans),
        num_examples=sum(plan.finite.size for plan in plans),
        nonfinite_before=sum(plan.num_nonfinite_before for plan in plans),
        num_nonfinite=sum(int((~plan.finite).sum()) for plan in plans),
        num_unmixed=sum(
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
        repeated_plans=_repeated_plans(plans, law),
        repeated_examples=repeated,
    )


def _mixed_lam(plan: _plan_recovery.Plan, law: _Law) -> np.ndarray:
    return plan.lam[plan.lam < 1 - law.tolerance]


def _largest(parts: Iterable[np.ndarray]) -> float:
    return float(max((part.max(initial=0) for part in parts), default=0))


def _coefficient_p_value(
    plans: Sequence[_plan_recovery.Plan], law: _Law
) -> float:
    """Tests the coefficients of batches, or of examples, against the law.

    An example that is its own partner looks like one with `lam` of 1. So
    coefficients are tested given that something is mixed; how often nothing
    is, is another check. Coefficients too near to 0 to be read are spread out
    there as the law has it, so they count, but as one heap.
    """
    from scipy import stats

    low, high = law.cdf(np.array([law.tolerance, 1 - law.tolerance]))
    mixed = [_mixed_lam(plan, law) for plan in plans]
    if law.per == "batch":
        mixed = [np.median(lam, keepdims=True) for lam in mixed if lam.size]
    lam = np.concatenate([np.empty(0), *mixed])
    if not lam.size:
        return 1.0
    generator = np.random.default_rng(0)
    level = law.cdf(lam)
    heap = lam < law.tolerance
    level[heap] = generator.uniform(0, low, heap.sum())
    if high == 0:
        return 0.0
    return float(stats.kstest(level / high, "uniform").pvalue)


def _unmixed_in_order(plans: Sequence[_plan_recovery.Plan], law: _Law) -> bool:
    """Returns whether draws and self-pairs explain how many are unmixed."""
    from scipy import stats

    alone = 1 - float(law.cdf(np.array([1 - law.tolerance]))[0])
    if law.per == "batch" and law.alpha > 0:
        # All examples of a small batch may be their own partners.
        paired = sum(_self_pairs(plan, law) for plan in plans)
        still = sum(not _mixed_lam(plan, law).size for plan in plans)
        chance = alone + (1 - alone) * paired / len(plans)
        fewest = stats.binom.cdf(still, len(plans), alone)
        most = stats.binom.sf(still - 1, len(plans), chance)
        if min(fewest, most) < COUNT_SIGNIFICANCE:
            return False
        alone = 0.0
        plans = [plan for plan in plans if _mixed_lam(plan, law).size]
    count = sum(plan.lam.size for plan in plans)
    if not count:
        return True
    unmixed = count - sum(_mixed_lam(plan, law).size for plan in plans)
    paired = sum(plan.lam.size * _self_pairs(plan, law) for plan in plans)
    fewest = stats.binom.cdf(unmixed, count, alone)
    # Within small classes self-pairs vary more than independent draws.
    most = stats.poisson.sf(unmixed - 1, alone * count + (1 - alone) * paired)
    return bool(min(fewest, most) >= COUNT_SIGNIFICANCE)


def _self_pairs(plan: _plan_recovery.Plan, law: _Law) -> float:
    """Returns how often an example's partner has its own inputs, at most."""
    return max(plan.twins, law.self_share)


def _repeated_plans(plans: Sequence[_plan_recovery.Plan], law: _Law) -> int:
    """Counts batches whose partners and coefficients were there before."""
    keys = []
    for plan in plans:
        clear = law.is_mixed(plan.lam)
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
    report: MixingReport,
    plans: Sequence[_plan_recovery.Plan],
    law: _Law,
    num_mixed: int,
) -> list[str]:
    """Returns a line for each check that failed."""

    def above(limit: float) -> Callable[[float], bool]:
        return lambda number: number > limit

    outcomes = [
        (
            "num_nonfinite",
            above(0),
            "Inputs and targets must be finite",
            f"Before mixing {report.nonfinite_before} examples are not, and"
            " mixing spreads NaN to partners: fill gaps first, and look for"
            " divisions by a standard deviation of 0 and for broken files",
        ),
        (
            "largest_residual",
            above(law.tolerance),
            "Each input must be made of its own example and one other",
            "Cast integers to float before mixing, mix after every random"
            " augmentation, and give both datasets the same order",
        ),
        (
            "largest_target_residual",
            above(law.tolerance),
            "Each target must be made of the targets of the same two examples",
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
            "Examples of a batch must share one coefficient",
            'Draw one for each batch, or check with `per="example"`',
        ),
        (
            "p_value",
            lambda number: number < SIGNIFICANCE,
            f"Coefficients must follow Beta({law.alpha:g}, {law.alpha:g})",
            "Draw them from the Beta distribution with this alpha, or check"
            " with the `per`, `probability` and `folded` of the stage",
        ),
        (
            "num_unmixed",
            lambda _: not _unmixed_in_order(plans, law),
            "The number of unmixed examples must match alpha and `probability`",
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
        (
            "repeated_examples",
            above(MOST_REPEATED * num_mixed),
            "A second pass must mix anew, but there are the same mixes in both"
            " passes",
            "Cache before mixing, not after, and draw from seeds that change"
            " with each pass; write `compare_passes=False` for recorded"
            " batches",
        ),
    ]
    return [
        f"- {rule}. Received: {name}={getattr(report, name):.3g}. {remedy}."
        for name, is_wrong, rule, remedy in outcomes
        if is_wrong(getattr(report, name))
    ]
