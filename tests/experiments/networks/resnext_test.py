"""Tests of the bottleneck networks: sizes, groups, strides, training."""

import collections

import keras
import numpy as np
import pytest

from experiments import networks

SHAPE = (32, 32, 3)


def small(shape=SHAPE, **options):
    return networks.build_resnext(
        shape,
        5,
        **{
            "blocks": (1, 2),
            "width": 4,
            "cardinality": 2,
            "base_width": 3,
            "seed": 0,
            **options,
        },
    )


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def random_pixels(rows, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, *SHAPE), dtype=np.uint8)


def convolutions(model):
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]


class TestParameters:
    def test_by_hand(self):
        # Stem 7*7*3*4 and its norm 8. A norm of c channels has 2c.
        stem = 588 + 8
        # 4 -> 6 -> two groups of 3 -> 16, and the shortcut 4 -> 16.
        first = 24 + 12 + 9 * 3 * 6 + 12 + 96 + 32 + 64 + 32
        # 16 -> 12 -> two groups of 6 -> 32, the shortcut; then without it.
        second = 192 + 24 + 9 * 6 * 12 + 24 + 384 + 64 + 512 + 64
        third = 384 + 24 + 9 * 6 * 12 + 24 + 384 + 64
        logits = 33 * 5
        expected = stem + first + second + third + logits
        assert trainable_parameters(small()) == expected

    # torchvision's resnext50_32x4d, resnet50 and resnet101 for 1,000 classes;
    # it has no resnext101_32x4d, whose number timm prints. resnext101_64x4d is
    # torchvision's again.
    @pytest.mark.parametrize(
        ("name", "published"),
        [
            pytest.param("resnext50", 25_028_904, marks=pytest.mark.slow),
            pytest.param("resnet50", 25_557_032, marks=pytest.mark.slow),
            pytest.param("resnet101", 44_549_160, marks=pytest.mark.slow),
            pytest.param("resnext101", 44_177_704, marks=pytest.mark.slow),
            pytest.param(
                "resnext101_64x4d", 83_455_272, marks=pytest.mark.slow
            ),
        ],
    )
    def test_ten_classes_have_the_published_number_less_logits(
        self, name, published
    ):
        # The last features are 4 * 512 = 2,048.
        model = networks.BUILDERS[name](SHAPE, 10, seed=0)
        expected = published - 2_049 * 1_000 + 2_049 * 10
        assert trainable_parameters(model) == expected
        # A forward pass, as it has been built.
        logits = np.asarray(model(random_pixels(1)))
        assert logits.shape == (1, 10)
        assert np.all(np.isfinite(logits))


class TestLayers:
    def test_sides_are_halved_as_on_imagenet(self):
        model = small((64, 48, 3), blocks=(1, 1, 1, 1))
        stages = [model.get_layer(f"stage{s}").output for s in (1, 2, 3, 4)]
        assert [stage.shape for stage in stages] == [
            (None, 16, 12, 16),
            (None, 8, 6, 32),
            (None, 4, 3, 64),
            (None, 2, 2, 128),
        ]

    def test_groups_do_not_hear_of_each_other(self):
        grouped = next(c for c in convolutions(small()) if c.groups == 2)
        rows = np.random.default_rng(0).normal(size=(1, 5, 5, 6))
        changed = rows.copy()
        changed[..., :3] += 1
        before, after = (np.asarray(grouped(x)) for x in (rows, changed))
        np.testing.assert_array_equal(before[..., 3:], after[..., 3:])
        assert np.all(before[..., :3] != after[..., :3])

    def test_grouped_convolutions_are_the_inner_ones(self):
        kinds = collections.Counter(
            (c.kernel_size[0], c.groups) for c in convolutions(small())
        )
        # The stem, and in three blocks 1x1, 3x3, 1x1 with two shortcuts.
        assert kinds == {(7, 1): 1, (3, 2): 3, (1, 1): 3 + 3 + 2}

    def test_strides_lie_in_the_inner_convolution(self):
        strided = sorted(
            (c.kernel_size[0], c.groups)
            for c in convolutions(small())
            if c.strides == (2, 2)
        )
        # In the second stage the shortcut and the 3x3, and the stem.
        assert strided == [(1, 1), (3, 2), (7, 1)]

    def test_one_group_is_a_resnet(self):
        model = small(cardinality=1, base_width=4)
        assert {c.groups for c in convolutions(model)} == {1}

    def test_kernels_have_he_variance_of_a_group(self):
        # Fan-in of a group of 64 channels is 9 * 64.
        model = small(blocks=(1,), base_width=64)
        grouped = next(c for c in convolutions(model) if c.groups == 2)
        np.testing.assert_allclose(np.var(grouped.kernel), 2 / 576, rtol=0.03)

    def test_dropout_stands_before_the_last_convolution(self):
        model = small(dropout=0.5)
        dropouts = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        assert len({layer.seed for layer in dropouts}) == 3
        assert [layer.input.shape[-1] for layer in dropouts] == [6, 12, 12]

    def test_saved_model_predicts_the_same_from_pixels(self, tmp_path):
        model = small(mean=(100, 110, 120), std=(50, 60, 70))
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        pixels = random_pixels(2)
        np.testing.assert_array_equal(loaded(pixels), model(pixels))

    def test_blocks_start_as_their_shortcuts_with_gammas_of_zero(self):
        norms = [
            layer
            for layer in small(zero_gamma=True).layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        closed = [norm for norm in norms if not np.any(norm.gamma)]
        # The last one of each of three blocks, before their shortcuts' join.
        assert [norm.gamma.shape for norm in closed] == [(16,), (32,), (32,)]
        for norm in closed:
            convolution = norm.input._keras_history.operation
            assert convolution.strides == (1, 1)
            assert convolution.groups == 1
        assert trainable_parameters(small()) == trainable_parameters(
            small(zero_gamma=True)
        )

    def test_refuses_a_vector_without_a_layout(self):
        with pytest.raises(ValueError, match=r"input_shape=\(300,\)"):
            small((300,))


class TestFeatures:
    def test_are_laid_out_as_an_image(self):
        rows = np.random.default_rng(0).normal(size=(2, 300))
        model, images = (
            small(shape, image_shape=layout, mean=0.0, std=1.0)
            for shape, layout in [((300,), (10, 10, 3)), ((10, 10, 3), None)]
        )
        np.testing.assert_array_equal(
            model(rows), images(rows.reshape(2, 10, 10, 3))
        )

    def test_named_builder_takes_the_papers_300(self):
        model = networks.BUILDERS["resnext50_features"](
            (300,), 2, mean=(0.0,), std=(1.0,), blocks=(1, 1), seed=0
        )
        assert model.get_layer("stage2").output.shape == (None, 2, 2, 512)
        features = np.random.default_rng(0).normal(size=(2, 300))
        standardise = keras.Model(
            model.inputs[0], model.get_layer("standardise").output
        )
        np.testing.assert_allclose(
            standardise(features), features.reshape(2, 10, 10, 3), rtol=1e-6
        )


class TestTraining:
    def test_learns_through_groups(self):
        model = small((16, 16, 3), blocks=(1,))
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        labels = np.arange(40) % 5
        shades = 40 * labels[:, None, None, None].astype(np.uint8)
        pixels = random_pixels(40)[:, :16, :16] // 4 + shades
        grouped = next(c for c in convolutions(model) if c.groups == 2)
        before = grouped.kernel.numpy()
        losses = model.fit(
            pixels, labels, batch_size=20, epochs=10, verbose=0, shuffle=False
        ).history["loss"]
        assert losses[-1] < 0.5 * losses[0]
        assert np.all(before != grouped.kernel.numpy())
