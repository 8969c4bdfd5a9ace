"""Products of binary matrices on tensor cores: overlaps and couplings."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import INTEGERS, launch
from .random import THREADS, blocks

TILE = 128  # rows of a tile, as in cuda/tile.cuh
# Words of a row from which tiles are wide.  Wide ones read less from L2; of narrow ones a multiprocessor has
# two, which hide each other's beginning and end.  Estimated: benchmarks/README.md.
LONG = 256


def tile_shared(across: int) -> int:
    """Bytes of shared memory for a tile of 64 across columns: stages of 8 words a line, and its lines."""
    return (TILE + 64 * across) * ((2 + across // 2) * 8 * 8 + 4)


def count_ones(a: Any) -> Any:
    """Bits set in each row of a (..., w), int32 (...)."""
    ones = cupy.empty(a.shape[:-1], dtype=np.int32)
    launch("product", "count_ones", blocks(32 * ones.size), THREADS, a, ones.size, a.shape[-1], ones)
    return ones


def sign_product(a: Any, b: Any, bits: int, zero_diagonal: bool, out: Any) -> None:
    """out (k, rows, columns) = sums of products of the signs in a (k, rows, w) and b (k, columns, w)."""
    (k, rows, w), columns = a.shape, b.shape[1]
    symmetric = a is b or (a.data.ptr == b.data.ptr and rows == columns)
    across = 4 if w >= LONG else 2
    if symmetric:  # tiles that reach the diagonal from below
        full, rest = divmod(-(-rows // TILE), across // 2)
        tiles = (across // 2 * full + 2 * rest) * (full + 1) // 2
    else:  # a row of each is all ones
        tiles = -(-rows // (TILE - 1)) * -(-columns // (64 * across))
    name = f"sign_product<{INTEGERS[out.dtype.itemsize]}, {across}>"
    arguments = (a, b, count_ones(a), rows, columns, w, bits, symmetric, zero_diagonal, out)
    launch("product", name, k * tiles, 64 * across, *arguments, shared=tile_shared(across))


def overlaps(packed: Any, probes: Any, n: int, m: Any) -> None:
    """Fill m (k, b, p) int32 with the overlaps of probes (k, b, w) with packed (k, p, w); float64 with these
    divided by n."""
    sums = cupy.empty(m.shape, dtype=np.int32) if m.dtype == np.float64 else m
    sign_product(probes, packed, n, False, sums)
    if sums is not m:
        m[...] = sums / n


def couplings(units: Any, p: int, self_coupling: bool, weights: Any) -> None:
    """Fill weights (k, n, n), any signed integer dtype, with W = sum of outer products of the p patterns."""
    sign_product(units, units, p, not self_coupling, weights)
