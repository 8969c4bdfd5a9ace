"""What the kernels of all cells share: products over all steps of all rows, sums of gradients, tokens.

d (k, b, t, h) stands for the gradient of a product, and is 0 in the padding.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .matrix import multiply
from .module import FLOATS, launch
from .random import THREADS, blocks

# As in cuda/time_loop.cu.
DIGITS, TILE = 256, 2048
PIECE = 128

PART = 512  # rows of a gradient, at least, that a block sums
PARTS = 128  # parts of its rows at most
RUNS = 1024  # parts of the sorted steps at most


def float_type(array: Any) -> str:
    """Template argument of a kernel for arrays like this one."""
    return FLOATS[array.dtype.itemsize]


def flat(x: Any) -> Any:
    """x (k, b, t, h), perhaps some columns of a wider array, as (k, b t, h) without a copy."""
    k, b, t, h = x.shape
    return x.reshape(k, b * t, h)


def project(
    x: Any, tokens: Any, lengths: Any, W_in: Any, b: Any, out: Any, precision: str = "float32"
) -> None:
    """Fill out (k, b, t, g h) with x W_in + b, or the rows of W_in that tokens name + b; 0 in the padding."""
    if x.shape[3]:
        multiply(flat(x), W_in, flat(out), precision)
        add_bias(lengths, b, out)
    else:
        k, rows, t, width = out.shape
        sizes = (len(tokens), W_in.shape[1], k, rows, t, width)
        kernel = f"gather<{float_type(out)}>"
        launch("time_loop", kernel, blocks(32 * k * rows * t), THREADS, tokens, lengths, W_in, b, *sizes, out)


def add_bias(lengths: Any, b: Any, out: Any) -> None:
    """Add b (k, h) to each step of out (k, b, t, h); what it holds in the padding becomes 0."""
    k, rows, t, width = out.shape
    kernel = f"add_bias<{float_type(out)}>"
    launch("time_loop", kernel, blocks(32 * k * rows * t), THREADS, lengths, b, k, rows, t, width, out)


def input_gradients(
    x: Any, tokens: Any, lengths: Any, W_in: Any, d: Any, d_x: Any, d_W_in: Any, precision: str = "float32"
) -> None:
    """Fill d_x and d_W_in from the gradient of x W_in, the first g h columns of d (k, b, t, g h or more)."""
    columns = d[..., : W_in.shape[2]]
    if d_x.shape[3]:
        multiply(flat(columns), W_in.swapaxes(1, 2), flat(d_x), precision)
    if x.shape[3]:
        products(without_padding(x, lengths), columns, d_W_in, precision)
    else:
        token_gradient(tokens, lengths, d, d_W_in)


def without_padding(x: Any, lengths: Any) -> Any:
    """A copy of x (m, b, t, i) that is 0 in the padding: 0 times what x may hold there is not always 0."""
    clean = cupy.empty(x.shape, x.dtype)
    m, b, t, i = x.shape
    kernel = f"clear_padding<{float_type(x)}>"
    launch("time_loop", kernel, blocks(32 * m * b * t), THREADS, x, lengths, m, b, t, i, clean)
    return clean


def products(a: Any, d: Any, out: Any, precision: str = "float32") -> None:
    """Gradient out (k, i, h) of W in a W, a (m, b, t, i), from that of the product, d (k, b, t, h).

    All may be some columns of wider arrays.
    """
    multiply(flat(a).swapaxes(1, 2), flat(d), out, precision)


def recurrent_products(state: Any, hidden: Any, d: Any, out: Any, precision: str = "float32") -> None:
    """`products` of what each step starts from: state (k, b, h), then hidden (k, b, t, h) but the last.

    hidden and d must be writable; they are what they were afterwards.
    """
    if not hidden.shape[2]:
        out[...] = 0
        return
    first = d[:, :, 0]
    multiply(state.swapaxes(1, 2), first, out, precision)
    if hidden.shape[2] > 1:
        # Each step meets the one before in memory, the first of a row one of another row: both are 0 for a
        # moment (0 times infinity would not be 0), which moves far fewer bytes than a copy.
        last = hidden[:, :, -1]
        kept, kept_last = first.copy(), last.copy()
        first[...], last[...] = 0, 0
        multiply(flat(hidden)[:, :-1].swapaxes(1, 2), flat(d)[:, 1:], out, precision, add=True)
        first[...], last[...] = kept, kept_last


def sums(d: Any, out: Any, lengths: Any = None, clean: Any = None) -> None:
    """Gradient out (k, h) of a bias from d (k, b, t, h).

    With lengths what d holds in the padding is ignored, and clean (k, b, t, h) becomes a copy of d, 0 there.
    """
    k, b, t, h = d.shape
    part = max(PART, -(-b * t // PARTS))
    parts = max(1, -(-b * t // part))
    partial = cupy.empty((k, parts, h), d.dtype)
    real, tiles = float_type(d), -(-h // 32)
    sizes = (b, t, h, part, parts)
    launch("time_loop", f"sum_steps<{real}>", k * parts * tiles, THREADS, d, lengths, *sizes, clean, partial)
    launch("time_loop", f"join_sums<{real}>", blocks(k * h), THREADS, partial, k, parts, h, out)


def token_gradient(tokens: Any, lengths: Any, d: Any, d_W_in: Any) -> None:
    """Fill d_W_in (k, i, g h): for each of i tokens (m, b, t) the sum of the first g h columns of d over its
    steps, in their order, so that it costs b t g h whatever i is."""
    (m, b, t), (k, i, width) = tokens.shape, d_W_in.shape
    n = b * t
    steps = sort_tokens(tokens, lengths, i)
    part = PIECE * max(1, -(-n // (PIECE * RUNS)))
    parts = -(-n // part)
    partial = cupy.empty((k, parts, 2, width), d.dtype)
    sorted_steps = (steps, tokens, lengths, m, n, t, i)
    sizes = (k, d.shape[3], width, part, parts)
    tiles, real = -(-width // PIECE), float_type(d)
    launch(
        *("time_loop", f"sum_runs<{real}>", k * parts * tiles, PIECE),
        *(*sorted_steps, d, *sizes, partial, d_W_in),
    )
    launch(
        *("time_loop", f"join_runs<{real}>", k * i, PIECE),
        *(*sorted_steps, partial, width, part, parts, d_W_in),
    )


def sort_tokens(tokens: Any, lengths: Any, i: int) -> Any:
    """The steps of tokens (m, b, t) by token, equal ones in order and the padding last, int32 (m, b t)."""
    m, b, t = tokens.shape
    n = b * t
    tiles = -(-n // TILE)
    steps: Any = None
    for shift in range(0, i.bit_length(), DIGITS.bit_length() - 1):
        counts = cupy.empty((m, tiles, DIGITS), dtype=np.int32)
        inputs, steps = (steps, tokens, lengths, m, n, t, i, shift, tiles), cupy.empty((m, n), dtype=np.int32)
        launch("time_loop", "count_digits", m * tiles, THREADS, *inputs, counts)
        launch("time_loop", "scan_digits", m if n else 0, DIGITS, tiles, counts)
        launch("time_loop", "scatter_steps", m * tiles, THREADS, *inputs, counts, steps)
    return steps
