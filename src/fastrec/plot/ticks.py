"""Ticks of logarithmic axes, which can be read at every range."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator

MOST_LABELS = 8
PLAIN = 1e-4, 1e6  # between which numbers are written out


class LogTicks(LogLocator):
    """Powers of ten; within few decades their multiples by 2 and 5, within a part of one round numbers."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the places between vmin and vmax, at most `MOST_LABELS`."""
        low, high = sorted((vmin, vmax))
        if low <= 0 and self.axis is not None:
            low = self.axis.get_minpos()
        if not 0 < low < high < math.inf:
            return []
        powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        parts = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        for places in (powers, np.outer(powers, (1, 2, 5)).ravel(), parts):
            inside = [place for place in np.asarray(places).tolist() if low <= place <= high]
            if len(inside) >= 3:
                break
        return inside[:: 1 + (len(inside) - 1) // MOST_LABELS]


class LogLabels(Formatter):
    """Labels of ticks: numbers with separators of thousands, powers of ten for very small and large ones."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of all ticks, which are all written in the same way."""
        if all(PLAIN[0] <= value < PLAIN[1] for value in values):
            return [f"{value:,.10g}" for value in values]
        exponents = np.log10(values)
        if np.allclose(exponents, exponents.round()):
            return [f"$10^{{{round(exponent)}}}$" for exponent in exponents]
        return [f"{value:.3g}" for value in values]
