"""Glauber dynamics compared with loops that people write in Numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import fastrec
from fastrec import HopfieldNetwork

TEMPERATURE, SWEEPS = 0.4, 20


@numba.njit(cache=True, parallel=True)
def glauber(weights: Any, states: Any, temperature: float, sweeps: int) -> None:
    """Heat bath by its formula: each update sums the field of its unit."""
    rows, n = states.shape
    for row in numba.prange(rows):
        s = states[row]
        for _ in range(sweeps):
            for i in np.random.permutation(n):  # noqa: NPY002
                h = np.dot(weights[i], s)
                s[i] = 1.0 if np.random.random() < 1.0 / (1.0 + np.exp(-2.0 * h / temperature)) else -1.0  # noqa: NPY002


@numba.njit(cache=True, parallel=True)
def glauber_with_fields(weights: Any, states: Any, fields: Any, temperature: float, sweeps: int) -> None:
    """`glauber` that keeps the fields, and changes them where a unit flips."""
    rows, n = states.shape
    for row in numba.prange(rows):
        s, h = states[row], fields[row]
        for _ in range(sweeps):
            for i in np.random.permutation(n):  # noqa: NPY002
                up = np.random.random() < 1.0 / (1.0 + np.exp(-2.0 * h[i] / temperature))  # noqa: NPY002
                if up != (s[i] > 0):
                    s[i] = -s[i]
                    for j in range(n):
                        h[j] += 2.0 * s[i] * weights[i, j]


@pytest.mark.parametrize("fields", [False, True], ids=["plain", "fields kept"])
@pytest.mark.parametrize(("n", "p", "b"), [(1000, 50, 100), (5000, 250, 16), (10_000, 500, 4)])
@pytest.mark.parametrize("update", ["async"])
def bench_glauber(versus, n, p, b, update, fields):
    if not fields and n > 5000:
        pytest.skip("half a minute a round")
    patterns = fastrec.random_patterns(p, n, seed=1)
    network = HopfieldNetwork(n, backend="cpu")
    network.store(patterns)
    weights, probes = network.couplings().astype(np.float32) / np.float32(n), patterns[:b]
    network.recall(probes[:1], max_sweeps=1, temperature=1)  # computes the couplings

    def ours():
        return network.recall(probes, update, temperature=TEMPERATURE, max_sweeps=SWEEPS).states

    def loop():
        states = probes.astype(np.float32)
        if fields:
            glauber_with_fields(weights, states, states @ weights, np.float32(TEMPERATURE), SWEEPS)
        else:
            glauber(weights, states, np.float32(TEMPERATURE), SWEEPS)
        return states

    means = [(states.astype(int) * probes).mean() for states in (ours(), loop())]
    assert abs(means[0] - means[1]) < 5 * np.sqrt(2 / (n * b))
    versus(
        f"Glauber dynamics, n = {n}, p = {p}, {b} rows, {SWEEPS} sweeps",
        ours,
        loop,
        goal=10 if not fields else None,
        against=f"Numba loop, float32{', fields kept' * fields}, both cores",
        rounds=3,
    )
