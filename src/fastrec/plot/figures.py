"""What figures share: colours, titles, files and their formats."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..files import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MEASURED = "#0072B2"  # blue and vermilion of Okabe and Ito, told apart by every kind of colour vision
COLOURS = (MEASURED, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # all of theirs
DASHES = ("-", "--", "-.", ":")
MARKERS = "os^Dvp"
THEORY = "0.4"
MOST_LINES = 500  # thin ones of a curve


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, of no pyplot state, which a notebook shows."""
    from .notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def set_axes_title(ax: Axes, text: str) -> None:
    """The text over ax, in lines of about equal length that end within its width."""
    size = 9
    inches = ax.get_window_extent().width / ax.figure.get_dpi()
    columns = max(20, int(inches * 72 / (0.5 * size)))  # a character is about half as wide as its font size
    lines = textwrap.wrap(text, columns)
    while columns > 20 and len(narrower := textwrap.wrap(text, columns - 1)) == len(lines):
        lines, columns = narrower, columns - 1
    ax.set_title("\n".join(lines), fontsize=size, loc="left")


def draw_curve(ax: Axes, values: NDArray[np.float64], label: str, style: int) -> None:
    """values (steps,), or (steps, k): thin lines and their median, of the finite values only.

    Of more than `MOST_LINES` thin lines so many are drawn, evenly chosen; the median is of all.
    """
    colour, dashes = COLOURS[style % len(COLOURS)], DASHES[style % len(DASHES)]
    steps = np.arange(len(values))
    if values.ndim == 2:
        chosen = np.linspace(0, values.shape[1] - 1, min(values.shape[1], MOST_LINES)).astype(int)
        ax.plot(steps, values[:, chosen], color=colour, linewidth=0.6, alpha=0.4)
        alive = np.isfinite(values).any(axis=1)
        steps, values = steps[alive], np.nanmedian(values[alive], axis=1)
        label = f"{label}: median".removeprefix(": ") if label else "median"
    marker = "o" if len(steps) == 1 else None  # a line of one point is not seen
    ax.plot(steps, values, dashes, color=colour, linewidth=2, marker=marker, label=label or None)


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: float = 200) -> None:
    """Write a figure in the format of the suffix (png, pdf, svg, ...), replacing path in one step.

    dpi: dots per inch of pixel formats. Raises as `require_format` does.
    """
    suffix = require_format(path)
    with new_file(path) as temporary:
        figure.savefig(temporary, format=suffix, dpi=dpi)


def require_format(path: str | os.PathLike[str]) -> str:
    """The format of the suffix of path, for a check before the work.

    Raises ValueError naming the formats for an unknown suffix, FileNotFoundError for a missing folder.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    suffix = Path(path).suffix.lower().removeprefix(".")
    formats = FigureCanvasBase.get_supported_filetypes()
    if suffix not in formats:
        raise ValueError(f"{path}: the suffix must be one of .{', .'.join(sorted(formats))}")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {Path(path).parent} does not exist")
    return suffix
