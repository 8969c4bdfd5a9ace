"""Capacity at n = 10 000 and 100 000, compared with the counts of backend cpu and with theoretical
medians."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

import fastrec

from .measure import Counts, equal, measure, run_all, stored
from .report import Report

# Units and trials, and seconds at most.
FULL = ((10_000, 1000, 2.0), (100_000, 2, 60.0), (100_000, 32, 60.0))
SMALL = ((60, 8, 1.0),)
# What the median must lie in: of independent bits, 5 % and 95 % of the trials are below these counts.
MEDIANS = {10_000: (341, 421), 100_000: (2648, 3117)}


def counts(backend: str, n: int, trials: int) -> list[int]:
    return fastrec.capacity(n, trials=trials, backend=backend).counts.tolist()


def capacity(report: Report) -> None:
    def run(n: int, trials: int, seconds: float) -> None:
        if 15 * took.get(n, 0) > report.deadline - time.monotonic():
            report.note(f"capacity, n = {n}, {trials} trials: no time is left")
            return
        begin = time.monotonic()
        measure(
            report,
            f"capacity, n = {n}, {trials} trials",
            lambda: np.array(counts("gpu", n, trials)),
            partial(check, n),
            partial(products, n),
            "int8",
            repeat=n < 100_000,
            seconds=seconds,
        )
        took[n] = time.monotonic() - begin

    took: dict[int, float] = {}
    run_all(report, [(f"n = {size[0]}", partial(run, *size)) for size in report.size(FULL, SMALL)])


def check(n: int, counts: np.ndarray) -> None:
    """Compare trials with the stored counts, or their median with theory if there is none."""
    expected = np.array(stored(f"capacity, n = {n}")[: len(counts)])
    equal(counts[: len(expected)], expected)
    least, most = MEDIANS.get(n, (0, n))
    assert least <= np.median(counts) <= most, f"the median is {np.median(counts)}, not {least} to {most}"


def products(n: int, counts: np.ndarray) -> Counts:
    """Every overlap up to the load p that fails times a sign in every unit, for each of its digits of base
    128: two up to n = 16256, else three."""
    return 0, (4.0 if n <= 16256 else 6.0) * n * ((counts + 1.0) ** 2).sum()
