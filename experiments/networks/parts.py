"""What every network is made of: pixels in, seeded layers, logits out."""

import dataclasses
import random
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import channels

Statistic = float | Sequence[float] | None


def draw_seeds(seed: int | None) -> Iterator[int]:
    """Yields one seed for each random layer, all decided by `seed`.

    Args:
        seed: Decides every number; `None` takes it from Python's generator,
            which `keras.utils.set_random_seed` seeds.

    Yields:
        seed: An integer in `[0, 2**31)`.
    """
    generator = random.Random(random.getrandbits(32) if seed is None else seed)
    while True:
        yield generator.getrandbits(31)


def pixel_inputs(
    input_shape: Sequence[int],
    *,
    image_shape: Sequence[int] | None = None,
    mean: Statistic = None,
    std: Statistic = None,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Makes a model's input of raw pixels, and the same standardized.

    The constants are part of the model, so that a saved model predicts from
    raw pixels. Standardizing is affine and mixing weights sum to one, so
    mixing before it equals mixing after it.

    Args:
        input_shape: `(H, W, C)`, or `(D,)` for features with `image_shape`.
        image_shape: `(H, W, C)` into which `D = H * W * C` features are laid
            row by row; `None` where the inputs are images.
        mean: Mean of the pixels; 127.5 if `None`.
        std: Standard deviation; 127.5 if `None`, which maps pixels to
            `[-1, 1]` when `mean` is `None` too.

    Returns:
        inputs: Symbolic, of `input_shape`.
        standardized: `(inputs - mean) / std` as `(B, H, W, C)`, float32 also
            in mixed precision.

    Raises:
        ValueError: If `input_shape` has not three axes, or a statistic has
            another length than the channels, or `std` is not positive.
    """
    if image_shape is not None:
        inputs = keras.Input(tuple(input_shape), name="features")
        pixels = keras.layers.Reshape(tuple(image_shape))(inputs)
        return inputs, _standardize(pixels, mean, std)
    if len(input_shape) != 3:
        raise _checks.refusal(
            "`input_shape` must be (height, width, channels)",
            f"input_shape={tuple(input_shape)}",
            "Give grayscale images one channel",
        )
    inputs = keras.Input(tuple(input_shape), name="pixels")
    return inputs, _standardize(inputs, mean, std)


def feature_inputs(
    input_shape: Sequence[int], *, mean: Statistic = 0.0, std: Statistic = 1.0
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Makes a model's input of feature vectors, and the same standardized.

    As `pixel_inputs`, for an `input_shape` of `(D,)`.
    """
    if len(input_shape) != 1:
        raise _checks.refusal(
            "`input_shape` must be (features,)",
            f"input_shape={tuple(input_shape)}",
            "Take a network of images, or flatten each example",
        )
    inputs = keras.Input(tuple(input_shape), name="features")
    return inputs, _standardize(inputs, mean, std)


def _standardize(
    inputs: keras.KerasTensor, mean: Statistic, std: Statistic
) -> keras.KerasTensor:
    """Subtracts `mean` and divides by `std`, along the last axis."""
    mean, std = channels.statistics(
        127.5 if mean is None else mean, 127.5 if std is None else std
    )
    channels.check_fit(mean, std, inputs.shape)
    means, stds = (
        np.broadcast_to(each, inputs.shape[-1]) for each in (mean, std)
    )
    return keras.layers.Rescaling(
        scale=(1 / stds).tolist(),
        offset=(-means / stds).tolist(),
        dtype="float32",
        # Saved models have this name.
        name="standardise",
    )(inputs)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes layers that share one stream of seeds and one batch norm.

    Attributes:
        seeds: From `draw_seeds`; each random layer takes the next.
        synchronized: Whether batch statistics are taken over all replicas.
    """

    seeds: Iterator[int]
    synchronized: bool = False

    def he_normal(self) -> keras.initializers.Initializer:
        """Returns He normal weights of the next seed."""
        return keras.initializers.HeNormal(next(self.seeds))

    def convolution(
        self,
        features: keras.KerasTensor,
        filters: int,
        *,
        kernel_size: int = 3,
        strides: int = 1,
        groups: int = 1,
    ) -> keras.KerasTensor:
        """Applies a padded convolution without bias, from He normal weights.

        The bias is left out because batch norm follows (or, before an
        addition, precedes the next use) and would subtract it. With strides
        of 2 an even side is padded at its end only, where PyTorch pads both
        ends: the grid is shifted by one pixel, the parameters are the same.
        """
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            groups=groups,
            use_bias=False,
            kernel_initializer=self.he_normal(),
        )(features)

    def norm(
        self, features: keras.KerasTensor, *, zero_gamma: bool = False
    ) -> keras.KerasTensor:
        """Applies batch norm with PyTorch's momentum and epsilon."""
        return keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer="zeros" if zero_gamma else "ones",
            synchronized=self.synchronized,
        )(features)

    def shortcut(
        self, features: keras.KerasTensor, filters: int, strides: int
    ) -> keras.KerasTensor:
        """Applies a 1x1 convolution and batch norm where shapes change."""
        if strides == 1 and features.shape[-1] == filters:
            return features
        return self.norm(
            self.convolution(features, filters, kernel_size=1, strides=strides)
        )

    def norm_relu(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Applies batch norm and ReLU."""
        return keras.layers.ReLU()(self.norm(features))

    def dropout(
        self, features: keras.KerasTensor, rate: float
    ) -> keras.KerasTensor:
        """Applies dropout with its own seed; nothing at rate 0."""
        if rate == 0:
            return features
        return keras.layers.Dropout(rate, seed=next(self.seeds))(features)

    def hidden(
        self, features: keras.KerasTensor, units: int, name: str | None = None
    ) -> keras.KerasTensor:
        """Applies a dense layer with ReLU, from He normal weights."""
        return keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=self.he_normal(),
            name=name,
        )(features)

    def logits(
        self,
        features: keras.KerasTensor,
        num_classes: int,
        kernel_constraint: keras.constraints.Constraint | None = None,
    ) -> keras.KerasTensor:
        """Applies the last dense layer, in float32 also in mixed precision."""
        _checks.integer_at_least(
            "num_classes",
            num_classes,
            1,
            remedy="Give one logit a class, or 1 for a sigmoid output",
        )
        return keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.GlorotUniform(
                next(self.seeds)
            ),
            kernel_constraint=kernel_constraint,
            dtype="float32",
            name="logits",
        )(features)
