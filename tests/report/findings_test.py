"""Each finding appears where it should, and nowhere else."""

import dataclasses

import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.report import findings as report_findings
from tf_mixup.report import measures
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import temperature as report_temperature


def made(temperature=1.0, size=3000, num_classes=3):
    """Returns predictions that are calibrated at temperature 1."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(size, num_classes))
    gumbel = generator.gumbel(size=logits.shape)
    return report_predictions.standardize(
        (logits / temperature).astype(np.float32),
        (logits + gumbel).argmax(-1),
        from_logits=True,
    )


def in_calibration(rows, num_bins=15):
    convention = calibration.Convention(num_bins, "right", "")
    options = {"num_resamples": 100, "seed": 0}
    return list(
        report_findings.find_in_calibration(
            measures.measure_overall(rows, **options),
            measures.measure_errors(rows, convention, **options),
            report_temperature.measure(rows, seed=0),
            measures.measure_class_bias(rows),
            "abcd"[: rows.num_classes],
        )
    )


def in_data(rows, *, num_nonfinite=0, accuracies=None, names=None):
    names = names or "abc"[: rows.num_classes]
    found = report_findings.find_in_data(
        measures.measure_classes(rows, names),
        num_nonfinite=num_nonfinite,
        accuracies=accuracies or {},
        num_tried=500,
    )
    return [each.text for each in found]


class TestCalibration:
    def test_calibrated(self):
        first, second = in_calibration(made())
        assert first.level == "good"
        assert "not above its null range" in first.text
        assert "shows no difference beyond chance" in second.text
        assert "On them ECE goes from" in second.text
        assert second.text.startswith("Temperature 0.9") or (
            second.text.startswith("Temperature 1")
        )

    def test_overconfident(self):
        first, second = in_calibration(made(temperature=0.4))
        assert first.level == "warning"
        assert first.text.startswith("Overconfident by")
        assert "alpha 0.2 to 0.4" in first.text
        assert "would help" in second.text

    def test_underconfident(self):
        first, _ = in_calibration(made(temperature=3.0))
        assert first.text.startswith("Underconfident by")
        assert "smaller alpha" in first.text

    def test_both_at_once(self):
        # 0.9 that is right half the time, 0.6 that is always right.
        confidence = np.repeat([0.9, 0.6], 500)
        right = np.concatenate([np.arange(500) % 2, np.ones(500)])
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        rows = report_predictions.standardize(
            probabilities, 1 - right, from_logits=False
        )
        first, _ = in_calibration(rows)
        assert first.text.startswith("Overconfident in some bins and under")

    def test_a_signed_gap_is_not_good(self):
        # 1,500 bits of evidence in one direction, spread over many bins.
        rows = made(temperature=0.85)
        overall = measures.measure_overall(rows, num_resamples=100, seed=0)
        convention = calibration.Convention(1000, "right", "")
        errors = measures.measure_errors(
            rows, convention, num_resamples=2, seed=0
        )
        assert errors.values["ece"].estimate <= errors.null_ece.high
        assert overall["signed_gap"].low > 0
        first, *_ = report_findings.find_in_calibration(overall, errors, None)
        assert first.level == "warning"
        assert first.text.startswith("Overconfident by")
        assert "excludes 0, though ECE" in first.text

    def test_class_weights(self):
        # The odds of a rare class times 9, as balanced weights make them.
        generator = np.random.default_rng(0)
        rare = np.clip(generator.beta(0.5, 4.5, 2000), 1e-3, 0.999)
        shifted = 9 * rare / (9 * rare + 1 - rare)
        rows = report_predictions.standardize(
            np.stack([1 - shifted, shifted], axis=1),
            generator.random(2000) < rare,
            from_logits=False,
        )
        found = in_calibration(rows)
        assert all(each.level != "good" for each in found)
        assert "b: +" in found[0].text
        assert "lass weights or resampled classes" in found[0].text
        assert "VectorScaling" in found[0].text
        assert "does not change class bias" in found[-1].text

    @pytest.mark.slow
    def test_calibrated_models_are_told_of_no_temperature(self):
        told = 0
        for seed in range(12):
            generator = np.random.default_rng(seed)
            logits = 2 * generator.normal(size=(1000, 5))
            gumbel = generator.gumbel(size=logits.shape)
            rows = report_predictions.standardize(
                logits.astype(np.float32),
                (logits + gumbel).argmax(-1),
                from_logits=True,
            )
            text = in_calibration(rows)[-1].text
            told += "would help" in text
        assert told <= 1

    def test_few_rows(self):
        texts = [each.text for each in in_calibration(made(size=200))]
        assert any(text.startswith("Few examples: 13.3") for text in texts)
        texts = [each.text for each in in_calibration(made(size=3000))]
        assert not any(text.startswith("Few examples") for text in texts)

    def test_all_right(self):
        labels = np.arange(400) % 2
        probabilities = np.where(labels[:, None] == [0, 1], 0.7, 0.3)
        rows = report_predictions.standardize(
            probabilities, labels, from_logits=False
        )
        texts = [each.text for each in in_calibration(rows)]
        assert texts[0].startswith("All predictions are right")
        assert texts[-1].startswith("No finite temperature is optimal")

    def test_no_temperature(self):
        texts = [each.text for each in in_calibration(made(size=30))]
        assert texts[-1].startswith("No temperature was tried")


class TestData:
    def test_nothing_to_say(self):
        assert in_data(made()) == []

    def test_nan(self):
        (text,) = in_data(made(), num_nonfinite=7)
        assert text.startswith("7 of 3,007 examples have NaN")

    def test_what_is_left_out_or_changed(self):
        classes = measures.measure_classes(made(), "abc")
        texts = [
            each.text
            for each in report_findings.find_in_data(
                classes,
                num_nonfinite=0,
                accuracies={},
                num_tried=0,
                num_ignored=4,
                num_normalized=9,
            )
        ]
        assert texts[0].startswith("4 examples with the ignored label")
        assert texts[1].startswith("9 targets did not sum to 1")

    def test_chance(self):
        rows = made()
        moved = dataclasses.replace(rows, targets=np.roll(rows.targets, 1))
        (text,) = in_data(moved)
        assert "no better than guessing among 3 classes" in text

    def test_one_prediction_for_all(self):
        rows = made()
        logits = np.tile(np.float32([0, 3, 0]), (3000, 1))
        stuck = report_predictions.standardize(
            logits, rows.labels, from_logits=True
        )
        assert "predicts one class, b, for every example" in in_data(stuck)[-1]

    def test_imbalance_and_absence(self):
        rows = made()
        few = np.flatnonzero(rows.labels == 2)[:10]
        kept = np.concatenate([np.flatnonzero(rows.labels == 0), few])
        texts = in_data(rows.take(kept))
        assert texts[0] == "1 of 3 classes have no examples: b."
        assert "imbalanced: a has" in texts[1]
        assert "c 10." in texts[1]

    def test_small_classes_differ_by_chance(self):
        labels = np.repeat([0, 1, 2], [18, 9, 3])
        logits = np.eye(3, dtype=np.float32)[labels]
        rows = report_predictions.standardize(logits, labels, from_logits=True)
        assert in_data(rows) == []

    def test_wrong_scale(self):
        tried = {"as given": 0.3, "x / 255": 0.9, "x / 127.5 - 1": 0.8}
        (text,) = in_data(made(), accuracies=tried)
        assert "with x / 255 in place of x accuracy is 90.0%" in text

    @pytest.mark.parametrize("best", [0.3, 0.38, 0.1])
    def test_right_scale(self, best):
        tried = {"as given": 0.3, "x / 255": best}
        assert in_data(made(), accuracies=tried) == []


class TestDetection:
    def detection(self, **changes):
        measured = measures.measure_detection(
            np.array([0.9, 0.8, 0.7]), np.array([0.3, 0.2])
        )
        return {"noise": dataclasses.replace(measured, **changes)}

    def test_nothing_to_say(self):
        found = report_findings.find_in_detection(0.8, self.detection())
        assert list(found) == []

    @pytest.mark.parametrize("changes", [{"auroc": 0.5}, {"confidence": 0.81}])
    def test_takes_it_for_its_own(self, changes):
        found = report_findings.find_in_detection(
            0.8, self.detection(**changes)
        )
        (finding,) = found
        assert "does not separate noise from the data" in finding.text

    def test_nan(self):
        (finding,) = report_findings.find_in_detection(
            0.8, self.detection(num_nonfinite=3)
        )
        assert finding.text.startswith("3 examples of noise have NaN")
