"""GRUs that reset the state before the product, on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .linked import launch_linked
from .recurrent import norms
from .time_loop import input_gradients, products, project, recurrent_products, sums, without_padding

__all__ = ["gru_before_backward", "gru_before_forward"]


CELL = "GruBefore"  # its struct in cuda/cells.cuh


def split_weights(W_rec: Any) -> tuple[Any, Any]:
    """The weights of r and z, and those of n."""
    ends = (slice(2 * W_rec.shape[1]), slice(2 * W_rec.shape[1], None))
    r_and_z, n = (cupy.ascontiguousarray(W_rec[..., part]) for part in ends)
    return r_and_z, n


def gru_before_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    hidden: Any,
    reset: Any,
    gates: Any,
    *,
    precision: str = "float32",
) -> None:
    """The GRU of Cho et al.: see the reference.  reset and gates hold all steps, or the last."""
    k, rows, t, h = hidden.shape
    z = gates if gates.shape[2] == t else cupy.empty((k, rows, t, 3 * h), dtype=hidden.dtype)
    project(x, tokens, lengths, W_in, b, z, precision)
    launch_linked(
        *("gru_before", "forward", hidden, split_weights(W_rec), 2 * h, precision, (z, lengths, state)),
        *((), (h,), (gates.shape[2], hidden, reset, gates)),
    )


def gru_before_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    reset: Any,
    gates: Any,
    W_in: Any,
    W_rec: Any,
    d_hidden: Any,
    d_last: Any,
    d_gates: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `gru_before_forward`; d_gates, of the arguments of r, z and n, may be gates."""
    h, d_total = hidden.shape[3], cupy.empty_like(hidden) if flow.shape[2] else None
    launch_linked(
        *("gru_before", "backward", hidden, split_weights(W_rec), h, precision),
        *((lengths, state, hidden, gates), (d_hidden, d_last), (h,), (d_gates, d_state, d_total)),
    )
    norms(d_total, flow)
    input_gradients(x, tokens, lengths, W_in, d_gates, d_x, d_W_in, precision)
    recurrent_products(state, hidden, d_gates[..., : 2 * h], d_W_rec[..., : 2 * h], precision)
    products(without_padding(reset, lengths), d_gates[..., 2 * h :], d_W_rec[..., 2 * h :], precision)
    sums(d_gates, d_b)
