"""Networks for spoken words: waveforms in, spectrograms inside, logits out."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from experiments.networks import parts
from tf_mixup import _checks

# One second at 16 kHz.
SAMPLES = 16_000
# 20 ms, moved by 10 ms: 101 frames of 161 frequencies, 50 Hz apart.
WINDOW = 320
HOP = 160
# The last frequency, half the sampling rate, is left out.
FREQUENCIES = 160
# Convolutions in each stage of VGG-11 and their channels, relative to width.
STAGES = ((1, 1), (1, 2), (2, 4), (2, 8), (2, 8))
# Keeps gradients finite in silence.
_TINY = 1e-12


@keras.saving.register_keras_serializable("tf_mixup_experiments")
class Spectrogram(keras.layers.Layer):
    """Turns waveforms into normalized log-spectrograms.

    `log(1 + magnitude)` of the Fourier transform under a Hamming window, with
    mean 0 and variance 1 over each spectrogram, as in
    https://github.com/adiyoss/GCommandsPytorch, whose networks and sizes are
    the paper's; it keeps the frequency of 8 kHz as a 161st one. Silence, by
    which short waveforms are padded, is zero before it is normalized.

    Example:
        >>> tuple(Spectrogram()(ops.zeros((2, 16_000, 1))).shape)
        (2, 160, 101, 1)

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, section 3.3. https://arxiv.org/abs/1710.09412
    """

    def call(self, inputs: Any) -> Any:
        """Returns spectrograms of waveforms.

        Args:
            inputs: Float32 `(B, T, 1)` in `[-1, 1]`.

        Returns:
            spectrograms: Float32 `(B, 160, 1 + T // 160, 1)`, frequencies of
                0, 50, ..., 7,950 Hz.
        """
        real, imaginary = ops.stft(
            inputs[..., 0], WINDOW, HOP, WINDOW, window="hamming"
        )
        power = ops.square(real) + ops.square(imaginary)
        magnitude = ops.sqrt(ops.maximum(power[..., :FREQUENCIES], _TINY))
        logs = ops.log1p(ops.swapaxes(magnitude, 1, 2))
        mean, variance = ops.moments(logs, axes=(1, 2), keepdims=True)
        deviation = ops.sqrt(ops.maximum(variance, _TINY))
        return ((logs - mean) / deviation)[..., None]


def build_speech_lenet(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 20,
    dropout: float = 0.5,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds the LeNet for spoken words: two convolutions, two dense layers.

    The layer named `spectrogram` is where the paper mixes.

    Options of its own; the others are in `experiments.networks`:
        width: Channels of both convolutions; the hidden layer has 50 times as
            many units.
        dropout: Of channels after the second convolution and of units after
            the hidden layer.
    """
    layers = parts.Parts(parts.draw_seeds(seed))
    waves, features = _spectrogram(input_shape, **inputs)
    for last in (False, True):
        features = keras.layers.Conv2D(
            width,
            5,
            activation="relu",
            kernel_initializer=layers.he_normal(),
        )(features)
        if last and dropout:
            features = keras.layers.SpatialDropout2D(
                dropout, seed=next(layers.seeds)
            )(features)
        features = keras.layers.MaxPooling2D()(features)
    features = layers.hidden(keras.layers.Flatten()(features), 50 * width)
    features = layers.dropout(features, dropout)
    return keras.Model(waves, layers.logits(features, num_classes))


def build_speech_vgg11(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 64,
    dropout: float = 0.0,
    synchronized: bool = False,
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds VGG-11 with batch norm for spoken words, with two dense layers.

    Eight convolutions in five stages. The paper's "two convolutional and two
    fully-connected layers" is the LeNet; the dense ones are right for both.
    The layer named `spectrogram` is where it mixes. Convolutions have no
    bias, which batch norm would subtract.

    Options of its own; the others are in `experiments.networks`:
        width: Channels of the first stage; the last and the hidden layer have
            8 times as many.
        dropout: After the hidden layer.

    References:
        Simonyan and Zisserman. Very Deep Convolutional Networks for
        Large-Scale Image Recognition. ICLR 2015, configuration A.
        https://arxiv.org/abs/1409.1556
    """
    layers = parts.Parts(parts.draw_seeds(seed), synchronized)
    waves, features = _spectrogram(input_shape, **inputs)
    for stage, (num_convolutions, factor) in enumerate(STAGES):
        for _ in range(num_convolutions):
            features = layers.convolution(features, width * factor)
            features = layers.norm_relu(features)
        features = keras.layers.MaxPooling2D(name=f"stage{stage + 1}")(features)
    features = layers.hidden(keras.layers.Flatten()(features), 8 * width)
    features = layers.dropout(features, dropout)
    return keras.Model(waves, layers.logits(features, num_classes))


def _spectrogram(
    input_shape: Sequence[int],
    mean: parts.Statistic = 0.0,
    std: parts.Statistic = 1.0,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Makes a model's input of waveforms, and their spectrograms."""
    if tuple(input_shape) != (SAMPLES,):
        raise _checks.refusal(
            f"Speech networks take waveforms of {SAMPLES} samples",
            f"input_shape={tuple(input_shape)}",
            "Take a data set of recordings, or another network",
        )
    inputs, waves = parts.pixel_inputs(
        input_shape, image_shape=(SAMPLES, 1), mean=mean, std=std
    )
    layer = Spectrogram(name="spectrogram", dtype="float32")
    return inputs, layer(waves)
