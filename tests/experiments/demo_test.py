"""The demo: a tiny run of it, and its words for numbers given by hand."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from experiments import _quiet
from experiments import demo
from experiments import engines
from experiments.engines import local
from experiments.runs.outputs import Outputs

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = dataclasses.replace(demo.BASE, epochs=2, width=4, num_train=64)
TITLES = [measure.heading for measure in demo.MEASURES]


def outcome(*, confidence=0.75, shift=0.0, **results):
    """Two runs on 400 rows that claim `confidence` and know 3 of 4 classes.

    Results are 0.5 unless given, and higher by `shift` in the second run.
    """
    results = {m.name: 0.5 for m in demo.MEASURES} | results
    probabilities = np.full((400, 3), (1 - confidence) / 2)
    probabilities[:, 0] = confidence
    noise = np.linspace(0.4, 0.8, 50)
    outputs = Outputs(
        {
            "test": np.log(probabilities),
            "ood_gaussian": np.log(np.stack([noise, 1 - noise], axis=1)),
        },
        {"test": np.arange(400) % 4 // 3},
    )
    second = {key: value + shift for key, value in results.items()}
    return demo.Outcome([results, second], [outputs, outputs])


def outcomes(before, after):
    """The same with and without corrupted labels."""
    return {
        arm: after if arm.method == "mixup" else before for arm in demo.ARMS
    }


@pytest.mark.slow
class TestRun:
    def test_trains_prints_and_draws_once(self, tmp_path, capsys, monkeypatch):
        demo.run(TINY, tmp_path, seeds=1)
        first = capsys.readouterr()
        lines = first.out.splitlines()
        assert len([line for line in lines if " s)" in line]) == 4
        rows = [line for line in lines if line.startswith(tuple(TITLES))]
        assert len(rows) == len(TITLES)
        # A title of several words, then one number for each arm.
        for title, row in zip(TITLES, rows, strict=True):
            assert len(row.removeprefix(title).split()) == 4
        for arm in demo.ARMS:
            assert f"\n{arm}: " in first.out
        for name in ("reliability.png", "confidence.png"):
            assert f"Figure: {tmp_path / name}" in first.out
            assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert f"tensorboard --logdir={tmp_path}" in first.out
        assert list(tmp_path.glob("redrawn-mixup-seed0/logs/**/*tfevents*"))
        monkeypatch.setattr(engines, "run_one", None)
        demo.run(TINY, tmp_path, seeds=1)
        second = capsys.readouterr().out
        assert second.count("(done before)") == 4
        start = "mean ± deviation"
        assert second.split(start)[1] == first.out.split(start)[1]


class TestTrain:
    def test_a_run_that_fails_ends_the_demo(self, tmp_path, monkeypatch):
        closed = []

        def run_each(configs, sources, *, jobs):
            try:
                for folder in configs:
                    yield folder, ValueError(f"{folder.name} failed.")
            finally:
                closed.append(jobs)

        monkeypatch.setattr(local, "run_each", run_each)
        with pytest.raises(ValueError, match="clean-erm-seed0 failed"):
            demo.train(TINY, tmp_path, seeds=1)
        assert closed == [demo._count_jobs()]

    @pytest.mark.parametrize(("cores", "jobs"), [(None, 1), (2, 2), (64, 4)])
    def test_as_many_at_a_time_as_cores(self, cores, jobs, monkeypatch):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        assert demo._count_jobs() == jobs


class TestTable:
    def test_is_measures_by_arms(self):
        found = demo.table(
            outcomes(outcome(test_ece=0.10, shift=0.02), outcome(test_nll=0.25))
        )
        assert "2 seeds" in found[1]
        assert found[1].split()[-6:] == ["no", "mixup", "mixup"] * 2
        # Mean of .10 and .12, and deviation .02 / sqrt(2).
        ece = next(line for line in found if line.startswith("ECE"))
        assert ece.split()[4:7] == ["11.0", "±", "1.4"]
        nll = next(line for line in found if line.startswith("NLL"))
        assert nll.split()[-3:] == ["0.25", "±", "0.00"]
        assert len({len(line) for line in found[3:]}) == 1

    def test_one_seed_has_no_deviation(self):
        one = demo.Outcome(*(part[:1] for part in outcome()))
        assert "±" not in "".join(demo.table(outcomes(one, one))[2:])


class TestWords:
    @pytest.mark.parametrize(
        ("ece", "gap", "words"),
        [
            (0.05, 0.05, "calibrated, as far"),
            (0.10, 0.09, "overconfident by 9.0 points"),
            (0.10, -0.08, "underconfident by 8.0 points"),
            (0.10, -0.02, "overconfident in some bins and underconfident in"),
        ],
    )
    def test_direction(self, ece, gap, words):
        assert demo.direction(ece, 0.06, gap).startswith(words)

    def test_judge_knows_what_chance_gives(self):
        # One bin of 400 rows at 3/4: 1.96 deviations are
        # 1.96 sqrt(3/16 / 400) = .042, and so is the upper end of |error|.
        arm = demo.ARMS[0]
        near = outcome(test_ece=0.03, test_signed_gap=0.03)
        sentence = demo.judge(arm, near)
        assert sentence.startswith("clean labels, no mixup: calibrated, as")
        limit = float(sentence.split("up to ")[1].split("%")[0])
        assert limit == pytest.approx(4.2 * 2.24 / 1.96, abs=1.0)
        far = outcome(test_ece=0.2, test_signed_gap=-0.2)
        assert "underconfident by 20.0 points (ECE 20.0%" in demo.judge(
            arm, far
        )

    def test_compare_counts_what_no_seed_contradicts(self):
        before = outcome(test_nll=0.6, test_oe=0.1)
        after = outcome(test_accuracy=0.6, test_ece=0.7, test_nll=0.4)
        text = demo.compare(outcomes(before, after), "clean labels")
        better, worse, unclear = text.split("; ")
        assert "accuracy 50.0 -> 60.0" in better
        assert "NLL 0.60 -> 0.40" in better
        assert "ECE 50.0 -> 70.0" in worse
        assert "OE 10.0 -> 50.0" in worse
        assert "AUROC against noise 50.0 -> 50.0" in unclear

    def test_seeds_that_disagree_are_unclear(self):
        # NLL: .5 and .7 before, .6 and .6 after.
        before, after = outcome(shift=0.2), outcome(test_nll=0.6)
        text = demo.compare(outcomes(before, after), "clean labels")
        assert "NLL 0.60 -> 0.60" in text.split("unclear ")[1]

    @pytest.mark.parametrize(
        ("ece", "verb"), [(0.3, "lowers"), (0.6, "raises")]
    )
    def test_conclusion_follows_the_numbers(self, ece, verb):
        before = outcome(test_ece=0.5, test_signed_gap=0.25)
        after = outcome(test_ece=ece, test_signed_gap=-0.05)
        text = demo.conclude(outcomes(before, after))
        points = abs(100 * (ece - 0.5))
        assert text.startswith(f"Mixup {verb} ECE by {points:.1f} points")
        assert text.count("signed gap +25.0 to -5.0") == 2


class TestFigures:
    def test_pool_the_seeds(self, tmp_path):
        given = outcomes(outcome(), outcome(confidence=0.9))
        labels = given[demo.ARMS[0]].pool(lambda run: run.labels["test"])
        assert labels.shape == (800,)
        for path in demo.draw(given, tmp_path):
            assert path.read_bytes().startswith(b"\x89PNG")


class TestQuiet:
    @pytest.mark.slow
    def test_loads_without_a_word(self):
        command = (sys.executable, "-m", "experiments.demo", "--help")
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert "--workdir" in done.stdout
        assert done.stderr == ""

    def test_passes_on_what_is_no_notice(self, capfd):
        with _quiet.without_notices():
            os.write(2, b"I0000 00:00:17.8  4 port.cc:153] oneDNN\nTrouble\n")
        assert capfd.readouterr().err == "Trouble\n"

    def test_passes_on_before_an_error(self, capfd):
        with contextlib.suppress(ImportError), _quiet.without_notices():
            os.write(2, b"Trouble\n")
            raise ImportError
        assert capfd.readouterr().err == "Trouble\n"
