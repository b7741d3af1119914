"""Keras' "Text classification from scratch", with reviews that are drawn.

Reviews come from folders of files. A model of token ids is trained, mixed in
its embedding, and exported as one that takes strings.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup
from tests import stages
from tests.ecosystem import agreement

pytestmark = pytest.mark.slow

LENGTH = 12
WORDS = {
    "negative": "dull slow bad boring awful",
    "neutral": "plain usual known common average",
    "positive": "great moving fresh funny superb",
}
OTHERS = "the a one of and to was in on for film plot<br />scene"


def write(folder, kind, number, *, seed):
    """Writes reviews of twelve words; one in five is of any class."""
    generator = np.random.default_rng(seed)
    (folder / kind).mkdir(parents=True)
    for index in range(number):
        any_kind = generator.choice(sorted(WORDS))
        shown = any_kind if generator.random() < 0.2 else kind
        words = (WORDS[shown] + " " + OTHERS).split()
        review = " ".join(generator.choice(words, LENGTH)) + "."
        (folder / kind / f"{index}.txt").write_text(review)


def load(folder, **options):
    options = {"shuffle": False, "verbose": False} | options
    return keras.utils.text_dataset_from_directory(
        folder, batch_size=16, **options
    )


def standardize(text):
    text = tf.strings.regex_replace(tf.strings.lower(text), "<br />", " ")
    return tf.strings.regex_replace(text, "[^a-z ]", "")


def make_model(num_tokens, num_outputs, activation):
    inputs = keras.Input((None,), dtype="int64")
    x = keras.layers.Embedding(num_tokens, 8, name="embedding")(inputs)
    x = keras.layers.Dropout(0.3, seed=0)(x)
    x = keras.layers.Conv1D(16, 3, padding="valid", activation="relu")(x)
    x = keras.layers.GlobalMaxPooling1D()(x)
    x = keras.layers.Dropout(0.3, seed=1)(x)
    outputs = keras.layers.Dense(num_outputs, activation, name="predictions")
    return keras.Model(inputs, outputs(x))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_text_classification_from_scratch(tmp_path, activation):
    keras.utils.set_random_seed(0)
    binary = activation == "sigmoid"
    kinds = ["negative", "positive"] if binary else list(WORDS)
    for seed, kind in enumerate(kinds):
        write(tmp_path / "train", kind, 40, seed=seed)
        write(tmp_path / "test", kind, 12, seed=100 + seed)
    raw_train, raw_validation = load(
        tmp_path / "train",
        shuffle=True,
        validation_split=0.3,
        subset="both",
        seed=1337,
    )
    raw_test = load(tmp_path / "test")
    backwards = raw_test.map(
        lambda text, _: tf.strings.reduce_join(
            tf.reverse(tf.strings.bytes_split(text).to_tensor(), [1]), axis=1
        )
    )
    to_ids = keras.layers.TextVectorization(
        standardize=standardize, max_tokens=100, output_sequence_length=LENGTH
    )
    to_ids.adapt(raw_train.map(lambda text, _: text))

    def vectorize(text, labels):
        return to_ids(tf.expand_dims(text, -1)), labels

    train, validation, test = (
        each.map(vectorize).cache()
        for each in (raw_train, raw_validation, raw_test)
    )

    num_outputs = 1 if binary else len(kinds)
    mixup = tf_mixup.MixUp(
        alpha=0.2, num_classes=num_outputs, seed=0
    ).send_plans()
    model = make_model(to_ids.vocabulary_size(), num_outputs, activation)
    strings = keras.Input((1,), dtype="string")
    end_to_end = keras.Model(strings, model(to_ids(strings)))
    twin = stages.training_model(model, at="embedding")
    twin.compile(
        keras.optimizers.Adam(0.01),
        "binary_crossentropy" if binary else "categorical_crossentropy",
        metrics=["accuracy", tf_mixup.metrics.CalibrationMetrics()],
    )
    history = twin.fit(
        train.apply(mixup),
        validation_data=validation.apply(mixup.evaluation),
        epochs=5,
        callbacks=agreement.monitors(
            mixup,
            {"backwards": backwards},
            reference=raw_validation,
            noise=(),
            model=end_to_end,
        ),
        verbose=0,
    ).history

    def predict(inputs):
        outputs = end_to_end.predict(inputs, verbose=0)
        return agreement.to_probabilities(outputs, from_logits=False)

    inputs, labels = agreement.collect(raw_validation)
    inputs = tf.constant(inputs)
    inside, outside = predict(inputs), predict(backwards)
    agreement.check_history(history, labels, inside)
    agreement.check_detection(history, "backwards", inside, outside)
    evaluated = twin.evaluate(
        validation.apply(mixup.evaluation), verbose=0, return_dict=True
    )
    assert evaluated["ece"] == pytest.approx(history["val_ece"][-1])

    # Both take strings: nobody has to vectorize for the tools.
    scaler = tf_mixup.posthoc.TemperatureScaling()
    calibrated = tf_mixup.posthoc.calibrate(
        end_to_end, scaler, raw_validation, test=raw_test
    )
    inputs, labels = agreement.collect(raw_test)
    inputs = tf.constant(inputs)
    outputs = end_to_end.predict(inputs, verbose=0)
    agreement.check_calibrated(
        calibrated, scaler, inputs, outputs, from_logits=False
    )
    report = tf_mixup.calibration_report(
        end_to_end, raw_test, ood={"backwards": backwards}, num_resamples=2
    )
    agreement.check_report(report, labels, predict(inputs))

    # A calibrated model of ids agrees with the one of strings.
    by_ids = tf_mixup.posthoc.calibrate(
        model, tf_mixup.posthoc.TemperatureScaling(), validation, test=test
    )
    np.testing.assert_allclose(
        by_ids.predict(test, verbose=0),
        calibrated.predict(inputs, verbose=0),
        atol=agreement.ATOL,
    )
    agreement.check_saved(by_ids, test, tmp_path)
