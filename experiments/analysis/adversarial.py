"""Attacks on networks that are trained: mixup's table 3 (1710.09412).

White box: the attacked network makes its own adversarial images. Black box: a
network without mixup and of another seed makes them, the same for all that
are tested on them.
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

# As in the paper, of 255 grey values and with 10 steps.
EPSILON = 4.0
STEPS = 10
NUM_ROWS = 2000


def measure(
    runs: Mapping[config_lib.Config, pathlib.Path],
    sources: run_data.Sources,
    *,
    num_rows: int = NUM_ROWS,
    epsilon: float = EPSILON,
) -> Iterator[tuple[config_lib.Config, dict[str, float]]]:
    """Yields the errors of runs on clean and on attacked test images.

    The black box for a seed is the next seed's run without mixup, after the
    last the first; without another seed there is none. As the seeds draw
    their training rows, so it has learned other rows, too.

    Args:
        runs: Config -> folder of a complete run, all of one data set.
        sources: Where the data is.
        num_rows: Test images, drawn once for all runs.
        epsilon: Furthest distance of a pixel, in [0, 255].

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
    rows = test.take(order[:num_rows])
    unmixed = {
        config.seed: attack(posthoc.load_model(folder), rows, epsilon)
        for config, folder in runs.items()
        if not config.alpha
    }
    for config, folder in runs.items():
        model = posthoc.load_model(folder)
        boxes = {}
        if config.alpha:
            boxes["white"] = attack(model, rows, epsilon)
        else:
            boxes["white"] = unmixed[config.seed]
        others = sorted(unmixed, key=lambda seed: (seed <= config.seed, seed))
        if others and others[0] != config.seed:
            boxes["black"] = unmixed[others[0]]
        results = errors(model, rows, "clean")
        for box, made in boxes.items():
            for name, images in made.items():
                attacked = rows._replace(inputs=images)
                results |= errors(model, attacked, f"{name}_{box}")
        yield config, results


def attack(
    model: keras.Model, rows: Arrays, epsilon: float
) -> dict[str, np.ndarray]:
    """Returns adversarial images of a network, by the attack's name."""
    arguments = (model, *rows, epsilon)
    return {
        "fgsm": attacks.fgsm(*arguments, from_logits=True),
        "ifgsm": attacks.bim(*arguments, steps=STEPS, from_logits=True),
    }


def errors(model: keras.Model, rows: Arrays, name: str) -> dict[str, float]:
    """Returns the shares of rows whose class is not the first, or top five."""
    logits = run_evaluation.predict_logits(model, rows.inputs)
    return {
        f"{name}_error{suffix}": 1
        - evaluation.top_accuracy(rows.labels, logits, k)
        for k, suffix in ((1, ""), (5, "_top5"))
    }
