"""Times `fit` of ImageNet's network, and holds it against what feeds it.

The batch is in memory, so what reads photographs is not in a step's time: its
own time, measured apart, is held against the step's.
"""

from collections.abc import Mapping

import keras
import numpy as np

from experiments import networks
from experiments.benchmark import counts
from experiments.benchmark import fitting
from experiments.benchmark import mixing
from experiments.benchmark import timing
from experiments.datasets import streams
from tf_mixup import callbacks

UNWATCHED = f"{fitting.MODEL}, accuracy only"
WATCHED = f"{fitting.MODEL}, calibration metric and monitor"
# A step goes forward once, and back to a layer's inputs and to its weights.
PASSES = 3
RATIOS = (
    (fitting.FLOATS, fitting.PLAIN),
    (fitting.HOST, fitting.PLAIN),
    (fitting.MODEL, fitting.PLAIN),
    (fitting.HOST, fitting.MODEL),
    (fitting.METRIC, fitting.MODEL),
    (fitting.METRIC, fitting.KERAS),
)
# Target: with mixup and calibration as fast as plain Keras without.
TARGETS = {fitting.KERAS: 1.0}


def measure(
    size: mixing.Size,
    repeats: int,
    *,
    pipeline: np.ndarray,
    peak_tflops: float | None = None,
    network: fitting.Build = networks.build_resnet50,
    rival: fitting.Build | None = None,
) -> list[timing.Table]:
    """Times the steps of all cases, and an epoch with and without monitors.

    Args:
        size: The batch, and how many steps are timed in each round.
        repeats: Rounds.
        pipeline: Processor milliseconds in which the pipeline of photographs
            makes an image, one number a round.
        peak_tflops: What the GPU can do at most in this precision, in 1e12
            FLOPs a second; None where it is not known.
        network: Builds the network.
        rival: Builds the plain one to compare it with, if any.

    Returns:
        tables: Times and ratios of steps and of epochs; bytes; throughput.
    """
    shape = size.shape[1:]
    cases = fitting.build_cases(size, network(shape, size.num_classes), rival)
    measured = timing.run_in_turns(
        {name: fitting.step_case(case, size) for name, case in cases.items()},
        repeats=repeats,
    )
    where = f"ResNet-50, {'x'.join(map(str, size.shape))}, "
    where += f"{keras.config.dtype_policy().name}, {timing.describe_device()}"
    steps = timing.Section(
        title=f"Step of fit, {where}, ms a step",
        milliseconds={**measured, fitting.KERAS: measured.get(fitting.KERAS)},
        ratios=tuple(
            timing.compare(measured, *pair, at_most=TARGETS.get(pair[1]))
            for pair in RATIOS
        ),
    )
    fed = timing.Facts(
        title=f"Bytes that a step is fed, {where}",
        values={
            name: counts.count_bytes(case.batches)
            for name, case in cases.items()
        },
    )
    rates = timing.Facts(
        title=f"Throughput, {fitting.METRIC}, {where}",
        values=compare_rates(
            size.shape[0],
            step=float(np.median(measured[fitting.METRIC])),
            pipeline=float(np.median(pipeline)),
            flops={
                name: counts.count_flops(cases[name].model)
                for name in (fitting.PLAIN, fitting.KERAS)
                if name in cases
            },
            peak_tflops=peak_tflops,
        ),
    )
    return [steps, _measure_epochs(size, repeats, cases, where), fed, rates]


def _measure_epochs(
    size: mixing.Size,
    repeats: int,
    cases: Mapping[str, fitting.Training],
    where: str,
) -> timing.Section:
    """Times what the metric and the monitor add to an epoch."""
    monitor = callbacks.CalibrationMonitor()
    measured = timing.run_in_turns(
        {
            UNWATCHED: fitting.epoch_case(cases[fitting.MODEL], size),
            WATCHED: fitting.epoch_case(cases[fitting.METRIC], size, monitor),
        },
        repeats=repeats,
    )
    return timing.Section(
        title=f"Epoch of {size.batches + 1} steps and 1 validation batch,"
        f" {where}, ms an epoch",
        milliseconds=measured,
        ratios=(timing.compare(measured, WATCHED, UNWATCHED),),
    )


def compare_rates(
    batch_size: int,
    *,
    step: float,
    pipeline: float,
    flops: Mapping[str, int],
    peak_tflops: float | None,
) -> dict[str, float | str]:
    """Compares a step with what feeds it and with the device's peak.

    Args:
        batch_size: B.
        step: Milliseconds of a step.
        pipeline: Processor milliseconds of an image.
        flops: Of an image's forward pass, for each network; the first is the
            one of the step.
        peak_tflops: In 1e12 FLOPs a second; None where it is not known.

    Returns:
        facts: Images a second; on a GPU how many cores feed one, and the
            share of its peak; FLOPs.
    """
    taken, made = 1e3 * batch_size / step, 1e3 / pipeline
    cores: float | str = timing.NOT_MEASURED
    share: float | str = timing.NOT_MEASURED
    if timing.gpu_names():
        cores = taken / made
        share = "not measured: no --peak_tflops"
        if peak_tflops is not None:
            trained = PASSES * next(iter(flops.values())) * taken
            share = trained / (1e12 * peak_tflops)
    side = streams.SIDE
    return {
        "images/s that the step takes": taken,
        f"images/s that a core's pipeline makes, {side}x{side}": made,
        "cores that feed one GPU": cores,
        "model FLOP utilization": share,
        **{
            f"GFLOPs of an image forward, {name}": each / 1e9
            for name, each in flops.items()
        },
    }
