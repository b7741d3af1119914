"""Tests of the mixing stage."""

import keras
import numpy as np
import pytest
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
            ({"target": "soft"}, "`target` must be one of"),
            ({"placement": "gpu"}, "`placement` must be one of"),
            ({"groups": 0}, "groups=0"),
            ({"seed": -1}, "seed=-1"),
            ({"seed": 0.5}, "seed=0.5"),
            ({"probability": 1.5}, "probability=1.5"),
            ({"std": 0.0}, "`std` must be above 0"),
            ({"mean": 1.0, "placement": "model"}, "training_twin"),
            ({"class_weight": [1.0]}, "Count classes from 0"),
            ({"class_weight": {7: 1.0}}, "Count classes from 0"),
            (
                {"class_weight": [1.0], "num_classes": None},
                "sample weights in the dataset",
            ),
        ],
    )
    def test_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            make_mixup(**options)

    def test_arrays(self):
        with pytest.raises(ValueError, match="from_tensor_slices"):
            make_mixup()(make_rows())

    def test_generators(self):
        with pytest.raises(ValueError, match="from_generator"):
            make_mixup()(x for x in [])

    def test_py_datasets(self):
        class Rows(keras.utils.PyDataset):
            def __len__(self):
                return 1

            def __getitem__(self, index):
                return make_rows()

        with pytest.raises(ValueError, match="from_generator"):
            make_mixup()(Rows())

    def test_unbatched_data(self):
        with pytest.raises(ValueError, match=r"\.batch\(128\)"):
            make_batches().unbatch().apply(make_mixup())

    def test_unbatched_one_hot_data(self):
        rows = tf.data.Dataset.from_tensor_slices(
            (make_rows()[0], np.eye(CLASSES)[make_rows()[1]])
        )
        with pytest.raises(ValueError, match=r"\.batch\(128\)"):
            rows.apply(make_mixup())

    def test_unknown_cardinality(self):
        batches = make_batches().filter(lambda *_: True)
        with pytest.raises(ValueError, match="assert_cardinality"):
            batches.apply(make_mixup())

    def test_inputs_alone(self):
        batches = make_batches().map(lambda x, y: x)
        with pytest.raises(ValueError, match=r"\(x, y\)"):
            batches.apply(make_mixup())

    def test_dictionary_elements(self):
        batches = make_batches().map(lambda x, y: {"image": x, "label": y})
        with pytest.raises(ValueError, match="Map them first"):
            batches.apply(make_mixup())

    def test_partners_by_class_without_classes(self):
        mixup = make_mixup(num_classes=None, partner="same_class")
        batches = make_batches().map(lambda x, y: (x, tf.cast(y, tf.float32)))
        with pytest.raises(ValueError, match='Use `partner="random"`'):
            batches.apply(mixup)
