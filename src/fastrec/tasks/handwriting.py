"""Synthetic handwriting: words in the letters of stroke fonts, with the variation of a hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..messages import install_command, shown
from ..streams import Seed, generator
from ..validation import as_choice, number
from .ink import Stroke

FONTS = {
    "print": "futural",
    "print bold": "futuram",
    "script": "cursive",
    "script bold": "scriptc",
    "roman": "timesr",
    "roman bold": "timesrb",
    "italic": "timesi",
    "italic bold": "timesib",
}
# Of the fonts: where the baseline is, how far apart the lines of a thick stroke are, and points of a stroke.
BASELINE, BESIDE, SPACING = 9, 2.2, 2.0
SPEED, LIFTED = 10.0, 20.0  # of the pen on the paper and above it, in heights of the letter x a second
PAUSE = 0.03  # seconds that lifting the pen takes


class Letter(NamedTuple):
    """A letter of a font."""

    lines: list[NDArray[np.float64]]  # (points, 2) each
    width: float


def synthetic_handwriting(
    words: Sequence[str], font: str = "print", *, variation: float = 1.0, seed: Seed = None
) -> list[list[Stroke]]:
    """Write words with a made-up hand: synthetic strokes, in the letters of a font, that vary as a hand does.

    The letters are those that A. V. Hershey digitised in 1967, from the package Hershey-Fonts (extra
    `examples`). Fonts draw thick lines by several strokes side by side, of which one is kept. Each word has
    its own slant, size, slope and speed, each letter its own form and place, each stroke its own speed, and
    each point its own error. Real hands vary less evenly: a network that reads these may read people badly.

    Parameters
    ----------
    words : sequence of str
        Words of printable ASCII characters other than the space.
    font : str, default "print"
        "print", "script", "roman" or "italic", or one of these and " bold", which is drawn with other
        strokes.
    variation : float, default 1.0
        Factor of all that varies; 0 writes each letter in one way.
    seed : int, numpy.random.Generator or None
        As in `RNN`.

    Returns
    -------
    list of list of ndarray of shape (m, 3)
        The strokes of each word, as `read_ink` returns them: x to the right, y downwards from the baseline,
        both in heights of the letter x, and times in seconds.

    Raises
    ------
    ValueError
        For invalid arguments.
    ImportError
        If Hershey-Fonts is not installed.

    Examples
    --------
    >>> (ink,) = fastrec.synthetic_handwriting(["it"], "print", seed=1)
    >>> len(ink)  # two lines, a dot and a bar
    4
    >>> fastrec.pen_steps(ink, 0.05).shape[1]
    3
    """
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise ValueError(f"words is {shown(words)}; give a list of words")
    for j, word in enumerate(words):
        if not isinstance(word, str) or not word or not all("!" <= c <= "~" for c in word):
            raise ValueError(
                f"words[{j}] is {shown(word)}; it must be printable ASCII characters without spaces"
            )
    variation = number("variation", variation, 0, 10, closed=True)
    letters = read_letters(FONTS[as_choice("font", font, [*FONTS])])
    rng = generator(seed)

    def around(spread: float, *shape: int) -> Any:
        return spread * variation * rng.standard_normal(shape)

    return [write([letters[letter] for letter in word], around) for word in words]


def write(letters: Sequence[Letter], around: Callable[..., Any]) -> list[Stroke]:
    """The strokes of a word; `around` draws arrays of normal numbers of a standard deviation."""
    lines, place = [], 0.0
    for letter in letters:
        form, shift = np.eye(2) + around(0.07, 2, 2), around(0.05, 2) + [place, 0]
        lines += [line @ form + around(0.015, *line.shape) + shift for line in letter.lines]
        place += letter.width * np.exp(around(0.08))
    hand = np.array([[1, around(0.03)], [-around(0.15), 1]]) * np.exp(around(0.1, 2))
    pace = np.exp(around(0.15))
    strokes: list[Stroke] = []
    for line in lines:
        points = line @ hand
        t = along(points) / (SPEED * pace * np.exp(around(0.15)))
        if strokes:
            *before, now = strokes[-1][-1]
            t += now + PAUSE + np.hypot(*(points[0] - before)) / (LIFTED * pace)
        strokes.append(np.column_stack([points, t]))
    return strokes


@cache
def read_letters(font: str) -> dict[str, Letter]:
    """The letters of a font of Hershey-Fonts, in heights of the letter x, from their left on the baseline."""
    try:
        from HersheyFonts import HersheyFonts
    except ImportError:
        raise ImportError(f"Hershey-Fonts is not installed: {install_command('Hershey-Fonts')}") from None
    fonts = HersheyFonts()
    fonts.load_default_font(font)
    height = BASELINE - min(y for stroke in fonts.all_glyphs["x"].strokes for _, y in stroke)
    letters = {}
    for character, glyph in fonts.all_glyphs.items():
        lines: list[NDArray[np.float64]] = []
        for stroke in glyph.strokes:
            line = densely(np.array(stroke, np.float64) - [glyph.left_offset, BASELINE])
            drawn = np.concatenate([*lines, np.full((1, 2), np.inf)])
            distance = np.linalg.norm(line[:, None] - drawn, axis=-1).min(axis=1)
            apart = distance > BESIDE
            if apart.mean() > 0.34:  # a new line, and not the other side of one
                apart[:] = True
            for run in np.split(np.arange(len(line)), np.flatnonzero(np.diff(apart)) + 1):
                if apart[run[0]] and len(run) > 1:
                    lines.append(line[max(0, run[0] - 1) : run[-1] + 2])
        letters[character] = Letter([line / height for line in lines], glyph.char_width / height)
    return letters


def along(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """The length of a line up to each of its points."""
    return np.append(0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))


def densely(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line with points that are about SPACING apart."""
    length = along(line)
    at = np.linspace(0, length[-1], 1 + math.ceil(length[-1] / SPACING))
    return np.stack([np.interp(at, length, column) for column in line.T], axis=1)
