"""Recall on the CPU: sweeps of updates until a row stops.

Recall from patterns needs no couplings: a field is p additions, and a flip changes every overlap by 2 (p
additions), so that a sweep costs n p / 16 vector steps however far the state is from a memory.  Rows of a
batch are spread over the threads.
"""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first
from .fields import row_overlaps, sum_squares, turn, turn_four, unit_field, weight_fields
from .heat_bath import draw_updates, flips_over
from .jit import jit
from .packing import bit, pack_row, unpack_row
from .parallel import parallel, tasks
from .random import ONE, U64, random_order
from .simd import add_signed, prefetch
from .threads import get_threads

AHEAD = 8  # units of a sweep that are asked for before their turn: they come in random order
BATCH_OVERLAPS = 1 << 23  # int32 overlaps that a task of recall holds: 32 MiB
BLOCK = 64  # units whose couplings among themselves are laid side by side
PIECE = 1 << 10  # fields of a row that stay in the first cache while all flips of a block change them
BATCH_FIELDS = 1 << 22  # int64 fields that one of recall from couplings holds: as much


@jit
def sweep_async(units, p, diagonal, order, state, m, heat):
    """One asynchronous sweep of state (w,) with its overlaps m (64 u,), both in place; the flips.

    diagonal is the self-coupling to take out of the fields: p, or 0 where units couple to themselves.  heat:
    as of `flips_over`.
    """
    n, u = len(order), len(m) // 64
    total, flips, stride = sum_first(m, p), 0, units.shape[1]
    for t in range(n):
        i = order[t]
        if t + AHEAD < n:
            prefetch(units, order[t + AHEAD] * stride, u)
        s = 2 * bit(state, i) - 1
        if flips_over(unit_field(units, i, u, n, m, total) - diagonal * s, s, t, heat):
            state[i >> 6] ^= ONE << U64(i & 63)
            add_signed(units, i * stride, u, np.int32(-2 * s), m)
            fill(m, p, 0)
            total = sum_first(m, p)
            flips += 1
    return flips


@jit
def step_sync(units, p, diagonal, state, m, new, heat):
    """Fill new (w,) with the synchronous step from state (w,) with overlaps m (64 u,); the flips."""
    n, u = len(units), len(m) // 64
    total, flips = sum_first(m, p), 0
    for i in range(n):
        s = 2 * bit(state, i) - 1
        if flips_over(unit_field(units, i, u, n, m, total) - diagonal * s, s, i, heat):
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
            flipped = sweep_async(units[network], p, diagonal, chosen, states[network, row], m_row, None)
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
        flipped = step_sync(units[network], p, diagonal, state, m, new, None)
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


def sequence_tasks(packed, units, cyclic, diagonal, steps, states, trail):
    """Rows, and 20 additions a nanosecond."""
    rows = states.shape[0] * states.shape[1]
    return rows, rows * units.shape[1] * (packed.shape[1] / 20 + 3) * steps


@tasks(sequence_tasks)
def recall_sequence(index, packed, units, cyclic, diagonal, steps, states, trail):
    """Exactly so many synchronous steps, states (k, b, w) in place, through the patterns in their order.

    As in the reference, without couplings in memory.
    """
    b, p = states.shape[1], packed.shape[1]
    n, u = units.shape[1:]
    network, row = index // b, index % b
    state, m, new = states[network, row], empty((64 * u,), np.int32), empty((states.shape[2],), np.uint64)
    copy(state, new)
    for step in range(steps + 1):
        if trail.shape[2]:
            copy(state, trail[network, row, step])
        if step == steps:
            break
        row_overlaps(packed[network], p, state, n, m)
        last = m[p - 1]
        for mu in range(p - 1, 0, -1):  # a pattern is called up by the overlap with the one before
            m[mu] = m[mu - 1]
        m[0] = last if cyclic else 0
        total = sum_first(m, p)
        for i in range(n):
            s = 2 * bit(state, i) - 1
            if unit_field(units[network], i, u, n, m, total) * s < diagonal[network, i]:
                new[i >> 6] ^= ONE << U64(i & 63)
        copy(new, state)


@jit
def form_of(fields, thresholds, s):
    """s'W s - 2 thresholds's from the fields W s - thresholds."""
    form = 0
    for i in range(len(s)):
        form += (np.int64(fields[i]) - thresholds[i]) * s[i]
    return form


@jit
def record(fields, thresholds, s, row, sweep, forms, trail):
    """Put the form and the states of a row of s (rows, n) after a sweep into forms (r,) and trail (r, w)."""
    if len(forms):
        forms[sweep] = form_of(fields, thresholds, s[row])
    if len(trail):
        pack_row(s, row, trail[sweep])


@jit
def begin_rows(weights, thresholds, states, fields):
    """Fill fields (rows, n) with weights (n, n) times the states (rows, w) less the thresholds (n,)."""
    weight_fields(weights, states, fields)
    for row in range(len(fields)):
        for i in range(len(thresholds)):
            fields[row, i] -= thresholds[i]


@jit
def begin_block(weights, thresholds, first, states, s, fields, flips, forms, trail):
    """Fill s and fields (rows, n) for the rows from number `first` on, and record them."""
    b, last = states.shape[1], first + len(s)
    for index in range(first, last):
        unpack_row(states[index // b, index % b], s, index - first)
        flips[index // b, index % b] = 0
    begin = first
    while begin < last:  # the rows of a network
        network, end = begin // b, min(last, (begin // b + 1) * b)
        own = fields[begin - first : end - first]
        begin_rows(
            weights[network], thresholds[network], states[network, begin % b : begin % b + len(own)], own
        )
        begin = end
    for index in range(first, last):
        network, row, r = index // b, index % b, index - first
        record(fields[r], thresholds[network], s, r, 0, forms[network, row], trail[network, row])


def recall_async_weights(
    key,
    order,
    first_sweep,
    weights,
    columns,
    thresholds,
    clamped,
    max_sweeps,
    states,
    converged,
    sweeps,
    flips,
    forms,
    trail,
    turns,
):
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference.

    The local fields are kept: a test costs O(1), only a flip costs O(n).
    """
    rows, n = converged.size, weights.shape[1]
    block = max(1, min(-(-rows // get_threads()), BATCH_FIELDS // n))
    given = (key, order, first_sweep, weights, columns, thresholds, clamped, max_sweeps)
    results = (states, converged, sweeps, flips, forms, trail, turns)
    # The fields take 20 additions a nanosecond.
    recall_rows_weights.deal(-(-rows // block), rows * n * n / 20, block, *given, *results)


@jit
def note(sweep, unit, flips, turns):
    """Put a flip into turns (f, 2), if it has room for that many."""
    if flips < len(turns):
        turns[flips, 0], turns[flips, 1] = sweep, unit


@jit
def is_held(clamped, network, row, unit):
    """Whether a unit of a row keeps its state."""
    return clamped.shape[2] > 0 and bit(clamped[network, row], unit) == 1


@jit
def sweep_rows(chosen, columns, clamped, first, active, s, fields, sweep, flips, flipped, turns, heat):
    """A sweep of the active rows, in the order `chosen`, one row after the other.

    s and fields (rows, n) hold the rows from number `first` on; flipped counts the flips of active ones.
    heat: None at temperature 0, else what `heat_bath.draw_updates` and `flips_over` take.
    """
    b = flips.shape[1]
    for a in range(len(active)):
        network, row, r = active[a] // b, active[a] % b, active[a] - first
        s_row, field = s[r], fields[r]
        draw_updates(network, row, 0, len(chosen), heat)
        for place in range(len(chosen)):
            i = chosen[place]
            if flips_over(field[i], s_row[i], place, heat) and not is_held(clamped, network, row, i):
                s_row[i] = -s_row[i]
                turn(columns[network, i], s_row[i], field)
                note(sweep, i, flips[network, row] + flipped[a], turns[network, row])
                flipped[a] += 1


@jit
def sweep_blocks(chosen, columns, clamped, first, active, s, fields, sweep, flips, flipped, turns, heat):
    """`sweep_rows` in blocks of units where many flip: the exact order, with fewer bytes moved.

    Inside a block fields follow from the couplings of its units among themselves; all others are changed
    once for a block, a piece of them by all its flips.  So rows read the couplings of a unit together, and
    fields from the first cache.
    """
    n, b = s.shape[1], flips.shape[1]
    tile, local = empty((BLOCK, BLOCK), fields), empty((BLOCK,), fields)
    states, turned = empty((BLOCK,), np.int8), empty((BLOCK,), np.int64)
    for begin in range(0, n, BLOCK):
        block, drawn = chosen[begin : begin + BLOCK], np.int64(-1)
        for a in range(len(active)):
            network, row, r, some = active[a] // b, active[a] % b, active[a] - first, 0
            if network != drawn:
                for i in range(len(block)):
                    line = columns[network, block[i]]
                    for j in range(len(block)):
                        tile[i, j] = line[block[j]]
                drawn = network
            for i in range(len(block)):
                local[i], states[i] = fields[r, block[i]], s[r, block[i]]
            draw_updates(network, row, begin, len(block), heat)
            for i in range(len(block)):
                if flips_over(local[i], states[i], i, heat) and not is_held(clamped, network, row, block[i]):
                    states[i] = -states[i]
                    s[r, block[i]] = states[i]
                    turn(tile[i], states[i], local)
                    note(sweep, block[i], flips[network, row] + flipped[a] + some, turns[network, row])
                    turned[some] = i
                    some += 1
            flipped[a] += some
            for piece in range(0, n if some else 0, PIECE):
                field, rest = fields[r, piece : piece + PIECE], some % 4
                for i in turned[:rest]:
                    turn(columns[network, block[i], piece : piece + PIECE], states[i], field)
                for at in range(rest, some, 4):
                    i0, i1, i2, i3 = turned[at], turned[at + 1], turned[at + 2], turned[at + 3]
                    turn_four(
                        columns[network, block[i0], piece : piece + PIECE],
                        states[i0],
                        columns[network, block[i1], piece : piece + PIECE],
                        states[i1],
                        columns[network, block[i2], piece : piece + PIECE],
                        states[i2],
                        columns[network, block[i3], piece : piece + PIECE],
                        states[i3],
                        field,
                    )


@parallel
def recall_rows_weights(
    task,
    block,
    key,
    order,
    first_sweep,
    weights,
    columns,
    thresholds,
    clamped,
    max_sweeps,
    states,
    converged,
    sweeps,
    flips,
    forms,
    trail,
    turns,
):
    """`recall_async_weights` of a block of rows."""
    k, b, _ = states.shape
    n = weights.shape[1]
    first, last = task * block, min(task * block + block, k * b)
    s = empty((last - first, n), np.int8)
    fields = empty((last - first, n), thresholds)
    chosen = empty((n,), np.int32)
    active = empty((last - first,), np.int64)
    flipped = empty((last - first,), np.int64)
    begin_block(weights, thresholds, first, states, s, fields, flips, forms, trail)
    for index in range(first, last):
        converged[index // b, index % b] = False
        sweeps[index // b, index % b] = 0
        active[index - first] = index
    left, sweep, turned = last - first, 0, (last - first) * n
    while left and sweep < max_sweeps:
        sweep_order(key, order, first_sweep + sweep, chosen)
        fill(flipped, 0, 0)
        if 2 * turned > n:
            sweep_blocks(
                chosen, columns, clamped, first, active[:left], s, fields, sweep, flips, flipped, turns, None
            )
        else:
            sweep_rows(
                chosen, columns, clamped, first, active[:left], s, fields, sweep, flips, flipped, turns, None
            )
        turned = sum_first(flipped, left)
        sweep += 1
        still = 0
        for a in range(left):
            index = active[a]
            network, row, r = index // b, index % b, index - first
            sweeps[network, row] = sweep
            flips[network, row] += flipped[a]
            record(fields[r], thresholds[network], s, r, sweep, forms[network, row], trail[network, row])
            if flipped[a]:
                active[still] = index
                still += 1
            else:
                converged[network, row] = True
        left = still
    for index in range(first, last):
        pack_row(s, index - first, states[index // b, index % b])


def weights_step_tasks(weights, columns, thresholds, clamped, max_sweeps, states, *results):
    """Rows, and fields at 10 additions a nanosecond."""
    rows, n = states.shape[0] * states.shape[1], weights.shape[1]
    return rows, rows * n * n / 10


@tasks(weights_step_tasks)
def recall_sync_weights(
    index,
    weights,
    columns,
    thresholds,
    clamped,
    max_sweeps,
    states,
    period,
    sweeps,
    flips,
    forms,
    trail,
):
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference."""
    b = states.shape[1]
    n = weights.shape[1]
    network, row = index // b, index % b
    s, before, kept = empty((1, n), np.int8), empty((n,), np.int8), empty((n,), np.int8)
    s_row, turned = s[0], empty((n,), np.int32)
    all_fields, own = empty((1, n), thresholds), thresholds[network]
    fields = all_fields[0]
    unpack_row(states[network, row], s, 0)
    begin_rows(weights[network], own, states[network, row : row + 1], all_fields)
    record(fields, own, s, 0, 0, forms[network, row], trail[network, row])
    stop, step, total, kept_at = 0, 0, 0, 0
    while step < max_sweeps and stop == 0:
        flipped, back, again = 0, step > 0, kept_at > 0
        for i in range(n):
            new = s_row[i]
            if fields[i] * new < 0 and not (clamped.shape[2] and bit(clamped[network, row], i)):
                new = -new
                turned[flipped] = i
                flipped += 1
            back &= new == before[i]
            again &= new == kept[i]
            before[i], s_row[i] = s_row[i], new
        step += 1
        total += flipped
        if flipped == 0:
            stop = 1
        elif back:
            stop = 2
        elif again:
            stop = step - kept_at
        if step & (step - 1) == 0:
            copy(s_row, kept)
            kept_at = step
        if 2 * flipped < n:
            for i in turned[:flipped]:
                turn(columns[network, i], s_row[i], fields)
        else:
            pack_row(s, 0, states[network, row])
            begin_rows(weights[network], own, states[network, row : row + 1], all_fields)
        record(fields, own, s, 0, step, forms[network, row], trail[network, row])
    period[network, row], sweeps[network, row], flips[network, row] = stop, step, total
    pack_row(s, 0, states[network, row])
