"""Tests of the mixing stage."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import pipeline

ROWS, CLASSES = 22, 5


def make_rows():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (ROWS, 6, 6, 3), dtype="uint8")
    return images, generator.integers(0, CLASSES, ROWS)


def make_batches(size=8, **options):
    return tf.data.Dataset.from_tensor_slices(make_rows()).batch(
        size, **options
    )


def make_mixup(alpha=0.4, **options):
    return pipeline.MixUp(
        alpha, **{"num_classes": CLASSES, "seed": 1} | options
    )


def read(dataset):
    return [tf.nest.map_structure(np.array, batch) for batch in dataset]


def assert_same(one, other):
    assert len(one) == len(other)
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def recover_lam(unmixed, mixed):
    """Returns each row's coefficient from its own one-hot target."""
    own = unmixed.argmax(-1)
    return mixed[np.arange(len(own)), own]


class TestBatches:
    def test_against_reference(self):
        mixup = make_mixup(per="sample", placement="model")
        plans = read(make_batches().apply(mixup))
        host = make_mixup(per="sample")
        mixed = read(make_batches().apply(host))
        unmixed = read(make_batches().apply(host.evaluation))
        for (plan, _), (x, y), (x0, y0) in zip(
            plans, mixed, unmixed, strict=True
        ):
            partner = np.arange(len(y)) + plan["shift"]
            expected = reference.mix(x0, y0, plan["lam"], partner)
            np.testing.assert_allclose(x, expected[0], atol=1e-3)
            np.testing.assert_allclose(y, expected[1], atol=1e-6)

    def test_partial_batch_and_cardinality(self):
        mixed = make_batches().apply(make_mixup())
        assert int(mixed.cardinality()) == 3
        assert [len(x) for x, _ in mixed] == [8, 8, 6]

    def test_alpha_zero_leaves_inputs_bit_identical(self):
        mixed = read(make_batches().apply(make_mixup(0)))
        for (x, y), (raw, labels) in zip(
            mixed, read(make_batches()), strict=True
        ):
            np.testing.assert_array_equal(x, raw.astype("float32"))
            np.testing.assert_array_equal(y, np.eye(CLASSES)[labels])

    def test_one_coefficient_a_batch_or_a_sample(self):
        unmixed = np.concatenate(
            [y for _, y in read(make_batches().apply(make_mixup(0)))]
        )
        for per, few in (("batch", True), ("sample", False)):
            mixup = make_mixup(0.9, per=per, partner="different_class")
            mixed = read(make_batches().apply(mixup))
            lam = recover_lam(unmixed, np.concatenate([y for _, y in mixed]))
            assert (len(np.unique(lam.round(4))) <= 3) == few

    def test_mean_and_std_are_folded_in(self):
        plain = read(make_batches().apply(make_mixup()))
        mean, std = [10.0, 20, 30], [2.0, 4, 8]
        scaled = make_mixup(mean=mean, std=std)
        for (x, _), (z, _) in zip(
            plain, read(make_batches().apply(scaled)), strict=True
        ):
            np.testing.assert_allclose(z, (x - np.array(mean)) / std, atol=1e-4)

    def test_nearest_target_is_hard(self):
        mixed = read(make_batches().apply(make_mixup(target="nearest")))
        for _, y in mixed:
            assert set(np.unique(y)) <= {0, 1}

    def test_sample_weights_are_mixed(self):
        _, labels = make_rows()
        weights = np.arange(ROWS, dtype="float32")
        batches = tf.data.Dataset.from_tensor_slices(
            (weights[:, None], labels, weights)
        ).batch(8)
        for x, _, w in batches.apply(make_mixup(per="sample")):
            np.testing.assert_allclose(w, x[:, 0], rtol=1e-6)

    def test_class_weights_in_expectation(self):
        weights = [1.0, 2.0, 3.0, 4.0, 5.0]
        mixup = make_mixup(per="sample", class_weight=weights)
        for _, y, w in make_batches().apply(mixup):
            # lam w_i + (1 - lam) w_j, not the weight of the larger entry.
            np.testing.assert_allclose(w, y.numpy() @ weights, rtol=1e-6)

    def test_nested_inputs_and_several_outputs(self):
        images, labels = make_rows()
        batches = tf.data.Dataset.from_tensor_slices(
            (
                {"image": images, "size": np.ones((ROWS, 2))},
                {"kind": labels, "price": np.ones((ROWS, 1), "float32")},
            )
        ).batch(8)
        mixup = make_mixup(num_classes={"kind": CLASSES, "price": None})
        x, y = next(iter(batches.apply(mixup)))
        assert x["image"].shape == (8, 6, 6, 3)
        assert x["size"].dtype == tf.float64
        assert y["kind"].shape == (8, CLASSES)
        np.testing.assert_array_equal(y["price"], np.ones((8, 1)))

    @pytest.mark.parametrize(
        ("labels", "num_classes", "shape"),
        [
            (np.zeros((ROWS, 4, CLASSES), "float32"), CLASSES, (8, 4, CLASSES)),
            (np.ones(ROWS, "float32"), None, (8,)),
            (np.ones((ROWS, 3), "float32"), None, (8, 3)),
            (np.ones(ROWS, "int32"), 1, (8, 1)),
            (np.ones((ROWS, 1), "int32"), CLASSES, (8, CLASSES)),
            (np.ones((ROWS, CLASSES), "int64"), CLASSES, (8, CLASSES)),
        ],
    )
    def test_forms_of_targets(self, labels, num_classes, shape):
        batches = tf.data.Dataset.from_tensor_slices(
            (make_rows()[0], labels)
        ).batch(8)
        mixup = make_mixup(num_classes=num_classes)
        assert next(iter(batches.apply(mixup)))[1].shape == shape

    def test_probability(self):
        lam = []
        mixup = make_mixup(
            0.9, per="sample", probability=0.25, partner="different_class"
        )
        batches, rows = make_batches().repeat(60), 60 * ROWS
        unmixed = np.concatenate(
            [y for _, y in read(batches.apply(mixup.evaluation))]
        )
        mixed = np.concatenate([y for _, y in read(batches.apply(mixup))])
        lam = recover_lam(unmixed, mixed)
        # Binomial: 4 standard deviations.
        assert abs(np.mean(lam < 1) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / rows)

    def test_groups_keep_partners_within_blocks(self):
        mixup = make_mixup(groups=2, placement="model")
        for plan, _ in make_batches(drop_remainder=True).apply(mixup):
            partner = np.arange(8) + plan["shift"].numpy()
            np.testing.assert_array_equal(partner // 4, np.arange(8) // 4)

    @pytest.mark.parametrize("partner", ["same_class", "different_class"])
    def test_partners_by_class(self, partner):
        mixup = make_mixup(partner=partner, placement="model")
        for (plan, _), (_, labels) in zip(
            make_batches().apply(mixup), make_batches(), strict=True
        ):
            chosen = np.arange(len(labels)) + plan["shift"]
            same = labels.numpy()[chosen] == labels
            assert np.all(same == (partner == "same_class"))

    def test_partners_by_class_of_a_sigmoid_output(self):
        labels = np.arange(ROWS) % 2
        batches = tf.data.Dataset.from_tensor_slices(
            (make_rows()[0], labels)
        ).batch(8)
        mixup = make_mixup(
            num_classes=1,
            partner="different_class",
            per="sample",
            placement="model",
        )
        unmixed = read(batches.apply(mixup.evaluation))
        for (plan, y), (_, y0) in zip(
            read(batches.apply(mixup)), unmixed, strict=True
        ):
            # Of two classes: lam y + (1 - lam) (1 - y).
            lam = plan["lam"][:, None]
            expected = lam * y0 + (1 - lam) * (1 - y0)
            np.testing.assert_allclose(y, expected, atol=1e-6)


def read_plans(dataset):
    """Returns lam and partner of each batch sent to the model."""
    plans = []
    for sent, _ in read(dataset):
        own = np.arange(len(sent["shift"]))
        partner = (sent["shift"].T + own).T
        plans.append((sent["lam"], partner))
    return plans


class TestPoints:
    @pytest.mark.parametrize("per", ["batch", "sample"])
    def test_against_reference(self, per):
        options = {"points": 3, "per": per}
        plans = read_plans(
            make_batches().apply(make_mixup(placement="model", **options))
        )
        host = make_mixup(**options)
        mixed = read(make_batches().apply(host))
        unmixed = read(make_batches().apply(host.evaluation))
        for plan, (x, y), (x0, y0) in zip(plans, mixed, unmixed, strict=True):
            assert plan[0].shape == (len(y), 3)
            assert (len(np.unique(plan[0][:, 0])) == 1) == (per == "batch")
            expected = reference.mix_points(x0, *plan)
            np.testing.assert_allclose(x, expected, atol=1e-3)
            np.testing.assert_allclose(
                y, reference.mix_points(y0, *plan), atol=1e-6
            )

    def test_partners_are_different_permutations(self):
        mixup = make_mixup(points=4, placement="model", self_pairs=False)
        for _, partner in read_plans(make_batches(ROWS).apply(mixup)):
            for column in partner.T:
                np.testing.assert_array_equal(np.sort(column), np.arange(ROWS))
                assert np.all(column != np.arange(ROWS))
            assert len(np.unique(partner, axis=1).T) == 3

    @pytest.mark.parametrize("kind", ["same_class", "different_class"])
    def test_all_partners_go_by_class(self, kind):
        mixup = make_mixup(points=3, partner=kind, placement="model")
        _, labels = make_rows()
        ((_, partner),) = read_plans(make_batches(ROWS).apply(mixup))
        same = labels[partner] == labels[:, None]
        assert np.all(same == (kind == "same_class"))

    def test_groups_keep_all_partners_within_blocks(self):
        mixup = make_mixup(points=3, groups=2, placement="model")
        ((_, partner),) = read_plans(make_batches(ROWS).apply(mixup))
        block = np.arange(ROWS)[:, None] // (ROWS // 2)
        np.testing.assert_array_equal(
            partner // (ROWS // 2), block + 0 * partner
        )

    def test_alpha_zero_leaves_inputs_bit_identical(self):
        mixed = read(make_batches().apply(make_mixup(0, points=3)))
        for (x, y), (raw, labels) in zip(
            mixed, read(make_batches()), strict=True
        ):
            np.testing.assert_array_equal(x, raw.astype("float32"))
            np.testing.assert_array_equal(y, np.eye(CLASSES)[labels])

    def test_probability(self):
        mixup = make_mixup(
            1.0, points=3, per="sample", probability=0.25, placement="model"
        )
        plans = read_plans(make_batches(ROWS).repeat(60).apply(mixup))
        lam = np.concatenate([lam for lam, _ in plans])
        own = lam[:, 0] == 1
        np.testing.assert_array_equal(lam[own], [[1, 0, 0]] * own.sum())
        # Binomial: 4 standard deviations.
        spread = np.sqrt(0.25 * 0.75 / len(own))
        assert abs(np.mean(~own) - 0.25) < 4 * spread

    def test_nearest_target(self):
        options = {"points": 3, "per": "sample", "target": "nearest"}
        plans = read_plans(
            make_batches().apply(make_mixup(placement="model", **options))
        )
        mixup = make_mixup(**options)
        for plan, (_, y), (_, y0) in zip(
            plans,
            read(make_batches().apply(mixup)),
            read(make_batches().apply(mixup.evaluation)),
            strict=True,
        ):
            expected = reference.nearest_of_points(y0, *plan)
            np.testing.assert_array_equal(y, expected)

    def test_class_weights_in_expectation(self):
        weights = [1.0, 2.0, 3.0, 4.0, 5.0]
        mixup = make_mixup(points=3, per="sample", class_weight=weights)
        for _, y, w in make_batches().apply(mixup):
            np.testing.assert_allclose(w, y.numpy() @ weights, rtol=1e-6)


class TestPlaces:
    def read_places(self, **options):
        mixup = make_mixup(placement="model", places=3, **options)
        return [
            plan["place"]
            for plan, _ in read(make_batches().repeat(20).apply(mixup))
        ]

    def test_one_place_for_each_batch(self):
        places = self.read_places()
        for place in places:
            assert place.dtype == np.int32
            assert len(np.unique(place)) == 1
        counts = np.bincount([place[0] for place in places], minlength=3)
        assert len(counts) == 3
        assert scipy.stats.chisquare(counts).pvalue > 1e-3

    def test_seed_decides(self):
        one, same, other = (
            np.array([place[0] for place in self.read_places(seed=seed)])
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)

    def test_other_draws_stay_as_they_are(self):
        plans = (
            read_plans(
                make_batches().apply(
                    make_mixup(placement="model", places=places)
                )
            )
            for places in (1, 3)
        )
        for one, other in zip(*plans, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])

    def test_evaluation_has_the_same_structure(self):
        mixup = make_mixup(placement="model", places=2)
        mixed, unmixed = (
            make_batches().apply(stage).element_spec
            for stage in (mixup, mixup.evaluation)
        )
        assert mixed == unmixed


class TestKeepClean:
    def test_clean_rows_then_mixed_rows(self):
        weights = np.arange(ROWS, dtype="float32")
        batches = tf.data.Dataset.from_tensor_slices(
            (*make_rows(), weights)
        ).batch(8)
        options = {"per": "sample", "mean": 3.0, "std": 2.0}
        plain = make_mixup(**options)
        both = read(batches.apply(make_mixup(keep_clean=True, **options)))
        clean = read(batches.apply(plain.evaluation))
        mixed = read(batches.apply(plain))
        assert len(both) == len(clean)
        for found, *expected in zip(both, clean, mixed, strict=True):
            for part, *halves in zip(found, *expected, strict=True):
                np.testing.assert_array_equal(part, np.concatenate(halves))

    def test_loss_is_the_mean_of_both(self):
        crossentropy = keras.losses.CategoricalCrossentropy()

        def loss(stage):
            _, y = next(iter(make_batches().apply(stage)))
            # A prediction of its own for each row and each class.
            rows = np.arange(1.0, 8 * CLASSES + 1).reshape(8, CLASSES)
            rows = np.tile(rows, (len(y) // 8, 1))
            return float(crossentropy(y, rows / rows.sum(1, keepdims=True)))

        plain = make_mixup()
        both = loss(make_mixup(keep_clean=True))
        mean = (loss(plain) + loss(plain.evaluation)) / 2
        assert both == pytest.approx(mean, rel=1e-6)

    @pytest.mark.parametrize("points", [2, 3])
    def test_partners_stay_within_the_slices_of_replicas(self, points):
        mixup = make_mixup(
            keep_clean=True, groups=2, points=points, placement="model"
        )
        batches = make_batches(drop_remainder=True)
        for lam, partner in read_plans(batches.apply(mixup)):
            assert len(lam) == 16
            own = np.arange(16) if points == 2 else np.arange(16)[:, None]
            np.testing.assert_array_equal(partner // 8, own // 8 + 0 * partner)
            np.testing.assert_array_equal(
                partner[:8] - own[:8], 0 * partner[:8]
            )
            shares = lam if points == 2 else lam[:, 0]
            np.testing.assert_array_equal(shares[:8], 1)

    def test_evaluation_has_each_row_once(self):
        mixup = make_mixup(keep_clean=True)
        unmixed = make_batches().apply(mixup.evaluation)
        assert [len(x) for x, _ in unmixed] == [8, 8, 6]

    def test_two_replicas_see_each_batch_once(self, two_replicas):
        # Batches of unknown size: TensorFlow splits them by what it finds.
        mixed = make_batches().apply(make_mixup(keep_clean=True))
        parts = [
            [len(rows) for rows in two_replicas.experimental_local_results(x)]
            for x, _ in two_replicas.experimental_distribute_dataset(mixed)
        ]
        assert parts == [[8, 8], [8, 8], [6, 6]]


def append_partners(x, y, *weights):
    """Returns rows, and the next one of each as its partner."""
    return tuple(
        tf.concat([each, tf.roll(each, -1, axis=0)], axis=0)
        for each in (x, y, *weights)
    )


class TestGivenPartners:
    def test_rows_are_mixed_with_those_that_follow(self):
        batches = make_batches()
        mixup = make_mixup(partner="given", per="sample")
        mixed = read(batches.map(append_partners).apply(mixup))
        for (x, y), (x0, y0) in zip(mixed, read(batches), strict=True):
            partner = np.roll(np.arange(len(y0)), -1)
            targets = np.eye(CLASSES)[y0]
            differ = y0 != y0[partner]
            lam = recover_lam(targets, y)
            assert len(np.unique(lam[differ])) > 1
            # Where classes are the same, targets do not tell lam.
            expected = reference.mix(x0, targets, lam, partner)
            np.testing.assert_allclose(
                x[differ], expected[0][differ], atol=1e-3
            )
            np.testing.assert_allclose(y, expected[1], atol=1e-6)

    def test_a_batch_and_its_own_permutation_mix_as_ever(self):
        # The plan that was drawn, given back as partners.
        plain = make_mixup(mean=3.0, std=2.0, class_weight=[1, 2, 3, 4, 5])
        given = make_mixup(
            mean=3.0, std=2.0, class_weight=[1, 2, 3, 4, 5], partner="given"
        )
        x, y = next(iter(make_batches()))
        partner = plain.replay((x, y), epoch=0, step=0).partner
        both = tf.concat([tf.range(8), partner], axis=0)
        rows = tf.data.Dataset.from_tensors(
            (tf.gather(x, both), tf.gather(y, both))
        )
        expected = read(tf.data.Dataset.from_tensors((x, y)).apply(plain))
        assert_same(read(rows.apply(given)), expected)

    def test_keep_clean_has_the_rows_and_not_their_partners(self):
        options = {"partner": "given", "per": "sample"}
        paired = make_batches().map(append_partners)
        both = read(paired.apply(make_mixup(keep_clean=True, **options)))
        clean = read(make_batches().apply(make_mixup().evaluation))
        mixed = read(paired.apply(make_mixup(**options)))
        for found, *expected in zip(both, clean, mixed, strict=True):
            for part, *halves in zip(found, *expected, strict=True):
                np.testing.assert_array_equal(part, np.concatenate(halves))

    def test_three_points_take_two_partners_each(self):
        rows = np.eye(6, dtype="float32"), np.arange(6)
        stage = pipeline.MixUp(
            1.0, num_classes=6, seed=0, points=3, partner="given"
        )
        ((x, y),) = read(tf.data.Dataset.from_tensors(rows).apply(stage))
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(
            np.argwhere(x > 0), [[0, 0], [0, 2], [0, 4], [1, 1], [1, 3], [1, 5]]
        )

    def test_nearest_target_is_one_of_both(self):
        rows = np.eye(4, dtype="float32"), np.arange(4)
        stage = pipeline.MixUp(
            1.0,
            num_classes=4,
            seed=0,
            per="sample",
            partner="given",
            target="nearest",
        )
        dataset = tf.data.Dataset.from_tensors(rows).repeat(20)
        for x, y in read(dataset.apply(stage)):
            np.testing.assert_array_equal(y.argmax(1), x.argmax(1))
            assert set(np.unique(y)) == {0, 1}

    def test_odd_batch_of_known_size_is_refused(self):
        mixup = make_mixup(partner="given")
        with pytest.raises(ValueError, match="Received: points=2 with 7 rows"):
            make_batches(7, drop_remainder=True).apply(mixup)

    def test_odd_batch_of_unknown_size_is_refused(self):
        mixed = make_batches(7).apply(make_mixup(partner="given"))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Concatenate a batch"
        ):
            next(iter(mixed))


def test_numbers_of_classes_may_be_numpys():
    weights = {"class_weight": {1: 2.0}}
    mixup = make_mixup(num_classes=np.int64(CLASSES), **weights)
    assert mixup.num_classes == CLASSES
    assert_same(
        read(make_batches().apply(mixup)),
        read(make_batches().apply(make_mixup(**weights))),
    )
    several = make_mixup(num_classes=[np.int64(2), None])
    assert several.num_classes == [2, None]


class TestSeeds:
    @pytest.mark.parametrize("calls", [None, 1, 4, tf.data.AUTOTUNE])
    def test_parallelism_changes_nothing(self, calls):
        expected = read(make_batches(2).apply(make_mixup()))
        mixup = make_mixup(num_parallel_calls=calls)
        assert_same(read(make_batches(2).apply(mixup)), expected)

    def test_epochs_and_steps_differ(self):
        mixup = make_mixup(per="sample", placement="model")
        mixed = make_batches().apply(mixup)
        draws = [plan["lam"][0] for _ in range(5) for plan, _ in read(mixed)]
        assert len(np.unique(draws)) == 15

    def test_seeds_differ(self):
        one, other = (
            read(make_batches().apply(make_mixup(seed=seed)))[0][1]
            for seed in (0, 1)
        )
        assert not np.array_equal(one, other)

    def test_no_seed_draws_one_and_tells_it(self):
        mixup = make_mixup(seed=None)
        expected = read(make_batches().apply(mixup))
        again = make_mixup(seed=mixup.seed)
        assert_same(read(make_batches().apply(again)), expected)
        assert make_mixup(seed=None).seed != mixup.seed

    def test_global_seed_does_not_matter(self):
        expected = read(make_batches().apply(make_mixup()))
        keras.utils.set_random_seed(7)
        assert_same(read(make_batches().apply(make_mixup())), expected)

    def test_epoch_is_replayed(self):
        mixup = make_mixup()
        mixed = make_batches().apply(mixup)
        for _ in range(3):
            expected = read(mixed)
        again = make_mixup()
        again.clock.start_training(3)
        again.clock.start_epoch(2)
        assert_same(read(make_batches().apply(again)), expected)


class TestRefusals:
    @pytest.mark.parametrize("alpha", [-0.1, np.nan, np.inf, "much", None])
    def test_alpha(self, alpha):
        with pytest.raises(ValueError, match=r"`alpha`.*Received: alpha="):
            make_mixup(alpha)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"per": "epoch"}, "`per` must be one of"),
            ({"partner": "friend"}, "`partner` must be one of"),
            ({"partner": "given", "placement": "model"}, "on the host"),
            ({"partner": "given", "groups": 2}, "groups=2"),
            ({"target": "soft"}, "`target` must be one of"),
            ({"placement": "gpu"}, "`placement` must be one of"),
            ({"groups": 0}, "groups=0"),
            ({"seed": -1}, "seed=-1"),
            ({"seed": 0.5}, "seed=0.5"),
            ({"probability": 1.5}, "probability=1.5"),
            ({"points": 1}, "points=1"),
            ({"places": 0, "placement": "model"}, "places=0"),
            ({"places": 2}, r"training_twin\(at=...\)"),
            ({"std": 0.0}, "`std` must be a finite number above 0"),
            ({"std": np.nan}, "`std` must be a finite number above 0"),
            ({"mean": [[1.0]]}, "`mean` must be a finite number, or one"),
            ({"mean": 1.0, "placement": "model"}, "training_twin"),
            ({"class_weight": [1.0]}, "Count classes from 0"),
            ({"class_weight": {7: 1.0}}, "Count classes from 0"),
            ({"class_weight": [1, 1, 1, 1, np.nan]}, r"class_weight\[4\]=nan"),
            ({"class_weight": {1: -1}}, r"class_weight\[1\]=-1"),
            ({"num_classes": 0}, "num_classes=0"),
            ({"num_classes": 2.0}, "num_classes=2.0"),
            ({"num_classes": True}, "num_classes=True"),
            ({"num_classes": {"a": 3, "b": [None, -1]}}, "num_classes=-1"),
            (
                {"class_weight": [1.0], "num_classes": None},
                "sample weights in the dataset",
            ),
        ],
    )
    def test_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            make_mixup(**options)

    def test_class_weight_of_several_targets(self):
        batches = make_batches().map(lambda x, y: (x, {"a": y, "b": y}))
        with pytest.raises(ValueError, match="class_weight with several"):
            batches.apply(make_mixup(class_weight={0: 2.0}))

    @pytest.mark.parametrize("stage", ["__call__", "evaluation"])
    @pytest.mark.parametrize("options", [{"mean": [1, 2]}, {"std": [1, 2]}])
    def test_statistics_of_other_channels(self, stage, options):
        with pytest.raises(ValueError, match="2 numbers for a batch"):
            getattr(make_mixup(**options), stage)(make_batches())

    @pytest.mark.parametrize("stage", ["__call__", "evaluation"])
    def test_what_is_no_dataset(self, stage):
        with pytest.raises(ValueError, match="from_tensor_slices"):
            getattr(make_mixup(), stage)(make_rows())

    def test_partners_by_class_without_classes(self):
        mixup = make_mixup(num_classes=None, partner="same_class")
        batches = make_batches().map(lambda x, y: (x, tf.cast(y, tf.float32)))
        with pytest.raises(ValueError, match='Use `partner="random"`'):
            batches.apply(mixup)
