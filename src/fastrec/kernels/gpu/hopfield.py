"""Hopfield networks on the GPU: the launches of cuda/*.cu.

Products of binary matrices run on tensor cores.  Recall caches the local fields of a row in one block where
there are few units (`SMALL`) or the couplings are given, and works in pattern space with the whole grid where
there are many.  Nothing here waits for the device, but `sweep_async` when `WATCHED` sweeps have passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch, multiprocessors, pieces_a_launch, shared_limit
from .random import THREADS, blocks, corrupt, draw_orders, philox, random_order, random_patterns

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

# As in cuda/tile.cuh and cuda/sweep.cu.
TILE, TILE_THREADS, TILE_SHARED = 128, 256, 3 * 2 * 128 * 16 * 8
BLOCK = 2048

SMALL = (
    16384  # units up to which recall from patterns keeps a row in a block: 14 bytes a unit of shared memory
)
BATCH = 2**30  # bytes of scratch of the rows that are recalled at once
DRAWN = 2**25  # units in the random orders drawn at once: 26 bytes each
WATCHED = 32  # sweeps after which recall of a large network asks whether there are rows left


def pack(states: Any, packed: Any) -> None:
    """Pack states (r, n) int8 into packed (r, w)."""
    r, w = packed.shape
    launch("packing", "pack", blocks(32 * r * w), THREADS, states, r, states.shape[1], w, packed)


def unpack(packed: Any, states: Any) -> None:
    """Unpack packed (r, w) into states (r, n) int8."""
    r, n = states.shape
    launch("packing", "unpack", blocks(-(-r * n // 8)), THREADS, packed, r, n, packed.shape[1], states)


def transpose(packed: Any, units: Any) -> None:
    """Fill units (k, n, u) from packed (k, p, w)."""
    (k, p, w), (_, n, u) = packed.shape, units.shape
    launch("packing", "transpose", k * -(-w // 4) * -(-u // 4), 512, packed, p, n, w, u, units)


def count_ones(a: Any) -> Any:
    """Bits set in each row of a (..., w), int32 (...)."""
    ones = cupy.empty(a.shape[:-1], dtype=np.int32)
    launch("product", "count_ones", blocks(32 * ones.size), THREADS, a, ones.size, a.shape[-1], ones)
    return ones


def sign_product(a: Any, b: Any, bits: int, zero_diagonal: bool, out: Any) -> None:
    """out (k, rows, columns) = sums of products of the signs in a (k, rows, w) and b (k, columns, w)."""
    (k, rows, w), columns = a.shape, b.shape[1]
    symmetric = a is b or (a.data.ptr == b.data.ptr and rows == columns)
    a_ones = count_ones(a)
    b_ones = a_ones if symmetric else count_ones(b)
    down, across = -(-rows // TILE), -(-columns // TILE)
    tiles = down * (down + 1) // 2 if symmetric else down * across
    name = f"sign_product<{INTEGERS[out.dtype.itemsize]}>"
    sizes = (rows, columns, w, bits, symmetric, zero_diagonal)
    launch("product", name, k * tiles, TILE_THREADS, a, b, a_ones, b_ones, *sizes, out, shared=TILE_SHARED)


def overlaps(packed: Any, probes: Any, n: int, m: Any) -> None:
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w)."""
    sign_product(probes, packed, n, False, m)


def couplings(units: Any, p: int, self_coupling: bool, weights: Any) -> None:
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    sign_product(units, units, p, not self_coupling, weights)


def plane_groups(n: int) -> int:
    """Groups of 8 bit planes that hold the overlaps -n..n."""
    return n.bit_length() // 8 + 1


def bit_planes(m: Any, n: int, u: int) -> tuple[Any, Any]:
    """Overlaps m (k, b, p) in binary, planes (k, b, 8 groups, u) uint64, and their sums (k, b) uint64."""
    k, b, p = m.shape
    planes = cupy.empty((k, b, 8 * plane_groups(n), u), dtype=np.uint64)
    totals = cupy.zeros((k, b), dtype=np.uint64)
    name = f"bit_planes<{plane_groups(n)}>"
    launch("fields", name, blocks(64 * k * b * u), THREADS, m, k * b, p, u, planes, totals)
    return planes, totals


def launch_fields(kernel: str, units: Any, states: Any, m: Any, diagonal: int, out: Any) -> None:
    """Launch a kernel over all fields of states (k, b, w) with overlaps m (k, b, p)."""
    (k, b, _), (_, n, u) = m.shape, units.shape
    planes, totals = bit_planes(m, n, u)
    size = blocks(32 * k * b * -(-n // 16))
    launch("fields", kernel, size, THREADS, units, states, planes, totals, k, b, n, u, diagonal, out)


def local_fields(units: Any, states: Any, m: Any, self_coupling: bool, fields: Any) -> None:
    """Fill fields (k, b, n) int32 or int64 with W s from units (k, n, u) and overlaps m (k, b, p)."""
    kernel = f"local_fields<{plane_groups(units.shape[1])}, {INTEGERS[fields.dtype.itemsize]}>"
    launch_fields(kernel, units, states, m, 0 if self_coupling else m.shape[2], fields)


def quadratic_form(m: Any, n: int, self_coupling: bool, form: Any) -> None:
    """Fill form (k, b) int64 with s'W s = sum of squared overlaps m (k, b, p), less p n without diagonal."""
    k, b, p = m.shape
    launch("fields", "quadratic_form", k * b, THREADS, m, p, 0 if self_coupling else p * n, form)


def is_stable(units: Any, states: Any, m: Any, self_coupling: bool, stable: Any) -> None:
    """Fill stable (k, b) bool: no unit has a field against it (a zero field keeps the state)."""
    unstable = cupy.zeros(stable.shape, dtype=np.int32)
    kernel = f"find_unstable<{plane_groups(units.shape[1])}>"
    launch_fields(kernel, units, states, m, 0 if self_coupling else m.shape[2], unstable)
    stable[...] = unstable == 0


def row_threads(n: int) -> int:
    """Threads of a block that keeps a row of n units: about two units each, 32 to 512."""
    return min(512, max(32, 32 * -(-n // 64)))


def row_memory(n: int, itemsize: int, rows: int, more: int = 0) -> tuple[Any, int]:
    """Memory of a block that keeps a row with fields of itemsize bytes, and `more`: (scratch, bytes).

    scratch is None if it fits in shared memory, else an array that holds it for all rows.
    """
    nbytes = -(-(n * (10 + itemsize) + more) // 8) * 8
    # Static shared memory of these kernels is below 2 KiB.
    if nbytes <= shared_limit(cupy.cuda.runtime.getDevice()) - 2048:
        return None, nbytes
    return cupy.empty((rows, nbytes), dtype=np.uint8), nbytes


def each_batch(
    row_bytes: int, row_clocks: float, recall: Callable[..., None], states: Any, *outputs: Any
) -> None:
    """recall(networks, states, *outputs) for parts of the rows (k, b) whose scratch is BATCH bytes at most,
    and which take no longer than one launch may.

    networks is a slice; most often there is one part, and nothing is copied.
    """
    k, b = states.shape[:2]
    rows = min(max(1, BATCH // row_bytes), pieces_a_launch("recall of a probe", row_clocks))
    if k * b <= rows:
        recall(slice(None), states, *outputs)
        return
    networks, rows = max(1, rows // b), min(rows, b)
    for first in range(0, k, networks):
        for row in range(0, b, rows):
            part = slice(first, first + networks), slice(row, row + rows)
            pieces = [cupy.ascontiguousarray(array[part]) for array in (states, *outputs)]
            recall(part[0], *pieces)
            for array, piece in zip((states, *outputs), pieces, strict=True):
                array[part] = piece


def launch_rows(
    kernel: str, head: tuple[Any, ...], limit: int, fields: Any, states: Any, *outputs: Any
) -> None:
    """Launch a kernel of recall.cu on states (k, b, w), a block for each row of their fields (k b, n)."""
    rows, n = fields.shape
    scratch, nbytes = row_memory(n, fields.dtype.itemsize, rows)
    sizes = (states.shape[1], n, limit)
    arguments = (*head, *sizes, fields, scratch, nbytes, states, *outputs, outputs[-1].shape[2])
    launch("recall", kernel, rows, row_threads(n), *arguments, shared=0 if scratch is not None else nbytes)


def ranks_of(order: Any) -> Any:
    """The place of each unit in the orders order (r, n), int32 (r, n)."""
    ranks = cupy.empty(order.shape, dtype=np.int32)
    launch("recall", "rank_units", blocks(order.size), THREADS, order, *order.shape, ranks)
    return ranks


def fields_from_patterns(packed: Any, units: Any, self_coupling: bool, states: Any) -> Any:
    """Local fields (k b, n) of states (k, b, w), int32 if twice any of them fits."""
    (k, p, _), n, b = packed.shape, units.shape[1], states.shape[1]
    m = cupy.empty((k, b, p), dtype=np.int32)
    overlaps(packed, states, n, m)
    fields = cupy.empty((k, b, n), dtype=np.int32 if n * p < 2**30 else np.int64)
    local_fields(units, states, m, self_coupling, fields)
    return fields.reshape(k * b, n)


def fields_from_weights(weights: Any, states: Any) -> Any:
    """Local fields (k b, n) of states (k, b, w), int32 if twice any of them fits."""
    (k, n, _), b = weights.shape, states.shape[1]
    narrow = weights.dtype.itemsize < 4 and n << 8 * weights.dtype.itemsize < 2**31
    fields = cupy.empty((k * b, n), dtype=np.int32 if narrow else np.int64)
    name = f"weight_fields<{weight_types(weights, fields)}>"
    launch("recall", name, blocks(fields.size), THREADS, weights, states, k, b, n, fields)
    return fields


def weight_types(weights: Any, fields: Any) -> str:
    """Template arguments of a kernel with these fields and weights."""
    return f"{INTEGERS[fields.dtype.itemsize]}, {INTEGERS[weights.dtype.itemsize]}"


def recall_from_weights(
    update: str, head: tuple[Any, ...], weights: Any, max_sweeps: int, states: Any, *outputs: Any
) -> None:
    """Recall with couplings weights (k, n, n); head: what the kernel of an update takes before them."""

    def recall(networks: slice, states: Any, *outputs: Any) -> None:
        own = weights[networks]
        fields = fields_from_weights(own, states)
        kernel = f"recall_{update}_weights<{weight_types(own, fields)}>"
        launch_rows(kernel, (*head, own), max_sweeps, fields, states, *outputs)

    n = weights.shape[1]
    each_batch(26 * n, flip_clocks(n, 4), recall, states, *outputs)


def flip_clocks(n: int, coupling: float) -> float:
    """Clocks of the device that recall of a row of n units takes where a fourth of them flips, roughly.

    coupling: instructions for each of the n couplings of a unit that flips.
    """
    return n * n / 4 * coupling / 128 / multiprocessors()


def recall_async_weights(
    key: int,
    order: Any,
    weights: Any,
    max_sweeps: int,
    states: Any,
    converged: Any,
    sweeps: Any,
    flips: Any,
    forms: Any,
) -> None:
    """Asynchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference."""
    head = (np.uint64(key), ranks_of(order), len(order))
    recall_from_weights("async", head, weights, max_sweeps, states, converged, sweeps, flips, forms)


def recall_sync_weights(
    weights: Any, max_sweeps: int, states: Any, period: Any, sweeps: Any, flips: Any, forms: Any
) -> None:
    """Synchronous recall, states (k, b, w) in place, with couplings weights (k, n, n): see the reference."""
    recall_from_weights("sync", (), weights, max_sweeps, states, period, sweeps, flips, forms)


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
    """Recall from packed (k, p, w) and units (k, n, u): in a block a row, or by the whole grid if n > SMALL.

    head: what the kernel of an update, or its sweep by the grid, takes before the patterns.
    """
    (_, n, u), p = units.shape, packed.shape[1]
    sweep: Callable[..., None] = sweep_async if update == "async" else sweep_sync

    def recall(networks: slice, states: Any, *outputs: Any) -> None:
        own = packed[networks], units[networks]
        if n > SMALL:
            sweep(*head, *own, self_coupling, max_sweeps, states, *outputs)
            return
        fields = fields_from_patterns(*own, self_coupling, states)
        given = (*head, own[1], p, u, p if self_coupling else 0)
        kernel = f"recall_{update}<{INTEGERS[fields.dtype.itemsize]}>"
        launch_rows(kernel, given, max_sweeps, fields, states, *outputs)

    clocks = 0 if n > SMALL else flip_clocks(n, 4 + p / 8)
    each_batch(pattern_bytes(n, p), clocks, recall, states, *outputs)


def recall_async(
    key: int,
    order: Any,
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
    head = (np.uint64(key), ranks_of(order), len(order)) if small else (key, order)
    given = (packed, units, self_coupling, max_sweeps, states)
    recall_from_patterns("async", head, *given, converged, sweeps, flips, forms)


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
    given = (packed, units, self_coupling, max_sweeps, states)
    recall_from_patterns("sync", (), *given, period, sweeps, flips, forms)


def pattern_bytes(n: int, p: int) -> int:
    """Scratch of a row that is recalled from patterns: overlaps and planes, fields and what a block keeps of
    it, or the turns of a step."""
    return (4 + plane_groups(n)) * p + (26 if n <= SMALL else 5) * n + 12 * BLOCK


def sweep_async(
    key: int,
    order: Any,
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
    """`recall_async` by the whole grid, in blocks of units, for networks of any size."""
    (k, p, _), (_, n, u), b = packed.shape, units.shape, states.shape[1]
    diagonal = 0 if self_coupling else p
    m, planes, totals = pattern_space(packed, n, u, diagonal, states, forms)
    left = cupy.full(k, b, dtype=np.int32)
    remaining = cupy.full(1, k, dtype=np.int32)
    sweep_flips = cupy.zeros((k, b), dtype=np.int64)
    fields = cupy.empty((b, BLOCK), dtype=np.int64)
    gram = cupy.empty((BLOCK, BLOCK), dtype=np.int32)
    turned = cupy.empty((b, BLOCK), dtype=np.uint32)
    turns = cupy.empty(b, dtype=np.int32)
    ones = count_ones(units)
    converged[...], sweeps[...], flips[...] = False, 0, 0
    # Besides products of bits for the couplings inside the blocks, and about a thousand clocks for each flip.
    clocks = sweep_clocks(k * b, n, p) + k * n * p * BLOCK / 8192 / multiprocessors() + k * b * n / 4 * 1000
    most = min(WATCHED, max(1, DRAWN // n), pieces_a_launch("a sweep", clocks))
    first, chunk = 0, min(4, most)
    while first < max_sweeps:
        count = min(chunk, max_sweeps - first)
        wanted = cupy.zeros((k, count, -(-n // BLOCK)), dtype=np.int32)
        if len(order):
            orders, base = order, 0
        else:
            orders, base = cupy.empty((count, n), dtype=np.int32), first
            draw_orders(key, 0, 0, first, remaining, orders)
        launch_grid(
            f"sweep_async<{plane_groups(n)}>",
            (orders, len(orders), base, first, count, units, ones, k, b, n, p, u, diagonal),
            (wanted, fields, gram, turned, turns, sweep_flips, left, remaining, states, m, planes, totals),
            (converged, sweeps, flips, forms),
        )
        first, chunk = first + count, min(2 * chunk, most)
        if first >= WATCHED and first < max_sweeps and int(remaining[0]) == 0:
            break


def sweep_sync(
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
    """`recall_sync` by the whole grid, for networks of any size."""
    (k, p, _), (_, n, u), b = packed.shape, units.shape, states.shape[1]
    diagonal = 0 if self_coupling else p
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
            (period, sweeps, flips, forms),
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
    launch("sweep", kernel, multiprocessors(), TILE_THREADS, *arguments, shared=TILE_SHARED, together=True)
