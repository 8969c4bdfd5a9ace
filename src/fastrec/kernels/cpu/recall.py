"""Recall on the CPU: sweeps of updates until a row stops.

Recall from patterns needs no couplings: a field is p additions, and a flip changes every overlap by 2 (p
additions), so that a sweep costs n p / 16 vector steps however far the state is from a memory.  Rows of a
batch are spread over the threads.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first
from .fields import row_fields, row_overlaps, sum_squares, unit_field
from .jit import jit
from .packing import bit, pack_row, unpack_row
from .parallel import parallel, tasks
from .random import ONE, U64, random_order
from .simd import add_signed, prefetch
from .threads import get_threads

AHEAD = 8  # units of a sweep that are asked for before their turn: they come in random order
BATCH_OVERLAPS = 1 << 23  # int32 overlaps that a task of recall holds: 32 MiB
BATCH_FIELDS = 1 << 22  # int64 fields that one of recall from couplings holds: as much


@jit
def sweep_async(units, p, diagonal, order, state, m):
    """One asynchronous sweep of state (w,) with its overlaps m (64 u,), both in place; the flips.

    diagonal is the self-coupling to take out of the fields: p, or 0 where units couple to themselves.
    """
    n, u = len(order), len(m) // 64
    total, flips, stride = sum_first(m, p), 0, units.shape[1]
    for t in range(n):
        i = order[t]
        if t + AHEAD < n:
            prefetch(units, order[t + AHEAD] * stride, u)
        s = 2 * bit(state, i) - 1
        if unit_field(units, i, u, n, m, total) * s < diagonal:
            state[i >> 6] ^= ONE << U64(i & 63)
            add_signed(units, i * stride, u, np.int32(-2 * s), m)
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
def sweep_order(key, order, sweep, chosen):
    """Fill chosen (n,) with the order of a sweep: the given ones in turn, or a random one."""
    if len(order):
        turn = sweep % len(order)
        for i in range(len(chosen)):
            chosen[i] = order[turn, i]
    else:
        random_order(key, 0, 0, sweep, chosen)


def recall_async(
    key, order, first_sweep, packed, units, self_coupling, max_sweeps, states, converged, sweeps, flips, forms
):
    """Asynchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u).

    As `recall_async_weights`, without couplings in memory.
    """
    p, u = packed.shape[1], units.shape[2]
    block = rows_together(converged.size, order, p)
    block = max(1, min(block, BATCH_OVERLAPS // (64 * u)))
    rows, n = converged.size, units.shape[1]
    work = 3 * rows * n * (p / 20 + 10)  # three sweeps, 20 additions a nanosecond
    patterns, results = (packed, units, self_coupling), (converged, sweeps, flips, forms)
    args = (key, order, first_sweep, *patterns, max_sweeps, states, *results)
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
    first_sweep,
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
        m_row = m[index - first]
        row_overlaps(packed[network], p, states[network, row], n, m_row)
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if recorded:
            forms[network, row, 0] = sum_squares(m_row, p) - diagonal * n
    for sweep in range(max_sweeps):
        ended = True
        for index in range(first, last):
            network, row = index // b, index % b
            if converged[network, row]:
                continue
            if ended:
                sweep_order(key, order, first_sweep + sweep, chosen)
                ended = False
            m_row = m[index - first]
            flipped = sweep_async(units[network], p, diagonal, chosen, states[network, row], m_row)
            converged[network, row] = flipped == 0
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweep + 1] = sum_squares(m_row, p) - diagonal * n
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
def form_of(fields, s):
    """s'W s from the fields W s."""
    form = 0
    for i in range(len(s)):
        form += fields[i] * s[i]
    return form


def recall_async_weights(
    key, order, first_sweep, weights, max_sweeps, states, converged, sweeps, flips, forms
):
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n).

    The sweeps are numbered from first_sweep.  order (r, n) int32 holds their orders, sweep t has row t mod r;
    with r = 0 each sweep draws a random one, the same for all rows and networks.  A row stops after a sweep
    without a flip: converged (k, b) bool, sweeps (k, b) int32 with that last one, flips (k, b) int64.  forms
    (k, b, max_sweeps + 1) int64 gets s'W s at the start and after each sweep, up to the stop; its last axis
    may be 0: none recorded.

    The local fields are kept: a test costs O(1), only a flip costs O(n).
    """
    rows, n = converged.size, weights.shape[1]
    block = min(rows_together(rows, order, 0), max(1, BATCH_FIELDS // n))
    args = (key, order, first_sweep, weights, max_sweeps, states, converged, sweeps, flips, forms)
    # The fields take an addition a nanosecond.
    recall_rows_weights.deal(-(-rows // block), rows * n * n, block, *args)


@parallel
def recall_rows_weights(
    task, block, key, order, first_sweep, weights, max_sweeps, states, converged, sweeps, flips, forms
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
        s_row, field = s[index - first], fields[index - first]
        unpack_row(states[network, row], s, index - first)
        row_fields(weights[network], s_row, field)
        converged[network, row], sweeps[network, row], flips[network, row] = False, 0, 0
        if recorded:
            forms[network, row, 0] = form_of(field, s_row)
    for sweep in range(max_sweeps):
        ended = True
        for index in range(first, last):
            network, row = index // b, index % b
            if converged[network, row]:
                continue
            if ended:
                sweep_order(key, order, first_sweep + sweep, chosen)
                ended = False
            s_row, field, flipped = s[index - first], fields[index - first], 0
            for i in chosen:
                if field[i] * s_row[i] < 0:
                    s_row[i] = -s_row[i]
                    flipped += 1
                    for j in range(n):
                        field[j] += 2 * s_row[i] * np.int64(weights[network, i, j])
            converged[network, row] = flipped == 0
            sweeps[network, row] += 1
            flips[network, row] += flipped
            if recorded:
                forms[network, row, sweep + 1] = form_of(field, s_row)
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
    s_row, before = s[0], empty((n,), np.int8)
    fields = empty((n,), np.int64)
    unpack_row(states[network, row], s, 0)
    row_fields(weights[network], s_row, fields)
    period[network, row], sweeps[network, row], flips[network, row] = 0, 0, 0
    if recorded:
        forms[network, row, 0] = form_of(fields, s_row)
    while sweeps[network, row] < max_sweeps and period[network, row] == 0:
        flipped, back = 0, sweeps[network, row] > 0
        for i in range(n):
            new = -s_row[i] if fields[i] * s_row[i] < 0 else s_row[i]
            flipped += new != s_row[i]
            back &= new == before[i]
            before[i], s_row[i] = s_row[i], new
        if flipped == 0:
            period[network, row] = 1
        elif back:
            period[network, row] = 2
        if flipped:
            row_fields(weights[network], s_row, fields)
        sweeps[network, row] += 1
        flips[network, row] += flipped
        if recorded:
            forms[network, row, sweeps[network, row]] = form_of(fields, s_row)
    pack_row(s, 0, states[network, row])
