"""Loads a saved Keras model without running code from its file.

A `.keras` file is a zip of a configuration and weights. What the
configuration asks for is read before Keras builds anything, so that a
refusal can say what to do about it.
"""

import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

from tf_mixup import _checks

# The package of Keras' own classes, and what functions such as ReLU are in.
_KERAS = ("keras", "builtins")


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a model in Keras' safe mode, for predictions only.

    Args:
        path: A `.keras` file, as `model.save("model.keras")` writes.

    Returns:
        model: The model, not compiled: its loss and optimizer are not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no whole `.keras` file, if the model has
            Lambda layers, classes that are not registered or anything else
            that the safe mode refuses.
    """
    path = pathlib.Path(path)
    config = _read_config(path)
    _check_config(config, path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ArithmeticError, AttributeError, LookupError, OSError) as error:
        raise _unloadable(path, error) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise _unloadable(path, error) from error


def _read_config(path: pathlib.Path) -> Any:
    """Returns the model's configuration, without its loss and optimizer."""
    if path.is_dir() or path.suffix in (".h5", ".hdf5"):
        raise _checks.refusal(
            "The model must be one `.keras` file",
            f"{path}, another format",
            "Load it where it was made and write"
            ' `model.save("model.keras")`; or call'
            " `calibration_report(model, dataset)` on the loaded model",
        )
    if not path.exists():
        raise FileNotFoundError(
            f"There must be a model to report on. Received: {path}, which does"
            " not exist. Give the path of a `.keras` file."
        )
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
            damaged = file.testzip()
        if damaged or not isinstance(config, dict):
            raise ValueError(f"damaged {damaged or 'config.json'}")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise _checks.refusal(
            "The model must be a whole `.keras` file",
            f"{path} ({error})",
            "The file is damaged, cut short or another format: copy or save"
            " it again",
        ) from error
    # The file is not compiled, so nothing in here is needed.
    config.pop("compile_config", None)
    return config


def _check_config(config: Any, path: pathlib.Path) -> None:
    nodes = list(_walk(config))
    names = {str(node["class_name"]) for node in nodes}
    if names & {"Lambda", "__lambda__"}:
        raise _checks.refusal(
            "The model must have no Lambda layers, whose code would run on"
            " loading",
            f"{path} with a Lambda layer",
            "Write the layer as a registered class. Or, if you trust the file,"
            " load it yourself with `keras.saving.load_model(path,"
            " safe_mode=False)` and call `calibration_report(model, dataset)`",
        )
    missing = sorted({_custom_name(node) for node in nodes} - {""})
    if missing:
        raise _checks.refusal(
            "All classes of the model must be Keras' own or registered",
            f"{path} with {', '.join(missing)}",
            "Decorate them with `@keras.saving.register_keras_serializable()`,"
            " save the model again, and import their module first:"
            " `--imports=my_package.layers`, or in Python `import`",
        )


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    """Yields all serialized objects in a configuration."""
    if isinstance(node, dict):
        if "class_name" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _walk(child)


def _custom_name(node: dict[str, Any]) -> str:
    """Returns the name of an unknown class or function; else nothing."""
    module = str(node.get("module") or "")
    name = node.get("registered_name")
    if not name or module.split(".")[0] in _KERAS:
        return ""
    known = keras.saving.get_registered_object(name)
    return "" if known is not None else f"`{name}`"


def _unloadable(path: pathlib.Path, error: Exception) -> ValueError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _checks.refusal(
        "Keras must be able to load the model in its safe mode",
        f"{path} ({lines[0].rstrip('.')})",
        f"This is Keras {keras.__version__}: use the version that saved it."
        " Or load the model yourself and call `calibration_report(model,"
        " dataset)`",
    )
