"""Config: everything that decides the result of a run, as plain values."""

import dataclasses
import hashlib
import json
import pathlib
import re
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.runs import tuning
from tf_mixup import _checks
from tf_mixup import ood
from tf_mixup.mixing import plans

# Sets that results are named by, whatever `ood` says.
OWN_SETS = ("train", "validation", "test", *ood.NOISES)
# The one encoding of training without mixing.
NO_MIXING = {"method": "erm", "alpha": 0.0, "tuning": "none"}
# Fields that take one of a few names.
CHOICES = {
    "method": ("erm", "mixup", "cutmix", "regmixup", "mit"),
    "tuning": ("none", *tuning.RULES, *tuning.CLASS_RULES),
    "per": ("batch", "example", "class"),
    "partner": plans.PARTNERS,
    "mix": ("both", "inputs", "targets"),
    "optimizer": ("sgd", "adam", "adadelta"),
    "schedule": ("steps", "cosine", "constant"),
    "augmentation": ("none", "standard", "inception"),
    "corruption_kind": ("uniform", "class_map"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "strategy": ("none", "mirrored", "multiworker"),
    "placement": ("auto", "host", "model"),
    "gan_pairs": ("real_generated", "any"),
}


# Numbers that may be None.
_OPTIONAL = ("width", "dropout", "image_size")
# Numbers: fields, what checks them, its bounds, and what to write instead.
_BOUNDS: tuple[tuple[str, Callable[..., Any], tuple, str], ...] = (
    (
        "alpha learning_rate weight_decay warmup_start decay entropy_weight"
        " noise kernel_width",
        _checks.real_at_least,
        (0,),
        "Write 0 to leave it out",
    ),
    (
        "epochs batch_size num_validation",
        _checks.integer_at_least,
        (1,),
        "Count from 1",
    ),
    (
        "num_train seed ood_every warmup_epochs mixing_warmup_epochs mc_passes"
        " neighbors",
        _checks.integer_at_least,
        (0,),
        "Count from 0",
    ),
    ("num_points", _checks.integer_at_least, (2,), "Write 2 to mix pairs"),
    (
        "width image_size",
        _checks.integer_at_least,
        (1,),
        "Write None for the default",
    ),
    # More does not fit into the states of NumPy's generators.
    ("seed", _checks.real_between, (0, 2**32 - 1), "Take a smaller one"),
    (
        "corruption label_smoothing margin",
        _checks.real_between,
        (0, 1),
        "Write a number from 0 to 1",
    ),
    ("dropout", _checks.real_between, (0, 0.99), "It is a rate"),
    ("ema", _checks.real_between, (0, 0.99999), "Write e.g. 0.999"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the result of a run.

    Attributes:
        dataset: Name of a data set, e.g. `uci:iris`, `folder:PATH`,
            `imagefolder:PATH`, `speech:PATH`, or `gaussians:MU`.
        image_size: Side in pixels of photographs (ImageNet and
            `imagefolder:PATH`) after cropping; None for 224.
        network: Name of a network.
        width: Channels of the network's first layers; None for its default.
        dropout: Rate of dropout; None for the network's default.
        zero_gamma: Whether the last batch norm of each residual block starts
            at 0, so that the block starts as the identity.
        embeddings: Text file of word vectors, such as GloVe's, that the
            network of sentences starts from; None draws them.
        method: `"erm"` (no mixing), `"mixup"`, `"cutmix"`, `"regmixup"`,
            clean and mixed examples in one batch; or `"mit"`, mixup inference
            in training: MIT-A with several `mix_layers`, else MIT-L.
        alpha: Concentration of the mixing coefficients; with `tuning` that of
            the first epochs. No mixing is stored as `method="erm"` with alpha
            0, whichever of the two is given.
        tuning: The rule by which alpha changes after each epoch, one of
            `tuning.RULES` or `CLASS_RULES`; `"none"` keeps it. With
            `per="class"` each class has an alpha; `"camixup"` then turns mixing
            on and off. Half of the validation examples tune alpha, and are not
            reported.
        num_points: Examples in a mixture: 2, or d + 1 for d-Mixup.
        mix_layers: Names of layers whose outputs are mixed, one of them drawn
            for each batch; empty for the inputs.
        margin: Of `"mit"`, the least difference of a pair's two coefficients.
        per: One coefficient for each `"batch"` or each `"example"`; or for each
            example by the alpha of its `"class"`, which `tuning` sets.
        kernel_width: Standard deviation of the similarity kernel, by which
            each pair has a coefficient of its own, whatever `per` says; 0 for
            no kernel.
        partner: Who is mixed: `"random"`, `"same_class"`, `"different_class"`.
        neighbors: Partners are drawn among as many nearest examples of the
            whole training set, or of the class; 0 for examples of the batch.
        mix: What is mixed: `"both"`, inputs and labels; `"inputs"`, for the
            label of the nearest example; or `"targets"` alone.
        mixing_warmup_epochs: First epochs, without mixing.
        label_smoothing: Share of each label spread over the other classes.
        entropy_weight: Weight of the entropy in the loss (ERL's kappa).
        mc_passes: Forward passes with dropout for Monte Carlo predictions,
            at the end; 0 for none.
        epochs: Passes over the training set.
        batch_size: Examples in a step, over all replicas.
        optimizer: `"sgd"` (momentum .9), `"adam"` or `"adadelta"`.
        nesterov: Whether `"sgd"` looks ahead.
        learning_rate: Peak of the schedule, whatever the batch; Goyal et al.
            take 0.1 for each 256 examples of it.
        schedule: `"steps"`, `"cosine"` or `"constant"`.
        warmup_epochs: Epochs of linear warm-up of the learning rate.
        warmup_start: Learning rate before the first step of the warm-up.
        milestones: Epochs after which `"steps"` multiplies by `decay`.
        decay: Factor of `"steps"`.
        weight_decay: Coefficient of L2 in the gradient of kernels, as in
            PyTorch; with the others decoupled. Batch norm and biases have none.
        ema: Decay, each step, of a moving average of the weights that takes
            their place at the end; 0 for none. Validation after each epoch
            sees the weights themselves, and batch norm keeps their statistics.
        restore_best: Whether the weights of the epoch with the lowest
            validation loss are the result, as early stopping would have it.
        noise: Deviation of Gaussian noise on the training inputs, in units of
            the data set's own deviation.
        augmentation: `"none"`, or `"standard"`: pad by 4, crop, and flip what
            is no digit; or of photographs `"inception"`: crops of random area
            and aspect, flips.
        standardized: Whether the network standardizes the features of a table;
            else it sees them as they are.
        num_train: Training examples, drawn by the seed; 0 for all.
        num_validation: Examples carved from the training set.
        corruption: Share of training labels that is drawn anew.
        corruption_kind: `"uniform"` over all classes, or `"class_map"`: each
            class has one fixed wrong class.
        precision: Keras' dtype policy.
        strategy: `"none"`, `"mirrored"` for the GPUs of one host, or
            `"multiworker"` for those of several.
        sync_batch_norm: Whether batch statistics span the replicas.
        placement: Where batches are mixed; `"auto"` is the model on a GPU.
        ood: Names of out-of-distribution sets, `folder:PATH`, or `.npz`
            files; each must differ in its `ood_names`.
        ood_every: Epochs between two looks at them; 0 for only the end.
        gan_pairs: What a GAN mixes: `"real_generated"`, real points with
            generated ones, as in the paper; or `"any"`, the points of two
            batches of both, with coefficients from U(0, alpha), as in its
            authors' code.
        test_each_epoch: Whether the test accuracy is also measured after each
            epoch, as some papers print it. It decides nothing.
        seed: Fixes weights, subset, order, augmentation and mixing.
    """

    dataset: str = "digits"
    image_size: int | None = None
    network: str = "resnet_narrow"
    width: int | None = None
    dropout: float | None = None
    zero_gamma: bool = False
    embeddings: str | None = None
    method: str = "mixup"
    alpha: float = 0.2
    tuning: str = "none"
    num_points: int = 2
    mix_layers: tuple[str, ...] = ()
    margin: float = 0.0
    per: str = "batch"
    kernel_width: float = 0.0
    partner: str = "random"
    neighbors: int = 0
    mix: str = "both"
    mixing_warmup_epochs: int = 0
    label_smoothing: float = 0.0
    entropy_weight: float = 0.0
    mc_passes: int = 0
    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "sgd"
    nesterov: bool = True
    learning_rate: float = 0.1
    schedule: str = "steps"
    warmup_epochs: int = 0
    warmup_start: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    weight_decay: float = 5e-4
    ema: float = 0.0
    restore_best: bool = False
    noise: float = 0.0
    augmentation: str = "none"
    standardized: bool = True
    num_train: int = 0
    num_validation: int = 300
    corruption: float = 0.0
    corruption_kind: str = "uniform"
    precision: str = "float32"
    strategy: str = "none"
    sync_batch_norm: bool = False
    placement: str = "auto"
    ood: tuple[str, ...] = ()
    ood_every: int = 0
    gan_pairs: str = "real_generated"
    test_each_epoch: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no run could mean."""
        for name, choices in CHOICES.items():
            _checks.one_of(name, getattr(self, name), choices)
        self._check_numbers()
        self._store_plain_values()
        self._check_method()
        self._check_ood()
        self._check_schedule()

    def _check_numbers(self) -> None:
        for names, check, bounds, remedy in _BOUNDS:
            for name in names.split():
                value = getattr(self, name)
                if value is not None or name not in _OPTIONAL:
                    check(name, value, *bounds, remedy=remedy)

    def _store_plain_values(self) -> None:
        """Stores values as JSON has them: equal configs must have one name."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if typing.get_origin(field.type) is tuple:
                value = _as_tuple(field.name, value)
            elif value is None:
                continue
            elif field.type in (float, float | None):
                value = _as_float(field.name, value)
            elif field.type in (int, int | None):
                value = int(value)
            object.__setattr__(self, field.name, value)
        if self.method == "erm" or not self.alpha:
            for name, value in NO_MIXING.items():
                object.__setattr__(self, name, value)

    def _check_schedule(self) -> None:
        if not self.learning_rate:
            raise _checks.refusal(
                "`learning_rate` must be a number above 0",
                f"learning_rate={self.learning_rate!r}",
                "Write e.g. 0.1",
            )
        for epoch in self.milestones:
            _checks.integer_at_least(
                "milestones", epoch, 0, remedy="Write e.g. (60, 120, 160)"
            )
        if self.ema and self.restore_best:
            raise _checks.refusal(
                "Validation does not see averaged weights",
                f"ema={self.ema} with restore_best=True",
                "Leave one of them out",
            )
        rising = (self.warmup_epochs, *self.milestones)
        if sorted(set(rising)) != list(rising):
            raise _checks.refusal(
                "`milestones` must rise, from an epoch after the warm-up",
                f"milestones={self.milestones!r} with"
                f" warmup_epochs={self.warmup_epochs}",
                "Write e.g. (60, 120, 160)",
            )

    def _check_method(self) -> None:
        if self.label_smoothing and self.entropy_weight:
            raise _checks.refusal(
                "One loss at a time",
                f"label_smoothing={self.label_smoothing} and"
                f" entropy_weight={self.entropy_weight}",
                "Leave one of them out",
            )
        # Without mixing they mean nothing, so "erm" is one flag for all sets.
        if self.mix_layers and self.method not in ("erm", "mixup", "mit"):
            raise _checks.refusal(
                "`mix_layers` are mixed by mixup",
                f"mix_layers={self.mix_layers!r} with method={self.method!r}",
                "Write --method=mixup",
            )
        if self.neighbors and (
            self.mix_layers
            or self.partner == "different_class"
            or self.method == "mit"
        ):
            raise _checks.refusal(
                "`neighbors` are nearest inputs, of any class or the same",
                f"neighbors={self.neighbors} with"
                f" mix_layers={self.mix_layers!r}, partner={self.partner!r},"
                f" method={self.method!r}",
                "Leave out one of them",
            )
        self._check_mit()
        self._check_classes()
        if self.gan_pairs != "real_generated" and self.network != "gan":
            raise _checks.refusal(
                "`gan_pairs` are for GANs",
                f"network={self.network!r}",
                "Write --network=gan, or leave --gan_pairs out",
            )
        if self.embeddings is not None and self.network != "text_cnn":
            raise _checks.refusal(
                "`embeddings` are for the network of sentences",
                f"network={self.network!r}",
                "Write --network=text_cnn, or leave --embeddings out",
            )

    def _check_mit(self) -> None:
        plain = (2, "both", 0)
        given = self.num_points, self.mix, self.kernel_width
        if self.method == "mit" and given != plain:
            raise _checks.refusal(
                "MIT mixes pairs twice, for unmixed targets",
                f"num_points={self.num_points}, mix={self.mix!r},"
                f" kernel_width={self.kernel_width} with method='mit'",
                "Leave them out",
            )

    def _check_classes(self) -> None:
        by_class = self.per == "class"
        fixed = by_class and not self.tunes_alpha
        alone = self.tuning in tuning.CLASS_RULES and not by_class
        if self.alpha and (fixed or alone):
            raise _checks.refusal(
                "Alphas by class are tuned, and CAMixup is by class",
                f"per={self.per!r} with tuning={self.tuning!r}",
                "Write --per=class --tuning=camixup, or another rule",
            )

    def _check_ood(self) -> None:
        """Refuses sets of which one would take the place of another."""
        taken = {"", *OWN_SETS}
        for name, source in zip(self.ood_names, self.ood, strict=True):
            if name in taken:
                raise _checks.refusal(
                    "Each set of `ood` must have a name of its own, its path's"
                    f" last part, and none of {', '.join(OWN_SETS)}",
                    f"ood={self.ood!r}, where {source!r} is named {name!r}",
                    "Rename the file or folder, or give a link to it",
                )
            taken.add(name)

    @property
    def ood_names(self) -> tuple[str, ...]:
        """What results call each set of `ood`: its path's last part."""
        paths = (source.rpartition(":")[2] for source in self.ood)
        return tuple(pathlib.PurePath(path).stem for path in paths)

    @property
    def brings_partners(self) -> bool:
        """Whether batches come with the partners of their rows."""
        return bool(self.neighbors and self.alpha)

    @property
    def tunes_alpha(self) -> bool:
        """Whether alpha changes after each epoch, by a rule."""
        return self.tuning != "none"

    def has(self, fields: Mapping[str, Any]) -> bool:
        """Returns whether each field has its value, or one of a frozenset."""
        return all(
            getattr(self, name)
            in (value if isinstance(value, frozenset) else (value,))
            for name, value in fields.items()
        )

    @property
    def run_name(self) -> str:
        """A folder's name: readable, and another for each config.

        Fields that have their default are left out, so that a field which is
        new leaves the names of older runs as they are.
        """
        defaults = Config().to_json()
        fields = {
            name: value
            for name, value in self.to_json().items()
            if value != defaults[name]
        }
        text = json.dumps(fields, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        dataset = re.sub("[/:]", "_", self.dataset)
        return (
            f"{dataset}-{self.network}-{self.method}"
            f"-alpha{self.alpha:g}-seed{self.seed}-{digest}"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        fields = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Config":
        """Returns the `Config` that `to_json` described."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**values)


def _as_float(name: str, value: float) -> float:
    """Returns a float that stays what it is in float32, or 0."""
    number = float(value)
    limits = np.finfo(np.float32)
    if number and not limits.tiny <= abs(number) <= limits.max:
        raise _checks.refusal(
            f"`{name}` must be a number that float32 can hold",
            f"{name}={value!r}",
            "Write 0, or a number between 1e-37 and 1e38",
        )
    return number


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    """Returns a sequence as a tuple; a string is one value."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _checks.refusal(
            f"`{name}` must be a tuple",
            f"{name}={value!r}",
            f"Write ({value!r},)",
        )
    return tuple(value)
