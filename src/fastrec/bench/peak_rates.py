"""Peak rates of the inner loops of kernels, on all threads, with operands in the first-level cache.

Each loop runs `rounds` times on every thread, on that thread's part of arrays (threads, ..); `measured`
returns its rate.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from ..kernels.cpu import bfloat16
from ..kernels.cpu.byte_products import MOST, NEVER, PANEL, UNITS, advance
from ..kernels.cpu.byte_products import ROWS as MEMORIES
from ..kernels.cpu.matrix import ROWS as TILE_ROWS
from ..kernels.cpu.matrix import outer_tile, panel_width
from ..kernels.cpu.pairs import WORD
from ..kernels.cpu.parallel import Parallel, tasks
from ..kernels.cpu.products import COLUMNS, PANELS, ROWS, full_tile
from ..kernels.cpu.simd import LANES, masked_sum
from ..threads import get_threads

PAIRS = "multiply-adds in bfloat16"
DEPTH, WORDS, COUNT = 128, 64, 16  # depth of a product, words of a row, words of a row of units


def one_each(arrays, *rest):
    """Return one task per thread, of a second, so that all threads are used."""
    return len(arrays), 1e9


@tasks(one_each)
def multiply_adds(thread, a, b, c, rounds):
    """Add a b to c (threads, rows, panel); a is (threads, depth, rows), b (threads, depth, panel).

    int32 hold two factors in bfloat16.
    """
    _, depth, rows = a.shape
    width = c.shape[2]
    left, right, out = a[thread], b[thread], c[thread]
    for _ in range(rounds):
        outer_tile(left, 0, rows, right, 0, width, 0, depth, out, 0, width)


@tasks(one_each)
def popcounts(thread, a, b, counts, rounds):
    """Count differing bits of rows a (threads, rows, words) and columns b (threads, panels, words, lanes), as
    -2 times their number."""
    w = a.shape[2]
    left, right, out = a[thread], b[thread], counts[thread]
    for _ in range(rounds):
        full_tile(left, 0, w, right, 0, w, 0, out, 0, COLUMNS, out, 0, 0)


@tasks(one_each)
def pattern_additions(thread, digits, bits, x, sums, centers, near, rounds):
    """Add 256 patterns to the sums (threads, memories, 32) of a tile, from digits and a panel of bits."""
    row, panel, out, middle, signs = digits[thread], bits[thread], sums[thread], centers[thread], x[thread]
    for _ in range(rounds):
        advance(row, 0, panel, 0, MOST // 4, out, 0, middle, 0, np.int32(NEVER), signs, 0, 0, near[thread], 0)


@tasks(one_each)
def masked_additions(thread, words, values, sums, rounds):
    """Sum values (threads, 64 words) where the bits of words (threads, words) are 1, into sums (threads,)."""
    count = words.shape[1]
    mask, terms, total = words[thread], values[thread], np.int64(0)
    for _ in range(rounds):
        total += masked_sum(mask, 0, count, terms, 0)
    sums[thread] = total


def measured(kernel: Parallel, arrays: tuple[Any, ...], operations: int) -> float:
    """Return the peak operations per second of a kernel that does `operations` in a round of all threads."""
    kernel(*arrays, 1)  # compiles
    rounds, rates, elapsed = 1, [0.0], 0.0
    while elapsed < 0.02 or len(rates) < 20:
        rounds *= 1 if elapsed >= 0.02 else 2
        begin = time.perf_counter()
        kernel(*arrays, rounds)
        elapsed = time.perf_counter() - begin
        rates.append(rounds * operations / elapsed)
    return max(rates)


def limits() -> dict[str, float]:
    """Return the peak rates of the inner loops of the kernels, in operations per second.

    They are multiply-adds in float32 and, where networks can have that precision, in bfloat16; products of
    bits; patterns added to the sum of 8-bit digits of a unit; and overlaps added to the field of a unit
    (int32).  That of multiply-adds is also measured on one thread: what the others add tells whether the
    system's processors are cores, or threads of a core.
    """
    threads = get_threads()

    def zeros(*shape: int, dtype: Any) -> Any:
        """For each thread, from a line of the cache on: vectors that cross lines take two loads."""
        size = threads * np.dtype(dtype).itemsize * math.prod(shape)
        room = np.zeros(size + 64, np.uint8)
        begin = -room.ctypes.data % 64
        return room[begin : begin + size].view(dtype).reshape(threads, *shape)

    width, units = panel_width(np.empty(0, np.float32)), 64 * COUNT
    shapes, sums = ((DEPTH, TILE_ROWS), (DEPTH, width)), zeros(TILE_ROWS, width, dtype=np.float32)

    def products(dtype: Any, threads: int) -> float:
        operations = threads * DEPTH * TILE_ROWS * width * (2 if dtype is WORD else 1)
        arrays = (*(zeros(*shape, dtype=dtype)[:threads] for shape in shapes), sums[:threads])
        return measured(multiply_adds, arrays, operations)

    bits = [zeros(*shape, dtype=np.uint64) for shape in ((ROWS, WORDS), (PANELS, WORDS, LANES))]
    return {
        "multiply-adds": products(np.float32, threads),
        "multiply-adds on one thread": products(np.float32, 1),
        **({} if bfloat16.fault() else {PAIRS: products(WORD, threads)}),
        "bit products (popcount)": measured(
            popcounts, (*bits, zeros(ROWS, COLUMNS, dtype=np.int32)), threads * ROWS * COLUMNS * 64 * WORDS
        ),
        "patterns added": measured(
            pattern_additions,
            (
                zeros(MOST // 4 * MEMORIES, dtype=np.int32),
                zeros(MOST // 4 * PANEL, dtype=np.uint8),
                zeros(MEMORIES, 1, dtype=np.uint64),
                zeros(MEMORIES, UNITS, dtype=np.int32),
                zeros(MEMORIES, dtype=np.int32),
                zeros(MEMORIES + 1, dtype=np.uint32),
            ),
            threads * MOST * MEMORIES * UNITS,
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
