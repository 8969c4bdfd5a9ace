"""Rounding to the precisions of matrix products: networks round weights, the reference rounds factors."""

from __future__ import annotations

import numpy as np


def rounded(a: np.ndarray, precision: str) -> np.ndarray:
    """The nearest numbers of a precision, infinite past the largest of them; NaN stays NaN.

    a: float32 for "tf32" and "bf16", which have 11 and 8 significant bits; "float32" is a itself.
    """
    if precision == "float32":
        return a
    bits: np.ndarray = a.view(np.uint32)
    if precision == "bf16":
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    else:
        bits = (bits + 0x1000) & 0xFFFFE000
    return np.where(np.isnan(a), a, bits.view(np.float32))
