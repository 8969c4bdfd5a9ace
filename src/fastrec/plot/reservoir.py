"""Figures of echo state networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .figures import draw_curve, one_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..reservoir.memory_capacity import MemoryCapacity


def memory_capacity_figure(results: Mapping[str, MemoryCapacity]) -> Figure:
    """Draw the memory capacity of each delay: what a readout explains of the inputs of the past.

    Parameters
    ----------
    results : mapping of str to MemoryCapacity
        Results of `EchoState.memory_capacity`, by the name of the network.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> esn = fastrec.EchoState(1, 20, seed=0)
    >>> figure = fastrec.plot.memory_capacity_figure({"tanh": esn.memory_capacity(30)})
    >>> figure.axes[0].get_xlabel()
    'delay (steps)'
    """
    return one_panel(draw_memory_capacity, results)


def draw_memory_capacity(ax: Axes, results: Mapping[str, MemoryCapacity]) -> Axes:
    """Draw the curves of `memory_capacity_figure`, with the total of each, of k networks the mean.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    results : mapping of str to MemoryCapacity
        Results of `EchoState.memory_capacity`, by the name of the network.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> results = {"tanh": fastrec.EchoState(1, 20, seed=0).memory_capacity(30)}
    >>> ax = fastrec.plot.memory_capacity_figure(results).axes[0]
    >>> fastrec.plot.draw_memory_capacity(ax, results).get_ylabel()
    'memory capacity (share of the variance)'
    """
    for style, (name, result) in enumerate(results.items()):
        total = result.capacities.sum(axis=-1).mean()
        label = f"{name}: {total:.1f} in all" if name else f"{total:.1f} in all"
        draw_curve(ax, result.capacities.T, label, style, start=1)
    ax.set_xlabel("delay (steps)")
    ax.set_ylabel("memory capacity (share of the variance)")
    ax.set_ylim(-0.03, 1.03)
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax
