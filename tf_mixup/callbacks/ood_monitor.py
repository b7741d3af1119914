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
from tf_mixup.callbacks import _ood_scores
from tf_mixup.mixing import layers

# What OODMonitor adds for each set and score: endings and their meaning.
_OOD_KEYS = {
    "auroc": "How well {} separates examples of `reference` from this set's: 1"
    " is always right, 0.5 is chance.",
    "aupr": "Area under precision and recall of finding examples of {positive}"
    " among both sets' by {}. Depends on the sizes of the sets.",
    "fpr95": "Share of the other examples that pass where 95 % of those of"
    " {positive} do, by {}.",
}


class OODMonitor(_monitor.Monitor):
    """Adds confidence outside of the training distribution to `logs`.

    Confidence should separate the examples of each set from those of
    `reference`. Adds for each set `<set>_confidence` (its mean), `<set>_auroc`,
    `<set>_aupr` (of finding reference examples) and `<set>_fpr95`; and
    `reference_confidence`. Other scores add their own name: `<set>_energy`,
    `<set>_energy_auroc`, ... Measures are exact; `tf_mixup.ood` describes how
    packages differ in what they count as positive. AUPR depends on the sizes of
    the sets. Predictions are those of `model.predict`; each set is predicted
    once for all scores.

    Args:
        sets: Name of a set to its examples: batches of `x`, or of `(x, y, ...)`
            of which `y` is ignored, or such arrays. A list of arrays is
            stacked. For a model of several inputs also a tuple of arrays, one
            for each input. Integer names become text.
        reference: Examples like those of the training; the validation set is
            the usual choice.
        noise: Further sets, drawn once with the type, shape, mean and variance
            of the reference's examples: some of `"gaussian"`, `"uniform"`.
        score: What separates the sets: `"confidence"`, `"entropy"`,
            `"energy"`, `"max_logit"`, a function of the model's outputs that
            returns a number for each example, higher for inside, or
            `ood.NearestNeighbors`; a mapping of names to these; or a sequence.
            Energy and the largest logit of a model with a last softmax, or
            sigmoid, are those of its logits. Defaults to `"confidence"`.
        groups: Name of a group -> names of its sets, such as `{"near": [...],
            "far": [...]}`; adds `<group>_auroc`, ..., the means over its sets.
        quantiles: One or several of each score, in [0, 1], to add beside its
            mean, as `<set>_confidence_q5` for 0.05.
        positive: Whose examples AUPR and FPR95 count as positive, `"in"` or
            `"out"`; packages differ. Defaults to `"in"`.
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
        "_scorer": None,
    }

    def __init__(
        self,
        sets: Mapping[str | int, Any],
        *,
        reference: Any,
        noise: Sequence[str] = ood.NOISES,
        score: Any = "confidence",
        groups: Mapping[str, Sequence[str]] | None = None,
        quantiles: float | Sequence[float] = (),
        positive: str = "in",
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
        self._scorer: Any = None
        self._scores = _ood_scores.read(score)
        self._quantiles = [
            _checks.real_between("quantiles", each, 0, 1, remedy="Write 0.05")
            for each in np.atleast_1d(quantiles)
        ]
        self._positive = _checks.one_of("positive", positive, ood.POSITIVES)

        self._groups = _check_groups(groups or {}, [*names, *noise])
        self._check_keys(["reference", *names, *noise])

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

    def _check_keys(self, names: Sequence[str]) -> None:
        """Refuses names of which two values would have one key in `logs`."""
        keys = []
        for score in self._scores:
            infix = "" if score == "confidence" else f"{score}_"
            means = [f"{name}_{score}" for name in names]
            shares = [f"_q{100 * share:g}" for share in self._quantiles]
            keys += [mean + end for mean in means for end in ("", *shares)]
            measured = [*names[1:], *self._groups]
            keys += [
                f"{each}_{infix}{key}" for each in measured for key in _OOD_KEYS
            ]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise _checks.refusal(
                "Each value of each set must have a name of its own",
                f"sets and groups {[*names, *self._groups]} with two values"
                f" {twice[0]!r}",
                "Rename the set or group that ends like a score",
            )

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
        head = _monitor.head_of(model, self._output)
        self._scorer = _ood_scores.Scorer(
            self._scores,
            model,
            head=head,
            choose=lambda outputs: self._choose(model, outputs),
            output=self._output,
            from_logits=output_kind.are_logits(
                outputs, self._from_logits, model=head
            ),
        )

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the scores of each set, and their measures."""
        del validated
        model = self.model if self._predictor is None else self._predictor
        self._scorer.prepare()
        scores = {
            name: self._score(name, examples)
            for name, examples in self._read(model).items()
        }
        self._confidences = {
            name: each["confidence"]
            for name, each in scores.items()
            if "confidence" in each
        }
        values: dict[str, float] = {}
        for score in self._scores:
            columns = {name: each[score] for name, each in scores.items()}
            values |= self._measure_score(score, columns)
        return values

    def _measure_score(
        self, score: str, columns: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Returns means, quantiles and measures of one score."""
        values = {}
        # Measures of confidence, the usual score, do not name it.
        infix = "" if score == "confidence" else f"{score}_"
        inside = columns["reference"]
        for name, outside in columns.items():
            values[f"{name}_{score}"] = float(outside.mean())
            for share in self._quantiles:
                key = f"{name}_{score}_q{100 * share:g}"
                values[key] = float(np.quantile(outside, share))
            if name != "reference":
                found = self._detect(inside, outside)
                values |= {f"{name}_{infix}{k}": v for k, v in found.items()}
        for group, names in self._groups.items():
            for key in _OOD_KEYS:
                parts = [values[f"{name}_{infix}{key}"] for name in names]
                values[f"{group}_{infix}{key}"] = float(np.mean(parts))
        return values

    def _detect(
        self, inside: np.ndarray, outside: np.ndarray
    ) -> dict[str, float]:
        options = {"positive": self._positive}
        return {
            "auroc": ood.auroc(inside, outside),
            "aupr": ood.aupr(inside, outside, **options),
            "fpr95": ood.fpr_at_95_tpr(inside, outside, **options),
        }

    def write(self, step: int) -> None:
        """Writes values and histograms."""
        summaries.write_scalars(
            self.values,
            step=step,
            name="ood",
            descriptions={name: self._describe(name) for name in self.values},
        )
        if self._confidences:
            summaries.write_confidences(self._confidences, step=step)

    def _describe(self, key: str) -> str:
        """Returns what TensorBoard says of a value."""
        rest, _, ending = key.rpartition("_")
        for name in self._scores:
            if key.endswith(f"_{name}"):
                return f"Mean {name} on this set."
        named = [name for name in self._scores if rest.endswith(f"_{name}")]
        score = (named or ["confidence"])[0]
        if ending in _OOD_KEYS:
            positive = "`reference`" if self._positive == "in" else "this set"
            return _OOD_KEYS[ending].format(score, positive=positive)
        return f"A quantile of {score} on this set: {ending[1:]} % lie below."

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
        inputs = []
        for batch in batches:
            _check_array(batch.inputs)
            kept = slice(None)
            if batch.weights is not None:
                weights = named_outputs.weights_of(batch.weights, self._output)
                kept = np.ravel(weights) != 0
            inputs.append(np.asarray(batch.inputs)[kept])
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
        self, name: str, examples: examples_lib.Examples
    ) -> dict[str, np.ndarray]:
        scores = self._scorer.score(examples)
        for score, values in scores.items():
            wrong = int(np.sum(~np.isfinite(values)))
            if wrong:
                raise _checks.refusal(
                    "Predictions must be distributions over classes"
                    if score == "confidence"
                    else f"The score {score!r} must be finite",
                    f"{wrong} of {values.size} examples of the set {name!r}"
                    " that are not",
                    "Look for NaN in these examples; if there are none training"
                    " has diverged: lower the learning rate",
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


def _check_groups(
    groups: Mapping[str, Sequence[str]], names: Sequence[str]
) -> dict[str, list[str]]:
    """Returns groups of sets that exist, under names of their own."""
    found = {}
    for group, sets in groups.items():
        _monitor.check_name("the name of a group", group)
        members = [sets] if isinstance(sets, str) else [str(x) for x in sets]
        unknown = [name for name in members if name not in names]
        if unknown or not members or group in (*names, "reference"):
            raise _checks.refusal(
                "`groups` name sets, and have names that no set has",
                f"{group!r}: {members} with sets {list(names)}",
                "Write e.g. `groups={'near': ['cifar100']}`",
            )
        found[group] = members
    return found
