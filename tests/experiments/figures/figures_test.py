"""Figures of a table: which runs they show, and the numbers drawn."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from experiments import papers
from experiments.analysis import records
from experiments.figures import __main__ as figures
from experiments.figures import by_alpha as by_alpha_figures
from experiments.figures import calibration as calibration_figures
from experiments.figures import common
from experiments.figures import epochs as epochs_figures
from experiments.figures import errors as errors_figures
from experiments.figures import ood as ood_figures
from experiments.figures import tuning as tuning_figures
from experiments.papers import calibration_claims as arms
from experiments.runs import evaluation
from experiments.runs import outputs as outputs_lib
from experiments.runs import run_data
from experiments.runs import run_files
from experiments.runs import tuning
from experiments.runs.outputs import Outputs
from tests import binaries
from tf_mixup import calibration
from tf_mixup import plots
from tf_mixup import summaries

ROWS, CLASSES, EPOCHS = 60, 3, 7
SEEDS = 2
# How sure the networks of an arm are; the smaller, the better calibrated.
SCALES = {0.0: 4.0, 0.1: 2.0, 0.2: 1.0, 0.4: 3.0, 1.0: 0.2}


def make_outputs(config):
    """Returns logits of a true class and noise, sharper for some arms."""
    rng = np.random.default_rng(config.seed)
    scale = SCALES[config.alpha] / (2 if config.label_smoothing else 1)
    labels = rng.integers(0, CLASSES, ROWS).astype("int32")
    signal = np.eye(CLASSES)[labels] + rng.normal(0, 1, (ROWS, CLASSES))
    sets = {"validation": signal, "test": signal[::-1]}
    for name in ("gaussian", "cifar100_test_subset1000"):
        sets[outputs_lib.OOD + name] = rng.normal(0, 0.5, (40, CLASSES))
    return Outputs(
        {name: (scale * x).astype("float32") for name, x in sets.items()},
        {"validation": labels, "test": labels[::-1]},
    )


def make_tables(config):
    """Returns a fine table of each epoch: rows of one confidence."""
    tables = []
    for epoch in range(EPOCHS):
        count = np.zeros(300)
        count[200 + epoch] = 10 + config.seed
        tables.append(
            calibration.Bins(count, count * (200.5 + epoch) / 300, count * 0.5)
        )
    return tables


def write_run(folder, config):
    """Writes what a run leaves behind, without training."""
    outputs = make_outputs(config)
    outputs_lib.write(outputs, folder / run_files.PREDICTIONS)
    if config.mc_passes:
        halved = {name: x / 2 for name, x in outputs.logits.items()}
        outputs_lib.write(
            dataclasses.replace(outputs, logits=halved),
            folder / run_files.MC_PREDICTIONS,
        )
    writer = tf.summary.create_file_writer(str(folder / "logs/validation"))
    with writer.as_default():
        for step, table in enumerate(make_tables(config)):
            summaries.write_table(table, step=step)
    writer.close()
    ece = 0.1 * (1 + config.seed) + 0.01 * np.arange(EPOCHS)
    record = {
        "config": config.to_json(),
        "results": evaluation.measure_outputs(outputs, raw=True),
        "history": {
            "val_ece": list(ece),
            "val_signed_gap": list(ece - 0.2 * config.alpha),
            "val_accuracy": list(1 - ece),
            "alpha": [config.alpha] * EPOCHS,
        },
        "duration_seconds": 1.0,
    }
    (folder / "record.json").write_text(json.dumps(record))


def configs(table):
    """Returns the configs of a table on CIFAR-10."""
    found = papers.TABLES[table].configs("small", SEEDS)
    return [config for config in found if config.dataset == "cifar10"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Returns a folder with the runs of three tables."""
    folder = tmp_path_factory.mktemp("runs")
    tables = ("image_calibration", "out_of_distribution")
    unique = dict.fromkeys(
        config for name in tables for config in configs(name)
    )
    for number, config in enumerate(unique):
        write_run(folder / f"a/{number}", config)
    return folder


def setting_of(workdir, table="image_calibration"):
    runs = records.read_runs(workdir)
    (setting,) = figures.find_settings(table, "small", runs)
    return setting


@pytest.fixture(scope="module")
def setting(workdir):
    return setting_of(workdir)


@pytest.fixture(scope="module")
def ood_setting(workdir):
    return setting_of(workdir, "out_of_distribution")


@pytest.fixture(scope="module")
def outputs(ood_setting):
    return ood_figures.read_outputs(ood_setting)


def without(setting, *chosen):
    """Returns a setting that lacks the runs of arms."""
    lines = [
        line
        for line in setting.records
        if not any(arm.includes(line) for arm in chosen)
    ]
    return dataclasses.replace(setting, records=lines)


class TestFindSettings:
    def test_finds_runs_by_config_in_any_folder(self, workdir, setting):
        assert setting.title == "CIFAR-10, narrow ResNet"
        assert [line.config for line in setting.records] == [
            config
            for config in papers.TABLES["image_calibration"].configs("small")
            if config in set(configs("image_calibration"))
        ]
        folder = setting.records[0].folder
        assert folder.parent == workdir / "a"

    def test_a_table_without_runs_has_none(self, workdir):
        runs = records.read_runs(workdir)
        assert figures.find_settings("text", "small", runs) == []
        found = figures.find_settings("image_calibration", "paper", runs)
        assert found == []


class TestMethods:
    def test_validation_chooses_the_alpha(self, setting):
        found = setting.find(arms.NO_MIXUP, arms.MIXUP, arms.SMOOTHING)
        eces = {
            line.config.alpha: line.value("validation_ece")
            for line in setting.records
            if arms.MIXUP.includes(line) and line.config.seed == 0
        }
        assert min(eces, key=eces.get) == 0.2
        names = [method.name for method in found]
        assert names == ["no mixup", "mixup (alpha 0.2)", "label smoothing"]
        seeds = [line.config.seed for line in found[1].records]
        assert seeds == [0, 1]

    def test_leaves_out_arms_without_runs(self, setting):
        found = without(setting, arms.NO_MIXUP).find(arms.NO_MIXUP, arms.ERL)
        assert [method.name for method in found] == ["ERL"]

    def test_test_bins_are_those_of_all_seeds_rows(self, setting):
        (method,) = setting.find(arms.NO_MIXUP)
        rows = method.outputs()
        expected = calibration.bin_predictions(
            np.concatenate([each.labels["test"] for each in rows]),
            np.concatenate([each.probabilities("test") for each in rows]),
            num_bins=100,
        )
        for part, other in zip(method.test_bins(100), expected, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-6)

    def test_epochs_count_from_1_and_sum_seeds(self, setting):
        (method,) = setting.find(arms.NO_MIXUP)
        epochs = method.epochs()
        assert list(epochs) == [1, 2, 3, 4, 5, 6, 7]
        assert epochs[3].count[202] == epochs[3].count.sum() == 10 + 11

    def test_history(self, setting):
        (method,) = setting.find(arms.NO_MIXUP)
        history = method.history("val_ece")
        np.testing.assert_allclose(history[:, 0], [0.1, 0.2])
        assert history.shape == (2, EPOCHS)

    def test_style_does_not_depend_on_alpha(self):
        style = common.style_of("mixup (alpha 0.2)")
        assert style == common.style_of("mixup")
        colors = [each["color"] for each in common.STYLES.values()]
        assert len(set(colors)) == len(colors)

    @pytest.mark.parametrize(
        ("seeds", "words"),
        [
            ([[1]], "1 seed"),
            ([[1, 2]], "2 seeds"),
            ([[1], [1, 2]], "1-2 seeds"),
        ],
    )
    def test_counts_seeds(self, seeds, words):
        assert common.count_seeds(seeds) == words


class TestCalibration:
    def test_draws_what_there_is(self, setting):
        names = [name for name, _ in calibration_figures.draw(setting)]
        expected = ["reliability", "scatter", "density", "alpha"]
        assert names == expected

    def test_says_what_it_skips(self, setting, caplog):
        caplog.set_level("INFO")
        rest = without(setting, arms.NO_MIXUP, arms.MIXUP)
        names = [name for name, _ in calibration_figures.draw(rest)]
        assert names == ["reliability"]
        assert "Skipped scatter and density of CIFAR-10" in caplog.text
        assert "Skipped alpha of CIFAR-10" in caplog.text

    def test_density_has_five_epochs_evenly(self, setting):
        methods = setting.find(arms.NO_MIXUP, arms.MIXUP)
        figure = calibration_figures.draw_density(methods, "a set")
        titles = [axes.get_title() for axes in figure.axes[:5]]
        # Places 0, 1.5, 3, 4.5, 6 of the seven, halves to even.
        assert titles == [f"epoch {epoch}" for epoch in (1, 3, 4, 5, 7)]
        shown = figure.axes[4].images[0].get_array()
        expected = plots.joint_density(methods[0].epochs()[7])
        np.testing.assert_allclose(shown, expected)

    def test_scatter_and_reliability_name_methods(self, setting):
        methods = setting.find(arms.NO_MIXUP, arms.MIXUP)
        scatter = calibration_figures.draw_scatter(methods, "a set")
        texts = scatter.axes[0].get_legend().get_texts()
        names = ["no mixup", "mixup (alpha 0.2)"]
        assert [text.get_text() for text in texts] == names
        reliability = calibration_figures.draw_reliability(methods, "a set")
        assert [x.get_title() for x in reliability.axes[:2]] == names

    def test_alphas_are_of_mixed_targets_and_no_other_loss(self, setting):
        table = calibration_figures.arrange_alphas(setting.records)
        alphas = {line.config.alpha for line in setting.records}
        assert list(table.rows) == [(alpha,) for alpha in sorted(alphas)]
        assert len(alphas) > 3
        nothing = without(setting, arms.NO_MIXUP, arms.MIXUP)
        assert calibration_figures.arrange_alphas(nothing.records) is None


class TestOod:
    def test_methods(self, outputs):
        assert list(outputs) == [
            "no mixup",
            "mixup (alpha 0.2)",
            "label smoothing",
            "ERL",
            "temperature scaling",
            "MC dropout",
        ]
        assert {len(seeds) for seeds in outputs.values()} == {SEEDS}

    def test_scaling_and_dropout_are_of_their_outputs(self, outputs):
        plain, scaled = (
            outputs["no mixup"][0],
            outputs["temperature scaling"][0],
        )
        ratio = np.ptp(scaled.logits["test"], -1) / np.ptp(
            plain.logits["test"], -1
        )
        # One temperature for all rows, above 1 for an overconfident network.
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
        assert ratio[0] < 0.9
        dropout = outputs["MC dropout"][0].logits["test"]
        np.testing.assert_allclose(dropout, plain.logits["test"] / 2, rtol=1e-6)

    def test_ensemble_takes_the_data(self, ood_setting, monkeypatch, caplog):
        caplog.set_level("INFO")
        asked = []

        def average(config, folders, sources):
            asked.append((config, folders, sources))
            return make_outputs(config)

        monkeypatch.setattr(ood_figures.posthoc, "average", average)
        ood_figures.read_outputs(ood_setting)
        assert "Skipped the ensemble of CIFAR-10" in caplog.text
        assert not asked
        sources = run_data.Sources(data_dir="somewhere")
        found = ood_figures.read_outputs(
            dataclasses.replace(ood_setting, sources=sources)
        )
        assert len(found["ensemble (of 2)"]) == 1
        ((config, folders, given),) = asked
        assert (config.method, given) == ("erm", sources)
        assert len(set(folders)) == 2

    def test_curves_have_the_mean_auroc(self, ood_setting, outputs):
        drawn = dict(ood_figures.draw_ood(outputs, "a set"))
        assert list(drawn) == [
            "confidence",
            "roc-gaussian",
            "roc-cifar100_test_subset1000",
        ]
        (method,) = ood_setting.find(arms.NO_MIXUP)
        areas = 100 * method.values("gaussian_auroc")
        line = drawn["roc-gaussian"].axes[0].lines[0]
        assert line.get_label() == (
            f"no mixup: {areas.mean():.1f} ± {areas.std(ddof=1):.1f} %"
        )
        assert line.get_color() == common.color_of("no mixup")
        title = drawn["roc-gaussian"].get_suptitle()
        assert title == "a set, 2 seeds\ntest set against noise"

    def test_histograms_by_hand(self):
        # Two rows of 5/6 and two of 1/2, of two seeds: bars of 50 %.
        logits = np.log([[5.0, 1.0], [1.0, 1.0]]).astype("float32")
        seed = Outputs({"test": logits, "ood_far": logits}, {})
        figure = ood_figures.draw_confidences(
            {"ERL": [seed, seed]}, ["far"], ""
        )
        inside, outside = figure.axes
        assert [inside.get_title(), outside.get_title()] == ["test set", "far"]
        heights = [bar.get_height() for bar in outside.patches]
        np.testing.assert_allclose(np.nonzero(heights)[0], [10, 16])
        np.testing.assert_allclose(np.sum(heights), 100)
        assert outside.texts[0].get_text() == "mean 0.67"


def check_band_by_hand(axes):
    """Checks the mean of two seeds by epoch, and the band around it."""
    line = axes.lines[0]
    np.testing.assert_allclose(line.get_xdata(), range(1, EPOCHS + 1))
    mean = 15 + np.arange(EPOCHS)
    np.testing.assert_allclose(line.get_ydata(), mean)
    # 10 and 20 %: a deviation of sqrt(50).
    corners = axes.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose(corners.y0, mean[0] - np.sqrt(50))
    np.testing.assert_allclose(corners.y1, mean[-1] + np.sqrt(50))


class TestEpochs:
    def test_means_and_bands_by_hand(self, setting):
        methods = setting.find(arms.NO_MIXUP)
        figure = epochs_figures.draw_epochs({"a column": methods}, "a set")
        upper, lower = figure.axes
        check_band_by_hand(upper)
        assert lower.get_ylabel() == "confidence - accuracy (%)"
        assert "over 2 seeds" in figure.get_suptitle()

    def test_a_column_for_each_augmentation(self, tmp_path):
        for number, config in enumerate(configs("longer_training")):
            write_run(tmp_path / str(number), config)
        longer = setting_of(tmp_path, "longer_training")
        ((name, figure),) = epochs_figures.draw(longer)
        assert name == "epochs"
        titles = [axes.get_title() for axes in figure.axes[:2]]
        assert titles == ["no augmentation", "crops and flips"]
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert legend == ["no mixup", "mixup (alpha 0.4)"]


class TestTuning:
    def test_a_line_for_each_rule(self, tmp_path):
        for number, config in enumerate(configs("alpha_rules")):
            write_run(tmp_path / str(number), config)
        setting = setting_of(tmp_path, "alpha_rules")
        ((name, figure),) = tuning_figures.draw(setting)
        assert name == "epochs"
        alpha, gap, error = figure.axes
        assert len(alpha.get_lines()) == len(tuning.RULES)
        # Means over two seeds, in percent.
        (first, *_) = error.get_lines()
        np.testing.assert_allclose(
            first.get_ydata(), 15 + np.arange(EPOCHS), atol=1e-6
        )
        assert gap.get_lines()[0].get_ydata()[0] == pytest.approx(-5)
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == list(tuning_figures.NAMES.values())
        assert "over 2 seeds" in figure.get_suptitle()


class TestByAlpha:
    def test_points_and_lines_by_hand(self):
        runs = papers.TABLES["alpha_tuning"].configs("small", 2)
        found = []
        for config in runs:
            error = 0.01 * (1 + config.seed + config.alpha)
            results = dict.fromkeys(by_alpha_figures.MEASURES, error)
            found.append(records.Record(config, "", results))
            if dataclasses.replace(config, seed=0) == runs[0]:
                scaled = dict.fromkeys(by_alpha_figures.MEASURES, 0.5)
                found.append(records.Record(config, "temperature", scaled))
        names, drawn = zip(*by_alpha_figures.draw(found), strict=True)
        assert names == by_alpha_figures.MEASURES
        figure = drawn[0]
        titles = [axes.get_title() for axes in figure.axes]
        assert "Fashion-MNIST, 40% wrong labels" in titles
        axes = figure.axes[titles.index("CIFAR-10")]
        points, tuned, stopped, scaled = axes.get_lines()
        alphas = np.array([0, 0.05, 0.1, 0.2, 0.4, 1])
        np.testing.assert_allclose(points.get_ydata(), 1.5 + alphas)
        ticks = [text.get_text() for text in axes.get_xticklabels()]
        assert ticks == ["none", "0.05", "0.1", "0.2", "0.4", "1"]
        assert tuned.get_ydata() == pytest.approx([2.5, 2.5])
        assert stopped.get_ydata() == pytest.approx([1.5, 1.5])
        assert scaled.get_ydata() == pytest.approx([50, 50])
        (legend,) = (x.get_legend() for x in figure.axes if x.get_legend())
        assert [text.get_text() for text in legend.get_texts()] == [
            "tuned alpha",
            "early stopping",
            "temperature scaling",
            "fixed alpha",
        ]
        assert "over 2 seeds" in figure.get_suptitle()

    def test_an_empty_ledger_has_no_figure(self):
        assert not list(by_alpha_figures.draw([]))


class TestErrors:
    def test_means_and_bands_by_hand(self, setting):
        methods = setting.find(arms.NO_MIXUP)
        figure = errors_figures.draw_errors(methods, "a set", printed=False)
        (axes,) = figure.axes
        assert len(axes.lines) == 1
        check_band_by_hand(axes)
        assert axes.get_title().endswith("deviation over 2 seeds")

    def test_one_seed_has_no_band(self, setting):
        (method,) = setting.find(arms.NO_MIXUP)
        one = dataclasses.replace(method, records=method.records[:1])
        figure = errors_figures.draw_errors([one], "a set", printed=False)
        assert not figure.axes[0].collections
        assert len(figure.axes[0].lines) == 1

    def test_of_cifar10_stand_beside_the_papers(self, workdir):
        ((name, figure),) = errors_figures.draw(setting_of(workdir, "cifar"))
        assert name == "errors"
        here, paper = figure.axes
        colors = [common.color_of(name) for name in ("no mixup", "mixup")]
        for axes in here, paper:
            assert [line.get_color() for line in axes.lines] == colors
        # The last of its 200 epochs, and before and after the first drop.
        for line, end, before, after in zip(
            paper.lines, (3.8, 2.72), (7.84, 6.49), (4.41, 3.83), strict=True
        ):
            points = dict(zip(*line.get_data(), strict=True))
            assert (points[199], points[99], points[105]) == (
                end,
                before,
                after,
            )
            assert list(points) == sorted(points)
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert legend == ["no mixup", "mixup (alpha 1)"]

    def test_without_runs_of_either_nothing_is_drawn(self, setting):
        rest = without(setting, arms.NO_MIXUP, arms.MIXUP)
        assert rest.records
        assert not list(errors_figures.draw(rest))


class TestBinary:
    @pytest.mark.slow
    def test_draws_and_says_what_it_skips(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr(
            figures.logging, "info", lambda text, *a: said.append(text % a)
        )
        for table in ("longer_training", "cifar"):
            for config in configs(table):
                write_run(tmp_path / "runs" / config.run_name, config)
        output = tmp_path / "figures"
        arguments = (f"--workdir={tmp_path / 'runs'}", f"--output={output}")
        binaries.run(figures, *arguments)
        path = output / "longer_training/cifar10-resnet_narrow/epochs.png"
        assert path.stat().st_size > 1000
        # One table, drawn of the ledger and of runs.
        of_cifar = output / "cifar"
        assert (of_cifar / "cifar10-resnet_narrow-between.png").exists()
        assert (of_cifar / "cifar10-resnet_narrow/errors.png").exists()
        assert len(list((output / "logs").glob("events*"))) == 1
        assert "Skipped text: it has no complete run yet." in said

    def test_no_runs_are_refused(self, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"complete runs\. .* without any of rings\. Run `python -m"
            r" experiments\.sweep --table=rings` first\.",
        ):
            binaries.run(
                figures,
                *(f"--workdir={tmp_path}", "--table=rings"),
                f"--output={tmp_path / 'figures'}",
            )

    def test_the_ledger_is_drawn_without_runs(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr(
            figures.logging, "info", lambda text, *a: said.append(text % a)
        )
        output = tmp_path / "figures"
        binaries.run(
            figures,
            *(f"--workdir={tmp_path / 'none'}", "--table=text"),
            f"--output={output}",
        )
        assert len(list((output / "text").glob("*.png"))) == 2
        assert said[-1].startswith(
            "Drew the figures of the ledger alone: no runs in --workdir="
        )
