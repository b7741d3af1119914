"""The numbers of a report are the library's, and those of slow NumPy."""

import keras
import numpy as np
import pytest

from tests import reference
from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import selective
from tf_mixup.calibration import resampling
from tf_mixup.report import measures
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import temperature as report_temperature


def made(size=120, num_classes=3, seed=0):
    """Returns overconfident predictions."""
    generator = np.random.default_rng(seed)
    logits = 3 * generator.normal(size=(size, num_classes))
    labels = generator.integers(0, num_classes, size)
    labels[: size // 2] = logits[: size // 2].argmax(-1)
    return report_predictions.standardize(
        logits.astype(np.float32), labels, from_logits=True
    )


class TestOverall:
    def test_equals_the_library(self):
        rows = made()
        values = measures.measure_overall(rows, num_resamples=30, seed=4)
        expected = resampling.bootstrap_interval(
            rows.confidence,
            rows.correct,
            measure=calibration.signed_gap,
            num_resamples=30,
            seed=4,
        )
        assert values["signed_gap"] == expected
        assert set(values) == {
            *measures.OVERALL,
            "nll",
            "brier",
            "impossible",
        }

    def test_equals_slow_numpy(self):
        rows = made()
        values = measures.measure_overall(rows, num_resamples=5, seed=0)
        right = rows.predicted == rows.labels
        assert values["accuracy"].estimate == pytest.approx(right.mean())
        assert values["nll"].estimate == pytest.approx(
            np.mean(
                reference.negative_log_likelihood(
                    rows.labels, rows.probabilities
                )
            ),
            rel=1e-5,
        )
        assert values["brier"].estimate == pytest.approx(
            np.mean(reference.brier_score(rows.labels, rows.probabilities)),
            rel=1e-5,
        )


class TestWithoutBins:
    def test_equals_the_library(self):
        rows = made()
        found = measures.measure_without_bins(rows)
        data = rows.labels, rows.probabilities
        assert found["smooth_ece"] == pytest.approx(
            calibration.smooth_calibration_error(*data), abs=1e-6
        )
        parts = calibration.brier_decomposition(*data)
        for name, value in parts._asdict().items():
            assert found[name] == pytest.approx(value, abs=1e-6)


class TestSelective:
    def test_equals_the_library(self):
        rows = made()
        values = measures.measure_selective(rows, num_resamples=20, seed=0)
        data = rows.labels, rows.probabilities
        assert values["aurc"].estimate == pytest.approx(selective.aurc(*data))
        assert values["coverage_at_5_risk"].estimate == (
            selective.coverage_at_risk(*data, risk=0.05)
        )
        assert values["risk_at_80_coverage"].estimate == (
            selective.risk_at_coverage(*data, coverage=0.8)
        )
        for low, high in (each[1:] for each in values.values()):
            assert 0 <= low <= high <= 1

    def test_intervals_are_those_of_resampled_examples(self):
        rows = made()
        redrawn = [
            selective.aurc(
                np.repeat(rows.labels, weight),
                np.repeat(rows.probabilities, weight, axis=0),
            )
            for weight in resampling.redraw(120, num_resamples=20, seed=3)
        ]
        values = measures.measure_selective(rows, num_resamples=20, seed=3)
        ends = np.quantile(redrawn, [0.025, 0.975])
        np.testing.assert_allclose(values["aurc"][1:], ends, atol=1e-6)

    def test_equals_slow_numpy(self):
        rows = made()
        wrong = (rows.predicted != rows.labels).astype(float).tolist()
        values = measures.measure_selective(rows, num_resamples=2, seed=0)
        expected = reference.aurc(rows.confidence.tolist(), wrong)
        assert values["aurc"].estimate == pytest.approx(expected, abs=1e-7)


class TestErrors:
    @pytest.mark.parametrize("name", measures.SHOWN)
    def test_equals_the_library(self, name):
        rows = made()
        convention = calibration.CONVENTIONS[name]
        setting = {"num_bins": convention.num_bins, "edges": convention.edges}
        errors = measures.measure_errors(
            rows, convention, num_resamples=20, seed=1
        )
        for measure, function in measures.ERRORS.items():
            assert errors.values[measure] == resampling.bootstrap_interval(
                rows.confidence,
                rows.correct,
                measure=function,
                num_resamples=20,
                seed=1,
                **setting,
            )
        assert errors.null_ece == resampling.null_calibration_error(
            rows.confidence, seed=1, **setting
        )
        assert errors.examples_per_bin == 120 / convention.num_bins
        bins = calibration.bin_predictions(
            rows.labels, rows.probabilities, **setting
        )
        np.testing.assert_allclose(errors.bins.correct, bins.correct)
        classwise = calibration.classwise_calibration_error(
            calibration.class_bins(rows.labels, rows.probabilities, **setting)
        )
        assert errors.values["classwise_ece"].estimate == pytest.approx(
            float(classwise), rel=1e-6
        )
        assert errors.values["adaptive_ece"].estimate == pytest.approx(
            resampling.adaptive_interval(
                rows.confidence,
                rows.correct,
                num_bins=convention.num_bins,
                num_resamples=1,
            ).estimate
        )

    def test_equals_slow_numpy(self):
        rows = made()
        errors = measures.measure_errors(
            rows, calibration.CONVENTIONS["guo"], num_resamples=5, seed=0
        )
        arguments = rows.labels, rows.probabilities, 15
        for name, function in (
            ("ece", reference.expected_calibration_error),
            ("oe", reference.overconfidence_error),
            ("mce", reference.maximum_calibration_error),
            ("classwise_ece", reference.classwise_calibration_error),
        ):
            assert errors.values[name].estimate == pytest.approx(
                function(*arguments), abs=1e-6
            )

    def test_two_parts_make_ece(self):
        errors = measures.measure_errors(
            made(), calibration.CONVENTIONS["paper"], num_resamples=5, seed=0
        ).values
        parts = (errors[f"{side}confident_part"] for side in ("over", "under"))
        assert sum(part.estimate for part in parts) == pytest.approx(
            errors["ece"].estimate
        )

    def test_many_classes_get_no_interval(self, monkeypatch):
        rows = made()
        convention = calibration.CONVENTIONS["guo"]
        settings = {"num_resamples": 5, "seed": 0}
        drawn = measures.measure_errors(rows, convention, **settings)
        monkeypatch.setattr(measures, "_MOST_REDRAWN", 1)
        none = measures.measure_errors(rows, convention, **settings)
        before, after = (
            errors.values["classwise_ece"] for errors in (drawn, none)
        )
        assert after.estimate == pytest.approx(before.estimate, rel=1e-6)
        assert before.low <= before.estimate <= before.high
        assert before.low < before.high
        assert np.isnan(after.low)
        assert np.isnan(after.high)


class TestBootstrapMean:
    def test_equals_drawing_the_examples_themselves(self):
        column = np.random.default_rng(0).exponential(size=40)
        interval = measures.bootstrap_mean(column, num_resamples=200, seed=3)
        generator = np.random.default_rng(3)
        drawn = [
            column[generator.integers(0, 40, 40)].mean() for _ in range(200)
        ]
        assert interval.estimate == pytest.approx(column.mean())
        assert interval[1:] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


class TestClasswise:
    def test_holds_zero_of_calibrated_models(self):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(400, 4)).astype(np.float32)
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
        rows = report_predictions.standardize(logits, labels, from_logits=True)
        errors = measures.measure_errors(
            rows, calibration.CONVENTIONS["guo"], num_resamples=50, seed=0
        )
        for name in ("classwise_ece", "adaptive_ece", "ece"):
            interval = errors.values[name]
            assert interval.low == 0
            assert interval.low <= interval.estimate <= interval.high

    def test_excludes_zero_of_others(self):
        errors = measures.measure_errors(
            made(600), calibration.CONVENTIONS["guo"], num_resamples=50, seed=0
        )
        assert errors.values["classwise_ece"].low > 0.02


class TestSoftTargets:
    @pytest.fixture
    def rows(self):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(50, 3)).astype(np.float32)
        targets = generator.dirichlet(np.ones(3), 50)
        return report_predictions.standardize(logits, targets, from_logits=True)

    def test_equal_the_library(self, rows):
        given = rows.targets, rows.probabilities
        overall = measures.measure_overall(rows, num_resamples=5, seed=0)
        bins = calibration.bin_predictions(*given)
        assert overall["accuracy"].estimate == pytest.approx(
            float(calibration.accuracy(bins)), rel=1e-5
        )
        for name in ("nll", "brier"):
            function = {
                "nll": calibration.negative_log_likelihood,
                "brier": calibration.brier_score,
            }[name]
            assert overall[name].estimate == pytest.approx(
                np.mean(function(*given)), rel=1e-4
            )
        errors = measures.measure_errors(
            rows, calibration.CONVENTIONS["guo"], num_resamples=5, seed=0
        )
        table = calibration.class_bins(*given)
        assert errors.values["classwise_ece"].estimate == pytest.approx(
            float(calibration.classwise_calibration_error(table)), rel=1e-4
        )
        bias = measures.measure_class_bias(rows)
        expected = (rows.probabilities - rows.targets).mean(0)
        np.testing.assert_allclose(bias.bias, expected, atol=1e-6)


class TestBlocks:
    def test_change_nothing(self, monkeypatch):
        convention = calibration.CONVENTIONS["guo"]
        monkeypatch.setattr(measures, "_MOST_REDRAWN", 1)
        found = []
        for block in (2**20, 7):
            monkeypatch.setattr(report_predictions, "_BLOCK", block)
            rows = made()
            errors = measures.measure_errors(
                rows, convention, num_resamples=2, seed=0
            )
            temperature = report_temperature.measure(
                rows, seed=0, num_resamples=5
            )
            found.append(
                [
                    errors.values["classwise_ece"].estimate,
                    errors.values["ece"].estimate,
                    measures.measure_class_bias(rows).largest,
                    rows.nll.sum(),
                    rows.brier.sum(),
                    temperature.temperature,
                    temperature.mean("nll_after"),
                ]
            )
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


class TestClasses:
    def test_by_hand(self):
        probabilities = np.array(
            [[0.9, 0.1, 0.0], [0.7, 0.3, 0.0], [0.4, 0.6, 0.0]]
        )
        rows = report_predictions.standardize(
            probabilities, [0, 1, 1], from_logits=False
        )
        first, second, third = measures.measure_classes(rows, "abc")
        assert (first.name, first.labeled, first.predicted) == ("a", 1, 2)
        assert first.recall == 1
        assert first.accuracy == 0.5
        assert first.confidence == pytest.approx(0.8)
        assert first.gap == pytest.approx(0.3)
        # |1 - 0.9| and |0 - 0.7| in bins of their own, half the rows each.
        assert first.ece == pytest.approx(0.4)
        assert (second.recall, second.accuracy) == (0.5, 1)
        assert (third.labeled, third.predicted) == (0, 0)
        assert np.isnan([third.recall, third.accuracy, third.ece]).all()

    def test_gaps_add_up_to_that_of_all(self):
        rows = made()
        classes = measures.measure_classes(rows, "abc")
        total = sum(each.gap * each.predicted for each in classes) / 120
        assert total == pytest.approx(
            np.mean(rows.confidence - rows.correct), abs=1e-6
        )


class TestDetection:
    def test_equals_the_library(self):
        generator = np.random.default_rng(0)
        inside, outside = generator.random(50), generator.random(30) / 2
        found = measures.measure_detection(inside, outside, num_nonfinite=2)
        assert found.num_examples == 30
        assert found.num_nonfinite == 2
        assert found.confidence == pytest.approx(outside.mean())
        assert found.auroc == ood.auroc(inside, outside)
        assert found.aupr_in == ood.aupr_in(inside, outside)
        assert found.aupr_out == ood.aupr_out(inside, outside)
        assert found.fpr95 == ood.fpr_at_95_tpr(inside, outside)


class TestMainEce:
    def test_is_that_of_15_bins(self):
        rows = made()
        bins = calibration.bin_predictions(
            rows.labels, rows.probabilities, num_bins=15, edges="right"
        )
        expected = calibration.expected_calibration_error(bins)
        assert measures.main_ece(
            rows.confidence, rows.correct
        ) == pytest.approx(float(keras.ops.convert_to_numpy(expected)))
