"""Tests of names in figures: any is drawn, and as it is written."""

import matplotlib.figure
import pytest

from tf_mixup import _figure_text
from tf_mixup import plots

# A path, what looks like a formula or a format, another script, no text.
ODD_NAMES = (
    *("$", "$a$", "a_$x", r"\$5", r"$\frac$", "_hidden", "__", "100 %", "%s"),
    *("{x}", "two\nlines", "", " ", "\t", "a\x00b", "猫", "\udcff", "^_\\"),
    *("/data/" + 40 * "folder/" + "end", 2000 * "x", 3, None, ("a", 1)),
)


class TestFit:
    @pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
    def test_lines_are_no_wider_than_asked_for(self, name):
        text = _figure_text.fit(name, 1.5)
        lines = text.split("\n")
        assert len(lines) <= 4
        widths = [_figure_text._measure(line, 10.0) for line in lines]
        # An ellipsis may follow a full line.
        assert max(widths) <= 1.5 * 1.1

    def test_short_names_stay(self):
        for name in ("_x", "$a$ ", "a  b", "two\nlines"):
            assert _figure_text.fit(name, 3.0) == name

    def test_both_ends_of_a_long_name_show(self):
        text = _figure_text.fit("first " + 300 * "middle " + "last: 7 %", 2.0)
        assert text.startswith("first middle")
        assert text.endswith("last: 7 %")
        assert "…" in text

    def test_no_encoding_shows_as_escape(self):
        assert _figure_text.fit("a\udcff", 3.0) == r"a\udcff"


class TestLegend:
    def test_has_every_name_as_written(self):
        figure = matplotlib.figure.Figure()
        axes = figure.subplots()
        names = ["_a", "$b$", "%", ""]
        handles = {name: axes.plot([0, 1])[0] for name in names}
        legend = _figure_text.add_legend(figure, handles, width=2.0)
        assert [text.get_text() for text in legend.get_texts()] == names
        assert not any(text.get_parse_math() for text in legend.get_texts())
        plots.figure_to_image(figure)

    def test_is_none_without_handles(self):
        figure = matplotlib.figure.Figure()
        assert _figure_text.add_legend(figure, {}, width=2.0) is None
