"""The report on a model of several labels, K sigmoids.

Shapes: N examples, K labels.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup.calibration import per_label
from tf_mixup.report import build
from tf_mixup.report import figures as report_figures
from tf_mixup.report import html_page
from tf_mixup.report import labels as report_labels
from tf_mixup.report import run as report_run
from tf_mixup.report.numbers import LabelNumbers

# Labels whose reliability is drawn.
_DRAWN = 5
_ALL = "all labels"


class LabelReport(LabelNumbers):
    """The report; a notebook shows it as a page."""

    def to_html(self) -> str:
        """Returns the page, which needs no other file."""
        return html_page.render_labels(self)


def label_report(
    model: keras.Model | str | os.PathLike[str],
    dataset: Any,
    *,
    from_logits: bool | None = None,
    output: str | int | None = None,
    ignore_label: int | None = None,
    label_names: Sequence[str] | None = None,
    max_examples: int | None = None,
    batch_size: int = 128,
    num_resamples: int = 500,
    seed: int = 0,
    title: str | None = None,
    source: str = "a data set given in Python",
    preparation: str = "as given in Python",
    verbose: int | str = 0,
) -> LabelReport:
    """Measures how far the probability of each label can be trusted.

    For models of K sigmoids, and examples with several labels or none. Each
    label is a binary problem of its own: its probability against whether an
    example has it. The report has a table of labels, reliability diagrams of
    all labels together and of the worst, and says which are miscalibrated. Use
    held-out data.

    Args:
        model: The model, or the path of a `.keras` file, which is loaded in
            Keras' safe mode.
        dataset: `(inputs, labels)`, or batches of them, as for
            `calibration_report`. Labels are multi-hot `(N, K)` of 0 and 1, or
            targets in [0, 1]. Weights must be 0 or 1.
        from_logits: Whether the model returns logits; None detects it from the
            last layer or the values.
        output: Name or index of the output to report on, if the model has
            several.
        ignore_label: Value of labels that are not known, often -1, which are
            left out, each by itself; None ignores none.
        label_names: Names of the labels; numbers by default.
        max_examples: Examples to stop after; None for all.
        batch_size: Examples of arrays to predict at once.
        num_resamples: Bootstrap resamples for each interval, at least 2.
        seed: Seed of intervals, at least 0.
        title: Name of the model in the report. Defaults to its own name, or
            that of its file.
        source: Description of where the examples come from.
        preparation: Description of how the inputs were prepared.
        verbose: 0 shows nothing; 1 or `"auto"` shows a progress bar.

    Returns:
        report: The numbers; `save(directory)` writes HTML and JSON.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the model cannot be loaded safely or ends with a
            softmax, if the last layer or the values contradict `from_logits`,
            if labels are not multi-hot or of a label none is known, or if an
            option is out of range.

    Example:
        >>> sigmoids = keras.layers.Activation("sigmoid")
        >>> model = keras.Sequential([keras.Input((3,)), sigmoids])
        >>> rng = np.random.default_rng(1)
        >>> x = rng.normal(size=(400, 3))
        >>> y = rng.random((400, 3)) < 1 / (1 + np.exp(-x))
        >>> report = label_report(model, (x, y), num_resamples=20)
        >>> report.num_labels, report.findings[0].level
        (3, 'good')
    """
    build.check_options(max_examples, batch_size, num_resamples, seed, verbose)
    model, name = build.open_model(model)
    report_run.check_output(model, output)
    from_logits = output_kind.check_from_logits(from_logits)
    logits = None
    if model_calls.runs_plainly(model):
        head = _cut_to_output(model, output)
        last_layer.refuse_softmax(head)
        output_kind.agree(last_layer.last_layer_gives_logits(head), from_logits)
        logits = last_layer.before_softmax(head, several=True)
    run = report_run.run(
        model if logits is None else logits,
        dataset,
        max_examples=max_examples,
        batch_size=batch_size,
        output=output,
        verbose=verbose,
    )
    from_logits = logits is not None or output_kind.are_logits(
        run.outputs.reshape(-1, 1), from_logits, model=model
    )
    names, errors = _measure(
        run,
        label_names,
        ignore_label,
        from_logits=from_logits,
        num_resamples=num_resamples,
        seed=seed,
    )
    return LabelReport(
        model=title or name,
        data=source,
        preparation=preparation,
        num_examples=len(run.outputs),
        num_nonfinite=run.num_nonfinite,
        num_labels=len(names),
        num_resamples=num_resamples,
        seed=seed,
        versions={each.__name__: each.__version__ for each in (keras, tf, np)},
        overall=report_labels.summarize(errors),
        labels=errors,
        findings=list(
            report_labels.find(
                errors, num_nonfinite=run.num_nonfinite, seed=seed
            )
        ),
        figures=report_figures.reliability_diagrams(
            {
                _ALL: report_labels.sum_bins(errors),
                **report_labels.worst(errors, _DRAWN),
            },
            y="frequency",
            x="probability",
        ),
    )


def _cut_to_output(model: keras.Model, output: str | int | None) -> keras.Model:
    """Returns a model of the chosen output; the model if it has one."""
    if output is None or len(model.outputs) == 1:
        return model
    head = report_run.choose_output(model.output, output)
    return keras.Model(model.input, head, name=model.name)


def _measure(
    run: report_run.Run,
    label_names: Sequence[str] | None,
    ignore_label: int | None,
    **options: Any,
) -> tuple[list[str], list[report_labels.LabelErrors]]:
    """Returns the names of labels, and their numbers."""
    shape, targets, _, weight = per_label.flatten(
        run.labels, run.outputs, None, ignore_label
    )
    targets = keras.ops.convert_to_numpy(targets).reshape(shape)
    known = np.ones(targets.shape, bool)
    if weight is not None:
        known = keras.ops.convert_to_numpy(weight).reshape(shape) > 0
    names = build.name_classes(label_names, shape[1], "label")
    unknown = np.flatnonzero(~known.any(axis=0))
    if unknown.size:
        raise _checks.refusal(
            "Each label needs at least one known example",
            f"none of {', '.join(names[k] for k in unknown[:3])}",
            "Leave out the output, or give more examples",
        )
    return names, report_labels.measure_labels(
        targets, run.outputs, known, names, **options
    )
