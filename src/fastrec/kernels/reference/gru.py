"""Gated recurrent units in plain NumPy."""

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

__all__ = ["gru_backward", "gru_forward"]


def gru_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state h' and [r | z | n | q] after h, from z (k, b, 3h) = x W_in + b and weights (W_rec, b_n)."""
    W_rec, *own = weights
    return gru_units(z, product(state, W_rec, precision), state, own, activation)


def gru_units(
    z: np.ndarray, p: np.ndarray, state: np.ndarray, own: list[np.ndarray], activation: int
) -> tuple[np.ndarray, np.ndarray]:
    """The state h' and [r | z | n | q] from h, z = x W_in + b, p = h W_rec (k, b, 3h) and own = [b_n]."""
    (b_n,) = own
    in_r, in_z, in_n = np.split(z, 3, axis=2)
    rec_r, rec_z, rec_n = np.split(p, 3, axis=2)
    r, u, q = logistic(in_r + rec_r), logistic(in_z + rec_z), rec_n + b_n[:, None]
    n = np.tanh(in_n + r * q)
    return (1 - u) * n + u * state, np.concatenate([r, u, n, q], axis=2)


def gru_back(
    d_after: np.ndarray,
    kept: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    own: list[np.ndarray],
    activation: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the arguments of r, z and n, of q, of h but by way of p, and of b_n, from that of h'."""
    r, z, n, q = np.split(kept, 4, axis=2)
    d_n = d_after * (1 - z) * (1 - n * n)
    d_z = d_after * (before - n) * z * (1 - z)
    d_r, d_q = d_n * q * r * (1 - r), d_n * r
    return np.concatenate([d_r, d_z, d_n, d_q], axis=2), d_after * z, d_q


def gru_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    b_n: np.ndarray,
    hidden: np.ndarray,
    gates: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """PyTorch's GRU, W_in (k, i, 3h), W_rec (k, h, 3h), b (k, 3h) in the order r, z, n; b_n (k, h).

    r and z are logistic(x W_in + h W_rec + b), n = tanh(x W_in + b + r q) with q = h W_rec + b_n, and
    h' = (1 - z) n + z h.  gates (k, b, t, 4h) = [r | z | n | q] is for `gru_backward`, its padding not set;
    with (k, b, 1, 4h) it holds the last step only.
    """
    on = valid(lengths, hidden.shape[2])
    z_in, h = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    for step in range(hidden.shape[2]):
        h, kept = gru_step(z_in[:, :, step], h, (W_rec, b_n), TANH, precision)
        hidden[:, :, step] = np.where(on[:, step], h, 0)
        keep(gates, step, on, kept)


def gru_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
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
    d_b_n: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `gru_forward`.

    d_gates (k, b, t, 4h), of the arguments of r, z and n and of q, may be gates itself.
    """
    on = valid(lengths, hidden.shape[2])
    d_above, kept, start = np.where(on, d_hidden, 0), np.where(on, gates, 0), before(state, hidden)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_h = d_above[:, :, step] + d_state
        d, d_before, _ = gru_back(d_h, kept[:, :, step], start[:, :, step], hidden[:, :, step], [], TANH)
        d_gates[:, :, step] = np.where(on[:, step], d, 0)
        d_r, d_z, _, d_q = np.split(d, 4, axis=2)
        d_before += back(np.concatenate([d_r, d_z, d_q], axis=2), W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    d_r, d_z, d_n, d_q = np.split(d_gates, 4, axis=3)
    d_in = np.concatenate([d_r, d_z, d_n], axis=3)
    input_gradients(x, tokens, on, W_in, d_in, d_x, d_W_in, precision)
    d_W_rec[:] = products(start, np.concatenate([d_r, d_z, d_q], axis=3), precision)
    d_b[:], d_b_n[:] = sums(d_in), sums(d_q)
