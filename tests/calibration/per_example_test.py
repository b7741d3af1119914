"""What labels and predictions may be, row by row."""

import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration
from tf_mixup.calibration import per_example

PROBABILITIES = np.array(
    [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.25, 0.5, 0.25]], "float32"
)
LABELS = np.array([0, 1, 1])
TARGETS = np.eye(3)[LABELS]


class TestExampleScores:
    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("shape", [(300, 7), (300, 2), (300, 1), (300,)])
    def test_ids_and_one_hot_targets_against_float64(self, shape, from_logits):
        generator = np.random.default_rng(0)
        outputs = 4 * generator.normal(size=shape)
        if not from_logits:
            if outputs.size == 300:
                outputs = 1 / (1 + np.exp(-outputs))
            else:
                outputs = reference.softmax(outputs)
        outputs = outputs.astype("float32")
        expected = outputs.astype("float64")
        if expected.size == 300:
            other = np.zeros(300) if from_logits else 1 - expected.ravel()
            expected = np.stack([other, expected.ravel()], axis=1)
        if from_logits:
            expected = reference.softmax(expected)
        ids = generator.integers(0, expected.shape[1], 300)
        targets = np.eye(expected.shape[1])[ids]
        mass = expected[np.arange(300), ids]
        nll = -np.log(mass)
        for labels in (ids, targets):
            rows = per_example.ExampleScores(
                labels, outputs, from_logits=from_logits
            )
            for found, wanted in (
                (rows.confidence, expected.max(1)),
                (rows.correct, expected.argmax(1) == ids),
                (rows.nll, nll),
                (rows.brier, ((expected - targets) ** 2).sum(1)),
            ):
                np.testing.assert_allclose(found, wanted, 1e-5, 1e-6)


class TestTopLabel:
    @pytest.mark.parametrize(
        "labels",
        [
            LABELS,
            LABELS[:, None],
            LABELS.astype("float32"),
            LABELS.tolist(),
            TARGETS,
            TARGETS.astype("int64"),
        ],
    )
    def test_accepts_every_form_of_label(self, labels):
        confidence, correct = calibration.top_label(labels, PROBABILITIES)
        np.testing.assert_allclose(confidence, [0.5, 0.75, 0.5])
        np.testing.assert_array_equal(correct, [1, 0, 1])

    def test_soft_target_is_correct_by_its_mass(self):
        targets = [[0.7, 0.3, 0], [0.5, 0.25, 0.25], [1, 0, 0]]
        _, correct = calibration.top_label(targets, PROBABILITIES)
        np.testing.assert_allclose(correct, [0.7, 0.25, 0])

    @pytest.mark.parametrize("shape", [(4,), (4, 1)])
    @pytest.mark.parametrize("label_shape", [(4,), (4, 1)])
    def test_sigmoid_column_stands_for_two_classes(self, shape, label_shape):
        column = np.array([0.75, 0.25, 0.5, 1.0], "float32").reshape(shape)
        labels = np.array([1, 1, 0, 0]).reshape(label_shape)
        confidence, correct = calibration.top_label(labels, column)
        np.testing.assert_allclose(confidence, [0.75, 0.75, 0.5, 1.0])
        np.testing.assert_array_equal(correct, [1, 0, 1, 0])

    def test_sigmoid_column_takes_soft_labels_and_pairs(self):
        column = np.array([[0.75], [0.25]], "float32")
        for labels in ([0.875, 0.875], [[0.125, 0.875], [0.125, 0.875]]):
            _, correct = calibration.top_label(labels, column)
            np.testing.assert_allclose(correct, [0.875, 0.125])

    @pytest.mark.parametrize(
        ("labels", "row"),
        [
            (0, [np.nan, 0.5, 0.5]),
            (0, [np.inf, 0.0, 0.0]),
            (0, [0.9, 0.9, 0.1]),
            (3, [0.5, 0.25, 0.25]),
            (-1, [0.5, 0.25, 0.25]),
            (0.5, [0.5, 0.25, 0.25]),
            (np.nan, [0.5, 0.25, 0.25]),
            ([2.0, 1.0, 0.0], [0.5, 0.25, 0.25]),
        ],
    )
    def test_what_is_no_distribution_gives_nan(self, labels, row):
        for column in (
            *calibration.top_label([labels], [row]),
            calibration.brier_score([labels], [row]),
            calibration.negative_log_likelihood([labels], [row]),
        ):
            assert np.isnan(np.array(column)).all()

    @pytest.mark.parametrize("labels", [[0], [0, 1, 1, 0], [[0], [1]]])
    def test_refuses_labels_of_other_rows(self, labels):
        with pytest.raises(
            ValueError,
            match=r"a label for each example\. Received: .* for 3 examples",
        ):
            calibration.top_label(labels, PROBABILITIES)

    def test_confidence_that_rounding_takes_above_1_is_1(self):
        confidence, _ = calibration.top_label([0], [[1.01, 0.0]])
        np.testing.assert_array_equal(confidence, [1.0])

    def test_ties_go_to_the_first_class(self):
        rows = np.array([[0.25, 0.25, 0.5, 0.0], [0.0, 0.5, 0.5, 0.0]])
        _, correct = calibration.top_label([2, 1], rows)
        np.testing.assert_array_equal(correct, [1, 1])
        _, correct = calibration.top_label([1, 2], np.full((2, 3), 1 / 3))
        np.testing.assert_array_equal(correct, [0, 0])

    def test_half_precision_rows_are_distributions(self):
        generator = np.random.default_rng(0)
        rows = generator.dirichlet(np.ones(1000), 20).astype("float16")
        confidence, _ = calibration.top_label(np.zeros(20), rows)
        assert np.isfinite(np.array(confidence)).all()

    def test_refuses_rank_three(self):
        message = r"Predictions must have shape \(B, K\).* Received: pred.*\(2,"
        with pytest.raises(ValueError, match=message):
            calibration.top_label(np.zeros((2, 3)), np.zeros((2, 3, 4)))

    def test_refuses_targets_of_another_width(self):
        message = r"Labels must be class ids.* Received: labels of shape \(3, 2"
        with pytest.raises(ValueError, match=message):
            calibration.top_label(np.zeros((3, 2)), PROBABILITIES)


class TestScores:
    def test_by_hand(self):
        # (1/2)^2 + 2 (1/4)^2; 2 (1/8... second: (1/8)^2 + (7/8)^2 + (3/4)^2.
        np.testing.assert_allclose(
            calibration.brier_score(LABELS, PROBABILITIES),
            [0.375, 0.015625 + 0.765625 + 0.5625, 0.375],
        )
        np.testing.assert_allclose(
            calibration.negative_log_likelihood(LABELS, PROBABILITIES),
            np.log([2, 8, 2]),
            rtol=1e-6,
        )

    @pytest.mark.parametrize("soft", [False, True])
    def test_agree_with_the_reference(self, soft):
        generator = np.random.default_rng(0)
        rows = generator.dirichlet(np.ones(5), 200).astype("float32")
        labels = generator.integers(0, 5, 200)
        if soft:
            labels = generator.dirichlet(np.ones(5), 200).astype("float32")
        np.testing.assert_allclose(
            np.mean(calibration.brier_score(labels, rows)),
            reference.brier_score(labels, rows),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            np.mean(calibration.negative_log_likelihood(labels, rows)),
            reference.negative_log_likelihood(labels, rows),
            rtol=1e-5,
        )

    def test_logits_have_no_floor_but_probabilities_do(self):
        logits = np.array([[0.0, 100.0]], "float32")
        nll = calibration.negative_log_likelihood([0], logits, from_logits=True)
        np.testing.assert_allclose(nll, [100.0])
        nll = calibration.negative_log_likelihood([0], [[0.0, 1.0]])
        np.testing.assert_allclose(nll, [87.33655], rtol=1e-6)
        half = np.array([[0.0, 1.0]], "float16")
        nll = calibration.negative_log_likelihood([0], half)
        np.testing.assert_allclose(nll, [24 * np.log(2)], rtol=1e-6)

    def test_impossible_class_without_target_costs_nothing(self):
        logits = [[0.0, -np.inf, 0.0]]
        nll = calibration.negative_log_likelihood([0], logits, from_logits=True)
        np.testing.assert_allclose(nll, [np.log(2)], rtol=1e-6)

    def test_sigmoid_logits_are_two_classes(self):
        logits = np.array([[-2.0], [0.5]], "float32")
        expected = 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(
            per_example.to_probabilities(logits),
            np.concatenate([1 - expected, expected], 1),
            rtol=1e-6,
        )
        np.testing.assert_allclose(
            calibration.negative_log_likelihood([1, 0], logits, from_logits=1),
            -np.log([expected[0, 0], 1 - expected[1, 0]]),
            rtol=1e-6,
        )
