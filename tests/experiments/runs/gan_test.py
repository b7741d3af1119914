"""GANs in the plane: counts by hand, the loss by hand, and a short game."""

import itertools
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import collect
from experiments import papers
from experiments.distributed import preemption
from experiments.figures import gan as gan_figures
from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from experiments.runs import gan

RING = config_lib.Config(
    **{**gan.SETTING, "dataset": "points:ring", "epochs": 1, "batch_size": 8}
)


class TestModes:
    def test_ring_has_radius_1_and_grid_steps_of_one_half(self):
        ring, grid = gan.MODES.values()
        assert ring.shape == (8, 2)
        np.testing.assert_allclose(np.linalg.norm(ring, axis=1), 1)
        np.testing.assert_allclose(np.diff(np.unique(grid[:, 0])), 0.5)
        assert len(np.unique(grid, axis=0)) == 25


class TestMeasure:
    def test_by_hand(self):
        modes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        # Two near the first mode, one near the second, one just not.
        near = [[0, 0.02], [0.01, 0], [1.02, 0], [0, 1.04]]
        # One on the way, one out of the picture, one nowhere.
        far = [[0.5, 0.5], [2.5, 0], [np.nan, 0]]
        samples = np.array([*near, *far])
        found = gan.measure(samples, modes)
        assert found["modes_found"] == pytest.approx(2 / 3)
        assert found["good_samples"] == pytest.approx(3 / 7)
        assert found["escaped_samples"] == pytest.approx(2 / 7)

    def test_real_samples_are_good_but_for_a_ninetieth(self):
        rng = np.random.default_rng(0)
        modes = gan.MODES["points:grid"]
        real = modes[rng.integers(25, size=20_000)]
        real = real + gan.DEVIATION * rng.normal(size=real.shape)
        found = gan.measure(real, modes)
        # In the plane P(r <= 3) = 1 - exp(-9 / 2).
        expected = 1 - np.exp(-4.5)
        assert found["good_samples"] == pytest.approx(expected, abs=3e-3)
        assert (found["modes_found"], found["escaped_samples"]) == (1, 0)


class TestJudge:
    REAL = np.array([[1.0, 0.0], [0.0, 2.0]], "float32")
    FAKE = np.array([[0.0, 1.0], [1.0, 1.0]], "float32")
    LAM = np.array([0.25, 1.0], "float32")

    @staticmethod
    def discriminator(points):
        return tf.reduce_sum(points * [[1.0, -1.0]], axis=1, keepdims=True)

    def loss(self, lam):
        return float(gan.judge(self.discriminator, self.REAL, self.FAKE, lam))

    def test_unmixed_by_hand(self):
        # Logits of the real 1 and -2, of the fake -1 and 0.
        real = np.log1p(np.exp([-1.0, 2.0])).mean()
        fake = np.log1p(np.exp([-1.0, 0.0])).mean()
        assert self.loss(None) == pytest.approx(real + fake, rel=1e-6)

    def test_mixed_by_hand(self):
        # Logits are linear: .25 * 1 - .75 * 1 = -.5, and -2 as lam is 1.
        logits = np.array([-0.5, -2.0])
        expected = (
            self.LAM * np.log1p(np.exp(-logits))
            + (1 - self.LAM) * np.log1p(np.exp(logits))
        ).mean()
        assert self.loss(self.LAM) == pytest.approx(expected, rel=1e-6)

    def test_any_two_points_by_hand(self):
        # A pair of real, generated points; the second pair is turned around.
        real = np.array([[1.0, 0.0], [0.0, 2.0]], "float32")
        fake = np.array([[0.0, 1.0], [3.0, 1.0]], "float32")
        lam = np.array([0.25, 1.0], "float32")
        loss = gan.judge(self.discriminator, real, fake, lam, np.array([1, 0]))
        # .25 * 1 + .75 * 2 of a real and a generated point; -1 of the other.
        logits, targets = np.array([1.75, -1.0]), np.array([0.25, 0.0])
        expected = (
            targets * np.log1p(np.exp(-logits))
            + (1 - targets) * np.log1p(np.exp(logits))
        ).mean()
        assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_draws_of_any_two_points():
    fields = {**vars(RING), "gan_pairs": "any", "alpha": 0.2, "batch_size": 64}
    game = gan.Game(config_lib.Config(**fields))
    seed = tf.constant([3, 4])
    real, noise, last, lam, order = map(np.asarray, game._draw(seed))
    assert real.shape == noise.shape == (gan.DISCRIMINATOR_STEPS, 128, 2)
    assert last.shape == (64, 2)
    # 640 draws of U(0, .2): mean .1, deviation .2 / sqrt(12).
    assert 0 <= lam.min() < 0.01 < 0.19 < lam.max() <= 0.2
    assert lam.mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(np.sort(order), [range(128)] * len(order))
    assert len({tuple(each) for each in order}) == len(order)


def test_parameters_by_hand():
    # 2*512 + 512, twice 512*512 + 512, and 513 an output; 2 and 1 of them.
    shared = 1_536 + 2 * 262_656
    assert gan.count_parameters() == 2 * shared + 513 * 3


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(gan, "ITERATIONS", 4)
    monkeypatch.setattr(gan, "SNAPSHOTS", (1, 4, 100))
    # One program of XLA has all steps: compiling them takes the time.
    monkeypatch.setattr(gan, "DISCRIMINATOR_STEPS", 2)
    monkeypatch.setattr(gan, "DEPTH", 2)
    monkeypatch.setattr(gan, "WIDTH", 8)


def test_a_signal_ends_a_game(short, monkeypatch):
    monkeypatch.setattr(gan.Game, "_iterate", lambda *_: None)
    # Once TensorFlow is within the loop, which would take minutes.
    with preemption.Preemption():
        game = gan.Game(RING)
        game.play(gan.PIECE)
        threading.Timer(0.2, signal.raise_signal, [signal.SIGTERM]).start()
        with pytest.raises(SystemExit) as ended:
            game.play(200_000)
    assert ended.value.code == 143
    assert gan.PIECE < int(game._done) < 200_000


class TestRun:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "fields",
        [{"method": "erm"}, {"method": "mixup"}, {"gan_pairs": "any"}],
    )
    def test_plays_and_keeps_samples(self, short, tmp_path, fields):
        config = config_lib.Config(**{**vars(RING), **fields})
        record = gan.run(config, tmp_path / "one")
        with np.load(tmp_path / "one" / gan.SAMPLES) as samples:
            assert set(samples.files) == {"1", "4"}
            assert samples["4"].shape == (gan.NUM_SAMPLES, 2)
            assert np.abs(samples["4"] - samples["1"]).max() > 1e-4
            measured = gan.measure(samples["4"], gan.MODES[config.dataset])
        assert record["results"] == measured
        assert len(record["history"]["modes_found"]) == 2
        assert gan.run(config, tmp_path / "one") == record
        again = gan.run(config, tmp_path / "two")
        assert again["results"] == record["results"]

    @pytest.mark.slow
    def test_mixing_changes_the_game(self, short):
        drawn = []
        for fields in ({"method": "erm"}, {}, {"gan_pairs": "any"}):
            keras.utils.set_random_seed(0)
            game = gan.Game(config_lib.Config(**{**vars(RING), **fields}))
            game.play(3)
            drawn.append(game.sample(10))
        for one, other in itertools.combinations(drawn, 2):
            assert np.abs(one - other).max() > 1e-5

    @pytest.mark.slow
    def test_going_on_is_the_same_as_going_at_once(self, short):
        drawn = []
        for stops in ((2, 5), (5,)):
            keras.utils.set_random_seed(0)
            game = gan.Game(RING)
            for stop in stops:
                game.play(stop)
            drawn.append(game.sample(10))
        np.testing.assert_array_equal(*drawn)

    def test_refuses_pairs_of_other_networks(self):
        with pytest.raises(ValueError, match="`gan_pairs` are for GANs"):
            config_lib.Config(gan_pairs="any")

    def test_refuses_what_it_would_ignore(self, tmp_path):
        fields = {**vars(RING), "label_smoothing": 0.1, "optimizer": "sgd"}
        with pytest.raises(
            ValueError,
            match=r"one way\. Received: label_smoothing=0.1, optimizer='sgd'",
        ):
            gan.run(config_lib.Config(**fields), tmp_path)

    def test_refuses_another_target(self, tmp_path):
        config = config_lib.Config(dataset="digits", network="gan")
        with pytest.raises(ValueError, match="`dataset` must be one of"):
            gan.run(config, tmp_path)


def test_runs_are_collected_and_drawn(short, tmp_path):
    configs = papers.TABLES["gans"].configs("small", 1)
    for config in configs:
        folder = tmp_path / config.run_name
        folder.mkdir()
        points = gan.MODES[config.dataset]
        np.savez(folder / gan.SAMPLES, **{"10": points, "20": 2 * points})
        atomic_files.write_json(
            folder / "record.json",
            {
                "config": config.to_json(),
                "results": gan.measure(points, points),
                "duration_seconds": 36,
            },
        )
    lines = collect.collect("gans", "small", tmp_path, None, {})
    assert [line.config for line in lines] == configs
    assert all(line.value("modes_found") == 1 for line in lines)
    rows = {"no mixup": {"10": points, "20": 2 * points}}
    figure = gan_figures.draw_samples(rows, points)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["10 iterations", "20 iterations"]
    shown = figure.axes[1].collections[1].get_offsets()
    np.testing.assert_allclose(shown, 2 * points)
