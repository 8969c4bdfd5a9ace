"""Whether this CPU multiplies in bfloat16 with profit.

An AMD Zen 4 does twice as many products as in float32, an Intel Xeon (Sapphire Rapids), which has tiles
for it instead, half as many.  So the rate is measured.
"""

from __future__ import annotations

import functools
import timeit

import numpy as np

from .jit import kernel
from .matrix import multiply, panel_width
from .pairs import AVAILABLE, WORD

GAIN = 1.2  # the least that is worth the rounding
ROWS, DEPTH = 8, 128


@kernel
def repeat(a, b, c, rounds):
    """Multiply rounds times."""
    for _ in range(rounds):
        multiply(a, 0, DEPTH, ROWS, b, DEPTH, c)


def fault() -> str | None:
    """Why products of bfloat16 are not done on this CPU, or None where they are faster than of float32."""
    if not AVAILABLE:
        return "this CPU has no instruction for it"
    gain = gain_over_float32()
    return None if gain >= GAIN else f"this CPU does it {gain:.1f} times as fast as float32"


@functools.cache
def gain_over_float32() -> float:
    """The rate of the inner loop of products in bfloat16 by that in float32."""
    seconds = []
    for dtype in (WORD, np.float32):
        width = panel_width(np.empty(0, np.float32))
        a, b, c = (
            np.zeros((ROWS, DEPTH), dtype),
            np.zeros(DEPTH * width, dtype),
            np.zeros((ROWS, width), np.float32),
        )
        repeat(a, b, c, 1)  # compiles
        seconds.append(min(timeit.repeat(functools.partial(repeat, a, b, c, 100), number=1, repeat=9)))
    return 2 * seconds[1] / seconds[0]
