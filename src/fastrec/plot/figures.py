"""Colours, titles, curves and files shared by all figures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MEASURED = "#0072B2"  # blue of Okabe and Ito, whose palette colour-blind readers can tell apart
COLOURS = (MEASURED, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # their whole palette
DASHES = ("-", "--", "-.", ":")
MARKERS = "os^Dvp"
THEORY = "0.4"
MOST_LINES = 500  # thin lines drawn for one curve


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that a notebook shows and pyplot does not know."""
    from .notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def one_panel(draw: Callable[..., Axes], *data: Any, height: float = 4.2) -> Figure:
    """Return a new figure of one panel, into which draw(axes, *data) draws."""
    figure = new_figure(6.4, height)
    draw(figure.subplots(), *data)
    return figure


def log_scale(ax: Axes, axes: str = "xy", **options: Any) -> None:
    """Make axes logarithmic, "x", "y" or both, with ticks that can be read at every range.

    Options are those of matplotlib's logarithmic scale.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    from .ticks import LogLabels, LogTicks

    for name in axes:
        axis = getattr(ax, f"{name}axis")
        getattr(ax, f"set_{name}scale")("log", **options)
        axis.set_major_locator(LogTicks())
        axis.set_major_formatter(LogLabels())
        axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
        axis.set_minor_formatter(NullFormatter())


def set_axes_title(ax: Axes, text: str) -> None:
    """Set the title of the axes, wrapped into lines of about equal length that fit their width."""
    size = 9
    inches = ax.get_window_extent().width / ax.figure.get_dpi()
    columns = max(20, int(inches * 72 / (0.5 * size)))  # a character is about half as wide as its font size
    lines = textwrap.wrap(text, columns)
    while columns > 20 and len(narrower := textwrap.wrap(text, columns - 1)) == len(lines):
        lines, columns = narrower, columns - 1
    ax.set_title("\n".join(lines), fontsize=size, loc="left")


def draw_curve(ax: Axes, values: NDArray[np.float64], label: str, style: int, start: int = 0) -> None:
    """Draw values (steps,) as a curve from step `start` on, or (steps, k) as k thin lines and their median.

    At most `MOST_LINES` thin lines are drawn, evenly spaced among the k; the median is that of all finite
    values.
    """
    colour, dashes = COLOURS[style % len(COLOURS)], DASHES[style % len(DASHES)]
    steps = start + np.arange(len(values))
    if values.ndim == 2:
        chosen = np.linspace(0, values.shape[1] - 1, min(values.shape[1], MOST_LINES)).astype(int)
        ax.plot(steps, values[:, chosen], color=colour, linewidth=0.6, alpha=0.4)
        alive = np.isfinite(values).any(axis=1)
        steps, values = steps[alive], np.nanmedian(values[alive], axis=1)
        label = f"{label}: median".removeprefix(": ") if label else "median"
    marker = "o" if len(steps) == 1 else None  # a line through one point would be invisible
    ax.plot(steps, values, dashes, color=colour, linewidth=2, marker=marker, label=label or None)


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: float = 200) -> None:
    """Write a figure to a file, in the format given by its suffix.

    The file is written under a temporary name and moved into place, so that it is whole or not there.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure to write.
    path : path-like
        The file, with the suffix of a format that matplotlib can write (.png, .pdf, .svg, ...).
    dpi : float, default 200
        Dots per inch, for pixel formats.

    Raises
    ------
    ValueError
        If the suffix names no format.
    FileNotFoundError
        If the folder of the file does not exist.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> result = fastrec.capacity(50, trials=20)
    >>> fastrec.plot.save_figure(fastrec.plot.capacity_figure(result), "capacity.png")
    """
    suffix = require_format(path)
    with new_file(path) as temporary:
        figure.savefig(temporary, format=suffix, dpi=dpi)


def require_format(path: str | os.PathLike[str]) -> str:
    """Return the format of a figure file, so that a bad name is refused before a long computation.

    Parameters
    ----------
    path : path-like
        The file that is to be written later.

    Returns
    -------
    str
        The format, which is the suffix in lower case without its dot.

    Raises
    ------
    ValueError
        If matplotlib cannot write the format; the message lists those that it can.
    FileNotFoundError
        If the folder of the file does not exist.

    Examples
    --------
    >>> fastrec.plot.require_format("capacity.SVG")
    'svg'
    """
    from matplotlib.backend_bases import FigureCanvasBase

    suffix = Path(path).suffix.lower().removeprefix(".")
    formats = FigureCanvasBase.get_supported_filetypes()
    if suffix not in formats:
        raise ValueError(f"{path}: the suffix must be one of .{', .'.join(sorted(formats))}")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {Path(path).parent} does not exist")
    return suffix


def draw_and_save(
    path: str | os.PathLike[str] | None,
    ax: Axes | None,
    make: Callable[[], Figure],
    draw: Callable[[Axes], Axes],
) -> Axes:
    """Draw into ax, or make a new figure, and save it if there is a path: what `plot` of results does."""
    if path is not None:
        require_format(path)
    axes = make().axes[0] if ax is None else draw(ax)
    if path is not None:
        save_figure(axes.figure.figure, path)
    return axes
