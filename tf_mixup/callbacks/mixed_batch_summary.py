"""MixedBatchSummary: shows in TensorBoard what mixing makes of a batch."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup import mixing
from tf_mixup import summaries
from tf_mixup.callbacks import mixing_schedule

# Steps of an epoch whose coefficients make a histogram.
_STEPS = 256


class MixedBatchSummary(keras.callbacks.Callback):
    """Draws a batch, its partners, the mixed examples and their coefficients.

    It replays the stage on the same examples in each epoch; the training
    dataset is not touched. Written are an image with each example's `lam` and
    targets in the first step; and of the epoch's steps, 256 at most, histograms
    of the coefficients and of the entropy of labels mixed by them, beside what
    Beta(alpha, alpha) says of both. With more than two points the partners of
    an example are shown as one image, averaged as they were mixed.

    Args:
        mixup: The stage that the training dataset went through.
        batch: An unmixed batch of images, `(x, y)` with x of shape `(B, H, W)`
            or `(B, H, W, C)`, e.g. `(x[:8], y[:8])`.
        log_dir: Folder for TensorBoard; files go to `<log_dir>/mixing`.
        freq: Epochs between two pictures. Defaults to 1.

    Raises:
        ValueError: If `mixup` is no stage, `freq` is below 1, or x is not one
            array of images.

    Example:
        >>> mixup = mixing.MixUp(alpha=0.2, num_classes=2, seed=0)
        >>> batch = np.zeros((4, 8, 8, 1), "uint8"), np.array([0, 1, 0, 1])
        >>> callback = MixedBatchSummary(mixup, batch, "logs")
    """

    def __init__(
        self,
        mixup: mixing.Stage,
        batch: tuple,
        log_dir: str | os.PathLike[str],
        *,
        freq: int = 1,
    ) -> None:
        super().__init__()
        self.mixup = mixing_schedule.check_stage(mixup)
        self.freq = _checks.integer_at_least(
            "freq", freq, 1, remedy="Write 1 for a picture each epoch"
        )
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        shapes = [tuple(getattr(each, "shape", ())) for each in parts]
        if len(parts) < 2 or len(shapes[0]) not in (3, 4):
            raise _checks.refusal(
                "The batch must be (x, y) with one array of images as x",
                f"a {type(batch).__name__} of shapes {shapes}",
                "Write `(x[:8], y[:8])`, or leave this callback out for other"
                " inputs",
            )
        self._batch = tuple(batch)
        self._log_dir = os.path.join(os.fspath(log_dir), "mixing")
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Draws the first step of this epoch."""
        if (epoch + 1) % self.freq:
            return
        # Not Keras' number of the epoch: a second `fit` goes on.
        seen = self.mixup.epoch_counter.epoch
        replay = self.mixup.replay(self._batch, epoch=seen, step=0)
        steps = (self.params or {}).get("steps") or _STEPS
        drawn = self.mixup.coefficients(
            self._batch, epoch=seen, steps=min(steps, _STEPS)
        )
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._log_dir)
        with self._writer.as_default():
            summaries.write_mixed_batch(
                self._batch[0],
                replay.inputs,
                replay.lam,
                replay.partner,
                step=epoch,
                targets=replay.targets,
            )
            drawn = np.reshape(drawn, (-1, *drawn.shape[2:]))
            # A schedule may leave all batches of an epoch unmixed.
            unmixed = np.all(drawn.reshape(len(drawn), -1)[:, 0] == 1)
            alpha = None if unmixed else _find_alpha(self.mixup)
            summaries.write_coefficients(drawn, step=epoch, alpha=alpha)
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _find_alpha(stage: mixing.Stage) -> float | None:
    """Returns the alpha of the law that all coefficients follow, if any."""
    if not isinstance(stage, mixing.MixUp) or stage.include_clean:
        return None
    # Subclasses draw others: CutMix cuts boxes at the border.
    plain = type(stage) is mixing.MixUp and isinstance(stage.per, str)
    if not plain or stage.probability < 1:
        return None
    alpha = stage.alpha if stage.tuned_alpha is None else stage.tuned_alpha
    return float(alpha) if isinstance(alpha, float) else None
