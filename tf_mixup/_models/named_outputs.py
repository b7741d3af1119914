"""A model's outputs by their names, with the labels that belong to them.

A single output, also in a dictionary or a list, has the empty name, as in the
names of Keras' metrics. Several have the keys of their dictionary, or the
output names of a functional model.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from tf_mixup import _checks


def by_name(outputs: Any, model: keras.Model) -> dict[str, Any]:
    """Returns name -> output, for outputs in any structure."""
    leaves = keras.tree.flatten(outputs)
    if len(leaves) == 1:
        return {"": leaves[0]}
    if isinstance(outputs, Mapping) and len(outputs) == len(leaves):
        return {str(key): outputs[key] for key in outputs}
    names = getattr(model, "output_names", None)
    if not names or len(set(names)) != len(leaves):
        names = [str(place) for place in range(len(leaves))]
    return dict(zip(names, leaves, strict=True))


def weights_of(weights: Any, output: str | int | None) -> Any:
    """Returns the weights of one output: its own, or those of all.

    Args:
        weights: One array, or a dictionary by output; None for none.
        output: Name of the output; None of a model of one.
    """
    if isinstance(weights, Mapping) and output in weights:
        return weights[output]
    leaves = keras.tree.flatten(weights)
    if len(leaves) != 1:
        raise _checks.refusal(
            "Weights must be one array, or one for each output by its name",
            f"{len(leaves)} arrays for output {output!r}",
            "Give a dictionary with the weights of each output",
        )
    return leaves[0]


def of_outputs(
    parts: Any, names: Sequence[str], *, what: str, shared: bool = False
) -> dict[str, Any]:
    """Returns name -> labels or weights, without the names that have none.

    Args:
        parts: One for all, a dictionary by name, or a list in the order of
            `names`; None for none.
        names: All names of the model's outputs, in order.
        what: Their name in messages.
        shared: Whether one array belongs to every output.
    """
    leaves = keras.tree.flatten(parts)
    if parts is None:
        return {}
    if len(names) == 1 and len(leaves) == 1:
        return {names[0]: leaves[0]}
    if isinstance(parts, Mapping) and set(parts) <= set(names):
        return dict(parts)
    if isinstance(parts, (list, tuple)) and len(leaves) == len(names):
        return dict(zip(names, leaves, strict=True))
    if shared and len(leaves) == 1:
        return dict.fromkeys(names, leaves[0])
    found = list(parts) if isinstance(parts, Mapping) else len(leaves)
    raise _checks.refusal(
        f"Each output of the model needs its own {what}",
        f"{what} {found} for outputs {list(names)}",
        f"Give a dictionary with the {what} of each output by its name",
    )
