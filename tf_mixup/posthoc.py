"""After training: calibrate on held-out rows, or average predictions.

`calibrate` fits a scaler on a model's predictions and returns the calibrated
model. Rows that it is fitted on tell nothing of how calibrated it is:
`check_disjoint` makes sure that the test set has none of them.

Letters: N rows, K classes.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_mixup import checks
from tf_mixup import model_outputs
from tf_mixup.averaging import DeepEnsemble as DeepEnsemble
from tf_mixup.averaging import MixupRescaling as MixupRescaling
from tf_mixup.averaging import MonteCarloDropout as MonteCarloDropout
from tf_mixup.scaling import IsotonicScaling as IsotonicScaling
from tf_mixup.scaling import Scaler as Scaler
from tf_mixup.scaling import TemperatureScaling as TemperatureScaling
from tf_mixup.scaling import VectorScaling as VectorScaling


def calibrate(
    model: keras.Model,
    scaler: Scaler,
    calibration: Any,
    *,
    test: Any = None,
    from_logits: bool | None = None,
    batch_size: int = 128,
) -> keras.Model:
    """Fits a scaler on a model's predictions and returns both as one model.

    Args:
        model: Functional or sequential model with one output: logits or
            probabilities, `(N, K)`, or one sigmoid column.
        scaler: A `TemperatureScaling`, `VectorScaling` or `IsotonicScaling`;
            it is fitted in place.
        calibration: Held-out rows that did not train the model: arrays
            `(inputs, labels)`, or a dataset of such batches.
        test: Inputs of the test set, or the same with labels as a tuple, or a
            dataset of batches of either. If given, it must share no row.
        from_logits: Whether the model's outputs are logits. None finds it out
            by their values: rows that are at least 0 and sum to 1 are
            probabilities, whose logarithms are then scaled.
        batch_size: Rows to predict at once.

    Returns:
        calibrated: Model that shares its weights with `model` and predicts
            probabilities `(N, K)`; see `Scaler.attach`.

    Raises:
        ValueError: If the sets share rows, or as `Scaler.fit` and
            `Scaler.attach`.

    Example:
        >>> labels = np.arange(60) % 3
        >>> noise = np.random.default_rng(0).normal(size=(60, 3))
        >>> rows = (np.eye(3)[labels] + noise).astype("float32")
        >>> sure = keras.layers.Rescaling(9.0)
        >>> model = keras.Sequential([keras.Input((3,)), sure])
        >>> scaler = TemperatureScaling()
        >>> calibrated = calibrate(model, scaler, (rows, labels))
        >>> scaler.temperature > 1, calibrated.output.shape
        (True, (None, 3))
    """
    if test is not None:
        check_disjoint(calibration, test)
    model_outputs.structured_inputs(model)
    outputs, labels = [], []
    for batch in _batches(calibration):
        labelled = isinstance(batch, tuple) and len(batch) > 1
        if not labelled or np.ndim(batch[1]) == 0:
            raise checks.refusal(
                "Rows for calibration come in batches, with their labels",
                f"calibration={type(calibration).__name__} without",
                "Write `(inputs, labels)`, or give a dataset of such batches",
            )
        # Not `predict_on_batch`, which repeats a batch for each replica.
        outputs.append(
            model.predict(batch[0], batch_size=batch_size, verbose=0)
        )
        labels.append(np.asarray(batch[1]))
    if not outputs:
        raise checks.refusal(
            "There must be rows to calibrate on",
            "calibration without rows",
            "Hold some rows out of training",
        )
    stacked = np.concatenate(outputs)
    from_logits = model_outputs.are_logits(stacked, from_logits)
    logits = model_outputs.to_logits(stacked, from_logits)
    scaler.fit(logits, np.concatenate(labels))
    return scaler.attach(model, from_logits=from_logits)


def check_disjoint(calibration: Any, test: Any) -> None:
    """Refuses two sets of inputs that share a row.

    Rows are the same if they are so byte for byte, and of the same type and
    shape. It does not see a row that was scaled, cropped or flipped.

    Args:
        calibration: Inputs, an array or a nest of arrays with N rows; or a
            tuple of inputs and labels, of which labels are left out; or a
            dataset of batches of either.
        test: Likewise.

    Raises:
        ValueError: If they share rows; the message says how many of `test`.

    Example:
        >>> check_disjoint(np.eye(4)[:2], np.eye(4)[2:])
    """
    known = set(_digests(calibration))
    count = shared = 0
    for digest in _digests(test):
        count += 1
        shared += digest in known
    if shared:
        raise checks.refusal(
            "Rows for calibration and for the test must not be the same",
            f"{shared} of {count} rows of `test` that are in `calibration`",
            "Split the data once, before anything is fitted",
        )


def _batches(data: Any) -> Iterator[Any]:
    """Yields arrays as one batch, or the batches of a dataset."""
    nest = isinstance(data, (tuple, list, dict))
    if not nest and not hasattr(data, "shape"):
        yield from data
        return
    if isinstance(data, tuple):
        # Else a list of class ids would be taken for a nest of arrays.
        data = (data[0], *(np.asarray(column) for column in data[1:]))
    sizes = {len(leaf) for leaf in keras.tree.flatten(data)}
    if len(sizes) != 1:
        raise checks.refusal(
            "Arrays must have the same number of rows",
            f"{sorted(sizes)} rows",
            "Give a tuple `(inputs, labels)` of the same rows",
        )
    yield data


def _digests(data: Any) -> Iterator[bytes]:
    """Yields a hash of each row of inputs."""
    for batch in _batches(data):
        inputs = batch[0] if isinstance(batch, tuple) else batch
        leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(inputs)]
        for row in zip(*leaves, strict=True):
            digest = hashlib.blake2b(digest_size=16)
            for leaf in map(np.asarray, row):
                text = leaf.dtype.kind in "OSU"
                kind = "text" if text else leaf.dtype.name
                digest.update(f"{kind}{leaf.shape}".encode())
                # The bytes of text are an address, or padded.
                digest.update(
                    repr(leaf.tolist()).encode() if text else leaf.tobytes()
                )
            yield digest.digest()
