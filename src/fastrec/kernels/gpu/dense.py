"""Recall of dense memories on the GPU: a block a row, which reads the patterns for each update or step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .module import launch, multiprocessors, pieces_a_launch
from .random import draw_orders
from .recall import DRAWN, block_memory, each_batch, row_threads


def recall_rows(
    kernel: str,
    head: Callable[[slice, int, int], tuple[Any, ...]],
    n: int,
    p: int,
    drawn: int,
    table: Any,
    relative: bool,
    max_sweeps: int,
    states: Any,
    *outputs: Any,
) -> None:
    """Launch a kernel of dense.cu for as many sweeps at once as one launch may, `drawn` at most.

    head(networks, first, count): what it takes before the table for so many sweeps from number `first` on.
    """
    threads = row_threads(max(n, p))
    clocks = n * (200 + 10 * p / threads)  # of a block for a sweep, roughly
    at_once = max(1, min(max_sweeps, drawn, pieces_a_launch("a sweep of a dense memory", clocks)))
    for array in outputs[:3]:
        array[...] = 0

    def recall(part: tuple[slice, slice], states: Any, *outputs: Any) -> None:
        k, b, w = states.shape
        scratch, nbytes = block_memory(16 * p, k * b)
        earlier = [cupy.empty((k, b, 2, w), dtype=np.uint64)] * (kernel == "dense_sync")
        for first in range(0, max(1, max_sweeps), at_once):
            count = min(at_once, max_sweeps - first)
            how = table, len(table), relative, b, n, first, count
            memory = scratch, nbytes, *earlier
            arguments = *head(part[0], first, count), *how, *memory, states, *outputs, outputs[-1].shape[2]
            launch("dense", kernel, k * b, threads, *arguments, shared=0 if scratch is not None else nbytes)

    row_clocks = at_once * n * p / 16 / multiprocessors()
    each_batch(16 * p + n // 4, row_clocks, recall, states, *outputs)


def dense_async(
    key: int,
    order: Any,
    first_sweep: int,
    packed: Any,
    units: Any,
    table: Any,
    relative: bool,
    max_sweeps: int,
    states: Any,
    converged: Any,
    sweeps: Any,
    flips: Any,
    trail: Any,
) -> None:
    """Asynchronous recall of dense memories, states (k, b, w) in place: see the reference."""
    n, p = order.shape[1], packed.shape[1]

    def head(networks: slice, first: int, count: int) -> tuple[Any, ...]:
        orders, base = order, int(first_sweep) + first
        if not len(order):
            orders, base = cupy.empty((max(1, count), n), dtype=np.int32), 0
            draw_orders(key, 0, 0, first_sweep + first, None, orders)
        return orders, len(orders), base, packed[networks], units[networks], p, units.shape[2]

    drawn = max_sweeps if len(order) else DRAWN // n
    outputs = (states, converged, sweeps, flips, trail)
    recall_rows("dense_async", head, n, p, drawn, table, relative, max_sweeps, *outputs)


def dense_sync(
    packed: Any,
    n: int,
    table: Any,
    relative: bool,
    max_sweeps: int,
    states: Any,
    period: Any,
    sweeps: Any,
    flips: Any,
    trail: Any,
) -> None:
    """Synchronous recall of dense memories of n units, states (k, b, w) in place: see the reference."""
    p = packed.shape[1]

    def head(networks: slice, first: int, count: int) -> tuple[Any, ...]:
        return packed[networks], p

    outputs = (states, period, sweeps, flips, trail)
    recall_rows("dense_sync", head, n, p, max_sweeps, table, relative, max_sweeps, *outputs)
