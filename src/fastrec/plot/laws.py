"""The figure of the laws of storage capacity beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import COLOURS, MARKERS, THEORY, log_scale, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..hopfield.laws import LawsResult


LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False, "labelspacing": 1.0}


def laws_figure(result: LawsResult) -> Figure:
    """Capacities against n on logarithmic scales, and below them what was measured divided by the law.

    Parameters
    ----------
    result : LawsResult
        Measured capacities.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.capacity_laws(["projection"], quick=True, backend="reference")
    >>> len(fastrec.plot.laws_figure(result).axes)
    2
    """
    figure = new_figure(11, 8.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    draw_points(top, result)
    draw_ratios(bottom, result)
    top.label_outer()
    figure.legend(*top.get_legend_handles_labels(), **LEGEND, loc="outside right upper")
    return figure


def draw_laws(ax: Axes, result: LawsResult) -> Axes:
    """Draw capacities in memories against n: points are measured, lines are the laws for n to infinity.

    Bars reach from the 10 % to the 90 % quantile of the networks, or over the 95 % interval of the load at
    which half of the recalls succeed.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : LawsResult
        Measured capacities.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.capacity_laws(["projection"], quick=True, backend="reference")
    >>> fastrec.plot.draw_laws(Figure().subplots(), result).get_ylabel()
    'capacity p (memories)'
    """
    draw_points(ax, result)
    ax.legend(**LEGEND, loc="upper left")
    return ax


def draw_points(ax: Axes, result: LawsResult) -> None:
    """Draw what `draw_laws` draws, without a legend."""
    sizes = [point.n for point in result.points]
    left, right = min(sizes) / 1.2, max(sizes) * 1.2
    log_scale(ax)
    for style, law in enumerate(result.laws):
        points = result.of(law.name)
        n = np.geomspace(max(left, 3), min(right, 4 * points[-1].n), 100)
        colour = COLOURS[style % len(COLOURS)]
        ax.plot(n, [law.asymptotic(each) for each in n], color=colour, linewidth=1, alpha=0.7, zorder=1)
        measured = np.array([point.measured for point in points])
        reach = np.array([[q.measured - q.low, q.high - q.measured] for q in points]).T
        ax.errorbar(
            [point.n for point in points],
            measured,
            np.maximum(np.nan_to_num(reach), 0),
            color=colour,
            linestyle="",
            marker=MARKERS[style % len(MARKERS)],
            markersize=5,
            markerfacecolor=colour if style < len(COLOURS) else "white",
            capsize=2,
            label=f"{law.title}\nlaw: {law.formula}",
        )
    top = max(point.measured for point in result.points if point.measured == point.measured)
    ax.set_xlim(left, right)
    ax.set_ylim(0.8, 2 * top)
    ax.set_ylabel("capacity p (memories)")
    ax.set_xlabel("network size n (units)")
    ax.set_title("Storage capacity: measured (points) and laws for n → ∞ (lines)", fontsize=10, loc="left")


def draw_ratios(ax: Axes, result: LawsResult) -> None:
    """Draw what was measured, and what a theory for this n gives (dotted), divided by the law, against n."""
    log_scale(ax, "x")
    ax.axhline(1, color=THEORY, linewidth=1.8, zorder=1)
    for style, law in enumerate(result.laws):
        points = result.of(law.name)
        colour = COLOURS[style % len(COLOURS)]
        ax.plot(
            [point.n for point in points],
            [point.measured / point.asymptotic for point in points],
            color=colour,
            marker=MARKERS[style % len(MARKERS)],
            markersize=5,
            markerfacecolor=colour if style < len(COLOURS) else "white",
            linewidth=0.8,
        )
        if law.expected is not None:
            ratios = [point.expected / point.asymptotic for point in points]
            ax.plot([point.n for point in points], ratios, ":", color=colour, linewidth=1.8)
    ax.plot([], [], "k:", linewidth=1.8, label="theory for this n")
    ax.plot([], [], color=THEORY, linewidth=1.8, label="the law")
    ax.legend(fontsize=8, frameon=False, loc="upper right")
    ax.set_xlabel("network size n (units)")
    ax.set_ylabel("measured / law")
