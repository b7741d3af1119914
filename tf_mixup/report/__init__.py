"""A calibration report for any Keras classifier: `tf_mixup.report`."""

import functools
import html
import os
import pathlib
import uuid
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import calibration
from tf_mixup import checks
from tf_mixup import ood as ood_lib
from tf_mixup.report import figures as report_figures
from tf_mixup.report import findings as report_findings
from tf_mixup.report import html_page
from tf_mixup.report import measures
from tf_mixup.report import model as report_model
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import run as report_run
from tf_mixup.report import temperature as report_temperature
from tf_mixup.report.numbers import Numbers

NOISE = "Gaussian noise"


class Report(Numbers):
    """The report; a notebook shows it as a page."""

    def save(self, directory: str | os.PathLike[str]) -> pathlib.Path:
        """Writes `report.html`, one file with all figures, and `report.json`.

        Args:
            directory: Made if needed; an older report in it is replaced.

        Returns:
            path: The HTML file.
        """
        folder = pathlib.Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "report.json", self.to_json() + "\n")
        return _write(folder / "report.html", html_page.render(self))

    def _repr_html_(self) -> str:
        """Returns the page in a frame, which keeps its style to itself."""
        page = html.escape(html_page.render(self), quote=True)
        return (
            f'<iframe srcdoc="{page}" width="100%" height="800"'
            ' style="border: none"></iframe>'
        )


def report(
    model: keras.Model | str | os.PathLike[str],
    dataset: Any,
    *,
    ood: Mapping[str, Any] | None = None,
    outputs: str = "auto",
    class_names: Sequence[str] | None = None,
    noise: bool = True,
    max_rows: int | None = None,
    batch_size: int = 128,
    draws: int = 500,
    seed: int = 0,
    title: str | None = None,
    source: str = "a data set given in Python",
    preparation: str = "as given in Python",
) -> Report:
    """Measures how well a classifier knows what it does not know.

    The model may be any Keras classifier with one output: softmax, logits or
    one sigmoid, made with this library or not. The data should be held out:
    of rows that it was trained on the report says nothing. The report
    measures calibration under each of `calibration.CONVENTIONS`, class by
    class, and after temperature scaling; compares confidence on other sets;
    and says in words what is wrong and what to try.

    Args:
        model: The model, or the path of a `.keras` file, which is loaded in
            Keras' safe mode: nothing in it runs.
        dataset: `tf.data.Dataset` of batches `(inputs, labels)`, or a tuple
            of arrays. Inputs as the model takes them; labels are class ids
            or one-hot.
        ood: Other sets by name, which the model was not trained for: datasets
            of batches, or arrays; labels are not looked at.
        outputs: What the model says: `"probabilities"`, `"logits"`,
            `"sigmoid"`, `"sigmoid_logits"`, or `"auto"`, which finds out.
        class_names: Names of the classes; numbers by default.
        noise: Whether images are compared with Gaussian noise of their mean
            and variance.
        max_rows: Rows of each set to stop after; None for all.
        batch_size: Rows of arrays to predict at once.
        draws: Samples redrawn for each interval.
        seed: Seed of intervals, noise and the split for the temperature.
        title: Name of the model in the report; its own, or its file's, by
            default.
        source: What the report says of where the rows are from.
        preparation: What it says was done to inputs before.

    Returns:
        report: The numbers; `save(directory)` writes HTML and JSON.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the model cannot be loaded safely or is no classifier
            of one output, or the data do not fit it.

    Example:
        >>> softmax = keras.layers.Softmax()
        >>> model = keras.Sequential([keras.Input((2,)), softmax])
        >>> inputs = np.random.default_rng(0).normal(size=(60, 2))
        >>> result = report(model, (inputs, np.arange(60) % 2), draws=20)
        >>> result.outputs, result.rows, result.num_classes
        ('probabilities', 60, 2)
    """
    checks.integer_at_least("draws", draws, 2, remedy="Draw 500 or more")
    model, name = _open(model)
    run_over = functools.partial(
        report_run.run, model, max_rows=max_rows, batch_size=batch_size
    )
    run = run_over(dataset)
    kind = report_predictions.recognise(run.outputs, outputs)
    rows = report_predictions.standardise(run.outputs, kind, run.labels)
    names = _name_classes(class_names, rows.probabilities.shape[1])
    sets = {**(_noise(run, seed) if noise else {}), **(ood or {})}
    runs = {
        name: run_over(each, name=name, labelled=False)
        for name, each in sets.items()
    }
    outside = {
        name: report_predictions.to_probabilities(each.outputs, kind).max(-1)
        for name, each in runs.items()
    }
    overall = measures.measure_overall(rows, draws=draws, seed=seed)
    conventions = {
        name: measures.measure_errors(rows, convention, draws=draws, seed=seed)
        for name, convention in calibration.CONVENTIONS.items()
    }
    classes = measures.measure_classes(rows, names)
    temperature = report_temperature.measure(rows, seed=seed)
    accuracies = _try_scales(model, run, kind, len(names), batch_size)
    detections = {
        name: measures.measure_detection(
            rows.confidence, outside[name], num_nonfinite=each.num_nonfinite
        )
        for name, each in runs.items()
    }
    findings = [
        *report_findings.find_in_data(
            classes,
            num_nonfinite=run.num_nonfinite,
            accuracies=accuracies,
            num_tried=0 if run.inputs is None else len(run.inputs),
        ),
        *report_findings.find_in_calibration(
            overall, conventions[measures.MAIN], temperature
        ),
        *report_findings.find_in_detection(
            overall["confidence"].estimate, detections
        ),
    ]
    return Report(
        model=title or name,
        data=source,
        preparation=preparation,
        outputs=kind,
        rows=len(rows.labels),
        num_nonfinite=run.num_nonfinite,
        num_classes=len(names),
        draws=draws,
        seed=seed,
        versions={each.__name__: each.__version__ for each in (keras, tf, np)},
        overall=overall,
        conventions=conventions,
        classes=classes,
        ood=detections,
        temperature=temperature,
        accuracies=accuracies,
        findings=findings,
        figures=report_figures.draw(rows, conventions, outside),
    )


def _open(
    model: keras.Model | str | os.PathLike[str],
) -> tuple[keras.Model, str]:
    """Returns the model and what the report calls it."""
    if isinstance(model, str | os.PathLike):
        return report_model.load(model), pathlib.Path(model).name
    if not isinstance(model, keras.Model):
        raise checks.refusal(
            "`model` must be a Keras model or the path of a `.keras` file",
            f"a {type(model).__name__}",
            "Of other models, give predictions to `tf_mixup.calibration`",
        )
    return model, model.name


def _noise(run: report_run.Run, seed: int) -> dict[str, np.ndarray]:
    """Returns noise like the inputs, if these are images."""
    inputs = run.inputs
    if inputs is None or inputs.ndim != 4 or not len(inputs):
        return {}
    if inputs.dtype.kind in "iu" and inputs.dtype != np.uint8:
        inputs = inputs.astype(np.float32)
    return {NOISE: ood_lib.noise_like(inputs, seed=seed)}


def _try_scales(
    model: keras.Model,
    run: report_run.Run,
    kind: str,
    num_classes: int,
    batch_size: int,
) -> dict[str, float]:
    """Returns accuracies on other scales; none if inputs are no numbers."""
    if run.inputs is None or run.input_labels is None or not len(run.inputs):
        return {}
    return report_run.try_scales(
        model,
        run.inputs,
        report_predictions.class_ids(run.input_labels, num_classes),
        threshold=0.5 if kind == "sigmoid" else 0.0,
        batch_size=batch_size,
    )


def _name_classes(names: Sequence[str] | None, num_classes: int) -> list[str]:
    if names is None:
        return [str(number) for number in range(num_classes)]
    if len(names) != num_classes:
        raise checks.refusal(
            f"`class_names` must name the model's {num_classes} classes",
            f"{len(names)} names",
            "Give them in the order of the model's outputs",
        )
    return [str(name) for name in names]


def _write(path: pathlib.Path, text: str) -> pathlib.Path:
    """Writes a file under a temporary name first."""
    partial = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
