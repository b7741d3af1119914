"""Rings: their radii, their seeds, and the surface that is drawn."""

import dataclasses

import keras
import numpy as np

from experiments import datasets
from experiments import papers
from experiments.analysis import records
from experiments.datasets import rings
from experiments.figures import common
from experiments.figures import rings as rings_figures
from experiments.runs import model_setup


def radii(rows):
    return np.linalg.norm(rows.inputs, axis=1)


class TestLoad:
    def test_class_1_is_the_inner_ring(self):
        splits = datasets.load("rings", seed=0, num_validation=200)
        assert len(splits.train.labels) == 1000
        for rows in (splits.train, splits.validation, splits.test):
            for label, radius in ((0, 1.0), (1, 0.5)):
                found = radii(rows)[rows.labels == label]
                # Noise across a circle of radius r adds noise**2 / (2 r).
                expected = radius + rings.NOISE**2 / (2 * radius)
                error = 4 * rings.NOISE / np.sqrt(len(found))
                assert abs(found.mean() - expected) < error

    def test_a_seed_draws_other_rows_in_each_split(self):
        splits = rings.load("rings", seed=0)
        again, other = rings.load("rings", seed=0), rings.load("rings", seed=1)
        np.testing.assert_array_equal(splits.train[0], again.train[0])
        assert np.any(splits.train[0] != other.train[0])
        drawn = [
            tuple(row)
            for rows in (splits.train, splits.validation, splits.test)
            for row in rows.inputs.tolist()
        ]
        assert (
            len(set(drawn)) == len(drawn) == rings.NUM_EXAMPLES + rings.NUM_TEST
        )


class TestDraw:
    def test_surface_is_the_networks(self, tmp_path):
        configs = papers.TABLES["rings"].configs("small", 1)
        runs, folders = [], {}
        for config in configs:
            small = dataclasses.replace(config, width=4)
            splits = datasets.make_placeholder("rings")
            network = model_setup.build_network(small, splits)
            folders[config] = tmp_path / config.method
            folders[config].mkdir()
            network.save(folders[config] / "model.keras")
            runs.append(records.Record(config, "", {}, 0.0, folders[config]))
        setting = common.Setting("rings", runs)
        ((name, figure),) = rings_figures.draw(setting)
        assert name == "surface"
        plain, mixed, _ = figure.axes
        assert plain.get_title() == "no mixup"
        image = np.asarray(plain.get_images()[0].get_array())
        network = keras.saving.load_model(folders[configs[0]] / "model.keras")
        # Below and to the left is the first pixel; right of it the second.
        step = 2 * rings_figures.REACH / (rings_figures.PIXELS - 1)
        corner = -rings_figures.REACH
        points = np.float32(
            [[corner, corner], [corner + step, corner], [corner, corner + step]]
        )
        inner = np.asarray(keras.ops.softmax(network(points)))[:, 1]
        np.testing.assert_allclose(
            [image[0, 0], image[0, 1], image[1, 0]], inner, rtol=1e-4
        )
        assert len(mixed.collections) == 2
