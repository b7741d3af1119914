"""Builds the calibration report of any Keras classifier."""

import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import ood as ood_lib
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup.report import figures as report_figures
from tf_mixup.report import findings as report_findings
from tf_mixup.report import html_page
from tf_mixup.report import measures
from tf_mixup.report import mistakes as report_mistakes
from tf_mixup.report import model as report_model
from tf_mixup.report import prediction_sets
from tf_mixup.report import predictions as report_predictions
from tf_mixup.report import run as report_run
from tf_mixup.report import temperature as report_temperature
from tf_mixup.report.numbers import Numbers

NOISE = "Gaussian noise"


class Report(Numbers):
    """The report; a notebook shows it as a page."""

    def to_html(self) -> str:
        """Returns the page, which needs no other file."""
        return html_page.render(self)


def calibration_report(
    model: keras.Model | str | os.PathLike[str],
    dataset: Any,
    *,
    ood: Mapping[Any, Any] | None = None,
    from_logits: bool | None = None,
    output: str | int | None = None,
    ignore_label: int | None = None,
    class_names: Sequence[str] | None = None,
    noise: bool = True,
    max_examples: int | None = None,
    batch_size: int = 128,
    num_resamples: int = 500,
    seed: int = 0,
    title: str | None = None,
    source: str = "a data set given in Python",
    preparation: str = "as given in Python",
    verbose: int | str = 0,
) -> Report:
    """Measures how far a classifier's confidence can be trusted.

    The model may be any Keras classifier with softmax, logits or one sigmoid as
    its output, or as one of its outputs. It predicts as `model.predict` does.
    Use held-out data: on training examples the report means nothing. It
    measures calibration under five of `calibration.CONVENTIONS`, by class, and
    after temperature scaling, shows what abstaining at low confidence gives
    and how large conformal sets are, compares confidence on other sets, and
    explains what is wrong and what to try.

    Besides the data, memory holds the model's outputs, `(N, K)` in float32, and
    the inputs of at most 12 errors and 1,000 other examples.

    Args:
        model: The model, or the path of a `.keras` file, which is loaded in
            Keras' safe mode: nothing in it runs.
        dataset: `(inputs, labels)`, or batches of them: arrays, a
            `tf.data.Dataset`, a `PyDataset`, generators and other iterables.
            Inputs as the model takes them. Labels are class ids `(N,)` or
            `(N, 1)`, or targets `(N, K)`: one-hot, or soft, such as shares of
            votes. With soft targets accuracy is the target's mass on the
            predicted class. Sums within 0.05 of 1 are normalized. Weights must
            be 0 or 1; examples of weight 0 are left out.
        ood: Out-of-distribution sets by name, in the same forms; their labels
            are ignored.
        from_logits: Whether the model returns logits; None detects it from the
            last layer or the values.
        output: Name or index of the output to report on, if the model has
            several; it also selects from labels in a dictionary or list.
        ignore_label: Class id of examples to leave out, often -1.
        class_names: Names of the classes; numbers by default.
        noise: Whether images are compared with Gaussian noise of their mean
            and variance.
        max_examples: Examples of each set to stop after; None for all.
        batch_size: Examples of arrays to predict at once.
        num_resamples: Bootstrap resamples for each interval, at least 2.
        seed: Seed of intervals, noise and the split for the temperature, at
            least 0.
        title: Name of the model in the report. Defaults to its own name, or
            that of its file.
        source: Description of where the examples come from.
        preparation: Description of how the inputs were prepared.
        verbose: 0 shows nothing; 1 or `"auto"` shows Keras' progress bar for
            each set that is predicted.

    Returns:
        report: The numbers; `save(directory)` writes HTML and JSON.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the model cannot be loaded safely or is no classifier,
            if it has several outputs and `output` names none, if the data do
            not fit it, or if an option is out of range.

    Example:
        >>> softmax = keras.layers.Softmax()
        >>> model = keras.Sequential([keras.Input((2,)), softmax])
        >>> inputs = np.random.default_rng(0).normal(size=(60, 2))
        >>> data = inputs, np.arange(60) % 2
        >>> result = calibration_report(model, data, num_resamples=20)
        >>> result.from_logits, result.num_examples, result.num_classes
        (False, 60, 2)
    """
    check_options(max_examples, batch_size, num_resamples, seed, verbose)
    model, name = open_model(model)
    report_run.check_output(model, output)
    sets = _name_sets(ood)
    subject = _Subject(
        model,
        output_kind.check_from_logits(from_logits),
        output=output,
        max_examples=max_examples,
        batch_size=batch_size,
        verbose=verbose,
    )
    errors = report_mistakes.MostConfident(subject.detect_logits)
    run = subject.run(dataset, ignore_label=ignore_label, watch=errors.add)
    subject.predicts_logits = subject.detect_logits(run.outputs)
    examples = report_predictions.standardize(
        run.outputs, run.labels, from_logits=subject.predicts_logits
    )
    names = name_classes(class_names, examples.num_classes, "class")
    accuracies = subject.try_scales(run)
    runs = {
        each: subject.run(data, name=each, labeled=False)
        for each, data in {
            **(_noise(run, seed) if noise else {}),
            **sets,
        }.items()
    }
    outside = {name: subject.confidence(each) for name, each in runs.items()}
    measured = _measure(examples, names, num_resamples=num_resamples, seed=seed)
    detections = {
        name: measures.measure_detection(
            examples.confidence, outside[name], num_nonfinite=each.num_nonfinite
        )
        for name, each in runs.items()
    }
    findings = [
        *report_findings.find_in_data(
            measured["classes"],
            num_nonfinite=run.num_nonfinite,
            num_ignored=run.num_ignored,
            num_normalized=examples.num_normalized,
            accuracies=accuracies,
            num_tried=0 if run.inputs is None else len(run.inputs),
        ),
        *report_findings.find_in_calibration(
            measured["overall"],
            measured["conventions"][measures.MAIN],
            measured["temperature"],
            measured["class_bias"],
            names,
        ),
        *report_findings.find_in_detection(
            measured["overall"]["confidence"].estimate, detections
        ),
    ]
    # The first batch alone may look otherwise.
    alike = errors.from_logits == subject.predicts_logits
    return Report(
        model=title or name,
        data=source,
        preparation=preparation,
        from_logits=subject.from_logits,
        num_examples=len(examples),
        num_nonfinite=run.num_nonfinite,
        num_ignored=run.num_ignored,
        num_normalized=examples.num_normalized,
        num_classes=len(names),
        num_resamples=num_resamples,
        seed=seed,
        versions={each.__name__: each.__version__ for each in (keras, tf, np)},
        ood=detections,
        accuracies=accuracies,
        findings=findings,
        figures=report_figures.draw(examples, measured["conventions"], outside),
        columns={
            name: getattr(examples, name)
            for name in ("labels", "confidence", "correct", "nll", "brier")
        },
        mistakes=errors.mistakes if alike else [],
        pictures=errors.pictures() if alike else [],
        **measured,
    )


class _Subject:
    """The model under report, which runs over sets.

    Args:
        model: Any Keras model.
        told: What the caller says of its outputs, as `from_logits`.
        output: Name or place of its output; None of a model of one.
        batch_size: Examples of arrays to predict at once.
        **options: Of all runs, as `report_run.run` takes them.

    Attributes:
        predicts_logits: Whether runs return logits, as `detect_logits` found;
            of a model with a softmax they do.
    """

    def __init__(
        self,
        model: keras.Model,
        told: bool | None,
        *,
        output: str | int | None,
        batch_size: int,
        **options: Any,
    ) -> None:
        self._model, self._told = model, told
        self._chosen: dict[str, Any] = {
            "output": output,
            "batch_size": batch_size,
        }
        self._options, self._logits = options, None
        if model_calls.runs_plainly(model):
            # Probabilities of a sure model are rounded, its logits are not.
            self._logits = last_layer.before_softmax(model)
        if self._logits is not None:
            output_kind.agree(False, told)
        self.predicts_logits = self._logits is not None

    def run(self, data: Any, **options: Any) -> report_run.Run:
        """Returns outputs for a set: logits, where the model has them."""
        return report_run.run(
            self._logits or self._model,
            data,
            **self._chosen,
            **self._options,
            **options,
        )

    def confidence(self, run: report_run.Run) -> np.ndarray:
        """Returns the largest probability of each example, `(N,)`."""
        return report_predictions.confidence(
            run.outputs, from_logits=self.predicts_logits
        )

    def try_scales(self, run: report_run.Run) -> dict[str, float]:
        """Returns accuracies on other scales; none if inputs are no numbers."""
        labels = run.input_labels
        if run.inputs is None or labels is None or not len(run.inputs):
            return {}
        columns = run.outputs.shape[1]
        targets = report_predictions.read_targets(
            labels, max(columns, 2), single=columns == 1
        ).values
        return report_run.try_scales(
            self._logits or self._model,
            run.inputs,
            targets if targets.ndim == 1 else targets.argmax(axis=-1),
            threshold=0.0 if self.predicts_logits else 0.5,
            **self._chosen,
        )

    @property
    def from_logits(self) -> bool:
        """Whether the model returns logits."""
        return self._logits is None and self.predicts_logits

    def detect_logits(self, outputs: np.ndarray) -> bool:
        """Returns whether some outputs of `run` are logits."""
        return self._logits is not None or report_predictions.detect_logits(
            outputs, self._told, model=self._model
        )


def check_options(
    max_examples: int | None,
    batch_size: int,
    num_resamples: int,
    seed: int,
    verbose: int | str,
) -> None:
    """Refuses options that are out of range.

    Args:
        max_examples: As of `calibration_report`.
        batch_size: The same.
        num_resamples: The same.
        seed: The same.
        verbose: The same.
    """
    if max_examples is not None:
        _checks.integer_at_least(
            "max_examples",
            max_examples,
            1,
            remedy="Write None to take all examples",
        )
    _checks.integer_at_least("batch_size", batch_size, 1, remedy="Write 128")
    _checks.integer_at_least(
        "num_resamples", num_resamples, 2, remedy="Draw 500 or more"
    )
    _checks.integer_at_least("seed", seed, 0, remedy="Write 0")
    if verbose not in (0, 1, 2, "auto"):
        raise _checks.refusal(
            '`verbose` must be 0, 1, 2 or "auto"',
            f"verbose={verbose!r}",
            "Write 1 for a progress bar",
        )


def _measure(
    examples: report_predictions.Predictions,
    names: Sequence[str],
    *,
    num_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Returns all measures of the data, by the names that a report has."""
    return {
        "overall": measures.measure_overall(
            examples, num_resamples=num_resamples, seed=seed
        ),
        "bin_free": measures.measure_without_bins(examples),
        "selective": measures.measure_selective(
            examples, num_resamples=num_resamples, seed=seed
        ),
        "conventions": {
            name: measures.measure_errors(
                examples,
                calibration.CONVENTIONS[name],
                num_resamples=num_resamples,
                seed=seed,
            )
            for name in measures.SHOWN
        },
        "classes": measures.measure_classes(examples, names),
        "class_bias": measures.measure_class_bias(examples),
        "temperature": report_temperature.measure(
            examples, seed=seed, num_resamples=num_resamples
        ),
        "prediction_sets": prediction_sets.measure(examples, seed=seed),
    }


def open_model(
    model: keras.Model | str | os.PathLike[str],
) -> tuple[keras.Model, str]:
    """Returns the model and what the report calls it.

    Args:
        model: The model, or the path of a `.keras` file.
    """
    if isinstance(model, str | os.PathLike):
        return report_model.load(model), pathlib.Path(model).name
    model_calls.check_model(model)
    return model, model.name


def _noise(run: report_run.Run, seed: int) -> dict[str, np.ndarray]:
    """Returns noise like the inputs, if these are images."""
    inputs = run.inputs
    if inputs is None or inputs.ndim != 4 or not len(inputs):
        return {}
    return {NOISE: ood_lib.noise_like(inputs, seed=seed)}


def _name_sets(ood: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Returns other sets by names that are text, such as of the numbers 1."""
    if not isinstance(ood, Mapping | None):
        raise _checks.refusal(
            "`ood` must be a dictionary of named sets",
            f"a {type(ood).__name__}",
            "Write e.g. `ood={'far': images}`",
        )
    sets = {str(name): data for name, data in (ood or {}).items()}
    if len(sets) < len(ood or {}) or NOISE in sets:
        raise _checks.refusal(
            f"Other sets must have different names, and none {NOISE!r}",
            f"names {list(ood or {})}",
            "Rename one of them",
        )
    return sets


def name_classes(
    names: Sequence[str] | None, num_classes: int, kind: str
) -> list[str]:
    """Returns names of classes or labels, by default their numbers.

    Args:
        names: Given names, or None.
        num_classes: How many there must be.
        kind: `"class"` or `"label"`.
    """
    several = {"class": "classes", "label": "labels"}[kind]
    if names is None:
        return [str(number) for number in range(num_classes)]
    found = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(found) != num_classes:
        raise _checks.refusal(
            f"`{kind}_names` must name the model's {num_classes} {several}",
            f"{len(found)} names",
            "Give them in the order of the model's outputs",
        )
    repeated = sorted({name for name in found if found.count(name) > 1})
    if repeated:
        raise _checks.refusal(
            f"`{kind}_names` must be different names",
            f"{', '.join(map(repr, repeated[:3]))} more than once",
            f"Give each {kind} a name of its own",
        )
    return found
