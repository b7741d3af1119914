"""Tests of the epoch counter: which epoch and step each batch is given."""

import copy
import itertools
import pickle

import pytest
import tensorflow as tf

from tf_mixup import mixing
from tf_mixup.mixing import epoch_counter


def read(dataset: tf.data.Dataset) -> list[tuple[int, int]]:
    return [(int(epoch), int(step)) for epoch, step in dataset]


class Stage:
    """What owns datasets, as `MixUp` does."""

    def __init__(self, counter):
        self.epoch_counter = counter

    def __call__(self, length=3):
        return self.epoch_counter.attach(
            length, lambda each: each.map(epoch_counter.locate), owner=self
        )


def assert_distinct(*passes):
    positions = list(itertools.chain(*passes))
    assert len(set(positions)) == len(positions)


def train(counter, dataset, *, steps, epochs, goes_on=False):
    """Reads as `fit` does; returns the positions of each epoch."""
    counter.start_training(steps, goes_on=goes_on)
    read_epochs = []
    for epoch in epochs:
        counter.start_epoch(epoch)
        read_epochs.append(read(dataset.take(steps)))
    counter.end_training()
    return read_epochs


def epochs_of(positions):
    return [(epoch_counter.training_epoch(e), s) for e, s in positions]


class TestPositions:
    def test_each_pass_is_an_epoch_without_a_callback(self):
        positions = mixing.EpochCounter().positions(2)
        assert read(positions) == [(0, 0), (0, 1)]
        assert read(positions) == [(1, 0), (1, 1)]

    def test_announced_epoch_is_obeyed(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(2)
        counter.start_training(2)
        counter.start_epoch(5)
        assert read(positions) == [(5, 0), (5, 1)]

    def test_repeat_goes_on_where_the_pass_ended(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(3).repeat(2)
        counter.start_training(3)
        counter.start_epoch(0)
        assert read(positions) == [(e, s) for e in (0, 1) for s in range(3)]

    def test_repeat_with_epochs_of_another_length(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(3).repeat(2)
        counter.start_training(2)
        counter.start_epoch(0)
        assert read(positions) == [(e, s) for e in range(3) for s in (0, 1)]

    def test_endless_stream_counts_on_from_the_resumed_epoch(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(tf.data.INFINITE_CARDINALITY)
        counter.start_training(2)
        counter.start_epoch(3)
        assert read(positions.take(3)) == [(3, 0), (3, 1), (4, 0)]

    def test_resumed_epoch_has_its_last_batches(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(4)
        counter.start_training(4)
        counter.start_epoch(2, step=1)
        # It must have its length, so the last one comes twice.
        expected = [(2, 1), (2, 2), (2, 3), (2, 3)]
        assert read(positions) == expected
        counter.start_epoch(3)
        assert read(positions) == [(3, step) for step in range(4)]

    def test_epoch_after_a_resumed_one_that_was_not_read_to_the_end(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(4)
        counter.start_training(4)
        counter.start_epoch(2, step=3)
        assert read(positions.take(1)) == [(2, 3)]
        counter.start_epoch(3)
        assert read(positions)[0] == (3, 0)

    def test_resumed_stream_goes_on_into_the_next_epoch(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(tf.data.INFINITE_CARDINALITY)
        counter.start_training(2)
        counter.start_epoch(3, step=1)
        assert read(positions.take(3)) == [(3, 1), (4, 0), (4, 1)]

    def test_a_look_at_the_data_does_not_shift_epochs(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(8)
        counter.start_training(8)
        for epoch in range(3):
            counter.start_epoch(epoch)
            assert read(positions)[0] == (epoch, 0)
            next(iter(positions))

    def test_training_starts_anew(self):
        counter = mixing.EpochCounter()
        positions = counter.positions(2)
        read(positions)
        counter.start_training(2)
        counter.start_epoch(0)
        assert read(positions) == [(0, 0), (0, 1)]

    def test_stages_that_share_a_clock_agree(self):
        counter = mixing.EpochCounter()
        both = tf.data.Dataset.zip(counter.positions(3), counter.positions(3))
        for epoch in range(2):
            counter.start_epoch(epoch)
            for one, other in both:
                assert [int(v) for v in one] == [int(v) for v in other]

    def test_cardinality_is_known(self):
        assert int(mixing.EpochCounter().positions(3).cardinality()) == 3


class TestPassesThatAreNotAnnounced:
    """Each one that starts differs from all others."""

    @pytest.mark.parametrize(
        "cut",
        [
            lambda each: each,
            lambda each: each.take(2),
            lambda each: each.prefetch(4).take(2),
            lambda each: tf.data.Dataset.zip(
                each, tf.data.Dataset.range(2)
            ).map(lambda position, _: position),
            lambda each: each.concatenate(each),
            lambda each: each.take(2).repeat(2),
        ],
        ids=["whole", "take", "prefetch", "zip", "twice", "repeat"],
    )
    def test_whatever_is_read_of_them(self, cut):
        passes = cut(Stage(mixing.EpochCounter())())
        assert_distinct(*(read(passes) for _ in range(3)))

    def test_loop_that_breaks(self):
        positions = mixing.EpochCounter().positions(3)
        firsts = [read(positions.take(1))[0] for _ in range(3)]
        assert firsts == [(0, 0), (1, 0), (2, 0)]

    def test_stage_that_is_applied_anew(self):
        stage = Stage(mixing.EpochCounter())
        passes = [epochs_of(read(stage())) for _ in range(3)]
        assert passes == [[(e, s) for s in range(3)] for e in range(3)]

    @pytest.mark.parametrize("in_turn", [True, False])
    def test_two_datasets_of_one_stage(self, in_turn):
        stage = Stage(mixing.EpochCounter())
        one, other = stage(), stage()
        order = [one, other] * 3 if in_turn else [one] * 3 + [other] * 3
        passes = [read(each) for each in order]
        assert_distinct(*passes)
        if in_turn:
            # Validation between epochs does not make them count twice.
            assert passes[::2] == [[(e, s) for s in range(3)] for e in range(3)]

    def test_zip_and_concatenation_of_two_datasets_of_one_stage(self):
        stage = Stage(mixing.EpochCounter())
        both = stage(), stage()
        for _ in range(2):
            zipped = tf.data.Dataset.zip(both)
            assert_distinct(*map(read, zip(*zipped, strict=True)))
        assert_distinct(read(both[0].concatenate(both[1])))

    def test_passes_that_start_at_once(self):
        stage = Stage(mixing.EpochCounter())
        many = stage()
        positions = tf.data.Dataset.range(8).interleave(
            lambda _: many, cycle_length=8, num_parallel_calls=8
        )
        assert_distinct(read(positions))

    def test_stages_of_one_clock_agree(self):
        counter = mixing.EpochCounter()
        both = counter.positions(3), Stage(counter)(), Stage(counter)()
        for _ in range(2):
            one, *others = zip(*tf.data.Dataset.zip(both), strict=True)
            for other in others:
                assert read(one) == read(other)


class TestTrainings:
    @pytest.mark.parametrize(
        "cut",
        [
            lambda each: each,
            lambda each: each.take(2),
            lambda each: tf.data.Dataset.zip(
                each, tf.data.Dataset.range(2)
            ).map(lambda position, _: position),
            lambda each: each.map(
                lambda *position: position, num_parallel_calls=4
            ).take(2),
        ],
        ids=["whole", "take", "zip", "read ahead"],
    )
    def test_cut_epochs_resume(self, cut):
        passes = cut(Stage(mixing.EpochCounter())())
        steps = int(passes.cardinality())
        expected = [[(e, s) for s in range(steps)] for e in range(4)]
        for first in (0, 2):
            counter = mixing.EpochCounter()
            dataset = cut(Stage(counter)())
            found = train(counter, dataset, steps=steps, epochs=range(first, 4))
            assert found == expected[first:]

    def test_mixing_reads_ahead_of_a_shorter_partner(self):
        # Positions are read to their end though the last is not consumed.
        counter = mixing.EpochCounter()
        ahead = counter.attach(
            3, lambda each: each.map(epoch_counter.locate).prefetch(8)
        )
        short = tf.data.Dataset.zip(ahead, tf.data.Dataset.range(2)).map(
            lambda position, _: position
        )
        found = train(counter, short, steps=2, epochs=range(3))
        assert found == [[(e, 0), (e, 1)] for e in range(3)]

    def test_second_one_has_the_same_epochs_and_other_draws(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        trainings = [
            list(
                itertools.chain(
                    *train(counter, dataset, steps=3, epochs=range(2))
                )
            )
            for _ in range(3)
        ]
        assert_distinct(*trainings)
        assert trainings[0] == [(e, s) for e in range(2) for s in range(3)]
        for each in trainings:
            assert epochs_of(each) == trainings[0]

    def test_one_that_goes_on(self):
        counter = mixing.EpochCounter()
        stage = Stage(counter)
        found = [
            *train(counter, stage(), steps=3, epochs=range(1)),
            *train(counter, stage(), steps=3, epochs=range(2), goes_on=True),
            *train(counter, stage(), steps=3, epochs=range(1), goes_on=True),
        ]
        assert found == [[(e, s) for s in range(3)] for e in range(4)]

    def test_going_on_where_there_is_nothing_before(self):
        # As a run does that was killed within its first epoch.
        counter = mixing.EpochCounter()
        read(counter.positions(3).take(1))
        counter.start_training(3, goes_on=True)
        counter.start_epoch(0)
        counter.start_epoch(0, step=1)
        assert read(counter.positions(3))[0] == (0, 1)

    def test_initial_epoch_is_obeyed(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        one = train(counter, dataset, steps=3, epochs=range(4))
        train(counter, dataset, steps=3, epochs=range(2))
        assert train(counter, dataset, steps=3, epochs=[2, 3]) == one[2:]

    def test_looks_at_the_data_do_not_matter(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        # Under a strategy Keras reads a batch before it calls callbacks.
        read(dataset.take(1))
        counter.start_training(3)
        read(Stage(counter)())
        for epoch in range(3):
            counter.start_epoch(epoch)
            assert read(dataset) == [(epoch, step) for step in range(3)]
            read(dataset.take(1))

    def test_second_pass_within_an_epoch(self):
        counter = mixing.EpochCounter()
        stage = Stage(counter)
        one, other = stage(), stage()
        counter.start_training(6)
        passes = []
        for epoch in range(3):
            counter.start_epoch(epoch)
            for each in (one.take(2), one.take(2), other, other.take(1)):
                passes.append(read(each))
                assert {e for e, _ in epochs_of(passes[-1])} == {epoch}
        assert_distinct(*passes)
        assert passes[::4] == [[(e, 0), (e, 1)] for e in range(3)]

    def test_passes_after_a_training(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        passes = train(counter, dataset, steps=3, epochs=range(2))
        passes += [read(dataset), read(dataset.take(1)), read(dataset)]
        passes += train(counter, dataset, steps=3, epochs=[0], goes_on=True)
        assert_distinct(*passes)
        epochs = [epoch_counter.training_epoch(each[0][0]) for each in passes]
        assert epochs == [0, 1, 2, 3, 4, 2]

    def test_training_that_was_broken_off(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        counter.start_training(3)
        counter.start_epoch(0)
        passes = [read(dataset.take(2)), read(dataset.take(2))]
        passes += train(counter, dataset, steps=3, epochs=[0], goes_on=True)
        assert_distinct(*passes)
        assert passes[-1] == [(1, s) for s in range(3)]

    def test_announcements_without_a_start(self):
        counter = mixing.EpochCounter()
        dataset = Stage(counter)()
        passes = []
        for epoch in (0, 1, 0, 1):
            counter.start_epoch(epoch)
            passes.append(read(dataset))
        assert_distinct(*passes)
        assert passes[1] == [(1, s) for s in range(3)]


class TestBounds:
    def test_copies_are_the_clock_itself(self):
        counter = mixing.EpochCounter()
        assert copy.copy(counter) is counter
        assert copy.deepcopy([counter])[0] is counter

    def test_pickled_clock_is_new(self):
        counter = mixing.EpochCounter()
        counter.start_epoch(2)
        assert pickle.loads(pickle.dumps(counter)).epoch == 0

    def test_second_training_has_epochs_of_its_own(self):
        counter = mixing.EpochCounter()
        for _ in range(2):
            counter.start_training(3)
            counter.start_epoch(0)
        assert counter.epoch > epoch_counter.EPOCHS

    def test_service_is_refused(self):
        service = tf.data.experimental.service
        dispatcher = service.DispatchServer()
        _, address = dispatcher.target.split("://")
        worker = service.WorkerServer(service.WorkerConfig(address))
        batches = tf.data.Dataset.range(3).apply(
            service.distribute("parallel_epochs", dispatcher.target)
        )
        behind = (
            mixing.EpochCounter()
            .positions(3)
            .apply(service.distribute("parallel_epochs", dispatcher.target))
        )
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="Mix after the service"
        ):
            list(behind)
        # After it passes are counted.
        batches = batches.apply(tf.data.experimental.assert_cardinality(3))
        both = tf.data.Dataset.zip(mixing.EpochCounter().positions(3), batches)
        passes = [read(both.map(lambda each, _: each)) for _ in range(2)]
        assert_distinct(*passes)
        del worker
