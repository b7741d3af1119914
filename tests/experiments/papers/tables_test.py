"""The papers' tables: every run can be built, and takes a step."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import datasets
from experiments import networks
from experiments.analysis import records
from experiments.datasets import batches
from experiments.distributed import strategy as strategy_lib
from experiments.papers import CLAIMS
from experiments.papers import TABLES
from experiments.papers.tables import SCALES
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import optimizers

# A small network of images, of features and of sentences; the others are slow.
QUICK = {"mlp", "resnet_narrow", "text_cnn"}


def distinct_runs():
    """Returns one config for each network and shape of images, or rank."""
    found = {}
    for scale in ("paper", "small"):
        for table in TABLES.values():
            for config in table.configs(scale, 1):
                if config.network not in networks.BUILDERS:
                    continue  # GANs have a test of their own.
                splits = datasets.make_placeholder(config.dataset)
                shape = splits.train.inputs.shape
                kind = shape if len(shape) == 4 else len(shape)
                found.setdefault((kind, config.network), config)
    return list(found.values())


class TestTables:
    @pytest.mark.parametrize("scale", ["small", "paper"])
    @pytest.mark.parametrize("name", TABLES)
    def test_runs_differ_and_come_seed_by_seed(self, name, scale):
        configs = TABLES[name].configs(scale, 2)
        names = [config.run_name for config in configs]
        assert len(set(names)) == len(names)
        for config in configs:
            other = dataclasses.replace(config, seed=1 - config.seed)
            assert other in configs
        assert TABLES[name].configs(scale, 1) == [
            config for config in configs if config.seed == 0
        ]

    @pytest.mark.parametrize("name", TABLES)
    def test_further_seeds_are_of_some_runs(self, name):
        table = TABLES[name]
        configs, count = table.configs("small"), table.seeds[0]
        for more, fields in table.further:
            found = {each.seed for each in configs if each.has(fields)}
            assert found >= set(range(more))
            assert more > count
        assert all(each in configs for each in table.configs("small", count))
        # A claim needs an interval.
        assert min(table.seeds) > 1
        assert len(table.configs("paper")) == len(
            table.configs("paper", table.seeds[1])
        )

    @pytest.mark.parametrize("scale", ["small", "paper"])
    def test_claims_speak_of_runs_that_there_are(self, scale):
        for claim in CLAIMS:
            configs = TABLES[claim.table].configs(scale, 1)
            for arm in filter(None, (claim.arm, claim.baseline)):
                found = [
                    config
                    for config in configs
                    if arm.includes(records.Record(config, arm.after, {}))
                ]
                # ImageNet has no small scale.
                assert bool(found) == bool(configs), (claim.says, arm.name)

    def test_small_tables_share_runs(self):
        # So that a sweep of the second finds what the first has done.
        images = TABLES["image_calibration"].configs("small", 1)
        for name in (
            "out_of_distribution",
            "image_overlap",
            "adversarial",
            "variants",
        ):
            assert set(images) & set(TABLES[name].configs("small", 1))

    def test_describes_a_scale(self):
        table = TABLES["imagenet"]
        small, paper = (table.describe("imagenet", x) for x in SCALES)
        assert "--scale" not in small
        assert "hours on two CPU cores" in small
        assert (
            "`python -m experiments.sweep --table=imagenet --scale=paper"
            in (paper)
        )
        assert "hours" not in paper

    def test_hours_are_those_of_the_ledger(self):
        for name, found in records.read_all(records.LEDGER).items():
            hours = sum(record.hours for record in found)
            assert TABLES[name].hours == pytest.approx(hours, abs=0.06)


def take_a_step(config):
    """Trains on one batch of random rows; returns how far weights moved."""
    splits = datasets.make_placeholder(config.dataset, num_examples=4)
    if config.dataset == "imagenet2012":
        rows = splits.train._replace(inputs=splits.train.inputs[:, :64, :64])
        splits = dataclasses.replace(splits, train=rows)
    config = dataclasses.replace(config, batch_size=4, embeddings=None)
    strategy = strategy_lib.build_strategy(config.strategy)
    mixup = model_setup.build_mixup(config, splits.num_classes, strategy)
    network = model_setup.build_network(config, splits)
    model = model_setup.training_model(config, mixup, network)
    rows = batches.training_batches(
        *splits.train,
        batch_size=4,
        seed=0,
        augmentation="none",
        epoch_counter=mixup.epoch_counter,
    ).apply(mixup)
    model.compile(
        optimizers.build_optimizer(config, 1), model_setup.build_loss(config)
    )
    before = [weight.numpy() for weight in network.trainable_weights]
    model.fit(rows, verbose=0)
    after = [weight.numpy() for weight in network.trainable_weights]
    moved = [
        float(np.abs(new - old).max())
        for old, new in zip(before, after, strict=True)
    ]
    keras.backend.clear_session()
    return moved


def describe(config: config_lib.Config) -> str:
    return f"{config.dataset}-{config.network}"


def distinct_params():
    """Returns those configs; a second shape of a network is slow."""
    params, quick = [], {*QUICK}
    for config in distinct_runs():
        slow = config.network not in quick or config.dataset == "stl10"
        params.append(pytest.param(config, marks=[pytest.mark.slow] * slow))
        if not slow:
            quick.remove(config.network)
    return params


@pytest.mark.parametrize("config", distinct_params(), ids=describe)
def test_every_network_takes_a_step(config):
    moved = take_a_step(config)
    assert np.isfinite(moved).all()
    # A dead ReLU may leave a bias where it is.
    assert np.mean(np.array(moved) > 0) > 0.9
