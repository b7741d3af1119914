"""CalibrationMonitor: calibration of the validation set by epoch."""

import math
import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras

from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import metrics
from tf_mixup import summaries
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import data_pass
from tf_mixup._models import last_layer
from tf_mixup._models import named_outputs
from tf_mixup.callbacks import _monitor

# Keys in `logs`, as `val_<key>`, and their descriptions in TensorBoard.
CALIBRATION_KEYS = {
    "ece": "How far confidence is from accuracy: the mean over bins, weighted"
    " by their examples. Few examples in many bins raise it.",
    "oe": "The cost of overconfidence: the gaps of overconfident bins, weighted"
    " by their examples and confidence. Underconfidence costs nothing.",
    "nll": "Mean negative log-likelihood of the labels, in nats.",
    "brier": "Mean squared distance of probabilities from labels, in [0, 2].",
    "mce": "How far confidence is from accuracy in the worst bin.",
    "signed_gap": "Mean confidence minus accuracy: above 0 is overconfident,"
    " below 0 underconfident.",
    "over": "The part of `ece` in overconfident bins.",
    "under": "The part of `ece` in underconfident bins.",
    "adaptive_ece": "`ece` over bins of equally many examples, estimated.",
    "aurc": "Area under the risk-coverage curve: the error rate of the k most"
    " confident examples, averaged over k. Low if few predictions are wrong and"
    " confidence shows which.",
    "class_bias": "The largest difference over classes between the mean"
    " probability of a class and its share of the labels. A temperature cannot"
    " correct it.",
    "classwise_ece": "The mean over classes of the ECE of each class's own"
    " probability; of at most 100 classes. Compare it at equal numbers of"
    " classes only.",
}
# The same of a model of several labels.
LABEL_KEYS = {
    "label_ece": "How far the probability of a label is from its frequency: the"
    " mean over bins, weighted by their examples, and over labels.",
    "worst_label_ece": "`label_ece` of the worst label. Few examples raise it.",
    "label_bias": "The largest difference over labels between the mean"
    " probability of a label and its frequency.",
    "label_nll": "Mean binary cross-entropy of the labels, in nats.",
    "label_brier": "Mean squared difference of the probability of a label and"
    " whether an example has it, in [0, 1].",
}
# How to fix labels that could not be measured.
_CLASSES = (
    "Count classes from 0, and leave out examples without a label by a weight"
    " of 0 (of a metric in `weighted_metrics`, which gets the weights), or by"
    " `ignore_label=-1`; for several labels of an example compile"
    " `metrics.LabelCalibrationMetrics`, or write `multi_label=True`"
)
_LABELS = (
    "Write 1 where an example has a label and 0 where not, and leave unknown"
    " ones out by a weight of 0 (of a metric in `weighted_metrics`), or by"
    " `ignore_label=-1`"
)


class CalibrationMonitor(_monitor.Monitor):
    """Adds calibration of the validation set to `logs`, and draws it.

    Without `data` it costs no forward pass: the first compiled metric of
    `tf_mixup.metrics` still holds the validation set when `fit`'s own pass
    ends. With `data` it makes one pass of its own, under a strategy over all
    replicas, through the model's own `test_step`, `predict_step` or `predict`
    where it overrides one.

    Adds `val_ece`, `val_oe`, `val_mce`, `val_signed_gap` (mean confidence
    minus accuracy), `val_over` and `val_under` (the parts of ECE),
    `val_adaptive_ece`, `val_class_bias`, `val_nll`, `val_brier`, `val_aurc`
    (see `tf_mixup.selective`) and, of at most 100 classes or a compiled
    `metrics.ClassCalibrationMetrics`, `val_classwise_ece`. A model of several
    labels, K sigmoids, adds `val_label_ece`, `val_worst_label_ece`,
    `val_label_bias`, `val_label_nll` and `val_label_brier` instead: compile
    `metrics.LabelCalibrationMetrics`, or write `multi_label=True` beside
    `data`. A model of several outputs adds `val_<output>_ece`, ... for each
    output that has such a metric, and with `data` also for each that ends in a
    softmax or one sigmoid, with `multi_label` in sigmoids.

    `EarlyStopping("val_ece")` and `ModelCheckpoint(monitor="val_ece")` know
    the direction from the compiled metric of that name. Other names need
    `mode="min"`, as each is better when it is nearer to 0.

    Args:
        data: Batches of `(x, y)` or `(x, y, sample_weight)`, or such a tuple
            of arrays. None, the default, reads the compiled metric.
        name: Prefix of names in `logs`. Defaults to `"val"`; write another if
            the data are not those that `fit` validates on.
        log_dir: Folder for TensorBoard: values, reliability diagram,
            confidence histogram, the density of accuracy and confidence and
            the risk-coverage curve go to `<log_dir>/<validation, or name>`.
            None, the default, draws nothing.
        freq: Measures in epochs `freq`, `2 * freq`, ... counted from 1.
        num_bins: Bins, with `data`; else those of the compiled metric.
        edges: `"right"` or `"left"`, with `data`.
        from_logits: Whether outputs are logits, with `data`; None detects it.
        ignore_label: Class id of examples without a label, with `data`, or
            with `multi_label` the value of single entries that are not known;
            None ignores none.
        multi_label: Whether labels are multi-hot and outputs are sigmoids of
            several labels, with `data`; of one of several outputs its compiled
            metric says it, if there is one, and without `data` always.
        outputs: Names of the outputs to measure, of a model that has several.
            None, the default, measures those listed above.
        batch_size: Examples in a batch where `data` is arrays.
        figure_freq: Draws in epochs `figure_freq`, `2 * figure_freq`, ..., of
            those it measures in. Drawing takes half a second at first, later
            about 50 ms; TensorBoard shows ten images of each kind.

    Raises:
        ValueError: If an argument is out of range; when training starts, if
            `outputs` are none of the model's, or it has several labels; at the
            end of an epoch, if there is nothing to measure, or predictions are
            not finite.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(3, "softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy",
        ...               metrics=[metrics.CalibrationMetrics()])
        >>> x, y = np.ones((8, 2)), np.zeros(8, "int32")
        >>> history = model.fit(x, y, validation_data=(x, y), verbose=0,
        ...                     callbacks=[CalibrationMonitor()])
        >>> "val_oe" in history.history
        True
    """

    # What is measured with where there is `data`, and what is read if not.
    _metric_type: type[keras.metrics.Metric] = metrics.CalibrationMetrics
    _compiled_types: tuple[type[keras.metrics.Metric], ...] = (
        metrics.CalibrationMetrics,
        metrics.LabelCalibrationMetrics,
    )
    _new: ClassVar[dict[str, Any]] = {
        **_monitor.Monitor._new,
        "_metrics": {},
        "_tables": {},
        "_pass": None,
        "_broken": None,
    }

    def __init__(
        self,
        data: Any = None,
        *,
        name: str = "val",
        log_dir: str | os.PathLike[str] | None = None,
        freq: int = 1,
        num_bins: int = 15,
        edges: str = "right",
        from_logits: bool | None = None,
        ignore_label: int | None = None,
        multi_label: bool = False,
        outputs: Sequence[str] | None = None,
        batch_size: int = 128,
        figure_freq: int = 1,
    ) -> None:
        super().__init__(log_dir=log_dir, freq=freq)
        self.name = _monitor.check_name("name", name)
        self.run_name = "validation" if name == "val" else name
        self._figures_every = _checks.integer_at_least(
            "figure_freq", figure_freq, 1, remedy="Write 1 to draw always"
        )
        self._outputs = _read_names(outputs)
        self._options: dict[str, Any] = {
            "num_bins": num_bins,
            "edges": edges,
            "from_logits": from_logits,
            "ignore_label": ignore_label,
        }
        # Refuses options here and not when training starts.
        metrics.CalibrationMetrics(**self._options)
        if _checks.boolean("multi_label", multi_label):
            self._metric_type = metrics.LabelCalibrationMetrics
        self._data = (
            None if data is None else _monitor.Source("data", data, batch_size)
        )
        if self._data is not None:
            self._data.read(labeled=True)
        self._metrics: dict[str, Any] = {}
        self._tables: dict[str, tuple[calibration.Bins, ...]] = {}
        self._pass: Callable[[], None] | None = None
        self._broken: Any = None

    def __repr__(self) -> str:
        of = "the compiled metric" if self._data is None else "its own data"
        return f"<CalibrationMonitor {self.name!r} of {of}, freq={self.freq}>"

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuses what cannot be measured."""
        super().on_train_begin(logs)
        # The model may have been compiled anew since the last `fit`.
        self._metrics, self._pass = {}, None
        if self._data is not None:
            if self._metric_type is not metrics.LabelCalibrationMetrics:
                last_layer.check_single_label(self.model)
            examples = self._data.read(labeled=True, model=self.model)
            _monitor.choose(
                _monitor.name_outputs(self.model, examples), self._outputs
            )

    def _prepare(self, examples: examples_lib.Examples) -> None:
        """Creates the metrics, and the pass that updates them."""
        # Keras makes compiled metrics in the first step.
        found = self._find_heads(examples)
        with _monitor.scope(self.model):
            self._metrics = {
                name: self._make_metric(metric_type, name, head)
                for name, (metric_type, head) in found.items()
            }
            self._broken = keras.metrics.Sum()
        self._pass = data_pass.make(self.model, examples, self._update)

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the calibration of the validation set."""
        if self._data is not None and self._pass is None:
            self._prepare(self._data.read(labeled=True))
        if self._pass is not None:
            for metric in (*self._metrics.values(), self._broken):
                metric.reset_state()
            self._pass()
        else:
            found = self._find_compiled(validated)
            self._metrics = _monitor.choose(found, self._outputs)
        values = {}
        # Read by all of several workers, though one alone may draw.
        self._tables = {
            name: _read_tables(metric) for name, metric in self._metrics.items()
        }
        for name, metric in self._metrics.items():
            results = metric.results()
            self._check(name, metric, int(results["nonfinite"]))
            prefix = self._prefix(name)
            values.update(
                {
                    prefix + key: results[key]
                    for key in _keys_of(metric)
                    if key in results
                }
            )
        return values

    def write(self, step: int) -> None:
        """Writes values and figures."""
        for name, metric in self._metrics.items():
            prefix, keys = self._prefix(name), _keys_of(metric)
            tag = f"calibration/{name}" if name else "calibration"
            summaries.write_scalars(
                {
                    key: self.values[prefix + key]
                    for key in keys
                    if prefix + key in self.values
                },
                step=step,
                name=tag,
                descriptions=keys,
            )
            draws = (step + 1) % self._figures_every == 0
            if keys is LABEL_KEYS:
                (by_label,) = self._tables[name]
                together = [part.sum(axis=0) for part in by_label]
                summaries.write_table(together, step=step, name=tag)
                if draws:
                    summaries.write_label_bins(by_label, step=step, name=tag)
                continue
            fine, bins, ranked = self._tables[name]
            summaries.write_table(fine, step=step, name=tag)
            if draws:
                summaries.write_bins(bins, step=step, name=tag)
                summaries.write_risk_coverage(ranked, step=step, name=tag)

    def _prefix(self, output: str) -> str:
        """Returns what the names of an output's values in `logs` begin with."""
        return f"{self.name}_{output}_" if output else f"{self.name}_"

    def _find_heads(
        self, examples: examples_lib.Examples
    ) -> dict[str, tuple[type, Any]]:
        """Returns the metric of each output to measure, and the output.

        An output is symbolic, or that of the first batch.
        """
        named = _monitor.name_outputs(self.model, examples)
        if list(named) == [""]:
            return {"": (self._metric_type, named[""])}
        compiled = _compiled_metrics(self.model, self._compiled_types)
        types = {name: self._choose_type(compiled.get(name)) for name in named}
        if self._outputs:
            named = _monitor.choose(named, self._outputs)
            return {name: (types[name], named[name]) for name in named}
        heads = {
            name: (types[name], head)
            for name, head in named.items()
            if name in compiled
            or _is_classifier(
                self.model,
                head,
                by_label=types[name] is metrics.LabelCalibrationMetrics,
            )
        }
        if not heads:
            raise _checks.refusal(
                "CalibrationMonitor needs to know which outputs are of a"
                " classifier",
                f"outputs {list(named)} without `CalibrationMetrics`",
                f"Write e.g. `outputs=[{next(iter(named))!r}]`",
            )
        return heads

    def _choose_type(self, compiled: Any) -> type[keras.metrics.Metric]:
        """Returns what measures one of several outputs.

        Args:
            compiled: Its compiled metric, which says whether the output is of
                several labels; None leaves it to `multi_label`.
        """
        by_label = metrics.LabelCalibrationMetrics
        if compiled is None:
            return self._metric_type
        if isinstance(compiled, by_label):
            return by_label
        if self._metric_type is by_label:
            return metrics.CalibrationMetrics
        return self._metric_type

    def _find_compiled(self, validated: bool) -> dict[str, Any]:
        """Returns the compiled metrics of the validation set, by output."""
        monitor = type(self).__name__
        if not validated:
            raise _checks.refusal(
                f"{monitor} without `data` reads what `fit` has validated",
                "an epoch without validation",
                "Pass `validation_data` to `fit`, with `validation_freq` the"
                " same as `freq`; or give it `data`",
            )
        found = _compiled_metrics(self.model, self._compiled_types)
        if not found:
            names = [each.__name__ for each in self._compiled_types]
            raise _checks.refusal(
                f"{monitor} without `data` needs a compiled"
                f" `{'` or `'.join(names)}`",
                f"metrics {[metric.name for metric in self.model.metrics]}",
                f"Add `tf_mixup.metrics.{names[0]}()` to the metrics in"
                " `compile`; or give it `data`",
            )
        return found

    def _make_metric(self, metric_type: type, name: str, head: Any) -> Any:
        options = dict(self._options)
        if options["from_logits"] is None:
            options["from_logits"] = _gives_logits(self.model, head)
        metric = metric_type(**options, name=name or "ece")
        if len(head.shape) < 3 and head.shape[-1:] != (None,):
            # A strategy makes no variables inside of its replicas.
            columns = head.shape[1] if len(head.shape) == 2 else 1
            by_label = isinstance(metric, metrics.LabelCalibrationMetrics)
            metric.build(columns if by_label else max(columns, 2))
        return metric

    def _update(self, outputs: Any, labels: Any, weights: Any) -> None:
        """Adds a batch to the metrics."""
        named = named_outputs.by_name(outputs, self.model)
        names = list(named)
        labels = named_outputs.of_outputs(labels, names, what="labels")
        weights = named_outputs.of_outputs(
            weights, names, what="weights", shared=True
        )
        for name, metric in self._metrics.items():
            values = keras.ops.convert_to_tensor(named[name])
            metric.update_state(
                labels[name], values, sample_weight=weights.get(name)
            )
            broken = keras.ops.logical_not(keras.ops.isfinite(values))
            self._broken.update_state(keras.ops.cast(broken, "float32"))

    def _check(self, name: str, metric: Any, wrong: int) -> None:
        """Refuses a validation set with examples that were left out."""
        if not wrong:
            return
        by_label = isinstance(metric, metrics.LabelCalibrationMetrics)
        if not by_label:
            last_layer.check_single_label(self.model)
        finite, said = _loss_is_finite(self.model), metric.from_logits
        if self._pass is not None:
            finite = not float(self._broken.result())
            said = self._options["from_logits"]
        place = f" at the output {name!r}" if name else ""
        if by_label:
            raise _checks.refusal(
                "Predictions of the validation set must be probabilities of"
                " labels, and labels lie in [0, 1]",
                f"{wrong} entries that do not{place}",
                _remedy(finite, said, _LABELS),
            )
        raise _checks.refusal(
            "Predictions and labels of the validation set must be"
            " distributions over classes",
            f"{wrong} examples that are not{place}",
            _remedy(finite, said, _CLASSES),
        )


def _gives_logits(model: keras.Model, head: Any) -> bool | None:
    """Returns whether a symbolic output is logits; None if it is unknown."""
    if not isinstance(head, keras.KerasTensor):
        return None
    head_model = keras.Model(model.inputs, head)
    return last_layer.last_layer_gives_logits(head_model)


def _is_classifier(model: keras.Model, head: Any, *, by_label: bool) -> bool:
    """Returns whether an output is known to be of classes, or of labels."""
    if not isinstance(head, keras.KerasTensor):
        return False
    activation = last_layer.last_activation(keras.Model(model.inputs, head))
    if by_label or head.shape[-1] == 1:
        return activation == "sigmoid"
    return activation == "softmax"


def _keys_of(metric: Any) -> dict[str, str]:
    """Returns the values that a metric adds to `logs`, with descriptions."""
    by_label = isinstance(metric, metrics.LabelCalibrationMetrics)
    return LABEL_KEYS if by_label else CALIBRATION_KEYS


def _read_tables(metric: Any) -> tuple[calibration.Bins, ...]:
    """Returns fine, coarse and ranked bins; or those of each label."""
    if isinstance(metric, metrics.LabelCalibrationMetrics):
        tables = map(keras.ops.convert_to_numpy, metric.bins())
        return (calibration.Bins(*tables),)
    return metric.fine_bins(), metric.bins(), metric.ranked_bins()


def _compiled_metrics(
    model: keras.Model, types: tuple[type[keras.metrics.Metric], ...]
) -> dict[str, Any]:
    """Returns the first metric of these types of each output, by its name."""
    found: dict[str, Any] = {}
    for metric in model.metrics:
        # Keras keeps compiled metrics in one that holds the others, and whose
        # result has their names in `logs`, in the same order.
        held = getattr(metric, "metrics", ())
        pairs = zip(metric.result(), held, strict=True) if held else ()
        for name, each in ((metric.name, metric), *pairs):
            if isinstance(each, types):
                output = name.removesuffix(each.name).removesuffix("_")
                if output not in (getattr(metric, "output_names", None) or ()):
                    output = output.removesuffix("weighted").removesuffix("_")
                found.setdefault(output, each)
    return found


def _loss_is_finite(model: keras.Model) -> bool:
    """Returns whether the model's loss is a number; True if it is unknown."""
    losses = [metric for metric in model.metrics if metric.name == "loss"]
    return all(math.isfinite(float(loss.result())) for loss in losses)


def _remedy(finite: bool, from_logits: bool | None, labels: str) -> str:
    """Returns how to fix examples that could not be measured.

    Args:
        finite: Whether all predictions, or the loss, are finite.
        from_logits: The user's `from_logits`.
        labels: How to fix labels.
    """
    if not finite:
        return (
            "Look for NaN in the inputs, and for labels out of range; if there"
            " are none training has diverged: lower the learning rate"
        )
    if from_logits is False:
        return f"{labels}; leave `from_logits` out if outputs are logits"
    return labels


def _read_names(outputs: Any) -> tuple[str, ...] | None:
    """Returns names of outputs as a tuple; None for all."""
    if outputs is None:
        return None
    if not outputs:
        raise _checks.refusal(
            "`outputs` must name an output",
            f"outputs={outputs!r}",
            "Leave it out to measure all of a classifier",
        )
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)
