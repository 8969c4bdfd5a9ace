"""Updates of single units: by the sign of the field, or with the odds that a temperature gives it."""

from __future__ import annotations

import numpy as np

from .. import GLAUBER
from .jit import jit
from .random import U64, fill_from

FRACTION = U64(12)  # bits of the arguments of `chances` between two of its entries
PART = (U64(1) << FRACTION) - U64(1)


@jit
def draw_updates(network, row, begin, count, heat):
    """Draw for the updates from number `begin` on of a row of a network, if they are random.

    heat: None, or (key, sweep, level (4,), chances, draws), of which draws are filled; see the reference.
    """
    if heat is not None:
        key, sweep, _, _, draws = heat
        fill_from(key, begin, sweep, row, GLAUBER | network << 8, draws[:count])


@jit
def flips_over(field, state, place, heat):
    """Whether a unit flips in its update, of which the draw has this place."""
    if heat is None:
        return field * state < 0
    _, _, level, chances, draws = heat
    size = abs(np.int64(field))
    if size >= level[0]:
        return field * state < 0
    argument = U64(size >> level[1]) * U64(level[2]) >> U64(level[3])
    entry = argument >> FRACTION
    here, draw = chances[entry], draws[place]
    against = draw < here  # most often not, and then the table need not be interpolated
    if against:
        against = draw < here - ((here - chances[entry + U64(1)]) * (argument & PART) >> FRACTION)
    return ((field >= 0) != against) != (state > 0)
