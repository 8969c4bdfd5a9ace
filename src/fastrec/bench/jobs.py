"""The jobs of `fastrec bench`.  Each is compared with its baseline before it is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..hopfield.capacity import capacity
from ..hopfield.network import HopfieldNetwork
from ..hopfield.patterns import corrupt, random_patterns
from ..hopfield.theory import capacity_bound
from ..rnn.layers import RNN
from ..rnn.text import TextCell
from .baselines import field_recall, numpy_trial
from .peers import fastest, peers
from .timing import Task, repeated

T = 100
GATES = {"elman": 1, "gru": 3, "lstm": 4}
BITS = "bit products (popcount)"


@dataclass(frozen=True)
class Job:
    """Something to time: ours and what it is compared with, both called without arguments.

    each: how many pieces of work a call of either does.
    operations, limit: of a piece at least, and the rate of `Report.limits` that bounds them.
    """

    name: str
    ours: Task
    baseline: Task
    against: str
    each: tuple[int, int]
    operations: float
    limit: str


def check(same: bool | np.bool_, name: str) -> None:
    if not same:
        raise ArithmeticError(f"{name}: fastrec and its baseline disagree; please report this")


def overlaps() -> Iterator[Job]:
    p, n = 2048, 4096
    patterns, probes = random_patterns(p, n, seed=1), random_patterns(p, n, seed=2)
    net = HopfieldNetwork(n, backend="cpu")
    net.store(patterns)
    x, s = patterns.astype(np.float32), probes.astype(np.float32)
    check(np.array_equal(net.overlaps(probes), (s @ x.T) / n), "overlaps")
    name = f"overlaps of {p} states, {p} patterns, n = {n}"
    yield Job(name, lambda: net.overlaps(probes), lambda: s @ x.T, "NumPy SGEMM", (1, 1), p * p * n, BITS)


def store() -> Iterator[Job]:
    p, n = 1000, 4096
    patterns = random_patterns(p, n)
    floats = patterns.astype(np.float32)

    def ours() -> np.ndarray:
        net = HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        return net.couplings()

    expected = floats.T @ floats
    np.fill_diagonal(expected, 0)
    check(np.array_equal(ours(), expected), "store")
    name = f"store {p} patterns, n = {n}, couplings"
    yield Job(name, ours, lambda: floats.T @ floats, "NumPy X.T @ X", (1, 1), n * n * p / 2, BITS)


def recall() -> Iterator[Job]:
    n, p, b = 10_000, 1000, 64
    patterns = random_patterns(p, n)
    probes = corrupt(patterns[:b], 0.1)
    orders = np.stack([np.random.default_rng(i).permutation(n) for i in range(20)]).astype(np.int32)
    net = HopfieldNetwork(n, backend="cpu", representation="patterns")
    net.store(patterns)
    floats = patterns.astype(np.float32)
    weights = floats.T @ floats
    np.fill_diagonal(weights, 0)

    def baseline() -> np.ndarray:
        states = probes.astype(np.float32)
        field_recall(weights, states, states @ weights, orders)
        return states

    found = net.recall(probes, order=orders)
    check(np.array_equal(baseline(), found.states), "recall")
    yield Job(
        f"recall, n = {n}, p = {p}, 10 % flipped, a probe",
        lambda: net.recall(probes, order=orders),
        baseline,
        "NumPy and Numba, fields kept",
        (b, b),
        float(found.sweeps.mean()) * n * p,
        "overlaps added",
    )


def trial() -> Iterator[Job]:
    n, trials, sample = 1000, 100, 20
    patterns = random_patterns(capacity_bound(n), n, networks=sample, backend="cpu").astype(np.float32)
    exact = capacity(n, sample, corruption=0, backend="cpu")
    check([numpy_trial(x) for x in patterns] == exact.counts.tolist(), "capacity")
    counts = capacity(n, trials, backend="cpu").counts
    yield Job(
        f"capacity, n = {n}, a network",
        lambda: capacity(n, trials, backend="cpu"),
        lambda: [numpy_trial(x) for x in patterns],
        "NumPy incremental scan",
        (trials, sample),
        float(np.mean(counts.astype(float) ** 2)) * n,  # n p^2 / 2 to old fields, as many to new ones
        "patterns added",
    )


def recurrent(cell: TextCell) -> Iterator[Job]:
    b, i, h = 32, 64, 256
    net = RNN(i, h, cell=cell, initial="uniform", backend="cpu")
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((b, T, width)).astype(np.float32) for width in (i, h))
    rivals = peers(net, x, d)
    ours: dict[str, Callable[[], np.ndarray]] = {
        "forward": lambda: net.predict(x)[0],
        "both": lambda: net.backward(net.forward(x), d_hidden=d)["x"],
    }
    for job, task in ours.items():
        found = task()
        for rival in rivals:
            check(np.allclose(found, getattr(rival, job)(), atol=2e-4), f"{cell} of {rival.name}")
        steps = "forward" if job == "forward" else "forward and BPTT"
        operations = b * T * (i + h) * h * GATES[cell] * (1 if job == "forward" else 3)
        name = f"{cell}, {b} rows, {T} steps, {h} units, {steps}"
        with fastest(rivals, job) as rival:
            (mine, n), (theirs, m) = repeated(task), repeated(getattr(rival, job))
            yield Job(name, mine, theirs, rival.name, (n, m), operations, "multiply-adds")


JOBS: dict[str, Callable[[], Iterator[Job]]] = {
    "overlaps": overlaps,
    "store": store,
    "recall": recall,
    "capacity": trial,
    "elman": lambda: recurrent("elman"),
    "gru": lambda: recurrent("gru"),
    "lstm": lambda: recurrent("lstm"),
}
