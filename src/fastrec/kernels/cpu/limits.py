"""What inner loops reach with their operands in the first cache and nothing else to do, on all threads.

Each runs `rounds` times on every thread, on arrays (threads, ..) of its own; `measured` makes a rate of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange

from .capacity import add_and_look
from .hopfield import COLUMNS, PANELS, ROWS, full_tile
from .jit import jit
from .matrix import ROWS as TILE_ROWS
from .matrix import START, outer_tile, panel_width
from .simd import LANES, masked_sum

DEPTH, WORDS, COUNT = 128, 64, 16  # steps of a product, words of a row, words of a row of units


@jit(parallel=True)
def multiply_adds(a, b, c, rounds):
    """c (threads, rows, panel) += a b of a (threads, depth, rows) and a panel b (threads, depth, panel)."""
    threads, depth, rows = a.shape
    width = c.shape[2]
    for thread in prange(threads):
        left, right, out = a[thread], b[thread], c[thread]
        for _ in range(rounds):
            outer_tile(left, START, rows, right, START, depth, out, START, width)


@jit(parallel=True)
def popcounts(a, b, counts, rounds):
    """Differing bits of rows a (threads, rows, words) and columns b (threads, panels, words, lanes)."""
    threads, _, w = a.shape
    for thread in prange(threads):
        left, right, out = a[thread], b[thread], counts[thread]
        for _ in range(rounds):
            full_tile(left, START, w, right, START, w, out)


@jit(parallel=True)
def pattern_additions(fields, codes, x, m, low, rounds):
    """Eight patterns of codes (threads, 1, units) added to fields (threads, 1, units), and the least sums."""
    threads, _, w = x.shape
    for thread in prange(threads):
        own, code, signs, steps = fields[thread], codes[thread], x[thread], m[thread]
        for _ in range(rounds):
            add_and_look(own, START, code, START, signs, START, w, steps, steps[0], low[thread])


@jit(parallel=True)
def masked_additions(words, values, sums, rounds):
    """Sums (threads,) of values (threads, 64 words) where words (threads, words) have a 1."""
    threads, count = words.shape
    for thread in prange(threads):
        mask, own, total = words[thread], values[thread], np.int64(0)
        for _ in range(rounds):
            total += masked_sum(mask, START, count, own)
        sums[thread] = total


def measured(kernel: Callable[..., Any], arrays: tuple[Any, ...], operations: int) -> float:
    """Operations a second of a kernel that does so many in a round of all threads."""
    kernel(*arrays, 1)  # compiles
    rounds, rates, taken = 1, [0.0], 0.0
    while taken < 0.02 or len(rates) < 20:
        rounds *= 1 if taken >= 0.02 else 2
        begin = time.perf_counter()
        kernel(*arrays, rounds)
        taken = time.perf_counter() - begin
        rates.append(rounds * operations / taken)
    return max(rates)


def limits() -> dict[str, float]:
    """Rates of the inner loops of the kernels, a second: multiply-adds of float32, products of bits,
    patterns added to a unit's field (int16) and overlaps added to a unit's field (int32)."""
    threads = numba.get_num_threads()

    def zeros(*shape: int, dtype: Any) -> Any:
        return np.zeros((threads, *shape), dtype)

    width, units = panel_width(np.empty(0, np.float32)), 64 * COUNT
    multiply = [zeros(*shape, dtype=np.float32) for shape in ((DEPTH, TILE_ROWS), (DEPTH, width))]
    bits = [zeros(*shape, dtype=np.uint64) for shape in ((ROWS, WORDS), (PANELS, WORDS, LANES))]
    return {
        "multiply-adds": measured(
            multiply_adds,
            (*multiply, zeros(TILE_ROWS, width, dtype=np.float32)),
            threads * DEPTH * TILE_ROWS * width,
        ),
        "bit products (popcount)": measured(
            popcounts, (*bits, zeros(ROWS, COLUMNS, dtype=np.int32)), threads * ROWS * COLUMNS * 64 * WORDS
        ),
        "patterns added": measured(
            pattern_additions,
            (
                zeros(1, units, dtype=np.int16),
                zeros(1, units, dtype=np.uint8),
                zeros(1, COUNT, dtype=np.uint64),
                zeros(8, dtype=np.int16),
                zeros(COUNT, dtype=np.uint64),
            ),
            threads * 8 * units,
        ),
        "overlaps added": measured(
            masked_additions,
            (
                zeros(COUNT, dtype=np.uint64),
                zeros(units, dtype=np.int32),
                np.zeros(threads, np.int64),
            ),
            threads * units,
        ),
    }
