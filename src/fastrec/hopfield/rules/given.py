"""Couplings that the user gives, in place of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .rule import Learnt, Rule

if TYPE_CHECKING:
    from ..stored import StoredPatterns

LARGEST = 2.0**62
MOST = 2**30  # sum of |W_ij| over a row and of its threshold in 32 bits, from which a scale follows


def learn(stored: StoredPatterns, backend: str) -> Learnt:
    """Never called: the couplings are there from the beginning."""
    raise AssertionError("given couplings are not learnt")


def fixed_point(
    weights: NDArray[Any], thresholds: NDArray[Any], scale: float | None
) -> tuple[NDArray[Any], float]:
    """Couplings (k, n, n) as integers, and their scale: 1 where all numbers are whole.

    Otherwise it is the largest power of two for which fields and thresholds (n,) stay within MOST, and the
    couplings times it are rounded, halves to even.
    """
    if scale is None:
        scale = 1.0
        if not (is_whole(weights) and is_whole(thresholds)):
            sums = np.abs(weights).sum(axis=2, dtype=np.float64) + np.abs(thresholds)
            scale = 2.0 ** np.floor(np.log2(MOST / sums.max()))
    if weights.dtype.kind in "iu" and scale == 1:
        return weights, scale
    if (largest := float(np.abs(weights).max()) * scale) >= LARGEST:
        raise ValueError(f"couplings times scale = {scale:g} reach {largest:.3g}; they must stay below 2^62")
    scaled = weights * np.float64(scale)
    return np.rint(scaled, out=scaled).astype(np.int64), scale


def is_whole(array: NDArray[Any]) -> bool:
    """Whether all numbers are integers."""
    return array.dtype.kind in "iu" or bool((np.rint(array) == array).all())


GIVEN = Rule(
    "given",
    source="the user",
    learn=learn,
    bound=lambda setting, total: 0,
    symmetric=False,
)
