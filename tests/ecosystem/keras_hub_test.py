"""KerasHub tasks of small configurations, with their own preprocessors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup
from tests import stages
from tests.ecosystem import agreement
from tests.ecosystem import image_example_test
from tests.ecosystem import text_example_test

keras_hub = pytest.importorskip(
    "keras_hub", reason="needs the extra `ecosystem`"
)

pytestmark = pytest.mark.slow

SHAPES = image_example_test.SHAPES
SENTENCE = 8


def make_image_task():
    """Returns a classifier of images that it resizes and rescales itself."""
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(12, 12, 3),
    )
    return keras_hub.models.ResNetImageClassifier(
        backbone,
        num_classes=len(SHAPES),
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(
            keras_hub.layers.ResNetImageConverter(
                image_size=(12, 12), scale=1 / 255
            )
        ),
        activation="softmax",
    )


def draw_images(number, *, seed):
    generator = np.random.default_rng(seed)
    labels = np.arange(number) % len(SHAPES)
    images = [
        image_example_test.draw(SHAPES[label], generator) for label in labels
    ]
    return np.stack(images), labels


def batch(inputs, labels, size=16):
    rows = tf.data.Dataset.from_tensor_slices((inputs, labels))
    return rows.batch(size)


def check_tools(task, validation, test, folder, *, from_logits):
    """Checks `calibrate` and the report on inputs as the task takes them."""
    inputs, labels = test
    outputs = task.predict(inputs, verbose=0)
    scaler = tf_mixup.posthoc.TemperatureScaling()
    calibrated = tf_mixup.posthoc.calibrate(task, scaler, validation, test=test)
    agreement.check_calibrated(
        calibrated, scaler, inputs, outputs, from_logits=from_logits
    )
    report = tf_mixup.calibration_report(task, test, num_resamples=2)
    probabilities = agreement.to_probabilities(outputs, from_logits=from_logits)
    agreement.check_report(report, labels, probabilities)
    report = tf_mixup.calibration_report(calibrated, test, num_resamples=2)
    agreement.check_report(report, labels, calibrated.predict(inputs))


def test_image_classifier(tmp_path):
    keras.utils.set_random_seed(0)
    train, validation, test = (
        draw_images(number, seed=seed)
        for seed, number in enumerate((96, 48, 48))
    )
    task = make_image_task()
    task.compile(
        keras.optimizers.Adam(0.01),
        "categorical_crossentropy",
        metrics=["accuracy", tf_mixup.metrics.CalibrationMetrics()],
    )
    mixup = tf_mixup.MixUp(alpha=0.2, num_classes=len(SHAPES), seed=0)
    evaluated = batch(*validation).apply(mixup.evaluation)
    negatives = 255 - validation[0]
    history = task.fit(
        batch(*train).apply(mixup),
        validation_data=evaluated,
        epochs=2,
        callbacks=agreement.monitors(
            mixup, {"negatives": negatives}, reference=validation[0]
        ),
        verbose=0,
    ).history
    inside, outside = (
        agreement.to_probabilities(
            task.predict(images, verbose=0), from_logits=False
        )
        for images in (validation[0], negatives)
    )
    agreement.check_history(history, validation[1], inside)
    agreement.check_detection(history, "negatives", inside, outside)
    results = task.evaluate(evaluated, verbose=0, return_dict=True)
    assert results["ece"] == pytest.approx(history["val_ece"][-1])
    check_tools(task, validation, test, tmp_path, from_logits=False)


def draw_sentences(number, *, seed):
    generator = np.random.default_rng(seed)
    kinds = text_example_test.WORDS
    labels = np.arange(number) % len(kinds)
    sentences = []
    for label in labels:
        words = f"{list(kinds.values())[label]} the a one of and to".split()
        length = generator.integers(4, SENTENCE)
        sentences.append(" ".join(generator.choice(words, length)))
    return np.array(sentences), labels


def make_text_task():
    """Returns a classifier of sentences that it cuts into tokens itself."""
    words = " ".join(text_example_test.WORDS.values())
    words = sorted(set(f"{words} the a one of and to".split()))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=[*special, *words])
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=SENTENCE + 2,
        name="backbone",
    )
    return keras_hub.models.BertTextClassifier(
        backbone,
        num_classes=len(text_example_test.WORDS),
        preprocessor=keras_hub.models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=SENTENCE + 2
        ),
    )


def test_text_classifier(tmp_path):
    keras.utils.set_random_seed(0)
    train, validation, test = (
        draw_sentences(number, seed=seed)
        for seed, number in enumerate((96, 48, 48))
    )
    task = make_text_task()
    mixup = tf_mixup.MixUp(alpha=0.4, num_classes=3, seed=0).send_plans()
    twin = stages.training_model(task, at="backbone/token_embedding")
    twin.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", tf_mixup.metrics.CalibrationMetrics()],
    )
    # The twin takes tokens; the task cuts sentences itself.
    tokens = task.preprocessor
    evaluated = batch(*validation).map(tokens).apply(mixup.evaluation)
    backwards = np.array([each[::-1] for each in validation[0]])
    history = twin.fit(
        batch(*train).map(tokens).apply(mixup),
        validation_data=evaluated,
        epochs=2,
        callbacks=agreement.monitors(
            mixup,
            {"backwards": backwards},
            reference=validation[0],
            noise=(),
            model=task,
        ),
        verbose=0,
    ).history
    inside, outside = (
        agreement.to_probabilities(
            task.predict(sentences, verbose=0), from_logits=True
        )
        for sentences in (validation[0], backwards)
    )
    agreement.check_history(history, validation[1], inside)
    agreement.check_detection(history, "backwards", inside, outside)
    check_tools(task, validation, test, tmp_path, from_logits=True)
