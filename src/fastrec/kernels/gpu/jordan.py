"""Jordan networks on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .module import JORDAN_ROWS, launch, shared_limit
from .recurrent import THREADS, norms
from .sequences import float_type, input_gradients, products, project, recurrent_products, sums


def launch_rows(kernel: str, rows: Any, h: int, o: int, arguments: tuple[Any, ...]) -> None:
    """Launch a kernel of jordan.cu on rows (k, b, t, ...): a block for one row, or for four of many.

    Raises ValueError if a row does not fit the shared memory of a block.
    """
    k, b = rows.shape[:2]
    # Static shared memory of these kernels is below 1 KiB.
    limit, itemsize = shared_limit(cupy.cuda.runtime.getDevice()) - 1024, rows.itemsize
    sizes = {
        each: -(-each * o * itemsize // 16) * 16 + itemsize * each * (h + o + max(THREADS, h, o))
        for each in JORDAN_ROWS
    }
    each = JORDAN_ROWS[k * b > 256 and sizes[JORDAN_ROWS[1]] <= limit]
    if sizes[each] > limit:
        raise ValueError(f"hidden_size is {h}; one row does not fit the shared memory of a block")
    name = f"{kernel}<{float_type(rows)}, {each}>"
    launch("jordan", name, k * -(-b // each), THREADS, *arguments, shared=sizes[each])


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
) -> None:
    """Fill hidden with h' = f(x W_in + y W_rec + b) and outputs (k, b, t, o) with y' = h' W_out + b_out."""
    (_, rows, t, h), o = hidden.shape, outputs.shape[3]
    project(x, tokens, lengths, W_in, b, hidden)
    given = (hidden, lengths, state, W_rec, W_out, b_out)
    launch_rows("jordan_forward", hidden, h, o, (*given, rows, t, h, o, activation, hidden, outputs))


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
) -> None:
    """Gradients of `jordan_forward`: see the reference.  d_z may be d_hidden, d_y d_outputs."""
    (_, rows, t, h), o = hidden.shape, outputs.shape[3]
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    given = (lengths, hidden, W_rec, W_out, d_hidden, d_outputs, d_last)
    sizes = (rows, t, h, o, activation)
    launch_rows("jordan_backward", hidden, h, o, (*given, *sizes, d_z, d_y, d_state, d_total))
    norms(d_total, flow)
    input_gradients(x, tokens, lengths, W_in, d_z, d_x, d_W_in)
    recurrent_products(state, outputs, d_z, d_W_rec)
    sums(d_z, d_b)
    products(hidden, d_y, d_W_out)
    sums(d_y, d_b_out)
