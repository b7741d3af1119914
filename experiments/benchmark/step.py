"""Times the host's stage of mixing beside the training step it feeds."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments.benchmark import mixing
from experiments.benchmark import timing
from experiments.benchmark import validation

STAGE = "plan and apply on the host"
STEP = "training step"
MODEL_STEP = "training step that mixes in the model, on a GPU"
BATCHES = 100


def measure(
    repeats: int, *, batch_size: int = 128, width: int = 64
) -> list[timing.Section]:
    """Times the stage on the host and the step; on a GPU also in the model."""
    size = mixing.Size(
        name="CIFAR",
        shape=(batch_size, *validation.IMAGE_SHAPE),
        num_classes=validation.NUM_CLASSES,
        batches=BATCHES,
        calls=1,
    )
    cases = {
        STAGE: stage_case(size),
        STEP: step_case(size, width=width, in_model=False),
    }
    if tf.config.list_logical_devices("GPU"):
        cases[MODEL_STEP] = step_case(size, width=width, in_model=True)
    measured: dict[str, Any] = {**timing.run_in_turns(cases, repeats=repeats)}
    step, mixed = measured[STEP], measured.setdefault(MODEL_STEP)
    added = None if mixed is None else (mixed - step) / step
    return [
        timing.Section(
            title=f"Training step, ResNet-18 of width {width}, batch"
            f" {batch_size}, ms a step",
            milliseconds=measured,
            ratios=(
                timing.compare(measured, STAGE, STEP),
                timing.Ratio(
                    name=f"added by mixing in the model / {STEP}, on a GPU",
                    rounds=added,
                ),
            ),
        )
    ]


def stage_case(size: mixing.Size) -> timing.Case:
    """Returns the stage in `tf.data`, one batch at a time."""
    with tf.device("/cpu:0"):
        tensors = tuple(tf.constant(part) for part in mixing.draw_batch(size))
    mixup = tf_mixup.MixUp(mixing.ALPHA, num_classes=size.num_classes, seed=0)
    mixup.num_parallel_calls = 1
    batches = tf.data.Dataset.from_tensors(tensors).repeat(size.batches)
    mixed = batches.apply(mixup)
    return lambda: timing.batch_seconds(mixed, ahead=1)


def step_case(size: mixing.Size, *, width: int, in_model: bool) -> timing.Case:
    """Returns one step of `fit`, with its batch at hand.

    The step mixes uint8 images in the model, or is given float images that are
    mixed.
    """
    images, labels = mixing.draw_batch(size)
    targets = np.eye(size.num_classes, dtype=np.float32)[labels]
    model = validation.build_network(width)
    inputs: Any = images.astype(np.float32)
    if in_model:
        model = tf_mixup.MixUp(mixing.ALPHA).training_model(model)
        lam, partner = mixing.draw_plan(size)
        offset = partner.numpy() - np.arange(size.shape[0], dtype=np.int32)
        plan = {"lam": lam.numpy(), "partner_offset": offset}
        inputs = {"inputs": images, **plan}
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    # `train_on_batch` returns the loss, so the step is done.
    return timing.calling(model.train_on_batch, inputs, targets)
