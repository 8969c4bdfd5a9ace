"""What people write without fastrec: the loops and products that its jobs are compared with."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


def numpy_trial(patterns: np.ndarray) -> int:
    """Largest load before a stored pattern (p, n) is unstable: the incremental rank-one scan.

    In float32, so that products of matrices are BLAS's; its integers are exact up to 2^24.
    """
    limit, n = patterns.shape
    fields = np.empty((limit, n), dtype=patterns.dtype)
    for p in range(1, limit + 1):
        x = patterns[p - 1]
        m = patterns[:p] @ x
        fields[: p - 1] += m[: p - 1, None] * x
        fields[p - 1] = m @ patterns[:p]
        if (fields[:p] * patterns[:p]).min() < p:
            return p - 1
    return limit


@numba.njit(cache=True)
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


@numba.njit(cache=True)
def field_recall(weights: Any, states: Any, fields: Any, orders: Any) -> None:
    """The same with fields (b, n), at first states @ weights, kept: a flip adds its row of the weights."""
    n = states.shape[1]
    for row in range(len(states)):
        s, h = states[row], fields[row]
        for order in orders:
            flips = 0
            for i in order:
                if h[i] * s[i] < 0:
                    s[i] = -s[i]
                    change = 2 * s[i]
                    for j in range(n):
                        h[j] += change * weights[i, j]
                    flips += 1
            if flips == 0:
                break
