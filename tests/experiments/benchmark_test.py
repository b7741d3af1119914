import json
import os
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup
from experiments import networks
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import counts
from experiments.benchmark import fitting
from experiments.benchmark import imagenet
from experiments.benchmark import killed_run
from experiments.benchmark import long_runs
from experiments.benchmark import memory
from experiments.benchmark import mixing
from experiments.benchmark import peers
from experiments.benchmark import plain_keras
from experiments.benchmark import run as run_lib
from experiments.benchmark import small
from experiments.benchmark import step
from experiments.benchmark import throughput
from experiments.benchmark import timing
from experiments.benchmark import validation
from experiments.datasets import jpegs
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import run_data
from tf_mixup import calibration

TINY = mixing.Size(
    name="tiny",
    shape=(4, 6, 6, 3),
    num_classes=5,
    batches=3,
    calls=2,
    targets=True,
)


@pytest.fixture
def small_network(monkeypatch):
    """Puts a linear model in the place of the ResNet-18."""

    def build(width):
        return keras.Sequential(
            [
                keras.Input(validation.IMAGE_SHAPE),
                keras.layers.Flatten(),
                keras.layers.Dense(validation.NUM_CLASSES),
            ]
        )

    monkeypatch.setattr(validation, "build_network", build)


@pytest.fixture
def gpu(monkeypatch):
    """Lets timing see a GPU."""
    monkeypatch.setattr(timing, "gpu_names", lambda: ["NVIDIA X"])


def ratio(*rounds, **targets):
    return timing.Ratio(name="a / b", rounds=np.array(rounds), **targets)


class TestRunInTurns:
    def test_takes_turns_and_forgets_the_first_round(self):
        order = []
        times = iter([9, 9, 1, 2, 3, 4])

        def case(name):
            order.append(name)
            return next(times)

        rounds = timing.run_in_turns(
            {"a": lambda: case("a"), "b": lambda: case("b")}, repeats=2
        )
        assert "".join(order) == "ababab"
        # Seconds become milliseconds.
        np.testing.assert_allclose(rounds["a"], [1000, 3000])
        np.testing.assert_allclose(rounds["b"], [2000, 4000])

    def test_calling_divides_by_calls(self):
        calls = []
        seconds = timing.calling(calls.append, 7, calls=5)()
        assert calls == [7] * 5
        assert 0 < seconds < 1

    @pytest.mark.parametrize("ahead", [1, 2])
    def test_batch_seconds_uses_up_the_dataset(self, ahead):
        seen = []

        def note(index):
            seen.append(int(index))
            return index

        dataset = tf.data.Dataset.range(6).map(
            lambda index: tf.py_function(note, [index], tf.int64)
        )
        assert timing.batch_seconds(dataset, ahead=ahead) > 0
        assert seen == list(range(6))


class TestRatio:
    @pytest.mark.parametrize(
        ("targets", "words", "reached"),
        [
            ({"at_most": 2}, "at most 2", True),
            ({"at_most": 1.9}, "at most 1.9", False),
            ({"at_least": 2}, "at least 2", True),
            ({"at_least": 2.1}, "at least 2.1", False),
            ({}, "", None),
        ],
    )
    def test_median_is_held_against_the_target(self, targets, words, reached):
        # The median of 1, 2 and 50 is 2; their mean is not.
        compared = ratio(1, 2, 50, **targets)
        assert compared.target == words
        assert compared.reached is reached

    def test_unmeasured_reaches_nothing(self):
        unmeasured = timing.Ratio(name="", rounds=None, at_most=1)
        assert unmeasured.reached is None
        assert unmeasured.verdict == ""

    def test_verdict_tells_noise(self):
        assert ratio(1, 2, 50, at_most=2).verdict == "yes, 2 of 3 rounds"
        assert ratio(1, 2, 50, at_least=3).verdict == "no, 1 of 3 rounds"


class TestSection:
    section = timing.Section(
        title="Thing, ms",
        milliseconds={"a": np.array([1.0, 2.0, 5.0]), "b": None},
        ratios=(
            ratio(123.4, at_least=5),
            ratio(-0.5, 0.25, 1.0, at_most=0.1),
            timing.Ratio(name="c / d", rounds=None, at_most=1),
        ),
    )

    def test_markdown(self):
        assert self.section.to_markdown().splitlines() == [
            "### Thing, ms",
            "",
            "| Case | ms | rounds |",
            "|-|-|-|",
            "| a | 2 | 1 to 5 |",
            "| b | not measured: no GPU |  |",
            "",
            "| Ratio | median | rounds | target | reached |",
            "|-|-|-|-|-|",
            "| a / b | 123 | 123 to 123 | at least 5 | yes, 1 of 1 rounds |",
            "| a / b | 0.25 | -0.5 to 1 | at most 0.1 | no, 1 of 3 rounds |",
            "| c / d | not measured: no GPU |  | at most 1 |  |",
        ]

    def test_json_keeps_all_rounds(self):
        record = json.loads(json.dumps(self.section.to_json()))
        assert record["milliseconds"]["a"]["rounds"] == [1, 2, 5]
        assert record["milliseconds"]["b"] is None
        assert record["ratios"]["c / d"]["reached"] is None


class TestMixing:
    @pytest.mark.slow
    def test_measures_all_cases(self):
        pipelines, ops, gpu = mixing.measure(
            TINY, repeats=1, num_parallel_calls=2
        )
        both = {
            f"{name}{suffix}"
            for name in ("tf_mixup", "Keras")
            for suffix in mixing.AFFINES
        }
        plain = {f"plain ops{suffix}" for suffix in mixing.AFFINES}
        assert set(pipelines.milliseconds) == both | plain | {mixing.COPY}
        floats = {"Keras on float32 images"}
        assert set(ops.milliseconds) == both | floats | {mixing.COPY}
        for section in (pipelines, ops):
            assert all(each > 0 for each in section.milliseconds.values())
        assert not tf.config.list_logical_devices("GPU")
        assert set(gpu.milliseconds.values()) == {None}

    def test_targets_are_those_of_the_project(self):
        ones = dict.fromkeys(
            [
                mixing.COPY,
                "tf_mixup",
                "Keras",
                "tf_mixup, normalized",
                "Keras, normalized",
            ],
            np.ones(1),
        )
        targets = {
            each.name: each.target for each in mixing._ratios(TINY, ones)
        }
        assert targets == {
            "tf_mixup / copy": "at most 1.2",
            "Keras / copy": "",
            "tf_mixup, normalized / copy": "at most 1.2",
            "Keras, normalized / copy": "",
            "Keras / tf_mixup": "at least 5",
            "Keras, normalized / tf_mixup, normalized": "at least 15",
        }

    @pytest.mark.parametrize("affine", mixing.AFFINES.values())
    def test_cases_do_the_same_work(self, affine):
        images = tf.constant(mixing.draw_batch(TINY)[0])
        lam, partner = mixing.draw_plan(TINY)
        ours = mixing.own_op(*affine)(images, lam, partner)
        rows = mixing._normalize(tf.cast(images, tf.float32), *affine)
        plain = mixing._lerp(rows, lam, partner)
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-4)
        shift = partner - tf.range(TINY.shape[0])
        layer = tf_mixup.mixing.Mix(mean=affine[0], std=affine[1])
        in_model = layer(images, lam, shift, training=True)
        np.testing.assert_allclose(in_model, plain, rtol=1e-5, atol=1e-4)

    @pytest.mark.parametrize("affine", mixing.AFFINES.values())
    def test_stages_have_one_format(self, affine):
        batches = tf.data.Dataset.from_tensors(mixing.draw_batch(TINY))
        mixup = tf_mixup.MixUp(
            0.2,
            num_classes=TINY.num_classes,
            inputs=tf_mixup.mixing.Inputs(mean=affine[0], std=affine[1]),
        )
        wanted = next(iter(batches.apply(mixup)))
        for stage in (mixing.keras_stage, mixing.plain_stage):
            found = next(iter(batches.map(stage(TINY.num_classes, *affine))))
            for part, other in zip(found, wanted, strict=True):
                assert part.shape == other.shape
                assert part.dtype == other.dtype
            np.testing.assert_allclose(
                tf.reduce_sum(found[1], -1), 1, rtol=1e-6
            )

    def test_copy_is_a_case(self):
        assert mixing.copy_case(TINY)() > 0

    @pytest.mark.slow
    def test_model_cases_run(self):
        cases = mixing.model_cases(TINY, mixing.draw_batch(TINY))
        assert set(cases) == {x for pair in mixing.MODEL_PAIRS for x in pair}
        assert all(case() > 0 for case in cases.values())


class TestValidation:
    def test_updates_are_those_of_the_metrics(self):
        updates = validation.metric_updates()
        labels = tf.one_hot([0, 1, 1, 1], 2)
        # Softmax of (log 3, 0) is (3/4, 1/4): right for one row of four.
        logits = tf.tile([[np.log(3.0), 0.0]], [4, 1])
        logits = tf.cast(logits, tf.float32)
        accuracy = updates["CategoricalAccuracy"](labels, logits)
        np.testing.assert_allclose(accuracy, 1 / 4)
        ece = updates["CalibrationMetrics"](labels, logits)
        np.testing.assert_allclose(ece, 3 / 4 - 1 / 4, rtol=1e-6)

    @pytest.mark.slow
    def test_metrics_at_two_sizes(self):
        sections = validation.measure_metrics(repeats=1)
        assert [each.title for each in sections] == [
            "Metric on (128, 10), ms an update",
            "Metric on (256, 1000), ms an update",
        ]

    def test_models_share_weights(self):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        without = validation.compile_for_validation(network, calibration=False)
        with_bins = validation.compile_for_validation(network, calibration=True)
        assert without.weights[0] is with_bins.weights[0]
        data = (
            np.ones((3, 2), np.float32),
            np.eye(2, dtype=np.float32)[[0] * 3],
        )
        names = set(with_bins.evaluate(*data, return_dict=True, verbose=0))
        assert names - set(
            without.evaluate(*data, return_dict=True, verbose=0)
        ) == {"ece"}

    @pytest.mark.slow
    def test_network_is_the_papers(self):
        network = validation.build_network(width=64)
        assert network.output_shape == (None, validation.NUM_CLASSES)
        # As in pytorch-cifar.
        trainable = network.trainable_variables
        assert sum(np.prod(each.shape) for each in trainable) == 11_173_962

    def test_pass(self, small_network):
        (section,) = validation.measure_pass(1, num_examples=8)
        without, with_bins, updates = section.milliseconds.values()
        added, alone = section.ratios
        assert added.rounds == (with_bins - without) / with_bins
        assert alone.rounds == updates / with_bins
        assert added.target == alone.target == "at most 0.05"

    @pytest.mark.slow
    def test_monitors(self, small_network):
        (section,) = validation.measure_monitors(1, num_examples=8)
        assert len(section.milliseconds) == 4
        assert all(each > 0 for each in section.milliseconds.values())
        assert len(section.ratios) == 3


@pytest.mark.slow
class TestStep:
    def test_stage_over_step(self, small_network):
        (section,) = step.measure(1, batch_size=4)
        stage, training, in_model = section.milliseconds.values()
        assert section.ratios[0].rounds == stage / training
        assert in_model is None
        assert section.ratios[1].rounds is None

    def test_step_that_mixes_in_the_model(self, small_network):
        size = mixing.Size(
            name="small",
            shape=(4, *validation.IMAGE_SHAPE),
            num_classes=validation.NUM_CLASSES,
            batches=2,
            calls=1,
        )
        assert step.step_case(size, width=64, in_model=True)() > 0


class TestRun:
    @pytest.mark.parametrize(
        "name", ["repeats", "num_examples", "num_parallel_calls"]
    )
    def test_refuses_numbers_below_1(self, name):
        numbers = {
            "repeats": 1,
            "num_examples": 1,
            "num_parallel_calls": 1,
            name: 0,
        }
        with pytest.raises(ValueError, match=f"Received: {name}=0"):
            benchmark.run("metrics", **numbers)

    def test_machine_is_named(self):
        machine = benchmark.describe_machine()
        assert machine["CPU"].endswith("threads")
        assert machine["GPU"] == "none"
        assert machine["keras"] == keras.version()

    def test_report_starts_with_the_machine(self):
        text = benchmark.to_markdown({"CPU": "x"}, [TestSection.section], 3)
        assert text.startswith("- CPU: x\n- 3 rounds in turns")
        assert "\n\n### Thing, ms\n" in text


class TestSmall:
    @pytest.mark.slow
    def test_ratios_have_their_targets(self):
        *passes, fit, tuning, figures = small.measure(1)
        targets = {ratio.name: ratio.target for ratio in fit.ratios}
        assert targets == {
            "tf_mixup / plain map": "at most 1.1",
            "tf_mixup, monitors / plain map": "at most 1.3",
            "tf_mixup, figures / plain map": "at most 1.6",
        }
        (ratio,) = tuning.ratios
        assert ratio.target == "at most 1.05"
        targets = {ratio.name: ratio.target for ratio in figures.ratios}
        assert targets == {"kept / new": "", "kept / 1 ms": "at most 60"}
        for section in (*passes, fit, tuning, figures):
            assert all(each > 0 for each in section.milliseconds.values())


class TestRunBesidePlainKeras:
    def test_phases_are_apart(self, monkeypatch):
        # Wall and processor seconds: at the start, after the imports, at the
        # end.
        times = {
            run_lib.OURS: [[1.0, 1.0], [3.0, 2.0], [9.0, 14.0]],
            run_lib.PLAIN: [[1.0, 1.0], [2.0, 2.0], [6.0, 10.0]],
        }
        monkeypatch.setattr(run_lib, "_start", lambda name, _: times[name])
        wall, processor, imports = run_lib.measure(2)
        np.testing.assert_allclose(wall.milliseconds[run_lib.OURS], 6000)
        assert [*wall.ratios[0].rounds] == [1.5, 1.5]
        assert [*processor.ratios[0].rounds] == [1.5, 1.5]
        assert [*imports.ratios[0].rounds] == [2, 2]
        assert wall.ratios[0].at_most == 1.3
        assert imports.ratios[0].target == ""

    def test_plain_program_trains_as_long_on_as_many(self):
        config = config_lib.Config(
            dataset="digits",
            **defaults.paper_defaults("digits", network=None, optimizer=None),
        )
        splits = run_data.load_splits(config, run_data.Sources())
        assert config.network == "resnet_narrow"
        assert config.epochs == plain_keras.EPOCHS
        assert config.batch_size == plain_keras.BATCH_SIZE
        assert config.learning_rate == plain_keras.LEARNING_RATE
        assert len(splits.test.labels) == plain_keras.NUM_TEST
        assert len(splits.validation.labels) == plain_keras.NUM_VALIDATION

    @pytest.mark.slow
    def test_programs_run(self):
        sections = run_lib.measure(1, epochs=1)
        for section in sections:
            assert all(each > 0 for each in section.milliseconds.values())


class TestLongRuns:
    @pytest.mark.slow
    def test_epochs_are_compared(self, monkeypatch):
        monkeypatch.setattr(long_runs, "WARMUP", 6)
        monkeypatch.setattr(long_runs, "TIMED", 2)
        ratio, grown, size, each = long_runs.measure_epochs(12).values.values()
        assert 0 < ratio < 10
        assert abs(grown) < 100
        assert 0.01 < each / 2**10 < size < 20

    @pytest.mark.slow
    def test_examples_are_calibrated(self):
        values = long_runs.measure_examples(40_000).values
        assert values["ECE of calibrated examples, %"] < 1
        assert values["seconds an epoch"] > 0


class TestKilledRun:
    SLEEP = "import time; time.sleep(60)"

    def start(self, program, *signals):
        command = (sys.executable, "-c", program)
        return killed_run._run(command, "unused", *signals)

    def test_counts_a_kill_only_if_it_ended_the_run(self):
        assert self.start(self.SLEEP, signal.SIGKILL, 0.0).killed
        late = self.start("", signal.SIGKILL, 60.0)
        assert not late.killed
        assert len(late.sizes) > 0

    def test_refuses_another_end(self):
        with pytest.raises(
            RuntimeError,
            match=r"by itself or by its signal\. Received: code 3\. Read its",
        ):
            self.start("raise SystemExit(3)", signal.SIGKILL, 60.0)

    def test_leaves_no_process_behind(self, monkeypatch):
        found = []

        def interrupt(pid):
            found.append(pid)
            raise KeyboardInterrupt

        monkeypatch.setattr(killed_run.memory, "resident_memory", interrupt)
        with pytest.raises(KeyboardInterrupt):
            self.start(self.SLEEP)
        with pytest.raises(ProcessLookupError):
            os.kill(found[0], 0)

    @pytest.mark.slow
    def test_ends_as_a_run_that_is_left_alone(self):
        given = [*killed_run.FLAGS, "--num_validation=100"]
        facts = killed_run.measure(600, given)
        assert facts.title.endswith("; 3 kills")
        values = facts.values
        assert values["equal predictions"] == "yes"
        assert values["time with kills / left alone"] > 1


class TestMemory:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", memory.MEASURES)
    def test_peaks_are_small(self, name):
        # A float64 number for each score would be 15 MiB.
        few, many = (memory.read_peak(name, 2**k) for k in (10, 21))
        assert few < 1
        assert 1 < many < 30

    @pytest.mark.slow
    def test_report_takes_memory(self):
        (peak,) = memory.measure_report((20_000, 10)).values.values()
        assert 0 < peak < 500


class TestSmallMixing:
    def test_tables_are_mixed_by_all(self):
        size = mixing.Size("table", (6, 3), 5, 2, 1, dtype="float32")
        x, y = mixing.draw_batch(size)
        assert x.dtype == np.float32
        for mix in (
            mixing.keras_table_stage(5),
            mixing.plain_stage(5, None, None),
        ):
            inputs, targets = mix(tf.constant(x), tf.constant(y))
            assert inputs.shape == (6, 3)
            np.testing.assert_allclose(targets.numpy().sum(-1), 1, rtol=1e-5)
            # But for rounding.
            inputs = inputs.numpy()
            assert np.all(inputs >= x.min(0) - 1e-4)
            assert np.all(inputs <= x.max(0) + 1e-4)

    def test_ids_travel_with_their_plan(self):
        size = mixing.Size("ids", (6, 4), 5, 2, 1, dtype="int32")
        ids, labels = mixing.draw_batch(size)
        one_hot = np.eye(5)[labels]
        for mix in (mixing.keras_plan_stage(5), mixing.plain_plan_stage(5)):
            inputs, targets = mix(tf.constant(ids), tf.constant(labels))
            np.testing.assert_array_equal(inputs["inputs"], ids)
            lam = inputs["lam"].numpy()[:, None]
            partner = inputs["partner"].numpy()
            np.testing.assert_allclose(
                targets, lam * one_hot + (1 - lam) * one_hot[partner], 1e-5
            )

    @pytest.mark.slow
    def test_ratios_are_ours_over_others(self):
        for section in mixing.measure_small(repeats=1, num_parallel_calls=2):
            keras_ratio, plain_ratio = section.ratios
            assert keras_ratio.name == "tf_mixup / Keras"
            assert keras_ratio.at_most == 0.7
            assert plain_ratio.target == ""


class TestPeers:
    def test_refuses_to_leave_out_what_is_missing(self, monkeypatch):
        monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(
            ValueError, match=r"no torch, torchmetrics, netcal\. Write `pip"
        ):
            peers.measure(1)

    def test_our_ways_give_the_same_error(self):
        logits, labels = peers.draw_logits(300, 7)
        parts = [(logits[:200], labels[:200]), (logits[200:], labels[200:])]
        bins = calibration.bin_predictions(labels, logits, from_logits=True)
        expected = float(calibration.expected_calibration_error(bins))
        assert expected > 0.01
        for measure in (
            peers._add_bins,
            peers._updater(),
            peers._updater(compiled=False),
        ):
            assert measure(parts) == pytest.approx(expected, abs=1e-6)

    def test_memory_of_ours_does_not_grow(self, monkeypatch):
        monkeypatch.setattr(peers, "MEMORY_STEPS", (100, 2_000))
        monkeypatch.setattr(peers, "MEMORY_SHAPE", (50, 2))
        first, last = peers._read_memory(peers.OURS)
        assert abs(last - first) < 50


class TestPhotographs:
    @pytest.mark.slow
    def test_pipelines_are_of_whole_batches(self, tmp_path, monkeypatch):
        monkeypatch.setattr(imagenet, "SHAPE", (60, 80, 3))
        monkeypatch.setattr(imagenet, "SYNTHETIC_IMAGES", 3)
        imagenet.write_synthetic(tmp_path)
        source = imagenet.find_files(tmp_path, 4)
        assert source.num_images == 6
        for name, make in imagenet.pipelines(source, 2).items():
            batches = list(make(2))
            if name == imagenet.BARE:
                assert [image.shape for image in batches] == [(60, 80, 3)] * 4
                continue
            for images, targets in batches:
                assert images.shape == (2, 224, 224, 3)
                np.testing.assert_allclose(targets.numpy().sum(-1), 1, 1e-5)
            assert len(batches) == 2

    def test_slices_are_our_squares(self, tmp_path):
        imagenet.write_synthetic(tmp_path)
        contents = tf.constant((tmp_path / "0.jpeg").read_bytes())
        crop = tuple(
            part[0] for part in jpegs.draw_crops(1, tf.constant([0, 4]))
        )
        found, _ = imagenet._slice_whole((contents, 0), crop)
        sides, place, flip = crop
        expected = jpegs.decode_square(
            contents,
            lambda shape: jpegs.choose_window(shape, sides, place),
            224,
            flip,
        )
        # The last column has less chroma around it.
        differ = np.abs(found.numpy().astype(int) - expected.numpy())
        assert np.mean(differ > 1) < 0.02

    @pytest.mark.slow
    def test_measures_ratios(self, tmp_path, monkeypatch):
        monkeypatch.setattr(imagenet, "pipelines", lambda *_: pipelines)

        def make(steps):
            return tf.data.Dataset.range(100 * steps)

        pipelines = dict.fromkeys((imagenet.OURS, *imagenet.TARGETS), make)
        monkeypatch.setattr(imagenet, "SHAPE", (60, 80, 3))
        (section,) = imagenet.measure(2, batch_size=2)
        assert [ratio.at_least for ratio in section.ratios] == [0.95, 1.2, 2]
        assert all(len(ratio.rounds) == 2 for ratio in section.ratios)
        assert "noise, batches of 2" in section.title


class TestFacts:
    facts = timing.Facts(
        title="Counts", values={"a": 1234567, "b": 0.12345, "c": "unknown"}
    )

    def test_markdown(self):
        assert self.facts.to_markdown().splitlines() == [
            "### Counts",
            "",
            "| What | value |",
            "|-|-|",
            "| a | 1,234,567 |",
            "| b | 0.123 |",
            "| c | unknown |",
        ]

    def test_json(self):
        record = json.loads(json.dumps(self.facts.to_json()))
        assert record["values"] == {"a": 1234567, "b": 0.12345, "c": "unknown"}


def small_net(shape, num_classes):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(num_classes),
        ]
    )


class TestCounts:
    def test_by_hand(self):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 6)),
                # 4 x 4 x 4 numbers of 3 x 3 x 3 multiply-adds.
                keras.layers.Conv2D(4, 3, strides=2, padding="same", groups=2),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
                # 3 x 2 x 7 numbers of 2 x 3 x 4.
                keras.layers.Conv2D(7, (2, 3), padding="valid"),
                keras.layers.Flatten(),
                keras.layers.Dense(5),
            ]
        )
        multiply_adds = 64 * 27 + 42 * 24 + 42 * 5
        assert counts.count_flops(model) == 2 * multiply_adds

    def test_dense_at_each_position(self):
        model = keras.Sequential([keras.Input((9, 4)), keras.layers.Dense(3)])
        assert counts.count_flops(model) == 2 * 9 * 4 * 3

    @pytest.mark.slow
    def test_resnet50_as_published(self):
        network = networks.build_resnet50((224, 224, 3), 1000, seed=0)
        multiply_adds = counts.count_flops(network) / 2
        # torchvision's documentation, and the largest of others' numbers.
        assert 4.09e9 * 0.99 < multiply_adds < 4.12e9 * 1.01
        assert round(multiply_adds / 1e9, 3) == 4.089

    def test_refuses_what_it_cannot_count(self):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 6)),
                keras.layers.DepthwiseConv2D(3, name="depth"),
            ]
        )
        with pytest.raises(ValueError, match="a DepthwiseConv2D named 'depth'"):
            counts.count_flops(model)


SMALL = mixing.Size(
    name="small", shape=(4, 32, 32, 3), num_classes=5, batches=2, calls=1
)


class TestFitting:
    def test_bytes_are_those_of_the_arrays(self):
        network = small_net(SMALL.shape[1:], SMALL.num_classes)
        cases = fitting.build_cases(SMALL, network)
        sent = {}
        for name, case in cases.items():
            batch = tf.nest.flatten(next(iter(case.batches)))
            sent[name] = counts.count_bytes(case.batches)
            assert sent[name] == sum(each.numpy().nbytes for each in batch)
        images, targets, plan = 4 * 32 * 32 * 3, 4 * 5 * 4, 4 * (4 + 4)
        assert sent == {
            fitting.PLAIN: images + targets,
            fitting.FLOATS: 4 * images + targets,
            fitting.HOST: 4 * images + targets,
            fitting.MODEL: images + targets + plan,
            fitting.METRIC: images + targets + plan,
        }

    def test_cases_train_one_network_on_what_they_say(self):
        network = small_net(SMALL.shape[1:], SMALL.num_classes)
        cases = fitting.build_cases(SMALL, network, small_net)
        for name, case in cases.items():
            shared = case.model.weights[0] is network.weights[0]
            assert shared == (name != fitting.KERAS)
            assert len(case.batches) == fitting.FIRST + SMALL.batches + 1
            mixed = any(
                np.any((targets > 0).numpy().sum(-1) > 1)
                for _, targets in case.batches
            )
            assert mixed == name.startswith("mixup")

    def test_stopwatch_tells_steps_from_the_rest(self, monkeypatch):
        now = iter([3.0, 7.0, 8.0])
        monkeypatch.setattr(fitting.time, "perf_counter", lambda: next(now))
        stopwatch = fitting.Stopwatch(SMALL)
        for batch in range(fitting.FIRST + SMALL.batches + 1):
            stopwatch.on_train_batch_begin(batch)
        assert stopwatch.times == [3, 7]
        stopwatch.on_epoch_end(0)
        assert stopwatch.times == [3, 7, 8]

    def test_times_are_of_a_step_or_an_epoch(self, monkeypatch):
        times = 3.0, 7.0, 8.0
        monkeypatch.setattr(fitting, "_fit", lambda *_, **__: times)
        training = fitting.Training(None, None)
        assert fitting.step_case(training, SMALL)() == 2
        assert fitting.epoch_case(training, SMALL)() == 5

    def test_size_is_the_papers_on_a_gpu(self, gpu):
        assert fitting.choose_size().shape == (256, 224, 224, 3)
        assert fitting.choose_size(160, 32).shape == (32, 160, 160, 3)
        assert timing.describe_device() == "NVIDIA X, tensorflow"

    def test_size_is_small_without(self):
        assert fitting.choose_size().shape == (8, 64, 64, 3)


class TestThroughput:
    @pytest.mark.slow
    def test_measures_all_tables_without_a_gpu(self):
        steps, epochs, sent, rates = throughput.measure(
            SMALL, 1, pipeline=np.array([2.0, 4.0, 9.0]), network=small_net
        )
        assert steps.milliseconds[fitting.KERAS] is None
        timed = {**steps.milliseconds, **epochs.milliseconds}
        del timed[fitting.KERAS]
        assert all(each > 0 for each in timed.values())
        by_name = {each.name: each for each in steps.ratios}
        rival = by_name[f"{fitting.METRIC} / {fitting.KERAS}"]
        assert rival.rounds is None
        assert rival.target == "at most 1"
        ours = by_name[f"{fitting.MODEL} / {fitting.PLAIN}"]
        assert ours.rounds == (
            steps.milliseconds[fitting.MODEL]
            / steps.milliseconds[fitting.PLAIN]
        )
        assert "4x32x32x3, float32, CPU, tensorflow, ms a step" in steps.title
        assert "Epoch of 3 steps" in epochs.title
        assert set(sent.values) == set(timed) - set(epochs.milliseconds)
        _, made, cores, used, gflops = rates.values.values()
        # The median of 4 ms an image.
        assert made == 250
        assert cores == used == "not measured: no GPU"
        assert gflops == 2 * 3 * 5 / 1e9

    @pytest.mark.slow
    def test_plain_keras_takes_a_step(self):
        size = mixing.Size(
            name="tiny", shape=(2, 32, 32, 3), num_classes=5, batches=1, calls=1
        )
        steps, *_, rates = throughput.measure(
            size,
            1,
            pipeline=np.ones(1),
            network=small_net,
            rival=fitting.build_keras,
        )
        assert steps.milliseconds[fitting.KERAS] > 0
        rival = steps.ratios[-1]
        assert rival.name.endswith(fitting.KERAS)
        assert rival.rounds > 0
        assert f"GFLOPs of an image forward, {fitting.KERAS}" in rates.values

    def test_cores_and_utilization_of_a_gpu(self, gpu):
        def compare(peak_tflops):
            return throughput.compare_rates(
                256,
                step=128.0,
                pipeline=2.0,
                flops={"ours": 8 * 10**9, "theirs": 10**9},
                peak_tflops=peak_tflops,
            )

        # 256 images in 128 ms are 2,000 a second; 2 ms an image are 500.
        # Three times 8e9 FLOPs, 2,000 times a second, are 4.8e13.
        assert list(compare(96.0).values()) == [2000, 500, 4, 0.5, 8, 1]
        share = compare(None)["model FLOP utilization"]
        assert share == "not measured: no --peak_tflops"

    def test_run_hands_the_pipeline_to_the_steps(self, monkeypatch):
        pipeline = timing.Section(
            title="", milliseconds={imagenet.OURS: np.array([1.5])}
        )
        given = []

        def measure(size, repeats, **options):
            given.append((size, options))
            return [TestFacts.facts]

        monkeypatch.setattr(imagenet, "measure", lambda *_, **__: [pipeline])
        monkeypatch.setattr(throughput, "measure", measure)
        tables = benchmark.run(
            "imagenet",
            repeats=1,
            num_examples=1,
            num_parallel_calls=1,
            image_size=96,
            batch_size=16,
            peak_tflops=100.0,
        )
        assert tables == [pipeline, TestFacts.facts]
        ((size, options),) = given
        assert size.shape == (16, 96, 96, 3)
        assert options["pipeline"] == 1.5
        assert options["peak_tflops"] == 100
        assert options["rival"] is None
