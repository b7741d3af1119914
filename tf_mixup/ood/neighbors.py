"""Distance to the nearest training examples in a layer of the network.

Shapes: N training examples, B examples, D features.
"""

from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls


class NearestNeighbors:
    """A score: minus the distance to the k-th nearest training example.

    Features are divided by their norms, as in the paper: distances lie in
    [0, 2]. The search is exact, by scikit-learn.

    Args:
        examples: Training inputs as the model takes them, an array `(N, ...)`
            or several; some thousands suffice.
        layer: Name of the layer whose outputs are the features, all axes but
            the first flattened; often the last but one.
        k: Which neighbor, at most N. Defaults to 50, as for CIFAR-10 in the
            paper.
        name: Name of the score in `logs`. Defaults to `"neighbors"`.

    Raises:
        ValueError: If `k` is below 1.

    Example:
        >>> score = NearestNeighbors(np.eye(2), layer="features", k=1)
        >>> found = score.of_features(np.eye(2), [[3.0, 0.0], [1.0, 1.0]])
        >>> abs(found).round(3).tolist()
        [0.0, 0.765]

    References:
        Sun, Ming, Zhu and Li. Out-of-Distribution Detection with Deep Nearest
        Neighbors. ICML 2022. https://arxiv.org/abs/2204.06507
    """

    def __init__(
        self,
        examples: Any,
        *,
        layer: str,
        k: int = 50,
        name: str = "neighbors",
    ) -> None:
        self.k = _checks.integer_at_least("k", k, 1, remedy="Write 50")
        self.layer, self.name = layer, name
        self._examples = examples

    def features_of(self, model: keras.Model) -> keras.Model:
        """Returns the model of the same inputs that gives the features.

        Args:
            model: A functional or Sequential model with a layer of the name.

        Raises:
            ValueError: If it has no such layer, or is a subclass with a
                `call` of its own.
        """
        names = [layer.name for layer in getattr(model, "layers", ())]
        if self.layer not in names or not model_calls.runs_plainly(model):
            raise _checks.refusal(
                "`layer` must name a layer of a functional or Sequential model",
                f"layer={self.layer!r} for a model of layers {names}",
                "Write one of these names, or build the model from layers",
            )
        inputs = last_layer.input_structure(model)
        return keras.Model(inputs, model.get_layer(self.layer).output)

    def train_features(self, features: keras.Model) -> np.ndarray:
        """Returns the features `(N, D)` of the training examples.

        Args:
            features: What `features_of` returned.
        """
        return model_calls.predict(features, self._examples)

    def of_features(self, train: Any, features: Any) -> np.ndarray:
        """Returns scores, higher nearer to the training examples.

        Args:
            train: Features of training examples, `(N, ...)`.
            features: Features to score, `(B, ...)`.

        Returns:
            score: `(B,)`, in [-2, 0]; NaN where a feature is not finite.

        Raises:
            ValueError: If there are fewer than `k` training examples, or
                their features are not finite.
        """
        from sklearn import neighbors

        train, features = _normalize(train), _normalize(features)
        if len(train) < self.k or not np.isfinite(train).all():
            raise _checks.refusal(
                f"The score needs {self.k} training examples with finite"
                " features",
                f"{len(train)} examples, {np.sum(~np.isfinite(train))} features"
                " that are not finite",
                "Give more examples or a smaller `k`, and look for NaN",
            )
        search = neighbors.NearestNeighbors(
            n_neighbors=self.k, algorithm="brute"
        ).fit(train)
        valid = np.isfinite(features).all(axis=1)
        scores = np.full(len(features), np.nan)
        if valid.any():
            distances, _ = search.kneighbors(features[valid])
            scores[valid] = -distances[:, -1]
        return scores


def _normalize(features: Any) -> np.ndarray:
    """Returns rows of norm 1, float32 `(N, D)`; zeros stay zeros."""
    rows = numbers.to_numpy(features, "Features", dtype=np.float32)
    rows = rows.reshape(len(rows), -1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, 1e-10)
