"""Transposed matrices on the CPU."""

from __future__ import annotations

from .matrix import panel_step, transpose_block
from .parallel import tasks
from .simd import VECTOR_BYTES


def stripes(a, out):
    """Rows of each matrix, as many at a time as a vector holds, and four numbers a nanosecond."""
    k, m, _ = a.shape
    return k * -(-m * a.itemsize // VECTOR_BYTES), a.size / 4


@tasks(stripes)
def transpose_matrices(task, a, out):
    """out = the transpose of each matrix of a, in squares."""
    _, m, n = a.shape
    lanes = panel_step(a) // 2
    parts = -(-m // lanes)
    net, first = task // parts, task % parts * lanes
    last, whole = min(first + lanes, m), 0
    if last - first == lanes:
        whole = n // lanes * lanes
        for column in range(0, whole, lanes):
            transpose_block(a, (net * m + first) * n + column, n, out, (net * n + column) * m + first, m)
    for row in range(first, last):
        for column in range(whole, n):
            out[net, column, row] = a[net, row, column]
