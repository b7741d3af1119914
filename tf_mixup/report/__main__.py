r"""A calibration report for a saved Keras classifier, as one HTML page.

Command:
    python -m tf_mixup.report --model=model.keras --data=tfds:cifar10:test \
        --scale=0-1 --ood=tfds:svhn_cropped:test --output=report

Data are `tfds:NAME[:SPLIT]`, `folder:PATH` (PATH/CLASS/*.png) or a `.npz`
file with arrays `x` and `y`. Inputs must reach the model as in training: see
`--scale`, `--mean` and `--std`. `--model` repeated compares models. In Python:
`tf_mixup.calibration_report(model, dataset)`.
"""

import importlib
import logging as python_logging
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app
from absl import flags
from absl import logging

from tf_mixup import _checks
from tf_mixup.report import calibration_report
from tf_mixup.report import compare
from tf_mixup.report import data as report_data
from tf_mixup.report import label_report
from tf_mixup.report import model as report_model


def main(argv: Sequence[str]) -> None:
    """Writes the report that the flags ask for.

    Args:
        argv: The program's name; nothing else may be in it.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
    logging.set_verbosity(logging.INFO)
    python_logging.getLogger("tensorflow").setLevel("ERROR")
    try:
        _write_report(flags.FLAGS)
    except (ValueError, OSError, MemoryError, tf.errors.OpError) as error:
        logging.error("%s", str(error) or type(error).__name__)
        sys.exit(1)


def _define_flags() -> None:
    """Defines flags, which an import must not do: programs have their own."""
    flags.DEFINE_multi_string(
        "model",
        None,
        "A `.keras` file, or NAME=FILE; repeated, models are compared.",
        required=True,
    )
    flags.DEFINE_string(
        "data",
        None,
        "Held-out examples: tfds:NAME[:SPLIT], folder:PATH or a .npz file.",
        required=True,
    )
    flags.DEFINE_multi_string(
        "ood", [], "Another set in the same forms, or NAME=SET; repeatable."
    )
    flags.DEFINE_string("output", "report", "Gets the files.")
    flags.DEFINE_bool(
        "from_logits", None, "Whether the model returns logits; else detected."
    )
    flags.DEFINE_enum(
        "scale",
        "none",
        report_data.SCALES,
        "Of pixels in [0, 255]: none, x / 255, or x / 127.5 - 1.",
    )
    flags.DEFINE_list("mean", [], "Subtracted after scaling, by channel.")
    flags.DEFINE_list("std", [], "Divided by after that, by channel.")
    flags.DEFINE_list(
        "image_size", [], "Height,width if the model takes any size."
    )
    flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
    flags.DEFINE_list(
        "imports", [], "Modules that register the model's own classes."
    )
    flags.DEFINE_bool(
        "multi_label",
        False,
        "Examples have several labels, outputs K sigmoids.",
    )
    flags.DEFINE_bool("noise", True, "Compare images with Gaussian noise.")
    flags.DEFINE_integer("max_examples", None, "Examples of each set at most.")
    flags.DEFINE_integer("batch_size", 128, "Examples to predict at once.")
    flags.DEFINE_integer("num_resamples", 500, "Resamples for each interval.")
    flags.DEFINE_integer("seed", 0, "Of all that is drawn.")
    flags.DEFINE_string(
        "output_name", None, "Output to report on, of a model of several."
    )
    flags.DEFINE_integer(
        "ignore_label", None, "Class id of examples to leave out, often -1."
    )
    flags.DEFINE_bool("verbose", True, "Show progress bars.")


def _write_report(values: Any) -> None:
    """Writes the report; `values` has an attribute for each flag."""
    for module in values.imports:
        _import(module)
    # A name may be written also where there is one model.
    paths = report_data.parse_names(values.model, flag="model")
    if values.multi_label and (len(paths) > 1 or values.ood):
        raise _checks.refusal(
            "A report on several labels is on one model, without other sets",
            f"multi_label with {len(paths)} models and {len(values.ood)} other"
            " sets",
            "Write a report for each model, and leave `--ood` out",
        )
    reports = {
        name: _report_on(values, path, title=name)
        for name, path in paths.items()
    }
    for name, result in reports.items():
        for finding in result.findings:
            level = finding.level.capitalize()
            logging.info("%s: %s. %s", name, level, finding.text)
    many = len(reports) > 1
    page = compare(reports) if many else next(iter(reports.values()))
    logging.info("Report: %s", page.save(values.output))


def _report_on(values: Any, path: str, *, title: str) -> Any:
    """Returns the report on one model, for which the data are prepared."""
    model = report_model.load(path)
    size = _numbers("image_size", values.image_size)
    preparation = report_data.prepare_for(
        model,
        image_size=_image_size(size),
        scale=values.scale,
        mean=_numbers("mean", values.mean),
        std=_numbers("std", values.std),
    )

    def load(spec: str, *, labeled: bool) -> report_data.Source:
        return report_data.load(
            spec,
            preparation,
            labeled=labeled,
            data_dir=values.data_dir,
            max_examples=values.max_examples,
            batch_size=values.batch_size,
            seed=values.seed,
        )

    data = load(values.data, labeled=True)
    common: dict[str, Any] = {
        "from_logits": values.from_logits,
        "output": values.output_name,
        "ignore_label": values.ignore_label,
        "num_resamples": values.num_resamples,
        "seed": values.seed,
        "title": title,
        "source": data.about,
        "preparation": preparation.describe(),
        "verbose": 1 if values.verbose else 0,
    }
    if values.multi_label:
        return label_report(
            model, data.dataset, label_names=data.class_names, **common
        )
    others = report_data.parse_names(values.ood)
    return calibration_report(
        model,
        data.dataset,
        ood={
            name: load(spec, labeled=False).dataset
            for name, spec in others.items()
        },
        class_names=data.class_names,
        noise=values.noise,
        **common,
    )


def _image_size(sides: Sequence[float]) -> tuple[int, int] | None:
    if not sides:
        return None
    # One number is both; what is not whole is refused as it is.
    height, width = (
        int(side) if side == int(side) else side
        for side in (sides[0], sides[-1])
    )
    return height, width  # type: ignore[return-value]


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise _checks.refusal(
            "`imports` must name modules that Python finds",
            f"imports={module} ({error})",
            "Run from the folder that it is in, or set PYTHONPATH",
        ) from error


def _numbers(name: str, texts: Sequence[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise _checks.refusal(
            f"`{name}` must be numbers with commas between",
            f"{name}={','.join(texts)}",
            "Write 0.5 or 0.49,0.48,0.45",
        ) from error


if __name__ == "__main__":
    _define_flags()
    app.run(main)
