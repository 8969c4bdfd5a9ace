"""Figures of retrieval with errors: overlaps, success and basins against the load."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..hopfield import theory
from .figures import COLOURS, DASHES, MARKERS, THEORY, log_scale, new_figure, one_panel, set_axes_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..hopfield.retrieval import RetrievalPoint, RetrievalResult


def retrieval_figure(result: RetrievalResult) -> Figure:
    """Final overlap m against the load, and below it 1 - m on a log scale, with AGS in grey where that holds.

    Parameters
    ----------
    result : RetrievalResult
        Outcomes at several loads.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.retrieval_curve(50, [0.1, 0.2], trials=2, backend="reference")
    >>> len(fastrec.plot.retrieval_figure(result).axes)
    2
    """
    figure = new_figure(6.4, 7.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
    draw_retrieval(top, result)
    top.label_outer()
    draw_overlaps(bottom, result, error=True)
    return figure


def draw_retrieval(ax: Axes, result: RetrievalResult) -> Axes:
    """Draw the upper panel of `retrieval_figure`: a curve for each n and start.

    Points are means over all probes, bars their 95 % intervals over trials.  Theory is `theory.ags_overlap`,
    or `theory.sequence_overlap` of sequences, up to the load where it ends; there is none of other rules and
    patterns.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : RetrievalResult
        Outcomes at several loads.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.retrieval_curve(50, [0.1, 0.2], trials=2, backend="reference")
    >>> ax = fastrec.plot.draw_retrieval(Figure().subplots(), result)
    >>> ax.get_ylabel()
    'overlap m with the memory, after recall'
    """
    draw_overlaps(ax, result, error=False)
    ax.legend(frameon=False, fontsize=9, loc="lower left")
    set_axes_title(ax, f"Retrieval: {result.definition}")
    return ax


def success_figure(result: RetrievalResult) -> Figure:
    """Share of the memories that are recalled, against the load, a curve for each n and start.

    Parameters
    ----------
    result : RetrievalResult
        Outcomes at several loads.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.retrieval_curve(50, [0.1, 0.2], trials=2, backend="reference")
    >>> fastrec.plot.success_figure(result).axes[0].get_ylabel()
    'memories recalled exactly'
    """
    return one_panel(draw_success, result, height=4.4)


def draw_success(ax: Axes, result: RetrievalResult) -> Axes:
    """Draw the curves of `success_figure`.

    Success is a final state equal to the memory, or within the tolerance of the result if that is not 0.
    Bars are 95 % Wilson intervals.  Theory of recall from the memory itself without tolerance is the
    probability that a memory is stable, exp(-n q) with q of `theory.unstable_bit_probability`, its bits taken
    as independent, which puts it a little low; otherwise the load where AGS ends.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : RetrievalResult
        Outcomes at several loads.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.retrieval_curve(50, [0.1, 0.2], trials=2, backend="reference")
    >>> ax = fastrec.plot.draw_success(Figure().subplots(), result)
    >>> ax.get_ylabel()
    'memories recalled exactly'
    """
    field = "within" if result.definition.tolerance else "exact"
    draw_loads(ax, result, lambda point: (point.share(field), *point.share_interval(field)))
    right = ax.get_xlim()[1]
    label: str | None = "theory: exp(-n q), a memory is stable"
    plain, elastic = result.definition.is_cold, field == "within" or any(q.flips for q in result.points)
    if plain and elastic:
        label = f"AGS, n → ∞: α = {theory.ALPHA_C:.4f}"
        ax.axvline(theory.ALPHA_C, color=THEORY, linewidth=1.8, zorder=1, label=label)
    elif plain:
        for n, _ in result.curves:
            p = np.unique(np.linspace(1, right * n, 200).astype(np.int64))
            stable = np.exp(-n * theory.unstable_bit_probability(n, p))
            ax.plot(p / n, stable, color=THEORY, linewidth=1.8, zorder=1, label=label)
            label = None
    ax.set_xlim(0, right)
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_ylabel("memories recalled" + (" within tolerance" if field == "within" else " exactly"))
    ax.legend(frameon=False, fontsize=9)
    set_axes_title(ax, f"Success of retrieval: {result.definition}")
    return ax


def basin_figure(result: RetrievalResult) -> Figure:
    """Final overlap for each load and start overlap, with the edge by Amari and Maginu in grey.

    Parameters
    ----------
    result : RetrievalResult
        Outcomes at several loads and starts of one n.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> import fastrec
    >>> result = fastrec.basin_map(50, [0.1, 0.2], [0.3, 0.7], trials=2, backend="reference")
    >>> fastrec.plot.basin_figure(result).axes[0].get_xlabel()
    'load α = p / n (memories per unit)'
    """
    return one_panel(draw_basins, result, height=4.8)


def draw_basins(ax: Axes, result: RetrievalResult) -> Axes:
    """Draw the map of `basin_figure`, with a colour bar beside it.

    Each measured load and start fills the cell up to half way to its neighbours; the others stay empty.
    Theory is `theory.critical_overlap`, of networks for which that holds.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : RetrievalResult
        Outcomes at several loads.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Raises
    ------
    ValueError
        For results of several n.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.basin_map(50, [0.1, 0.2], [0.3, 0.7], trials=2, backend="reference")
    >>> ax = fastrec.plot.draw_basins(Figure().subplots(), result)
    >>> ax.get_xlabel()
    'load α = p / n (memories per unit)'
    """
    from matplotlib.patheffects import withStroke

    if len({point.n for point in result.points}) > 1:
        raise ValueError("result holds several n; a map of basins shows one")
    loads = np.unique([point.alpha for point in result.points])
    starts = np.unique([point.start for point in result.points])
    overlaps = np.full((len(starts), len(loads)), np.nan)
    for point in result.points:
        overlaps[np.searchsorted(starts, point.start), np.searchsorted(loads, point.alpha)] = point.overlap
    x, y = cell_edges(loads), cell_edges(starts)
    least = -1 if np.nanmin(overlaps) < -0.5 else 0
    mesh = ax.pcolormesh(x, y, overlaps, cmap="cividis_r", vmin=least, vmax=1, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="overlap m with the memory, after recall")
    if result.definition.is_cold:
        fine = np.linspace(max(x[0], 0), min(x[-1], 0.16), 200)
        (edge,) = ax.plot(fine, theory.critical_overlap(fine), "--", color=THEORY, linewidth=1.8)
        edge.set_label("edge of the basin by Amari and Maginu (approximate)")
        edge.set_path_effects([withStroke(linewidth=4, foreground="white")])  # seen on dark cells too
        ax.legend(fontsize=9, loc="lower right")
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_xlabel("load α = p / n (memories per unit)")
    ax.set_ylabel("overlap m$_0$ with the memory, at the start")
    set_axes_title(ax, f"Basins of n = {result.points[0].n:,} units: {result.definition}")
    return ax


def draw_loads(
    ax: Axes, result: RetrievalResult, value: Callable[[RetrievalPoint], tuple[float, float, float]]
) -> None:
    """Draw a curve for each n and start: a value and its bar (low, high) against the load."""
    curves = result.curves
    several = len({start for _, start in curves}) > 1
    for style, ((n, start), points) in enumerate(curves.items()):
        middle, low, high = np.array([value(point) for point in points]).T
        name = f"n = {n:,}" + (f", m$_0$ = {start:.3g}" if several or start < 1 else "")
        ax.errorbar(
            [point.alpha for point in points],
            middle,
            (middle - low, high - middle),
            color=COLOURS[style % len(COLOURS)],
            linestyle=DASHES[style % len(DASHES)],
            marker=MARKERS[style % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=name,
        )
    ax.set_xlim(0, 1.05 * max(point.alpha for point in result.points))
    ax.set_xlabel("load α = p / n (memories per unit)")


def draw_overlaps(ax: Axes, result: RetrievalResult, error: bool) -> None:
    """Draw mean final overlaps m with their intervals and AGS; 1 - m on a log scale if error."""

    def value(point: RetrievalPoint) -> tuple[float, float, float]:
        m, low, high = point.overlap, *point.interval
        if not error:
            return m, low, high
        return (1 - m, 1 - high, 1 - low) if m < 1 else (math.nan, math.nan, math.nan)

    if error:
        log_scale(ax, "y", nonpositive="clip")
    draw_loads(ax, result, value)
    right = ax.get_xlim()[1]
    d = result.definition
    if d.has_theory and (end := d.theory_load):
        loads = end * (1 - np.linspace(1, 0, 300) ** 2)  # dense where the curve is steep
        overlaps = np.append(d.theory_overlap(loads), 0)  # falls to 0 at the end
        ax.plot(
            np.append(loads, end),
            1 - overlaps if error else overlaps,
            color=THEORY,
            linewidth=1.8,
            zorder=1,
            label=f"{'theory' if d.is_sequence else 'AGS'}, n → ∞, ends at α = {end:.4f}",
        )
        right = max(end * 1.1, right)
    ax.set_xlim(0, right)
    if error:
        least = min((1 - point.overlap for point in result.points if point.overlap < 1), default=1e-3)
        ax.set_ylim(min(least, 1e-3) / 3, 2)
    else:
        ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    ax.set_ylabel("what is missing, 1 - m" if error else "overlap m with the memory, after recall")


def cell_edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges half way between ascending centres, the outer ones as far from theirs."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.01, centres[0] + 0.01])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.array([2 * centres[0] - inner[0], *inner, 2 * centres[-1] - inner[-1]])
