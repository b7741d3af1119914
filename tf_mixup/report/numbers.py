"""All numbers of a report, and their JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_mixup.report.findings import Finding
from tf_mixup.report.measures import ClassErrors
from tf_mixup.report.measures import Detection
from tf_mixup.report.measures import Errors
from tf_mixup.report.temperature import Temperature
from tf_mixup.scores import Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a report says; `to_json` gives all of it but the figures.

    Attributes:
        model: Name of the model.
        data: Where the rows are from.
        preparation: What was done to inputs before the model saw them.
        outputs: What the model's outputs are, one of
            `report_predictions.KINDS`.
        rows: Rows that all numbers are of, N.
        num_nonfinite: Rows left out because of NaN or infinite outputs.
        num_classes: Classes, K; 2 for a sigmoid.
        draws: Samples redrawn for an interval.
        seed: Seed of all that was drawn.
        versions: Of the packages that the numbers depend on.
        overall: What no choice of bins changes: accuracy, confidence,
            signed_gap, nll (nats) and brier.
        conventions: Calibration errors by name of the convention.
        classes: The table of classes.
        ood: How well confidence tells the data from other sets, by name.
        temperature: What temperature scaling would do; None if it was not
            tried.
        accuracies: Accuracy on other scales of inputs; empty if none was
            tried.
        findings: What the numbers mean, in words.
        figures: PNG files by name.
    """

    model: str
    data: str
    preparation: str
    outputs: str
    rows: int
    num_nonfinite: int
    num_classes: int
    draws: int
    seed: int
    versions: dict[str, str]
    overall: dict[str, Interval]
    conventions: dict[str, Errors]
    classes: list[ClassErrors]
    ood: dict[str, Detection]
    temperature: Temperature | None
    accuracies: dict[str, float]
    findings: list[Finding]
    figures: dict[str, bytes] = dataclasses.field(repr=False)

    def to_json(self) -> str:
        """Returns all numbers as JSON; what is NaN is null."""
        numbers = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name != "figures"
        }
        return json.dumps(numbers, indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """Returns what JSON knows; named tuples become objects."""
    if dataclasses.is_dataclass(value):
        value = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
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
