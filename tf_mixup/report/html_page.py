"""A report as one HTML page that needs no other file."""

import base64
import html
import math
import re
from collections.abc import Iterable
from collections.abc import Sequence

from tf_mixup.calibration.resampling import Interval
from tf_mixup.report import measures
from tf_mixup.report.numbers import Numbers

# Shown for a number that there is not.
_NOTHING = "-"
# More classes make the page slow; the JSON has all of them.
_MOST_CLASSES = 100

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882;
  --good: #2a9d5c; --note: #4477aa; --warning: #d9661f; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 0 auto; padding: 1rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin: 1rem 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem;
  border-bottom: 1px solid var(--line); }
p, li { max-width: 46rem; }
.about { opacity: .75; }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; }
.card { background: var(--soft); border-radius: .5rem;
  padding: .5rem .9rem; min-width: 6.5rem; }
.card b { display: block; font-size: 1.4rem; }
.card small { opacity: .75; }
.finding { border-left: .3rem solid; margin: .6rem 0; padding: .2rem .8rem;
  background: var(--soft); max-width: 46rem; }
.good { border-color: var(--good); } .note { border-color: var(--note); }
.warning { border-color: var(--warning); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
td small { display: block; opacity: .7; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
img { max-width: 100%; background: white; border-radius: .5rem;
  padding: .6rem; box-sizing: border-box; }
@media (prefers-color-scheme: dark) {
  /* White becomes nearly black, and colors keep their hue. */
  img { filter: invert(.93) hue-rotate(180deg); }
}
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
    "ECE: distance between confidence and accuracy, averaged over bins; it is"
    " the sum of the two parts below, where confidence is too high and too"
    " low. OE weighs the overconfident part by confidence. MCE is the worst"
    " bin. Debiased ECE takes off an estimate of what chance adds. Adaptive"
    " ECE has bins of equally many examples. Classwise ECE is of the"
    " probability of every class, not of the predicted one only."
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
        "Hendrycks and Gimpel. A Baseline for Detecting Misclassified and"
        " Out-of-Distribution Examples. ICLR 2017. AUROC, AUPR.",
        "https://arxiv.org/abs/1610.02136",
    ),
)


def render(numbers: Numbers) -> str:
    """Returns the page.

    Args:
        numbers: The content of the report.

    Returns:
        page: HTML with its style and figures in it, and no script.
    """
    sections = (
        _head(numbers),
        _section("In words", *_findings(numbers)),
        _section(
            "Confidence against accuracy",
            _figures(numbers, "reliability", "confidence"),
            _paragraph(
                "Reliability: bars below the diagonal are overconfident; the"
                " orange line is the gap, the lower panel the number of"
                " examples of each bar. Histogram: both areas are 1, whatever"
                " the number of answers."
            ),
        ),
        _section("Calibration under each convention", *_conventions(numbers)),
        _section("Temperature scaling", *_temperature(numbers)),
        _section("Classes", *_classes(numbers)),
        _section("Other data", *_other_data(numbers)),
        _section("How it was measured", *_method(numbers)),
        _section("References", _references()),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Calibration of {html.escape(numbers.model)}</title>"
        f"<style>{_STYLE}</style></head><body>\n{''.join(sections)}"
        "</body></html>\n"
    )


def _head(numbers: Numbers) -> str:
    main = numbers.conventions[measures.MAIN]
    overall = numbers.overall
    temperature = numbers.temperature
    cards = {
        "accuracy": _share(overall["accuracy"].estimate),
        "confidence": _share(overall["confidence"].estimate),
        "signed gap, points": _points(overall["signed_gap"].estimate),
        f"ECE, {main.num_bins} bins": _share(main.values["ece"].estimate),
        "ECE by chance": f"≤ {_share(main.null_ece.high)}",
        "NLL, nats": _number(overall["nll"].estimate),
        "Brier score": _number(overall["brier"].estimate),
        "best temperature": _rate(temperature.temperature)
        if temperature and not temperature.at_bound
        else _NOTHING,
    }
    tiles = "".join(
        f'<div class="card"><b>{value}</b><small>{name}</small></div>'
        for name, value in cards.items()
    )
    return (
        f"<h1>Calibration of {html.escape(numbers.model)}</h1>"
        f'<p class="about">{numbers.rows:,} examples of'
        f" {html.escape(numbers.data)}, {numbers.num_classes:,} classes."
        " Measures of examples that the model was trained on would be worth"
        " nothing.</p>"
        f'<div class="cards">{tiles}</div>'
    )


def _findings(numbers: Numbers) -> Iterable[str]:
    order = ("warning", "good", "note")
    for each in sorted(numbers.findings, key=lambda f: order.index(f.level)):
        yield (
            f'<p class="finding {each.level}"><b>{each.level.capitalize()}.</b>'
            f" {html.escape(each.text)}</p>\n"
        )


def _conventions(numbers: Numbers) -> Iterable[str]:
    conventions = numbers.conventions
    heads = ["", *conventions]
    lines = [
        ["bins", *(str(each.num_bins) for each in conventions.values())],
        ["closed edge", *(each.edges for each in conventions.values())],
        [
            "examples per bin",
            *(_rate(each.rows_per_bin) for each in conventions.values()),
        ],
    ]
    for name, title in _TITLES.items():
        cells = (each.values[name] for each in conventions.values())
        lines.append([title, *map(_interval, cells)])
        if name == "ece":
            nulls = (Interval(*e.null_ece) for e in conventions.values())
            lines.append(["ECE by chance (null)", *map(_interval, nulls)])
    yield _table(heads, lines)
    yield _paragraph(_MEASURES)
    yield _paragraph(_why_they_differ(numbers))
    notes = "".join(
        f"<li><b>{html.escape(name)}</b>: {_code(each.note)}</li>"
        for name, each in conventions.items()
    )
    yield f"<ul>{notes}</ul>"


def _why_they_differ(numbers: Numbers) -> str:
    fine = max(numbers.conventions.values(), key=lambda each: each.num_bins)
    coarse = min(numbers.conventions.values(), key=lambda each: each.num_bins)
    return (
        f"All columns are of the same {numbers.rows:,} predictions. They"
        " differ in the number of bins and in which of two bins a confidence"
        f" on an edge belongs to. With {fine.num_bins} bins there are"
        f" {_rate(fine.rows_per_bin)} examples in a bin, and chance alone"
        " moves the accuracy of so few: a calibrated model would show an ECE"
        f" of {_share(fine.null_ece.mean)}. With {coarse.num_bins} it would"
        f" show {_share(coarse.null_ece.mean)}, but gaps within a bin cancel."
        " Compare an ECE with its own null, and only with numbers of the same"
        " bins, edges and number of examples."
    )


def _temperature(numbers: Numbers) -> Iterable[str]:
    if numbers.temperature is None:
        yield _paragraph("Not tried: there are too few examples to split.")
        return
    yield _table(
        ["fitted on", "T", "examples", "NLL", "scaled", "ECE", "scaled"],
        [
            [
                f"the {fitted} half, tested on the other",
                _rate(half.temperature),
                f"{half.rows:,}",
                _number(half.nll_before),
                _number(half.nll_after),
                _share(half.ece_before),
                _share(half.ece_after),
            ]
            for fitted, half in zip(
                ("first", "second"), numbers.temperature.halves, strict=True
            )
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
            f" {numbers.temperature.temperature:.4g}."
            " tf_mixup.posthoc.TemperatureScaling fits it and attaches it to a"
            " model."
        )
    )


def _describe_change(change: Interval | None) -> str:
    if change is None:
        return ""
    return (
        f"The mean change of NLL is {change.estimate:+.4f} nats, with a 95%"
        f" interval from {change.low:+.4f} to {change.high:+.4f}. "
    )


def _classes(numbers: Numbers) -> Iterable[str]:
    def weight(each: measures.ClassErrors) -> float:
        return abs(each.gap) * each.predicted if each.predicted else 0.0

    shown = numbers.classes
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=weight, reverse=True)[:_MOST_CLASSES]
        yield _paragraph(
            f"The {_MOST_CLASSES} of {len(numbers.classes)} classes whose gap"
            " weighs most; the JSON file has all."
        )
    yield _table(
        [
            *("class", "labels", "recall", "predictions", "accuracy"),
            *("confidence", "gap, points", "ECE"),
        ],
        [
            [
                html.escape(each.name),
                f"{each.labelled:,}",
                _share(each.recall),
                f"{each.predicted:,}",
                _share(each.accuracy),
                _share(each.confidence),
                _points(each.gap),
                _share(each.ece),
            ]
            for each in shown
        ],
    )
    yield _paragraph(
        "From predictions on, a line is of the examples of which this class"
        " is predicted: of a calibrated model, accuracy is confidence there."
        " Of examples with one label it need not be. ECE of few examples is"
        " mostly chance."
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


def _other_data(numbers: Numbers) -> Iterable[str]:
    if not numbers.ood:
        yield _paragraph("None was given.")
        return
    inside = numbers.overall["confidence"].estimate
    yield _table(
        [
            "set",
            "examples",
            "confidence",
            "AUROC",
            "AUPR in",
            "AUPR out",
            "FPR95",
        ],
        [
            ["data", f"{numbers.rows:,}", _share(inside), *[_NOTHING] * 4],
            *(
                [
                    html.escape(name),
                    f"{each.rows:,}",
                    _share(each.confidence),
                    _share(each.auroc),
                    _share(each.aupr_in),
                    _share(each.aupr_out),
                    _share(each.fpr95),
                ]
                for name, each in numbers.ood.items()
            ),
        ],
    )
    yield _figures(numbers, "ood", "roc")
    yield _paragraph(
        "The score is confidence. AUROC: the chance that an example of the"
        " data has more of it than one of the other set; 50% is chance. AUPR:"
        " average precision at finding the data (in) and the other set (out);"
        " it depends on the sizes of the sets. FPR95: share of the other set"
        " that passes where 95% of the data do; 0% is best."
    )


def _method(numbers: Numbers) -> Iterable[str]:
    versions = ", ".join(f"{k} {v}" for k, v in numbers.versions.items())
    items = [
        f"Outputs of the model: {numbers.outputs}.",
        f"Preparation of inputs: {numbers.preparation}.",
        "Examples left out because of NaN or infinity:"
        f" {numbers.num_nonfinite:,}; because of their label or weight:"
        f" {numbers.num_ignored:,}.",
        f"In small print, 95% bootstrap intervals of {numbers.draws:,} samples"
        " of examples. Those of calibration errors, which chance makes larger,"
        " are reflected at the lower end and start at 0 where the error is"
        " within its null range. Classwise ECE of more than a million"
        " probabilities has none: it would take minutes.",
        "Null range: 200 draws of labels from the model's own confidences;"
        " its mean, and where 95% of them lie. For soft targets it is an upper"
        " bound, as they vary less than labels.",
        f"Seed of all draws: {numbers.seed}. Versions: {versions}.",
    ]
    if numbers.accuracies:
        tried = "; ".join(
            f"{k}: {_share(v)}" for k, v in numbers.accuracies.items()
        )
        items.append(
            f"Accuracy of some examples on other scales of x: {tried}."
        )
    yield "".join(f"<li>{html.escape(item)}</li>" for item in items).join(
        ("<ul>", "</ul>")
    )


def _references() -> str:
    items = (
        f'<li>{html.escape(text)} <a href="{url}">{url}</a></li>'
        for text, url in _REFERENCES
    )
    return f"<ul>{''.join(items)}</ul>"


def _section(title: str, *parts: str) -> str:
    return f"<h2>{title}</h2>\n{''.join(parts)}\n"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>\n"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table; cells are HTML."""
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>\n"
        for line in lines
    )
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _figures(numbers: Numbers, *names: str) -> str:
    images = (
        f'<img alt="{name}" src="data:image/png;base64,'
        f'{base64.b64encode(numbers.figures[name]).decode()}">\n'
        for name in names
    )
    return f'<div class="figures">{"".join(images)}</div>'


def _code(text: str) -> str:
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))


def _interval(value: Interval) -> str:
    if math.isnan(value.low):
        return _share(value.estimate)
    low, high = _share(value.low), _share(value.high)
    return f"{_share(value.estimate)}<small>{low} to {high}</small>"


def _share(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.1%}"


def _points(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{100 * value:+.1f}"


def _rate(value: float) -> str:
    """Returns a positive number, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:.3f}"
