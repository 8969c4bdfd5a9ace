"""Hopfield networks on the CPU.

Products of binary matrices are popcounts (`product`).  Recall needs no couplings: the field of a unit is
the sum of the overlaps over the patterns, signed by the unit's own bits (p additions), and a flip changes
every overlap by 2 (p additions), so that a sweep costs n p / 16 vector steps however far the state is from
a memory.  Rows of a batch are spread over the threads.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first, zeros
from .jit import jit, optimized
from .parallel import parallel, tasks
from .random import ONE, U64, corrupt, philox, random_order, random_patterns
from .simd import (
    LANES,
    add_signed,
    masked_sum,
    popcount,
    popcount_tile,
    sign_word,
    transpose_square,
    word_signs,
)
from .threads import get_threads

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

BATCH_OVERLAPS = 1 << 23  # int32 overlaps that a task of recall holds: 32 MiB
BATCH_FIELDS = 1 << 22  # int64 fields that one of recall from couplings holds: as much


@jit
def pack_row(states, row, packed):
    """Pack a row of states (r, n) int8 into packed (w,)."""
    n = states.shape[1]
    for word in range(n // 64):
        packed[word] = sign_word(states, row * n + 64 * word)
    if n % 64:
        last = U64(0)
        for i in range(n // 64 * 64, n):
            last |= U64(states[row, i] > 0) << U64(i & 63)
        packed[n // 64] = last


@tasks(lambda states, packed: (len(states), states.size / 8))
def pack(row, states, packed):
    """Pack states (r, n) int8 into packed (r, w)."""
    pack_row(states, row, packed[row])


@jit
def bit(words, i):
    """Bit i of packed words (w,), as int64."""
    return np.int64(words[i >> 6] >> U64(i & 63) & ONE)


@jit
def unpack_row(packed, states, row):
    """Unpack packed (w,) into a row of states (r, n) int8."""
    n = states.shape[1]
    for word in range(n // 64):
        word_signs(packed[word], states, row * n + 64 * word)
    for i in range(n // 64 * 64, n):
        states[row, i] = 2 * bit(packed, i) - 1


@tasks(lambda packed, states: (len(states), states.size / 8))
def unpack(row, packed, states):
    """Unpack packed (r, w) into states (r, n) int8."""
    unpack_row(packed[row], states, row)


@jit
def transpose_words(packed, first, p, column, units):
    """Words first.. of the units 64 column.. of units (n, >= words(p)), from rows 64 first..p-1 of packed."""
    n = len(units)
    square = empty((64,), np.uint64)
    for word in range(first, (p + 63) // 64):
        for b in range(64):
            square[b] = packed[64 * word + b, column] if 64 * word + b < p else U64(0)
        transpose_square(square)
        for i in range(min(64, n - 64 * column)):
            units[64 * column + i, word] = square[i]


@tasks(lambda packed, units: (packed.shape[0] * packed.shape[2], 4 * packed.size))
def transpose(column, packed, units):
    """Fill units (k, n, u) from packed (k, p, w)."""
    _, p, w = packed.shape
    transpose_words(packed[column // w], 0, p, column % w, units[column // w])


@jit
def interleave(packed, first, last, panels):
    """Lay rows first..last-1 of packed (r, w) side by side in panels (q, w, LANES), the rest 0."""
    q, w, _ = panels.shape
    for column in range(q * LANES):
        for word in range(w):
            value = packed[first + column, word] if first + column < last else U64(0)
            panels[column // LANES, word, column % LANES] = value


@optimized
@jit
def product(a, panels, bits, begin, end, first, last, mirror, out):
    """out[first:last, begin:end] = bits - 2 popcount(a xor columns) for rows of a (r, w).

    panels (PANELS, w, LANES) hold the columns, COLUMNS at most; mirror writes out[begin:end, first:last] too.
    """
    w = a.shape[1]
    counts = empty((ROWS, COLUMNS), np.int32)
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


def columns_together(columns):
    """Neighbouring columns that a task computes: threads that write to the same line hold each other up."""
    groups = -(-columns // COLUMNS)
    return COLUMNS * max(1, min(8, groups // (4 * get_threads())))


def overlaps(packed, probes, n, m):
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w)."""
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
        product(probes[network], panels, n, begin, end, 0, probes.shape[1], False, m[network])


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
    own, out = units[task // parts], weights[task // parts]
    first = (parts - 1 - task % parts) * columns  # of the triangle, so the longest come first
    panels = empty((PANELS, u, LANES), np.uint64)
    for begin in range(first, min(first + columns, n), COLUMNS):
        end = min(begin + COLUMNS, n)
        interleave(own, begin, end, panels)
        product(own, panels, p, begin, end, 0, begin, True, out)
        product(own, panels, p, begin, end, begin, end, False, out)
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
    fill(m, p, 0)


@jit
def unit_field(units, i, u, n, m, total):
    """sum_mu m_mu x_mu_i of unit i of units (n, >= u), with overlaps m (64 u,) and total their sum."""
    stride = units.shape[1]
    span = max(1, (1 << 29) // n)
    if u <= span:
        return 2 * masked_sum(units, i * stride, u, m, 0) - total
    plus = 0
    for first in range(0, u, span):
        plus += masked_sum(units, i * stride + first, min(span, u - first), m, 64 * first)
    return 2 * plus - total


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
    total, flips = sum_first(m, p), 0
    for i in order:
        s = 2 * bit(state, i) - 1
        if unit_field(units, i, u, n, m, total) * s < diagonal:
            state[i >> 6] ^= ONE << U64(i & 63)
            add_signed(units, i * units.shape[1], u, np.int32(-2 * s), m)
            fill(m, p, 0)
            total = sum_first(m, p)
            flips += 1
    return flips


@jit
def step_sync(units, p, diagonal, state, m, new):
    """Fill new (w,) with the synchronous step from state (w,) with overlaps m (64 u,); the flips."""
    n, u = len(units), len(m) // 64
    total, flips = sum_first(m, p), 0
    for i in range(n):
        s = 2 * bit(state, i) - 1
        if unit_field(units, i, u, n, m, total) * s < diagonal:
            new[i >> 6] ^= ONE << U64(i & 63)
            flips += 1
    return flips


@jit
def padded_overlaps(m, u):
    """A copy of overlaps m (p,) int32, filled up with 0 to whole words: (64 u,)."""
    own = zeros((64 * u,), np.int32)
    copy(m, own)
    return own


def field_tasks(units, states, m, self_coupling, out):
    """Rows, and for each unit 3 ns and 20 additions a nanosecond."""
    k, b, p = m.shape
    return k * b, k * b * units.shape[1] * (p / 20 + 3)


@tasks(field_tasks)
def local_fields(row, units, states, m, self_coupling, fields):
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    _, b, p = m.shape
    n, u = units.shape[1:]
    network, r = row // b, row % b
    own, diagonal = padded_overlaps(m[network, r], u), 0 if self_coupling else p
    total = sum_first(own, p)
    for i in range(n):
        s = 2 * bit(states[network, r], i) - 1
        fields[network, r, i] = unit_field(units[network], i, u, n, own, total) - diagonal * s


@tasks(lambda m, n, self_coupling, form: (form.size, m.size))
def quadratic_form(row, m, n, self_coupling, form):
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    _, b, p = m.shape
    form[row // b, row % b] = sum_squares(m[row // b, row % b], p) - (0 if self_coupling else p * n)


@tasks(field_tasks)
def is_stable(row, units, states, m, self_coupling, stable):
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    _, b, p = m.shape
    n, u = units.shape[1:]
    network, r = row // b, row % b
    own, diagonal = padded_overlaps(m[network, r], u), 0 if self_coupling else p
    total, i = sum_first(own, p), 0
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
        turn = sweep % len(order)
        for i in range(len(chosen)):
            chosen[i] = order[turn, i]
    else:
        random_order(key, 0, 0, sweep, chosen)


def recall_async(
    key, order, packed, units, self_coupling, max_sweeps, states, converged, sweeps, flips, forms
):
    """Asynchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u).

    As `recall_async_weights`, without couplings in memory.
    """
    p, u = packed.shape[1], units.shape[2]
    block = rows_together(converged.size, order, p)
    block = max(1, min(block, BATCH_OVERLAPS // (64 * u)))
    rows, n = converged.size, units.shape[1]
    work = 3 * rows * n * (p / 20 + 10)  # three sweeps, 20 additions a nanosecond
    args = (key, order, packed, units, self_coupling, max_sweeps, states, converged, sweeps, flips, forms)
    recall_rows.deal(-(-rows // block), work, block, *args)


def rows_together(rows, order, steps):
    """How many rows a task takes through each sweep together.

    They share the order of a sweep, which every task draws for itself: as many rows as make that little
    beside a sweep, where a unit takes so many steps, but no more than a thread has.
    """
    return max(1, min(1 if len(order) else 2**16 // max(1, steps), -(-rows // get_threads())))


@parallel
def recall_rows(
    task,
    block,
    key,
    order,
    packed,
    units,
    self_coupling,
    max_sweeps,
    states,
    converged,
    sweeps,
    flips,
    forms,
):
    """`recall_async` of a block of rows."""
    k, b, _ = states.shape
    p = packed.shape[1]
    n, u = units.shape[1:]
    diagonal, recorded = (0 if self_coupling else p), forms.shape[2] > 0
    first, last = task * block, min(task * block + block, k * b)
    m = empty((last - first, 64 * u), np.int32)
    chosen = empty((n,), np.int32)
    for index in range(first, last):
        network, row = index // b, index % b
        own = m[index - first]
        row_overlaps(packed[network], p, states[network, row], n, own)
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if recorded:
            forms[network, row, 0] = sum_squares(own, p) - diagonal * n
    for sweep in range(max_sweeps):
        ended = True
        for index in range(first, last):
            network, row = index // b, index % b
            if converged[network, row]:
                continue
            if ended:
                sweep_order(key, order, sweep, chosen)
                ended = False
            own = m[index - first]
            flipped = sweep_async(units[network], p, diagonal, chosen, states[network, row], own)
            converged[network, row] = flipped == 0
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweep + 1] = sum_squares(own, p) - diagonal * n
        if ended:
            break


def step_tasks(packed, units, self_coupling, max_sweeps, states, *results):
    """Rows, and three steps of 20 additions a nanosecond."""
    rows = states.shape[0] * states.shape[1]
    return rows, rows * units.shape[1] * (packed.shape[1] / 20 + 1) * 3


@tasks(step_tasks)
def recall_sync(index, packed, units, self_coupling, max_sweeps, states, period, sweeps, flips, forms):
    """Synchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u).

    As `recall_sync_weights`, without couplings in memory.
    """
    b, w = states.shape[1:]
    p = packed.shape[1]
    n, u = units.shape[1:]
    diagonal, recorded = (0 if self_coupling else p), forms.shape[2] > 0
    network, row = index // b, index % b
    state = states[network, row]
    m = empty((64 * u,), np.int32)
    new, before = empty((w,), np.uint64), empty((w,), np.uint64)
    copy(state, new)
    period[network, row], sweeps[network, row], flips[network, row] = 0, 0, 0
    row_overlaps(packed[network], p, state, n, m)
    if recorded:
        forms[network, row, 0] = sum_squares(m, p) - diagonal * n
    while sweeps[network, row] < max_sweeps and period[network, row] == 0:
        flipped = step_sync(units[network], p, diagonal, state, m, new)
        back = True
        for word in range(w):
            back &= new[word] == before[word]
        if flipped == 0:
            period[network, row] = 1
        elif sweeps[network, row] > 0 and back:
            period[network, row] = 2
        copy(state, before)
        copy(new, state)
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


def recall_async_weights(key, order, weights, max_sweeps, states, converged, sweeps, flips, forms):
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    order (r, n) int32 holds the orders of the sweeps, used in turn; with r = 0 each sweep draws a random
    one, the same for all rows and networks.  A row stops after a sweep without a flip: converged (k, b)
    bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.  forms (k, b, max_sweeps + 1) int64
    gets s'W s at the start and after each sweep, up to the stop; its last axis may be 0: none recorded.

    The local fields are kept: a test costs O(1), only a flip costs O(n).
    """
    rows, n = converged.size, weights.shape[1]
    block = min(rows_together(rows, order, 0), max(1, BATCH_FIELDS // n))
    args = (key, order, weights, max_sweeps, states, converged, sweeps, flips, forms)
    recall_rows_weights.deal(
        -(-rows // block), rows * n * n, block, *args
    )  # the fields, an addition a nanosecond


@parallel
def recall_rows_weights(
    task, block, key, order, weights, max_sweeps, states, converged, sweeps, flips, forms
):
    """`recall_async_weights` of a block of rows."""
    k, b, _ = states.shape
    n = weights.shape[1]
    recorded = forms.shape[2] > 0
    first, last = task * block, min(task * block + block, k * b)
    s = empty((last - first, n), np.int8)
    fields = empty((last - first, n), np.int64)
    chosen = empty((n,), np.int32)
    for index in range(first, last):
        network, row = index // b, index % b
        own, field = s[index - first], fields[index - first]
        unpack_row(states[network, row], s, index - first)
        row_fields(weights[network], own, field)
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if recorded:
            forms[network, row, 0] = form_of(field, own)
    for sweep in range(max_sweeps):
        ended = True
        for index in range(first, last):
            network, row = index // b, index % b
            if converged[network, row]:
                continue
            if ended:
                sweep_order(key, order, sweep, chosen)
                ended = False
            own, field, flipped = s[index - first], fields[index - first], 0
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
        if ended:
            break
    for index in range(first, last):
        pack_row(s, index - first, states[index // b, index % b])


def weights_step_tasks(weights, max_sweeps, states, *results):
    """Rows, and three steps of two additions a nanosecond."""
    rows, n = states.shape[0] * states.shape[1], weights.shape[1]
    return rows, rows * n * n * 3 / 2


@tasks(weights_step_tasks)
def recall_sync_weights(index, weights, max_sweeps, states, period, sweeps, flips, forms):
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    period (k, b) int32 is 1 at a fixed point, 2 when the state equals the one two steps before (symmetric
    couplings allow no longer cycle: Bruck 1990), 0 when max_sweeps ended it; the others as in
    `recall_async_weights`, a sweep being one step of all units.
    """
    b = states.shape[1]
    n = weights.shape[1]
    recorded = forms.shape[2] > 0
    network, row = index // b, index % b
    s = empty((1, n), np.int8)
    own, before = s[0], empty((n,), np.int8)
    fields = empty((n,), np.int64)
    unpack_row(states[network, row], s, 0)
    row_fields(weights[network], own, fields)
    period[network, row], sweeps[network, row], flips[network, row] = 0, 0, 0
    if recorded:
        forms[network, row, 0] = form_of(fields, own)
    while sweeps[network, row] < max_sweeps and period[network, row] == 0:
        flipped, back = 0, sweeps[network, row] > 0
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
    pack_row(s, 0, states[network, row])
