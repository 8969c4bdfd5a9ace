"""LSTMs with peepholes on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from . import recurrent
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["lstm_peepholes_backward", "lstm_peepholes_forward"]

CELL = "LstmPeepholes"  # its struct in cuda/cells.cuh


def lstm_peepholes_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    p: Any,
    hidden: Any,
    cells: Any,
    gates: Any,
    *,
    precision: str = "float32",
) -> None:
    """`lstm_forward` with p (k, 3h): see the reference."""
    k, rows, t, h = hidden.shape
    z = gates if gates.shape[2] == t else cupy.empty((k, rows, t, 4 * h), dtype=hidden.dtype)
    project(x, tokens, lengths, W_in, b, z, precision)
    recurrent.forward(CELL, z, lengths, state, W_rec, p, 0, hidden, cells, gates, precision)


def lstm_peepholes_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    cells: Any,
    gates: Any,
    W_in: Any,
    W_rec: Any,
    p: Any,
    d_hidden: Any,
    d_last: Any,
    d_gates: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    d_p: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `lstm_peepholes_forward`; d_gates (k, b, t, 4h) may be gates itself."""
    recurrent.backward(
        *(CELL, lengths, state, hidden, cells, gates, W_rec, p, 0),
        *(d_hidden, d_last, d_gates, d_state, d_p, flow, precision),
    )
    input_gradients(x, tokens, lengths, W_in, d_gates, d_x, d_W_in, precision)
    recurrent_products(state[..., : hidden.shape[3]], hidden, d_gates, d_W_rec, precision)
    sums(d_gates, d_b)
