"""Tests of the binary that lists bad images."""

import json
import types

import pytest

from experiments import verify_images
from tests.experiments.datasets import photographs_test


@pytest.fixture
def run(tmp_path, monkeypatch):
    folder = photographs_test.make_folder(tmp_path / "images")
    manifest = tmp_path / "bad.jsonl"

    def call(dataset=f"imagefolder:{folder}"):
        values = types.SimpleNamespace(
            dataset=dataset, data_dir=None, manifest=str(manifest)
        )
        monkeypatch.setattr(verify_images.flags, "FLAGS", values)
        verify_images.main()

    return folder, manifest, call


def test_whole_images_leave_an_empty_manifest(run):
    _, manifest, call = run
    call()
    assert manifest.read_text() == ""


def test_bad_images_are_named(run):
    folder, manifest, call = run
    half = folder / "train" / "n01" / "1.JPEG"
    half.write_bytes(half.read_bytes()[:200])
    (folder / "val" / "v0.JPEG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"whole\. Received: 2 that are not"):
        call()
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["split"] for line in lines] == ["train", "test"]
    assert lines[0]["file"] == str(half)
    assert lines[0]["reason"].startswith("jpeg::Uncompress failed")
    assert lines[1]["file"].endswith("v0.JPEG")
    assert "nknown image" in lines[1]["reason"]


def test_other_data_sets_are_refused(run):
    with pytest.raises(ValueError, match=r"verified.*dataset='digits'"):
        run[2]("digits")
