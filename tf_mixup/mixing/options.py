"""Options of a mixing stage, in groups, and the checks of its arguments.

Three groups have a short form: `partner="random"` is `Partners("random")`,
`num_classes=10` is `Labels(10)`, and `inputs="mix"` is `Inputs("mix")`.
"""

import dataclasses
import secrets
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_mixup import _checks
from tf_mixup._checks import channels
from tf_mixup.mixing import _input_rules
from tf_mixup.mixing import plans

KINDS = (*plans.PARTNERS, "similar_target", "given")
# For `alpha`: a callback sets it while the model is trained.
AUTO = "auto"


class _Group:
    """A group of options that shows the ones that were given."""

    def __repr__(self) -> str:
        first, *rest = dataclasses.fields(self)  # type: ignore[arg-type]
        given = [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in rest
            if getattr(self, each.name) != each.default
        ]
        value = getattr(self, first.name)
        if value != first.default:
            given.insert(0, repr(value))
        return f"{type(self).__name__}({', '.join(given)})"


@dataclasses.dataclass(frozen=True, repr=False)
class Partners(_Group):
    """Which examples are mixed with each other.

    Args:
        kind: `"random"`, `"same_class"` or `"different_class"`; see
            `mixing.choose_partner`. Or `"similar_target"`, for regression:
            any example of the batch, the likelier the nearer its target is
            (C-Mixup); see `bandwidth`. Or `"given"`: a batch of B examples is
            followed by their partners, B more examples (with P points B for
            each partner), e.g. of `mixing.choose_neighbors` or of another
            dataset; the mixed batch has B examples.
        self_pairs: Whether an example may be its own partner, which is no
            mixing. Defaults to `True`, as in the papers.
        groups: Partners stay within this many contiguous blocks of the batch.
            Under a strategy that mixes inside the model it must be the number
            of replicas (of a worker, where workers make batches of their
            own). Defaults to 1.
        bandwidth: Of `"similar_target"`, in the unit of the targets, above 0:
            the partner of example i is j with a probability in proportion to
            `exp(-|y_i - y_j|^2 / (2 bandwidth^2))`. Small ones choose equals,
            large ones any. The paper tunes it for each data set.

    Raises:
        ValueError: If an option is unknown or out of range.

    References:
        Yao et al. C-Mixup: Improving Generalization in Regression. NeurIPS
        2022. https://arxiv.org/abs/2210.05775
    """

    kind: str = "random"
    self_pairs: bool = True
    groups: int = 1
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        _checks.one_of("partner", self.kind, KINDS)
        _checks.boolean("self_pairs", self.self_pairs)
        _set(
            self,
            "groups",
            _checks.integer_at_least(
                "groups",
                self.groups,
                1,
                remedy="Give the number of replicas, or 1",
                dtype="int32",
            ),
        )
        if self.kind == "given" and self.groups != 1:
            raise _checks.refusal(
                "`partner='given'` works on the host only, and without groups",
                f"partner='given' with groups={self.groups}",
                "Leave `groups` out",
            )
        if (self.kind == "similar_target") != (self.bandwidth is not None):
            raise _checks.refusal(
                "`bandwidth` belongs to partner='similar_target'",
                f"partner={self.kind!r} with bandwidth={self.bandwidth!r}",
                'Write `mixing.Partners("similar_target", bandwidth=...)`, e.g.'
                " a tenth of the targets' standard deviation",
            )
        if self.bandwidth is not None:
            width = _check_width("bandwidth", self.bandwidth, "0.1")
            _set(self, "bandwidth", width)


@dataclasses.dataclass(frozen=True, repr=False)
class Labels(_Group):
    """What labels are, and how much their examples weigh.

    Args:
        num_classes: K, for integer labels; 1 for one sigmoid output; None for
            targets that are vectors or regression targets. With several
            outputs: one for all, or a structure like the targets.
        class_weight: Weight of each class, a dictionary or sequence; becomes
            sample weights, mixed like all else: `lam * w_i + (1-lam) * w_j`.
            `fit` would take the larger class's weight.
        ignore_label: Label of examples whose class is unknown, such as -1.
            They weigh 0: a mixture has the target of its other examples, and
            the weight `lam * w_i + (1-lam) * w_j`. Batches then always have
            sample weights. Defaults to `None`.

    Raises:
        ValueError: If an option is out of range, or needs classes and there
            are none.
    """

    num_classes: Any = None
    class_weight: Mapping[int, float] | Sequence[float] | None = None
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        counts = tf.nest.map_structure(_check_count, self.num_classes)
        _set(self, "num_classes", counts)
        _set(self, "class_weight", _check_weight(self.class_weight, counts))
        _set(self, "ignore_label", _check_ignored(self.ignore_label, counts))


@dataclasses.dataclass(frozen=True, repr=False)
class Inputs(_Group):
    """How inputs are combined, and standardized after mixing.

    Args:
        rules: `"mix"`; `"keep"`, the example's own; or `"union"`, the
            elementwise maximum over the examples of a mixture (for masks).
            One rule for all inputs, or a dictionary such as `{"ids": "keep",
            "text/mask": "union"}`, in which "/" joins the names of nested
            inputs. None mixes floats and integers of 8 and 16 bits; on the
            host it refuses other types, and inside the model it unites inputs
            named `mask` or `..._mask` and keeps `segment_ids` and
            `token_type_ids`.
        mean: Subtracted from mixed inputs, a number or one for each channel,
            in the unit of the inputs. Channels are on the last axis, or on
            the second if `keras.config.image_data_format()` says so. Defaults
            to nothing.
        std: Divides the mixed inputs. Defaults to nothing.

    Raises:
        ValueError: If a rule is unknown, or a statistic out of range.
    """

    rules: Any = None
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None

    def __post_init__(self) -> None:
        _input_rules.InputRules(self.rules)
        subtracted, divides = self.affine or (None, None)
        _set(self, "mean", None if self.mean is None else subtracted)
        _set(self, "std", None if self.std is None else divides)

    @property
    def affine(
        self,
    ) -> tuple[channels.Numbers, channels.Numbers] | None:
        """Mean and std with defaults; None if inputs stay as they are."""
        if self.mean is None and self.std is None:
            return None
        return channels.statistics(self.mean, self.std)


@dataclasses.dataclass(frozen=True, repr=False)
class SimilarityKernel(_Group):
    """Draws a coefficient for each pair, and mixes near pairs more.

    The coefficient of a pair of examples comes from Beta(tau, tau) with

        tau = alpha * exp((1 - d) / (2 * width ** 2)),

    where d is the squared Euclidean distance of the two, divided by the mean
    of it over the pairs of the batch. So alpha, the paper's tau_max, is the
    concentration at the mean distance; for an infinite width it is that of
    all pairs, as with `per="example"`. The exponential is kept within 1e-12
    and 1e12.

    The paper measures distances between the features that the network has at
    the time. Here they are between the inputs that are mixed, standardized if
    `MixUp(inputs=...)` says so: in the same unit, then, as what is averaged.

    Args:
        width: Standard deviation of the kernel, the paper's tau_std, above 0.
            The paper: 0.25 on CIFAR and ImageNet, 1.25 on Tiny-ImageNet.

    Raises:
        ValueError: If the width is not above 0.

    References:
        Bouniot, Mozharovskyi and d'Alche-Buc. Tailoring Mixup to Data for
        Calibration. ICLR 2025. https://arxiv.org/abs/2311.01434 (Similarity
        Kernel Mixup)
    """

    width: float = 0.25

    def __post_init__(self) -> None:
        _set(self, "width", _check_width("width", self.width, "0.25"))


def check_per(per: Any) -> str | SimilarityKernel:
    """Returns what coefficients are drawn for."""
    if isinstance(per, SimilarityKernel):
        return per
    return _checks.one_of("per", per, ("batch", "example", "class"))


def count_alphas(per: Any, alpha: Any, num_classes: Any) -> int | None:
    """Returns how many alphas of classes there are; None for one of all."""
    if per != "class":
        return None
    known = isinstance(num_classes, int) and num_classes > 1
    if alpha != AUTO or not known:
        raise _checks.refusal(
            "Alphas by class are tuned, for one output of at least 2 classes",
            f"per='class' with alpha={alpha!r}, num_classes={num_classes!r}",
            'Write `alpha="auto", num_classes=10`, and use'
            " `callbacks.AlphaTuner`",
        )
    return num_classes


def read_group(name: str, value: Any, group: type) -> Any:
    """Returns a group of options, also from its short form.

    Args:
        name: The argument's name.
        value: A group, or the first of its options.
        group: `Partners`, `Labels` or `Inputs`.
    """
    if isinstance(value, group):
        return value
    if isinstance(value, (Partners, Labels, Inputs)):
        raise _checks.refusal(
            f"`{name}` takes `{group.__name__}`, or its short form",
            f"{name}={value!r}",
            "Give it to the argument that it belongs to",
        )
    return group(value)


def shorten(value: Any) -> Any:
    """Returns the short form of a group that says no more than it."""
    if not isinstance(value, (Partners, Labels, Inputs)):
        return value
    first, *rest = dataclasses.fields(value)
    plain = all(getattr(value, each.name) == each.default for each in rest)
    return getattr(value, first.name) if plain else value


def check_targets(partner: Partners, labels: Labels) -> None:
    """Refuses partners of similar targets where these are classes."""
    counts = tf.nest.flatten(labels.num_classes)
    if partner.kind == "similar_target" and any(counts):
        raise _checks.refusal(
            "Partners of similar targets are for regression",
            f"partner='similar_target' with num_classes={labels.num_classes!r}",
            'Write `partner="same_class"` for classes, or leave `num_classes`'
            " out",
        )


def check_alpha(alpha: Any) -> Any:
    """Returns a function or `"auto"` as it is, and a number as a float."""
    if callable(alpha):
        return alpha
    if isinstance(alpha, str):
        return _checks.one_of("alpha", alpha, (AUTO,))
    return _checks.real_at_least(
        "alpha", alpha, 0, remedy="Write 0 to train without mixing"
    )


def check_seed(seed: int | None) -> int:
    """Returns the seed, a fresh one for None."""
    if seed is None:
        return secrets.randbits(31)
    return _checks.integer_at_least(
        "seed", seed, 0, remedy="Write None for a fresh seed"
    )


def refuse_class_weight(received: str) -> ValueError:
    """Returns the error for targets that are not those of one output."""
    return _checks.refusal(
        "`class_weight` needs one output of at least 2 classes",
        f"class_weight with {received}",
        "Give `num_classes`, or sample weights in the dataset",
    )


def _set(group: Any, name: str, value: Any) -> None:
    object.__setattr__(group, name, value)


def _check_width(name: str, width: Any, example: str) -> float:
    """Returns the width of a kernel, a number above 0."""
    remedy = f"Write {example}"
    checked = _checks.real_at_least(name, width, 0, remedy=remedy)
    if not checked:
        raise _checks.refusal(
            f"`{name}` must be a number above 0", f"{name}={width!r}", remedy
        )
    return checked


def _check_count(count: Any) -> int | None:
    if count is None:
        return None
    return _checks.integer_at_least(
        "num_classes",
        count,
        1,
        remedy="Write 1 for one sigmoid output, None for regression targets",
        dtype="int32",
    )


def _check_ignored(label: int | None, num_classes: Any) -> int | None:
    if label is None:
        return None
    if not any(tf.nest.flatten(num_classes)):
        raise _checks.refusal(
            "`ignore_label` is one of the labels of classes",
            f"ignore_label={label!r} with num_classes={num_classes!r}",
            "Give `num_classes`, or sample weights of 0 in the dataset",
        )
    return _checks.integer_at_least(
        "ignore_label",
        label,
        -(2**31),
        remedy="Write the label of unknown classes, e.g. -1",
        dtype="int32",
    )


def _check_weight(
    class_weight: Any, num_classes: Any
) -> tuple[float, ...] | None:
    if class_weight is None:
        return None
    counts = tf.nest.flatten(num_classes)
    if len(counts) != 1 or (counts[0] or 0) < 2:
        raise refuse_class_weight(f"num_classes={num_classes!r}")
    classes = range(counts[0])
    if isinstance(class_weight, Mapping):
        given = [class_weight.get(k, 1.0) for k in classes]
        known = set(class_weight) <= set(classes)
    else:
        given = list(class_weight)
        known = len(given) == len(classes)
    if not known:
        raise _checks.refusal(
            "`class_weight` must give classes 0 to K - 1 a number >= 0",
            f"class_weight={class_weight!r} with num_classes={num_classes}",
            "Count classes from 0",
        )
    return tuple(
        _checks.real_at_least(
            f"class_weight[{k}]", weight, 0, remedy="Write 0 to leave it out"
        )
        for k, weight in enumerate(given)
    )
