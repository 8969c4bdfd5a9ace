"""Leaky units on the GPU."""

from __future__ import annotations

from typing import Any

from . import recurrent
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["leaky_backward", "leaky_forward"]

CELL = "Leaky"  # its struct in cuda/cells.cuh


def leaky_forward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    leak: Any,
    activation: int,
    noise: Any,
    hidden: Any,
    values: Any,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = (1 - leak) h + leak v, values with v = f(x W_in + h W_rec + b + noise)."""
    project(x, tokens, lengths, W_in, b, hidden, precision)
    if noise.shape[3]:
        hidden += noise
    recurrent.forward(CELL, hidden, lengths, state, W_rec, leak, activation, hidden, None, values, precision)


def leaky_backward(
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    values: Any,
    W_in: Any,
    W_rec: Any,
    leak: Any,
    activation: int,
    d_hidden: Any,
    d_last: Any,
    d_z: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    d_leak: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `leaky_forward`; d_z (k, b, t, h), of the argument of f, may be d_hidden itself."""
    recurrent.backward(
        *(CELL, lengths, state, hidden, None, values, W_rec, leak, activation),
        *(d_hidden, d_last, d_z, d_state, d_leak, flow, precision),
    )
    input_gradients(x, tokens, lengths, W_in, d_z, d_x, d_W_in, precision)
    recurrent_products(state, hidden, d_z, d_W_rec, precision)
    sums(d_z, d_b)
