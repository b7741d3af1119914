"""A plain Keras program beside a run of `experiments.train`.

It trains the network of the digits' default run for as many steps of as many
examples, and leaves a model, without mixup, checkpoints, figures or records.
It imports no more than it needs, as its import is timed, too.
"""

import pathlib

import keras
import numpy as np
import sklearn.datasets

from experiments.networks import resnet

NUM_TEST, NUM_VALIDATION = 359, 300
NUM_CLASSES = 10
EPOCHS, BATCH_SIZE = 30, 64
LEARNING_RATE, MOMENTUM = 0.1, 0.9


def main(folder: pathlib.Path, epochs: int = EPOCHS) -> float:
    """Trains, saves the model in a folder and returns the test accuracy."""
    keras.utils.set_random_seed(0)
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = np.round(x[order].reshape(-1, 8, 8, 1) * 255 / 16).astype("uint8")
    y = keras.utils.to_categorical(y[order], NUM_CLASSES)
    test, validation, train = np.split(
        np.arange(len(x)), [NUM_TEST, NUM_TEST + NUM_VALIDATION]
    )
    steps = len(train) // BATCH_SIZE
    train = train[: steps * BATCH_SIZE]
    model = resnet.build_resnet_narrow(
        x.shape[1:],
        NUM_CLASSES,
        mean=float(x[train].mean()),
        std=float(x[train].std()),
    )
    schedule = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE, epochs * steps
    )
    model.compile(
        keras.optimizers.SGD(schedule, momentum=MOMENTUM, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x[train],
        y[train],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=(x[validation], y[validation]),
        verbose=0,
    )
    _, accuracy = model.evaluate(x[test], y[test], verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model.keras")
    return accuracy
