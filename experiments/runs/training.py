"""run: from a `Config` to a record, resuming where a killed run stopped."""

import importlib.metadata
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments import datasets
from experiments.datasets import batches
from experiments.distributed import strategy as strategy_lib
from experiments.distributed import workers as workers_lib
from experiments.runs import callbacks as callbacks_lib
from experiments.runs import checkpoint
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from experiments.runs import event_files
from experiments.runs import gan
from experiments.runs import model_setup
from experiments.runs import optimizers
from experiments.runs import run_data
from experiments.runs import run_evaluation
from experiments.runs import run_files
from experiments.runs import tuning
from experiments.runs import workdirs
from tf_mixup import callbacks
from tf_mixup import mixing

# Times that figures are drawn during a run, which takes a second each.
NUM_FIGURES = 5
SHOWN_EXAMPLES = 8
PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources | None = None,
) -> dict[str, Any]:
    """Trains, or goes on training, and leaves a record in `workdir`.

    A run that was killed goes on from its last checkpoint and ends with the
    weights and the history of a run that was not, on the same machine and
    versions. A run that is complete is not run again.

    Args:
        config: What to run.
        workdir: For `record.json`, `model.keras`, `predictions.npz`,
            `figures/`, `logs/` (TensorBoard) and `checkpoints/`.
        sources: Where the data is. Defaults to TensorFlow Datasets' folder.

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
    sources = sources or run_data.Sources()
    if config.dataset in gan.MODES:
        return gan.run(config, workdir, sources)
    # Workers meet before TensorFlow does anything else.
    strategy = strategy_lib.build_strategy(config.strategy)
    workers = workers_lib.Workers.of(strategy)
    if sources.preemption is not None:
        sources.preemption.listen()
    if not workers.is_chief:
        # Another host may not see the chief's.
        workdir = workdir.with_name(f"{workdir.name}.worker-{workers.index}")
    taken = workdirs.take(workdir, config, owner_timeout=sources.owner_timeout)
    with workers.ending_if_lost(), taken as complete:
        if workers.gather([complete])[0]:  # The chief's.
            return run_files.read_record(workdir) if workers.is_chief else {}
        return _run_owned(config, workdir, sources, strategy, workers)


def _run_owned(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources,
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
        splits = run_data.load_splits(config, sources)
        sets = run_data.load_ood(config, splits, sources)
        workers.check_alike(
            {
                "config": config.to_json(),
                "examples": [
                    len(part.inputs)
                    for part in (splits.train, splits.validation, splits.test)
                ],
                "versions": versions,
                "workers": workers.addresses,
            }
        )
        tuned, reported = run_data.split_validation(config, splits)
        model, history = train(config, tuned, sets, workdir, sources, strategy)
        if not workers.is_chief:
            workers.wait()
            return {}
        results, warnings = run_evaluation.evaluate(
            config, model, reported, sets, workdir
        )
        # Of a tuned alpha, they are measured on the examples that tuned it.
        seen = ("test",) if config.tunes_alpha else ("validation", "test")
        results |= evaluation.measure_epochs(history, seen)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    record = run_files.write_record(
        workdir,
        config,
        run_files.WRITTEN,
        results=results,
        warnings=warnings,
        history=history,
        versions=versions,
        duration_seconds=time.monotonic() - started,
        trainable_parameters=model_setup.count_parameters(model),
    )
    workers.wait()
    return record


def train(
    config: config_lib.Config,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    workdir: pathlib.Path,
    sources: run_data.Sources,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Fits the network; returns it, and for each quantity its history."""
    workers = workers_lib.Workers.of(strategy)
    strategy_lib.check_batch_size(strategy, config.batch_size)
    # Before the stage, which would refuse the ids without knowing of words.
    model_setup.check_sentences(config, splits)
    mixup = model_setup.build_mixup(config, splits.num_classes, strategy)
    with strategy.scope():
        network = model_setup.build_network(config, splits)
        # Before the stage is applied: batches may have to carry the plan.
        model = model_setup.training_model(config, mixup, network)
    neighbors = run_data.find_neighbors(config, splits)
    training = batches.training_batches(
        *splits.train,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation,
        epoch_counter=mixup.epoch_counter,
        flip=datasets.find_card(config.dataset).flip,
        neighbors=neighbors,
        noise=run_data.scale_noise(config, splits),
        worker=workers.index,
        workers=workers.count,
    ).apply(mixup)
    validation = _evaluated(splits.validation, mixup, strategy)
    steps = int(training.cardinality())
    training = workers.distribute(training)
    with strategy.scope():
        model = workers.wrap(model)
        model.compile(
            optimizers.build_optimizer(config, steps),
            model_setup.build_loss(config),
            metrics=model_setup.build_metrics(
                splits.num_classes, by_class=config.per == "class"
            ),
        )
        logs = workdir / "logs" if workers.is_chief else None
        monitor = _calibration_monitor(config, mixup, logs)
        saver = checkpoint.Checkpoint(
            workdir / workdirs.CHECKPOINTS,
            mixup.epoch_counter,
            config=config,
            tuner=monitor if config.tunes_alpha else None,
            every_steps=sources.checkpoint_every_steps,
            preemption=sources.preemption,
            workers=workers,
        )
        saver.restore(model)
    best = _best_weights(config, workdir, saver.history)
    _check_dropout(config, network)
    if saver.steps_done:
        # Builds the metrics, whose sums go on within the epoch.
        model.evaluate(validation, steps=1, verbose=0)
    if saver.epochs_done < config.epochs:
        if logs is not None:
            event_files.drop_steps(logs, from_step=saver.epochs_done)
        monitors = [
            monitor,
            *_monitors(config, mixup, splits, sets, neighbors, logs),
        ]
        # What is streamed is read for each epoch, a first epoch that is
        # resumed ends before its pass, and a tuned alpha is set before it.
        model.fit(
            **_feed(
                training,
                steps,
                repeats=splits.train.in_memory
                and workers.count == 1
                and not config.tunes_alpha
                and not saver.steps_done,
            ),
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
                *_test_accuracy(config, splits, mixup, strategy),
                callbacks_lib.StopWhenDiverged(),
                *([callbacks_lib.EpochScalars(logs, monitors)] if logs else []),
                *best,
                saver,
            ],
        )
    _set_result(model, best)
    return workers.detach(network), saver.history


def _evaluated(
    part: datasets.Arrays, mixup: mixing.MixUp, strategy: tf.distribute.Strategy
) -> tf.data.Dataset:
    """Returns this worker's unmixed batches of a set."""
    workers = workers_lib.Workers.of(strategy)
    return workers.distribute(
        batches.evaluation_batches(
            *part,
            replicas=strategy.num_replicas_in_sync,
            worker=workers.index,
            workers=workers.count,
        ).apply(mixup.evaluation)
    )


def _test_accuracy(
    config: config_lib.Config,
    splits: datasets.Splits,
    mixup: mixing.MixUp,
    strategy: tf.distribute.Strategy,
) -> list[callbacks_lib.TestAccuracy]:
    """Returns what measures the test set after each epoch, if asked for."""
    if not config.test_each_epoch:
        return []
    test = _evaluated(splits.test, mixup, strategy)
    return [callbacks_lib.TestAccuracy(test)]


def _set_result(
    model: keras.Model, best: list[callbacks_lib.BestWeights]
) -> None:
    """Sets the model to the weights that are the result."""
    # With `ema` averages take the weights' place. So they do at the end of
    # `fit`, but not in a run that was killed after it.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for each in best:
        each.restore(model)


def _best_weights(
    config: config_lib.Config,
    workdir: pathlib.Path,
    history: Mapping[str, list[float]],
) -> list[callbacks_lib.BestWeights]:
    """Returns what keeps the best weights, if asked for."""
    if not config.restore_best:
        return []
    losses = history.get("val_loss", [])
    return [callbacks_lib.BestWeights(workdir / workdirs.CHECKPOINTS, losses)]


def _check_dropout(config: config_lib.Config, network: keras.Model) -> None:
    """Refuses a network without dropout before it is trained."""
    if config.mc_passes:
        run_evaluation.build_dropout(config, network)


def _feed(training: Any, steps: int, *, repeats: bool) -> dict[str, Any]:
    """Returns arguments of `fit`, with one iterator for all epochs if asked.

    To start an iterator takes as long as many steps of a small network.
    """
    if not repeats:
        return {"x": training}
    return {"x": training.repeat(), "steps_per_epoch": steps}


def _figure_freq(config: config_lib.Config) -> int:
    return max(config.epochs // NUM_FIGURES, 1)


def _calibration_monitor(
    config: config_lib.Config, mixup: mixing.MixUp, logs: pathlib.Path | None
) -> callbacks.CalibrationMonitor:
    """Returns what measures each epoch, and with `tuning` sets alpha."""
    options: dict[str, Any] = {
        "log_dir": logs,
        "figure_freq": _figure_freq(config),
    }
    if not config.tunes_alpha:
        return callbacks.CalibrationMonitor(**options)
    low, high = callbacks.AlphaTuner.LIMITS
    if config.tuning in tuning.CLASS_RULES:
        # On or off, and off at first.
        low, high = min(low, config.alpha / 2), config.alpha
        start = low
    else:
        low, high = min(low, config.alpha), max(high, config.alpha)
        start = config.alpha
    return callbacks.AlphaTuner(
        mixup,
        start=start,
        limits=(low, high),
        rule=(tuning.RULES | tuning.CLASS_RULES)[config.tuning],
        **options,
    )


def _monitors(
    config: config_lib.Config,
    mixup: mixing.MixUp,
    splits: datasets.Splits,
    sets: Mapping[str, np.ndarray],
    neighbors: np.ndarray | None,
    logs: pathlib.Path | None,
) -> list[keras.callbacks.Callback]:
    """Returns what else is measured; drawn where there are logs."""
    freq = _figure_freq(config)
    found: list[keras.callbacks.Callback] = []
    if config.tuning == "follow_average":
        # `fit` then validates what will be the result.
        found.append(keras.callbacks.SwapEMAWeights())
    if logs is not None and splits.train.inputs.ndim == 4:
        # Only images can be looked at.
        shown = _shown_examples(splits, neighbors)
        found.append(callbacks.MixedBatchSummary(mixup, shown, logs, freq=freq))

    def unmixed(images: np.ndarray) -> tf.data.Dataset:
        return batches.unlabeled_batches(images).apply(mixup.evaluation)

    if config.ood_every:
        found.append(
            callbacks.OODMonitor(
                {name: unmixed(images) for name, images in sets.items()},
                reference=unmixed(splits.validation.inputs),
                noise=(),
                from_logits=True,
                freq=config.ood_every,
                max_examples=run_data.OOD_EXAMPLES,
                log_dir=logs,
            )
        )
    return [*found, *splits.train.watchers()]


def _shown_examples(
    splits: datasets.Splits, neighbors: np.ndarray | None
) -> datasets.Arrays:
    """Returns the images whose mixed batch is drawn."""
    chosen = np.arange(SHOWN_EXAMPLES)
    if not splits.train.in_memory:
        # Labels of training examples may be unknown before they are read.
        held_out = splits.validation
        return held_out.take(chosen[: len(held_out.labels)])
    if neighbors is not None:
        chosen = np.concatenate([chosen, neighbors[chosen, 0]])
    return splits.train.take(chosen)
