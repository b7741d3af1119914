"""`tf_mixup.report` end to end, on digits and on made models."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from sklearn import datasets

import tf_mixup
from tf_mixup import calibration
from tf_mixup.calibration import resampling
from tf_mixup.posthoc import TemperatureScaling
from tf_mixup.report import measures
from tf_mixup.report.build import NOISE


def digits():
    """Returns 8x8 digits in [0, 255] and their labels."""
    data = datasets.load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return images[..., np.newaxis], data.target


@pytest.fixture(scope="module")
def model():
    """Returns raw pixels to logits, after two epochs."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(32, "relu"),
            layers.Dense(10),
        ],
        name="digits",
    )
    network.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y = digits()
    network.fit(x[:1000], y[:1000], epochs=2, verbose=0)
    return network


@pytest.fixture(scope="module")
def held_out():
    x, y = digits()
    return x[1000:1300], y[1000:1300]


@pytest.fixture(scope="module")
def result(model, held_out):
    upside_down = held_out[0][:50, ::-1]
    return tf_mixup.calibration_report(
        model, held_out, ood={"upside down": upside_down}, num_resamples=20
    )


def made(activation, columns):
    """Returns a model that passes its inputs through an activation."""
    return keras.Sequential(
        [keras.Input((columns,)), keras.layers.Activation(activation)]
    )


class TestNumbers:
    def test_json_equals_the_library(self, result, model, held_out):
        numbers = json.loads(result.to_json())
        x, y = held_out
        probabilities = keras.ops.softmax(model.predict(x, verbose=0))
        confidence, correct = map(
            keras.ops.convert_to_numpy, calibration.top_label(y, probabilities)
        )
        assert tuple(numbers["conventions"]) == measures.SHOWN
        for name in measures.SHOWN:
            convention = calibration.CONVENTIONS[name]
            setting = {
                "num_bins": convention.num_bins,
                "edges": convention.edges,
            }
            found = numbers["conventions"][name]
            expected = resampling.bootstrap_interval(
                confidence, correct, num_resamples=20, seed=0, **setting
            )
            assert found["values"]["ece"] == pytest.approx(expected._asdict())
            null = resampling.null_calibration_error(
                confidence, seed=0, **setting
            )
            assert found["null_ece"] == pytest.approx(null._asdict())
            assert sum(found["bins"]["count"]) == 300
        assert numbers["overall"]["accuracy"]["estimate"] == correct.mean()
        nll = keras.losses.sparse_categorical_crossentropy(y, probabilities)
        assert numbers["overall"]["nll"]["estimate"] == pytest.approx(
            float(keras.ops.mean(nll)), rel=1e-5
        )

    def test_says_what_it_is_of(self, result):
        assert (result.model, result.from_logits) == ("digits", True)
        assert (result.num_examples, result.num_classes) == (300, 10)
        assert set(result.ood) == {NOISE, "upside down"}
        assert result.ood["upside down"].num_examples == 50
        assert set(result.figures) == {
            "selective",
            *("reliability", "fine", "confidence", "ood", "roc"),
        }
        assert len(result.classes) == 10
        assert result.accuracies["as given"] == pytest.approx(
            result.overall["accuracy"].estimate
        )

    def test_shows_the_inputs_of_the_surest_errors(
        self, result, model, held_out
    ):
        x, y = held_out
        logits = model.predict(x, verbose=0)
        confidence = scipy.special.softmax(logits, axis=1).max(axis=1)
        wrong = np.flatnonzero(logits.argmax(axis=1) != y)
        order = wrong[np.argsort(-confidence[wrong])][:12]
        assert [each.place for each in result.mistakes] == order.tolist()
        shown = tf.io.decode_png(result.pictures[0]).numpy()
        low, high = x[order].min(), x[order].max()
        expected = 255 / (high - low) * (x[order[0]].astype(float) - low)
        np.testing.assert_allclose(shown, expected, atol=1)

    def test_is_the_same_twice(self, result, model, held_out):
        again = tf_mixup.calibration_report(
            model,
            tf.data.Dataset.from_tensor_slices(held_out).batch(128),
            ood={"upside down": held_out[0][:50, ::-1]},
            num_resamples=20,
        )
        assert again.to_json() == result.to_json()
        assert again.figures.keys() == result.figures.keys()


class TestOutputs:
    def test_softmax_and_its_logits_agree(self):
        generator = np.random.default_rng(0)
        logits = 2 * generator.normal(size=(80, 3)).astype(np.float32)
        labels = generator.integers(0, 3, 80)
        reports = [
            tf_mixup.calibration_report(
                made(name, 3), (logits, labels), num_resamples=5
            )
            for name in ("softmax", "linear", "log_softmax")
        ]
        assert [each.from_logits for each in reports] == [False, True, True]
        for name in ("accuracy", "nll", "brier"):
            values = [each.overall[name].estimate for each in reports]
            assert values == pytest.approx([values[0]] * 3, rel=1e-5)
        assert not reports[0].ood

    def test_sigmoid(self):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(200, 1)).astype(np.float32)
        labels = (generator.random(200) < 1 / (1 + np.exp(-logits[:, 0]))) * 1
        first = tf_mixup.calibration_report(
            made("sigmoid", 1), (logits, labels), num_resamples=5
        )
        second = tf_mixup.calibration_report(
            made("linear", 1), (logits, labels), num_resamples=5
        )
        assert (first.from_logits, first.num_classes) == (False, 2)
        assert second.from_logits
        probability = 1 / (1 + np.exp(-logits[:, 0]))
        confidence = np.maximum(probability, 1 - probability)
        right = (probability > 0.5) == labels
        for report in (first, second):
            assert report.overall["accuracy"].estimate == right.mean()
            assert report.overall["confidence"].estimate == pytest.approx(
                confidence.mean(), rel=1e-5
            )
        values = [r.temperature.temperature for r in (first, second)]
        assert values == pytest.approx([values[1]] * 2, rel=1e-3)

    def test_what_is_told_is_believed(self):
        rows = np.array([[0.9, 0.9], [0.1, 0.2]] * 30, np.float32)
        data = rows, np.arange(60) % 2
        with pytest.raises(ValueError, match="must sum to 1"):
            tf_mixup.calibration_report(made("linear", 2), data)
        report = tf_mixup.calibration_report(
            made("linear", 2), data, from_logits=True, num_resamples=5
        )
        assert report.from_logits


class TestTemperature:
    def test_recovers_that_of_an_overconfident_model(self):
        generator = np.random.default_rng(0)
        logits = 2 * generator.normal(size=(3000, 4))
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
        report = tf_mixup.calibration_report(
            made("softmax", 4), (2.5 * logits, labels), num_resamples=5
        )
        assert report.temperature.temperature == pytest.approx(2.5, rel=0.1)
        texts = [finding.text for finding in report.findings]
        assert any(text.startswith("Overconfident by") for text in texts)
        assert any("would help" in text for text in texts)


class TestFindings:
    def test_wrong_scale(self, model, held_out):
        x, y = held_out
        report = tf_mixup.calibration_report(
            model, (x / 255, y), num_resamples=5
        )
        texts = [finding.text for finding in report.findings]
        (text,) = [each for each in texts if "wrong scale" in each]
        assert "with 255 x in place of x" in text

    def test_nan_rows(self):
        rows = np.random.default_rng(0).normal(size=(60, 2))
        rows[7] = np.nan
        report = tf_mixup.calibration_report(
            made("linear", 2), (rows, np.arange(60) % 2), num_resamples=5
        )
        assert (report.num_examples, report.num_nonfinite) == (59, 1)
        assert "1 of 60 examples have NaN" in report.findings[0].text


class TestTargets:
    def test_shares_of_votes_are_measured_as_the_library_does(self):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(80, 10)).astype(np.float32)
        votes = generator.multinomial(51, np.full(10, 0.1), 80)
        shares = (votes / 51).round(2)
        report = tf_mixup.calibration_report(
            made("softmax", 10), (logits, shares), num_resamples=5
        )
        bins = calibration.bin_predictions(shares, keras.ops.softmax(logits))
        assert report.overall["accuracy"].estimate == pytest.approx(
            float(calibration.accuracy(bins)), rel=1e-5
        )
        ece = float(calibration.expected_calibration_error(bins))
        assert report.conventions["guo"].values["ece"].estimate == (
            pytest.approx(ece, rel=1e-4)
        )
        off = np.abs(shares.sum(1) - 1) > 1e-3
        assert report.num_normalized == off.sum() > 0
        texts = [finding.text for finding in report.findings]
        assert any("divided by their sums" in text for text in texts)
        with pytest.raises(ValueError, match="Divide counts of votes"):
            tf_mixup.calibration_report(
                made("softmax", 10), (logits, votes), num_resamples=5
            )

    def test_unlabeled_examples(self):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(60, 3)).astype(np.float32)
        y = np.arange(60) % 4 - 1
        model = made("softmax", 3)
        with pytest.raises(ValueError, match="`ignore_label=-1`"):
            tf_mixup.calibration_report(model, (x, y), num_resamples=5)
        report = tf_mixup.calibration_report(
            model, (x, y), ignore_label=-1, num_resamples=5
        )
        expected = tf_mixup.calibration_report(
            model, (x[y >= 0], y[y >= 0]), num_resamples=5
        )
        assert (report.num_examples, report.num_ignored) == (45, 15)
        assert report.overall == expected.overall

    def test_several_labels_are_refused(self):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(40, 3)).astype(np.float32)
        several = (generator.random((40, 3)) > 0.5).astype(int)
        with pytest.raises(ValueError, match="several labels"):
            tf_mixup.calibration_report(
                made("softmax", 3), (x, several), num_resamples=5
            )
        with pytest.raises(ValueError, match="several labels"):
            tf_mixup.calibration_report(
                made("sigmoid", 3), (x, several), num_resamples=5
            )


class TestForms:
    @pytest.mark.parametrize(
        ("activation", "columns"), [("softmax", 3), ("sigmoid", 1)]
    )
    def test_logits_of_a_softmax_are_refused(self, activation, columns):
        x = np.random.default_rng(0).normal(size=(60, columns))
        with pytest.raises(ValueError, match=r"from_logits=True with a last"):
            tf_mixup.calibration_report(
                made(activation, columns),
                (x, np.arange(60) % 2),
                from_logits=True,
            )

    def test_a_saturated_softmax_has_the_temperature_of_its_logits(self):
        generator = np.random.default_rng(0)
        logits = generator.normal(size=(400, 3)).astype(np.float32)
        labels = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
        report = tf_mixup.calibration_report(
            made("softmax", 3), (60 * logits, labels), num_resamples=5
        )
        expected = TemperatureScaling().fit(60 * logits, labels)
        assert report.temperature.temperature == pytest.approx(
            expected.temperature, rel=1e-4
        )

    def test_other_sets_may_have_any_names(self):
        x = np.random.default_rng(0).normal(size=(60, 2))
        sets = {1: x, "_hidden": x, "cost in $": x, "$": x}
        report = tf_mixup.calibration_report(
            made("softmax", 2),
            (x, np.arange(60) % 2),
            ood=sets,
            num_resamples=5,
        )
        assert list(report.ood) == ["1", "_hidden", "cost in $", "$"]
        assert "cost in $" in report._repr_html_()
        with pytest.raises(ValueError, match="must have different names"):
            tf_mixup.calibration_report(
                made("softmax", 2),
                (x, np.arange(60) % 2),
                ood={1: x, "1": x},
            )

    def test_has_a_short_repr(self, result):
        assert repr(result).startswith("<Report on 'digits': 300 examples, ac")
        assert len(repr(result)) < 100


class TestMemory:
    @pytest.mark.slow
    def test_is_at_most_three_times_the_input_and_200_mb(self):
        code = (
            "import resource, numpy as np, keras, tf_mixup\n"
            "x = np.random.default_rng(0).normal(size=(20000, 1000))\n"
            "x = x.astype('float32')\n"
            "y = np.arange(20000) % 1000\n"
            "model = keras.Sequential([keras.Input((1000,)),"
            " keras.layers.Softmax()])\n"
            "small = {'num_resamples': 2, 'noise': False}\n"
            "report = tf_mixup.calibration_report\n"
            "report(model, (x[:2000], y[:2000]), **small)\n"
            "peak = lambda: resource.getrusage("
            "resource.RUSAGE_SELF).ru_maxrss * 1024\n"
            "before = peak()\n"
            "report(model, (x, y), **small)\n"
            "print((peak() - before) / x.nbytes, peak() - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
        times, more = map(float, done.stdout.split())
        assert more <= 3 * 80e6 + 200 * 2**20, times


class TestPlaces:
    def test_saves_two_files(self, result, tmp_path):
        path = result.save(tmp_path / "deep" / "folder")
        assert path == tmp_path / "deep" / "folder" / "report.html"
        names = {each.name for each in path.parent.iterdir()}
        assert names == {"report.html", "report.json"}
        saved = json.loads((path.parent / "report.json").read_text())
        assert saved == json.loads(result.to_json())

    def test_notebooks_show_a_frame(self, result):
        text = result._repr_html_()
        assert text.startswith("<iframe srcdoc=")
        assert text.count('"') == 8

    def test_takes_a_path(self, model, held_out, tmp_path):
        model.save(tmp_path / "own.keras")
        report = tf_mixup.calibration_report(
            tmp_path / "own.keras", held_out, num_resamples=5
        )
        assert report.model == "own.keras"
        again = tf_mixup.calibration_report(model, held_out, num_resamples=5)
        assert report.overall == again.overall

    def test_names_classes(self, model, held_out):
        names = list("abcdefghij")
        report = tf_mixup.calibration_report(
            model, held_out, class_names=names, noise=False, num_resamples=5
        )
        assert [each.name for each in report.classes] == names
        assert set(report.figures) == {
            "reliability",
            "fine",
            "confidence",
            "selective",
        }


class TestRefusals:
    def test_class_names_of_another_length(self, model, held_out):
        with pytest.raises(ValueError, match=r"10 classes. Received: 2 names"):
            tf_mixup.calibration_report(model, held_out, class_names=["a", "b"])

    def test_labels_out_of_range(self, model, held_out):
        x, y = held_out
        with pytest.raises(ValueError, match=r"from 0 to 9.*labels from 1 to"):
            tf_mixup.calibration_report(model, (x, y + 1))

    def test_one_class(self, model, held_out):
        x, y = held_out
        with pytest.raises(ValueError, match="at least two classes"):
            tf_mixup.calibration_report(model, (x[y == 3], y[y == 3]))

    def test_empty_other_set(self, model, held_out):
        with pytest.raises(
            ValueError, match="There must be examples in `none`"
        ):
            tf_mixup.calibration_report(
                model, held_out, ood={"none": held_out[0][:0]}, num_resamples=5
            )

    def test_sets_without_names(self, model, held_out):
        with pytest.raises(ValueError, match="dictionary of named sets"):
            tf_mixup.calibration_report(
                model, held_out, ood=[held_out[0]], num_resamples=5
            )

    @pytest.mark.parametrize("output", ["nope", 5])
    def test_another_output_than_the_one(self, model, held_out, output):
        with pytest.raises(ValueError, match=r"the one output .* Leave it out"):
            tf_mixup.calibration_report(
                model, held_out, output=output, num_resamples=5
            )

    def test_the_name_of_the_one_output(self, model, held_out):
        functional = keras.Model(model.inputs, model.outputs[0])
        for each in (model, functional):
            for output in (0, model.layers[-1].name):
                report = tf_mixup.calibration_report(
                    each, held_out, output=output, num_resamples=5, noise=False
                )
                assert report.num_examples == 300

    def test_no_model(self, held_out):
        with pytest.raises(ValueError, match="Received: a function"):
            tf_mixup.calibration_report(lambda x: x, held_out)

    @pytest.mark.parametrize(
        "option",
        [
            {"num_resamples": 1},
            {"max_examples": -5},
            {"max_examples": 0},
            {"batch_size": 0},
            {"seed": -1},
            {"seed": 0.5},
            {"verbose": -1},
            {"verbose": "yes"},
        ],
    )
    def test_options(self, model, held_out, option):
        (name,) = option
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            tf_mixup.calibration_report(model, held_out, **option)

    def test_repeated_class_names(self, model, held_out):
        with pytest.raises(ValueError, match="'a' more than once"):
            tf_mixup.calibration_report(
                model, held_out, class_names=list("aacdefghij")
            )

    @pytest.mark.parametrize("labels", [[1], [1, 1, 1]])
    def test_tiny_sets_of_one_class(self, labels):
        x = np.zeros((len(labels), 2), np.float32)
        message = f"{len(labels)} examples, all of class 1"
        with pytest.raises(ValueError, match=message):
            tf_mixup.calibration_report(made("softmax", 2), (x, labels))
