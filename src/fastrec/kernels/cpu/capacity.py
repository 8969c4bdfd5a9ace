"""The incremental capacity scan on the CPU.

Adding pattern nu to a network changes the field of every stored memory mu by a rank-one term, so one pass
over n p^2 (unit, memory, addition) triples follows all fields up to load p.  They are signed by the memory's
own bits and have the self-coupling in: g_i(p) = n + x_mu_i sum_{nu < p, nu != mu} m_mu_nu x_nu_i, with
overlaps m.  A memory is stable while g_i >= p for all i.  Flipping the units C changes a field by
2 sum_{j in C} W_ij x_i x_j, at most 2 |C| p: only units below (1 + 2 |C|) p are looked at again.

The sums are followed by bounds (`byte_products.advance`).  An overlap is a digit of 8 bits times a power of
two and a small rest; sums of digits times bits are what CPUs add fastest.  Patterns are added in steps, at
whose ends a, b the sums are looked at: in between a field cannot fall below (g(a) + g(b) - spread) / 2,
where spread is the sum of the step's |m|, and no field is off by more than the sum of its rests.  Only where
that is not above what could matter the unit's field is summed exactly, load by load (`look_closer`).

Where a unit could really turn the wrong way, the recall is followed on the units with small fields and C
alone, which is all of it as long as no other can turn (`harmless`); else it is run on all units.  Nothing is
approximated: bounds only say what cannot have happened.

Memories are followed in blocks, each through all loads before the next, so that no more than the patterns,
their transpose and a block's overlaps are held.  What has failed so far ends the search of what comes later.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import ORDER, words
from .arrays import LINE, borrow, clear, copy, empty, keep, sum_first, to_line, zeros
from .atomic import fetch_add, fetch_min, look
from .byte_products import DIGIT, MOST, NEVER, PANEL, ROWS, UNITS, advance, split, spread_bits
from .hopfield import (
    COLUMNS,
    PANELS,
    bit,
    interleave,
    product,
    row_overlaps,
    step_sync,
    sweep_async,
    transpose,
    transpose_words,
    unit_field,
)
from .jit import jit, kernel
from .parallel import parallel, tasks
from .random import ONE, U64, block, choose, flip, holds, random_order, random_pattern, random_patterns
from .simd import LANES, popcount, signed_sum
from .threads import get_threads

__all__ = ["capacity_scan"]

BACK, LOST, UNKNOWN = 0, 1, 2  # ends of a recall
CHUNK = 512  # patterns whose bits are held as bytes at a time
BLOCK = 504  # memories of a block at most, whole tiles of `advance`
FEWEST_NOTES, NOTES = 4096, 1 << 16  # units and loads to look at again that are kept of a block of memories
MEMBERS = 2048  # units that the recall of a memory is followed on, at most
FOUND = 64  # tiles with something near that are looked at together
MOST_PATTERNS = 1 << 21
FAR = 1 << 29  # of a height: no sum of the digits of so many patterns is so large
# Of a task on one network: columns of overlaps (threads that write to one line hold each other up), and
# panels.
TOGETHER, PANELS_TOGETHER = 8 * COLUMNS, 8
LOWS, DOUBTS = 0, 1  # places of what is counted
SAFE = 3.5  # standard deviations between what could matter and a field, from which steps are made longer


def capacity_scan(
    key,
    n,
    trials,
    newest,
    largest,
    corrupted,
    synchronous,
    max_sweeps,
    max_patterns,
    counts,
    censored,
):
    """Capacity of the networks numbered trials (T,) int64, zero diagonal, into counts (T,) int64.

    Patterns of network t are added one at a time.  At each load p every stored memory (newest: only the
    last) is probed with `corrupted` of its bits flipped and recalled; the load passes if all come to rest
    at the memory itself.  The count is the load before the first that fails, or (largest) the largest load
    up to max_patterns that passes; censored (T,) bool says that no load up to max_patterns failed or
    (largest) that max_patterns itself passes.
    """
    if max_patterns > MOST_PATTERNS:
        raise OverflowError(f"sums of the overlaps of {max_patterns} patterns do not fit 32 bits")
    options = (newest, largest, corrupted, synchronous, max_sweeps, max_patterns)
    if one_by_one(n, max_patterns, len(trials)):
        for slot, trial in enumerate(trials):
            scan = NetworkScan(key, n, int(trial), *options)
            for _ in scan:
                pass
            counts[slot], censored[slot] = scan.end, scan.end == max_patterns
        return
    certain = certified_loads(n, corrupted, max_sweeps, max_patterns)
    ends = step_ends(n, corrupted, certain, max_patterns, newest)
    window = max_patterns if newest or largest else min(max_patterns, likely_load(n))
    scan_trials(key, n, trials, *options, certain, digit_shift(n), ends, window, counts, censored)


def one_by_one(n, max_patterns, trials):
    """Whether networks are so large, or so few, that all threads work on one at a time."""
    work = n * float(max_patterns) ** 2
    return work > 1e10 or (trials < get_threads() and work > 3e8)


def certified_loads(n, corrupted, max_sweeps, max_patterns):
    """Loads up to which a memory whose fields are all large is recalled for certain.

    At larger ones most memories would be looked at again, and where one sweep must do (it takes a second to
    see that nothing flips any more) bounds say nothing: there all that are stable are recalled.
    """
    if corrupted == 0:
        return max_patterns
    return min(max_patterns, (n - 1) // (4 * corrupted)) if max_sweeps > 1 else 0


@functools.lru_cache
def step_ends(n, corrupted, certain, max_patterns, newest):
    """Numbers of patterns at which sums are looked at: (steps,) int64, the last max_patterns or more.

    A longer step is cheaper, and its bound wider: it is taken where few units would be looked at again.  All
    are multiples of 8, and of `CHUNK` all are among them.
    """
    ends, end = [], 0
    while end < max_patterns:
        size = 64 if newest else MOST
        while size > 8 and size * n >= 1 << 31:  # sums of the overlaps of a step have 32 bits
            size //= 2
        while size > 8 and not newest:
            last = end + size
            reach = (1 + 2 * corrupted * (end < certain)) * last
            if n - reach - 0.4 * size * math.sqrt(n) > SAFE * math.sqrt(n * last):
                break
            size //= 2
        end = min(end + size, end - end % CHUNK + CHUNK, -(-max_patterns // 8) * 8)
        ends.append(end)
    return np.array(ends)


@functools.lru_cache
def likely_load(n):
    """A load at which most networks have failed: three unstable units are expected."""
    low, high = 1, n + 8
    while high - low > 1:
        p = (low + high) // 2
        tail = math.erfc((n - p) / math.sqrt(2 * n * p)) / 2
        low, high = (p, high) if n * p * tail < 3 else (low, p)
    return high + 2


def digit_shift(n):
    """What overlaps of random patterns of n units are shifted by to be a digit, nearly all of them."""
    return max(0, math.ceil(math.log2(3.6 * math.sqrt(n) / DIGIT)))


@tasks(lambda key, n, trials, *rest: (len(trials), len(trials) * n * (float(rest[5]) ** 2 / 200 + 20)))
def scan_trials(
    slot,
    key,
    n,
    trials,
    newest,
    largest,
    corrupted,
    synchronous,
    max_sweeps,
    max_patterns,
    certain,
    shift,
    ends,
    window,
    counts,
    censored,
):
    """`capacity_scan` of one network, in steps that end at `ends`; first up to a load of `window` only."""
    trial, w, top = trials[slot], -(-n // 64), ends[-1]
    rows, p = min(BLOCK, -(-top // ROWS) * ROWS), -(-top // 64) * 64
    room = min(NOTES, max(FEWEST_NOTES, 32 * p))
    scratch = (
        empty((p + ROWS, w), np.uint64),  # a tile of memories may go beyond the last
        empty((64 * w, p // 64), np.uint64),
        empty((rows, p), np.int32),
        empty((rows // ROWS, p // 4, ROWS), np.int32),
        empty((len(ends) + 1, rows), np.int32),
        empty((len(ends) + 1, rows // ROWS), np.int32),
        empty((1,), np.int64),
        empty((max_patterns + 1,), np.bool_),
        empty((room, 3), np.int32),
        empty((room,), np.int64),
        zeros((2,), np.int64),
    )
    x, units, gram, digits, centers, widths, failing, failed, lows, doubts, noted = borrow(scratch)
    options = (newest, largest, synchronous, max_sweeps, corrupted, certain)
    network = (key, trial, n, x, units)
    tables = (gram, digits, centers, widths)
    notes = (failing, failed, lows, doubts, noted)
    drawn, count, most = 0, 0, window
    owned = scratch_of_panel(rows, corrupted)
    panels = borrow(owned)
    while True:
        stored = ends[step_of(most - 1, ends)]
        for mu in range(drawn, stored):
            random_pattern(key, mu, trial, n, x[mu])
        drawn = max(drawn, stored)
        for column in range(w):
            transpose_words(x, 0, drawn, column, units)
        failing[0] = most + 1
        clear(failed, 0, len(failed))
        for first in range(0, most, rows):
            end = last_open(most, largest, failing, failed)
            if first >= end:
                break
            own = min(rows, drawn - first)
            until = ends[step_of((min(end, first + own) if newest else end) - 1, ends)]
            for begin in range(0, until, COLUMNS):
                overlap_block(x, first, own, begin, min(begin + COLUMNS, until), n, until <= rows, gram)
            memories = (first, own, most, ends)
            for tile in range(0, own, ROWS):
                split_overlaps(tile, until, shift, n, memories, options, tables)
            noted[LOWS] = noted[DOUBTS] = 0
            for panel in range(-(-n // UNITS)):
                scan_panel(panel, network, memories, options, tables, notes, panels)
            resolve(network, memories, options, gram, notes)
        settle(network, most, options, notes)
        count = last_open(most, largest, failing, failed)
        if count < most or most == max_patterns:
            break
        most = max_patterns
    counts[slot], censored[slot] = count, count == max_patterns
    keep(owned)
    keep(scratch)


@jit
def step_of(nu, ends):
    """The step in which pattern nu is added."""
    step = 0
    while ends[step] <= nu:
        step += 1
    return step


@jit
def last_open(most, largest, failing, failed):
    """The last load up to most that matters: below the first failure, or (largest) not known to fail."""
    end = min(most, look(failing, 0) - 1)
    while largest and end > 0 and failed[end]:
        end -= 1
    return end


@jit
def fail(p, largest, failing, failed):
    """Note that load p fails."""
    if largest:
        failed[p] = True
    else:
        fetch_min(failing, 0, p)


@jit
def fails(p, largest, failing, failed):
    """Whether load p is known to fail, or (first failure) lies at or above one that does."""
    return failed[p] if largest else p >= failing[0]


@jit
def overlap_block(x, first, own, begin, end, n, mirror, gram):
    """Overlaps of memories first.. with patterns begin..end - 1, COLUMNS at most, into columns of gram.

    mirror: the memories are all patterns, so that those before `begin` give the rows from there too.
    """
    panels = empty((PANELS, x.shape[1], LANES), np.uint64)
    interleave(x, begin, end, panels)
    if mirror:
        product(x, panels, n, begin, end, 0, begin, True, gram)
        product(x, panels, n, begin, end, begin, end, False, gram)
    else:
        product(x[first : first + own], panels, n, begin, end, 0, own, False, gram)


@jit
def split_overlaps(tile, until, shift, n, memories, options, tables):
    """Digits of the overlaps of a tile of memories, and what tells in `advance` that a sum is near.

    An overlap is 2^shift digit + rest.  With S the sum of digits so far, signed by the unit's bits in the
    patterns, a field is n + x_i (2^shift S + sum of rests).  In the step from a to b it may have been down to
    where it matters only if x_i (S_a + S_b) <= -height.  Bits are summed as 0 and 2: that is S + sum digits.
    """
    newest, _, _, _, corrupted, certain = options
    (first, own, most, ends), (gram, digits, centers, widths) = memories, tables
    totals, rests = zeros((ROWS,), np.int64), zeros((ROWS,), np.int64)
    rows, begin, step = min(ROWS, own - tile), 0, 0
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
    (_, _, _, x, units), (first, own, most, ends), failing, failed = network, memories, notes[0], notes[1]
    (gram, digits, centers, widths), (sums, bits, near, spans, _) = tables, scratch
    rows, u, final, found = len(gram), units.shape[1], len(ends), 0
    place, panels, begin, chunk = to_line(sums), to_line(bits), 0, 0
    end = last_open(most, largest, failing, failed)
    until = min(end, first + own) if newest else end
    while begin < until:
        stop, last = begin, chunk
        while stop < until and stop < begin + CHUNK:
            stop, last = ends[last], last + 1
        for known in range(begin, stop, 64):
            at = panels + (known - begin) // 4 * PANEL
            spread_bits(units, panel * UNITS * u + known // 64, u, bits, at)
        for tile in range(0, min(own, end - first), ROWS):
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
                memory, note = first + tile, (ROWS + 1) * found
                if advance(
                    digits, digit, bits, known, groups, sums, here, centers, center, width, x, memory, panel,
                    near, note,
                ):  # fmt: skip
                    spans[found, 0], spans[found, 1] = row, tile
                    spans[found, 2], spans[found, 3] = at, next_at
                    found += 1
                    if found == len(spans):
                        look_closer(panel, found, network, memories, options, gram, notes, scratch)
                        found = 0
                at = next_at
        begin, chunk = stop, last
        look_closer(panel, found, network, memories, options, gram, notes, scratch)
        found = 0
        # The newest are looked at when all is added, however soon other threads end the search.
        if not newest:
            until = last_open(end, largest, failing, failed)


@jit
def look_closer(panel, found, network, memories, options, gram, notes, scratch):
    """Judge the units that `advance` has found near, at the loads of their steps, one by one.

    A load fails where the memory is unstable.  Where the field is small the unit is noted, and the load too
    if some of the flips could turn the unit the wrong way, or leave it so if it is itself flipped.
    """
    newest, largest, _, _, corrupted, certain = options
    (key, trial, n, _, units), (first, own, most, _) = network, memories
    (failing, failed, lows, doubts, noted), (_, _, near, spans, chosen) = notes, scratch
    for k in range(found):
        step, tile, after, last = spans[k, 0], spans[k, 1], spans[k, 2], min(spans[k, 3], most)
        memories_left = U64(near[(ROWS + 1) * k + ROWS])
        while memories_left:
            r, memories_left = first_one(memories_left), memories_left & (memories_left - ONE)
            units_left, row, mu = U64(near[(ROWS + 1) * k + r]), tile + r, first + tile + r
            begin, end = (mu, min(mu + 1, most)) if newest else (max(after, mu), last)
            while units_left and row < own:
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


@jit
def field_of(mu, row, i, p, n, units, gram):
    """Field of unit i of memory mu at load p, with the self-coupling and signed by the unit.

    row: of gram, where the overlaps of the memory are.
    """
    whole, field = p // 64, 0
    if whole:
        field = unit_field(units, i, whole, n, gram[row], sum_first(gram[row], 64 * whole))
    if p % 64:
        field += signed_sum(units[i, whole], p % 64, gram, row * gram.shape[1] + 64 * whole)
    return field if bit(units[i], mu) else -field


@jit
def in_doubt(key, n, trial, mu, i, p, margin, units, chosen):
    """Whether flips of the units chosen for memory mu at load p could turn unit i, or leave it turned."""
    choose(key, mu, trial, p, n, chosen)
    flipped, change, up = False, 0, bit(units[i], mu)
    for j in chosen:
        if j == i:
            flipped = True
        else:
            w = coupling(units, p, i, j)
            change += max(0, w if bit(units[j], mu) == up else -w)
    return margin < 2 * change or (flipped and margin <= 2 * change)


@jit
def coupling(units, p, i, j):
    """W_ij of the first p patterns."""
    differing = 0
    for word in range(p // 64):
        differing += popcount(units[i, word] ^ units[j, word])
    if p % 64:
        differing += popcount((units[i, p // 64] ^ units[j, p // 64]) & ((ONE << U64(p % 64)) - ONE))
    return p - 2 * differing


@jit
def resolve(network, memories, options, gram, notes):
    """Recall the memories first.. at the loads at which `look_closer` has left a doubt."""
    newest, largest, _, _, corrupted, certain = options
    (first, own, most, ends), (failing, failed, lows, doubts, noted) = memories, notes
    chosen = empty((corrupted,), np.int64)
    if noted[DOUBTS] > len(doubts):  # not all are known: all that are stable are recalled
        for p in range(first + 1, min(certain, most) + 1):
            for mu in range(p - 1 if newest else first, min(first + own, p)):
                if not fails(p, largest, failing, failed) and not returns(network, options, mu, p, chosen):
                    fail(p, largest, failing, failed)
        return
    sort(doubts, noted[DOUBTS])
    for k in range(noted[DOUBTS]):
        p, mu = doubts[k] >> 32, doubts[k] & 0xFFFFFFFF
        if (k and doubts[k] == doubts[k - 1]) or fails(p, largest, failing, failed):
            continue
        end = UNKNOWN
        if noted[LOWS] <= len(lows):
            step = len(ends) if newest else step_of(p - 1, ends)
            low = small_fields(mu, step, lows, noted[LOWS])
            end = follow(network, options, mu, mu - first, p, low, gram, chosen)
        if end == UNKNOWN and returns(network, options, mu, p, chosen):
            end = BACK
        if end != BACK:
            fail(p, largest, failing, failed)


@jit
def sort(values, size):
    """Sort the first `size` values, of which there are few."""
    for k in range(1, size):
        value, place = values[k], k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@jit
def small_fields(mu, step, lows, noted):
    """The units of memory mu that were noted in a step."""
    size = 0
    for k in range(noted):
        size += lows[k, 0] == mu and lows[k, 1] == step
    units, size = empty((size,), np.int64), 0
    for k in range(noted):
        if lows[k, 0] == mu and lows[k, 1] == step:
            units[size] = lows[k, 2]
            size += 1
    return units


@jit
def follow(network, options, mu, row, p, low, gram, chosen):
    """Where the recall of memory mu with some units flipped ends at load p: BACK, LOST or UNKNOWN.

    Only the units `low`, whose fields are small, and the flipped ones are followed, in their order among all
    units.  While no more units differ from the memory than were flipped, no other unit can turn the wrong
    way; where more have differed, `harmless` tells whether that is still so.  chosen: room for those flipped.
    """
    key, trial, n, _, units = network
    _, _, synchronous, max_sweeps, _, _ = options
    most = size = len(chosen)
    if most + len(low) > MEMBERS:
        return UNKNOWN
    choose(key, mu, trial, p, n, chosen)
    members = empty((size + len(low),), np.int64)
    copy(chosen, members)
    for i in low:
        if not holds(chosen, most, i):
            members[size] = i
            size += 1
    fields = empty((size,), np.int64)
    between = empty((size, size), np.int64)  # twice the couplings, signed by both units
    for a in range(size):
        fields[a] = field_of(mu, row, members[a], p, n, units, gram) - p
        for b in range(a):
            agree = bit(units[members[a]], mu) == bit(units[members[b]], mu)
            between[a, b] = (2 if agree else -2) * coupling(units, p, members[a], members[b])
            between[b, a] = between[a, b]
        between[a, a] = 0
    order, draws = empty((size,), np.int64), empty((size,), np.uint64)
    differs, before, ever = empty((size,), np.bool_), empty((size,), np.bool_), empty((size,), np.bool_)
    for a in range(size):
        order[a], differs[a], ever[a] = a, a < most, a < most
    for sweep in range(max_sweeps):
        if not synchronous:
            sort_units(key, trial, p, sweep, members[:size], draws, order)
        flips = 0
        copy(differs, before)
        for place in range(size):
            a = order[place]
            field = fields[a]
            for b in range(size):
                if before[b] if synchronous else differs[b]:
                    field -= between[a, b]
            if field != 0 and differs[a] == (field > 0):
                differs[a] = field < 0
                flips += 1
                if not ever[a]:
                    ever[a] = True
                    if not harmless(p, n, most, units, members[:size], ever):
                        return UNKNOWN
        if flips == 0:
            return LOST if sum_first(differs, size) else BACK
    return LOST


@jit
def harmless(p, n, most, units, members, ever):
    """Whether no unit but the members can turn, however those of them that have `ever` differed are set.

    Without these flips the field of another unit is above 2 most p: more than they change it by.
    """
    for i in range(n):
        change = 0
        for a in range(len(members)):
            if ever[a]:
                change += abs(coupling(units, p, i, members[a]))
        if change > most * p and not holds(members, len(members), i):
            return False
    return True


@jit
def sort_units(key, network, step, sweep, units, draws, order):
    """Fill order with the numbers of a few units as `random_order` of one sweep has them."""
    for a in range(len(units)):
        i = units[a]
        draws[a] = block(key, i // 2, sweep, network, ORDER | step << 8)[i % 2]
        place = a
        while place > 0 and (
            draws[order[place - 1]] > draws[a]
            or (draws[order[place - 1]] == draws[a] and units[order[place - 1]] > i)
        ):
            order[place] = order[place - 1]
            place -= 1
        order[place] = a


@jit
def returns(network, options, mu, p, chosen):
    """Whether memory mu with some units flipped comes to rest at itself, at load p.

    chosen: room for those that are flipped.
    """
    key, trial, n, x, units = network
    _, _, synchronous, max_sweeps, _, _ = options
    choose(key, mu, trial, p, n, chosen)
    state, new = empty((x.shape[1],), np.uint64), empty((x.shape[1],), np.uint64)
    copy(x[mu], state)
    flip(chosen, state)
    copy(state, new)
    m = empty((64 * -(-p // 64),), np.int32)
    row_overlaps(x, p, state, n, m)
    order = empty((n,), np.int32)
    for sweep in range(max_sweeps):
        if synchronous:
            flips = step_sync(units[:n], p, p, state, m, new)
            copy(new, state)
            row_overlaps(x, p, state, n, m)
        else:
            random_order(key, trial, p, sweep, order)
            flips = sweep_async(units, p, p, order, state, m)
        if flips == 0:
            back = True
            for word in range(len(state)):
                back &= state[word] == x[mu, word]
            return back
    return False


@jit
def settle(network, most, options, notes):
    """Recall all memories at the loads that are not certified, until the count is known."""
    newest, largest, _, _, corrupted, certain = options
    failing, failed, _, _, _ = notes
    chosen, load, end = empty((corrupted,), np.int64), certain, last_open(most, largest, failing, failed)
    # From below up to the first that fails, or from above down to the first that passes.
    while certain < end and (largest or load < end):
        load, passes = end if largest else load + 1, True
        for mu in range(load - 1 if newest else 0, load):
            passes = passes and returns(network, options, mu, load, chosen)
        if not passes:
            fail(load, largest, failing, failed)
        if passes == largest:
            break
        end = last_open(end, largest, failing, failed)


class NetworkScan:
    """The scan of one network on all threads: memories in blocks, each through all loads before the next.

    Iterate to run it: each turn gives the share that is done, and `progress` then tells how far it is; a scan
    that is given it goes on from there, to the same count.  Afterwards `end` is the count.
    """

    def __init__(
        self,
        key,
        n,
        trial,
        newest,
        largest,
        corrupted,
        synchronous,
        max_sweeps,
        max_patterns,
        progress=None,
    ):
        self.n, self.most = n, max_patterns
        certain = certified_loads(n, corrupted, max_sweeps, max_patterns)
        self.options = (newest, largest, synchronous, max_sweeps, corrupted, certain)
        self.ends = step_ends(n, corrupted, certain, max_patterns, newest)
        top = int(self.ends[-1])
        w, p, self.rows = words(n), 64 * words(top), min(BLOCK, -(-top // ROWS) * ROWS)
        x, units = np.zeros((p + ROWS, w), np.uint64), np.empty((64 * w, p // 64), np.uint64)
        random_patterns(key, trial, n, x[None, :top])
        transpose(x[None, :p], units[None])
        self.network = (key, trial, n, x, units)
        tiles, steps = self.rows // ROWS, len(self.ends) + 1
        self.tables = (
            np.empty((self.rows, p), np.int32),
            np.empty((tiles, p // 4, ROWS), np.int32),
            np.empty((steps, self.rows), np.int32),
            np.empty((steps, tiles), np.int32),
        )
        self.failing, self.failed = np.array([max_patterns + 1]), np.zeros(max_patterns + 1, np.bool_)
        self.notes = (
            *(self.failing, self.failed),
            *(np.empty((NOTES, 3), np.int32), np.empty(NOTES, np.int64), np.zeros(2, np.int64)),
        )
        self.memories = self.loads = 0
        if progress is not None:
            error = f"what is kept of trial {trial} of n = {n} cannot be"
            if len(progress) != len(self.progress):
                raise ValueError(error)
            self.memories, self.loads, self.failing[0] = np.frombuffer(progress[:24], "<i8").tolist()
            failed = np.frombuffer(progress[24:], np.uint8)
            self.failed[:] = np.unpackbits(failed, count=max_patterns + 1)
            if self.memories < 0 or not 1 <= self.failing[0] <= max_patterns + 1 or self.failed[0]:
                raise ValueError(error)

    @property
    def progress(self):
        """Memories that are done, uncertified loads that are, and what has failed, as bytes."""
        done = np.array([self.memories, self.loads, self.failing[0]], "<i8")
        return done.tobytes() + np.packbits(self.failed).tobytes()

    @property
    def end(self):
        """The last load that may still be the count."""
        if not self.options[1]:
            return int(self.failing[0]) - 1
        return int(np.flatnonzero(~self.failed)[-1])  # load 0 never fails

    def __iter__(self):
        newest, largest, *_, certain = self.options
        while self.memories < self.end:
            self.follow_block(newest)
            self.memories += self.rows
            yield min(1.0, self.memories / max(1, self.end))
        while certain < self.end:
            load = self.end if largest else max(self.loads, certain) + 1
            if load > self.end:
                break
            lost = np.zeros(1, np.int64)
            first = load - 1 if newest else 0
            work = 10.0 * self.n * load * (load - first)
            recall_memories.deal(load - first, work, first, load, self.network, self.options, lost)
            if lost[0]:
                self.failed[load] = True
                self.failing[0] = min(self.failing[0], load)
            self.loads = load
            if bool(lost[0]) != largest:
                break
            yield 1.0

    def follow_block(self, newest):
        """Follow the fields of a block of memories, and recall what is in doubt."""
        first, (_, _, _, x, _) = self.memories, self.network
        gram, _, _, _ = self.tables
        own = min(self.rows, int(self.ends[-1]) - first)
        last = min(self.end, first + own) if newest else self.end
        until = int(self.ends[np.searchsorted(self.ends, last)])
        memories = (first, own, self.most, self.ends)
        tasks = -(-until // TOGETHER)
        overlap_blocks.deal(tasks, own * until * (self.n / 20_000 + 1), first, own, until, self.n, x, gram)
        shift = digit_shift(self.n)
        given = (until, shift, self.n, memories, self.options, self.tables)
        split_tiles.deal(-(-own // ROWS), own * until / 2, *given)
        self.notes[-1][:] = 0
        panels = -(-self.n // (UNITS * PANELS_TOGETHER))
        work = own * until * self.n / 300
        scan_panels.deal(panels, work, self.network, memories, self.options, self.tables, self.notes)
        resolve_block(self.network, memories, self.options, gram, self.notes)


@parallel
def overlap_blocks(task, first, own, until, n, x, gram):
    """`overlap_block` of so many columns."""
    for begin in range(task * TOGETHER, min((task + 1) * TOGETHER, until), COLUMNS):
        overlap_block(x, first, own, begin, min(begin + COLUMNS, until), n, False, gram)


@parallel
def split_tiles(task, until, shift, n, memories, options, tables):
    """`split_overlaps` of a tile."""
    split_overlaps(task * ROWS, until, shift, n, memories, options, tables)


@parallel
def scan_panels(task, network, memories, options, tables, notes):
    """`scan_panel` of some panels."""
    _, _, n, _, _ = network
    owned = scratch_of_panel(len(tables[0]), options[4])
    scratch = borrow(owned)
    for panel in range(task * PANELS_TOGETHER, min((task + 1) * PANELS_TOGETHER, -(-n // UNITS))):
        scan_panel(panel, network, memories, options, tables, notes, scratch)
    keep(owned)


@kernel
def resolve_block(network, memories, options, gram, notes):
    """`resolve`, for calls from Python."""
    resolve(borrow(network), borrow(memories), options, borrow(gram), borrow(notes))


@parallel
def recall_memories(task, first, load, network, options, lost):
    """Note in lost (1,) if a memory, of those from `first` on, does not come back at a load."""
    if not look(lost, 0):
        owned = empty((options[4],), np.int64)
        if not returns(network, options, first + task, load, borrow(owned)):
            fetch_add(lost, 0, 1)
        keep(owned)
