r"""Writes RESULTS.md from the ledger, and the table of results in README.md.

Command:
    python -m experiments.results
    python -m experiments.results --check
    python -m experiments.results --scale=paper

Results at the papers' scale go into a page of their own beside their ledger.
"""

import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from absl import flags
from absl import logging

from experiments import _entry
from experiments import papers
from experiments.analysis import arms
from experiments.analysis import claims
from experiments.analysis import measures
from experiments.analysis import records as records_lib
from experiments.analysis import run_tables
from experiments.analysis.claims import Judgment
from experiments.analysis.claims import Verdict
from experiments.analysis.records import Record
from experiments.papers import tables as tables_lib
from experiments.runs import atomic_files
from experiments.runs import config

RESULTS = pathlib.Path(__file__).with_name("RESULTS.md")
SMALL = tables_lib.SCALES[0]
README = pathlib.Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
# What the table in README.md compares.
SUMMARY_CLAIM = "Mixup lowers ECE"
# What scaling changes: a column for each scaler.
SCALED_COLUMNS = ("test_ece", "test_nll", "test_accuracy", "temperature")
SCALERS = (
    *("", "temperature", "temperature_noisy", "temperature_published"),
    *("vector", "isotonic"),
)
OOD_COLUMNS = tuple(
    f"{name}_{measure}"
    for name in ("gaussian", "other")
    for measure in ("confidence", "auroc", "aupr", "fpr95")
)
ATTACK_COLUMNS = tuple(
    f"{attack}_error{suffix}"
    for suffix in ("", "_top5")
    for attack in (
        "clean",
        "fgsm_matched",
        "fgsm_white",
        "ifgsm_white",
        "fgsm_black",
        "ifgsm_black",
    )
)
BETWEEN_COLUMNS = tuple(
    f"between_{lam}_{measure}"
    for measure in ("miss", "slope")
    for lam in ("0.00", "0.25", "0.50")
)
INTRODUCTION = """\
# Results

`python -m experiments.results` writes this page from `experiments/ledger/`,
which `python -m experiments.collect` fills from finished runs. The runs are at
small scale: real data, a narrow network, minutes per run. The
[README](README.md) of the experiments lists the differences from the papers.

"""
PAPER_INTRODUCTION = """\
# Results at the papers' scale

`python -m experiments.results --scale=paper` writes this page from the files
beside it, which `python -m experiments.collect --scale=paper` fills from
finished runs.

"""
RULE = """\
## The rule

The rule was fixed before the runs (`experiments/analysis/claims.py`), and so
were the claims, but for those named below. It uses
the paired difference over seeds and its 95 % interval. A claim *holds* if the
interval excludes 0 and the mean difference is at least the least effect that
matters. It *does not hold* if the interval excludes an effect of that size.
Otherwise it is *not decided here*. "Not lower" holds if the interval excludes
a loss of the least effect, and "not higher" if it excludes such a rise. A trend
over alpha holds if Page's test finds it (p < 0.05) and the mean falls by the
least effect from the first alpha to the last; if it falls by less, the claim
does not hold. Of several alphas, the one with the lowest mean validation ECE is
compared, and in claims about errors the one with the highest mean validation
accuracy; a tuned alpha is compared with the one that is best on the validation
set in the measure of the claim. Intervals are not corrected for the number of
claims. Nor are they for looking again: where a claim was open, its runs got
more seeds, as many as the spread asked for (`Table.further`); after several
looks a verdict is wrong more often than after one. The rule that tunes alpha
was chosen by test examples of CIFAR-10, Fashion-MNIST and Phishing
(`alpha_rules`), by which claims about it are judged, too.
Of sources with a star, 1905.11001 and 2306.00740, the section, figure and table
numbers were not checked: the papers' text was not at hand.

Numbers are means ± standard deviations over seeds. The null ECE is the ECE of
perfectly calibrated predictions with the same confidences on as many examples.
ECE and OE are the expected calibration and overconfidence errors, ERL is the
confidence penalty; `docs/measures.md` defines them and the others.
Numbers of a replication in the column of the paper are those of an independent
one of 1905.11001, with four trials.
The NLL counts probabilities below 1e-7 as 1e-7, that is at most 16.1 nats per
example, because isotonic scaling predicts exact zeros.
"""

# Of tables whose name is an abbreviation.
HEADINGS = {"cifar": "CIFAR", "gans": "GANs", "uci": "UCI"}
# Of claims that are no more.
REMOVED = """\
- Removed: mixing the inputs only does not lower ECE, which held on neither data
  set. The paper says that the benefit is not the same (section 4.2).
"""


def render(tables: Mapping[str, Sequence[Record]], scale: str = SMALL) -> str:
    """Returns RESULTS.md of a scale."""
    judgments = judge_all(tables)
    introduction = INTRODUCTION if scale == SMALL else PAPER_INTRODUCTION
    parts = [introduction + render_verdicts(judgments), RULE]
    parts.append(render_changes(judgments))
    parts.append(f"## Claims\n\n{render_claims(judgments)}")
    shown: set[config.Config] = set()
    for name in papers.TABLES:
        records = tables.get(name, ())
        if not records:
            continue
        parts.append(render_heading(name, records, scale))
        for setting, group in arms.by_setting(records).items():
            parts.append(f"### {arms.describe_setting(setting)}\n")
            configs = {record.config for record in group}
            if configs <= shown:
                parts.append("Runs of the tables above.\n")
            else:
                parts += render_runs(group)
            parts += render_table(group, ATTACK_COLUMNS)
            parts += render_table(group, BETWEEN_COLUMNS)
            shown |= configs
    return "\n".join(parts).rstrip() + "\n"


def judge_all(tables: Mapping[str, Sequence[Record]]) -> list[Judgment]:
    """Returns the judgments of all claims."""
    return [
        judgment
        for claim in papers.CLAIMS
        for judgment in claims.judge(claim, tables.get(claim.table, ()))
    ]


def render_verdicts(judgments: Iterable[Judgment]) -> str:
    """Returns the number of verdicts by paper, and what does not hold."""
    counts: dict[str, list[Verdict]] = {}
    by_claim: dict[str, list[Judgment]] = {}
    for each in judgments:
        counts.setdefault(each.claim.paper, []).append(each.verdict)
        by_claim.setdefault(each.claim.says, []).append(each)
    lines = [["paper", *(verdict.value for verdict in Verdict)]]
    for paper, verdicts in counts.items():
        numbers = (str(verdicts.count(verdict)) for verdict in Verdict)
        lines.append([papers.TITLES[paper], *numbers])
    text = "Verdicts on claims, one for each setting:\n\n"
    text += run_tables.markdown(lines)
    text += "\nClaims that do not hold here:\n\n"
    for says, found in by_claim.items():
        failed = [x for x in found if x.verdict is Verdict.FAILS]
        by_reason: dict[str, list[str]] = {}
        for each in failed:
            by_reason.setdefault(each.explanation, []).append(each.setting)
        for reason, settings in by_reason.items():
            where = "; ".join(settings)
            if len(settings) == len(found) > 1:
                where = f"all {len(found)} settings"
            text += f"- {says} ({where}): {reason}.\n"
    return text


def render_changes(judgments: Iterable[Judgment]) -> str:
    """Lists the claims that were changed when their runs were known."""
    changed = {
        each.claim.says: each.claim.changed
        for each in judgments
        if each.claim.changed
    }
    lines = [f"- {says}: {change}." for says, change in changed.items()]
    return "\n".join(
        [
            "Claims that were changed when their runs were known:\n",
            *lines,
            REMOVED,
        ]
    )


def render_claims(judgments: Iterable[Judgment]) -> str:
    """Returns a table with a line for each claim and setting."""
    head = (
        "claim|setting|measure|numbers|difference, 95 % interval|least effect"
        "|verdict|in the paper|source"
    )
    lines = [head.split("|")]
    for each in judgments:
        claim, measure = each.claim, measures.find(each.claim.result)
        least = f"{measure.scale * claim.least:g} {measure.unit}".rstrip()
        lines.append(
            [
                *(claim.says, each.setting, measure.heading, each.numbers),
                *(each.difference, least, f"**{each.verdict.value}**"),
                *(claim.printed or "-", _mark(claim)),
            ]
        )
    return run_tables.markdown(lines)


def _mark(claim: claims.Claim) -> str:
    """Returns a claim's source, with a mark if its number is not checked."""
    mark = " *" if claim.paper in papers.UNCHECKED else ""
    return f"{claim.source}{mark}"


def render_heading(name: str, records: Sequence[Record], scale: str) -> str:
    """Returns a table's title, command, duration and expected number."""
    runs = sum(not record.after for record in records)
    wanted = len(papers.TABLES[name].configs(scale))
    return (
        f"## {HEADINGS.get(name, name.replace('_', ' ').capitalize())}\n\n"
        f"{papers.TABLES[name].describe(name, scale)}"
        f" Runs here: {runs} of {wanted}.\n"
    )


def render_runs(records: Sequence[Record]) -> Iterator[str]:
    """Yields the tables of one setting that are not particular to some runs."""
    trained = [x for x in records if x.after not in SCALERS[1:]]
    yield from render_table(trained, (x.name for x in measures.COLUMNS))
    yield from render_scaled(records)
    if any(record.config.ood for record in records):
        scaled = [x for x in records if x.after not in SCALERS[2:]]
        yield from render_table(scaled, OOD_COLUMNS)


def render_table(
    records: Sequence[Record], columns: Iterable[str]
) -> Iterator[str]:
    """Yields a table of one setting with a line per arm, if it has columns."""
    rows = {(name,): runs for name, runs in arms.by_arm(records).items()}
    table = run_tables.Table({}, ("arm",), rows)
    names = table.names(columns)
    text = table.markdown(names) if names else ""
    if text:
        yield text


def render_scaled(records: Sequence[Record]) -> Iterator[str]:
    """Yields the arms of one setting before and after each scaler."""
    if not any(record.after in SCALERS[1:] for record in records):
        return
    merged: dict[config.Config, dict[str, float]] = {}
    for record in records:
        if record.after in SCALERS:
            results = merged.setdefault(record.config, {})
            for name, value in record.results.items():
                results[f"{record.after}:{name}"] = value
    # A temperature does not change the class.
    names = [
        f"{after}:{name}"
        for name in SCALED_COLUMNS
        for after in SCALERS
        if not (name == "test_accuracy" and "temperature" in after)
    ]
    runs = [Record(key, "", results) for key, results in merged.items()]
    yield from render_table(runs, names)


def render_summary(tables: Mapping[str, Sequence[Record]]) -> str:
    """Returns what README.md shows: two ECEs per data set, and the verdicts."""
    judgments = judge_all(tables)
    claim = next(x for x in papers.CLAIMS if x.says == SUMMARY_CLAIM)
    measure = measures.find(claim.result)
    lines = [[f"test {measure.heading}", "no mixup", "mixup"]]
    for setting, group in arms.by_setting(tables.get(claim.table, ())).items():
        pair = [
            arms.select(group, arm)
            for arm in (claim.baseline, claim.arm)
            if arm
        ]
        if all(pair):
            cells = [
                measure.format_spread([x.value(measure.name) for x in runs])
                for runs in (each.values() for each in pair)
            ]
            alpha = next(iter(pair[1].values())).config.alpha
            cells[1] += f" (alpha {alpha:g})"
            lines.append([arms.describe_dataset(setting[0]), *cells])
    verdicts = [
        judgment.verdict
        for judgment in judgments
        if judgment.claim.paper != papers.OWN
    ]
    holds, fails, undecided = map(
        verdicts.count, (Verdict.HOLDS, Verdict.FAILS, Verdict.OPEN)
    )
    return (
        f"{run_tables.markdown(lines)}\nMean ± standard deviation over seeds;"
        " the validation set chose alpha.\n"
        f"Of {holds + fails + undecided} verdicts on the papers' claims"
        f" {holds} hold, {fails} do not and {undecided} need more seeds:\n"
        f"[results]({RESULTS.parent.name}/{RESULTS.name})."
    )


def insert_summary(text: str, summary: str) -> str:
    """Returns README.md's text with the summary between its two marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{summary}\n{END}{rest.split(END)[1]}"


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_bool(
        "check", False, "Fail if a document differs from the ledger."
    )
    flags.DEFINE_enum("scale", SMALL, tables_lib.SCALES, "Of the ledger.")


def main() -> None:
    """Writes RESULTS.md and the summary, or checks them."""
    scale = flags.FLAGS.scale
    ledger = records_lib.ledger(scale)
    tables = records_lib.read_all(ledger)
    if scale == SMALL:
        summary = render_summary(tables)
        wanted = {
            RESULTS: render(tables),
            README: insert_summary(README.read_text(), summary),
        }
    else:
        wanted = {ledger / RESULTS.name: render(tables, scale)}
    for path, text in wanted.items():
        if not flags.FLAGS.check:
            atomic_files.write_text(path, text)
            logging.info("Wrote %s.", path.name)
        elif path.read_text() != text:
            raise ValueError(
                f"{path.name} must agree with the ledger. Received: another"
                " text. Run `python -m experiments.results`."
            )


if __name__ == "__main__":
    _entry.start(main, define_flags)
