"""A workdir that version 0.1 left after its first epoch goes on."""

import json
import pathlib
import shutil

import pytest

from experiments.runs import config as config_lib
from experiments.runs import training
from experiments.runs import workdirs

OLD = pathlib.Path(__file__).parents[2] / "old_files" / "workdir"
EXPECTED = json.loads((OLD / "expected.json").read_text())
CONFIG = config_lib.Config.from_json(EXPECTED["config"])


@pytest.fixture
def workdir(tmp_path):
    return shutil.copytree(OLD, tmp_path / "run")


def test_goes_on(workdir):
    # Its second epoch draws other plans than version 0.1 did.
    record = training.run(CONFIG, workdir)
    # Fields that are newer than the run have their defaults.
    assert record["config"] == CONFIG.to_json()
    assert record["config"].items() >= EXPECTED["config"].items()
    assert record["trainable_parameters"] == EXPECTED["trainable_parameters"]
    assert record["results"].keys() >= EXPECTED["results"].keys()
    loss, expected = record["history"]["loss"], EXPECTED["history"]["loss"]
    assert loss[0] == expected[0]
    assert loss[1:] == pytest.approx(expected[1:], rel=0.2)


def test_without_mixing_is_of_the_same_config(workdir):
    # It was stored with the alpha that it ignored.
    fields = EXPECTED["config"] | {"method": "erm"}
    for name in ("config.json", "record.json"):
        value = EXPECTED | {"config": fields}
        value = fields if name == "config.json" else value
        (workdir / name).write_text(json.dumps(value))
    workdirs.claim(workdir, config_lib.Config.from_json(fields))


def test_of_another_config_is_refused(workdir):
    fields = EXPECTED["config"] | {"seed": 1}
    with pytest.raises(ValueError, match="seed: 0 there, 1 asked"):
        workdirs.claim(workdir, config_lib.Config.from_json(fields))
