"""Laws of mixing that hold for any rows and any plan."""

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.laws.strategies import ALPHAS
from tests.laws.strategies import BATCH_SIZES
from tests.laws.strategies import POINTS
from tests.laws.strategies import SEEDS
from tests.laws.strategies import batches
from tests.laws.strategies import bits
from tests.laws.strategies import law
from tests.laws.strategies import plans
from tests.laws.strategies import tolerance
from tf_mixup import mixing
from tf_mixup.mixing import plans as plans_lib
from tf_mixup.mixing import targets


def encode(batch):
    return targets.encode(tf.constant(batch.labels), batch.num_classes)


def as_float64(values):
    return np.asarray(values).astype("float64")


@law(batch=batches())
def test_mixed_targets_sum_to_one(batch):
    _, mixed = mixing.mix((), encode(batch), batch.lam, batch.partner)
    np.testing.assert_allclose(tf.reduce_sum(mixed, 1), 1, atol=1e-6)


@law(batch=batches())
def test_label_forms_of_the_same_classes_give_the_same_targets(batch):
    encoded = encode(batch).numpy()
    ids = tf.constant(encoded.argmax(1))
    if batch.labels.shape == encoded.shape:
        np.testing.assert_array_equal(encoded, batch.labels.astype("float32"))
    else:
        again = targets.encode(ids, batch.num_classes)
        np.testing.assert_array_equal(encoded, again)
        np.testing.assert_array_equal(ids, batch.labels.reshape(-1))


@law(data=st.data(), size=BATCH_SIZES)
def test_own_share_of_one_is_bitwise_identity(data, size):
    rows = data.draw(bits(size))
    lam, partner = data.draw(plans(size))
    alone = data.draw(hnp.arrays("bool", size))
    lam[alone] = 1 if lam.ndim == 1 else np.eye(lam.shape[1])[0]
    mixed, _ = mixing.mix(rows, (), lam, partner)
    assert mixed.numpy()[alone].tobytes() == rows[alone].tobytes()


@law(batch=batches(), seed=SEEDS)
def test_mixing_commutes_with_permuting_batch_and_plan(batch, seed):
    order = np.random.default_rng(seed).permutation(len(batch.lam))
    lam, partner = batch.lam[order], np.argsort(order)[batch.partner[order]]
    values = {"inputs": batch.inputs, "targets": encode(batch).numpy()}
    permuted = {name: rows[order] for name, rows in values.items()}
    mixed, _ = mixing.mix(values, (), batch.lam, batch.partner)
    nearest = mixing.take_nearer(values, batch.lam, batch.partner)
    for before, after in (
        (mixed, mixing.mix(permuted, (), lam, partner)[0]),
        (nearest, mixing.take_nearer(permuted, lam, partner)),
    ):
        for name, rows in before.items():
            np.testing.assert_array_equal(rows.numpy()[order], after[name])


@law(batch=batches(), size=BATCH_SIZES)
def test_a_row_depends_on_its_own_plan_alone(batch, size):
    whole, _ = mixing.mix(batch.inputs, (), batch.lam, batch.partner)
    part, _ = mixing.mix(
        batch.inputs, (), batch.lam[:size], batch.partner[:size]
    )
    np.testing.assert_array_equal(whole[:size], part)


@law(batch=batches())
def test_a_mixture_lies_between_its_rows(batch):
    mixed, _ = mixing.mix(batch.inputs, (), batch.lam, batch.partner)
    size = len(batch.lam)
    sources = np.column_stack([np.arange(size), batch.partner])
    points = as_float64(batch.inputs)[sources]
    room = tolerance(batch.inputs)
    assert np.all(as_float64(mixed) >= points.min(1) - room)
    assert np.all(as_float64(mixed) <= points.max(1) + room)


@law(batch=batches())
def test_layer_agrees_with_mixing_on_the_host(batch):
    mixed, _ = mixing.mix(batch.inputs, (), batch.lam, batch.partner)
    own = np.arange(len(batch.lam), dtype="int32")
    shift = batch.partner - (own if batch.partner.ndim == 1 else own[:, None])
    inside = mixing.Mix()(batch.inputs, batch.lam, shift, training=True)
    np.testing.assert_allclose(
        as_float64(mixed),
        as_float64(inside),
        rtol=0,
        atol=tolerance(batch.inputs),
    )


@law(alpha=ALPHAS, num_points=POINTS, size=BATCH_SIZES, seed=SEEDS)
def test_coefficients_are_shares_and_follow_from_the_seed(
    alpha, num_points, size, seed
):
    seeds = tf.constant([seed, 1])
    lam = mixing.draw_lam(
        alpha, size, seed=seeds, num_points=num_points
    ).numpy()
    again = mixing.draw_lam(
        alpha, size, seed=seeds, num_points=num_points
    ).numpy()
    assert lam.tobytes() == again.tobytes()
    assert lam.shape == ((size,) if num_points == 2 else (size, num_points))
    assert np.all((lam >= 0) & (lam <= 1))
    if num_points > 2:
        np.testing.assert_allclose(lam.sum(1), 1, atol=1e-6)
    if alpha == 0:
        assert np.all(lam.reshape(size, -1)[:, 0] == 1)


@law(
    batch=batches(), seed=SEEDS, groups=st.integers(1, 4), selves=st.booleans()
)
def test_partners_stay_in_their_groups_and_classes(batch, seed, groups, selves):
    size = len(batch.lam)
    classes = tf.argmax(encode(batch), axis=1, output_type=tf.int32)
    own = np.arange(size)
    block = own // -(-size // groups)
    for kind in plans_lib.PARTNERS:
        partner = mixing.choose_partner(
            size,
            seed=tf.constant([seed, 2]),
            kind=kind,
            labels=classes,
            groups=groups,
            self_pairs=selves,
        ).numpy()
        np.testing.assert_array_equal(block[partner], block)
        cell = block * 5 + (0 if kind == "random" else classes.numpy())
        alone = np.array([np.sum(cell == each) == 1 for each in cell])
        if kind == "different_class":
            others = np.array(
                [
                    np.any((block == block[row]) & (cell != cell[row]))
                    for row in own
                ]
            )
            np.testing.assert_array_equal(cell[partner] != cell, others)
            np.testing.assert_array_equal(partner[~others], own[~others])
        else:
            np.testing.assert_array_equal(cell[partner], cell)
            np.testing.assert_array_equal(np.sort(partner), own)
            if not selves:
                np.testing.assert_array_equal(partner == own, alone)
