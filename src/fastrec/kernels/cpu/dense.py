"""Recall of dense associative memories on the CPU: sums, over the patterns, of a function of their distance.

A unit that flips changes the distance d of every pattern by 1.  Let r be what F(d) gains if d rises, and v
how much more it gains if d falls: the gain of a unit is the sum of r over all patterns, and of v over those
that differ in it.  Patterns of one distance have one v, so that the sums for all units are counts of ones;
the sum for a single unit is a masked one.

In a table of few entries only the patterns near the state count: the work is to find them, by popcounts that
the rows of a task share.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, zeros
from .bit_counts import add_rows
from .fields import row_overlaps, single_sum
from .jit import jit
from .packing import bit, transpose_words
from .parallel import parallel
from .products import COLUMNS, PANELS, interleave, product
from .random import ONE, U64
from .recall import rows_together, sweep_order
from .simd import LANES, add_signed, popcount

BLOCK_BYTES = 1 << 20  # of patterns that all rows of a task read: they stay in the second cache
SYNC_ROWS, NEAR_ROWS = 16, 64  # that take a step together, and by a table of few entries
NEAR = 4096  # patterns near a state that are weighed at once
GROUPS = 16  # groups of COLUMNS patterns, at least, whose nearest are candidates of asynchronous recall
MANY, PATIENCE = 2048, 64  # of so many patterns, all gains are computed when so many units have not flipped
ORDERS = 4  # of sweeps, the first ones, that a task draws for all its rows
FAR = 1 << 62


@jit
def changes(table):
    """Rises and slopes (2, len(table) + 2) by place in a table, the last ones 0, for all places past it.

    At the first and the last place one of rise and fall cannot be, as all units agree, or differ; what stands
    for it here then cancels in the gains.
    """
    size = len(table)
    found = zeros((2, size + 2), table)
    for at in range(size + 1):
        here = table[at] if at < size else 0
        nearer = table[at - 1] if at else 0
        farther = table[at + 1] if at + 1 < size else 0
        found[0, at] = farther - here
        found[1, at] = nearer - farther
    return found


@jit
def reach_of(change):
    """How much farther than the nearest pattern one can be and count, by a table that begins before that."""
    return change.shape[1] - 3


@jit
def weigh(packed, rows, d, begin, change, counts, chosen, sums, totals):
    """Add to sums (64 w,) the slopes of those of the rows of packed (p, w) that have a 1, by unit.

    rows and d (r,) are numbers and distances of patterns, of which distance `begin` is the first place of the
    changes; totals (2,) get the sums of rises and slopes.  counts (n + 2,) and chosen (>= r,) are room to
    sort the rows by distance.
    """
    low = high = np.int64(d[0])
    for j in range(len(d)):
        low, high = min(low, np.int64(d[j])), max(high, np.int64(d[j]))
    size = high - low + 1
    for j in range(size + 1):
        counts[j] = 0
    for j in range(len(d)):
        counts[d[j] - low + 1] += 1
    for j in range(size):
        counts[j + 1] += counts[j]
    for j in range(len(d)):
        place = d[j] - low
        chosen[counts[place]] = rows[j]
        counts[place] += 1
    first, most = np.int64(0), change.shape[1] - 1
    for j in range(size):  # counts[j] is now where the rows of this distance end
        end, at = np.int64(counts[j]), min(low + j - begin, most)
        if end > first:
            totals[0] += (end - first) * change[0, at]
            totals[1] += (end - first) * change[1, at]
            if change[1, at]:
                add_rows(packed, chosen, first, end, change[1, at], sums)
        first = end


@jit
def largest_overlaps(packed, n, states, largest):
    """Fill largest (r, g) with the largest overlap of states (r, w) with each COLUMNS patterns of packed."""
    (p, w), rows = packed.shape, len(states)
    panels, m = empty((PANELS, w, LANES), packed), empty((rows, COLUMNS), largest)
    for group in range(largest.shape[1]):
        first = COLUMNS * group
        last = min(first + COLUMNS, p)
        interleave(packed, first, last, panels)
        product(states, panels, n, 0, last - first, 0, rows, m)
        for row in range(rows):
            most = m[row, 0]
            for j in range(last - first):
                most = max(most, m[row, j])
            largest[row, group] = most


@jit
def append_near(packed, group, state, farthest, rows, d, count):
    """Append the patterns of a group that are within a distance of a state to rows and d; the new count."""
    p, w = packed.shape
    for mu in range(COLUMNS * group, min(COLUMNS * group + COLUMNS, p)):
        differing = 0
        for word in range(w):
            differing += popcount(packed[mu, word] ^ state[word])
        if differing <= farthest:
            rows[count], d[count] = mu, differing
            count += 1
    return count


@jit
def near_gains(packed, n, change, states, sums, totals):
    """`all_gains` of a table whose first place is that before the nearest pattern."""
    groups = -(-len(packed) // COLUMNS)
    largest = empty((len(states), groups), np.int32)
    largest_overlaps(packed, n, states, largest)
    rows, d, chosen = empty((NEAR,), np.int32), empty((NEAR,), np.int32), empty((NEAR,), np.int32)
    counts = empty((n + 2,), np.int32)
    for row in range(len(states)):
        most, count = largest[row, 0], 0
        for group in range(groups):
            most = max(most, largest[row, group])
        nearest = (n - most) // 2
        farthest = nearest + reach_of(change)
        for group in range(groups):
            if n - largest[row, group] <= 2 * farthest:
                count = append_near(packed, group, states[row], farthest, rows, d, count)
            if count and (count + COLUMNS > NEAR or group == groups - 1):
                some = rows[:count], d[:count]
                weigh(packed, *some, nearest - 1, change, counts, chosen, sums[row], totals[row])
                count = 0


@jit
def all_gains(packed, n, change, relative, states, sums, totals):
    """Fill sums (r, 64 w) and totals (r, 2) with what `gain` takes, for all units of states (r, w)."""
    (p, w), rows = packed.shape, len(states)
    for row in range(rows):
        fill(sums[row], 0, 0)
        fill(totals[row], 0, 0)
    if relative:
        near_gains(packed, n, change, states, sums, totals)
        return
    block = min(p, max(1, BLOCK_BYTES // (8 * w * COLUMNS)) * COLUMNS)
    panels, m = empty((PANELS, w, LANES), packed), empty((rows, block), np.int32)
    numbers, chosen, counts = empty((block,), np.int32), empty((block,), np.int32), empty((n + 2,), np.int32)
    for mu in range(block):
        numbers[mu] = mu
    for first in range(0, p, block):
        size = min(block, p - first)
        for begin in range(0, size, COLUMNS):
            end = min(begin + COLUMNS, size)
            interleave(packed, first + begin, first + end, panels)
            product(states, panels, n, begin, end, 0, rows, m)
        for row in range(rows):
            d = m[row, :size]
            for mu in range(size):
                d[mu] = (n - d[mu]) >> 1
            some = packed[first : first + size]
            weigh(some, numbers[:size], d, 0, change, counts, chosen, sums[row], totals[row])


@jit
def gain(total, totals, state, i):
    """The gain of unit i, of which `total` is the sum of the slopes of patterns that have a 1 there."""
    return totals[0] + (totals[1] - total if bit(state, i) else total)


def dense_sync(packed, n, table, relative, max_sweeps, states, period, sweeps, flips, trail):
    """Synchronous recall of dense memories of n units, states (k, b, w) in place: see the reference."""
    (k, p, w), b = packed.shape, states.shape[1]
    block = rows_together(b, (), 1 if relative else 2**16 // SYNC_ROWS)
    block = min(block, NEAR_ROWS)
    work = 3 * k * b * p * w * (0.2 if relative else 0.7)
    args = (packed, n, table, relative, max_sweeps, states, period, sweeps, flips, trail)
    dense_rows_together.deal(k * -(-b // block), work, block, *args)


@parallel
def dense_rows_together(
    task, block, packed, n, table, relative, max_sweeps, states, period, sweeps, flips, trail
):
    """`dense_sync` of a block of rows."""
    b, w = states.shape[1:]
    parts = -(-b // block)
    network, first = task // parts, task % parts * block
    rows, change = min(block, b - first), changes(table)
    now, before, kept = empty((rows, w), states), zeros((rows, w), states), zeros((rows, w), states)
    sums, totals, active = empty((rows, 64 * w), table), empty((rows, 2), table), empty((rows,), np.int64)
    for r in range(rows):
        copy(states[network, first + r], now[r])
        active[r] = first + r
        period[network, first + r] = sweeps[network, first + r] = flips[network, first + r] = 0
        if trail.shape[2]:
            copy(now[r], trail[network, first + r, 0])
    left, step, kept_at = rows, 0, 0
    while left and step < max_sweeps:
        all_gains(packed[network], n, change, relative, now[:left], sums, totals)
        step += 1
        still = 0
        for a in range(left):
            row, new, flipped = active[a], states[network, active[a]], 0
            for i in range(n):
                if gain(sums[a, i], totals[a], now[a], i) > 0:
                    new[i >> 6] ^= ONE << U64(i & 63)
                    flipped += 1
            back, again = step > 1, kept_at > 0
            for word in range(w):
                back &= new[word] == before[a, word]
                again &= new[word] == kept[a, word]
            stop = 1 if flipped == 0 else 2 if back else step - kept_at if again else 0
            sweeps[network, row] = step
            flips[network, row] += flipped
            period[network, row] = stop
            if trail.shape[2]:
                copy(new, trail[network, row, step])
            if stop == 0:
                active[still] = row
                copy(now[a], before[still])
                copy(new, now[still])
                copy(new if step & (step - 1) == 0 else kept[a], kept[still])
                still += 1
        left = still
        if step & (step - 1) == 0:
            kept_at = step


@jit
def candidates(packed, n, state, largest, reach):
    """Patterns that may count in asynchronous recall from a state, from their largest overlaps (g,) by group.

    Returns the patterns (r, w), their transpose (n, u), their distances (64 u,) and the distance beyond which
    all others are: at least `reach` farther than the nearest, and much farther if there are few patterns.
    """
    groups, w = len(largest), packed.shape[1]
    counts = zeros((n + 1,), np.int32)
    nearest = np.int64(n)
    for group in range(groups):
        d = (n - largest[group]) >> 1
        counts[d] += 1
        nearest = min(nearest, np.int64(d))
    farthest, some = nearest, np.int64(counts[nearest])
    while farthest < n and (farthest < nearest + reach or some + counts[farthest + 1] <= GROUPS):
        farthest += 1
        some += counts[farthest]
    rows = empty((COLUMNS * some,), np.int32)
    d = empty((64 * -(-COLUMNS * some // 64),), np.int32)
    count = 0
    for group in range(groups):
        if n - largest[group] <= 2 * farthest:
            count = append_near(packed, group, state, farthest, rows, d, count)
    near = empty((count, w), packed)
    for j in range(count):
        copy(packed[rows[j]], near[j])
    units = empty((n, -(-count // 64)), packed)
    for word in range(w):
        transpose_words(near, 0, count, word, units)
    return near, units, d, FAR if farthest == n else farthest


@jit
def weigh_singly(d, p, change, relative, v, totals):
    """Fill v (1, >= p) with the slopes of p patterns of distances d, totals with the sums; the nearest."""
    nearest, most = np.int64(d[0]), change.shape[1] - 1
    for mu in range(p):
        nearest = min(nearest, np.int64(d[mu]))
    begin, rises, slopes = nearest - 1 if relative else 0, np.int64(0), np.int64(0)
    for mu in range(p):
        at = U64(min(np.int64(d[mu]) - begin, most))  # unsigned, so that the loop becomes vectors
        v[0, mu] = change[1, at]
        rises += change[0, at]
        slopes += change[1, at]
    totals[0], totals[1] = rises, slopes
    return nearest


@jit
def sweep_row(near, units, d, v, outside, change, relative, order, start, state, sums, totals):
    """Update the units order[start:] of state (w,): where it ends, its flips, and whether others could count.

    near (p, w), units (n, u) and d (64 u,) are those of `candidates`, v (1, 64 u) is 0 past p; all others
    are farther than `outside`.
    """
    p, (n, u) = len(near), units.shape
    total, reach = empty((1,), totals), reach_of(change)
    numbers, chosen, counts = empty((p,), np.int32), empty((p,), np.int32), empty((n + 2,), np.int32)
    for mu in range(p):
        numbers[mu] = mu
    nearest = weigh_singly(d, p, change, relative, v, totals)
    known, tried, flips, t = False, PATIENCE, 0, start
    while t < n and outside - flips - nearest >= reach:
        i = order[t]
        t += 1
        if not known and p >= MANY and tried >= PATIENCE:
            fill(sums, 0, 0)
            fill(totals, 0, 0)
            begin = nearest - 1 if relative else 0
            weigh(near, numbers, d[:p], begin, change, counts, chosen, sums, totals)
            known = True
        if known:
            total[0] = sums[i]
        else:
            single_sum(v, 0, units, i, u, total)
        tried += 1
        if gain(total[0], totals, state, i) > 0:
            state[i >> 6] ^= ONE << U64(i & 63)
            add_signed(units, i * u, u, np.int32(1 - 2 * bit(state, i)), d)
            nearest = weigh_singly(d, p, change, relative, v, totals)
            known, tried, flips = False, 0, flips + 1
    return t, flips, outside - flips - nearest < reach


def dense_async(
    key,
    order,
    first_sweep,
    packed,
    units,
    table,
    relative,
    max_sweeps,
    states,
    converged,
    sweeps,
    flips,
    trail,
):
    """Asynchronous recall of dense memories, states (k, b, w) in place: see the reference.

    Where the table is of distances to the nearest pattern, or units (k, n, u) has nothing in it, a row makes
    the transpose of the patterns that can count.
    """
    (k, p, w), b, n = packed.shape, states.shape[1], order.shape[1]
    block = min(NEAR_ROWS, rows_together(b, (), 1))
    work = 3 * k * b * (p * w * 0.2 + n * 100 if relative else n * p * 0.05)
    args = (key, order, first_sweep, packed, units, table, relative, max_sweeps, states)
    dense_rows.deal(k * -(-b // block), work, block, *args, converged, sweeps, flips, trail)


@parallel
def dense_rows(
    task,
    block,
    key,
    order,
    first_sweep,
    packed,
    units,
    table,
    relative,
    max_sweeps,
    states,
    converged,
    sweeps,
    flips,
    trail,
):
    """`dense_async` of a block of rows."""
    (_, p, w), b, n = packed.shape, states.shape[1], order.shape[1]
    parts = -(-b // block)
    network, first = task // parts, task % parts * block
    rows, change, patterns = min(block, b - first), changes(table), packed[network]
    sums, totals, spare = empty((64 * w,), table), empty((2,), table), empty((n,), np.int32)
    drawn, known = empty((min(ORDERS, max_sweeps), n), np.int32), 0
    largest = empty((rows, -(-p // COLUMNS)), np.int32)
    local, reach = relative or units.shape[2] == 0, reach_of(change) if relative else n  # or all count
    if relative:
        largest_overlaps(patterns, n, states[network, first : first + rows], largest)
    for r in range(rows):
        row, state = first + r, states[network, first + r]
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if trail.shape[2]:
            copy(state, trail[network, row, 0])
        if local:
            if not relative:
                fill(largest[r], 0, n)
            near, own, d, outside = candidates(patterns, n, state, largest[r], reach)
        else:
            near, own, outside = patterns, units[network], FAR
            d = empty((64 * own.shape[1],), np.int32)
            row_overlaps(patterns, p, state, n, d)
            for mu in range(p):
                d[mu] = (n - d[mu]) >> 1
        v = zeros((1, 64 * own.shape[1]), table)
        while sweeps[network, row] < max_sweeps and not converged[network, row]:
            sweep, chosen = sweeps[network, row], spare
            if sweep < len(drawn):
                chosen = drawn[sweep]
            if sweep >= known:
                sweep_order(key, order, first_sweep + sweep, chosen)
                known = min(sweep + 1, len(drawn))
            at, flipped = 0, 0
            while at < n:
                at, some, stale = sweep_row(
                    near, own, d, v, outside, change, relative, chosen, at, state, sums, totals
                )
                flipped += some
                outside -= some
                if stale:
                    largest_overlaps(patterns, n, states[network, row : row + 1], largest[r : r + 1])
                    near, own, d, outside = candidates(patterns, n, state, largest[r], reach)
                    v = zeros((1, 64 * own.shape[1]), table)
            sweeps[network, row] += 1
            flips[network, row] += flipped
            converged[network, row] = flipped == 0
            if trail.shape[2]:
                copy(state, trail[network, row, sweep + 1])
