"""Batches in which labels are targets, and how their targets are combined."""

from typing import Any
from typing import NamedTuple

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import run_time
from tf_mixup.mixing import _batches
from tf_mixup.mixing import options
from tf_mixup.mixing import plans
from tf_mixup.mixing import targets as targets_lib


class Batch(NamedTuple):
    """A batch on its way through the stage.

    Attributes:
        inputs: As the dataset has them.
        labels: Targets, and sample weights where there are some.
        known: Share of examples of known class, float32 `(B,)` for each
            output; nothing where all classes are known.
    """

    inputs: Any
    labels: tuple
    known: Any = ()


def encode(element: tuple, labels: options.Labels) -> Batch:
    """Turns a batch's labels into targets, and weights into float32."""
    inputs, given, *weights = _batches.require_same_size(element)
    label = labels.ignore_label
    targets = _per_output(
        lambda each, count: targets_lib.encode(each, count, label),
        given,
        labels.num_classes,
    )
    weights = tf.nest.map_structure(
        lambda each: tf.cast(each, tf.float32), weights
    )
    if label is None:
        return Batch(inputs, (targets, *weights))
    known = _per_output(
        lambda each, count: tf.cast(
            targets_lib.find_known(each, count, label), tf.float32
        ),
        given,
        labels.num_classes,
    )
    weighed = targets_lib.weigh_outputs(weights, known)
    return Batch(inputs, (targets, weighed), known)


def weigh_classes(batch: Batch, labels: options.Labels) -> Batch:
    """Multiplies weights by the class weights in expectation."""
    if labels.class_weight is None:
        return batch
    targets, *weights = batch.labels
    outputs = tf.nest.flatten(targets)
    if len(outputs) > 1:
        raise options.refuse_class_weight("several targets")
    outputs[0] = _require_one_class(
        outputs[0],
        tf.nest.flatten(batch.known),
        "class_weight",
        "sample weights in the dataset",
    )
    each = tf.constant(labels.class_weight, tf.float32)
    per_example = tf.nest.pack_sequence_as(
        targets, [tf.linalg.matvec(outputs[0], each)]
    )
    weighed = targets_lib.weigh_outputs(weights, per_example)
    return batch._replace(labels=(targets, weighed))


def combine(
    batch: Batch, lam: tf.Tensor, partner: tf.Tensor, *, mix_targets: bool
) -> tuple:
    """Returns mixed targets and weights; hard ones without `mix_targets`."""
    if not mix_targets:
        return plans.take_nearer(batch.labels, lam, partner)
    labels, shares = plans.mix(batch.labels, batch.known, lam, partner)
    if not tf.nest.flatten(shares):
        return labels
    targets, weights = labels
    targets = tf.nest.map_structure(targets_lib.renormalize, targets, shares)
    return targets, weights


def find_classes(
    batch: Batch, labels: options.Labels, needed_by: str, remedy: str
) -> tf.Tensor:
    """Returns the class of each example, `(B,)`; K for unknown ones.

    Args:
        batch: Encoded batch of B examples.
        labels: What its labels are.
        needed_by: Option that needs classes, as it is written.
        remedy: What to write for targets without.
    """
    targets = batch.labels[0]
    classes = None
    if tf.is_tensor(targets) and targets.shape.rank == 2:
        if targets.shape[-1] == 1 and labels.num_classes == 1:
            classes = tf.cast(targets[:, 0] >= 0.5, tf.int32)
        elif targets.shape[-1] > 1:
            targets = _require_one_class(
                targets, tf.nest.flatten(batch.known), needed_by, f"`{remedy}`"
            )
            classes = tf.argmax(targets, axis=-1, output_type=tf.int32)
    if classes is None:
        raise _checks.refusal(
            f"`{needed_by}` needs one class for each example",
            f"targets {tf.nest.map_structure(lambda t: t.shape, targets)}",
            f"Use `{remedy}`",
        )
    if labels.ignore_label is None:
        return classes
    # Examples of unknown class are a class of their own.
    unknown = tf.constant(max(targets.shape[-1], 2), tf.int32)
    return tf.where(batch.known > 0, classes, unknown)


def _require_one_class(
    targets: tf.Tensor, known: list[tf.Tensor], needed_by: str, remedy: str
) -> tf.Tensor:
    """Returns targets `(..., K)`, if those of known class are distributions."""
    sums = tf.reduce_sum(targets, axis=-1)
    if known:
        # Targets of unknown classes are 0.
        sums = tf.where(known[0] > 0, sums, 1.0)
    return run_time.require(
        targets,
        tf.reduce_all(tf.abs(sums - 1) <= targets_lib.ROUNDED),
        f"`{needed_by}` needs one class for each example",
        "targets with sums from {} to {}",
        [tf.reduce_min(sums), tf.reduce_max(sums)],
        f"Use {remedy} for several labels of an example",
    )


def find_numbers(batch: Batch) -> tf.Tensor:
    """Returns the regression targets `(B, ...)` of one output."""
    targets = tf.nest.flatten(batch.labels[0])
    if len(targets) != 1:
        raise _checks.refusal(
            "Partners of similar targets need one output",
            f"targets of {len(targets)} outputs",
            "Join targets in one unit as columns (B, K), or write"
            ' `partner="random"`',
        )
    return targets[0]


def size_of(structure: Any) -> Any:
    """Returns the number of examples, as an int where it is known."""
    first = tf.nest.flatten(structure)[0]
    known = first.shape[0]
    return tf.shape(first)[0] if known is None else known


def _per_output(function: Any, labels: Any, counts: Any) -> Any:
    """Maps over labels, each with its number of classes."""
    if counts is None or isinstance(counts, int):
        return tf.nest.map_structure(
            lambda each: function(each, counts), labels
        )
    try:
        tf.nest.assert_same_structure(labels, counts)
    except (TypeError, ValueError) as error:
        raise _checks.refusal(
            "`num_classes` must be one number, or have the structure of the"
            " targets",
            f"num_classes={counts!r} for targets"
            f" {tf.nest.map_structure(lambda each: each.shape, labels)}",
            "Give each output its number, None for regression",
        ) from error
    return tf.nest.map_structure(function, labels, counts)
