"""The projection rule: W is the orthogonal projector onto the space of the patterns, in fixed point.

W = X' (X X')^-1 X with the patterns as rows of X.  The p x p equations are solved in float64 by LAPACK, whose
last bits differ between machines, and W is rounded to multiples of 2^-22: from there on all is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...backend import array_module, move
from ...validation import require_memory
from ..states import unpack_states
from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns

BITS = 22
BLOCK = 256  # rows of a triangular system solved at once: most of the work are then products of matrices
DEPENDENT = 1e-9  # of the square of a pattern: what may be left of it outside the space of the others


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """Couplings from a Cholesky factor of the overlaps, on the host."""
    n, p, packed = stored.n, stored.p, stored.packed()
    k = len(packed)
    require_memory("the projection rule", 8 * (k * n * n // 2 + n * n + 3 * p * n + 3 * p * p))
    grams = move(stored.overlaps(backend, packed), "cpu")
    weights, failed = np.empty((k, n, n), dtype=np.int32), {}
    for t in range(k):
        x = unpack_states(packed[t], n, backend, "cpu").astype(np.float64)
        try:
            factor = np.linalg.cholesky(grams[t].astype(np.float64))
        except np.linalg.LinAlgError:
            factor = np.zeros((p, p))
        if (factor.diagonal() ** 2 <= DEPENDENT * n).any():
            failed[t] = (
                f"pattern {first_dependent(x)} of those stored, counted from 0, depends linearly on those "
                "before it; the projection rule takes independent patterns, at most n"
            )
            weights[t] = 0
            continue
        solve_triangular(factor, x)
        projector = x.T @ x  # NumPy computes one triangle and mirrors it
        projector *= 2.0**BITS
        np.rint(projector, out=projector)
        weights[t] = projector
        if not stored.setting.self_coupling:
            np.fill_diagonal(weights[t], 0)
    return Learnt(array_module(backend).asarray(weights), 2.0**BITS / n, failed=failed)


def solve_triangular(factor: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    """Replace x (p, n) by L^-1 x for a lower triangular factor L (p, p)."""
    for begin in range(0, len(x), BLOCK):
        rows = slice(begin, begin + BLOCK)
        x[rows] -= factor[rows, :begin] @ x[:begin]
        x[rows] = np.linalg.solve(factor[rows, rows], x[rows])


def first_dependent(x: NDArray[np.float64]) -> int:
    """The first of the rows of x (p, n) that is a linear combination of those before it."""
    p, n = x.shape
    triangle: Any = np.linalg.qr(x.T, mode="r")
    left = triangle.diagonal() ** 2
    dependent = np.flatnonzero(left <= DEPENDENT * n)
    return int(dependent[0]) if len(dependent) else min(p, n)


PROJECTION = Rule(
    "projection",
    source="L. Personnaz, I. Guyon and G. Dreyfus, J. Physique Lett. 46, L359 (1985)",
    learn=learn,
    bound=lambda setting, total: 2**BITS,
    exact=False,
    whole=False,
    can_fail=True,
)
