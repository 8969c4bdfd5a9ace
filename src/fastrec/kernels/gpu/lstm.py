"""LSTMs on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from . import recurrent
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["lstm_backward", "lstm_forward"]

CELL = "Lstm"  # its struct in cuda/cells.cuh


def lstm_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    hidden: Any,
    cells: Any,
    gates: Any,
    *,
    precision: str = "float32",
) -> None:
    """PyTorch's LSTM: see the reference.  cells (k, b, t, h), gates (k, b, t, 4h), or of the last step."""
    k, rows, t, h = hidden.shape
    z = gates if gates.shape[2] == t else cupy.empty((k, rows, t, 4 * h), dtype=hidden.dtype)
    project(x, tokens, lengths, W_in, b, z, precision)
    recurrent.forward(CELL, z, lengths, state, W_rec, None, 0, hidden, cells, gates, precision)


def lstm_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    cells: Any,
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
    """Gradients of `lstm_forward`; d_gates (k, b, t, 4h), before the activations, may be gates itself."""
    recurrent.backward(
        *(CELL, lengths, state, hidden, cells, gates, W_rec, None, 0),
        *(d_hidden, d_last, d_gates, d_state, None, flow, precision),
    )
    input_gradients(x, tokens, lengths, W_in, d_gates, d_x, d_W_in, precision)
    recurrent_products(state[..., : hidden.shape[3]], hidden, d_gates, d_W_rec, precision)
    sums(d_gates, d_b)
