"""What OODMonitor scores examples by, and the one pass that it takes."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup import ood
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import named_outputs
from tf_mixup.callbacks import _monitor

# A function of outputs, or of the features of one layer.
Score = Callable[..., Any] | ood.NearestNeighbors


def read(score: Any) -> dict[str, Score]:
    """Returns scores by name.

    Args:
        score: A name of `ood.SCORES`, a function, `ood.NearestNeighbors`, a
            mapping of names to these, or a sequence of all that.
    """
    given = [score] if _is_one(score) else score
    found: dict[str, Score] = {}
    for each in given:
        for name, one in _name(each).items():
            _monitor.check_name("the name of a score", name)
            if name in found:
                raise _checks.refusal(
                    "Scores must have different names",
                    f"two named {name!r}",
                    "Write `score={'a': one, 'b': another}`",
                )
            found[name] = one
    if not found:
        raise _checks.refusal(
            "OODMonitor needs a score", f"score={score!r}", "Leave it out"
        )
    return found


def _is_one(score: Any) -> bool:
    if isinstance(score, str | Mapping | ood.NearestNeighbors):
        return True
    return callable(score) or not hasattr(score, "__iter__")


def _name(score: Any) -> Mapping[str, Score]:
    if isinstance(score, Mapping):
        return {
            name: one
            for name, each in score.items()
            for one in _name(each).values()
        }
    if isinstance(score, str):
        _checks.one_of("score", score, ood.SCORES)
        return {score: ood.SCORES[score]}
    if isinstance(score, ood.NearestNeighbors):
        return {score.name: score}
    if not callable(score):
        raise _checks.refusal(
            "A score is a name, a function of the model's outputs, or"
            " `ood.NearestNeighbors`",
            f"a {type(score).__name__}",
            f"Choose one of {list(ood.SCORES)}, or write a function",
        )
    return {getattr(score, "__name__", "score").strip("<>"): score}


def needs_logits(score: Score) -> bool:
    """Returns whether a score cannot be had of probabilities."""
    return any(score is ood.SCORES[name] for name in ood.NEED_LOGITS)


# Name of the logits among the parts of a model; no score has it.
_LOGITS = ""


class Scorer:
    """Scores of a model's examples, from one prediction of each.

    Args:
        scores: As of `read`.
        model: What predicts.
        head: Its output to measure, as a model; None if it cannot be taken
            apart.
        choose: Returns the output to measure of all that it predicts.
        output: Its name; None of a model of one.
        from_logits: Whether that output is logits.

    Raises:
        ValueError: If the model does not give what a score needs.
    """

    def __init__(
        self,
        scores: Mapping[str, Score],
        model: keras.Model,
        *,
        head: keras.Model | None,
        choose: Callable[[Any], np.ndarray],
        output: str | None,
        from_logits: bool,
    ) -> None:
        self._scores, self._choose = scores, choose
        self._output = output
        self._from_logits, self._model = from_logits, model
        self._parts: dict[str, keras.Model] = {}
        self._train: dict[str, np.ndarray] = {}
        if not from_logits and any(map(needs_logits, scores.values())):
            self._parts[_LOGITS] = _logits_of(head, scores)
        for name, score in scores.items():
            if isinstance(score, ood.NearestNeighbors):
                self._parts[name] = score.features_of(model)
        if self._parts:
            tensors = [each.outputs[0] for each in self._parts.values()]
            inputs = last_layer.input_structure(model)
            outputs = (head or model).outputs[0]
            with _monitor.scope(model):
                self._model = keras.Model(inputs, [outputs, *tensors])

    def prepare(self) -> None:
        """Reads what the model now makes of training examples."""
        for name, score in self._scores.items():
            if isinstance(score, ood.NearestNeighbors):
                self._train[name] = score.train_features(self._parts[name])

    def score(self, examples: Any) -> dict[str, np.ndarray]:
        """Returns the scores `(N,)` of a set, by name."""
        predicted = model_calls.predict_examples(self._model, examples)
        parts = {}
        outputs = predicted.outputs
        if self._parts:
            outputs, *others = outputs
            parts = dict(zip(self._parts, others, strict=True))
        else:
            outputs = self._choose(outputs)
        if predicted.weights is not None:
            weights = named_outputs.weights_of(predicted.weights, self._output)
            kept = np.ravel(weights) != 0
            outputs = outputs[kept]
            parts = {name: part[kept] for name, part in parts.items()}
        return {
            name: self._apply(name, score, outputs, parts)
            for name, score in self._scores.items()
        }

    def _apply(
        self,
        name: str,
        score: Score,
        outputs: np.ndarray,
        parts: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        if isinstance(score, ood.NearestNeighbors):
            return score.of_features(self._train[name], parts[name])
        if needs_logits(score):
            found = score(parts.get(_LOGITS, outputs), from_logits=True)
        elif score in ood.SCORES.values():
            found = score(outputs, from_logits=self._from_logits)
        else:
            found = score(outputs)
        values = keras.ops.convert_to_numpy(found)
        if values.shape != (len(outputs),):
            raise _checks.refusal(
                "A score must return one number for each example",
                f"shape {values.shape} from {name!r} for {len(outputs)}"
                " examples",
                "Reduce over the classes, the last axis",
            )
        return values


def _logits_of(
    head: keras.Model | None, scores: Mapping[str, Score]
) -> keras.Model:
    found = None if head is None else last_layer.before_softmax(head)
    if found is None:
        names = [name for name, each in scores.items() if needs_logits(each)]
        raise _checks.refusal(
            f"The scores {names} are scores of logits",
            "a model that predicts probabilities, and whose last activation"
            " cannot be taken off",
            "Train it with logits as outputs and a loss with"
            " `from_logits=True`, or choose 'confidence' or 'entropy'",
        )
    return found
