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
# The paper's error without mixup under white-box FGSM. Small images and
# networks reach it at other epsilons than ImageNet's.
MATCHED_ERROR = 0.9
_BISECTIONS = 10


def measure(
    runs: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
    *,
    num_examples: int = NUM_EXAMPLES,
    epsilon: float = EPSILON,
) -> Iterator[tuple[config_lib.Config, dict[str, float]]]:
    """Yields the errors of runs on clean and on attacked test images.

    The black box for a seed is the next seed's run without mixup, which was
    trained on other images; after the last seed it is the first. Nothing is
    measured without another seed.

    Yields:
        config: Of a run.
        results: `clean_error`, and `fgsm_white_error`, `ifgsm_white_error`,
            `fgsm_black_error`, `ifgsm_black_error`, shares of the images; and
            each with `_top5`. If the run without mixup of the same seed is
            there, `fgsm_matched_error`: of a white-box FGSM that makes that
            run err on `MATCHED_ERROR`, and its `fgsm_matched_epsilon`.
    """
    if len({config.seed for config in runs}) < 2:
        return
    test = run_data.load_splits(next(iter(runs)), sources).test
    order = np.random.default_rng(0).permutation(len(test.labels))
    examples = test.take(order[:num_examples])
    unmixed, matched = {}, {}
    for config, folder in runs.items():
        if not config.alpha:
            model = posthoc.load_model(folder)
            made = unmixed[config.seed] = attack(model, examples, epsilon)
            matched[config.seed] = find_epsilon(
                model, examples, made["fgsm"], epsilon
            )
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
        results = _attacked_errors(model, examples, boxes)
        if config.seed in matched:
            strength = matched[config.seed]
            results["fgsm_matched_epsilon"] = strength
            results["fgsm_matched_error"] = error_at(
                model, examples, boxes["white"]["fgsm"], strength
            )
        yield config, results


def _attacked_errors(
    model: keras.Model,
    examples: Arrays,
    boxes: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """Returns the errors on clean images, and on those of each box."""
    results = errors(model, examples, "clean")
    for box, made in boxes.items():
        for name, images in made.items():
            attacked = examples._replace(inputs=images)
            results |= errors(model, attacked, f"{name}_{box}")
    return results


def attack(
    model: keras.Model, examples: Arrays, epsilon: float
) -> dict[str, np.ndarray]:
    """Returns adversarial images of a network, by the attack's name."""
    arguments = (model, *examples, epsilon)
    return {
        "fgsm": attacks.fgsm(*arguments, from_logits=True),
        "ifgsm": attacks.bim(*arguments, steps=STEPS, from_logits=True),
    }


def find_epsilon(
    model: keras.Model, examples: Arrays, made: np.ndarray, most: float
) -> float:
    """Returns how strong FGSM must be for `MATCHED_ERROR` on these examples.

    NaN if `most`, with which it `made` its images, does not suffice.
    """
    if error_at(model, examples, made, most) < MATCHED_ERROR:
        return float("nan")
    low, high = 0.0, most
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if error_at(model, examples, made, middle) < MATCHED_ERROR:
            low = middle
        else:
            high = middle
    return high


def error_at(
    model: keras.Model, examples: Arrays, made: np.ndarray, epsilon: float
) -> float:
    """Returns the top-1 error under FGSM, of its images at more epsilon.

    The direction of each value does not depend on epsilon.
    """
    moved = np.clip(made - examples.inputs, -epsilon, epsilon)
    attacked = examples._replace(inputs=examples.inputs + moved)
    return errors(model, attacked, "fgsm")["fgsm_error"]


def errors(model: keras.Model, examples: Arrays, name: str) -> dict[str, float]:
    """Returns top-1 and top-5 errors."""
    logits = run_evaluation.predict_logits(model, examples.inputs)
    return {
        f"{name}_error{suffix}": 1
        - evaluation.top_accuracy(examples.labels, logits, k)
        for k, suffix in ((1, ""), (5, "_top5"))
    }
