"""Mixup inference in training: two mixtures, solved for their examples."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests import reference
from tf_mixup import callbacks
from tf_mixup import mixing

SIZE, WIDTH, NUM_CLASSES = 12, 5, 3


def make_arrays(size=SIZE):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(size, WIDTH)).astype("float32")
    return inputs, generator.integers(0, NUM_CLASSES, size)


def make_data(batch_size=SIZE, **options):
    arrays = tf.data.Dataset.from_tensor_slices(make_arrays(**options))
    return arrays.batch(batch_size)


def make_stage(alpha=1.0, **options):
    return mixing.DecoupledMixUp(
        alpha, **{"num_classes": NUM_CLASSES, "seed": 2} | options
    )


def make_network(activation="tanh", depth=2):
    keras.utils.set_random_seed(1)
    hidden = [
        keras.layers.Dense(6, activation, name=f"hidden{k}")
        for k in range(depth)
    ]
    return keras.Sequential(
        [keras.Input((WIDTH,)), *hidden, keras.layers.Dense(NUM_CLASSES)]
    )


def first(dataset):
    return tf.nest.map_structure(np.array, next(iter(dataset)))


class TestUnmix:
    def test_by_hand(self):
        # m = .75 * 0 + .25 * 8 = 2 and m' = .5 * 0 + .5 * 8 = 4, with c' = .5:
        # (.5 * 2 - .25 * 4) / .25 = 0 and (.75 * 4 - .5 * 2) / .25 = 8.
        lam, offset = np.array([0.75, 0.5]), np.array([1, -1])
        mixed = np.array([[2.0], [4.0]], "float32")
        examples = mixing.Unmix()(mixed, lam, offset, training=True)
        np.testing.assert_allclose(examples, [[0], [8]], atol=1e-6)
        np.testing.assert_array_equal(mixing.Unmix()(mixed, lam, offset), mixed)

    def test_against_reference(self):
        generator = np.random.default_rng(3)
        mixed = generator.normal(size=(2, 4)).astype("float32")
        lam_1, lam_2 = 0.8, 0.3
        lam = np.array([lam_1, 1 - lam_2])
        found = mixing.Unmix()(mixed, lam, np.array([1, -1]), training=True)
        expected = reference.decouple(*mixed.astype("float64"), lam_1, lam_2)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_undoes_mix(self):
        images = np.random.default_rng(0).normal(size=(6, 3, 3, 2))
        lam = np.array([1, 1, 0.9, 0.6, 0.5, 1])
        plan = lam, np.array([1, -1] * 3)
        mixed = mixing.Mix()(images, *plan, training=True)
        back = mixing.Unmix()(mixed, *plan, training=True)
        np.testing.assert_allclose(back, images, atol=1e-5)
        np.testing.assert_array_equal(back[:2], images[:2].astype("float32"))


class TestCoefficients:
    def draw(self, steps=200, **options):
        stage = make_stage(per="example", **options)
        stage.training_model(make_network())
        dataset = make_data().apply(stage).repeat(steps)
        return np.concatenate([sent["lam"] for sent, _ in dataset])[:, 0]

    def test_are_folded_beta_draws(self):
        lam = self.draw(alpha=0.5)
        assert lam.min() >= 0.5
        # max(lam, 1 - lam) up to .99: near 1 float32 has atoms.
        beta = scipy.stats.beta(0.5, 0.5)
        half = beta.cdf(0.99) - 0.5
        test = scipy.stats.kstest(
            lam[lam < 0.99], lambda x: (beta.cdf(x) - 0.5) / half
        )
        assert test.pvalue > 0.001

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 1e6])
    def test_keep_the_margin(self, alpha):
        lam = self.draw(steps=50, alpha=alpha, margin=0.5)
        gap = lam[::2] + lam[1::2] - 1
        assert gap.min() >= 0.5 - 1e-5
        assert lam.max() <= 1

    def test_are_drawn_again_below_the_margin(self):
        # Uniform numbers u + v >= 1 over the unit square: a mean of 2/3 each.
        lam = self.draw(margin=0.5)
        np.testing.assert_allclose(2 * lam.mean() - 1, 2 / 3, atol=0.01)

    def test_one_for_a_batch_and_place(self):
        stage = make_stage()
        stage.training_model(make_network(), at=["input", "hidden0"])
        sent, _ = first(make_data().apply(stage))
        assert sent["lam"].shape == (2 * SIZE, 2)
        assert len(np.unique(sent["lam"][::2], axis=0)) == 1
        assert len(np.unique(sent["lam"][:2])) == 4


class TestBatches:
    def test_each_example_is_followed_by_its_partner(self):
        stage = make_stage()
        stage.training_model(make_network())
        inputs, labels = make_arrays()
        sent, targets = first(make_data().apply(stage))
        np.testing.assert_array_equal(sent["inputs"][::2], inputs)
        np.testing.assert_array_equal(targets[::2].argmax(1), labels)
        assert set(np.unique(targets)) == {0, 1}
        partner = stage.replay((inputs, labels), epoch=0, step=0).partner
        partner = np.array(partner)
        assert sorted(partner) == list(range(SIZE))
        np.testing.assert_array_equal(sent["inputs"][1::2], inputs[partner])
        np.testing.assert_array_equal(targets[1::2].argmax(1), labels[partner])
        np.testing.assert_array_equal(sent["partner_offset"][:2], [1, -1])

    def test_weights_go_with_their_examples(self):
        stage = make_stage()
        stage.training_model(make_network())
        inputs, labels = make_arrays()
        weights = inputs[:, 0]
        data = tf.data.Dataset.from_tensors((inputs, labels, weights))
        sent, _, weighed = first(data.apply(stage))
        np.testing.assert_array_equal(weighed, sent["inputs"][:, 0])

    def test_evaluation_mixes_nothing(self):
        stage = make_stage()
        network = make_network()
        model = stage.training_model(network, at=["input", "hidden0"])
        inputs, labels = make_arrays()
        sent, targets = first(make_data().apply(stage.evaluation))
        np.testing.assert_array_equal(targets.argmax(1), labels)
        for training in (False, True):
            np.testing.assert_allclose(
                model(sent, training=training), network(inputs), atol=1e-6
            )

    def test_alpha_zero_trains_on_the_examples(self):
        stage = make_stage(0.0)
        network = make_network()
        model = stage.training_model(network)
        sent, _ = first(make_data().apply(stage))
        np.testing.assert_array_equal(sent["lam"], 1)
        np.testing.assert_allclose(
            model(sent, training=True), network(sent["inputs"]), atol=1e-6
        )

    def test_is_a_function_of_seed_epoch_and_step(self):
        batches = []
        for calls in (None, 4):
            stage = make_stage()
            stage.num_parallel_calls = calls
            stage.training_model(make_network())
            batches.append([*make_data(4).apply(stage)])
        tf.nest.map_structure(np.testing.assert_array_equal, *batches)
        lam = [sent["lam"][0, 0].numpy() for sent, _ in batches[0]]
        assert len(np.unique(lam)) == len(lam) == 3

    def test_replay_shows_the_first_mixture(self):
        stage = make_stage()
        stage.training_model(make_network())
        inputs, labels = make_arrays()
        replayed = stage.replay((inputs, labels), epoch=0, step=0)
        sent, _ = first(make_data().apply(stage))
        np.testing.assert_array_equal(replayed.lam, sent["lam"][::2, 0])
        expected, _ = reference.mix(
            inputs, inputs, replayed.lam.numpy(), replayed.partner
        )
        np.testing.assert_allclose(replayed.inputs, expected, atol=1e-6)
        # Training decouples, for targets that are not mixed.
        np.testing.assert_array_equal(
            replayed.targets, np.eye(NUM_CLASSES)[labels]
        )


class TestTrainingModel:
    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_loss_against_reference(self, per):
        stage, network = make_stage(per=per, margin=0.3), make_network()
        model = stage.training_model(network)
        model.compile(
            keras.optimizers.SGD(0.0),
            keras.losses.CategoricalCrossentropy(from_logits=True),
        )
        inputs, labels = make_arrays()
        sent, targets = first(make_data().apply(stage))
        found = model.train_on_batch(sent, targets)
        partner = stage.replay((inputs, labels), epoch=0, step=0).partner
        expected = reference.mit_loss(
            lambda row: np.array(network(row[None].astype("float32")))[0],
            inputs.astype("float64"),
            np.eye(NUM_CLASSES)[labels],
            np.array(partner),
            sent["lam"][::2, 0],
            1 - sent["lam"][1::2, 0],
        )
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    @pytest.mark.parametrize(
        "at", [None, ["hidden0"], ["hidden1", "input", "hidden0"]]
    )
    def test_is_exact_for_a_linear_network(self, at):
        stage = make_stage(per="example", margin=0.2)
        network = make_network("linear")
        model = stage.training_model(network, at=at)
        sent, _ = first(make_data().apply(stage))
        np.testing.assert_allclose(
            model(sent, training=True), network(sent["inputs"]), atol=1e-4
        )

    def test_several_places_mix_anew(self):
        # Of a network with one nonlinear layer, MIT-A by hand.
        stage, network = make_stage(margin=0.2), make_network(depth=1)
        model = stage.training_model(network, at=["input", "hidden0"])
        sent, _ = first(make_data().apply(stage))
        hidden, last = (
            [np.array(each, "float64") for each in layer.get_weights()]
            for layer in network.layers
        )
        found = np.array(model(sent, training=True))
        x, lam = sent["inputs"].astype("float64"), sent["lam"]
        for k in range(0, 2 * SIZE, 2):
            a, b = x[k], x[k + 1]
            for place in range(2):
                one, two = lam[k, place], 1 - lam[k + 1, place]
                mixed = [s * a + (1 - s) * b for s in (one, two)]
                if place == 0:
                    kernel, bias = hidden
                    mixed = [np.tanh(row @ kernel + bias) for row in mixed]
                else:
                    kernel, bias = last
                    mixed = [row @ kernel + bias for row in mixed]
                a, b = reference.decouple(*mixed, one, two)
            np.testing.assert_allclose(found[k : k + 2], [a, b], atol=1e-4)

    def test_mixes_embeddings_of_ids(self):
        network = keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(9, 2, name="embedding"),
                keras.layers.Flatten(),
                keras.layers.Dense(NUM_CLASSES),
            ]
        )
        stage = make_stage(margin=0.2)
        model = stage.training_model(network, at="embedding")
        ids = np.arange(8).reshape(2, 4)
        data = tf.data.Dataset.from_tensors((ids, [0, 1]))
        sent, _ = first(data.apply(stage))
        np.testing.assert_allclose(
            model(sent, training=True), network(sent["inputs"]), atol=1e-5
        )

    def test_statistics_and_saving(self, tmp_path):
        statistics = mixing.Inputs(mean=2.0, std=4.0)
        stage = make_stage(inputs=statistics, margin=0.2)
        network = make_network("linear")
        model = stage.training_model(network, at=["input", "hidden0"])
        sent, _ = first(make_data().apply(stage))
        expected = network((sent["inputs"] - 2) / 4)
        np.testing.assert_allclose(
            model(sent, training=True), expected, atol=1e-4
        )
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            loaded(sent, training=True), expected, atol=1e-4
        )

    def test_two_replicas_see_whole_pairs(self, two_replicas):
        stage = make_stage(partner=mixing.Partners(groups=2))
        with two_replicas.scope():
            network = make_network("linear")
            model = stage.training_model(network)
            model.compile(keras.optimizers.SGD(0.0), "mse")
        sent, _ = first(make_data().apply(stage))
        clean = network.predict(sent["inputs"], verbose=0)
        data = tf.data.Dataset.from_tensors((sent, clean))
        data = data.rebatch(2 * SIZE)
        loss = model.fit(data, verbose=0).history["loss"][0]
        assert loss < 1e-6

    def test_trains_and_shares_the_weights(self):
        stage, network = make_stage(margin=0.3), make_network()
        model = stage.training_model(network, at=["input", "hidden1"])
        model.compile(
            keras.optimizers.Adam(0.05),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        inputs, _ = make_arrays(240)
        labels = (inputs[:, 0] > 0) + (inputs[:, 1] > 0)
        train, validation = stage.from_arrays(
            inputs, labels, batch_size=20, validation_split=0.25
        )
        history = model.fit(
            train,
            validation_data=validation,
            epochs=5,
            callbacks=[callbacks.MixingSchedule(stage)],
            shuffle=False,
            verbose=0,
        ).history
        assert history["val_accuracy"][-1] > 0.8
        predicted = network.predict(inputs, verbose=0).argmax(1)
        assert np.mean(predicted == labels) > 0.8


class TestObject:
    def test_repr_and_config(self):
        stage = make_stage(0.5, margin=0.2)
        assert repr(stage) == (
            "DecoupledMixUp(alpha=0.5, num_classes=3, seed=2, margin=0.2)"
        )
        again = mixing.DecoupledMixUp(**stage.get_config())
        assert again.get_config() == stage.get_config()

    def test_alpha_may_be_tuned(self):
        stage = make_stage("auto")
        stage.set_alpha(0.0)
        stage.training_model(make_network())
        sent, _ = first(make_data().apply(stage))
        np.testing.assert_array_equal(sent["lam"], 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"num_points": 3}, "num_points=3"),
            ({"mix": "inputs"}, "mix='inputs'"),
            ({"include_clean": True}, "include_clean=True"),
            ({"per": mixing.SimilarityKernel()}, "one coefficient for a batch"),
            ({"margin": 1.5}, "`margin` must be"),
        ],
    )
    def test_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            make_stage(**options)

    @pytest.mark.parametrize("method", ["__call__", "evaluation"])
    def test_no_training_model(self, method):
        with pytest.raises(ValueError, match=r"Call `mixup.training_model\("):
            getattr(make_stage(), method)(make_data())

    def test_layers_of_the_user(self):
        with pytest.raises(ValueError, match="send_plans"):
            make_stage().send_plans()

    def test_probabilities(self):
        layers = [keras.Input((2,)), keras.layers.Dense(3, "softmax")]
        with pytest.raises(ValueError, match="ends in softmax"):
            make_stage().training_model(keras.Sequential(layers))


def test_refuses_a_softmax_among_several_outputs():
    inputs = keras.Input((3,))
    layers = [keras.layers.Dense(2), keras.layers.Dense(2, "softmax")]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    with pytest.raises(ValueError, match="might fall below 0"):
        make_stage().training_model(model)
