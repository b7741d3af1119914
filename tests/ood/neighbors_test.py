"""Distance to the k-th nearest training example."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup import ood


def score(k=3, layer="features", **options):
    examples = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    return ood.NearestNeighbors(examples, layer=layer, k=k, **options)


class TestScores:
    @pytest.mark.parametrize("k", [1, 3, 20])
    def test_reference(self, k):
        generator = np.random.default_rng(1)
        train, rows = (
            generator.normal(size=(20, 5)),
            generator.normal(size=(7, 5)),
        )
        found = score(k).of_features(train, rows)
        expected = [-reference.nearest_distance(train, row, k) for row in rows]
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_features_of_any_rank_and_length(self):
        train = np.random.default_rng(1).normal(size=(5, 2, 2, 3))
        found = score(1).of_features(train, 7 * train)
        np.testing.assert_allclose(found, np.zeros(5), atol=1e-3)

    def test_nan_stays_nan(self):
        found = score(1).of_features(np.eye(2), [[np.nan, 1], [1, 0]])
        assert np.isnan(found).tolist() == [True, False]


class TestRefusals:
    def test_too_few_examples(self):
        with pytest.raises(ValueError, match=r"needs 3 training.*2 examples"):
            score().of_features(np.eye(2), np.eye(2))

    def test_k(self):
        with pytest.raises(ValueError, match="`k` must be an integer"):
            score(k=0)

    def test_unknown_layer(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        with pytest.raises(
            ValueError, match=r"`layer` must name.*'features'.*'dense"
        ):
            score().features_of(model)
