"""Long short-term memory with peepholes in plain NumPy."""

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

__all__ = ["lstm_peepholes_backward", "lstm_peepholes_forward"]


def lstm_peepholes_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state [h' | c'] and [i | f | g | o] after [h | c], from z = x W_in + b and weights (W_rec, p)."""
    W_rec, *own = weights
    p = product(state[..., : W_rec.shape[1]], W_rec, precision)
    return lstm_peepholes_units(z, p, state, own, activation)


def lstm_peepholes_units(
    z: np.ndarray, p: np.ndarray, state: np.ndarray, own: list[np.ndarray], activation: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `lstm_units`, with own = [p] of the peepholes."""
    _, c = np.split(state, 2, axis=2)
    p_i, p_f, p_o = np.split(own[0][:, None], 3, axis=2)
    z_i, z_f, z_g, z_o = np.split(z + p, 4, axis=2)
    i, f, g = logistic(z_i + p_i * c), logistic(z_f + p_f * c), np.tanh(z_g)
    c = f * c + i * g
    o = logistic(z_o + p_o * c)
    return np.concatenate([o * np.tanh(c), c], axis=2), np.concatenate([i, f, g, o], axis=2)


def lstm_peepholes_back(
    d_after: np.ndarray,
    kept: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    own: list[np.ndarray],
    activation: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `lstm_back`, with own = [p] of the peepholes and its gradients (k, b, 3h) of each row."""
    i, f, g, o = np.split(kept, 4, axis=2)
    p_i, p_f, p_o = np.split(own[0][:, None], 3, axis=2)
    (d_h, d_c), (_, c), (_, c_before) = (np.split(s, 2, axis=2) for s in (d_after, after, before))
    tanh_c = np.tanh(c)
    d_o = d_h * tanh_c * o * (1 - o)
    d_c = d_c + d_h * o * (1 - tanh_c * tanh_c) + d_o * p_o
    d_i, d_f = d_c * g * i * (1 - i), d_c * c_before * f * (1 - f)
    d = np.concatenate([d_i, d_f, d_c * i * (1 - g * g), d_o], axis=2)
    d_before = np.concatenate([np.zeros_like(d_c), d_c * f + d_i * p_i + d_f * p_f], axis=2)
    return d, d_before, np.concatenate([d_i * c_before, d_f * c_before, d_o * c], axis=2)


def lstm_peepholes_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    p: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
    gates: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """`lstm_forward` with p (k, 3h) = [p_i | p_f | p_o], which is not a factor of matrix products.

    p_i c and p_f c are added to the arguments of i and f, and p_o c' to that of o.
    """
    on, width = valid(lengths, hidden.shape[2]), hidden.shape[3]
    z_in = project(x, tokens, on, W_in, precision) + b[:, None, None]
    for step in range(hidden.shape[2]):
        state, kept = lstm_peepholes_step(z_in[:, :, step], state, (W_rec, p), TANH, precision)
        hidden[:, :, step] = np.where(on[:, step], state[..., :width], 0)
        keep(cells, step, on, state[..., width:])
        keep(gates, step, on, kept)


def lstm_peepholes_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
    gates: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    p: np.ndarray,
    d_hidden: np.ndarray,
    d_last: np.ndarray,
    d_gates: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    d_p: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `lstm_peepholes_forward`; d_gates, before the activations, may be gates itself."""
    on, width = valid(lengths, hidden.shape[2]), hidden.shape[3]
    d_above, kept = np.where(on, d_hidden, 0), np.where(on, gates, 0)
    after = np.concatenate([hidden, np.where(on, cells, 0)], axis=3)
    start = before(state, after)
    d_state[:], d_p[:] = d_last, 0
    for step in reversed(range(hidden.shape[2])):
        d_after, units = d_state.copy(), (kept[:, :, step], start[:, :, step], after[:, :, step])
        d_after[..., :width] += d_above[:, :, step]
        d, d_before, d_own = lstm_peepholes_back(d_after, *units, [p], TANH)
        d_gates[:, :, step] = np.where(on[:, step], d, 0)
        d_p += np.where(on[:, step], d_own, 0).sum(axis=1)
        d_before[..., :width] += back(d_gates[:, :, step], W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_after[..., :width]), 0)
    input_gradients(x, tokens, on, W_in, d_gates, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(start[..., :width], d_gates, precision), sums(d_gates)
