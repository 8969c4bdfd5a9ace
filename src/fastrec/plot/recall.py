"""Figures of recalls: states as pictures, energies; letters to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from .figures import THEORY, draw_curve, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..hopfield.network import OscillationResult, RecallResult

# Units of an image: -1 and +1 as stored, then -1 and +1 that differ from the stored pattern.
UNIT_COLOURS = np.array([[255, 255, 255], [38, 38, 38], [247, 196, 158], [213, 94, 0]], np.uint8)


def recall_figure(stored: ArrayLike, probes: ArrayLike, recalled: ArrayLike) -> Figure:
    """Stored patterns as images, the corrupted probes below them, and what was recalled from those.

    The three arrays are +1/-1, of one shape (p, h, w): p images of h by w units. Units that differ from the
    stored pattern are orange; a column's title is the overlap <stored, state> / (h w) of the probe and of
    what was recalled. Raises ValueError for other shapes or values.
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
    """Energy per neuron against the sweep, of a recall with record_energy=True."""
    figure = new_figure(6.4, 4.2)
    draw_energy(figure.subplots(), recall)
    return figure


def draw_energy(ax: Axes, recall: RecallResult) -> Axes:
    """The curves of `energy_figure`, drawn into ax; returns ax.

    Each recall is a thin line, of more than 500 some are; a thick line is the median over all, of which
    those that have stopped keep their energy. Grey is the energy per neuron of a memory without crosstalk,
    -1/2. Raises ValueError if no energies were recorded.
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
    ax.set_xlabel("sweep")
    ax.set_ylabel("energy per neuron, E / n")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


def oscillation_figure(found: OscillationResult) -> Figure:
    """Energy per neuron of a recall that cycles and of one that converges, from the same start."""
    figure = new_figure(6.4, 4.2)
    draw_oscillation(figure.subplots(), found)
    return figure


def draw_oscillation(ax: Axes, found: OscillationResult) -> Axes:
    """The curves of `oscillation_figure`, drawn into ax; returns ax."""
    units = np.count_nonzero(found.cycle[0] != found.cycle[1])
    draw_curve(ax, found.async_.energies / found.network.n, "async: converges", 0)
    draw_curve(ax, found.sync.energies / found.network.n, f"sync: {units} units go on flipping", 1)
    ax.set_xlabel("sweep, or synchronous step")
    ax.set_ylabel("energy per neuron, E / n")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    ax.legend(frameon=False, fontsize=9)
    return ax


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


def draw_units(ax: Axes, image: NDArray[np.int8], truth: NDArray[np.int8]) -> None:
    ax.imshow(UNIT_COLOURS[(image > 0) + 2 * (image != truth)], interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
