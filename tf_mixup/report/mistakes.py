"""The wrong predictions of which a model is most sure.

Shapes: B examples, K columns of outputs.
"""

import heapq
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_mixup.report import predictions as report_predictions

# How many are kept.
_COUNT = 12
# Smaller arrays are not shown as images, and longer sides are reduced.
_LEAST_PIXELS, _MOST_PIXELS = 8, 160


class Mistake(NamedTuple):
    """A wrong prediction.

    Attributes:
        place: Number of the example in the data, from 0.
        label: Its class; of a soft target the one with the most mass.
        predicted: The predicted class.
        confidence: Its probability.
    """

    place: int
    label: int
    predicted: int
    confidence: float


class MostConfident:
    """Collects them batch by batch; only their inputs are held.

    Args:
        detect_logits: Returns whether the outputs of the first batch are
            logits; raises `ValueError` where nothing decides.

    Attributes:
        from_logits: What it returned; None before.
    """

    def __init__(self, detect_logits: Callable[[np.ndarray], bool]) -> None:
        self._detect_logits, self._num_seen = detect_logits, 0
        self._found: list[tuple[Mistake, np.ndarray | None]] = []
        self.from_logits: bool | None = None

    def add(
        self, outputs: np.ndarray, labels: Any, inputs: Any, counted: np.ndarray
    ) -> None:
        """Adds a batch, with which of its examples count, bool `(B,)`."""
        place = self._num_seen
        self._num_seen += len(outputs)
        if not counted.any():
            return
        try:
            if self.from_logits is None:
                self.from_logits = self._detect_logits(outputs[counted])
        except ValueError:
            # All outputs together may decide, and say more if not.
            return
        probabilities = report_predictions.to_probabilities(
            outputs, from_logits=self.from_logits
        )
        predicted = probabilities.argmax(axis=-1)
        confidence = probabilities.max(axis=-1)
        ids = _read_ids(labels)
        wrong = np.flatnonzero(counted & (predicted != ids))
        best = wrong[np.argsort(-confidence[wrong], kind="stable")[:_COUNT]]
        # Copies, as a view would hold the whole batch.
        more = [
            (
                Mistake(
                    place + int(k),
                    int(ids[k]),
                    int(predicted[k]),
                    float(confidence[k]),
                ),
                inputs[k].copy() if _are_images(inputs) else None,
            )
            for k in best
        ]
        self._found = heapq.nlargest(
            _COUNT, self._found + more, key=lambda each: each[0].confidence
        )

    @property
    def mistakes(self) -> list[Mistake]:
        """The mistakes, the most confident first."""
        return [mistake for mistake, _ in self._found]

    def pictures(self) -> list[bytes]:
        """Returns their inputs as PNG files on one gray scale, if images."""
        images = [image for _, image in self._found if image is not None]
        if not images or len(images) < len(self._found):
            return []
        finite = np.concatenate([x[np.isfinite(x)].ravel() for x in images])
        low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
        return [_to_png(image, low, high) for image in images]


def _read_ids(labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(axis=-1)
    return np.rint(labels.ravel().astype(np.float64)).astype(np.int64)


def _are_images(inputs: Any) -> bool:
    """Returns whether inputs are square gray images or have 1 or 3 channels."""
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iuf":
        return False
    sides = inputs.shape[1:3]
    shaped = (
        inputs.shape[3] in (1, 3)
        if inputs.ndim == 4
        else inputs.ndim == 3 and sides[0] == sides[1]
    )
    return shaped and min(sides) >= _LEAST_PIXELS


def _to_png(image: np.ndarray, low: float, high: float) -> bytes:
    pixels = (image.astype(np.float32) - low) / max(float(high) - low, 1e-12)
    pixels = np.nan_to_num(pixels).reshape(*image.shape[:2], -1)
    if max(image.shape[:2]) > _MOST_PIXELS:
        pixels = tf.image.resize(
            pixels, 2 * [_MOST_PIXELS], "area", preserve_aspect_ratio=True
        )
    as_bytes = tf.image.convert_image_dtype(pixels, tf.uint8, saturate=True)
    return tf.io.encode_png(as_bytes).numpy()
