"""What people write without fastrec: the loops and products that its jobs are compared with."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


def numpy_trial(patterns: np.ndarray) -> int:
    """Largest load before a stored pattern (p, n), int32, is unstable: the incremental rank-one scan."""
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


@numba.njit
def loop_recall(weights: Any, states: Any, orders: Any) -> None:
    """The textbook loop: every row, every sweep, every unit of its order, a sum over all units; in place.

    weights (n, n) and states (b, n) float32, orders (sweeps, n).
    """
    n = states.shape[1]
    for row in range(len(states)):
        s = states[row]
        for order in orders:
            flips = 0
            for i in order:
                field = np.float32(0)
                for j in range(n):
                    field += weights[i, j] * s[j]
                if field * s[i] < 0:
                    s[i] = -s[i]
                    flips += 1
            if flips == 0:
                break
