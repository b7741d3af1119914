"""Differences between models, of the same resamples."""

import json

import keras
import numpy as np
import pytest

import tf_mixup
from tests.report.html_page_test import Page
from tf_mixup.report import compare


def made(scale, *, seed=0, size=300, **options):
    """Returns a report on logits of the right scale for 1."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(size, 3)).astype(np.float32)
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
    scaling = keras.layers.Rescaling(scale)
    model = keras.Sequential([keras.Input((3,)), scaling], name=f"times{scale}")
    return tf_mixup.calibration_report(
        model, (logits, labels), num_resamples=50, **options
    )


@pytest.fixture(scope="module")
def reports():
    return {"calibrated": made(1.0), "sure <of> itself": made(4.0)}


class TestDifferences:
    def test_are_those_of_the_reports(self, reports):
        first, second = reports.values()
        (found,) = compare(reports).differences.values()
        for name in ("accuracy", "confidence", "signed_gap", "nll", "brier"):
            expected = (
                second.overall[name].estimate - first.overall[name].estimate
            )
            assert found[name].estimate == pytest.approx(expected, abs=1e-6)
            assert found[name].low <= expected + 1e-9 <= found[name].high + 2e-9
        eces = [
            each.conventions["guo"].values["ece"].estimate
            for each in (first, second)
        ]
        assert found["ece"].estimate == pytest.approx(eces[1] - eces[0])

    def test_know_what_both_share(self, reports):
        (found,) = compare(reports).differences.values()
        # Scaling changes no prediction, so nothing is left to chance.
        assert found["accuracy"] == (0, 0, 0)
        assert found["nll"].low > 0
        assert found["ece"].low > 0

    def test_of_a_model_with_itself_hold_0(self, reports):
        first, _ = reports.values()
        (found,) = compare({"a": first, "b": first}).differences.values()
        assert found["nll"] == (0, 0, 0)
        null = first.conventions["guo"].null_ece.mean
        assert found["ece"] == pytest.approx((0, -null, null))

    def test_need_the_same_examples(self, reports):
        first, _ = reports.values()
        other = made(1.0, seed=1)
        assert not compare({"a": first, "b": other}).differences
        page = Page(compare({"a": first, "b": other}).to_html())
        assert "no paired differences" in page.text

    def test_need_two_reports(self, reports):
        with pytest.raises(ValueError, match="at least two reports"):
            compare(dict(list(reports.items())[:1]))


class TestPage:
    def test_has_all_models_and_their_reports(self, reports):
        page = Page(compare(reports).to_html())
        assert page.cells.count("accuracy") == 1
        (found,) = compare(reports).differences.values()
        assert f"{100 * found['ece'].estimate:+.1f}" in page.text
        assert "sure <of> itself minus calibrated" in page.text
        assert len(page.named("details")) == 2 * 2
        anchors = [each["id"] for each in page.named("h2")]
        assert len(set(anchors)) == len(anchors)
        links = {each["href"] for each in page.named("a")}
        assert {link[1:] for link in links if link[0] == "#"} <= set(anchors)

    def test_saves_one_page_and_numbers(self, reports, tmp_path):
        path = compare(reports).save(tmp_path)
        assert {each.name for each in path.parent.iterdir()} == {
            *("report.html", "report.json")
        }
        saved = json.loads((tmp_path / "report.json").read_text())
        assert list(saved["reports"]) == list(reports)
        assert set(saved["differences"]) == {"sure <of> itself"}

    def test_other_sets_stand_beside_each_other(self, reports):
        far = {"far": np.zeros((9, 3), np.float32)}
        report = made(1.0, ood=far)
        page = Page(compare({**reports, "b": report}).to_html())
        assert "far: b" in page.cells
        assert "far: calibrated" not in page.cells
