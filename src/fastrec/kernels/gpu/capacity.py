"""The incremental capacity scan on the GPU, all trials at once: the launches of cuda/capacity.cu."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch, multiprocessors, pieces_a_launch
from .packing import transpose
from .products import overlaps
from .random import THREADS, blocks, draw_patterns
from .recall import row_memory

__all__ = ["capacity_scan"]

SCAN_THREADS, MEMORIES, UNITS = 128, 16, 32  # as in cuda/capacity.cu: of a block, of a warp
CERTIFIED = 8  # as in cuda/capacity.cu: flips up to which memories are certified


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
    Raises OverflowError, for which it waits for the device where n max_patterns is large, if sums of
    overlaps do not fit 32 bits.
    """
    t, p = len(trials), -(-max_patterns // 64) * 64
    packed = cupy.empty((t, p, -(-n // 64)), dtype=np.uint64)
    units = cupy.empty((t, n, p // 64), dtype=np.uint64)
    gram = cupy.empty((t, p, p), dtype=np.int32)
    draw_patterns(key, 0, trials, n, packed)
    transpose(packed, units)
    overlaps(packed, packed, n, gram)

    depth = digits_of(n)
    digits = cupy.empty((t, p // 16, p // 32, depth, 32, 4), dtype=np.uint32)
    spread = cupy.empty((t, p // 32, p), dtype=np.int32)
    size = blocks(32 * t * (p // 16) * (p // 32))
    launch("capacity", f"split_overlaps<{depth}>", size, THREADS, gram, t, p, digits, spread)
    # Twice a sum of overlaps must fit 32 bits; no sum exceeds n p.
    if n * p >= 2**30 and int(spread.sum(axis=1, dtype=np.int64).max()) >= 2**30 - n:
        raise OverflowError(f"fields of {n} units at up to {max_patterns} patterns do not fit 32 bits")

    failing = cupy.full(t, max_patterns + 1, dtype=np.int32)
    failed = cupy.zeros((t, p // 32), dtype=np.uint32)
    doubtful = cupy.zeros((t, p, p // 32), dtype=np.uint32)
    sizes = (t, n, p, max_patterns, corrupted, newest, largest, max_sweeps)
    notes = (failing, failed, doubtful)
    size = t * (p // MEMORIES) * -(-n // (SCAN_THREADS // 32 * UNITS))
    head = (np.uint64(key), trials)
    inputs = (*head, digits, spread, gram, units, *sizes)
    # A warp issues about 400 instructions a step of 32 patterns, a multiprocessor four in a clock.
    at_once = pieces_a_launch("a part of the scan", 400 * (p // 32) / multiprocessors())
    for first in range(0, size, at_once):
        launch(
            *("capacity", f"scan<{depth}>", min(at_once, size - first), SCAN_THREADS),
            *(*inputs, first, *notes),
        )

    fields = 4 if n * p < 2**30 else 8
    size = 2 * multiprocessors()
    scratch, nbytes = row_memory(n, fields, size, 8 * packed.shape[2] + 4 * p)
    # A thread sums n p / 256 terms for the fields of a memory; where memories are certified few are in doubt.
    in_doubt = 8 if corrupted <= CERTIFIED and 4 * corrupted * max_patterns < n else max_patterns
    turns = pieces_a_launch("recall of the memories in doubt at one load", n * p / 16 * in_doubt)
    rows_begun = cupy.zeros(1, dtype=np.uint64)
    dynamics = (synchronous, rows_begun, turns, scratch, nbytes)
    while True:
        launch(
            *("capacity", f"resolve<{INTEGERS[fields]}>", size, 256),
            *(*head, packed, gram, units, *sizes, *dynamics, *notes),
            shared=0 if scratch is not None else nbytes,
        )
        if turns * size >= t * max_patterns or int(rows_begun[0]) >= t * max_patterns:
            break
    result = (failing, failed, t, p, max_patterns, largest, counts, censored)
    launch("capacity", "count_loads", blocks(t), THREADS, *result)


def digits_of(n: int) -> int:
    """Digits of base 128 that hold overlaps -n..n, the first of -128..127, the others of -64..63."""
    digits = 2
    while n > 127 * 128 ** (digits - 1):
        digits += 1
    return digits
