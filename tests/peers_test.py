"""Others' numbers beside ours, by their own definitions: `make test-peers`.

Wherever the definitions agree both are equal to 1e-6. Where they do not, a test
shows by how much and that ours is the paper's, by the slow reference.
"""

import sys

import keras
import numpy as np
import pytest

from experiments.benchmark import mixing
from experiments.benchmark import peers
from tests import metrics_test
from tests import reference
from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import posthoc
from tf_mixup import selective

torch = pytest.importorskip("torch", reason="needs the extra `peers`")
netcal = pytest.importorskip("netcal", reason="needs the extra `peers`")
torchmetrics = pytest.importorskip(
    "torchmetrics", reason="needs the extra `peers`"
)

ATOL = 1e-6
# Ten rows of confidence .95, all right, and ten of 1, nine right: apart 5 and
# 10 points off, together confidence .975 and accuracy .95.
CROWDED = np.repeat([[0.95, 0.05], [1.0, 0.0]], 10, axis=0).astype("float32")
CROWDED_LABELS = np.array([0] * 19 + [1])


def saturate(probabilities):
    """Makes every other row entirely certain."""
    certain = np.eye(probabilities.shape[1], dtype="float32")
    probabilities = probabilities.copy()
    probabilities[::2] = certain[probabilities[::2].argmax(1)]
    return probabilities


def torch_uncertainty():
    """Returns its metrics; `make test-peers` loads torchvision first."""
    if "torchvision" not in sys.modules:
        pytest.skip("torchvision crashes if it is loaded after TensorFlow")
    return pytest.importorskip("torch_uncertainty.metrics.classification")


def untied(size, num_classes):
    """Returns examples that all have another confidence."""
    labels, probabilities = metrics_test.draw(size, num_classes)
    _, kept = np.unique(probabilities.max(1), return_index=True)
    return labels[kept], probabilities[kept]


def ours(labels, probabilities, error, **options):
    bins = calibration.bin_predictions(labels, probabilities, **options)
    return float(error(bins))


def ece(labels, probabilities, **options):
    error = calibration.expected_calibration_error
    return ours(labels, probabilities, error, **options)


def mce(labels, probabilities, **options):
    error = calibration.maximum_calibration_error
    return ours(labels, probabilities, error, **options)


def ace(labels, probabilities, **options):
    error = calibration.average_calibration_error
    return ours(labels, probabilities, error, **options)


def convention(name):
    found = calibration.CONVENTIONS[name]
    return {"num_bins": found.num_bins, "edges": found.edges}


def torchmetrics_error(labels, probabilities, norm="l1", num_bins=15):
    from torchmetrics.functional import classification

    return float(
        classification.multiclass_calibration_error(
            torch.tensor(probabilities),
            torch.tensor(labels),
            num_classes=probabilities.shape[1],
            n_bins=num_bins,
            norm=norm,
        )
    )


def netcal_error(name, labels, probabilities, num_bins=10):
    from netcal import metrics

    measure = getattr(metrics, name)(num_bins)
    return float(measure.measure(probabilities, labels))


@pytest.mark.parametrize("num_classes", [3, 10, 100])
class TestCalibrationErrors:
    def test_torchmetrics(self, num_classes):
        data = metrics_test.draw(3000, num_classes)
        options = convention("torchmetrics")
        expected = torchmetrics_error(*data)
        assert ece(*data, **options) == pytest.approx(expected, abs=ATOL)
        expected = torchmetrics_error(*data, norm="max")
        assert mce(*data, **options) == pytest.approx(expected, abs=ATOL)

    @pytest.mark.parametrize("certain", [False, True])
    def test_netcal(self, num_classes, certain):
        labels, probabilities = metrics_test.draw(3000, num_classes)
        if certain:
            probabilities = saturate(probabilities)
        data = labels, probabilities
        options = convention("netcal")
        expected = netcal_error("ECE", *data)
        assert ece(*data, **options) == pytest.approx(expected, abs=ATOL)
        expected = netcal_error("MCE", *data)
        assert mce(*data, **options) == pytest.approx(expected, abs=ATOL)
        expected = netcal_error("ACE", *data)
        assert ace(*data, **options) == pytest.approx(expected, abs=ATOL)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("certain", [False, True])
    def test_tfp(self, num_classes, certain):
        import tensorflow_probability as tfp

        labels, probabilities = metrics_test.draw(3000, num_classes)
        if certain:
            probabilities = saturate(probabilities)
        options = convention("tfp")
        expected = tfp.stats.expected_calibration_error(
            options["num_bins"],
            logits=np.log(np.maximum(probabilities, 1e-30)),
            labels_true=labels.astype("int32"),
        )
        found = ece(labels, probabilities, **options)
        assert found == pytest.approx(float(expected), abs=ATOL)


class TestSelectiveClassification:
    """torch-uncertainty 0.13: curves agree, its area is by trapezoids."""

    @pytest.mark.parametrize("num_classes", [2, 10])
    def test_torch_uncertainty(self, num_classes):
        theirs = torch_uncertainty()
        labels, probabilities = untied(3000, num_classes)
        data = torch.tensor(probabilities), torch.tensor(labels)

        def measure(metric):
            metric.update(*data)
            return metric

        area = measure(theirs.AURC())
        curve = selective.risk_coverage_curve(labels, probabilities)
        np.testing.assert_allclose(
            curve.risk, area.partial_compute(), atol=ATOL
        )
        # Without half of the first and of the last of B risks.
        size = len(labels)
        ends = (curve.risk[0] + curve.risk[-1]) / 2
        found = (size * selective.aurc(labels, probabilities) - ends) / (
            size - 1
        )
        assert found == pytest.approx(float(area.compute()), abs=ATOL)
        for share in (0.05, 0.2, 0.5, 0.8):
            expected = measure(theirs.CovAtxRisk(share)).compute()
            found = selective.coverage_at_risk(
                labels, probabilities, risk=share
            )
            # They have no coverage where nothing may be accepted.
            assert found == pytest.approx(
                np.nan_to_num(float(expected)), abs=ATOL
            )
            expected = measure(theirs.RiskAtxCov(share)).compute()
            found = selective.risk_at_coverage(
                labels, probabilities, coverage=share
            )
            assert found == pytest.approx(float(expected), abs=ATOL)

    def test_its_ties_are_in_the_order_of_the_data(self):
        theirs = torch_uncertainty()
        probabilities = torch.tensor([[0.75, 0.25]] * 4)
        risks = []
        for labels in ([0, 0, 1, 1], [1, 1, 0, 0]):
            metric = theirs.RiskAtxCov(0.5)
            metric.update(probabilities, torch.tensor(labels))
            risks.append(float(metric.compute()))
            found = selective.aurc(np.array(labels), probabilities.numpy())
            assert found == pytest.approx(0.5, abs=ATOL)
        assert risks == [0, 1]

    def test_scikit_learn(self):
        """Its curve of precision and predicted positives, by hand."""
        from sklearn import metrics as sklearn_metrics

        labels, probabilities = untied(3000, 10)
        right = probabilities.argmax(1) == labels
        precision, recall, _ = sklearn_metrics.precision_recall_curve(
            right, probabilities.max(1)
        )
        # One point for each threshold, the highest last, then the end (1, 0).
        risk = 1 - precision[-2::-1]
        curve = selective.risk_coverage_curve(labels, probabilities)
        np.testing.assert_allclose(curve.risk, risk, atol=ATOL)
        accepted = (
            recall[-2::-1] * right.mean() / np.maximum(precision[-2::-1], 1e-9)
        )
        seen = precision[-2::-1] > 0
        np.testing.assert_allclose(
            curve.coverage[seen], accepted[seen], atol=ATOL
        )
        found = selective.aurc(labels, probabilities)
        assert found == pytest.approx(risk.mean(), abs=ATOL)


def crowd_away_from_the_ends(size):
    """Returns confidences in [0.5, 0.95], and which are correct."""
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 0.95, size)
    return confidence, generator.random(size) < confidence**2 + 0.15


class TestSmoothCalibrationError:
    """relplot, probcal and torch-uncertainty: one number, three kernels."""

    @pytest.mark.parametrize("bandwidth", [0.02, 0.05, 0.1])
    def test_kernel_of_relplot(self, bandwidth):
        kernels = pytest.importorskip("relplot.kernels")
        confidence, correct = crowd_away_from_the_ends(1000)
        grid = np.linspace(0, 1, 5001)
        residuals = kernels.ReflectedGaussianKernel(bandwidth).apply(
            confidence, correct - confidence, grid, eval_points=10_000
        )
        expected = np.trapezoid(np.abs(residuals), grid) / correct.size
        found = calibration.smooth_calibration_error(
            selective.rank_scores(confidence, correct), bandwidth=bandwidth
        )
        assert found == pytest.approx(expected, abs=ATOL)

    def test_relplot_finds_the_width_to_one_part_in_1024(self):
        relplot = pytest.importorskip("relplot")
        confidence, correct = crowd_away_from_the_ends(1000)
        error, width = relplot.smECE(
            confidence, correct.astype(float), return_width=True
        )
        found = calibration.smooth_calibration_error(
            selective.rank_scores(confidence, correct)
        )
        assert error < found < width + 1e-4
        assert width - error < 2 / 1024

    def test_probcal(self):
        metrics = pytest.importorskip("probcal.metrics")
        confidence, correct = crowd_away_from_the_ends(1000)
        found = calibration.smooth_calibration_error(
            selective.rank_scores(confidence, correct), kernel="logit"
        )
        # It ends where its interval is shorter than 1e-4.
        expected = metrics.smooth_ece(correct, confidence)
        assert found == pytest.approx(expected, abs=2e-4)

    @pytest.mark.parametrize("bandwidth", [0.02, 0.1])
    def test_torch_uncertainty(self, bandwidth):
        theirs = torch_uncertainty()
        confidence, correct = crowd_away_from_the_ends(1000)
        # Its grid, of 1,001 points and 500 that it reads, is coarser.
        metric = theirs.SmoothCalibrationError(
            kernel_type="reflected", bandwidth=bandwidth
        )
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        metric.update(
            torch.tensor(probabilities, dtype=torch.float32),
            torch.tensor(~correct).long(),
        )
        found = calibration.smooth_calibration_error(
            selective.rank_scores(confidence, correct), bandwidth=bandwidth
        )
        assert found == pytest.approx(float(metric.compute()), abs=2e-4)


class TestWhereOthersAreWrong:
    def test_relplot_counts_examples_of_confidence_1_half(self):
        relplot = pytest.importorskip("relplot")
        # Half of the examples are sure and 0.8 of them right, the others are
        # calibrated: at any width 0.1, because no residual is below 0.
        confidence = np.repeat([1.0, 0.9], 100)
        correct = np.repeat([1, 0, 1, 0], [80, 20, 90, 10])
        found = calibration.smooth_calibration_error(
            selective.rank_scores(confidence, correct)
        )
        assert found == pytest.approx(0.1, abs=ATOL)
        theirs = relplot.smECE_sigma(confidence, correct.astype(float), 0.1)
        assert theirs == pytest.approx(0.1 * 2 / 3, abs=2e-3)

    def test_torch_uncertainty_sees_no_confidence_above_0_995(self):
        theirs = torch_uncertainty()
        # As above, but for a confidence of 0.999.
        sure = torch.tensor([0.999, 0.9]).repeat_interleave(100)
        wrong = np.repeat([0, 1, 0, 1], [80, 20, 90, 10])
        metric = theirs.SmoothCalibrationError()
        metric.update(torch.stack([sure, 1 - sure], 1), torch.tensor(wrong))
        assert float(metric.compute()) < 1e-5
        table = selective.rank_scores(sure.numpy(), 1 - wrong)
        for kernel in ("logit", "reflected"):
            found = calibration.smooth_calibration_error(table, kernel=kernel)
            assert found == pytest.approx(0.0995, abs=ATOL)

    def test_confidence_1_has_a_bin_of_its_own_in_torchmetrics(self):
        data = CROWDED_LABELS, CROWDED
        assert torchmetrics_error(*data) == pytest.approx(0.075, abs=ATOL)
        assert ece(*data) == pytest.approx(0.025, abs=ATOL)
        expected = reference.expected_calibration_error(*data, 15)
        assert ece(*data) == pytest.approx(expected, abs=ATOL)

    @pytest.mark.parametrize(
        ("name", "edge", "num_bins"),
        [("torchmetrics", 0.4, 15), ("netcal", 0.7, 10)],
    )
    def test_a_confidence_on_an_edge_is_rounded(self, name, edge, num_bins):
        """Beside one just below the edge, in the same bin or in another."""
        confidence = np.float32([edge, edge - 0.4 / num_bins, *[0.919] * 4])
        probabilities = np.repeat((1 - confidence[:, None]) / 9, 10, axis=1)
        labels = np.array([5, 0, 0, 1, 2, 3])
        said = np.array([0, 0, 0, 1, 2, 3])
        probabilities[np.arange(6), said] = confidence
        found = ece(labels, probabilities, **convention(name))
        if name == "torchmetrics":
            theirs = torchmetrics_error(labels, probabilities)
        else:
            theirs = netcal_error("ECE", labels, probabilities)
        # Bins are closed on the left, but theirs has it below the edge, where
        # the wrong answer and the right one cancel in part.
        assert theirs < found - 0.01

    def test_a_loop_over_bins_loses_confidence_1(self):
        """As in the paper's reproduction: floor(M * 1) is bin M of 0..M-1."""
        labels, probabilities = metrics_test.draw(3000, 10)
        probabilities = saturate(probabilities)
        confidence = probabilities.max(1)
        correct = probabilities.argmax(1) == labels
        place = np.floor(confidence * 100)
        theirs = sum(
            abs((confidence - correct)[place == each].sum())
            for each in range(100)
        )
        theirs /= len(labels)
        found = ece(labels, probabilities, **convention("paper"))
        expected = reference.expected_calibration_error(
            labels, probabilities, 100
        )
        assert found == pytest.approx(expected, abs=ATOL)
        assert theirs < found / 2

    def test_sorting_accuracies_apart_from_confidences(self):
        """As OpenMixup does: a model that errs where it is sure looks fine."""
        confidence = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 100)
        correct = np.concatenate(
            [np.arange(100) < 100 * each for each in (0.9, 0.8, 0.7, 0.6, 0.5)]
        )
        bins = calibration.bin_confidences(confidence, correct)
        found = float(calibration.expected_calibration_error(bins))
        assert found == pytest.approx(0.25, abs=ATOL)
        accuracies = np.sort([0.9, 0.8, 0.7, 0.6, 0.5])
        theirs = np.abs(accuracies - np.unique(confidence)).mean()
        assert theirs == pytest.approx(0.05)

    def test_averaging_over_batches(self):
        """As Keras averages a function that is given as a metric."""
        labels, probabilities = metrics_test.draw(3200, 10)
        found = ece(labels, probabilities)
        theirs = np.mean(
            [
                torchmetrics_error(
                    labels[start : start + 32],
                    probabilities[start : start + 32],
                )
                for start in range(0, 3200, 32)
            ]
        )
        assert theirs > found + 0.02

    def test_binary_forms_bin_the_positive_class(self):
        """Another definition: of two classes they do not ask which is said."""
        from torchmetrics.functional import classification

        # Of ten called .2 none is, of ten called .8 six are: 8 of 10 of the
        # predictions, all of confidence .8, are right.
        column = np.repeat(np.float32([0.2, 0.8]), 10)
        labels = np.array([0] * 10 + [1] * 6 + [0] * 4)
        theirs = classification.binary_calibration_error(
            torch.tensor(column), torch.tensor(labels), n_bins=15
        )
        assert float(theirs) == pytest.approx(0.2, abs=ATOL)
        assert netcal_error("ECE", labels, column) == pytest.approx(0.2)
        assert ece(labels, column) == pytest.approx(0, abs=ATOL)
        # It is ours of one label.
        found = calibration.label_calibration_error(labels, column)
        assert float(found) == pytest.approx(0.2, abs=ATOL)

    def test_keras_grid_of_thresholds(self):
        generator = np.random.default_rng(0)
        inside = 1 - 1e-4 * generator.random(2000)
        outside = 1 - 2e-4 * generator.random(2000)
        grid = keras.metrics.AUC()
        is_in = np.repeat([1, 0], 2000)
        grid.update_state(is_in, np.concatenate([inside, outside]))
        assert float(grid.result()) == pytest.approx(0.5, abs=0.01)
        assert ood.auroc(inside, outside) == pytest.approx(0.75, abs=0.02)


class TestBenchmark:
    def test_every_way_to_an_error_gives_the_same(self):
        logits, labels = peers.draw_logits(400, 7)
        parts = [(logits[:200], labels[:200]), (logits[200:], labels[200:])]
        expected = peers._add_bins(parts)
        found = [
            peers._updater()(parts),
            peers._update_torchmetrics(parts),
            peers._tfp_error(logits, labels),
            peers._netcal_error(logits, labels),
        ]
        assert found == pytest.approx([expected] * 4, abs=ATOL)

    def test_tables(self, monkeypatch):
        monkeypatch.setattr(peers, "MEMORY_STEPS", (100, 200))
        monkeypatch.setattr(peers, "MEMORY_SHAPE", (50, 2))
        size = mixing.Size(
            name="", shape=(4, 6, 6, 3), num_classes=5, batches=1, calls=1
        )
        tables = peers.measure(1, shape=(600, 5), size=size, num_scores=50)
        names = {each for table in tables[:3] for each in table.milliseconds}
        assert {"netcal", "keras.layers.MixUp", "scikit-learn"} <= names
        assert len(tables[3].values) == 2


class TestOtherMeasures:
    def test_likelihood_and_brier_of_scikit_learn(self):
        from sklearn import metrics as sklearn_metrics

        labels, probabilities = metrics_test.draw(2000, 5)
        wide = probabilities.astype("float64")
        wide /= wide.sum(1, keepdims=True)
        nll = np.mean(calibration.negative_log_likelihood(labels, wide))
        expected = sklearn_metrics.log_loss(labels, wide, labels=range(5))
        assert float(nll) == pytest.approx(expected, abs=ATOL)
        column, yes = wide[:, 0] + wide[:, 1], labels <= 1
        brier = np.mean(calibration.brier_score(yes, column))
        # Of one column they count one class, we count both.
        expected = 2 * sklearn_metrics.brier_score_loss(yes, column)
        assert float(brier) == pytest.approx(expected, abs=ATOL)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_brier_of_tfp_lacks_the_targets_own_square(self):
        import tensorflow_probability as tfp

        labels, probabilities = metrics_test.draw(2000, 5)
        theirs = tfp.stats.brier_score(
            labels.astype("int32"), np.log(probabilities)
        )
        found = calibration.brier_score(labels, probabilities)
        np.testing.assert_allclose(found, np.array(theirs) + 1, atol=ATOL)

    def test_ranks_of_torchmetrics_and_scikit_learn(self):
        from sklearn import metrics as sklearn_metrics
        from torchmetrics.functional import classification

        generator = np.random.default_rng(0)
        inside = generator.beta(5, 1, 3000).round(3)
        outside = generator.beta(2, 1, 2000).round(3)
        is_in = np.repeat([1, 0], [3000, 2000])
        scores = np.concatenate([inside, outside])
        given = torch.tensor(scores), torch.tensor(is_in)
        for found, theirs, scikit in (
            (
                ood.auroc(inside, outside),
                classification.binary_auroc(*given),
                sklearn_metrics.roc_auc_score(is_in, scores),
            ),
            (
                ood.aupr_in(inside, outside),
                classification.binary_average_precision(*given),
                sklearn_metrics.average_precision_score(is_in, scores),
            ),
        ):
            assert found == pytest.approx(float(theirs), abs=ATOL)
            assert found == pytest.approx(scikit, abs=ATOL)

    def test_temperature_of_netcal(self):
        from netcal import scaling

        labels, probabilities = metrics_test.draw(1000, 5)
        # Of float32 netcal 1.4 gives a temperature of 1.
        probabilities = probabilities.astype("float64")
        probabilities /= probabilities.sum(1, keepdims=True)
        theirs = scaling.TemperatureScaling()
        theirs.fit(probabilities, labels)
        found = posthoc.TemperatureScaling()
        found.fit(np.log(probabilities), labels)
        assert found.temperature > 1.5
        assert found.temperature * theirs.temperature[0] == pytest.approx(
            1, abs=1e-4
        )


class Given:
    """A classifier of scikit-learn's kind, whose inputs are probabilities."""

    def __init__(self, num_classes):
        self.classes_ = np.arange(num_classes)
        self.is_fitted_ = True

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return np.asarray(x)

    def predict(self, x):
        return np.asarray(x).argmax(axis=1)


class TestConformalSets:
    @pytest.fixture
    def parts(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(scale=3, size=(900, 4))
        labels = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
        return (logits[:500], labels[:500]), logits[500:]

    @staticmethod
    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def ours(self, parts, **options):
        sets = posthoc.ConformalSets(
            "lac", coverage=0.85, allow_empty=True, **options
        )
        return sets.fit(*parts[0]).apply(parts[1])

    def test_lac_is_that_of_mapie(self, parts):
        classification = pytest.importorskip("mapie.classification")
        (logits, labels), new = parts
        peer = classification.SplitConformalClassifier(
            Given(4), confidence_level=0.85, conformity_score="lac", prefit=True
        )
        peer.conformalize(self.softmax(logits), labels)
        _, sets = peer.predict_set(self.softmax(new))
        np.testing.assert_array_equal(sets[:, :, 0], self.ours(parts))

    @pytest.mark.parametrize("per_class", [False, True])
    def test_lac_is_the_hinge_of_crepes(self, parts, per_class):
        crepes = pytest.importorskip("crepes")
        (logits, labels), new = parts
        peer = crepes.WrapClassifier(Given(4))
        peer.calibrate(self.softmax(logits), labels, class_cond=per_class)
        sets = peer.predict_set(
            self.softmax(new), labels=False, confidence=0.85, smoothing=False
        )
        expected = self.ours(parts, per_class=per_class)
        np.testing.assert_array_equal(sets, expected)
