"""Dense memories compared with matrix products of NumPy, and with a loop that people write in Numba.

Shares are of the rate at which bits are multiplied: each sweep needs the overlap of each probe with each
pattern at least, n p products of bits.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import fastrec
from fastrec import DenseMemory

POPCOUNT = "bit products (popcount)"
BLOCK = 10_000  # patterns that NumPy multiplies at a time


def step(words: np.ndarray, s: np.ndarray, degree: Any) -> np.ndarray:
    """The states after a synchronous step from s (b, n), by products of matrices in floating point."""
    n, pull, largest = s.shape[1], np.zeros(s.shape), np.full((len(s), 1), -np.inf)
    for first in range(0, len(words), BLOCK):
        bits = np.unpackbits(words[first : first + BLOCK].view(np.uint8), axis=1, count=n, bitorder="little")
        x = 2 * bits.astype(np.float32) - 1
        m = (s.astype(np.float32) @ x.T).astype(np.float64)
        if degree == "exponential":
            most = np.maximum(largest, m.max(axis=1, keepdims=True))
            pull *= np.exp(largest - most)
            largest = most
            below, here, above = (np.exp(m - most + more) for more in (-2, 0, 2))
        else:
            below, here, above = ((m + more) ** degree for more in (-2, 0, 2))
        # sum_mu x_i f of patterns with f = F(M) - F(M - 2) where x_i = s_i, and F(M + 2) - F(M) where not
        pull += (above - below) / 2 @ x
        pull += s * (here - (above + below) / 2).sum(axis=1, keepdims=True)
    return np.where(pull == 0, s, np.sign(pull))


@numba.njit(cache=True)
def sweep(x: Any, changes: Any, order: Any, s: Any, d: Any) -> int:
    """An asynchronous sweep over s (n,) with the distances d (p,) of patterns x (n, p), all in place."""
    flips, (n, p) = 0, x.shape
    for t in range(n):
        i, gain = order[t], 0
        for mu in range(p):
            gain += changes[0, d[mu]] if x[i, mu] == s[i] else changes[1, d[mu]]
        if gain > 0:
            s[i] = -s[i]
            flips += 1
            for mu in range(p):
                d[mu] += -1 if x[i, mu] == s[i] else 1
    return flips


def probes_of(patterns: fastrec.PackedStates, b: int) -> np.ndarray:
    some = fastrec.PackedStates(patterns.words[:b].copy(), patterns.n)
    return fastrec.corrupt(some, 0.1, seed=2).unpack()


def memory_of(patterns: fastrec.PackedStates, degree: Any) -> DenseMemory:
    memory = DenseMemory(patterns.n, degree, backend="cpu")
    memory.store(patterns)
    return memory


@pytest.mark.parametrize("degree", [4, "exponential"])
@pytest.mark.parametrize(("n", "p"), [(1000, 20_000), (1000, 1_000_000)])
def bench_synchronous(versus, n, p, degree):
    b = 100
    patterns = fastrec.random_patterns(p, n, seed=1, packed=True)
    memory, probes = memory_of(patterns, degree), probes_of(patterns, b)
    packed, words = fastrec.pack(probes), np.array(patterns.words)

    def ours():
        return memory.recall(packed, update="sync", max_sweeps=1)

    assert np.array_equal(ours().states.unpack(), step(words, probes, degree))
    versus(
        f"dense memory, degree {degree}, p = {p}, n = {n}, a step of {b} probes",
        *(ours, lambda: step(words, probes, degree)),
        goal=20,
        against="NumPy: products of matrices, patterns unpacked in blocks",
        rounds=5 if p < 10**6 else 1,
        operations={POPCOUNT: n * p * b},
        bytes=patterns.words.nbytes,
    )


@pytest.mark.parametrize("degree", [4, "exponential"])
def bench_asynchronous(versus, degree):
    n, p, b = 1000, 20_000, 20
    patterns = fastrec.random_patterns(p, n, seed=1, packed=True)
    memory, probes = memory_of(patterns, degree), probes_of(patterns, b)
    packed, x = fastrec.pack(probes), np.ascontiguousarray(patterns.unpack().T)
    orders = fastrec.random_orders(n, 10, seed=1)
    if degree == "exponential":
        values = np.exp(-2.0 * np.arange(-1, n + 2))
    else:
        values = (n - 2 * np.arange(-1, n + 2)) ** degree
    changes = np.array([values[2:] - values[1:-1], values[:-2] - values[1:-1]])

    def loop():
        states = probes.copy()
        for s in states:
            d = ((n - s.astype(np.int32) @ x.astype(np.int32)) // 2).astype(np.int64)
            for order in orders:
                if not sweep(x, changes, order, s, d):
                    break
        return states

    def ours():
        return memory.recall(packed, order=orders)

    found = ours()
    assert np.array_equal(found.states.unpack(), loop())
    versus(
        f"dense memory, degree {degree}, p = {p}, n = {n}, recall of {b} probes",
        *(ours, loop),
        goal=20,
        against="Numba loop over bytes with distances kept",
        rounds=3,
        operations={POPCOUNT: n * p * int(found.sweeps.sum())},
        bytes=patterns.words.nbytes,
    )
