"""Training models: a classifier with `Mix` layers, sharing its weights."""

import functools
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras

from tf_mixup import _checks
from tf_mixup._models import last_layer
from tf_mixup._models import model_calls
from tf_mixup.mixing import _input_rules
from tf_mixup.mixing import layers
from tf_mixup.mixing import options

# Stands for the inputs of a model among the names of its layers.
INPUT = "input"
# What is done at a place: a function of a tensor and a plan.
_Place = Callable[..., Any]
# Segments of a text, as KerasHub and Hugging Face name them.
_SEGMENTS = ("segment_ids", "token_type_ids")


def build(
    model: keras.Model,
    *,
    at: str | Sequence[str] | None,
    num_points: int,
    inputs: options.Inputs,
    decouples: bool = False,
) -> keras.Model:
    """Builds the model that `MixUp.training_model` returns.

    Args:
        model: Functional or sequential model with defined inputs.
        at: As `MixUp.training_model` takes it.
        num_points: Examples in a mixture.
        inputs: Rules and statistics of inputs. Inputs with a rule may go
            around the layer `at`.
        decouples: Whether all places mix, each after those before it are
            undone, and the outputs are decoupled: `lam` is `(B, L)` then.
    """
    model_calls.check_model(model)
    structure = _structures(model)[0]
    _check_rules(structure, inputs.rules)
    names = _check_names(model, at, inputs.rules)
    given = _inputs_like(structure)
    if decouples:
        names = _in_order(model, names)
        plan = _decoupling_inputs(len(names))
        places = _decoupling_places(names)
    else:
        plan = _plan_inputs(num_points, len(names))
        places = _places(names)
    at_inputs = places.pop(INPUT, None)
    statistics = {"mean": inputs.mean, "std": inputs.std}

    def mix(tensor: Any) -> Any:
        if at_inputs is not None:
            return at_inputs(tensor, plan, **statistics)
        return _mix(tensor, {}, **statistics) if inputs.affine else tensor

    feed = {
        None: mix,
        "keep": lambda tensor: tensor,
        "union": lambda tensor: _unite(
            tensor, _column(plan, 0) if decouples else plan
        ),
    }
    flat = keras.tree.flatten(given)
    rules = _find_rules(structure, inputs.rules)
    fed = [feed[rule](tensor) for rule, tensor in zip(rules, flat, strict=True)]
    # The model as a whole would round what is mixed to its inputs' types.
    whole = not places and not _rounds(model, fed)
    _check_overrides(model, inputs_alone=whole)
    if whole:
        outputs = model(keras.tree.pack_sequence_as(given, fed))
    else:
        outputs = _run_inside(model, fed, plan, places)
    if decouples:
        outputs = _decouple(outputs, _column(plan, -1))
    return keras.Model(
        {"inputs": given, **plan}, outputs, name=f"{model.name}_mixing"
    )


def names_of(at: str | Sequence[str] | None) -> list[str]:
    """Returns the names of the places that examples are mixed in."""
    return [INPUT] if at is None else [at] if isinstance(at, str) else list(at)


def _places(names: list[str]) -> dict[str, _Place]:
    """Returns what is done at each place: one of them mixes a batch."""
    return {
        name: functools.partial(_mix, place=number, places=len(names))
        for number, name in enumerate(names)
    }


def _decoupling_places(names: list[str]) -> dict[str, _Place]:
    """Returns what is done at each place: all mix, the later ones anew."""

    def mix_anew(
        tensor: Any, plan: dict, *, number: int, **options: Any
    ) -> Any:
        if number:
            tensor = _unmix(tensor, _column(plan, number - 1))
        return _mix(tensor, _column(plan, number), **options)

    return {
        name: functools.partial(mix_anew, number=number)
        for number, name in enumerate(names)
    }


def _in_order(model: keras.Model, names: list[str]) -> list[str]:
    order = [INPUT, *_names_in_order(model)]
    return sorted(names, key=order.index)


def _column(plan: dict[str, Any], number: int) -> dict[str, Any]:
    """Returns the plan of one of several places."""
    return {**plan, "lam": plan["lam"][:, number]}


def _check_overrides(model: keras.Model, *, inputs_alone: bool) -> None:
    """Refuses a model that would train on other numbers."""
    # Where the inputs alone are mixed the model is called as a whole.
    kept: tuple[str, ...] = ("call", "__call__") if inputs_alone else ()
    if _takes_ids(model) and getattr(model, "preprocessor", None) is not None:
        # Text is not mistaken for ids.
        kept += model_calls.PREPARING
    override = model_calls.override_in_the_way(model, training=True, kept=kept)
    if override is None:
        return
    remedy = "Train `model` itself, and leave `training_model` out"
    if hasattr(model, "preprocessor"):
        remedy = (
            "Prepare the batches with `model.preprocessor` before they are"
            " mixed, and set `model.preprocessor = None`"
        )
    raise _checks.refusal(
        "A training model has the layers of the model, and none of its methods",
        f"a model with the override `{override}`",
        remedy,
    )


def mixable_layers(model: keras.Model, *, inputs: Any = None) -> list[str]:
    """Returns the names of the layers whose outputs can be mixed, in order.

    These are the layers that all paths from the inputs to the outputs cross,
    once, and that give one tensor of floats: not those in a branch, nor the
    outputs. Layers of a functional model inside the model are named by their
    path, as `"backbone/token_embedding"`. No paths are inputs that are not
    mixed, and those that layers take as a mask by a keyword, as
    `padding_mask=mask`.

    Args:
        model: Functional or sequential model with defined inputs.
        inputs: Rules, as `MixUp(inputs=...)` takes them.

    Returns:
        names: For `mixup.training_model(model, at=...)`.

    Raises:
        ValueError: If the inputs of `model` are not defined.

    Example:
        >>> layers = [keras.layers.Dense(4, name=name) for name in "abc"]
        >>> mixable_layers(keras.Sequential([keras.Input((2,)), *layers]))
        ['a', 'b']
    """
    _check_rules(_structures(model)[0], inputs)
    return _find_mixable(model, inputs)


def _find_mixable(model: keras.Model, inputs: Any) -> list[str]:
    calls, starts, outputs = _trace(model)
    aside = _find_aside(
        calls, starts, _find_rules(_structures(model)[0], inputs)
    )
    # A tensor is open as long as somebody will still read it; all paths cross
    # a layer after which its output alone is open.
    readers = Counter(id(tensor) for call in calls for tensor in call.inputs)
    readers.update(id(tensor) for tensor in outputs)
    times = Counter(call.layer.name for call in calls)
    ends = {id(tensor) for tensor in outputs}
    open_tensors = {id(tensor) for tensor in starts} - aside
    names = []
    for call in calls:
        readers.subtract(id(tensor) for tensor in call.inputs)
        results = {id(tensor) for tensor in call.outputs} - aside
        open_tensors = {
            each for each in open_tensors | results if readers[each]
        }
        crossed = open_tensors <= results and times[call.layer.name] == 1
        if crossed and _is_nested(call.layer):
            inside = _find_mixable(call.layer, inputs)
            names += [f"{call.layer.name}/{name}" for name in inside]
        if (
            crossed
            and open_tensors == results - ends
            and len(results) == 1
            and _is_float(call.outputs[0])
            and isinstance(call.layer, keras.layers.Layer)
        ):
            names.append(call.layer.name)
    return names


def _find_aside(
    calls: list["_Call"], inputs: list[Any], rules: list[str | None]
) -> set[int]:
    """Returns tensors that are made only of inputs that are not mixed."""
    aside = {
        id(tensor)
        for tensor, rule in zip(inputs, rules, strict=True)
        if rule is not None
    }
    for call in calls:
        if call.inputs and all(id(tensor) in aside for tensor in call.inputs):
            aside.update(id(tensor) for tensor in call.outputs)
    return aside


def _find_rules(structure: Any, rules: Any) -> list[str | None]:
    """Returns the rule of each input that is not mixed; None for the others."""
    given = _input_rules.by_name(rules)
    found = []
    for path, leaf in keras.tree.flatten_with_path(structure):
        keys = ("/".join(map(str, path)), leaf.name)
        named = [
            name
            for name in given
            if any(_input_rules.within(key, name) for key in keys)
        ]
        rule = given[max(named, key=len)] if named else _usual_rule(keys, path)
        found.append(None if rule == "mix" else rule)
    return found


def _usual_rule(keys: tuple[str, str], path: tuple) -> str | None:
    name = str(path[-1]) if path else keys[1]
    if name == "mask" or name.endswith("_mask"):
        return "union"
    return "keep" if name in _SEGMENTS else None


def _check_rules(structure: Any, rules: Any) -> None:
    """Refuses rules that are unknown or belong to no input, or to all."""
    known = {
        name
        for path, leaf in keras.tree.flatten_with_path(structure)
        for name in ("/".join(map(str, path)), leaf.name)
    }
    for name, rule in _input_rules.by_name(rules).items():
        _checks.one_of(f"inputs[{name!r}]", rule, _input_rules.RULES)
        if not any(_input_rules.within(each, name) for each in known):
            _checks.one_of("the name of an input", name, sorted(known - {""}))
    if None not in _find_rules(structure, rules):
        raise _checks.refusal(
            "At least one input must be mixed",
            f"rules for all of {sorted(known - {''})}",
            "Leave the rule of one of them out",
        )


class _Call(NamedTuple):
    """One call of a layer (or operation) in a model."""

    layer: Any
    inputs: list[Any]
    outputs: list[Any]


def _trace(model: keras.Model) -> tuple[list[_Call], list[Any], list[Any]]:
    """Returns a model's calls in their order, its inputs and its outputs."""
    _structures(model)
    calls = []
    masks: set[int] = set()

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        calls.append(_Call(layer, _tensors((args, kwargs)), _tensors(outputs)))
        given = [kwargs[key] for key in kwargs if "mask" in key]
        masks.update(id(tensor) for tensor in _tensors(given))
        return outputs

    again = _call_again(keras.Model(model.inputs, model.outputs), call)
    masks &= {id(tensor) for tensor in again.inputs}
    calls = [
        each._replace(inputs=[x for x in each.inputs if id(x) not in masks])
        for each in calls
    ]
    return calls, again.inputs, again.outputs


def _is_nested(layer: Any) -> bool:
    """Returns whether a layer is a model whose own layers can be reached."""
    return isinstance(layer, keras.Model) and model_calls.runs_plainly(layer)


def _names_in_order(model: keras.Model) -> list[str]:
    """Returns the names of all layers; those inside a model precede it."""
    names = []
    for call in _trace(model)[0]:
        name = call.layer.name
        if _is_nested(call.layer):
            inside = _names_in_order(call.layer)
            names += [f"{name}/{each}" for each in inside]
        names.append(name)
    return names


def _call_again(
    model: keras.Model, call: Callable[..., Any], inputs: Any = None
) -> keras.Model:
    """Returns `model` made anew of its own layers, each called by `call`."""
    return keras.models.clone_model(
        model,
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _tensors(structure: Any) -> list[Any]:
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def _is_float(tensor: Any) -> bool:
    return keras.backend.is_float_dtype(tensor.dtype)


def _structures(model: keras.Model) -> tuple[Any, Any]:
    """Returns the structures of a model's inputs and outputs."""
    inputs = last_layer.input_structure(model)
    sequential = isinstance(model, keras.Sequential)
    return inputs, model.outputs[0] if sequential else model.output


def _mix_inside(
    model: keras.Model,
    inputs: list[Any],
    plan: dict[str, Any],
    places: dict[str, _Place],
) -> keras.Model:
    """Returns `model` with `Mix` after some of its layers.

    It takes the plan after its inputs and gives it after its outputs: Keras
    rebuilds models whose inputs all reach an output.
    """

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        start = f"{layer.name}/"
        inside = {
            name.removeprefix(start): place
            for name, place in places.items()
            if name.startswith(start)
        }
        if inside or (_is_nested(layer) and _rounds(layer, args[0])):
            outputs = _call_mixing(layer, args[0], plan, inside)
        else:
            outputs = layer(*args, **kwargs)
        if layer.name not in places:
            return outputs
        return places[layer.name](outputs, plan)

    passed = list(plan.values())
    through = keras.Model([*model.inputs, *passed], [*model.outputs, *passed])
    return _call_again(through, call, [*inputs, *passed])


def _run_inside(
    model: keras.Model,
    inputs: list[Any],
    plan: dict[str, Any],
    places: dict[str, _Place],
) -> Any:
    """Returns the outputs of a model that is mixed after some layers."""
    inner = _mix_inside(model, _fresh(inputs), plan, places)
    results = inner([*inputs, *plan.values()])
    return keras.tree.pack_sequence_as(
        _structures(model)[1], results[: len(model.outputs)]
    )


def _rounds(model: keras.Model, inputs: Any) -> bool:
    """Returns whether a model casts floats to integers, as Keras' do."""
    pairs = zip(keras.tree.flatten(inputs), model.inputs, strict=True)
    return any(_is_float(given) > _is_float(own) for given, own in pairs)


def _call_mixing(
    model: keras.Model,
    inputs: Any,
    plan: dict[str, Any],
    places: dict[str, _Place],
) -> Any:
    """Calls a model inside the model, with `Mix` after some of its layers."""
    structure, ends = _structures(model)
    try:
        keras.tree.assert_same_structure(inputs, structure)
    except (TypeError, ValueError) as error:
        raise _checks.refusal(
            "A model inside the model must be called with its own inputs",
            f"{model.name!r} with inputs of another structure",
            f"Mix after it, as `at={model.name!r}`",
        ) from error
    fresh = _fresh([*keras.tree.flatten(inputs), *plan.values()])
    count = len(model.inputs)
    inner_plan = dict(zip(plan, fresh[count:], strict=True))
    inner = _mix_inside(model, fresh[:count], inner_plan, places)
    results = inner([*keras.tree.flatten(inputs), *plan.values()])
    return keras.tree.pack_sequence_as(ends, results[: len(model.outputs)])


def _mix(tensor: Any, plan: dict[str, Any], **options: Any) -> Any:
    """Calls a new `Mix` that keeps the type of floats."""
    dtype = tensor.dtype if _is_float(tensor) else "float32"
    return layers.Mix(dtype=dtype, **options)(tensor, **plan)


def _unmix(tensor: Any, plan: dict[str, Any]) -> Any:
    """Calls a new `Unmix` that keeps the type of floats."""
    dtype = tensor.dtype if _is_float(tensor) else "float32"
    return layers.Unmix(dtype=dtype)(tensor, **plan)


def _decouple(outputs: Any, plan: dict[str, Any]) -> Any:
    return keras.tree.map_structure(lambda each: _unmix(each, plan), outputs)


def _unite(tensor: Any, plan: dict[str, Any]) -> Any:
    return layers.Unite()(tensor, plan["lam"], plan["partner_offset"])


def _inputs_like(structure: Any) -> Any:
    single = not keras.tree.is_nested(structure)
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            # Keras warns where a key and its tensor's name differ.
            name="inputs" if single else tensor.name,
        ),
        structure,
    )


def _fresh(tensors: list[Any]) -> list[Any]:
    """Returns new inputs of the shapes and types of tensors."""
    return [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype)
        for tensor in tensors
    ]


def _plan_inputs(num_points: int, places: int) -> dict[str, Any]:
    """Returns the inputs by which the plan comes."""
    shapes: dict[str, tuple[int, ...]] = {"lam": (), "partner_offset": ()}
    if num_points > 2:
        shapes = {"lam": (num_points,), "partner_offset": (num_points - 1,)}
    if places > 1:
        shapes["place"] = ()
    return {
        name: keras.Input(
            shape, dtype="float32" if name == "lam" else "int32", name=name
        )
        for name, shape in shapes.items()
    }


def _decoupling_inputs(places: int) -> dict[str, Any]:
    """Returns the inputs by which the plan of all places comes."""
    return {
        "lam": keras.Input((places,), dtype="float32", name="lam"),
        "partner_offset": keras.Input((), dtype="int32", name="partner_offset"),
    }


def _check_names(
    model: keras.Model,
    at: str | Sequence[str] | None,
    inputs: Any,
) -> list[str]:
    """Returns the names of the places that examples are mixed in."""
    names = names_of(at)
    if not names or len(set(names)) < len(names):
        raise _checks.refusal(
            "`at` must name places to mix in, each once",
            f"at={at!r}",
            "Leave it out to mix the inputs",
        )
    valid = _find_mixable(model, inputs)
    if INPUT in names and _takes_tokens(model, inputs):
        raise _checks.refusal(
            "Integer ids and tokens are no numbers that could be mixed; their"
            " embeddings are",
            f"at={at!r} with a model of tokens",
            f"Write one of {valid!r} as `at`; for an input that is not to be"
            ' mixed, `inputs={name: "keep"}`',
        )
    hidden = [name for name in names if name != INPUT]
    for name in hidden:
        if name not in valid:
            raise _refuse_layer(model, name, valid, inputs)
    return names


def _takes_ids(model: keras.Model) -> bool:
    """Returns whether inputs are integers, and none is text."""
    types = {tensor.dtype for tensor in model.inputs}
    return "string" not in types and bool(types & {"int32", "int64"})


def _takes_tokens(model: keras.Model, inputs: Any) -> bool:
    """Returns whether text or ids, or what an embedding reads, are mixed."""
    rules = _find_rules(_structures(model)[0], inputs)
    mixed = [
        tensor
        for tensor, rule in zip(model.inputs, rules, strict=True)
        if rule is None
    ]
    ids = any(each.dtype in ("string", "int32", "int64") for each in mixed)
    return ids or _embeds(model, mixed)


def _embeds(model: keras.Model, inputs: list[Any]) -> bool:
    """Returns whether an embedding reads inputs, also inside a model."""
    read = [
        tensor
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
        for tensor in keras.tree.flatten(layer.input)
    ]
    return any(tensor is each for tensor in inputs for each in read) or any(
        _is_nested(layer) and _embeds(layer, layer.inputs)
        for layer in model.layers
    )


def _refuse_layer(
    model: keras.Model,
    name: str,
    valid: list[str],
    inputs: Any,
) -> ValueError:
    order = _names_in_order(model)
    if name not in order:
        choices = ", ".join(repr(each) for each in (INPUT, *valid))
        return _checks.refusal(
            "`at` must name layers of the model",
            f"at={name!r}",
            f"Choose among {choices}",
        )
    place = order.index(name)
    start = [] if _takes_tokens(model, inputs) else [INPUT]
    before = [each for each in valid if order.index(each) < place] or start
    after = [each for each in valid if order.index(each) > place]
    nearest = [*before[-1:], *after[:1]]
    take = " or ".join(repr(each) for each in nearest)
    return _checks.refusal(
        "Where examples are mixed all paths (a mask is one) must cross one"
        " layer, before the outputs, that is called once and gives one tensor"
        " of floats",
        f"at={name!r}",
        (f"Take {take}, or name" if nearest else "Name")
        + " in `inputs` what goes around it and is not mixed, as"
        ' `inputs={"mask": "union"}`',
    )
