"""What TensorBoard reads back."""

import numpy as np
import pytest
import tensorflow as tf

from tests import plots_test
from tf_mixup import plots
from tf_mixup import selective
from tf_mixup import summaries


def read(folder):
    """Returns {tag: [(step, value)]} of all event files, by step."""
    found = {}
    for path in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                number = tf.make_ndarray(value.tensor)
                found.setdefault(value.tag, []).append((event.step, number))
    # Names of files end with a counter: the tenth sorts before the ninth.
    for entries in found.values():
        entries.sort(key=lambda entry: entry[0])
    return found


def read_descriptions(folder):
    """Returns {tag: description} of all event files."""
    return {
        value.tag: value.metadata.summary_description
        for path in folder.glob("events*")
        for record in tf.data.TFRecordDataset(str(path))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    }


def written(folder, write):
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        write()
    writer.close()
    return read(folder)


class TestWrite:
    def test_scalars(self, tmp_path):
        tags = written(
            tmp_path,
            lambda: summaries.write_scalars({"ece": 0.25}, step=3, name="c"),
        )
        assert tags == {"c/ece": [(3, 0.25)]}

    def test_says_what_a_number_is(self, tmp_path):
        written(
            tmp_path,
            lambda: summaries.write_scalars(
                {"a": 1.0, "b": 2.0},
                step=0,
                name="c",
                descriptions={"a": "The *first*."},
            ),
        )
        assert read_descriptions(tmp_path) == {"c/a": "The *first*.", "c/b": ""}

    def test_says_what_figures_and_histograms_are(self, tmp_path):
        images = np.zeros((2, 3, 3))

        def write():
            summaries.write_bins(plots_test.table(), step=0)
            summaries.write_confidences({"svhn": np.ones(2)}, step=0)
            summaries.write_mixed_batch(images, images, 0.5, [1, 0], step=0)
            summaries.write_coefficients([0.5], step=0)

        written(tmp_path, write)
        descriptions = read_descriptions(tmp_path)
        assert len(descriptions) == 8
        assert all(descriptions.values())
        assert "`svhn`" in descriptions["ood/svhn_confidences"]

    def test_risk_coverage_is_a_figure(self, tmp_path):
        bins = selective.rank_scores([0.9, 0.8, 0.7], [1, 1, 0])

        def write():
            summaries.write_risk_coverage(bins, step=4)

        ((tag, entries),) = written(tmp_path, write).items()
        assert tag == "calibration/risk_coverage"
        assert entries[0][0] == 4
        assert entries[0][1][:2].tolist() == [b"460", b"400"]
        assert read_descriptions(tmp_path)[tag].startswith("The error rate")

    def test_bins_give_three_figures(self, tmp_path):
        table = plots_test.table()
        tags = written(tmp_path, lambda: summaries.write_bins(table, step=1))
        assert sorted(tags) == [
            "calibration/accuracy_confidence_density",
            "calibration/confidence_histogram",
            "calibration/reliability_diagram",
        ]
        (step, image), *_ = tags["calibration/reliability_diagram"]
        assert step == 1
        # TensorBoard's format: width, height, then one PNG.
        assert image[:2].tolist() == [b"400", b"500"]
        pixels = tf.io.decode_png(image[2]).numpy()
        figure = plots.reliability_diagram(table)
        np.testing.assert_array_equal(pixels, plots.figure_to_image(figure))

    def test_confidences(self, tmp_path):
        sets = {"svhn": np.array([0.25, 0.75]), "noise": np.array([0.5])}
        tags = written(
            tmp_path, lambda: summaries.write_confidences(sets, step=0)
        )
        assert sorted(tags) == [
            "ood/confidence_histogram",
            "ood/noise_confidences",
            "ood/svhn_confidences",
        ]
        buckets = tags["ood/svhn_confidences"][0][1]
        assert buckets[:, 2].sum() == 2

    def test_histograms_share_an_axis(self, tmp_path):
        # A softmax may round to above 1.
        for step, values in enumerate(([0.4, 0.41], [1 + 1e-6, 0.0], [])):
            values = np.array(values)
            tags = written(
                tmp_path / str(step),
                lambda values=values: summaries.write_confidences(
                    {"a": values}, step=0
                ),
            )
            ((_, buckets),) = tags["ood/a_confidences"]
            left, right, count = buckets.T
            np.testing.assert_allclose(left, np.arange(30) / 30)
            np.testing.assert_allclose(right, np.arange(1, 31) / 30)
            assert count.sum() == len(values)

    def test_tensorboard_knows_histograms(self, tmp_path):
        from tensorboard.backend.event_processing import event_accumulator

        written(
            tmp_path,
            lambda: summaries.write_confidences({"a": np.ones(3)}, step=0),
        )
        board = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
        metadata = board.SummaryMetadata("ood/a_confidences")
        assert metadata.plugin_data.plugin_name == "histograms"

    def test_mixed_batch(self, tmp_path):
        images = np.arange(2 * 9, dtype=np.float32).reshape(2, 3, 3)
        mixed = 0.25 * images + 0.75 * images[::-1]
        tags = written(
            tmp_path,
            lambda: summaries.write_mixed_batch(
                images, mixed, [0.25, 0.25], [1, 0], step=5
            ),
        )
        assert sorted(tags) == ["mixup/mixed_batch"]

    @pytest.mark.parametrize("shares", [[0.25, 0.75], [[0.5, 0.2, 0.3]] * 2])
    def test_coefficients(self, tmp_path, shares):
        shares = np.array(shares)
        tags = written(
            tmp_path,
            lambda: summaries.write_coefficients(shares, step=5, alpha=0.4),
        )
        assert sorted(tags) == ["mixup/coefficients", "mixup/lam"]
        ((step, buckets),) = tags["mixup/lam"]
        assert step == 5
        assert buckets[:, 2].sum() == 2

    def test_a_column_of_shares_is_one_each(self, tmp_path):
        images, lam = np.zeros((2, 3, 3)), np.full((2, 1, 1), 0.25)
        tags = written(
            tmp_path,
            lambda: summaries.write_mixed_batch(
                images, images, lam, [1, 0], step=0
            ),
        )
        assert sorted(tags) == ["mixup/mixed_batch"]

    @pytest.mark.parametrize("wrong", [np.nan, -0.5, 1.5])
    def test_refuses_what_are_no_shares(self, tmp_path, wrong):
        images = np.zeros((2, 3, 3))
        for write in (
            lambda: summaries.write_confidences({"a": [0.5, wrong]}, step=0),
            lambda: summaries.write_mixed_batch(
                images, images, [0.5, wrong], [1, 0], step=0
            ),
            lambda: summaries.write_coefficients([0.5, wrong], step=0),
        ):
            with pytest.raises(ValueError, match=rf"\[0, 1\].*with {wrong:g}"):
                written(tmp_path, write)

    @pytest.mark.parametrize("partner", [[0, 2], [-1, 0], [0], [0.0, 1.0]])
    def test_mixed_batch_refuses_partners_of_another(self, tmp_path, partner):
        images = np.zeros((2, 3, 3))
        with pytest.raises(
            ValueError, match=r"`partner` must name.*for 2 mixed.*Give the"
        ):
            written(
                tmp_path,
                lambda: summaries.write_mixed_batch(
                    images, images, 0.5, partner, step=0
                ),
            )

    def test_mixed_batch_refuses_points_that_do_not_fit(self, tmp_path):
        images, partner = np.zeros((2, 3, 3)), [[1, 0], [0, 1]]
        for lam in (0.5, [[0.5, 0.5], [0.5, 0.5]]):
            with pytest.raises(ValueError, match="`partner` must name"):
                written(
                    tmp_path,
                    lambda lam=lam: summaries.write_mixed_batch(
                        images, images, lam, partner, step=0
                    ),
                )

    def test_draws_nothing_without_a_writer(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("a figure was drawn")

        monkeypatch.setattr(plots, "_new_figure", refuse)
        summaries.write_bins(plots_test.table(), step=0)
        summaries.write_confidences({"a": np.ones(2)}, step=0)
        summaries.write_coefficients([0.5], step=0)
        images = np.zeros((2, 3, 3))
        summaries.write_mixed_batch(images, images, 0.5, [1, 0], step=0)
