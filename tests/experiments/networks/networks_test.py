"""Tests of the networks: sizes, pixels, seeds, precision, saving."""

import inspect

import keras
import numpy as np
import pytest

from experiments import networks
from experiments.networks import parts
from tests import backends

CIFAR = (32, 32, 3)
SMALL = (8, 8, 3)
# Tested in files of their own.
ELSEWHERE = {
    "densenet190",
    "mlp",
    "resnet50",
    "resnet101",
    "resnet_features",
    "resnext50",
    "resnext50_features",
    "resnext101",
    "resnext101_64x4d",
    "speech_lenet",
    "speech_vgg11",
    "text_cnn",
}


def trainable_parameters(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def random_pixels(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def narrow(**options):
    return networks.build_resnet_narrow(
        SMALL, 5, **{"width": 4, "seed": 0, **options}
    )


@pytest.fixture
def mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


class TestParameters:
    # A basic block of f channels at equal width has two 3x3 convolutions and
    # two batch norms of 2f: 18 f f + 4f. With the first block of a stage
    # going from f/2 to f, plain: 9 f f / 2 + 9 f f + 4f, plus the shortcut
    # f f / 2 + 2f with its own norm. For f = 64, 128, 256, 512:
    #   equal       73,984   295,424  1,180,672  4,720,640
    #   first (plain)    -   230,144    919,040  3,673,088
    # Stem 27*64 + 128 = 1,856; logits 512*10 + 10 = 5,130.
    #   ResNet-18: 1,856 + 2*73,984 + 525,568 + 2,099,712 + 8,393,728 + 5,130
    #   ResNet-34: the same and 1, 2, 4, 1 more equal blocks.
    # Pre-activation: the first block's first norm has f, not 2f numbers, and
    # the shortcut no norm, so each of three stages has 3f fewer:
    # 3*(128+256+512) = 2,688; and the stem no norm, 128 fewer: 2,816.
    @pytest.mark.parametrize(
        ("build", "published"),
        [
            (networks.build_resnet18, 11_173_962),
            (networks.build_preact_resnet18, 11_173_962 - 2_816),
            pytest.param(
                networks.build_resnet34,
                11_173_962 + 73_984 + 2 * 295_424 + 4 * 1_180_672 + 4_720_640,
                marks=pytest.mark.slow,
            ),
            pytest.param(
                networks.build_preact_resnet34,
                21_282_122 - 2_816,
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_residual_networks_have_the_published_number(
        self, build, published
    ):
        assert trainable_parameters(build(CIFAR, 10, seed=0)) == published

    @pytest.mark.slow
    def test_wide_resnet_has_the_published_number(self):
        # Stem 27*16. With norms before, a block from c to f channels has
        # 2c + 9cf + 2f + 9ff, and cf for a shortcut where c differs from f:
        # 16 -> 160 and three more blocks, 160 -> 320 likewise, 320 -> 640;
        # then a norm of 640 and the logits.
        model = networks.build_wide_resnet28_10(CIFAR, 10, seed=0)
        stages = 1_640_672 + 6_968_000 + 27_862_400
        assert trainable_parameters(model) == 432 + stages + 1_280 + 6_410
        assert 432 + stages + 1_280 + 6_410 == 36_479_194

    def test_vgg16_has_the_published_number_less_idle_biases(self):
        # kuangliu/pytorch-cifar VGG16 has 14,728,266: weights 14,710,464,
        # norms 2 * 4,224, logits 5,130 and one bias for each of the
        # 2*64 + 2*128 + 3*256 + 6*512 = 4,224 channels, which norm subtracts.
        model = networks.build_vgg16(CIFAR, 10, head=(), seed=0)
        assert trainable_parameters(model) == 14_728_266 - 4_224

    @pytest.mark.slow
    def test_vgg16_has_the_replications_head(self):
        # Without its logits the body has 14,724,042 - 5,130 = 14,718,912;
        # 512*4096 + 4096 = 2,101,248; 4096*4096 + 4096 = 16,781,312;
        # 4096*10 + 10 = 40,970.
        model = networks.build_vgg16(CIFAR, 10, seed=0)
        assert trainable_parameters(model) == (
            14_718_912 + 2_101_248 + 16_781_312 + 40_970
        )
        assert (
            sum(
                isinstance(layer, keras.layers.Dropout)
                for layer in model.layers
            )
            == 2
        )

    def test_lenet_has_the_published_number(self):
        # (25*3+1)*6 + (25*6+1)*16 + 401*120 + 121*84 + 85*10 = 62,006.
        model = networks.build_lenet(CIFAR, 10, seed=0)
        assert trainable_parameters(model) == 62_006

    def test_narrow_resnet_by_hand(self):
        # Stem 432 + 32; f=16 equal: 18*256 + 64; first blocks of 32 and 64:
        # 14 f f + 6f = 14,528 and 57,728; logits 640 + 10.
        model = networks.build_resnet_narrow(CIFAR, 10, seed=0)
        assert trainable_parameters(model) == (
            464 + 4_672 + 14_528 + 57_728 + 650
        )

    def test_width_scales_every_layer(self):
        thin = networks.build_vgg16(CIFAR, 10, width=4, head=(8,), seed=0)
        assert thin.get_layer("stage5").output.shape[-1] == 32
        assert narrow(width=6).get_layer("stage3").output.shape[-1] == 24


class TestOutputs:
    @pytest.mark.parametrize("name", sorted({*networks.BUILDERS} - ELSEWHERE))
    def test_every_network_takes_pixels_and_gives_float32_logits(self, name):
        build = networks.BUILDERS[name]
        model = build((28, 28, 1), 7, width=3, dropout=0.1, seed=0)
        logits = model(random_pixels((2, 28, 28, 1)))
        assert tuple(logits.shape) == (2, 7)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"
        assert np.all(np.isfinite(logits))

    def test_integers_and_floats_are_the_same_pixels(self):
        pixels = random_pixels((3, *SMALL))
        model = narrow(mean=[100, 110, 120], std=[50, 60, 70])
        np.testing.assert_array_equal(
            model(pixels), model(pixels.astype(np.float32))
        )

    def test_standardising_by_hand(self):
        model = narrow(mean=(100, 110, 120), std=(50, 60, 70))
        layer = keras.Model(
            model.inputs[0], model.get_layer("standardise").output
        )
        pixels = np.full((1, *SMALL), 200, np.uint8)
        # 100 above the mean in units of 50; 90 in 60; 80 in 70.
        np.testing.assert_allclose(
            layer(pixels)[0, 0, 0], [2, 1.5, 8 / 7], rtol=1e-6
        )

    def test_unstated_statistics_map_pixels_to_unit_interval(self):
        model = narrow()
        layer = keras.Model(
            model.inputs[0], model.get_layer("standardise").output
        )
        pixels = np.zeros((1, *SMALL), np.uint8)
        np.testing.assert_allclose(layer(pixels), -np.ones((1, *SMALL)))
        np.testing.assert_allclose(layer(pixels + 255), np.ones((1, *SMALL)))

    def test_preactivation_block_is_identity_when_its_branch_vanishes(self):
        model = narrow(blocks=(1,), preactivation=True)
        stem, _, last = (
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
        )
        last.kernel.assign(np.zeros(last.kernel.shape))
        both = keras.Model(
            model.inputs[0], [stem.output, model.get_layer("stage1").output]
        )
        before, after = both(random_pixels((2, *SMALL)))
        np.testing.assert_array_equal(before, after)

    def test_plain_block_is_its_shortcut_with_a_gamma_of_zero(self):
        model = narrow(blocks=(1,), zero_gamma=True)
        both = keras.Model(
            model.inputs[0],
            [model.get_layer(name).output for name in ("stem", "stage1")],
        )
        before, after = both(random_pixels((2, *SMALL)))
        np.testing.assert_array_equal(before, after)

    def test_gammas_of_zero_learn(self):
        model = narrow(blocks=(1, 1), zero_gamma=True)
        model.compile("sgd", "mse")
        model.fit(
            random_pixels((8, *SMALL)), np.ones((8, 5)), epochs=2, verbose=0
        )
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                assert np.all(layer.gamma.numpy() != 0)

    def test_plain_stages_end_rectified_and_halve_the_sides(self):
        model = narrow()
        stages = keras.Model(
            model.inputs[0],
            [model.get_layer(f"stage{s}").output for s in (1, 2, 3)],
        )(random_pixels((2, *SMALL)))
        assert [tuple(s.shape) for s in stages] == [
            (2, 8, 8, 4),
            (2, 4, 4, 8),
            (2, 2, 2, 16),
        ]
        assert all(np.min(s) >= 0 for s in stages)

    @pytest.mark.parametrize(
        "synchronized",
        [False, pytest.param(True, marks=backends.needs_tensorflow)],
    )
    def test_batch_norm_is_that_of_pytorch(self, synchronized):
        norms = [
            layer
            for layer in narrow(synchronized=synchronized).layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        # Stem, two a block, and two shortcuts.
        assert len(norms) == 1 + 6 + 2
        assert {(n.momentum, n.epsilon, n.synchronized) for n in norms} == {
            (0.9, 1e-5, synchronized)
        }

    def test_logits_are_float32_in_mixed_precision(self, mixed_precision):
        model = narrow(mean=128, std=64)
        pixels = random_pixels((2, *SMALL))
        logits = model(pixels)
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"
        assert model.get_layer("stage1").compute_dtype == "bfloat16"
        assert model.get_layer("standardise").compute_dtype == "float32"

    def test_saved_model_predicts_the_same_from_pixels(self, tmp_path):
        model = narrow(dropout=0.5, preactivation=True, mean=100, std=50)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        pixels = random_pixels((2, *SMALL))
        np.testing.assert_array_equal(loaded(pixels), model(pixels))


# A network's whole depth is not looked at; see ELSEWHERE for that.
SHORT = {"blocks": (1, 1), "depth": 16, "head": (4,), "width": 4, "maps": 2}


def build_short(name):
    """Returns a network of few layers, and two rows of its inputs."""
    builder = networks.BUILDERS[name]
    known = inspect.signature(builder).parameters
    options = {key: value for key, value in SHORT.items() if key in known}
    if name == "text_cnn":
        model = builder((7,), 5, vocabulary=["", "a", "b"], seed=0, **options)
        return model, np.array([[1, 2, 1, 2, 0, 0, 0]] * 2)
    shape = (
        (16_000,)
        if "speech" in name
        else (300,)
        if "features" in name or name == "mlp"
        else (32, 32, 3)
    )
    return builder(shape, 5, seed=0, **options), random_pixels((2, *shape))


# Seconds each to build, of parts that the others have too.
DEEP = (
    "densenet190",
    "preact_resnet34",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50",
    "resnext101",
    "resnext101_64x4d",
    "resnext50_features",
    "wide_resnet28_10",
)


class TestPrecision:
    @pytest.mark.parametrize(
        "policy",
        [
            "mixed_float16",
            pytest.param("mixed_bfloat16", marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
            for name in sorted(networks.BUILDERS)
        ],
    )
    def test_every_network_computes_in_half_and_ends_in_float32(
        self, name, policy
    ):
        keras.config.set_dtype_policy(policy)
        try:
            model, rows = build_short(name)
            logits = model(rows)
        finally:
            keras.config.set_dtype_policy("float32")
        half = policy.removeprefix("mixed_")
        assert half in {layer.compute_dtype for layer in model.layers}
        assert {each.dtype for each in model.trainable_variables} == {"float32"}
        assert model.get_layer("logits").compute_dtype == "float32"
        assert logits.dtype == "float32"
        assert np.all(np.isfinite(logits))


class TestTraining:
    @pytest.mark.slow
    @pytest.mark.parametrize("preactivation", [False, True])
    def test_learns_compiled_by_xla(self, preactivation):
        model = narrow(preactivation=preactivation, blocks=(1, 1))
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
        )
        labels = np.arange(64) % 5
        pixels = random_pixels((64, *SMALL)) // 4 + 40 * labels[
            :, None, None, None
        ].astype(np.uint8)
        losses = model.fit(
            pixels, labels, batch_size=32, epochs=15, verbose=0, shuffle=False
        ).history["loss"]
        assert losses[-1] < 0.3 * losses[0]

    def test_synchronized_norm_trains_on_two_replicas(self, two_replicas):
        with two_replicas.scope():
            model = narrow(synchronized=True, blocks=(1,))
            model.compile(
                keras.optimizers.SGD(0.1),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
        model.fit(
            random_pixels((8, *SMALL)),
            np.arange(8) % 5,
            batch_size=8,
            verbose=0,
        )
        norm = next(
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        )
        first, second = two_replicas.experimental_local_results(
            norm.moving_mean.value
        )
        np.testing.assert_array_equal(first, second)
        assert np.any(first.numpy() != 0)


class TestSeeds:
    def test_same_seed_same_weights(self):
        for one, other in zip(
            narrow().get_weights(), narrow().get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)

    def test_other_seed_other_weights(self):
        one, other = narrow(seed=1), narrow(seed=2)
        assert np.any(one.get_weights()[0] != other.get_weights()[0])

    def test_without_seed_the_global_seed_decides(self):
        kernels = []
        for seed in (3, 3, 4):
            keras.utils.set_random_seed(seed)
            kernels.append(narrow(seed=None).get_weights()[0])
        np.testing.assert_array_equal(kernels[0], kernels[1])
        assert np.any(kernels[0] != kernels[2])

    def test_layers_of_one_shape_start_differently(self):
        one, other = (
            layer.kernel.numpy()
            for layer in narrow(blocks=(1,)).layers[4:]
            if isinstance(layer, keras.layers.Conv2D)
        )
        assert one.shape == other.shape
        assert np.any(one != other)

    def test_convolutions_have_he_variance(self):
        # Var = 2 / fan_in, fan_in = 9 * 64.
        model = networks.build_resnet(CIFAR, 10, blocks=(1,), seed=0)
        kernel = next(
            layer.kernel
            for layer in model.layers
            if isinstance(layer, keras.layers.Conv2D)
            and layer.kernel.shape[2] == 64
        )
        np.testing.assert_allclose(np.var(kernel), 2 / 576, rtol=0.03)

    def test_dropout_stands_once_in_each_block_after_relu(self):
        model = networks.build_preact_resnet18(
            SMALL, 3, width=2, dropout=0.5, seed=0
        )
        dropouts = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        assert len(dropouts) == 8
        assert len({layer.seed for layer in dropouts}) == 8
        for layer in dropouts:
            source = layer.input._keras_history.operation
            assert isinstance(source, keras.layers.ReLU)


class TestRefusals:
    def test_shape_without_channels(self):
        with pytest.raises(ValueError, match=r"Received: input_shape=\(8, 8"):
            networks.build_resnet_narrow((8, 8), 5)

    def test_statistics_of_another_number_of_channels(self):
        with pytest.raises(
            ValueError, match=r"`mean` must .* 2 numbers .*, 3\)"
        ):
            narrow(mean=[1.0, 2.0])

    def test_constant_channel(self):
        with pytest.raises(ValueError, match=r"`std` must be .* above 0"):
            narrow(std=[1, 0, 1])

    def test_no_classes(self):
        with pytest.raises(ValueError, match="Received: num_classes=0"):
            networks.build_resnet_narrow(SMALL, 0)

    def test_lenet_on_tiny_images(self):
        with pytest.raises(ValueError, match="at least 16 pixels a side"):
            networks.build_lenet(SMALL, 5)


def test_seed_streams_are_integers_that_initialisers_take():
    seeds = parts.draw_seeds(0)
    drawn = [next(seeds) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert min(drawn) >= 0
    assert max(drawn) < 2**31
