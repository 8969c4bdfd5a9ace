"""Cells whose products are normalised, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from .time_loop import back, before, input_gradients, keep, product, products, project, squares, valid

__all__ = ["normalised_backward", "normalised_forward"]

EPSILON = 1e-5  # is added to a variance


def normalise(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a with mean 0 and variance 1 along its last axis, and what it was multiplied with for that (.., 1)."""
    a = a - a.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((a * a).mean(axis=-1, keepdims=True) + EPSILON)
    return a * scale, scale


def normalise_back(d: np.ndarray, normal: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Gradient of what `normalise` read from that of what it returned, d."""
    means = d.mean(axis=-1, keepdims=True), (d * normal).mean(axis=-1, keepdims=True)
    return scale * (d - means[0] - normal * means[1])


def normalised_forward(
    cell: str,
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    own: np.ndarray,
    g_in: np.ndarray,
    g_rec: np.ndarray,
    activation: int,
    noise: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
    kept: np.ndarray,
    scales: np.ndarray,
    inward: np.ndarray,
    recurrent: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """A cell with N(x W_in) g_in + b for x W_in + b and N(h W_rec) g_rec for h W_rec.

    N(a) = (a - mean a) / sqrt(var a + 1e-5) over all g h columns (Ba et al., arXiv:1607.06450).  g_in and
    g_rec (k, g h), but with g_in (k, 0) x W_in stays as it is.  own (k, n): the parameter of single units, if
    the cell has one.  noise (k, b, t, h) is added to the former, unless it has width 0.

    Filled are hidden and, for `normalised_backward`, cells (k, b, t, h), the c of an LSTM, else of width 0;
    kept (k, b, t, g h or more), what the step of the cell keeps; inward and recurrent (k, b, t, g h),
    N(x W_in), or x W_in, and N(h W_rec); scales (k, b, t, 2), the factors of both N.  The padding of these is
    not set, and with (k, b, 1, ..) they hold the last step only.
    """
    on, h, units = valid(lengths, hidden.shape[2]), hidden.shape[3], function_of(cell, "units")
    normal_in = project(x, tokens, on, W_in, precision)
    scale_in, z_in = np.ones_like(normal_in[..., :1]), normal_in
    if g_in.shape[1]:
        normal_in, scale_in = normalise(normal_in)
        z_in = normal_in * g_in[:, None, None]
    z_in = z_in + b[:, None, None]
    if noise.shape[3]:
        z_in += np.where(on, noise, 0)
    for step in range(hidden.shape[2]):
        normal, scale = normalise(product(state[..., :h], W_rec, precision))
        state, made = units(z_in[:, :, step], normal * g_rec[:, None], state, [own], activation)
        hidden[:, :, step] = np.where(on[:, step], state[..., :h], 0)
        keep(cells, step, on, state[..., h:])
        keep(kept, step, on, made)
        keep(scales, step, on, np.concatenate([scale_in[:, :, step], scale], axis=2))
        keep(inward, step, on, normal_in[:, :, step])
        keep(recurrent, step, on, normal)


def normalised_backward(
    cell: str,
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
    kept: np.ndarray,
    scales: np.ndarray,
    inward: np.ndarray,
    recurrent: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    own: np.ndarray,
    g_in: np.ndarray,
    g_rec: np.ndarray,
    activation: int,
    d_hidden: np.ndarray,
    d_last: np.ndarray,
    d_inward: np.ndarray,
    d_recurrent: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    d_own: np.ndarray,
    d_g_in: np.ndarray,
    d_g_rec: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `normalised_forward`.

    d_inward and d_recurrent (k, b, t, g h), of x W_in and h W_rec, may be inward and recurrent themselves.
    """
    on, h, gates = valid(lengths, hidden.shape[2]), hidden.shape[3], W_rec.shape[2]
    d_above, units_back = np.where(on, d_hidden, 0), function_of(cell, "back")
    saved = (cells, kept, scales, inward, recurrent)
    cells, kept, scales, inward, recurrent = (np.where(on, array, 0) for array in saved)
    after = np.concatenate([hidden, cells], axis=3)
    start = before(state, after)
    d_state[:] = d_last
    for total in (d_b, d_own, d_g_in, d_g_rec):
        total[:] = 0
    for step in reversed(range(hidden.shape[2])):
        d_after, units = d_state.copy(), (kept[:, :, step], start[:, :, step], after[:, :, step])
        d_after[..., :h] += d_above[:, :, step]
        d, d_before, d_each = units_back(d_after, *units, [own], activation)
        d, d_each = (np.where(on[:, step], array, 0) for array in (d, d_each))
        # What the last gate keeps of its own recurrent product, if it does, lies behind all gates.
        d_in, d_rec = (
            d[..., :gates],
            np.concatenate([d[..., : 2 * gates - d.shape[2]], d[..., gates:]], axis=2),
        )
        d_b += d_in.sum(axis=1)
        d_own += d_each.sum(axis=1)
        if g_in.shape[1]:
            d_g_in += (d_in * inward[:, :, step]).sum(axis=1)
            d_in = normalise_back(d_in * g_in[:, None], inward[:, :, step], scales[:, :, step, :1])
        d_g_rec += (d_rec * recurrent[:, :, step]).sum(axis=1)
        d_rec = normalise_back(d_rec * g_rec[:, None], recurrent[:, :, step], scales[:, :, step, 1:])
        d_inward[:, :, step], d_recurrent[:, :, step] = d_in, d_rec
        d_before[..., :h] += back(d_rec, W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_after[..., :h]), 0)
    input_gradients(x, tokens, on, W_in, d_inward, d_x, d_W_in, precision)
    d_W_rec[:] = products(start[..., :h], d_recurrent, precision)


def function_of(cell: str, name: str) -> Callable[..., tuple[np.ndarray, ...]]:
    """The function of this name of a cell, as `gru_units` of "gru"."""
    return getattr(import_module(f".{cell}", __package__), f"{cell}_{name}")
