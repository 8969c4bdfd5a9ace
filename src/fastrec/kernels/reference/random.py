"""Philox4x32-10 streams: patterns, corruption and update orders from a key and a counter.

The layout of the counters is in `fastrec.kernels`.
"""

from __future__ import annotations

import numpy as np

from .. import BIASED, CORRUPT, ORDER, PATTERN
from .packing import pack

MULTIPLIER = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
WEYL = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint64)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(key: int, counters: np.ndarray, words: np.ndarray) -> None:
    """Fill words (m, 4) uint32 with the blocks of counters (m, 4) uint32.

    Ten rounds as published: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3".
    """
    c0, c1, c2, c3 = counters.T.astype(np.uint64)
    k0, k1 = np.uint64(key) & LOW, np.uint64(key) >> HALF
    for _ in range(10):
        a, b = MULTIPLIER[0] * c0, MULTIPLIER[1] * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & LOW, (a >> HALF) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    words[:] = np.stack([c0, c1, c2, c3], axis=1)


def draws(key: int, count: int, row: int, network: int, stream: int, step: int) -> np.ndarray:
    """The first `count` 64-bit draws of one stream, (count,) uint64."""
    counters = np.empty(((count + 1) // 2, 4), dtype=np.uint32)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 1:] = row, network, stream | step << 8
    words = np.empty_like(counters)
    philox(key, counters, words)
    low, high = words[:, 0::2].astype(np.uint64), words[:, 1::2].astype(np.uint64)
    return (low | high << HALF).reshape(-1)[:count]


def random_patterns(key: int, first: int, n: int, packed: np.ndarray) -> None:
    """Fill packed (k, p, w) with the patterns 0..p-1 of the networks first..first+k-1."""
    k, p, w = packed.shape
    for network in range(k):
        for mu in range(p):
            packed[network, mu] = draws(key, w, mu, first + network, PATTERN, 0)
    if n % 64:
        packed[..., -1] &= np.uint64((1 << n % 64) - 1)


def biased_patterns(key: int, first: int, n: int, threshold: int, packed: np.ndarray) -> None:
    """`random_patterns` whose units are +1 where a 64-bit draw is below threshold, a uint64."""
    k, p, _ = packed.shape
    for network in range(k):
        for mu in range(p):
            below = draws(key, n, mu, first + network, BIASED, 0) < np.uint64(threshold)
            pack(below[None], packed[network, mu][None])


def random_order(key: int, network: int, step: int, sweep: int, order: np.ndarray) -> None:
    """Fill order (n,) int32 with the random permutation of one sweep."""
    order[:] = np.argsort(draws(key, len(order), sweep, network, ORDER, step), kind="stable")


def corruption(key: int, row: int, network: int, step: int, flips: int, n: int) -> list[int]:
    """The `flips` distinct units to flip in one row: Floyd's sampling without replacement."""
    chosen: list[int] = []
    for last, draw in enumerate(draws(key, flips, row, network, CORRUPT, step), start=n - flips):
        unit = int(draw) * (last + 1) >> 64
        chosen.append(last if unit in chosen else unit)
    return chosen


def corrupt(key: int, first: int, flips: int, n: int, packed: np.ndarray) -> None:
    """Flip `flips` distinct random units of the rows first..first+b-1, packed (k, b, w), in place."""
    k, b, _ = packed.shape
    for network in range(k):
        for row in range(b):
            for unit in corruption(key, first + row, network, 0, flips, n):
                packed[network, row, unit // 64] ^= np.uint64(1 << unit % 64)


def corrupt_states(key: int, first: int, flips: int, states: np.ndarray) -> None:
    """`corrupt` for states (k, b, n) int8."""
    k, b, n = states.shape
    for network in range(k):
        for row in range(b):
            states[network, row, corruption(key, first + row, network, 0, flips, n)] *= -1
