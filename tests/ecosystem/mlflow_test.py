"""An MLflow run receives what monitors measure, under one name each."""

import os

import keras
import numpy as np
import pytest

import tf_mixup

# MLflow reads them when it is imported: no reports, and files as a store.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

mlflow = pytest.importorskip("mlflow", reason="needs the extra `ecosystem`")
pytest.importorskip("pandas", reason="needs the extra `ecosystem`")
mlflow_keras = pytest.importorskip(
    "mlflow.keras", reason="needs the extra `ecosystem`"
)

pytestmark = pytest.mark.slow

EPOCHS = 3


@pytest.fixture
def client(tmp_path):
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    return mlflow.MlflowClient()


@pytest.mark.parametrize("place", ["first", "last"])
def test_every_epoch_arrives_once(client, place):
    keras.utils.set_random_seed(0)
    labels = np.arange(40) % 3
    x = np.eye(3, 4, dtype="float32")[labels]
    x += np.random.default_rng(0).normal(size=x.shape)
    mixup = tf_mixup.MixUp(alpha=0.2, num_classes=3, seed=0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
    )
    model.compile(
        "sgd",
        "categorical_crossentropy",
        metrics=["accuracy", tf_mixup.metrics.CalibrationMetrics()],
    )
    data = keras.utils.split_dataset((x, labels), left_size=24)
    train, validation = (each.batch(8) for each in data)
    callbacks = [
        tf_mixup.callbacks.MixingSchedule(mixup),
        tf_mixup.callbacks.CalibrationMonitor(),
        tf_mixup.callbacks.OODMonitor({"far": 9 * x}, reference=x, noise=()),
    ]
    logger = mlflow_keras.MlflowCallback()
    callbacks.insert(0 if place == "first" else len(callbacks), logger)
    with mlflow.start_run() as run:
        history = model.fit(
            train.apply(mixup),
            validation_data=validation.apply(mixup.evaluation),
            epochs=EPOCHS,
            callbacks=callbacks,
            verbose=0,
        ).history
    mlflow.flush_async_logging()

    assert {"val_ece", "val_nll", "far_auroc"} <= set(history)
    for name, values in history.items():
        logged = client.get_metric_history(run.info.run_id, name)
        found = [(each.step, each.value) for each in logged]
        assert found == list(enumerate(values)), name
    # MLflow itself repeats what Keras measures in each validation.
    repeated = {"validation_loss", "validation_accuracy", "validation_ece"}
    names = set(client.get_run(run.info.run_id).data.metrics)
    assert names == {*history, *repeated}
