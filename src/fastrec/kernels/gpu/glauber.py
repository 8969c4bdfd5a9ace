"""Glauber dynamics on the GPU: a block a row, as recall from couplings.

Rows never stop, and orders are drawn before they are needed, so many sweeps are done in several launches;
each begins with the fields of the states that the one before has left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .fields import weight_fields, weight_types
from .module import pieces_a_launch
from .products import couplings
from .random import draw_orders
from .recall import DRAWN, each_batch, flip_clocks, launch_rows, ranks_of, row_threads


def glauber_from_weights(
    update: str,
    key: int,
    order_head: Callable[[int, int], tuple[Any, ...]],
    first_sweep: int,
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    heat: Any,
    chances: Any,
    averaged: int,
    more: int,
    states: Any,
    flips: Any,
    *recorded: Any,
) -> None:
    """Sweeps at the temperatures heat (sweeps, 4); recorded ends with the sums of what is averaged.

    order_head(first, count): what the kernel takes to order so many sweeps from number `first` on.
    more: bytes of memory that a row needs besides those of a recall.
    """
    n, sweeps = weights.shape[1], len(heat)
    at_once = min(max(1, DRAWN // n), max(1, sweeps), pieces_a_launch("a sweep of a probe", block_clocks(n)))
    kernel = f"glauber_{update}_weights<{weight_types(thresholds, columns)}>"
    for sums in (flips, *recorded[-2:]):
        sums[...] = 0

    def recall(part: tuple[slice, slice], states: Any, *outputs: Any) -> None:
        (k, b), networks = states.shape[:2], part[0]
        place, own = (networks.start or 0, part[1].start or 0), thresholds[networks]
        given = columns[networks], own, cupy.ascontiguousarray(clamped[part]), clamped.shape[2]
        fields = cupy.empty((k, b, n), dtype=thresholds.dtype)
        for first in range(0, max(1, sweeps), at_once):
            count = min(at_once, sweeps - first)
            weight_fields(weights[networks], own, states, fields)
            bath = heat[first : first + count], chances, max(0, sweeps - averaged - first)
            head = (np.uint64(key), *order_head(first, count), first_sweep, first, *place, *given, *bath)
            launch_rows(
                kernel, head, count, fields.reshape(k * b, n), states, *outputs, file="glauber", more=more
            )

    each_batch(26 * n + more, at_once * flip_clocks(n, 8), recall, states, flips, *recorded)


def block_clocks(n: int) -> float:
    """Clocks that a block takes for a sweep in which half of the units flip, roughly.

    500 for each of them, and 20 for each field that a thread changes then.
    """
    return n / 2 * (500 + 20 * n / row_threads(n))


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
    n, given = weights.shape[1], ranks_of(order)

    def order_head(first: int, count: int) -> tuple[Any, ...]:
        if len(given):
            return given, len(given), int(first_sweep) + first
        drawn = cupy.empty((count, n), dtype=np.int32)
        draw_orders(key, 0, 0, first_sweep + first, None, drawn)
        return ranks_of(drawn), count, 0

    inputs = (int(first_sweep), weights, columns, thresholds, clamped, heat, chances, averaged)
    limits = -(-n * thresholds.dtype.itemsize // 8) * 8
    outputs = (states, flips, forms, trail, turns, totals, form_totals)
    glauber_from_weights("async", key, order_head, *inputs, limits, *outputs)


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
    inputs = (int(first_sweep), weights, columns, thresholds, clamped, heat, chances, averaged)
    outputs = (states, flips, forms, trail, totals, form_totals)
    glauber_from_weights("sync", key, lambda first, count: (), *inputs, 0, *outputs)


def given_by(packed: Any, units: Any, self_coupling: bool, states: Any) -> tuple[Any, ...]:
    """The couplings of packed (k, p, w), as matrix units multiply them in no time, without thresholds."""
    (k, n, _), p = units.shape, packed.shape[1]
    weights = cupy.empty((k, n, n), dtype=np.min_scalar_type(-p - 1))
    couplings(units, p, self_coupling, weights)
    number = np.int32 if n * p < 2**30 else np.int64
    return weights, weights, cupy.zeros((k, n), dtype=number), states[:, :, :0]


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
    """`glauber_async_weights` from packed (k, p, w) and units (k, n, u); couplings must fit in memory."""
    given = given_by(packed, units, self_coupling, states)
    turns, trail = cupy.empty((*states.shape[:2], 0, 2), dtype=np.int32), states[:, :, None][:, :, :0]
    outputs = (states, flips, forms, trail, turns, totals, form_totals)
    inputs: tuple[Any, ...] = (*given, heat, chances, averaged, *outputs)
    glauber_async_weights(key, order, first_sweep, *inputs)


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
    """`glauber_sync_weights` from packed (k, p, w) and units (k, n, u); couplings must fit in memory."""
    given, trail = given_by(packed, units, self_coupling, states), states[:, :, None][:, :, :0]
    outputs = (states, flips, forms, trail, totals, form_totals)
    inputs: tuple[Any, ...] = (*given, heat, chances, averaged, *outputs)
    glauber_sync_weights(key, first_sweep, *inputs)
