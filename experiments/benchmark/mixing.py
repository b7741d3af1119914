"""Times mixing of uint8 batches against Keras, plain ops and a copy."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_mixup
from experiments.benchmark import timing
from experiments.datasets import photographs
from tf_mixup import mixing

ALPHA = 0.2
NORMALIZED = ", normalized"
AFFINES = {
    "": (None, None),
    NORMALIZED: (photographs.MEAN, photographs.STD),
}
# Keras' layer and ours in the model.
MODEL_PAIRS = [(f"Keras{each}", f"mixing.Mix{each}") for each in AFFINES]
COPY = "copy of the float32 result"
# Targets at ImageNet's size: times the copy; another's time over ours.
MAX_COPIES = 1.2
MIN_SPEEDUPS = {"Keras": 5.0, "Keras" + NORMALIZED: 15.0}
# Target of tables and ids: our time over another's.
MAX_OF_KERAS = 0.7


@dataclasses.dataclass(frozen=True)
class Size:
    """A batch to mix, and how much of it is enough to time.

    Attributes:
        name: The data set with such batches.
        shape: `(B, H, W, C)`; of tables and ids `(B, D)`.
        num_classes: K.
        batches: Batches of a pipeline that are timed in each round.
        calls: Calls of an op that are timed in each round.
        targets: Whether the project's targets are for this size.
        dtype: Of the inputs.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    batches: int
    calls: int
    targets: bool = False
    dtype: str = "uint8"

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))} {self.dtype}"


SIZES = (
    Size("ImageNet", (256, 224, 224, 3), 1000, 8, 4, targets=True),
    Size("CIFAR", (128, 32, 32, 3), 10, 200, 100),
)
# Mixed on the host, and, as ids are no numbers, in the model.
TABLE = Size("table", (128, 30), 10, 1000, 1, dtype="float32")
TOKENS = Size("token ids", (128, 40), 10, 1000, 1, dtype="int32")


def measure(
    size: Size, *, repeats: int, num_parallel_calls: int
) -> list[timing.Section]:
    """Times a size's pipelines, its ops alone, and on a GPU.

    `num_parallel_calls` are the batches that each pipeline makes at a time.
    """

    def run(title: str, cases: dict[str, timing.Case]) -> timing.Section:
        measured = timing.run_in_turns(cases, repeats=repeats)
        return timing.Section(
            title=title.format(size),
            milliseconds=measured,
            ratios=_ratios(size, measured),
        )

    batch = draw_batch(size)
    pipelines = run(
        "Mixing in tf.data, {}, ms a batch, num_parallel_calls="
        f"{num_parallel_calls}",
        pipeline_cases(size, batch, num_parallel_calls),
    )
    with tf.device("/cpu:0"):
        ops = run(
            "Applying a plan, {}, ms a call on the host",
            op_cases(size, batch),
        )
    return [pipelines, ops, _measure_on_gpu(size, batch, repeats)]


def measure_small(
    *, repeats: int, num_parallel_calls: int
) -> list[timing.Section]:
    """Times pipelines of tables and of ids, as `measure` does."""
    cases = {
        TABLE: {
            "tf_mixup": _own(TABLE),
            "Keras": _mapping(keras_table_stage(TABLE.num_classes)),
            "plain ops": _mapping(plain_stage(TABLE.num_classes, None, None)),
        },
        TOKENS: {
            "tf_mixup": _own(TOKENS, in_model=True),
            "Keras": _mapping(keras_plan_stage(TOKENS.num_classes)),
            "plain ops": _mapping(plain_plan_stage(TOKENS.num_classes)),
        },
    }
    sections = []
    for size, stages in cases.items():
        batches = _repeat_batch(size, draw_batch(size), num_parallel_calls)
        measured = timing.run_in_turns(
            {
                name: functools.partial(
                    timing.batch_seconds,
                    stage(batches, num_parallel_calls),
                    ahead=num_parallel_calls,
                )
                for name, stage in stages.items()
            },
            repeats=repeats,
        )
        ours, *others = measured
        limits = {"Keras": MAX_OF_KERAS}
        sections.append(
            timing.Section(
                title=f"Mixing in tf.data, {size}, ms a batch,"
                f" num_parallel_calls={num_parallel_calls}",
                milliseconds=measured,
                ratios=tuple(
                    timing.compare(
                        measured, ours, other, at_most=limits.get(other)
                    )
                    for other in others
                ),
            )
        )
    return sections


def _own(size: Size, *, in_model: bool = False) -> Any:
    """Returns what applies a stage, or one whose plans a model carries out."""
    mixup = tf_mixup.MixUp(ALPHA, num_classes=size.num_classes, seed=0)
    if in_model:
        mixup.send_plans()

    def apply(batches: tf.data.Dataset, calls: int) -> tf.data.Dataset:
        mixup.num_parallel_calls = calls
        return batches.apply(mixup)

    return apply


def _mapping(function: Any) -> Any:
    return lambda batches, calls: batches.map(function, calls)


def draw_batch(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs of a size and their labels."""
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, size.shape).astype(size.dtype)
    return inputs, generator.integers(0, size.num_classes, size.shape[0])


def pipeline_cases(
    size: Size, batch: tuple[np.ndarray, np.ndarray], num_parallel_calls: int
) -> dict[str, timing.Case]:
    """Returns pipelines that mix the same batch, each a case."""
    batches = _repeat_batch(size, batch, num_parallel_calls)
    cases: dict[str, timing.Case] = {COPY: copy_case(size)}

    def add(name: str, dataset: tf.data.Dataset) -> None:
        cases[name] = lambda: timing.batch_seconds(
            dataset, ahead=num_parallel_calls
        )

    for suffix, (mean, std) in AFFINES.items():
        mixup = tf_mixup.MixUp(
            ALPHA,
            num_classes=size.num_classes,
            seed=0,
            inputs=tf_mixup.mixing.Inputs(mean=mean, std=std),
        )
        mixup.num_parallel_calls = num_parallel_calls
        add(f"tf_mixup{suffix}", batches.apply(mixup))
        for name, function in (
            ("Keras", keras_stage(size.num_classes, mean, std)),
            ("plain ops", plain_stage(size.num_classes, mean, std)),
        ):
            add(name + suffix, batches.map(function, num_parallel_calls))
    return cases


def _repeat_batch(
    size: Size, batch: tuple[np.ndarray, np.ndarray], num_parallel_calls: int
) -> tf.data.Dataset:
    """Returns one tensor over and over: reading costs nothing."""
    with tf.device("/cpu:0"):
        tensors = tuple(tf.constant(part) for part in batch)
    count = size.batches + num_parallel_calls
    return tf.data.Dataset.from_tensors(tensors).repeat(count)


def copy_case(size: Size) -> timing.Case:
    """Returns a copy of the mixed batch into memory that is in use."""
    source = np.ones(size.shape, np.float32)
    # Written to, so that the system has given its pages.
    target = np.zeros_like(source) + 2

    return timing.calling(np.copyto, target, source, calls=size.calls)


def keras_stage(num_classes: int, mean: Any, std: Any) -> Any:
    """Returns what `keras.layers.MixUp` needs around it, and the layer."""
    layer = keras.layers.MixUp(ALPHA, seed=0)

    def mix(images: tf.Tensor, labels: tf.Tensor) -> tuple:
        # It takes float images and one-hot float labels.
        mixed = layer(
            {
                "images": _normalize(tf.cast(images, tf.float32), mean, std),
                "labels": tf.one_hot(labels, num_classes),
            },
            training=True,
        )
        return mixed["images"], mixed["labels"]

    return mix


def keras_table_stage(num_classes: int) -> Any:
    """Returns `keras.layers.MixUp` for features, made images of one pixel."""
    layer = keras.layers.MixUp(ALPHA, seed=0)

    def mix(features: tf.Tensor, labels: tf.Tensor) -> tuple:
        mixed = layer(
            {
                "images": features[:, tf.newaxis, tf.newaxis],
                "labels": tf.one_hot(labels, num_classes),
            },
            training=True,
        )
        return mixed["images"][:, 0, 0], mixed["labels"]

    return mix


def keras_plan_stage(num_classes: int) -> Any:
    """Returns the layer's draws and mixed labels, for a model that mixes."""
    layer = keras.layers.MixUp(ALPHA, seed=0)
    # As `keras.layers.MixUp.call` does in a pipeline.
    layer.backend.set_backend("tensorflow")

    def mix(ids: tf.Tensor, labels: tf.Tensor) -> tuple:
        targets = tf.one_hot(labels, num_classes)
        plan = layer.get_random_transformation(
            {"images": ids, "labels": targets}
        )
        inputs = {
            "inputs": ids,
            "lam": plan["mix_weight"],
            "partner": plan["permutation_order"],
        }
        return inputs, layer.transform_labels(targets, plan)

    return mix


def plain_plan_stage(num_classes: int) -> Any:
    """Returns draws and mixed labels as one writes them down."""

    def mix(ids: tf.Tensor, labels: tf.Tensor) -> tuple:
        lam, partner = _draw_plainly(tf.shape(ids)[0])
        targets = _lerp(tf.one_hot(labels, num_classes), lam, partner)
        return {"inputs": ids, "lam": lam, "partner": partner}, targets

    return mix


def plain_stage(num_classes: int, mean: Any, std: Any) -> Any:
    """Returns mixing as one writes it down: cast, normalize, gather, lerp."""

    def mix(images: tf.Tensor, labels: tf.Tensor) -> tuple:
        lam, partner = _draw_plainly(tf.shape(images)[0])
        inputs = _normalize(tf.cast(images, tf.float32), mean, std)
        targets = tf.one_hot(labels, num_classes)
        return _lerp(inputs, lam, partner), _lerp(targets, lam, partner)

    return mix


def _draw_plainly(size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    gammas = tf.random.gamma([2, size], ALPHA)
    lam = gammas[0] / (gammas[0] + gammas[1])
    return lam, tf.random.shuffle(tf.range(size))


def _lerp(batch: tf.Tensor, lam: tf.Tensor, partner: tf.Tensor) -> tf.Tensor:
    lam = tf.reshape(lam, [-1] + [1] * (len(batch.shape) - 1))
    return lam * batch + (1 - lam) * tf.gather(batch, partner)


def _normalize(images: tf.Tensor, mean: Any, std: Any) -> tf.Tensor:
    if mean is None:
        return images
    return (images - tf.constant(mean)) / tf.constant(std)


def op_cases(
    size: Size, batch: tuple[np.ndarray, np.ndarray]
) -> dict[str, timing.Case]:
    """Returns the mixing of inputs alone, from tensors to a tensor.

    Keras' layer draws its coefficients in the call, which costs little. It
    needs a cast before it; a case without shows what remains.
    """
    images = tf.constant(batch[0])
    lam, partner = draw_plan(size)
    cases: dict[str, timing.Case] = {COPY: copy_case(size)}
    for suffix, (mean, std) in AFFINES.items():
        cases[f"tf_mixup{suffix}"] = timing.calling(
            own_op(mean, std), images, lam, partner, calls=size.calls
        )
        cases[f"Keras{suffix}"] = timing.calling(
            _keras_op(mean, std),
            images,
            calls=size.calls,
        )
    cases["Keras on float32 images"] = timing.calling(
        _keras_op(None, None), tf.cast(images, tf.float32), calls=size.calls
    )
    return cases


def draw_plan(size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns coefficients and partners, both `(B,)`."""
    generator = np.random.default_rng(0)
    lam = generator.beta(ALPHA, ALPHA, size.shape[0]).astype(np.float32)
    partner = generator.permutation(size.shape[0]).astype(np.int32)
    return tf.constant(lam), tf.constant(partner)


def own_op(mean: Any, std: Any) -> Any:
    """Returns the very function of the stage, which is not public."""
    mixup = tf_mixup.MixUp(
        ALPHA, inputs=tf_mixup.mixing.Inputs(mean=mean, std=std)
    )
    # A compiled method does not keep its object alive; this does.
    return lambda images, lam, partner: mixup._mix_inputs(
        (images,), mixing.Plan(lam, partner)
    )[0]


def _model_op(mean: Any, std: Any) -> Any:
    layer = mixing.Mix(mean=mean, std=std)

    @tf.function(jit_compile=True)
    def mix(
        images: tf.Tensor, lam: tf.Tensor, partner_offset: tf.Tensor
    ) -> tf.Tensor:
        return layer(images, lam, partner_offset, training=True)

    return mix


def _keras_op(mean: Any, std: Any) -> Any:
    layer = keras.layers.MixUp(ALPHA, seed=0)

    @tf.function
    def mix(images: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        return layer(_normalize(images, mean, std), training=True)

    return mix


def _ratios(
    size: Size, milliseconds: dict[str, np.ndarray]
) -> tuple[timing.Ratio, ...]:
    """Compares each case with the copy, and the others with ours."""
    ratios = []
    for name in milliseconds:
        if name != COPY:
            limited = size.targets and name.startswith("tf_mixup")
            ratio = timing.compare(
                milliseconds,
                name,
                COPY,
                at_most=MAX_COPIES if limited else None,
            )
            ratios.append(dataclasses.replace(ratio, name=f"{name} / copy"))
    for name in milliseconds:
        ours = f"tf_mixup{NORMALIZED if name.endswith(NORMALIZED) else ''}"
        if name not in (COPY, ours):
            wanted = MIN_SPEEDUPS.get(name) if size.targets else None
            ratios.append(
                timing.compare(milliseconds, name, ours, at_least=wanted)
            )
    return tuple(ratios)


def _measure_on_gpu(
    size: Size, batch: tuple[np.ndarray, np.ndarray], repeats: int
) -> timing.Section:
    """Times mixing in the model, where there is a GPU."""
    measured: dict[str, Any] = {
        name: None for pair in MODEL_PAIRS for name in reversed(pair)
    }
    ratios: tuple[timing.Ratio, ...] = ()
    if tf.config.list_logical_devices("GPU"):
        with tf.device("/gpu:0"):
            measured = timing.run_in_turns(
                model_cases(size, batch), repeats=repeats
            )
        ratios = tuple(timing.compare(measured, *pair) for pair in MODEL_PAIRS)
    return timing.Section(
        title=f"Mixing in the model on a GPU, {size.name}, ms a call",
        milliseconds=measured,
        ratios=ratios,
    )


def model_cases(
    size: Size, batch: tuple[np.ndarray, np.ndarray]
) -> dict[str, timing.Case]:
    """Returns `mixing.Mix` as in a compiled step, and Keras' layer."""
    images = tf.identity(tf.constant(batch[0]))
    lam, partner = draw_plan(size)
    partner_offset = partner - tf.range(size.shape[0])
    cases: dict[str, timing.Case] = {}
    for (other, own), (mean, std) in zip(
        MODEL_PAIRS, AFFINES.values(), strict=True
    ):
        ours = _model_op(mean, std)
        theirs = _keras_op(mean, std)
        cases[own] = timing.calling(
            ours, images, lam, partner_offset, calls=size.calls
        )
        cases[other] = timing.calling(theirs, images, calls=size.calls)
    return cases
