"""Tests of arrays from what users give; `examples_test.py` has every form."""

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup._data import columns


class TestFindKeys:
    @pytest.mark.parametrize(
        ("keys", "inputs", "labels"),
        [
            (["image", "label"], ["image"], ["label"]),
            (["X", "Y"], ["X"], ["Y"]),
            (["fine_label", "label", "id"], [], ["label"]),
            (["text", "text_b", 3], ["text"], []),
            (
                ["train_images", "train_labels", "test_images", "test_labels"],
                ["train_images", "test_images"],
                ["train_labels", "test_labels"],
            ),
        ],
    )
    def test_by_hand(self, keys, inputs, labels):
        assert columns.find_keys(keys) == (inputs, labels)


class TestAlign:
    def align(self, inputs, labels=None, **options):
        options = {"name": "x", "several": False, **options}
        return columns.align(inputs, labels, None, **options)[0]

    def test_as_many_labels_as_items_make_examples(self):
        items = [np.zeros((2, 3))] * 2
        assert self.align(items, [0, 1]).shape == (2, 2, 3)
        assert self.align(items, np.zeros(2)).shape == (2, 2, 3)

    def test_as_many_labels_as_rows_make_inputs(self):
        items = [np.zeros((4, 3))] * 2
        assert len(self.align(items, [0, 1, 0, 1])) == 2

    def test_the_model_decides(self):
        items = [np.zeros((2, 3))] * 2
        assert isinstance(self.align(items, [0, 1], several=True), list)

    def test_what_is_in_a_file_stays_there(self, tmp_path):
        np.save(tmp_path / "x.npy", np.arange(6))
        array = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert self.align(array) is array


class TestToNumpy:
    def test_tensors_that_need_a_gradient(self):
        class Tensor:
            def detach(self):
                return self

            def cpu(self):
                return np.arange(3)

        np.testing.assert_array_equal(
            columns.to_numpy(Tensor(), "x"), np.arange(3)
        )

    def test_variables(self):
        variable = tf.Variable([1.0, 2.0])
        np.testing.assert_array_equal(columns.to_numpy(variable, "x"), [1, 2])


class TestKeys:
    """Keys of a dictionary that is split without a model."""

    @pytest.mark.parametrize(
        ("keys", "inputs"),
        [
            (["image", "age", "label"], ["age", "image"]),
            (["image", "coarse_label", "label"], "image"),
            (["image", "image_id", "label"], "image"),
            (["user_id", "amount", "label"], ["amount", "user_id"]),
            (["pclass", "fare", "label"], ["fare", "pclass"]),
            (["idx", "amount", "label"], "amount"),
        ],
    )
    def test_no_input_is_lost(self, keys, inputs):
        element = {key: np.full(2, k) for k, key in enumerate(keys)}
        found, labels, _ = columns.split(element)
        assert labels is element["label"]
        if isinstance(inputs, str):
            assert found is element[inputs]
        else:
            assert sorted(found) == inputs

    def test_text_ids_are_notes(self):
        element = {"user_id": np.array(["a"]), "amount": 1, "label": 2}
        assert columns.split(element) == (1, 2, None)
