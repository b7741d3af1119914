"""What networks do between training points: by hand, and of trained runs."""

import keras
import numpy as np
import pytest

from experiments import papers
from experiments.analysis import interpolation
from experiments.analysis import records
from experiments.figures import between as between_figures
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import run_data

CONFIG = config_lib.Config(
    width=4, num_train=40, num_validation=20, method="erm", alpha=0.0
)
SOURCES = run_data.Sources()
STD = (2.0,)


def linear(weights):
    """Returns logits that are the images' two pixels times weights."""
    dense = keras.layers.Dense(len(weights[0]), use_bias=False)
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), keras.layers.Flatten(), dense]
    )
    dense.set_weights([np.array(weights, "float32")])
    return model


class TestDifferentiate:
    def test_by_hand(self):
        model = linear([[1.0, 0.0], [0.0, 1.0]])
        images = np.array([[1.0, 1.0], [3.0, 1.0]]).reshape(2, 1, 2, 1)
        targets = np.array([[1.0, 0.0], [0.5, 0.5]])
        classes, slopes = interpolation.differentiate(
            model, images, targets, STD
        )
        # The gradient in the logits is p - t, here also in the pixels: of
        # equal logits (-.5, .5); then p = (.8808, .1192) less one half each.
        assert classes.tolist() == [0, 0]
        expected = [2 * 0.5**0.5, 2 * 0.380797 * 2**0.5]
        np.testing.assert_allclose(slopes, expected, rtol=1e-5)

    def test_equals_finite_differences(self):
        rng = np.random.default_rng(0)
        weights = rng.normal(size=(2, 3))
        images, targets = rng.normal(size=(1, 1, 2, 1)), np.array([[0, 1, 0]])
        (_, (slope,)) = interpolation.differentiate(
            linear(weights), images, targets, (1.0,)
        )

        def loss(pixels):
            logits = pixels @ weights
            return np.log(np.exp(logits).sum()) - logits[1]

        pixels, small = images.ravel(), 1e-5
        steps = small * np.eye(2)
        gradient = [
            (loss(pixels + step) - loss(pixels - step)) / (2 * small)
            for step in steps
        ]
        assert slope == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


class Oracle:
    """Predicts, for each image, the class that its first pixel names."""

    def __call__(self, pixels, training):
        assert not training
        named = keras.ops.cast(pixels[:, 0, 0, 0] + 0.5, "int32")
        flow = keras.ops.sum(pixels, axis=(1, 2, 3))[:, None]
        return keras.ops.one_hot(named, 5) + 0 * flow


class TestMeasure:
    @pytest.fixture
    def splits(self):
        splits = run_data.load_splits(CONFIG, SOURCES)
        # Classes 0 and 4, told by the first pixel, so that 2 is between.
        labels = np.where(splits.train.labels % 2, 4, 0).astype("int32")
        inputs = np.zeros((len(labels), 2, 2, 1), "uint8")
        inputs[:, 0, 0, 0] = labels
        return splits.__class__(
            **{
                **vars(splits),
                "train": splits.train.__class__(inputs, labels),
                "num_classes": 5,
            }
        )

    def test_misses_are_classes_of_neither(self, splits, monkeypatch):
        monkeypatch.setattr(
            run_data, "load_splits", lambda config, sources: splits
        )
        monkeypatch.setattr(
            interpolation.posthoc, "load_model", lambda folder: Oracle()
        )
        ((config, found),) = interpolation.measure(
            {CONFIG: None}, SOURCES, num_pairs=300
        )
        assert config == CONFIG
        assert found["between_0.00_miss"] == 0
        # Half of the pairs are of two classes; at .5 these are called 2.
        share = np.mean(splits.train.labels == 0)
        expected = 2 * share * (1 - share)
        assert found["between_0.50_miss"] == pytest.approx(expected, abs=0.1)
        assert len(found) == 2 * len(interpolation.LAMS)

    def test_of_a_network(self, tmp_path):
        splits = run_data.load_splits(CONFIG, SOURCES)
        network = model_setup.build_network(CONFIG, splits)
        network.save(tmp_path / "model.keras")
        runs = {CONFIG: tmp_path}
        ((_, one),) = interpolation.measure(runs, SOURCES, num_pairs=10)
        ((_, two),) = interpolation.measure(runs, SOURCES, num_pairs=10)
        assert one == two
        assert all(np.isfinite(value) for value in one.values())
        assert all(one[name] > 0 for name in one if "slope" in name)


class TestFigure:
    def test_means_by_hand(self):
        lines = []
        for config in papers.TABLES["cifar"].configs("small", 2):
            lines.append(records.Record(config, "", {}))
            results = {}
            for lam in interpolation.LAMS:
                results[f"between_{lam:.2f}_miss"] = 0.1 + config.seed / 10
                results[f"between_{lam:.2f}_slope"] = lam + config.alpha
            lines.append(records.Record(config, "between", results))
        (first, figure), (second, _) = between_figures.draw(lines)
        assert first == "cifar10-resnet_narrow-between"
        assert second == "fashion_mnist-resnet_narrow-between"
        misses, slopes = figure.axes
        plain, mixed, printed, _ = (x.get_ydata() for x in misses.get_lines())
        np.testing.assert_allclose(plain, 15)
        np.testing.assert_allclose(mixed, 15)
        assert printed[-1] == 16.52
        _, mixed = (x.get_ydata() for x in slopes.get_lines())
        expected = np.array(interpolation.LAMS) + 1
        np.testing.assert_allclose(mixed, expected)

    def test_nothing_measured_nothing_drawn(self):
        config = papers.TABLES["cifar"].configs("small", 1)[0]
        assert not list(between_figures.draw([records.Record(config, "", {})]))
