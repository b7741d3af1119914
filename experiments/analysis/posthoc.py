"""Scaling, ensembles and rescaling of trained networks.

Scalers are fitted on the validation set. If labels were corrupted, a
temperature is fitted twice: on clean labels, and on labels as noisy as the
training set's. Where classes overlap it is also fitted as published.
"""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from experiments import datasets
from experiments.analysis import published_scaling
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs.outputs import Outputs
from tf_mixup import posthoc

SCALERS: dict[str, Callable[[], Any]] = {
    "temperature": posthoc.TemperatureScaling,
    "vector": posthoc.VectorScaling,
    "isotonic": posthoc.IsotonicScaling,
}
NOISY, PUBLISHED = "temperature_noisy", "temperature_published"


def scale(outputs: Outputs, scaler: Any, labels: str) -> Outputs:
    """Fits a scaler on the validation set; returns the other sets scaled.

    `labels` names the labels to fit on: `"validation"`, `"validation_noisy"`.
    """
    scaler.fit(outputs.logits["validation"], outputs.labels[labels])
    return Outputs(
        {
            name: to_logits(scaler.apply(logits))
            for name, logits in outputs.logits.items()
            if name != "validation"
        },
        {"test": outputs.labels["test"]},
        outputs.posterior,
    )


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Returns finite logarithms of probabilities `(N, K)`, float32."""
    tiny = np.finfo(np.float32).tiny
    return np.log(np.maximum(probabilities, tiny)).astype(np.float32)


def measure_scaled(folder: pathlib.Path) -> dict[str, dict[str, float]]:
    """Returns the results of a run after each key of `measures.AFTER`."""
    outputs = outputs_lib.read(folder / run_files.PREDICTIONS)
    fits = [(name, make(), "validation") for name, make in SCALERS.items()]
    noisy = "validation_noisy" in outputs.labels
    if noisy:
        fits.append((NOISY, posthoc.TemperatureScaling(), "validation_noisy"))
    if noisy or outputs.posterior is not None:
        # Labels are noisy, or classes overlap (their posterior is known).
        labels = "validation_noisy" if noisy else "validation"
        published = published_scaling.PublishedTemperatureScaling()
        fits.append((PUBLISHED, published, labels))
    results = {}
    for name, scaler, labels in fits:
        scaled = scale(outputs, scaler, labels)
        results[name] = evaluation.measure_outputs(scaled)
        if name.startswith("temperature"):
            results[name]["temperature"] = scaler.temperature
    dropout = folder / run_files.MC_PREDICTIONS
    if dropout.exists():
        results["dropout"] = evaluation.measure_outputs(
            outputs_lib.read(dropout)
        )
    return results


def average(
    config: config_lib.Config,
    folders: Sequence[pathlib.Path],
    sources: run_data.Sources,
) -> Outputs:
    """Returns the outputs of the ensemble of several runs."""
    ensemble = posthoc.DeepEnsemble(
        [load_model(folder) for folder in folders], from_logits=True
    )
    splits = run_data.load_splits(config, sources)
    return _predict(config, splits, sources, ensemble.predict)


def rescale(
    config: config_lib.Config,
    folder: pathlib.Path,
    sources: run_data.Sources,
) -> Outputs:
    """Returns a mixup run's outputs with test-time rescaling.

    Each input is mixed with the mean of the training set, as training mixed
    it with others, and the prediction is unmixed (Carratino et al. 2020).
    """
    splits = run_data.load_splits(config, sources)
    rescaling = posthoc.MixupRescaling.from_examples(
        config.alpha, splits.train, num_classes=splits.num_classes
    )
    model = load_model(folder)
    return _predict(
        config, splits, sources, lambda inputs: rescaling.predict(model, inputs)
    )


def load_model(folder: pathlib.Path) -> keras.Model:
    """Loads a run's network: raw inputs to logits.

    Raises:
        ValueError: If it is not there, or not of the record beside it.
    """
    path = run_files.check_file(folder / run_files.MODEL)
    return keras.saving.load_model(path, compile=False)


def _predict(
    config: config_lib.Config,
    splits: datasets.Splits,
    sources: run_data.Sources,
    predict: Callable[[np.ndarray], np.ndarray],
) -> Outputs:
    sets = {"test": splits.test.inputs} | {
        outputs_lib.OOD + name: images
        for name, images in run_data.load_ood(config, splits, sources).items()
    }
    return Outputs(
        {name: to_logits(predict(inputs)) for name, inputs in sets.items()},
        {"test": splits.test.labels},
        splits.test_posterior,
    )
