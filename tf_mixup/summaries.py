"""Writes calibration, confidences and mixed batches for TensorBoard.

Like those of `tf.summary`, these functions write to the default writer:

    with tf.summary.create_file_writer("logs/validation").as_default():
        summaries.write_bins(bins, step=epoch)

Without a default writer nothing is written and no figure is drawn. No tag
begins with `epoch_`, which `keras.callbacks.TensorBoard` uses.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf

from tf_mixup import _checks
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup._checks import numbers
from tf_mixup.calibration import per_label

if TYPE_CHECKING:
    import matplotlib.figure

_TABLE = "table"
# As many as TensorBoard draws.
_BUCKETS = 30
# Takes half as long as the default; files are a tenth larger.
_PNG_LEVEL = 1
# Labels with a figure of their own.
_WORST = 3
# Text that TensorBoard shows for a figure, in Markdown.
_BINS_FIGURES = {
    "reliability_diagram": "Accuracy by bins of confidence; bars that end below"
    " the diagonal are overconfident. Below it, how many examples a bin has:"
    " one of few lies off by chance.",
    "confidence_histogram": "How sure the model is of its predictions.",
    "accuracy_confidence_density": "Accuracy and mean confidence of bins,"
    " weighted by their examples. Below the diagonal is overconfident, above it"
    " underconfident.",
}


def write_scalars(
    values: Mapping[str, float],
    *,
    step: int,
    name: str,
    descriptions: Mapping[str, str] | None = None,
) -> None:
    """Writes numbers under `<name>/<key>`.

    Args:
        values: Numbers by name.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tags begin with.
        descriptions: Text that TensorBoard shows for a number, by its name, in
            Markdown. Defaults to nothing.
    """
    for key, value in values.items():
        tf.summary.scalar(
            f"{name}/{key}",
            value,
            step=step,
            description=(descriptions or {}).get(key),
        )


def write_bins(bins: Any, *, step: int, name: str = "calibration") -> None:
    """Writes the three figures of a table of bins.

    These are the reliability diagram, the confidence histogram and the joint
    density of accuracy and confidence.

    Args:
        bins: `calibration.Bins` of shape `(M,)`.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tags begin with. Defaults to `"calibration"`.
    """
    if not _has_writer():
        return
    from tf_mixup import _panel_figure

    with _panel_figure.reusing():
        figures = {
            "reliability_diagram": plots.reliability_diagram(bins),
            "confidence_histogram": plots.confidence_histogram(
                {"examples": bins}, num_bins=len(bins[0])
            ),
            "accuracy_confidence_density": plots.accuracy_confidence_density(
                bins
            ),
        }
        for tag, figure in figures.items():
            write_figure(
                f"{name}/{tag}",
                figure,
                step=step,
                description=_BINS_FIGURES[tag],
            )


def write_label_bins(
    bins: Any, *, step: int, name: str = "calibration"
) -> None:
    """Writes reliability diagrams of several labels.

    One of all labels together, and those of the three labels whose ECE is the
    furthest above what chance explains.

    Args:
        bins: `calibration.Bins` of shape `(K, M)`, such as those of
            `calibration.label_bins`.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tag begins with. Defaults to `"calibration"`.
    """
    if not _has_writer():
        return
    tables = np.stack(
        [numbers.to_numpy(part, "Bins", dtype=np.float64) for part in bins],
        axis=1,
    )
    panels = {"all labels": calibration.Bins(*tables.sum(axis=0))}
    if len(tables) > 1:
        worst = per_label.find_worst(bins)[:_WORST]
        panels |= {f"label {k}": calibration.Bins(*tables[k]) for k in worst}
    write_figure(
        f"{name}/reliability_diagram",
        plots.reliability_diagram(panels),
        step=step,
        description="How often a label is there (accuracy) by bins of its"
        " probability (confidence), of all labels together and of those whose"
        " ECE is the furthest above chance. Bars that end below the diagonal:"
        " probability too high.",
    )


def write_risk_coverage(
    bins: Any, *, step: int, name: str = "calibration"
) -> None:
    """Writes the risk-coverage curve.

    Args:
        bins: `calibration.Bins` of shape `(M,)` in ascending order of
            confidence, such as `metrics.CalibrationMetrics.ranked_bins()`.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tag begins with. Defaults to `"calibration"`.
    """
    if not _has_writer():
        return
    from tf_mixup import _panel_figure

    with _panel_figure.reusing():
        write_figure(
            f"{name}/risk_coverage",
            plots.risk_coverage_curves({"examples": bins}),
            step=step,
            description="The error rate of the most confident examples, by"
            " their share. The later it rises, the more predictions can be"
            " trusted; the right end is the error rate of all.",
        )


def write_table(bins: Any, *, step: int, name: str = "calibration") -> None:
    """Writes the sums of a table of bins, for `read_tables`.

    A table is small, so it can be written each epoch, and any figure of any
    epoch can be drawn after training.

    Args:
        bins: `calibration.Bins` of shape `(M,)`.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tag begins with. Defaults to `"calibration"`.
    """
    sums = np.stack(
        [numbers.to_numpy(part, "Bins", dtype=np.float64) for part in bins]
    )
    tf.summary.write(f"{name}/{_TABLE}", sums, step=step)


def read_tables(
    log_dir: str | os.PathLike[str], *, name: str = "calibration"
) -> dict[int, calibration.Bins]:
    """Reads the tables that `write_table` wrote.

    Args:
        log_dir: Folder of event files, e.g. `logs/validation`.
        name: What the tag begins with. Defaults to `"calibration"`.

    Returns:
        tables: Step -> `calibration.Bins` of float64 `(M,)`, in the order of
            steps; the later one if a step was written twice.

    Raises:
        FileNotFoundError: If there is no event file.
    """
    paths = sorted(pathlib.Path(log_dir).glob("events.out.tfevents.*"))
    if not paths:
        raise FileNotFoundError(
            "There must be event files to read. Received:"
            f" {str(log_dir)!r}, which has none. Give `log_dir` of"
            " `callbacks.CalibrationMonitor` and its subfolder `validation`."
        )
    tables: dict[int, calibration.Bins] = {}
    for path in paths:
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.tag == f"{name}/{_TABLE}":
                    sums = tf.make_ndarray(value.tensor)
                    tables[event.step] = calibration.Bins(*sums)
    return dict(sorted(tables.items()))


def write_confidences(
    sets: Mapping[str, Any], *, step: int, name: str = "ood"
) -> None:
    """Writes the distribution of confidence of each set.

    TensorBoard's own histogram for each, all on the axis [0, 1], and a figure
    that compares them.

    Args:
        sets: Name of a set to its confidences, `(N,)`.
        step: Position on TensorBoard's axis, e.g. the epoch.
        name: What the tags begin with. Defaults to `"ood"`.
    """
    if not _has_writer():
        return
    for key, values in sets.items():
        _write_shares(
            f"{name}/{key}_confidences",
            values,
            step=step,
            description=f"How sure the model is of examples of `{key}`.",
        )
    from tf_mixup import _panel_figure

    with _panel_figure.reusing():
        write_figure(
            f"{name}/confidence_histogram",
            plots.confidence_histogram(sets),
            step=step,
            description="How sure the model is of each set's examples. The less"
            " they overlap with `reference`, the better confidence separates"
            " them from it.",
        )


def write_mixed_batch(
    sources: Any,
    mixed: Any,
    lam: Any,
    partner: Any,
    *,
    step: int,
    targets: Any = None,
    max_examples: int = 6,
    name: str = "mixup",
) -> None:
    """Writes a mixed batch beside its sources.

    Args:
        sources: Images before mixing, `(B, H, W)` or `(B, H, W, C)`; given
            partners may follow.
        mixed: The mixed images, of the same shape.
        lam: Share of the source in each, `(B,)` or a scalar; with P > 2 points
            `(B, P)`, the source's first.
        partner: Integers `(B,)`: the example that each was mixed with; with P >
            2 points `(B, P - 1)`, which are shown as one image, averaged as
            they were mixed.
        step: Position on TensorBoard's axis, e.g. the epoch.
        targets: Mixed targets `(B, K)`. Defaults to nothing.
        max_examples: Examples to draw at most. Defaults to 6.
        name: What the tags begin with. Defaults to `"mixup"`.

    Raises:
        ValueError: If `partner` does not name examples of `sources`, if the
            batches are not images, or if a share is not in [0, 1].

    Example:
        >>> from tf_mixup import mixing
        >>> x, lam, partner = np.zeros((2, 8, 8)), [0.3, 0.3], [1, 0]
        >>> mixed, _ = mixing.mix(x, x, lam, partner)
        >>> write_mixed_batch(x, mixed, lam, partner, step=0)
    """
    if not _has_writer():
        return
    sources, partner, mixed, lam = map(
        np.asarray, (sources, partner, mixed, lam)
    )
    size, num_sources = ((*each.shape, 0)[0] for each in (mixed, sources))
    if lam.size == size:
        lam = lam.ravel()
    fitting = (size, lam.shape[1] - 1) if lam.ndim == 2 else (size,)
    named = partner.shape == fitting and partner.dtype.kind in "iu"
    if not named or np.any((partner < 0) | (partner >= num_sources)):
        raise _checks.refusal(
            "`partner` must name an example of `sources` for each example",
            f"partner={partner.tolist()} for {size} mixed examples of"
            f" {num_sources} sources",
            "Give the plan that this very batch was mixed by",
        )
    sources, partners = sources[:size], sources[partner]
    if partner.ndim > 1:
        shares = lam[:, 1:] / np.maximum(lam[:, 1:].sum(1), 1e-9)[:, None]
        partners = np.einsum("bp,bp...->b...", shares, partners)
        lam = lam[:, 0]
    figure = plots.mixed_batch(
        sources,
        partners,
        mixed,
        lam,
        targets=targets,
        max_examples=max_examples,
    )
    write_figure(
        f"{name}/mixed_batch",
        figure,
        step=step,
        description="Each row shows an example of the batch, its partner and"
        " their mixture, which the network is given. The titles show the two"
        " shares and the two largest classes of the target.",
    )


def write_coefficients(
    shares: Any,
    *,
    step: int,
    alpha: float | None = None,
    name: str = "mixup",
) -> None:
    """Writes the distribution of coefficients and of label entropies.

    Args:
        shares: Share of an example in its mixture, in [0, 1], `(N,)`; or of
            all P examples in it, `(N, P)`. Where each batch has one
            coefficient give those of many batches.
        step: Position on TensorBoard's axis, e.g. the epoch.
        alpha: See `plots.mixing_coefficients`.
        name: What the tags begin with. Defaults to `"mixup"`.

    Raises:
        ValueError: If there is no share, or one is not in [0, 1].

    Example:
        >>> write_coefficients(np.array([0.3, 0.9]), step=0, alpha=0.4)
    """
    if not _has_writer():
        return
    from tf_mixup import _panel_figure

    shares = np.asarray(shares)
    _write_shares(
        f"{name}/lam",
        shares if shares.ndim < 2 else shares[:, 0],
        step=step,
        description="The share of an example in its mixture, the rest is its"
        " partner's; 1 is no mixing.",
    )
    with _panel_figure.reusing():
        write_figure(
            f"{name}/coefficients",
            plots.mixing_coefficients(shares, alpha=alpha),
            step=step,
            description="Left: the share of an example in its mixture. Right:"
            " the entropy of the label that it gives to two different classes,"
            " or more. The line is what the distribution of that alpha says.",
        )


def write_figure(
    tag: str,
    figure: "matplotlib.figure.Figure",
    *,
    step: int,
    description: str = "",
) -> None:
    """Writes a matplotlib figure as an image.

    Args:
        tag: The summary's whole name.
        figure: The figure.
        step: Position on TensorBoard's axis, e.g. the epoch.
        description: Text that TensorBoard shows, in Markdown. Defaults to
            nothing.
    """
    if not _has_writer():
        return
    from tensorboard.plugins.image import metadata

    pixels = plots.figure_to_image(figure)
    height, width, _ = pixels.shape
    # As `tf.summary.image` does, but it compresses longer.
    png = tf.io.encode_png(pixels, compression=_PNG_LEVEL)
    tf.summary.write(
        tag,
        tf.stack([str(width), str(height), png]),
        step=step,
        metadata=metadata.create_summary_metadata(None, description),
    )


def _write_shares(
    tag: str, values: Any, *, step: int, description: str
) -> None:
    """Writes a histogram of numbers in [0, 1] on that axis.

    `tf.summary.histogram` spans the smallest to the largest number, so epochs
    and runs would not share an axis.
    """
    from tensorboard.plugins.histogram import metadata

    shares = plots.read_shares(tag, values)
    count, edges = np.histogram(shares, bins=_BUCKETS, range=(0, 1))
    tf.summary.write(
        tag,
        np.stack([edges[:-1], edges[1:], count], axis=1),
        step=step,
        metadata=metadata.create_summary_metadata(None, description),
    )


def _has_writer() -> bool:
    # The first figure of a kind takes a tenth of a second.
    return bool(tf.summary.should_record_summaries())
