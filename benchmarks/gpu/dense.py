"""Recall of dense memories of many patterns, checked by backend cpu, which compiles its kernels first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import fastrec

from .measure import equal, host, measure, run_all
from .report import Report


def dense(report: Report) -> None:
    run_all(report, list(cases(report)))


def cases(report: Report) -> Iterator[tuple[str, Any]]:
    for degree, update, p in (
        ("exponential", "async", 10**6),
        ("exponential", "sync", 10**6),
        (4, "sync", 10**5),
    ):
        size = report.size((1000, p, 100), (100, 300, 5))
        yield f"{degree} {update}", partial(beside_cpu, report, degree, update, *size)


def memory(backend: str, degree: Any, n: int, p: int, b: int) -> tuple[Any, Any]:
    """Return a memory of random patterns and its first b patterns with 10 % flipped bits, on the device."""
    patterns = fastrec.random_patterns(p, n, backend=backend, packed=True, seed=0)
    memory = fastrec.DenseMemory(n, degree, backend=backend)
    memory.store(patterns)
    first = fastrec.PackedStates(patterns.words[:b].copy(), n)
    return memory, fastrec.corrupt(first, 0.1, backend=backend, seed=0)


def beside_cpu(report: Report, degree: Any, update: str, n: int, p: int, b: int) -> None:
    ours, probes = memory("gpu", degree, n, p, b)

    def check(result: Any) -> None:
        other, same_probes = memory("cpu", degree, n, p, b)
        equal(result, other.recall(same_probes, update=update, seed=0))

    measure(
        report,
        f"dense memory of degree {degree}, {update}, n = {n}, p = {p}, {b} probes with 10 % flipped",
        lambda: ours.recall(probes, update=update, seed=0),
        check,
        # A bit of each pattern compared and counted for each unit, and for the sums of a power once more.
        lambda r: (n * p / 8, n * p * float(host(r.sweeps).sum()) * (2 if degree == "exponential" else 4)),
        "popcount",
    )
