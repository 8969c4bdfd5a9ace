"""Baselines of the jobs: the loops and matrix products that people write without fastrec."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


def numpy_trial(patterns: np.ndarray) -> int:
    """Return the largest load before a stored pattern (p, n) is unstable, by incremental rank-one updates.

    Computed in float32, so that BLAS does the matrix products; integers are exact there up to 2^24.
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
    """Recall by the textbook loop over rows, sweeps and units, with a sum over all units for each; in place.

    weights (n, n) and states (b, n) are float32, orders is (sweeps, n).
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
    """Recall as `loop_recall`, but update fields (b, n), at first states @ weights, at each flip."""
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
