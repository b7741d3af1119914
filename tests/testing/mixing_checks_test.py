"""Tests of the self-test: right stages pass, each known fault is found."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import stages
from tf_mixup import mixing
from tf_mixup import testing

NUM_BATCHES = 100
NUM_ROWS = 16
NUM_CLASSES = 5

OPTIONS = (
    {"alpha": 0.2, "per": "example"},
    {"alpha": 1.0, "probability": 0.5},
    {"alpha": 0.2},
    {"alpha": 1.0, "per": "example", "probability": 0.5},
    {"alpha": 0.0},
)
CHOICES = (
    {},
    {"partner": "same_class"},
    {"partner": "different_class"},
    {"self_pairs": False},
    {"groups": 6},
    {"class_weight": [1, 2, 1, 1, 1, 1, 1]},
)


def draw_batches(seed=0, width=6):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(NUM_BATCHES, NUM_ROWS, width))
    labels = generator.integers(NUM_CLASSES, size=(NUM_BATCHES, NUM_ROWS))
    return x.astype("float32"), np.eye(NUM_CLASSES, dtype="float32")[labels]


def draw_plan(draw, seed=0, per="batch"):
    """Returns coefficients and partners, `(batches, rows)`."""
    generator = np.random.default_rng(seed + 1)
    shape = (NUM_BATCHES, NUM_ROWS if per == "example" else 1)
    lam = np.broadcast_to(draw(generator, shape), (NUM_BATCHES, NUM_ROWS))
    partner = [generator.permutation(NUM_ROWS) for _ in range(NUM_BATCHES)]
    return lam, np.stack(partner)


def beta(alpha):
    return lambda generator, shape: generator.beta(alpha, alpha, shape)


def mix(rows, lam, partner):
    others = np.take_along_axis(rows, partner[:, :, None], axis=1)
    return (lam[..., None] * rows + (1 - lam[..., None]) * others).astype(
        rows.dtype
    )


def as_dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts)


def check(x, y, z, t, *, alpha, **options):
    return testing.check_mixing(
        as_dataset(x, y),
        as_dataset(z, t),
        alpha=alpha,
        compare_passes=False,
        **options,
    )


def failed_names(x, y, z, t, *, alpha, **options):
    with pytest.raises(ValueError, match="Mixing is wrong") as caught:
        check(x, y, z, t, alpha=alpha, **options)
    return set(re.findall(r"Received: (\w+)=", str(caught.value)))


class TestRightStages:
    @pytest.mark.parametrize("per", ["batch", "example"])
    @pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_pass(self, alpha, per, seed):
        x, y = draw_batches(seed)
        plan = draw_plan(beta(alpha), seed, per)
        report = check(x, y, mix(x, *plan), mix(y, *plan), alpha=alpha, per=per)
        assert report.num_batches == NUM_BATCHES
        assert report.num_examples == NUM_BATCHES * NUM_ROWS
        assert report.largest_residual < 1e-5
        assert report.largest_coefficient_difference < 1e-4
        assert report.repeated_plans == 0

    def test_alpha_of_zero(self):
        x, y = draw_batches()
        report = check(x, y, x, y, alpha=0)
        assert report.num_unmixed == report.num_examples

    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_folded(self, per):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4), per=per)
        plan = np.maximum(lam, 1 - lam), partner
        stage = x, y, mix(x, *plan), mix(y, *plan)
        check(*stage, alpha=0.4, per=per, folded=True)
        assert "p_value" in failed_names(*stage, alpha=0.4, per=per)

    def test_rounded_outputs(self):
        x, y = draw_batches(width=30)
        x = np.round(x * 40 + 128)
        plan = draw_plan(beta(0.4))
        report = check(x, y, np.round(mix(x, *plan)), mix(y, *plan), alpha=0.4)
        assert 0.0005 < report.largest_residual < 0.005

    def test_every_row_of_one_class(self):
        x, y = draw_batches()
        y = np.broadcast_to(y[:1, :1], y.shape)
        plan = draw_plan(beta(0.4))
        check(x, y, mix(x, *plan), mix(y, *plan), alpha=0.4)

    def test_same_pairs_in_each_batch(self):
        # Batches rolled by one, as some libraries pair rows.
        x, y = draw_batches()
        lam, _ = draw_plan(beta(0.4))
        partner = np.broadcast_to(np.roll(np.arange(NUM_ROWS), 1), lam.shape)
        stage = mix(x, lam, partner), mix(y, lam, partner)
        check(x, y, *stage, alpha=0.4)

    # Each choice once; the other pairs are slow.
    @pytest.mark.parametrize(
        ("options", "choice"),
        [
            pytest.param(
                options, choice, marks=[pytest.mark.slow] * (row != column % 2)
            )
            for row, options in enumerate(OPTIONS)
            for column, choice in enumerate(CHOICES)
        ],
    )
    def test_our_own(self, options, choice):
        images = np.random.default_rng(0).integers(0, 256, (1600, 4, 4, 1))
        train = as_dataset(images.astype("uint8"), np.arange(1600) % 7)
        train = train.shuffle(1600).batch(18)
        mixup = stages.make_stage(num_classes=7, seed=1, **options, **choice)
        report = testing.check_mixing(stage=mixup, dataset=train)
        # 88 full batches and one of 16 examples.
        assert (report.num_batches, report.num_examples) == (89, 1600)
        assert report.repeated_examples == 0


class TestFaults:
    def test_uniform_in_place_of_beta(self):
        # TF-Models drew uniform coefficients for a while.
        x, y = draw_batches()
        for per in ("batch", "example"):
            plan = draw_plan(lambda g, shape: g.uniform(size=shape), per=per)
            stage = x, y, mix(x, *plan), mix(y, *plan)
            names = failed_names(*stage, alpha=0.2, per=per)
            assert "p_value" in names

    def test_other_alpha(self):
        x, y = draw_batches()
        plan = draw_plan(beta(1.0), per="example")
        stage = x, y, mix(x, *plan), mix(y, *plan)
        assert "p_value" in failed_names(*stage, alpha=0.6, per="example")

    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_plans_repeated_by_a_race(self, per):
        x, y = draw_batches()
        lam, partner = (np.array(part) for part in draw_plan(beta(0.4), 0, per))
        clear = [i for i in range(99) if 0.05 < lam[i].min() < 0.95]
        copy = clear[3] if per == "batch" else 40
        lam[copy + 1], partner[copy + 1] = lam[copy], partner[copy]
        stage = x, y, mix(x, lam, partner), mix(y, lam, partner)
        assert failed_names(*stage, alpha=0.4, per=per) == {"repeated_plans"}

    def test_cache_after_mixing(self):
        x, y = draw_batches()
        plan = draw_plan(beta(0.4))
        half = NUM_BATCHES // 2
        parts = x, y, mix(x, *plan), mix(y, *plan)
        twice = [np.concatenate([part[:half]] * 2) for part in parts]
        assert "repeated_plans" in failed_names(*twice, alpha=0.4)

    def test_labels_left_behind(self):
        x, y = draw_batches()
        z = mix(x, *draw_plan(beta(0.4)))
        names = failed_names(x, y, z, y, alpha=0.4)
        assert names == {"largest_coefficient_difference"}

    def test_labels_with_a_coefficient_of_their_own(self):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4))
        other, _ = draw_plan(beta(0.4), seed=7)
        stage = x, y, mix(x, lam, partner), mix(y, other, partner)
        names = failed_names(*stage, alpha=0.4)
        assert names == {"largest_coefficient_difference"}

    def test_labels_of_another_partner(self):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4))
        stage = x, y, mix(x, lam, partner), mix(y, lam, partner[:, ::-1])
        assert "largest_target_residual" in failed_names(*stage, alpha=0.4)

    def test_targets_that_lose_mass(self):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4))
        stage = x, y, mix(x, lam, partner), lam[..., None] * y
        assert "largest_target_residual" in failed_names(*stage, alpha=0.4)

    def test_overflow_of_integers(self):
        x, y = draw_batches(width=30)
        x = np.clip(x * 60 + 128, 0, 255).astype("uint8")
        lam, partner = draw_plan(beta(1.0))
        others = np.take_along_axis(x, partner[:, :, None], axis=1)
        # Integer weights out of 4 wrap around at 256 before the division.
        weight = np.round(lam * 4).astype("uint8")[..., None]
        z = (weight * x + (4 - weight) * others) // 4
        assert z.dtype == np.uint8
        names = failed_names(x, y, z, mix(y, lam, partner), alpha=1.0)
        assert "largest_residual" in names

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, value):
        x, y = draw_batches()
        plan = draw_plan(beta(0.4))
        z = mix(x, *plan)
        z[3, 5, 0] = value
        names = failed_names(x, y, z, mix(y, *plan), alpha=0.4)
        assert names == {"num_nonfinite"}

    def test_gaps_that_spread_to_partners(self):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4))
        x[3, 5, 0] = np.nan
        z = mix(x, lam, partner)
        spread = int(np.isnan(z).any(-1).sum())
        assert spread == 2
        with pytest.raises(ValueError, match="num_nonfinite=2") as caught:
            check(x, y, z, mix(y, lam, partner), alpha=0.4)
        assert "Before mixing 1 examples are not" in str(caught.value)

    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_alpha_of_zero_that_mixes(self, per):
        # keras.layers.MixUp(alpha=0) mixes half and half.
        x, y = draw_batches()
        lam, partner = draw_plan(lambda _, shape: np.full(shape, 0.5))
        stage = x, y, mix(x, lam, partner), mix(y, lam, partner)
        names = failed_names(*stage, alpha=0, per=per)
        assert {"p_value", "num_unmixed"} <= names

    def test_rows_that_are_not_mixed(self):
        x, y = draw_batches()
        lam, partner = (np.array(part) for part in draw_plan(beta(1.0)))
        lam[:, ::2] = 1
        stage = x, y, mix(x, lam, partner), mix(y, lam, partner)
        assert "num_unmixed" in failed_names(*stage, alpha=1.0)

    def test_coefficients_by_row_where_one_is_due(self):
        x, y = draw_batches()
        plan = draw_plan(beta(0.4), per="example")
        stage = x, y, mix(x, *plan), mix(y, *plan)
        assert "largest_spread" in failed_names(*stage, alpha=0.4)

    def test_one_coefficient_where_each_row_has_its_own(self):
        x, y = draw_batches()
        plan = draw_plan(beta(0.4))
        stage = x, y, mix(x, *plan), mix(y, *plan)
        assert "p_value" in failed_names(*stage, alpha=0.4, per="example")

    @pytest.mark.parametrize("reshuffled", [True, False])
    def test_datasets_in_other_orders(self, reshuffled):
        x, y = draw_batches()
        if reshuffled:
            y = np.eye(2)[y.argmax(-1) % 2]
        plan = draw_plan(beta(0.4))
        z, t = mix(x, *plan), mix(y, *plan)
        before, after = as_dataset(x, y), as_dataset(z[::-1], t[::-1])
        if reshuffled:
            before = before.shuffle(NUM_BATCHES)
        with pytest.raises(ValueError, match="nothing can be compared"):
            testing.check_mixing(before, after, alpha=0.4)

    def test_all_are_listed_with_number_and_remedy(self):
        x, y = draw_batches()
        lam, partner = draw_plan(beta(0.4))
        z = mix(x, lam, partner)
        z[0, 0, 0] = np.nan
        with pytest.raises(ValueError, match="wrong in 2 ways") as caught:
            check(x, y, z, y, alpha=0.4)
        lines = str(caught.value).splitlines()[1:]
        assert lines[0].startswith(
            "- Inputs and targets must be finite. Received: num_nonfinite=1."
        )
        assert lines[1].endswith("Draw once, and use it for both.")


class TestStageAndDataset:
    """The form that reads the data once."""

    def train(self, count=320):
        x = np.random.default_rng(0).normal(size=(count, 5))
        return x.astype("float32"), np.arange(count) % 3

    def mixup(self, alpha=0.4, **options):
        return stages.make_stage(alpha, num_classes=3, seed=0, **options)

    def test_data_that_are_shuffled_and_augmented_at_random(self):
        train = as_dataset(*self.train()).shuffle(320)
        train = train.map(lambda x, y: (x + tf.random.normal([5]), y))
        report = testing.check_mixing(
            stage=self.mixup(), dataset=train.batch(8)
        )
        assert report.num_batches == 40
        with pytest.raises(ValueError, match="nothing can be compared"):
            testing.check_mixing(
                train.batch(8).apply(self.mixup().evaluation),
                train.batch(8).apply(self.mixup()),
                alpha=0.4,
            )

    @pytest.mark.parametrize("form", ["arrays", "endless", "dictionary"])
    def test_forms_of_data(self, form):
        train = as_dataset(*self.train()).batch(16)
        dataset = {
            "arrays": self.train(),
            "endless": train.repeat(),
            "dictionary": train.map(lambda x, y: {"image": x, "label": y}),
        }[form]
        report = testing.check_mixing(
            stage=self.mixup(), dataset=dataset, batches=3
        )
        assert report.num_batches == 3

    @pytest.mark.parametrize(
        "later",
        [
            lambda d: d.cache().unbatch().batch(7),
            pytest.param(lambda d: d.cache(), marks=pytest.mark.slow),
        ],
    )
    def test_cache_after_mixing(self, later):
        mixup = self.mixup()
        train = as_dataset(*self.train()).batch(7, drop_remainder=True)
        message = "the same mixes in both passes"
        with pytest.raises(ValueError, match=message) as caught:
            testing.check_mixing(
                train.apply(mixup.evaluation),
                later(train.apply(mixup)),
                alpha=0.4,
            )
        assert "wrong in 1 ways" in str(caught.value)
        with pytest.raises(ValueError, match=message):
            testing.check_mixing(
                stage=lambda data: later(data.apply(mixup)),
                dataset=train.apply(mixup.evaluation),
                alpha=0.4,
            )

    @pytest.mark.parametrize("batches", [20, 10])
    def test_cache_after_mixing_of_more_batches(self, batches):
        # A cache keeps nothing of a pass that is not read to its end.
        train = as_dataset(*self.train()).batch(16)
        mixup = self.mixup()
        with pytest.raises(ValueError, match="there are the same mixes"):
            testing.check_mixing(
                train.apply(mixup.evaluation),
                train.apply(mixup).cache(),
                alpha=0.4,
                batches=batches,
            )

    @pytest.mark.parametrize(
        ("size", "per"),
        [
            (2, "example"),
            (3, "batch"),
            pytest.param(3, "example", marks=pytest.mark.slow),
            pytest.param(2, "batch", marks=pytest.mark.slow),
        ],
    )
    def test_small_batches(self, size, per):
        # Often all examples are their own partners.
        data = as_dataset(*self.train()).batch(size, drop_remainder=True)
        testing.check_mixing(stage=self.mixup(1.0, per=per), dataset=data)

    def test_equal_inputs_of_other_labels(self):
        x = np.random.default_rng(0).integers(3, size=(800, 3))
        data = x.astype("float32"), np.arange(800) % 3
        report = testing.check_mixing(
            stage=self.mixup(1.0), dataset=as_dataset(*data).batch(8)
        )
        assert report.largest_target_residual < 0.01

    def test_batches_of_one_example(self):
        with pytest.raises(ValueError, match="Received: batches of one"):
            testing.check_mixing(
                stage=self.mixup(), dataset=as_dataset(*self.train()).batch(1)
            )

    def test_stage_with_the_same_draws_in_each_pass(self):
        def stage(data):
            def blend(step, element):
                seed = tf.stack([step, step])
                lam = tf.random.stateless_uniform([], seed)
                shift = tf.random.stateless_uniform(
                    [], seed + 7, 1, 15, tf.int64
                )
                return tuple(
                    lam * part + (1 - lam) * tf.roll(part, shift, axis=0)
                    for part in element
                )

            return data.enumerate().map(blend)

        x, labels = self.train(1600)
        y = np.eye(3, dtype="float32")[labels]
        with pytest.raises(ValueError, match="both passes"):
            testing.check_mixing(
                stage=stage, dataset=as_dataset(x, y).batch(16), alpha=1.0
            )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_points": 3}, "num_points=3"),
            ({"include_clean": True}, "include_clean=True"),
            ({"places": 1}, "num_places=1"),
            ({"mix": "inputs"}, "mix='inputs'"),
            ({"partner": "given"}, "partner='given'"),
        ],
    )
    def test_stages_of_other_mixtures(self, options, message):
        with pytest.raises(ValueError, match=f"Received: {message}"):
            testing.check_mixing(
                stage=self.mixup(**options), dataset=self.train()
            )

    def test_cutmix(self):
        images = np.zeros((8, 4, 4, 1)), np.arange(8) % 3
        with pytest.raises(ValueError, match="Received: CutMix"):
            testing.check_mixing(
                stage=mixing.CutMix(num_classes=3), dataset=images
            )

    def test_alpha_that_is_a_function(self):
        stage = self.mixup(lambda epoch, step: tf.constant(0.4))
        with pytest.raises(ValueError, match=r"Write `alpha=0\.2`"):
            testing.check_mixing(stage=stage, dataset=self.train())
        testing.check_mixing(stage=stage, dataset=self.train(), alpha=0.4)

    @pytest.mark.parametrize(
        ("form", "received"),
        [
            ((), "none of them"),
            (("mixed",), "mixed"),
            (("stage",), "stage"),
            (("unmixed", "mixed", "stage"), "unmixed, mixed, stage"),
        ],
    )
    def test_neither_form(self, form, received):
        given = dict.fromkeys(form, lambda data: data)
        with pytest.raises(ValueError, match=f"Received: {received}. Write"):
            testing.check_mixing(**given, alpha=0.4)

    def test_no_stage(self):
        with pytest.raises(ValueError, match="a float as `stage`"):
            testing.check_mixing(stage=0.2, dataset=self.train(), alpha=0.2)

    def test_report_is_short(self):
        x, y = draw_batches()
        found = repr(check(x, y, x, y, alpha=0))
        assert found.startswith(
            "MixingReport(num_batches=100, num_examples=1600,"
        )
        assert len(found) < 80


class TestKerasLayer:
    """`keras.layers.MixUp` as a stage: what users of it would see."""

    def stage(self, labels, alpha):
        x, _ = draw_batches()
        images = x[..., None, None]
        layer = keras.layers.MixUp(alpha=alpha, seed=0)
        unmixed = as_dataset(images, labels)
        mixed = unmixed.map(
            lambda image, label: tuple(
                layer(
                    {"images": image, "labels": label}, training=True
                ).values()
            )
        )
        return unmixed, mixed

    def test_passes_with_one_hot_labels(self):
        _, y = draw_batches()
        unmixed, mixed = self.stage(y, 0.4)
        testing.check_mixing(unmixed, mixed, alpha=0.4, per="example")

    def test_sparse_labels_become_a_square(self):
        labels = np.zeros((NUM_BATCHES, NUM_ROWS), "float32")
        unmixed, mixed = self.stage(labels, 0.4)
        with pytest.raises(ValueError, match=r"Received: .*\(16, 16\)"):
            testing.check_mixing(unmixed, mixed, alpha=0.4, per="example")


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alpha": -1}, "Received: alpha=-1. Write 0 for no mixing."),
            ({"per": "row"}, "Received: per='row'."),
            ({"probability": 2}, "Received: probability=2."),
            ({"self_share": 3}, "Received: self_share=3."),
            ({"batches": 0}, "Received: batches=0."),
            ({"tolerance": 0.5}, "Received: tolerance=0.5."),
        ],
    )
    def test_arguments(self, options, message):
        x, y = draw_batches()
        with pytest.raises(ValueError, match=re.escape(message)):
            check(x, y, x, y, **{"alpha": 1.0, **options})

    def test_no_batches(self):
        x, y = draw_batches()
        with pytest.raises(ValueError, match="Received: two empty datasets"):
            check(x[:0], y[:0], x[:0], y[:0], alpha=0.4)

    def test_other_numbers_of_batches(self):
        x, y = draw_batches()
        with pytest.raises(ValueError, match="same number of batches"):
            check(x, y, x[:9], y[:9], alpha=0)


@pytest.mark.parametrize("per", ["batch", "example"])
def test_columns_of_other_sizes_hide_nothing(per):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(640, 3)).astype("float32") * [1, 1e-3, 1e5]
    # One large column that is 0 in most examples.
    x[generator.random(640) < 0.98, 2] = 0
    data = tf.data.Dataset.from_tensor_slices(
        (x.astype("float32"), np.arange(640) % 3)
    )
    mixup = mixing.MixUp(0.4, num_classes=3, seed=0, per=per)
    report = testing.check_mixing(stage=mixup, dataset=data.batch(64))
    assert report.num_batches == 10
