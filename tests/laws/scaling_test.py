"""A law of temperature scaling, for any logits and labels."""

import numpy as np
import pytest

from tests.laws.strategies import SEEDS
from tests.laws.strategies import law
from tests.laws.strategies import logits
from tf_mixup import posthoc


# Logits that separate the classes, or say nothing, have no optimum.
@pytest.mark.filterwarnings("ignore:The temperature is at a bound")
@law(logits=logits(), seed=SEEDS)
def test_temperature_keeps_the_predicted_class(logits, seed):
    size, num_classes = logits.shape
    labels = np.random.default_rng(seed).integers(0, num_classes, size)
    labels[:2] = 0, 1  # It refuses labels of one class.
    scaled = posthoc.TemperatureScaling().fit(logits, labels).apply(logits)
    # Two probabilities may round to the same, and tie.
    kept = scaled[np.arange(size), logits.argmax(1)]
    np.testing.assert_array_equal(kept, scaled.max(1))
