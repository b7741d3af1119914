"""Tests of what labels become, and which are refused."""

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup.mixing import targets


class TestEncode:
    @pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint16"])
    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_class_ids(self, dtype, shape):
        labels = tf.reshape(tf.constant([2, 0, 1], dtype), shape)
        encoded = targets.encode(labels, 3)
        assert encoded.dtype == tf.float32
        np.testing.assert_array_equal(encoded, np.eye(3)[[2, 0, 1]])

    @pytest.mark.parametrize("dtype", ["int32", "uint8", "float16", "float64"])
    def test_vectors(self, dtype):
        multi_hot = np.array([[1, 1, 0], [0, 0, 1]])
        encoded = targets.encode(tf.constant(multi_hot, dtype), 3)
        assert encoded.dtype == tf.float32
        np.testing.assert_array_equal(encoded, multi_hot)

    def test_class_257_survives_half_precision_images(self):
        # Through an image's bfloat16, 257 would become 256.
        encoded = targets.encode(tf.constant([257]), 300)
        assert int(tf.argmax(encoded, -1)[0]) == 257

    def test_soft_labels_stay(self):
        soft = tf.constant([[0.3, 0.7], [1.0, 0.0]])
        np.testing.assert_array_equal(targets.encode(soft, None), soft)

    def test_dense_outputs_stay(self):
        dense = tf.one_hot([[0, 1, 2], [2, 2, 0]], 3)
        np.testing.assert_array_equal(targets.encode(dense, 3), dense)

    @pytest.mark.parametrize("labels", [[0, 1, 1], [[0], [1], [1]]])
    @pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
    def test_binary(self, labels, dtype):
        encoded = targets.encode(tf.cast(labels, dtype), 1)
        np.testing.assert_array_equal(encoded, [[0], [1], [1]])

    @pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
    def test_regression_targets_stay(self, shape):
        values = tf.random.stateless_normal(shape, [0, 1])
        np.testing.assert_array_equal(targets.encode(values, None), values)

    def test_rounded_shares_are_normalized(self):
        # Of 51 votes with two decimals: sums of .97, 1.03, and 1.
        shares = [[0.33, 0.33, 0.31], [0.34, 0.34, 0.35], [0.5, 0.25, 0.25]]
        for dtype in ("float16", "bfloat16", "float64", "float32"):
            given = tf.constant(shares, dtype)
            encoded = targets.encode(given, 3).numpy()
            exact = given.numpy().astype("float64")
            exact /= exact.sum(1, keepdims=True)
            np.testing.assert_allclose(encoded, exact, atol=1e-6)
        dense = targets.encode(tf.constant([shares, shares]), 3)
        np.testing.assert_allclose(tf.reduce_sum(dense, -1), 1, atol=1e-6)
        unchanged = targets.encode(given, None)
        np.testing.assert_array_equal(unchanged, np.float32(shares))

    def test_several_labels_stay(self):
        several = [[1, 1, 0.0], [0, 0, 0], [0.9, 0.8, 0.1], [1, 0.2, 0]]
        encoded = targets.encode(tf.constant(several), 3)
        np.testing.assert_array_equal(encoded, np.float32(several))

    def test_a_rounding_step_outside_is_clipped(self):
        vectors = [[1.0000001, 0, 1], [-1e-7, 1, 1]]
        encoded = targets.encode(tf.constant(vectors), 3)
        np.testing.assert_array_equal(encoded, [[1, 0, 1], [0, 1, 1]])
        encoded = targets.encode(tf.constant([1.0000001, -1e-7]), 1)
        np.testing.assert_array_equal(encoded, [[1], [0]])

    @pytest.mark.parametrize("label", [-1, 255, 7])
    def test_ignored_labels_have_no_target(self, label):
        for dtype in ("uint8", "int16", "int64", "uint64"):
            labels = np.array([0, label, 2]).astype(dtype)
            if labels[1] != label:
                continue
            encoded = targets.encode(tf.constant(labels), 3, label)
            np.testing.assert_array_equal(
                encoded, [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
            )
            known = targets.find_known(tf.constant(labels), 3, label)
            np.testing.assert_array_equal(known, [True, False, True])


class TestWeigh:
    @pytest.mark.parametrize(
        ("weights", "factor", "expected"),
        [
            ([1, 2], [3.0, 4], [3, 8]),
            ([[1], [2]], [3.0, 4], [3, 8]),
            ([True, False], [3.0, 4], [3, 0]),
            ([[1, 2], [3, 4]], [1.0, 2], [[1, 2], [6, 8]]),
            ([1, 2], [[1.0, 2], [3, 4]], [[1, 2], [6, 8]]),
        ],
    )
    def test_by_hand(self, weights, factor, expected):
        weighed = targets.weigh(tf.constant(weights), tf.constant(factor))
        assert weighed.dtype == tf.float32
        np.testing.assert_array_equal(weighed, expected)


class TestRefusals:
    def refuse(self, labels, num_classes, match):
        with pytest.raises(ValueError, match=match):
            targets.encode(labels, num_classes)

    def test_class_ids_without_their_number(self):
        self.refuse(tf.constant([0, 1]), None, r"num_classes=K")

    def test_class_ids_as_floats(self):
        self.refuse(tf.constant([0.0, 1.0]), 3, "Cast class ids to int32")

    def test_dense_ids(self):
        self.refuse(
            tf.zeros([2, 5], tf.int32),
            3,
            r"steps \(B, T\) with `tf\.one_hot\(y, 3\)` and give a mask",
        )

    def test_other_number_of_columns(self):
        self.refuse(tf.zeros([2, 5]), 3, r"Received: targets of shape \(2, 5\)")

    def test_binary_with_columns(self):
        self.refuse(tf.zeros([2, 2]), 1, "number of columns")

    def test_names_of_classes(self):
        self.refuse(
            tf.constant(["cat", "dog"]),
            2,
            r"StringLookup\(num_oov_indices=0\)",
        )

    @pytest.mark.parametrize(
        "labels", [[0, 3], [-1, 0], [0, 2**32], [0, 2**32 + 1], [-(2**63), 0]]
    )
    def test_ids_out_of_range(self, labels):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Count classes from 0"
        ):
            targets.encode(tf.constant(labels), 3)

    def test_ids_in_the_place_of_vectors(self):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
            targets.encode(tf.constant([[0, 4, 2]]), 3)

    @pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
    @pytest.mark.parametrize("values", [[20, 30, 1], [-1, -1, -1], [0, 2, 0]])
    def test_counts_of_votes(self, dtype, values):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"lie in \[0, 1\]\..*Divide counts of votes by their sum",
        ):
            targets.encode(tf.constant([values, [1, 0, 0]], dtype), 3)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1.01, -0.01])
    def test_floats_out_of_range(self, value):
        for labels, count in (([[value, 0]], 2), ([value], 1)):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="must lie in"
            ):
                targets.encode(tf.constant(labels), count)

    @pytest.mark.parametrize("labels", [[0, -1], [[0], [-1]], [0.0, -1.0]])
    def test_labels_below_0_name_the_label_to_ignore(self, labels):
        count = 1 if isinstance(labels[0], float) else 3
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"ignore_label=-1\)`\.$"
        ):
            targets.encode(tf.constant(labels), count)

    def test_binary_out_of_range(self):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
            targets.encode(tf.constant([1, 2]), 1)
