"""The affine map of an output layer in plain NumPy."""

from __future__ import annotations

import numpy as np

from .time_loop import product, products, sums, valid


def affine_forward(
    a: np.ndarray,
    lengths: np.ndarray,
    W: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Fill out (k, b, t, o) with a W + b from a (k, b, t, h), W (k, h, o), b (k, o)."""
    on = valid(lengths, a.shape[2])
    out[:] = np.where(on, product(a, W[:, None], precision) + b[:, None, None], 0)


def affine_backward(
    a: np.ndarray,
    lengths: np.ndarray,
    W: np.ndarray,
    d_out: np.ndarray,
    d_a: np.ndarray,
    d_W: np.ndarray,
    d_b: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `affine_forward` from d_out (k, b, t, o)."""
    on = valid(lengths, a.shape[2])
    d = np.where(on, d_out, 0)
    d_a[:] = product(d, W.swapaxes(1, 2)[:, None], precision)
    d_W[:], d_b[:] = products(a, d, precision), sums(d)
