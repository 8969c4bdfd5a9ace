"""Recall on the GPU: sweeps of updates until a row stops.

One block keeps the local fields of a row where there are few units (`SMALL`) or the couplings are given; the
whole grid works in pattern space where there are many, or few rows.  Nothing here waits for the device,
except `sweep_async` after `WATCHED` sweeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .fields import (
    bit_planes,
    field_type,
    fields_from_patterns,
    plane_groups,
    quadratic_form,
    signed_sums,
    weight_fields,
    weight_types,
)
from .module import INTEGERS, launch, multiprocessors, pieces_a_launch, shared_limit
from .packing import pack, unpack
from .products import overlaps, tile_shared
from .random import THREADS, blocks, draw_orders

BLOCK, SWEEP_THREADS = 2048, 256  # as in cuda/sweep.cu
# A unit is expected to turn in its block if its field times its state is below NEAR sqrt(p), three standard
# deviations of what 256 flips change where patterns are random.
NEAR = 96
# Units up to which recall from patterns keeps a row in a block, in 14 bytes of shared memory a unit.
SMALL = 16384
BATCH = 2**30  # bytes of scratch of the rows that are recalled at once
DRAWN = 2**25  # units in the random orders drawn at once: 26 bytes each
WATCHED = 32  # sweeps after which recall of a large network asks whether there are rows left


def row_threads(n: int) -> int:
    """Threads of a block that keeps a row of n units: about two units each, 32 to 512."""
    return min(512, max(32, 32 * -(-n // 64)))


def row_memory(n: int, itemsize: int, rows: int, more: int = 0) -> tuple[Any, int]:
    """Memory of a block that keeps a row with fields of itemsize bytes, and `more`: (scratch, bytes).

    scratch is None if it fits in shared memory, else an array that holds it for all rows.
    """
    return block_memory(n * (10 + itemsize) + more, rows)


def block_memory(nbytes: int, blocks: int) -> tuple[Any, int]:
    """Memory of nbytes or a few more for each block: (scratch, bytes), scratch as of `row_memory`."""
    nbytes = -(-nbytes // 8) * 8
    # Static shared memory of these kernels is below 2 KiB.
    if nbytes <= shared_limit(cupy.cuda.runtime.getDevice()) - 2048:
        return None, nbytes
    return cupy.empty((blocks, nbytes), dtype=np.uint8), nbytes


def each_batch(
    row_bytes: int, row_clocks: float, recall: Callable[..., None], states: Any, *outputs: Any
) -> None:
    """recall(part, states, *outputs) for parts of the rows (k, b) whose scratch is BATCH bytes at most, and
    which take no longer than one launch may.

    part: a slice of the networks and one of the rows; most often there is one part, and nothing is copied.
    """
    k, b = states.shape[:2]
    rows = min(max(1, BATCH // row_bytes), pieces_a_launch("recall of a probe", row_clocks))
    if k * b <= rows:
        recall((slice(None), slice(None)), states, *outputs)
        return
    networks, rows = max(1, rows // b), min(rows, b)
    for first in range(0, k, networks):
        for row in range(0, b, rows):
            part = slice(first, first + networks), slice(row, row + rows)
            pieces = [cupy.ascontiguousarray(array[part]) for array in (states, *outputs)]
            recall(part, *pieces)
            for array, piece in zip((states, *outputs), pieces, strict=True):
                array[part] = piece


def launch_rows(
    kernel: str,
    head: tuple[Any, ...],
    limit: int,
    fields: Any,
    states: Any,
    *outputs: Any,
    file: str = "recall",
    more: int = 0,
) -> None:
    """Launch a kernel of a file on states (k, b, w), a block for each row of their fields (k b, n).

    outputs: (k, b) of rows, and what is recorded (k, b, so much, ...).  more: as of `row_memory`.
    """
    rows, n = fields.shape
    scratch, nbytes = row_memory(n, fields.dtype.itemsize, rows, more)
    sizes = (states.shape[1], n, limit)
    sized = (part for array in outputs for part in (array, *array.shape[2:3]))
    arguments = (*head, *sizes, fields, scratch, nbytes, states, *sized)
    launch(file, kernel, rows, row_threads(n), *arguments, shared=0 if scratch is not None else nbytes)


def ranks_of(order: Any) -> Any:
    """The place of each unit in the orders order (r, n), int32 (r, n)."""
    ranks = cupy.empty(order.shape, dtype=np.int32)
    launch("recall", "rank_units", blocks(order.size), THREADS, order, *order.shape, ranks)
    return ranks


def recall_from_weights(
    update: str,
    head: tuple[Any, ...],
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    max_sweeps: int,
    states: Any,
    *outputs: Any,
) -> None:
    """Recall with couplings weights (k, n, n); head: what the kernel of an update takes before them."""
    n, held = weights.shape[1], clamped.shape[2]
    kernel = f"recall_{update}_weights<{weight_types(thresholds, columns)}>"

    def recall(part: tuple[slice, slice], states: Any, *outputs: Any) -> None:
        (k, b), own = states.shape[:2], thresholds[part[0]]
        fields = cupy.empty((k, b, n), dtype=thresholds.dtype)
        weight_fields(weights[part[0]], own, states, fields)
        given = (columns[part[0]], own, cupy.ascontiguousarray(clamped[part]), held)
        launch_rows(kernel, (*head, *given), max_sweeps, fields.reshape(k * b, n), states, *outputs)

    each_batch(26 * n, flip_clocks(n, 4), recall, states, *outputs)


def flip_clocks(n: int, coupling: float) -> float:
    """Clocks of the device that recall of a row of n units takes where a fourth of them flips, roughly.

    coupling: instructions for each of the n couplings of a unit that flips.
    """
    return n * n / 4 * coupling / 128 / multiprocessors()


def recall_async_weights(
    key: int,
    order: Any,
    first_sweep: int,
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    max_sweeps: int,
    states: Any,
    converged: Any,
    sweeps: Any,
    flips: Any,
    forms: Any,
    trail: Any,
    turns: Any,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference."""
    head = (np.uint64(key), ranks_of(order), len(order), int(first_sweep))
    inputs = (weights, columns, thresholds, clamped, max_sweeps, states)
    recall_from_weights("async", head, *inputs, converged, sweeps, flips, forms, trail, turns)


def recall_sync_weights(
    weights: Any,
    columns: Any,
    thresholds: Any,
    clamped: Any,
    max_sweeps: int,
    states: Any,
    period: Any,
    sweeps: Any,
    flips: Any,
    forms: Any,
    trail: Any,
) -> None:
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference."""
    inputs = (weights, columns, thresholds, clamped, max_sweeps, states)
    recall_from_weights("sync", (), *inputs, period, sweeps, flips, forms, trail)


def recall_from_patterns(
    update: str,
    head: tuple[Any, ...],
    packed: Any,
    units: Any,
    self_coupling: bool,
    max_sweeps: int,
    states: Any,
    *outputs: Any,
) -> None:
    """Recall from packed (k, p, w) and units (k, n, u): in a block a row, or by the whole grid.

    head: what the kernel of an update, or its sweep by the grid, takes before the patterns.
    """
    (_, n, u), p = units.shape, packed.shape[1]
    (k, b), groups = states.shape[:2], plane_groups(n)
    grid = n > SMALL or (update == "sync" and faster_by_grid(k, b, n, p))
    sweep: Callable[..., None] = sweep_async if update == "async" else sweep_sync

    def recall(part: tuple[slice, slice], states: Any, *outputs: Any) -> None:
        patterns = packed[part[0]], units[part[0]]
        if grid:
            sweep(*head, *patterns, self_coupling, max_sweeps, states, *outputs)
            return
        fields = fields_from_patterns(*patterns, self_coupling, states)
        inputs, kind = (*head, patterns[1], p, u, p if self_coupling else 0), INTEGERS[fields.dtype.itemsize]
        if update == "sync":
            planes = cupy.empty((len(fields), 8 * groups, u), dtype=np.uint64)
            inputs, kind = (patterns[0], planes, *inputs), f"{kind}, {groups}"
        launch_rows(f"recall_{update}<{kind}>", inputs, max_sweeps, fields, states, *outputs)

    clocks = 0 if grid else flip_clocks(n, 4 + p / 8)
    each_batch(pattern_bytes(n, p), clocks, recall, states, *outputs)


def faster_by_grid(k: int, b: int, n: int, p: int) -> bool:
    """Whether the grid had better do the synchronous steps of rows (k, b) than a block for each row.

    Counted are the instructions of a step in which many units turn, on compute capability 9.0.  A block
    issues two a clock, as does each of the grid, which works on one network at a time and meets four times a
    step, for about 2000 clocks each.
    """
    work = p * (45 + n / 170) + n * (9 + p / 82)
    return k * (8000 + b * work / 2 / multiprocessors()) < -(-k * b // (2 * multiprocessors())) * work / 2


def recall_async(
    key: int,
    order: Any,
    first_sweep: int,
    packed: Any,
    units: Any,
    self_coupling: bool,
    max_sweeps: int,
    states: Any,
    converged: Any,
    sweeps: Any,
    flips: Any,
    forms: Any,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u), without
    couplings in memory: see the reference."""
    small = units.shape[1] <= SMALL
    ranked = (np.uint64(key), ranks_of(order), len(order)) if small else (key, order)
    head, inputs = (*ranked, int(first_sweep)), (packed, units, self_coupling, max_sweeps, states)
    recall_from_patterns("async", head, *inputs, converged, sweeps, flips, forms)


def recall_sync(
    packed: Any,
    units: Any,
    self_coupling: bool,
    max_sweeps: int,
    states: Any,
    period: Any,
    sweeps: Any,
    flips: Any,
    forms: Any,
) -> None:
    """Synchronous recall, states (k, b, w) in place, from packed (k, p, w) and units (k, n, u), without
    couplings in memory: see the reference."""
    inputs = (packed, units, self_coupling, max_sweeps, states)
    recall_from_patterns("sync", (), *inputs, period, sweeps, flips, forms)


def recall_sequence(
    packed: Any, units: Any, cyclic: bool, diagonal: Any, steps: int, states: Any, trail: Any
) -> None:
    """Exactly so many synchronous steps, states (k, b, w) in place, through the patterns in their order: see
    the reference.  A step is some launches by the whole grid."""
    n, p = units.shape[1], packed.shape[1]

    def recall(part: tuple[slice, slice], states: Any, trail: Any) -> None:
        (k, b, w), own, patterns = states.shape, diagonal[part[0], None], packed[part[0]]
        m, before = cupy.empty((k, b, p), dtype=np.int32), cupy.zeros((k, b, p), dtype=np.int32)
        fields = cupy.empty((k, b, n), dtype=field_type(n, p))
        s = cupy.empty((k, b, n), dtype=np.int8)
        for step in range(steps + 1):
            if step:
                overlaps(patterns, states, n, m)
                before[..., 1:] = m[..., :-1]
                if cyclic:
                    before[..., 0] = m[..., -1]
                signed_sums(units[part[0]], before, n, fields)
                unpack(states.reshape(k * b, w), s.reshape(k * b, n))
                fields -= own * s
                s[fields > 0], s[fields < 0] = 1, -1
                pack(s.reshape(k * b, n), states.reshape(k * b, w))
            if trail.shape[2]:
                trail[:, :, step] = states

    each_batch(pattern_bytes(n, p) + 4 * p, 0, recall, states, trail)


def pattern_bytes(n: int, p: int) -> int:
    """Scratch of a row that is recalled from patterns: overlaps and planes, fields and what a block keeps of
    it, or the turns of a step."""
    return (4 + plane_groups(n)) * p + (26 if n <= SMALL else 5) * n + 12 * BLOCK


def sweep_async(
    key: int,
    order: Any,
    first_sweep: int,
    packed: Any,
    units: Any,
    self_coupling: bool,
    max_sweeps: int,
    states: Any,
    *outputs: Any,
) -> None:
    """`recall_async` by the whole grid, in blocks of units, for networks of any size."""
    (k, p, _), (_, n, u), b = packed.shape, units.shape, states.shape[1]
    diagonal = 0 if self_coupling else p
    converged, sweeps, flips, forms = outputs
    space = states, *pattern_space(packed, n, u, diagonal, states, forms)
    left = cupy.full(k, b, dtype=np.int32)
    remaining = cupy.full(1, k, dtype=np.int32)
    sweep_flips = cupy.zeros((k, b), dtype=np.int64)
    fields = cupy.empty((b, BLOCK), dtype=np.int64)
    gram = cupy.zeros((BLOCK + 1, BLOCK), dtype=np.int32)
    turned = cupy.empty((b, BLOCK), dtype=np.uint32)
    turns, reached = cupy.empty(b, dtype=np.int32), cupy.empty(b, dtype=np.int32)
    near = NEAR * math.isqrt(p)
    converged[...], sweeps[...], flips[...] = False, 0, 0
    # Besides products of bits for all couplings inside the blocks, and about a thousand clocks for each flip.
    clocks = sweep_clocks(k * b, n, p) + k * n * p * BLOCK / 4096 / multiprocessors() + k * b * n / 4 * 1000
    most = min(WATCHED, max(1, DRAWN // n), pieces_a_launch("a sweep", clocks))
    first, chunk = 0, min(4, most)
    while first < max_sweeps:
        count = min(chunk, max_sweeps - first)
        wanted = cupy.zeros((k, count, -(-n // BLOCK), 2 + BLOCK // 32), dtype=np.uint32)
        if len(order):
            orders, base = order, -first_sweep
        else:
            orders, base = cupy.empty((count, n), dtype=np.int32), first
            draw_orders(key, 0, 0, first_sweep + first, remaining, orders)
        launch_grid(
            f"sweep_async<{plane_groups(n)}>",
            (orders, len(orders), base, first, count, near, units, k, b, n, p, u, diagonal),
            (wanted, fields, gram, turned, turns, reached, sweep_flips, left, remaining, *space),
            outputs,
        )
        first, chunk = first + count, min(2 * chunk, most)
        if first >= WATCHED and first < max_sweeps and int(remaining[0]) == 0:
            break


def sweep_sync(
    packed: Any, units: Any, self_coupling: bool, max_sweeps: int, states: Any, *outputs: Any
) -> None:
    """`recall_sync` by the whole grid, for networks of any size."""
    (k, p, _), (_, n, u), b = packed.shape, units.shape, states.shape[1]
    diagonal = 0 if self_coupling else p
    period, sweeps, flips, forms = outputs
    m, planes, totals = pattern_space(packed, n, u, diagonal, states, forms)
    turned = cupy.empty((b, n), dtype=np.uint32)
    turns, differing = cupy.zeros(b, dtype=np.int32), cupy.zeros(b, dtype=np.int32)
    before = states.copy()
    left = cupy.full(k, b, dtype=np.int32)
    period[...], sweeps[...], flips[...] = 0, 0, 0
    at_once = pieces_a_launch("a synchronous step", sweep_clocks(k * b, n, p))
    for first in range(0, max_sweeps, at_once):
        launch_grid(
            f"sweep_sync<{plane_groups(n)}>",
            (units, first, min(at_once, max_sweeps - first), k, b, n, p, u, diagonal),
            (turned, turns, differing, before, left, states, m, planes, totals),
            outputs,
        )


def sweep_clocks(rows: int, n: int, p: int) -> float:
    """Clocks that the grid takes at most for a sweep of so many rows, roughly.

    Counted are products of bits for the fields (4096 a clock and multiprocessor) and, where a fourth of the
    units flips, the patterns' overlaps (a warp adds 32 of them, in 10 instructions, four warps a clock).
    """
    return rows * n * p * (8 * plane_groups(n) / 4096 + 10 / 512) / multiprocessors()


def pattern_space(
    packed: Any, n: int, u: int, diagonal: int, states: Any, forms: Any
) -> tuple[Any, Any, Any]:
    """Overlaps m (k, b, p) of states (k, b, w), their planes and sums; forms (k, b, r) begin."""
    (k, p, _), b = packed.shape, states.shape[1]
    m = cupy.empty((k, b, p), dtype=np.int32)
    overlaps(packed, states, n, m)
    if forms.shape[2]:
        form = cupy.empty((k, b), dtype=np.int64)
        quadratic_form(m, n, diagonal == 0, form)
        forms[:, :, 0] = form
    return m, *bit_planes(m, n, u)


def launch_grid(
    kernel: str, sizes: tuple[Any, ...], arrays: tuple[Any, ...], outputs: tuple[Any, ...]
) -> None:
    """Launch a kernel of sweep.cu: one block a multiprocessor, so that all run at once, and its barrier."""
    arrived = cupy.zeros(1, dtype=np.uint32)
    arguments = (*sizes, arrived, *arrays, *outputs, outputs[-1].shape[2])
    launch(
        "sweep", kernel, multiprocessors(), SWEEP_THREADS, *arguments, shared=tile_shared(4), together=True
    )
