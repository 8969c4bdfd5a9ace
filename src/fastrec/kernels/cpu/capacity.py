"""The incremental capacity scan on the CPU.

Adding pattern nu to a network changes the field of every stored memory mu by a rank-one term, so one pass
over n p^2 / 2 (unit, memory, addition) triples follows all fields up to load p.  They are kept signed by the
memory's own bits and with the self-coupling in: g_i(p) = sum_{nu < p} x_mu_i x_nu_i m_mu_nu.  A memory is
stable while g_i >= p for all i.  Flipping the units C changes a field by 2 sum_{j in C} W_ij x_i x_j, at most
2 |C| p: only units below (1 + 2 |C|) p are looked at again, exactly.  Where one could then really turn the
wrong way the recall is followed on those units and C alone, which is all of it as long as no more than |C|
units differ from the memory; else it is run on all units.  Nothing is approximated.

Eight patterns are added in one pass over the fields of a memory (`simd.add_patterns`), which stay in
registers meanwhile.  "largest" goes on beyond the first failure: there most loads fail by memories that
failed before, which are looked at first, and the others get their fields when they are needed.
"""

from __future__ import annotations

import numpy as np

from .. import ORDER
from .arrays import borrow, copy, empty, fill, keep, sum_first, zeros
from .hopfield import (
    ROWS,
    bit,
    interleave,
    row_overlaps,
    step_sync,
    sweep_async,
    transpose_words,
)
from .jit import jit
from .parallel import tasks
from .random import ONE, U64, block, choose, flip, holds, random_order, random_pattern
from .simd import LANES, add_patterns, popcount, popcount_tile, unit_codes

__all__ = ["capacity_scan"]

BACK, LOST, UNKNOWN = 0, 1, 2  # ends of a recall
GROUP = 8  # patterns whose signs of one unit are a byte
# Groups added to the fields of a memory before those of the next, where all fields do not fit the caches.
GROUPS, LARGE = 4, 2**14
gram_tile = popcount_tile(ROWS, GROUP // LANES)
add, add_and_look = add_patterns(least=False), add_patterns(least=True)


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
    todo = np.arange(len(trials))
    # Fields start at n: from 2^14 on, 16 bits would soon hold none of them.
    for lane in (np.int16, np.int32) if n < 2**14 else (np.int32,):
        if not len(todo):  # not even to compile it
            break
        count, limit = np.empty(len(todo), dtype=np.int64), np.empty(len(todo), dtype=np.bool_)
        arguments = (newest, largest, corrupted, synchronous, max_sweeps, max_patterns)
        zero, widest = np.zeros(1, dtype=lane), np.iinfo(lane).max
        scan_trials(key, n, trials[todo], *arguments, zero, widest, count, limit)
        counts[todo], censored[todo] = count, limit
        todo = todo[count < 0]
    if len(todo):
        raise OverflowError(f"fields of {n} units at up to {max_patterns} patterns do not fit 32 bits")


@tasks(lambda key, n, trials, *rest: (len(trials), len(trials) * n * float(rest[5]) ** 2 / 36))
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
    zero,
    widest,
    counts,
    censored,
):
    """`capacity_scan` with fields in the dtype of zero (1,), whose largest number is widest.

    A count of -1 says that it was too narrow.
    """
    w = -(-n // 64)
    block = GROUP * (GROUPS if n >= LARGE else 1)
    top = -(-max_patterns // block) * block
    scratch = (
        empty((top, w), np.uint64),
        empty((top, top), np.int32),
        empty((top // GROUP, 64 * w), np.uint8),
        empty((block if newest else top, 64 * w), zero),
        empty((n, -(-top // 64)), np.uint64),
        empty((w,), np.uint64),
        empty((GROUP,), zero),
        empty((corrupted,), np.int64),
        empty((block,), np.bool_),
        empty((block, top), np.bool_),
        empty((top,), np.int64),
        empty((top,), np.int64),
        empty((top,), np.int64),
    )
    options = (newest, largest, synchronous, max_sweeps, max_patterns, widest)
    counts[slot], censored[slot] = scan_loads(key, n, trials[slot], *options, borrow(scratch))
    keep(scratch)


@jit
def scan_loads(key, n, trial, newest, largest, synchronous, max_sweeps, max_patterns, widest, scratch):
    """Count and censoring of one network, in arrays that `scan_trials` has made."""
    x, gram, codes, fields, units, low, step, chosen, failed, doubtful, order, added, spread = scratch
    (top, w), block, corrupted = x.shape, len(failed), len(chosen)
    for mu in range(top):
        spread[mu], order[mu], added[mu] = 0, mu, 0
    count, transposed = 0, 0
    for stored in range(0, max_patterns, block):
        end, loads = stored + block, min(block, max_patterns - stored)
        for mu in range(stored, end):
            random_pattern(key, mu, trial, n, x[mu])
        for group in range(stored // GROUP, end // GROUP):
            add_overlaps(x, GROUP * group, n, gram, spread)
            unit_codes(x, GROUP * group, w, codes[group])
        # Where most memories would be looked at again, or one sweep must do (it takes a second to see that
        # nothing flips any more), recall all that are stable.
        certify = 4 * corrupted * end < n and (corrupted == 0 or max_sweeps > 1)
        limit = (1 + 2 * corrupted * certify) * end
        for b in range(block):
            failed[b] = False
            for mu in range(end):
                doubtful[b, mu] = not certify
        if limit > widest:
            return -1, False
        for mu in range(stored if newest else 0, end):
            if spread[mu] > n + widest:
                lowest = least_field(x, gram, codes, mu, end // GROUP, n, low)
                within = -n if mu >= stored else 0
                for nu in range(stored, end):
                    within += abs(np.int64(gram[mu, nu]))
                if lowest - within < -widest:
                    return -1, False
                spread[mu] = n - lowest
        first = 0
        for place in range(stored if newest else 0, end):
            before = sum_first(failed, loads)
            if largest and before == loads:
                # What has not been looked at gets its fields when it is.
                break
            mu = order[place]
            row = mu - stored if newest else mu
            last = (stored + (block if largest else loads) + GROUP - 1) // GROUP
            if newest:
                last = mu // GROUP + 1
            if add_fields(x, gram, codes, mu, stored, last, newest, fields, row, added, step, limit, low):
                loads = examine_units(
                    key,
                    n,
                    trial,
                    mu,
                    low,
                    x,
                    gram,
                    codes,
                    stored,
                    loads,
                    newest,
                    largest,
                    synchronous,
                    max_sweeps if certify else 0,
                    chosen,
                    failed,
                    doubtful,
                )
            if sum_first(failed, block) > before and not newest:
                # A memory that has failed will mostly fail again: look at it first.
                order[place], order[first] = order[first], mu
                first += 1
        for b in range(loads):
            p = stored + b + 1
            passes = not failed[b]
            for mu in range(p - 1 if newest else 0, p):
                if passes and doubtful[b, mu]:
                    if transposed < p:
                        for column in range(w):
                            transpose_words(x, transposed // 64, end, column, units)
                        transposed = end
                    choose(key, mu, trial, p, n, chosen)
                    passes = returns(key, x, units, mu, p, n, chosen, trial, synchronous, max_sweeps)
            if passes:
                count = p
            elif not largest:
                return count, False
    return count, count == max_patterns


@jit
def least_field(x, gram, codes, mu, groups, n, low):
    """The least field of memory mu with so many groups of patterns."""
    fields, step = zeros((1, codes.shape[1]), np.int32), empty((GROUP,), np.int32)
    for group in range(groups):
        for b in range(GROUP):
            step[b] = gram[mu, GROUP * group + b]
        add(fields, 0, codes, group, x, mu, x.shape[1], step, step[0], low)
    least = np.int64(fields[0, 0])
    for i in range(n):
        least = min(least, np.int64(fields[0, i]))
    return least


@jit
def add_fields(x, gram, codes, mu, stored, last, newest, fields, row, added, step, limit, low):
    """Add the groups of patterns before `last` to the fields of memory mu that are not in them yet.

    low (w,) gets the units whose field was at most limit at one of the loads after stored at which there is
    mu, or (newest) at its birth; the value is whether there are any.
    """
    w, found = x.shape[1], False
    begin = 0 if newest else added[mu]
    if begin == 0:
        fill(fields[row], 0, 0)
    seen = zeros((w,), np.uint64)
    for group in range(begin, last):
        birth = mu // GROUP
        for b in range(GROUP):
            step[b] = gram[mu, GROUP * group + b]
        if group < max(stored // GROUP, birth):
            add(fields, row, codes, group, x, mu, w, step, step[0], low)
            continue
        if group == birth:
            # The loads before that of its birth are none of its.
            for b in range(GROUP):
                step[b] = gram[mu, GROUP * group + b] if GROUP * group + b <= mu else 0
            add(fields, row, codes, group, x, mu, w, step, step[0], low)
            for b in range(GROUP):
                later = GROUP * group + b > mu and not newest
                step[b] = gram[mu, GROUP * group + b] if later else 0
        if add_and_look(fields, row, codes, group, x, mu, w, step, fields.dtype.type(limit), low):
            found = True
            for word in range(w):
                seen[word] |= low[word]
    added[mu] = last
    copy(seen, low)
    return found


@jit
def add_overlaps(x, stored, n, gram, spread):
    """Overlaps of patterns stored..stored + GROUP - 1 with all up to them, into gram (both triangles).

    spread[mu] grows by the sizes of its overlaps with the others: no field has come below n - spread[mu].
    """
    w = x.shape[1]
    panels = empty((GROUP // LANES, w, LANES), np.uint64)
    interleave(x, stored, stored + GROUP, panels)
    counts = empty((ROWS, GROUP), np.int32)
    for mu in range(0, stored + GROUP, ROWS):
        gram_tile(x, mu, w, panels, 0, w, counts)
        for r in range(ROWS):
            for b in range(GROUP):
                m = n - 2 * counts[r, b]
                gram[mu + r, stored + b] = m
                gram[stored + b, mu + r] = m
                if mu + r != stored + b:
                    spread[mu + r] += abs(m)
                if mu + r < stored:
                    spread[stored + b] += abs(m)


@jit
def examine_units(
    key,
    n,
    trial,
    mu,
    low,
    x,
    gram,
    codes,
    stored,
    loads,
    newest,
    largest,
    synchronous,
    max_sweeps,
    chosen,
    failed,
    doubtful,
):
    """`examine` the units in low (w,) of memory mu; how many of the loads still matter.

    Where a load is in doubt then, its recall is followed for so many sweeps (0: not).
    """
    units = units_of(low, n)
    for i in units:
        if loads == 0 or (largest and sum_first(failed, loads) == loads):
            break
        examine(key, n, trial, mu, i, x, gram, codes, stored, loads, newest, chosen, failed, doubtful)
        if not largest:
            # Loads above the first that fails do not count.
            for b in range(loads):
                if failed[b]:
                    loads = b + 1
                    break
    for b in range(loads if max_sweeps else 0):
        if doubtful[b, mu] and not failed[b]:
            p = stored + b + 1
            end = follow(key, n, trial, mu, p, units, x, gram, codes, synchronous, max_sweeps, chosen)
            doubtful[b, mu], failed[b] = end == UNKNOWN, end == LOST
            if end == LOST and not largest:
                return b + 1
    return loads


@jit
def units_of(low, n):
    """The units below n whose bits are set in low (w,), in order."""
    size = 0
    for word in low:
        size += popcount(word)
    units, size = empty((size,), np.int64), 0
    for word in range(len(low)):
        rest = low[word]
        while rest:
            i = 64 * word + popcount((rest & (~rest + ONE)) - ONE)
            rest &= rest - ONE
            if i < n:
                units[size] = i
                size += 1
    return units[:size]


@jit
def signed(code, own, b):
    """+1 where bit b of a byte of signs agrees with the memory's own sign (0 or 1), else -1."""
    return 1 - 2 * ((np.int64(code) >> b & 1) ^ own)


@jit
def examine(key, n, trial, mu, i, x, gram, codes, stored, loads, newest, chosen, failed, doubtful):
    """Judge unit i of memory mu at the loads stored + 1...: where it fails, where a recall must decide.

    failed[b] is set where the memory is unstable; doubtful[b, mu] where some of the flips could turn unit i
    the wrong way, or leave it so if it is itself flipped.
    """
    own, field = bit(x[mu], i), field_of(mu, i, stored, x, gram, codes)
    for b in range(loads):
        p = stored + b + 1
        field += gram[mu, p - 1] * signed(codes[(p - 1) // GROUP, i], own, (p - 1) % GROUP)
        margin = field - p
        if p <= mu or (newest and p != mu + 1) or failed[b] or doubtful[b, mu]:
            continue
        if margin < 0:
            failed[b] = True
        elif margin <= 2 * len(chosen) * p:
            choose(key, mu, trial, p, n, chosen)
            flipped, change = False, 0
            for j in chosen:
                if j == i:
                    flipped = True
                else:
                    change += max(0, coupling(codes, p, i, j) * signed(x[mu, j >> 6] >> U64(j & 63), own, 0))
            doubtful[b, mu] = margin < 2 * change or (flipped and margin <= 2 * change)


@jit
def field_of(mu, i, p, x, gram, codes):
    """Field of unit i of memory mu at load p, with the self-coupling and signed by the unit."""
    own, field = bit(x[mu], i), 0
    for nu in range(p):
        field += gram[mu, nu] * signed(codes[nu // GROUP, i], own, nu % GROUP)
    return field


@jit
def follow(key, n, trial, mu, p, low, x, gram, codes, synchronous, max_sweeps, chosen):
    """Where the recall of memory mu from its chosen units flipped ends at load p: BACK, LOST or UNKNOWN.

    While no more units differ from the memory than were flipped, none turns the wrong way but the units low.
    So these and the flipped ones are followed, in their order among all units; where more come to differ, the
    end is not known.
    """
    choose(key, mu, trial, p, n, chosen)
    most = size = len(chosen)
    units = empty((size + len(low),), np.int64)
    copy(chosen, units)
    for i in low:
        if not holds(chosen, most, i):
            units[size] = i
            size += 1
    fields = empty((size,), np.int64)
    between = empty((size, size), np.int64)  # twice the couplings, signed by both units
    for a in range(size):
        fields[a] = field_of(mu, units[a], p, x, gram, codes) - p
        for b in range(a):
            agree = bit(x[mu], units[a]) == bit(x[mu], units[b])
            between[a, b] = (2 if agree else -2) * coupling(codes, p, units[a], units[b])
            between[b, a] = between[a, b]
        between[a, a] = 0
    order, draws = empty((size,), np.int64), empty((size,), np.uint64)
    differs, before = empty((size,), np.bool_), empty((size,), np.bool_)
    for a in range(size):
        order[a], differs[a] = a, a < most
    for sweep in range(max_sweeps):
        if not synchronous:
            sort_units(key, trial, p, sweep, units[:size], draws, order)
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
                if not synchronous and sum_first(differs, size) > most:
                    return UNKNOWN
        if flips == 0:
            return LOST if sum_first(differs, size) else BACK
        if sum_first(differs, size) > most:
            return UNKNOWN
    return LOST


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
def coupling(codes, p, i, j):
    """W_ij of the first p patterns."""
    differing = 0
    for byte in range(p // GROUP):
        differing += popcount(U64(codes[byte, i] ^ codes[byte, j]))
    if p % GROUP:
        rest = (codes[p // GROUP, i] ^ codes[p // GROUP, j]) & ((1 << p % GROUP) - 1)
        differing += popcount(U64(rest))
    return p - 2 * differing


@jit
def returns(key, x, units, mu, p, n, chosen, trial, synchronous, max_sweeps):
    """Whether memory mu with its chosen units flipped comes to rest at itself, at load p."""
    state, new = empty((x.shape[1],), np.uint64), empty((x.shape[1],), np.uint64)
    copy(x[mu], state)
    flip(chosen, state)
    copy(state, new)
    m = empty((64 * -(-p // 64),), np.int32)
    row_overlaps(x, p, state, n, m)
    order = empty((n,), np.int32)
    for sweep in range(max_sweeps):
        if synchronous:
            flips = step_sync(units, p, p, state, m, new)
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
