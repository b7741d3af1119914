"""Tests of what a dataset must yield to be mixed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup import mixing
from tf_mixup.mixing import _batches

ROWS, CLASSES = 22, 5


def make_rows():
    labels = np.random.default_rng(0).integers(0, CLASSES, ROWS)
    return np.zeros((ROWS, 6, 6, 3), "uint8"), labels


def make_batches():
    return tf.data.Dataset.from_tensor_slices(make_rows()).batch(8)


class TestCheckDataset:
    def test_returns_the_number_of_batches(self):
        assert _batches.check_dataset(make_batches()) == 3

    def test_endless_dataset(self):
        length = _batches.check_dataset(make_batches().repeat())
        assert length == tf.data.INFINITE_CARDINALITY

    def test_nested_parts_and_weights(self):
        images, labels = make_rows()
        batches = tf.data.Dataset.from_tensor_slices(
            ({"a": images, "b": (labels,)}, {"c": labels}, labels)
        ).batch(8)
        assert _batches.check_dataset(batches) == 3

    def test_arrays(self):
        with pytest.raises(ValueError, match="from_tensor_slices"):
            _batches.check_dataset(make_rows())

    def test_generators(self):
        with pytest.raises(ValueError, match="from_generator"):
            _batches.check_dataset(x for x in [])

    def test_unbatched_data(self):
        with pytest.raises(ValueError, match=r"\.batch\(128\)"):
            _batches.check_dataset(make_batches().unbatch())

    def test_unbatched_one_hot_data(self):
        rows = tf.data.Dataset.from_tensor_slices(
            (make_rows()[0], np.eye(CLASSES)[make_rows()[1]])
        )
        with pytest.raises(ValueError, match=r"\.batch\(128\)"):
            _batches.check_dataset(rows)

    def test_unknown_rank(self):
        def read(x, y):
            x = tf.numpy_function(lambda each: each, [x], tf.uint8)
            return x, y

        with pytest.raises(ValueError, match=r"known rank.*tf\.ensure_shape"):
            _batches.check_dataset(make_batches().map(read))

    def test_unknown_cardinality(self):
        batches = make_batches().filter(lambda *_: True)
        with pytest.raises(ValueError, match="assert_cardinality"):
            _batches.check_dataset(batches)

    def test_inputs_alone(self):
        batches = make_batches().map(lambda x, y: x)
        with pytest.raises(ValueError, match=r"\(x, y\)"):
            _batches.check_dataset(batches)

    def test_dictionary_elements(self):
        batches = make_batches().map(lambda x, y: {"image": x, "other": y})
        with pytest.raises(ValueError, match="Map them first"):
            _batches.check_dataset(batches)


class TestCountBatches:
    @staticmethod
    def count(length, repeat):
        batches = make_batches().apply(
            tf.data.experimental.assert_cardinality(length)
        )
        counted = _batches.count_batches(batches, length)
        return list(counted.repeat(repeat))

    def test_right_number(self):
        found = self.count(3, 2)
        for batch, same in zip(found, [*make_batches()] * 2, strict=True):
            np.testing.assert_array_equal(batch[1], same[1])

    @pytest.mark.parametrize(
        ("length", "repeat", "received"),
        [
            (4, 1, r"a dataset that ended after 3 of 4 batches"),
            (9, 2, r"a dataset that ended after 3 of 9 batches"),
            (2, 2, r"at least 3 of 2 batches"),
        ],
    )
    def test_wrong_number(self, length, repeat, received):
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"`assert_cardinality\(n\)` must .*Received: {received}\.",
        ):
            self.count(length, repeat)

    @pytest.mark.parametrize(
        ("length", "received"),
        [(4, "ended after 3 of 4 batches"), (2, "at least 3 of 2 batches")],
    )
    def test_stage_checks_it(self, length, received):
        batches = make_batches().apply(
            tf.data.experimental.assert_cardinality(length)
        )
        stage = mixing.MixUp(1.0, num_classes=CLASSES)
        with pytest.raises(tf.errors.InvalidArgumentError, match=received):
            list(batches.apply(stage))


class Numbers(keras.utils.PyDataset):
    """Batches of 4, 4 and 2 numbers, each its own label; counts passes."""

    def __init__(self, parts=2):
        super().__init__()
        self.ended, self._parts = 0, parts

    def __len__(self):
        return 3

    def __getitem__(self, index):
        numbers = np.arange(4 * index, min(4 * index + 4, 10))
        return (numbers[:, None] * 1.0, numbers, numbers)[: self._parts]

    def on_epoch_end(self):
        self.ended += 1


class TestReadBatches:
    def test_dictionary_elements(self):
        batches = make_batches().map(
            lambda x, y: {"image": x, "label": y, "file_name": y}
        )
        dataset, length = _batches.read_batches(batches)
        assert length == 3
        for found, expected in zip(dataset, make_batches(), strict=True):
            for part, same in zip(found, expected, strict=True):
                np.testing.assert_array_equal(part, same)
        _, length = _batches.read_batches(batches.repeat())
        assert length == tf.data.INFINITE_CARDINALITY

    @pytest.mark.parametrize("parts", [2, 3])
    def test_py_datasets(self, parts):
        numbers = Numbers(parts)
        dataset, length = _batches.read_batches(numbers)
        assert length == 3
        for count in (1, 2):
            for index, batch in enumerate(dataset):
                for part, same in zip(batch, numbers[index], strict=True):
                    np.testing.assert_array_equal(part, same)
            assert numbers.ended == count

    def test_py_datasets_without_labels(self):
        with pytest.raises(ValueError, match="come with their labels"):
            _batches.read_batches(Numbers(1))

    def test_py_datasets_are_mixed(self):
        stage = mixing.MixUp(
            1.0,
            num_classes=10,
            seed=0,
            per="example",
            partner=mixing.Partners(self_pairs=False),
        )
        for mixed in (stage(Numbers()), stage.evaluation(Numbers())):
            assert int(mixed.cardinality()) == 3
            for x, y in mixed:
                numbers = y.numpy() @ np.arange(10)
                np.testing.assert_allclose(x[:, 0], numbers, rtol=1e-5)

    def test_application_inside_of_a_dataset_function(self):
        stage = mixing.MixUp(1.0, num_classes=10)
        batches = make_batches()
        with pytest.raises(ValueError, match="outside of what TensorFlow"):
            tf.data.Dataset.range(2).flat_map(lambda _: batches.apply(stage))
