"""`make docs` builds one site of documents and reference, without a warning."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocs", reason="of the extra `dev`")
    names = ("docs", "experiments", "tf_mixup", "Makefile", "mkdocs.yml")
    documents = [path.name for path in ROOT.glob("*.md")]
    for name in (*names, "LICENSE", "CITATION.cff", *documents):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    # The environment is the one that runs the tests: it is not made anew.
    command = ["make", "-o", ".venv/.installed", "docs"]
    command.append(f"RUN={sys.executable} -m")
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "docs"
    for page in ("index.html", "docs/guide.html", "experiments/RESULTS.html"):
        assert (site / page).exists(), page
    reference = (site / "docs" / "reference.html").read_text()
    assert 'id="tf_mixup.MixUp"' in reference
    assert 'id="tf_mixup.callbacks.CalibrationMonitor"' in reference
