"""Tests of what labels become, and which are refused."""

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup import targets


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


class TestRefusals:
    def refuse(self, labels, num_classes, match):
        with pytest.raises(ValueError, match=match):
            targets.encode(labels, num_classes)

    def test_class_ids_without_their_number(self):
        self.refuse(tf.constant([0, 1]), None, r"num_classes=K")

    def test_class_ids_as_floats(self):
        self.refuse(tf.constant([0.0, 1.0]), 3, "Cast class ids to int32")

    def test_dense_ids(self):
        self.refuse(tf.zeros([2, 5], tf.int32), 3, r"tf\.one_hot")

    def test_other_number_of_columns(self):
        self.refuse(tf.zeros([2, 5]), 3, r"Received: targets of shape \(2, 5\)")

    def test_binary_with_columns(self):
        self.refuse(tf.zeros([2, 2]), 1, "number of columns")

    def test_names_of_classes(self):
        self.refuse(tf.constant(["cat", "dog"]), 2, "StringLookup")

    @pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
    def test_ids_out_of_range(self, labels):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Count classes from 0"
        ):
            targets.encode(tf.constant(labels), 3)

    def test_ids_in_the_place_of_vectors(self):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
            targets.encode(tf.constant([[0, 4, 2]]), 3)

    def test_binary_out_of_range(self):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
            targets.encode(tf.constant([1, 2]), 1)
