"""Tests of the repository: the wheel, the cost of import, the documents."""

import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import tf_mixup

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("tf_mixup", "experiments", "tests")
    for path in (ROOT / folder).rglob("*.py")
)
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "experiments/*.md")
    for path in ROOT.glob(pattern)
)


def run(*arguments, cwd=ROOT):
    done = subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Returns a wheel, built from a copy so that nothing is left behind."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("tf_mixup", "experiments", "tests"):
        shutil.copytree(ROOT / name, copy / name)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
    run(*build, "--outdir", "out", cwd=copy)
    return zipfile.ZipFile(next((copy / "out").glob("*.whl")))


class TestWheel:
    def test_holds_the_library_alone(self, wheel):
        folders = {name.split("/")[0] for name in wheel.namelist()}
        info = f"tf_mixup-{tf_mixup.__version__}.dist-info"
        assert folders == {"tf_mixup", info}

    def test_holds_all_of_the_library(self, wheel):
        modules = {
            str(path.relative_to(ROOT))
            for path in (ROOT / "tf_mixup").rglob("*.py")
        }
        assert {*modules, "tf_mixup/py.typed"} <= set(wheel.namelist())

    def test_says_its_licence_and_pythons(self, wheel):
        name = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
        metadata = wheel.read(name).decode()
        assert "Apache-2.0" in metadata
        pythons = re.search(r"Requires-Python: (.*)", metadata)[1]
        assert set(pythons.split(",")) == {">=3.11", "<3.14"}
        assert any(n.endswith("LICENSE") for n in wheel.namelist())


class TestImport:
    SLOW = (
        "matplotlib",
        "sklearn",
        "tensorflow_datasets",
        "tensorflow_probability",
    )

    def test_is_light_and_says_nothing(self):
        # What Keras and TensorFlow bring along is not our cost.
        code = (
            "import sys, keras, tensorflow; before = set(sys.modules);"
            "import tf_mixup;"
            f"print(*({{*{self.SLOW!r}}} & (set(sys.modules) - before)))"
        )
        quiet = (sys.executable, "-W", "error::DeprecationWarning:tf_mixup")
        assert run(*quiet, "-c", code) == "\n"


class TestSources:
    def test_name_no_place_of_one_machine(self):
        place = re.compile(r"""["'`(\s](/root|/home|/work|/Users)/""")
        named = [path for path in SOURCES if place.search(path.read_text())]
        assert not named


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
class TestDocuments:
    def test_commands_exist(self, document):
        text = document.read_text()
        for name in re.findall(r"python -m (\w+(?:\.\w+)+)", text):
            path = ROOT / name.replace(".", "/")
            assert (
                path.with_suffix(".py").exists()
                or (path / "__init__.py").exists()
            ), name

    def test_flags_exist(self, document):
        # A long command goes on after a backslash.
        text = document.read_text().replace("\\\n", " ")
        sources = "".join(path.read_text() for path in SOURCES)
        for flags in re.findall(r"python -m [\w.]+((?: +--\S+)+)", text):
            for name in re.findall(r"--(\w+)", flags):
                names = f"{name}|{name.removeprefix('no')}"
                assert re.search(rf"[\"'](--)?({names})[\"']", sources), name

    def test_targets_of_make_exist(self, document):
        targets = re.findall(r"^([\w-]+):", makefile(), re.MULTILINE)
        for name in re.findall(r"`make ([\w-]+)", document.read_text()):
            assert name in targets

    def test_links_lead_to_files(self, document):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), link

    def test_names_no_place_of_one_machine(self, document):
        place = r"(?<![\w.])/(root|home|work|Users)/"
        assert not re.search(place, document.read_text())


class TestMakefile:
    def test_ci_runs_checks_and_tests(self):
        lines = (ROOT / ".ci" / "run").read_text().splitlines()
        assert lines[-2:] == ["make check", "make test"]

    def test_setup_without_python_says_what_to_do(self, tmp_path):
        done = subprocess.run(
            ["/bin/sh", ROOT / ".ci" / "setup", "venv", "stamp"],
            cwd=tmp_path,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "make PYTHON=/path/to/python" in done.stderr
        assert not any(tmp_path.iterdir())

    def test_setup_without_venv_says_what_to_do(self, tmp_path):
        python = tmp_path / "python3.12"
        # Starts, is of the right version, and has no ensurepip.
        python.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\n')
        python.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", ROOT / ".ci" / "setup", "venv", "stamp"],
            cwd=tmp_path,
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "install its venv module" in done.stderr


def makefile():
    return (ROOT / "Makefile").read_text()
