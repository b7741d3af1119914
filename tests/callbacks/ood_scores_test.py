"""Scores of OODMonitor, of every form of outputs."""

import keras
import numpy as np
import pytest

from tests.callbacks import monitors_test
from tf_mixup import callbacks as monitors
from tf_mixup import ood

REFERENCE = monitors_test.examples(50)[0]
FAR = 3 * monitors_test.examples(30, seed=2)[0]


def measure(model, **options):
    """Returns the values of an epoch, and the monitor."""
    monitor = monitors.OODMonitor(
        {"far": FAR}, reference=REFERENCE, noise=(), **options
    )
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_begin(0)
    monitor.on_epoch_end(0)
    monitor.on_train_end()
    return monitor.values


def build(units, activation):
    keras.utils.set_random_seed(0)
    width = REFERENCE.shape[1:]
    return keras.Sequential(
        [
            keras.Input(width),
            keras.layers.Flatten(),
            keras.layers.Dense(5, "relu", name="features"),
            keras.layers.Dense(units, activation, name="head"),
        ]
    )


def logits_of(model, x):
    head = model.get_layer("head")
    features = keras.Model(model.inputs, model.get_layer("features").output)
    kernel, bias = head.get_weights()
    return features.predict(x, verbose=0) @ kernel + bias


class TestNames:
    @pytest.mark.parametrize(
        ("sets", "options", "key"),
        [
            (["far", "far_energy"], {}, "far_energy_auroc"),
            (["a", "b"], {"groups": {"a_energy": ["b"]}}, "a_energy_auroc"),
            (
                ["far", "far_energy"],
                {"score": ["energy", "confidence"], "quantiles": [0.5]},
                "far_energy_auroc",
            ),
        ],
    )
    def test_two_values_of_one_name_are_refused(self, sets, options, key):
        options = {"score": ["confidence", "energy"]} | options
        with pytest.raises(ValueError, match=rf"two values '{key}'.*Rename"):
            monitors.OODMonitor(
                dict.fromkeys(sets, FAR),
                reference=REFERENCE,
                noise=(),
                **options,
            )

    def test_of_one_score_a_name_may_end_like_another(self):
        sets = {"far": FAR, "far_energy": FAR}
        monitors.OODMonitor(sets, reference=REFERENCE, noise=())


class TestNoise:
    @pytest.mark.parametrize("labels", [True, False])
    def test_is_like_the_examples_that_count(self, labels):
        inputs = np.ones((64, 4), "float32")
        inputs[32:] = 1000
        weights = np.repeat([1.0, 0.0], 32)
        reference = inputs, np.zeros(64) if labels else None, weights
        monitor = monitors.OODMonitor(
            {}, reference=reference, noise=("gaussian",)
        )
        (batch,) = monitor._sets["gaussian"].read(labeled=False).batches()
        np.testing.assert_allclose(batch.inputs, np.ones((32, 4)), atol=1e-6)


class TestValues:
    @pytest.mark.parametrize(
        ("units", "activation"),
        [(3, "softmax"), (3, None), (1, "sigmoid"), (1, None)],
    )
    def test_every_form_of_outputs(self, units, activation):
        model = build(units, activation)
        told = {} if activation else {"from_logits": True}
        values = measure(model, score=list(ood.SCORES), **told)
        inside, outside = (logits_of(model, x) for x in (REFERENCE, FAR))
        for name, score in ood.SCORES.items():
            a, b = (
                np.array(score(z, from_logits=True)) for z in (inside, outside)
            )
            infix = "" if name == "confidence" else f"{name}_"
            assert values[f"reference_{name}"] == pytest.approx(
                a.mean(), abs=1e-5
            )
            assert values[f"far_{infix}auroc"] == pytest.approx(
                ood.auroc(a, b), abs=5e-3
            )

    def test_a_function_of_ones_own(self):
        model = build(3, "softmax")

        def margin(outputs):
            top = np.sort(outputs, axis=-1)
            return top[:, -1] - top[:, -2]

        values = measure(model, score=["energy", margin])
        inside, outside = (
            margin(model.predict(x, verbose=0)) for x in (REFERENCE, FAR)
        )
        assert values["far_margin"] == pytest.approx(outside.mean(), abs=1e-5)
        expected = ood.auroc(inside, outside)
        assert values["far_margin_auroc"] == pytest.approx(expected, abs=5e-3)
        assert "far_auroc" not in values

    def test_neighbors(self):
        model = build(3, "softmax")
        score = ood.NearestNeighbors(REFERENCE[:20], layer="features", k=2)
        values = measure(model, score=score)
        features = keras.Model(model.inputs, model.get_layer("features").output)
        train, outside = (
            features.predict(x, verbose=0) for x in (REFERENCE[:20], FAR)
        )
        expected = score.of_features(train, outside).mean()
        assert values["far_neighbors"] == pytest.approx(expected, abs=1e-5)

    def test_neighbors_may_have_any_name(self):
        model = build(3, "softmax")
        score = ood.NearestNeighbors(
            REFERENCE[:20], layer="features", k=2, name="logits"
        )
        values = measure(model, score=["energy", score])
        alone = measure(model, score="energy")
        assert values["far_energy"] == pytest.approx(alone["far_energy"])

    def test_one_quantile_needs_no_list(self):
        values = measure(build(3, "softmax"), quantiles=0.05)
        assert "far_confidence_q5" in values

    def test_descriptions_name_the_score(self):
        monitor = monitors.OODMonitor(
            {"far": FAR},
            reference=REFERENCE,
            score="max_logit",
            quantiles=[0.1],
        )
        mean, quantile, auroc = (
            monitor._describe(f"far_max_logit{ending}")
            for ending in ("", "_q10", "_auroc")
        )
        assert mean == "Mean max_logit on this set."
        assert quantile.startswith("A quantile of max_logit on this set: 10 %")
        assert auroc.startswith("How well max_logit separates")

    def test_quantiles_groups_and_positives(self):
        model = build(3, "softmax")
        values = measure(
            model,
            quantiles=(0.05, 0.5),
            groups={"group": ["far"]},
            positive="out",
        )
        inside, outside = (
            model.predict(x, verbose=0).max(1) for x in (REFERENCE, FAR)
        )
        for share, key in ((0.05, "q5"), (0.5, "q50")):
            assert values[f"far_confidence_{key}"] == pytest.approx(
                np.quantile(outside, share), abs=1e-5
            )
        assert values["group_auroc"] == values["far_auroc"]
        assert values["far_fpr95"] == pytest.approx(
            ood.fpr_at_95_tpr(inside, outside, positive="out"), abs=0.05
        )


class Subclass(keras.Model):
    """Cannot be taken apart."""

    def __init__(self):
        super().__init__()
        self.inner = build(3, "softmax")

    def call(self, inputs):
        return self.inner(inputs)


class TestRefusals:
    def test_logits_that_cannot_be_had(self):
        with pytest.raises(
            ValueError,
            match=r"\['energy'\] are scores of logits\. Received: a model that"
            r" predicts probabilities.*Train it with logits",
        ):
            measure(Subclass(), score="energy")

    @pytest.mark.parametrize(
        ("score", "message"),
        [
            ("odin", "`score` must be one of 'confidence'"),
            (["energy", "energy"], "two named 'energy'"),
            ([], "needs a score"),
            (3, "a name, a function"),
        ],
    )
    def test_scores(self, score, message):
        with pytest.raises(ValueError, match=message):
            measure(build(3, "softmax"), score=score)

    def test_scores_of_another_shape(self):
        with pytest.raises(ValueError, match=r"one number for each.*\(50, 3\)"):
            measure(build(3, "softmax"), score={"all": lambda outputs: outputs})

    @pytest.mark.parametrize(
        "groups", [{"near": ["missing"]}, {"far": ["far"]}, {"near": []}]
    )
    def test_groups(self, groups):
        with pytest.raises(ValueError, match="`groups` name sets"):
            measure(build(3, "softmax"), groups=groups)


def test_weights_of_one_output_among_several():
    inputs = keras.Input((2,))
    outputs = {
        name: keras.layers.Dense(3, "softmax", name=name)(inputs)
        for name in ("a", "b")
    }
    model = keras.Model(inputs, outputs)
    model.compile(loss="sparse_categorical_crossentropy")
    x, labels = np.zeros((20, 2), "float32"), np.zeros(20, "int32")
    weights = {"a": (np.arange(20) < 5) * 1.0, "b": np.ones(20)}
    monitor = monitors.OODMonitor(
        {"other": x},
        reference=(x, {"a": labels, "b": labels}, weights),
        output="a",
        noise=("gaussian",),
    )
    history = model.fit(
        x, {"a": labels, "b": labels}, callbacks=[monitor], verbose=0
    ).history
    assert np.isfinite(history["reference_confidence"][0])
