"""OODMonitor: confidence on other data by epoch."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup import ood
from tf_mixup import summaries
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import model_calls
from tf_mixup._models import named_outputs
from tf_mixup._models import output_kind
from tf_mixup.callbacks import _monitor
from tf_mixup.mixing import layers

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


class OODMonitor(_monitor.Monitor):
    """Adds confidence outside of the training distribution to `logs`.

    Confidence should separate the examples of each set from those of
    `reference`. Adds for each set `<set>_confidence` (its mean), `<set>_auroc`,
    `<set>_aupr` (of finding reference examples) and `<set>_fpr95`; and
    `reference_confidence`. Measures are exact; `tf_mixup.ood` describes how
    packages differ in what they count as positive. AUPR depends on the sizes of
    the sets. Predictions are those of `model.predict`.

    Args:
        sets: Name of a set to its examples: batches of `x`, or of `(x, y, ...)`
            of which `y` is ignored, or such arrays. A list of arrays is
            stacked. For a model of several inputs also a tuple of arrays, one
            for each input. Integer names become text.
        reference: Examples like those of the training; the validation set is
            the usual choice.
        noise: Further sets, drawn once with the type, shape, mean and variance
            of the reference's examples: some of `"gaussian"`, `"uniform"`.
        log_dir: Folder for TensorBoard: values and histograms of confidence
            go to `<log_dir>/ood`. None, the default, draws nothing.
        freq: Measures in epochs `freq`, `2 * freq`, ... counted from 1.
            Defaults to 1.
        max_examples: Examples to take of each set, the first ones, and to draw
            of noise; None for all. Defaults to 1024.
        seed: Fixes the noise. Defaults to 0.
        from_logits: Whether outputs are logits. None, the default, detects it.
        output: Name of the output to measure, of a model that has several.
        batch_size: Examples in a batch where a set is arrays. Defaults to 128.
        model: The model that predicts. For a model of `MixUp.training_model`
            give the one that it was made of. None, the default, is the model
            that is trained.

    Raises:
        ValueError: If sets have unusable names or examples, or there are none;
            when training starts, if its model mixes inside and examples have
            no plan, or has several outputs or several labels; at the end of an
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
        **_monitor.Monitor._new,
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
        freq: int = 1,
        max_examples: int | None = 1024,
        seed: int = 0,
        from_logits: bool | None = None,
        output: str | None = None,
        batch_size: int = 128,
        model: keras.Model | None = None,
    ) -> None:
        super().__init__(log_dir=log_dir, freq=freq)
        names = _check_names(sets, noise)
        if model is not None:
            model_calls.check_model(model)
        self._predictor = model
        self._from_logits = from_logits
        self._output = output
        self._has_noise = bool(noise)
        self._confidences: dict[str, np.ndarray] = {}
        self._are_logits: bool | None = None

        def prepare(name: str, data: Any) -> _monitor.Source:
            return _monitor.Source(name, data, batch_size, max_examples)

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
        return f"<OODMonitor of {', '.join(self.names)}, freq={self.freq}>"

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
        if self._has_noise:
            _check_array(inputs)
        if layers.takes_plan(
            getattr(model, "input", None)
        ) and not layers.takes_plan(inputs):
            shapes = [leaf.shape for leaf in keras.tree.flatten(inputs)]
            raise _checks.refusal(
                "A training model predicts only examples that come with a plan",
                f"a model that mixes, and examples of shapes {shapes}",
                "Give the model that it was made of, as"
                " `OODMonitor(..., model=model)`",
            )
        outputs = self._choose(model, model_calls.predict(model, inputs))
        self._are_logits = output_kind.are_logits(
            outputs,
            self._from_logits,
            model=_monitor.head_of(model, self._output),
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

    def _read(
        self, model: keras.Model | None
    ) -> dict[str, examples_lib.Examples]:
        return {
            name: source.read(labeled=False, model=model)
            for name, source in self._sets.items()
        }

    def _only_array(self) -> np.ndarray:
        """Returns the reference's inputs, if they are one array."""
        batches = self._read(self._predictor)["reference"].batches()
        inputs = [batch.inputs for batch in batches]
        _check_array(inputs[0])
        return np.concatenate(inputs)

    def _choose(self, model: keras.Model, outputs: Any) -> np.ndarray:
        """Returns the output to measure."""
        named = named_outputs.by_name(outputs, model)
        if self._output is None and len(named) > 1:
            raise _checks.refusal(
                "OODMonitor measures one output",
                f"a model of outputs {list(named)}",
                f"Write e.g. `output={next(iter(named))!r}`",
            )
        chosen = None if self._output is None else (self._output,)
        return next(iter(_monitor.choose(named, chosen).values()))

    def _score(
        self, model: keras.Model, name: str, examples: examples_lib.Examples
    ) -> np.ndarray:
        predicted = model_calls.predict_examples(model, examples)
        outputs = self._choose(model, predicted.outputs)
        if predicted.weights is not None:
            outputs = outputs[np.ravel(predicted.weights) != 0]
        scores = keras.ops.convert_to_numpy(
            ood.confidence(outputs, from_logits=self._are_logits)
        )
        wrong = int(np.sum(~np.isfinite(scores)))
        if wrong:
            raise _checks.refusal(
                "Predictions must be distributions over classes",
                f"{wrong} of {scores.size} examples of the set {name!r} that"
                " are not",
                "Look for NaN in these examples; if there are none training has"
                " diverged: lower the learning rate",
            )
        return scores


def _check_array(inputs: Any) -> None:
    if keras.tree.is_nested(inputs):
        shapes = [leaf.shape for leaf in keras.tree.flatten(inputs)]
        raise _checks.refusal(
            "Noise is drawn for inputs that are one array",
            f"several inputs of shapes {shapes}",
            "Write `noise=()` and give a set of examples of your own",
        )


def _check_names(
    sets: Mapping[str | int, Any], noise: Sequence[str]
) -> dict[str, str | int]:
    """Returns the names of sets, as text, with their keys."""
    remedy = "Write e.g. `noise=('gaussian',)`, or `noise=()` for none"
    if isinstance(noise, str):
        raise _checks.refusal(
            "`noise` is a sequence of names", f"noise={noise!r}", remedy
        )
    for kind in noise:
        _checks.one_of("noise", kind, ood.NOISES)
    if not isinstance(sets, Mapping):
        raise _checks.refusal(
            "`sets` must be a dictionary of named sets",
            f"a {type(sets).__name__}",
            "Write e.g. `{'far': images}`",
        )
    whole = (int, np.integer)
    keys = {str(key) if isinstance(key, whole) else key: key for key in sets}
    for name in keys:
        _monitor.check_name("the name of a set", name)
    names = [*keys, *noise]
    if not names:
        raise _checks.refusal(
            "OODMonitor needs a set to compare with the reference",
            "no sets and no noise",
            "Name some examples in `sets`, or some noise",
        )
    if len({*names, "reference"}) < len(sets) + len(noise) + 1:
        raise _checks.refusal(
            "Names of sets must differ, from 'reference' and from the noise's"
            " too",
            f"sets {list(sets)} with noise {list(noise)}",
            "Rename the set, or leave this noise out of `noise`",
        )
    return keys
