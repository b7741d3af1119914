"""What a trained network leaves: results, predictions, model and figures."""

import logging
import pathlib
from collections.abc import Callable
from collections.abc import Mapping

import keras
import numpy as np

from experiments import datasets
from experiments.datasets import batches
from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs.outputs import Outputs
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup import posthoc


def evaluate(
    config: config_lib.Config,
    network: keras.Model,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    workdir: pathlib.Path,
) -> tuple[dict[str, float], list[str]]:
    """Measures the trained network; saves it, its predictions and figures.

    Returns:
        results: Numbers on `validation_`, `test_` and `train_`
            (`evaluation.measure_training`), and for each out-of-distribution
            set.
        warnings: A sentence if the network is no better than chance.
    """
    inputs = {
        "validation": splits.validation.inputs,
        "test": splits.test.inputs,
        **{outputs_lib.OOD + name: images for name, images in sets.items()},
    }
    labels = {
        "validation": splits.validation.labels,
        "test": splits.test.labels,
    }
    if config.corruption:
        labels["validation_noisy"] = run_data.corrupt_validation_labels(
            config, splits
        )

    def collect(predict: Callable[[np.ndarray], np.ndarray]) -> Outputs:
        logits = {name: predict(each) for name, each in inputs.items()}
        return Outputs(logits, labels, splits.test_posterior)

    outputs = collect(lambda inputs: predict_logits(network, inputs))
    results = evaluation.measure_outputs(outputs, raw=True)
    if splits.train.in_memory:
        results |= evaluation.measure_training(
            splits.train.labels,
            predict_logits(network, splits.train.inputs),
            splits.corrupted,
        )
    outputs_lib.write(outputs, workdir / run_files.PREDICTIONS)
    if config.mc_passes:
        dropout = build_dropout(config, network)
        averaged = collect(lambda inputs: np.log(dropout.predict(inputs)))
        outputs_lib.write(averaged, workdir / run_files.MC_PREDICTIONS)
    atomic_files.write_atomically(workdir / run_files.MODEL, network.save)
    draw_figures(outputs, workdir / "figures")
    logging.info("Results: %s", results)
    warnings = evaluation.find_chance(
        outputs.labels["test"], outputs.logits["test"].argmax(-1)
    )
    for sentence in warnings:
        logging.warning("%s", sentence)
    return results, warnings


def build_dropout(
    config: config_lib.Config, network: keras.Model
) -> posthoc.MonteCarloDropout:
    """Returns what averages predictions with dropout.

    Raises:
        ValueError: If the network has no dropout.
    """
    return posthoc.MonteCarloDropout(
        network, num_samples=config.mc_passes, seed=config.seed
    )


def predict_logits(
    network: keras.Model, inputs: np.ndarray | datasets.Stream
) -> np.ndarray:
    """Returns logits `(N, K)` in float32."""
    examples = batches.unlabeled_batches(inputs).map(lambda inputs, _: inputs)
    return np.asarray(network.predict(examples, verbose=0), np.float32)


def draw_figures(outputs: Outputs, directory: pathlib.Path) -> None:
    """Draws the test set's reliability and all sets' confidences."""
    bins = calibration.bin_predictions(
        outputs.labels["test"], outputs.probabilities("test")
    )
    confidences = {"test": outputs.confidence("test")} | {
        name: outputs.confidence(outputs_lib.OOD + name)
        for name in outputs.ood_names
    }
    plots.save_figure(
        plots.reliability_diagram(bins), directory / "reliability.png"
    )
    plots.save_figure(
        plots.confidence_histogram(confidences), directory / "confidence.png"
    )
