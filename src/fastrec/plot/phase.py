"""Figures of the plane of load and temperature: measured overlaps and the lines of theory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..hopfield import theory
from .figures import COLOURS, DASHES, MARKERS, THEORY, new_figure, set_axes_title
from .retrieval import cell_edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..hopfield.phase import PhaseResult

MOST_LOADS = 5  # of which overlaps are drawn against temperature
LINES = {
    "T$_g$: a spin glass below": theory.spin_glass_temperature,
    "T$_M$: memories are stable below": theory.ags_temperature,
    "T$_c$: they are the lowest states below": theory.ags_global_temperature,
}


def phase_figure(result: PhaseResult) -> Figure:
    """Map of the overlap in the plane of load and temperature, and below it overlaps against temperature.

    The lower panel has up to five loads, among them the least and the largest: points are means, bars their
    standard errors, grey lines `theory.ags_overlap`.

    Parameters
    ----------
    result : PhaseResult
        Of one n.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure of two panels and a colour bar.

    Raises
    ------
    ValueError
        For results of several n.

    Examples
    --------
    >>> result = fastrec.phase_diagram(50, [0.02, 0.1], [0.2, 0.6], trials=2, sweeps=5, backend="reference")
    >>> [ax.get_ylabel() for ax in fastrec.plot.phase_figure(result).axes]
    ['temperature T', 'overlap m with the memory', 'overlap m with the memory']
    """
    figure = new_figure(6.4, 8.2)
    top, bottom = figure.subplots(2, 1, height_ratios=[1.5, 1])
    draw_phase(top, result)
    loads = np.unique([point.alpha for point in result.points])
    chosen = loads[np.unique(np.linspace(0, len(loads) - 1, min(len(loads), MOST_LOADS)).round().astype(int))]
    fine = np.linspace(0, 1, 400)
    for style, load in enumerate(chosen):
        points = [point for point in result.points if point.alpha == load]
        bottom.plot(fine, theory.ags_overlap(load, fine), color=THEORY, linewidth=1.4, zorder=1)
        bottom.errorbar(
            [point.temperature for point in points],
            [point.overlap for point in points],
            [np.nan_to_num(point.error) for point in points],
            color=COLOURS[style],
            linestyle="",
            marker=MARKERS[style],
            markersize=4,
            capsize=2,
            label=f"α = {load:.3g}",
        )
    bottom.plot([], [], color=THEORY, linewidth=1.4, label="AGS, n → ∞")
    bottom.set_xlim(0, top.get_ylim()[1])
    bottom.set_xlabel("temperature T")
    bottom.set_ylabel("overlap m with the memory")
    bottom.legend(frameon=False, fontsize=9)
    return figure


def draw_phase(ax: Axes, result: PhaseResult) -> Axes:
    """Draw the upper panel of `phase_figure`, with a colour bar beside it.

    Each measured load and temperature fills the cell up to half way to its neighbours.  Temperatures are in
    units of the energy of `HopfieldNetwork.energy`.  The lines are `theory.ags_temperature`,
    `theory.ags_global_temperature` and `theory.spin_glass_temperature`.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : PhaseResult
        Of one n.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    ValueError
        For results of several n.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.phase_diagram(50, [0.02, 0.1], [0.2, 0.6], trials=2, sweeps=5, backend="reference")
    >>> fastrec.plot.draw_phase(Figure().subplots(), result).get_xlabel()
    'load α = p / n (memories per unit)'
    """
    from matplotlib.patheffects import withStroke

    if len({point.n for point in result.points}) > 1:
        raise ValueError("result holds several n; a map of phases shows one")
    loads = np.unique([point.alpha for point in result.points])
    heats = np.unique([point.temperature for point in result.points])
    overlaps = np.full((len(heats), len(loads)), np.nan)
    for point in result.points:
        place = np.searchsorted(heats, point.temperature), np.searchsorted(loads, point.alpha)
        overlaps[place] = point.overlap
    x, y = cell_edges(loads), cell_edges(heats)
    mesh = ax.pcolormesh(x, y, overlaps, cmap="cividis_r", vmin=0, vmax=1, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="overlap m with the memory")
    left, right, low, high = max(x[0], 0), x[-1], max(y[0], 0), y[-1]
    squares = np.linspace(0, 1, 80) ** 2  # dense at both ends, where the lines are steep
    fine = np.union1d(left + (right - left) * squares, theory.ALPHA_C * (1 - squares))
    for (label, line), dashes in zip(LINES.items(), DASHES, strict=False):
        (drawn,) = ax.plot(fine, line(fine), dashes, color="black", linewidth=1.6, label=label)
        drawn.set_path_effects([withStroke(linewidth=3.6, foreground="white")])  # seen on dark cells too
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.legend(fontsize=9, loc="best")
    ax.set_xlabel("load α = p / n (memories per unit)")
    ax.set_ylabel("temperature T")
    set_axes_title(ax, f"Phases of n = {result.points[0].n:,} units: {result.definition}")
    return ax
