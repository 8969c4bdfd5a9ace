"""GRUs on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from . import recurrent
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["gru_backward", "gru_forward"]

CELL = "Gru"  # its struct in cuda/cells.cuh


def gru_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    b_n: Any,
    hidden: Any,
    gates: Any,
    *,
    precision: str = "float32",
) -> None:
    """PyTorch's GRU: see the reference.  gates (k, b, t, 4h) = [r | z | n | q], or of the last step."""
    k, rows, t, h = hidden.shape
    z = cupy.empty((k, rows, t, 3 * h), dtype=hidden.dtype)
    project(x, tokens, lengths, W_in, b, z, precision)
    recurrent.forward(CELL, z, lengths, state, W_rec, b_n, 0, hidden, None, gates, precision)


def gru_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
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
    d_b_n: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `gru_forward`; d_gates (k, b, t, 4h), of the arguments of r, z, n and q, may be gates."""
    recurrent.backward(
        *(CELL, lengths, state, hidden, None, gates, W_rec, None, 0),
        *(d_hidden, d_last, d_gates, d_state, None, flow, precision),
    )
    h = hidden.shape[3]
    input_gradients(x, tokens, lengths, W_in, d_gates, d_x, d_W_in, precision)
    recurrent_products(state, hidden, d_gates[..., : 2 * h], d_W_rec[..., : 2 * h], precision)
    recurrent_products(state, hidden, d_gates[..., 3 * h :], d_W_rec[..., 2 * h :], precision)
    total = cupy.empty((len(d_b), 4 * h), dtype=d_b.dtype)
    sums(d_gates, total)
    d_b[...], d_b_n[...] = total[:, : 3 * h], total[:, 3 * h :]
