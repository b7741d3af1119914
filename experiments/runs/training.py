"""run: from a `Config` to a record, resuming where a killed run stopped."""

import dataclasses
import importlib.metadata
import logging
import pathlib
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments import datasets
from experiments.datasets import batches
from experiments.distributed import preemption as preemption_lib
from experiments.distributed import strategy as strategy_lib
from experiments.distributed import workers as workers_lib
from experiments.runs import atomic_files
from experiments.runs import callbacks as callbacks_lib
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import event_files
from experiments.runs import model_setup
from experiments.runs import optimizers
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_files
from experiments.runs import workdirs
from experiments.runs.outputs import Outputs
from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import callbacks
from tf_mixup import mixing
from tf_mixup import ood
from tf_mixup import plots
from tf_mixup import posthoc

EVALUATION_BATCH = 500
OOD_ROWS = 2000
# Times that figures are drawn during a run, which takes a second each.
NUM_FIGURES = 5
SHOWN_ROWS = 8
CHECKPOINTS = workdirs.CHECKPOINTS
PREDICTIONS = "predictions.npz"
MC_PREDICTIONS = "mc_predictions.npz"
MODEL = "model.keras"
# Files whose digests the record has.
WRITTEN = (PREDICTIONS, MC_PREDICTIONS, MODEL)
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a run finds its data, and how it survives; not what it results in.

    Attributes:
        data_dir: Folder of TensorFlow Datasets; None for its default.
        download: Whether missing data sets may be fetched.
        verbose: Keras' `verbose` of `fit`.
        checkpoint_every_steps: Steps of an epoch between two checkpoints; 0
            for one after each epoch only.
        preemption: Tells when to save and to end the process; None for never.
    """

    data_dir: str | None = None
    download: bool = False
    verbose: int = 0
    checkpoint_every_steps: int = 0
    preemption: preemption_lib.Preemption | None = None


def run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: Sources = Sources(),
) -> dict[str, Any]:
    """Trains, or goes on training, and leaves a record in `workdir`.

    A run that was killed goes on from its last checkpoint and ends with the
    weights and the history of a run that was not, on the same machine and
    versions. A run that is complete is not run again.

    Args:
        config: What to run.
        workdir: For `record.json`, `model.keras`, `predictions.npz`,
            `figures/`, `logs/` (TensorBoard) and `checkpoints/`.
        sources: Where the data is.

    Returns:
        record: `config`, `results` (name -> number), `warnings` (a sentence
            each, none for most runs), `history` (name -> one number for each
            epoch), `versions`, `duration_seconds` (of the last start),
            `trainable_parameters` and `files` (name -> SHA-256). Of several
            workers the chief alone has it; empty in others.

    Raises:
        ValueError: If `workdir` belongs to another config or process, a file
            in it is damaged, a data set is missing or the loss diverges.
        OSError: If the disk is full or read-only.
        SystemExit: With `workers.LOST` if another worker is gone.
    """
    # Workers meet before TensorFlow does anything else.
    strategy = strategy_lib.build_strategy(config.strategy)
    workers = workers_lib.Workers.of(strategy)
    if sources.preemption is not None:
        sources.preemption.listen()
    if not workers.is_chief:
        # Another host may not see the chief's.
        workdir = workdir.with_name(f"{workdir.name}.worker-{workers.index}")
    with workers.ending_if_lost():
        return _run(config, workdir, sources, strategy, workers)


def _run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: Sources,
    strategy: tf.distribute.Strategy,
    workers: workers_lib.Workers,
) -> dict[str, Any]:
    with workdirs.take(workdir, config) as complete:
        if workers.gather([complete])[0]:  # The chief's.
            return run_files.read_record(workdir) if workers.is_chief else {}
        return _run_owned(config, workdir, sources, strategy, workers)


def _run_owned(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: Sources,
    strategy: tf.distribute.Strategy,
    workers: workers_lib.Workers,
) -> dict[str, Any]:
    """Runs in a workdir that this process owns."""
    started = time.monotonic()
    packages = dict.fromkeys((*PACKAGES, keras.backend.backend()))
    versions = {name: importlib.metadata.version(name) for name in packages}
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        # All that the run will read is read before it trains.
        splits = load_splits(config, sources)
        sets = load_ood(config, splits, sources)
        workers.check_alike(
            {
                "config": config.to_json(),
                "rows": [
                    len(part.inputs)
                    for part in (splits.train, splits.validation, splits.test)
                ],
                "versions": versions,
                "workers": workers.addresses,
            }
        )
        model, history = train(config, splits, sets, workdir, sources, strategy)
        if not workers.is_chief:
            workers.wait()
            return {}
        results, warnings = evaluate(config, model, splits, sets, workdir)
        results |= evaluation.measure_epochs(history["val_accuracy"])
    finally:
        keras.config.set_dtype_policy(previous_policy)
    record = {
        "config": config.to_json(),
        "results": results,
        "warnings": warnings,
        "history": history,
        "versions": versions,
        "duration_seconds": time.monotonic() - started,
        "trainable_parameters": model_setup.count_parameters(model),
        run_files.DIGESTS: run_files.digests(workdir, WRITTEN),
    }
    atomic_files.write_json(workdir / run_files.RECORD, record)
    workers.wait()
    return record


def load_splits(config: config_lib.Config, sources: Sources) -> datasets.Splits:
    """Loads, splits and, if asked, corrupts the data of a run.

    Rows of the validation set that are also in the test set are left out.
    """
    splits = datasets.load(
        config.dataset,
        data_dir=sources.data_dir,
        download=sources.download,
        seed=config.seed,
        num_train=config.num_train or None,
        num_validation=config.num_validation,
        corruption=config.corruption,
        corruption_kind=config.corruption_kind,
    )
    _check_stream(config, splits)
    # What is fitted on the validation set must not have seen the test set.
    apart = splits.validation.without(splits.test)
    return dataclasses.replace(splits, validation=apart)


def _check_stream(config: config_lib.Config, splits: datasets.Splits) -> None:
    """Refuses what needs all rows in memory."""
    if not isinstance(splits.train.inputs, datasets.Stream):
        return
    for name in ("neighbors", "noise", "mc_passes"):
        if getattr(config, name):
            raise _checks.refusal(
                f"`{name}` is for data sets that are kept in memory",
                f"{name}={getattr(config, name)} with"
                f" dataset={config.dataset!r}",
                "Leave it out, or name a folder of some images as folder:PATH",
            )


def train(
    config: config_lib.Config,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    workdir: pathlib.Path,
    sources: Sources,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Fits the network; returns it, and for each quantity its history."""
    workers = workers_lib.Workers.of(strategy)
    strategy_lib.check_batch_size(strategy, config.batch_size)
    # Before the stage, which would refuse the ids without knowing of words.
    model_setup.check_sentences(config, splits)
    mixup = model_setup.build_mixup(config, splits.num_classes, strategy)
    neighbors = find_neighbors(config, splits)
    training = batches.training_batches(
        *splits.train,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation,
        clock=mixup.clock,
        flip=datasets.may_be_mirrored(config.dataset),
        neighbors=neighbors,
        noise=scale_noise(config, splits),
        worker=workers.index,
        workers=workers.count,
    ).apply(mixup)
    validation = batches.evaluation_batches(
        *splits.validation,
        batch_size=EVALUATION_BATCH,
        replicas=strategy.num_replicas_in_sync,
        worker=workers.index,
        workers=workers.count,
    ).apply(mixup.evaluation)
    steps = int(training.cardinality())
    training, validation = map(workers.distribute, (training, validation))
    with strategy.scope():
        network = model_setup.build_network(config, splits)
        model = network
        if mixup.placement == "model":
            model = mixing.training_twin(
                network, at=config.mix_layers or None, points=config.points
            )
        model = workers.wrap(model)
        model.compile(
            optimizers.build_optimizer(config, steps),
            model_setup.build_loss(config),
            metrics=model_setup.build_metrics(splits.num_classes),
        )
        saver = checkpoint.Checkpoint(
            workdir / CHECKPOINTS,
            mixup.clock,
            config=config,
            every_steps=sources.checkpoint_every_steps,
            preemption=sources.preemption,
            workers=workers,
        )
        saver.restore(model)
    if config.mc_passes:
        # Refuses a network without dropout before it is trained.
        build_dropout(config, network)
    if saver.steps_done:
        # Builds the metrics, whose sums go on within the epoch.
        model.evaluate(validation, steps=1, verbose=0)
    logs = workdir / "logs" if workers.is_chief else None
    if logs is not None:
        event_files.drop_steps(logs, from_step=saver.epochs_done)
    if saver.epochs_done < config.epochs:
        monitors = _monitors(config, mixup, splits, sets, neighbors, logs)
        model.fit(
            training,
            validation_data=validation,
            epochs=config.epochs,
            initial_epoch=saver.epochs_done,
            verbose=sources.verbose,
            # The batches come shuffled; Keras would warn that it cannot.
            shuffle=False,
            callbacks=[
                strategy_lib.AverageMovingStatistics(),
                callbacks.MixingSchedule(
                    mixup, warmup_epochs=config.mixing_warmup_epochs
                ),
                *monitors,
                callbacks_lib.StopWhenDiverged(),
                *([callbacks_lib.EpochScalars(logs, monitors)] if logs else []),
                saver,
            ],
        )
    # With `ema` averages take the weights' place. So they do at the end of
    # `fit`, but not in a run that was killed after it.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    return workers.detach(network), saver.history


def find_neighbors(
    config: config_lib.Config, splits: datasets.Splits
) -> np.ndarray | None:
    """Returns the rows that each training row may be mixed with, if given."""
    if not config.brings_partners:
        return None
    within = config.partner == "same_class"
    return mixing.nearest_neighbors(
        splits.train.inputs,
        k=config.neighbors,
        labels=splits.train.labels if within else None,
    )


def scale_noise(
    config: config_lib.Config, splits: datasets.Splits
) -> np.ndarray | float:
    """Returns the deviation of noise in the unit of the inputs."""
    if config.noise and splits.vocabulary:
        raise _checks.refusal(
            "Words have no noise",
            f"noise={config.noise} with dataset={config.dataset!r}",
            "Leave --noise out",
        )
    return np.float32(config.noise) * np.asarray(splits.std, np.float32)


def _monitors(
    config: config_lib.Config,
    mixup: mixing.MixUp,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    neighbors: np.ndarray | None,
    logs: pathlib.Path | None,
) -> list[keras.callbacks.Callback]:
    """Returns what is measured in each epoch; drawn where there are logs."""
    freq = max(config.epochs // NUM_FIGURES, 1)
    found = [callbacks.CalibrationMonitor(log_dir=logs, figure_freq=freq)]
    if logs is not None and splits.train.inputs.ndim == 4:
        # Only images can be looked at.
        shown = _shown_rows(splits, neighbors)
        found.append(callbacks.MixedBatchSummary(mixup, shown, logs, freq=freq))
    if config.ood_every:
        found.append(_ood_monitor(config, mixup, splits, sets, logs))
    if isinstance(splits.train.inputs, datasets.Stream):
        replaced = splits.train.inputs.replaced
        found.append(datasets.StopWhenUnreadable(replaced))
    return found


def _shown_rows(
    splits: datasets.Splits, neighbors: np.ndarray | None
) -> datasets.Arrays:
    """Returns the images whose mixed batch is drawn."""
    rows = np.arange(SHOWN_ROWS)
    if isinstance(splits.train.inputs, datasets.Stream):
        # Labels of training rows may not be known before they are read.
        return splits.validation.take(rows[: len(splits.validation.labels)])
    if neighbors is not None:
        rows = np.concatenate([rows, neighbors[rows, 0]])
    return splits.train.take(rows)


def _ood_monitor(
    config: config_lib.Config,
    mixup: mixing.MixUp,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    logs: pathlib.Path | None,
) -> keras.callbacks.Callback:
    def prepare(images: np.ndarray) -> tf.data.Dataset:
        labels = np.zeros(len(images), np.int32)
        rows = batches.evaluation_batches(
            images, labels, batch_size=EVALUATION_BATCH
        )
        return rows.apply(mixup.evaluation)

    return callbacks.OODMonitor(
        {name: prepare(images) for name, images in sets.items()},
        reference=prepare(splits.validation.inputs),
        noise=(),
        from_logits=True,
        freq=config.ood_every,
        max_rows=OOD_ROWS,
        log_dir=logs,
    )


def load_ood(
    config: config_lib.Config, splits: datasets.Splits, sources: Sources
) -> dict[str, np.ndarray]:
    """Loads the out-of-distribution sets, shaped as the network's input.

    Returns:
        sets: Name -> uint8 images, `OOD_ROWS` at most, and of photographs as
            many as there are to validate on; `gaussian` and `uniform` noise
            with the training images' mean and variance, and those of
            `config.ood`. Nothing where the inputs are no images.

    Raises:
        ValueError: If sets are asked for and the inputs are no images.
    """
    shape = splits.train.inputs.shape[1:]
    if len(shape) != 3:
        if config.ood or config.ood_every:
            raise _checks.refusal(
                "Out-of-distribution sets are for images",
                f"ood={config.ood!r}, ood_every={config.ood_every} with"
                f" dataset={config.dataset!r}",
                "Leave both out",
            )
        return {}
    inputs, num_rows = splits.train.inputs, OOD_ROWS
    if isinstance(inputs, datasets.Stream):
        # Of the same photographs, and known to be whole.
        inputs = splits.validation.inputs[:OOD_ROWS]
        num_rows = len(inputs)
    sets = {
        kind: ood.noise_like(
            inputs, kind=kind, num_rows=num_rows, seed=config.seed
        )
        for kind in ("gaussian", "uniform")
    }
    for name, source in zip(config.ood_names, config.ood, strict=True):
        sets[name] = datasets.load_ood(
            source,
            input_shape=shape,
            data_dir=sources.data_dir,
            download=sources.download,
            num_rows=num_rows,
        )
    return sets


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
    }
    inputs |= {outputs_lib.OOD + name: x for name, x in sets.items()}
    labels = {
        "validation": splits.validation.labels,
        "test": splits.test.labels,
    }
    if config.corruption:
        labels["validation_noisy"] = noisy_validation_labels(config, splits)

    def collect(predict: Callable[[np.ndarray], np.ndarray]) -> Outputs:
        logits = {name: predict(each) for name, each in inputs.items()}
        return Outputs(logits, labels, splits.test_posterior)

    outputs = collect(lambda inputs: predict_logits(network, inputs))
    results = evaluation.measure_outputs(outputs)
    if not isinstance(splits.train.inputs, datasets.Stream):
        results |= evaluation.measure_training(
            splits.train.labels,
            predict_logits(network, splits.train.inputs).argmax(-1),
            splits.corrupted,
        )
    outputs_lib.write(outputs, workdir / PREDICTIONS)
    if config.mc_passes:
        dropout = build_dropout(config, network)
        averaged = collect(lambda inputs: np.log(dropout.predict(inputs)))
        outputs_lib.write(averaged, workdir / MC_PREDICTIONS)
    atomic_files.write_atomically(workdir / MODEL, network.save)
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


def noisy_validation_labels(
    config: config_lib.Config, splits: datasets.Splits
) -> np.ndarray:
    """Returns validation labels corrupted as the training labels are."""
    noisy = datasets.corrupt(
        splits,
        config.corruption,
        seed=config.seed,
        kind=config.corruption_kind,
        validation=True,
    )
    return noisy.validation.labels


def predict_logits(
    network: keras.Model, inputs: np.ndarray | datasets.Stream
) -> np.ndarray:
    """Returns logits `(N, K)` in float32."""
    size = batches.even_size(len(inputs), EVALUATION_BATCH)
    if isinstance(inputs, datasets.Stream):
        rows = inputs.evaluation_batches(size).map(lambda images, _: images)
        return np.asarray(network.predict(rows, verbose=0), np.float32)
    logits = network.predict(inputs, batch_size=size, verbose=0)
    return np.asarray(logits, np.float32)


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
