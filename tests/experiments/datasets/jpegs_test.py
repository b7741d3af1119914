"""Tests of fused decoding, cropping and resizing."""

import io
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from PIL import Image

from experiments.datasets import jpegs
from tests import reference


def photograph(height=96, width=128, channels=3):
    """Returns a smooth picture, which survives compression."""
    rows = np.linspace(0, 1, height)[:, None, None]
    columns = np.linspace(0, 1, width)[None, :, None]
    waves = np.arange(1, channels + 1)
    picture = 127 + 120 * np.sin(3 * waves * rows) * np.cos(2 * waves * columns)
    return picture.astype(np.uint8)


def encode(picture, kind="JPEG", mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, kind, **options)
    return file.getvalue()


def by_pillow(contents):
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))


def square(*args):
    return jpegs.decode_square(*args).numpy()


def window(*values):
    return lambda shape: tf.constant(values)


FILES = {
    "rgb": encode(photograph(), quality=90, subsampling=0),
    "half chroma": encode(photograph(), quality=90),
    "gray": encode(photograph(), mode="L", quality=90),
    "cmyk": encode(photograph(), mode="CMYK", quality=90),
    "png": encode(photograph(), "PNG"),
    "png with alpha": encode(photograph(), "PNG", mode="RGBA"),
    "palette": encode(photograph(), "PNG", mode="P"),
    "bmp": encode(photograph(), "BMP"),
}


class TestDecode:
    @pytest.mark.parametrize("kind", FILES)
    def test_every_kind_as_pillow_does(self, kind):
        # libjpeg's pixels to the bit; CMYK is converted with other rounding.
        found = jpegs.decode(tf.constant(FILES[kind])).numpy().astype(int)
        expected = by_pillow(FILES[kind]).astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= (kind == "cmyk")

    def test_refuses_half_a_file(self):
        with pytest.raises(tf.errors.InvalidArgumentError):
            jpegs.decode(tf.constant(FILES["rgb"][:-500]))


class TestDecodeSquare:
    @pytest.mark.parametrize("kind", FILES)
    @pytest.mark.parametrize("place", [(0, 0, 40, 40), (13, 37, 40, 40)])
    def test_is_the_slice_where_nothing_is_resized(self, kind, place):
        contents = tf.constant(FILES[kind])
        found = square(contents, window(*place), 40)
        top, left, height, width = place
        whole = jpegs.decode(contents)
        expected = whole[top : top + height, left : left + width]
        if kind in ("half chroma", "cmyk"):
            # Chroma is interpolated, and its right neighbour is cut off.
            differ = found.astype(int) - expected.numpy()
            assert np.abs(differ[:, -1]).max() <= 4
            found, expected = found[:, :-1], expected[:, :-1]
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("kind", ["rgb", "png"])
    def test_resizes_bilinearly(self, kind):
        contents = tf.constant(FILES[kind])
        found = square(contents, window(5, 9, 60, 77), 40)
        cut = jpegs.decode(contents).numpy()[5:65, 9:86]
        expected = reference.resize_bilinear(cut, 40, 40)
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 0.5 + 1e-3

    @pytest.mark.parametrize("ratio", [2, 4, 8])
    def test_decodes_less_of_a_large_window(self, ratio):
        contents = tf.constant(encode(photograph(200, 260), quality=95))
        side = 190 // ratio - 2
        found = square(contents, window(8, 16, 190, 230), side)
        small = tf.io.decode_jpeg(
            contents, ratio=ratio, dct_method=jpegs.DCT_METHOD
        ).numpy()
        top, left, height, width = (x // ratio for x in (8, 16, 190, 230))
        cut = small[top : top + height, left : left + width]
        expected = reference.resize_bilinear(cut, side, side)
        assert np.abs(found - expected).max() <= 0.5 + 1e-3

    def test_scaled_decoding_shows_the_same_picture(self):
        contents = tf.constant(encode(photograph(200, 200), quality=95))
        found = square(contents, window(0, 0, 200, 200), 50)
        blocks = photograph(200, 200).reshape(50, 4, 50, 4, 3).mean((1, 3))
        assert np.abs(found - blocks).mean() < 1.5

    def test_enlarges_a_small_window(self):
        contents = tf.constant(FILES["rgb"])
        found = square(contents, window(5, 5, 1, 1), 8)
        pixel = jpegs.decode(contents)[5, 5]
        assert (found == pixel.numpy()).all()

    def test_flips(self):
        options = (tf.constant(FILES["rgb"]), window(3, 4, 50, 60), 32)
        plain, same, flipped = (
            square(*options, tf.constant(flip))
            if flip is not None
            else square(*options)
            for flip in (None, False, True)
        )
        np.testing.assert_array_equal(plain, same)
        np.testing.assert_array_equal(plain[:, ::-1], flipped)
        assert (plain != flipped).any()

    def test_real_photographs(self, data_dir):
        paths = sorted((data_dir / "imagenet_sample").glob("*.JPEG"))[::6]
        for path in paths:
            contents = path.read_bytes()
            whole = by_pillow(contents)
            height, width = whole.shape[:2]
            side = min(height, width) // 2
            top, left = height - side - 1, width - side - 3
            found = square(
                tf.constant(contents), window(top, left, side, side), side
            )
            expected = whole[top : top + side, left : left + side]
            differ = np.abs(found.astype(int) - expected)
            assert differ[:, :-1].max() == 0
            assert differ.max() <= 16


class TestDrawCrops:
    def test_areas_and_aspects_follow_their_laws(self):
        sides = jpegs.draw_crops(500, tf.constant([3, 4])).sides.numpy()
        heights, widths = sides[..., 0].ravel(), sides[..., 1].ravel()
        area = scipy.stats.uniform(0.08, 0.92)
        assert scipy.stats.kstest(heights * widths, area.cdf).pvalue > 1e-3
        reach = math.log(4 / 3)
        aspect = scipy.stats.uniform(-reach, 2 * reach)
        logs = np.log(widths / heights)
        assert scipy.stats.kstest(logs, aspect.cdf).pvalue > 1e-3
        assert abs(np.corrcoef(heights * widths, logs)[0, 1]) < 0.06

    def test_half_flip_and_places_are_uniform(self):
        crops = jpegs.draw_crops(2000, tf.constant([5, 6]))
        assert abs(crops.flips.numpy().mean() - 0.5) < 4 * 0.5 / 2000**0.5
        places = crops.places.numpy().ravel()
        assert scipy.stats.kstest(places, "uniform").pvalue > 1e-3

    def test_is_a_function_of_the_seed(self):
        one, two, other = (
            jpegs.draw_crops(3, tf.constant([0, k])) for k in (1, 1, 2)
        )
        for a, b, c in zip(one, two, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == tf.bool or (a.numpy() != c.numpy()).any()


class TestChooseWindow:
    @pytest.mark.parametrize(
        "shape", [(375, 500), (500, 333), (40, 900), (900, 40), (3, 2), (1, 1)]
    )
    def test_is_the_loop_of_attempts(self, shape):
        crops = jpegs.draw_crops(40, tf.constant([1, 2]))
        choose = tf.function(jpegs.choose_window)
        for sides, place in zip(crops.sides, crops.places, strict=True):
            found = choose(tf.constant(shape), sides, place).numpy()
            expected = reference.inception_window(
                *shape, sides.numpy(), place.numpy()
            )
            np.testing.assert_array_equal(found, expected)
            top, left, height, width = found
            assert 0 <= top <= top + height <= shape[0]
            assert 0 <= left <= left + width <= shape[1]
            assert min(height, width) >= 1

    def test_places_cover_both_ends(self):
        shape, sides = tf.constant([10, 20]), tf.constant([[0.5, 1.0]])
        ends = [0.0, 1 - 2**-20]
        first, last = (
            jpegs.choose_window(shape, sides, tf.constant([end, end]))
            for end in ends
        )
        np.testing.assert_array_equal(first, [0, 0, 7, 14])
        np.testing.assert_array_equal(last, [3, 6, 7, 14])

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [((30, 90), [0, 25, 30, 40]), ((90, 30), [25, 0, 40, 30])],
    )
    def test_falls_back_to_the_centre(self, shape, expected):
        sides = tf.constant([[9.0, 9.0]])
        found = jpegs.choose_window(
            tf.constant(shape), sides, tf.constant([0.0, 0.0])
        )
        np.testing.assert_array_equal(found, expected)

    def test_falls_back_to_all_of_a_usual_image(self):
        sides = tf.constant([[9.0, 9.0]])
        found = jpegs.choose_window(
            tf.constant([50, 60]), sides, tf.constant([0.7, 0.7])
        )
        np.testing.assert_array_equal(found, [0, 0, 50, 60])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((256, 256), [16, 16, 224, 224]),
        ((512, 256), [144, 16, 224, 224]),
        ((375, 500), [23, 86, 328, 328]),
        ((1, 1), [0, 0, 1, 1]),
    ],
)
def test_central_window(shape, expected):
    found = jpegs.central_window(tf.constant(shape))
    np.testing.assert_array_equal(found, expected)
