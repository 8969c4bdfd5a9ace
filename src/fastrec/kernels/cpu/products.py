"""Products of binary matrices as popcounts on the CPU: overlaps and couplings."""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty
from .jit import jit
from .parallel import parallel
from .random import U64
from .simd import LANES, WORD_POPCOUNT, popcount_tile
from .threads import get_threads

# 4 rows by 3 vectors of columns: 12 counts and 3 columns fit the 16 registers of AVX2 nearly, and with 4
# vectors the 32 of AVX-512; an instruction loads little for what it counts.
ROWS, PANELS = 4, 4 if WORD_POPCOUNT else 3
COLUMNS = PANELS * LANES
full_tile, row_tile, mirrored_tile = (
    popcount_tile(rows, PANELS, mirrored) for rows, mirrored in ((ROWS, False), (1, False), (ROWS, True))
)


@jit
def interleave(packed, first, last, panels):
    """Lay rows first..last-1 of packed (r, w) side by side in panels (q, w, LANES), the rest 0."""
    q, w, _ = panels.shape
    for column in range(q * LANES):
        for word in range(w):
            value = packed[first + column, word] if first + column < last else U64(0)
            panels[column // LANES, word, column % LANES] = value


@jit
def product(a, panels, bits, begin, end, first, last, out):
    """out[first:last, begin:end] = bits - 2 popcount(a xor columns) for rows of a (r, w).

    panels (PANELS, w, LANES) hold the columns, COLUMNS at most.  A float64 out gets these divided by bits.
    """
    w, pitch, columns, i = a.shape[1], out.shape[1], end - begin, first
    while columns == COLUMNS and i + ROWS <= last:
        full_tile(a, i, w, panels, 0, w, bits, out, i * pitch + begin, pitch, out, 0, 0)
        i += ROWS
    if i == last:
        return
    some = empty((ROWS, COLUMNS), out)
    while i < last:
        rows = min(ROWS, last - i)
        if rows == ROWS:
            full_tile(a, i, w, panels, 0, w, bits, some, 0, COLUMNS, out, 0, 0)
        else:
            for r in range(rows):
                row_tile(a, i + r, w, panels, 0, w, bits, some, r * COLUMNS, COLUMNS, out, 0, 0)
        for r in range(rows):
            for c in range(columns):
                out[i + r, begin + c] = some[r, c]
        i += rows


@jit
def mirrored_product(a, panels, bits, begin, end, last, out):
    """`product` for the first `last` rows, and the same in out[begin:end, :last].

    There lines are far apart, often by a power of two, so that few of them stay in the first cache: they are
    written as a whole.
    """
    w, pitch, done, line = a.shape[1], out.shape[1], 0, 64 // out.itemsize
    if end - begin == COLUMNS:
        lines = empty((COLUMNS, line), out)
        while done + line <= last:
            for i in range(done, done + line, ROWS):
                at = i * pitch + begin
                mirrored_tile(a, i, w, panels, 0, w, bits, out, at, pitch, lines, i - done, line)
            for c in range(COLUMNS):
                copy(lines[c], out[begin + c, done : done + line])
            done += line
    product(a, panels, bits, begin, end, done, last, out)
    for c in range(begin, end):
        for i in range(done, last):
            out[c, i] = out[i, c]


def columns_together(columns):
    """Neighbouring columns that a task computes: threads that write to the same line hold each other up."""
    groups = -(-columns // COLUMNS)
    return COLUMNS * max(1, min(8, groups // (4 * get_threads())))


def overlaps(packed, probes, n, m):
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w); float64 with these
    divided by n."""
    (k, b, p), columns = m.shape, columns_together(m.shape[2])
    work = k * b * p * (n / 20_000 + 1) + 2 * packed.size  # 20 000 products of bits a nanosecond
    overlap_columns.deal(k * -(-p // columns), work, columns, packed, probes, n, m)


@parallel
def overlap_columns(task, columns, packed, probes, n, m):
    """`overlaps` with so many patterns of a network."""
    _, p, w = packed.shape
    parts = -(-p // columns)
    network, first = task // parts, task % parts * columns
    panels = empty((PANELS, w, LANES), np.uint64)
    for begin in range(first, min(first + columns, p), COLUMNS):
        end = min(begin + COLUMNS, p)
        interleave(packed[network], begin, end, panels)
        product(probes[network], panels, n, begin, end, 0, probes.shape[1], m[network])


def couplings(units, p, self_coupling, weights):
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    (k, n, _), columns = units.shape, columns_together(units.shape[1])
    work = k * n * n * (p / 40_000 + 1)
    coupling_columns.deal(k * -(-n // columns), work, columns, units, p, self_coupling, weights)


@parallel
def coupling_columns(task, columns, units, p, self_coupling, weights):
    """`couplings` in so many columns of a network."""
    _, n, u = units.shape
    parts = -(-n // columns)
    network, out = units[task // parts], weights[task // parts]
    first = (parts - 1 - task % parts) * columns  # of the triangle, so the longest come first
    panels = empty((PANELS, u, LANES), np.uint64)
    for begin in range(first, min(first + columns, n), COLUMNS):
        end = min(begin + COLUMNS, n)
        interleave(network, begin, end, panels)
        mirrored_product(network, panels, p, begin, end, begin, out)
        product(network, panels, p, begin, end, begin, end, out)
        if not self_coupling:
            for i in range(begin, end):
                out[i, i] = 0
