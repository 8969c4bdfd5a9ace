"""Figures of capacities, retrieval and recalls, of learning curves and gradients.

The functions build `matplotlib.figure.Figure` objects directly and never touch pyplot: no display is needed,
no figure stays open behind the caller's back, and rcParams stay the caller's. matplotlib is imported inside
the functions, so that importing fastrec does not load it. A notebook with `%matplotlib inline` shows a
returned figure; `save_figure` writes it. Of capacities and recalls, blue is measured, grey is theory, orange
is wrong; curves of one kind differ in colour and in dashes.
"""

import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrec.backend import move
from fastrec.files import new_file
from fastrec.hopfield import theory
from fastrec.hopfield.results import CapacityResult, ScalingResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastrec.bench.report import Report
    from fastrec.hopfield.network import RecallResult
    from fastrec.hopfield.retrieval import RetrievalPoint, RetrievalResult
    from fastrec.rnn.diagnostics import GradientFlow
    from fastrec.rnn.history import History, TextHistory

_MEASURED = "#0072B2"  # blue and vermilion of Okabe and Ito, told apart by every kind of colour vision
_COLOURS = (_MEASURED, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black")  # all of theirs
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "os^Dvp"
_THEORY = "0.4"
# Units of an image: -1 and +1 as stored, then -1 and +1 that differ from the stored pattern.
_UNIT_COLOURS = np.array([[255, 255, 255], [38, 38, 38], [247, 196, 158], [213, 94, 0]], np.uint8)


def capacity_scaling_figure(scaling: ScalingResult) -> "Figure":
    """Capacity against n, and below it its ratio to n/(4 ln n), with the theory of exact recall in grey.

    Points are medians over trials, the band is their 10-90 % range. The finite-n theory, the median by
    `theory.capacity_quantile`, is drawn where the definition has one. The figure has two axes.
    """
    figure = _new_figure(6.4, 7.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    draw_capacity_scaling(top, scaling)
    top.set_xlabel("")
    top.tick_params(labelbottom=False)
    _draw_sizes(bottom, scaling, ratio=True)
    bottom.set_ylabel("ratio of p to n / (4 ln n)")
    bottom.set_xlabel("network size n (neurons)")
    return figure


def draw_capacity_scaling(ax: "Axes", scaling: ScalingResult) -> "Axes":
    """The upper panel of `capacity_scaling_figure`, log-log, drawn into ax; returns ax."""
    _draw_sizes(ax, scaling, ratio=False)
    ax.set_xlabel("network size n (neurons)")
    ax.set_ylabel("capacity p (patterns)")
    ax.legend(frameon=False, fontsize=9)
    _title(ax, f"Capacity: {scaling.definition}")
    return ax


def capacity_figure(result: CapacityResult) -> "Figure":
    """How the capacities of the trials of one size are distributed, with theory in grey if there is one."""
    figure = _new_figure(6.4, 4.2)
    draw_capacity(figure.subplots(), result)
    return figure


def draw_capacity(ax: "Axes", result: CapacityResult) -> "Axes":
    """Histogram of `capacity_figure`, drawn into ax; returns ax.

    Bins hold equally many integers. Theory is the number of trials expected in each bin by
    `theory.first_failure_distribution`.
    """
    low, high = int(result.counts.min()), int(result.counts.max())
    cumulative = None
    if result.definition.has_theory and result.n >= 2:
        counts, cumulative = theory.first_failure_distribution(result.n, result.definition.criterion)
        start, stop = np.searchsorted(cumulative, (0.001, 0.999))
        low, high = min(low, int(counts[start])), max(high, int(counts[min(stop, counts.size - 1)]))
    width = 1 + (high - low) // min(40, 8 + 2 * math.isqrt(result.trials))
    edges = np.arange(
        low, high + width + 1, width
    )  # a bin holds the integers from its edge to before the next
    number, _ = np.histogram(result.counts, edges)
    ax.stairs(
        number,
        edges - 0.5,
        fill=True,
        color=_MEASURED,
        alpha=0.75,
        label=f"{result.trials} trials: median {result.median:g}, 10-90 % {result.low:.0f}-{result.high:.0f}",
    )
    if cumulative is not None:
        below = np.append(0.0, cumulative)[np.minimum(edges, cumulative.size)]
        median, wide, narrow = (result.definition.theory_quantile(result.n, x) for x in (0.5, 0.9, 0.1))
        ax.stairs(
            result.trials * np.diff(below),
            edges - 0.5,
            color=_THEORY,
            linewidth=1.8,
            label=f"theory: median {median}, 10-90 % {wide}-{narrow}",
        )
    if result.censored.any():
        limit = result.definition.max_patterns
        label = f"{result.censored.sum()} trials reached the limit of {limit} patterns"
        ax.axvline(limit, color="black", linestyle=":", label=label)
    ax.set_xlabel("capacity p (patterns)")
    ax.set_ylabel("trials" if width == 1 else f"trials per {width} patterns")
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the legend
    ax.locator_params(axis="both", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    _title(ax, f"Capacity of n = {result.n:,} neurons: {result.definition}")
    return ax


def recall_figure(stored: ArrayLike, probes: ArrayLike, recalled: ArrayLike) -> "Figure":
    """Stored patterns as images, the corrupted probes below them, and what was recalled from those.

    The three arrays are +1/-1, of one shape (p, h, w): p images of h by w units. Units that differ from the
    stored pattern are orange; a column's title is the overlap <stored, state> / (h w) of the probe and of
    what was recalled. Raises ValueError for other shapes or values.
    """
    from matplotlib.figure import Figure

    stages = {"stored": np.asarray(stored), "corrupted": np.asarray(probes), "recalled": np.asarray(recalled)}
    shape = stages["stored"].shape
    for name, images in stages.items():
        if images.ndim != 3 or images.size == 0 or images.shape != shape:
            raise ValueError(f"{name} images must have the shape (p, h, w) of all three, got {images.shape}")
        if not (np.abs(images) == 1).all():
            raise ValueError(f"{name} images must hold +1 and -1 only")
    p, h, w = shape
    figure = Figure(figsize=(0.5 + 1.25 * p, 0.7 + 3.75 * h / w), layout="constrained")
    grid = figure.subplots(3, p, squeeze=False)
    for row, (name, images) in zip(grid, stages.items(), strict=True):
        row[0].set_ylabel(name, fontsize=11)
        for ax, image, truth in zip(row, images, stages["stored"], strict=True):
            _draw_units(ax, image, truth)
    before, after = (
        (stages["stored"].astype(int) * stages[name]).mean((1, 2)) for name in ("corrupted", "recalled")
    )
    for ax, m0, m1 in zip(grid[0], before, after, strict=True):
        ax.set_title(f"overlap\n{m0:.2f} → {m1:.2f}", fontsize=9)
    return figure


def retrieval_figure(result: "RetrievalResult") -> "Figure":
    """Final overlap m against the load, and below it 1 - m where not 0, log scale, with AGS in grey."""
    figure = _new_figure(6.4, 7.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
    draw_retrieval(top, result)
    top.set_xlabel("")
    top.tick_params(labelbottom=False)
    _draw_overlaps(bottom, result, error=True)
    return figure


def draw_retrieval(ax: "Axes", result: "RetrievalResult") -> "Axes":
    """The upper panel of `retrieval_figure`, drawn into ax; returns ax.

    A curve each n and start: means over all probes, bars are their 95 % intervals over trials. Theory is
    `theory.ags_overlap`, up to the load where it ends.
    """
    _draw_overlaps(ax, result, error=False)
    ax.legend(frameon=False, fontsize=9, loc="lower left")
    _title(ax, f"Retrieval: {result.definition}")
    return ax


def success_figure(result: "RetrievalResult") -> "Figure":
    """Share of the memories recalled against the load, a curve each n and start, with theory in grey."""
    figure = _new_figure(6.4, 4.4)
    draw_success(figure.subplots(), result)
    return figure


def draw_success(ax: "Axes", result: "RetrievalResult") -> "Axes":
    """The curves of `success_figure`, drawn into ax; returns ax.

    Success is a final state equal to the memory, or within the tolerance of the result if that is not 0. Bars
    are 95 % Wilson intervals. Theory of recall from the memory itself without tolerance is the probability
    that a memory is stable, exp(-n q) with q of `theory.unstable_bit_probability`, its bits taken as
    independent, which puts it a little low; otherwise the load where AGS ends.
    """
    field = "within" if result.definition.tolerance else "exact"
    _draw_loads(ax, result, lambda point: (point.share(field), *point.share_interval(field)))
    right = ax.get_xlim()[1]
    label: str | None = "theory: exp(-n q), a memory is stable"
    if field == "within" or any(point.flips for point in result.points):
        label = f"AGS, n → ∞: α = {theory.ALPHA_C:.4f}"
        ax.axvline(theory.ALPHA_C, color=_THEORY, linewidth=1.8, zorder=1, label=label)
    else:
        for n, _ in result.curves:
            p = np.unique(np.linspace(1, right * n, 200).astype(np.int64))
            stable = np.exp(-n * theory.unstable_bit_probability(n, p))
            ax.plot(p / n, stable, color=_THEORY, linewidth=1.8, zorder=1, label=label)
            label = None
    ax.set_xlim(0, right)
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_ylabel("memories recalled" + (" within tolerance" if field == "within" else " exactly"))
    ax.legend(frameon=False, fontsize=9)
    _title(ax, f"Success of retrieval: {result.definition}")
    return ax


def basin_figure(result: "RetrievalResult") -> "Figure":
    """Final overlap for each load and start overlap, with the edge by Amari and Maginu in grey."""
    figure = _new_figure(6.4, 4.8)
    draw_basins(figure.subplots(), result)
    return figure


def draw_basins(ax: "Axes", result: "RetrievalResult") -> "Axes":
    """The map of `basin_figure`, drawn into ax with a colour bar beside it; returns ax.

    Each measured load and start fills the cell up to half way to its neighbours; what was not measured stays
    empty. Theory is `theory.critical_overlap`. Raises ValueError for results of several n.
    """
    from matplotlib.patheffects import withStroke

    if len({point.n for point in result.points}) > 1:
        raise ValueError("result holds several n; a map of basins shows one")
    loads = np.unique([point.alpha for point in result.points])
    starts = np.unique([point.start for point in result.points])
    overlaps = np.full((len(starts), len(loads)), np.nan)
    for point in result.points:
        overlaps[np.searchsorted(starts, point.start), np.searchsorted(loads, point.alpha)] = point.overlap
    x, y = _cell_edges(loads), _cell_edges(starts)
    least = -1 if np.nanmin(overlaps) < -0.5 else 0
    mesh = ax.pcolormesh(x, y, overlaps, cmap="Blues", vmin=least, vmax=1, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="overlap m with the memory, after recall")
    fine = np.linspace(max(x[0], 0), min(x[-1], 0.16), 200)
    (edge,) = ax.plot(fine, theory.critical_overlap(fine), "--", color=_THEORY, linewidth=1.8)
    edge.set_label("edge of the basin by Amari and Maginu (approximate)")
    edge.set_path_effects([withStroke(linewidth=4, foreground="white")])  # seen on dark cells too
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_xlabel("load α = p / n (patterns per neuron)")
    ax.set_ylabel("overlap m$_0$ with the memory, at the start")
    ax.legend(fontsize=9, loc="lower right")
    _title(ax, f"Basins of n = {result.points[0].n:,} neurons: {result.definition}")
    return ax


def energy_figure(recall: "RecallResult") -> "Figure":
    """Energy per neuron against the sweep, of a recall with record_energy=True."""
    figure = _new_figure(6.4, 4.2)
    draw_energy(figure.subplots(), recall)
    return figure


def draw_energy(ax: "Axes", recall: "RecallResult") -> "Axes":
    """The curves of `energy_figure`, drawn into ax; returns ax.

    Each recall is a thin line, the median over them, of which those that have stopped keep their energy, a
    thick one. Grey is the energy per neuron of a memory without crosstalk, -1/2. Raises ValueError if no
    energies were recorded.
    """
    if recall.energies is None:
        raise ValueError("recall holds no energies; call recall(..., record_energy=True)")
    energies = np.asarray(move(recall.energies, "cpu")) / recall.states.shape[-1]
    rows = energies.reshape(-1, energies.shape[-1]).T
    last = np.isfinite(rows).cumsum(axis=0).clip(1) - 1  # a row is nan from its stop on
    _draw_curve(ax, rows[:, 0] if rows.shape[1] == 1 else np.take_along_axis(rows, last, axis=0), "", 0)
    if rows.shape[1] > 1:
        ax.lines[-1].set_label(f"median of {rows.shape[1]} recalls")
    ax.axhline(-0.5, color=_THEORY, linestyle="--", zorder=1, label="a memory without crosstalk")
    ax.set_xlabel("sweep")
    ax.set_ylabel("energy per neuron, E / n")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def learning_curve_figure(history: "History") -> "Figure":
    """The losses of a training against the epoch, and below them the norm of the gradient, log scale."""
    figure = _new_figure(6.4, 6.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.8, 1])
    draw_learning_curve(top, history)
    top.set_xlabel("")
    top.tick_params(labelbottom=False)
    _draw_curve(bottom, history.gradient_norm, "", 0)
    if (history.gradient_norm > 0).any():
        bottom.set_yscale("log")
    bottom.set_ylabel("gradient norm")
    bottom.set_xlabel("epoch")
    return figure


def draw_learning_curve(ax: "Axes", history: "History") -> "Axes":
    """The upper panel of `learning_curve_figure`, drawn into ax; returns ax.

    Of k networks each is a thin line, which ends in a cross before the epoch in which it diverged, and the
    median of those that go on a thick one. The least loss of a single network is marked. The scale is
    logarithmic where the losses span more than a decade.
    """
    curves = {"training": history.train}
    if history.validation is not None:
        curves["validation"] = history.validation
    values = np.concatenate([curve.ravel() for curve in curves.values()])
    values = values[np.isfinite(values)]
    if values.size and 0 < 10 * values.min() < values.max():
        ax.set_yscale("log")
    for style, (name, curve) in enumerate(curves.items()):
        _draw_curve(ax, curve, name, style)
    if history.diverged is None and (best := history.best_epoch) >= 0:
        least = curve[best]  # of the last, as `best_epoch` takes it
        ax.plot(best, least, "o", color=_COLOURS[style], label=f"least: {least:.3g} in epoch {best}")
    if history.diverged is not None and (lost := history.diverged >= 0).any():
        last = np.maximum(history.diverged[lost] - 1, 0)  # nan where it is epoch 0 that was not finished
        label = f"{lost.sum()} of {len(lost)} networks diverge"
        ax.plot(last, history.train[last, lost], "x", color="black", markersize=5, label=label)
    ax.set_xlabel("epoch")
    unit = {"cross_entropy": "cross entropy (nats per step)", "mse": "half the squared error (per step)"}
    ax.set_ylabel(unit[history.loss])
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def text_curve_figure(history: "TextHistory", baselines: "Mapping[str, float]") -> "Figure":
    """The losses of a model of text against the passes through it, beside those of other models."""
    figure = _new_figure(6.4, 4.2)
    draw_text_curve(figure.subplots(), history, baselines)
    return figure


def draw_text_curve(ax: "Axes", history: "TextHistory", baselines: "Mapping[str, float]") -> "Axes":
    """The curves of `text_curve_figure`, drawn into ax; returns ax. Bits are on the right.

    baselines: names of other models and their held-out losses, nats a symbol: dashed lines, but of those
        above the curves.
    """
    ax.plot(history.passes, history.train, color=_COLOURS[0], label="training")
    if history.held_out is not None:
        ax.plot(history.passes, history.held_out, color=_COLOURS[1], label="held out")
        best = history.best
        least = history.held_out[best]
        ax.plot(history.passes[best], least, "o", color=_COLOURS[1])
        place: Any = {"xytext": (0, -15), "textcoords": "offset points", "ha": "center", "color": _COLOURS[1]}
        ax.annotate(f"{least:.3f}", (history.passes[best], least), fontsize=9, **place)
    low, high = ax.get_ylim()
    low = min([low, *(value - 0.05 * (high - value) for value in baselines.values())])
    above = np.inf
    for name, value in sorted(baselines.items(), key=lambda item: -item[1]):
        if value > high:  # so that the curves keep the room
            continue
        ax.axhline(value, color="0.55", linewidth=0.9, linestyle="--")
        under = above - value < 0.06 * (high - low)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
        place["bbox"] = {"color": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5}
        text = f"{name}: {value:.2f}"
        ax.annotate(text, (1, value), (-4, -10 if under else 3), fontsize=8, color="0.35", **place)
        above = value
    ax.set_ylim(low, high)
    ax.set_xlabel("passes through the text")
    ax.set_ylabel("cross entropy (nats per symbol)")
    bits = ax.secondary_yaxis(
        "right", functions=(lambda nats: nats / np.log(2), lambda bits: bits * np.log(2))
    )
    bits.set_ylabel("bits per symbol")
    ax.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def gradient_flow_figure(flows: "Mapping[str, GradientFlow]") -> "Figure":
    """Sizes of the gradients at each step, log scale, of networks by name: vanishing, healthy, exploding."""
    figure = _new_figure(6.4, 4.2)
    draw_gradient_flow(figure.subplots(), flows)
    return figure


def draw_gradient_flow(ax: "Axes", flows: "Mapping[str, GradientFlow]") -> "Axes":
    """The curves of `gradient_flow_figure`, one a layer, drawn into ax; returns ax.

    Of k networks each is a thin line and their median a thick one. Norms of 0 have no place on the scale.
    """
    curves = []
    for name, flow in flows.items():
        layers = np.moveaxis(flow.norms, -2, 0)
        for layer, norms in enumerate(layers):
            words = [name] * bool(name) + [f"layer {layer}"] * (len(layers) > 1)
            curves.append((", ".join(words), norms.T))
    for style, (label, norms) in enumerate(curves):
        _draw_curve(ax, np.where(norms > 0, norms, np.nan), label, style)
    if any((norms > 0).any() for _, norms in curves):
        ax.set_yscale("log")
    ax.set_xlabel("time step t")
    ax.set_ylabel("gradient norm |dE/dh$_t$|")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    if any(label for label, _ in curves):
        ax.legend(frameon=False, fontsize=9)
    return ax


def bench_figure(report: "Report") -> "Figure":
    """How many times faster than its baseline, and how near its limit, each job of a report is."""
    figure = _new_figure(8.4, 1.2 + 0.36 * len(report.rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.6, 1])
    places = range(len(report.rows), 0, -1)
    left.barh(places, [row.times for row in report.rows], color=_MEASURED, height=0.6)
    for place, row in zip(places, report.rows, strict=True):
        left.annotate(
            f" {row.times:.3g} x {row.against}", (max(row.times, 1), place), va="center", fontsize=8
        )
    left.axvline(1, color=_THEORY, linewidth=0.8)
    left.set_xscale("log")
    left.set_xlim(min(0.5, *(row.times for row in report.rows)), 30 * max(row.times for row in report.rows))
    left.set_yticks(places, [row.name for row in report.rows], fontsize=8)
    left.set_xlabel("times faster than what it is compared with")
    right.barh(places, [100 * row.share for row in report.rows], color=_MEASURED, height=0.6)
    right.axvline(100, color=_THEORY, linewidth=0.8)
    right.set_xlim(0, max(110, *(120 * row.share for row in report.rows)))
    right.set_xlabel("% of the rate that limits it")
    figure.suptitle(report.machine, fontsize=10)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str], dpi: float = 200) -> None:
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


def glyphs(letters: Sequence[str], side: int) -> NDArray[np.int8]:
    """Pictures of letters, (p, side, side) int8: +1 for ink, -1 for paper, each letter as large as fits.

    letters: p characters that matplotlib's default font draws. side: units along an edge, at least 4. Raises
    ValueError for a smaller side and for a letter without ink, such as a space, or not in the font.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    if side < 4:
        raise ValueError(f"side must be at least 4, got {side}")
    font = FontProperties(family="DejaVu Sans", weight="bold")  # ships with matplotlib
    drawn = get_font(findfont(font)).get_charmap()
    pictures = np.empty((len(letters), side, side), np.int8)
    for picture, letter in zip(pictures, letters, strict=True):
        if not letter.strip() or not letter.isprintable():
            raise ValueError(f"letters must leave ink, got {letter!r}")
        if missing := [character for character in letter if ord(character) not in drawn]:
            raise ValueError(f"letters holds {missing[0]!r}, which the font DejaVu Sans does not draw")
        path = TextPath((0, 0), letter, size=100, prop=font, usetex=False)
        box = path.get_extents()
        fit = Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2)
        fit.scale(0.86 * side / max(box.width, box.height)).translate(side / 2, side / 2)
        canvas = FigureCanvasAgg(Figure(figsize=(1, 1), dpi=side))
        canvas.figure.add_artist(PathPatch(path, transform=fit, color="black", linewidth=0))
        canvas.draw()  # type: ignore[no-untyped-call]
        picture[:] = np.where(np.asarray(canvas.buffer_rgba())[:, :, 0] < 128, 1, -1)  # type: ignore[no-untyped-call]
    return pictures


def _new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, of no pyplot state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _draw_sizes(ax: "Axes", scaling: ScalingResult, ratio: bool) -> None:
    """Measured medians, their band and theory against n; as they are, log-log, or over n/(4 ln n)."""
    results = sorted((r for r in scaling if r.n >= 2 or not ratio), key=lambda r: r.n)
    n = np.array([r.n for r in results])
    measured = np.array([(r.median, r.low, r.high) for r in results]).reshape(-1, 3).T
    if not ratio:  # the ratio panel shares the n axis of the other, formats included
        ax.set_xscale("log")
        ax.set_yscale("log")
        # Autoscaling warns about a single size and about medians of 0.
        least = max(0.5, min(measured.min(), theory.mceliece_all(max(n[0], 2))))
        ax.set_xlim(n[0] / 1.3, n[-1] * 1.3)
        ax.set_ylim(least / 1.4, 1.4 * max(measured.max(), theory.mceliece_most(max(n[-1], 2))))
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            if high < 10 * low:  # powers of ten are too few, and their multiples unreadable in that form
                axis.set_major_formatter("{x:,.10g}")
                axis.set_minor_formatter("{x:,.10g}")

    def scaled(sizes: NDArray[np.int64], values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values) / (theory.mceliece_all(sizes) if ratio else 1.0)

    median, low, high = scaled(n, measured)
    if n.size == 1:  # no band to see
        ax.errorbar(n, median, (median - low, high - median), fmt="none", color=_MEASURED, capsize=3)
    ax.fill_between(n, low, high, color=_MEASURED, alpha=0.25, linewidth=0)
    ax.plot(n, median, "o", color=_MEASURED, markersize=6, zorder=3, label="measured: median, 10-90 %")
    if n.size == 0 or n[-1] < 2:
        return
    sizes = np.unique(np.geomspace(max(n[0] / 1.3, 2), n[-1] * 1.3, 100).round().astype(np.int64))
    if scaling.definition.has_theory:
        quantiles = [scaling.definition.theory_quantile(int(size)) or np.nan for size in sizes]
        ax.plot(
            sizes,
            scaled(sizes, quantiles),
            color=_THEORY,
            linewidth=1.8,
            label="binomial: half of networks stable",
        )
    ax.plot(
        sizes, scaled(sizes, theory.mceliece_all(sizes)), color=_THEORY, linestyle="--", label="n / (4 ln n)"
    )
    ax.plot(
        sizes, scaled(sizes, theory.mceliece_most(sizes)), color=_THEORY, linestyle=":", label="n / (2 ln n)"
    )


def _draw_loads(
    ax: "Axes", result: "RetrievalResult", value: Callable[["RetrievalPoint"], tuple[float, float, float]]
) -> None:
    """A curve each n and start of a value, low and high against the load, labelled by what differs."""
    curves = result.curves
    several = len({start for _, start in curves}) > 1
    for style, ((n, start), points) in enumerate(curves.items()):
        middle, low, high = np.array([value(point) for point in points]).T
        name = f"n = {n:,}" + (f", m$_0$ = {start:.3g}" if several or start < 1 else "")
        ax.errorbar(
            [point.alpha for point in points],
            middle,
            (middle - low, high - middle),
            color=_COLOURS[style % len(_COLOURS)],
            linestyle=_DASHES[style % len(_DASHES)],
            marker=_MARKERS[style % len(_MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=name,
        )
    ax.set_xlim(0, 1.05 * max(point.alpha for point in result.points))
    ax.set_xlabel("load α = p / n (patterns per neuron)")


def _draw_overlaps(ax: "Axes", result: "RetrievalResult", error: bool) -> None:
    """Mean final overlaps m with their intervals and AGS against the load; 1 - m on a log scale if error."""

    def value(point: "RetrievalPoint") -> tuple[float, float, float]:
        m, low, high = point.overlap, *point.interval
        if not error:
            return m, low, high
        return (1 - m, 1 - high, 1 - low) if m < 1 else (math.nan, math.nan, math.nan)

    if error:
        ax.set_yscale("log", nonpositive="clip")
    _draw_loads(ax, result, value)
    loads = theory.ALPHA_C * (1 - np.linspace(1, 0, 300) ** 2)  # dense where the curve is steep
    overlaps = np.append(theory.ags_overlap(loads), 0)  # falls to 0 at the end
    ax.plot(
        np.append(loads, theory.ALPHA_C),
        1 - overlaps if error else overlaps,
        color=_THEORY,
        linewidth=1.8,
        zorder=1,
        label=f"AGS, n → ∞, ends at α = {theory.ALPHA_C:.4f}",
    )
    ax.set_xlim(0, max(theory.ALPHA_C * 1.1, ax.get_xlim()[1]))
    if error:
        least = min((1 - point.overlap for point in result.points if point.overlap < 1), default=1e-3)
        ax.set_ylim(min(least, 1e-3) / 3, 2)
    else:
        ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    ax.set_ylabel("what is missing, 1 - m" if error else "overlap m with the memory, after recall")


def _cell_edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges half way between ascending centres, the outer ones as far from theirs."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.01, centres[0] + 0.01])
    inner = (centres[1:] + centres[:-1]) / 2
    return np.array([2 * centres[0] - inner[0], *inner, 2 * centres[-1] - inner[-1]])


def _draw_curve(ax: "Axes", values: NDArray[np.float64], label: str, style: int) -> None:
    """values (steps,), or (steps, k): k thin lines and their median, of the finite values only."""
    colour, dashes = _COLOURS[style % len(_COLOURS)], _DASHES[style % len(_DASHES)]
    steps = np.arange(len(values))
    if values.ndim == 2:
        ax.plot(steps, values, color=colour, linewidth=0.6, alpha=0.4)
        alive = np.isfinite(values).any(axis=1)
        steps, values = steps[alive], np.nanmedian(values[alive], axis=1)
        label = f"{label}: median".removeprefix(": ") if label else "median"
    marker = "o" if len(steps) == 1 else None  # a line of one point is not seen
    ax.plot(steps, values, dashes, color=colour, linewidth=2, marker=marker, label=label or None)


def _draw_units(ax: "Axes", image: NDArray[np.int8], truth: NDArray[np.int8]) -> None:
    ax.imshow(_UNIT_COLOURS[(image > 0) + 2 * (image != truth)], interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def _title(ax: "Axes", text: str) -> None:
    """The text over ax, in lines of about equal length that end within its width."""
    size = 9
    inches = ax.get_window_extent().width / ax.figure.get_dpi()
    columns = max(20, int(inches * 72 / (0.5 * size)))  # a character is about half as wide as its font size
    lines = textwrap.wrap(text, columns)
    while columns > 20 and len(narrower := textwrap.wrap(text, columns - 1)) == len(lines):
        lines, columns = narrower, columns - 1
    ax.set_title("\n".join(lines), fontsize=size, loc="left")
