"""Scores of examples, higher inside the training distribution.

The confidence is the baseline of Hendrycks and Gimpel. Energy and the largest
logit also see how large logits are, which a softmax forgets. A score of one's
own is any function of outputs `(B, K)` that returns one number for each
example. Shapes: B examples, K classes.

References:
    Hendrycks and Gimpel. A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples. ICLR 2017. https://arxiv.org/abs/1610.02136
    Liu, Wang, Owens and Li. Energy-based Out-of-distribution Detection.
    NeurIPS 2020. https://arxiv.org/abs/2010.03759
    Hendrycks et al. Scaling Out-of-Distribution Detection for Real-World
    Settings. ICML 2022. https://arxiv.org/abs/1911.11132
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from keras import ops

from tf_mixup import _checks
from tf_mixup._models import output_kind
from tf_mixup.calibration import per_example


def confidence(predictions: Any, *, from_logits: bool | None = None) -> Any:
    """Returns the probability of the predicted class, the largest one.

    It is low where the model hesitates between classes, and can be high far
    from all training data: nothing in cross-entropy prevents that.

    Args:
        predictions: Float tensor `(B, K)`; or one sigmoid column `(B,)` or
            `(B, 1)`, read as the classes `{1 - p, p}`.
        from_logits: Whether predictions are logits. None, the default, detects
            it; a column within [0, 1] is taken for probabilities.

    Returns:
        confidence: Float32 tensor `(B,)`, in `[1/K, 1]`; NaN where the example
            has no distribution.

    Raises:
        ValueError: If `predictions` has another rank.

    Example:
        >>> confidence(np.array([[0.25, 0.75], [1.0, 0.0]])).numpy().tolist()
        [0.75, 1.0]
    """
    return per_example.Outputs(predictions, from_logits=from_logits).confidence


def negative_entropy(
    predictions: Any, *, from_logits: bool | None = None
) -> Any:
    """Returns the sum over classes of `p log p`: minus the entropy, in nats.

    Args:
        predictions: Float tensor `(B, K)`, or a sigmoid's column `(B,)` or
            `(B, 1)`, as of `confidence`.
        from_logits: Whether predictions are logits; None detects it.

    Returns:
        score: Float32 tensor `(B,)`, in `[-log K, 0]`; NaN where the example
            has no distribution.

    Raises:
        ValueError: If `predictions` has another rank.

    Example:
        >>> score = negative_entropy(np.array([[0.5, 0.5], [1.0, 0.0]]))
        >>> np.round(np.array(score, float), 4).tolist()
        [-0.6931, 0.0]
    """
    outputs = per_example.Outputs(predictions, from_logits=from_logits)
    p = outputs.probabilities
    terms = ops.where(p > 0, p * ops.log(ops.where(p > 0, p, 1.0)), 0.0)
    return ops.sum(terms, axis=-1) + outputs.missing


def energy(
    logits: Any, *, from_logits: bool | None = None, temperature: float = 1.0
) -> Any:
    """Returns the negative energy `T log sum_k exp(logit_k / T)`.

    Args:
        logits: Float tensor `(B, K)`, or one column `(B,)` or `(B, 1)`, read as
            the logits `{0, z}`. Probabilities are refused: they do not say how
            large the logits were.
        from_logits: True to spare the check of the values; None detects it.
        temperature: T, above 0. Defaults to 1.

    Returns:
        score: Float32 tensor `(B,)`, in units of the logits; NaN where a logit
            is NaN.

    Raises:
        ValueError: If `logits` are probabilities or have another rank.

    Example:
        >>> score = energy(np.array([[0.0, 0.0], [-2.0, 5.0]]))
        >>> np.round(np.array(score, float), 3).tolist()
        [0.693, 5.001]
    """
    temperature = _checks.real_at_least(
        "temperature", temperature, 1e-6, remedy="Write 1"
    )
    columns = _read_logits("Energy", logits, from_logits)
    return temperature * ops.logsumexp(columns / temperature, axis=-1)


def max_logit(logits: Any, *, from_logits: bool | None = None) -> Any:
    """Returns the largest logit.

    Args:
        logits: Float tensor `(B, K)`, or one column, as of `energy`.
        from_logits: True to spare the check of the values; None detects it.

    Returns:
        score: Float32 tensor `(B,)`; NaN where a logit is NaN.

    Raises:
        ValueError: If `logits` are probabilities or have another rank.

    Example:
        >>> max_logit(np.array([[0.0, 3.0], [-2.0, -5.0]])).numpy().tolist()
        [3.0, -2.0]
    """
    return ops.max(_read_logits("The largest logit", logits, from_logits), -1)


# Scores by name; those of `NEED_LOGITS` cannot be had of probabilities.
SCORES: Mapping[str, Callable[..., Any]] = {
    "confidence": confidence,
    "entropy": negative_entropy,
    "energy": energy,
    "max_logit": max_logit,
}
NEED_LOGITS = ("energy", "max_logit")


def _read_logits(name: str, logits: Any, from_logits: bool | None) -> Any:
    """Returns logits `(B, K)`; refuses what looks like probabilities."""
    from_logits = output_kind.check_from_logits(from_logits)
    values = output_kind.to_tensor(logits)
    if from_logits is None:
        found = output_kind.evidence(ops.cast(values, "float32"))
        from_logits = output_kind.concrete(found >= 0) is not False
    if not from_logits:
        raise _checks.refusal(
            f"{name} is a score of logits",
            f"probabilities of shape {tuple(values.shape)}",
            "Predict without the last softmax or sigmoid, or choose"
            " `ood.confidence` or `ood.negative_entropy`",
        )
    return output_kind.to_columns(values, True)
