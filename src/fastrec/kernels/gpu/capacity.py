"""The incremental capacity scan on the GPU, all trials at once: the launches of cuda/capacity.cu."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from ..certification import SAFE, certified_loads, digit_shift
from .fields import plane_groups
from .module import INTEGERS, launch, multiprocessors, pieces_a_launch
from .packing import transpose
from .products import overlaps
from .random import THREADS, blocks, draw_patterns
from .recall import row_memory

__all__ = ["capacity_scan"]

# As in cuda/capacity.cu: threads of a block; patterns, units and memories of a warp's step; patterns between
# looks at least; patterns whose sums are kept; flips up to which memories are certified.
SCAN_THREADS, STEP, NEAREST, PART, CERTIFIED = 128, 32, 16, 8, 8
MOST_NEAR = 0.7  # standard deviations between what could matter and a field, below which most units are near


def capacity_scan(
    key: int,
    n: int,
    trials: Any,
    newest: bool,
    largest: bool,
    corrupted: int,
    synchronous: bool,
    max_sweeps: int,
    max_patterns: int,
    counts: Any,
    censored: Any,
) -> None:
    """Capacity of the networks numbered trials (T,) int64, zero diagonal, into counts (T,) int64.

    Patterns of network t are added one at a time.  At each load p every stored memory (newest: only the
    last) is probed with `corrupted` of its bits flipped and recalled; the load passes if all come to rest
    at the memory itself.  The count is the load before the first that fails, or (largest) the largest load
    up to max_patterns that passes; censored (T,) bool says that no load up to max_patterns failed or
    (largest) that max_patterns itself passes.
    """
    t, p = len(trials), -(-max_patterns // 64) * 64
    packed = cupy.empty((t, p, -(-n // 64)), dtype=np.uint64)
    units = cupy.empty((t, n, p // 64), dtype=np.uint64)
    gram = cupy.empty((t, p, p), dtype=np.int32)
    draw_patterns(key, 0, trials, n, packed)
    transpose(packed, units)
    overlaps(packed, packed, n, gram)

    shift = digit_shift(n)
    certain = certified_loads(n, corrupted, max_sweeps, max_patterns, CERTIFIED)
    steps, tiles = p // STEP, -(-n // STEP)
    # Of digits and bits a step more than there are: the scan fetches it and does not use it.
    digits = cupy.empty((t * steps**2 + 1, 2, 32, 4), dtype=np.uint32)
    bits = cupy.empty((t * tiles * steps + 1, 32), dtype=np.uint32)
    sums = cupy.empty((3, t, p // PART, p), dtype=np.int32)
    bounds = cupy.empty((t, p // NEAREST + 1, p), dtype=np.uint64)
    launch("capacity", "split_overlaps", blocks(64 * t * steps**2), THREADS, gram, t, p, shift, digits, sums)
    launch("capacity", "arrange_units", blocks(32 * t * tiles * steps), THREADS, units, t, n, p, bits)
    looks = looks_of(n, corrupted, certain, max_patterns)
    matters = (max_patterns, corrupted, newest, certain, *looks)
    launch("capacity", "bound_fields", blocks(t * p), THREADS, sums, t, n, p, shift, *matters, bounds)

    failing = cupy.full(t, max_patterns + 1, dtype=np.int32)
    failed = cupy.zeros((t, p // 32), dtype=np.uint32)
    doubtful = cupy.zeros((t, p, p // 32), dtype=np.uint32)
    sizes = (n, p, max_patterns, corrupted, newest, largest, certain)
    notes = (failing, failed, doubtful)
    size = t * steps * -(-tiles // (SCAN_THREADS // 32))
    head = (np.uint64(key), trials)
    inputs = (*head, digits, bits, bounds, packed, gram, units, *sizes, *looks)
    # A warp issues up to 300 instructions a step of 32 patterns, a multiprocessor four in a clock.
    at_once = pieces_a_launch("a part of the scan", 300 * steps / multiprocessors())
    for first in range(0, size, at_once):
        launch("capacity", "scan", min(at_once, size - first), SCAN_THREADS, *inputs, first, *notes)

    fields = 4 if n * p < 2**30 else 8
    size = 2 * multiprocessors()
    scratch, nbytes = row_memory(n, fields, size, 8 * packed.shape[2])
    groups = plane_groups(n)
    planes = cupy.empty((size, 8 * groups, p // 64), dtype=np.uint64)
    # Of a recall, the fields and a few turns; where memories are certified few are in doubt.
    in_doubt = 8 if certain == max_patterns else max_patterns
    turns = pieces_a_launch("recall of the memories in doubt at one load", n * p / 16 * in_doubt)
    jobs = cupy.empty(t * max_patterns, dtype=np.int64)
    begun = cupy.full(1, jobs.size, dtype=np.uint64)
    rule = (t, p, max_patterns, newest, largest, certain)
    launch("capacity", "list_doubts", blocks(jobs.size), THREADS, *rule, *notes, jobs, begun)
    dynamics = (max_sweeps, synchronous, jobs, begun, turns, planes, scratch, nbytes)
    while True:
        launch(
            *("capacity", f"resolve<{INTEGERS[fields]}, {groups}>", size, 256),
            *(*head, packed, gram, units, t, *sizes, *dynamics, *notes),
            shared=0 if scratch is not None else nbytes,
        )
        if turns * size >= jobs.size or int(begun[0]) >= jobs.size:
            break
    result = (failing, failed, t, p, max_patterns, largest, counts, censored)
    launch("capacity", "count_loads", blocks(t), THREADS, *result)


def looks_of(n: int, corrupted: int, certain: int, max_patterns: int) -> tuple[int, ...]:
    """Patterns up to which sums are looked at every 128, every 64, 32 and 16 of them; beyond, every 64.

    Looks that are further apart cost less and say less: they are used where few units are near.  Where most
    are, however often one looks, each of them is summed for many loads at once.
    """
    ends, at, shift = [], 0, digit_shift(n)
    for apart, safe in (128, SAFE), (64, SAFE), (32, SAFE), (NEAREST, MOST_NEAR):
        while at < max_patterns:
            last = at + apart // 2
            reach = max(last, (1 + 2 * corrupted) * min(last, certain))
            off = 0.4 * apart * math.sqrt(n) + (2**shift - 1) / 4 * at
            if n - reach - off <= safe * math.sqrt(n * last):
                break
            at += apart
        ends.append(at)
    return *ends[:3], -(-at // 64) * 64
