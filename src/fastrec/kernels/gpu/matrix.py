"""Products of matrices in their own precision, by cuBLAS: the same bits each time, in one stream of one card.

cuBLAS is called through CuPy's thin wrapper, because `cupy.matmul` copies what is transposed or part of wider
rows where there are several networks, and cannot add to its result.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np


def multiply(a: Any, b: Any, out: Any, add: bool = False) -> None:
    """out (k, r, c) = a (k, r, n) b (k, n, c), or is increased by it; a and b may be one (1, ..) for all k.

    All may be views: transposed (but out), some columns or every so many rows of a larger array.
    """
    (k, rows, columns), n = out.shape, a.shape[2]
    if not n and not add:
        out[...] = 0
    if not n or not out.size:
        return
    factors = np.array([1, add], out.dtype)
    one, beta = factors.ctypes.data, factors.ctypes.data + factors.itemsize
    # cuBLAS stores matrices by columns, hence reads each of ours transposed: out^T = b^T a^T.
    (flip_b, *place_b), (flip_a, *place_a), (_, *place) = layout(b), layout(a), layout(out)
    sizes = (int(flip_b), int(flip_a), columns, rows, n)
    function = "sgemmStridedBatched" if factors.itemsize == 4 else "dgemmStridedBatched"
    handle = cupy.cuda.device.get_cublas_handle()
    getattr(cupy.cuda.cublas, function)(handle, *sizes, one, *place_b, *place_a, beta, *place, k)


def layout(x: Any) -> tuple[bool, int, int, int]:
    """Whether x (k, r, c) is stored by columns, its address, the distances of rows (columns) and matrices."""
    k, rows, columns = x.shape
    network, row, column = (stride // x.dtype.itemsize for stride in x.strides)
    by_rows = column == 1 or columns == 1
    if not by_rows and row != 1 and rows != 1:
        raise ValueError(f"neither rows nor columns are contiguous: shape {x.shape}, strides {x.strides}")
    # The distance of a single row is any.
    lead = max(columns, row if rows > 1 else 0) if by_rows else max(rows, column)
    return not by_rows, x.data.ptr, lead, network if k > 1 else 0
