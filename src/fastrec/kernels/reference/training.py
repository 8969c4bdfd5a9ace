"""Losses, dropout, noise and optimizers in plain NumPy."""

from __future__ import annotations

import numpy as np

from .. import DROPOUT, NOISE
from .random import draws
from .time_loop import squares


def short_draws(key: int, count: int, row: int, network: int, stream: int, step: int) -> np.ndarray:
    """The first `count` draws of 16 bits of one stream, four of each of 64 bits, the low ones first."""
    four = draws(key, -(-count // 4), row, network, stream, step)
    parts = four[:, None] >> np.arange(0, 64, 16, dtype=np.uint64) & np.uint64(0xFFFF)
    return parts.reshape(-1)[:count]


def dropout(key: int, layer: int, threshold: int, values: np.ndarray) -> None:
    """Set values (k, b, t, n) to 0 where a draw of 16 bits is below threshold, 0..2^16 - 1, in place.

    The others are divided by the share that stays on average, 1 - threshold / 2^16, so that the mean does
    (Srivastava et al., JMLR 15, 1929, 2014).  Draws are those of stream DROPOUT, key, network, row t + step
    and layer: a second call with other values meets the same units.
    """
    k, b, t, n = values.shape
    scale = values.dtype.type(2**16 / (2**16 - threshold))
    for net, row, step in np.ndindex(k, b, t):
        kept = short_draws(key, n, row * t + step, net, DROPOUT, layer) >= threshold
        values[net, row, step] = np.where(kept, scale * values[net, row, step], 0)


def normal_noise(key: int, layer: int, table: np.ndarray, deviation: float, values: np.ndarray) -> None:
    """Fill values (k, b, t, n) with normal numbers of mean 0 and that standard deviation.

    Each is deviation, cast to the dtype, times the element of table (2^16,), quantiles of the standard normal
    distribution, that a draw of 16 bits names.  Draws are those of stream NOISE, key, network, row t + step
    and layer.
    """
    k, b, t, n = values.shape
    scale = values.dtype.type(deviation)
    for net, row, step in np.ndindex(k, b, t):
        drawn = table[short_draws(key, n, row * t + step, net, NOISE, layer)]
        values[net, row, step] = scale * drawn


def cross_entropy(
    outputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Fill losses (k, b) float64 with the sums over t of weights (b, t) times log sum exp y - y[target].

    outputs (k, b, t, o) = y, targets (m, b, t) int32, weights float64; steps of weight 0 may hold anything.
    d_outputs (k, b, t, o) gets the gradient of the sums times scale (k,) float64, 0 where the weight is, and
    may be outputs itself or (k, b, t, 0): not wanted.
    """
    on = weights != 0
    y = np.where(on[..., None], outputs, 0)
    y = y - y.max(axis=3, keepdims=True)
    chosen = np.broadcast_to(np.where(on, targets, 0), y.shape[:3])[..., None]
    e = np.exp(y)
    total = e.sum(axis=3, keepdims=True)
    step_losses = (np.log(total) - np.take_along_axis(y, chosen, axis=3))[..., 0]
    losses[:] = np.where(on, weights * step_losses, 0).sum(axis=2)
    if d_outputs.shape[3]:
        factor = (scale[:, None, None] * weights).astype(y.dtype)[..., None]
        d = e / total - (np.arange(y.shape[3]) == chosen)
        d_outputs[:] = np.where(on[..., None], factor * d, 0)


def squared_error(
    outputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    output_weights: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Half the sum of output_weights (o,) float64 times (y - target)^2, targets (m, b, t, o).

    Else as in `cross_entropy`.
    """
    y, z = clear(outputs, weights), clear(targets, weights)
    d = y - z
    each = d.astype(np.float64) ** 2
    sum_elements(each, d, weights, output_weights, scale, losses, d_outputs)
    losses /= 2


def binary_cross_entropy(
    outputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    output_weights: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """The sum of -z log p - (1 - z) log(1 - p), p = 1 / (1 + exp(-y)), targets z; as in `squared_error`."""
    y, z = clear(outputs, weights), clear(targets, weights)
    e = np.exp(-np.abs(y))
    exact = y.astype(np.float64)
    each = np.maximum(exact, 0) - exact * z + np.log1p(e, dtype=np.float64)
    d = np.where(y >= 0, 1, e) / (1 + e) - z
    sum_elements(each, d, weights, output_weights, scale, losses, d_outputs)


def clear(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values (m, b, t, o), 0 at steps of weight 0."""
    return np.where(weights[..., None] != 0, values, 0)


def sum_elements(
    each: np.ndarray,
    d: np.ndarray,
    weights: np.ndarray,
    output_weights: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Weighted sums of the losses of single outputs (k, b, t, o) and their derivatives d times scale."""
    both = weights[..., None] * output_weights
    losses[:] = (both * each).sum(axis=3).sum(axis=2)
    if d_outputs.shape[3]:
        d_outputs[:] = (scale[:, None, None, None] * both).astype(d.dtype) * d


def squared_norms(gradient: np.ndarray, norms: np.ndarray) -> None:
    """Add the squared norms of the rows of gradient (k, n) to norms (k,) float64."""
    norms += squares(gradient)


def sgd(
    parameter: np.ndarray,
    gradient: np.ndarray,
    velocity: np.ndarray,
    scale: np.ndarray,
    rate: np.ndarray,
    momentum: float,
    nesterov: bool,
) -> None:
    """PyTorch's rule, parameter and velocity (k, n) in place: v = momentum v + g, p -= rate v.

    g is gradient (k, n) times scale (k,) float64; rate (k,) float64.  Nesterov: p -= rate (g + momentum v).
    Scalars are cast to the dtype of the parameter, in which all is reckoned.
    """
    dtype = parameter.dtype
    g = scale[:, None].astype(dtype) * gradient
    velocity[:] = dtype.type(momentum) * velocity + g
    step = g + dtype.type(momentum) * velocity if nesterov else velocity
    parameter -= rate[:, None].astype(dtype) * step


def adjust_gradient(
    parameter: np.ndarray,
    gradient: np.ndarray,
    scale: np.ndarray,
    limit: float,
    decay: float,
    out: np.ndarray,
) -> None:
    """Fill out (k, n) with gradient times scale (k,), no further from 0 than limit, plus decay parameter.

    Scalars are cast as in `sgd`.
    """
    dtype = parameter.dtype
    g = scale[:, None].astype(dtype) * gradient
    out[:] = np.clip(g, dtype.type(-limit), dtype.type(limit)) + dtype.type(decay) * parameter


def rmsprop(
    parameter: np.ndarray,
    gradient: np.ndarray,
    square: np.ndarray,
    velocity: np.ndarray,
    scale: np.ndarray,
    rate: np.ndarray,
    alpha: float,
    epsilon: float,
    momentum: float,
) -> None:
    """RMSprop (Tieleman & Hinton 2012) as in PyTorch, parameter, square and velocity (k, n) in place.

    square = alpha square + (1 - alpha) g^2, v = momentum v + g / (sqrt(square) + epsilon), p -= rate v.
    As in `sgd`, with 1 - alpha reckoned in float64.
    """
    dtype = parameter.dtype
    g = scale[:, None].astype(dtype) * gradient
    square[:] = dtype.type(alpha) * square + dtype.type(1 - alpha) * g * g
    velocity[:] = dtype.type(momentum) * velocity + g / (np.sqrt(square) + dtype.type(epsilon))
    parameter -= rate[:, None].astype(dtype) * velocity


def adam(
    parameter: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    scale: np.ndarray,
    rate: np.ndarray,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015), parameter, mean and square (k, n) in place, step = 1, 2, ...

    decay is decoupled (Loshchilov & Hutter 2019): p -= rate decay p.  As in `sgd`, but what is made of
    scalars only (1 - beta, the bias corrections, rate decay) is reckoned in float64 and then cast.
    """
    dtype = parameter.dtype
    g = scale[:, None].astype(dtype) * gradient
    mean[:] = dtype.type(beta1) * mean + dtype.type(1 - beta1) * g
    square[:] = dtype.type(beta2) * square + dtype.type(1 - beta2) * g * g
    unbiased = mean / dtype.type(1 - beta1**step)
    root = np.sqrt(square / dtype.type(1 - beta2**step)) + dtype.type(epsilon)
    parameter -= (decay * rate)[:, None].astype(dtype) * parameter
    parameter -= rate[:, None].astype(dtype) * unbiased / root


def all_finite(values: np.ndarray) -> bool:
    """Whether values (n,) hold neither NaN nor infinity."""
    return bool(np.isfinite(values).all())
