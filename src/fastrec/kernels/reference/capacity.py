"""The capacity of Hopfield networks by its definition: store, probe, recall, compare."""

from __future__ import annotations

import numpy as np

from .. import words
from .packing import spins
from .random import corruption, random_patterns
from .recall import descend

__all__ = ["capacity_scan"]


def capacity_scan(
    key: int,
    n: int,
    trials: np.ndarray,
    newest: bool,
    largest: bool,
    corrupted: int,
    synchronous: bool,
    max_sweeps: int,
    max_patterns: int,
    counts: np.ndarray,
    censored: np.ndarray,
) -> None:
    """Capacity of the networks numbered trials (T,) int64, zero diagonal, into counts (T,) int64.

    Patterns of network t are added one at a time.  At each load p every stored memory (newest: only the
    last) is probed with `corrupted` of its bits flipped and recalled; the load passes if all come to rest
    at the memory itself.  The count is the load before the first that fails, or (largest) the largest load
    up to max_patterns that passes; censored (T,) bool says that no load up to max_patterns failed or
    (largest) that max_patterns itself passes.
    """
    for slot, trial in enumerate(trials):
        counts[slot], censored[slot] = 0, False
        packed = np.empty((1, max_patterns, words(n)), dtype=np.uint64)
        random_patterns(key, trial, n, packed)
        x = spins(packed[0], n)
        for p in range(1, max_patterns + 1):
            w = x[:p].T @ x[:p]
            np.fill_diagonal(w, 0)
            probed = range(p - 1 if newest else 0, p)
            if all(
                recalled(key, w, x[mu], mu, trial, p, corrupted, synchronous, max_sweeps) for mu in probed
            ):
                counts[slot] = p
                censored[slot] = p == max_patterns
            elif not largest:
                break


def recalled(
    key: int,
    w: np.ndarray,
    memory: np.ndarray,
    mu: int,
    trial: int,
    p: int,
    flips: int,
    synchronous: bool,
    max_sweeps: int,
) -> bool:
    """Whether memory (n,), corrupted, comes to rest at itself."""
    s = memory.copy()
    s[corruption(key, mu, trial, p, flips, len(s))] *= -1
    if not synchronous:
        for flipped in descend(w, s, key, trial, p, np.empty((0, len(s)), dtype=np.int32), max_sweeps):
            if not flipped:
                return bool((s == memory).all())
        return False
    for _ in range(max_sweeps):
        new = np.where(w @ s == 0, s, np.sign(w @ s))
        if (new == s).all():
            return bool((s == memory).all())
        s = new
    return False
