"""Temperature scaling as published, which does not converge."""

import numpy as np
import pytest

from experiments.analysis import published_scaling
from tf_mixup import posthoc


def draw(factor, num_classes):
    """Returns logits that are `factor` times the true ones, and labels."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(1000, num_classes))
    chance = np.exp(truth) / np.exp(truth).sum(1, keepdims=True)
    labels = (chance.cumsum(1) > rng.random((1000, 1))).argmax(1)
    return (factor * truth).astype(np.float32), labels


# What `torch.optim.LBFGS([temperature], lr=0.01)` of torch 2.14 finds from 1
# in one step, for the same data.
@pytest.mark.parametrize(
    ("factor", "num_classes", "expected"),
    [(5, 2, 1.1011184929), (0.3, 10, 0.9682084589), (1, 2, 1.0141798808)],
)
def test_is_what_torch_finds(factor, num_classes, expected):
    logits, labels = draw(factor, num_classes)
    scaler = published_scaling.PublishedTemperatureScaling()
    scaler.fit(logits, labels)
    assert scaler.temperature == pytest.approx(expected, abs=1e-9)


def test_stops_where_the_gradient_is_0():
    # Two logits whose best temperature is 1: log(3) for 3 of 4.
    logits = np.log([[3.0, 1.0]] * 4).astype(np.float32)
    found = published_scaling.PublishedTemperatureScaling()
    found.fit(logits, [0, 0, 0, 1])
    assert found.temperature == pytest.approx(1, abs=1e-6)


def test_stays_near_1_wherever_the_optimum_is():
    logits, labels = draw(20, 2)
    found = published_scaling.PublishedTemperatureScaling()
    found.fit(logits, labels)
    converged = posthoc.TemperatureScaling().fit(logits, labels)
    assert found.temperature < 1.2 < 15 < converged.temperature
