"""The most confident wrong predictions, whatever the batches are."""

import numpy as np
import pytest
import tensorflow as tf

from tf_mixup.report import mistakes


def collect(outputs, labels, inputs, *, size=7, from_logits=True, counted=None):
    """Returns the collector after batches of `size` examples."""
    found = mistakes.MostConfident(lambda outputs: from_logits)
    counted = np.ones(len(outputs), bool) if counted is None else counted
    for start in range(0, len(outputs), size):
        at = slice(start, start + size)
        found.add(outputs[at], labels[at], inputs[at], counted[at])
    return found


class TestMistakes:
    @pytest.mark.parametrize("targets", ["ids", "column", "one-hot"])
    def test_are_the_surest_of_all_batches(self, targets):
        generator = np.random.default_rng(0)
        p = generator.dirichlet([1, 1, 1], 60).astype(np.float32)
        ids = generator.integers(0, 3, 60)
        labels = {"ids": ids, "column": ids[:, None], "one-hot": np.eye(3)[ids]}
        counted = np.arange(60) % 10 > 0
        found = collect(
            *(p, labels[targets], p), from_logits=False, counted=counted
        ).mistakes
        wrong = np.flatnonzero((p.argmax(1) != ids) & counted)
        order = wrong[np.argsort(-p.max(1)[wrong])][:12]
        assert [each.place for each in found] == order.tolist()
        assert [each.label for each in found] == ids[order].tolist()
        assert [each.predicted for each in found] == p.argmax(1)[order].tolist()
        assert found[0].confidence == pytest.approx(p.max(1)[order[0]])

    def test_a_sigmoid_has_two_classes(self):
        logits = np.array([[2.0], [-1.0], [3.0]], np.float32)
        found = collect(logits, np.array([0, 1, 1]), logits).mistakes
        assert [each[:3] for each in found] == [(0, 0, 1), (1, 1, 0)]
        assert found[1].confidence == pytest.approx(1 / (1 + np.exp(-1)))

    def test_outputs_without_a_form_give_none(self):
        def refuse(outputs):
            raise ValueError("no form")

        found = mistakes.MostConfident(refuse)
        found.add(np.eye(2), np.array([1, 0]), np.eye(2), np.ones(2, bool))
        assert not found.mistakes
        assert not found.pictures()


class TestPictures:
    @pytest.mark.parametrize(
        ("shape", "size"),
        [((8, 8), (8, 8)), ((9, 8, 3), (9, 8)), ((400, 200, 1), (160, 80))],
    )
    def test_are_the_inputs_on_one_scale(self, shape, size):
        images = np.zeros((3, *shape), np.float32)
        images[0], images[1, 0, 0] = -2, np.nan
        images[2] = 2
        logits = np.array([[9, 0], [0, 8], [7, 0]], np.float32)
        found = collect(logits, np.array([1, 0, 1]), images)
        pixels = [tf.io.decode_png(p).numpy() for p in found.pictures()]
        assert [each.shape[:2] for each in pixels] == [size] * 3
        means = [each.mean() for each in pixels]
        assert means[0] == 0
        assert means[2] == 255
        assert means[1] == pytest.approx(127.5, abs=2.5)

    @pytest.mark.parametrize(
        "inputs",
        [np.zeros((2, 12, 9)), np.zeros((2, 9, 9, 2)), np.array(["a", "b"])],
    )
    def test_are_not_made_of_other_inputs(self, inputs):
        found = collect(np.eye(2), np.array([1, 0]), inputs)
        assert len(found.mistakes) == 2
        assert not found.pictures()

    def test_holds_no_batch(self):
        images = np.zeros((100, 8, 8))
        found = collect(np.eye(2)[[0] * 100], np.ones(100), images, size=100)
        assert all(image.base is None for _, image in found._found)
        assert len(found._found) == 12
