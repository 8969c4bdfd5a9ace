"""Products of binary matrices: overlaps and couplings."""

from __future__ import annotations

import numpy as np

from .packing import spins


def overlaps(packed: np.ndarray, probes: np.ndarray, n: int, m: np.ndarray) -> None:
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w).

    m = sum_i x_i s_i, from -n to n; a float64 m gets this divided by n.  With probes = packed it is the Gram
    matrix.
    """
    sums = spins(probes, n) @ spins(packed, n).swapaxes(1, 2)
    m[:] = sums / n if m.dtype == np.float64 else sums


def couplings(units: np.ndarray, p: int, self_coupling: bool, weights: np.ndarray) -> None:
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    x = spins(units, p)
    weights[:] = x @ x.swapaxes(1, 2)
    if not self_coupling:
        weights[:, range(weights.shape[1]), range(weights.shape[1])] = 0
