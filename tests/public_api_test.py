"""Tests of the interface: what is public, and what its documentation says."""

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
    module.name
    for module in pkgutil.walk_packages(tf_mixup.__path__, "tf_mixup.")
)
# What is private changes without notice.
PUBLIC = [name for name in MODULES if "._" not in name]


def public_members():
    """Returns public functions and classes by the path of their module."""
    members = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        for member, value in vars(module).items():
            own = getattr(value, "__module__", None) == name
            if own and not member.startswith("_") and callable(value):
                members[f"{name}.{member}"] = value
    return members


MEMBERS = public_members()


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["tf_mixup", *(f"tf_mixup.{each}" for each in tf_mixup.__all__)],
    )
    def test_all_lists_what_is_public(self, name):
        module = tf_mixup
        for part in name.split(".")[1:]:
            module = getattr(module, part)
        if not hasattr(module, "__path__"):
            return
        listed = {each for each in dir(module) if not each.startswith("_")}
        modules = {
            each for each in listed if inspect.ismodule(getattr(module, each))
        }
        assert listed - modules == set(module.__all__) - modules

    @pytest.mark.parametrize(
        "name",
        [
            "CutMix",
            "MixUp",
            "attacks.fgsm",
            "calibration.CONVENTIONS",
            "calibration.bin_predictions",
            "calibration.expected_calibration_error",
            "calibration.overconfidence_error",
            "calibration.resampling.null_calibration_error",
            "callbacks.CalibrationMonitor",
            "callbacks.MixedBatchSummary",
            "callbacks.MixingSchedule",
            "callbacks.OODMonitor",
            "metrics.CalibrationMetrics",
            "metrics.OverconfidenceError",
            "mix",
            "mixing.Mix",
            "mixing.mixable_layers",
            "ood.auroc",
            "plots.reliability_diagram",
            "posthoc.TemperatureScaling",
            "testing.check_mixing",
        ],
    )
    def test_names_others_rely_on(self, name):
        value = tf_mixup
        for part in name.split("."):
            value = getattr(value, part)
        assert value is not None


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
        module = importlib.import_module(name)
        names = {"np": np, "tf": tf, "keras": keras}
        assert doctest.testmod(module, extraglobs=names).failed == 0

    def test_sources_stay_in_the_checkout(self):
        root = pathlib.Path(__file__).resolve().parents[1]
        assert pathlib.Path(tf_mixup.__file__).parents[1] == root
