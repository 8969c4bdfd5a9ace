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
    (W_rec, p), (h, c) = weights, np.split(state, 2, axis=2)
    p_i, p_f, p_o = np.split(p[:, None], 3, axis=2)
    z_i, z_f, z_g, z_o = np.split(z + product(h, W_rec, precision), 4, axis=2)
    i, f, g = logistic(z_i + p_i * c), logistic(z_f + p_f * c), np.tanh(z_g)
    c = f * c + i * g
    o = logistic(z_o + p_o * c)
    return np.concatenate([o * np.tanh(c), c], axis=2), np.concatenate([i, f, g, o], axis=2)


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
    d_above, kept, c = np.where(on, d_hidden, 0), np.where(on, gates, 0), np.where(on, cells, 0)
    h_start, c_start = before(state[..., :width], hidden), before(state[..., width:], c)
    p_i, p_f, p_o = np.split(p[:, None], 3, axis=2)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        i, f, g, o = np.split(kept[:, :, step], 4, axis=2)
        tanh_c = np.tanh(c[:, :, step])
        d_h = d_above[:, :, step] + d_state[..., :width]
        d_o = d_h * tanh_c * o * (1 - o)
        d_c = d_state[..., width:] + d_h * o * (1 - tanh_c * tanh_c) + d_o * p_o
        d_i, d_f = d_c * g * i * (1 - i), d_c * c_start[:, :, step] * f * (1 - f)
        d_g = d_c * i * (1 - g * g)
        d_gates[:, :, step] = np.where(on[:, step], np.concatenate([d_i, d_f, d_g, d_o], axis=2), 0)
        d_before = back(d_gates[:, :, step], W_rec, precision), d_c * f + d_i * p_i + d_f * p_f
        d_state[:] = np.where(on[:, step], np.concatenate(d_before, axis=2), d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_gates, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(h_start, d_gates, precision), sums(d_gates)
    d_i, d_f, _, d_o = np.split(d_gates, 4, axis=3)
    d_p[:] = sums(np.concatenate([d_i * c_start, d_f * c_start, d_o * c], axis=3))
