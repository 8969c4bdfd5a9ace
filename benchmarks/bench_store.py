"""Binary matrix products, overlaps and Hebbian couplings, compared with SGEMM of the same numbers."""

from __future__ import annotations

import numpy as np

import fastrec
from fastrec.backend import kernels
from fastrec.kernels import words

cpu = kernels("hopfield", "cpu")


def bench_binary_product(versus):
    p, n = 2048, 4096
    patterns = fastrec.random_patterns(p, n, seed=1)
    probes = fastrec.random_patterns(p, n, seed=2)
    x, s = (fastrec.pack(a).words[None] for a in (patterns, probes))
    m = np.empty((1, p, p), dtype=np.int32)
    a, b = probes.astype(np.float32), patterns.astype(np.float32).T.copy()
    cpu.overlaps(x, s, n, m)
    assert np.array_equal(m[0], a @ b)
    versus(
        "binary product 2048 x 2048 x 4096",
        lambda: cpu.overlaps(x, s, n, m),
        lambda: a @ b,
        goal=6,
        against="NumPy SGEMM",
        rounds=9,
    )


def bench_couplings(versus):
    p, n = 1000, 4096
    patterns = fastrec.random_patterns(p, n, seed=0)
    floats = patterns.astype(np.float32)

    def store():
        net = fastrec.HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        return net.couplings()

    expected = floats.T @ floats
    np.fill_diagonal(expected, 0)
    assert np.array_equal(store(), expected)
    versus(
        "store p = 1000, n = 4096, with couplings",
        store,
        lambda: floats.T @ floats,
        goal=6,
        against="NumPy SSYRK (X.T @ X)",
        rounds=9,
    )


def bench_couplings_kernel(versus):
    p, n = 1000, 4096
    x = fastrec.random_patterns(p, n, packed=True, seed=0).words[None]
    units = np.empty((1, n, words(p)), dtype=np.uint64)
    weights = np.empty((1, n, n), dtype=np.int16)
    floats = fastrec.random_patterns(p, n, seed=0).astype(np.float32)

    def store():
        cpu.transpose(x, units)
        cpu.couplings(units, p, True, weights)

    store()
    assert np.array_equal(weights[0], floats.T @ floats)
    versus(
        "couplings of packed patterns, p = 1000, n = 4096",
        store,
        lambda: floats.T @ floats,
        goal=6,
        against="NumPy SSYRK (X.T @ X)",
        rounds=9,
    )
