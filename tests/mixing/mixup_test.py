"""Tests of the mixing stage."""

import copy

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tests import stages
from tf_mixup import mixing

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
    return stages.make_stage(
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
        mixup = make_mixup(per="example", places=1)
        plans = read(make_batches().apply(mixup))
        host = make_mixup(per="example")
        mixed = read(make_batches().apply(host))
        unmixed = read(make_batches().apply(host.evaluation))
        for (plan, _), (x, y), (x0, y0) in zip(
            plans, mixed, unmixed, strict=True
        ):
            partner = np.arange(len(y)) + plan["partner_offset"]
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
        for per, few in (("batch", True), ("example", False)):
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
        mixed = read(make_batches().apply(make_mixup(mix="inputs")))
        for _, y in mixed:
            assert set(np.unique(y)) <= {0, 1}

    @pytest.mark.parametrize("places", [0, 1])
    def test_targets_alone_are_mixed(self, places):
        options = {"places": 1} if places else {"mean": [10.0, 20, 30]}
        alone = make_mixup(mix="targets", **options)
        unmixed = read(make_batches().apply(alone.evaluation))
        both = read(make_batches().apply(make_mixup(**options)))
        mixed = read(make_batches().apply(alone))
        for (x, y), (own, _), (_, expected) in zip(
            mixed, unmixed, both, strict=True
        ):
            if places:
                assert (x["lam"] == 1).all()
                x, own = x["inputs"], own["inputs"]
            np.testing.assert_array_equal(x, own)
            np.testing.assert_array_equal(y, expected)

    def test_replay_shows_the_inputs_that_targets_alone_leave(self):
        mixup = make_mixup(mix="targets")
        (x, y), *_ = read(make_batches().apply(mixup))
        images, labels = make_rows()
        replay = mixup.replay((images[:8], labels[:8]), epoch=0, step=0)
        np.testing.assert_array_equal(replay.inputs, x)
        np.testing.assert_array_equal(replay.targets, y)

    def test_targets_of_ids_are_mixed_without_a_rule(self):
        ids = np.arange(ROWS)[:, None]
        batches = tf.data.Dataset.from_tensor_slices((ids, make_rows()[1]))
        mixed = batches.batch(8).apply(make_mixup(mix="targets"))
        (x, y), *_ = read(mixed)
        np.testing.assert_array_equal(x, ids[:8])
        assert ((y > 0) & (y < 1)).any()

    def test_sample_weights_are_mixed(self):
        _, labels = make_rows()
        weights = np.arange(ROWS, dtype="float32")
        batches = tf.data.Dataset.from_tensor_slices(
            (weights[:, None], labels, weights)
        ).batch(8)
        for x, _, w in batches.apply(make_mixup(per="example")):
            np.testing.assert_allclose(w, x[:, 0], rtol=1e-6)

    def test_class_weights_in_expectation(self):
        weights = [1.0, 2.0, 3.0, 4.0, 5.0]
        mixup = make_mixup(per="example", class_weight=weights)
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
            0.9, per="example", probability=0.25, partner="different_class"
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
        mixup = make_mixup(groups=2, places=1)
        for plan, _ in make_batches(drop_remainder=True).apply(mixup):
            partner = np.arange(8) + plan["partner_offset"].numpy()
            np.testing.assert_array_equal(partner // 4, np.arange(8) // 4)

    @pytest.mark.parametrize("partner", ["same_class", "different_class"])
    def test_partners_by_class(self, partner):
        mixup = make_mixup(partner=partner, places=1)
        for (plan, _), (_, labels) in zip(
            make_batches().apply(mixup), make_batches(), strict=True
        ):
            chosen = np.arange(len(labels)) + plan["partner_offset"]
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
            per="example",
            places=1,
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
        own = np.arange(len(sent["partner_offset"]))
        partner = (sent["partner_offset"].T + own).T
        plans.append((sent["lam"], partner))
    return plans


class TestPoints:
    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_against_reference(self, per):
        options = {"num_points": 3, "per": per}
        plans = read_plans(
            make_batches().apply(make_mixup(places=1, **options))
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
        mixup = make_mixup(num_points=4, places=1, self_pairs=False)
        for _, partner in read_plans(make_batches(ROWS).apply(mixup)):
            for column in partner.T:
                np.testing.assert_array_equal(np.sort(column), np.arange(ROWS))
                assert np.all(column != np.arange(ROWS))
            assert len(np.unique(partner, axis=1).T) == 3

    @pytest.mark.parametrize("kind", ["same_class", "different_class"])
    def test_all_partners_go_by_class(self, kind):
        mixup = make_mixup(num_points=3, partner=kind, places=1)
        _, labels = make_rows()
        ((_, partner),) = read_plans(make_batches(ROWS).apply(mixup))
        same = labels[partner] == labels[:, None]
        assert np.all(same == (kind == "same_class"))

    def test_groups_keep_all_partners_within_blocks(self):
        mixup = make_mixup(num_points=3, groups=2, places=1)
        ((_, partner),) = read_plans(make_batches(ROWS).apply(mixup))
        block = np.arange(ROWS)[:, None] // (ROWS // 2)
        np.testing.assert_array_equal(
            partner // (ROWS // 2), block + 0 * partner
        )

    def test_alpha_zero_leaves_inputs_bit_identical(self):
        mixed = read(make_batches().apply(make_mixup(0, num_points=3)))
        for (x, y), (raw, labels) in zip(
            mixed, read(make_batches()), strict=True
        ):
            np.testing.assert_array_equal(x, raw.astype("float32"))
            np.testing.assert_array_equal(y, np.eye(CLASSES)[labels])

    def test_probability(self):
        mixup = make_mixup(
            1.0, num_points=3, per="example", probability=0.25, places=1
        )
        plans = read_plans(make_batches(ROWS).repeat(60).apply(mixup))
        lam = np.concatenate([lam for lam, _ in plans])
        own = lam[:, 0] == 1
        np.testing.assert_array_equal(lam[own], [[1, 0, 0]] * own.sum())
        # Binomial: 4 standard deviations.
        spread = np.sqrt(0.25 * 0.75 / len(own))
        assert abs(np.mean(~own) - 0.25) < 4 * spread

    def test_nearest_target(self):
        options = {"num_points": 3, "per": "example", "mix": "inputs"}
        plans = read_plans(
            make_batches().apply(make_mixup(places=1, **options))
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
        mixup = make_mixup(num_points=3, per="example", class_weight=weights)
        for _, y, w in make_batches().apply(mixup):
            np.testing.assert_allclose(w, y.numpy() @ weights, rtol=1e-6)


class TestPlaces:
    def read_places(self, **options):
        mixup = make_mixup(places=3, **options)
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
            read_plans(make_batches().apply(make_mixup(places=places)))
            for places in (1, 3)
        )
        for one, other in zip(*plans, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])

    @pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "str"])
    def test_evaluation_keeps_what_needs_a_rule_to_be_mixed(self, dtype):
        ids = np.array([2**24 + 1, 0, 5]).astype(dtype)
        inputs = {"ids": ids, "x": np.ones((3, 2), "float32")}
        batches = tf.data.Dataset.from_tensor_slices((inputs, [0, 1, 2]))
        mixup = make_mixup(std=2.0)
        ((x, _),) = read(batches.batch(3).apply(mixup.evaluation))
        found = x["ids"].astype(str) if dtype == "str" else x["ids"]
        np.testing.assert_array_equal(found, ids)
        assert dtype == "str" or found.dtype == ids.dtype
        np.testing.assert_array_equal(x["x"], inputs["x"] / 2)

    def test_evaluation_has_the_same_structure(self):
        mixup = make_mixup(places=2)
        mixed, unmixed = (
            make_batches().apply(stage).element_spec
            for stage in (mixup, mixup.evaluation)
        )
        assert mixed == unmixed


def apply_to(batch, **options):
    """Returns the one batch that a stage makes of another, as NumPy."""
    stage = make_mixup(**{"per": "example", "self_pairs": False} | options)
    (mixed,) = read(tf.data.Dataset.from_tensors(batch).apply(stage))
    return mixed


def apply_ragged(*parts, **options):
    """Applies a stage to a batch of parts whose lengths are not known."""
    shapes = [
        tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in parts
    ]
    batches = tf.data.Dataset.from_generator(
        lambda: iter([parts]), output_signature=tuple(shapes)
    ).apply(tf.data.experimental.assert_cardinality(1))
    stage = make_mixup(**options)
    return next(iter(batches.apply(stage)))


class TestInputRules:
    ids = np.array([2**40, 16777217, 3, 4])
    masks = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]])

    def make_batch(self, dtype="int64"):
        size = np.arange(4, dtype="float32")[:, None]
        inputs = {"size": size, "text": {"ids": self.ids}}
        inputs["text"]["mask"] = self.masks.astype(dtype)
        return inputs, np.arange(4)

    def test_ids_stay_and_masks_unite(self):
        rules = {"text/ids": "keep", "text": {"mask": "union"}}
        for dtype in ("bool", "float32"):
            x, y = apply_to(self.make_batch(dtype), inputs=rules)
            partner = np.argsort(y + 2 * np.eye(4, 5), axis=1)[:, -2]
            lam = y[np.arange(4), np.arange(4)]
            expected = lam * np.arange(4) + (1 - lam) * partner
            np.testing.assert_allclose(x["size"][:, 0], expected, rtol=1e-5)
            np.testing.assert_array_equal(x["text"]["ids"], self.ids)
            union = np.maximum(self.masks, self.masks[partner])
            np.testing.assert_array_equal(x["text"]["mask"], union)
            assert x["text"]["mask"].dtype == dtype

    def test_union_of_more_points(self):
        rules = {"text/ids": "keep", "text/mask": "union"}
        options = {"num_points": 3, "seed": 3}
        x, y = apply_to(self.make_batch("bool"), inputs=rules, **options)
        union = (y[:, :4] > 0) @ self.masks > 0
        np.testing.assert_array_equal(x["text"]["mask"], union)

    @pytest.mark.parametrize(
        ("rule", "stage"),
        [
            *(("keep", "__call__"), ("union", "evaluation")),
            *(("mix", "__call__"), ("mix", "evaluation")),
        ],
    )
    def test_no_mixing_changes_no_value(self, rule, stage):
        rules = {"text/ids": rule, "text/mask": "union"}
        mixup = make_mixup(0, inputs=rules)
        batches = tf.data.Dataset.from_tensors(self.make_batch())
        ((x, _),) = read(getattr(mixup, stage)(batches))
        np.testing.assert_array_equal(x["text"]["ids"], self.ids)
        np.testing.assert_array_equal(x["text"]["mask"], self.masks)
        kept = "float64" if rule == "mix" else "int64"
        assert x["text"]["ids"].dtype == kept

    def test_text_is_kept(self):
        words = np.array(["a", "b", "c", "d"])
        batch = (np.ones((4, 1), "float32"), words), np.arange(4)
        for options in ({}, {"include_clean": True}, {"alpha": 0}):
            x, _ = apply_to(batch, inputs={1: "keep"}, **options)
            np.testing.assert_array_equal(x[1][-4:], words.astype("S"))

    def test_partners_that_are_given_keep_no_ids(self):
        x, _ = apply_to(
            self.make_batch(),
            inputs={"text/ids": "keep", "text/mask": "union"},
            partner="given",
        )
        np.testing.assert_array_equal(x["text"]["ids"], self.ids[:2])
        union = np.maximum(self.masks[:2], self.masks[2:])
        np.testing.assert_array_equal(x["text"]["mask"], union)

    def test_replay_follows_the_rules(self):
        mixup = make_mixup(inputs={"text": "keep"}, mean=1.0)
        replay = mixup.replay(self.make_batch(), epoch=0, step=0)
        np.testing.assert_array_equal(replay.inputs["text"]["ids"], self.ids)

    def test_statistics_are_for_what_is_mixed(self):
        rules = {"text/ids": "keep", "text/mask": "mix"}
        x, _ = apply_to(
            self.make_batch("uint8"), alpha=0, inputs=rules, mean=9.0
        )
        np.testing.assert_array_equal(x["text"]["ids"], self.ids)
        np.testing.assert_array_equal(x["text"]["mask"], self.masks - 9.0)

    def test_go_to_the_model_as_they_are(self):
        x, _ = apply_to(self.make_batch(), places=1)
        np.testing.assert_array_equal(x["inputs"]["text"]["ids"], self.ids)

    @pytest.mark.parametrize(
        "dtype", ["int32", "int64", "uint32", "uint64", "bool"]
    )
    def test_integers_need_a_rule(self, dtype):
        batches = tf.data.Dataset.from_tensors(self.make_batch(dtype))
        mixup = make_mixup(inputs={"text/ids": "keep"})
        with pytest.raises(
            ValueError, match=r"input 'text/mask' of dtype .*inputs=.*\"keep\""
        ):
            mixup(batches)

    @pytest.mark.parametrize("dtype", ["uint8", "int16"])
    def test_small_integers_are_measurements(self, dtype):
        batch = np.eye(4, dtype=dtype), np.arange(4)
        x, y = apply_to(batch)
        np.testing.assert_allclose(x, y[:, :4], atol=1e-6)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"inputs": {"idz": "keep"}}, r"'idz' for inputs \['size', 'text/"),
            ({"inputs": "keep"}, "At least one input must be mixed"),
            ({"inputs": {"text": "mix", "size": "keep"}}, None),
        ],
    )
    def test_rules_must_fit(self, options, match):
        batches = tf.data.Dataset.from_tensors(self.make_batch())
        if match is None:
            batches.apply(make_mixup(**options))
            return
        with pytest.raises(ValueError, match=match):
            batches.apply(make_mixup(**options))

    def test_text_is_not_mixed(self):
        batch = {"text": np.array(["a", "b"])}, np.arange(2)
        for rules in ("mix", "union"):
            with pytest.raises(ValueError, match="training_model"):
                apply_to(batch, inputs=rules)


class TestWeights:
    @pytest.mark.parametrize(
        ("dtype", "shape"),
        [
            *(("float32", (8,)), ("int64", (8, 1)), ("bool", (8,))),
            *(
                pytest.param(dtype, shape, marks=pytest.mark.slow)
                for dtype in ("float64", "int32", "uint8")
                for shape in ((8,), (8, 1))
            ),
        ],
    )
    def test_class_weights_go_with_any_sample_weights(self, dtype, shape):
        given = np.array([0, 1, 2, 3, 4, 1, 0, 2]).astype(dtype)
        batch = np.eye(8, dtype="float32"), np.arange(8) % CLASSES
        weights = np.array([1.0, 2, 3, 4, 5])
        x, _, w = apply_to((*batch, given.reshape(shape)), class_weight=weights)
        expected = x @ (given * weights[batch[1]])
        np.testing.assert_allclose(w, expected, rtol=1e-5)
        assert w.dtype == np.float32

    def test_class_weights_of_one_output_in_a_dictionary(self):
        batch = np.eye(8, dtype="float32"), np.arange(8) % CLASSES
        weights = [1.0, 2, 3, 4, 5]
        _, _, w = apply_to(batch, class_weight=weights)
        for given in ((), ({"a": np.ones((8, 1))},)):
            named = batch[0], {"a": batch[1]}, *given
            _, _, again = apply_to(named, class_weight=weights)
            np.testing.assert_allclose(again["a"], w, rtol=1e-6)

    def test_class_weights_of_steps(self):
        ids = np.array([[0, 1], [2, 3], [4, 4]])
        targets = np.eye(CLASSES, dtype="float32")[ids]
        x = np.zeros((3, 2), "float32")
        masks = np.array([[1, 0], [1, 1], [0, 0]])
        _, _, w = apply_to(
            (x, targets, masks), alpha=0, class_weight=[1.0, 2, 3, 4, 5]
        )
        np.testing.assert_array_equal(w, masks * (1 + ids))

    @pytest.mark.parametrize("shape", [(4,), (4, 1)])
    def test_weights_of_one_output_among_several(self, shape):
        weights = np.arange(4).reshape(shape)
        batch = (
            np.eye(4, dtype="float32"),
            {"a": np.arange(4), "b": np.arange(4)},
        )
        x, _, w = apply_to((*batch, {"a": weights}))
        np.testing.assert_allclose(w["a"].ravel(), x @ np.arange(4), rtol=1e-6)


class TestIgnoreLabel:
    labels = np.array([0, -1, 2, 3, -1, 1, -1, 4])

    def apply(self, labels=labels, weights=(), **options):
        batch = np.eye(8, dtype="float32"), labels, *weights
        return apply_to(batch, **{"ignore_label": -1} | options)

    @pytest.mark.parametrize("num_points", [2, 3])
    @pytest.mark.parametrize("weights", [(), (np.arange(1, 9),)])
    def test_unknown_classes_weigh_nothing(self, num_points, weights):
        # The seed brings examples of unknown classes together.
        x, y, w = self.apply(weights=weights, num_points=num_points, seed=5)
        known = self.labels >= 0
        given = weights[0] * known if weights else known
        np.testing.assert_allclose(w, x @ given, rtol=1e-5)
        # The target is that of the other examples.
        one_hot = np.eye(CLASSES)[self.labels] * known[:, None]
        share = (x @ known)[:, None]
        expected = np.divide(
            x @ one_hot, share, out=np.zeros_like(y), where=share > 0
        )
        np.testing.assert_allclose(y, expected, atol=1e-6)
        assert (share == 0).any()
        assert ((share > 0) & (share < 1)).any()

    def test_no_mixing_and_evaluation_set_weights(self):
        mixup = make_mixup(ignore_label=-1, class_weight=[1, 2, 3, 4, 5])
        batches = tf.data.Dataset.from_tensors((np.ones((8, 1)), self.labels))
        ((_, y, w),) = read(batches.apply(mixup.evaluation))
        np.testing.assert_array_equal(w, self.labels >= 0)
        np.testing.assert_array_equal(y.sum(1), self.labels >= 0)
        _, _, w = self.apply(alpha=0, class_weight=[1, 2, 3, 4, 5])
        np.testing.assert_array_equal(w, self.labels + 1)

    @pytest.mark.parametrize(
        ("dtype", "label"), [("uint8", 255), ("int64", -100), ("float32", -1)]
    )
    def test_of_a_sigmoid_output(self, dtype, label):
        labels = np.array([0, 1, label, 1, label, 0, 0, 1], dtype)
        x, y, w = self.apply(labels, num_classes=1, ignore_label=label)
        known = labels != label
        np.testing.assert_allclose(w, x @ known, rtol=1e-6)
        share = np.where(w > 0, w, 1)
        np.testing.assert_allclose(
            y[:, 0], x @ (labels == 1) / share, atol=1e-6
        )

    def test_of_several_outputs(self):
        batch = (
            np.eye(8, dtype="float32"),
            {"kind": self.labels, "price": np.arange(8.0)},
        )
        for weights in (
            (),
            (np.ones(8),),
            ({"kind": np.ones(8), "price": np.ones((8, 1))},),
        ):
            x, y, w = apply_to(
                (*batch, *weights),
                ignore_label=-1,
                num_classes={"kind": CLASSES, "price": None},
            )
            np.testing.assert_allclose(w["kind"], x @ (self.labels >= 0))
            np.testing.assert_allclose(w["price"], 1)
            np.testing.assert_allclose(y["price"], x @ np.arange(8), rtol=1e-6)

    def test_partners_by_class_are_known_or_all_unknown(self):
        _, _, w = self.apply(partner="same_class", self_pairs=True)
        np.testing.assert_array_equal(w, self.labels >= 0)

    def test_nearest_target(self):
        x, y, w = self.apply(mix="inputs")
        nearest = x.argmax(1)
        np.testing.assert_array_equal(w, self.labels[nearest] >= 0)
        np.testing.assert_array_equal(y.sum(1), w)

    def test_weights_of_some_outputs_are_refused(self):
        batch = (
            np.eye(8),
            {"a": self.labels, "b": self.labels},
            {"a": np.ones(8)},
        )
        with pytest.raises(ValueError, match="weights for 1 of 2 outputs"):
            apply_to(batch, ignore_label=-1)

    def test_labels_below_0_name_it(self):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"Labels must lie in \[0, 4\]\. Received: values from -1 to"
            r" 4\. Count .* ignore_label=-1",
        ):
            self.apply(ignore_label=None)


class TestAlphaByClass:
    ALPHAS = (0.0, 0.4, 1.0, 1e6, 0.0)

    def make(self, **options):
        stage = make_mixup("auto", per="class", **options)
        stage.set_alpha(self.ALPHAS)
        return stage

    def test_the_class_of_an_example_decides(self):
        images, labels = np.zeros((1000, 2), "float32"), np.arange(1000) % 5
        lam = self.make().coefficients((images, labels), epoch=0, steps=3)
        lam = np.array(lam)
        assert lam.min() >= 0.5
        np.testing.assert_array_equal(lam[:, labels == 0], 1)
        np.testing.assert_array_equal(lam[:, labels == 4], 1)
        np.testing.assert_allclose(lam[:, labels == 3], 0.5, atol=0.01)
        for k in (1, 2):
            drawn = lam[:, labels == k].ravel()
            beta = scipy.stats.beta(self.ALPHAS[k], self.ALPHAS[k])
            half = beta.cdf(0.99) - 0.5
            drawn = drawn[drawn < 0.99]
            test = scipy.stats.kstest(
                drawn, lambda x, b=beta, h=half: (b.cdf(x) - 0.5) / h
            )
            assert test.pvalue > 0.001

    def test_host_and_model_mix_alike(self):
        plans = read(make_batches().apply(self.make(places=1)))
        unmixed = read(make_batches().apply(make_mixup(0)))
        for (plan, _), (x, y), (x0, y0) in zip(
            plans, read(make_batches().apply(self.make())), unmixed, strict=True
        ):
            partner = np.arange(len(y)) + plan["partner_offset"]
            expected = reference.mix(x0, y0, plan["lam"], partner)
            np.testing.assert_allclose(x, expected[0], atol=1e-3)
            np.testing.assert_allclose(y, expected[1], atol=1e-6)

    def test_unknown_classes_are_not_mixed(self):
        stage = make_mixup("auto", per="class", ignore_label=-1)
        stage.set_alpha([1e6] * CLASSES)
        labels = np.array([0, -1, 2, -1])
        lam = stage.coefficients(
            (np.zeros((4, 2), "float32"), labels), epoch=0, steps=1
        )
        np.testing.assert_allclose(lam[0], [0.5, 1, 0.5, 1], atol=0.01)

    def test_may_be_given_partners(self):
        stage = self.make(partner="given")
        labels = np.array([0, 3, 3, 0])
        lam = stage.replay(
            (np.zeros((4, 2), "float32"), labels), epoch=0, step=0
        ).lam
        np.testing.assert_allclose(lam, [1, 0.5], atol=0.01)

    @pytest.mark.parametrize(
        ("alpha", "options"),
        [
            (0.2, {}),
            ("auto", {"num_classes": None}),
            ("auto", {"num_classes": 1}),
            ("auto", {"num_points": 3}),
        ],
    )
    def test_refusals(self, alpha, options):
        with pytest.raises(ValueError, match="per='class'"):
            make_mixup(alpha, per="class", **options)

    @pytest.mark.parametrize("alpha", [0.2, [0.2] * 4, [[0.2] * 5]])
    def test_as_many_numbers_as_classes(self, alpha):
        with pytest.raises(ValueError, match=r"one of each class.*for \(5,\)"):
            self.make().set_alpha(alpha)
        with pytest.raises(ValueError, match="alpha=-1"):
            self.make().set_alpha([0, 0, 0, 0, -1])

    def test_a_number_for_all_takes_no_list(self):
        with pytest.raises(ValueError, match=r"alpha of shape \(5,\)"):
            make_mixup("auto").set_alpha([0.1] * 5)

    def test_both_stages_of_a_switch_have_them(self):
        cutmix = mixing.CutMix("auto", num_classes=CLASSES)
        with pytest.raises(ValueError, match="alphas of the same form"):
            mixing.MixUpOrCutMix(self.make(), cutmix)


class TestRunTime:
    @pytest.mark.parametrize(
        ("sizes", "options"),
        [
            *(((9, 8), {}), ((8, 8, 9), {"places": 1})),
            pytest.param((8, 9), {"places": 1}, marks=pytest.mark.slow),
            pytest.param((9, 8, 8), {}, marks=pytest.mark.slow),
        ],
    )
    def test_parts_of_other_lengths(self, sizes, options):
        parts = [np.zeros((size, 1), "float32") for size in sizes]
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"as many examples\. Received: parts of {sizes[0]}, ",
        ):
            apply_ragged(*parts, num_classes=None, **options)

    @pytest.mark.parametrize(
        "size", [0, pytest.param(1, marks=pytest.mark.slow)]
    )
    @pytest.mark.parametrize(
        "options",
        [
            {"partner": "same_class", "groups": 3},
            {"partner": "different_class", "ignore_label": -1},
            {"num_points": 3, "self_pairs": False},
            {"include_clean": True, "class_weight": [1, 2, 3, 4, 5]},
            {"places": 2, "per": "example"},
            {"mix": "inputs", "probability": 0.5},
        ],
    )
    def test_no_example_or_one(self, size, options):
        x = np.full((size, 2), 7, "float32")
        sent, y, *_ = apply_ragged(x, np.zeros(size, int), **options)
        found = sent["inputs"] if "places" in options else sent
        times = 2 if "include_clean" in options else 1
        # Three coefficients sum to 1 but for rounding; two do exactly.
        rtol = 1e-6 if "num_points" in options else 0
        np.testing.assert_allclose(found, np.tile(x, (times, 1)), rtol=rtol)
        expected = np.eye(CLASSES)[[0] * size * times]
        np.testing.assert_allclose(y, expected, rtol=rtol)

    @pytest.mark.parametrize(
        ("part", "value"), [(0, np.nan), (1, np.inf), (2, np.nan)]
    )
    def test_numbers_that_are_not_finite_are_counted(self, part, value):
        parts = [np.zeros((8, 3), "float32") for _ in range(3)]
        parts[part][[1, 5], 2] = value
        batch = parts[0].astype("float64"), *parts[1:]
        data = tf.data.Dataset.from_tensors(batch).apply(mixing.require_finite)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="infinity in 2 of 8 examples"
        ):
            read(data)
        apply_to(batch, num_classes=None)

    @pytest.mark.parametrize(
        ("alpha", "received"),
        [
            (lambda epoch, _: -1.0 - tf.cast(epoch, tf.float32), "-1"),
            (lambda epoch, step: np.nan, "nan"),
            (lambda epoch, step: tf.constant(1e300, tf.float64), "1e\\+300"),
        ],
    )
    def test_alpha_of_a_function(self, alpha, received):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"function `alpha` must return .* Received: {received}\.",
        ):
            apply_to(make_rows(), alpha=alpha)

    @pytest.mark.parametrize(
        "alpha", [lambda *_: None, lambda *_: "a", lambda *_: [0.2, 0.3]]
    )
    def test_alpha_of_a_function_has_one_number(self, alpha):
        with pytest.raises(
            ValueError, match="function `alpha` must return one"
        ):
            apply_to(make_rows(), alpha=alpha)

    def test_alpha_of_a_function_may_branch_and_vanish(self):
        def alpha(epoch, step):
            if step < 1:
                return 1e-40
            return 0.4

        mixup = make_mixup(alpha, per="example")
        lam = mixup.coefficients(make_rows(), epoch=0, steps=2).numpy()
        assert (lam[0] == 1).all()
        assert (lam[1] < 1).any()


class TestErrorsAreReadable:
    """What is refused while a dataset is made comes as one sentence."""

    @pytest.mark.parametrize("stage", ["__call__", "evaluation"])
    @pytest.mark.parametrize(
        "labels",
        [np.array(["a", "b"]), np.zeros((2, 3), "float32"), np.zeros(2)],
    )
    def test_no_traceback_of_autograph(self, labels, stage):
        batches = tf.data.Dataset.from_tensors((np.zeros((2, 1)), labels))
        with pytest.raises(ValueError, match=r"^[TW]") as raised:
            getattr(make_mixup(), stage)(batches)
        assert "\n" not in str(raised.value)

    def test_run_time_errors_have_the_sentence_in_one_piece(self):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"\[Labels must lie in \[0, 4\]\. Received: values from 0 to"
            r" 9\. Count classes from 0 and check `num_classes`; if a label"
            r" marks examples of unknown class write `MixUp\(\.\.\.,"
            r" ignore_label=-1\)`\.\]",
        ):
            apply_to((np.zeros((2, 1)), np.array([0, 9])))


class TestStatistics:
    def test_follow_the_format_of_keras(self, channels_first):
        del channels_first
        x = np.ones((4, 3, 5, 3), "float32")
        mean, std = np.array([1.0, 2, 3]), np.array([1.0, 2, 4])
        scaled, _ = apply_to((x, np.arange(4)), mean=mean, std=std)
        expected = (x - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(scaled, expected, atol=1e-6)
        batches = tf.data.Dataset.from_tensors((x[:, :2], np.arange(4)))
        with pytest.raises(ValueError, match="channels on axis 1"):
            batches.apply(make_mixup(mean=mean))

    def test_keep_the_digits_of_wide_types(self):
        x = 1.7e9 + np.arange(4.0)[:, None]
        for dtype, options in (("float64", {}), ("int64", {"inputs": "mix"})):
            scaled, _ = apply_to(
                (x.astype(dtype), np.arange(4)),
                alpha=0,
                mean=1.7e9,
                std=0.5,
                **options,
            )
            np.testing.assert_array_equal(scaled, 2 * np.arange(4.0)[:, None])

    def test_do_not_overflow_half_precision(self):
        x = np.float16([[1e-6], [2e-6]])
        scaled, _ = apply_to((x, np.arange(2)), alpha=0, std=1e-6)
        assert scaled.dtype == np.float16
        np.testing.assert_allclose(
            scaled, x.astype("float32") / 1e-6, rtol=1e-3
        )


class TestObject:
    def test_repr_shows_what_was_given(self):
        assert (
            repr(make_mixup(0.2)) == "MixUp(alpha=0.2, num_classes=5, seed=1)"
        )
        stage = mixing.MixUp(
            1.0, seed=3, inputs=mixing.Inputs({"a": "keep"}, mean=[1, 2])
        )
        assert repr(stage) == (
            "MixUp(alpha=1.0, seed=3,"
            " inputs=Inputs({'a': 'keep'}, mean=(1.0, 2.0)))"
        )

    def test_config_makes_an_equal_stage(self):
        stage = make_mixup(
            0.9,
            seed=None,
            mean=2.0,
            class_weight={1: 3.0},
            ignore_label=-1,
            inputs="mix",
            num_parallel_calls=2,
        )
        config = stage.get_config()
        again = mixing.MixUp(**config)
        assert again.get_config() == config
        assert_same(
            read(make_batches().apply(again)),
            read(make_batches().apply(stage)),
        )

    def test_copies_are_the_stage_itself(self):
        stage = make_mixup()
        held = copy.deepcopy({"stage": stage})
        assert held["stage"] is stage
        assert copy.copy(stage) is stage


class TestKeepClean:
    def test_clean_rows_then_mixed_rows(self):
        weights = np.arange(ROWS, dtype="float32")
        batches = tf.data.Dataset.from_tensor_slices(
            (*make_rows(), weights)
        ).batch(8)
        options = {"per": "example", "mean": 3.0, "std": 2.0}
        plain = make_mixup(**options)
        both = read(batches.apply(make_mixup(include_clean=True, **options)))
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
        both = loss(make_mixup(include_clean=True))
        mean = (loss(plain) + loss(plain.evaluation)) / 2
        assert both == pytest.approx(mean, rel=1e-6)

    @pytest.mark.parametrize("num_points", [2, 3])
    def test_partners_stay_within_the_slices_of_replicas(self, num_points):
        mixup = make_mixup(
            include_clean=True, groups=2, num_points=num_points, places=1
        )
        batches = make_batches(drop_remainder=True)
        for lam, partner in read_plans(batches.apply(mixup)):
            assert len(lam) == 16
            own = np.arange(16) if num_points == 2 else np.arange(16)[:, None]
            np.testing.assert_array_equal(partner // 8, own // 8 + 0 * partner)
            np.testing.assert_array_equal(
                partner[:8] - own[:8], 0 * partner[:8]
            )
            shares = lam if num_points == 2 else lam[:, 0]
            np.testing.assert_array_equal(shares[:8], 1)

    def test_evaluation_has_each_row_once(self):
        mixup = make_mixup(include_clean=True)
        unmixed = make_batches().apply(mixup.evaluation)
        assert [len(x) for x, _ in unmixed] == [8, 8, 6]

    def test_two_replicas_see_each_batch_once(self, two_replicas):
        # Batches of unknown size: TensorFlow splits them by what it finds.
        mixed = make_batches().apply(make_mixup(include_clean=True))
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
        mixup = make_mixup(partner="given", per="example")
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

    def test_include_clean_has_the_rows_and_not_their_partners(self):
        options = {"partner": "given", "per": "example"}
        paired = make_batches().map(append_partners)
        both = read(paired.apply(make_mixup(include_clean=True, **options)))
        clean = read(make_batches().apply(make_mixup().evaluation))
        mixed = read(paired.apply(make_mixup(**options)))
        for found, *expected in zip(both, clean, mixed, strict=True):
            for part, *halves in zip(found, *expected, strict=True):
                np.testing.assert_array_equal(part, np.concatenate(halves))

    def test_three_points_take_two_partners_each(self):
        rows = np.eye(6, dtype="float32"), np.arange(6)
        stage = mixing.MixUp(
            1.0, num_classes=6, seed=0, num_points=3, partner="given"
        )
        ((x, y),) = read(tf.data.Dataset.from_tensors(rows).apply(stage))
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(
            np.argwhere(x > 0), [[0, 0], [0, 2], [0, 4], [1, 1], [1, 3], [1, 5]]
        )

    def test_nearest_target_is_one_of_both(self):
        rows = np.eye(4, dtype="float32"), np.arange(4)
        stage = mixing.MixUp(
            1.0,
            num_classes=4,
            seed=0,
            per="example",
            partner="given",
            mix="inputs",
        )
        dataset = tf.data.Dataset.from_tensors(rows).repeat(20)
        for x, y in read(dataset.apply(stage)):
            np.testing.assert_array_equal(y.argmax(1), x.argmax(1))
            assert set(np.unique(y)) == {0, 1}

    def test_odd_batch_of_known_size_is_refused(self):
        mixup = make_mixup(partner="given")
        with pytest.raises(ValueError, match="num_points=2 with 7 examples"):
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
    assert mixup.labels.num_classes == CLASSES
    assert_same(
        read(make_batches().apply(mixup)),
        read(make_batches().apply(make_mixup(**weights))),
    )
    several = make_mixup(num_classes=[np.int64(2), None])
    assert several.labels.num_classes == [2, None]


class TestSeeds:
    @pytest.mark.parametrize("calls", [None, 1, 4, tf.data.AUTOTUNE])
    def test_parallelism_changes_nothing(self, calls):
        expected = read(make_batches(2).apply(make_mixup()))
        mixup = make_mixup(num_parallel_calls=calls)
        assert_same(read(make_batches(2).apply(mixup)), expected)

    def test_epochs_and_steps_differ(self):
        mixup = make_mixup(per="example", places=1)
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
        again.epoch_counter.start_training(3)
        again.epoch_counter.start_epoch(2)
        assert_same(read(make_batches().apply(again)), expected)

    def test_batches_with_keys_are_replayed(self):
        mixup = make_mixup()
        images, labels = next(iter(make_batches()))
        batch = {"image": images, "label": labels}
        for first, second in zip(
            mixup.replay(batch, epoch=1, step=2),
            mixup.replay((images, labels), epoch=1, step=2),
            strict=True,
        ):
            np.testing.assert_array_equal(first, second)
        lam = mixup.coefficients(batch, epoch=0, steps=3)
        assert lam.shape == (3, len(labels))


class TestRefusals:
    @pytest.mark.parametrize(
        "alpha", [-0.1, np.nan, np.inf, "much", None, 3.5e38, 1e-45]
    )
    def test_alpha(self, alpha):
        with pytest.raises(ValueError, match=r"`alpha`.*Received: alpha="):
            make_mixup(alpha)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"per": "epoch"}, "`per` must be one of"),
            ({"partner": "friend"}, "`partner` must be one of"),
            ({"partner": "given", "places": 1}, "on the host"),
            ({"partner": "given", "groups": 2}, "groups=2"),
            ({"mix": "soft"}, "`mix` must be one of"),
            ({"places": 2.5}, "`num_places` must be an integer"),
            ({"inputs": mixing.Labels(3)}, "`inputs` takes `Inputs`"),
            ({"groups": 0}, "groups=0"),
            ({"seed": -1}, "seed=-1"),
            ({"seed": 0.5}, "seed=0.5"),
            ({"probability": 1.5}, "probability=1.5"),
            ({"num_points": 1}, "num_points=1"),
            ({"groups": 2**31}, "int32 can hold"),
            ({"seed": 2**63}, "int64 can hold"),
            ({"probability": 1e-45}, "float32 can hold"),
            ({"std": 1e-45}, "`std` must be a number that float32 can hold"),
            ({"class_weight": {1: 1e39}}, r"class_weight\[1\]` must be 0 or"),
            ({"inputs": {"a": "copy"}}, r"`inputs\['a'\]` must be one of"),
            ({"inputs": "mix", "places": 1}, "layers that mix"),
            ({"ignore_label": 0.5}, "ignore_label=0.5"),
            ({"ignore_label": -1, "num_classes": None}, "weights of 0"),
            ({"std": 0.0}, "`std` must be a finite number above 0"),
            ({"std": np.nan}, "`std` must be a finite number above 0"),
            ({"mean": [[1.0]]}, "`mean` must be a finite number, or one"),
            ({"mean": 1.0, "places": 1}, "Give `mean` and `std` to `Mix`"),
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

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"self_pairs": "no"}, "`self_pairs` must be True or False"),
            ({"include_clean": 2}, "`include_clean` must be True or False"),
        ],
    )
    def test_arguments_of_the_wrong_kind(self, options, message):
        with pytest.raises(ValueError, match=message):
            make_mixup(**options)

    def test_epochs_and_steps_out_of_range(self):
        mixup, batch = make_mixup(), make_rows()
        with pytest.raises(ValueError, match=r"`first_epoch`.*at least 0"):
            mixup.restrict(-1, None)
        with pytest.raises(ValueError, match=r"`end_epoch`.*at least 5"):
            mixup.restrict(5, 3)
        with pytest.raises(ValueError, match=r"`epoch`.*at least 0"):
            mixup.replay(batch, epoch=-1, step=0)
        with pytest.raises(ValueError, match=r"`steps`.*at least 1"):
            mixup.coefficients(batch, epoch=0, steps=0)

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

    @pytest.mark.parametrize(
        "options",
        [
            {"partner": "same_class"},
            {"num_classes": mixing.Labels(3, class_weight={1: 2.0})},
            {
                "num_classes": mixing.Labels(
                    3, class_weight={1: 2.0}, ignore_label=-1
                )
            },
        ],
    )
    def test_what_needs_classes_of_several_labels(self, options):
        y = np.array([[1, 1, 0], [0, 1, 0]], "float32")
        arrays = np.zeros((2, 4), "float32"), y
        batches = tf.data.Dataset.from_tensor_slices(arrays).batch(2)
        mixup = mixing.MixUp(0.5, **options)
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"needs one class.*sums from 1 to 2.*several labels",
        ):
            list(batches.apply(mixup))


class TestForms:
    def test_several_labels_are_mixed_like_inputs(self):
        y = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]], "float32")
        batches = tf.data.Dataset.from_tensor_slices((y, y)).batch(4)
        ((x, mixed),) = batches.apply(mixing.MixUp(1.0, seed=0))
        np.testing.assert_allclose(mixed, x, rtol=1e-6)
        assert not np.array_equal(mixed, y)

    def test_refuses_weights_of_text(self):
        arrays = np.zeros((4, 2), "float32"), np.arange(4), np.array([*"abcd"])
        batches = tf.data.Dataset.from_tensor_slices(arrays).batch(2)
        with pytest.raises(ValueError, match="weights must be real numbers"):
            batches.apply(mixing.MixUp(0.5, num_classes=4))


class TestWeightsOfZero:
    """An example of weight 0 is in no target, whatever its label."""

    @pytest.mark.parametrize("bad", [2, -1, 99])
    def test_labels(self, bad):
        batch = np.zeros((2, 1)), np.array([0, bad]), np.array([1.0, 0.0])
        batches = tf.data.Dataset.from_tensors(batch)
        stage = mixing.MixUp(1.0, num_classes=3, seed=0)
        (_, targets, weights), *_ = read(batches.repeat(9).apply(stage))
        mixed = weights > 0
        np.testing.assert_allclose(targets[mixed], [[1, 0, 0]] * mixed.sum())

    @pytest.mark.parametrize("form", [float, dict])
    def test_regression(self, form):
        y, weights = np.array([[10.0], [np.nan]]), np.array([1.0, 0.0])
        if form is dict:
            y, weights = {"a": y, "b": y[::-1]}, {"a": weights}
            y["b"] = np.ones((2, 1))
        batches = tf.data.Dataset.from_tensors((np.zeros((2, 1)), y, weights))
        stage = mixing.MixUp(1.0, seed=0)
        for _, found, weight in read(batches.repeat(5).apply(stage)):
            if form is dict:
                found, weight = found["a"], weight["a"]
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found[weight > 0], 10, rtol=1e-6)

    def test_valid_labels_stay_in_evaluation(self):
        batch = np.zeros((2, 1)), np.array([0, 2]), np.array([1.0, 0.0])
        stage = mixing.MixUp(1.0, num_classes=3, seed=0)
        batches = tf.data.Dataset.from_tensors(batch).apply(stage.evaluation)
        targets = read(batches)[0][1]
        np.testing.assert_array_equal(targets, [[1, 0, 0], [0, 0, 1]])
