"""Tests of the clock: which epoch and step each batch is told."""

import tensorflow as tf

from tf_mixup import clock


def read(dataset: tf.data.Dataset) -> list[tuple[int, int]]:
    return [(int(epoch), int(step)) for epoch, step in dataset]


class TestPositions:
    def test_each_pass_is_an_epoch_without_a_callback(self):
        positions = clock.Clock().positions(2)
        assert read(positions) == [(0, 0), (0, 1)]
        assert read(positions) == [(1, 0), (1, 1)]

    def test_announced_epoch_is_obeyed(self):
        clock_ = clock.Clock()
        positions = clock_.positions(2)
        clock_.start_training(2)
        clock_.start_epoch(5)
        assert read(positions) == [(5, 0), (5, 1)]

    def test_repeat_goes_on_where_the_pass_ended(self):
        clock_ = clock.Clock()
        positions = clock_.positions(3).repeat(2)
        clock_.start_training(3)
        clock_.start_epoch(0)
        assert read(positions) == [(e, s) for e in (0, 1) for s in range(3)]

    def test_repeat_with_epochs_of_another_length(self):
        clock_ = clock.Clock()
        positions = clock_.positions(3).repeat(2)
        clock_.start_training(2)
        clock_.start_epoch(0)
        assert read(positions) == [(e, s) for e in range(3) for s in (0, 1)]

    def test_endless_stream_counts_on_from_the_resumed_epoch(self):
        clock_ = clock.Clock()
        positions = clock_.positions(tf.data.INFINITE_CARDINALITY)
        clock_.start_training(2)
        clock_.start_epoch(3)
        assert read(positions.take(3)) == [(3, 0), (3, 1), (4, 0)]

    def test_resumed_epoch_has_its_last_batches(self):
        clock_ = clock.Clock()
        positions = clock_.positions(4)
        clock_.start_training(4)
        clock_.start_epoch(2, step=1)
        # It must have its length, so the last one comes twice.
        expected = [(2, 1), (2, 2), (2, 3), (2, 3)]
        assert read(positions) == expected
        clock_.start_epoch(3)
        assert read(positions) == [(3, step) for step in range(4)]

    def test_epoch_after_a_resumed_one_that_was_not_read_to_the_end(self):
        clock_ = clock.Clock()
        positions = clock_.positions(4)
        clock_.start_training(4)
        clock_.start_epoch(2, step=3)
        assert read(positions.take(1)) == [(2, 3)]
        clock_.start_epoch(3)
        assert read(positions)[0] == (3, 0)

    def test_resumed_stream_goes_on_into_the_next_epoch(self):
        clock_ = clock.Clock()
        positions = clock_.positions(tf.data.INFINITE_CARDINALITY)
        clock_.start_training(2)
        clock_.start_epoch(3, step=1)
        assert read(positions.take(3)) == [(3, 1), (4, 0), (4, 1)]

    def test_a_look_at_the_data_does_not_shift_epochs(self):
        clock_ = clock.Clock()
        positions = clock_.positions(8)
        clock_.start_training(8)
        for epoch in range(3):
            clock_.start_epoch(epoch)
            assert read(positions)[0] == (epoch, 0)
            next(iter(positions))

    def test_training_starts_anew(self):
        clock_ = clock.Clock()
        positions = clock_.positions(2)
        read(positions)
        clock_.start_training(2)
        clock_.start_epoch(0)
        assert read(positions) == [(0, 0), (0, 1)]

    def test_stages_that_share_a_clock_agree(self):
        clock_ = clock.Clock()
        both = tf.data.Dataset.zip(clock_.positions(3), clock_.positions(3))
        for epoch in range(2):
            clock_.start_epoch(epoch)
            for one, other in both:
                assert [int(v) for v in one] == [int(v) for v in other]

    def test_cardinality_is_known(self):
        assert int(clock.Clock().positions(3).cardinality()) == 3
