"""Mixup beside early stopping and a temperature, on drawn data."""

from typing import Any

import keras
from sklearn.datasets import make_classification

import tf_mixup
from experiments.advice import spread

EPOCHS = 30
X, Y = make_classification(6000, n_informative=6, n_classes=4, random_state=0)
X = X.astype("float32")
TEST = slice(3000, None)
# Name -> alpha, options of the schedule, whether training stops early.
ARMS: dict[str, tuple[float, dict[str, int], bool]] = {
    "no mixup": (0.0, {}, False),
    "no mixup, early stopping": (0.0, {}, True),
    "mixup, alpha 0.4": (0.4, {}, False),
    "mixup, alpha 1": (1.0, {}, False),
    "mixup, alpha 1, last epoch unmixed": (
        1.0,
        {"stop_epoch": EPOCHS - 1},
        False,
    ),
}
COLUMNS = {
    "accuracy (%)": 100,
    "ECE (%)": 100,
    "signed gap (%)": 100,
    "NLL (nats)": 1,
    "ECE, scaled (%)": 100,
    "NLL, scaled (nats)": 1,
    "T": 1,
}


def train(
    seed: int, alpha: float, schedule: dict[str, int], stops: bool
) -> list[float]:
    """Returns the columns of one network, before and after scaling."""
    keras.utils.set_random_seed(seed)
    mixup = tf_mixup.MixUp(alpha=alpha, num_classes=4, seed=seed)
    batches, validation = mixup.from_arrays(
        X[:3000], Y[:3000], batch_size=32, validation_split=1 / 3
    )
    layers = [keras.layers.Dense(128, "relu") for _ in range(2)]
    model = keras.Sequential([*layers, keras.layers.Dense(4, "softmax")])
    metric = tf_mixup.metrics.CalibrationMetrics()
    model.compile("adam", "categorical_crossentropy", metrics=[metric])
    callbacks = [
        tf_mixup.callbacks.MixingSchedule(mixup, **schedule),
        tf_mixup.callbacks.CalibrationMonitor(),
    ]
    if stops:
        stop = keras.callbacks.EarlyStopping(
            "val_nll", mode="min", patience=5, restore_best_weights=True
        )
        callbacks.append(stop)
    model.fit(
        batches,
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=callbacks,
        verbose=0,
    )
    scaler = tf_mixup.posthoc.TemperatureScaling()
    scaled = tf_mixup.posthoc.calibrate(model, scaler, validation)
    before, after = measure(model), measure(scaled)
    keys = ("accuracy", "ece", "signed_gap", "nll")
    row = [before[key] for key in keys] + [after["ece"], after["nll"]]
    return [*row, scaler.temperature]


def measure(model: Any) -> dict[str, float]:
    """Returns the measures of a model on the test set."""
    metric = tf_mixup.metrics.CalibrationMetrics()
    metric.update_state(Y[TEST], model.predict(X[TEST], verbose=0))
    return metric.results()


def rivals(num_seeds: int = 3) -> list[list[str]]:
    """Early stopping is as good as mixup, and a temperature evens all out.

    Four overlapping classes that are drawn, 2,000 training and 1,000
    validation examples, 3,000 test examples, an MLP of 128-128 units, Adam,
    30 epochs, three seeds. Early stopping watches the NLL of the validation
    set, to which the temperature is fitted, too.
    """
    lines = [["arm", *COLUMNS]]
    for name, arm in ARMS.items():
        runs = [train(seed, *arm) for seed in range(num_seeds)]
        scale = list(COLUMNS.values())
        lines.append([name, *spread.cells(runs, scale=scale)])
    return lines
