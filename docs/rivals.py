"""Compares mixup with early stopping and a temperature, on drawn data.

Command:
    python docs/rivals.py

Prints the table of `docs/alpha.md`: means and deviations over three seeds.
Some minutes on two cores.
"""

from typing import Any

import keras
import numpy as np
from sklearn.datasets import make_classification

import tf_mixup

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


def main(num_seeds: int = 3) -> None:
    """Prints the table."""
    print(f"| arm | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    scale = np.array(list(COLUMNS.values()))
    for name, arm in ARMS.items():
        runs = [train(seed, *arm) for seed in range(num_seeds)]
        mean, deviation = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1)
        cells = [
            f"{m:.2f} ± {s:.2f}"
            for m, s in zip(scale * mean, scale * deviation, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
