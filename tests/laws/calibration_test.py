"""Laws of calibration errors, for any labels and predictions."""

import keras
import numpy as np
from hypothesis import strategies as st

from tests.laws.strategies import SEEDS
from tests.laws.strategies import law
from tests.laws.strategies import scored
from tf_mixup import calibration
from tf_mixup.calibration import per_example
from tf_mixup.calibration import resampling

ALL = slice(None)
# Sums of at most 40 numbers below 10, in float64.
ROUNDING = 1e-12


def tabulate(data, rows=ALL, *, table=calibration.bin_predictions, **options):
    weight = None if data.weight is None else data.weight[rows]
    return table(
        data.labels[rows],
        data.probabilities[rows],
        sample_weight=weight,
        **data.options | options,
    )


def assert_same(one, other):
    for sums, others in zip(one, other, strict=True):
        np.testing.assert_allclose(
            sums, others, rtol=ROUNDING, atol=ROUNDING, equal_nan=False
        )


@law(data=scored(), cut=st.integers(0, 40))
def test_bins_of_parts_add_up_to_those_of_the_whole(data, cut):
    for table in (calibration.bin_predictions, calibration.class_bins):
        parts = [
            tabulate(data, rows, table=table)
            for rows in (slice(cut), slice(cut, None))
        ]
        assert_same(parts[0] + parts[1], tabulate(data, table=table))


@law(data=scored(), seed=SEEDS)
def test_order_does_not_matter(data, seed):
    order = np.random.default_rng(seed).permutation(len(data.probabilities))
    assert_same(tabulate(data, order), tabulate(data))


@law(data=scored(), seed=SEEDS)
def test_label_forms_do_not_matter(data, seed):
    size, num_classes = data.probabilities.shape
    ids = np.random.default_rng(seed).integers(0, num_classes, size)
    one, *others = (
        tabulate(data._replace(labels=labels))
        for labels in (ids, ids[:, None], np.eye(num_classes)[ids])
    )
    for other in others:
        assert_same(one, other)


@law(data=scored())
def test_labels_that_exclude_each_other_are_classes(data):
    targets, _ = per_example.pair(data.labels, data.probabilities)
    by_label = tabulate(
        data._replace(labels=np.array(targets)), table=calibration.label_bins
    )
    assert_same(by_label, tabulate(data, table=calibration.class_bins))


@law(data=scored(), factor=st.integers(1, 5))
def test_merged_bins_are_bins_of_that_number(data, factor):
    fine = tabulate(data, num_bins=factor * data.options["num_bins"])
    assert_same(calibration.merge_bins(fine, factor), tabulate(data))


@law(data=scored())
def test_errors_lie_between_zero_and_one(data):
    bins = tabulate(data)
    by_class = tabulate(data, table=calibration.class_bins)
    errors = [
        calibration.expected_calibration_error(bins),
        calibration.overconfidence_error(bins),
        calibration.maximum_calibration_error(bins),
        calibration.average_calibration_error(bins),
        calibration.classwise_calibration_error(by_class),
        calibration.adaptive_calibration_error(data.labels, data.probabilities),
    ]
    if data.weight is not None and not data.weight.any():
        assert np.isnan([float(error) for error in errors[:5]]).all()
        errors = errors[5:]
    # A float32 softmax exceeds 1 by rounding.
    assert all(0 <= float(error) <= 1 + 1e-6 for error in errors)


@law(data=scored())
def test_ece_is_its_two_parts_and_they_differ_by_the_signed_gap(data):
    bins = tabulate(data)
    ece = float(calibration.expected_calibration_error(bins))
    over = float(calibration.overconfident_part(bins))
    under = float(calibration.underconfident_part(bins))
    np.testing.assert_allclose(over + under, ece, atol=ROUNDING)
    gap = float(calibration.signed_gap(bins))
    np.testing.assert_allclose(over - under, gap, atol=ROUNDING)


@law(data=scored())
def test_ece_bounds_the_signed_gap_and_its_part_above_bounds_oe(data):
    bins = tabulate(data)
    ece = float(calibration.expected_calibration_error(bins))
    if not np.sum(bins.count):
        return
    assert abs(float(calibration.signed_gap(bins))) <= ece + ROUNDING
    over = float(calibration.overconfident_part(bins))
    oe = float(calibration.overconfidence_error(bins))
    assert oe <= over * (1 + 1e-6) + ROUNDING


def draw_probabilities(generator):
    """Returns a softmax `(N, K)`, from uniform to nearly certain."""
    shape = generator.integers(200, 400), generator.integers(2, 6)
    scale = 10 ** generator.uniform(-2, 1)
    logits = scale * generator.normal(size=shape)
    return keras.ops.convert_to_numpy(per_example.to_probabilities(logits))


def draw_correct(generator, probabilities, sets):
    """Draws labels from predictions, and returns which are hit `(N, sets)`."""
    uniform = generator.random((len(probabilities), sets))
    labels = (uniform[:, :, None] > probabilities.cumsum(1)[:, None, :-1]).sum(
        -1
    )
    return labels == probabilities.argmax(1)[:, None]


@law(seed=SEEDS)
def test_true_predictions_have_no_signed_gap(seed):
    generator = np.random.default_rng(seed)
    probabilities = draw_probabilities(generator)
    confidence = probabilities.max(1)
    correct = draw_correct(generator, probabilities, 1)[:, 0]
    gap = calibration.signed_gap(
        calibration.bin_confidences(confidence, correct)
    )
    # Bernstein: N |gap| exceeds L / 3 + sqrt(L^2 / 9 + 2 V L), where V is the
    # variance of the number of hits, at most 2 exp(-L) of the time. With L =
    # 21.5 that is 1e-9 for one example and 1e-6 for 1,000: less than 6.6
    # standard errors and 15 rows.
    error = np.sqrt(np.sum(confidence * (1 - confidence)))
    assert abs(float(gap)) * len(confidence) <= 6.6 * error + 15


@law(seed=SEEDS, num_bins=st.integers(1, 30))
def test_ece_of_true_predictions_is_that_of_the_null(seed, num_bins):
    generator = np.random.default_rng(seed)
    probabilities = draw_probabilities(generator)
    confidence = probabilities.max(1)
    null = resampling.null_calibration_error(
        confidence, num_bins=num_bins, num_resamples=400, seed=seed
    )
    sets = draw_correct(generator, probabilities, 100)
    table = calibration.bin_confidences(
        np.tile(confidence[:, None], (1, 100)), sets, num_bins=num_bins
    )
    ece = np.asarray(calibration.expected_calibration_error(table))
    inside = np.sum((ece >= null.low - 1e-9) & (ece <= null.high + 1e-9))
    # 95 of 100 on average. The interval's own coverage is Beta(380, 20), and
    # fewer than 70 are inside 5e-12 of the time, and 5e-9 in 1,000 examples.
    assert inside >= 70


@law(data=scored(), seed=SEEDS)
def test_the_same_seed_gives_the_same_intervals(data, seed):
    columns = calibration.top_label(data.labels, data.probabilities)
    for measure, given in (
        (resampling.bootstrap_interval, columns),
        (resampling.null_calibration_error, columns[:1]),
    ):
        options = {"num_resamples": 20, "seed": seed} | data.options
        assert measure(*given, **options) == measure(*given, **options)


@law(seed=SEEDS, num_bins=st.integers(1, 30), digits=st.integers(1, 3))
def test_order_does_not_change_the_adaptive_error(seed, num_bins, digits):
    generator = np.random.default_rng(seed)
    column = generator.random(generator.integers(1, 60)).round(digits)
    labels = generator.random(column.size) < column
    order = generator.permutation(column.size)
    error, permuted = (
        calibration.adaptive_calibration_error(
            labels[place], column[place], num_bins=num_bins, from_logits=False
        )
        for place in (ALL, order)
    )
    assert abs(error - permuted) <= ROUNDING
