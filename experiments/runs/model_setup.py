"""What a `Config` is made of: the network, its loss and the mixing stage."""

import inspect
import math
from typing import Any

import keras
import tensorflow as tf

from experiments import datasets
from experiments import networks
from experiments.distributed import workers
from experiments.runs import config as config_lib
from experiments.runs import evaluation
from tf_mixup import _checks
from tf_mixup import losses
from tf_mixup import metrics
from tf_mixup import mixing


def build_network(
    config: config_lib.Config, splits: datasets.Splits
) -> keras.Model:
    """Builds the network of a run, from raw pixels to logits."""
    _checks.one_of("network", config.network, networks.BUILDERS)
    options: dict[str, Any] = {
        "width": config.width,
        "dropout": config.dropout,
        "synchronized": config.sync_batch_norm or None,
        "zero_gamma": config.zero_gamma or None,
    }
    check_sentences(config, splits)
    _check_batch_norm(config)
    if splits.vocabulary:
        options["vocabulary"] = splits.vocabulary
        options["embeddings"] = config.embeddings
    elif _is_standardized(config):
        options["mean"], options["std"] = splits.mean, splits.std
    return networks.BUILDERS[config.network](
        splits.train.inputs.shape[1:],
        splits.num_classes,
        seed=config.seed,
        **{name: value for name, value in options.items() if value is not None},
    )


def check_sentences(config: config_lib.Config, splits: datasets.Splits) -> None:
    """Refuses another network for word ids, and to mix the ids themselves.

    Args:
        config: What the run is.
        splits: Its data.

    Raises:
        ValueError: If the data are sentences and the config is not of them.
    """
    if bool(splits.vocabulary) != (config.network == "text_cnn"):
        raise _checks.refusal(
            "Sentences take the network `text_cnn`, and nothing else does",
            f"network={config.network!r} with dataset={config.dataset!r}",
            "Choose the other network, or another data set",
        )
    if splits.vocabulary and config.alpha and not config.mix_layers:
        raise _checks.refusal(
            "Sentences are mixed as word vectors, not as ids",
            f"method={config.method!r} without mix_layers",
            "Write --method=mixup --mix_layers=embedding",
        )


def _is_standardized(config: config_lib.Config) -> bool:
    """Returns whether to standardize; refuses not to but of tables."""
    table = datasets.find_card(config.dataset).kind == "tables"
    if not config.standardized and not table:
        raise _checks.refusal(
            "`standardized` is for the features of tables",
            f"standardized=False with dataset={config.dataset!r}",
            "Leave --nostandardized out",
        )
    return config.standardized


def _check_batch_norm(config: config_lib.Config) -> None:
    """Refuses options of batch norm for networks that do not have them."""
    known = inspect.signature(networks.BUILDERS[config.network]).parameters
    for name, option in (
        ("sync_batch_norm", "synchronized"),
        ("zero_gamma", "zero_gamma"),
    ):
        if getattr(config, name) and option not in known:
            raise _checks.refusal(
                f"`{name}` needs a network with such batch norm",
                f"{name}=True with network={config.network!r}",
                f"Leave --{name} out, or take another network",
            )
    if config.sync_batch_norm and keras.backend.backend() != "tensorflow":
        raise _checks.refusal(
            "`sync_batch_norm` is for TensorFlow's replicas",
            f"sync_batch_norm=True with the Keras backend"
            f" {keras.backend.backend()!r}",
            "Leave --sync_batch_norm out: one device has the whole batch",
        )


def count_parameters(model: keras.Model) -> int:
    """Returns the number of trainable parameters."""
    return sum(math.prod(each.shape) for each in model.trainable_variables)


def build_loss(config: config_lib.Config) -> keras.losses.Loss:
    """Returns the loss of a run, on logits and mixed targets."""
    if config.label_smoothing:
        return losses.LabelSmoothingCrossentropy(
            config.label_smoothing, from_logits=True
        )
    if config.entropy_weight:
        return losses.ConfidencePenaltyCrossentropy(
            config.entropy_weight, from_logits=True
        )
    return keras.losses.CategoricalCrossentropy(from_logits=True)


def build_metrics(
    num_classes: int, *, by_class: bool = False
) -> list[keras.metrics.Metric]:
    """Returns what is measured in each epoch: top-1, top-5, calibration."""
    calibration = (
        metrics.ClassCalibrationMetrics
        if by_class
        else metrics.CalibrationMetrics
    )
    found = [
        keras.metrics.CategoricalAccuracy(name="accuracy"),
        calibration(from_logits=True),
    ]
    if num_classes > evaluation.MANY_CLASSES:
        found.append(
            keras.metrics.TopKCategoricalAccuracy(5, name="top5_accuracy")
        )
    return found


def build_mixup(
    config: config_lib.Config,
    num_classes: int,
    strategy: tf.distribute.Strategy,
) -> mixing.MixUp:
    """Returns the mixing stage; on a GPU batches are mixed in the model.

    Of several workers each mixes its own batches, with draws of its own.
    """
    share = workers.Workers.of(strategy)
    placement = choose_placement(config)
    replicas = strategy.num_replicas_in_sync // share.count
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "seed": share.fold(config.seed),
        "per": _choose_per(config),
        "partner": mixing.Partners(
            "given" if config.brings_partners else config.partner,
            groups=replicas if placement == "model" else 1,
        ),
    }
    if config.num_points > 2:
        options["num_points"] = config.num_points
    if config.network == "text_cnn" and not config.alpha:
        options["inputs"] = None if placement == "model" else "keep"
    alpha = "auto" if config.tunes_alpha else config.alpha
    if config.method == "mit":
        return mixing.DecoupledMixUp(alpha, margin=config.margin, **options)
    options["mix"] = config.mix
    if config.method == "cutmix":
        return mixing.CutMix(alpha, **options)
    return mixing.MixUp(
        alpha,
        include_clean=config.method == "regmixup",
        **options,
    )


def _choose_per(config: config_lib.Config) -> str | mixing.SimilarityKernel:
    if config.kernel_width:
        return mixing.SimilarityKernel(config.kernel_width)
    if config.per == "class" and not config.alpha:
        return "batch"
    return config.per


def training_model(
    config: config_lib.Config, mixup: mixing.MixUp, network: keras.Model
) -> keras.Model:
    """Returns what is trained: the network, or one around it that mixes."""
    if choose_placement(config) == "host":
        return network
    return mixup.training_model(network, at=config.mix_layers or None)


def choose_placement(config: config_lib.Config) -> str:
    """Returns where batches are mixed: `"host"` or `"model"`."""
    in_model = bool(config.mix_layers) or config.method == "mit"
    on_host = config.method == "cutmix" or config.brings_partners
    must_be = "model" if in_model else "host" if on_host else ""
    if must_be and config.placement not in ("auto", must_be):
        raise _checks.refusal(
            f"This method mixes {'in' if in_model else 'on'} the {must_be}",
            f"placement={config.placement!r} with method={config.method!r},"
            f" mix_layers={config.mix_layers!r}, neighbors={config.neighbors}",
            "Write --placement=auto",
        )
    if must_be or config.placement != "auto":
        return must_be or config.placement
    # The ids of words are not mixed.
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return "model" if on_gpu and config.network != "text_cnn" else "host"
