"""The reference is made of all public names, without a warning."""

import warnings

import pdoc

import tf_mixup


def test_reference_is_made_without_warnings(tmp_path):
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("tf_mixup", output_directory=tmp_path)
    page = (tmp_path / "tf_mixup.html").read_text()
    for name in tf_mixup.__all__:
        assert f"tf_mixup/{name}.html" in page or f'id="{name}"' in page, name
    callbacks = (tmp_path / "tf_mixup" / "callbacks.html").read_text()
    assert 'id="CalibrationMonitor"' in callbacks
