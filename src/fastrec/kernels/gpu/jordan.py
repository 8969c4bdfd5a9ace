"""Jordan networks on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .linked import launch_linked
from .recurrent import norms
from .time_loop import input_gradients, products, project, recurrent_products, sums

__all__ = ["jordan_backward", "jordan_forward"]

CELL = "Elman"  # the struct in cuda/cells.cuh with what its units do


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
    launch_linked(
        *("jordan", "forward", hidden, (W_rec, W_out), 0, precision, (hidden, lengths, state)),
        *((b_out,), (hidden.shape[3], outputs.shape[3]), (activation, hidden, outputs)),
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
    h, o = hidden.shape[3], outputs.shape[3]
    launch_linked(
        *("jordan", "backward", hidden, (W_rec, W_out), o, precision, (lengths, hidden)),
        *((d_hidden, d_outputs, d_last), (h, o), (activation, d_z, d_y, d_state, d_total)),
    )
    norms(d_total, flow)
    input_gradients(x, tokens, lengths, W_in, d_z, d_x, d_W_in, precision)
    recurrent_products(state, outputs, d_z, d_W_rec, precision)
    sums(d_z, d_b)
    products(hidden, d_y, d_W_out, precision)
    sums(d_y, d_b_out)
