"""The page: well formed, with all in it, and true to the numbers."""

import base64
import dataclasses
import html.parser
import re

import keras
import numpy as np
import pytest

from tf_mixup import calibration
from tf_mixup.report import figures as report_figures
from tf_mixup.report import html_page
from tf_mixup.report import measures
from tf_mixup.report import prediction_sets
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import temperature as report_temperature
from tf_mixup.report.findings import Finding
from tf_mixup.report.mistakes import Mistake
from tf_mixup.report.numbers import Numbers

VOID = {"meta", "img", "br"}


class Page(html.parser.HTMLParser):
    """Reads a page and checks that its tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells = [], [], []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "td":
            self.cells.append(data)

    def named(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


class Example(Numbers):
    """Stands for a report."""

    def to_html(self):
        return html_page.render(self)


@pytest.fixture(scope="module")
def numbers():
    generator = np.random.default_rng(0)
    logits = 3 * generator.normal(size=(200, 3)).astype(np.float32)
    rows = report_predictions.standardize(
        logits, generator.integers(0, 3, 200), from_logits=True
    )
    conventions = {
        name: measures.measure_errors(
            rows, calibration.CONVENTIONS[name], num_resamples=5, seed=0
        )
        for name in measures.SHOWN
    }
    outside = {"a <b> set": generator.uniform(0.4, 1, 50)}
    return Example(
        model="<script>alert(1)</script>",
        data="rows & more",
        preparation="x / 255",
        from_logits=True,
        num_examples=200,
        num_nonfinite=0,
        num_classes=3,
        num_resamples=5,
        seed=0,
        versions={"keras": "3"},
        overall=measures.measure_overall(rows, num_resamples=5, seed=0),
        conventions=conventions,
        classes=measures.measure_classes(rows, ["cat", "d<o>g", "ox"]),
        ood={
            name: measures.measure_detection(rows.confidence, each)
            for name, each in outside.items()
        },
        class_bias=measures.measure_class_bias(rows),
        bin_free=measures.measure_without_bins(rows),
        selective=measures.measure_selective(rows, num_resamples=5, seed=0),
        prediction_sets=prediction_sets.measure(rows, seed=0),
        temperature=report_temperature.measure(rows, seed=0),
        accuracies={"as given": 0.25},
        findings=[
            Finding("note", "Second."),
            Finding("warning", "First <thing>."),
        ],
        figures=report_figures.draw(rows, conventions, outside),
        mistakes=[Mistake(1234, 0, 1, 0.987)],
    )


@pytest.fixture(scope="module")
def page(numbers):
    return Page(html_page.render(numbers))


class TestPage:
    def test_needs_nothing_else(self, page):
        assert not page.named("script")
        assert not page.named("link")
        assert len(page.named("svg")) == 6
        assert not page.named("img")

    def test_links_are_references_or_sections(self, numbers, page):
        links = [attrs["href"] for attrs in page.named("a")]
        sections = [f"#{attrs['id']}" for attrs in page.named("h2")]
        inside = [link for link in links if link.startswith("#")]
        assert inside == sections
        outside = [link for link in links if link not in inside]
        assert all(link.startswith("https://arxiv.org/") for link in outside)
        text = html_page.render(numbers)
        assert text.count("http") == 2 * len(outside)
        assert "url(" not in text

    def test_shows_names_as_they_are(self, page):
        assert "<script>alert(1)</script>" in page.text
        assert "rows & more" in page.text
        assert "d<o>g" in page.text
        assert "a <b> set" in page.text
        assert "First <thing>." in page.text

    def test_shows_the_numbers(self, numbers, page):
        for each in numbers.conventions.values():
            assert f"{each.values['ece'].estimate:.1%}" in page.cells
            assert f"{each.null_ece.mean:.1%}" in page.cells
        for each in numbers.classes:
            assert f"{100 * each.gap:+.1f}" in page.cells
        assert f"{numbers.ood['a <b> set'].auroc:.1%}" in page.cells
        for each in numbers.prediction_sets:
            assert f"{each.coverage:.1%}" in page.text
            assert f"{each.mean_size:.3g}" in page.text
        for half in numbers.temperature.halves:
            assert f"{half.nll_after:.3f}" in page.cells
        assert f"T = {numbers.temperature.temperature:.4g}" in page.text

    def test_says_why_conventions_differ(self, numbers, page):
        assert "With 100 bins there are 2 examples in a bin" in page.text
        null = numbers.conventions["paper"].null_ece.mean
        assert f"would show an ECE of {null:.1%}" in page.text

    def test_large_counts_have_no_exponent(self, numbers):
        conventions = {
            name: dataclasses.replace(each, examples_per_bin=1000.0)
            for name, each in numbers.conventions.items()
        }
        more = dataclasses.replace(
            numbers, conventions=conventions, num_examples=15000
        )
        page = Page(html_page.render(more))
        assert page.cells.count("1,000") >= len(conventions)
        assert "15,000 examples of" in page.text
        assert "e+03" not in page.text

    def test_says_what_the_second_ece_is_of(self, numbers, page):
        assert "ECE here is of half of the examples" in page.text
        change = numbers.temperature.nll_change
        assert f"{change.estimate:+.4f} nats" in page.text

    def test_shows_the_class_bias(self, numbers, page):
        largest = numbers.class_bias.largest
        assert f"labels: {100 * largest:.1f} points" in page.text

    def test_shows_selective_classification(self, numbers, page):
        area = numbers.selective["aurc"].estimate
        assert f"AURC{area:.2%}" in page.text.replace("\n", "")
        assert "coverage at 5% risk" in page.text

    def test_shows_impossible_examples_if_there_are_any(self, numbers, page):
        title = "true class at probability 0"
        assert title not in page.text
        share = dict(
            numbers.overall, impossible=calibration.Interval(0.0125, 0.0, 0.03)
        )
        some = dataclasses.replace(numbers, overall=share)
        assert f"<b>1.25%</b><small>{title}" in html_page.render(some)

    def test_shows_measures_without_bins(self, numbers, page):
        values = numbers.bin_free
        assert f"smooth ECE {values['smooth_ece']:.1%}." in page.text
        parts = (
            f"{values['score']:.3f}, is miscalibration"
            f" {values['miscalibration']:.3f} minus discrimination"
            f" {values['discrimination']:.3f} plus uncertainty"
            f" {values['uncertainty']:.3f}"
        )
        assert parts in page.text
        empty = dataclasses.replace(numbers, bin_free={})
        assert "Without bins" not in html_page.render(empty)

    def test_figures_take_their_colors_from_the_page(self, numbers):
        style, body = html_page.render(numbers).split("</style>")
        light, dark = style.split("@media (prefers-color-scheme: dark)")
        for name in (
            "--page",
            "--text",
            "--line",
            *map("--c{}".format, "01234"),
        ):
            assert f"{name}: #" in light
            assert f"{name}: #" in dark
        assert not re.search("(fill|stroke|color)=", body)

    def test_the_fine_diagram_is_folded(self, numbers):
        body = html_page.render(numbers)
        folded = body.split("<details>")[1].split("</details>")[0]
        assert "Reliability diagram with 100 bins" in folded
        assert numbers.figures["fine"] in folded

    def test_its_lines_apply_the_temperature(self, numbers):
        (code,) = re.findall(
            "<pre><code>(.+?)</code>", html_page.render(numbers), re.S
        )
        generator = np.random.default_rng(0)
        logits = 3 * generator.normal(size=(200, 3)).astype(np.float32)
        space = {
            "model": keras.Sequential(
                [keras.Input((3,)), keras.layers.Activation("linear")]
            ),
            "inputs": logits,
            "labels": generator.integers(0, 3, 200),
        }
        exec(code, space)
        assert len(code.splitlines()) == 3
        assert space["scaler"].temperature == pytest.approx(
            numbers.temperature.temperature, rel=1e-3
        )
        assert space["calibrated"].output.shape == (None, 3)

    def test_warnings_come_first(self, page):
        assert page.text.index("First") < page.text.index("Second")

    def test_says_how_it_was_measured(self, page):
        assert "Preparation of inputs: x / 255." in page.text
        assert "as given: 25.0%" in page.text


class TestParts:
    def test_without_temperature_and_other_data(self, numbers):
        less = dataclasses.replace(
            numbers, temperature=None, ood={}, accuracies={}
        )
        page = Page(html_page.render(less))
        assert "Not tried" in page.text
        assert "Out-of-distribution" not in page.text
        assert len(page.named("svg")) == 4

    @pytest.mark.parametrize("at_bound", [False, True])
    def test_says_what_the_findings_say_of_a_bound(self, numbers, at_bound):
        found = dataclasses.replace(numbers.temperature, at_bound=at_bound)
        page = Page(
            html_page.render(dataclasses.replace(numbers, temperature=found))
        )
        assert ("the one to use is" in page.text.lower()) != at_bound
        assert ("there is none to use" in page.text) == at_bound

    def test_shows_errors_as_pictures_or_as_a_table(self, numbers, page):
        start = page.cells.index("1,234")
        found = page.cells[start : start + 6]
        assert "".join(found).startswith("1,234d<o>g98.7%cat")
        shown = dataclasses.replace(numbers, pictures=[b"\x89PNG"])
        page = Page(html_page.render(shown))
        (image,) = page.named("img")
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == b"\x89PNG"
        assert "1,234" not in page.cells
        assert "label cat" in page.text

    @pytest.mark.parametrize(
        ("count", "in_all"), [(20, 20), (1000, 1000), (1200, 1000)]
    )
    def test_shows_the_extremes_of_many_classes(self, numbers, count, in_all):
        first = numbers.classes[0]
        classes = [
            dataclasses.replace(first, name=f"k{k}", predicted=9, gap=k / count)
            for k in range(count - 1)
        ]
        never = dataclasses.replace(
            first, name="never", predicted=0, gap=np.nan, ece=np.nan
        )
        many = dataclasses.replace(numbers, classes=[*classes, never])
        page = html_page.render(many)
        shown, *folded = page.split('id="classes"')[1].split("<details>")
        names = re.findall("<td>(k[0-9]+|never)</td>", shown)
        if count == 20:
            assert (len(names), folded) == (20, [])
            return
        assert names == [
            *(f"k{k}" for k in range(count - 2, count - 12, -1)),
            *(f"k{k}" for k in range(4, -1, -1)),
        ]
        assert f"{in_all:,}" in folded[0].split("</summary>")[0]
        assert folded[0].split("</table>")[0].count("<tr>") == 1 + in_all
