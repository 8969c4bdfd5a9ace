"""Leaky units in plain NumPy."""

from __future__ import annotations

import numpy as np

from .time_loop import (
    activate,
    back,
    before,
    input_gradients,
    keep,
    product,
    products,
    project,
    slope,
    squares,
    sums,
    valid,
)

__all__ = ["leaky_backward", "leaky_forward"]


def leaky_step(
    z: np.ndarray, state: np.ndarray, weights: tuple[np.ndarray, ...], activation: int, precision: str
) -> tuple[np.ndarray, ...]:
    """The state h' and v after h, from z (k, b, h) = x W_in + b + noise and weights (W_rec, leak)."""
    W_rec, *own = weights
    return leaky_units(z, product(state, W_rec, precision), state, own, activation)


def leaky_units(
    z: np.ndarray, p: np.ndarray, state: np.ndarray, own: list[np.ndarray], activation: int
) -> tuple[np.ndarray, np.ndarray]:
    """The state h' and v after h, from z = x W_in + b + noise, p = h W_rec (k, b, h) and own = [leak]."""
    v, share = activate(z + p, activation), own[0][:, None]
    return (1 - share) * state + share * v, v


def leaky_back(
    d_after: np.ndarray,
    kept: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    own: list[np.ndarray],
    activation: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of z and p, of h but by way of p, and of the leak in each row, from that of h'."""
    share = own[0][:, None]
    return d_after * share * slope(kept, activation), d_after * (1 - share), d_after * (kept - before)


def leaky_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    leak: np.ndarray,
    activation: int,
    noise: np.ndarray,
    hidden: np.ndarray,
    values: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = (1 - leak) h + leak v and values with v = f(x W_in + h W_rec + b + noise).

    leak (k, h).  noise (k, b, t, h), or (k, b, t, 0) for none; what it holds in the padding is ignored.
    values (k, b, t, h) is for `leaky_backward`, its padding not set; with (k, b, 1, h) it holds the last step
    only.
    """
    on = valid(lengths, hidden.shape[2])
    z_in, h = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    if noise.shape[3]:
        z_in += np.where(on, noise, 0)
    for step in range(hidden.shape[2]):
        h, v = leaky_step(z_in[:, :, step], h, (W_rec, leak), activation, precision)
        hidden[:, :, step] = h = np.where(on[:, step], h, 0)
        keep(values, step, on, v)


def leaky_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    values: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    leak: np.ndarray,
    activation: int,
    d_hidden: np.ndarray,
    d_last: np.ndarray,
    d_z: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    d_leak: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `leaky_forward`; d_z (k, b, t, h), of the argument of f, may be d_hidden itself."""
    on = valid(lengths, hidden.shape[2])
    d_above, v, start = np.where(on, d_hidden, 0), np.where(on, values, 0), before(state, hidden)
    d_state[:], d_leak[:] = d_last, 0
    for step in reversed(range(hidden.shape[2])):
        d_h = np.where(on[:, step], d_above[:, :, step] + d_state, 0)
        units = v[:, :, step], start[:, :, step], hidden[:, :, step]
        d_z[:, :, step], d_before, d_own = leaky_back(d_h, *units, [leak], activation)
        d_before += back(d_z[:, :, step], W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        d_leak += d_own.sum(axis=1)
        if flow.shape[2]:
            flow[:, :, step] = squares(d_h)
    input_gradients(x, tokens, on, W_in, d_z, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(start, d_z, precision), sums(d_z)
