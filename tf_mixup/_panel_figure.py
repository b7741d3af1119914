"""A figure whose panels are filled again and again.

Most of the time of a figure goes into its axes, ticks, labels, legends and
layout. They depend on the names and limits of the panels alone, so they are
drawn once for all data.
"""

import contextlib
import contextvars
import threading
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from typing import Any

import matplotlib
import matplotlib.artist
import matplotlib.axes
import matplotlib.backends.backend_agg
import matplotlib.collections
import matplotlib.figure
import matplotlib.image
import matplotlib.lines
import matplotlib.patches
import matplotlib.spines
import numpy as np

_INSIDE = (
    matplotlib.collections.Collection,
    matplotlib.image.AxesImage,
    matplotlib.lines.Line2D,
    matplotlib.patches.Patch,
)
# With matplotlib's settings, the last ones used; each takes about 3 MB.
_MAX_KEPT = 16
_KEPT: dict[Hashable, tuple[Any, Any]] = {}
_LOCK = threading.Lock()
_REUSES = contextvars.ContextVar("reuses", default=False)


class PanelFigure(matplotlib.figure.Figure):
    """A figure of panels that can be emptied and filled anew.

    Args:
        width: In inches.
        height: In inches.

    Attributes:
        kept: Whether it was built to be used again.
    """

    kept = False

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), dpi=100, layout="constrained")
        self._outside: np.ndarray | None = None

    def add_grid(self, rows: int, columns: int, **options: Any) -> None:
        """Adds panels, with options of `Figure.subplots`."""
        self._shape = rows, columns
        self.subplots(rows, columns, squeeze=False, **options)

    @property
    def grid(self) -> np.ndarray:
        """The axes of the panels, a matrix."""
        # Not an attribute: arrays of objects in a cycle are never freed.
        rows, columns = self._shape
        return np.reshape(self.axes[: rows * columns], (rows, columns))

    def clear_panels(self) -> None:
        """Removes the data of all panels."""
        for axes in self.axes:
            for artist in _inside(axes):
                if not isinstance(artist, matplotlib.spines.Spine):
                    artist.remove()

    def draw_panels(self) -> np.ndarray:
        """Returns the pixels, of which only those in panels are drawn anew.

        All else must be as it was in the first call.

        Returns:
            image: uint8 array `(H, W, 4)`, what drawing the whole figure gives.
        """
        if self._outside is None:
            self._outside = self._draw_outside()
        renderer = self.canvas.get_renderer()
        pixels = np.asarray(renderer.buffer_rgba())
        pixels[:] = self._outside
        for axes in self.axes:
            for artist in _inside(axes):
                artist.draw(renderer)
        return pixels.copy()

    def _draw_outside(self) -> np.ndarray:
        """Returns the pixels of the figure without panels, laid out."""
        canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(self)
        self.draw_without_rendering()
        self.set_layout_engine("none")
        inside = [artist for axes in self.axes for artist in _inside(axes)]
        for artist in inside:
            artist.set_visible(False)
        canvas.draw()
        for artist in inside:
            artist.set_visible(True)
        return np.array(canvas.buffer_rgba())


@contextlib.contextmanager
def reusing() -> Iterator[None]:
    """Lets `build` return figures of earlier blocks, emptied.

    A figure must not be used after the block, nor two of the same frame in it.
    """
    with _LOCK:
        token = _REUSES.set(True)
        try:
            yield
        finally:
            _REUSES.reset(token)


def build(frame: Callable[..., PanelFigure], *options: Hashable) -> PanelFigure:
    """Returns a figure with empty panels.

    Args:
        frame: Makes the figure.
        *options: All that the figure without data depends on.
    """
    if not _REUSES.get():
        return frame(*options)
    style, figure = _KEPT.pop((frame, options), (None, None))
    # Its own comparison would choose a backend.
    if figure is None or not dict.__eq__(style, matplotlib.rcParams):
        style, figure = matplotlib.rcParams.copy(), frame(*options)
        figure.kept = True
    figure.clear_panels()
    _KEPT[frame, options] = (style, figure)
    if len(_KEPT) > _MAX_KEPT:
        del _KEPT[next(iter(_KEPT))]
    return figure


def _inside(axes: matplotlib.axes.Axes) -> list[matplotlib.artist.Artist]:
    """Returns the data and the lines around them, in the order of drawing."""
    found = [
        artist
        for artist in axes.get_children()
        if isinstance(artist, _INSIDE) and artist is not axes.patch
    ]
    return sorted(found, key=_zorder) if axes.axison else []


def _zorder(artist: matplotlib.artist.Artist) -> float:
    return artist.get_zorder()
