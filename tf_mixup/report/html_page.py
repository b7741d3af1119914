"""A report as one HTML page that needs no other file."""

import base64
import html
import math
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from tf_mixup.calibration.resampling import Interval
from tf_mixup.report import figures as report_figures
from tf_mixup.report import measures
from tf_mixup.report.labels import LabelErrors
from tf_mixup.report.numbers import LabelNumbers
from tf_mixup.report.numbers import Numbers
from tf_mixup.report.prediction_sets import SetQuality
from tf_mixup.report.temperature import Half

# Shown for a number that does not exist.
_NOTHING = "-"
# Classes that are all shown, and of more classes those with the largest and
# the smallest gaps. The rest is folded, and from some number on only in JSON.
_FEW_CLASSES, _WORST, _BEST, _MOST_CLASSES = 20, 10, 5, 1000

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2129;
  --soft: #f2f4f7; --line: #d9dee5; --c0: #4477aa; --c1: #d9661f;
  --c2: #228833; --c3: #aa3377; --c4: #808080; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171c; --text: #e3e6eb; --soft: #20252c; --line: #363d47;
    --c0: #74a9dc; --c1: #f08c4b; --c2: #5dbb6c; --c3: #dc7cb4;
    --c4: #a8a8a8; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem;
  margin: 0 auto; padding: 1rem 1.2rem 4rem; background: var(--page);
  color: var(--text); }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 1rem 0 .2rem; }
h1, h3, figcaption { overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .8rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
p, li { max-width: 48rem; overflow-wrap: break-word; }
a { color: var(--c0); }
small, .about { opacity: .75; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .9rem; }
.cards { display: grid; gap: .5rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(6.6rem, 1fr)); }
.cards div { background: var(--soft); border-radius: .5rem;
  padding: .5rem .6rem; line-height: 1.3; }
.cards b { display: block; font-size: 1.3rem; white-space: nowrap; }
.cards small { font-size: .8rem; }
.finding { border-left: .3rem solid; margin: .6rem 0; padding: .3rem .8rem;
  background: var(--soft); }
.good { border-color: var(--c2); } .note { border-color: var(--c0); }
.warning { border-color: var(--c1); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap;
  vertical-align: top; border-bottom: 1px solid var(--line); }
th, td:first-child { white-space: normal; overflow-wrap: break-word; }
th { vertical-align: bottom; max-width: 11rem; }
th:first-child, td:first-child { text-align: left; min-width: 7rem;
  max-width: 16rem; }
td[colspan] { max-width: none; font-style: italic; padding-top: .8rem; }
td small { display: block; font-weight: normal; }
.differs { font-weight: bold; }
pre { background: var(--soft); border-radius: .5rem; padding: .6rem .8rem;
  overflow-x: auto; font-size: .85rem; }
details { margin: .8rem 0; } summary { cursor: pointer; }
.figures { display: grid; gap: 1rem 1.5rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
figure { margin: 0; }
h3 { font-size: 1rem; margin: .4rem 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: currentColor; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); }
.grid { stroke: var(--line); }
.diagonal { stroke: currentColor; stroke-dasharray: 4 4; opacity: .6; }
rect, .area { fill: currentColor; }
.gap, .line, .area { stroke: currentColor; stroke-width: 2; }
.gap, .line { fill: none; } .area { fill-opacity: .15; }
.thin { stroke-width: 1; }
.dashed { stroke-dasharray: 6 3; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .85rem;
  padding-left: 2.6rem; }
.legend span { display: flex; align-items: baseline; gap: .4em; }
.legend i { flex: none; width: .8em; height: .8em;
  background: currentColor; border-radius: .15em; }
.legend i.dashed { border-radius: 50%; }
.pictures { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.pictures img { width: 100%; display: block; image-rendering: pixelated; }
.pictures figcaption { font-size: .8rem; line-height: 1.3; }
"""

_TITLES = {
    "ece": "ECE",
    "oe": "OE",
    "mce": "MCE",
    "overconfident_part": "overconfident part",
    "underconfident_part": "underconfident part",
    "debiased_ece": "debiased ECE",
    "adaptive_ece": "adaptive ECE",
    "classwise_ece": "classwise ECE",
}

_MEASURES = (
    "ECE is the distance between confidence and accuracy, averaged over bins:"
    " the sum of an overconfident and an underconfident part. OE weighs the"
    " overconfident part by confidence. MCE is the largest gap of any bin."
    " Debiased ECE subtracts an estimate of what chance adds. Adaptive ECE"
    " uses bins with equally many examples. Classwise ECE covers the"
    " probability of every class, not only that of the predicted one."
)

_REFERENCES = (
    (
        "Guo, Pleiss, Sun and Weinberger. On Calibration of Modern Neural"
        " Networks. ICML 2017. ECE, MCE and temperature scaling.",
        "https://arxiv.org/abs/1706.04599",
    ),
    (
        "Thulasidasan, Chennupati, Bilmes, Bhattacharya and Michalak. On Mixup"
        " Training. NeurIPS 2019. OE, and confidence on other data.",
        "https://arxiv.org/abs/1905.11001",
    ),
    (
        "Kumar, Liang and Ma. Verified Uncertainty Calibration. NeurIPS 2019."
        " The bias of ECE.",
        "https://arxiv.org/abs/1909.10155",
    ),
    (
        "Geifman and El-Yaniv. Selective Classification for Deep Neural"
        " Networks. NeurIPS 2017. Risk and coverage.",
        "https://arxiv.org/abs/1705.08500",
    ),
    (
        "Romano, Sesia and Candès. Classification with Valid and Adaptive"
        " Coverage. NeurIPS 2020. Prediction sets.",
        "https://arxiv.org/abs/2006.02544",
    ),
    (
        "Hendrycks and Gimpel. A Baseline for Detecting Misclassified and"
        " Out-of-Distribution Examples. ICLR 2017. AUROC, AUPR.",
        "https://arxiv.org/abs/1610.02136",
    ),
)

# Run by a test, with `model`, `inputs` and `labels` as in the report.
_APPLY = """\
from tf_mixup import posthoc
scaler = posthoc.TemperatureScaling()
calibrated = posthoc.calibrate(model, scaler, (inputs, labels))
"""


def render(numbers: Numbers) -> str:
    """Returns the page of one model, with its style and no script."""
    title = f"Calibration of {numbers.model}"
    return _page(
        title,
        f"{_about(numbers)}{_cards(numbers)}",
        {**_sections(numbers), "References": _references()},
    )


def render_comparison(
    reports: Mapping[str, Numbers],
    differences: Mapping[str, Mapping[str, Interval]],
) -> str:
    """Returns the page of several models, which holds each report folded."""
    first, *_ = reports.values()
    sections = {
        "Side by side": "".join(_compare(reports, differences)),
        "Reliability diagrams": _side_by_side(reports),
        "Out-of-distribution data": _compare_ood(reports),
        "Findings": "".join(
            f"<h3>{html.escape(name)}</h3>{''.join(_findings(each))}"
            for name, each in reports.items()
        ),
        "Reports": "".join(
            f"<details><summary>{html.escape(name)}</summary>{_cards(each)}"
            f"{_join(_sections(each), prefix=f'{index}-')}</details>"
            for index, (name, each) in enumerate(reports.items(), 1)
        ),
        "References": _references(),
    }
    if not any(each.ood for each in reports.values()):
        del sections["Out-of-distribution data"]
    title = f"Calibration of {' and '.join(reports)}"
    return _page(title, _about(first), sections)


def render_labels(numbers: LabelNumbers) -> str:
    """Returns the page of a model of several labels."""
    overall = numbers.overall
    cards = {
        "label ECE, mean": _share(overall["label_ece"]),
        "by chance": _share(overall["null_label_ece"]),
        "worst label ECE": _share(overall["worst_label_ece"]),
        "largest bias, points": _points(overall["label_bias"]).lstrip("+"),
        "NLL, nats": _number(overall["label_nll"]),
        "Brier score": _number(overall["label_brier"]),
    }
    about = (
        f'<p class="about">{numbers.num_examples:,} examples of'
        f" {html.escape(numbers.data)}, {numbers.num_labels:,} labels. Use"
        " held-out data: on examples that trained the model these numbers mean"
        " nothing.</p>"
    )
    diagrams = "".join(
        f"<div><h3>{html.escape(name)}</h3>{figure}</div>"
        for name, figure in numbers.figures.items()
    )
    lines = _cells(_LABEL_COLUMNS, numbers.labels)
    versions = ", ".join(f"{k} {v}" for k, v in numbers.versions.items())
    method = [
        "Each label is a binary problem: the bins hold examples by the"
        " probability of the label, and compare its mean with the share of"
        " them that have the label. The gap is mean probability minus"
        " frequency, in points.",
        "Small print shows 95% bootstrap intervals from"
        f" {numbers.num_resamples:,} resamples of the examples. By chance:"
        " labels are drawn 200 times from the model's own probabilities; shown"
        " are the mean of the ECE, and where 95% of the draws lie.",
        f"Preparation of inputs: {numbers.preparation}.",
        "Examples left out because of NaN or infinity:"
        f" {numbers.num_nonfinite:,}.",
        f"Random seed: {numbers.seed}. Versions: {versions}.",
    ]
    return _page(
        f"Calibration of {numbers.model}",
        f"{about}{_tiles(cards)}",
        {
            "Findings": "".join(_findings(numbers)),
            "Reliability diagrams": f'<div class="figures">{diagrams}</div>',
            "Labels": _table(list(_LABEL_COLUMNS), lines),
            "Method": _list(map(html.escape, method)),
        },
    )


def _page(title: str, head: str, sections: Mapping[str, str]) -> str:
    links = "".join(
        f'<a href="#{_anchor(name)}">{name}</a>' for name in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>"
        f'{head}<nav aria-label="Contents">{links}</nav>\n{_join(sections)}'
        "</body></html>\n"
    )


def _join(sections: Mapping[str, str], prefix: str = "") -> str:
    return "".join(
        f'<h2 id="{prefix}{_anchor(name)}">{name}</h2>\n{body}\n'
        for name, body in sections.items()
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _sections(numbers: Numbers) -> dict[str, str]:
    """Returns the sections of one report by their titles."""
    parts = {
        "Findings": _findings(numbers),
        "Reliability diagram": _reliability(numbers),
        "Calibration errors": _conventions(numbers),
        "Temperature scaling": _temperature(numbers),
        "Selective classification": _selective(numbers),
        "Prediction sets": _prediction_sets(numbers),
        "Most confident errors": _mistakes(numbers),
        "Classes": _classes(numbers),
        "Out-of-distribution data": _other_data(numbers),
        "Method": _method(numbers),
    }
    sections = {name: "".join(part) for name, part in parts.items()}
    return {name: body for name, body in sections.items() if body}


def _about(numbers: Numbers) -> str:
    return (
        f'<p class="about">{numbers.num_examples:,} examples of'
        f" {html.escape(numbers.data)}, {numbers.num_classes:,} classes. Use"
        " held-out data: on examples that trained the model these numbers mean"
        " nothing.</p>"
    )


def _cards(numbers: Numbers) -> str:
    main, overall = numbers.conventions[measures.MAIN], numbers.overall
    cards = {
        "accuracy": _share(overall["accuracy"].estimate),
        "confidence": _share(overall["confidence"].estimate),
        "signed gap, points": _points(overall["signed_gap"].estimate),
        f"ECE, {main.num_bins} bins": _share(main.values["ece"].estimate),
        "ECE by chance": f"≤ {_share(main.null_ece.high)}",
        "NLL, nats": _number(overall["nll"].estimate),
        "Brier score": _number(overall["brier"].estimate),
        "best temperature": _best_temperature(numbers),
    }
    if overall["impossible"].estimate > 0:
        # NLL would be infinite; it takes the least positive number for 0.
        share = overall["impossible"].estimate
        cards["true class at probability 0"] = _small_share(share)
    return _tiles(cards)


def _tiles(cards: Mapping[str, str]) -> str:
    tiles = "".join(
        f"<div><b>{value}</b><small>{name}</small></div>"
        for name, value in cards.items()
    )
    return f'<div class="cards">{tiles}</div>\n'


def _best_temperature(numbers: Numbers) -> str:
    found = numbers.temperature
    return _NOTHING if not found or found.at_bound else _rate(found.temperature)


def _findings(numbers: Numbers | LabelNumbers) -> Iterable[str]:
    order = ("warning", "good", "note")
    for each in sorted(numbers.findings, key=lambda f: order.index(f.level)):
        yield (
            f'<p class="finding {each.level}"><b>{each.level.capitalize()}.</b>'
            f" {html.escape(each.text)}</p>\n"
        )


def _reliability(numbers: Numbers) -> Iterable[str]:
    yield _figures(numbers, "reliability", "confidence")
    yield _paragraph(
        "Reliability: bars below the diagonal are overconfident. The line in"
        " each bar is its gap; the lower panel shows the share of examples in"
        " each bin. Histogram: the shares of right and of wrong answers each"
        " add up to 100%."
    )
    bins = numbers.conventions["paper"].num_bins
    yield _folded(
        f"Reliability diagram with {bins} bins",
        _figures(numbers, "fine"),
    )


def _conventions(numbers: Numbers) -> Iterable[str]:
    main = {measures.MAIN: numbers.conventions[measures.MAIN]}
    conventions = {**main, **numbers.conventions}
    lines = [
        ["bins", *(str(each.num_bins) for each in conventions.values())],
        ["closed edge", *(each.edges for each in conventions.values())],
        [
            "examples per bin",
            *(_rate(each.examples_per_bin) for each in conventions.values()),
        ],
    ]
    for name, title in _TITLES.items():
        cells = (each.values[name] for each in conventions.values())
        lines.append([title, *map(_interval, cells)])
        if name == "ece":
            nulls = (Interval(*e.null_ece) for e in conventions.values())
            lines.append(["ECE by chance (null)", *map(_interval, nulls)])
    yield _table(["convention", *conventions], lines)
    yield _paragraph(_MEASURES)
    yield _paragraph(_why_they_differ(numbers))
    if numbers.bin_free:
        yield _paragraph(_describe_bin_free(numbers.bin_free))
    notes = "".join(
        f"<li><b>{html.escape(name)}</b>: {_code(each.note)}</li>"
        for name, each in conventions.items()
    )
    yield f"<ul>{notes}</ul>"


def _describe_bin_free(values: Mapping[str, float]) -> str:
    return (
        f"Without bins: smooth ECE {_share(values['smooth_ece'])}. The Brier"
        f" score of the predicted class, {_number(values['score'])}, is"
        f" miscalibration {_number(values['miscalibration'])} minus"
        f" discrimination {_number(values['discrimination'])} plus"
        f" uncertainty {_number(values['uncertainty'])}: what recalibrating"
        " would save, what the order of confidences is worth, and what the"
        " accuracy alone costs."
    )


def _why_they_differ(numbers: Numbers) -> str:
    fine = max(numbers.conventions.values(), key=lambda each: each.num_bins)
    coarse = min(numbers.conventions.values(), key=lambda each: each.num_bins)
    return (
        f"All columns describe the same {numbers.num_examples:,} predictions."
        " They differ in the number of bins and in which of two bins a"
        " confidence on an edge belongs to. With"
        f" {fine.num_bins} bins there are {_rate(fine.examples_per_bin)}"
        " examples in a bin, and chance alone moves the accuracy of so few: a"
        " calibrated model would show an ECE of"
        f" {_share(fine.null_ece.mean)}. With {coarse.num_bins} it would show"
        f" {_share(coarse.null_ece.mean)}, but gaps within a bin cancel."
        " Compare an ECE with its own null, and only with numbers of the same"
        " bins, edges and number of examples."
    )


def _temperature(numbers: Numbers) -> Iterable[str]:
    if numbers.temperature is None:
        yield _paragraph("Not tried: there are too few examples to split.")
        return
    halves = _cells(_HALF_COLUMNS, numbers.temperature.halves)
    yield _table(
        ["fitted on", *_HALF_COLUMNS],
        [
            [f"the {name} half, tested on the other", *half]
            for name, half in zip(("first", "second"), halves, strict=True)
        ],
    )
    yield _paragraph(
        "Logits are divided by T. No prediction changes, only confidence:"
        " above 1 it falls, below 1 it rises. Each T is tested on the half"
        " that it was not fitted on. ECE here is of half of the examples, and"
        " chance adds more to it than to the ECE of all of them. "
        + _describe_change(numbers.temperature.nll_change)
        + (
            "No finite temperature is optimal for all examples: the likelihood"
            " rises up to a bound of what is tried, so there is none to use."
            if numbers.temperature.at_bound
            else "The one to use is fitted on all examples, T ="
            f" {numbers.temperature.temperature:.4g}. These lines apply it:"
        )
    )
    if not numbers.temperature.at_bound:
        yield f"<pre><code>{_APPLY}</code></pre>"


def _describe_change(change: Interval | None) -> str:
    if change is None:
        return ""
    return (
        f"The mean change of NLL is {change.estimate:+.4f} nats, with a 95%"
        f" interval from {change.low:+.4f} to {change.high:+.4f}. "
    )


def _selective(numbers: Numbers) -> Iterable[str]:
    if not numbers.selective:
        return
    yield _table(
        ["measure", "value"],
        [
            [title, _interval(numbers.selective[name], unit)]
            for name, (title, unit) in _SELECTIVE.items()
        ],
    )
    yield _figures(numbers, "selective")
    yield _paragraph(
        "What is gained by refusing predictions of low confidence. Coverage is"
        " the share of the examples that are accepted, risk the error rate of"
        " these. AURC is the mean risk over all coverages. Excess AURC is what"
        " it exceeds that of the best order by, all right answers first; it is"
        " 0 if confidence separates right from wrong."
    )


def _prediction_sets(numbers: Numbers) -> Iterable[str]:
    if not numbers.prediction_sets:
        return
    yield _table(
        list(_SET_COLUMNS),
        _cells(_SET_COLUMNS, numbers.prediction_sets),
    )
    yield _paragraph(
        "Conformal sets hold the true class with the wanted coverage, whatever"
        " the model; a better model has smaller sets. Each half of the data is"
        " tested with the threshold of the other half, so coverage varies by"
        " chance. LAC makes the smallest sets, APS larger ones where the model"
        " is uncertain. Fit posthoc.ConformalSets on other held-out data."
    )


def _mistakes(numbers: Numbers) -> Iterable[str]:
    if not numbers.mistakes:
        return
    named = [
        (
            html.escape(numbers.classes[each.predicted].name),
            html.escape(numbers.classes[each.label].name),
            each,
        )
        for each in numbers.mistakes
    ]
    if numbers.pictures:
        tiles = "".join(
            f'<figure><img alt="example {each.place}" src="{_data_url(image)}">'
            f"<figcaption><b>{predicted}</b> {_share(each.confidence)}<br>label"
            f" {label}<br>example {each.place:,}</figcaption></figure>\n"
            for (predicted, label, each), image in zip(
                named, numbers.pictures, strict=True
            )
        )
        yield f'<div class="pictures">{tiles}</div>'
    else:
        yield _table(
            ["example", "prediction", "confidence", "label"],
            [
                [f"{each.place:,}", guess, _share(each.confidence), label]
                for guess, label, each in named
            ],
        )
    yield _paragraph(
        "Look here for wrong labels, unclear examples and damaged inputs."
        " Examples are numbered from 0 in the order of the data."
    )


def _classes(numbers: Numbers) -> Iterable[str]:
    def weight(each: measures.ClassErrors) -> float:
        return abs(each.gap) * each.predicted if each.predicted else 0.0

    classes = sorted(numbers.classes, key=weight, reverse=True)
    if len(classes) <= _FEW_CLASSES:
        yield _class_table({"": numbers.classes})
    else:
        best = [each for each in classes[_WORST:] if each.predicted][-_BEST:]
        yield _class_table(
            {
                f"The {_WORST} classes whose gaps affect the most"
                " predictions": classes[:_WORST],
                "The classes with the smallest effect": best,
            }
        )
        shown = numbers.classes
        name = f"All {len(shown):,} classes"
        if len(shown) > _MOST_CLASSES:
            shown = classes[:_MOST_CLASSES]
            name = (
                f"{_MOST_CLASSES:,} of {len(classes):,} classes, largest gaps"
                " first; the JSON file has all"
            )
        yield _folded(name, _class_table({"": shown}))
    yield _paragraph(
        "The columns from predictions on cover the examples for which this"
        " class is predicted. There, a calibrated model's accuracy equals its"
        " confidence; among the examples with one label it need not. ECE of"
        " few examples is mostly chance."
    )
    if numbers.class_bias:
        yield _paragraph(
            "Class bias, the largest distance of a class's mean probability"
            " from its share of the labels:"
            f" {_points(numbers.class_bias.largest).lstrip('+')} points; by"
            f" chance at most {_points(numbers.class_bias.chance).lstrip('+')}."
            " Class weights and resampled classes make it large; ECE does not"
            " see it."
        )


def _class_table(
    groups: Mapping[str, Sequence[measures.ClassErrors]],
) -> str:
    """Returns a table of classes in groups, each below its title."""
    lines: list[list[str]] = []
    for title, classes in groups.items():
        lines += [[title]] if title else []
        lines += _cells(_CLASS_COLUMNS, classes)
    return _table(list(_CLASS_COLUMNS), lines)


def _other_data(numbers: Numbers) -> Iterable[str]:
    if not numbers.ood:
        return
    inside = numbers.overall["confidence"].estimate
    yield _table(
        ["set", *_OOD_COLUMNS],
        [
            [
                *("data", f"{numbers.num_examples:,}", _share(inside)),
                *[_NOTHING] * (len(_OOD_COLUMNS) - 2),
            ],
            *_name_lines(numbers.ood),
        ],
    )
    yield _figures(numbers, "ood", "roc")
    yield _paragraph(
        "The score is confidence. AUROC is the probability that an example of"
        " the data has a higher confidence than one of the other set; 50% is"
        " chance. AUPR is the average precision at finding the data (in) or"
        " the other set (out); it depends on the sizes of the sets. FPR95 is"
        " the share of the other set that passes the threshold that 95% of the"
        " data pass; 0% is best."
    )


def _method(numbers: Numbers) -> Iterable[str]:
    versions = ", ".join(f"{k} {v}" for k, v in numbers.versions.items())
    items = [
        "The model returns"
        f" {'logits' if numbers.from_logits else 'probabilities'}.",
        f"Preparation of inputs: {numbers.preparation}.",
        "Examples left out because of NaN or infinity:"
        f" {numbers.num_nonfinite:,}; because of their label or weight:"
        f" {numbers.num_ignored:,}.",
        "Small print shows 95% bootstrap intervals from"
        f" {numbers.num_resamples:,} resamples of the examples. Those of"
        " calibration errors, which chance makes larger, are reflected at the"
        " lower end and start at 0 where the error is within its null range."
        " Classwise ECE of more than a million probabilities has no interval:"
        " it would take minutes.",
        "Null range: labels are drawn 200 times from the model's own"
        " confidences; shown are the mean of the ECE, and where 95% of the"
        " draws lie. For soft targets it is an upper bound, as they vary less"
        " than labels.",
        f"Random seed: {numbers.seed}. Versions: {versions}.",
    ]
    if numbers.accuracies:
        tried = "; ".join(
            f"{k}: {_share(v)}" for k, v in numbers.accuracies.items()
        )
        items.append(
            f"Accuracy of some examples on other scales of x: {tried}."
        )
    yield _list(map(html.escape, items))


def _references() -> str:
    return _list(
        f'{html.escape(text)} <a href="{url}">{url}</a>'
        for text, url in _REFERENCES
    )


def _compare(
    reports: Mapping[str, Numbers],
    differences: Mapping[str, Mapping[str, Interval]],
) -> Iterable[str]:
    """Yields the table of measures by model, with paired differences."""
    measured = {
        name: {
            **each.overall,
            **each.conventions[measures.MAIN].values,
            **each.selective,
            "null_ece": Interval(*each.conventions[measures.MAIN].null_ece),
        }
        for name, each in reports.items()
    }
    lines = []
    for key, (title, unit) in _COMPARED.items():
        changes = (each.get(key) for each in differences.values())
        lines.append(
            [
                title,
                *(
                    _interval(each[key], unit) if key in each else _NOTHING
                    for each in measured.values()
                ),
                *(_difference(change, unit) for change in changes),
            ]
        )
    lines.append(
        [
            "best temperature",
            *map(_best_temperature, reports.values()),
            *[""] * len(differences),
        ]
    )
    first, *_ = reports
    yield _table(
        [
            "measure",
            *reports,
            *(f"{name} minus {first}" for name in differences),
        ],
        lines,
    )
    yield _paragraph(
        "Small print shows 95% bootstrap intervals. Differences of shares are"
        " in percentage points. They resample the predictions of both models"
        " together, so that what makes an example hard cancels. Bold: the"
        " interval excludes 0."
        if differences
        else "The models were not measured on the same examples in the same"
        " order, so there are no paired differences."
    )


def _difference(value: Interval | None, unit: Callable[[float], str]) -> str:
    if value is None:
        return ""
    text = _interval(value, _signed if unit is _number else _points)
    differs = value.low > 0 or value.high < 0
    return f'<span class="differs">{text}</span>' if differs else text


def _side_by_side(reports: Mapping[str, Numbers]) -> str:
    """Returns reliability diagrams on one scale, and all confidences."""
    bins = {
        name: each.conventions[measures.MAIN].bins
        for name, each in reports.items()
    }
    confidences = {
        name: each.columns["confidence"] for name, each in reports.items()
    }
    diagrams = report_figures.reliability_diagrams(bins)
    histogram = report_figures.confidence_histogram(confidences)
    return "".join(
        f"<div><h3>{html.escape(name)}</h3>{figure}</div>"
        for name, figure in (*diagrams.items(), ("Confidence", histogram))
    ).join(('<div class="figures">', "</div>"))


def _compare_ood(reports: Mapping[str, Numbers]) -> str:
    """Returns the table of other sets, each with all models."""
    sets = dict.fromkeys(name for each in reports.values() for name in each.ood)
    detections = {
        f"{name}: {model}": each.ood[name]
        for name in sets
        for model, each in reports.items()
        if name in each.ood
    }
    return _table(["set", *_OOD_COLUMNS], _name_lines(detections))


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>\n"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>\n"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>\n"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table; cells are HTML, and one cell alone fills its line."""
    lines = [
        [f"<td>{cell}</td>" for cell in line]
        if len(line) > 1
        else [f'<td colspan="{len(heads)}">{line[0]}</td>']
        for line in lines
    ]
    body = "".join(f"<tr>{''.join(line)}</tr>\n" for line in lines)
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def _cells(
    columns: Mapping[str, Callable[[Any], str]], items: Iterable[Any]
) -> list[list[str]]:
    """Returns a line of cells for each item."""
    return [[cell(each) for cell in columns.values()] for each in items]


def _name_lines(sets: Mapping[str, measures.Detection]) -> list[list[str]]:
    lines = _cells(_OOD_COLUMNS, sets.values())
    return [
        [html.escape(name), *line]
        for name, line in zip(sets, lines, strict=True)
    ]


def _figures(numbers: Numbers, *names: str) -> str:
    figures = "".join(numbers.figures[name] for name in names)
    return f'<div class="figures">{figures}</div>'


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _code(text: str) -> str:
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def _interval(
    value: Interval, unit: Callable[[float], str] | None = None
) -> str:
    unit = unit or _share
    if math.isnan(value.low):
        return unit(value.estimate)
    ends = f"{unit(value.low)} to {unit(value.high)}"
    return f"{unit(value.estimate)}<small>{ends}</small>"


def _share(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.1%}"


def _points(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{100 * value:+.1f}"


def _rate(value: float) -> str:
    """Returns a positive number, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _small_share(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.2%}"


# What a report shows of selective classification: measure -> title and unit.
_SELECTIVE: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "aurc": ("AURC", _small_share),
    "excess_aurc": ("excess AURC", _small_share),
    "coverage_at_1_risk": ("coverage at 1% risk", _share),
    "coverage_at_5_risk": ("coverage at 5% risk", _share),
    "risk_at_80_coverage": ("risk at 80% coverage", _small_share),
}

_CLASS_COLUMNS: Mapping[str, Callable[[measures.ClassErrors], str]] = {
    "class": lambda each: html.escape(each.name),
    "labels": lambda each: f"{each.labeled:,}",
    "recall": lambda each: _share(each.recall),
    "predictions": lambda each: f"{each.predicted:,}",
    "accuracy": lambda each: _share(each.accuracy),
    "confidence": lambda each: _share(each.confidence),
    "gap, points": lambda each: _points(each.gap),
    "ECE": lambda each: _share(each.ece),
}
_LABEL_COLUMNS: Mapping[str, Callable[[LabelErrors], str]] = {
    "label": lambda each: html.escape(each.name),
    "examples": lambda each: f"{each.num_examples:,}",
    "frequency": lambda each: _interval(each.frequency),
    "probability": lambda each: _interval(each.probability),
    "gap, points": lambda each: _interval(each.gap, _points),
    "ECE": lambda each: _interval(each.ece),
    "ECE by chance": lambda each: _interval(Interval(*each.null_ece)),
    "NLL": lambda each: _number(each.nll),
    "Brier": lambda each: _number(each.brier),
}
_OOD_COLUMNS: Mapping[str, Callable[[measures.Detection], str]] = {
    "examples": lambda each: f"{each.num_examples:,}",
    "confidence": lambda each: _share(each.confidence),
    "AUROC": lambda each: _share(each.auroc),
    "AUPR in": lambda each: _share(each.aupr_in),
    "AUPR out": lambda each: _share(each.aupr_out),
    "FPR95": lambda each: _share(each.fpr95),
}
_SET_COLUMNS: Mapping[str, Callable[[SetQuality], str]] = {
    "score": lambda each: each.score.upper(),
    "wanted": lambda each: _share(each.wanted),
    "coverage": lambda each: _share(each.coverage),
    "mean size": lambda each: _rate(each.mean_size),
    "sets of one class": lambda each: _share(each.single),
    "largest": lambda each: f"{each.largest:,}",
}
_HALF_COLUMNS: Mapping[str, Callable[[Half], str]] = {
    "T": lambda half: _rate(half.temperature),
    "examples": lambda half: f"{half.num_examples:,}",
    "NLL": lambda half: _number(half.nll_before),
    "NLL, scaled": lambda half: _number(half.nll_after),
    "ECE": lambda half: _share(half.ece_before),
    "ECE, scaled": lambda half: _share(half.ece_after),
}
# What a comparison shows: measure -> title and unit.
_COMPARED: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", _share),
    "confidence": ("confidence", _share),
    "signed_gap": ("signed gap, points", _points),
    "ece": ("ECE, 15 bins", _share),
    "null_ece": ("ECE by chance (null)", _share),
    "oe": ("OE", _share),
    "adaptive_ece": ("adaptive ECE", _share),
    "classwise_ece": ("classwise ECE", _share),
    "nll": ("NLL, nats", _number),
    "brier": ("Brier score", _number),
    "aurc": ("AURC", _small_share),
}
