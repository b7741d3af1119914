"""GANs that draw points of the plane: mixup's figure 5 (1710.09412).

The discriminator of a mixup GAN sees `lam * real + (1 - lam) * fake` and must
say `lam`; without mixup it sees both apart. What a picture shows as "stable"
is counted: modes that are found, samples near one, samples that escaped.
Shapes: B points of a batch, M modes, S samples.
"""

import logging
import math
import pathlib
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.runs import atomic_files
from experiments.runs import config as config_lib
from experiments.runs import model_setup
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs import workdirs
from tf_mixup import _checks
from tf_mixup import mixing

# An "epoch" of these runs, whose data are drawn anew for each batch.
ITERATIONS = 1_000
# Iterations after which samples are kept.
SNAPSHOTS = (10, 100, 1_000, 10_000, 20_000)
# Signals are handled after as many iterations, which take about a second.
PIECE = 10
DISCRIMINATOR_STEPS = 5
WIDTH = 512
DEPTH = 3
# Of the noise that the generator starts from, and of its points.
DIMENSIONS = 2
DEVIATION = 0.01
NUM_SAMPLES = 2_500
# Within so many deviations of a mode a sample is good; of real ones 98.9 %.
NEAR = 3
# Beyond this distance from the origin a sample has left the picture.
FAR = 2.0
SAMPLES = "samples.npz"
PREFIX = "points:"
# What these runs call their network, and how all of them are trained.
NETWORK = "gan"
SETTING: dict[str, Any] = {
    "network": NETWORK,
    "epochs": 20,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
}
# Fields that may differ from these and from the defaults.
_FREE = (
    *("dataset", "method", "alpha", "gan_pairs", "epochs", "batch_size"),
    *("learning_rate", "seed"),
)
MODES = {
    f"{PREFIX}ring": np.stack(
        [np.cos(np.pi * np.arange(8) / 4), np.sin(np.pi * np.arange(8) / 4)], 1
    ),
    f"{PREFIX}grid": np.stack(
        np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)), -1
    ).reshape(-1, 2),
}


def run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    sources: run_data.Sources | None = None,
) -> dict[str, Any]:
    """Trains a generator and a discriminator; leaves a record in `workdir`.

    A run has no checkpoints: it begins anew if it was ended.

    Args:
        config: What to run: `dataset` names the target, `epochs` counts
            thousands of iterations, of `batch_size` points and at
            `learning_rate`.
        workdir: Gets `record.json` and `samples.npz`.
        sources: How to take `workdir`; the points are drawn.

    Returns:
        record: `config`, `results` of the last samples, `history` of those
            at each of `SNAPSHOTS`, `duration_seconds` and
            `trainable_parameters`.

    Raises:
        ValueError: If the target is not known, a field is set that a GAN does
            not use, or `workdir` is another's.
    """
    sources = sources or run_data.Sources()
    _check(config)
    taken = workdirs.take(workdir, config, owner_timeout=sources.owner_timeout)
    with taken as complete:
        if complete:
            return run_files.read_record(workdir)
        return _run_owned(config, workdir)


def _check(config: config_lib.Config) -> None:
    """Refuses fields that would be ignored."""
    _checks.one_of("dataset", config.dataset, MODES)
    free = {name: getattr(config, name) for name in _FREE}
    usual = config_lib.Config(**{**SETTING, **free}).to_json()
    others = {
        name: value
        for name, value in config.to_json().items()
        if value != usual[name]
    }
    if others:
        raise _checks.refusal(
            "GANs are trained in one way",
            ", ".join(f"{name}={value!r}" for name, value in others.items()),
            f"Leave out all but {', '.join(_FREE)}",
        )


def _run_owned(
    config: config_lib.Config, workdir: pathlib.Path
) -> dict[str, Any]:
    """Runs in a workdir that this process owns."""
    started = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    game = Game(config)
    total = config.epochs * ITERATIONS
    stops = sorted({*(stop for stop in SNAPSHOTS if stop < total), total})
    modes, samples = MODES[config.dataset], {}
    for stop in stops:
        game.play(stop)
        samples[str(stop)] = game.sample(NUM_SAMPLES)
        logging.info(
            "%s after %d: %s",
            config.run_name,
            stop,
            measure(samples[str(stop)], modes),
        )
    measured = [measure(each, modes) for each in samples.values()]
    atomic_files.write_atomically(
        workdir / SAMPLES,
        lambda path: np.savez(path, **samples),  # type: ignore[arg-type]
    )
    return run_files.write_record(
        workdir,
        config,
        [SAMPLES],
        results=measured[-1],
        history={
            name: [each[name] for each in measured] for name in measured[0]
        },
        duration_seconds=time.monotonic() - started,
        trainable_parameters=count_parameters(),
    )


def measure(samples: np.ndarray, modes: np.ndarray) -> dict[str, float]:
    """Counts what a generator has learned of a target.

    Args:
        samples: `(S, 2)`.
        modes: `(M, 2)`, centers of Gaussians of deviation .01.

    Returns:
        results: Shares: `modes_found` of modes with a good sample, which is
            one within 3 deviations; `good_samples`; and `escaped_samples`,
            further than 2 from the origin or not a number.
    """
    distances = np.linalg.norm(samples[:, np.newaxis] - modes, axis=-1)
    good = distances <= NEAR * DEVIATION
    # Not "greater than": a sample that is no number has escaped, too.
    inside = np.linalg.norm(samples, axis=-1) <= FAR
    return {
        "modes_found": float(good.any(axis=0).mean()),
        "good_samples": float(good.any(axis=1).mean()),
        "escaped_samples": float(1 - inside.mean()),
    }


def build_player(outputs: int) -> keras.Model:
    """Builds a fully connected network of the plane; logits or points out."""
    hidden = [keras.layers.Dense(WIDTH, "relu") for _ in range(DEPTH)]
    inputs = keras.Input((DIMENSIONS,))
    return keras.Sequential([inputs, *hidden, keras.layers.Dense(outputs)])


def count_parameters() -> int:
    """Returns the trainable parameters of both players."""
    return sum(
        model_setup.count_parameters(build_player(outputs))
        for outputs in (DIMENSIONS, 1)
    )


def judge(
    discriminator: keras.Model,
    real: tf.Tensor,
    fake: tf.Tensor,
    lam: tf.Tensor | None,
    order: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the discriminator's loss, a scalar.

    Without mixing `l(d(real), 1) + l(d(fake), 0)`, with `lam` `(B,)`
    `l(d(lam * real + (1 - lam) * fake), lam)`, `l` the binary cross-entropy.
    With `order` any two points are mixed, and so are their targets: those of
    the first halves of `real` and `fake` with those of the second, so ordered.

    Args:
        discriminator: `(B, 2)` -> logits `(B, 1)`.
        real: Points of the target, `(B, 2)`.
        fake: Points of the generator, `(B, 2)`.
        lam: `(B,)`; None without mixing.
        order: Permutation `(B,)`, as in the authors' code; None for the paper's
            mixing.

    References:
        Zhang, Cisse, Dauphin and Lopez-Paz. mixup: Beyond Empirical Risk
        Minimization. ICLR 2018, section 3.7. https://arxiv.org/abs/1710.09412
    """
    if lam is None:
        logits = discriminator(tf.concat([real, fake], axis=0))
        of_real, of_fake = tf.split(logits, 2)
        return _loss(of_real, 1.0) + _loss(of_fake, 0.0)
    lam = lam[:, tf.newaxis]
    if order is not None:
        halves = zip(tf.split(real, 2), tf.split(fake, 2), strict=True)
        first, second = (tf.concat(each, axis=0) for each in halves)
        targets = tf.repeat([[1.0], [0.0]], len(first) // 2, axis=0)
        second, others = tf.gather(second, order), tf.gather(targets, order)
        mixed = lam * first + (1 - lam) * second
        return _loss(discriminator(mixed), lam * targets + (1 - lam) * others)
    return _loss(discriminator(lam * real + (1 - lam) * fake), lam)


def _loss(logits: tf.Tensor, targets: Any) -> tf.Tensor:
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(
            tf.ones_like(logits) * targets, logits
        )
    )


class Game:
    """A generator and a discriminator, and where they stand."""

    def __init__(self, config: config_lib.Config) -> None:
        self._config = config
        self._modes = tf.constant(MODES[config.dataset], tf.float32)
        self._seed = tf.constant([config.seed, 0], tf.int32)
        self._generator = build_player(DIMENSIONS)
        self._discriminator = build_player(1)
        self._optimizers = {}
        for player in (self._generator, self._discriminator):
            optimizer = keras.optimizers.Adam(config.learning_rate)
            optimizer.build(player.trainable_variables)
            self._optimizers[player] = optimizer
        self._done = tf.Variable(0)

    def play(self, until: int) -> None:
        """Goes on until so many iterations are done, if no signal ends it."""
        # Python handles a signal once TensorFlow has returned.
        while (done := int(self._done)) < until:
            self._play(tf.constant(min(done + PIECE, until)))

    def sample(self, count: int) -> np.ndarray:
        """Returns points of the generator, `(count, 2)`."""
        noise = tf.random.stateless_normal([count, DIMENSIONS], self._seed)
        return np.asarray(self._generator(noise))

    @tf.function
    def _play(self, until: tf.Tensor) -> None:
        while self._done < until:
            seed = tf.random.fold_in(self._seed, self._done + 1)
            self._iterate(*self._draw(seed))
            self._done.assign_add(1)

    def _draw(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns all that an iteration draws; XLA has no Beta.

        Returns:
            real: Points of the target, `(steps, B, 2)`; two batches in one if
                any two points are mixed.
            noise: For the generator: `(steps, B, 2)`.
            last: For its own step: one batch.
            lam: `(steps, B)`; empty without mixing.
            order: Permutations, `(steps, B)`; empty if real points are mixed
                with generated ones.
        """
        config = self._config
        mixes_any = config.alpha and config.gan_pairs == "any"
        size = (
            DISCRIMINATOR_STEPS,
            config.batch_size * (2 if mixes_any else 1),
        )
        first, second, third, fourth = tf.unstack(tf.random.split(seed, 4))
        chosen = tf.random.stateless_uniform(
            size, first, 0, len(self._modes), tf.int32
        )
        spread = tf.random.stateless_normal([*size, DIMENSIONS], second)
        real = tf.gather(self._modes, chosen) + DEVIATION * spread
        count = math.prod(size)
        noise = tf.random.stateless_normal(
            [count + config.batch_size, DIMENSIONS], third
        )
        noise, last = tf.split(noise, [count, config.batch_size])
        noise = tf.reshape(noise, [*size, DIMENSIONS])
        none = tf.zeros([0])
        if not config.alpha:
            return real, noise, last, none, none
        if mixes_any:
            lam = tf.random.stateless_uniform(size, fourth, 0, config.alpha)
            keys = tf.random.stateless_uniform(
                size, tf.random.fold_in(fourth, 1)
            )
            return real, noise, last, lam, tf.argsort(keys)
        alpha = tf.constant(config.alpha)
        lam = mixing.draw_lam(alpha, count, seed=fourth)
        return real, noise, last, tf.reshape(lam, size), none

    @tf.function(jit_compile=True)
    def _iterate(
        self,
        real: tf.Tensor,
        noise: tf.Tensor,
        last: tf.Tensor,
        lam: tf.Tensor,
        order: tf.Tensor,
    ) -> None:
        """Some steps of the discriminator, then one of the generator."""
        generator, discriminator = self._generator, self._discriminator
        steps = len(noise)
        fake = generator(tf.reshape(noise, [-1, DIMENSIONS]))
        for each in zip(
            tf.unstack(real),
            tf.split(fake, steps),
            tf.unstack(lam) or [None] * steps,
            tf.unstack(order) or [None] * steps,
            strict=True,
        ):
            with tf.GradientTape() as tape:
                loss = judge(discriminator, *each)
            self._step(tape, loss, discriminator)
        # Up the discriminator's loss on fakes that are not mixed: as the
        # authors' demonstration has it, for both kinds of GAN.
        with tf.GradientTape() as tape:
            loss = -_loss(discriminator(generator(last)), 0.0)
        self._step(tape, loss, generator)

    def _step(
        self, tape: tf.GradientTape, loss: tf.Tensor, player: keras.Model
    ) -> None:
        variables = player.trainable_variables
        gradients = tape.gradient(loss, variables)
        self._optimizers[player].apply(gradients, variables)
