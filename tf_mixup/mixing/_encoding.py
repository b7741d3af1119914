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
        known: Share of examples of known class and with a weight, float32
            `(B,)` for each output; nothing where all examples are.
    """

    inputs: Any
    labels: tuple
    known: Any = ()


def encode(element: tuple, labels: options.Labels) -> Batch:
    """Turns a batch's labels into targets, and weights into float32."""
    inputs, given, *weights = _batches.require_same_size(element)
    label = labels.ignore_label
    weights = tf.nest.map_structure(
        lambda each: tf.cast(each, tf.float32), weights
    )
    if label is None and not weights:
        encoded = _per_output(targets_lib.encode, given, labels.num_classes)
        return Batch(inputs, (encoded,))
    # An example of weight 0 needs no valid label.
    counted = _find_counted(given, weights)
    given = _per_output(
        targets_lib.replace_invalid, given, labels.num_classes, counted
    )
    targets = _per_output(
        lambda each, count: targets_lib.encode(each, count, label),
        given,
        labels.num_classes,
    )
    known = _per_output(
        lambda each, count: targets_lib.find_known(each, count, label),
        given,
        labels.num_classes,
    )
    known = tf.nest.map_structure(
        lambda *each: tf.cast(tf.logical_and(*each), tf.float32), known, counted
    )
    if label is None:
        return Batch(inputs, (targets, *weights), known)
    weighed = targets_lib.weigh_outputs(weights, known)
    return Batch(inputs, (targets, weighed), known)


def _find_counted(labels: Any, weights: list) -> Any:
    """Returns which examples have a weight, bool `(B,)` for each output."""
    ones = tf.nest.map_structure(
        lambda each: tf.ones(tf.shape(each)[:1]), labels
    )
    if weights and isinstance(ones, dict) and isinstance(weights[0], dict):
        # Outputs without weights count.
        ones = {key: weights[0].get(key, one) for key, one in ones.items()}
    else:
        ones = targets_lib.weigh_outputs(weights, ones)
    counted = [
        tf.reduce_any(each != 0, axis=range(1, each.shape.rank))
        for each in tf.nest.flatten(ones)
    ]
    return tf.nest.pack_sequence_as(labels, counted)


def _hide(targets: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns targets `(B, ...)` with zeros for examples that do not count."""
    return tf.where(targets_lib.like(known, targets) > 0, targets, 0.0)


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
    if not tf.nest.flatten(batch.known):
        return plans.mix(batch.labels, (), lam, partner)[0]
    own, weights = batch.labels
    hidden = tf.nest.map_structure(_hide, own, batch.known)
    labels, shares = plans.mix((hidden, weights), batch.known, lam, partner)
    targets, weights = labels
    targets = tf.nest.map_structure(
        targets_lib.renormalize, targets, shares, own
    )
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
    if not tf.nest.flatten(batch.known):
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
        sums = tf.where(targets_lib.like(known[0], sums) > 0, sums, 1.0)
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


def _per_output(function: Any, labels: Any, counts: Any, *others: Any) -> Any:
    """Maps over labels, each with its number of classes, and other parts."""
    if counts is None or isinstance(counts, int):
        return tf.nest.map_structure(
            lambda each, *more: function(each, counts, *more), labels, *others
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
    return tf.nest.map_structure(function, labels, counts, *others)
