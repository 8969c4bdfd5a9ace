"""Probes of a capacity scan: whether a memory with flipped units is recalled, exactly.

A recall is followed on the units with small fields and the flipped ones alone, as long as no other can turn;
else it is run on all units.
"""

from __future__ import annotations

import numpy as np

from .. import ORDER
from .arrays import copy, empty, sum_first
from .fields import row_overlaps, unit_field
from .jit import jit
from .loads import fail, fails, last_open, step_of
from .packing import bit
from .random import ONE, U64, block, choose, flip, holds, random_order
from .recall import step_sync, sweep_async
from .simd import popcount, signed_sum

BACK, LOST, UNKNOWN = 0, 1, 2  # ends of a recall
MEMBERS = 2048  # units that the recall of a memory is followed on, at most
LOWS, DOUBTS = 0, 1  # places of what is counted in `noted`


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
    (first, size, most, ends), (failing, failed, lows, doubts, noted) = memories, notes
    chosen = empty((corrupted,), np.int64)
    if noted[DOUBTS] > len(doubts):  # not all are known: all that are stable are recalled
        for p in range(first + 1, min(certain, most) + 1):
            for mu in range(p - 1 if newest else first, min(first + size, p)):
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
            flips = step_sync(units[:n], p, p, state, m, new, None)
            copy(new, state)
            row_overlaps(x, p, state, n, m)
        else:
            random_order(key, trial, p, sweep, order)
            flips = sweep_async(units, p, p, order, state, m, None)
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
