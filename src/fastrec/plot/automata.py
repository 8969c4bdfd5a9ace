"""Figures of finite automata: states as circles, transitions as arrows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .figures import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..rnn.automata import Automaton

Point = NDArray[np.float64]
Arrow = tuple[Point, Point, Point, float]

RADIUS = 0.3  # of a circle, where neighbours are `APART` from each other
APART = 1.9
MOST_LABELS = 80  # arrows whose symbols can be read


def automaton_figure(automaton: Automaton) -> Figure:
    """Draw an automaton as a graph.

    Parameters
    ----------
    automaton : Automaton
        What `fastrec.automaton` returned.

    Returns
    -------
    matplotlib.figure.Figure
        A new figure of one panel, which grows with the number of states.

    Examples
    --------
    >>> parity = fastrec.Automaton([0, 1], transitions=[[0, 1], [1, 0]], outputs=[0, 1])
    >>> figure = fastrec.plot.automaton_figure(parity)
    """
    width = float(np.clip(2.2 + 0.55 * automaton.states, 4, 14))
    figure = new_figure(width, width if automaton.states > 2 else width / 2)
    draw_automaton(figure.subplots(), automaton)
    return figure


def draw_automaton(ax: Axes, automaton: Automaton) -> Axes:
    """Draw what `automaton_figure` does.

    The states stand on a circle, the first one at the left, with an arrow from outside; those of Moore's
    automata show what they print. Arrows show the symbols that are read, in Mealy's automata with what is
    printed behind a slash. Of more than 80 arrows the symbols are left out.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw into.
    automaton : Automaton
        What `fastrec.automaton` returned.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Examples
    --------
    >>> parity = fastrec.Automaton([0, 1], transitions=[[0, 1], [1, 0]], outputs=[0, 1])
    >>> ax = fastrec.plot.automaton_figure(parity).axes[0]
    >>> ax.clear()
    >>> len(fastrec.plot.draw_automaton(ax, parity).patches)  # 2 circles, 4 arrows and that of the start
    7
    """
    from matplotlib.patches import Circle

    n, arrival = automaton.states, automaton.prints_on_arrival
    angles = np.pi - 2 * np.pi * (np.arange(n) + 0.5 * (n > 2)) / n
    outwards = np.column_stack([np.cos(angles), np.sin(angles)])
    places = outwards * (APART / (2 * np.sin(np.pi / n)) if n > 1 else 0)
    arrows: dict[tuple[int, int], list[str]] = {}
    names = automaton._names()
    for state, (targets, printed) in enumerate(zip(automaton.transitions, automaton._printed(), strict=True)):
        for name, target, y in zip(names, targets.tolist(), printed, strict=True):
            arrows.setdefault((state, target), []).append(name if arrival else f"{name}/{y}")
    for (state, target), read in arrows.items():
        colour, side = COLOURS[state % len(COLOURS)], "center"
        if state == target:
            tail, tip, at, bend = loop(places[state], outwards[state])
            side = ("right", "center", "left")[int(np.sign(outwards[state, 0].round(1))) + 1]
        else:
            tail, tip, at, bend = bow(places[state], places[target])
        draw_arrow(ax, tail, tip, colour, bend)
        if len(arrows) <= MOST_LABELS:
            write(ax, at, in_lines(read), 8, colour, side)
    for state, place in enumerate(places):
        ax.add_patch(Circle(place, RADIUS, facecolor="white", edgecolor="black", linewidth=1.2, zorder=3))
        prints = automaton.outputs[state]
        if arrival and prints >= 0:
            write(ax, place + (0, 0.06), f"{prints}", 11, "black")
        write(ax, place - (0, 0.17 * arrival), f"{state}", 6 if arrival else 9, "0.4")
    aside = 0.6 * outwards[0] + 0.9 * np.array([-outwards[0, 1], outwards[0, 0]])
    tip = places[0] + RADIUS * unit(aside)
    draw_arrow(ax, places[0] + aside, tip, "black")
    write(ax, places[0] + aside + 0.12 * unit(aside), "start", 8, "black", "right")
    width, height = abs(places).max(axis=0) + RADIUS + 0.75
    ax.set(xlim=(-width, width), ylim=(-height, height), aspect="equal")
    ax.axis("off")
    return ax


def draw_arrow(ax: Axes, tail: Point, tip: Point, colour: str, bend: float = 0) -> None:
    """Draw an arrow from point to point, bent to the left."""
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        (tail[0], tail[1]),
        (tip[0], tip[1]),
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={bend}",
        shrinkA=0,
        shrinkB=0,
        mutation_scale=11,
        linewidth=1.1,
        color=colour,
    )
    ax.add_patch(arrow)


def write(ax: Axes, at: Point, text: str, size: float, colour: str, side: str = "center") -> None:
    """Write text at a point, in front of arrows and circles."""
    behind = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    ax.text(
        *(at[0], at[1], text),
        fontsize=size,
        color=colour,
        ha=side,
        va="center",
        bbox=behind,
        zorder=4,
        parse_math=False,
    )


def bow(begin: Point, end: Point) -> Arrow:
    """An arrow between two states, beside the straight line: its ends, where its label is, its bend."""
    bend, at = 0.22, 0.38  # of its length, nearer to where it comes from: in the middle labels would meet
    tail, tip = (place + RADIUS * unit(middle(begin, end, bend) - place) for place in (begin, end))
    label = (1 - at) ** 2 * tail + 2 * at * (1 - at) * middle(tail, tip, bend) + at**2 * tip
    return tail, tip, label, bend


def middle(tail: Point, tip: Point, bend: float) -> Point:
    """The point that matplotlib bends an arrow to, in the middle between its ends but beside their line."""
    return (tail + tip) / 2 + bend * np.array([tip[1] - tail[1], tail[0] - tip[0]])


def loop(place: Point, outwards: Point) -> Arrow:
    """An arrow from a state to itself, on its side away from the middle."""
    side = np.array([-outwards[1], outwards[0]])
    tail, tip = (place + RADIUS * unit(outwards + sign * 0.7 * side) for sign in (1, -1))
    return tail, tip, place + 0.74 * outwards, -2.2


def unit(vector: Point) -> Point:
    """The vector of length 1 in that direction."""
    return vector / np.hypot(*vector)


def in_lines(read: list[str]) -> str:
    """Symbols in lines of at most two."""
    return "\n".join(" ".join(read[i : i + 2]) for i in range(0, len(read), 2))
