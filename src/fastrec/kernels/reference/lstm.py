"""Long short-term memory in plain NumPy."""

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

__all__ = ["lstm_backward", "lstm_forward"]


def lstm_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state [h' | c'] and [i | f | g | o] after [h | c], from z (k, b, 4h) = x W_in + b and (W_rec,)."""
    W_rec, *own = weights
    p = product(state[..., : W_rec.shape[1]], W_rec, precision)
    return lstm_units(z, p, state, own, activation)


def lstm_units(
    z: np.ndarray, p: np.ndarray, state: np.ndarray, own: list[np.ndarray], activation: int
) -> tuple[np.ndarray, np.ndarray]:
    """The state [h' | c'] and [i | f | g | o] from [h | c], z = x W_in + b and p = h W_rec (k, b, 4h)."""
    _, c = np.split(state, 2, axis=2)
    z_i, z_f, z_g, z_o = np.split(z + p, 4, axis=2)
    i, f, g, o = logistic(z_i), logistic(z_f), np.tanh(z_g), logistic(z_o)
    c = f * c + i * g
    return np.concatenate([o * np.tanh(c), c], axis=2), np.concatenate([i, f, g, o], axis=2)


def lstm_back(
    d_after: np.ndarray,
    kept: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    own: list[np.ndarray],
    activation: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the gates' arguments and of [h | c] but by way of p, from that of [h' | c']."""
    i, f, g, o = np.split(kept, 4, axis=2)
    (d_h, d_c), tanh_c = np.split(d_after, 2, axis=2), np.tanh(np.split(after, 2, axis=2)[1])
    d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
    d_i, d_f = d_c * g * i * (1 - i), d_c * np.split(before, 2, axis=2)[1] * f * (1 - f)
    d_g, d_o = d_c * i * (1 - g * g), d_h * tanh_c * o * (1 - o)
    d = np.concatenate([d_i, d_f, d_g, d_o], axis=2)
    return d, np.concatenate([np.zeros_like(d_c), d_c * f], axis=2), d[..., :0]


def lstm_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
    gates: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """PyTorch's LSTM, W_in (k, i, 4h), W_rec (k, h, 4h), b (k, 4h) in the order i, f, g, o.

    i, f and o are logistic(x W_in + h W_rec + b), g is the tanh of that, c' = f c + i g, h' = o tanh(c').
    state (k, b, 2h) = [h | c].  cells (k, b, t, h) = c' and gates (k, b, t, 4h) = [i | f | g | o] are for
    `lstm_backward`, their padding not set; with (k, b, 1, ..) they hold the last step only.
    """
    on, width = valid(lengths, hidden.shape[2]), hidden.shape[3]
    z_in = project(x, tokens, on, W_in, precision) + b[:, None, None]
    for step in range(hidden.shape[2]):
        state, kept = lstm_step(z_in[:, :, step], state, (W_rec,), TANH, precision)
        hidden[:, :, step] = np.where(on[:, step], state[..., :width], 0)
        keep(cells, step, on, state[..., width:])
        keep(gates, step, on, kept)


def lstm_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
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
    """Gradients of `lstm_forward`; d_gates (k, b, t, 4h), before the activations, may be gates itself."""
    on, width = valid(lengths, hidden.shape[2]), hidden.shape[3]
    d_above, kept = np.where(on, d_hidden, 0), np.where(on, gates, 0)
    after = np.concatenate([hidden, np.where(on, cells, 0)], axis=3)
    start = before(state, after)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_after = d_state.copy()
        d_after[..., :width] += d_above[:, :, step]
        d, d_before, _ = lstm_back(d_after, kept[:, :, step], start[:, :, step], after[:, :, step], [], TANH)
        d_gates[:, :, step] = np.where(on[:, step], d, 0)
        d_before[..., :width] += back(d_gates[:, :, step], W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_after[..., :width]), 0)
    input_gradients(x, tokens, on, W_in, d_gates, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(start[..., :width], d_gates, precision), sums(d_gates)
