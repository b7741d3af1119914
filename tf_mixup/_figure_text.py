"""Draws users' names in figures as they are written.

Matplotlib reads dollar signs as formulas, and raises for invalid ones when the
figure is saved; it leaves names that begin with an underscore out of legends;
and it lets long titles overlap.
"""

import textwrap
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import matplotlib.legend

# For any text with a user's name in it.
AS_WRITTEN: Mapping[str, Any] = {"parse_math": False}

_POINTS_PER_INCH = 72
_MAX_LINES = 4
# Longer names are cut before they are measured.
_MAX_CHARACTERS = 500


def fit(name: object, width: float, size: float = 10.0) -> str:
    """Returns a name in at most four lines that are no wider than `width`.

    Args:
        name: Of any type; line breaks are kept. Characters without an encoding
            become backslash escapes.
        width: In inches.
        size: Of the font, in points. Defaults to matplotlib's medium size.

    Returns:
        text: With an ellipsis for what is left out of the middle.
    """
    text = str(name).encode("utf-8", "backslashreplace").decode()
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[: _MAX_CHARACTERS // 2]}…{text[-_MAX_CHARACTERS // 2 :]}"
    lines = text.split("\n")
    longest = max(lines, key=len)
    measured = _measure(longest, size)
    if measured > width:
        columns = max(int(len(longest) * width / measured), 4)
        lines = [
            part
            for line in lines
            for part in textwrap.wrap(line, columns) or [""]
        ]
    if len(lines) > _MAX_LINES:
        # Paths and numbered names differ at their ends.
        lines = [
            *lines[: _MAX_LINES - 2],
            f"{lines[_MAX_LINES - 2]}…",
            lines[-1],
        ]
    return "\n".join(lines)


def add_legend(
    owner: "matplotlib.figure.Figure | matplotlib.axes.Axes",
    handles: Mapping[Any, Any],
    *,
    width: float,
    **options: Any,
) -> "matplotlib.legend.Legend | None":
    """Adds a legend with any names; none without handles.

    Args:
        owner: The figure or a panel.
        handles: Name -> artist.
        width: Maximal width of a name's lines, in inches.
        **options: Of `Figure.legend`.
    """
    if not handles:
        return None
    # A legend leaves out names that begin with "_", so they come afterwards.
    places = [str(place) for place in range(len(handles))]
    legend = owner.legend(list(handles.values()), places, **options)
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set_parse_math(False)
        text.set_text(fit(name, width, text.get_fontsize()))
    return legend


def _measure(text: str, size: float) -> float:
    """Returns the width of a line in inches."""
    import matplotlib.font_manager
    import matplotlib.textpath

    font = matplotlib.font_manager.FontProperties(size=size)
    measure = matplotlib.textpath.text_to_path.get_text_width_height_descent
    with warnings.catch_warnings():
        # A missing glyph is warned about when the figure is drawn.
        warnings.simplefilter("ignore", UserWarning)
        points, *_ = measure(text, font, ismath=False)
    return points / _POINTS_PER_INCH
