"""Runs the programs of the documents, and checks the figures they quote."""

import contextlib
import json
import pathlib
import re

import keras
import matplotlib.figure
import pytest

from tf_mixup import calibration

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide.md"
TUNING = ROOT / "docs" / "tuning.md"
MEASURES = ROOT / "docs" / "measures.md"
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
SHARED = "What all programs share"
PROGRAMS = ("Images", "Text", "A table", "Two inputs")
LABELS = "Several labels"


def sections(document):
    """Returns the Python blocks of each section that has some, by its title.

    Blocks start with as many empty lines as stand before them, so that a
    traceback names the line of the document.
    """
    found = {}
    title = block = None
    for number, line in enumerate(document.read_text().splitlines(), start=1):
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
        block = block.replace("epochs=30", "epochs=2")
        exec(compile(block, document.name, "exec"), names)
    return names


TOPICS = [
    each for each in sections(GUIDE) if each not in (SHARED, LABELS, *PROGRAMS)
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestReadme:
    def test_fits_on_two_screens(self):
        lines = README.read_text().splitlines()
        assert len(lines) <= 150
        assert max(map(len, lines)) <= 100

    def test_programs_run(self, capsys):
        names = {}
        for title in sections(README):
            run(README, title, names)
        assert "val_ece" in names["model"].history.history
        keras.saving.load_model("calibrated.keras")

    @pytest.mark.slow
    def test_mixup_helps_the_example(self):
        (block,) = sections(README)["Example"]
        eces = []
        unmixed = block.replace('alpha="auto"', "alpha=0")
        assert unmixed != block
        unmixed = re.sub(r".*AlphaTuner.*\n", "", unmixed)
        for program in (block, unmixed):
            names = {}
            keras.utils.set_random_seed(0)
            exec(program, names)
            eces.append(names["model"].history.history["val_ece"][-1])
        assert eces[0] < 0.6 * eces[1]


def run_program(title):
    return run(GUIDE, title, run(GUIDE, SHARED, {}))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Returns the names of the program of images, which the topics use."""
    with contextlib.chdir(tmp_path_factory.mktemp("images")):
        return run_program("Images")


@pytest.mark.slow
class TestGuide:
    def check(self, names):
        x, y = names["x_test"], names["y_test"]
        before = names["measure"](names["model"], x, y)
        assert before["accuracy"] > 0.75
        assert len(names["history"]["val_signed_gap"]) >= 3
        if "calibrated" in names:
            after = names["measure"](names["calibrated"], x, y)
            # Temperature scaling keeps the predicted class.
            assert after["accuracy"] == pytest.approx(before["accuracy"])
            assert after["nonfinite"] == before["nonfinite"] == 0

    def test_images(self, images):
        self.check(images)

    @pytest.mark.parametrize("title", PROGRAMS[1:])
    def test_program(self, title):
        self.check(run_program(title))

    def test_several_labels(self):
        names = run_program(LABELS)
        before, after = (
            calibration.label_calibration_error(
                names["y_test"], names[model].predict(names["x_test"])
            )
            for model in ("model", "calibrated")
        )
        assert float(after) < float(before) < 0.2
        assert names["report"].num_labels == 4

    @pytest.mark.parametrize("title", TOPICS)
    def test_topic(self, title, images):
        run(GUIDE, title, dict(images))


class TestTuning:
    def test_program_runs(self, capsys):
        # Whether the first gap is within its error depends on the weights.
        keras.utils.set_random_seed(0)
        names = run(TUNING, "How to use it", {})
        assert names["history"]["alpha"][:2] == [1, 1]
        assert "[1.0, 1.0" in capsys.readouterr().out
        names = run(TUNING, "Alphas by class", names)
        assert set(names["tuner"].alpha.round(6)) <= {0, 0.2}


class TestMeasures:
    def test_program_runs(self):
        for title in sections(MEASURES):
            run(MEASURES, title, {})

    def test_conventions_are_those_of_the_library(self):
        text = MEASURES.read_text()
        for name, convention in calibration.CONVENTIONS.items():
            line = (
                f'| `"{name}"` | {convention.num_bins} | {convention.edges} |'
            )
            assert line in text


class TestNotebook:
    @pytest.mark.slow
    def test_cells_run_in_order(self, capsys):
        names = {}
        for cell in json.loads(NOTEBOOK.read_text())["cells"]:
            assert not cell.get("outputs")
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                source = source.replace("epochs=30", "epochs=3")
                source = source.replace("freq=30", "freq=3")
                exec(compile(source, NOTEBOOK.name, "exec"), names)
        printed = capsys.readouterr().out
        assert "gaussian_auroc" in printed
        assert "with a temperature: ECE" in printed
        figure = names["plots"].reliability_diagram(names["bins"])
        assert isinstance(figure, matplotlib.figure.Figure)


class TestAdding:
    def test_paths_exist(self):
        text = (ROOT / "docs" / "adding.md").read_text()
        paths = re.findall(r"`((?:tf_mixup|experiments|tests)/[^`<*]+)`", text)
        assert len(paths) > 50
        for path in paths:
            assert (ROOT / path).exists(), path


class TestAlpha:
    @pytest.mark.parametrize("name", ["alpha.md", "tuning.md"])
    def test_figures_are_those_of_the_results(self, name):
        sources = ("RESULTS.md", "ALPHA_STUDY.md", "ADVICE.md")
        texts = [(ROOT / "experiments" / each).read_text() for each in sources]
        measured = "".join([*texts, (ROOT / "BUILD_NOTES.md").read_text()])
        text = (ROOT / "docs" / name).read_text()
        figures = re.findall(r"-?\d+\.\d+ ± \d+\.\d+", text)
        assert figures
        for figure in figures:
            assert f" {figure} |" in measured, figure
