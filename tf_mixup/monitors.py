"""Callbacks that measure calibration and detection during `fit`.

`EarlyStopping`, `ModelCheckpoint` and `TensorBoard` read `logs` at the end of
an epoch in the order of the list of callbacks. A monitor must not depend on
its place there. So it measures when `fit`'s own validation pass ends, and its
values leave `evaluate` together with Keras' own: `fit` calls the method
`evaluate` of the model, which monitors replace on the instance from
`on_train_begin` to `on_train_end`.
"""

import abc
import collections
import contextlib
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_mixup import calibration
from tf_mixup import checks
from tf_mixup import layers
from tf_mixup import metrics
from tf_mixup import ood
from tf_mixup import summaries

# What CalibrationMonitor adds to `logs`, as `val_<key>`, and what TensorBoard
# says of it.
CALIBRATION_KEYS = {
    "ece": "How far confidence is from accuracy: the mean over bins, weighted"
    " by their rows. Few rows in many bins raise it.",
    "oe": "The cost of overconfidence: the gaps of overconfident bins, weighted"
    " by their rows and confidence. Underconfidence costs nothing.",
    "nll": "Mean negative log-likelihood of the labels, in nats.",
    "brier": "Mean squared distance of probabilities from labels, in [0, 2].",
    "mce": "How far confidence is from accuracy in the worst bin.",
    "signed_gap": "Mean confidence minus accuracy: above 0 is overconfident,"
    " below 0 underconfident.",
    "over": "The part of `ece` in overconfident bins.",
    "under": "The part of `ece` in underconfident bins.",
    "adaptive_ece": "`ece` over bins of equally many rows, estimated.",
}
# What OODMonitor adds for each set, as `<set>_<key>`, likewise.
_OOD_KEYS = {
    "confidence": "Mean confidence on this set.",
    "auroc": "How well confidence tells rows of `reference` from this set's:"
    " 1 is always right, 0.5 is chance.",
    "aupr": "Area under precision and recall of finding rows of `reference`"
    " among this set's by confidence. Depends on the sizes of the sets.",
    "fpr95": "Share of this set's rows that pass for `reference` where 95 % of"
    " `reference` do.",
}


class Monitor(keras.callbacks.Callback, abc.ABC):
    """Measures something each few epochs and puts it into `logs`.

    A subclass implements `measure` and `write`. Its values are in `logs`
    before any callback's `on_epoch_end`, in every epoch that `fit` validates
    in. In an epoch without validation they are added in the monitor's own
    `on_epoch_end`: then list it before the callbacks that read them.

    Args:
        log_dir: Folder for TensorBoard's files, or None to write none.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1,
            the epochs in which `fit(validation_freq=every)` validates.
            Defaults to 1.

    Raises:
        ValueError: If `every` is below 1.
    """

    # The folder in `log_dir` that the files are written to.
    run_name = ""

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

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Hooks itself into the model's `evaluate`."""
        self._due = False
        self.values = {}
        _Evaluate.install(self)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes whether to measure in this epoch."""
        self._due = (epoch + 1) % self.every == 0
        self.values = {}

    def on_test_end(self, logs: dict | None = None) -> None:
        """Measures when `fit` has validated."""
        # Only `fit`'s own pass calls this: its list of callbacks has `self`.
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
        _Evaluate.remove(self)
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

    With `data` it makes one compiled pass of its own, under a strategy over
    all replicas. The values have the same names.

    Adds `val_ece`, `val_oe`, `val_mce`, `val_signed_gap` (mean confidence
    minus accuracy), `val_over` and `val_under` (the parts of ECE),
    `val_adaptive_ece`, `val_nll` and `val_brier`. Confidence and accuracy
    themselves belong to Keras' metrics. ECE of few rows in many bins is
    mostly bias: see `tf_mixup.calibration`. Keras cannot tell which way these
    improve: give `EarlyStopping` and `ModelCheckpoint` a `mode`.

    Args:
        data: Batches of `(x, y)` or `(x, y, sample_weight)`, or such a tuple
            of arrays. None, the default, reads the compiled metric.
        log_dir: Folder for TensorBoard: values, reliability diagram,
            confidence histogram and the density of accuracy and confidence go
            to `<log_dir>/validation`. None, the default, draws nothing.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1.
            Defaults to 1.
        num_bins: Bins, with `data`; else the compiled metric says.
            Defaults to 15.
        edges: `"right"` or `"left"`, with `data`. Defaults to `"right"`.
        from_logits: Whether outputs are logits, with `data`. Defaults to
            `False`.
        batch_size: Rows in a batch where `data` is arrays. Defaults to 128.
        figures_every: Draws in epochs `figures_every`, `2 * figures_every`,
            ..., of those it measures in. Drawing takes half a second, and
            TensorBoard shows ten images of each kind. Defaults to 1.

    Raises:
        ValueError: If `data` is not what is asked for; at the end of an epoch
            if there is nothing to measure, or predictions are not finite.

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

    run_name = "validation"

    def __init__(
        self,
        data: Any = None,
        *,
        log_dir: str | os.PathLike[str] | None = None,
        every: int = 1,
        num_bins: int = 15,
        edges: str = "right",
        from_logits: bool = False,
        batch_size: int = 128,
        figures_every: int = 1,
    ) -> None:
        super().__init__(log_dir=log_dir, every=every)
        self._figures_every = checks.integer_at_least(
            "figures_every", figures_every, 1, remedy="Write 1 to draw always"
        )
        self._data = None if data is None else _batches(data, batch_size)
        self._make_metric = lambda: metrics.CalibrationBins(
            num_bins, edges=edges, from_logits=from_logits
        )
        self._metric: Any = None
        self._tables: tuple[calibration.Bins, ...] = ()
        self._pass: Callable[[], None] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Compiles the pass over `data`, if there is any."""
        super().on_train_begin(logs)
        # The model may have been compiled anew since the last `fit`.
        self._metric = self._pass = None
        if self._data is not None:
            with _scope(self.model):
                self._metric = self._make_metric()
            compile_pass = (
                _compile_pass if _on_tensorflow() else _compile_batches
            )
            self._pass = compile_pass(self.model, self._metric, self._data)

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the calibration of the validation set."""
        if self._pass is not None:
            self._metric.reset_state()
            self._pass()
        else:
            self._metric = _find_compiled(self.model, validated)
        results = self._metric.results()
        # Read by all of several workers, though one alone may draw.
        self._tables = self._metric.fine_bins(), self._metric.bins()
        wrong = int(results["nonfinite"])
        if wrong:
            raise checks.refusal(
                "Predictions and labels of the validation set must be"
                " distributions over classes",
                f"{wrong} rows that are not",
                _mend(self._metric.from_logits)
                + "; if it is the labels, count classes from 0",
            )
        return {f"val_{key}": float(results[key]) for key in CALIBRATION_KEYS}

    def write(self, step: int) -> None:
        """Writes values and figures."""
        values = {key[len("val_") :]: x for key, x in self.values.items()}
        summaries.write_scalars(
            values,
            step=step,
            name="calibration",
            descriptions=CALIBRATION_KEYS,
        )
        fine, bins = self._tables
        summaries.write_table(fine, step=step)
        if (step + 1) % self._figures_every == 0:
            summaries.write_bins(bins, step=step)


class OODMonitor(Monitor):
    """Puts confidence outside of the training distribution into `logs`.

    A set's rows are scored by their confidence, and told from those of
    `reference` by it. Adds for each set `<set>_confidence` (its mean),
    `<set>_auroc`, `<set>_aupr` (finding reference rows) and `<set>_fpr95`;
    and `reference_confidence`. Measures are exact; see `tf_mixup.ood`. AUPR
    depends on the sizes of the sets.

    Args:
        sets: Name of a set to its rows: batches of `x`, or of `(x, y, ...)`
            of which `y` is not looked at, or such arrays.
        reference: Rows like those of the training, likewise; the validation
            set is the usual choice.
        noise: Further sets, drawn once with the shape, mean and variance of
            the reference's rows: some of `"gaussian"`, `"uniform"`.
        log_dir: Folder for TensorBoard: values and histograms of confidence
            go to `<log_dir>/ood`. None, the default, draws nothing.
        every: Measures in epochs `every`, `2 * every`, ... counted from 1.
            Defaults to 1.
        max_rows: Rows to take of each set, the first ones, and to draw of
            noise; None for all. Defaults to 1024.
        seed: Fixes the noise. Defaults to 0.
        from_logits: Whether outputs are logits. Defaults to `False`.
        batch_size: Rows in a batch where rows are arrays. Defaults to 128.
        model: What predicts, and takes the rows of the sets. For a twin of
            `layers.training_twin` give the model that it was made of. None,
            the default, is the model that is trained.

    Raises:
        ValueError: If sets have unusable names or rows, or there are none;
            when training starts, if its model is a twin and rows have no
            plan; at the end of an epoch, if predictions are no distributions.

    Example:
        >>> monitor = OODMonitor(
        ...     {"zeros": np.zeros((50, 4), "float32")},
        ...     reference=np.eye(4, dtype="float32"))
        >>> sorted(monitor.names)
        ['gaussian', 'reference', 'uniform', 'zeros']
    """

    run_name = "ood"

    def __init__(
        self,
        sets: Mapping[str, Any],
        *,
        reference: Any,
        noise: Sequence[str] = ood.NOISES,
        log_dir: str | os.PathLike[str] | None = None,
        every: int = 1,
        max_rows: int | None = 1024,
        seed: int = 0,
        from_logits: bool = False,
        batch_size: int = 128,
        model: keras.Model | None = None,
    ) -> None:
        super().__init__(log_dir=log_dir, every=every)
        _check_names(sets, noise)
        self._predictor = model
        self._from_logits = from_logits
        self._max_rows = max_rows
        self._confidences: dict[str, np.ndarray] = {}

        def prepare(data: Any) -> tf.data.Dataset:
            return _first_rows(_batches(data, batch_size), max_rows)

        self._sets = {"reference": prepare(reference)}
        self._sets.update({name: prepare(sets[name]) for name in sets})
        if noise:
            rows = _only_array(self._sets["reference"])[:max_rows]
            for index, kind in enumerate(noise):
                drawn = ood.noise_like(rows, kind=kind, seed=seed + index)
                self._sets[kind] = prepare(drawn)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuses to predict with a model that wants a plan with its rows."""
        super().on_train_begin(logs)
        rows = self._sets["reference"].element_spec
        wanted = layers.takes_plan(getattr(self.model, "input", None))
        if self._predictor is None and wanted and not layers.takes_plan(rows):
            raise checks.refusal(
                "A twin predicts rows that come with a plan only",
                f"a twin in training, and rows {rows}",
                "Give the model that it was made of, as"
                " `OODMonitor(..., model=model)`",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets, `"reference"` first."""
        return tuple(self._sets)

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the confidence on each set, and its measures."""
        del validated
        scores = {name: self._score(name) for name in self._sets}
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

    def _score(self, name: str) -> np.ndarray:
        model = self.model if self._predictor is None else self._predictor
        outputs = model.predict(self._sets[name], verbose=0)
        scores = ood.confidence(
            outputs[: self._max_rows], from_logits=self._from_logits
        )
        scores = keras.ops.convert_to_numpy(scores)
        wrong = int(np.sum(~np.isfinite(scores)))
        if wrong:
            raise checks.refusal(
                "Predictions must be distributions over classes",
                f"{wrong} of {scores.size} rows of the set {name!r} that are"
                " not",
                _mend(self._from_logits),
            )
        return scores


class _Evaluate:
    """The model's `evaluate` during `fit`: adds what monitors measured.

    One for all monitors of a `fit`. Values go into a nested dictionary, which
    Keras flattens after it has prefixed the names on top with `val_`.
    """

    def __init__(self, evaluate: Callable[..., Any], params: dict) -> None:
        self._evaluate = evaluate
        self._params = params
        self._monitors: list[Monitor] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        logs = self._evaluate(*args, **kwargs)
        # A call from elsewhere finds values only of an epoch that has some.
        if isinstance(logs, dict) and "callbacks" in kwargs:
            values = [monitor.values for monitor in self._monitors]
            logs = {**logs, "monitors": dict(collections.ChainMap(*values))}
        return logs

    @classmethod
    def install(cls, monitor: Monitor) -> None:
        """Has the model's `evaluate` add this monitor's values."""
        model = monitor.model
        # Callbacks of one `fit` share this dictionary. A `fit` that crashed
        # left a hook with another one.
        cls.discard(model, unless=monitor.params)
        if not isinstance(model.evaluate, cls):
            model.evaluate = cls(model.evaluate, monitor.params)
        model.evaluate._monitors.append(monitor)

    @classmethod
    def remove(cls, monitor: Monitor) -> None:
        """Restores the model's own `evaluate`."""
        cls.discard(monitor.model)

    @classmethod
    def discard(cls, model: keras.Model, unless: dict | None = None) -> None:
        """Takes the hook off, unless it belongs to the current `fit`."""
        hook = model.evaluate
        if not isinstance(hook, cls) or hook._params is unless:
            return
        del model.evaluate
        if model.evaluate != hook._evaluate:
            # It was replaced on the instance before.
            model.evaluate = hook._evaluate


def _scope(model: keras.Model) -> Any:
    """Returns the scope in which the model's variables are made."""
    if _on_tensorflow():
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


def _on_tensorflow() -> bool:
    return keras.backend.backend() == "tensorflow"


def _compile_pass(
    model: keras.Model, metric: Any, data: tf.data.Dataset
) -> Callable[[], None]:
    """Returns a function that updates `metric` with all of `data`.

    The loop is inside one graph: a call for each batch takes three times as
    long on two replicas.
    """
    strategy = model.distribute_strategy
    batches = strategy.experimental_distribute_dataset(data)

    def update(batch: Any) -> None:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        metric.update_state(y, model(x, training=False), sample_weight=weight)

    @tf.function(reduce_retracing=True)
    def run(batches: Any) -> None:
        for batch in batches:
            strategy.run(update, args=(batch,))

    return lambda: run(batches)


def _compile_batches(
    model: keras.Model, metric: Any, data: tf.data.Dataset
) -> Callable[[], None]:
    """Does what `_compile_pass` does on Keras' other backends."""

    def run() -> None:
        for batch in data.as_numpy_iterator():
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            outputs = model.predict_on_batch(x)
            metric.update_state(y, outputs, sample_weight=weight)

    return run


def _find_compiled(model: keras.Model, validated: bool) -> Any:
    """Returns the compiled metric that holds the validation set."""
    if not validated:
        raise checks.refusal(
            "CalibrationMonitor without `data` reads what `fit` has validated",
            "an epoch without validation",
            "Pass `validation_data` to `fit`, with `validation_freq` the same"
            " as `every`; or write `CalibrationMonitor(data)`",
        )
    for metric in model.metrics:
        # Keras keeps compiled metrics in one that holds the others.
        for each in (metric, *getattr(metric, "metrics", ())):
            if isinstance(each, metrics.CalibrationBins):
                return each
    raise checks.refusal(
        "CalibrationMonitor without `data` needs a compiled metric of bins",
        f"metrics {[metric.name for metric in model.metrics]}",
        "Add `tf_mixup.metrics.CalibrationBins()` to the metrics in"
        " `compile`; or write `CalibrationMonitor(data)`",
    )


def _mend(from_logits: bool) -> str:
    """Tells what to do about outputs that are no distributions."""
    diverged = "If they are NaN training has diverged: lower the learning rate"
    if from_logits:
        return diverged
    return f"Write `from_logits=True` if outputs are logits. {diverged}"


def _batches(data: Any, batch_size: int) -> tf.data.Dataset:
    """Returns a finite dataset of batches of what may be arrays."""
    if not isinstance(data, tf.data.Dataset):
        tensors = tuple(data) if isinstance(data, list) else data
        data = tf.data.Dataset.from_tensor_slices(tensors).batch(batch_size)
    _check_length(int(data.cardinality()))
    return data


def _check_length(length: int) -> None:
    if length in (0, tf.data.INFINITE_CARDINALITY):
        raise checks.refusal(
            "A monitor's data must have rows and come to an end",
            "an endless dataset" if length else "an empty dataset",
            "Leave `.repeat()` out, or write `.take(n)`"
            if length
            else "Look at how the dataset is made",
        )


def _first_rows(data: tf.data.Dataset, max_rows: int | None) -> tf.data.Dataset:
    """Returns batches of inputs alone, with at least the first rows."""

    def inputs_of(*element: Any) -> Any:
        return element[0]

    if isinstance(data.element_spec, tuple):
        data = data.map(inputs_of)
    if max_rows is not None:
        checks.integer_at_least(
            "max_rows", max_rows, 1, remedy="Write None to take all rows"
        )
        for batch in data.take(1):
            size = int(tf.nest.flatten(batch)[0].shape[0])
            data = data.take(-(-max_rows // size))
    if data.cardinality() == tf.data.UNKNOWN_CARDINALITY:
        # Keras warns at the end of a dataset whose length it does not know.
        length = int(data.reduce(np.int64(0), lambda n, _: n + 1))
        _check_length(length)
        data = data.apply(tf.data.experimental.assert_cardinality(length))
    return data


def _only_array(data: tf.data.Dataset) -> np.ndarray:
    """Returns the rows of a dataset of plain tensors."""
    if not isinstance(data.element_spec, tf.TensorSpec):
        raise checks.refusal(
            "Noise is drawn for inputs that are one array",
            f"inputs {data.element_spec}",
            "Write `noise=()` and give a set of rows of your own",
        )
    batches = list(data.as_numpy_iterator())
    return np.concatenate(batches) if batches else np.zeros((0, 0))


def _check_names(sets: Mapping[str, Any], noise: Sequence[str]) -> None:
    remedy = "Write e.g. `noise=('gaussian',)`, or `noise=()` for none"
    if isinstance(noise, str):
        raise checks.refusal(
            "`noise` is a sequence of names", f"noise={noise!r}", remedy
        )
    for kind in noise:
        checks.one_of("noise", kind, ood.NOISES)
    names = [*sets, *noise]
    if not names:
        raise checks.refusal(
            "OODMonitor needs a set to compare with the reference",
            "no sets and no noise",
            "Name some rows in `sets`, or some noise",
        )
    if len(set(names)) < len(names) or "reference" in names:
        raise checks.refusal(
            "Names of sets must differ, from 'reference' and from the noise's"
            " too",
            f"sets {list(sets)} with noise {list(noise)}",
            "Rename the set, or leave this noise out of `noise`",
        )
