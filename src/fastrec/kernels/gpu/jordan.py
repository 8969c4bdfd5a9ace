"""Jordan networks on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .module import launch, multiprocessors, pieces_a_launch
from .recurrent import (
    BARRIER,
    CHAIN,
    LOAD,
    MULTIPLY_ADDS,
    PRODUCTS,
    THREADS,
    kind_of,
    layout,
    norms,
    pack,
    parts_for,
    rows_of_block,
    split_work,
)
from .time_loop import input_gradients, products, project, recurrent_products, sums

__all__ = ["jordan_backward", "jordan_forward"]

CELL = "Elman"  # the struct in cuda/cells.cuh with what its units do


def launch_rows(
    way: str,
    rows: Any,
    o: int,
    W_rec: Any,
    W_out: Any,
    precision: str,
    before: tuple[Any, ...],
    between: tuple[Any, ...],
    after: tuple[Any, ...],
) -> None:
    """Launch a kernel of jordan.cu on rows (k, b, t, h), a block for few of them or, of many, for more.

    Its arguments are before, the packed weights, between, the sizes and after.  Raises ValueError if a row
    does not fit the shared memory of a block.
    """
    k, b, t, h = rows.shape
    kind, back = kind_of(rows, precision), way == "backward"
    product = PRODUCTS[kind]
    works = [split_work(product, n, u, 1, 1, 1, back) for n, u in ((o, h), (h, o))]  # with W_rec and W_out
    parts = [parts_for(product, work.inputs, work.columns)[-1] for work in works]
    placed = [layout(product, w.inputs, w.columns, p) for w, p in zip(works, parts, strict=True)]
    sums = max(part * each.width for part, each in zip(parts, placed, strict=True)) + o * back
    row = sum(each.pitch for each in placed) * product.operand + sums * product.real
    each = rows_of_block(kind, k * b, row, h)
    step = 2 * (LOAD + CHAIN + 2 * BARRIER + each * o * h / MULTIPLY_ADDS)
    clocks = t * step * -(-k * b // (each * multiprocessors()))
    pieces_a_launch(f"{t} steps of a Jordan network", clocks)
    packed = (pack(W, kind, 1, 1, part, 1, back) for W, part in zip((W_rec, W_out), parts, strict=True))
    arguments = (*before, *packed, *between, b, t, h, o, *parts, *after)
    launch(
        *("jordan", f"jordan_{way}<{kind}, {each}>", k * -(-b // each), THREADS, *arguments),
        shared=each * row,
    )


def jordan_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    W_out: Any,
    b_out: Any,
    activation: int,
    hidden: Any,
    outputs: Any,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = f(x W_in + y W_rec + b) and outputs (k, b, t, o) with y' = h' W_out + b_out."""
    project(x, tokens, lengths, W_in, b, hidden, precision)
    launch_rows(
        *("forward", hidden, outputs.shape[3], W_rec, W_out, precision),
        *((hidden, lengths, state), (b_out,), (activation, hidden, outputs)),
    )


def jordan_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    outputs: Any,
    W_in: Any,
    W_rec: Any,
    W_out: Any,
    activation: int,
    d_hidden: Any,
    d_outputs: Any,
    d_last: Any,
    d_z: Any,
    d_y: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    d_W_out: Any,
    d_b_out: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `jordan_forward`: see the reference.  d_z may be d_hidden, d_y d_outputs."""
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    launch_rows(
        *("backward", hidden, outputs.shape[3], W_rec, W_out, precision),
        *((lengths, hidden), (d_hidden, d_outputs, d_last), (activation, d_z, d_y, d_state, d_total)),
    )
    norms(d_total, flow)
    input_gradients(x, tokens, lengths, W_in, d_z, d_x, d_W_in, precision)
    recurrent_products(state, outputs, d_z, d_W_rec, precision)
    sums(d_z, d_b)
    products(hidden, d_y, d_W_out, precision)
    sums(d_y, d_b_out)
