"""Averages of predictions: over dropout masks, over models.

Nothing is trained. Shapes: N examples, K classes.
"""

import abc
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._data import columns
from tf_mixup._data import examples
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup._models import wrapped_model

# `SpatialDropout1D` and its relatives are subclasses of `Dropout`.
_DROPOUT = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
)


class _Averaged(abc.ABC):
    """Averages the probabilities of several predictions."""

    def __init__(self, from_logits: bool | None, batch_size: int) -> None:
        self.from_logits = from_logits
        self.batch_size = _checks.integer_at_least(
            "batch_size", batch_size, 1, remedy="Write 128"
        )

    @abc.abstractmethod
    def _members(self) -> list[keras.Model]:
        """Returns the models to predict with, in order."""

    def predict(self, inputs: Any, *, verbose: int | str = 0) -> np.ndarray:
        """Returns the mean probabilities over all samples or models.

        Args:
            inputs: Array of N examples, a list of examples of one shape, or a
                nested structure of arrays as the model takes it. Datasets are
                refused, as they may be shuffled anew in each pass.
            verbose: 0 shows nothing; 1 or `"auto"` shows a progress bar.

        Returns:
            probabilities: Float32 `(N, K)`; K is 2 for a sigmoid. Never below
                1e-38, so that their logarithms are finite.

        Raises:
            ValueError: If `inputs` is no array, or nothing decides whether
                outputs are logits.
        """
        total: Any = 0.0
        count = 0
        for probabilities in self._predict(inputs, verbose):
            total = total + probabilities
            count += 1
        tiny = np.finfo(np.float32).tiny
        return np.maximum(total / count, tiny).astype(np.float32)

    def _predict(self, inputs: Any, verbose: int | str) -> Iterator[np.ndarray]:
        """Yields the probabilities of each member, float64 `(N, K)`."""
        import scipy.special

        models = self._members()
        inputs = _read_inputs(inputs, models[0])
        bar = examples.progress_bar(len(models), verbose)
        num_classes = 0
        for number, model in enumerate(models):
            logits = predict_logits(
                model,
                inputs,
                batch_size=self.batch_size,
                from_logits=self.from_logits,
            )
            if number and logits.shape[1] != num_classes:
                raise _checks.refusal(
                    "Members of an ensemble must have the same classes",
                    f"{num_classes} and {logits.shape[1]} classes",
                    "Train all of them on the same data",
                )
            num_classes = logits.shape[1]
            yield scipy.special.softmax(logits.astype(np.float64), axis=-1)
            if bar is not None:
                bar.update(number + 1)


class MonteCarloDropout(_Averaged):
    """Averages the predictions of a model with dropout active.

    The mean over samples of dropout masks approximates the mean over the
    posterior of the weights. Only dropout layers are active: batch norm uses
    its moving averages, and augmentation is off. The model is unchanged, and
    predictions follow its weights.

    Dropout is found where it is a layer of the model, or of a model within
    it. A layer that drops internally, such as `keras.layers.LSTM(dropout=0.5)`,
    is refused, as is a model that overrides `call`, `predict_step` or
    `predict`.

    Args:
        model: Functional or sequential model with one output and dropout
            layers.
        num_samples: Predictions to average, at least 1. The standard error of
            the mean falls as one over its square root.
        seed: Integer that fixes the masks: the same seed, inputs and
            `batch_size` give the same probabilities in each call.
        batch_size: Examples to predict at once.
        from_logits: Whether the model's outputs are logits. None detects it
            by the last layer, else by the values.

    Raises:
        ValueError: If the model has no dropout layer, or one out of reach; if
            its inputs are not defined; if it overrides how it predicts; or if
            a number is out of range.

    References:
        Gal and Ghahramani. Dropout as a Bayesian Approximation: Representing
        Model Uncertainty in Deep Learning. ICML 2016, section 4.
        https://arxiv.org/abs/1506.02142
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        num_samples: int = 10,
        seed: int = 0,
        batch_size: int = 128,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(from_logits, batch_size)
        self.num_samples = _checks.integer_at_least(
            "num_samples", num_samples, 1, remedy="Write 10"
        )
        self.seed = _checks.integer_at_least("seed", seed, 0, remedy="Write 0")
        model_calls.check_model(model)
        check_plain(model, "Dropout can be made active in")
        last_layer.single_output_inputs(model)
        self._active: list[_ActiveDropout] = []
        self._model = keras.models.clone_model(
            model, clone_function=self._reuse, recursive=True
        )
        if not self._active:
            raise _checks.refusal(
                "The model must have a dropout layer",
                f"a model named {model.name!r} without one",
                "Train it with `keras.layers.Dropout`, or average a"
                " `DeepEnsemble`",
            )

    def __repr__(self) -> str:
        return f"<MonteCarloDropout of {self.num_samples} samples>"

    def _members(self) -> list[keras.Model]:
        count = len(self._active)
        states = np.random.SeedSequence(self.seed).generate_state(count)
        for layer, state in zip(self._active, states, strict=True):
            layer.seed_with(int(state >> 1))
        return [self._model] * self.num_samples

    def _reuse(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Returns the layer itself, or an active copy of a dropout layer."""
        if not isinstance(layer, _DROPOUT):
            _check_reach(layer)
            return layer
        self._active.append(_ActiveDropout(layer))
        return self._active[-1]


class DeepEnsemble(_Averaged):
    """Averages the predictions of models trained from different seeds.

    Averaging lowers confidence. Members that mixup has already made
    underconfident become more so: calibrate the ensemble, not its members.

    Args:
        models: At least one model of one output; all with the same inputs and
            classes. Each predicts as its own `predict` does.
        from_logits: Whether their outputs are logits. None detects it for each
            model, see `MonteCarloDropout`.
        batch_size: Examples to predict at once.

    Raises:
        ValueError: If there is no model, or they do not fit together.

    References:
        Lakshminarayanan et al. Simple and Scalable Predictive Uncertainty
        Estimation using Deep Ensembles. NeurIPS 2017, section 2.4.
        https://arxiv.org/abs/1612.01474

        Wen et al. Combining Ensembles and Data Augmentation can Harm your
        Calibration. ICLR 2021. https://arxiv.org/abs/2010.09875
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        *,
        from_logits: bool | None = None,
        batch_size: int = 128,
    ) -> None:
        if isinstance(models, keras.Model):
            raise _checks.refusal(
                "An ensemble is made of a list of models",
                f"a {type(models).__name__}",
                "Write `DeepEnsemble([first, second])`",
            )
        super().__init__(from_logits, batch_size)
        self.models = list(models)
        if not self.models:
            raise _checks.refusal(
                "An ensemble has at least one model",
                "no models",
                "Train some, each with another seed",
            )
        for model in self.models:
            model_calls.check_model(model)
        found = [_describe(model) for model in self.models]
        first, *others = [each for each in found if each] or [""]
        for other in others:
            if other != first:
                raise _checks.refusal(
                    "Members of an ensemble must have the same inputs and"
                    " classes",
                    f"{first} and {other}",
                    "Train all of them on the same data",
                )

    def __repr__(self) -> str:
        return f"<DeepEnsemble of {len(self.models)} models>"

    def _members(self) -> list[keras.Model]:
        return self.models

    def predict_members(
        self, inputs: Any, *, verbose: int | str = 0
    ) -> np.ndarray:
        """Returns the probabilities of each model, to compare them with.

        Where members are underconfident their average has a larger ECE than
        each of them, though a smaller negative log-likelihood.

        Args:
            inputs: As `predict` takes them.
            verbose: The same.

        Returns:
            probabilities: Float32 `(M, N, K)` of M models.

        Raises:
            ValueError: As `predict`.
        """
        found = np.stack(list(self._predict(inputs, verbose)))
        return found.astype(np.float32)

    def to_model(self) -> keras.Model:
        """Returns one model that predicts the mean probabilities.

        It shares its weights with the members, and is saved as one `.keras`
        file that needs `import tf_mixup` to be loaded. If a member overrides
        `call`, `predict_step` or `predict`, members are called as a whole.

        Returns:
            ensemble: Model of the members' inputs, with output `(N, K)`.

        Raises:
            ValueError: If it is not known whether a member's outputs are
                logits, as there are no values yet.
        """
        from_logits = [
            output_kind.must_give_logits(model, self.from_logits)
            for model in self.models
        ]
        if not all(map(model_calls.runs_plainly, self.models)):
            return wrapped_model.WrappedModel(
                self.models, from_logits, name="ensemble"
            )
        inputs = last_layer.single_output_inputs(self.models[0])
        members = []
        for number, model in enumerate(self.models):
            # Models of one builder have one name, which must be unique here.
            member = keras.Model(
                last_layer.single_output_inputs(model),
                model.outputs[0],
                name=f"member_{number}",
            )
            logits = output_layers.Logits(from_logits[number])(member(inputs))
            members.append(keras.layers.Softmax(dtype="float32")(logits))
        # Keras averages no single layer.
        mean = members[0]
        if len(members) > 1:
            mean = keras.layers.Average(dtype="float32")(members)
        return keras.Model(inputs, mean, name="ensemble")


class _ActiveDropout(keras.layers.Layer):
    """A copy of a dropout layer, with its own generator, that always drops."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.supports_masking = True
        self.layer = type(layer).from_config(layer.get_config())

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs, training=True)

    def seed_with(self, seed: int) -> None:
        # Keras gives no generator to a layer of rate 0.
        if self.layer.rate > 0:
            self.layer.seed_generator.state.assign([seed, 0])


def _check_reach(layer: keras.layers.Layer) -> None:
    """Refuses a layer that drops internally, which would stay off."""
    if type(layer).__module__.startswith("keras."):
        # All have generators, used or not.
        drops = any(
            (path[-1] in ("dropout", "recurrent_dropout") and value)
            or (path[-1] == "class_name" and "Dropout" in str(value))
            for path, value in keras.tree.flatten_with_path(layer.get_config())
        )
    else:
        drops = any("seed_generator" in v.path for v in layer.variables)
    if drops:
        raise _checks.refusal(
            "Dropout must be a layer of the model, where it can be made active",
            f"{type(layer).__name__} named {layer.name!r}, which draws random"
            " numbers within itself",
            "Use `keras.layers.Dropout` beside that layer",
        )


def check_plain(model: keras.Model, what: str) -> None:
    """Refuses a model whose predictions are not those of its graph alone."""
    override = model_calls.override_in_the_way(model)
    if override is not None:
        raise _checks.refusal(
            f"{what} a model that is its graph alone",
            f"a model named {model.name!r} with the override `{override}`",
            "Give the functional model inside, and prepare its inputs as the"
            " override does",
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            check_plain(layer, what)


def _describe(model: keras.Model) -> str | None:
    """Returns what members of an ensemble must have in common, if known."""
    if not model_calls.runs_plainly(model):
        return None
    structure = keras.tree.map_structure(
        lambda tensor: (tensor.shape[1:], tensor.dtype),
        last_layer.single_output_inputs(model),
    )
    return f"inputs {structure} and outputs {model.outputs[0].shape[1:]}"


def predict_logits(
    model: keras.Model,
    inputs: Any,
    *,
    batch_size: int,
    from_logits: bool | None,
) -> np.ndarray:
    """Returns the logits that a model predicts, float32 `(N, K)`."""
    outputs = np.asarray(
        model_calls.check_one_output(
            model_calls.predict(model, inputs, batch_size=batch_size)
        )
    )
    from_logits = output_kind.are_logits(outputs, from_logits, model=model)
    return output_layers.to_logits(outputs, from_logits)


def _read_inputs(inputs: Any, model: keras.Model) -> Any:
    """Returns arrays of the examples; refuses datasets and iterables."""
    nested = isinstance(inputs, (list, tuple, dict))
    if not (nested or hasattr(inputs, "shape")):
        raise _checks.refusal(
            "Inputs must be arrays",
            f"a {type(inputs).__name__}",
            "Stack the examples of a dataset first: it may give them in"
            " another order each time",
        )
    several = examples.takes_several(model)
    inputs, _, _ = columns.align(
        inputs, None, None, name="inputs", several=several
    )
    inputs = keras.tree.map_structure(
        lambda leaf: columns.to_numpy(leaf, "inputs"), inputs
    )
    if not all(
        np.shape(leaf)[:1] != (0,) for leaf in keras.tree.flatten(inputs)
    ):
        raise _checks.refusal(
            "There must be at least one example",
            "inputs without any",
            "Look at how the inputs are made",
        )
    return inputs
