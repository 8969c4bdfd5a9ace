"""Elman networks in plain NumPy."""

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

__all__ = ["elman_backward", "elman_forward"]


def elman_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state h' after h, from z (k, b, h) = x W_in + b and weights (W_rec,)."""
    (W_rec,) = weights
    return elman_units(z, product(state, W_rec, precision), state, [], activation)[:1]


def elman_units(
    z: np.ndarray, p: np.ndarray, state: np.ndarray, own: list[np.ndarray], activation: int
) -> tuple[np.ndarray, np.ndarray]:
    """The state h' after h, twice, from z = x W_in + b and p = h W_rec (k, b, h); own = []."""
    h = activate(z + p, activation)
    return h, h


def elman_back(
    d_after: np.ndarray,
    kept: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    own: list[np.ndarray],
    activation: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of z and p, of h but by way of p, and of no parameter, from that of h'."""
    d = d_after * slope(kept, activation)
    return d, np.zeros_like(d), d[..., :0]


def elman_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    activation: int,
    hidden: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = f(x W_in + h W_rec + b)."""
    on = valid(lengths, hidden.shape[2])
    z_in, h = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    for step in range(hidden.shape[2]):
        (h,) = elman_step(z_in[:, :, step], h, (W_rec,), activation, precision)
        hidden[:, :, step] = h = np.where(on[:, step], h, 0)


def elman_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    activation: int,
    d_hidden: np.ndarray,
    d_last: np.ndarray,
    d_z: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `elman_forward`; d_z (k, b, t, h), of the argument of f, may be d_hidden itself."""
    on = valid(lengths, hidden.shape[2])
    d_above = np.where(on, d_hidden, 0)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_h, h = d_above[:, :, step] + d_state, hidden[:, :, step]
        d, *_ = elman_back(d_h, h, h, h, [], activation)
        d_z[:, :, step] = np.where(on[:, step], d, 0)
        d_state[:] = np.where(on[:, step], back(d_z[:, :, step], W_rec, precision), d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_z, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(before(state, hidden), d_z, precision), sums(d_z)
