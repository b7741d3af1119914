"""Tests of recovering mixing plans from batches."""

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup.testing import _plan_recovery


def batch(x, y):
    return tf.constant(x), tf.constant(y)


class TestRecoverPlan:
    def test_by_hand(self):
        x = [[0.0, 0.0], [8.0, 0.0], [0.0, 4.0]]
        # Rows 0, 1, 2 keep 1/4, 1, 1/2 and take the rest of rows 1, 0, 0.
        z = [[6.0, 0.0], [8.0, 0.0], [0.0, 2.0]]
        t = [[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]
        plan = _plan_recovery.recover_plan(batch(x, np.eye(3)), batch(z, t))
        np.testing.assert_allclose(plan.lam, [0.25, 1.0, 0.5], atol=1e-6)
        np.testing.assert_array_equal(plan.partner[[0, 2]], [1, 0])
        np.testing.assert_allclose(plan.residual, 0, atol=1e-6)
        np.testing.assert_allclose(plan.difference, 0, atol=1e-6)
        assert plan.twins == pytest.approx(1 / 3)

    def test_residual_is_a_share_of_the_range_of_each_column(self):
        x = [[0.0, 0.0], [100.0, 50.0]]
        z = [[47.5, 26.25], [100.0, 50.0]]
        t = [[0.5, 0.5], [0.0, 1.0]]
        plan = _plan_recovery.recover_plan(batch(x, np.eye(2)), batch(z, t))
        np.testing.assert_allclose(plan.residual, [0.025, 0.0], atol=1e-6)

    def test_target_residual_counts_lost_mass(self):
        x, z = [[0.0], [1.0]], [[0.5], [0.5]]
        # Half of the first target is lost: the sum is 1/2 and should be 1.
        t = [[0.5, 0.0], [0.5, 0.5]]
        plan = _plan_recovery.recover_plan(batch(x, np.eye(2)), batch(z, t))
        np.testing.assert_allclose(plan.target_residual[1], 0, atol=1e-6)
        assert plan.target_residual[0] == pytest.approx(0.5)

    @pytest.mark.parametrize("width", [3, 64, 500])
    def test_finds_random_plans(self, width):
        generator = np.random.default_rng(width)
        x = generator.normal(size=(50, width)).astype("float32") + 30
        y = np.eye(7)[generator.integers(7, size=50)]
        lam = generator.uniform(0.02, 0.98, size=(50, 1))
        partner = np.roll(np.arange(50), 1)
        z, t = (lam * rows + (1 - lam) * rows[partner] for rows in (x, y))
        plan = _plan_recovery.recover_plan((x, y), (z.astype("float32"), t))
        np.testing.assert_array_equal(plan.partner, partner)
        np.testing.assert_allclose(plan.lam, lam[:, 0], atol=1e-5)
        assert plan.difference.max() < 1e-5

    def test_targets_choose_between_twins(self):
        x = np.array([[0.0], [1.0], [1.0]])
        t = [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        z = np.array([[0.5], [1.0], [1.0]])
        plan = _plan_recovery.recover_plan(batch(x, np.eye(3)), batch(z, t))
        assert plan.partner[0] == 2
        np.testing.assert_allclose(plan.difference, 0, atol=1e-6)
        # Three rows with themselves and one pair, both ways: 5 of 9.
        assert plan.twins == pytest.approx(5 / 9)

    def test_leaves_out_rows_that_are_not_finite(self):
        x = np.arange(4.0)[:, None]
        z = np.array([[0.0], [np.nan], [2.0], [np.inf]])
        plan = _plan_recovery.recover_plan((x, np.eye(4)), (z, np.eye(4)))
        np.testing.assert_array_equal(plan.finite, [1, 0, 1, 0])
        assert plan.num_nonfinite_before == 0
        np.testing.assert_array_equal(plan.lam, [1.0, 1.0])

    def test_counts_examples_that_were_broken_before(self):
        x = np.array([[0.0], [np.nan], [2.0]])
        z = np.array([[np.nan], [np.nan], [2.0]])
        plan = _plan_recovery.recover_plan((x, np.eye(3)), (z, np.eye(3)))
        assert plan.num_nonfinite_before == 1
        np.testing.assert_array_equal(plan.finite, [0, 0, 1])

    def test_a_broken_mixed_row_can_be_a_partner(self):
        x, z = np.array([[0.0], [4.0]]), np.array([[np.nan], [3.0]])
        t = np.array([[1.0, 0.0], [0.25, 0.75]])
        plan = _plan_recovery.recover_plan((x, np.eye(2)), (z, t))
        np.testing.assert_allclose(plan.lam, [0.75], atol=1e-6)
        np.testing.assert_array_equal(plan.partner, [0])

    def test_takes_structures_of_inputs(self):
        x = {"a": np.eye(3), "b": np.arange(3)[:, None, None]}
        z = {key: 0.75 * rows + 0.25 * rows[::-1] for key, rows in x.items()}
        t = 0.75 * np.eye(3) + 0.25 * np.eye(3)[::-1]
        plan = _plan_recovery.recover_plan((x, np.eye(3)), (z, t))
        np.testing.assert_allclose(plan.lam, [0.75, 1.0, 0.75], atol=1e-6)


class TestFingerprint:
    def test_equal_where_inputs_and_targets_are(self):
        x = {"a": np.array([[0.0], [0.0], [1.0]]), "b": np.zeros((3, 2, 2))}
        y = np.array([[1, 0], [1, 0], [1, 0]])
        one, same, other = _plan_recovery.fingerprint((x, y, np.arange(3)))
        assert one == same != other
        y = np.array([[1, 0], [0, 1], [1, 0]])
        one, another, _ = _plan_recovery.fingerprint((x, y))
        assert one == same != another


class TestRefusals:
    def test_batches_without_a_twin(self):
        element = (np.zeros((2, 1)), np.eye(2))
        with pytest.raises(ValueError, match="same number of batches"):
            _plan_recovery.recover_plan(element, None)
        with pytest.raises(ValueError, match="one batch less in `unmixed`"):
            _plan_recovery.recover_plan(None, element)

    def test_other_structures(self):
        x = np.zeros((2, 1))
        with pytest.raises(ValueError, match=r"same structure.*Received: "):
            _plan_recovery.recover_plan(
                (x, np.eye(2)), ({"inputs": x}, np.eye(2))
            )

    def test_other_shapes(self):
        x = np.zeros((2, 1))
        with pytest.raises(ValueError, match=r"one-hot targets \(B, K\)"):
            _plan_recovery.recover_plan((x, np.zeros(2)), (x, np.zeros((2, 2))))

    def test_class_ids(self):
        element = (np.zeros((2, 1)), np.array([0, 1]))
        with pytest.raises(ValueError, match=r"vectors of shape \(B, K\)"):
            _plan_recovery.recover_plan(element, element)
