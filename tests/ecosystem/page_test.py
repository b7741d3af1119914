"""The programs of docs/ecosystem.md, and that what they say is lacking is."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import sklearn.base
import tensorflow as tf

from tests import documents_test
from tests import reference
from tests.ecosystem import agreement
from tf_mixup import calibration
from tf_mixup import posthoc
from tf_mixup import summaries

PAGE = documents_test.ROOT / "docs" / "ecosystem.md"
EXTRA = "needs the extra `ecosystem`"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(title, package=None):
    if package is not None:
        pytest.importorskip(package, reason=EXTRA)
    names = documents_test.run(PAGE, documents_test.SHARED, {})
    return documents_test.run(PAGE, title, names)


def check_ece(history, labels, logits):
    probabilities = reference.softmax(np.asarray(logits, "float64"))
    expected = reference.expected_calibration_error(labels, probabilities, 15)
    assert history["val_ece"][-1] == pytest.approx(expected, abs=1e-5)


def check_calibrated(calibrated, logits, inputs):
    """Checks that the logits were divided by one temperature."""
    found = calibrated.predict(inputs, verbose=0)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    gaps = np.log(found) - np.log(found[:, :1])
    temperature = np.median((logits - logits[:, :1])[:, 1:] / gaps[:, 1:])
    expected = reference.softmax(np.asarray(logits, "float64") / temperature)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert temperature != pytest.approx(1, abs=1e-3)


def test_py_dataset():
    names = run("A PyDataset")
    inputs, labels = agreement.collect(names["validation"])
    logits = names["model"].predict(inputs, verbose=0)
    check_ece(names["history"], labels, logits)
    check_calibrated(names["calibrated"], logits, inputs)
    assert not hasattr(names["train"], "apply")


@pytest.mark.slow
def test_scikit_learn_pipeline():
    names = run("A scikit-learn pipeline")
    scores = names["search"].cv_results_["mean_test_score"]
    alphas = [0.0, 0.2]
    best = names["search"].best_params_["sklearnclassifier__model_kwargs"]
    assert best == {"alpha": alphas[np.argmax(scores)]}
    assert scores[0] != scores[1]
    # The search passes the number of epochs to each `fit`.
    assert names["classifier"].history_.epoch == [0, 1, 2]
    inputs = names["scale"].transform(names["x"][900:])
    logits = names["classifier"].decision_function(inputs)
    check_calibrated(names["calibrated"], logits, inputs)
    wrapper = keras.wrappers.SKLearnClassifier(
        names["make_mixed"], fit_kwargs={"epochs": 3}
    )
    assert sklearn.base.clone(wrapper).fit_kwargs is None
    assert not hasattr(wrapper, "predict_proba")


@pytest.mark.slow
def test_feature_space():
    names = run("pandas and FeatureSpace", "pandas")
    logits = names["model"].predict(names["validation"], verbose=0)
    check_calibrated(names["calibrated"], logits, names["validation"])


@pytest.mark.slow
def test_hugging_face_datasets():
    names = run("Hugging Face datasets", "datasets")
    inputs, labels = agreement.collect(names["validation"].as_numpy_iterator())
    logits = names["model"].predict(inputs, verbose=0)
    check_ece(names["history"], labels, logits)
    assert len(names["train"]) == len(names["x"]) // 2 // 32
    streamed = names["both"]["train"].to_iterable_dataset()
    assert not hasattr(streamed, "to_tf_dataset")


@pytest.mark.slow
def test_keras_hub():
    names = run("KerasHub", "keras_hub")
    inputs, labels = agreement.collect(names["validation"].as_numpy_iterator())
    logits = names["task"].predict(inputs, verbose=0)
    check_ece(names["history"], labels, logits)
    check_calibrated(names["calibrated"], logits, inputs)
    agreement.check_saved(names["calibrated"], inputs, PAGE.parent.cwd())
    with pytest.raises(ValueError, match="cannot evaluate a model that prep"):
        names["calibrated"].evaluate(inputs, labels)


@pytest.mark.slow
def test_keras_tuner():
    names = run("KerasTuner", "keras_tuner")
    trials = names["tuner"].oracle.get_best_trials(3)
    alphas = [trial.hyperparameters.get("alpha") for trial in trials]
    assert sorted(alphas) == [0, 0.2, 1]
    assert alphas[0] == names["best"]
    assert all(trial.score > 0 for trial in trials)
    assert min(trial.score for trial in trials) == trials[0].score
    with pytest.raises(ValueError, match="infer optimization direction"):
        names["keras_tuner"].GridSearch(names["Search"](), "val_nll")


@pytest.mark.slow
def test_optuna():
    names = run("Optuna", "optuna")
    trials = names["study"].trials
    assert len(trials) == 4
    finished = [trial for trial in trials if trial.user_attrs]
    assert finished
    for trial in finished:
        assert trial.intermediate_values[2] == trial.value
        assert 0 < trial.user_attrs["val_ece"] < 1
    assert names["study"].best_value == min(each.value for each in finished)


@pytest.mark.slow
def test_mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    pytest.importorskip("pandas", reason=EXTRA)
    mlflow_keras = pytest.importorskip("mlflow.keras", reason=EXTRA)
    try:
        names = run("MLflow")
    finally:
        mlflow_keras.autolog(disable=True)
    mlflow, history = names["mlflow"], names["history"]
    client, run_id = mlflow.MlflowClient(), names["run"].info.run_id
    for name, values in history.items():
        logged = client.get_metric_history(run_id, name)
        found = [(each.step, each.value) for each in logged]
        assert found == list(enumerate(values)), name
    # MLflow itself repeats what Keras measures in each validation.
    repeated = {"validation_loss", "validation_accuracy", "validation_ece"}
    assert set(names["metrics"]) == {*history, *repeated}


@pytest.mark.slow
def test_weights_and_biases():
    names = run("Weights and Biases", "wandb")
    for name, values in names["history"].items():
        assert names["logged"][f"epoch/{name}"] == pytest.approx(values[-1]), (
            name
        )
    assert any("offline-run" in each for each in os.listdir("wandb"))


@pytest.mark.slow
def test_other_backends():
    """`make test-jax` and `make test-torch` run it on these backends."""
    names = run("Other backends")
    inputs, labels = agreement.collect(names["validation"].as_numpy_iterator())
    logits = names["model"].predict(inputs, verbose=0)
    check_ece(names["history"], labels, logits)
    check_calibrated(names["calibrated"], logits, inputs)
    probabilities = names["calibrated"].predict(inputs, verbose=0)
    agreement.check_report(names["report"], labels, probabilities)
    assert 0 < names["history"]["negatives_auroc"][-1] <= 1
    found = calibration.bin_predictions(labels, names["model"](inputs))
    with tf.summary.create_file_writer("figures").as_default():
        summaries.write_bins(found, step=0)


FIT = """
import json
{program}
print(json.dumps([len(keras.distribution.list_devices()), history]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="needs JAX, which `make test-jax` installs",
)
def test_several_devices_on_jax():
    found = {}
    shared = documents_test.sections(PAGE)[documents_test.SHARED]
    (program,) = documents_test.sections(PAGE)["Several devices on JAX"]
    for count in (1, 2):
        devices = f"--xla_force_host_platform_device_count={count}"
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                FIT.format(program="\n".join([*shared, program])),
            ],
            env=os.environ
            | {"KERAS_BACKEND": "jax", "XLA_FLAGS": devices}
            | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        number, history = json.loads(done.stdout.splitlines()[-1])
        assert number == count
        found[count] = history
    assert {"ece", "val_ece", "val_nll", "val_signed_gap"} <= set(found[1])
    for name, values in found[1].items():
        assert values == pytest.approx(found[2][name], abs=1e-4), name


def test_saved_model():
    names = run("SavedModel")
    expected = names["calibrated"].predict(names["x"][:8], verbose=0)
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-6)
    with pytest.raises(AssertionError, match="variables which have been del"):
        names["tf"].saved_model.load("served").serve(names["x"][:8])


@pytest.mark.slow
def test_onnx():
    pytest.importorskip("tf2onnx", reason=EXTRA)
    names = run("ONNX", "onnxruntime")
    expected = names["calibrated"].predict(names["x"][:8], verbose=0)
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-6)
    isotonic = posthoc.calibrate(
        names["model"], posthoc.IsotonicScaling(), names["validation"]
    )
    with pytest.raises(ValueError, match="has never called"):
        isotonic.export("isotonic.onnx", format="onnx", verbose=False)
    isotonic.predict(names["x"][:1], verbose=0)
    isotonic.export("isotonic.onnx", format="onnx", verbose=False)
    with pytest.raises(Exception, match="INVALID_GRAPH"):
        names["onnxruntime"].InferenceSession("isotonic.onnx")
