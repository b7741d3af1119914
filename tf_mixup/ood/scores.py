"""Scores of examples, higher inside the training distribution.

The confidence is the baseline of Hendrycks and Gimpel. Shapes: B examples, K
classes.
"""

from typing import Any

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
