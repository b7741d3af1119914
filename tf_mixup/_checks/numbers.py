"""Numbers from users, checked before they are converted.

NumPy and TensorFlow silently convert values with another meaning: they drop
masks and imaginary parts, read dates as counts and parse text. All numbers of
users are therefore read here.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_mixup import _checks

_REMEDY = "Convert them to float32 or integers first"


def read(values: Any, name: str, *, remedy: str = _REMEDY) -> Any:
    """Returns real numbers as a NumPy array, or as the tensor that they are.

    Args:
        values: Array or tensor of any library, pandas object, list or number.
        name: Name in messages, such as "Labels" or "`correct`".
        remedy: How to fix the call, without its full stop.

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
    """Returns real numbers as a NumPy array; `dtype=None` keeps their type."""
    array = ops.convert_to_numpy(read(values, name, remedy=remedy))
    return np.asarray(array, dtype)


def check_dense(values: Any, name: str) -> None:
    """Refuses sparse, ragged or partly masked arrays, and specifications."""
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
