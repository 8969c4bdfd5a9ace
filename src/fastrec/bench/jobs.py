"""The jobs of `fastrec bench`; results are compared with those of the baseline before or during timing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..hopfield.network import HopfieldNetwork
from ..hopfield.states import corrupt, random_patterns
from ..hopfield.storage_capacity.result import CapacityResult
from ..hopfield.storage_capacity.run import capacity
from ..hopfield.theory import capacity_bound
from ..kernels.cpu import bfloat16
from ..kernels.cpu.capacity import BLOCK
from ..kernels.cpu.threads import limit_threads
from ..rnn.cells import CELLS, CellName
from ..rnn.network import RNN
from .baselines import field_recall, numpy_trial
from .peak_rates import PAIRS
from .peers import fastest, peers
from .timing import Task, repeated

T = 100
BITS = "bit products (popcount)"
SCANS = {  # number of units: networks per call, networks scanned by NumPy, and rounds
    100: (2000, 20, 2),
    1000: (100, 20, 100),
    3000: (100, 2, 2),
    10_000: (40, 1, 1),
    30_000: (1, 0, 2),
    100_000: (1, 0, 1),
}


@dataclass(frozen=True)
class Job:
    """A job to be timed and its baseline.

    Attributes
    ----------
    name : str
        The job.
    ours, baseline : callable
        The job in fastrec and in what it is compared with, called without arguments.
    against : str
        Name of the baseline.
    each : tuple of two ints
        Units of work that one call of ours and of the baseline does.
    operations : dict of str to float
        Minimum number of operations for one unit of work, by the rate of `Report.limits` that bounds them;
        the slowest come first.
    bytes : float
        Minimum number of bytes read and written for one unit of work, or 0 if not counted.
    rounds : int
        Maximum number of timings.
    """

    name: str
    ours: Task
    baseline: Task
    against: str
    each: tuple[int, int]
    operations: dict[str, float]
    bytes: float = 0
    rounds: int = 100


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
    yield Job(name, lambda: net.overlaps(probes), lambda: s @ x.T, "NumPy SGEMM", (1, 1), {BITS: p * p * n})


def store() -> Iterator[Job]:
    p, n = 1000, 4096
    patterns = random_patterns(p, n, seed=0)
    floats = patterns.astype(np.float32)

    def ours() -> np.ndarray:
        net = HopfieldNetwork(n, backend="cpu")
        net.store(patterns)
        return net.couplings()

    expected = floats.T @ floats
    np.fill_diagonal(expected, 0)
    check(np.array_equal(ours(), expected), "store")
    name = f"store {p} patterns, n = {n}, couplings"
    yield Job(name, ours, lambda: floats.T @ floats, "NumPy X.T @ X", (1, 1), {BITS: n * n * p / 2})


def recall() -> Iterator[Job]:
    n, p, b = 10_000, 1000, 64
    patterns = random_patterns(p, n, seed=0)
    probes = corrupt(patterns[:b], 0.1, seed=0)
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

    result = net.recall(probes, order=orders)
    check(np.array_equal(baseline(), result.states), "recall")
    yield Job(
        f"recall, n = {n}, p = {p}, 10 % flipped, a probe",
        lambda: net.recall(probes, order=orders),
        baseline,
        "NumPy and Numba, fields kept",
        (b, b),
        {"overlaps added": float(result.sweeps.mean()) * n * p},
    )


def scan(n: int) -> Job:
    """Return the scan of n units, a key of `SCANS`; its baseline is NumPy, or one thread if n is large."""
    trials, sample, rounds = SCANS[n]

    def ours() -> CapacityResult:
        return capacity(n, trials, backend="cpu", progress=False)

    counts = ours().counts
    if sample:
        limit = capacity_bound(n)
        patterns = random_patterns(limit, n, networks=sample, backend="cpu", seed=0).astype(np.float32)
        exact = capacity(n, sample, flips=0, backend="cpu", progress=False).counts.tolist()

    # The baselines are slow, so they are checked during timing and not in a call of their own.
    def in_numpy() -> None:
        check([numpy_trial(x) for x in patterns] == exact, "capacity")

    def one_thread() -> None:
        with limit_threads(1):
            check(np.array_equal(ours().counts, counts), "capacity")

    return Job(
        f"capacity, n = {n}, a network",
        ours,
        in_numpy if sample else one_thread,
        "NumPy incremental scan" if sample else "one thread",
        (trials, sample or trials),
        *scan_cost(n, counts),
        rounds,
    )


def scan_cost(n: int, counts: NDArray[np.int64]) -> tuple[dict[str, float], float]:
    """Return operations and bytes of a scan of n units, averaged over networks with these capacities.

    All patterns are added to all fields. Overlaps are symmetric if the memories fit in one block. Patterns
    and their transpose take one bit per unit, the overlaps of a block 32 bits each and their digits 8.
    """
    p = counts.astype(float)
    added, rows = n * p**2, np.minimum(p, BLOCK)
    products = np.where(p > BLOCK, added, added / 2)
    operations = {"patterns added": float(added.mean()), BITS: float(products.mean())}
    return operations, float((n * p / 4 + 5 * rows * p).mean())


def scans() -> Iterator[Job]:
    for n in SCANS:
        if n < 100_000:  # which would take a minute
            yield scan(n)


def passes(net: RNN, x: np.ndarray, d: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The forward pass, and the forward pass with all gradients."""
    return {
        "forward": lambda: net.predict(x)[0],
        "both": lambda: net.backward(net.forward(x), d_hidden=d)["x"],
    }


def described(net: RNN, rows: int, job: str) -> tuple[str, int]:
    """The name of one of the `passes` of T steps, and its multiply-adds."""
    h, forward = net.hidden_size, job == "forward"
    operations = rows * T * (net.input_size + h) * h * CELLS[net.cell].gates * (1 if forward else 3)
    cell = net.cell if net.precision == "float32" else f"{net.cell} in bfloat16"
    return (
        f"{cell}, {rows} rows, {T} steps, {h} units, {'forward' if forward else 'forward and BPTT'}",
        operations,
    )


def recurrent(cell: CellName) -> Iterator[Job]:
    b, i, h = 32, 64, 256
    net = RNN(i, h, cell=cell, initial="uniform", backend="cpu", seed=0)
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((b, T, width)).astype(np.float32) for width in (i, h))
    rivals = peers(net, x, d)
    for job, task in passes(net, x, d).items():
        outputs = task()
        for rival in rivals:
            check(np.allclose(outputs, getattr(rival, job)(), atol=2e-4), f"{cell} of {rival.name}")
        name, operations = described(net, b, job)
        with fastest(rivals, job) as rival:
            (mine, n), (theirs, m) = repeated(task), repeated(getattr(rival, job))
            yield Job(name, mine, theirs, rival.name, (n, m), {"multiply-adds": operations})


def in_bfloat16() -> Iterator[Job]:
    """The cell with most gates in that precision, compared with float32 and, if installed, with PyTorch."""
    if bfloat16.fault():
        return
    b, i, h = 32, 64, 512
    _, cell = max((kind.gates, name) for name, kind in CELLS.items())
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((b, T, width)).astype(np.float32) for width in (i, h))
    net, rounded = (
        RNN(i, h, cell=cast(CellName, cell), initial="uniform", backend="cpu", seed=0, precision=precision)
        for precision in ("float32", "bf16")
    )

    plain, rivals = passes(net, x, d), peers(net, x, d, "bfloat16")
    for job, task in passes(rounded, x, d).items():
        name, operations = described(rounded, b, job)
        found = task()
        for other in (plain[job], *(getattr(rival, job) for rival in rivals)):
            expected = other()
            check(bool(np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)), name)
        (mine, n), (theirs, m) = repeated(task), repeated(plain[job])
        yield Job(name, mine, theirs, "float32", (n, m), {PAIRS: operations})
        if rivals:
            with fastest(rivals, job) as rival:
                theirs, m = repeated(getattr(rival, job))
                yield Job(name, mine, theirs, f"{rival.name} in bfloat16", (n, m), {PAIRS: operations})


JOBS: dict[str, Callable[[], Iterator[Job]]] = {
    "overlaps": overlaps,
    "store": store,
    "recall": recall,
    "capacity": scans,
    **{name: partial(recurrent, name) for name, cell in CELLS.items() if cell.torch},  # type: ignore[arg-type]
    "bfloat16": in_bfloat16,
}
