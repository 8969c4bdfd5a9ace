"""Hopfield networks on the CPU.

Products of binary matrices are popcounts (`product`).  Recall needs no couplings: the field of a unit is
the sum of the overlaps over the patterns, signed by the unit's own bits (p additions), and a flip changes
every overlap by 2 (p additions), so that a sweep costs n p / 16 vector steps however far the state is from
a memory.  Rows of a batch are spread over the threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import jit
from .random import ONE, U64, corrupt, philox, random_order, random_patterns
from .simd import LANES, add_signed, masked_sum, popcount, popcount_tile, sign_word, word_signs

__all__ = [
    "corrupt",
    "couplings",
    "is_stable",
    "local_fields",
    "overlaps",
    "pack",
    "philox",
    "quadratic_form",
    "random_order",
    "random_patterns",
    "recall_async",
    "recall_async_weights",
    "recall_sync",
    "recall_sync_weights",
    "transpose",
    "unpack",
]

# 4 rows by 3 vectors of columns: 12 counts and 3 columns fit the 16 registers of AVX2 nearly, 32 easily,
# and an instruction loads little for what it counts.
ROWS, PANELS = 4, 3
COLUMNS = PANELS * LANES
full_tile, row_tile = popcount_tile(ROWS, PANELS), popcount_tile(1, PANELS)

BATCH_OVERLAPS = 1 << 23  # int32 overlaps held at once by recall: 32 MiB


@jit(parallel=True)
def pack(states, packed):
    """Pack states (r, n) int8 into packed (r, w)."""
    r, n = states.shape
    for row in prange(r):
        for word in range(n // 64):
            packed[row, word] = sign_word(states, row * n + 64 * word)
        if n % 64:
            last = U64(0)
            for i in range(n // 64 * 64, n):
                last |= U64(states[row, i] > 0) << U64(i & 63)
            packed[row, n // 64] = last


@jit
def bit(words, i):
    """Bit i of packed words (w,), as int64."""
    return np.int64(words[i >> 6] >> U64(i & 63) & ONE)


@jit(parallel=True)
def unpack(packed, states):
    """Unpack packed (r, w) into states (r, n) int8."""
    r, n = states.shape
    for row in prange(r):
        for word in range(n // 64):
            word_signs(packed[row, word], states, row * n + 64 * word)
        for i in range(n // 64 * 64, n):
            states[row, i] = 2 * bit(packed[row], i) - 1


@jit
def transpose_words(packed, first, p, column, units):
    """Words first.. of the units 64 column.. of units (n, >= words(p)), from rows 64 first..p-1 of packed.

    A block of 64 x 64 bits is transposed by swapping ever smaller squares (Hacker's Delight, 7-3).
    """
    n = len(units)
    square = np.empty(64, dtype=np.uint64)
    for word in range(first, (p + 63) // 64):
        for b in range(64):
            square[b] = packed[64 * word + b, column] if 64 * word + b < p else U64(0)
        width, low = 32, U64(0xFFFFFFFF)
        while width:
            for begin in range(0, 64, 2 * width):
                for b in range(begin, begin + width):
                    swap = (square[b] >> U64(width) ^ square[b + width]) & low
                    square[b] ^= swap << U64(width)
                    square[b + width] ^= swap
            width >>= 1
            low ^= low << U64(width)
        for i in range(min(64, n - 64 * column)):
            units[64 * column + i, word] = square[i]


@jit(parallel=True)
def transpose(packed, units):
    """Fill units (k, n, u) from packed (k, p, w)."""
    k, p, w = packed.shape
    for column in prange(k * w):
        transpose_words(packed[column // w], 0, p, column % w, units[column // w])


@jit
def interleave(packed, panels):
    """Lay rows of packed (r, w) side by side in panels (q, w, LANES), r <= q LANES, the rest 0."""
    q, w, _ = panels.shape
    for row in range(q * LANES):
        for word in range(w):
            panels[row // LANES, word, row % LANES] = packed[row, word] if row < len(packed) else U64(0)


@jit
def product(a, panels, bits, columns, first, last, mirror, out):
    """out[:, columns] = bits - 2 popcount(a xor columns) for rows first..last-1 of a (r, w).

    columns = (begin, end) names the at most COLUMNS columns that panels (PANELS, w, LANES) hold; mirror
    writes them to out[columns, :] too.
    """
    w = a.shape[1]
    begin, end = columns
    counts = np.empty((ROWS, COLUMNS), dtype=np.int32)
    for i in range(first, last, ROWS):
        rows = min(ROWS, last - i)
        if rows == ROWS:
            full_tile(a, i, w, panels, 0, w, counts)
        else:
            for r in range(rows):
                row_tile(a, i + r, w, panels, 0, w, counts[r])
        for r in range(rows):
            for c in range(end - begin):
                out[i + r, begin + c] = bits - 2 * counts[r, c]
        if mirror:
            for c in range(end - begin):
                for r in range(rows):
                    out[begin + c, i + r] = bits - 2 * counts[r, c]


@jit(parallel=True)
def overlaps(packed, probes, n, m):
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w)."""
    k, p, w = packed.shape
    groups = -(-p // COLUMNS)
    for index in prange(k * groups):
        network, begin = index // groups, index % groups * COLUMNS
        end = min(begin + COLUMNS, p)
        panels = np.empty((PANELS, w, LANES), dtype=np.uint64)
        interleave(packed[network, begin:end], panels)
        product(probes[network], panels, n, (begin, end), 0, probes.shape[1], False, m[network])


@jit(parallel=True)
def couplings(units, p, self_coupling, weights):
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    k, n, u = units.shape
    groups = -(-n // COLUMNS)
    for index in prange(k * groups):
        # Columns of the triangle taken from both ends in turn make equal shares of work.
        turn = index % groups
        begin = (turn // 2 if turn % 2 == 0 else groups - 1 - turn // 2) * COLUMNS
        end = min(begin + COLUMNS, n)
        panels = np.empty((PANELS, u, LANES), dtype=np.uint64)
        own, out = units[index // groups], weights[index // groups]
        interleave(own[begin:end], panels)
        product(own, panels, p, (begin, end), 0, begin, True, out)
        product(own, panels, p, (begin, end), begin, end, False, out)
        if not self_coupling:
            for i in range(begin, end):
                out[i, i] = 0


@jit
def row_overlaps(packed, p, state, n, m):
    """Fill m (64 u,) int32 with the overlaps of one packed state with p patterns, the rest with 0."""
    for mu in range(p):
        differing = 0
        for word in range(len(state)):
            differing += popcount(packed[mu, word] ^ state[word])
        m[mu] = n - 2 * differing
    m[p:] = 0


@jit
def unit_field(units, i, u, n, m, total):
    """sum_mu m_mu x_mu_i of unit i of units (n, >= u), with overlaps m (64 u,) and total their sum."""
    stride = units.shape[1]
    span = max(1, (1 << 29) // n)
    if u <= span:
        return 2 * masked_sum(units, i * stride, u, m) - total
    plus = 0
    for first in range(0, u, span):
        plus += masked_sum(units, i * stride + first, min(span, u - first), m[64 * first :])
    return 2 * plus - total


@jit
def sum_overlaps(m, p):
    """Sum of the first p overlaps, int64."""
    total = 0
    for mu in range(p):
        total += m[mu]
    return total


@jit
def sum_squares(m, p):
    """Sum of squares of the first p overlaps, int64."""
    total = 0
    for mu in range(p):
        total += np.int64(m[mu]) * m[mu]
    return total


@jit
def sweep_async(units, p, diagonal, order, state, m):
    """One asynchronous sweep of state (w,) with its overlaps m (64 u,), both in place; the flips.

    diagonal is the self-coupling to take out of the fields: p, or 0 where units couple to themselves.
    """
    n, u = len(order), len(m) // 64
    total, flips = sum_overlaps(m, p), 0
    for i in order:
        s = 2 * bit(state, i) - 1
        if unit_field(units, i, u, n, m, total) * s < diagonal:
            state[i >> 6] ^= ONE << U64(i & 63)
            add_signed(units, i * units.shape[1], u, np.int32(-2 * s), m)
            m[p:] = 0
            total = sum_overlaps(m, p)
            flips += 1
    return flips


@jit
def step_sync(units, p, diagonal, state, m, new):
    """Fill new (w,) with the synchronous step from state (w,) with overlaps m (64 u,); the flips."""
    n, u = len(units), len(m) // 64
    total, flips = sum_overlaps(m, p), 0
    for i in range(n):
        s = 2 * bit(state, i) - 1
        if unit_field(units, i, u, n, m, total) * s < diagonal:
            new[i >> 6] ^= ONE << U64(i & 63)
            flips += 1
    return flips


@jit(parallel=True)
def local_fields(units, states, m, self_coupling, fields):
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    k, b, p = m.shape
    n, u = units.shape[1:]
    diagonal = 0 if self_coupling else p
    for row in prange(k * b):
        network, r = row // b, row % b
        own = np.zeros(64 * u, dtype=np.int32)
        own[:p] = m[network, r]
        total = sum_overlaps(own, p)
        for i in range(n):
            s = 2 * bit(states[network, r], i) - 1
            fields[network, r, i] = unit_field(units[network], i, u, n, own, total) - diagonal * s


@jit(parallel=True)
def quadratic_form(m, n, self_coupling, form):
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    k, b, p = m.shape
    for row in prange(k * b):
        form[row // b, row % b] = sum_squares(m[row // b, row % b], p) - (0 if self_coupling else p * n)


@jit(parallel=True)
def is_stable(units, states, m, self_coupling, stable):
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    k, b, p = m.shape
    n, u = units.shape[1:]
    diagonal = 0 if self_coupling else p
    for row in prange(k * b):
        network, r = row // b, row % b
        own = np.zeros(64 * u, dtype=np.int32)
        own[:p] = m[network, r]
        total, i = sum_overlaps(own, p), 0
        while i < n:
            s = 2 * bit(states[network, r], i) - 1
            if unit_field(units[network], i, u, n, own, total) * s < diagonal:
                break
            i += 1
        stable[network, r] = i == n


@jit
def sweep_order(key, order, sweep, chosen):
    """Fill chosen (n,) with the order of a sweep: the given ones in turn, or a random one."""
    if len(order):
        chosen[:] = order[sweep % len(order)]
    else:
        random_order(key, 0, 0, sweep, chosen)


@jit(parallel=True)
def recall_async(
    key, order, packed, units, self_coupling, max_sweeps, states, converged, sweeps, flips, forms
):
    """Asynchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u).

    As `recall_async_weights`, without couplings in memory.
    """
    k, b, _ = states.shape
    p = packed.shape[1]
    n, u = units.shape[1:]
    diagonal, recorded = (0 if self_coupling else p), forms.shape[2] > 0
    batch = max(1, min(k * b, BATCH_OVERLAPS // (64 * u)))
    m = np.empty((batch, 64 * u), dtype=np.int32)
    chosen = np.empty(n, dtype=np.int32)
    active = np.empty(batch, dtype=np.int64)
    for begin in range(0, k * b, batch):
        rows = min(batch, k * b - begin)
        for r in prange(rows):
            network, row = (begin + r) // b, (begin + r) % b
            row_overlaps(packed[network], p, states[network, row], n, m[r])
            converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
            if recorded:
                forms[network, row, 0] = sum_squares(m[r], p) - diagonal * n
            active[r] = r
        for sweep in range(max_sweeps):
            if rows == 0:
                break
            sweep_order(key, order, sweep, chosen)
            for a in prange(rows):
                r = active[a]
                network, row = (begin + r) // b, (begin + r) % b
                flipped = sweep_async(units[network], p, diagonal, chosen, states[network, row], m[r])
                converged[network, row] = flipped == 0
                sweeps[network, row] += 1
                flips[network, row] += flipped
                if recorded:
                    forms[network, row, sweep + 1] = sum_squares(m[r], p) - diagonal * n
            rows = still_active(active, rows, begin, converged)


@jit
def still_active(active, rows, begin, converged):
    """Keep the unconverged among the first `rows` of active, in order; how many they are."""
    kept = 0
    for a in range(rows):
        row = begin + active[a]
        if not converged[row // converged.shape[1], row % converged.shape[1]]:
            active[kept] = active[a]
            kept += 1
    return kept


@jit(parallel=True)
def recall_sync(packed, units, self_coupling, max_sweeps, states, period, sweeps, flips, forms):
    """Synchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u).

    As `recall_sync_weights`, without couplings in memory.
    """
    k, b, _ = states.shape
    p = packed.shape[1]
    n, u = units.shape[1:]
    diagonal, recorded = (0 if self_coupling else p), forms.shape[2] > 0
    for index in prange(k * b):
        network, row = index // b, index % b
        state = states[network, row]
        m = np.empty(64 * u, dtype=np.int32)
        new, before = np.empty_like(state), np.empty_like(state)
        period[network, row], sweeps[network, row], flips[network, row] = 0, 0, 0
        row_overlaps(packed[network], p, state, n, m)
        if recorded:
            forms[network, row, 0] = sum_squares(m, p) - diagonal * n
        while sweeps[network, row] < max_sweeps and period[network, row] == 0:
            new[:] = state
            flipped = step_sync(units[network], p, diagonal, state, m, new)
            if flipped == 0:
                period[network, row] = 1
            elif sweeps[network, row] > 0 and np.all(new == before):
                period[network, row] = 2
            before[:] = state
            state[:] = new
            if flipped:
                row_overlaps(packed[network], p, state, n, m)
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweeps[network, row]] = sum_squares(m, p) - diagonal * n


@jit
def row_fields(weights, s, fields):
    """Fill fields (n,) int64 with weights (n, n) times s (n,) int8."""
    n = len(s)
    for i in range(n):
        field = 0
        for j in range(n):
            field += weights[i, j] if s[j] > 0 else -weights[i, j]
        fields[i] = field


@jit
def form_of(fields, s):
    """s'W s from the fields W s."""
    form = 0
    for i in range(len(s)):
        form += fields[i] * s[i]
    return form


@jit(parallel=True)
def recall_async_weights(key, order, weights, max_sweeps, states, converged, sweeps, flips, forms):
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    order (r, n) int32 holds the orders of the sweeps, used in turn; with r = 0 each sweep draws a random
    one, the same for all rows and networks.  A row stops after a sweep without a flip: converged (k, b)
    bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.  forms (k, b, max_sweeps + 1) int64
    gets s'W s at the start and after each sweep, up to the stop; its last axis may be 0: none recorded.

    The local fields are kept: a test costs O(1), only a flip costs O(n).
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    recorded = forms.shape[2] > 0
    s = np.empty((k * b, n), dtype=np.int8)
    fields = np.empty((k * b, n), dtype=np.int64)
    active = np.arange(k * b)
    for index in prange(k * b):
        network, row = index // b, index % b
        for i in range(n):
            s[index, i] = 2 * bit(states[network, row], i) - 1
        row_fields(weights[network], s[index], fields[index])
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if recorded:
            forms[network, row, 0] = form_of(fields[index], s[index])
    chosen = np.empty(n, dtype=np.int32)
    rows = k * b
    for sweep in range(max_sweeps):
        if rows == 0:
            break
        sweep_order(key, order, sweep, chosen)
        for a in prange(rows):
            index = active[a]
            network, row = index // b, index % b
            own, field, flipped = s[index], fields[index], 0
            for i in chosen:
                if field[i] * own[i] < 0:
                    own[i] = -own[i]
                    flipped += 1
                    for j in range(n):
                        field[j] += 2 * own[i] * np.int64(weights[network, i, j])
            converged[network, row] = flipped == 0
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweep + 1] = form_of(field, own)
        rows = still_active(active, rows, 0, converged)
    pack(s, states.reshape(k * b, -1))


@jit(parallel=True)
def recall_sync_weights(weights, max_sweeps, states, period, sweeps, flips, forms):
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    period (k, b) int32 is 1 at a fixed point, 2 when the state equals the one two steps before (symmetric
    couplings allow no longer cycle: Bruck 1990), 0 when max_sweeps ended it; the others as in
    `recall_async_weights`, a sweep being one step of all units.
    """
    k, b, _ = states.shape
    n = weights.shape[1]
    recorded = forms.shape[2] > 0
    s = np.empty((k * b, n), dtype=np.int8)
    for index in prange(k * b):
        network, row = index // b, index % b
        own, before = s[index], np.zeros(n, dtype=np.int8)
        fields = np.empty(n, dtype=np.int64)
        for i in range(n):
            own[i] = 2 * bit(states[network, row], i) - 1
        row_fields(weights[network], own, fields)
        period[network, row], sweeps[network, row], flips[network, row] = 0, 0, 0
        if recorded:
            forms[network, row, 0] = form_of(fields, own)
        while sweeps[network, row] < max_sweeps and period[network, row] == 0:
            flipped, back = 0, True
            for i in range(n):
                new = -own[i] if fields[i] * own[i] < 0 else own[i]
                flipped += new != own[i]
                back &= new == before[i]
                before[i], own[i] = own[i], new
            if flipped == 0:
                period[network, row] = 1
            elif back:
                period[network, row] = 2
            if flipped:
                row_fields(weights[network], own, fields)
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweeps[network, row]] = form_of(fields, own)
    pack(s, states.reshape(k * b, -1))
