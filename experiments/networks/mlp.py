"""A multilayer perceptron, for vectors of features."""

from collections.abc import Sequence
from typing import Any

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
    seed: int | None = None,
    **inputs: Any,
) -> keras.Model:
    """Builds a fully connected network with ReLU, from features to logits.

    The hidden layers are named `hidden1`, `hidden2`, ... (where manifold
    mixup mixes).

    Options of its own; the others are in `experiments.networks`:
        width: Units of each hidden layer.
        depth: Hidden layers, at least 0; 0 is logistic regression.
        dropout: After each hidden layer.
    """
    _checks.integer_at_least(
        "depth", depth, 0, remedy="Write 0 for logistic regression"
    )
    layers = parts.Parts(parts.draw_seeds(seed))
    vectors, features = parts.feature_inputs(input_shape, **inputs)
    for index in range(depth):
        features = layers.hidden(features, width, name=f"hidden{index + 1}")
        features = layers.dropout(features, dropout)
    return keras.Model(vectors, layers.logits(features, num_classes))
