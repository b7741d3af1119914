"""Callbacks that measure calibration and detection during `fit`.

What they measure is in `logs` before any callback's `on_epoch_end`, and is
measured with the weights that were validated, wherever a monitor stands in the
list of callbacks; see `tf_mixup._validation_pass`.

Shapes: B and N examples, K classes.
"""

import abc
import contextlib
import copy
import math
import os
import pathlib
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import _data_pass
from tf_mixup import _examples
from tf_mixup import _model_calls
from tf_mixup import _named_outputs
from tf_mixup import _validation_pass
from tf_mixup import calibration
from tf_mixup import checks
from tf_mixup import layers
from tf_mixup import metrics
from tf_mixup import model_outputs
from tf_mixup import ood
from tf_mixup import summaries

# What CalibrationMonitor adds to `logs`, as `val_<key>`, and what TensorBoard
# says of it.
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
    "class_bias": "The largest difference over classes between the mean"
    " probability of a class and its share of the labels. A temperature cannot"
    " cure it.",
}
# What OODMonitor adds for each set, as `<set>_<key>`.
_OOD_KEYS = {
    "confidence": "Mean confidence on this set.",
    "auroc": "How well confidence separates examples of `reference` from this"
    " set's: 1 is always right, 0.5 is chance.",
    "aupr": "Area under precision and recall of finding examples of"
    " `reference` among this set's by confidence. Depends on the sizes of the"
    " sets.",
    "fpr95": "Share of this set's examples that pass for `reference` where"
    " 95 % of `reference` do.",
}
# Names that a legend, a tag and a file can show as they are.
_NAME = re.compile(r"[^\W_][\w .-]*")


class Monitor(keras.callbacks.Callback, abc.ABC):
    """Measures something each few epochs and puts it into `logs`.

    A subclass implements `measure` and `write`. Its values are in `logs`
    before any callback's `on_epoch_end`, in every epoch that `fit` validates
    in. In an epoch without validation they are added in the monitor's own
    `on_epoch_end`: then list it before the callbacks that read them.

    A copy, or a monitor that was pickled, is as new, and shares the data.

    Args:
        log_dir: Folder for TensorBoard's files, or None to write none.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1,
            the epochs in which `fit(validation_freq=every)` validates.
            Defaults to 1.

    Raises:
        ValueError: If `every` is below 1; when it is given a model that is not
            of Keras 3.
    """

    # The folder in `log_dir` that the files are written to.
    run_name = ""
    # What belongs to one training. No value is changed in place.
    _new: ClassVar[dict[str, Any]] = {
        "_model": None,
        "params": None,
        "values": {},
        "_due": False,
        "_writer": None,
    }

    def __init__(
        self,
        *,
        log_dir: str | os.PathLike[str] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        self.log_dir = None if log_dir is None else pathlib.Path(log_dir)
        self.every = checks.integer_at_least(
            "every", every, 1, remedy="Write 1 to measure in every epoch"
        )
        self.values: dict[str, float] = {}
        self._due = False
        self._writer: Any = None

    @abc.abstractmethod
    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the values to put into `logs`, by their whole names.

        Args:
            validated: Whether `fit` has just validated, so that the model's
                compiled metrics hold the validation set.
        """

    @abc.abstractmethod
    def write(self, step: int) -> None:
        """Writes what was measured last to the default summary writer."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns what copies and pickles keep: all but the training."""
        return {**vars(self), **self._new}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Monitor":
        """Returns a new monitor of the same data."""
        del memo
        return copy.copy(self)

    def set_model(self, model: keras.Model) -> None:
        """Takes the model that is trained."""
        _model_calls.check_model(model)
        super().set_model(model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Prepares to measure in the validation passes of this `fit`."""
        self._due = False
        self.values = {}
        _validation_pass.attach(self)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes whether to measure in this epoch."""
        self._due = (epoch + 1) % self.every == 0
        self.values = {}

    def measure_validated(self) -> None:
        """Measures at the end of `fit`'s own validation pass."""
        if self._due and not self.values:
            self.values = self.measure(validated=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes; measures in an epoch without validation."""
        if not self._due:
            return
        if not self.values:
            self.values = self.measure(validated=False)
        if logs is not None:
            logs.update(self.values)
        if self.log_dir is not None:
            # Here and not before: an epoch that did not end is run again.
            with self._open_writer(self.log_dir).as_default():
                self.write(epoch)
            self._writer.flush()
        self._due = False

    def on_train_end(self, logs: dict | None = None) -> None:
        """Gives the model its own `evaluate` back."""
        _validation_pass.detach(self.model)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open_writer(self, log_dir: pathlib.Path) -> Any:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(
                os.fspath(log_dir / self.run_name)
            )
        return self._writer


class CalibrationMonitor(Monitor):
    """Puts calibration of the validation set into `logs`, and draws it.

    Without `data` it costs no forward pass: a compiled metric of
    `tf_mixup.metrics` still holds the validation set when `fit`'s own pass
    ends. One metric gives all the values; the first one counts.

    With `data` it makes one pass of its own, under a strategy over all
    replicas, through the model's own `test_step`, `predict_step` or `predict`
    where it overrides one. The values have the same names; give another `name`
    if the data are not those of the compiled metric.

    Adds `val_ece`, `val_oe`, `val_mce`, `val_signed_gap` (mean confidence
    minus accuracy), `val_over` and `val_under` (the parts of ECE),
    `val_adaptive_ece`, `val_class_bias`, `val_nll` and `val_brier`. Confidence
    and accuracy themselves belong to Keras' metrics. ECE of few examples in
    many bins is mostly bias: see `tf_mixup.calibration`. A model of several
    outputs adds them as `val_<output>_ece`, ... for each output that has a
    metric of bins, and with `data` also for each that ends in a softmax or
    one sigmoid.

    `EarlyStopping("val_ece")` and `ModelCheckpoint(monitor="val_ece")` know
    which way is better from the compiled metric of that name. All other names
    need a `mode`: `"min"`, as each is better when it is nearer to 0. Keras'
    `TensorBoard` writes each value of `logs` as `epoch_<name>`; leave
    `log_dir` out if its curves are enough.

    Args:
        data: Batches of `(x, y)` or `(x, y, sample_weight)`, or such a tuple
            of arrays. None, the default, reads the compiled metric.
        name: What names in `logs` begin with. Defaults to `"val"`.
        log_dir: Folder for TensorBoard: values, reliability diagram,
            confidence histogram and the density of accuracy and confidence go
            to `<log_dir>/<validation, or name>`. None, the default, draws
            nothing.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1.
            Defaults to 1.
        num_bins: Bins, with `data`; else the compiled metric says.
            Defaults to 15.
        edges: `"right"` or `"left"`, with `data`. Defaults to `"right"`.
        from_logits: Whether outputs are logits, with `data`. None, the
            default, finds out.
        ignore_label: Class id of examples without a label, with `data`; None,
            the default, ignores none.
        outputs: Names of the outputs to measure, of a model that has several.
            None, the default, measures those said above.
        batch_size: Examples in a batch where `data` is arrays. Defaults to
            128.
        figures_every: Draws in epochs `figures_every`, `2 * figures_every`,
            ..., of those it measures in. Drawing takes half a second, and
            TensorBoard shows ten images of each kind. Defaults to 1.

    Raises:
        ValueError: If `data` is not what is asked for; when training starts
            if `outputs` are none of the model's, or it has several labels; at
            the end of an epoch if there is nothing to measure, or predictions
            are not finite.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(3, "softmax")])
        >>> model.compile("sgd", "sparse_categorical_crossentropy",
        ...               metrics=[metrics.CalibrationBins()])
        >>> x, y = np.ones((8, 2)), np.zeros(8, "int32")
        >>> history = model.fit(x, y, validation_data=(x, y), verbose=0,
        ...                     callbacks=[CalibrationMonitor()])
        >>> "val_oe" in history.history
        True
    """

    _new: ClassVar[dict[str, Any]] = {
        **Monitor._new,
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
        every: int = 1,
        num_bins: int = 15,
        edges: str = "right",
        from_logits: bool | None = None,
        ignore_label: int | None = None,
        outputs: Sequence[str] | None = None,
        batch_size: int = 128,
        figures_every: int = 1,
    ) -> None:
        super().__init__(log_dir=log_dir, every=every)
        self.name = _check_name("name", name)
        self.run_name = "validation" if name == "val" else name
        self._figures_every = checks.integer_at_least(
            "figures_every", figures_every, 1, remedy="Write 1 to draw always"
        )
        self._outputs = _read_names(outputs)
        self._options: dict[str, Any] = {
            "num_bins": num_bins,
            "edges": edges,
            "from_logits": from_logits,
            "ignore_label": ignore_label,
        }
        # Refuses options here and not when training starts.
        metrics.CalibrationBins(**self._options)
        self._data = None if data is None else _Source("data", data, batch_size)
        if self._data is not None:
            self._data.read(labeled=True)
        self._metrics: dict[str, Any] = {}
        self._tables: dict[str, tuple[calibration.Bins, ...]] = {}
        self._pass: Callable[[], None] | None = None
        self._broken: Any = None

    def __repr__(self) -> str:
        of = "the compiled metric" if self._data is None else "its own data"
        return f"<CalibrationMonitor {self.name!r} of {of}, every={self.every}>"

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuses what cannot be measured."""
        super().on_train_begin(logs)
        # The model may have been compiled anew since the last `fit`.
        self._metrics, self._pass = {}, None
        if self._data is not None:
            model_outputs.check_single_label(self.model)
            examples = self._data.read(labeled=True, model=self.model)
            _choose(_name_outputs(self.model, examples), self._outputs)

    def _prepare(self, examples: _examples.Examples) -> None:
        """Makes metrics, and the pass that updates them."""
        # Keras makes compiled metrics in the first step.
        heads = self._find_heads(examples)
        with _scope(self.model):
            self._metrics = {
                name: self._make_metric(name, head)
                for name, head in heads.items()
            }
            self._broken = keras.metrics.Sum()
        self._pass = _data_pass.make(self.model, examples, self._update)

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the calibration of the validation set."""
        if self._data is not None and self._pass is None:
            self._prepare(self._data.read(labeled=True))
        if self._pass is not None:
            for metric in (*self._metrics.values(), self._broken):
                metric.reset_state()
            self._pass()
        else:
            found = _find_compiled(self.model, validated)
            self._metrics = _choose(found, self._outputs)
        values = {}
        # Read by all of several workers, though one alone may draw.
        self._tables = {
            name: (metric.fine_bins(), metric.bins())
            for name, metric in self._metrics.items()
        }
        for name, metric in self._metrics.items():
            results = metric.results()
            self._check(name, metric, int(results["nonfinite"]))
            prefix = f"{self.name}_{name}_" if name else f"{self.name}_"
            values.update(
                {f"{prefix}{key}": results[key] for key in CALIBRATION_KEYS}
            )
        return values

    def write(self, step: int) -> None:
        """Writes values and figures."""
        for name, (fine, bins) in self._tables.items():
            prefix = f"{self.name}_{name}_" if name else f"{self.name}_"
            tag = f"calibration/{name}" if name else "calibration"
            summaries.write_scalars(
                {key: self.values[prefix + key] for key in CALIBRATION_KEYS},
                step=step,
                name=tag,
                descriptions=CALIBRATION_KEYS,
            )
            summaries.write_table(fine, step=step, name=tag)
            if (step + 1) % self._figures_every == 0:
                summaries.write_bins(bins, step=step, name=tag)

    def _find_heads(self, examples: _examples.Examples) -> dict[str, Any]:
        """Returns the outputs to measure, symbolic or of the first batch."""
        named = _name_outputs(self.model, examples)
        if self._outputs or len(named) == 1:
            return _choose(named, self._outputs)
        metered = _compiled_metrics(self.model)
        heads = {
            name: head
            for name, head in named.items()
            if name in metered or _gives_logits(self.model, head) is False
        }
        if not heads:
            raise checks.refusal(
                "CalibrationMonitor needs to know which outputs are of a"
                " classifier",
                f"outputs {list(named)} without a metric of bins",
                f"Write e.g. `outputs=[{next(iter(named))!r}]`",
            )
        return heads

    def _make_metric(self, name: str, head: Any) -> Any:
        options = dict(self._options)
        if options["from_logits"] is None:
            options["from_logits"] = _gives_logits(self.model, head)
        metric = metrics.CalibrationBins(**options, name=name or "ece")
        if len(head.shape) < 3 and head.shape[-1:] != (None,):
            # A strategy makes no variables inside of its replicas.
            columns = head.shape[1] if len(head.shape) == 2 else 1
            metric.build(max(columns, 2))
        return metric

    def _update(self, outputs: Any, labels: Any, weights: Any) -> None:
        """Adds a batch to the metrics."""
        named = _named_outputs.by_name(outputs, self.model)
        names = list(named)
        labels = _named_outputs.of_outputs(labels, names, what="labels")
        weights = _named_outputs.of_outputs(
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
        """Refuses a validation set of which examples were left out."""
        if not wrong:
            return
        model_outputs.check_single_label(self.model)
        finite, said = _loss_is_finite(self.model), metric.from_logits
        if self._pass is not None:
            finite = not float(self._broken.result())
            said = self._options["from_logits"]
        raise checks.refusal(
            "Predictions and labels of the validation set must be"
            " distributions over classes",
            f"{wrong} examples that are not"
            + (f" at the output {name!r}" if name else ""),
            _remedy(finite, said),
        )


class OODMonitor(Monitor):
    """Puts confidence outside of the training distribution into `logs`.

    A set's examples are scored by their confidence, which should separate
    them from those of `reference`. Adds for each set `<set>_confidence` (its
    mean), `<set>_auroc`, `<set>_aupr` (finding reference examples) and
    `<set>_fpr95`; and `reference_confidence`. Measures are exact;
    `tf_mixup.ood` says how packages differ in what they count as positive.
    AUPR depends on the sizes of the sets. It measures what `model.predict`
    says.

    Args:
        sets: Name of a set to its examples: batches of `x`, or of
            `(x, y, ...)` of which `y` is not looked at, or such arrays. A list
            of arrays is stacked. Integer names are taken as text.
        reference: Examples like those of the training; the validation set is
            the usual choice.
        noise: Further sets, drawn once with the type, shape, mean and variance
            of the reference's examples: some of `"gaussian"`, `"uniform"`.
        log_dir: Folder for TensorBoard: values and histograms of confidence
            go to `<log_dir>/ood`. None, the default, draws nothing.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1.
            Defaults to 1.
        max_rows: Examples to take of each set, the first ones, and to draw of
            noise; None for all. Defaults to 1024.
        seed: Fixes the noise. Defaults to 0.
        from_logits: Whether outputs are logits. None, the default, finds out.
        output: Name of the output to measure, of a model that has several.
        batch_size: Examples in a batch where a set is arrays. Defaults to 128.
        model: What predicts, and takes the examples of the sets. For a twin of
            `layers.training_twin` give the model that it was made of. None,
            the default, is the model that is trained.

    Raises:
        ValueError: If sets have unusable names or examples, or there are none;
            when training starts, if its model is a twin and examples have no
            plan, or has several outputs or several labels; at the end of an
            epoch, if predictions are not distributions.

    Example:
        >>> monitor = OODMonitor(
        ...     {"zeros": np.zeros((50, 4), "float32")},
        ...     reference=np.eye(4, dtype="float32"))
        >>> sorted(monitor.names)
        ['gaussian', 'reference', 'uniform', 'zeros']
    """

    run_name = "ood"
    _new: ClassVar[dict[str, Any]] = {
        **Monitor._new,
        "_confidences": {},
        "_are_logits": None,
    }

    def __init__(
        self,
        sets: Mapping[str | int, Any],
        *,
        reference: Any,
        noise: Sequence[str] = ood.NOISES,
        log_dir: str | os.PathLike[str] | None = None,
        every: int = 1,
        max_rows: int | None = 1024,
        seed: int = 0,
        from_logits: bool | None = None,
        output: str | None = None,
        batch_size: int = 128,
        model: keras.Model | None = None,
    ) -> None:
        super().__init__(log_dir=log_dir, every=every)
        names = _check_names(sets, noise)
        if model is not None:
            _model_calls.check_model(model)
        self._predictor = model
        self._from_logits = from_logits
        self._output = output
        self._confidences: dict[str, np.ndarray] = {}
        self._are_logits: bool | None = None

        def prepare(name: str, data: Any) -> _Source:
            return _Source(name, data, batch_size, max_rows)

        self._sets = {"reference": prepare("reference", reference)}
        for name, key in names.items():
            self._sets[name] = prepare(f"sets[{key!r}]", sets[key])
        self._read(model)
        if noise:
            inputs = self._only_array()
            for index, kind in enumerate(noise):
                drawn = ood.noise_like(inputs, kind=kind, seed=seed + index)
                self._sets[kind] = prepare(kind, drawn)

    def __repr__(self) -> str:
        return f"<OODMonitor of {', '.join(self.names)}, every={self.every}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets, `"reference"` first."""
        return tuple(self._sets)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuses a model whose confidence is not defined."""
        super().on_train_begin(logs)
        model = self.model if self._predictor is None else self._predictor
        sets = self._read(model)
        inputs = next(sets["reference"].batches()).inputs
        if layers.takes_plan(
            getattr(model, "input", None)
        ) and not layers.takes_plan(inputs):
            shapes = [leaf.shape for leaf in keras.tree.flatten(inputs)]
            raise checks.refusal(
                "A twin predicts only examples that come with a plan",
                f"a twin in training, and examples of shapes {shapes}",
                "Give the model that it was made of, as"
                " `OODMonitor(..., model=model)`",
            )
        outputs = self._choose(model, _model_calls.predict(model, inputs))
        self._are_logits = model_outputs.are_logits(
            outputs, self._from_logits, model=_head_of(model, self._output)
        )

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the confidence on each set, and its measures."""
        del validated
        model = self.model if self._predictor is None else self._predictor
        scores = {
            name: self._score(model, name, examples)
            for name, examples in self._read(model).items()
        }
        self._confidences = scores
        inside = scores["reference"]
        values = {"reference_confidence": float(inside.mean())}
        for name in self.names[1:]:
            outside = scores[name]
            values[f"{name}_confidence"] = float(outside.mean())
            values[f"{name}_auroc"] = ood.auroc(inside, outside)
            values[f"{name}_aupr"] = ood.aupr_in(inside, outside)
            values[f"{name}_fpr95"] = ood.fpr_at_95_tpr(inside, outside)
        return values

    def write(self, step: int) -> None:
        """Writes values and histograms."""
        summaries.write_scalars(
            self.values,
            step=step,
            name="ood",
            descriptions={
                name: _OOD_KEYS[name.rpartition("_")[2]] for name in self.values
            },
        )
        summaries.write_confidences(self._confidences, step=step)

    def _read(self, model: keras.Model | None) -> dict[str, _examples.Examples]:
        return {
            name: source.read(labeled=False, model=model)
            for name, source in self._sets.items()
        }

    def _only_array(self) -> np.ndarray:
        """Returns the reference's inputs, if they are one array."""
        batches = self._read(self._predictor)["reference"].batches()
        inputs = [batch.inputs for batch in batches]
        if keras.tree.is_nested(inputs[0]):
            shapes = [leaf.shape for leaf in keras.tree.flatten(inputs[0])]
            raise checks.refusal(
                "Noise is drawn for inputs that are one array",
                f"several inputs of shapes {shapes}",
                "Write `noise=()` and give a set of examples of your own",
            )
        return np.concatenate(inputs)

    def _choose(self, model: keras.Model, outputs: Any) -> np.ndarray:
        """Returns the output to measure."""
        named = _named_outputs.by_name(outputs, model)
        if self._output is None and len(named) > 1:
            raise checks.refusal(
                "OODMonitor measures one output",
                f"a model of outputs {list(named)}",
                f"Write e.g. `output={next(iter(named))!r}`",
            )
        chosen = None if self._output is None else (self._output,)
        return next(iter(_choose(named, chosen).values()))

    def _score(
        self, model: keras.Model, name: str, examples: _examples.Examples
    ) -> np.ndarray:
        predicted = _model_calls.predict_examples(model, examples)
        outputs = self._choose(model, predicted.outputs)
        if predicted.weights is not None:
            outputs = outputs[np.ravel(predicted.weights) != 0]
        scores = keras.ops.convert_to_numpy(
            ood.confidence(outputs, from_logits=self._are_logits)
        )
        wrong = int(np.sum(~np.isfinite(scores)))
        if wrong:
            raise checks.refusal(
                "Predictions must be distributions over classes",
                f"{wrong} of {scores.size} examples of the set {name!r} that"
                " are not",
                "Look for NaN in these examples; if there are none training has"
                " diverged: lower the learning rate",
            )
        return scores


class _Source:
    """Data as they were given, and how to read them.

    Args:
        name: What messages call the data.
        data: Of any form that `_examples.read` takes.
        batch_size: Examples in a batch where data are arrays.
        max_rows: Examples to stop after; None for all.
    """

    def __init__(
        self,
        name: str,
        data: Any,
        batch_size: int,
        max_rows: int | None = None,
    ) -> None:
        self._name = name
        self._data = data
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "max_rows": max_rows,
        }
        self._examples: _examples.Examples | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what is pickled: the data as they were given."""
        if isinstance(self._data, tf.data.Dataset):
            raise checks.refusal(
                "A monitor is pickled with its data",
                f"{self._name} of a tf.data.Dataset, which cannot be",
                "Give arrays; `copy.deepcopy` shares a dataset",
            )
        return {**vars(self), "_examples": None}

    def read(
        self, *, labeled: bool, model: keras.Model | None = None
    ) -> _examples.Examples:
        """Returns the examples; refuses data without any."""
        held = isinstance(self._data, (list, tuple, Mapping)) or hasattr(
            self._data, "shape"
        )
        # What a list holds, examples or inputs, a model of several inputs
        # knows.
        if self._examples is None or (held and model is not None):
            examples = _examples.read(
                self._data,
                name=self._name,
                labeled=labeled,
                model=model,
                **self._options,
            )
            if held or not examples.num_batches:
                # Says what is missing.
                next(examples.batches())
            self._examples = examples
        return self._examples


def _scope(model: keras.Model) -> Any:
    """Returns the scope in which the model's variables are made."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


def _name_outputs(
    model: keras.Model, examples: _examples.Examples
) -> dict[str, Any]:
    """Returns the model's outputs by name, symbolic or of the first batch."""
    if _model_calls.runs_plainly(model):
        sequential = isinstance(model, keras.Sequential)
        outputs = model.outputs if sequential else model.output
    else:
        inputs = next(examples.batches()).inputs
        outputs = _model_calls.predict(model, inputs)
    return _named_outputs.by_name(outputs, model)


def _choose(
    named: dict[str, Any], outputs: Sequence[str] | None
) -> dict[str, Any]:
    """Returns the outputs of given names; all if there are none."""
    if outputs is None or list(named) == [""]:
        return named
    unknown = [name for name in outputs if name not in named]
    if unknown:
        raise checks.refusal(
            "Outputs to measure must be outputs of the model that can be"
            " measured",
            f"{unknown} for a model of {list(named)}",
            "Write one of these names; without `data` give it a metric of bins",
        )
    return {name: named[name] for name in outputs}


def _head_of(model: keras.Model, output: str | None) -> keras.Model | None:
    """Returns the model of one output whose last layer can be looked at."""
    if not _model_calls.runs_plainly(model):
        return None
    if output is None or len(model.outputs) == 1:
        return model
    named = _named_outputs.by_name(model.output, model)
    return keras.Model(model.inputs, named[output])


def _gives_logits(model: keras.Model, head: Any) -> bool | None:
    """Returns whether a symbolic output is logits; None if it is unknown."""
    if not isinstance(head, keras.KerasTensor):
        return None
    head_model = keras.Model(model.inputs, head)
    return model_outputs.last_layer_gives_logits(head_model)


def _find_compiled(model: keras.Model, validated: bool) -> dict[str, Any]:
    """Returns the compiled metrics that hold the validation set, by output."""
    if not validated:
        raise checks.refusal(
            "CalibrationMonitor without `data` reads what `fit` has validated",
            "an epoch without validation",
            "Pass `validation_data` to `fit`, with `validation_freq` the same"
            " as `every`; or write `CalibrationMonitor(data)`",
        )
    found = _compiled_metrics(model)
    if not found:
        raise checks.refusal(
            "CalibrationMonitor without `data` needs a compiled metric of bins",
            f"metrics {[metric.name for metric in model.metrics]}",
            "Add `tf_mixup.metrics.CalibrationBins()` to the metrics in"
            " `compile`; or write `CalibrationMonitor(data)`",
        )
    return found


def _compiled_metrics(model: keras.Model) -> dict[str, Any]:
    """Returns the first metric of bins of each output, by its name."""
    found: dict[str, Any] = {}
    for metric in model.metrics:
        # Keras keeps compiled metrics in one that holds the others, and whose
        # result has their names in `logs`, in the same order.
        held = getattr(metric, "metrics", ())
        pairs = zip(metric.result(), held, strict=True) if held else ()
        for name, each in ((metric.name, metric), *pairs):
            if isinstance(each, metrics.CalibrationBins):
                output = name.removesuffix(each.name).removesuffix("_")
                if output not in (getattr(metric, "output_names", None) or ()):
                    output = output.removesuffix("weighted").removesuffix("_")
                found.setdefault(output, each)
    return found


def _loss_is_finite(model: keras.Model) -> bool:
    """Returns whether the model's loss is a number; True if it is unknown."""
    losses = [metric for metric in model.metrics if metric.name == "loss"]
    return all(math.isfinite(float(loss.result())) for loss in losses)


def _remedy(finite: bool, from_logits: bool | None) -> str:
    """Returns what to do about examples that could not be measured.

    Args:
        finite: Whether all predictions, or the loss, are numbers.
        from_logits: What was said of the outputs.
    """
    if not finite:
        return (
            "Look for NaN in the inputs, and for labels out of range; if there"
            " are none training has diverged: lower the learning rate"
        )
    labels = (
        "Count classes from 0, and leave out examples without a label by a"
        " weight of 0, or by `ignore_label=-1`"
    )
    if from_logits is False:
        return f"{labels}; leave `from_logits` out if outputs are logits"
    return labels


def _read_names(outputs: Any) -> tuple[str, ...] | None:
    """Returns names of outputs as a tuple; None for all."""
    if outputs is None:
        return None
    if not outputs:
        raise checks.refusal(
            "`outputs` must name an output",
            f"outputs={outputs!r}",
            "Leave it out to measure all of a classifier",
        )
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def _check_name(argument: str, name: Any) -> str:
    """Returns a name that logs, tags and figures can show."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise checks.refusal(
            f"`{argument}` must be letters, digits, spaces, '_', '-' and '.',"
            " and begin with a letter or digit",
            f"{argument}={name!r}",
            "Choose a name that figures and TensorBoard can show",
        )
    return name


def _check_names(
    sets: Mapping[str | int, Any], noise: Sequence[str]
) -> dict[str, str | int]:
    """Returns the names of sets, as text, with their keys."""
    remedy = "Write e.g. `noise=('gaussian',)`, or `noise=()` for none"
    if isinstance(noise, str):
        raise checks.refusal(
            "`noise` is a sequence of names", f"noise={noise!r}", remedy
        )
    for kind in noise:
        checks.one_of("noise", kind, ood.NOISES)
    if not isinstance(sets, Mapping):
        raise checks.refusal(
            "`sets` must be a dictionary of named sets",
            f"a {type(sets).__name__}",
            "Write e.g. `{'far': images}`",
        )
    whole = (int, np.integer)
    keys = {str(key) if isinstance(key, whole) else key: key for key in sets}
    for name in keys:
        _check_name("the name of a set", name)
    names = [*keys, *noise]
    if not names:
        raise checks.refusal(
            "OODMonitor needs a set to compare with the reference",
            "no sets and no noise",
            "Name some examples in `sets`, or some noise",
        )
    if len({*names, "reference"}) < len(sets) + len(noise) + 1:
        raise checks.refusal(
            "Names of sets must differ, from 'reference' and from the noise's"
            " too",
            f"sets {list(sets)} with noise {list(noise)}",
            "Rename the set, or leave this noise out of `noise`",
        )
    return keys
