"""Tests of pad-and-crop with flips against slow NumPy."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from experiments.datasets import augment


def slow_crop_and_flip(images, tops, lefts, mirrored, pad):
    """Pads, cuts and mirrors image by image."""
    rows = []
    for image, top, left, mirror in zip(
        images, tops, lefts, mirrored, strict=True
    ):
        height, width, channels = image.shape
        padded = np.zeros(
            (height + 2 * pad, width + 2 * pad, channels), image.dtype
        )
        padded[pad : pad + height, pad : pad + width] = image
        cut = padded[top : top + height, left : left + width]
        rows.append(cut[:, ::-1] if mirror else cut)
    return np.stack(rows)


def random_images(shape, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(1, 256, shape).astype(dtype)


def draws(batch_size, seed, *, pad=4, flip=True):
    """Returns tops, lefts and mirrored of a drawn batch of 6x7 images."""
    rows, columns = (
        part.numpy()
        for part in augment.draw_pixels(
            batch_size, (6, 7), tf.constant(seed), pad=pad, flip=flip
        )
    )
    return rows[:, 0], columns.min(axis=1), columns[:, 0] > columns[:, -1]


class TestCropAndFlip:
    def test_by_hand(self):
        # Row 1 and column 2 of the image 1..6 padded by one, mirrored.
        image = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[None, ..., None]
        out = slow_crop_and_flip(image, [2], [1], [True], 1)[0, ..., 0]
        np.testing.assert_array_equal(out, [[6, 5, 4], [0, 0, 0]])

    @pytest.mark.parametrize("shape", [(50, 6, 7, 3), (3, 6, 7, 1)])
    @pytest.mark.parametrize(
        ("pad", "flip"), [(4, True), (2, False), (0, True)]
    )
    def test_against_slow_numpy(self, shape, pad, flip):
        images = random_images(shape)
        seed = [5, shape[0]]
        out = augment.crop_and_flip(
            tf.constant(images), tf.constant(seed), pad=pad, flip=flip
        )
        expected = slow_crop_and_flip(
            images, *draws(shape[0], seed, pad=pad, flip=flip), pad
        )
        np.testing.assert_array_equal(out, expected)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_keeps_shape_and_dtype(self, dtype):
        images = tf.constant(random_images((4, 6, 7, 3), dtype))
        out = augment.crop_and_flip(images, tf.constant([0, 0]))
        assert out.dtype == images.dtype
        assert out.shape == images.shape

    def test_the_seed_decides(self):
        images = tf.constant(random_images((20, 6, 7, 3)))
        one, same, other = (
            augment.crop_and_flip(images, tf.constant(seed)).numpy()
            for seed in ([1, 2], [1, 2], [1, 3])
        )
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)

    def test_nothing_to_do_is_the_identity(self):
        images = random_images((5, 6, 7, 3))
        out = augment.crop_and_flip(
            tf.constant(images), tf.constant([0, 1]), pad=0, flip=False
        )
        np.testing.assert_array_equal(out, images)

    def test_runs_in_a_dataset_with_a_partial_batch(self):
        images = random_images((10, 6, 7, 3))
        dataset = (
            tf.data.Dataset.from_tensor_slices(images)
            .batch(4)
            .enumerate()
            .map(
                lambda step, batch: augment.crop_and_flip(
                    batch, tf.stack([step, 7])
                ),
                num_parallel_calls=2,
            )
        )
        assert dataset.element_spec.shape.as_list() == [None, 6, 7, 3]
        out = np.concatenate(list(dataset.as_numpy_iterator()))
        expected = [
            augment.crop_and_flip(
                tf.constant(images[4 * k : 4 * k + 4]),
                tf.constant([k, 7], tf.int64),
            )
            for k in range(3)
        ]
        np.testing.assert_array_equal(out, np.concatenate(expected))

    def test_refuses_a_single_image(self):
        with pytest.raises(ValueError, match="Batch the dataset before"):
            augment.crop_and_flip(tf.zeros((6, 7, 3)), tf.constant([0, 0]))

    def test_refuses_negative_padding(self):
        with pytest.raises(ValueError, match="Received: pad=-1"):
            augment.crop_and_flip(
                tf.zeros((1, 6, 7, 3)), tf.constant([0, 0]), pad=-1
            )


class TestDraws:
    def test_every_place_occurs_equally_often(self):
        tops, lefts, _ = draws(81 * 200, [0, 0])
        counts = collections.Counter(zip(tops, lefts, strict=True))
        assert set(counts) == {(y, x) for y in range(9) for x in range(9)}
        # Chi-square of 80 degrees: mean 80, deviation sqrt(160) = 12.6.
        chi_square = sum((n - 200) ** 2 / 200 for n in counts.values())
        assert chi_square < 80 + 5 * 12.6

    def test_half_is_mirrored_whatever_the_place(self):
        tops, lefts, mirrored = draws(20_000, [0, 1])
        # Deviation 1 / (2 sqrt(20,000)) = 0.0035.
        assert abs(mirrored.mean() - 0.5) < 5 * 0.0035
        for place in (tops, lefts):
            assert abs(np.corrcoef(place, mirrored)[0, 1]) < 0.04

    def test_none_is_mirrored_without_flip(self):
        assert not draws(100, [0, 1], flip=False)[2].any()
