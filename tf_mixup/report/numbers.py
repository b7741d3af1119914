"""All numbers of a report, their JSON, and how pages are saved."""

import abc
import dataclasses
import html
import json
import math
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_mixup.calibration import ClassBias
from tf_mixup.calibration.resampling import Interval
from tf_mixup.report import measures
from tf_mixup.report.findings import Finding
from tf_mixup.report.labels import LabelErrors
from tf_mixup.report.measures import ClassErrors
from tf_mixup.report.measures import Detection
from tf_mixup.report.measures import Errors
from tf_mixup.report.mistakes import Mistake
from tf_mixup.report.prediction_sets import SetQuality
from tf_mixup.report.temperature import Temperature

_NOT_IN_JSON = ("figures", "pictures", "columns")


class Page(abc.ABC):
    """Numbers with a page, which a notebook shows."""

    @abc.abstractmethod
    def to_html(self) -> str:
        """Returns the page, which needs no other file."""

    def to_json(self) -> str:
        """Returns all numbers as JSON; NaN becomes null."""
        return json.dumps(_plain(self), indent=2, allow_nan=False)

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
        return _write(folder / "report.html", self.to_html())

    def _repr_html_(self) -> str:
        """Returns the page in a frame, which keeps its style to itself."""
        page = html.escape(self.to_html(), quote=True)
        return (
            f'<iframe srcdoc="{page}" width="100%" height="800"'
            ' style="border: none"></iframe>'
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Numbers(Page):
    """The content of a report; `to_json` leaves out figures and columns.

    Attributes:
        model: Name of the model.
        data: Where the examples are from.
        preparation: What was done to inputs before the model saw them.
        from_logits: Whether the model returns logits.
        num_examples: Examples that all numbers are of, N.
        num_nonfinite: Examples left out because of NaN or infinite outputs.
        num_ignored: Examples left out because of the label that is ignored,
            or a weight of 0.
        num_normalized: Soft targets that were divided by their sums.
        num_classes: Classes, K; 2 for a sigmoid.
        num_resamples: Samples redrawn for an interval.
        seed: Seed of all that was drawn.
        versions: Of the packages that the numbers depend on.
        overall: What no choice of bins changes: accuracy, confidence,
            signed_gap, nll (nats), brier, and impossible: the share of
            examples whose true class has probability exactly 0.
        conventions: Calibration errors by name of the convention.
        classes: The table of classes.
        class_bias: How much too often each class is expected; None if it was
            not measured.
        bin_free: What needs no bins: smooth_ece, and the score (Brier, of the
            top label), miscalibration, discrimination and uncertainty of
            `calibration.brier_decomposition`; empty if it was not measured.
        selective: What abstaining at low confidence gives, by the names of
            `measures.SELECTIVE`; empty if it was not measured.
        ood: How well confidence separates the data from other sets, by name.
        prediction_sets: What conformal sets would be; empty if none were tried.
        temperature: What temperature scaling would do; None if it was not
            tried.
        accuracies: Accuracy on other scales of inputs; empty if none was
            tried.
        findings: What the numbers mean, in words.
        figures: SVG with its legend as HTML, by name.
        mistakes: The most confident wrong predictions.
        pictures: Their inputs as PNG files; empty if these are no images.
        columns: One number for each example, `(N,)`: labels, confidence,
            correct, nll and brier.
    """

    model: str
    data: str
    preparation: str
    from_logits: bool
    num_examples: int
    num_nonfinite: int
    num_classes: int
    num_resamples: int
    seed: int
    versions: dict[str, str]
    overall: dict[str, Interval]
    conventions: dict[str, Errors]
    classes: list[ClassErrors]
    ood: dict[str, Detection]
    temperature: Temperature | None
    accuracies: dict[str, float]
    findings: list[Finding]
    figures: dict[str, str]
    num_ignored: int = 0
    num_normalized: int = 0
    class_bias: ClassBias | None = None
    bin_free: dict[str, float] = dataclasses.field(default_factory=dict)
    selective: dict[str, Interval] = dataclasses.field(default_factory=dict)
    prediction_sets: list[SetQuality] = dataclasses.field(default_factory=list)
    mistakes: list[Mistake] = dataclasses.field(default_factory=list)
    pictures: list[bytes] = dataclasses.field(default_factory=list)
    columns: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        """Returns the report in one line."""
        shares = {
            name: interval.estimate
            for name, interval in self.overall.items()
            if name in ("accuracy", "confidence")
        }
        if measures.MAIN in self.conventions:
            main = self.conventions[measures.MAIN].values
            shares |= {"ECE": main["ece"].estimate} if "ece" in main else {}
        parts = [f"{name} {share:.1%}" for name, share in shares.items()]
        return (
            f"<{type(self).__name__} on {self.model!r}:"
            f" {', '.join([f'{self.num_examples:,} examples', *parts])}>"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LabelNumbers(Page):
    """The content of a report on several labels; `to_json` has no figures.

    Attributes:
        model: Name of the model.
        data: Where the examples are from.
        preparation: What was done to inputs before the model saw them.
        num_examples: Examples that all numbers are of, N.
        num_nonfinite: Examples left out because of NaN or infinite outputs.
        num_labels: Labels, K.
        num_resamples: Samples redrawn for an interval.
        seed: Seed of all that was drawn.
        versions: Of the packages that the numbers depend on.
        overall: Means over labels `label_ece`, `null_label_ece` (that of a
            calibrated model), `label_nll` and `label_brier`, and the largest
            of a label, `worst_label_ece` and `label_bias`.
        labels: The table of labels.
        findings: What the numbers mean, in words.
        figures: Reliability diagrams as SVG, of all labels and of the worst.
    """

    model: str
    data: str
    preparation: str
    num_examples: int
    num_nonfinite: int
    num_labels: int
    num_resamples: int
    seed: int
    versions: dict[str, str]
    overall: dict[str, float]
    labels: list[LabelErrors]
    findings: list[Finding]
    figures: dict[str, str]

    def __repr__(self) -> str:
        """Returns the report in one line."""
        return (
            f"<{type(self).__name__} on {self.model!r}:"
            f" {self.num_examples:,} examples, {self.num_labels} labels, label"
            f" ECE {self.overall['label_ece']:.1%}>"
        )


def _plain(value: Any) -> Any:
    """Returns what JSON knows; named tuples become objects."""
    if dataclasses.is_dataclass(value):
        value = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.name not in _NOT_IN_JSON
        }
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(child) for name, child in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write(path: pathlib.Path, text: str) -> pathlib.Path:
    """Writes a file under a temporary name first."""
    partial = path.with_name(f".partial-{uuid.uuid4().hex}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
