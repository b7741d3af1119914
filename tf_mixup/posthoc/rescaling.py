"""Test-time rescaling of models that mixup trained.

Shapes: N examples, K classes.
"""

from typing import Any

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup._checks import numbers
from tf_mixup._data import examples as examples_lib
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup._models import output_kind
from tf_mixup._models import output_layers
from tf_mixup.calibration import bins as bins_lib
from tf_mixup.calibration import per_example
from tf_mixup.posthoc import ensembles


class MixupRescaling:
    """Predicts at the inputs that mixup trained on, and reverses the mixing.

    A mixed input is on average the example pulled towards the mean of all
    inputs, and so is its target, both by `theta = E[max(lam, 1 - lam)]`. So the
    model predicts at `theta * x + (1 - theta) * mean_inputs`, and its logits
    become `logits / theta + (1 - 1 / theta) * class_priors`. This assumes that
    `lam ~ Beta(alpha, alpha)` mixes inputs and labels, with random partners.

    Args:
        alpha: As in training, at least 0; with 0 nothing changes.
        mean_inputs: Mean of the training inputs, of one example's shape or
            one that broadcasts to it, as `train.mean(axis=0)`.
        class_priors: `(K,)`, the share of each class in the training labels.

    Attributes:
        theta: `1 - I(alpha + 1, alpha; 1/2)`, of the regularized incomplete
            beta function; 3/4 for alpha 1.

    Raises:
        ValueError: If `alpha` is below 0, or `class_priors` is no distribution.

    References:
        Carratino et al. On Mixup Regularization. JMLR 23, 2022.
        https://arxiv.org/abs/2006.06049
    """

    def __init__(
        self, alpha: float, *, mean_inputs: Any, class_priors: Any
    ) -> None:
        import scipy.special

        self.alpha = _checks.real_at_least(
            "alpha", alpha, 0, remedy="Give the alpha of training"
        )
        self.theta = 1.0
        if self.alpha > 0:
            self.theta -= float(
                scipy.special.betainc(self.alpha + 1, self.alpha, 0.5)
            )
        self.mean_inputs = numbers.to_numpy(
            mean_inputs, "`mean_inputs`", dtype=np.float32
        )
        if not np.all(np.isfinite(self.mean_inputs)):
            raise _checks.refusal(
                "`mean_inputs` must be finite",
                "NaN or infinity",
                "Leave out the examples that are not",
            )
        self.class_priors = numbers.to_numpy(
            class_priors, "`class_priors`", dtype=np.float64
        )
        priors = self.class_priors
        if priors.ndim != 1 or not (
            np.all(priors >= 0) and np.isclose(priors.sum(), 1)
        ):
            raise _checks.refusal(
                "`class_priors` must be (K,), at least 0, and sum to 1",
                f"class_priors={class_priors!r}",
                "Give the share of each class in the training labels",
            )

    @classmethod
    def from_examples(
        cls, alpha: float, train: Any, *, num_classes: int
    ) -> "MixupRescaling":
        """Returns the rescaling for a training set, which is read once.

        Args:
            alpha: As in training, at least 0.
            train: Unmixed training examples with labels: arrays
                `(inputs, labels)`, or a batched `tf.data.Dataset` or another
                iterable of batches. Inputs are one array of numbers; labels
                class ids or vectors `(N, K)`. Sample weights, if any, weigh
                both means.
            num_classes: K.

        Raises:
            ValueError: If `alpha` is below 0, a label is no class, inputs are
                several arrays, or all weights are 0.

        Example:
            >>> train = np.array([[0.0], [1.0]]), np.array([0, 1])
            >>> found = MixupRescaling.from_examples(1.0, train, num_classes=2)
            >>> found.mean_inputs.tolist(), found.class_priors.tolist()
            ([0.5], [0.5, 0.5])
        """
        num_classes = _checks.integer_at_least(
            "num_classes", num_classes, 1, remedy="Write the number of classes"
        )
        examples = examples_lib.read(train, name="train", labeled=True)
        weight: Any = 0.0
        inputs, targets = weight, weight
        for batch in examples.batches():
            if keras.tree.is_nested(batch.inputs):
                raise _checks.refusal(
                    "Examples must have one input",
                    f"inputs of type {type(batch.inputs).__name__}",
                    "Give the input that mixup mixed",
                )
            each = np.ones(batch.size)
            if batch.weights is not None:
                given = bins_lib.read_weights(batch.weights, batch.size)
                each = each * keras.ops.convert_to_numpy(given)
            # Left out, not only weighted by 0: 0 * NaN is NaN.
            kept = each != 0
            each, labels = each[kept], np.asarray(batch.labels)[kept]
            columns = per_example.to_targets(labels, num_classes)
            weight = weight + each.sum()
            rows = np.asarray(batch.inputs, np.float64)[kept]
            inputs = inputs + np.tensordot(each, rows, axes=1)
            targets = targets + each @ keras.ops.convert_to_numpy(columns)
        if not weight or not np.all(np.isfinite(targets)):
            raise _checks.refusal(
                "Training labels must be classes 0 to K - 1, of examples that"
                " weigh more than 0",
                f"labels that are not, with num_classes={num_classes!r}"
                if weight
                else "examples that all weigh 0",
                "Give the labels and weights of training",
            )
        return cls(
            alpha, mean_inputs=inputs / weight, class_priors=targets / weight
        )

    def __repr__(self) -> str:
        return f"<MixupRescaling of alpha {self.alpha:g}>"

    def predict(
        self,
        model: keras.Model,
        inputs: Any,
        *,
        batch_size: int = 128,
        from_logits: bool | None = None,
    ) -> np.ndarray:
        """Returns rescaled probabilities.

        Args:
            model: Model with one input, of a float type.
            inputs: Array of N examples.
            batch_size: Examples to predict at once.
            from_logits: Whether the model's outputs are logits, see
                `MonteCarloDropout`. If not, their logarithms are rescaled.

        Returns:
            probabilities: Float32 `(N, K)`; K is 2 for a sigmoid.

        Raises:
            ValueError: If shapes or classes do not fit, or the model takes
                integers.
        """
        import scipy.special

        inputs = numbers.to_numpy(inputs, "Inputs")
        self._check_inputs(_single_input(model), inputs.shape[1:])
        theta = np.float32(self.theta)
        pulled = theta * inputs.astype(np.float32) + (
            (1 - theta) * self.mean_inputs
        )
        logits = ensembles.predict_logits(
            model, pulled, batch_size=batch_size, from_logits=from_logits
        )
        self._check_classes(logits.shape[1])
        rescaled = (
            logits / self.theta + (1 - 1 / self.theta) * self.class_priors
        )
        return scipy.special.softmax(rescaled, axis=-1).astype(np.float32)

    def attach(
        self, model: keras.Model, *, from_logits: bool | None = None
    ) -> keras.Model:
        """Returns a model that predicts rescaled probabilities.

        It shares its weights with `model`, and is saved as one `.keras` file
        that needs `import tf_mixup` to be loaded.

        Args:
            model: Model with one input, of a float type, that overrides
                neither `call` nor how it predicts.
            from_logits: Whether its outputs are logits; None detects it by the
                last layer.

        Returns:
            rescaled: Model of the same input, with output `(N, K)`; K is 2 for
                a sigmoid.

        Raises:
            ValueError: As `predict`; or if it is not known whether the model
                gives logits.
        """
        model_calls.check_model(model)
        ensembles.check_plain(model, "Rescaling can be attached to")
        from_logits = output_kind.must_give_logits(model, from_logits)
        structure = _single_input(model)
        self._check_inputs(structure, structure.shape[1:])
        pull = PullToMean(self.theta, self.mean_inputs.shape)
        pull.mean.assign(self.mean_inputs)
        inputs = keras.Input(structure.shape[1:], dtype=structure.dtype)
        logits = output_layers.Logits(from_logits)(model(pull(inputs)))
        self._check_classes(logits.shape[1])
        softmax = output_layers.ScaledSoftmax(logits.shape[1])
        softmax.weight.assign(np.full(logits.shape[1], 1 / self.theta))
        softmax.bias.assign((1 - 1 / self.theta) * self.class_priors)
        return keras.Model(
            inputs, softmax(logits), name=f"{model.name}_rescaled"
        )

    def _check_classes(self, num_classes: int) -> None:
        if num_classes != self.class_priors.size:
            raise _checks.refusal(
                "The model must have as many classes as `class_priors`",
                f"{num_classes} classes and {self.class_priors.size} priors",
                "Give the priors of the data that trained the model",
            )

    def _check_inputs(self, structure: Any, shape: tuple[int, ...]) -> None:
        """Refuses models and inputs that cannot be pulled to the mean."""
        if "float" not in structure.dtype:
            raise _checks.refusal(
                "The model must have one input, of a float type",
                f"a model of {structure}",
                "Cut it after its embedding, where mixup mixed",
            )
        mean = self.mean_inputs.shape
        if len(mean) > len(shape) or any(
            whole is not None and size not in (1, whole)
            for size, whole in zip(mean[::-1], shape[::-1], strict=False)
        ):
            raise _checks.refusal(
                "`mean_inputs` must have the shape of one example",
                f"mean_inputs of shape {mean} for examples of shape {shape}",
                "Write `train.mean(axis=0)`",
            )


def _single_input(model: keras.Model) -> Any:
    """Returns the symbolic input of a model that has one."""
    structure = last_layer.single_output_inputs(model)
    inputs = keras.tree.flatten(structure)
    if len(inputs) != 1:
        raise _checks.refusal(
            "The model must have one input, of a float type",
            f"a model of {structure}",
            "Cut it after its embedding, where mixup mixed",
        )
    return inputs[0]


@keras.saving.register_keras_serializable("tf_mixup")
class PullToMean(keras.layers.Layer):
    """Computes `theta * x + (1 - theta) * mean`, in float32."""

    def __init__(
        self, theta: float, shape: tuple[int, ...], *, name: str | None = None
    ) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.theta = theta
        self.mean = self.add_weight(
            tuple(shape), "zeros", trainable=False, name="mean"
        )

    def call(self, inputs: Any) -> Any:
        """Returns the examples pulled towards the mean."""
        return self.theta * inputs + (1 - self.theta) * self.mean

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild this layer."""
        return {
            "name": super().get_config()["name"],
            "theta": self.theta,
            "shape": self.mean.shape,
        }
