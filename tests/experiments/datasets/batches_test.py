"""Tests of shuffled batches."""

import numpy as np
import pytest
import scipy.stats

from experiments.datasets import batches
from tf_mixup import mixing

ROWS = 37
STEPS = 4


def make(
    *, seed=0, augmentation="none", epoch_counter=None, batch_size=9, **options
):
    # The image of row k is k everywhere, but for a corner that tells flips.
    images = np.zeros((ROWS, 8, 8, 1), np.uint8)
    images[:] = np.arange(ROWS)[:, None, None, None]
    images[:, 0, 0] = 255
    counter = mixing.EpochCounter() if epoch_counter is None else epoch_counter
    return batches.training_batches(
        images,
        np.arange(ROWS),
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation,
        epoch_counter=counter,
        **options,
    )


def rows(dataset):
    return np.concatenate([labels for _, labels in dataset])


def images_of(dataset):
    return np.concatenate([images for images, _ in dataset])


class TestTrainingBatches:
    def test_are_full(self):
        dataset = make()
        assert int(dataset.cardinality()) == STEPS
        assert {len(labels) for _, labels in dataset} == {9}

    def test_images_go_with_their_labels(self):
        for images, labels in make():
            np.testing.assert_array_equal(images[:, 4, 4, 0], labels)

    def test_take_no_row_twice_in_an_epoch(self):
        dataset = make()
        for _ in range(5):
            assert len(set(rows(dataset))) == 9 * STEPS

    def test_take_every_row_if_they_fit(self):
        dataset = make(batch_size=ROWS)
        np.testing.assert_array_equal(np.sort(rows(dataset)), np.arange(ROWS))

    def test_leave_out_other_rows_each_epoch(self):
        dataset = make()
        left = [min(set(range(ROWS)) - set(rows(dataset))) for _ in range(8)]
        assert len(set(left)) > 3

    def test_orders_look_random(self):
        # The mean place of each row over many epochs is near the middle:
        # 18 with a standard error of 37 / sqrt(12 * 40) = 1.7.
        dataset = make(batch_size=ROWS)
        places = [np.argsort(rows(dataset)) for _ in range(40)]
        mean = np.mean(places, axis=0)
        assert np.abs(mean - 18).max() < 4 * 1.7

    def test_differ_by_epoch_and_seed(self):
        dataset, other = make(), make(seed=1)
        first, second = rows(dataset), rows(dataset)
        assert (first != second).any()
        assert (rows(other) != first).any()

    @pytest.mark.parametrize("augmentation", ["none", "standard"])
    def test_resume_gives_the_same_batches(self, augmentation):
        dataset = make(augmentation=augmentation)
        epochs = [list(dataset.as_numpy_iterator()) for _ in range(3)]
        clock = mixing.EpochCounter()
        resumed = make(augmentation=augmentation, epoch_counter=clock)
        clock.start_training(STEPS)
        clock.start_epoch(2)
        for one, two in zip(epochs[2], resumed, strict=True):
            np.testing.assert_array_equal(one[0], two[0])
            np.testing.assert_array_equal(one[1], two[1])

    def test_do_not_depend_on_parallelism(self, monkeypatch):
        parallel = images_of(make(augmentation="standard"))
        monkeypatch.setattr(batches.tf.data, "AUTOTUNE", 1)
        sequential = images_of(make(augmentation="standard"))
        np.testing.assert_array_equal(parallel, sequential)

    def test_augmentation_keeps_rows_and_changes_images(self):
        plain, augmented = make(), make(augmentation="standard")
        labels = rows(plain)
        np.testing.assert_array_equal(labels, rows(augmented))
        plain, augmented = make(), make(augmentation="standard")
        assert (images_of(plain) != images_of(augmented)).any()

    @pytest.mark.parametrize("flip", [False, True])
    def test_mirror_if_told_to(self, flip):
        # A column that is left of the middle, wherever a crop by 4 puts it.
        images = np.zeros((64, 16, 16, 1), np.uint8)
        images[:, :, 7] = 1
        images[:, :, 8] = 2
        (batch,) = batches.training_batches(
            *(images, np.zeros(64)),
            batch_size=64,
            seed=0,
            augmentation="standard",
            epoch_counter=mixing.EpochCounter(),
            flip=flip,
        )
        rows = batch[0].numpy()[:, 8, :, 0]
        mirrored = rows.argmax(axis=1) < np.where(rows == 1, 1, 0).argmax(1)
        assert mirrored.any() == flip
        assert not mirrored.all()

    @pytest.mark.parametrize("augmentation", ["none", "standard"])
    def test_bring_a_neighbor_of_each_row(self, augmentation):
        # The rows before and after each.
        around = np.arange(ROWS)[:, None] + [-1, 1]
        pairs = make(neighbors=around % ROWS, augmentation=augmentation)
        assert int(pairs.cardinality()) == STEPS
        drawn = set()
        for plain, (images, labels) in zip(make(), pairs, strict=True):
            own, partners = np.split(labels.numpy(), 2)
            np.testing.assert_array_equal(own, plain[1])
            drawn |= set((partners - own) % ROWS)
            # A pixel that no crop by 4 fills with black or the corner.
            shown = np.sort(images.numpy().reshape(18, -1))[:, -2]
            assert np.isin(shown, [0, *labels]).all()
        assert drawn == {1, ROWS - 1}

    def test_noise_has_its_deviation_in_each_channel(self):
        images = np.full((64, 16, 16, 2), 100, np.uint8)
        (batch,) = batches.training_batches(
            images,
            np.zeros(64, np.int32),
            batch_size=64,
            seed=0,
            augmentation="none",
            epoch_counter=mixing.EpochCounter(),
            noise=np.array([1.0, 30.0]),
        )
        noise = batch[0].numpy() - 100.0
        for channel, deviation in enumerate((1, 30)):
            values = noise[..., channel].ravel() / deviation
            assert scipy.stats.kstest(values, "norm").pvalue > 0.001

    def test_noise_repeats_with_the_seed(self):
        one, same, other = (
            images_of(make(seed=seed, noise=3.0)) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).mean() > 0.99

    def test_refuse_to_crop_what_is_no_image(self):
        with pytest.raises(ValueError, match=r"for examples of shape \(5,\)"):
            batches.training_batches(
                np.zeros((ROWS, 5), np.int32),
                np.arange(ROWS),
                batch_size=9,
                seed=0,
                augmentation="standard",
                epoch_counter=mixing.EpochCounter(),
            )

    def test_refuse_batches_larger_than_the_set(self):
        with pytest.raises(ValueError, match="batch_size=38 with 37") as caught:
            make(batch_size=38)
        assert "Lower --batch_size" in str(caught.value)


class TestEvaluationBatches:
    def test_are_all_rows_in_order(self):
        images = np.arange(7, dtype=np.uint8)[:, None, None, None]
        dataset = batches.evaluation_batches(images, np.arange(7), batch_size=3)
        assert [len(labels) for _, labels in dataset] == [3, 3, 1]
        np.testing.assert_array_equal(rows(dataset), np.arange(7))
        np.testing.assert_array_equal(images_of(dataset), images)

    def test_sizes_are_about_equal(self):
        rows = np.zeros((11, 1, 1, 1), np.uint8), np.zeros(11)
        dataset = batches.evaluation_batches(*rows, batch_size=5)
        assert [len(labels) for _, labels in dataset] == [4, 4, 3]

    @pytest.mark.parametrize("num_rows", [1, 499, 500, 501, 1001, 26032])
    def test_even_size(self, num_rows):
        size = batches.even_size(num_rows, 500)
        last = num_rows % size or size
        assert size <= 500
        assert last > 0.8 * size
        assert -(-num_rows // size) == -(-num_rows // 500)

    @pytest.mark.parametrize("replicas", [2, 3, 8])
    @pytest.mark.parametrize("num_rows", [101, 359, 500, 501, 1001, 2000])
    def test_replicas_share_the_first_batch_equally(self, num_rows, replicas):
        size = batches.even_size(num_rows, 500, replicas=replicas)
        last = num_rows % size or size
        assert min(size, num_rows) % replicas == 0
        assert size < 500 + replicas
        assert last > 0.6 * size
