"""Figures of capacities: against the size of networks, and over the networks of one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hopfield import theory
from ..hopfield.storage_capacity import CapacityResult, ScalingFit, ScalingResult
from .figures import COLOURS, DASHES, MEASURED, THEORY, log_scale, new_figure, one_panel, set_axes_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE, CAPACITY = "network size n (units)", "capacity p (memories)"
POWER: dict[str, Any] = {"color": COLOURS[1], "linestyle": DASHES[2], "linewidth": 1.5}
LOGARITHMIC: dict[str, Any] = {"color": COLOURS[2], "linestyle": DASHES[1], "linewidth": 1.5}


def capacity_scaling_figure(scaling: ScalingResult) -> Figure:
    """Capacity against n, below it the ratio to n/(4 ln n), and the local exponents d ln p / d ln n.

    Points are means over trials, the band is the 10-90 % range of the trials.  Two laws are fitted to the
    means and drawn over the sizes that were fitted (`ScalingResult.fit`).  In grey: the mean at finite n by
    `theory.capacity_mean`, where the definition has one, from 20 units on; and n/(4 ln n), its limit for
    large n.  Of networks for which n/(4 ln n) is no measure, because of their rule, degree, patterns or
    tolerance, the load p/n is in the middle.

    Parameters
    ----------
    scaling : ScalingResult
        Capacities of one or several sizes.

    Returns
    -------
    matplotlib.figure.Figure
        With three axes, or two where fewer than two sizes can be fitted.

    Examples
    --------
    >>> import fastrec
    >>> scaling = fastrec.capacity_scaling([20, 40], trials=5, backend="reference")
    >>> [ax.get_ylabel() for ax in fastrec.plot.capacity_scaling_figure(scaling).axes]
    ['capacity p (memories)', 'ratio of p to n / (4 ln n)', 'local exponent\\nd ln p / d ln n']
    """
    fit = fitted(scaling)
    panels = 2 if fit is None else 3
    figure = new_figure(6.4, 4.2 + 2.2 * (panels - 1))
    axes = figure.subplots(panels, 1, sharex=True, height_ratios=[1.8, 1, 1][:panels])
    draw_capacity_scaling(axes[0], scaling)
    draw_sizes(axes[1], scaling, fit, ratio=True)
    axes[1].set_ylabel("ratio of p to n / (4 ln n)" if scaling.definition.is_scanned else "load p / n")
    if fit is not None:
        draw_exponents(axes[2], scaling, fit)
    for ax in axes:
        ax.set_xlabel(SIZE)
        ax.label_outer()
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
    draw_sizes(ax, scaling, fitted(scaling), ratio=False)
    ax.set_xlabel(SIZE)
    ax.set_ylabel(CAPACITY)
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
    ax.set_xlabel(CAPACITY)
    ax.set_ylabel("trials" if width == 1 else f"trials per {width} memories")
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend
    ax.locator_params(axis="both", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    set_axes_title(ax, f"Capacity of n = {result.n:,} units: {result.definition}")
    return ax


def fitted(scaling: ScalingResult) -> ScalingFit | None:
    """The fit of the two laws, or None where fewer than two sizes can be fitted."""
    try:
        return scaling.fit()
    except ValueError:
        return None


def expected(scaling: ScalingResult) -> NDArray[np.float64]:
    """Sizes, and the mean by theory at each, (2, k), k = 0 where there is none."""
    definition = scaling.definition
    step = 1 if definition.is_dense else 2  # networks with couplings hold a little more where n is odd
    ends = max(min(scaling.sizes) / 1.3, 2), max(max(scaling.sizes) * 1.3, 2)
    sizes = np.unique(step * (np.geomspace(ends[0], ends[1], 60) / step).round().astype(np.int64))
    means = [(n, mean) for n in sizes.tolist() if (mean := definition.theory_mean(n)) is not None]
    return np.array(means, float).reshape(-1, 2).T


def draw_sizes(ax: Axes, scaling: ScalingResult, fit: ScalingFit | None, ratio: bool) -> None:
    """Draw means, their band, fits and theory against n: capacities, or ratios to n/(4 ln n), or to n."""
    laws = scaling.definition.is_scanned
    results = sorted((r for r in scaling if r.n >= 2 or not ratio), key=lambda r: r.n)
    n = np.array([r.n for r in results])
    measured = np.array([(r.mean, r.low, r.high) for r in results]).reshape(-1, 3).T
    if not ratio:  # the other panels share the n axis, formats included
        log_scale(ax)
        # Autoscaling warns about a single size and about means of 0.
        least, most = measured.min(), max(measured.max(), 1)
        if laws:
            least = min(least, theory.mceliece_all(max(n[0], 2)))
        ax.set_xlim(n[0] / 1.3, n[-1] * 1.3)
        ax.set_ylim(max(0.5, least) / 1.4, 1.4 * most)

    def draw(sizes: ArrayLike, values: ArrayLike, *style: str, **options: Any) -> None:
        ax.plot(sizes, scaled(sizes, values), *style, **options)

    def scaled(sizes: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
        unit = 1.0 if not ratio else theory.mceliece_all(sizes) if laws else np.asarray(sizes)
        return np.asarray(values) / unit

    mean, low, high = scaled(n, measured)
    if n.size == 1:  # no band to see
        ax.errorbar(n, mean, (mean - low, high - mean), fmt="none", color=MEASURED, capsize=3)
    ax.fill_between(n, low, high, color=MEASURED, alpha=0.25, linewidth=0)
    ax.plot(n, mean, "o", color=MEASURED, markersize=5, zorder=4, label="measured: mean, 10-90 % of trials")
    sizes, means = expected(scaling)
    if sizes.size:
        draw(sizes, means, color=THEORY, linewidth=1.8, label=scaling.definition.theory_name)
    if laws and n.size and n[-1] >= 2:
        sizes = np.geomspace(max(n[0] / 1.3, 2), n[-1] * 1.3, 100)
        draw(sizes, theory.mceliece_all(sizes), ":", color=THEORY, label="n / (4 ln n)")
    if fit is not None:
        sizes = np.geomspace(fit.sizes[0], fit.sizes[-1], 100)
        draw(sizes, fit.power_law(sizes), label=f"fit {fit.a:.3g} n^{fit.b:.3f}", **POWER)
        label = f"fit {fit.log_law.replace('c ', f'{fit.c:.3f} ')}"
        draw(sizes, fit.logarithmic_law(sizes), label=label, **LOGARITHMIC)


def draw_exponents(ax: Axes, scaling: ScalingResult, fit: ScalingFit) -> None:
    """Draw the local exponents with their standard errors, and those of both laws and of theory."""
    points = fit.local_exponents().points
    n, exponent, error, *_ = np.array(points).T
    ax.errorbar(n, exponent, error, fmt="o", color=MEASURED, markersize=5, zorder=4, label="measured, s.e.")
    sizes, means = expected(scaling)
    if sizes.size:
        middle = np.sqrt(sizes[:-1] * sizes[1:])
        slopes = np.diff(np.log(means)) / np.diff(np.log(sizes))
        ax.plot(middle, slopes, color=THEORY, linewidth=1.8, label=scaling.definition.theory_name)
    ends = np.array([fit.sizes[0], fit.sizes[-1]])
    ax.plot(ends, [fit.b, fit.b], label=f"power law: {fit.b:.3f}", **POWER)
    sizes = np.geomspace(ends[0], ends[1], 100)
    label = f"{fit.log_law.replace('(c ln n)', 'ln n')}: {fit.order} - 1 / ln n"
    ax.plot(sizes, fit.order - 1 / np.log(sizes), label=label, **LOGARITHMIC)
    ax.set_ylabel("local exponent\nd ln p / d ln n")
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.45 * (high - low), high)  # room for the legend
    ax.legend(frameon=False, fontsize=9, loc="lower right", ncols=2)
