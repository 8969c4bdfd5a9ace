"""First-failure trials, against the incremental rank-one scan in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import fastrec
from fastrec.bench.baselines import numpy_trial


@pytest.mark.parametrize(("n", "goal", "sample"), [(1000, 40, 20), (10000, 60, 1)])
def bench_first_failure(versus, n, goal, sample):
    patterns = fastrec.random_patterns(
        fastrec.theory.capacity_bound(n), n, networks=sample, backend="cpu"
    ).astype(np.float32)
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
