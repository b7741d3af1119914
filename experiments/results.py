r"""Makes RESULTS.md of the ledger, and the summary in README.md.

Command:
    python -m experiments.results
    python -m experiments.results --check

Neither is typed by hand: they are functions of `experiments/ledger/*.jsonl` and
of the claims in `experiments/papers`.
"""

import math
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from absl import logging

from experiments import _entry
from experiments import datasets
from experiments import papers
from experiments.analysis import ledger
from experiments.analysis import seed_statistics
from experiments.analysis.claims import Claim
from experiments.analysis.claims import Direction
from experiments.analysis.claims import Verdict
from experiments.analysis.claims import decide
from experiments.analysis.claims import decide_trend
from experiments.runs import atomic_files
from experiments.runs import config

RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
README = pathlib.Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# What the summary in README.md compares.
SUMMARY_CLAIM, SUMMARY_RESULT = "Mixup lowers ECE", "test_ece"
# Column -> result, of every table that has it. In percent but for the last.
COLUMNS = {
    "accuracy": "test_accuracy",
    "top-5 accuracy": "test_top5_accuracy",
    "train accuracy": "train_accuracy",
    "of true labels": "train_real_accuracy",
    "of corrupted labels": "train_corrupted_accuracy",
    "best epoch's lead": "validation_gain_of_best",
    "validation, median of last 10 epochs": "validation_median_accuracy",
    "ECE, 15 bins": "test_ece",
    "null ECE": "test_null_ece",
    "ECE, 100 bins": "test_ece_100",
    "null ECE, 100 bins": "test_null_ece_100",
    "adaptive ECE": "test_adaptive_ece",
    "OE": "test_oe",
    "signed gap": "test_signed_gap",
    "true gap": "bayes_gap",
    "NLL (nats)": "test_nll",
    "KL to truth (nats)": "bayes_kl",
    "modes found": "modes_found",
    "good samples": "good_samples",
    "escaped samples": "escaped_samples",
}
# What scaling changes, and what was done: a column for each pair.
SCALED_COLUMNS = {
    "ECE, 15 bins": "test_ece",
    "NLL (nats)": "test_nll",
    "accuracy": "test_accuracy",
    "T": "temperature",
}
SCALERS = ("", "temperature", "temperature_noisy", "vector", "isotonic")
OOD_COLUMNS = {
    "noise: confidence": "gaussian_confidence",
    "noise: AUROC": "gaussian_auroc",
    "noise: AUPR": "gaussian_aupr",
    "noise: FPR95": "gaussian_fpr95",
    "other set: confidence": "other_confidence",
    "other set: AUROC": "other_auroc",
    "other set: AUPR": "other_aupr",
    "other set: FPR95": "other_fpr95",
}
# Errors under attacks, of the table `adversarial`; in percent.
ATTACK_COLUMNS = {
    f"{title}: top-{top}": result + ("" if top == 1 else "_top5")
    for top in (1, 5)
    for title, result in {
        "clean": "clean_error",
        "white FGSM": "fgsm_white_error",
        "white I-FGSM": "ifgsm_white_error",
        "black FGSM": "fgsm_black_error",
        "black I-FGSM": "ifgsm_black_error",
    }.items()
}
# Between training images; slopes are lengths of gradients.
BETWEEN_COLUMNS = {
    f"{title} at {lam}": f"between_{lam}_{result}"
    for title, result in {"misses": "miss", "slope": "slope"}.items()
    for lam in ("0.00", "0.25", "0.50")
}
INTRODUCTION = """\
# Results

Made by `python -m experiments.results` from `experiments/ledger/`, which
`python -m experiments.collect` makes of the runs; nothing is typed by hand.
Means ± standard deviations over seeds, in percent unless a unit is named. The
null ECE is what perfectly calibrated predictions of the same confidences show
on as many rows. The NLL counts a probability below 1e-7 as 1e-7, at most 16.1
nats a row: isotonic scaling gives exact zeros, of which one that is the true
class's would make it infinite. Small scale: real data, a narrow network,
minutes a run; see BUILD_NOTES.md for what stands in for what.

**The rule**, fixed before the runs (`experiments/claims.py`): with the paired
difference over seeds, a claim *holds* if its 95 % interval excludes 0 and its
mean is at least the least effect that matters; it *does not hold* if the
interval excludes an effect that large; otherwise it is *not decided here*.
"Not lower" holds if the interval excludes a loss of the least effect. A trend
over alpha holds if Page's test finds it (p < .05) and the mean falls by the
least effect from first to last; if it falls by less, it does not hold. Of
several alphas the one with the lowest mean validation ECE speaks for mixup; on
tables, where the claims are about errors, the one with the highest mean
validation accuracy.
Intervals are not corrected for the number of claims.
"""

_CHECK = flags.DEFINE_bool(
    "check", False, "Fail if a document is not what the ledger makes."
)


def render(tables: Mapping[str, Sequence[ledger.Line]]) -> str:
    """Returns RESULTS.md.

    Args:
        tables: Name of a table -> its lines.
    """
    parts = [INTRODUCTION, "## Claims\n"]
    parts += render_claims(papers.CLAIMS, tables)
    shown: set[config.Config] = set()
    for name in papers.TABLES:
        lines = tables.get(name, ())
        if not lines:
            continue
        hours = sum(line.hours for line in lines)
        runs = sum(not line.after for line in lines)
        title = name.replace("_", " ").capitalize()
        parts.append(
            f"## {title}\n\n{runs} runs, {hours:.1f} hours of runs that shared"
            f" the machine ({papers.TABLES[name].paper};"
            f" `python -m experiments.sweep --table={name}`).\n"
        )
        for setting, group in ledger.by_setting(lines).items():
            parts.append(f"### {describe_setting(setting)}\n")
            configs = {line.config for line in group}
            if configs <= shown:
                parts.append("Runs of the tables above.\n")
            else:
                parts += render_runs(group)
            parts += render_table(group, ATTACK_COLUMNS)
            parts += render_table(group, BETWEEN_COLUMNS)
            shown |= configs
    return "\n".join(parts).rstrip() + "\n"


def render_runs(lines: Sequence[ledger.Line]) -> Iterator[str]:
    """Yields what every run of one setting is measured for."""
    trained = [line for line in lines if line.after not in SCALERS[1:]]
    yield from render_table(trained, COLUMNS)
    yield from render_scaled(lines)
    if any(line.config.ood for line in lines):
        scaled = [line for line in lines if line.after not in SCALERS[2:]]
        yield from render_table(scaled, OOD_COLUMNS)


def describe_setting(setting: tuple[Any, ...]) -> str:
    """Returns a setting in words."""
    values = dict(zip(ledger.SETTING, setting, strict=True))
    text = f"{values['dataset']}, {values['network']}"
    if values["width"]:
        text += f" of width {values['width']}"
    if values["corruption"]:
        text += f", {values['corruption']:.0%} of labels corrupted"
    if values["augmentation"] != "none":
        text += ", augmented"
    if values["num_train"]:
        text += f", {values['num_train']:,} rows"
    return f"{text}, {values['epochs']} epochs"


def render_table(
    lines: Sequence[ledger.Line], columns: Mapping[str, str]
) -> Iterator[str]:
    """Yields a Markdown table of one setting: a row an arm."""
    arms = ledger.by_arm(lines)
    shown = {
        title: result
        for title, result in columns.items()
        if any(not math.isnan(line.value(result)) for line in lines)
    }
    if not shown:
        return
    head = ["arm", "seeds", *shown]
    rows = [head, ["---"] * len(head)]
    for name, by_seed in arms.items():
        cells = [
            format_spread(
                result, [line.value(result) for line in by_seed.values()]
            )
            for result in shown.values()
        ]
        if set(cells) != {"-"}:
            rows.append([name, str(len(by_seed)), *cells])
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def render_scaled(lines: Sequence[ledger.Line]) -> Iterator[str]:
    """Yields the arms of one setting before and after each scaler."""
    done = [name for name in SCALERS if any(x.after == name for x in lines)]
    if len(done) < 2:
        return
    columns = {
        f"{title}: {ledger.AFTER[name] or 'before'}": (result, name)
        for title, result in SCALED_COLUMNS.items()
        for name in done
        # Dividing by a temperature keeps the class; T is of two scalers only.
        if not (result == "test_accuracy" and "temperature" in name)
        and not (result == "temperature" and "temperature" not in name)
    }
    head = ["arm", "seeds", *columns]
    rows = [head, ["---"] * len(head)]
    for name, plain in ledger.by_arm(x for x in lines if not x.after).items():
        cells = []
        for result, after in columns.values():
            values = [
                line.value(result)
                for line in lines
                if line.after == after
                and ledger.describe_training(line.config) == name
            ]
            cells.append(format_spread(result, values) if values else "-")
        rows.append([name, str(len(plain)), *cells])
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def format_spread(result: str, values: Sequence[float]) -> str:
    """Returns mean ± deviation; a dash if a value is missing."""
    mean, deviation, num_seeds = seed_statistics.spread(np.array(values))
    if math.isnan(mean):
        return "-"
    digits, scale = (
        (3, 1) if seed_statistics.scale_of(result) == 1 else (2, 100)
    )
    text = f"{scale * mean:.{digits}f}"
    if num_seeds < 2:
        return text
    return f"{text} ± {scale * deviation:.{digits}f}"


def render_summary(
    tables: Mapping[str, Sequence[ledger.Line]], *, folder: str = "experiments"
) -> str:
    """Returns what README.md shows: two ECEs a data set, and the verdicts.

    Args:
        tables: Name of a table -> its lines.
        folder: Of RESULTS.md, as README.md sees it.
    """
    rows = [["test ECE (%)", "no mixup", "mixup"], ["---"] * 3]
    for claim in papers.CLAIMS:
        if claim.says != SUMMARY_CLAIM or claim.baseline is None:
            continue
        groups = ledger.by_setting(tables.get(claim.table, ()))
        for setting, group in groups.items():
            without = ledger.select(group, claim.baseline)
            mixed = ledger.select(group, claim.arm)
            if without and mixed:
                alpha = next(iter(mixed.values())).config.alpha
                cells = [_format_ece(without), _format_ece(mixed)]
                cells[1] += f" (alpha {alpha:g})"
                rows.append([datasets.find_card(setting[0]).title, *cells])
    verdicts = [
        row[5]
        for claim in papers.CLAIMS
        for row in judge(claim, tables.get(claim.table, ()))
    ]
    holds, fails, undecided = (
        verdicts.count(f"**{verdict.value}**") for verdict in Verdict
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"{table}\n\nMean ± standard deviation over seeds; the validation set"
        f" chose alpha.\nOf the papers' claims {holds} hold, {fails} do not and"
        f" {undecided} are undecided ([results]({folder}/RESULTS.md))."
    )


def _format_ece(runs: Mapping[int, ledger.Line]) -> str:
    values = [line.value(SUMMARY_RESULT) for line in runs.values()]
    return format_spread(SUMMARY_RESULT, values)


def insert_summary(text: str, summary: str) -> str:
    """Returns README.md's text with the summary between its two marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{summary}\n{END}{rest.split(END)[1]}"


def render_claims(
    claims: Sequence[Claim], tables: Mapping[str, Sequence[ledger.Line]]
) -> Iterator[str]:
    """Yields the claims' table: a row for each claim and setting."""
    head = ["claim", "where", "numbers", "difference, 95 % interval"]
    head += ["least", "verdict", "printed", "source"]
    rows = [head, ["---"] * len(head)]
    for claim in claims:
        rows += list(judge(claim, tables.get(claim.table, ())))
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def judge(claim: Claim, lines: Sequence[ledger.Line]) -> Iterator[list[str]]:
    """Yields a claim's row for each setting; one row if there is no run."""
    tail = [claim.printed or "-", claim.source]
    scale = seed_statistics.scale_of(claim.result)
    unit = " %" if scale == 100 else " nats" if "nll" in claim.result else ""
    least = f"{scale * claim.least:g}{unit}"
    found = False
    for setting, group in ledger.by_setting(lines).items():
        values = dict(zip(ledger.SETTING, setting, strict=True))
        if any(values[k] not in v for k, v in claim.settings.items()):
            continue
        decided = (
            _judge_trend(claim, group)
            if claim.direction is Direction.FALLS
            else _judge_pair(claim, group)
        )
        if decided is not None:
            found = True
            numbers, interval, verdict = decided
            where = describe_setting(setting)
            yield [
                *(claim.says, where, numbers, interval, least),
                f"**{verdict.value}**",
                *tail,
            ]
    if not found:
        open_ = f"**{Verdict.OPEN.value}**"
        yield [claim.says, "-", "no runs", "-", least, open_, *tail]


def _judge_pair(
    claim: Claim, lines: Sequence[ledger.Line]
) -> tuple[str, str, Verdict] | None:
    """Decides a claim about two arms, or about one and 0."""
    runs = ledger.select(lines, claim.arm)
    others = (
        runs if claim.baseline is None else ledger.select(lines, claim.baseline)
    )
    seeds = sorted(set(runs) & set(others))
    if not seeds:
        return None
    values = np.array([runs[seed].value(claim.result) for seed in seeds])
    zero = np.zeros(len(seeds))
    baseline = zero
    if claim.baseline is not None:
        baseline = np.array(
            [others[seed].value(claim.result) for seed in seeds]
        )
    if np.isnan(values).any() or np.isnan(baseline).any():
        return None
    verdict, difference = decide(values, baseline, claim.direction, claim.least)
    name = ledger.describe(runs[seeds[0]])
    numbers = f"{name} {format_spread(claim.result, list(values))}"
    if claim.baseline is not None:
        other = ledger.describe(others[seeds[0]])
        numbers += f"; {other} {format_spread(claim.result, list(baseline))}"
    return numbers, format_difference(claim.result, difference), verdict


def _judge_trend(
    claim: Claim, lines: Sequence[ledger.Line]
) -> tuple[str, str, Verdict] | None:
    """Decides whether a result falls from no mixup on as alpha grows."""
    rows = ledger.by_arm(line for line in lines if line.belongs_to(claim.arm))
    if claim.baseline is not None:
        rows |= ledger.by_arm(
            line for line in lines if line.belongs_to(claim.baseline)
        )
    if len(rows) < 3:
        return None
    ordered = sorted(
        rows.values(),
        key=lambda runs: next(iter(runs.values())).config.alpha,
    )
    seeds = sorted(set.intersection(*(set(runs) for runs in ordered)))
    if not seeds:
        return None
    values = np.array(
        [[runs[seed].value(claim.result) for runs in ordered] for seed in seeds]
    )
    verdict, trend = decide_trend(values, claim.least)
    means = ", ".join(
        f"{seed_statistics.scale_of(claim.result) * mean:.2f}"
        for mean in values.mean(axis=0)
    )
    alphas = ", ".join(
        f"{next(iter(runs.values())).config.alpha:g}" for runs in ordered
    )
    test = "-" if trend is None else f"Page's test, p = {trend.p_value:.2g}"
    return f"{means} at alpha {alphas}", test, verdict


def format_difference(
    result: str, difference: seed_statistics.Difference
) -> str:
    """Returns a difference and its interval."""
    scale = seed_statistics.scale_of(result)
    digits = 3 if scale == 1 else 2
    mean, low, high = (
        f"{scale * number:+.{digits}f}"
        for number in (difference.mean, difference.low, difference.high)
    )
    if difference.num_seeds < 2:
        return f"{mean}, one seed"
    return f"{mean} ({low} to {high}), {difference.num_seeds} seeds"


def main() -> None:
    """Writes RESULTS.md and the summary, or checks them."""
    tables = ledger.read_all(ledger.FOLDER)
    wanted = {
        RESULTS: render(tables),
        README: insert_summary(README.read_text(), render_summary(tables)),
    }
    for path, text in wanted.items():
        if not _CHECK.value:
            atomic_files.write_text(path, text)
            logging.info("Wrote %s.", path.name)
        elif path.read_text() != text:
            raise ValueError(
                f"{path.name} must be what the ledger makes. Received: another"
                " text. Run `python -m experiments.results`."
            )


if __name__ == "__main__":
    _entry.start(main)
