"""Jordan networks in plain NumPy."""

from __future__ import annotations

import numpy as np

from .time_loop import (
    activate,
    back,
    before,
    input_gradients,
    product,
    products,
    project,
    slope,
    squares,
    sums,
    valid,
)

__all__ = ["jordan_backward", "jordan_forward"]


def jordan_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state y' and h' after y, from z (k, b, h) = x W_in + b and weights (W_rec, W_out, b_out)."""
    W_rec, W_out, b_out = weights
    h = activate(z + product(state, W_rec, precision), activation)
    return product(h, W_out, precision) + b_out[:, None], h


def jordan_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    hidden: np.ndarray,
    outputs: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = f(x W_in + y W_rec + b) and outputs (k, b, t, o) with y' = h' W_out + b_out.

    state (k, b, o) is y before the first step; W_rec (k, o, h), W_out (k, h, o), b_out (k, o).
    """
    on = valid(lengths, hidden.shape[2])
    z_in, y = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    for step in range(hidden.shape[2]):
        y, h = jordan_step(z_in[:, :, step], y, (W_rec, W_out, b_out), activation, precision)
        hidden[:, :, step] = np.where(on[:, step], h, 0)
        outputs[:, :, step] = y = np.where(on[:, step], y, 0)


def jordan_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    outputs: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    W_out: np.ndarray,
    activation: int,
    d_hidden: np.ndarray,
    d_outputs: np.ndarray,
    d_last: np.ndarray,
    d_z: np.ndarray,
    d_y: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    d_W_out: np.ndarray,
    d_b_out: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `jordan_forward`, d_hidden and d_outputs being through neither y nor the next step.

    d_z (k, b, t, h), of the argument of f, may be d_hidden itself; d_y (k, b, t, o), the total dE/dy, may be
    d_outputs.
    """
    on = valid(lengths, hidden.shape[2])
    d_above, d_above_y = np.where(on, d_hidden, 0), np.where(on, d_outputs, 0)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_y[:, :, step] = np.where(on[:, step], d_above_y[:, :, step] + d_state, 0)
        d_h = d_above[:, :, step] + back(d_y[:, :, step], W_out, precision)
        d_z[:, :, step] = np.where(on[:, step], d_h * slope(hidden[:, :, step], activation), 0)
        d_state[:] = np.where(on[:, step], back(d_z[:, :, step], W_rec, precision), d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_z, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(before(state, outputs), d_z, precision), sums(d_z)
    d_W_out[:], d_b_out[:] = products(hidden, d_y, precision), sums(d_y)
