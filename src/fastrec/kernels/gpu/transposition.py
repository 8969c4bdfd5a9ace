"""Transposed matrices on the GPU."""

from __future__ import annotations

from typing import Any


def transpose_matrices(a: Any, out: Any) -> None:
    """out = the transpose of each matrix of a."""
    out[:] = a.swapaxes(1, 2)
