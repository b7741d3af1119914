"""The schema of results."""

import math

import pytest

from experiments.analysis import measures
from experiments.analysis import records
from experiments.analysis.seed_statistics import Difference


@pytest.mark.parametrize(
    ("name", "heading", "scale", "better"),
    [
        ("test_ece", "ECE, 15 bins (%)", 100, -1),
        ("validation_accuracy", "validation accuracy (%)", 100, 1),
        ("test_nll", "NLL (nats)", 1, -1),
        ("temperature", "T", 1, 0),
        ("mnist_test_auroc", "AUROC against MNIST (%)", 100, 1),
        (
            *("mnist_test_auroc_max_logit",),
            *("AUROC of the max logit against MNIST (%)", 100, 1),
        ),
        ("far_away_confidence", "confidence on far away (%)", 100, -1),
        ("between_0.50_slope", "gradient norm at lam 0.50", 1, -1),
        ("clean_error_top5", "top-5 error (%)", 100, -1),
        ("a_new_result", "a new result", 1, 0),
    ],
)
def test_names(name, heading, scale, better):
    found = measures.find(name)
    assert found.name == name
    assert (found.heading, found.scale) == (heading, scale)
    assert found.better == better
    assert measures.is_known(name) == (name != "a_new_result")


def test_every_result_of_the_ledger_is_known():
    tables = records.read_all(records.LEDGER).values()
    names = {name for table in tables for x in table for name in x.results}
    assert names
    assert all(map(measures.is_known, names))


class TestFormat:
    SHARE, NATS = map(measures.find, ("test_ece", "test_nll"))

    def test_percent_and_nats(self):
        assert self.SHARE.format(0.12345) == "12.35"
        assert self.SHARE.format(0.12345, precision=-1) == "12.3"
        assert self.NATS.format(0.5, sign=True) == "+0.500"
        assert self.SHARE.format(math.nan) == "-"

    def test_spread(self):
        assert self.SHARE.format_spread([0.1, 0.3]) == "20.00 ± 14.14"
        assert self.SHARE.format_spread([0.1]) == "10.00"
        assert self.SHARE.format_spread([0.1, math.nan]) == "-"

    def test_interval(self):
        found = Difference(0.2, -0.1, 0.5, 2)
        assert self.SHARE.format_interval(found) == "-10.00 to +50.00"
        one = Difference(0.2, math.nan, math.nan, 1)
        assert self.SHARE.format_interval(one) == "one seed"
