"""Tests of the densely connected networks: sizes, growth, refusals."""

import keras
import numpy as np
import pytest

from experiments import networks

SHAPE = (32, 32, 3)


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def count(depth, growth, classes):
    """Counts by the paper's figure, layer by layer, without Keras."""
    pairs = (depth - 4) // 6
    channels = 2 * growth
    total = 27 * channels
    for block in range(3):
        for _ in range(pairs):
            inner = 4 * growth
            total += 2 * channels + channels * inner
            total += 2 * inner + 9 * inner * growth
            channels += growth
        if block < 2:
            total += 2 * channels + channels * (channels // 2)
            channels //= 2
    return total + 2 * channels + (channels + 1) * classes


def small(**options):
    options = {"depth": 16, "width": 3, "seed": 0, **options}
    return networks.build_densenet(SHAPE, 5, **options)


class TestParameters:
    def test_by_hand(self):
        # Growth 3: stem 27*6; a pair from c channels 2c + 12c + 24 + 324.
        # Block 1 from 6, 9; transition of 12: 24 + 72; block 2 from 6, 9;
        # the same transition; block 3 from 6, 9; norm of 12; logits 13*5.
        pairs = 14 * 6 + 348 + 14 * 9 + 348
        expected = 162 + 3 * pairs + 2 * 96 + 24 + 65
        assert trainable_parameters(small()) == expected
        assert count(16, 3, 5) == expected

    @pytest.mark.slow
    def test_the_papers_network_has_25_6_million(self):
        model = networks.build_densenet190(SHAPE, 10, seed=0)
        assert count(190, 40, 10) == 25_624_430
        assert trainable_parameters(model) == 25_624_430


class TestStages:
    def test_halve_sides_and_channels(self):
        model = small()
        shapes = [
            tuple(model.get_layer(f"stage{stage}").output.shape[1:])
            for stage in (1, 2, 3)
        ]
        assert shapes == [(32, 32, 12), (16, 16, 12), (8, 8, 12)]

    def test_a_pair_keeps_what_came_before_it(self):
        model = small(depth=10)
        stem = next(
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
        )
        both = keras.Model(
            model.inputs[0], [stem.output, model.get_layer("stage1").output]
        )
        pixels = np.random.default_rng(0).integers(0, 256, (2, *SHAPE))
        before, after = both(pixels.astype(np.uint8))
        np.testing.assert_array_equal(before, after[..., :6])
        assert after.shape[-1] == 9

    def test_dropout_follows_each_convolution_but_the_stem(self):
        dropouts = [
            layer
            for layer in small(dropout=0.2).layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        assert len(dropouts) == 3 * 4 + 2


@pytest.mark.parametrize("depth", [4, 41, 0])
def test_refuses_a_depth_of_another_form(depth):
    with pytest.raises(ValueError, match=rf"6 n \+ 4.*depth={depth}\."):
        small(depth=depth)
