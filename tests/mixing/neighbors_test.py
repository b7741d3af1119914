"""Tests of partners among the nearest rows."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import mixing


def make_rows(size=60, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(size, 3, 2)), generator.integers(0, 3, size)


class TestNearestNeighbors:
    def test_by_hand(self):
        # On a line at 0, 1, 3 and 7.
        found = mixing.nearest_neighbors([[0], [1], [3], [7]], k=2)
        np.testing.assert_array_equal(found, [[1, 2], [0, 2], [1, 0], [2, 1]])
        assert found.dtype == np.int32

    @pytest.mark.parametrize("by_class", [False, True])
    def test_against_reference(self, by_class):
        rows, labels = make_rows()
        labels = labels if by_class else None
        found = mixing.nearest_neighbors(rows, k=5, labels=labels)
        expected = reference.nearest_neighbors(rows, 5, labels)
        np.testing.assert_array_equal(found, expected)

    def test_of_a_class_are_of_that_class(self):
        rows, labels = make_rows()
        found = mixing.nearest_neighbors(rows, k=5, labels=labels)
        np.testing.assert_array_equal(
            labels[found], labels[:, None] + 0 * found
        )

    def test_equal_rows_are_not_their_own(self):
        found = mixing.nearest_neighbors(np.zeros((5, 2)), k=4)
        for row, others in enumerate(found):
            assert sorted([row, *others]) == list(range(5))

    def test_uint8_does_not_overflow(self):
        found = mixing.nearest_neighbors(
            np.array([[0], [128], [255]], np.uint8), k=1
        )
        np.testing.assert_array_equal(found, [[1], [2], [1]])

    @pytest.mark.parametrize(
        "start",
        [0.0, 1.7e9, -1.7e9, 2**24, 2**53 - 40, 2**60, -(2**62), 2**63],
        ids=str,
    )
    @pytest.mark.parametrize("columns", [1, 20])
    def test_large_numbers_keep_their_digits(self, start, columns):
        offsets = np.array([0, 40, 10])[:, None] + np.zeros((1, columns), int)
        rows = np.array(
            [[start + int(each) for each in row] for row in offsets]
        )
        found = mixing.nearest_neighbors(rows, k=1)
        np.testing.assert_array_equal(found, [[2], [2], [0]])

    def test_groups_that_are_far_apart(self):
        rows = np.array([[0.0], [40], [10], [1.7e9], [1.7e9 + 3], [1.7e9 + 1]])
        found = mixing.nearest_neighbors(rows, k=1)[:, 0]
        np.testing.assert_array_equal(found, [2, 2, 0, 5, 5, 3])

    @pytest.mark.parametrize(
        "dtype", ["bool", "int8", "uint16", "float16", "int32", "uint64", "O"]
    )
    def test_types(self, dtype):
        rows = np.array([[0, 0], [1, 1], [1, 0]]).astype(dtype)
        found = mixing.nearest_neighbors(rows, k=1)
        np.testing.assert_array_equal(found[:2, 0], [2, 2])

    def test_unsigned_differences_do_not_wrap(self):
        least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        with pytest.raises(ValueError, match=r"at most 2\*\*53.*differ by"):
            mixing.nearest_neighbors(np.array([[least], [most]]), k=1)

    def test_refuses_text(self):
        with pytest.raises(ValueError, match="of numbers"):
            mixing.nearest_neighbors(np.array([["a"], ["b"]], "O"), k=1)

    @pytest.mark.parametrize("k", [0, -1, 1.5])
    def test_refuses_no_neighbors(self, k):
        with pytest.raises(ValueError, match=f"`k` must be .*k={k}"):
            mixing.nearest_neighbors([[0.0], [1.0]], k=k)

    def test_refuses_more_than_there_are(self):
        with pytest.raises(ValueError, match="k=2 with 2 examples in the set"):
            mixing.nearest_neighbors([[0.0], [1.0]], k=2)

    def test_refuses_more_than_a_class_has(self):
        with pytest.raises(ValueError, match="k=2 with 1 examples in class 4"):
            mixing.nearest_neighbors(
                np.arange(4.0)[:, None], k=2, labels=[3, 3, 3, 4]
            )

    def test_refuses_labels_of_other_rows(self):
        with pytest.raises(ValueError, match=r"labels of shape \(3,\) for 2"):
            mixing.nearest_neighbors([[0.0], [1.0]], k=1, labels=[0, 0, 1])

    def test_refuses_what_has_no_distance(self):
        with pytest.raises(ValueError, match="NaN"):
            mixing.nearest_neighbors([[0.0], [np.nan]], k=1)


class TestChooseNeighbors:
    table = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])

    def test_each_is_equally_likely(self):
        rows = np.repeat(np.arange(4), 3000)
        chosen = mixing.choose_neighbors(
            self.table, rows, seed=tf.constant([1, 2])
        ).numpy()
        for row in range(4):
            counts = np.bincount(chosen[rows == row], minlength=4)
            assert counts[row] == 0
            others = np.delete(counts, row)
            assert scipy.stats.chisquare(others).pvalue > 0.001

    def test_short_types_hold_no_numbers_of_partners(self):
        table = np.full((4, 1), 300)
        for dtype in ("uint8", "int16", "int32", "int64"):
            rows = np.arange(4, dtype=dtype)
            chosen = mixing.choose_neighbors(table, rows, seed=[0, 0])
            np.testing.assert_array_equal(chosen, [300] * 4)

    def test_refuses_rows_that_are_no_integers(self):
        with pytest.raises(ValueError, match="indices of dtype float32"):
            mixing.choose_neighbors(
                self.table, np.zeros(2, "float32"), seed=[0, 0]
            )

    def test_seed_decides(self):
        rows = np.repeat(np.arange(4), 20)
        one, same, other = (
            mixing.choose_neighbors(self.table, rows, seed=[seed, 0])
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_epochs_differ_where_the_clock_tells_them(self):
        # Also where everything random is seeded.
        keras.utils.set_random_seed(0)
        stage = mixing.MixUp(1.0)
        chosen = stage.epoch_counter.positions(2).map(
            lambda *position: mixing.choose_neighbors(
                self.table, np.repeat(np.arange(4), 20), seed=position
            )
        )
        batches = [np.array(each) for _ in range(2) for each in chosen]
        assert len({batch.tobytes() for batch in batches}) == 4

    def test_smote_stays_between_two_of_a_class(self):
        # Classes far apart: between two of one class there is no other.
        rows, labels = make_rows()
        rows = rows.reshape(60, -1).astype("float32") + 100 * labels[:, None]
        table = mixing.nearest_neighbors(rows, k=3, labels=labels)

        def load(position, batch):
            partners = mixing.choose_neighbors(table, batch, seed=position)
            both = tf.concat([batch, partners], axis=0)
            return tf.gather(rows, both), tf.gather(labels, both)

        stage = mixing.MixUp(
            1.0,
            num_classes=3,
            per="example",
            partner="given",
            mix="inputs",
        )
        batches = tf.data.Dataset.zip(
            stage.epoch_counter.positions(3),
            tf.data.Dataset.range(60).batch(20),
        )
        batches = batches.map(load).apply(stage)
        for number, (x, y) in enumerate(batches):
            own = labels[20 * number : 20 * number + 20]
            np.testing.assert_array_equal(np.argmax(y, 1), own)
            assert np.abs(x - 100 * own[:, None]).max() < 10


class TestPrecision:
    """Distances keep the digits of the numbers, whatever their size."""

    @pytest.mark.parametrize("columns", [1, 20])
    @pytest.mark.parametrize(
        ("numbers", "expected"),
        [
            ([0, 1e200, 3e200, 2.9e200], [1, 0, 3, 2]),
            ([0, 1e-200, 3e-200, 2.9e-200], [1, 0, 3, 2]),
            ([-1.7e308, 1.7e308, 1.5e308, -1e308], [3, 2, 1, 0]),
            ([0, 1e9, 1e9 + 1, 1e9 + 1.5, 3], [4, 2, 3, 2, 0]),
            ([0, 1, 3, 1e12], [1, 0, 1, 2]),
        ],
    )
    def test_nearest(self, numbers, expected, columns):
        examples = np.outer(numbers, np.ones(columns))
        found = mixing.nearest_neighbors(examples, k=1)
        assert found[:, 0].tolist() == expected

    @pytest.mark.parametrize("columns", [2, 20])
    def test_of_equal_examples_none_is_its_own(self, columns):
        found = mixing.nearest_neighbors(np.ones((5, columns)), k=2)
        for index, pair in enumerate(found):
            assert len({index, *pair}) == 3


class TestForms:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[1.0], [np.nan], [2.0]], "finite.*in 1 of 3 examples"),
            (np.array([[1j], [5j], [2j]]), "real numbers"),
            (np.array([["1"], ["5"], ["2"]]), "real numbers"),
            (
                np.ma.masked_array([[1.0], [9.0], [2.0]], [[0], [1], [0]]),
                "no masked entries",
            ),
            (np.zeros((3, 0)), "numbers to compare"),
            (np.zeros((0, 3)), "numbers to compare"),
        ],
    )
    def test_refuses(self, rows, message):
        with pytest.raises(ValueError, match=message):
            mixing.nearest_neighbors(rows, k=1)

    @pytest.mark.parametrize("rows", [[4], [-1], [2**32]])
    def test_refuses_numbers_of_no_example(self, rows):
        table = np.array([[1], [0], [3], [2]], np.int32)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must be the numbers of"
        ):
            mixing.choose_neighbors(
                table, np.array(rows, np.int64), seed=[0, 0]
            )

    def test_refuses_a_column_of_neighbors_and_one_seed(self):
        with pytest.raises(ValueError, match=r"must have shape \(N, k\)"):
            mixing.choose_neighbors([1, 0], [0], seed=[0, 0])
        with pytest.raises(ValueError, match="`seed` two integers"):
            mixing.choose_neighbors([[1], [0]], [0], seed=1)
