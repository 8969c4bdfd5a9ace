"""Learning rules compared with loops that people write in Numba, and with LAPACK; recall from couplings."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import fastrec
from fastrec import HopfieldNetwork
from fastrec.bench.baselines import field_recall


@numba.njit(cache=True)
def storkey(x: Any, w: Any) -> None:
    """Storkey's rule by its formula, with the sums over all units computed once for each pattern."""
    p, n = x.shape
    h = np.empty(n)
    for mu in range(p):
        xi = x[mu]
        for i in range(n):
            h[i] = 0.0
            for j in range(n):
                h[i] += w[i, j] * xi[j]
        for i in range(n):
            for j in range(n):
                if i != j:
                    h_ij, h_ji = h[i] - w[i, j] * xi[j], h[j] - w[i, j] * xi[i]
                    w[i, j] += (xi[i] * xi[j] - xi[i] * h_ji - h_ij * xi[j]) / n


@numba.njit(cache=True)
def perceptron(x: Any, margin: float, passes: int, w: Any) -> None:
    """The perceptron rule by its definition: a sum over all units for every test."""
    p, n = x.shape
    for i in range(n):
        squares = 0.0
        for _ in range(passes):
            added = 0
            for mu in range(p):
                h = 0.0
                for j in range(n):
                    h += w[i, j] * x[mu, j]
                if h * x[mu, i] <= margin * np.sqrt(squares):
                    added += 1
                    squares = 0.0
                    for j in range(n):
                        if j != i:
                            w[i, j] += x[mu, i] * x[mu, j]
                        squares += w[i, j] ** 2
            if added == 0:
                break


def learn(rule: Any, patterns: np.ndarray, **options: Any) -> HopfieldNetwork:
    network = HopfieldNetwork(patterns.shape[1], backend="cpu", rule=rule, **options)
    network.store(patterns)
    _ = network.scale  # of the couplings, which are learnt for it
    return network


@pytest.mark.parametrize(("n", "p"), [(500, 70), (1000, 140), (2000, 280)])
def bench_storkey(versus, n, p):
    patterns = fastrec.random_patterns(p, n, seed=1)
    x = patterns.astype(np.float64)

    def loop():
        w = np.zeros((n, n))
        storkey(x, w)
        return w

    network = learn("storkey", patterns)
    error = network.couplings() / network.scale - n * loop()
    assert abs(error).max() < p / 2**16
    name = f"Storkey's rule, n = {n}, p = {p}"
    versus(name, lambda: learn("storkey", patterns), loop, goal=10, against="Numba loop, float64", rounds=3)


@pytest.mark.parametrize(("n", "p", "margin"), [(200, 100, 0.5), (500, 250, 0.5), (1000, 500, 0.0)])
def bench_perceptron(versus, n, p, margin):
    patterns = fastrec.random_patterns(p, n, seed=1)
    x = patterns.astype(np.float64)

    def loop():
        w = np.zeros((n, n))
        perceptron(x, margin, 1000, w)
        return w

    assert np.array_equal(learn("perceptron", patterns, margin=margin).couplings(), loop())
    name = f"perceptron rule, n = {n}, p = {p}, margin {margin}"
    versus(
        *(name, lambda: learn("perceptron", patterns, margin=margin), loop),
        goal=10,
        against="Numba loop, float64",
        rounds=3,
    )


@pytest.mark.parametrize(("n", "p"), [(500, 250), (1000, 500), (2000, 1000), (3000, 600)])
def bench_projection(versus, n, p):
    linalg = pytest.importorskip("scipy.linalg")
    patterns = fastrec.random_patterns(p, n, seed=1)
    x = patterns.astype(np.float64)

    def lapack():
        factor = linalg.cholesky(x @ x.T, lower=True)
        z = linalg.solve_triangular(factor, x, lower=True)
        return z.T @ z

    network = learn("projection", patterns, self_coupling=True)
    assert abs(network.couplings() / network.scale / n - lapack()).max() < 2.0**-22
    name = f"projection rule, n = {n}, p = {p}"
    against = "SciPy: Cholesky, triangular solve, product"
    versus(name, lambda: learn("projection", patterns), lapack, goal=1 / 1.3, against=against, rounds=5)


@pytest.mark.parametrize("kind", ["Hebb's", "random"])
def bench_recall_of_given_couplings(versus, kind):
    n, p, b = 5000, 400, 100
    patterns = fastrec.random_patterns(p, n, seed=1)
    if kind == "random":
        weights = np.triu(np.random.default_rng(0).normal(size=(n, n)), 1).astype(np.float32)
        weights += weights.T
        probes = fastrec.random_patterns(b, n, seed=3)
    else:
        x = patterns.astype(np.float32)
        weights = x.T @ x
        np.fill_diagonal(weights, 0)
        probes = fastrec.corrupt(patterns[:b], 0.1, seed=1)
    network = HopfieldNetwork.from_couplings(weights, backend="cpu")
    orders = fastrec.random_orders(n, 20, seed=1)

    def loop():
        states = probes.astype(np.float32)
        field_recall(weights, states, states @ weights, orders)
        return states

    same = (loop() == network.recall(probes, order=orders).states).mean()
    assert same == 1 if kind == "Hebb's" else same > 0.95  # float32 rounds fields, and such nets are chaotic
    versus(
        f"recall of given couplings, {kind}, n = {n}, {b} probes",
        lambda: network.recall(probes, order=orders),
        loop,
        goal=5,
        against="Numba loop with fields kept, float32",
        rounds=3,
    )
