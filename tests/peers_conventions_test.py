"""Presets of packages beside the packages: `make test-peers`.

Each function takes confidences and correctness `(B,)` and gives the ECE with
the package's default number of bins.
"""

import sys

import numpy as np
import pytest

from tf_mixup import calibration

ATOL = 1e-6


def mapie(confidence, correct):
    metrics = pytest.importorskip("mapie.metrics.calibration")
    return metrics.expected_calibration_error(correct, confidence)


def probcal(confidence, correct):
    metrics = pytest.importorskip("probcal.metrics")
    return metrics.ece(correct, confidence, strategy="width")


def relplot(confidence, correct):
    metrics = pytest.importorskip("relplot.metrics")
    return metrics.binnedECE(confidence, correct)


def torch_uncertainty(confidence, correct):
    if "torchvision" not in sys.modules:
        pytest.skip("torchvision crashes if it is loaded after TensorFlow")
    metrics = pytest.importorskip("torch_uncertainty.metrics.classification")
    torch = pytest.importorskip("torch")
    # Of two classes it bins the probability of the second.
    metric = metrics.CalibrationError(task="binary")
    metric.update(
        torch.tensor(confidence, dtype=torch.float32), torch.tensor(correct)
    )
    return float(metric.compute())


def uncertainty_calibration(confidence, correct):
    package = pytest.importorskip(
        "calibration", reason="needs uncertainty-calibration"
    )
    return package.get_ece(confidence, correct)


PACKAGES = {
    "mapie": mapie,
    "probcal": probcal,
    "relplot": relplot,
    "torch-uncertainty": torch_uncertainty,
    "uncertainty-calibration": uncertainty_calibration,
}


def draw(rounded, size=3000):
    """Returns columns whose gaps change their sign from one value to another.

    So a confidence in another bin changes the ECE. None is 0 or 1.
    """
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.01, 0.99, size)
    rate = generator.random(101)[np.round(100 * confidence).astype(int)]
    correct = (generator.random(size) < rate).astype(int)
    return np.round(confidence, 2) if rounded else confidence, correct


def tabulate(name, confidence, correct, **options):
    num_bins, edges, _ = calibration.CONVENTIONS[name]
    options = {"num_bins": num_bins, "edges": edges} | options
    return calibration.bin_confidences(confidence, correct, **options)


def ece(name, confidence, correct, **options):
    bins = tabulate(name, confidence, correct, **options)
    return float(calibration.expected_calibration_error(bins))


def test_the_data_distinguish_the_closed_side():
    confidence, correct = draw(rounded=True)
    for name in PACKAGES:
        found = [
            ece(name, confidence, correct, num_bins=10, edges=edges)
            for edges in calibration.EDGES
        ]
        assert abs(np.diff(found)) > 1e-3


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("name", PACKAGES)
def test_preset_is_that_of_the_package(name, rounded):
    confidence, correct = draw(rounded)
    if name == "relplot":
        # It has these in the bin below; see the test that follows.
        kept = ~np.isin(confidence, [0.3, 0.6, 0.7])
        confidence, correct = confidence[kept], correct[kept]
    expected = PACKAGES[name](confidence, correct)
    assert ece(name, confidence, correct) == pytest.approx(expected, abs=ATOL)


@pytest.mark.parametrize("rounded", [False, True])
def test_scikit_learn(rounded):
    curves = pytest.importorskip("sklearn.calibration")
    confidence, correct = draw(rounded)
    frequency, mean = curves.calibration_curve(correct, confidence)
    bins = tabulate("scikit-learn", confidence, correct)
    np.testing.assert_allclose(bins.correct / bins.count, frequency, atol=ATOL)
    np.testing.assert_allclose(bins.confidence / bins.count, mean, atol=ATOL)


class TestWhereTheyDiffer:
    """Two examples whose gaps cancel in one bin and not in two."""

    def differ(self, name, confidence):
        correct = np.array([0, 1])
        found = ece(name, confidence, correct)
        return PACKAGES[name](confidence, correct) - found

    @pytest.mark.parametrize("name", ["relplot", "torch-uncertainty"])
    def test_confidence_1_has_a_bin_of_its_own(self, name):
        # Together |1 + .97 - 1| / 2, apart (1 + .03) / 2.
        gap = self.differ(name, np.array([1.0, 0.97]))
        assert gap == pytest.approx(1.03 / 2 - 0.97 / 2, abs=ATOL)

    def test_mapie_has_a_bin_for_0(self):
        # Together |.01 - 1| / 2, apart (.01 + 1) / 2.
        assert self.differ("mapie", np.array([0.01, 0.0])) == pytest.approx(
            (0.01 + 1) / 2 - 0.99 / 2, abs=ATOL
        )

    @pytest.mark.parametrize("edge", [0.3, 0.6, 0.7])
    def test_relplot_divides(self, edge):
        # The edge belongs to the bin above, as .05 more does; it has it below.
        gap = self.differ("relplot", np.array([edge, edge + 0.05]))
        apart = (edge + 1 - edge - 0.05) / 2
        together = abs(2 * edge + 0.05 - 1) / 2
        assert gap == pytest.approx(apart - together, abs=ATOL)

    def test_mapie_counts_edges(self):
        metrics = pytest.importorskip("mapie.metrics.calibration")
        confidence, correct = draw(rounded=True)
        theirs = metrics.expected_calibration_error(
            correct, confidence, num_bins=11
        )
        found = ece("mapie", confidence, correct, num_bins=10)
        assert found == pytest.approx(theirs, abs=ATOL)
