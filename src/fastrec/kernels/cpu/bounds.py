"""Bounds of the fields in a capacity scan: which memories must be looked at, at which loads.

An overlap is a digit of 8 bits times a power of two and a small rest; sums of digits times bits are what CPUs
add fastest.  No field is off by more than the sum of its rests.
"""

from __future__ import annotations

import numpy as np

from .arrays import LINE, clear, empty, to_line, zeros
from .atomic import fetch_add
from .byte_products import MOST, NEVER, PANEL, ROWS, UNITS, advance, split, spread_bits
from .jit import jit
from .loads import fail, last_open
from .packing import bit
from .probes import DOUBTS, LOWS, field_of, in_doubt
from .products import PANELS, interleave, mirrored_product, product
from .random import ONE, U64
from .simd import LANES, popcount

CHUNK = 512  # patterns whose bits are held as bytes at a time
FOUND = 64  # tiles with something near that are looked at together
FAR = 1 << 29  # of a height: no sum of the digits of so many patterns is so large


@jit
def overlap_block(x, first, size, begin, end, n, mirror, gram):
    """Overlaps of memories first.. with patterns begin..end - 1, COLUMNS at most, into columns of gram.

    mirror: the memories are all patterns, so that those before `begin` give the rows from there too.
    """
    panels = empty((PANELS, x.shape[1], LANES), np.uint64)
    interleave(x, begin, end, panels)
    if mirror:
        mirrored_product(x, panels, n, begin, end, begin, gram)
        product(x, panels, n, begin, end, begin, end, gram)
    else:
        product(x[first : first + size], panels, n, begin, end, 0, size, gram)


@jit
def split_overlaps(tile, until, shift, n, memories, options, tables):
    """Digits of the overlaps of a tile of memories, and what tells in `advance` that a sum is near.

    An overlap is 2^shift digit + rest.  With S the sum of digits so far, signed by the unit's bits in the
    patterns, a field is n + x_i (2^shift S + sum of rests).  In the step from a to b it may have been down to
    where it matters only if x_i (S_a + S_b) <= -height.  Bits are summed as 0 and 2: that is S + sum digits.
    """
    newest, _, _, _, corrupted, certain = options
    (first, size, most, ends), (gram, digits, centers, widths) = memories, tables
    totals, rests = zeros((ROWS,), np.int64), zeros((ROWS,), np.int64)
    rows, begin, step = min(ROWS, size - tile), 0, 0
    while begin < until:
        end = ends[step]
        last, height = min(end, most), FAR
        reach = max(last, (1 + 2 * corrupted) * min(last, certain))
        for r in range(ROWS):
            row, mu = tile + r, first + tile + r
            stop = min(end, mu) if newest else end
            if r >= rows or stop < begin:
                stop = begin
            if begin <= mu < stop:
                gram[row, mu] = 0
            at = (tile // ROWS * digits.shape[1] + begin // 4) * ROWS + r
            total, rest, spread = split(gram, row, begin, end, stop, shift, digits, at)
            if begin <= mu < stop:
                gram[row, mu] = n
            centers[step, row] = -2 * totals[r] - total
            if not newest and r < rows and mu < end:
                height = min(height, -((2 * (reach - n) + 2 * rests[r] + rest + spread) >> shift))
            totals[r] += total
            rests[r] += rest
        set_width(step, tile, height, centers, widths)
        begin, step = end, step + 1
    if newest:  # fields at birth only, from the sums when all is added
        height = FAR
        for r in range(rows):
            p = first + tile + r + 1
            reach = max(p, (1 + 2 * corrupted) * min(p, certain))
            height = min(height, -((2 * (reach - n + rests[r])) >> shift))
            centers[len(ends), tile + r] = -2 * totals[r]
        set_width(len(ends), tile, height, centers, widths)


@jit
def set_width(step, tile, height, centers, widths):
    """Centers and width of `advance` for a tile: a sum is near where |before + after + center| >= height."""
    if height == FAR:
        widths[step, tile // ROWS] = NEVER
        return
    height = max(-FAR, min(FAR, height))
    for row in range(tile, tile + ROWS):
        centers[step, row] += height - 1
    widths[step, tile // ROWS] = 2 * height - 2


@jit
def scan_panel(panel, network, memories, options, tables, notes, scratch):
    """Follow the fields of the memories first.. at 32 units through all loads that still matter."""
    newest, largest, _, _, _, _ = options
    (_, _, _, x, units), (first, size, most, ends), failing, failed = network, memories, notes[0], notes[1]
    (gram, digits, centers, widths), (sums, bits, near, spans, _) = tables, scratch
    rows, u, final, flagged = len(gram), units.shape[1], len(ends), 0
    place, panels, begin, chunk = to_line(sums), to_line(bits), 0, 0
    end = last_open(most, largest, failing, failed)
    until = min(end, first + size) if newest else end
    while begin < until:
        stop, last = begin, chunk
        while stop < until and stop < begin + CHUNK:
            stop, last = ends[last], last + 1
        for known in range(begin, stop, 64):
            at = panels + (known - begin) // 4 * PANEL
            spread_bits(units, panel * UNITS * u + known // 64, u, bits, at)
        for tile in range(0, min(size, end - first), ROWS):
            at, here = begin, place + tile * UNITS
            if begin == 0:
                clear(sums, here, ROWS * UNITS)
            # The newest need no patterns that come after them.
            added = last
            while newest and added > chunk and added > 1 and ends[added - 2] >= first + tile + ROWS:
                added -= 1
            for step in range(chunk, added + (newest and stop >= until)):
                end = last_open(end, largest, failing, failed)
                if (at >= end and not newest) or first + tile >= end:
                    break
                idle = step + 1 < added and ends[step + 1] - at <= MOST
                if idle and widths[step, tile // ROWS] == widths[step + 1, tile // ROWS] == NEVER:
                    continue  # nothing to look at in both steps: they are done in one
                # After the last step only: (newest) the fields at birth, from the sums when all is added.
                row, next_at = (step, ends[step]) if step < added else (final, at)
                digit = (tile // ROWS * digits.shape[1] + at // 4) * ROWS
                known, groups = panels + (at - begin) // 4 * PANEL, (next_at - at) // 4
                center, width = row * rows + tile, widths[row, tile // ROWS]
                memory, note = first + tile, (ROWS + 1) * flagged
                if advance(
                    digits, digit, bits, known, groups, sums, here, centers, center, width, x, memory, panel,
                    near, note,
                ):  # fmt: skip
                    spans[flagged, 0], spans[flagged, 1] = row, tile
                    spans[flagged, 2], spans[flagged, 3] = at, next_at
                    flagged += 1
                    if flagged == len(spans):
                        look_closer(panel, flagged, network, memories, options, gram, notes, scratch)
                        flagged = 0
                at = next_at
        begin, chunk = stop, last
        look_closer(panel, flagged, network, memories, options, gram, notes, scratch)
        flagged = 0
        # The newest are looked at when all is added, however soon other threads end the search.
        if not newest:
            until = last_open(end, largest, failing, failed)


@jit
def look_closer(panel, flagged, network, memories, options, gram, notes, scratch):
    """Judge the units that `advance` has found near, at the loads of their steps, one by one.

    A load fails where the memory is unstable.  Where the field is small the unit is noted, and the load too
    if some of the flips could turn the unit the wrong way, or leave it so if it is itself flipped.
    """
    newest, largest, _, _, corrupted, certain = options
    (key, trial, n, _, units), (first, size, most, _) = network, memories
    (failing, failed, lows, doubts, noted), (_, _, near, spans, chosen) = notes, scratch
    for k in range(flagged):
        step, tile, after, last = spans[k, 0], spans[k, 1], spans[k, 2], min(spans[k, 3], most)
        memories_left = U64(near[(ROWS + 1) * k + ROWS])
        while memories_left:
            r, memories_left = first_one(memories_left), memories_left & (memories_left - ONE)
            units_left, row, mu = U64(near[(ROWS + 1) * k + r]), tile + r, first + tile + r
            begin, end = (mu, min(mu + 1, most)) if newest else (max(after, mu), last)
            while units_left and row < size:
                i, units_left = panel * UNITS + first_one(units_left), units_left & (units_left - ONE)
                if i >= n:
                    break
                field, low, up = field_of(mu, row, i, begin, n, units, gram), False, bit(units[i], mu)
                for nu in range(begin, end):
                    m, p = gram[row, nu], nu + 1
                    field += m if (units[i, nu >> 6] >> U64(nu & 63) & ONE) == U64(up) else -m
                    margin = field - p
                    if margin > 2 * corrupted * p or (failed[p] if largest else p >= failing[0]):
                        continue
                    if margin < 0:
                        fail(p, largest, failing, failed)
                    elif p <= certain:
                        low = True
                        if in_doubt(key, n, trial, mu, i, p, margin, units, chosen):
                            place = fetch_add(noted, DOUBTS, 1)
                            if place < len(doubts):
                                doubts[place] = p << 32 | mu
                if low:
                    place = fetch_add(noted, LOWS, 1)
                    if place < len(lows):
                        lows[place, 0], lows[place, 1], lows[place, 2] = mu, step, i


@jit
def first_one(word):
    """The lowest bit that is set."""
    return popcount((word & (~word + ONE)) - ONE)


@jit
def scratch_of_panel(rows, corrupted):
    """Arrays for `scan_panel`: sums, a panel of bits, what is near, where, and units that are flipped."""
    return (
        empty((rows * UNITS + LINE // 4,), np.int32),
        empty((CHUNK // 4 * PANEL + LINE,), np.uint8),
        empty((FOUND * (ROWS + 1),), np.uint32),
        empty((FOUND, 4), np.int64),
        empty((corrupted,), np.int64),
    )
