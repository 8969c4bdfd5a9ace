"""Products of binary matrices on tensor cores: overlaps and couplings."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch
from .random import THREADS, blocks

TILE, TILE_THREADS, TILE_SHARED = 128, 256, 3 * 2 * 128 * 16 * 8  # as in cuda/tile.cuh


def count_ones(a: Any) -> Any:
    """Bits set in each row of a (..., w), int32 (...)."""
    ones = cupy.empty(a.shape[:-1], dtype=np.int32)
    launch("product", "count_ones", blocks(32 * ones.size), THREADS, a, ones.size, a.shape[-1], ones)
    return ones


def sign_product(a: Any, b: Any, bits: int, zero_diagonal: bool, out: Any) -> None:
    """out (k, rows, columns) = sums of products of the signs in a (k, rows, w) and b (k, columns, w)."""
    (k, rows, w), columns = a.shape, b.shape[1]
    symmetric = a is b or (a.data.ptr == b.data.ptr and rows == columns)
    a_ones = count_ones(a)
    b_ones = a_ones if symmetric else count_ones(b)
    down, across = -(-rows // TILE), -(-columns // TILE)
    tiles = down * (down + 1) // 2 if symmetric else down * across
    name = f"sign_product<{INTEGERS[out.dtype.itemsize]}>"
    sizes = (rows, columns, w, bits, symmetric, zero_diagonal)
    launch("product", name, k * tiles, TILE_THREADS, a, b, a_ones, b_ones, *sizes, out, shared=TILE_SHARED)


def overlaps(packed: Any, probes: Any, n: int, m: Any) -> None:
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w)."""
    sign_product(probes, packed, n, False, m)


def couplings(units: Any, p: int, self_coupling: bool, weights: Any) -> None:
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    sign_product(units, units, p, not self_coupling, weights)
