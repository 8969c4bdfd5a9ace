"""Figures of capacities: against the size of networks, and over the networks of one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hopfield import theory
from ..hopfield.storage_capacity import CapacityResult, ScalingResult
from .figures import MEASURED, THEORY, log_scale, new_figure, one_panel, set_axes_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def capacity_scaling_figure(scaling: ScalingResult) -> Figure:
    """Capacity against n, and below it the ratio to n/(4 ln n), with the theory of exact recall in grey.

    Points are medians over trials, the band is their 10-90 % range.  The theory of finite n, the median by
    `theory.capacity_quantile`, is drawn where the definition has one.  Of networks for which n/(4 ln n) is no
    measure, because of their rule, degree, patterns or tolerance, the load p/n is below.

    Parameters
    ----------
    scaling : ScalingResult
        Capacities of one or several sizes.

    Returns
    -------
    matplotlib.figure.Figure
        With two axes.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([20, 40], trials=5, backend="reference")
    >>> len(fastrec.plot.capacity_scaling_figure(scaling).axes)
    2
    """
    figure = new_figure(6.4, 7.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    draw_capacity_scaling(top, scaling)
    top.label_outer()
    draw_sizes(bottom, scaling, ratio=True)
    bottom.set_ylabel("ratio of p to n / (4 ln n)" if scaling.definition.is_scanned else "load p / n")
    bottom.set_xlabel("network size n (units)")
    return figure


def draw_capacity_scaling(ax: Axes, scaling: ScalingResult) -> Axes:
    """Draw the upper panel of `capacity_scaling_figure`, log-log.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    scaling : ScalingResult
        Capacities of one or several sizes.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> scaling = fastrec.capacity_scaling([20, 40], trials=5, backend="reference")
    >>> ax = fastrec.plot.draw_capacity_scaling(Figure().subplots(), scaling)
    >>> ax.get_xlabel()
    'network size n (units)'
    """
    draw_sizes(ax, scaling, ratio=False)
    ax.set_xlabel("network size n (units)")
    ax.set_ylabel("capacity p (memories)")
    ax.legend(frameon=False, fontsize=9)
    set_axes_title(ax, f"Capacity: {scaling.definition}")
    return ax


def capacity_figure(result: CapacityResult) -> Figure:
    """Distribution of the capacities of the trials of one size, with theory in grey if there is one.

    Parameters
    ----------
    result : CapacityResult
        Capacities of one size.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure.

    Examples
    --------
    >>> import fastrec
    >>> figure = fastrec.plot.capacity_figure(fastrec.capacity(20, trials=5, backend="reference"))
    >>> figure.axes[0].get_xlabel()
    'capacity p (memories)'
    """
    return one_panel(draw_capacity, result)


def draw_capacity(ax: Axes, result: CapacityResult) -> Axes:
    """Draw the histogram of `capacity_figure`.

    Bins hold equally many integers.  Theory is the number of trials expected in each bin by
    `theory.first_failure_distribution`.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    result : CapacityResult
        Capacities of one size.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.capacity(20, trials=5, backend="reference")
    >>> ax = fastrec.plot.draw_capacity(Figure().subplots(), result)
    >>> ax.get_xlabel()
    'capacity p (memories)'
    """
    low, high = int(result.counts.min()), int(result.counts.max())
    cumulative = None
    if result.definition.has_theory and result.n >= 2:
        counts, cumulative = theory.first_failure_distribution(
            result.n, result.definition.criterion, degree=result.definition.power
        )
        start, stop = np.searchsorted(cumulative, (0.001, 0.999))
        low, high = min(low, int(counts[start])), max(high, int(counts[min(stop, counts.size - 1)]))
    width = 1 + (high - low) // min(40, 8 + 2 * math.isqrt(result.trials))
    edges = np.arange(low, high + width + 1, width)  # a bin holds the integers from one up to the next
    number, _ = np.histogram(result.counts, edges)
    ax.stairs(
        number,
        edges - 0.5,
        fill=True,
        color=MEASURED,
        alpha=0.75,
        label=f"{result.trials} trials: median {result.median:g}, 10-90 % {result.low:.0f}-{result.high:.0f}",
    )
    if cumulative is not None:
        below = np.append(0.0, cumulative)[np.minimum(edges, cumulative.size)]
        median, wide, narrow = (result.definition.theory_quantile(result.n, x) for x in (0.5, 0.9, 0.1))
        ax.stairs(
            result.trials * np.diff(below),
            edges - 0.5,
            color=THEORY,
            linewidth=1.8,
            label=f"theory: median {median}, 10-90 % {wide}-{narrow}",
        )
    if result.censored.any():
        limit = result.definition.max_patterns
        label = f"{result.censored.sum()} trials reached the limit of {limit} memories"
        ax.axvline(limit, color="black", linestyle=":", label=label)
    ax.set_xlabel("capacity p (memories)")
    ax.set_ylabel("trials" if width == 1 else f"trials per {width} memories")
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend
    ax.locator_params(axis="both", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    set_axes_title(ax, f"Capacity of n = {result.n:,} units: {result.definition}")
    return ax


def draw_sizes(ax: Axes, scaling: ScalingResult, ratio: bool) -> None:
    """Draw medians, their band and theory against n: capacities, or ratios to n/(4 ln n), or to n."""
    laws = scaling.definition.is_scanned
    results = sorted((r for r in scaling if r.n >= 2 or not ratio), key=lambda r: r.n)
    n = np.array([r.n for r in results])
    measured = np.array([(r.median, r.low, r.high) for r in results]).reshape(-1, 3).T
    if not ratio:  # the ratio panel shares the n axis of the other, formats included
        log_scale(ax)
        # Autoscaling warns about a single size and about medians of 0.
        least, most = measured.min(), max(measured.max(), 1)
        if laws:
            least = min(least, theory.mceliece_all(max(n[0], 2)))
            most = max(most, theory.mceliece_most(max(n[-1], 2)))
        ax.set_xlim(n[0] / 1.3, n[-1] * 1.3)
        ax.set_ylim(max(0.5, least) / 1.4, 1.4 * most)

    def scaled(sizes: NDArray[np.int64], values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values) / (1.0 if not ratio else theory.mceliece_all(sizes) if laws else sizes)

    median, low, high = scaled(n, measured)
    if n.size == 1:  # no band to see
        ax.errorbar(n, median, (median - low, high - median), fmt="none", color=MEASURED, capsize=3)
    ax.fill_between(n, low, high, color=MEASURED, alpha=0.25, linewidth=0)
    ax.plot(n, median, "o", color=MEASURED, markersize=6, zorder=3, label="measured: median, 10-90 %")
    if n.size == 0 or n[-1] < 2 or not (laws or scaling.definition.has_theory):
        return
    sizes = np.unique(np.geomspace(max(n[0] / 1.3, 2), n[-1] * 1.3, 100).round().astype(np.int64))
    if scaling.definition.has_theory:
        quantiles = [scaling.definition.theory_quantile(int(size)) or np.nan for size in sizes]
        label = f"{'binomial' if laws else 'theory'}: half of networks stable"
        ax.plot(sizes, scaled(sizes, quantiles), color=THEORY, linewidth=1.8, label=label)
    if not laws:
        return
    for law, dashes, name in (
        (theory.mceliece_all, "--", "n / (4 ln n)"),
        (theory.mceliece_most, ":", "n / (2 ln n)"),
    ):
        ax.plot(sizes, scaled(sizes, law(sizes)), color=THEORY, linestyle=dashes, label=name)
