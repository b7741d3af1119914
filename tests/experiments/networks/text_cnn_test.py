"""Tests of the network of sentences: its words, its layers, its training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import networks
from experiments.networks import text_cnn
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import optimizers
from experiments.runs import run_data
from experiments.runs import training
from tests import reference
from tests import stages
from tf_mixup import mixing

WORDS = ("", "[UNK]", "the", "film", "is", "good", "bad")
SENTENCES = np.array(
    [
        [2, 3, 4, 5, 0, 0],
        [2, 5, 3, 0, 0, 0],
        [3, 4, 5, 0, 0, 0],
        [5, 5, 2, 3, 0, 0],
        [2, 3, 4, 6, 0, 0],
        [2, 6, 3, 0, 0, 0],
        [3, 4, 6, 0, 0, 0],
        [6, 6, 2, 3, 0, 0],
    ],
    np.int32,
)
LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0])


def build(**options):
    options = {"vocabulary": WORDS, "width": 5, "maps": 4, "seed": 0, **options}
    return networks.build_text_cnn((6,), 2, **options)


def vectors_of(model):
    return model.get_layer("embedding").embeddings.numpy()


def weights_of(model):
    """Returns the filters, by width, and the weights of the logits."""
    filters = [
        layer.get_weights()
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv1D)
    ]
    return filters, *model.get_layer("logits").get_weights()


def give_biases(model):
    """Makes every bias another number, so that none can hide."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "bias"):
            layer.bias.assign(rng.normal(size=layer.bias.shape))


def compile_as_kim(model, **options):
    config = config_lib.Config(
        dataset="trec", **defaults.PAPER_DEFAULTS["trec"]
    )
    model.compile(
        optimizers.build_optimizer(config, 1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **options,
    )
    return model


def write_vectors(path, rows, separator=" "):
    lines = (
        separator.join([word, *map(str, numbers)]) + "\n"
        for word, numbers in rows
    )
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


class TestNetwork:
    def test_parameters_by_hand(self):
        model = networks.build_text_cnn((56,), 2, vocabulary=WORDS, seed=0)
        # Seven vectors of 300; (3 + 4 + 5) * 300 * 100 and 300 biases;
        # 300 * 2 and 2.
        assert model.count_params() == 2_100 + 360_000 + 300 + 602

    def test_logits_equal_the_reference(self):
        model = build()
        give_biases(model)
        vectors = vectors_of(model)
        expected = [
            reference.sentence_logits(vectors[row], *weights_of(model))
            for row in SENTENCES
        ]
        found = model.predict(SENTENCES, verbose=0)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_more_padding_changes_nothing(self):
        model, longer = (
            networks.build_text_cnn((size,), 2, vocabulary=WORDS, seed=0)
            for size in (6, 9)
        )
        padded = np.pad(SENTENCES, [(0, 0), (0, 3)])
        np.testing.assert_allclose(
            model.predict(SENTENCES, verbose=0),
            longer.predict(padded, verbose=0),
            rtol=1e-4,
            atol=1e-6,
        )

    def test_a_single_word_is_long_enough(self):
        model = networks.build_text_cnn((1,), 2, vocabulary=WORDS, seed=0)
        logits = model.predict(np.array([[2], [3]]), verbose=0)
        assert np.any(logits[0] != logits[1])

    def test_dropout_stands_before_the_logits(self):
        model = build()
        layer = model.get_layer("logits").input._keras_history.operation
        assert isinstance(layer, keras.layers.Dropout)
        assert layer.rate == 0.5

    def test_saved_network_predicts_the_same(self, tmp_path):
        model = build()
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            loaded.predict(SENTENCES, verbose=0),
            model.predict(SENTENCES, verbose=0),
        )

    def test_the_seed_decides(self):
        one, same, other = (
            build(seed=seed).get_weights() for seed in (0, 0, 1)
        )
        for a, b in zip(one, same, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.any(one[0] != other[0])

    def test_refuses_images(self):
        with pytest.raises(
            ValueError, match=r"Received: input_shape=\(8, 8, 1"
        ):
            networks.build_text_cnn((8, 8, 1), 2, vocabulary=WORDS)


class TestPadding:
    def test_is_zero_whatever_the_weights_say(self):
        layer = text_cnn.WordEmbedding(4, 3)
        layer.build()
        layer.set_weights([np.ones((4, 3))])
        found = np.asarray(layer(np.array([[1, 0], [3, 2]])))
        np.testing.assert_array_equal(found[:, :, 0], [[1, 0], [1, 1]])

    def test_gradient_is_dense_and_leaves_it_alone(self):
        model = build()
        table = model.get_layer("embedding").embeddings.value
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(SENTENCES) ** 2)
        gradient = tape.gradient(total, table)
        assert isinstance(gradient, tf.Tensor)
        norms = np.linalg.norm(gradient, axis=1)
        # The unknown word is in no sentence.
        np.testing.assert_array_equal(norms > 0, [0, 0, 1, 1, 1, 1, 1])


class TestMixing:
    def test_words_are_mixed_place_by_place(self):
        model = build(dropout=0.0)
        give_biases(model)
        twin = stages.training_model(model, at="embedding")
        lam = np.array([0.2, 0.5, 0.9, 1.0], np.float32)
        rows = {
            "inputs": SENTENCES[2:6],
            "lam": lam,
            "partner_offset": np.array([1, 2, -1, -3], np.int32),
        }
        # Partners are rows 1, 3, 1 and 0 of these four.
        first = vectors_of(model)[SENTENCES[2:6]]
        mixed = [
            a * one + (1 - a) * other
            for a, one, other in zip(
                lam, first, first[[1, 3, 1, 0]], strict=True
            )
        ]
        expected = [
            reference.sentence_logits(vectors, *weights_of(model))
            for vectors in mixed
        ]
        found = np.asarray(twin(rows, training=True))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_the_embedding_is_crossed_by_all_paths(self):
        assert "embedding" in mixing.mixable_layers(build())


class TestTraining:
    def test_learns_a_dozen_words(self):
        model = compile_as_kim(build(maps=16, width=16))
        rows = np.tile(SENTENCES, (60, 1)), np.tile(LABELS, 60)
        model.fit(*rows, batch_size=8, verbose=0)
        assert model.evaluate(SENTENCES, LABELS, verbose=0)[1] == 1
        assert not vectors_of(model)[0].any()

    def test_weights_of_a_class_keep_their_norm(self):
        model = build()
        model.compile(
            keras.optimizers.SGD(50.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(SENTENCES, LABELS, batch_size=8, epochs=2, verbose=0)
        norms = np.linalg.norm(model.get_layer("logits").kernel, axis=0)
        np.testing.assert_allclose(norms, 3, rtol=1e-3)

    @pytest.mark.slow
    def test_learns_the_same_compiled_by_xla(self):
        histories = [
            compile_as_kim(build(dropout=0.0), jit_compile=jit)
            .fit(SENTENCES, LABELS, batch_size=8, epochs=5, verbose=0)
            .history["loss"]
            for jit in (False, True)
        ]
        np.testing.assert_allclose(*histories, rtol=1e-3)


class TestRun:
    """Whole runs, from files to a record."""

    @pytest.mark.slow
    def test_learns_questions_mixed_in_their_words(self, data_dir, tmp_path):
        config = config_lib.Config(
            dataset="trec",
            **{
                **defaults.PAPER_DEFAULTS["trec"],
                "width": 32,
                "epochs": 6,
                "num_train": 400,
                "num_validation": 100,
            },
        )
        sources = run_data.Sources(data_dir=str(data_dir / "tfds"))
        record = training.run(config, tmp_path, sources)
        results, history = record["results"], record["history"]
        assert history["loss"][-1] < 0.9 * history["loss"][0]
        # The largest of the six classes has 28 % of the test.
        assert results["test_accuracy"] > 0.45
        assert results["train_accuracy"] > 0.7
        assert np.isfinite([*results.values()]).all()
        model = keras.saving.load_model(tmp_path / "model.keras")
        assert model.count_params() == record["trainable_parameters"]

    @pytest.fixture
    def films(self, tmp_path):
        """Writes 40 sentences; returns a run's settings and sources."""
        (tmp_path / "mr").mkdir()
        for name, word in (("pos", "good"), ("neg", "bad")):
            lines = (f"a {word} film , number {i}\n" for i in range(20))
            path = tmp_path / "mr" / f"rt-polarity.{name}"
            path.write_text("".join(lines))
        settings = {
            **defaults.PAPER_DEFAULTS["mr"],
            "dataset": "mr",
            "width": 4,
            "epochs": 1,
            "batch_size": 8,
            "num_validation": 6,
        }
        return settings, run_data.Sources(data_dir=str(tmp_path))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"mix_layers": ()}, "Sentences are mixed as word vectors"),
            ({"network": "mlp"}, "take the network `text_cnn`"),
            ({"augmentation": "standard"}, "Only images can be cropped"),
        ],
    )
    def test_refuses(self, films, tmp_path, fields, message):
        settings, sources = films
        config = config_lib.Config(**{**settings, **fields})
        with pytest.raises(ValueError, match=message):
            training.run(config, tmp_path / "run", sources)

    def test_images_do_not_take_it(self, tmp_path):
        config = config_lib.Config(network="text_cnn", epochs=1)
        with pytest.raises(ValueError, match="with dataset='digits'"):
            training.run(config, tmp_path / "run")

    def test_without_mixup_on_sentences_with_wrong_labels(
        self, films, tmp_path
    ):
        settings, sources = films
        config = config_lib.Config(
            **{**settings, "method": "erm", "corruption": 0.5}
        )
        results = training.run(config, tmp_path / "run", sources)["results"]
        assert 0 <= results["test_ece"] <= 1


class TestVectors:
    NUMBERS = np.random.default_rng(0).normal(0, 0.4, (3, 5)).round(4)

    def test_are_uniform_without_a_file(self):
        model = build(vocabulary=[str(i) for i in range(2_000)])
        vectors = vectors_of(model)
        assert not vectors[0].any()
        assert np.abs(vectors).max() <= 0.25
        # A uniform number has a standard deviation of limit / sqrt(3).
        assert vectors[1:].std() == pytest.approx(0.25 / 3**0.5, rel=0.02)

    def test_are_those_of_the_file(self, tmp_path):
        words = ("good", "is", "the")
        rows = [(". .", [9] * 5), *zip(words, self.NUMBERS, strict=True)]
        path = write_vectors(tmp_path / "glove.txt", rows[1:] + rows[:1])
        vectors = vectors_of(build(embeddings=path))
        for word, numbers in zip(words, self.NUMBERS, strict=True):
            found = vectors[WORDS.index(word)]
            np.testing.assert_allclose(found, numbers, rtol=1e-6)
        assert not vectors[0].any()

    def test_missing_words_have_the_variance_of_the_others(self, tmp_path):
        rows = zip(("good", "is", "the"), self.NUMBERS, strict=True)
        path = write_vectors(tmp_path / "glove.txt", rows)
        many = [*WORDS, *(f"missing{i}" for i in range(2_000))]
        drawn = vectors_of(build(vocabulary=many, embeddings=path))[
            len(WORDS) :
        ]
        assert drawn.std() == pytest.approx(self.NUMBERS.std(), rel=0.02)

    def test_refuses_a_file_that_is_not_there(self):
        with pytest.raises(FileNotFoundError, match=r"Received: 'no\.txt'"):
            build(embeddings="no.txt")

    @pytest.mark.parametrize(
        ("rows", "line"),
        [
            ([("good", [1] * 6)], 1),
            ([("good", [1] * 4)], 1),
            ([("400000", [5])], 1),
            ([("bad", [1] * 5), ("good", [1] * 3)], 2),
            ([("bad", [1] * 5), ("good", [1, 2, "x", 4, 5])], 2),
        ],
    )
    def test_refuses_other_numbers(self, tmp_path, rows, line):
        path = write_vectors(tmp_path / "glove.txt", rows)
        with pytest.raises(ValueError, match="a word and 5 numbers") as caught:
            build(embeddings=path)
        assert f"line {line} of" in str(caught.value)

    def test_refuses_tabs(self, tmp_path):
        rows = [("good", [1] * 5)]
        path = write_vectors(tmp_path / "glove.txt", rows, separator="\t")
        with pytest.raises(ValueError, match="line 1 of"):
            build(embeddings=path)

    def test_refuses_words_of_another_language(self, tmp_path):
        path = write_vectors(tmp_path / "glove.txt", [("bon", [1] * 5)])
        with pytest.raises(ValueError, match="words of the training set"):
            build(embeddings=path)
