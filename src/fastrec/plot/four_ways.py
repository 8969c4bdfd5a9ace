"""The table of tasks and ways to learn them, as a picture."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..tasks.four_ways import FourWaysResult

DARK = 0.45  # share of wrong answers above which text is white


def four_ways_figure(result: FourWaysResult) -> Figure:
    """Draw tasks by methods: in each field the share of wrong answers and the time to learn.

    Parameters
    ----------
    result : FourWaysResult
        As of `fastrec.four_ways`.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes, of which the second is the bar of colours.

    Examples
    --------
    >>> result = fastrec.four_ways(["order-2"], ["constant", "echo-state"], quick=True)
    >>> len(fastrec.plot.four_ways_figure(result).axes)
    2
    """
    figure = new_figure(3.4 + 1.15 * len(result.methods), 1.6 + 0.62 * len(result.tasks))
    axes = draw_four_ways(figure.subplots(), result)
    bar = figure.colorbar(axes.images[0], ax=axes, shrink=0.8, format=lambda share, _: f"{100 * share:.0f} %")
    bar.set_label("wrong answers", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def draw_four_ways(ax: Axes, result: FourWaysResult) -> Axes:
    """Draw tasks by methods, dark where answers are wrong; medians of the networks.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : FourWaysResult
        As of `fastrec.four_ways`.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.four_ways(["order-2"], ["constant", "echo-state"], quick=True)
    >>> fastrec.plot.draw_four_ways(Figure().subplots(), result).get_title(loc="left")
    'Wrong answers to unseen sequences'
    """
    tasks, methods = result.tasks, result.methods
    shares = np.array([[result.wrong(task, method) for method in methods] for task in tasks])
    ax.imshow(np.ma.masked_invalid(shares), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    for row, task in enumerate(tasks):
        for column, method in enumerate(methods):
            points, share = result.of(task, method), shares[row, column]
            if not points:
                ax.text(column, row, "–", ha="center", va="center")
                continue
            seconds = np.median([point.seconds for point in points])
            colour = "white" if share > DARK else "black"
            place: dict[str, Any] = {"ha": "center", "color": colour}
            ax.text(column, row, percent(share), va="bottom", fontsize=10, weight="bold", **place)
            if method != "constant":
                ax.text(
                    column,
                    row + 0.06,
                    f"{seconds:,.0f} s" if seconds >= 1 else "< 1 s",
                    va="top",
                    fontsize=8,
                    **place,
                )
    ax.set_xticks(range(len(methods)), [fill(result.title(method), 15) for method in methods], fontsize=9)
    ax.set_yticks(range(len(tasks)), [result.title(task) for task in tasks], fontsize=9)
    ax.set_xticks(np.arange(1, len(methods)) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, len(tasks)) - 0.5, minor=True)
    ax.grid(which="minor", color="0.8", linewidth=1)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("Wrong answers to unseen sequences", fontsize=10, loc="left")
    return ax


def percent(share: float) -> str:
    """A share as text: more digits where it is small, and 0 only where nothing is wrong."""
    if share and share < 0.001:
        return f"{100 * share:.2f} %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"
