"""Figures of recalls: states as pictures, energies; letters to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from .figures import THEORY, draw_curve, new_figure, one_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..hopfield.oscillation import OscillationResult
    from ..hopfield.recall import RecallResult

# Units of an image: -1 and +1 as stored, then -1 and +1 that differ from the stored pattern.
UNIT_COLOURS = np.array([[255, 255, 255], [38, 38, 38], [247, 196, 158], [213, 94, 0]], np.uint8)


def recall_figure(stored: ArrayLike, probes: ArrayLike, recalled: ArrayLike) -> Figure:
    """Draw stored patterns as images, the corrupted probes below them, and the recalled states below those.

    Units that differ from the stored pattern are orange.  The title of a column gives the overlaps
    <stored, state> / (h w) of the probe and of the recalled state.

    Parameters
    ----------
    stored, probes, recalled : array_like, shape (p, h, w)
        +1 and -1: p images of h by w units.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        For other shapes or values.

    Examples
    --------
    >>> import fastrec
    >>> from fastrec import plot
    >>> letters = plot.glyphs("AB", 16)
    >>> net = fastrec.HopfieldNetwork(256)
    >>> net.store(letters.reshape(2, 256))
    >>> probes = fastrec.corrupt(letters.reshape(2, 256), flips=0.1, seed=1)
    >>> recalled = net.recall(probes, seed=3).states
    >>> figure = plot.recall_figure(letters, probes.reshape(2, 16, 16), recalled.reshape(2, 16, 16))
    >>> len(figure.axes)
    6
    """
    stages = {"stored": np.asarray(stored), "corrupted": np.asarray(probes), "recalled": np.asarray(recalled)}
    shape = stages["stored"].shape
    for name, images in stages.items():
        if images.ndim != 3 or images.size == 0 or images.shape != shape:
            raise ValueError(f"{name} images must have the shape (p, h, w) of all three, got {images.shape}")
        if not (np.abs(images) == 1).all():
            raise ValueError(f"{name} images must hold +1 and -1 only")
    p, h, w = shape
    figure = new_figure(0.5 + 1.25 * p, 0.7 + 3.75 * h / w)
    grid = figure.subplots(3, p, squeeze=False)
    for row, (name, images) in zip(grid, stages.items(), strict=True):
        row[0].set_ylabel(name, fontsize=11)
        for ax, image, truth in zip(row, images, stages["stored"], strict=True):
            draw_units(ax, image, truth)
    before, after = (
        (stages["stored"].astype(int) * stages[name]).mean((1, 2)) for name in ("corrupted", "recalled")
    )
    for ax, m0, m1 in zip(grid[0], before, after, strict=True):
        ax.set_title(f"overlap\n{m0:.2f} → {m1:.2f}", fontsize=9)
    return figure


def energy_figure(recall: RecallResult) -> Figure:
    """Draw the energy per unit against the sweep.

    Parameters
    ----------
    recall : RecallResult
        A recall with ``record_energy=True``.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: see `draw_energy`.

    Raises
    ------
    ValueError
        If no energies were recorded.

    Examples
    --------
    >>> import fastrec
    >>> from fastrec import plot
    >>> patterns = fastrec.random_patterns(p=5, n=100, seed=1)
    >>> net = fastrec.HopfieldNetwork(100)
    >>> net.store(patterns)
    >>> figure = plot.energy_figure(net.recall(patterns, seed=3, record_energy=True))
    """
    return one_panel(draw_energy, recall)


def draw_energy(ax: Axes, recall: RecallResult) -> Axes:
    """Draw the curves of `energy_figure` into axes.

    Each recall is a thin line (some of them, if there are more than 500).  The thick line is the median over
    all recalls, where those that have stopped keep their energy.  The grey line is the energy per unit of a
    memory without crosstalk, -1/2.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes to draw into.
    recall : RecallResult
        A recall with ``record_energy=True``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    ValueError
        If no energies were recorded.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> recall = fastrec.find_oscillation(n=50, p=10).sync
    >>> fastrec.plot.draw_energy(Figure().subplots(), recall).get_ylabel()
    'energy per unit, E / n'
    """
    if recall.energies is None:
        raise ValueError("recall holds no energies; call recall(..., record_energy=True)")
    energies = np.asarray(move(recall.energies, "cpu")) / recall.states.shape[-1]
    rows = energies.reshape(-1, energies.shape[-1]).T
    last = np.isfinite(rows).cumsum(axis=0).clip(1) - 1  # a row is nan from its stop on
    draw_curve(ax, rows[:, 0] if rows.shape[1] == 1 else np.take_along_axis(rows, last, axis=0), "", 0)
    if rows.shape[1] > 1:
        ax.lines[-1].set_label(f"median of {rows.shape[1]} recalls")
    ax.axhline(-0.5, color=THEORY, linestyle="--", zorder=1, label="a memory without crosstalk")
    ax.set_xlabel("time (sweeps)" if recall.turns is None else "time (flips)")
    ax.set_ylabel("energy per unit, E / n")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def oscillation_figure(found: OscillationResult) -> Figure:
    """Draw the energies per unit of a recall that cycles and of one that converges from the same start.

    Parameters
    ----------
    found : OscillationResult
        The result of `find_oscillation`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> import fastrec
    >>> from fastrec import plot
    >>> figure = plot.oscillation_figure(fastrec.find_oscillation(n=50, p=10))
    """
    return one_panel(draw_oscillation, found)


def draw_oscillation(ax: Axes, found: OscillationResult) -> Axes:
    """Draw the curves of `oscillation_figure` into axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes to draw into.
    found : OscillationResult
        The result of `find_oscillation`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> result = fastrec.find_oscillation(n=50, p=10)
    >>> fastrec.plot.draw_oscillation(Figure().subplots(), result).get_xlabel()
    'time (sweeps, or synchronous steps)'
    """
    units = np.count_nonzero(found.cycle[0] != found.cycle[1])
    draw_curve(ax, found.async_.energies / found.network.n, "async: converges", 0)
    draw_curve(ax, found.sync.energies / found.network.n, f"sync: {units} units go on flipping", 1)
    ax.set_xlabel("time (sweeps, or synchronous steps)")
    ax.set_ylabel("energy per unit, E / n")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def glyphs(letters: Sequence[str], side: int) -> NDArray[np.int8]:
    """Return pictures of letters as patterns, each letter as large as fits.

    Parameters
    ----------
    letters : sequence of str
        p characters of matplotlib's default font.
    side : int
        Units along an edge, at least 4.

    Returns
    -------
    ndarray of int8, shape (p, side, side)
        +1 for ink, -1 for paper.

    Raises
    ------
    ValueError
        For a smaller side, and for a letter without ink, such as a space, or one that is not in the font.

    Examples
    --------
    >>> from fastrec import plot
    >>> plot.glyphs("AB", 16).shape
    (2, 16, 16)
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


def draw_units(ax: Axes, image: NDArray[np.int8], truth: NDArray[np.int8]) -> None:
    ax.imshow(UNIT_COLOURS[(image > 0) + 2 * (image != truth)], interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
