"""What the kernels of all cells share: activations, rounded products, sums over the steps of all rows."""

from __future__ import annotations

import numpy as np

from .. import LOGISTIC, RELU, TANH
from ..precision import rounded


def valid(lengths: np.ndarray, t: int) -> np.ndarray:
    """(b, t, 1) bool: which steps are not padding."""
    return np.less(np.arange(t), lengths[:, None])[..., None]


def logistic(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def activate(z: np.ndarray, activation: int) -> np.ndarray:
    """f(z)."""
    if activation == TANH:
        return np.tanh(z)
    if activation == RELU:
        return np.maximum(z, 0)
    return logistic(z) if activation == LOGISTIC else np.logaddexp(z, 0)


def slope(h: np.ndarray, activation: int) -> np.ndarray:
    """f'(z) from h = f(z); 0 for relu at 0."""
    if activation == TANH:
        return 1 - h * h
    if activation == RELU:
        return (h > 0).astype(h.dtype)
    return h * (1 - h) if activation == LOGISTIC else -np.expm1(-h)


def product(a: np.ndarray, b: np.ndarray, precision: str) -> np.ndarray:
    """a b, of rounded factors."""
    return rounded(a, precision) @ rounded(b, precision)


def project(
    x: np.ndarray, tokens: np.ndarray, on: np.ndarray, W_in: np.ndarray, precision: str = "float32"
) -> np.ndarray:
    """x W_in (k, b, t, g h), or the rows of W_in that tokens name."""
    if x.shape[3]:
        return product(np.where(on, x, 0), W_in[:, None], precision)
    return W_in[np.arange(len(W_in))[:, None, None], np.where(on[..., 0], tokens, 0)]


def before(state: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """What each step starts from (k, b, t, h): the state, then hidden (k, b, t, h) but the last."""
    return np.concatenate([state[:, :, None], hidden], axis=2)[:, :, : hidden.shape[2]]


def products(a: np.ndarray, d: np.ndarray, precision: str = "float32") -> np.ndarray:
    """Gradient (k, i, h) of W in a W, a (m, b, t, i), from that of the product, d (k, b, t, h)."""
    return product(a.swapaxes(2, 3), d, precision).sum(axis=1)


def sums(d: np.ndarray) -> np.ndarray:
    """Gradient (k, h) of a bias from d (k, b, t, h)."""
    return d.sum(axis=(1, 2))


def back(d: np.ndarray, W: np.ndarray, precision: str) -> np.ndarray:
    """Gradient (k, b, i) of a in a W, W (k, i, h), from that of the product, d (k, b, h)."""
    return product(d, W.swapaxes(1, 2), precision)


def squares(d_h: np.ndarray) -> np.ndarray:
    """Squared norms along the last axis, float64."""
    return (d_h.astype(np.float64) ** 2).sum(axis=-1)


def keep(array: np.ndarray, step: int, on: np.ndarray, values: np.ndarray) -> None:
    """Set a step of array (k, b, t, h), or the only one it has, of the rows that are not over."""
    only = array[:, :, min(step, array.shape[2] - 1)]
    only[:] = np.where(on[:, step], values, only)


def input_gradients(
    x: np.ndarray,
    tokens: np.ndarray,
    on: np.ndarray,
    W_in: np.ndarray,
    d: np.ndarray,
    d_x: np.ndarray,
    d_W_in: np.ndarray,
    precision: str,
) -> None:
    """Fill d_x and d_W_in from d (k, b, t, g h), the gradient of x W_in, which is 0 in the padding."""
    if d_x.shape[3]:
        d_x[:] = product(d, W_in.swapaxes(1, 2)[:, None], precision)
    if x.shape[3]:
        d_W_in[:] = products(np.where(on, x, 0), d, precision)
    else:
        d_W_in[:] = 0
        rows = np.where(on[..., 0], tokens, 0)
        np.add.at(d_W_in, (np.arange(len(W_in))[:, None, None], rows), d)
