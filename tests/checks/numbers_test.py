import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tf_mixup._checks import numbers

NUMBERS = np.array([0, 1, 0, 2, 2])


class TestRead:
    @pytest.mark.parametrize(
        "dtype",
        [*"?bBhHiIlLqQefd", ">i4", ">f8", ml_dtypes.bfloat16],
    )
    def test_keeps_numbers(self, dtype):
        found = numbers.read(NUMBERS.astype(dtype), "Numbers")
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, NUMBERS.astype(dtype))

    @pytest.mark.parametrize(
        "form", [list, tuple, np.ma.masked_array, memoryview]
    )
    def test_reads_other_forms(self, form):
        found = numbers.read(form(NUMBERS), "Numbers")
        np.testing.assert_array_equal(found, NUMBERS)

    def test_keeps_tensors(self):
        tensor = tf.constant(NUMBERS, tf.bfloat16)
        assert numbers.read(tensor, "Numbers") is tensor

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (NUMBERS.astype(str), "real numbers.*of dtype .*str"),
            (NUMBERS.astype(bytes), "real numbers.*of dtype .*bytes"),
            (NUMBERS + 1j, "real numbers.*of dtype complex128"),
            (NUMBERS.astype("M8[s]"), "real numbers.*of dtype datetime64"),
            (NUMBERS.astype("m8[s]"), "real numbers.*of dtype timedelta64"),
            (np.array([0, None]), "real numbers.*of dtype object"),
            (np.zeros(2, "i4, f4"), "real numbers.*of dtype void"),
            (tf.constant(["a"]), "real numbers.*of dtype string"),
            (tf.constant([1j]), "real numbers.*of dtype complex128"),
            ([[1.0], [1.0, 2.0]], "real numbers in an array.*equal lengths"),
            (
                np.ma.masked_array([0, 1, 99], mask=[0, 0, 1]),
                "no masked entries.*1 masked entries of 3.*filled",
            ),
            (tf.ragged.constant([[0], [1, 2]]), r"dense.*to_tensor\(\)"),
            (tf.sparse.from_dense(NUMBERS), "dense.*to_dense"),
            (scipy.sparse.eye(3).tocsr(), "dense.*toarray"),
        ],
    )
    def test_refuses(self, values, message):
        with pytest.raises(ValueError, match=f"(?s)Numbers must .*{message}"):
            numbers.read(values, "Numbers")


class TestToNumpy:
    def test_casts(self):
        found = numbers.to_numpy(
            tf.constant(NUMBERS, tf.bfloat16), "Numbers", dtype=np.float64
        )
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, NUMBERS)
