"""How the inputs of a batch are combined: mixed, kept or united.

Images and measurements are mixed. Integers of 32 and 64 bits are ids, tokens
or masks as often as numbers, so how they are combined must be said.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_mixup import _checks

RULES = ("mix", "keep", "union")
# These are mixed if no rule is given.
_MEASUREMENTS = (tf.uint8, tf.uint16, tf.int8, tf.int16)


class InputRules:
    """The rule of each input.

    - `"mix"`: `lam * x_i + (1 - lam) * x_j`.
    - `"keep"`: the example's own.
    - `"union"`: the elementwise maximum (of booleans the logical or) over the
      examples of a mixture whose share is above 0.

    Args:
        rules: One rule for all inputs, or a dictionary from the name of an
            input, or of a structure of inputs, to its rule. Names of nested
            inputs are joined by "/"; those in a tuple are numbers from 0.
            None leaves it to the type: floats and integers of 8 and 16 bits
            are mixed, all else is refused.

    Raises:
        ValueError: If a rule is unknown.
    """

    def __init__(self, rules: Any) -> None:
        self._rules = by_name(rules)
        for name, rule in self._rules.items():
            _checks.one_of(
                f"inputs[{name!r}]" if name else "inputs", rule, RULES
            )

    def resolve(self, inputs: Any, *, mixes: bool = True) -> list[str]:
        """Returns the rule of each input, in the order of `tf.nest.flatten`.

        Args:
            inputs: Structure of tensors or of their specifications.
            mixes: Whether anything is mixed; else inputs that need a rule and
                have none are kept.

        Raises:
            ValueError: If an input needs a rule and has none, a name is
                unknown, or text is to be mixed.
        """
        leaves = dict(_flatten(inputs))
        for name in self._rules:
            if not any(within(leaf, name) for leaf in leaves):
                raise _checks.refusal(
                    "Names in `inputs` must be those of inputs",
                    f"{name!r} for inputs {sorted(leaves)}",
                    "Join the names of nested inputs by '/'",
                )
        return [self._rule(name, leaf, mixes) for name, leaf in leaves.items()]

    def _rule(self, name: str, leaf: Any, mixes: bool) -> str:
        dtype = leaf.dtype
        named = [each for each in self._rules if within(name, each)]
        if not named:
            if dtype.is_floating or dtype.is_complex or dtype in _MEASUREMENTS:
                return "mix"
            if not mixes:
                return "keep"
            raise _refuse_dtype(name, dtype)
        # The longest name is the most specific.
        rule = self._rules[max(named, key=len)]
        if rule != "keep" and (
            dtype == tf.string or (dtype.is_complex and rule == "union")
        ):
            raise _checks.refusal(
                "Only numbers can be mixed, and only those with an order have"
                " a union",
                f"{_describe(name, dtype)} with the rule {rule!r}",
                'Write the rule "keep", or mix embeddings of text with'
                " `mixup.training_model(model, at=...)`",
            )
        return rule

    def combine(
        self,
        inputs: Any,
        lam: tf.Tensor,
        partner: tf.Tensor,
        mix: Callable[[tuple], tuple],
        *,
        mixes: bool = True,
    ) -> Any:
        """Combines the inputs of a batch, each by its rule.

        Args:
            inputs: Structure of tensors; examples beyond B are partners only.
            lam: Coefficients, `(B,)` or `(B, P)`.
            partner: Partners, `(B,)` or `(B, P - 1)`.
            mix: Mixes a tuple of tensors: those under the rule `"mix"`.
            mixes: As of `resolve`.

        Returns:
            combined: The same structure, of B examples.
        """
        measured = self.select_mixed(inputs, mixes=mixes)
        mixed = iter(mix(measured) if measured else ())
        combine = {
            "mix": lambda _: next(mixed),
            "keep": lambda leaf: leaf[: tf.shape(partner)[0]],
            "union": lambda leaf: _unite(leaf, lam, partner),
        }
        leaves = tf.nest.flatten(inputs)
        rules = self.resolve(inputs, mixes=mixes)
        combined = [
            combine[rule](leaf)
            for rule, leaf in zip(rules, leaves, strict=True)
        ]
        return tf.nest.pack_sequence_as(inputs, combined)

    def select_mixed(self, inputs: Any, *, mixes: bool = True) -> tuple:
        """Returns the inputs, or specifications, under the rule `"mix"`."""
        leaves = tf.nest.flatten(inputs)
        rules = self.resolve(inputs, mixes=mixes)
        return tuple(
            leaf
            for rule, leaf in zip(rules, leaves, strict=True)
            if rule == "mix"
        )


def _flatten(structure: Any, name: str = "") -> list[tuple[str, Any]]:
    """Returns (name, leaf) in the order of `tf.nest.flatten`."""
    if isinstance(structure, Mapping):
        items = [(str(key), structure[key]) for key in sorted(structure)]
    elif isinstance(structure, (tuple, list)):
        items = [(str(key), each) for key, each in enumerate(structure)]
    else:
        return [(name, structure)]
    return [
        pair
        for key, each in items
        for pair in _flatten(each, f"{name}/{key}" if name else key)
    ]


def by_name(rules: Any) -> dict[str, str]:
    """Returns rules by the names of inputs; "" stands for all."""
    return {} if rules is None else dict(_flatten(rules))


def within(leaf: str, name: str) -> bool:
    """Returns whether a name is that of an input, or of what it is in."""
    return not name or leaf == name or leaf.startswith(f"{name}/")


def _describe(name: str, dtype: tf.DType) -> str:
    what = f"input {name!r}" if name else "inputs"
    return f"{what} of dtype {dtype.name}"


def _refuse_dtype(name: str, dtype: tf.DType) -> ValueError:
    rule = f'{{{name!r}: "keep"}}' if name else '"mix"'
    return _checks.refusal(
        "Integers of 32 and 64 bits, booleans and text can be ids, tokens or"
        " masks, so how they are combined must be said",
        f"{_describe(name, dtype)} without a rule",
        f'Write `inputs={rule}`, with "mix" for numbers, "keep" for ids that'
        ' stay with their example or "union" for masks; embeddings of tokens'
        ' are mixed by `mixup.training_model(model, at="embedding")`',
    )


def _unite(leaf: tf.Tensor, lam: tf.Tensor, partner: tf.Tensor) -> tf.Tensor:
    """Returns the union of each example and its partners, share above 0."""
    own = tf.range(tf.shape(partner)[0])
    if partner.shape.rank == 1:
        lam = tf.stack([lam, 1 - lam], axis=1)
        partner = partner[:, None]
    sources = tf.concat([own[:, None], partner], axis=1)
    values = tf.gather(leaf, sources)
    taken = tf.reshape(
        lam > 0, tf.concat([tf.shape(lam), tf.ones_like(tf.shape(leaf)[1:])], 0)
    )
    if leaf.dtype == tf.bool:
        return tf.reduce_any(values & taken, axis=1)
    least = tf.constant(leaf.dtype.min, leaf.dtype)
    return tf.reduce_max(tf.where(taken, values, least), axis=1)
