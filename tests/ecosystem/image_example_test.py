"""Keras' "Image classification from scratch", with shapes for photographs.

Images come from folders, augmentation and rescaling are layers of the model.
"""

import keras
import numpy as np
import pytest

import tf_mixup
from tests.ecosystem import agreement

pytestmark = pytest.mark.slow

SIZE = 16
SHAPES = ("circle", "cross", "square")


def draw(shape, generator):
    """Returns a colored shape on a dark, noisy background, uint8."""
    row, column = generator.integers(5, 11, size=2)
    y, x = np.abs(np.mgrid[:SIZE, :SIZE] - np.reshape([row, column], (2, 1, 1)))
    inside = {
        "circle": x**2 + y**2 <= 16,
        "cross": (np.minimum(x, y) <= 1) & (np.maximum(x, y) <= 4),
        "square": np.maximum(x, y) <= 4,
        "stripes": y % 4 < 2,
    }[shape]
    image = generator.normal(60, 40, (SIZE, SIZE, 3))
    image[inside] += generator.integers(60, 180, 3)
    return image.clip(0, 255).astype("uint8")


def write(folder, shape, number, *, seed):
    generator = np.random.default_rng(seed)
    (folder / shape).mkdir(parents=True)
    for index in range(number):
        keras.utils.save_img(
            folder / shape / f"{index}.png",
            draw(shape, generator),
            scale=False,
        )


def load(folder, **options):
    options = {"shuffle": False, "verbose": False} | options
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=16, **options
    )


def make_model(num_outputs, activation):
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.RandomFlip("horizontal", seed=0)(inputs)
    x = keras.layers.RandomTranslation(0.1, 0.1, seed=1)(x)
    x = keras.layers.Rescaling(1 / 255)(x)
    for filters in (8, 16):
        x = keras.layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = keras.layers.BatchNormalization(momentum=0.8)(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.25, seed=2)(x)
    outputs = keras.layers.Dense(num_outputs, activation=activation)(x)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("label_mode", ["int", "categorical", "binary"])
def test_image_classification_from_scratch(tmp_path, label_mode):
    keras.utils.set_random_seed(0)
    shapes = SHAPES[:2] if label_mode == "binary" else SHAPES
    for seed, shape in enumerate(shapes):
        write(tmp_path / "train", shape, 40, seed=seed)
        write(tmp_path / "test", shape, 12, seed=100 + seed)
    write(tmp_path / "other", "stripes", 20, seed=200)
    train, validation = load(
        tmp_path / "train",
        label_mode=label_mode,
        shuffle=True,
        validation_split=0.3,
        subset="both",
        seed=1337,
    )
    test = load(tmp_path / "test", label_mode=label_mode)
    stripes = load(tmp_path / "other", labels=None)

    binary = label_mode == "binary"
    mixup = tf_mixup.MixUp(
        alpha=0.2, num_classes=1 if binary else len(shapes), seed=0
    )
    model = make_model(*(1, None) if binary else (len(shapes), "softmax"))
    loss = (
        keras.losses.BinaryCrossentropy(from_logits=True)
        if binary
        else "categorical_crossentropy"
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        loss,
        metrics=["accuracy", tf_mixup.metrics.CalibrationMetrics()],
    )
    history = model.fit(
        train.apply(mixup),
        validation_data=validation.apply(mixup.evaluation),
        epochs=2,
        callbacks=agreement.monitors(
            mixup, {"stripes": stripes}, reference=validation
        ),
        verbose=0,
    ).history

    def predict(inputs):
        outputs = model.predict(inputs, verbose=0)
        return agreement.to_probabilities(outputs, from_logits=binary)

    inputs, labels = agreement.collect(validation)
    inside, outside = predict(inputs), predict(stripes)
    agreement.check_history(history, labels, inside)
    agreement.check_detection(history, "stripes", inside, outside)

    scaler = tf_mixup.posthoc.TemperatureScaling()
    calibrated = tf_mixup.posthoc.calibrate(
        model, scaler, validation, test=test
    )
    inputs, labels = agreement.collect(test)
    outputs = model.predict(test, verbose=0)
    agreement.check_calibrated(
        calibrated, scaler, inputs, outputs, from_logits=binary
    )
    agreement.check_saved(calibrated, inputs, tmp_path)

    report = tf_mixup.calibration_report(
        model,
        test,
        ood={"stripes": stripes},
        class_names=train.class_names,
        num_resamples=2,
    )
    agreement.check_report(report, labels, predict(inputs))
    assert [each.name for each in report.classes] == list(shapes)
    assert report.ood["stripes"].confidence == pytest.approx(
        outside.max(1).mean(), abs=agreement.ATOL
    )
