"""Numbers become JSON, whatever types they have."""

import json

import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.calibration import ClassBias
from tf_mixup.calibration.resampling import Interval
from tf_mixup.calibration.resampling import NullRange
from tf_mixup.report import numbers as report_numbers
from tf_mixup.report.findings import Finding
from tf_mixup.report.measures import Detection
from tf_mixup.report.measures import Errors
from tf_mixup.report.temperature import Half
from tf_mixup.report.temperature import Temperature


class Example(report_numbers.Numbers):
    def to_html(self):
        return ""


def numbers(**changes):
    half = Half(2.0, 50, 0.5, 0.4, 0.1, 0.05)
    fields = {
        "model": "model.keras",
        "data": "rows.npz",
        "preparation": "none",
        "from_logits": True,
        "num_examples": 100,
        "num_nonfinite": 0,
        "num_classes": 2,
        "num_resamples": 5,
        "seed": 0,
        "versions": {"keras": "3"},
        "overall": {"nll": Interval(0.5, 0.4, 0.6)},
        "conventions": {
            "guo": Errors(
                num_bins=2,
                edges="right",
                note="",
                examples_per_bin=50.0,
                values={"classwise_ece": Interval(0.1, np.nan, np.nan)},
                null_ece=NullRange(0.02, 0.01, 0.03),
                bins=calibration.Bins(*np.arange(6.0).reshape(3, 2)),
            )
        },
        "classes": [],
        "ood": {"noise": Detection(9, 0, 0.5, 0.9, 0.9, 0.8, np.float64(0.2))},
        "temperature": Temperature(2.0, False, (half, half)),
        "accuracies": {},
        "findings": [Finding("note", "Some words.")],
        "figures": {"roc": "<svg/>"},
    }
    return Example(**{**fields, **changes})


class TestToJson:
    def test_names_what_it_holds(self):
        found = json.loads(numbers().to_json())
        assert found["overall"]["nll"] == {
            "estimate": 0.5,
            "low": 0.4,
            "high": 0.6,
        }
        guo = found["conventions"]["guo"]
        assert guo["bins"]["confidence"] == [2, 3]
        assert guo["null_ece"]["mean"] == 0.02
        assert found["temperature"]["halves"][1]["nll_after"] == 0.4
        assert found["ood"]["noise"]["fpr95"] == 0.2
        assert found["findings"] == [{"level": "note", "text": "Some words."}]

    def test_nan_is_null(self):
        found = json.loads(numbers().to_json(), parse_constant=pytest.fail)
        interval = found["conventions"]["guo"]["values"]["classwise_ece"]
        assert interval == {"estimate": 0.1, "low": None, "high": None}

    def test_leaves_out_the_figures(self):
        assert "figures" not in json.loads(numbers().to_json())
        assert repr(numbers()) == "<Example on 'model.keras': 100 examples>"

    def test_class_bias_is_an_object(self):
        bias = ClassBias(0.2, 0.1, np.array([0.2, -0.2]), np.array([0.1, 0.1]))
        found = json.loads(numbers(class_bias=bias).to_json())
        assert found["class_bias"]["largest"] == 0.2
        assert found["class_bias"]["bias"] == [0.2, -0.2]

    def test_without_a_temperature(self):
        found = json.loads(numbers(temperature=None).to_json())
        assert found["temperature"] is None


class TestTemperature:
    def test_means(self):
        halves = Half(1.0, 5, 1.0, 0.5, 0.2, 0.1), Half(1, 5, 3, 1.5, 0.4, 0.1)
        temperature = Temperature(1.0, False, halves)
        assert temperature.mean("nll_before") == 2
        assert temperature.mean("ece_before") == pytest.approx(0.3)
