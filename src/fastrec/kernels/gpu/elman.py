"""Elman networks on the GPU."""

from __future__ import annotations

from typing import Any

from . import recurrent
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["elman_backward", "elman_forward"]

CELL = "Elman"  # its struct in cuda/cells.cuh


def elman_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    activation: int,
    hidden: Any,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = f(x W_in + h W_rec + b)."""
    project(x, tokens, lengths, W_in, b, hidden, precision)
    recurrent.forward(CELL, hidden, lengths, state, W_rec, None, activation, hidden, None, None, precision)


def elman_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    W_in: Any,
    W_rec: Any,
    activation: int,
    d_hidden: Any,
    d_last: Any,
    d_z: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `elman_forward`; d_z (k, b, t, h), of the argument of f, may be d_hidden itself."""
    recurrent.backward(
        *(CELL, lengths, state, hidden, None, None, W_rec, None, activation),
        *(d_hidden, d_last, d_z, d_state, None, flow, precision),
    )
    input_gradients(x, tokens, lengths, W_in, d_z, d_x, d_W_in, precision)
    recurrent_products(state, hidden, d_z, d_W_rec, precision)
    sums(d_z, d_b)
