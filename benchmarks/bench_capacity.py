"""First-failure trials, against the incremental rank-one scan in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import fastrec


def numpy_trial(patterns: np.ndarray) -> int:
    """Largest load before a stored pattern is unstable; patterns (p, n) int32."""
    limit, n = patterns.shape
    fields = np.empty((limit, n), dtype=np.int32)
    for p in range(1, limit + 1):
        x = patterns[p - 1]
        m = patterns[:p] @ x
        fields[: p - 1] += m[: p - 1, None] * x
        fields[p - 1] = m @ patterns[:p]
        if (fields[:p] * patterns[:p]).min() < p:
            return p - 1
    return limit


@pytest.mark.parametrize(("n", "goal", "sample"), [(1000, 40, 20), (10000, 60, 1)])
def bench_first_failure(versus, n, goal, sample):
    patterns = fastrec.random_patterns(
        fastrec.theory.capacity_bound(n), n, networks=sample, backend="cpu"
    ).astype(np.int32)
    exact = fastrec.capacity(n, trials=sample, corruption=0, backend="cpu")
    assert [numpy_trial(x) for x in patterns] == exact.counts.tolist()
    versus(
        f"first-failure trial, n = {n}",
        lambda: fastrec.capacity(n, trials=100, backend="cpu"),
        lambda: [numpy_trial(x) for x in patterns],
        goal=goal,
        against="NumPy incremental scan, stability only",
        each=(100, sample),
        rounds=5,
    )
