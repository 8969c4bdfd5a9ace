"""Gated recurrent units that reset the state before the product, in plain NumPy."""

from __future__ import annotations

import numpy as np

from .. import TANH
from .time_loop import (
    back,
    before,
    input_gradients,
    keep,
    logistic,
    product,
    products,
    project,
    squares,
    sums,
    valid,
)

__all__ = ["gru_before_backward", "gru_before_forward"]


def gru_before_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state h', r h and [r | z | n] after h, from z (k, b, 3h) = x W_in + b and weights (W_rec,)."""
    (W_rec,) = weights
    h = state.shape[2]
    rec = product(state, W_rec[..., : 2 * h], precision)
    r, u = np.split(logistic(z[..., : 2 * h] + rec), 2, axis=2)
    reset = r * state
    n = np.tanh(z[..., 2 * h :] + product(reset, W_rec[..., 2 * h :], precision))
    return (1 - u) * n + u * state, reset, np.concatenate([r, u, n], axis=2)


def gru_before_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    hidden: np.ndarray,
    reset: np.ndarray,
    gates: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """The GRU of Cho et al. (2014), W_in (k, i, 3h), W_rec (k, h, 3h), b (k, 3h) in the order r, z, n.

    r and z are logistic(x W_in + h W_rec + b), n = tanh(x W_in + b + (r h) W_rec), h' = (1 - z) n + z h.
    reset (k, b, t, h) = r h and gates (k, b, t, 3h) = [r | z | n] are for `gru_before_backward`, their
    padding not set; with (k, b, 1, ..) they hold the last step only.
    """
    on = valid(lengths, hidden.shape[2])
    z_in, h = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    for step in range(hidden.shape[2]):
        h, scaled, kept = gru_before_step(z_in[:, :, step], h, (W_rec,), TANH, precision)
        hidden[:, :, step] = np.where(on[:, step], h, 0)
        keep(reset, step, on, scaled)
        keep(gates, step, on, kept)


def gru_before_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    reset: np.ndarray,
    gates: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    d_hidden: np.ndarray,
    d_last: np.ndarray,
    d_gates: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `gru_before_forward`.

    d_gates (k, b, t, 3h), of the arguments of r, z and n, may be gates itself.
    """
    on, h = valid(lengths, hidden.shape[2]), hidden.shape[3]
    d_above, kept, start = np.where(on, d_hidden, 0), np.where(on, gates, 0), before(state, hidden)
    W_rz, W_n = W_rec[..., : 2 * h], W_rec[..., 2 * h :]
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        r, z, n = np.split(kept[:, :, step], 3, axis=2)
        last = start[:, :, step]
        d_h = d_above[:, :, step] + d_state
        d_n = d_h * (1 - z) * (1 - n * n)
        d_reset = back(d_n, W_n, precision)
        d_rz = np.concatenate([d_reset * last * r * (1 - r), d_h * (last - n) * z * (1 - z)], axis=2)
        d_gates[:, :, step] = np.where(on[:, step], np.concatenate([d_rz, d_n], axis=2), 0)
        d_before = d_h * z + d_reset * r + back(d_rz, W_rz, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_gates, d_x, d_W_in, precision)
    d_W_rec[..., : 2 * h] = products(start, d_gates[..., : 2 * h], precision)
    d_W_rec[..., 2 * h :] = products(np.where(on, reset, 0), d_gates[..., 2 * h :], precision)
    d_b[:] = sums(d_gates)
