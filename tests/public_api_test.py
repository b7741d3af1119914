"""Tests of the surface: what is public, and what its documentation says."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup

MODULES = sorted(
    module.name.removeprefix("tf_mixup.")
    for module in pkgutil.walk_packages(tf_mixup.__path__, "tf_mixup.")
)


def public_members():
    """Yields (name, object) of all that a module of the library defines."""
    for name in MODULES:
        # What is private changes without notice.
        if name.startswith("_"):
            continue
        module = importlib.import_module(f"tf_mixup.{name}")
        for member, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not member.startswith("_") and callable(value):
                yield f"{name}.{member}", value


MEMBERS = dict(public_members())


class TestNames:
    def test_names_at_the_top(self):
        names = {name for name in vars(tf_mixup) if not name.startswith("_")}
        assert names - set(MODULES) == {"CutMix", "MixUp", "mix"}

    @pytest.mark.parametrize(
        "name",
        [
            "CutMix",
            "MixUp",
            "mix",
            "attacks.fgsm",
            "attacks.iterative_fgsm",
            "calibration.bin_predictions",
            "calibration.expected_calibration_error",
            "calibration.overconfidence_error",
            "callbacks.CalibrationMonitor",
            "callbacks.MixedBatchSummary",
            "callbacks.MixingSchedule",
            "callbacks.OODMonitor",
            "layers.Mix",
            "layers.mixable_layers",
            "layers.training_twin",
            "metrics.CalibrationBins",
            "metrics.ExpectedCalibrationError",
            "metrics.OverconfidenceError",
            "ood.auroc",
            "plots.reliability_diagram",
            "scores.null_calibration_error",
            "testing.check_mixing",
        ],
    )
    def test_names_others_rely_on(self, name):
        value = tf_mixup
        for part in name.split("."):
            value = getattr(value, part)
        assert callable(value)


class TestDocumentation:
    @pytest.mark.parametrize("name", MEMBERS)
    def test_names_every_argument(self, name):
        value = MEMBERS[name]
        text = inspect.getdoc(value) or ""
        assert text.strip(), f"{name} has no docstring"
        if inspect.isclass(value) and issubclass(value, tuple):
            arguments = value._fields
        elif inspect.isclass(value) and value.__init__ is object.__init__:
            arguments = ()
        else:
            arguments = inspect.signature(value).parameters
        short = len(text.splitlines()) == 1
        for argument in arguments:
            # A one-line docstring of a function says all there is to say.
            assert short or f"    {argument}: " in text, argument

    @pytest.mark.parametrize("name", MODULES)
    def test_examples_run(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        module = importlib.import_module(f"tf_mixup.{name}")
        names = {"np": np, "tf": tf, "keras": keras}
        assert doctest.testmod(module, extraglobs=names).failed == 0

    def test_sources_stay_in_the_checkout(self):
        root = pathlib.Path(__file__).resolve().parents[1]
        assert pathlib.Path(tf_mixup.__file__).parents[1] == root
