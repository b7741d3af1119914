"""Runs the programs of README.md and docs/guide.md, and checks its figures."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_mixup
from tf_mixup._models import output_kind

ROOT = pathlib.Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide.md"
README = ROOT / "README.md"
# What would take long, and what it becomes here.
SHORTER = {"epochs=30": "epochs=2", "warmup_epochs=5": "warmup_epochs=1"}


def sections(document):
    """Returns the Python blocks of each section that has some, by its title.

    Blocks start with as many empty lines as stand before them, so that a
    traceback names the line of the document.
    """
    found = {}
    lines = document.read_text().splitlines()
    title = block = None
    for number, line in enumerate(lines, start=1):
        if line == "```python":
            block = [""] * number
        elif line == "```" and block is not None:
            found.setdefault(title, []).append("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("## "):
            title = line.removeprefix("## ")
    return found


def run(document, title, names):
    """Runs the blocks of a section one after the other, in one namespace."""
    for block in sections(document)[title]:
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        exec(compile(block, document.name, "exec"), names)
    return names


def draw_images(rows, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (rows, 8, 8, 3), "uint8")
    return images, np.arange(rows) % 10


def own_names():
    """Returns what README takes to be there: a reader's model and data.

    Its first program imports Keras and the library for all that follow.
    """
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="stage1"),
        keras.layers.Conv2D(4, 3, name="stage2"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
    names = {"keras": keras, "tf_mixup": tf_mixup}
    names["model"] = keras.Sequential(layers)
    parts = {"train": 1024, "held_out": 100, "test": 30}
    for seed, (part, rows) in enumerate(parts.items()):
        names[f"x_{part}"], names[f"y_{part}"] = draw_images(rows, seed)
    for part in ("train", "validation"):
        rows = names["x_train"], names["y_train"]
        names[part] = tf.data.Dataset.from_tensor_slices(rows)
    names["svhn"] = draw_images(100, 3)[0]
    names["labels"] = names["y_test"]
    names["probabilities"] = np.full((30, 10), 0.1, "float32")
    return names


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestReadme:
    @pytest.mark.parametrize("title", sections(README))
    def test_section_runs(self, title):
        run(README, title, own_names())

    def test_long_fit_is_shortened(self):
        for long in SHORTER:
            assert long in README.read_text()


class TestGuide:
    @pytest.mark.parametrize("title", sections(GUIDE))
    def test_program_learns_and_measures(self, title):
        names = run(GUIDE, title, {})
        before, after = names["before"].results(), names["after"].results()
        assert before["accuracy"] > 0.75
        # Temperature scaling keeps the predicted class, here as everywhere.
        assert after["accuracy"] == pytest.approx(before["accuracy"])
        assert after["nonfinite"] == before["nonfinite"] == 0
        assert len(names["history"]["val_signed_gap"]) >= 3
        outputs = names["calibrated"].predict(names["x_test"], verbose=0)
        assert not output_kind.are_logits(outputs)

    def test_has_the_four_programs(self):
        assert len(sections(GUIDE)) == 4


class TestAlpha:
    def test_figures_are_those_of_the_results(self):
        sources = ("RESULTS.md", "ALPHA_STUDY.md")
        texts = [(ROOT / "experiments" / name).read_text() for name in sources]
        measured = "".join([*texts, (ROOT / "BUILD_NOTES.md").read_text()])
        alpha = (ROOT / "docs" / "alpha.md").read_text()
        figures = re.findall(r"-?\d+\.\d+ ± \d+\.\d+", alpha)
        assert figures
        for figure in figures:
            assert f" {figure} |" in measured, figure
