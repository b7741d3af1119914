"""A scaler for each of several labels."""

import copy
import json

import keras
import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup import posthoc

INNER = [
    posthoc.TemperatureScaling,
    posthoc.PlattScaling,
    posthoc.BetaCalibration,
]
KERNEL = 2 * np.random.default_rng(3).normal(size=(5, 3)).astype("float32")
BIAS = np.array([-1, 0.5, 0], "float32")


def draw(size=300):
    """Returns inputs, and labels that are less sure than the model's logits."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(size, 5)).astype("float32")
    truth = (x @ KERNEL + BIAS) / 3 - 0.5
    labels = generator.random(truth.shape) < 1 / (1 + np.exp(-truth))
    return x, labels.astype("int32")


def build(activation):
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3, activation)]
    )
    model.set_weights([KERNEL, BIAS])
    return model


class Doubled(keras.Sequential):
    """A model that is called as a whole."""

    def predict_step(self, data):
        return super().predict_step(data)


@pytest.mark.parametrize("kind", INNER)
def test_each_label_has_its_own(kind):
    x, labels = draw()
    logits = x @ KERNEL + BIAS
    scaler = posthoc.LabelwiseScaling(kind()).fit(logits, labels)
    expected = [
        kind().fit(logits[:, k], labels[:, k]).apply(logits[:, k])[:, 1]
        for k in range(3)
    ]
    np.testing.assert_allclose(
        scaler.apply(logits), np.stack(expected, axis=-1), atol=1e-7
    )
    before = calibration.label_calibration_error(labels, logits)
    after = calibration.label_calibration_error(labels, scaler.apply(logits))
    assert float(after) < 0.7 * float(before)


def test_unknown_labels_are_left_out_one_by_one():
    x, labels = draw()
    logits = x @ KERNEL + BIAS
    unknown = np.random.default_rng(1).random(labels.shape) < 0.3
    weight = np.random.default_rng(2).random(len(labels))
    given = np.where(unknown, -1, labels)
    scaler = posthoc.LabelwiseScaling(posthoc.PlattScaling()).fit(
        logits, given, sample_weight=weight, ignore_label=-1
    )
    for k, found in enumerate(scaler.scalers):
        kept = ~unknown[:, k]
        expected = posthoc.PlattScaling().fit(
            logits[kept, k], labels[kept, k], sample_weight=weight[kept]
        )
        assert found.parameters == pytest.approx(expected.parameters, rel=1e-5)


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_model_predicts_the_same(kind, activation, tmp_path):
    x, labels = draw()
    scaler = posthoc.LabelwiseScaling(kind())
    calibrated = posthoc.calibrate(build(activation), scaler, (x, labels))
    found = calibrated.predict(x, verbose=0)
    expected = scaler.apply(x @ KERNEL + BIAS)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    calibrated.save(tmp_path / "calibrated.keras")
    loaded = keras.saving.load_model(tmp_path / "calibrated.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), found)
    # It ends with sigmoids: measures of one class refuse it.
    with pytest.raises(ValueError, match="3 sigmoids"):
        posthoc.calibrate(
            loaded, posthoc.TemperatureScaling(), (x, labels[:, 0])
        )


def test_model_that_is_called_as_a_whole():
    x, labels = draw()
    model = Doubled([keras.Input((5,)), keras.layers.Dense(3, "sigmoid")])
    model.set_weights([KERNEL, BIAS])
    scaler = posthoc.LabelwiseScaling(posthoc.PlattScaling())
    calibrated = posthoc.calibrate(model, scaler, (x, labels))
    # It has the probabilities alone, which float32 rounds.
    p = np.float64(model.predict(x, verbose=0))
    np.testing.assert_allclose(
        calibrated.predict(x, verbose=0),
        scaler.apply(np.log(p / np.maximum(1 - p, 2.0**-25))),
        atol=1e-5,
    )
    assert calibrated.get_config()["multi_label"] is True


def test_one_label_is_no_pair_of_classes():
    x, labels = draw()
    logits = (x @ KERNEL + BIAS)[:, :1]
    scaler = posthoc.LabelwiseScaling(posthoc.PlattScaling())
    found = scaler.fit(logits, labels[:, :1]).apply(logits)
    assert found.shape == (300, 1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    attached = scaler.attach(model, from_logits=True)
    np.testing.assert_allclose(
        attached.predict(logits, verbose=0), found, atol=1e-6
    )


def test_config_and_copies():
    x, labels = draw()
    logits = x @ KERNEL + BIAS
    scaler = posthoc.LabelwiseScaling(posthoc.BetaCalibration())
    assert repr(scaler) == "LabelwiseScaling(BetaCalibration, not fitted)"
    scaler.fit(logits, labels)
    config = json.loads(json.dumps(scaler.get_config()))
    twins = posthoc.LabelwiseScaling.from_config(config), copy.deepcopy(scaler)
    for twin in twins:
        assert repr(twin) == repr(scaler)
        np.testing.assert_array_equal(twin.apply(logits), scaler.apply(logits))


def test_names_the_label_of_a_warning():
    logits = np.random.default_rng(0).normal(size=(200, 2))
    labels = (logits * [1, -1] > 0).astype("int32")
    labels[:40] = 1 - labels[:40]
    for scaler, message in (
        (
            posthoc.BetaCalibration(),
            r"^Label 1: Both weights are at .* swapped",
        ),
        (posthoc.PlattScaling(), r"^Label 1: The weight is below 0, "),
    ):
        with pytest.warns(UserWarning, match=message) as caught:
            fitted = posthoc.LabelwiseScaling(scaler).fit(logits, labels)
        assert len(caught) == 1
    # Of a worse than random model each example gets the base rate.
    fitted = posthoc.BetaCalibration
    with pytest.warns(UserWarning, match="Both weights"):
        fitted = posthoc.BetaCalibration().fit(logits[:, 1], labels[:, 1])
    np.testing.assert_allclose(
        fitted.apply(logits[:, 1])[:, 1], labels[:, 1].mean(), atol=1e-6
    )


def test_refuses_a_softmax():
    logits = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    labels = (logits > 0).astype("int32")
    softmax = keras.layers.Activation("softmax")
    model = keras.Sequential([keras.Input((3,)), softmax])
    scaler = posthoc.LabelwiseScaling(posthoc.PlattScaling())
    message = r"need a sigmoid each.*ends with a softmax.*TemperatureScaling"
    with pytest.raises(ValueError, match=message):
        posthoc.calibrate(model, scaler, (logits, labels))
    scaler.fit(logits, labels)
    with pytest.raises(ValueError, match=message):
        scaler.attach(model)


class TestBadInput:
    @pytest.mark.parametrize(
        ("scaler", "message"),
        [
            (posthoc.VectorScaling(), "scaler of a label must be"),
            (posthoc.PlattScaling, r"`LabelwiseScaling\(PlattScaling\(\)\)`"),
        ],
    )
    def test_other_scalers(self, scaler, message):
        with pytest.raises(ValueError, match=message):
            posthoc.LabelwiseScaling(scaler)

    def test_label_without_examples_is_named(self):
        x, labels = draw()
        labels[:, 1] = 0
        with pytest.raises(ValueError, match=r"Label 1: .*two classes"):
            posthoc.LabelwiseScaling(posthoc.PlattScaling()).fit(
                x @ KERNEL, labels
            )

    def test_other_labels(self):
        x, labels = draw()
        scaler = posthoc.LabelwiseScaling(posthoc.PlattScaling())
        with pytest.raises(ValueError, match="must be fitted"):
            scaler.apply(x)
        scaler.fit(x @ KERNEL, labels)
        with pytest.raises(ValueError, match=r"on 3 labels.*: 5 labels"):
            scaler.apply(x)
        with pytest.raises(ValueError, match=r"multi-hot.*\(300,\)"):
            scaler.fit(x @ KERNEL, labels[:, 0])
