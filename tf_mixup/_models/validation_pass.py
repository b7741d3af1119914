"""Monitors measure in `fit`'s own validation pass and add values to `logs`.

`EarlyStopping`, `ModelCheckpoint` and `TensorBoard` read `logs` at the end of
an epoch, and `SwapEMAWeights` changes the weights when a validation pass
begins and ends, all in the order of the list of callbacks. What a monitor
measures must not depend on its place there. So monitors measure before any
other callback sees the end of the pass, and `evaluate` returns their values
together with Keras' own.

From `on_train_begin` to `on_train_end` the model's method `evaluate` is
replaced on the instance. A metric whose result is a dictionary would also put
values into `logs`, but in every batch, and could not predict other sets.
"""

import warnings
from collections.abc import Callable
from typing import Any
from typing import Protocol

import keras
import numpy as np


class Monitor(Protocol):
    """What measures in each validation pass of `fit`."""

    model: Any
    params: Any
    values: dict[str, float]

    def measure_validated(self) -> None:
        """Measures into `values`, if it is due."""


def attach(monitor: Monitor) -> None:
    """Makes a monitor measure in each validation pass of the current `fit`."""
    model = monitor.model
    # Callbacks of one `fit` share this dictionary. A `fit` that crashed left a
    # hook with another one.
    detach(model, unless=monitor.params)
    if not isinstance(model.evaluate, _Evaluate):
        model.evaluate = _Evaluate(model.evaluate, monitor.params)
    if monitor not in model.evaluate.monitors:
        model.evaluate.monitors.append(monitor)


class _Evaluate:
    """The model's `evaluate` during `fit`; one for all monitors."""

    def __init__(self, own: Callable[..., Any], params: Any) -> None:
        self.own = own
        self.params = params
        self.monitors: list[Any] = []
        self._has_warned = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        callbacks: Any = kwargs.get("callbacks")
        if not self._is_of_fit(callbacks):
            return self.own(*args, **kwargs)
        first = _First(self.monitors)
        callbacks.callbacks.insert(0, first)
        try:
            logs = self.own(*args, **kwargs)
        finally:
            callbacks.callbacks.remove(first)
        return self._add_to(logs)

    def _is_of_fit(self, callbacks: Any) -> bool:
        """Returns whether a pass is `fit`'s, which has its callbacks."""
        return isinstance(callbacks, keras.callbacks.CallbackList) and any(
            monitor in callbacks.callbacks for monitor in self.monitors
        )

    def _add_to(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Returns logs with all values, each under one name.

        `fit` prefixes the top-level names with `val_`; then Keras flattens.
        """
        values: dict[str, float] = {}
        for monitor in self.monitors:
            self._compare(monitor.values, values)
            values = {**monitor.values, **values}
        self._compare(
            values, {f"val_{name}": value for name, value in logs.items()}
        )
        kept = {
            name: value
            for name, value in logs.items()
            if f"val_{name}" not in values
        }
        return {**kept, "monitors": values}

    def _compare(
        self, values: dict[str, float], others: dict[str, Any]
    ) -> None:
        """Warns once of two values of one name."""
        differ = [
            name
            for name in values.keys() & others.keys()
            if not np.allclose(
                values[name], others[name], rtol=1e-3, atol=1e-4, equal_nan=True
            )
        ]
        if differ and not self._has_warned:
            self._has_warned = True
            name = min(differ)
            warnings.warn(
                f"`{name}` was measured twice in one epoch: {values[name]:.4f}"
                f" and {others[name]:.4f}. `logs` has a monitor's value, that"
                " of the first in the list of callbacks. Name what is measured"
                ' on other data, as `CalibrationMonitor(data, name="test")`.',
                stacklevel=2,
            )


class _First(keras.callbacks.Callback):
    """Comes before all callbacks when a validation pass ends."""

    def __init__(self, monitors: list[Any]) -> None:
        super().__init__()
        self._monitors = monitors

    def on_test_end(self, logs: dict | None = None) -> None:
        """Lets all monitors measure."""
        for monitor in self._monitors:
            monitor.measure_validated()


def detach(model: keras.Model, unless: Any = None) -> None:
    """Gives the model its own `evaluate` back.

    Args:
        model: The model.
        unless: Parameters of a `fit` whose replacement stays.
    """
    hook = model.evaluate
    if not isinstance(hook, _Evaluate):
        return
    if unless is not None and hook.params is unless:
        return
    del model.evaluate
    if model.evaluate != hook.own:
        # It was replaced on the instance before.
        model.evaluate = hook.own
