"""Tests of the command line of `experiments.train`.

One process answers them all: starting it takes some seconds.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import datasets
from experiments.papers import defaults
from experiments.runs import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANSWER = """
import json, os, sys
from absl import flags
from experiments import _entry as entry
from experiments import train
from experiments.runs import config

def parse(line):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    sys.argv = ["train.py", *line]

train.define_flags()
configs, codes = json.load(sys.stdin)
answer = {}
for name, line in configs.items():
    parse(line)
    flags.FLAGS(sys.argv)
    answer[name] = train.config_from_flags().to_json()
answer["help"] = flags.FLAGS["dataset"].help
for name, line in codes.items():
    parse(line)
    print("###", name, file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.stdout = sys.stderr
    try:
        entry.start(train.main)
    except SystemExit as end:
        answer[name] = end.code
    sys.stdout = sys.__stdout__
print(json.dumps(answer))
"""
CONFIGS = {
    "digits": ["--workdir=w"],
    "paper": ["--workdir=w", "--dataset=cifar100"],
    "overridden": [
        *("--workdir=w", "--dataset=cifar100", "--epochs=3", "--alpha=0.5"),
        *("--milestones=1,2", "--ood=mnist,a.npz", "--method=erm"),
        *("--width=8", "--dropout=0.25", "--sync_batch_norm", "--seed=7"),
    ],
    "sentences": [
        *("--workdir=w", "--dataset=trec", "--embeddings=glove.txt"),
        *("--mix_layers=embedding,logits", "--optimizer=adadelta"),
    ],
    "without milestones": [
        *("--workdir=w", "--dataset=cifar10", "--milestones="),
    ],
    "table": ["--workdir=w", "--dataset=uci:iris"],
    "kind": ["--workdir=w", "--dataset=gaussians:0.25"],
    "tuned": ["--workdir=w", "--alpha=auto"],
    "by class": [
        *("--workdir=w", "--alpha=auto", "--per=class", "--tuning=camixup"),
    ],
    "gan": ["--workdir=w", "--dataset=points:ring"],
}
# Command lines that must fail, and what must then be said.
REFUSED = {
    "misspelt flag": (["--alhpa=1"], "Unknown command line flag 'alhpa'"),
    "unknown choice": (["--method=mixupp"], "value should be one of"),
    "no number": (["--epochs=many"], "flag --epochs=many"),
    "stray argument": (["alpha=1"], "Unexpected arguments: ['alpha=1']"),
    "no batch": (["--batch_size=0"], "`batch_size` must be an integer, at"),
    "no rate": (["--learning_rate=nan"], "`learning_rate` must be a finite"),
    "missing OOD set": (["--ood=folder:DIR/nothing"], "nothing"),
    "missing OOD file": (["--ood=DIR/a.npz"], "An OOD file must exist"),
    "out of range": (["--alpha=-1"], "`alpha` must be a finite number"),
    "no alpha": (["--alpha=many"], "`alpha` is a number, or `auto`"),
    "no rule": (["--alpha=auto", "--tuning=none"], "`--alpha=auto` tunes"),
    "no epochs": (["--milestones=a,b"], "Write e.g. --milestones=60,120,160"),
    "unknown data set": (["--dataset=cifar11"], "'cifar11'"),
    "missing data set": (
        ["--dataset=cifar10", "--data_dir=DIR/nothing"],
        "Fetch it with `python -m experiments.train --dataset=cifar10",
    ),
    "missing folder": (["--dataset=folder:DIR/nothing"], "one folder a class"),
    "damaged image": (["--dataset=folder:DIR/images"], "image"),
    "small images": (["--network=lenet"], "LeNet needs images of at least"),
    "too many": (["--num_train=5000"], "must fit into 1438 examples"),
    "missing sentences": (
        ["--dataset=mr", "--data_dir=DIR/nothing"],
        "rt-polarity.pos, rt-polarity.neg",
    ),
    "large batch": (["--batch_size=2000"], "Lower --batch_size"),
    "closed directory": (["--workdir=/proc/run"], "must be writable"),
    "another's workdir": (["--workdir=DIR/other"], "seed: 3 there, 0 asked"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Returns configs and exit codes by name, and what each refusal said."""
    directory = tmp_path_factory.mktemp("train")
    for name in ("one", "two"):
        (directory / "images" / name).mkdir(parents=True)
        (directory / "images" / name / "a.jpg").write_bytes(b"no image")
    (directory / "other" / "checkpoints").mkdir(parents=True)
    (directory / "other" / "checkpoints" / "epoch-00001.npz").touch()
    fields = defaults.PAPER_DEFAULTS["digits"] | {"seed": 3}
    config = config_lib.Config(**fields)
    (directory / "other" / "config.json").write_text(
        json.dumps(config.to_json())
    )
    commands = {
        name: [
            f"--workdir={directory / 'run'}",
            *(each.replace("DIR", str(directory)) for each in line),
        ]
        for name, (line, _) in REFUSED.items()
    }
    commands["no workdir"] = ["--alpha=1"]
    done = subprocess.run(
        [sys.executable, "-c", ANSWER],
        input=json.dumps([CONFIGS, commands]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(part.split("\n", 1) for part in done.stderr.split("### ")[1:])
    return json.loads(done.stdout.splitlines()[-1]), said


class TestConfigFromFlags:
    def test_digits_by_default(self, answers):
        expected = config_lib.Config(**defaults.PAPER_DEFAULTS["digits"])
        assert answers[0]["digits"] == expected.to_json()

    def test_takes_the_papers_settings(self, answers):
        expected = config_lib.Config(
            dataset="cifar100", **defaults.PAPER_DEFAULTS["cifar100"]
        )
        assert answers[0]["paper"] == expected.to_json()

    @pytest.mark.parametrize("name", ["table", "kind", "gan"])
    def test_takes_those_of_names_with_a_colon(self, name, answers):
        dataset = dict(each[2:].split("=") for each in CONFIGS[name])["dataset"]
        fields = defaults.paper_defaults(dataset)
        expected = config_lib.Config(dataset=dataset, **fields)
        assert answers[0][name] == expected.to_json()

    def test_every_data_set_of_the_help_has_settings(self, answers):
        words = re.findall(r"[\w:]+", answers[0]["help"])
        kinds = {"speech:PATH", "imagefolder:PATH", "gaussians:MU"}
        names = {*datasets.NAMES, "imagenet2012", *kinds}
        assert names <= set(words)
        assert all(map(defaults.paper_defaults, names))
        assert {each for each in words if ":" in each} <= {
            *names,
            "folder:PATH",
        }

    def test_flags_override_them(self, answers):
        settings = defaults.PAPER_DEFAULTS["cifar100"] | {
            "epochs": 3,
            "alpha": 0.5,
            "milestones": (1, 2),
            "ood": ("mnist", "a.npz"),
            "method": "erm",
            "width": 8,
            "dropout": 0.25,
            "sync_batch_norm": True,
            "seed": 7,
        }
        expected = config_lib.Config(dataset="cifar100", **settings)
        assert answers[0]["overridden"] == expected.to_json()

    def test_auto_is_the_rule_of_the_library(self, answers):
        assert answers[0]["tuned"]["tuning"] == "follow"
        assert answers[0]["tuned"]["alpha"] == 1
        assert answers[0]["by class"]["tuning"] == "camixup"

    def test_sentences_take_words_and_layers(self, answers):
        settings = defaults.PAPER_DEFAULTS["trec"] | {
            "embeddings": "glove.txt",
            "mix_layers": ("embedding", "logits"),
        }
        expected = config_lib.Config(dataset="trec", **settings)
        assert answers[0]["sentences"] == expected.to_json()

    def test_lists_can_be_emptied(self, answers):
        assert answers[0]["without milestones"]["milestones"] == []

    def test_fields_and_names_agree(self):
        names = {field.name for field in dataclasses.fields(config_lib.Config)}
        assert set(config_lib.CHOICES) <= names


class TestRefusals:
    @pytest.mark.parametrize("name", REFUSED)
    def test_end_in_words(self, name, answers):
        codes, said = answers
        assert codes[name] == 1
        assert REFUSED[name][1] in said[name]
        assert "Traceback" not in said[name]

    def test_workdir_is_required(self, answers):
        codes, said = answers
        assert codes["no workdir"] == 1
        assert "--workdir" in said["no workdir"]
        assert "Traceback" not in said["no workdir"]

    def test_damaged_image_is_named(self, answers):
        assert "a.jpg" in answers[1]["damaged image"]
