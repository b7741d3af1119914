"""AlphaTuner: sets alpha while the model is trained, so that it is calibrated.

Alpha is too small while the model is overconfident on held-out data, and too
large while it is underconfident: the gap, mean confidence minus accuracy, says
in which direction to go. After each epoch alpha is multiplied by what a rule
makes of the gap. docs/tuning.md explains the default rule.
"""

import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any
from typing import ClassVar
from typing import NamedTuple

import keras
import numpy as np

from tf_mixup import _checks
from tf_mixup import metrics
from tf_mixup import mixing
from tf_mixup import summaries
from tf_mixup.callbacks import calibration_monitor
from tf_mixup.callbacks import mixing_schedule
from tf_mixup.mixing import epoch_counter

# A gap that is known no better says little: of 200 examples.
_COARSE = 0.035
# Of `follow_gap`; docs/tuning.md has the runs that chose it.
_GAIN = 6.0
_LARGEST = 0.35
# Shorter trainings are tuned faster, up to 3 times.
_EPOCHS = 30
_FASTEST = 3.0
# Farther than the logarithms of two alphas are apart.
_BEYOND = 1e3


class Observation(NamedTuple):
    """What a rule sees after an epoch.

    Attributes:
        gap: Mean confidence minus accuracy on held-out data, in [-1, 1].
        standard_error: Of the gap, by chance which examples are held out.
        progress: Share of the epochs that are done, in (0, 1].
        learning_rate: As a share of its largest value so far, in [0, 1].
        num_epochs: Of the whole training, at least 1.
    """

    gap: float
    standard_error: float
    progress: float
    learning_rate: float
    num_epochs: int


Rule = Callable[[Observation], float]


def follow_gap(seen: Observation) -> float:
    """Returns the change of log alpha: the default rule.

    It is 6 times the gap, at most .35 either way, which is a factor of 1.42
    an epoch. With E < 30 epochs both are 30 / E times as large, at most 3
    times. A gap within its standard error counts as 0.

    Args:
        seen: What is known after an epoch.

    Returns:
        change: To be added to the logarithm of alpha.
    """
    if abs(seen.gap) <= seen.standard_error:
        return 0.0
    speed = min(max(_EPOCHS / seen.num_epochs, 1), _FASTEST)
    change = min(max(_GAIN * seen.gap, -_LARGEST), _LARGEST)
    return speed * change


def switch_by_gap(seen: Observation) -> float:
    """Returns a change to the largest alpha, or to no mixing: CAMixup's rule.

    Mixing is off for a class on which the model is underconfident. For

        AlphaTuner(mixup, start=0.01, limits=(0.01, alpha), rule=switch_by_gap)

    of a stage with `per="class"`, which starts without mixing.

    Args:
        seen: What is known after an epoch.

    Returns:
        change: Beyond any limits, up or down.

    References:
        Wen et al. Combining Ensembles and Data Augmentation can Harm your
        Calibration. ICLR 2021, section 4. https://arxiv.org/abs/2010.09875
    """
    return -_BEYOND if seen.gap < 0 else _BEYOND


class AlphaTuner(calibration_monitor.CalibrationMonitor):
    """Sets alpha after each epoch so that the model ends up calibrated.

    One training takes the place of one for each alpha that could be right:

        mixup = tf_mixup.MixUp(alpha="auto", num_classes=10)
        model.compile(..., metrics=[tf_mixup.metrics.CalibrationMetrics()])
        model.fit(
            train.apply(mixup),
            validation_data=validation.apply(mixup.evaluation),
            callbacks=[MixingSchedule(mixup), AlphaTuner(mixup)],
        )

    It is a `CalibrationMonitor`, and all of that one's options are here, too:
    without `data` it reads what `fit` has validated. It adds `alpha`, which
    the epoch was mixed with, and `val_signed_gap_error`, the standard error
    of the gap, to `logs`, and to TensorBoard with `log_dir`.

    The examples that alpha is tuned on belong to the training from then on:
    do not fit a temperature on them, and do not report results of them.

    - Without validation, in the epochs that it measures in, an error is
      raised. With `validation_freq=n` write `freq=n`; alpha then changes in
      these epochs only, by as much.
    - A gap that is known no better than to 3.5 points, as of fewer than some
      200 examples, is warned about. A gap that is no number changes nothing.
    - A second `fit` of the same model goes on with the alpha of the first;
      another model begins with `start`.
      After a resume with `initial_epoch` in a new process call `set_state`.
    - A dataset with `.repeat()` before or after the stage is read ahead: the
      first batches of an epoch may be mixed with the alpha of the last one.
    - All replicas and workers measure the same, and so agree.
    - Epochs that a `MixingSchedule` leaves unmixed have alpha 0 in `logs`, and
      their gap changes nothing.
    - `mixup.replay` mixes with the present alpha, whatever the epoch.
    - With `MixUp(per="class")` each class has an alpha of its own, which the
      rule changes by the gap of the examples with its label. Compile
      `metrics.ClassCalibrationMetrics`, which knows these gaps. `logs` then
      have the mean alpha. A class without examples keeps its alpha.

    Args:
        mixup: The stage of the training dataset, made with `alpha="auto"`.
        data: As for `CalibrationMonitor`.
        start: Alpha of the first epochs, within the limits. Defaults to 1.
        limits: The smallest alpha, at which mixing is turned off, and the
            largest. Defaults to `(0.01, 1.0)`.
        rule: Function of an `Observation` that returns what is added to the
            logarithm of alpha. Defaults to `follow_gap`.
        options: As for `CalibrationMonitor`. With `outputs` of several names
            the mean of their gaps decides.

    Attributes:
        alpha: What the next epoch will be mixed with; 0 is no mixing. By
            class an array `(K,)`.

    Raises:
        ValueError: If an argument is out of range, or the stage has a fixed
            alpha; and as `CalibrationMonitor` does.

    Example:
        >>> mixup = mixing.MixUp(alpha="auto", num_classes=10, seed=0)
        >>> tuner = AlphaTuner(mixup)
        >>> tuner.alpha, mixup.tuned_alpha
        (1.0, 1.0)
    """

    # Defaults of the smallest and the largest alpha.
    LIMITS = (0.01, 1.0)
    _new: ClassVar[dict[str, Any]] = {
        **calibration_monitor.CalibrationMonitor._new,
        "_tuned": None,
    }
    _compiled_types = (metrics.CalibrationMetrics,)

    def __init__(
        self,
        mixup: mixing.Stage,
        data: Any = None,
        *,
        start: float = 1.0,
        limits: tuple[float, float] = LIMITS,
        rule: Rule = follow_gap,
        **options: Any,
    ) -> None:
        super().__init__(data, **options)
        if self._metric_type is metrics.LabelCalibrationMetrics:
            raise _checks.refusal(
                "AlphaTuner tunes by the confidence in one class",
                "multi_label=True",
                "Choose alpha by `val_label_ece` of a `CalibrationMonitor`",
            )
        tuned = getattr(mixup, "tuned_alpha", None)
        if tuned is None:
            raise _checks.refusal(
                "AlphaTuner sets the alpha of a stage that was made for it",
                f"{mixup!r}",
                'Write `MixUp(alpha="auto", ...)`',
            )
        self.mixup = mixup
        self.limits = _check_limits(limits)
        self.start = _checks.real_between(
            "start", start, *self.limits, remedy="Write a number between"
        )
        if not callable(rule):
            raise _checks.refusal(
                "`rule` must be a function of an `Observation`",
                f"rule={rule!r}",
                "Leave it out, or write a function",
            )
        self.rule = rule
        self._by_class = np.ndim(tuned) == 1
        if self._by_class:
            self._metric_type = metrics.ClassCalibrationMetrics
        # One, or one for each class.
        self._log_alphas = [math.log(self.start)] * np.size(tuned)
        self._gaps: list[tuple[float, float]] = []
        self._peak = 0.0
        self._epochs = 0
        self._standard_error = math.nan
        self._restored = self._has_warned = False
        # The model that it has tuned last.
        self._tuned: Any = None
        self.mixup.set_alpha(self.alpha)

    def __repr__(self) -> str:
        alpha = np.array2string(np.asarray(self.alpha), precision=3)
        return f"<AlphaTuner of {self.mixup!r}, alpha={alpha}>"

    @property
    def alpha(self) -> Any:
        """What the next epoch will be mixed with; see the class."""
        off = self.limits[0] * (1 + 1e-6)
        alphas = [math.exp(each) for each in self._log_alphas]
        alphas = [0.0 if alpha <= off else alpha for alpha in alphas]
        return np.array(alphas) if self._by_class else alphas[0]

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state of copies and pickles, which start anew."""
        return {
            **super().__getstate__(),
            **self._beginning(),
            "_has_warned": False,
        }

    def _beginning(self) -> dict[str, Any]:
        """Returns what `get_state` has before the first epoch."""
        log_alphas = [math.log(self.start)] * len(self._log_alphas)
        return {"_log_alphas": log_alphas, "_peak": 0.0, "_epochs": 0}

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on: numbers, as JSON has them.

        Call it after the tuner's own `on_epoch_end`.
        """
        logs = self._log_alphas
        return {
            "log_alpha": list(logs) if self._by_class else logs[0],
            "peak": self._peak,
            "epochs": self._epochs,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a state, before `fit(initial_epoch=...)`.

        Args:
            state: As `get_state` returned it.

        Raises:
            ValueError: If it is none.
        """
        mine = self.get_state()
        if set(state) != set(mine) or not all(
            np.shape(state[name]) == np.shape(mine[name])
            and np.isfinite(state[name]).all()
            for name in mine
        ):
            raise _checks.refusal(
                "The state of a tuner is what `get_state` returned",
                f"{state!r}",
                "Save that, and give it back",
            )
        self._log_alphas = [float(x) for x in np.ravel(state["log_alpha"])]
        self._peak = float(state["peak"])
        self._epochs = int(state["epochs"])
        self._restored = True
        self.mixup.set_alpha(self.alpha)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts, or goes on with a model that it has tuned before."""
        super().on_train_begin(logs)
        trained = mixing_schedule.has_trained(self.model)
        other = self._tuned is not None and self._tuned() is not self.model
        self._tuned = weakref.ref(self.model)
        if other and not self._restored:
            self._epochs = 0
        if trained and not self._epochs and not self._restored:
            warnings.warn(
                f"AlphaTuner starts with alpha={self.start:g}, though the model"
                " has been trained before. To go on with a training give its"
                " state to `set_state`.",
                stacklevel=2,
            )
        if (other or not trained) and not self._restored:
            self.__dict__.update(self._beginning())
        self._restored = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the alpha of the epoch that begins."""
        super().on_epoch_begin(epoch, logs)
        self.mixup.set_alpha(self.alpha)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Sets the alpha that a next epoch would have."""
        super().on_train_end(logs)
        self.mixup.set_alpha(self.alpha)

    def measure(self, validated: bool) -> dict[str, float]:
        """Returns the calibration, and the alpha that it came from."""
        values = super().measure(validated)
        gaps, errors = [], []
        for name, metric in self._metrics.items():
            gaps.append(values[f"{self._prefix(name)}signed_gap"])
            errors.append(metric.signed_gap_error())
        self._standard_error = float(np.mean(errors))
        self._gaps = [(float(np.mean(gaps)), self._standard_error)]
        if self._by_class:
            self._gaps = self._read_classes()
        return {
            **values,
            "alpha": float(np.mean(self.alpha)) if self._mixes() else 0.0,
            f"{self.name}_signed_gap_error": self._standard_error,
        }

    def _read_classes(self) -> list[tuple[float, float]]:
        """Returns the gap and its standard error of each class."""
        found = [*self._metrics.values()]
        count = len(self._log_alphas)
        if len(found) == 1 and isinstance(
            found[0], metrics.ClassCalibrationMetrics
        ):
            gaps = found[0].class_gaps()
            if len(gaps.gap) == count:
                return [*zip(*map(np.ndarray.tolist, gaps), strict=True)]
        raise _checks.refusal(
            "Alphas by class are tuned by the gaps of as many classes of one"
            " output",
            f"{count} classes with metrics {found}",
            "Compile `tf_mixup.metrics.ClassCalibrationMetrics()` in place of"
            " `CalibrationMetrics()`",
        )

    def write(self, step: int) -> None:
        """Writes the calibration, and alpha."""
        super().write(step)
        summaries.write_scalars(
            {"alpha": self.values["alpha"]},
            step=step,
            name="mixing",
            descriptions={"alpha": "What this epoch was mixed with."},
        )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes what was measured, then decides on the next epoch's alpha."""
        due = self._due
        super().on_epoch_end(epoch, logs)
        if due:
            self._decide(epoch)

    def _decide(self, epoch: int) -> None:
        """Changes alpha, or that of each class, by the rule."""
        self._epochs = epoch + 1
        points = 100 * self._standard_error
        if points > 100 * _COARSE and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                "AlphaTuner knows the gap of so few examples to"
                f" {points:.1f} points only, and will hardly change alpha."
                " Validate on 500 examples or more.",
                stacklevel=3,
            )
        num_epochs = max(self.params["epochs"], epoch + 1)
        learning_rate = self._learning_rate()
        seen = [
            Observation(
                gap=gap,
                standard_error=error,
                progress=(epoch + 1) / num_epochs,
                learning_rate=learning_rate,
                num_epochs=num_epochs,
            )
            for gap, error in self._gaps
        ]
        if self._mixes():
            self._log_alphas = [*map(self._change, self._log_alphas, seen)]

    def _mixes(self) -> bool:
        """Returns whether a schedule lets the present epoch be mixed."""
        first, end = self.mixup.window
        epoch = epoch_counter.training_epoch(self.mixup.epoch_counter.epoch)
        return epoch >= first and (end is None or epoch < end)

    def _change(self, log_alpha: float, seen: Observation) -> float:
        """Returns the logarithm of the next alpha."""
        if not math.isfinite(seen.gap):
            return log_alpha
        change = self.rule(seen)
        if not math.isfinite(change):
            raise _checks.refusal(
                "`rule` must return a finite number",
                f"{change!r}",
                "Return 0 to leave alpha as it is",
            )
        low, high = map(math.log, self.limits)
        return min(max(log_alpha + self.freq * float(change), low), high)

    def _learning_rate(self) -> float:
        """Returns the learning rate as a share of the largest so far."""
        rate = self.model.optimizer.learning_rate
        now = float(keras.ops.convert_to_numpy(rate))
        self._peak = max(self._peak, now)
        return now / self._peak if self._peak else 0.0


def _check_limits(limits: Any) -> tuple[float, float]:
    pair = isinstance(limits, tuple | list) and len(limits) == 2
    low, high = (
        _checks.real_at_least(
            f"limits[{place}]", limit, 0, remedy="Write (0.01, 1.0)"
        )
        for place, limit in enumerate(limits if pair else (0, 0))
    )
    if not 0 < low < high:
        raise _checks.refusal(
            "`limits` are the smallest and the largest alpha, above 0",
            f"limits={limits!r}",
            "Write (0.01, 1.0)",
        )
    return low, high
