"""The report on several labels: numbers, findings, page, refusals."""

import json
import re

import keras
import numpy as np
import pytest

import tf_mixup
from tests import reference
from tf_mixup import report as report_lib

NAMES = ["calm", "<loud>", "frequent", "good"]


def made(activation="sigmoid"):
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Activation(activation)]
    )


def draw(size=1500):
    """Returns logits as inputs; two labels do not keep what these claim."""
    generator = np.random.default_rng(0)
    x = 2 * generator.normal(size=(size, 4)).astype("float32")
    truth = x.astype("float64")
    truth[:, 1] /= 3  # Overconfident, on average right.
    truth[:, 2] -= 2  # Expected too often.
    labels = generator.random(x.shape) < 1 / (1 + np.exp(-truth))
    return x, labels.astype("int32")


@pytest.fixture(scope="module")
def report():
    return report_lib.label_report(
        made(), draw(), label_names=NAMES, num_resamples=50, title="net"
    )


class TestNumbers:
    def test_are_those_of_the_reference(self, report):
        x, labels = draw()
        p = 1 / (1 + np.exp(-x.astype("float64")))
        errors = reference.label_calibration_errors(labels, np.float32(p), 15)
        for k, each in enumerate(report.labels):
            assert each.name == NAMES[k]
            assert each.num_positive == labels[:, k].sum()
            assert each.ece.estimate == pytest.approx(errors[k], abs=1e-6)
            assert each.ece.low <= errors[k] <= each.ece.high
            gap = (p - labels)[:, k].mean()
            assert each.gap.estimate == pytest.approx(gap, abs=1e-6)
            cost = -np.log(np.where(labels == 1, p, 1 - p))[:, k].mean()
            assert each.nll == pytest.approx(cost, rel=1e-5)
            brier = ((p - labels) ** 2)[:, k].mean()
            assert each.brier == pytest.approx(brier, rel=1e-5)
        assert report.overall["label_ece"] == pytest.approx(
            np.mean(errors), abs=1e-6
        )

    def test_findings_name_what_is_wrong(self, report):
        warning, note = report.findings
        assert warning.level == "warning"
        assert re.search("2 of 4 labels .*: .*frequent", warning.text)
        assert "<loud>" in warning.text
        assert "LabelwiseScaling" in warning.text
        assert note.text.startswith("Probability too high on average: f")
        assert "frequent" in note.text
        assert "<loud>" not in note.text

    def test_scaling_makes_it_good(self):
        x, labels = draw()
        scaler = tf_mixup.posthoc.LabelwiseScaling(
            tf_mixup.posthoc.PlattScaling()
        )
        data, test = (x[:700], labels[:700]), (x[700:], labels[700:])
        calibrated = tf_mixup.posthoc.calibrate(made(), scaler, data)
        found = report_lib.label_report(calibrated, test, num_resamples=20)
        assert [each.level for each in found.findings] == ["good"]

    @pytest.mark.parametrize("num_labels", [3, 10])
    def test_one_wrong_label_is_found_among_others(self, num_labels):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(2000, num_labels)).astype("float32")
        truth = 1 / (1 + np.exp(-x.astype("float64")))
        labels = (generator.random(x.shape) < truth).astype("int32")
        model = keras.Sequential(
            [keras.Input((num_labels,)), keras.layers.Activation("sigmoid")]
        )
        found = report_lib.label_report(model, (x, labels), num_resamples=5)
        (good,) = found.findings
        assert good.level == "good"
        assert f" of {num_labels} have an ECE above their null" in good.text
        x[:, 2] += 3
        found = report_lib.label_report(model, (x, labels), num_resamples=5)
        warning, note = found.findings
        assert warning.level == "warning"
        said = f"1 of {num_labels} labels is larger than chance explains: 2."
        assert said in warning.text
        assert note.text.startswith("Probability too high on average: 2.")

    @pytest.mark.parametrize("activation", ["sigmoid", "linear"])
    def test_unknown_labels_are_left_out_one_by_one(self, activation):
        x, labels = draw()
        unknown = np.random.default_rng(1).random(labels.shape) < 0.3
        labels[unknown] = -1
        found = report_lib.label_report(
            *(made(activation), (x, labels)), ignore_label=-1, num_resamples=5
        )
        for k, each in enumerate(found.labels):
            kept = ~unknown[:, k]
            assert each.num_examples == kept.sum()
            expected = tf_mixup.calibration.label_calibration_error(
                labels[kept, k], x[kept, k]
            )
            assert each.ece.estimate == pytest.approx(float(expected), abs=1e-6)
        metric = tf_mixup.metrics.LabelCalibrationMetrics(
            from_logits=True, ignore_label=-1
        )
        metric.update_state(labels, x)
        results = metric.results()
        for key in ("label_nll", "label_brier"):
            assert found.overall[key] == pytest.approx(results[key], rel=1e-5)

    def test_one_of_several_outputs(self):
        x, labels = draw(200)
        inputs = keras.Input((4,))
        heads = {
            name: keras.layers.Activation(name)(inputs)
            for name in ("softmax", "sigmoid")
        }
        model = keras.Model(inputs, heads)
        data = (x, {"sigmoid": labels, "softmax": labels.argmax(-1)})
        options = {"num_resamples": 5, "from_logits": False}
        found = report_lib.label_report(
            model, data, output="sigmoid", **options
        )
        alone = report_lib.label_report(made(), (x, labels), **options)
        assert found.overall == alone.overall
        with pytest.raises(ValueError, match="sigmoid each"):
            report_lib.label_report(model, data, output="softmax")

    def test_a_label_that_no_example_has_is_named(self):
        x, labels = draw(100)
        labels[:, 3], x[7] = 0, np.nan
        found = report_lib.label_report(
            *(made(), (x, labels)), label_names=NAMES, num_resamples=5
        )
        texts = [each.text for each in found.findings]
        assert texts[0].startswith("1 examples have NaN")
        assert texts[1].startswith("good is present in all or in none")
        assert found.num_examples == 99


def test_page_and_json(report, tmp_path):
    page = report.save(tmp_path).read_text()
    assert "&lt;loud&gt;" in page
    assert "<loud>" not in page
    # All labels together, and each.
    assert page.count("<svg") == 5
    assert "mean probability" in page
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["num_labels"] == 4
    assert numbers["labels"][2]["gap"]["estimate"] > 0.15
    assert "figures" not in numbers
    assert "4 labels, label ECE" in repr(report)


class TestBadInput:
    @pytest.mark.parametrize(
        ("labels", "options", "message"),
        [
            (np.zeros(40, int), {}, r"multi-hot.*\(40,\)"),
            (np.zeros((40, 3)), {}, r"multi-hot.*\(40, 3\)"),
            (np.full((40, 4), 3), {}, r"in \[0, 1\].*from 3 to 3"),
            (
                np.full((40, 4), -1),
                {"ignore_label": -1},
                r"at least one known example.*none of 0, 1, 2\.",
            ),
            (np.eye(4)[[0] * 40], {"label_names": ["a"]}, "model's 4 labels"),
            (np.eye(4)[[0] * 40], {"num_resamples": 1}, "`num_resamples`"),
        ],
    )
    def test_labels_and_options(self, labels, options, message):
        x = draw(40)[0]
        with pytest.raises(ValueError, match=message):
            report_lib.label_report(made(), (x, labels), **options)

    def test_outputs_that_are_others(self):
        for from_logits, activation, message in (
            (True, "sigmoid", "a last layer that gives probabilities"),
            (False, "linear", "from_logits=False with"),
            ("sigmoid", "sigmoid", "`from_logits` must be True, False or"),
        ):
            with pytest.raises(ValueError, match=message):
                report_lib.label_report(
                    made(activation), draw(40), from_logits=from_logits
                )

    def test_softmax(self):
        with pytest.raises(ValueError, match=r"sigmoid each.*calibration_rep"):
            report_lib.label_report(made("softmax"), draw(40))

    def test_the_report_on_classes_names_this_one(self):
        x, labels = draw(40)
        for activation in ("softmax", "sigmoid"):
            with pytest.raises(ValueError, match=r"`report\.label_report`"):
                tf_mixup.calibration_report(made(activation), (x, labels))
