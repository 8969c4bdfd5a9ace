"""Glauber dynamics on the CPU: sweeps in which a unit takes a random state, with the odds of its field."""

from __future__ import annotations

import numpy as np

from .arrays import copy, empty, fill, sum_first
from .fields import row_overlaps, sum_squares, turn
from .heat_bath import draw_updates, flips_over
from .jit import jit
from .packing import bit, pack_row, unpack_row
from .parallel import parallel, tasks
from .recall import (
    BATCH_FIELDS,
    BATCH_OVERLAPS,
    begin_block,
    begin_rows,
    form_of,
    is_held,
    record,
    rows_together,
    step_sync,
    sweep_async,
    sweep_blocks,
    sweep_order,
    sweep_rows,
)
from .threads import get_threads


@jit
def add_states(s, fields, thresholds, network, row, totals, form_totals):
    """Add the states s (n,) and their form to the sums of a row."""
    own = totals[network, row]
    for i in range(len(own)):
        own[i] += s[i]
    form_totals[network, row] += form_of(fields, thresholds, s)


def glauber_async_weights(
    key,
    order,
    first_sweep,
    weights,
    columns,
    thresholds,
    clamped,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    trail,
    turns,
    totals,
    form_totals,
):
    """Asynchronous sweeps at a temperature each, states (k, b, w) in place: see the reference."""
    rows, n = flips.size, weights.shape[1]
    block = max(1, min(-(-rows // get_threads()), BATCH_FIELDS // n))
    inputs = (key, order, first_sweep, weights, columns, thresholds, clamped, heat, chances, averaged)
    # The fields take 20 additions a nanosecond, an update 10 nanoseconds.
    work = rows * n * (n / 20 + len(heat) * (10 + n / 400))
    glauber_rows.deal(
        -(-rows // block), work, block, *inputs, states, flips, forms, trail, turns, totals, form_totals
    )


@parallel
def glauber_rows(
    task,
    block,
    key,
    order,
    first_sweep,
    weights,
    columns,
    thresholds,
    clamped,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    trail,
    turns,
    totals,
    form_totals,
):
    """`glauber_async_weights` of a block of rows."""
    k, b, _ = states.shape
    n = weights.shape[1]
    first, last = task * block, min(task * block + block, k * b)
    rows, sweeps, turned = last - first, len(heat), np.int64(0)
    s, fields = empty((rows, n), np.int8), empty((rows, n), thresholds)
    chosen, draws = empty((n,), np.int32), empty((n,), np.uint64)
    active, flipped = empty((rows,), np.int64), empty((rows,), np.int64)
    begin_block(weights, thresholds, first, states, s, fields, flips, forms, trail)
    for r in range(rows):
        active[r] = first + r
        form_totals[active[r] // b, active[r] % b] = 0
        fill(totals[active[r] // b, active[r] % b], 0, 0)
    for t in range(sweeps):
        sweep_order(key, order, first_sweep + t, chosen)
        fill(flipped, 0, 0)
        bath = (key, first_sweep + t, heat[t], chances, draws)
        if 2 * turned > n:
            sweep_blocks(chosen, columns, clamped, first, active, s, fields, t, flips, flipped, turns, bath)
        else:
            sweep_rows(chosen, columns, clamped, first, active, s, fields, t, flips, flipped, turns, bath)
        turned = sum_first(flipped, rows)
        for r in range(rows):
            network, row = active[r] // b, active[r] % b
            flips[network, row] += flipped[r]
            record(fields[r], thresholds[network], s, r, t + 1, forms[network, row], trail[network, row])
            if t >= sweeps - averaged:
                add_states(s[r], fields[r], thresholds[network], network, row, totals, form_totals)
    for r in range(rows):
        pack_row(s, r, states[active[r] // b, active[r] % b])


def step_tasks(key, first_sweep, weights, columns, thresholds, clamped, heat, chances, averaged, states, *_):
    """Rows, and their work as in `glauber_async_weights`."""
    rows, n = states.shape[0] * states.shape[1], weights.shape[1]
    return rows, rows * n * (n / 20 + len(heat) * (10 + n / 400))


@tasks(step_tasks)
def glauber_sync_weights(
    index,
    key,
    first_sweep,
    weights,
    columns,
    thresholds,
    clamped,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    trail,
    totals,
    form_totals,
):
    """Synchronous steps at a temperature each, states (k, b, w) in place: see the reference."""
    b, sweeps = states.shape[1], len(heat)
    n = weights.shape[1]
    network, row = index // b, index % b
    s, turned, draws = empty((1, n), np.int8), empty((n,), np.int32), empty((n,), np.uint64)
    s_row, all_fields, own = s[0], empty((1, n), thresholds), thresholds[network]
    fields, total = all_fields[0], 0
    unpack_row(states[network, row], s, 0)
    begin_rows(weights[network], own, states[network, row : row + 1], all_fields)
    record(fields, own, s, 0, 0, forms[network, row], trail[network, row])
    form_totals[network, row] = 0
    fill(totals[network, row], 0, 0)
    for t in range(sweeps):
        flipped = 0
        bath = (key, first_sweep + t, heat[t], chances, draws)
        draw_updates(network, row, 0, n, bath)
        for i in range(n):
            if flips_over(fields[i], s_row[i], i, bath) and not is_held(clamped, network, row, i):
                s_row[i] = -s_row[i]
                turned[flipped] = i
                flipped += 1
        total += flipped
        if 2 * flipped < n:
            for i in turned[:flipped]:
                turn(columns[network, i], s_row[i], fields)
        else:
            pack_row(s, 0, states[network, row])
            begin_rows(weights[network], own, states[network, row : row + 1], all_fields)
        record(fields, own, s, 0, t + 1, forms[network, row], trail[network, row])
        if t >= sweeps - averaged:
            add_states(s_row, fields, own, network, row, totals, form_totals)
    flips[network, row] = total
    pack_row(s, 0, states[network, row])


def pattern_work(rows, units, p, sweeps):
    """Nanoseconds: 20 additions each for the fields, and 10 for an update."""
    return rows * units.shape[1] * (p / 20 + sweeps * (10 + p / 20))


def glauber_async(
    key,
    order,
    first_sweep,
    packed,
    units,
    self_coupling,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    totals,
    form_totals,
):
    """`glauber_async_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    rows, p, u = flips.size, packed.shape[1], units.shape[2]
    block = max(1, min(rows_together(rows, order, p), BATCH_OVERLAPS // (64 * u)))
    inputs = (key, order, first_sweep, packed, units, self_coupling, heat, chances, averaged)
    work = pattern_work(rows, units, p, len(heat))
    glauber_pattern_rows.deal(
        -(-rows // block), work, block, *inputs, states, flips, forms, totals, form_totals
    )


@jit
def note_overlaps(m, p, diagonal, state, sweep, last, network, row, forms, totals, form_totals):
    """Record the form after a sweep; if it is one of the last, add state and form to the sums of a row."""
    n = totals.shape[2]
    if last or forms.shape[2]:
        form = sum_squares(m, p) - diagonal
        if forms.shape[2]:
            forms[network, row, sweep] = form
        if last:
            form_totals[network, row] += form
            own = totals[network, row]
            for i in range(n):
                own[i] += np.int32(2 * bit(state, i) - 1)


@parallel
def glauber_pattern_rows(
    task,
    block,
    key,
    order,
    first_sweep,
    packed,
    units,
    self_coupling,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    totals,
    form_totals,
):
    """`glauber_async` of a block of rows."""
    k, b, _ = states.shape
    p, sweeps = packed.shape[1], len(heat)
    n, u = units.shape[1:]
    diagonal = 0 if self_coupling else p
    first, last = task * block, min(task * block + block, k * b)
    m, chosen, draws = empty((last - first, 64 * u), np.int32), empty((n,), np.int32), empty((n,), np.uint64)
    for index in range(first, last):
        network, row = index // b, index % b
        row_overlaps(packed[network], p, states[network, row], n, m[index - first])
        flips[network, row] = form_totals[network, row] = 0
        fill(totals[network, row], 0, 0)
        inputs = (m[index - first], p, diagonal * n, states[network, row])
        note_overlaps(*inputs, 0, False, network, row, forms, totals, form_totals)
    for t in range(sweeps):
        sweep_order(key, order, first_sweep + t, chosen)
        bath = (key, first_sweep + t, heat[t], chances, draws)
        for index in range(first, last):
            network, row = index // b, index % b
            state, m_row = states[network, row], m[index - first]
            draw_updates(network, row, 0, n, bath)
            flips[network, row] += sweep_async(units[network], p, diagonal, chosen, state, m_row, bath)
            inputs = (m_row, p, diagonal * n, state)
            counted = t >= sweeps - averaged
            note_overlaps(*inputs, t + 1, counted, network, row, forms, totals, form_totals)


def pattern_step_tasks(key, first_sweep, packed, units, self_coupling, heat, chances, averaged, states, *_):
    """Rows, and their work."""
    rows = states.shape[0] * states.shape[1]
    return rows, pattern_work(rows, units, packed.shape[1], len(heat))


@tasks(pattern_step_tasks)
def glauber_sync(
    index,
    key,
    first_sweep,
    packed,
    units,
    self_coupling,
    heat,
    chances,
    averaged,
    states,
    flips,
    forms,
    totals,
    form_totals,
):
    """`glauber_sync_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    b, w = states.shape[1:]
    p, sweeps = packed.shape[1], len(heat)
    n, u = units.shape[1:]
    network, row = index // b, index % b
    diagonal, state = (0 if self_coupling else p), states[network, row]
    m, new, draws = empty((64 * u,), np.int32), empty((w,), np.uint64), empty((n,), np.uint64)
    row_overlaps(packed[network], p, state, n, m)
    flips[network, row] = form_totals[network, row] = 0
    fill(totals[network, row], 0, 0)
    note_overlaps(m, p, diagonal * n, state, 0, False, network, row, forms, totals, form_totals)
    copy(state, new)
    for t in range(sweeps):
        bath = (key, first_sweep + t, heat[t], chances, draws)
        draw_updates(network, row, 0, n, bath)
        flips[network, row] += step_sync(units[network], p, diagonal, state, m, new, bath)
        copy(new, state)
        row_overlaps(packed[network], p, state, n, m)
        counted = t >= sweeps - averaged
        note_overlaps(m, p, diagonal * n, state, t + 1, counted, network, row, forms, totals, form_totals)
