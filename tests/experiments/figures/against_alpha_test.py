"""Results against alpha: means, deviations, and what is refused."""

import numpy as np
import pytest

from experiments.figures import against_alpha
from tests.experiments.analysis.sweeps import read_table
from tests.experiments.analysis.sweeps import write_run
from tests.experiments.analysis.sweeps import write_sweep


class TestFigure:
    def test_shows_means_and_deviations(self, tmp_path):
        figure = against_alpha.draw(read_table(write_sweep(tmp_path)))
        axes = {each.get_title(): each for each in figure.axes}
        (bars,) = axes["overconfidence error"].containers
        line = bars.lines[0]
        np.testing.assert_allclose(line.get_ydata(orig=False), [9, 3, 2])
        # Deviations are .01 in all rows: bars from mean - 1 to mean + 1.
        segments = np.stack(bars.lines[2][0].get_segments())
        np.testing.assert_allclose(segments[:, :, 1], [[8, 10], [2, 4], [1, 3]])
        ticks = [x.get_text() for x in figure.axes[-1].get_xticklabels()]
        assert ticks == ["0\nno mixup", "0.2", "0.4"]

    def test_draws_one_seed(self, tmp_path):
        table = read_table(write_sweep(tmp_path, seeds=(0,)))
        figure = against_alpha.draw(table)
        assert figure.get_suptitle().endswith("mean ± deviation over 1 seed")

    def test_refuses_rows_of_other_fields(self, tmp_path):
        write_run(tmp_path, 0.2, 0, {}, mix="both")
        write_run(tmp_path, 0.2, 0, {}, mix="inputs")
        with pytest.raises(
            ValueError,
            match=r"--figures draws against alpha alone\. Received: rows by"
            r" mix\. Make tables of the other fields with --tables_by\.",
        ):
            against_alpha.draw(read_table(tmp_path))
