"""Glauber dynamics on the GPU: a block a row, as recall, but for synchronous steps from patterns.

Rows never stop, and orders are drawn before they are needed, so many sweeps are done in several launches;
each begins with the fields of the states that the one before has left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .fields import (
    field_type,
    fields_from_patterns,
    local_fields,
    quadratic_form,
    weight_fields,
    weight_types,
)
from .module import INTEGERS, launch, pieces_a_launch
from .products import overlaps
from .random import THREADS, blocks, draw_orders
from .recall import (
    DRAWN,
    each_batch,
    flip_clocks,
    launch_rows,
    pattern_bytes,
    ranks_of,
    row_threads,
    sweep_clocks,
)

Couple = Callable[[tuple[slice, slice], Any], tuple[str, tuple[Any, ...], Any]]


def block_clocks(n: int, coupling: float) -> float:
    """Clocks that a block takes for a sweep in which half of the units flip, roughly.

    500 for each of them, and some for each coupling that a thread reads then, of so many instructions.
    """
    return n / 2 * (500 + 5 * coupling * n / row_threads(n))


def sweep_rows(
    n: int,
    couple: Couple,
    row_bytes: int,
    coupling: float,
    key: int,
    order: Any,
    first_sweep: int,
    heat: Any,
    chances: Any,
    averaged: int,
    states: Any,
    flips: Any,
    *recorded: Any,
) -> None:
    """Sweeps at the temperatures heat (sweeps, 4), sync if order is None; recorded ends with sums to average.

    couple(part, states): a kernel, what it takes of the couplings, and the fields (k b, n) of states.
    row_bytes: memory that a row needs; coupling: instructions for each coupling of a unit that flips.
    """
    sweeps, first_sweep = len(heat), int(first_sweep)
    clocks, ranks = block_clocks(n, coupling), () if order is None else ranks_of(order)
    at_once = min(max(1, DRAWN // n), max(1, sweeps), pieces_a_launch("a sweep of a probe", clocks))
    for sums in (flips, *recorded[-2:]):
        sums[...] = 0

    def ordered(first: int, count: int) -> tuple[Any, ...]:
        if order is None:
            return ()
        if len(ranks):
            return ranks, len(ranks), first_sweep + first
        drawn = cupy.empty((count, n), dtype=np.int32)
        draw_orders(key, 0, 0, first_sweep + first, None, drawn)
        return ranks_of(drawn), count, 0

    def recall(part: tuple[slice, slice], states: Any, *outputs: Any) -> None:
        place = part[0].start or 0, part[1].start or 0
        for first in range(0, max(1, sweeps), at_once):
            count = min(at_once, sweeps - first)
            kernel, given, fields = couple(part, states)
            bath = heat[first : first + count], chances, max(0, sweeps - averaged - first)
            head = (np.uint64(key), *ordered(first, count), first_sweep + first, first, *place, *bath, *given)
            limits = 0 if order is None else -(-n * fields.dtype.itemsize // 8) * 8
            launch_rows(kernel, head, count, fields, states, *outputs, file="glauber", more=limits)

    each_batch(row_bytes, at_once * flip_clocks(n, 2 * coupling), recall, states, flips, *recorded)


def from_weights(update: str, weights: Any, columns: Any, thresholds: Any, clamped: Any, *rest: Any) -> None:
    """`sweep_rows` with couplings weights (k, n, n); rest: from its key on."""
    n = weights.shape[1]
    kernel = f"glauber_{update}_weights<{weight_types(thresholds, columns)}>"

    def couple(part: tuple[slice, slice], states: Any) -> tuple[str, tuple[Any, ...], Any]:
        (k, b), own = states.shape[:2], thresholds[part[0]]
        fields = cupy.empty((k, b, n), dtype=thresholds.dtype)
        weight_fields(weights[part[0]], own, states, fields)
        given = columns[part[0]], own, cupy.ascontiguousarray(clamped[part]), clamped.shape[2]
        return kernel, given, fields.reshape(k * b, n)

    sweep_rows(n, couple, 34 * n, 4, *rest)


def glauber_async_weights(
    key: int,
    order: Any,
    first_sweep: int,
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    heat: Any,
    chances: Any,
    averaged: int,
    states: Any,
    flips: Any,
    forms: Any,
    trail: Any,
    turns: Any,
    totals: Any,
    form_totals: Any,
) -> None:
    """Asynchronous sweeps at a temperature each, states (k, b, w) in place: see the reference."""
    inputs = (weights, columns, thresholds, clamped, key, order, first_sweep, heat, chances, averaged)
    outputs = (states, flips, forms, trail, turns, totals, form_totals)
    from_weights("async", *inputs, *outputs)


def glauber_sync_weights(
    key: int,
    first_sweep: int,
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    heat: Any,
    chances: Any,
    averaged: int,
    states: Any,
    flips: Any,
    forms: Any,
    trail: Any,
    totals: Any,
    form_totals: Any,
) -> None:
    """Synchronous steps at a temperature each, states (k, b, w) in place: see the reference."""
    inputs = (weights, columns, thresholds, clamped, key, None, first_sweep, heat, chances, averaged)
    outputs = (states, flips, forms, trail, totals, form_totals)
    from_weights("sync", *inputs, *outputs)


def glauber_async(
    key: int,
    order: Any,
    first_sweep: int,
    packed: Any,
    units: Any,
    self_coupling: bool,
    heat: Any,
    chances: Any,
    averaged: int,
    states: Any,
    flips: Any,
    forms: Any,
    totals: Any,
    form_totals: Any,
) -> None:
    """`glauber_async_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    (_, n, u), p = units.shape, packed.shape[1]

    def couple(part: tuple[slice, slice], states: Any) -> tuple[str, tuple[Any, ...], Any]:
        own = units[part[0]]
        fields = fields_from_patterns(packed[part[0]], own, self_coupling, states)
        kernel = f"glauber_async<{INTEGERS[fields.dtype.itemsize]}>"
        return kernel, (own, p, u, p if self_coupling else 0), fields

    inputs, outputs = (heat, chances, averaged, states), (flips, forms, totals, form_totals)
    sweep_rows(n, couple, pattern_bytes(n, p) + 8 * n, 4 + p / 8, key, order, first_sweep, *inputs, *outputs)


def glauber_sync(
    key: int,
    first_sweep: int,
    packed: Any,
    units: Any,
    self_coupling: bool,
    heat: Any,
    chances: Any,
    averaged: int,
    states: Any,
    flips: Any,
    forms: Any,
    totals: Any,
    form_totals: Any,
) -> None:
    """`glauber_sync_weights` from packed (k, p, w) and units (k, n, u), without couplings in memory."""
    (_, n, _), p, sweeps = units.shape, packed.shape[1], len(heat)

    def recall(
        part: tuple[slice, slice], states: Any, flips: Any, forms: Any, totals: Any, sums: Any
    ) -> None:
        """By the whole grid: fields of all units, then a step."""
        (k, b, w), place = states.shape, (part[0].start or 0, part[1].start or 0)
        m, form = cupy.empty((k, b, p), dtype=np.int32), cupy.empty((k, b), dtype=np.int64)
        fields = cupy.empty((k, b, n), dtype=field_type(n, p))
        kernel = f"glauber_step<{INTEGERS[fields.dtype.itemsize]}>"
        for t in range(sweeps + 1):
            overlaps(packed[part[0]], states, n, m)
            last = t > max(0, sweeps - averaged)
            if last or forms.shape[2]:
                quadratic_form(m, n, self_coupling, form)
            if forms.shape[2]:
                forms[:, :, t] = form
            if last:
                sums += form
            if t == sweeps:
                return
            local_fields(units[part[0]], states, m, self_coupling, fields)
            counted = totals.shape[2] if t >= sweeps - averaged else 0
            bath = np.uint64(key), int(first_sweep) + t, *place, heat[t], chances
            arguments = (*bath, k, b, n, fields, states, flips, totals, counted)
            launch("glauber", kernel, blocks(32 * k * b * w), THREADS, *arguments)

    for array in (flips, totals, form_totals):
        array[...] = 0
    outputs = (states, flips, forms, totals, form_totals)
    each_batch(pattern_bytes(n, p), sweep_clocks(1, n, p), recall, *outputs)
