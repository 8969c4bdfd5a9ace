"""Products of matrices by cuBLAS: the same bits each time, in one stream of one card.

cuBLAS is called through CuPy's thin wrapper, because `cupy.matmul` copies what is transposed or part of wider
rows where there are several networks, and cannot add to its result.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import launch
from .random import THREADS, blocks

# The word of a rounded factor, its type and the kind of sum for cuBLAS.
ROUNDED = {
    "tf32": ("unsigned", "CUDA_R_32F", "CUBLAS_COMPUTE_32F_FAST_TF32"),
    "bf16": ("unsigned short", "CUDA_R_16BF", "CUBLAS_COMPUTE_32F"),
}


def multiply(a: Any, b: Any, out: Any, precision: str, add: bool = False) -> None:
    """out (k, r, c) = a (k, r, n) b (k, n, c), or is increased by it; a and b may be one (1, ..) for all k.

    All may be views: transposed (but out), some columns or every so many rows of a larger array.  precision:
    "float32" is that of the arrays, another one what the factors are rounded to.
    """
    (k, rows, columns), n = out.shape, a.shape[2]
    if not n and not add:
        out[...] = 0
    if not n or not out.size:
        return
    if precision != "float32":
        a, b = rounded(a, precision), rounded(b, precision)
    factors = np.array([1, add], out.dtype)
    one, beta = factors.ctypes.data, factors.ctypes.data + factors.itemsize
    # cuBLAS stores matrices by columns, hence reads each of ours transposed: out^T = b^T a^T.
    (flip_b, *place_b), (flip_a, *place_a), (_, *place) = layout(b), layout(a), layout(out)
    sizes = (int(flip_b), int(flip_a), columns, rows, n)
    handle, cublas, runtime = cupy.cuda.device.get_cublas_handle(), cupy.cuda.cublas, cupy.cuda.runtime
    if precision == "float32":
        product = cublas.sgemmStridedBatched if factors.itemsize == 4 else cublas.dgemmStridedBatched
        product(handle, *sizes, one, *place_b, *place_a, beta, *place, k)
        return
    _, name, compute = ROUNDED[precision]
    (at_b, *step_b), (at_a, *step_a), (at, *step), kind = place_b, place_a, place, getattr(runtime, name)
    cublas.gemmStridedBatchedEx(
        *(handle, *sizes, one, at_b, kind, *step_b, at_a, kind, *step_a),
        *(beta, at, runtime.CUDA_R_32F, *step, k, getattr(cublas, compute), cublas.CUBLAS_GEMM_DEFAULT),
    )


def rounded(x: Any, precision: str) -> Any:
    """x (k, r, c) rounded, as words, laid out as x is.

    cuBLAS would take float32 and round it itself, but says neither how nor whether.
    """
    flip, _, row, network = layout(x)
    by_rows = x.swapaxes(1, 2) if flip else x
    word = ROUNDED[precision][0]
    words = cupy.empty(by_rows.shape, np.uint16 if word == "unsigned short" else np.uint32)
    k, rows, columns = by_rows.shape
    sizes = (k, rows, columns, network, row)
    # All that lies between the first and the last element: kernels know no strides of arrays.
    span = (k - 1) * network + (rows - 1) * row + columns
    memory = cupy.lib.stride_tricks.as_strided(by_rows, (span,), (x.itemsize,))
    launch("time_loop", f"round_factor<{word}>", blocks(words.size), THREADS, memory, *sizes, words)
    return words.swapaxes(1, 2) if flip else words


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
