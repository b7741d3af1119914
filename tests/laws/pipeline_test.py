"""Laws of the mixing stage, whatever its options and its data.

Each example is a stage of its own, traced and compiled in about a second, so
there are fewer; each is tried on ten batches.
"""

import functools

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests import stages as stages_lib
from tests.laws.strategies import PARALLEL_CALLS
from tests.laws.strategies import bits
from tests.laws.strategies import law
from tests.laws.strategies import stages
from tests.laws.strategies import tolerance
from tf_mixup import mixing

stage_law = functools.partial(law, few=3, many=100)


def run(stage, **options):
    """Returns the batches that the stage makes, as NumPy arrays."""
    options = stage.options | options
    if not options.get("places"):
        # Integers and booleans are mixed if it is said so.
        options["inputs"] = "mix"
    mixup = stages_lib.make_stage(**options)
    rows = tf.data.Dataset.from_tensor_slices((stage.inputs, stage.labels))
    mixed = rows.batch(**stage.batch).apply(mixup)
    return [tf.nest.map_structure(np.array, batch) for batch in mixed]


def as_bytes(batches):
    return [part.tobytes() for part in tf.nest.flatten(batches)]


@stage_law(
    stage=stages(),
    parallel=st.tuples(PARALLEL_CALLS, PARALLEL_CALLS),
    places=st.sampled_from([0, 1]),
)
def test_the_same_seed_gives_the_same_bytes(stage, parallel, places):
    one, other = (
        run(stage, places=places, num_parallel_calls=calls)
        for calls in parallel
    )
    assert as_bytes(one) == as_bytes(other)


@stage_law(stage=stages(), parallel=PARALLEL_CALLS)
def test_mixed_targets_sum_to_one(stage, parallel):
    for _, mixed in run(stage, places=1, num_parallel_calls=parallel):
        np.testing.assert_allclose(mixed.sum(1), 1, atol=1e-6)


@stage_law(stage=stages())
def test_host_and_layer_agree(stage):
    host, plans = run(stage), run(stage, places=1)
    for (mixed, targets), (plan, same) in zip(host, plans, strict=True):
        inside = mixing.Mix()(*plan.values(), training=True)
        np.testing.assert_allclose(
            mixed.astype("float64"),
            np.asarray(inside, "float64"),
            rtol=0,
            atol=tolerance(stage.inputs),
        )
        np.testing.assert_array_equal(targets, same)


@stage_law(stage=stages(), data=st.data())
def test_no_mixing_is_bitwise_identity(stage, data):
    inputs = data.draw(bits(len(stage.inputs)))
    if inputs.dtype.name == "bfloat16":
        # XLA computes it in float32, and keeps of a NaN that it is one.
        with np.errstate(invalid="ignore"):
            inputs[np.isnan(inputs)] = np.nan
    batches = run(
        stage._replace(inputs=inputs),
        alpha=0,
        include_clean=False,
    )
    passed = np.concatenate([mixed for mixed, _ in batches])
    assert passed.tobytes() == inputs[: len(passed)].tobytes()
