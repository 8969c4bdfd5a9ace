"""The incremental capacity scan on the CPU.

Adding pattern nu to a network changes the field of every stored memory mu by a rank-one term, so one pass
over n p^2 / 2 (unit, memory, addition) triples follows all fields up to load p.  They are kept signed by the
memory's own bits and with the self-coupling in: g_i(p) = sum_{nu < p} x_mu_i x_nu_i m_mu_nu.  A memory is
stable while g_i >= p for all i.  Flipping the units C changes a field by 2 sum_{j in C} W_ij x_i x_j, at most
2 |C| p: only units below (1 + 2 |C|) p are looked at again, exactly, and only where a unit could then
really turn the wrong way is the recall itself run.  Nothing is approximated.

Eight patterns are added in one pass over the fields (`simd.scan_rows`), which stay in registers meanwhile.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .hopfield import ROWS, bit, interleave, row_overlaps, step_sync, sweep_async, transpose_words
from .jit import jit
from .random import ONE, U64, choose, flip, random_order, random_pattern
from .simd import LANES, add_patterns, popcount, popcount_tile, unit_codes

__all__ = ["capacity_scan"]

BLOCK = 8  # patterns added in one pass: their signs of one unit are a byte
gram_tile = popcount_tile(ROWS, BLOCK // LANES)
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
        count, limit = np.empty(len(todo), dtype=np.int64), np.empty(len(todo), dtype=np.bool_)
        arguments = (newest, largest, corrupted, synchronous, max_sweeps, max_patterns)
        scan_trials(key, n, trials[todo], *arguments, np.zeros(1, dtype=lane), count, limit)
        counts[todo], censored[todo] = count, limit
        todo = todo[count < 0]
    if len(todo):
        raise OverflowError(f"fields of {n} units at up to {max_patterns} patterns do not fit 32 bits")


@jit(parallel=True)
def scan_trials(
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
    counts,
    censored,
):
    """`capacity_scan` with fields in the dtype of zero (1,); a count of -1 says that it was too narrow."""
    for slot in prange(len(trials)):
        counts[slot], censored[slot] = scan_trial(
            key,
            n,
            trials[slot],
            newest,
            largest,
            corrupted,
            synchronous,
            max_sweeps,
            max_patterns,
            zero,
        )


@jit
def scan_trial(key, n, trial, newest, largest, corrupted, synchronous, max_sweeps, max_patterns, zero):
    """Count and censoring of one network."""
    w = -(-n // 64)
    top = -(-max_patterns // BLOCK) * BLOCK
    widest = np.int64(np.iinfo(zero.dtype).max)
    x = np.empty((top, w), dtype=np.uint64)
    gram = np.empty((top, top), dtype=np.int32)
    codes = np.empty((top // BLOCK, 64 * w), dtype=np.uint8)
    fields = np.empty((BLOCK if newest else top, 64 * w), dtype=zero.dtype)
    spread = np.zeros(top, dtype=np.int64)
    units = np.empty((n, -(-top // 64)), dtype=np.uint64)
    low = np.empty(w, dtype=np.uint64)
    step = np.empty(BLOCK, dtype=zero.dtype)
    chosen = np.empty(corrupted, dtype=np.int64)
    failed = np.empty(BLOCK, dtype=np.bool_)
    doubtful = np.empty((BLOCK, top), dtype=np.bool_)
    count, transposed = 0, 0
    for stored in range(0, max_patterns, BLOCK):
        loads = min(BLOCK, max_patterns - stored)
        for mu in range(stored, stored + BLOCK):
            random_pattern(key, mu, trial, n, x[mu])
        add_overlaps(x, stored, n, gram, spread)
        unit_codes(x, stored, w, codes[stored // BLOCK])
        # Where most memories would be looked at again, or one sweep must do (it takes a second to see that
        # nothing flips any more), recall all that are stable.
        certify = 4 * corrupted * (stored + BLOCK) < n and (corrupted == 0 or max_sweeps > 1)
        limit = (1 + 2 * corrupted * certify) * (stored + BLOCK)
        failed[:], doubtful[:, : stored + BLOCK] = False, not certify
        if limit > widest or spread[: stored + BLOCK].max() > n + widest:
            return -1, False
        for mu in range(stored if newest else 0, stored + BLOCK):
            row = mu - stored if newest else mu
            if mu >= stored:
                give_birth(x, gram, codes, mu, fields, row, step, low)
            group = stored // BLOCK
            for b in range(BLOCK):
                # What came before its birth has been added then.
                step[b] = gram[mu, stored + b] if mu < stored + b and not newest else 0
            if add_and_look(fields, row, codes, group, x, mu, w, step, zero.dtype.type(limit), low):
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
                    chosen,
                    failed,
                    doubtful,
                )
        for b in range(loads):
            p = stored + b + 1
            passes = not failed[b]
            for mu in range(p - 1 if newest else 0, p):
                if passes and doubtful[b, mu]:
                    if transposed < p:
                        for column in range(w):
                            transpose_words(x, transposed // 64, stored + BLOCK, column, units)
                        transposed = stored + BLOCK
                    choose(key, mu, trial, p, n, chosen)
                    passes = returns(key, x, units, mu, p, n, chosen, trial, synchronous, max_sweeps)
            if passes:
                count = p
            elif not largest:
                return count, False
    return count, count == max_patterns


@jit
def add_overlaps(x, stored, n, gram, spread):
    """Overlaps of patterns stored..stored + BLOCK - 1 with all up to them, into gram (both triangles).

    spread[mu] grows by the sizes of its overlaps with the others: no crosstalk exceeds it.
    """
    w = x.shape[1]
    panels = np.empty((BLOCK // LANES, w, LANES), dtype=np.uint64)
    interleave(x[stored : stored + BLOCK], panels)
    counts = np.empty((ROWS, BLOCK), dtype=np.int32)
    for mu in range(0, stored + BLOCK, ROWS):
        gram_tile(x, mu, w, panels, 0, w, counts)
        for r in range(ROWS):
            for b in range(BLOCK):
                m = n - 2 * counts[r, b]
                gram[mu + r, stored + b] = m
                gram[stored + b, mu + r] = m
                if mu + r != stored + b:
                    spread[mu + r] += abs(m)
                if mu + r < stored:
                    spread[stored + b] += abs(m)


@jit
def give_birth(x, gram, codes, mu, fields, row, step, low):
    """Fill fields[row] with those of memory mu at the load of its birth, mu + 1."""
    fields[row] = 0
    for group in range(mu // BLOCK + 1):
        for b in range(BLOCK):
            step[b] = gram[mu, BLOCK * group + b] if BLOCK * group + b <= mu else 0
        add(fields, row, codes, group, x, mu, x.shape[1], step, step[0], low)


@jit
def examine_units(
    key, n, trial, mu, low, x, gram, codes, stored, loads, newest, largest, chosen, failed, doubtful
):
    """`examine` the units in low (w,) of memory mu; how many of the loads still matter."""
    for word in range(len(low)):
        rest = low[word]
        while rest:
            i = 64 * word + popcount((rest & (~rest + ONE)) - ONE)
            rest &= rest - ONE
            if i >= n or loads == 0 or (largest and np.all(failed[:loads])):
                break
            examine(key, n, trial, mu, i, x, gram, codes, stored, loads, newest, chosen, failed, doubtful)
            if not largest and np.any(failed[:loads]):
                # Loads above the first that fails do not count.
                loads = np.argmax(failed[:loads]) + 1
    return loads


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
    own = bit(x[mu], i)
    field = 0
    for byte in range(stored // BLOCK):
        for b in range(BLOCK):
            field += gram[mu, BLOCK * byte + b] * signed(codes[byte, i], own, b)
    for b in range(loads):
        p = stored + b + 1
        field += gram[mu, p - 1] * signed(codes[stored // BLOCK, i], own, b)
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
def coupling(codes, p, i, j):
    """W_ij of the first p patterns."""
    differing = 0
    for byte in range(p // BLOCK):
        differing += popcount(U64(codes[byte, i] ^ codes[byte, j]))
    if p % BLOCK:
        rest = (codes[p // BLOCK, i] ^ codes[p // BLOCK, j]) & ((1 << p % BLOCK) - 1)
        differing += popcount(U64(rest))
    return p - 2 * differing


@jit
def returns(key, x, units, mu, p, n, chosen, trial, synchronous, max_sweeps):
    """Whether memory mu with its chosen units flipped comes to rest at itself, at load p."""
    state = x[mu].copy()
    flip(chosen, state)
    m = np.empty(64 * -(-p // 64), dtype=np.int32)
    row_overlaps(x, p, state, n, m)
    order = np.empty(n, dtype=np.int32)
    new = state.copy()
    for sweep in range(max_sweeps):
        if synchronous:
            flips = step_sync(units, p, p, state, m, new)
            state[:] = new
            row_overlaps(x, p, state, n, m)
        else:
            random_order(key, trial, p, sweep, order)
            flips = sweep_async(units, p, p, order, state, m)
        if flips == 0:
            return bool(np.all(state == x[mu]))
    return False
