"""Tests of the networks for spoken words: spectrogram, sizes, mixing."""

import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile

from experiments import datasets
from experiments import networks
from experiments.datasets import cards
from experiments.networks import speech
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import run_data
from experiments.runs import training
from tests import reference
from tests import stages
from tf_mixup import mixing

SHAPE = (16_000,)
BUILDERS = {
    name: networks.BUILDERS[name] for name in ("speech_lenet", "speech_vgg11")
}


def random_waves(rows=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (rows, *SHAPE)).astype(np.float32)


def spectrograms(waves):
    return np.asarray(speech.Spectrogram()(waves[..., np.newaxis]))


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


class TestSpectrogram:
    def test_equals_the_reference(self):
        wave = random_waves(1)[:, :1_600]
        expected = reference.spectrogram(wave[0])
        assert expected.shape == (160, 11)
        np.testing.assert_allclose(
            spectrograms(wave)[0, ..., 0], expected, atol=2e-4
        )

    def test_has_the_papers_size_and_is_normalised(self):
        rows = spectrograms(random_waves())
        assert rows.shape == (2, 160, 101, 1)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows.mean(axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(axis=(1, 2)), 1, atol=1e-5)

    @pytest.mark.parametrize("number", [3, 20, 100])
    def test_a_pure_tone_in_closed_form(self, number):
        # In its bin half the amplitude times the window's sum, .54 * 320;
        # beside it .46 / 2 * 320; elsewhere nothing.
        amplitude = 0.5
        times = np.arange(16_000) / 16_000
        wave = amplitude * np.sin(2 * np.pi * 50 * number * times)
        rows = spectrograms(wave[np.newaxis].astype(np.float32))
        column = rows[0, :, 50, 0]
        assert column.argmax() == number
        above = column - column[number + 20]
        peak = np.log1p(amplitude / 2 * 0.54 * 320)
        beside = np.log1p(amplitude / 2 * 0.23 * 320)
        assert above[number - 1] / above[number] == pytest.approx(
            beside / peak, rel=1e-3
        )
        assert above[number + 2] == pytest.approx(0, abs=1e-3)

    def test_padding_is_a_spectrogram_of_zeros(self):
        wave = random_waves(1)
        wave[:, 8_000:] = 0
        rows = spectrograms(wave)[0, ..., 0]
        # Frame 51 ends where frame 52 begins, half a window after 8,000.
        np.testing.assert_allclose(rows[:, 52:], rows.min(), atol=1e-4)

    def test_example_runs(self):
        assert doctest.testmod(speech) == (0, 1)

    def test_silence_is_zero_and_has_a_gradient(self):
        silence = tf.zeros((1, 16_000, 1))
        with tf.GradientTape() as tape:
            tape.watch(silence)
            rows = speech.Spectrogram()(silence)
            total = tf.reduce_sum(rows**2 + rows)
        np.testing.assert_allclose(rows, 0, atol=1e-5)
        assert np.isfinite(tape.gradient(total, silence)).all()


class TestNetworks:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            # (25 + 1) 20 + (25 20 + 1) 20, then 20 37 22 = 16,280 features.
            (
                "speech_lenet",
                520 + 10_020 + 16_281 * 1_000 + 1_001 * 30,
            ),
            # 9 (64 + 64 128 + 128 256 + 256 256 + 256 512 + 3 512 512), two
            # numbers of batch norm for 64 + 128 + 2 256 + 4 512 channels,
            # then 512 5 3 = 7,680 features.
            (
                "speech_vgg11",
                9 * 1_024_064 + 2 * 2_752 + 7_681 * 512 + 513 * 30,
            ),
        ],
    )
    def test_parameters_by_hand(self, name, expected):
        model = BUILDERS[name](SHAPE, 30, seed=0)
        assert trainable_parameters(model) == expected

    @pytest.mark.parametrize("name", BUILDERS)
    def test_outputs_seeds_and_saving(self, name, tmp_path):
        options = {"width": 2, "dropout": 0.1, "mean": 0.1, "std": 2.0}
        one, same, other = (
            BUILDERS[name](SHAPE, 7, **options, seed=seed) for seed in (0, 0, 1)
        )
        waves = random_waves()
        logits = one(waves)
        assert tuple(logits.shape) == (2, 7)
        np.testing.assert_array_equal(logits, same(waves))
        assert np.any(np.asarray(logits) != np.asarray(other(waves)))
        one.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(waves), logits)

    def test_dropout_stands_where_it_is_said(self):
        lenet = BUILDERS["speech_lenet"](SHAPE, 3, width=2, seed=0)
        kinds = [
            type(layer).__name__
            for layer in lenet.layers
            if "Dropout" in type(layer).__name__
        ]
        assert kinds == ["SpatialDropout2D", "Dropout"]
        plain = BUILDERS["speech_lenet"](SHAPE, 3, width=2, dropout=0.0)
        assert len(plain.layers) == len(lenet.layers) - 2

    @pytest.mark.parametrize("name", BUILDERS)
    @pytest.mark.parametrize("shape", [(300,), (160, 101, 1)])
    def test_other_rows_are_refused(self, name, shape):
        with pytest.raises(ValueError, match="waveforms of 16000 samples"):
            BUILDERS[name](shape, 3)


class TestMixing:
    @pytest.mark.parametrize("name", BUILDERS)
    def test_spectrograms_are_mixed_before_the_net(self, name):
        model = BUILDERS[name](SHAPE, 3, width=2, dropout=0.0, seed=0)
        assert "spectrogram" in mixing.mixable_layers(model)
        place = model.get_layer("spectrogram").output
        lower = keras.Model(model.input, place)
        upper = keras.Model(place, model.output)
        twin = stages.training_model(model, at="spectrogram")
        waves = random_waves(4)
        lam = np.array([0.7, 0.7, 0.6, 1.0], np.float32)
        shift = np.array([1, -1, 1, -1], np.int32)
        found = twin(
            {"inputs": waves, "lam": lam, "partner_offset": shift},
            training=True,
        )
        rows = np.asarray(lower(waves))
        share = lam[:, None, None, None]
        mixed = share * rows + (1 - share) * rows[np.arange(4) + shift]
        np.testing.assert_allclose(
            found, upper(mixed, training=True), rtol=1e-3, atol=1e-4
        )

    def test_mixing_waveforms_is_another_thing(self):
        waves = random_waves()
        mixed = spectrograms((waves[:1] + waves[1:]) / 2)
        rows = spectrograms(waves)
        assert np.abs(mixed - rows.mean(axis=0)).max() > 0.5


class TestTraining:
    @pytest.mark.slow
    def test_a_run(self, tmp_path):
        folder = tmp_path / "words"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for label in range(2):
            for index in range(10):
                times = np.arange(1_600) / 16_000
                wave = np.sin(2 * np.pi * (500 + 2_000 * label) * times)
                wave += 0.1 * rng.standard_normal(len(times))
                wave = (wave * 10_000).astype(np.int16)
                name = f"{label}_{'ab'[index % 2]}_{index}.wav"
                wavfile.write(folder / name, 16_000, wave)
        config = config_lib.Config(
            **{
                **defaults.PAPER_DEFAULTS["speech"],
                "dataset": f"speech:{folder}",
                "network": "speech_lenet",
                "width": 2,
                "mixing_warmup_epochs": 1,
                "epochs": 2,
                "milestones": (),
                "batch_size": 4,
                "num_validation": 4,
            }
        )
        record = training.run(config, tmp_path / "run")
        assert len(record["history"]["loss"]) == 2
        assert np.isfinite(record["history"]["loss"]).all()
        loaded = keras.saving.load_model(tmp_path / "run" / "model.keras")
        assert loaded.input_shape == (None, 16_000)
        assert not [name for name in record["results"] if "gaussian" in name]

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"network": "lenet"}, r"must be \(height, width, channels\)"),
            ({"network": "text_cnn"}, "Sentences take the network"),
            ({"dataset": "gaussians:0.1"}, "waveforms of 16000 samples"),
        ],
    )
    def test_network_and_data_must_fit(self, fields, message):
        config = config_lib.Config(
            **{"dataset": cards.SPOKEN_DIGITS, "network": "speech_lenet"}
            | fields
        )
        splits = datasets.make_placeholder(config.dataset)
        with pytest.raises(ValueError, match=message):
            model_setup.build_network(config, splits)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"augmentation": "standard"}, "Only images can be cropped"),
            ({"ood_every": 1}, "Out-of-distribution sets are for images"),
        ],
    )
    def test_what_is_for_images_is_refused(self, fields, message, tmp_path):
        config = config_lib.Config(
            dataset=cards.SPOKEN_DIGITS,
            network="speech_lenet",
            width=2,
            epochs=1,
            batch_size=4,
            **fields,
        )
        splits = datasets.make_placeholder(config.dataset)
        with pytest.raises(ValueError, match=message):
            training.train(
                config,
                splits,
                run_data.load_ood(config, splits, run_data.Sources()),
                tmp_path,
                run_data.Sources(),
                tf.distribute.get_strategy(),
            )
