"""Moments, types and limits of noise."""

import keras
import ml_dtypes
import numpy as np
import pytest

from tf_mixup import ood


class TestNoise:
    @pytest.mark.parametrize("kind", ood.NOISES)
    def test_has_the_moments(self, kind):
        mean, std = np.array([1.0, -2.0]), np.array([0.5, 3.0])
        inputs = np.stack([mean - std, mean + std]).astype(np.float32)
        noise = ood.noise_like(inputs, kind=kind, num_examples=100_000)
        assert noise.shape == (100_000, 2)
        assert noise.dtype == np.float32
        # Standard error: 3 / sqrt(100,000) = 0.01.
        np.testing.assert_allclose(noise.mean(0), mean, atol=0.04)
        np.testing.assert_allclose(noise.std(0), std, rtol=0.02)

    def test_uniform_is_bounded(self):
        inputs = np.array([[-1.0], [1.0]])
        noise = ood.noise_like(inputs, kind="uniform", num_examples=9_999)
        assert np.abs(noise).max() <= np.sqrt(3)
        # Fourth moment of a uniform over its squared variance is 9/5.
        assert np.mean(noise**4) == pytest.approx(1.8, rel=0.05)

    def test_is_fixed_by_its_seed(self):
        inputs = np.random.default_rng(0).random((5, 4, 4, 3))
        once, again = (ood.noise_like(inputs, seed=3) for _ in range(2))
        np.testing.assert_array_equal(once, again)
        assert not np.array_equal(once, ood.noise_like(inputs, seed=4))

    @pytest.mark.parametrize("kind", ood.NOISES)
    def test_like_bytes_is_bytes(self, kind):
        rng = np.random.default_rng(0)
        inputs = rng.normal([90, 150], 20, (50, 8, 8, 2)).clip(0, 255)
        inputs = inputs.astype(np.uint8)
        noise = ood.noise_like(inputs, kind=kind, num_examples=400)
        assert noise.dtype == np.uint8
        assert noise.shape == (400, 8, 8, 2)
        axes = (0, 1, 2)
        np.testing.assert_allclose(noise.mean(axes), inputs.mean(axes), atol=1)
        np.testing.assert_allclose(noise.std(axes), inputs.std(axes), rtol=0.05)

    def test_the_largest_integers_do_not_wrap(self):
        inputs = np.array([[0, 2**63 - 1], [-(2**63), 2**63 - 1]])
        # The second column has no variance.
        assert (
            ood.noise_like(inputs, num_examples=50)[:, 1] > 0.99 * 2**63
        ).all()

    @pytest.mark.parametrize("kind", ood.NOISES)
    @pytest.mark.parametrize(
        "dtype",
        [
            *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32"),
            *("int64", "float16", "bfloat16", "float64"),
        ],
    )
    def test_has_the_type_and_range_of_one_hot_inputs(self, dtype, kind):
        dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        classes = np.random.default_rng(0).integers(0, 4, (30, 50))
        noise = ood.noise_like(np.eye(4)[classes].astype(dtype), kind=kind)
        assert noise.dtype == dtype
        assert noise.shape == (30, 50, 4)
        noise = noise.astype("float64")
        # A deviation of .43 rounded to zeros and ones: .28 or .33 are ones.
        assert abs(noise.mean() - 0.25) < 0.1
        if np.issubdtype(dtype, np.integer) or dtype == "bool":
            assert set(np.unique(noise)) == {0, 1}
        else:
            np.testing.assert_allclose(noise.std(), 0.43, atol=0.01)

    @pytest.mark.parametrize(
        ("dtype", "low", "high"),
        [("int16", -1024, 3071), ("uint16", 0, 10_000)],
    )
    def test_keeps_the_unit_of_scans_and_bands(self, dtype, low, high):
        inputs = np.random.default_rng(0).normal(
            (low + 400, low + 900), 90, (40, 6, 6, 2)
        )
        inputs = inputs.clip(low, high).astype(dtype)
        noise = ood.noise_like(inputs, num_examples=400)
        assert noise.dtype == dtype
        axes = (0, 1, 2)
        np.testing.assert_allclose(
            noise.mean(axes), inputs.mean(axes), rtol=0.02
        )
        np.testing.assert_allclose(noise.std(axes), 90, rtol=0.05)

    def test_token_ids_stay_in_the_vocabulary(self):
        ids = np.random.default_rng(0).integers(3, 50, (20, 12))
        noise = ood.noise_like(ids, num_examples=500)
        assert noise.min() >= 3
        assert noise.max() < 50

    def test_half_precision_does_not_overflow(self):
        inputs = np.linspace(5e4, 6.5e4, 40, dtype="float16")[:, None]
        noise = ood.noise_like(inputs, num_examples=999)
        assert noise.dtype == np.float16
        assert np.isfinite(noise).all()
        doubles = np.array([[1e100], [3e100]])
        assert np.isfinite(ood.noise_like(doubles)).all()

    def test_one_mean_for_all(self):
        inputs = np.stack([np.zeros((6, 3)), np.ones((6, 3))], axis=1)
        noise = ood.noise_like(inputs, num_examples=4000, channel_axis=None)
        np.testing.assert_allclose(noise.mean((0, 1)), 0.5, atol=0.03)
        np.testing.assert_allclose(noise.std(), 0.5, atol=0.03)

    def test_axis_counts_from_both_ends(self):
        inputs = np.random.default_rng(0).random((9, 3, 5)).astype("float32")
        np.testing.assert_array_equal(
            ood.noise_like(inputs, channel_axis=-1),
            ood.noise_like(inputs, channel_axis=2),
        )

    def test_follows_the_image_data_format(self):
        means = np.array([200, 100, 0])
        inputs = np.ones((4, 3, 5, 5), "float32") * means[:, None, None]
        expected = np.broadcast_to(means[:, None, None], (3, 5, 5))
        keras.config.set_image_data_format("channels_first")
        try:
            noise = ood.noise_like(inputs)
            columns = ood.noise_like(np.ones((9, 1)) * means)
        finally:
            keras.config.set_image_data_format("channels_last")
        np.testing.assert_array_equal(noise[0], expected)
        np.testing.assert_array_equal(columns[0], means)
        named = ood.noise_like(inputs, channel_axis=1)
        np.testing.assert_array_equal(named[0], expected)
        last = ood.noise_like(np.moveaxis(inputs, 1, -1))
        np.testing.assert_array_equal(last[0, 0, 0], means)

    @pytest.mark.parametrize("axis", ["last", 3, -4])
    def test_refuses_other_axes(self, axis):
        with pytest.raises(
            ValueError,
            match=r"`channel_axis` must be 'auto', None or .* 3 axes",
        ):
            ood.noise_like(np.ones((2, 3, 4)), channel_axis=axis)

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            (np.zeros((0, 3)), r"Received: inputs of shape \(0, 3\)"),
            (np.zeros(3), r"Received: inputs of shape \(3,\)"),
            (
                np.array([["a"]]),
                r"float, integer or Boolean type\. Received: d",
            ),
            (np.array([["a"]], object), r"Received: dtype=object\. Give an"),
            (np.zeros((2, 3), complex), r"Received: dtype=complex128\. Give"),
            (np.full((2, 1), np.nan), r"finite\. Received: inputs with mean"),
        ],
    )
    def test_refuses_inputs_it_cannot_imitate(self, inputs, message):
        with pytest.raises(ValueError, match=message):
            ood.noise_like(inputs)

    def test_refuses_unknown_kinds_and_counts(self):
        with pytest.raises(ValueError, match="`kind` must be one of"):
            ood.noise_like(np.ones((2, 2)), kind="salt")
        with pytest.raises(
            ValueError, match="`num_examples` must be an integer"
        ):
            ood.noise_like(np.ones((2, 2)), num_examples=0)
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            ood.noise_like(np.ones((2, 2)), seed=-1)


class TestNumbers:
    """Moments of numbers only, and of all of float64."""

    def test_refuses_masked_inputs(self):
        inputs = np.ma.masked_array([[1.0, 2.0], [3.0, 1e6]], [[0, 0], [0, 1]])
        with pytest.raises(ValueError, match="no masked entries"):
            ood.noise_like(inputs)

    @pytest.mark.parametrize("unit", [1e-200, 1e300])
    def test_noise_of_the_largest_and_smallest_numbers(self, unit):
        inputs = unit * np.tile([[1.0], [-1.0]], (200, 1))
        noise = ood.noise_like(inputs) / unit
        assert 0.8 < noise.std() < 1.2
