"""`python -m tf_mixup.report`, and the name it shares with a function."""

import json
import os
import pathlib
import re
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from absl import flags
from sklearn import datasets

import tf_mixup
from tf_mixup.report import __main__ as program
from tf_mixup.report.build import NOISE

ROOT = pathlib.Path(__file__).resolve().parents[2]


def python(*arguments, cwd=ROOT):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(cwd)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class TestProgram:
    @pytest.mark.slow
    def test_writes_a_report(self, tmp_path):
        data = datasets.load_digits()
        images, labels = data.images[:300].astype(np.uint8), data.target[:300]
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(10, "softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images / 255, labels, epochs=2, verbose=0)
        model.save(tmp_path / "model.keras")
        np.savez(tmp_path / "rows.npz", x=images, y=labels)
        np.savez(tmp_path / "other.npz", image=images[:50, ::-1])
        done = python(
            *("-W", "error::RuntimeWarning:runpy"),
            *("-m", "tf_mixup.report", "--model=model.keras"),
            *("--data=rows.npz", "--ood=flipped=other.npz", "--scale=0-1"),
            *("--output=out", "--num_resamples=5", "--max_examples=200"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert "Report: out" in done.stderr
        # Two sets and noise, each with a bar.
        assert done.stdout.count("2/2") + done.stdout.count("1/1") >= 3
        numbers = json.loads((tmp_path / "out" / "report.json").read_text())
        assert (numbers["model"], numbers["num_examples"]) == ("model", 200)
        assert numbers["data"] == "rows.npz, at most 200 examples"
        assert numbers["preparation"].endswith("1 channels; x / 255")
        assert set(numbers["ood"]) == {NOISE, "flipped"}
        order = np.random.default_rng(0).choice(300, 200, replace=False)
        rows = np.sort(order)
        expected = tf_mixup.calibration_report(
            model,
            (np.float32(images[rows, ..., np.newaxis]) / 255, labels[rows]),
            num_resamples=5,
        )
        for name, interval in expected.overall.items():
            assert numbers["overall"][name] == pytest.approx(
                interval._asdict(), rel=1e-4
            )

    def test_compares_models(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name, scale in (("a", 1.0), ("b", 2.0)):
            layers = [keras.Input((2,)), keras.layers.Rescaling(scale)]
            keras.Sequential(layers).save(f"{name}.keras")
        x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
        np.savez("rows.npz", x=x, y=np.arange(60) % 2)
        values = dict.fromkeys(
            [
                "output_name",
                "ignore_label",
                "data_dir",
                "max_examples",
                "verbose",
            ]
        )
        values |= {key: [] for key in ["imports", "image_size", "mean", "std"]}
        values |= {"model": ["a.keras", "other=b.keras"], "data": "rows.npz"}
        values |= {
            "ood": [],
            "noise": False,
            "multi_label": False,
            "output": "out",
            "num_resamples": 5,
        }
        values |= {"scale": "none", "from_logits": None, "seed": 0}
        program._write_report(types.SimpleNamespace(**values, batch_size=32))
        numbers = json.loads(pathlib.Path("out/report.json").read_text())
        assert list(numbers["reports"]) == ["a", "other"]
        change = numbers["differences"]["other"]["accuracy"]
        assert set(change.values()) == {0}

    def test_reports_on_several_labels(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        layers = [keras.Input((2,)), keras.layers.Activation("sigmoid")]
        keras.Sequential(layers).save("a.keras")
        x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
        np.savez("rows.npz", x=x, y=(x > 0).astype("int32"))
        none = ["output_name", "ignore_label", "data_dir", "max_examples"]
        lists = ["imports", "image_size", "mean", "std", "ood"]
        values = {
            **dict.fromkeys([*none, "verbose"]),
            **{key: [] for key in lists},
            "model": ["a.keras"],
            "data": "rows.npz",
            "output": "out",
            "multi_label": True,
            "num_resamples": 5,
            "scale": "none",
            "from_logits": False,
            "seed": 0,
            "batch_size": 32,
        }
        program._write_report(types.SimpleNamespace(**values))
        numbers = json.loads(pathlib.Path("out/report.json").read_text())
        assert numbers["num_labels"] == len(numbers["labels"]) == 2
        values["from_logits"] = True
        with pytest.raises(ValueError, match="that gives probabilities"):
            program._write_report(types.SimpleNamespace(**values))

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"model": ["none.keras"]}, "none.keras, which does not exist"),
            ({"model": ["a.keras", "b/a.keras"]}, "--model=NAME=b/a.keras"),
            ({"imports": ["no_such"]}, "name modules that Python"),
            ({"mean": ["0.5", "a"]}, "mean=0.5,a. Write 0.5"),
            (
                {"multi_label": True, "ood": ["a.npz"]},
                "multi_label with 1 models and 1 other sets",
            ),
        ],
    )
    def test_refuses(self, tmp_path, monkeypatch, changes, sentence):
        monkeypatch.chdir(tmp_path)
        layers = [keras.Input((2,)), keras.layers.Dense(2)]
        keras.Sequential(layers).save("model.keras")
        values = {"model": ["model.keras"], "imports": [], "image_size": []}
        values |= {"scale": "none", "mean": [], "multi_label": False}
        values |= {"ood": [], **changes}
        with pytest.raises((ValueError, OSError), match=re.escape(sentence)):
            program._write_report(types.SimpleNamespace(**values))

    def test_errors_are_sentences(self, monkeypatch):
        def refuse(values):
            raise ValueError("The rule. Received: x. The remedy.")

        monkeypatch.setattr(program, "_write_report", refuse)
        messages = []
        monkeypatch.setattr(
            program.logging, "error", lambda text, *a: messages.append(text % a)
        )
        with pytest.raises(SystemExit) as stop:
            program.main(["report"])
        assert stop.value.code == 1
        assert messages == ["The rule. Received: x. The remedy."]


class TestName:
    def test_import_defines_no_flags(self):
        assert not flags.FLAGS.flags_by_module_dict().get(program.__name__)
