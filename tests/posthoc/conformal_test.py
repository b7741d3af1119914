"""Tests of conformal prediction sets."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests import reference
from tf_mixup import posthoc

RNG = np.random.default_rng(0)
KINDS = ("lac", "aps", "raps")


def draw(num_examples, num_classes=5, seed=0):
    """Draws logits and labels of a softmax that is half as sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(num_examples, num_classes))
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits / 2 + noise).argmax(axis=-1)


class TestSets:
    @pytest.mark.parametrize(
        ("score", "thresholds", "sets"),
        [
            # 1 - p of the labels: .4, .3, .7; the third smallest of three.
            ("lac", 0.7, [[1, 1, 0]]),
            # Sums down to the label: .6, .7, .5 + .3.
            ("aps", 0.8, [[1, 0, 0]]),
            # With .1 for each rank after the first.
            ("raps", 0.9, [[1, 0, 0]]),
        ],
    )
    def test_by_hand(self, score, thresholds, sets):
        logits = np.log([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
        found = posthoc.ConformalSets(
            score, coverage=0.7, penalty=0.1, free_rank=1
        ).fit(logits, [0, 0, 1])
        assert found.thresholds == pytest.approx([thresholds] * 3, abs=1e-6)
        new = np.log([[0.64, 0.31, 0.05]])
        np.testing.assert_array_equal(found.apply(new), np.array(sets) == 1)

    @pytest.mark.parametrize("score", KINDS)
    @pytest.mark.parametrize("per_class", [False, True])
    def test_matches_the_reference(self, score, per_class):
        logits, labels = draw(200)
        found = posthoc.ConformalSets(
            score,
            coverage=0.8,
            per_class=per_class,
            allow_empty=True,
            penalty=0.05,
            free_rank=2,
        ).fit(logits, labels)
        scores = reference.conformal_scores(
            scipy.special.softmax(logits, axis=1), score, 0.05, 2
        )
        own = scores[np.arange(200), labels]
        expected = [
            reference.conformal_quantile(
                own[labels == k] if per_class else own, 0.8
            )
            for k in range(5)
        ]
        np.testing.assert_allclose(found.thresholds, expected, atol=1e-6)
        new = draw(300, seed=1)[0]
        scores = reference.conformal_scores(
            scipy.special.softmax(new, axis=1), score, 0.05, 2
        )
        clear = np.abs(scores - expected) > 1e-5
        np.testing.assert_array_equal(
            found.apply(new)[clear], (scores <= expected)[clear]
        )

    @pytest.mark.parametrize("score", KINDS)
    def test_the_top_class_is_in_every_set(self, score):
        logits, labels = draw(300)
        # Coverage below accuracy leaves sets empty.
        options = {"coverage": 0.3, "per_class": True}
        empty = posthoc.ConformalSets(score, allow_empty=True, **options)
        full = posthoc.ConformalSets(score, **options)
        without = empty.fit(logits, labels).apply(logits)
        sets = full.fit(logits, labels).apply(logits)
        assert (without.sum(axis=1) == 0).any()
        top = logits.argmax(axis=1)
        assert sets[np.arange(300), top].all()

    @pytest.mark.parametrize("score", KINDS)
    def test_the_top_class_does_not_raise_coverage(self, score):
        logits, labels = draw(20_000)
        assert (logits.argmax(axis=1) == labels).mean() < 0.7
        sets = posthoc.ConformalSets(score, coverage=0.8)
        sets.fit(logits[:10_000], labels[:10_000])
        found = sets.apply(logits[10_000:])
        held = found[np.arange(10_000), labels[10_000:]]
        assert held.mean() == pytest.approx(0.8, abs=0.02)

    def test_larger_coverage_makes_larger_sets(self):
        logits, labels = draw(500)
        small, large = (
            posthoc.ConformalSets(coverage=each).fit(logits, labels)
            for each in (0.8, 0.95)
        )
        assert (small.apply(logits) <= large.apply(logits)).all()
        assert small.apply(logits).sum() < large.apply(logits).sum()

    def test_too_few_examples_give_all_classes(self):
        logits, labels = draw(8)
        sets = posthoc.ConformalSets("lac", coverage=0.9)
        with pytest.warns(UserWarning, match="1 of 1 quantiles are infinite"):
            sets.fit(logits, labels)
        assert sets.apply(logits).all()
        logits, labels = draw(9)
        sets = posthoc.ConformalSets("lac", coverage=0.9).fit(logits, labels)
        assert np.isfinite(sets.thresholds).all()

    @pytest.mark.parametrize("per_class", [False, True])
    def test_equal_probabilities_go_together(self, per_class):
        logits = np.log([[0.5, 0.2, 0.2, 0.1]] * 9)
        labels = [0, 1, 2, 3, 0, 1, 2, 3, 0]
        sets = posthoc.ConformalSets(
            "aps", coverage=0.6, per_class=per_class, allow_empty=True
        )
        sets.fit(logits, labels)
        scores = [0.5, 0.9, 0.9, 1.0] if per_class else [0.9] * 4
        assert sets.thresholds == pytest.approx(scores)
        if not per_class:
            # Two classes share the sum .9, or are both left out.
            assert sets.apply(logits[:1]).tolist() == [[True] * 3 + [False]]
            sets.thresholds[:] = 0.89
            assert sets.apply(logits[:1]).tolist() == [[True] + [False] * 3]

    def test_examples_of_weight_0_count_not(self):
        logits, labels = draw(100)
        kept = np.arange(100) < 60
        part = posthoc.ConformalSets().fit(logits[kept], labels[kept])
        whole = posthoc.ConformalSets().fit(
            logits, labels, sample_weight=kept.astype(float)
        )
        np.testing.assert_array_equal(part.thresholds, whole.thresholds)


class TestCoverage:
    @pytest.mark.parametrize(
        ("score", "draws"),
        [
            ("lac", 200),
            pytest.param("lac", 1000, marks=pytest.mark.slow),
            pytest.param("aps", 1000, marks=pytest.mark.slow),
            pytest.param("raps", 1000, marks=pytest.mark.slow),
        ],
    )
    def test_has_its_beta_distribution(self, score, draws):
        size, tested, coverage = 40, 400, 0.8
        held = []
        for seed in range(draws):
            logits, labels = draw(size + tested, seed=seed)
            sets = posthoc.ConformalSets(
                score, coverage=coverage, allow_empty=True
            ).fit(logits[:size], labels[:size])
            found = sets.apply(logits[size:])
            held.append(found[np.arange(tested), labels[size:]].sum())
        place = np.ceil((size + 1) * coverage)
        law = scipy.stats.betabinom(tested, place, size + 1 - place)
        # The counts are discrete: their tails are spread within each count.
        rng = np.random.default_rng(0)
        held = np.array(held)
        level = law.cdf(held) - rng.random(draws) * law.pmf(held)
        assert scipy.stats.kstest(level, "uniform").pvalue > 0.001
        assert np.mean(held) / tested == pytest.approx(
            place / (size + 1), abs=4 * law.std() / tested / draws**0.5
        )

    def test_of_each_class(self):
        rng = np.random.default_rng(0)
        labels = rng.choice(3, 30_000, p=[0.8, 0.15, 0.05])
        logits = 2 * np.eye(3)[labels] + rng.normal(size=(30_000, 3))
        fitted, tested = slice(0, 15_000), slice(15_000, None)
        covered = {}
        for per_class in (False, True):
            sets = posthoc.ConformalSets(
                "lac", per_class=per_class, allow_empty=True
            )
            sets.fit(logits[fitted] + [2, 0, 0], labels[fitted])
            found = sets.apply(logits[tested] + [2, 0, 0])
            hits = found[np.arange(15_000), labels[tested]]
            covered[per_class] = [
                hits[labels[tested] == k].mean() for k in range(3)
            ]
        assert covered[False][2] < 0.8
        np.testing.assert_allclose(covered[True], 0.9, atol=0.03)


class TestModel:
    @pytest.mark.parametrize("score", KINDS)
    @pytest.mark.parametrize("allow_empty", [False, True])
    def test_predicts_what_apply_returns(self, tmp_path, score, allow_empty):
        x, labels = draw(400)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
        sets = posthoc.ConformalSets(
            score, coverage=0.6, allow_empty=allow_empty, free_rank=1
        )
        predictor = posthoc.calibrate(model, sets, (x, labels))
        new = draw(200, seed=1)[0].astype("float32")
        expected = sets.apply(new)
        found = predictor.predict(new, verbose=0)
        np.testing.assert_array_equal(found, expected)
        predictor.save(tmp_path / "sets.keras")
        loaded = keras.saving.load_model(tmp_path / "sets.keras")
        np.testing.assert_array_equal(loaded.predict(new, verbose=0), expected)

    def test_follows_a_scaler(self):
        x, labels = draw(600)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Identity()])
        scaler = posthoc.TemperatureScaling()
        calibrated = posthoc.calibrate(
            model, scaler, (x[:300], labels[:300]), from_logits=True
        )
        sets = posthoc.ConformalSets("lac")
        predictor = posthoc.calibrate(
            calibrated, sets, (x[300:], labels[300:]), test=x[:300]
        )
        expected = sets.apply(x[:300] / scaler.temperature)
        found = predictor.predict(x[:300].astype("float32"), verbose=0)
        assert (found == expected).mean() > 0.999

    def test_sigmoid_has_two_classes(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(200, 1)).astype("float32")
        labels = (rng.random(200) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Activation("sigmoid")]
        )
        sets = posthoc.ConformalSets(coverage=0.8)
        predictor = posthoc.calibrate(model, sets, (x, labels))
        found = predictor.predict(x, verbose=0)
        assert found.shape == (200, 2)
        assert found[np.arange(200), labels].mean() >= 0.8

    def test_config_keeps_what_was_fitted(self):
        sets = posthoc.ConformalSets("raps", per_class=True, coverage=0.7)
        sets.fit(*draw(200))
        again = posthoc.ConformalSets.from_config(sets.get_config())
        assert again.get_config() == sets.get_config()
        new = draw(50, seed=1)[0]
        np.testing.assert_array_equal(again.apply(new), sets.apply(new))
        assert repr(sets).startswith("ConformalSets(score='raps', coverage=0.7")
        assert "threshold=" in repr(sets)


class TestRefusals:
    @pytest.mark.parametrize("name", ["per_class", "allow_empty"])
    def test_words_for_flags(self, name):
        with pytest.raises(ValueError, match=f"`{name}` must be True or False"):
            posthoc.ConformalSets(**{name: "no"})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"score": "margin"}, "`score` must be one of"),
            ({"coverage": 90}, "`coverage` must be"),
            ({"coverage": 1.0}, "`coverage` must lie between 0 and 1"),
            ({"penalty": -1}, "`penalty` must be"),
            ({"free_rank": 1.5}, "`free_rank` must be"),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            posthoc.ConformalSets(**options)

    def test_weights(self):
        logits, labels = draw(20)
        with pytest.raises(ValueError, match="Conformal sets take no weights"):
            posthoc.ConformalSets().fit(
                logits, labels, sample_weight=np.arange(20)
            )

    def test_soft_targets(self):
        logits, labels = draw(20)
        targets = np.eye(5)[labels]
        targets[3] = 0.2
        with pytest.raises(ValueError, match="1 of 20 targets with mass on"):
            posthoc.ConformalSets().fit(logits, targets)

    def test_not_fitted(self):
        with pytest.raises(ValueError, match="must be fitted before"):
            posthoc.ConformalSets().apply(draw(5)[0])

    def test_other_classes(self):
        sets = posthoc.ConformalSets().fit(*draw(50))
        with pytest.raises(ValueError, match="was fitted on 5 classes"):
            sets.apply(np.zeros((2, 3)))


class TestRadius:
    def test_by_hand(self):
        # The 5th smallest of 5: ceil(6 * 0.8).
        residuals = np.array([3.0, -1.0, 4.0, -1.5, 9.0])
        found = posthoc.conformal_radius(
            10 + residuals[:, None], np.full(5, 10.0), coverage=0.8
        )
        assert found == 9
        assert posthoc.conformal_radius(residuals, np.zeros(5)) == np.inf

    @pytest.mark.parametrize(("size", "coverage"), [(19, 0.9), (50, 0.5)])
    def test_coverage_has_its_beta_distribution(self, size, coverage):
        generator = np.random.default_rng(0)
        found = []
        for _ in range(1000):
            radius = posthoc.conformal_radius(
                generator.exponential(size=size),
                np.zeros(size),
                coverage=coverage,
            )
            found.append(1 - np.exp(-radius))
        place = np.ceil((size + 1) * coverage)
        law = scipy.stats.beta(place, size + 1 - place)
        assert scipy.stats.kstest(found, law.cdf).pvalue > 1e-3

    def test_refuses(self):
        with pytest.raises(ValueError, match="`coverage` must lie between"):
            posthoc.conformal_radius([0.0], [0.0], coverage=1)
        with pytest.raises(ValueError, match=r"finite\. Received: 1 that are"):
            posthoc.conformal_radius([0.0, np.nan], [0.0, 0.0])
        with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\)"):
            posthoc.conformal_radius([0.0, 1.0], [0.0])
