"""Asynchronous recall, compared with a Numba loop over a float32 weight matrix."""

from __future__ import annotations

import resource

import numpy as np
import pytest

import fastrec
from fastrec.bench.baselines import field_recall, loop_recall


@pytest.mark.parametrize("fields", ["summed", "kept"])
def bench_async_recall(versus, fields):
    n, p, b = 10_000, 1000, 100
    patterns = fastrec.random_patterns(p, n, seed=0)
    probes = fastrec.corrupt(patterns[:b], 0.1, seed=0)
    orders = np.stack([np.random.default_rng(i).permutation(n) for i in range(20)]).astype(np.int32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def ours():
        net = fastrec.HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        return net.recall(probes, order=orders)

    result = ours()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 300e6, f"store and recall took {grown / 1e6:.0f} MB"
    floats = patterns.astype(np.float32)
    weights = floats.T @ floats
    np.fill_diagonal(weights, 0)
    rows = 1  # of 100: each costs the loop seconds
    states = probes[:rows].astype(np.float32)
    loop_recall(weights, states, orders)
    assert np.array_equal(states, result.states[:rows])
    name = "store and recall, n = 10000, p = 1000, 100 probes, 10 % flipped (per probe)"

    def textbook():
        loop_recall(weights, probes[:rows].astype(np.float32), orders)

    def with_fields():
        states = probes.astype(np.float32)
        field_recall(weights, states, states @ weights, orders)
        return states

    assert np.array_equal(with_fields(), result.states)
    if fields == "summed":
        against = "Numba loop over float32 weights, storing not counted"
        versus(name, ours, textbook, goal=30, against=against, each=(b, rows), rounds=3)
    else:
        against = "Numba loop with fields kept, storing not counted"
        versus(f"{name}, fields kept", ours, with_fields, goal=1, against=against, each=(b, b), rounds=3)
