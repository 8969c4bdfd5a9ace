"""Random streams on the GPU: patterns, corruption and update orders, made where they are used."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import launch

BUCKET = 1024  # as in cuda/random.cu
THREADS = 256


def blocks(threads: int) -> int:
    """Blocks of THREADS that hold so many threads; kernels take several turns where it is too many."""
    return min(-(-threads // THREADS), 2**20)


def philox(key: int, counters: Any, words: Any) -> None:
    """Fill words (m, 4) uint32 with the blocks of counters (m, 4) uint32."""
    m = len(counters)
    launch("random", "philox", blocks(m), THREADS, np.uint64(key), counters, m, words)


def random_patterns(key: int, first: int, n: int, packed: Any) -> None:
    """Fill packed (k, p, w) with the patterns 0..p-1 of the networks first..first+k-1."""
    draw_patterns(key, int(first), None, n, packed)


def draw_patterns(key: int, first: int, trials: Any, n: int, packed: Any) -> None:
    """`random_patterns` of the networks numbered trials (k,) int64, or first..first+k-1 if that is None."""
    k, p, w = packed.shape
    size = blocks(k * p * ((w + 1) // 2))
    launch("random", "random_patterns", size, THREADS, np.uint64(key), first, trials, n, k, p, w, packed)


def biased_patterns(key: int, first: int, n: int, threshold: int, packed: Any) -> None:
    """`random_patterns` whose units are +1 where a 64-bit draw is below threshold, a uint64."""
    k, p, w = packed.shape
    head = (np.uint64(key), int(first), n, np.uint64(threshold))
    launch("random", "biased_patterns", blocks(packed.size), THREADS, *head, k, p, w, packed)


def corrupt(key: int, first: int, flips: int, n: int, packed: Any) -> None:
    """Flip `flips` distinct random units of the rows first..first+b-1, packed (k, b, w), in place."""
    k, b, w = packed.shape
    flipped = cupy.zeros((k, b, w), dtype=np.uint64)
    sizes = (int(first), flips, n, k, b, w)
    launch("random", "corrupt", blocks(32 * k * b), THREADS, np.uint64(key), *sizes, flipped, packed)


def corrupt_states(key: int, first: int, flips: int, states: Any) -> None:
    """`corrupt` for states (k, b, n) int8."""
    k, b, n = states.shape
    flipped = cupy.zeros((k, b, -(-n // 64)), dtype=np.uint64)
    sizes = (int(first), flips, n, k, b)
    launch("random", "corrupt_states", blocks(32 * k * b), THREADS, np.uint64(key), *sizes, flipped, states)


def random_order(key: int, network: int, step: int, sweep: int, order: Any) -> None:
    """Fill order (n,) int32 with the random permutation of one sweep."""
    draw_orders(key, network, step, sweep, None, order[None])


def draw_orders(key: int, network: int, step: int, first: int, remaining: Any, orders: Any) -> None:
    """Fill orders (sweeps, n) int32 with the orders of the sweeps first..., unless remaining (1,) is 0."""
    sweeps, n = orders.shape
    buckets = 1 if n <= BUCKET else -(-n // (BUCKET // 2))
    counts = cupy.zeros(sweeps * buckets, dtype=np.int32)
    draws = cupy.empty(sweeps * buckets * BUCKET, dtype=np.uint64)
    units = cupy.empty(sweeps * buckets * BUCKET, dtype=np.int32)
    size = blocks(sweeps * ((n + 1) // 2))
    place = (int(network), int(step), int(first), sweeps, n, buckets, remaining)
    launch("random", "scatter_order", size, THREADS, np.uint64(key), *place, counts, draws, units)
    launch("random", "sort_order", sweeps * buckets, BUCKET // 2, *place[4:], counts, draws, units, orders)
