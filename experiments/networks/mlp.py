"""A multilayer perceptron, for vectors of features."""

from collections.abc import Sequence

import keras

from experiments.networks import parts
from tf_mixup import _checks


def build_mlp(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 512,
    depth: int = 2,
    dropout: float = 0.0,
    mean: parts.PixelStatistic = 0.0,
    std: parts.PixelStatistic = 1.0,
    seed: int | None = None,
) -> keras.Model:
    """Builds a fully connected network with ReLU, from features to logits.

    The hidden layers are named `hidden1`, `hidden2`, ... (where manifold
    mixup mixes).

    Args:
        input_shape: `(D,)` of the features.
        num_classes: Number of logits, K.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 is logistic regression.
        dropout: Rate in `[0, 1)` after each hidden layer.
        mean: Of the features; one number or one a feature.
        std: Likewise.
        seed: Of the weights and of dropout; `None` draws one, the same one
            after `keras.utils.set_random_seed`.

    Returns:
        model: From raw features `(B, D)` of any dtype to float32 logits
            `(B, K)`.

    Raises:
        ValueError: If `depth` is negative, or the shape, the statistics or
            the number of classes is refused by `parts`.
    """
    _checks.integer_at_least(
        "depth", depth, 0, remedy="Write 0 for logistic regression"
    )
    layers = parts.Parts(parts.draw_seeds(seed))
    inputs, features = parts.feature_inputs(input_shape, mean=mean, std=std)
    for index in range(depth):
        features = layers.hidden(features, width, name=f"hidden{index + 1}")
        features = layers.dropout(features, dropout)
    return keras.Model(inputs, layers.logits(features, num_classes))
