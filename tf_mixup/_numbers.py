"""Numbers from users, checked before they are converted.

NumPy and TensorFlow convert in silence what has another meaning: they drop
masks and imaginary parts, take dates for counts and parse text. Whatever is
given as numbers is therefore read here.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks

_REMEDY = "Convert them to float32 or integers first"


def read(values: Any, name: str, *, remedy: str = _REMEDY) -> Any:
    """Returns real numbers as a NumPy array, or the tensor that they are.

    Args:
        values: Array or tensor of any library, pandas object, list or number.
        name: What messages call them, such as "Labels" or "`correct`".
        remedy: What to do if they are no real numbers, a sentence without its
            full stop.

    Returns:
        numbers: Of a float, integer or Boolean type.

    Raises:
        ValueError: If they are not real numbers, or are sparse, ragged or
            partly masked.
    """
    check_dense(values, name)
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        # Of PyTorch, where a tensor may be on a device or need a gradient.
        values = values if _is_tensor(values) else values.detach().cpu()
    if not _is_tensor(values):
        values = _to_array(values, name)
    if not _is_real(values.dtype):
        raise _checks.refusal(
            f"{name} must be real numbers",
            f"values of dtype {_name(values.dtype)}",
            remedy,
        )
    return values


def to_numpy(
    values: Any, name: str, *, dtype: Any = None, remedy: str = _REMEDY
) -> np.ndarray:
    """Returns real numbers as a NumPy array.

    Args:
        values: As `read` takes them.
        name: As for `read`.
        dtype: Type of the array; None keeps that of the numbers.
        remedy: As for `read`.

    Raises:
        ValueError: As `read`.
    """
    array = ops.convert_to_numpy(read(values, name, remedy=remedy))
    return np.asarray(array, dtype)


def check_dense(values: Any, name: str) -> None:
    """Refuses arrays that do not hold one value in each place.

    Args:
        values: Anything.
        name: What messages call it, as for `read`.

    Raises:
        ValueError: If it is sparse, ragged or partly masked.
    """
    # Tensors and their specifications, by name: TensorFlow is not needed here.
    kind = type(values).__name__
    remedy = ""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise _checks.refusal(
                f"{name} must have no masked entries",
                f"{np.ma.count_masked(values)} masked entries of {values.size}",
                "Leave these examples out, or give them a value with `.filled`",
            )
    elif kind.startswith("Ragged"):
        remedy = "Pad it with `tensor.to_tensor()`"
    elif kind.startswith("SparseTensor"):
        remedy = "Write `tf.sparse.to_dense(tensor)`"
    elif hasattr(values, "toarray"):
        remedy = "Write `matrix.toarray()`"
    if remedy:
        raise _checks.refusal(f"{name} must be dense", f"a {kind}", remedy)


def _is_tensor(values: Any) -> bool:
    return ops.is_tensor(values) or isinstance(
        values, keras.Variable | keras.KerasTensor
    )


def _to_array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise _checks.refusal(
            f"{name} must be real numbers in an array",
            f"a {type(values).__name__} that is none",
            "Give lists of equal lengths, or an array",
        ) from error


def _is_real(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        # Types such as bfloat16 are none of NumPy's own.
        return dtype.kind in "biuf" or "ml_dtypes" in dtype.type.__module__
    return not any(
        word in _name(dtype)
        for word in ("complex", "string", "variant", "resource")
    )


def _name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))
