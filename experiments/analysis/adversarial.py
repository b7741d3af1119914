"""Attacks on networks that are trained: mixup's table 3 (1710.09412).

White box: the attacked network makes its own adversarial images. Black box: a
network without mixup and of another seed makes them.
"""

import pathlib
from collections.abc import Iterator
from collections.abc import Mapping

import keras
import numpy as np

from experiments.analysis import posthoc
from experiments.datasets import Arrays
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import run_data
from experiments.runs import run_evaluation
from tf_mixup import attacks

# As in the paper, of 255 gray values and with 10 steps.
EPSILON = 4.0
STEPS = 10
NUM_EXAMPLES = 2000


def measure(
    runs: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
    *,
    num_examples: int = NUM_EXAMPLES,
    epsilon: float = EPSILON,
) -> Iterator[tuple[config_lib.Config, dict[str, float]]]:
    """Yields the errors of runs on clean and on attacked test images.

    The black box for a seed is the next seed's run without mixup, which was
    trained on other images; after the last seed it is the first. Without
    another seed there is none.

    Yields:
        config: Of a run.
        results: `clean_error`, and `fgsm_white_error`, `ifgsm_white_error`,
            `fgsm_black_error`, `ifgsm_black_error`, shares of the images; and
            each with `_top5`.
    """
    if not runs:
        return
    test = run_data.load_splits(next(iter(runs)), sources).test
    order = np.random.default_rng(0).permutation(len(test.labels))
    examples = test.take(order[:num_examples])
    unmixed = {
        config.seed: attack(posthoc.load_model(folder), examples, epsilon)
        for config, folder in runs.items()
        if not config.alpha
    }
    for config, folder in runs.items():
        model = posthoc.load_model(folder)
        boxes = {}
        if config.alpha:
            boxes["white"] = attack(model, examples, epsilon)
        else:
            boxes["white"] = unmixed[config.seed]
        others = sorted(unmixed, key=lambda seed: (seed <= config.seed, seed))
        if others and others[0] != config.seed:
            boxes["black"] = unmixed[others[0]]
        results = errors(model, examples, "clean")
        for box, made in boxes.items():
            for name, images in made.items():
                attacked = examples._replace(inputs=images)
                results |= errors(model, attacked, f"{name}_{box}")
        yield config, results


def attack(
    model: keras.Model, examples: Arrays, epsilon: float
) -> dict[str, np.ndarray]:
    """Returns adversarial images of a network, by the attack's name."""
    arguments = (model, *examples, epsilon)
    return {
        "fgsm": attacks.fgsm(*arguments, from_logits=True),
        "ifgsm": attacks.bim(*arguments, steps=STEPS, from_logits=True),
    }


def errors(model: keras.Model, examples: Arrays, name: str) -> dict[str, float]:
    """Returns top-1 and top-5 errors."""
    logits = run_evaluation.predict_logits(model, examples.inputs)
    return {
        f"{name}_error{suffix}": 1
        - evaluation.top_accuracy(examples.labels, logits, k)
        for k, suffix in ((1, ""), (5, "_top5"))
    }
