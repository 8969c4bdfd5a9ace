"""Trials up to the first failure; the baseline is the rank-one scan in NumPy, or one thread if n is large."""

from __future__ import annotations

import pytest

from fastrec.bench.jobs import SCANS, scan

GOALS = {1000: 40, 10_000: 300, 30_000: 1.85, 100_000: 1.85}


@pytest.mark.parametrize("n", SCANS)
def bench_first_failure(versus, n):
    job = scan(n)
    versus(
        f"first-failure trial, n = {n}",
        job.ours,
        job.baseline,
        goal=GOALS.get(n),
        against=job.against,
        each=job.each,
        rounds=5 if n < 100_000 else 2,
        operations=job.operations,
        bytes=job.bytes,
    )
