"""Recurrent networks in plain NumPy, the specification of every other backend.

Shapes of all kernels (the letters are told in `fastrec.kernels`): x (m, b, t, i) and tokens (1, 0, 0), or
x (m, b, t, 0) and tokens (m, b, t) int32, numbers of the rows of W_in; lengths (b,) int64 in 0..t; state
(k, b, s) before the first step; W_in (k, i, g h), W_rec (k, h, g h), b (k, g h); hidden (k, b, t, h).
The gradient of an array has its name with a d_ and its shape.  In backward kernels d_hidden (k, b, t, h) is
dE/dh through everything but the next step, d_last (k, b, s) is on the state after the last step (the initial
one in a row of length 0), d_x may be (k, b, t, 0): not wanted, and flow (k, b, t) float64 gets the squared
norm of the total dE/dh, or is (k, b, 0): not wanted.

precision says how products of matrices round the elements of both factors first: "float32" not at all,
"bf16" to the nearest number of 8 significant bits, ties to even, "tf32" to the nearest of 11, ties away from
0.  They are x W_in, h W_rec, y W_rec, h W_out and a W, and in backward kernels all products of a d_ with a
weight or an activation.  Not rounded: rows of W_in that tokens pick and their gradients, gradients of biases,
what is done element by element, sums and results.  "tf32" and "bf16" take float32; the cpu lacks them.

Steps at or past a row's length are padding: what x, tokens, targets and gradients hold there is ignored,
and all outputs are 0 there but where it is said that they are not set.
"""

from __future__ import annotations

import numpy as np

from .. import DROPOUT, RELU, TANH
from ..precision import rounded
from .random import draws

__all__ = [
    "adam",
    "affine_backward",
    "affine_forward",
    "all_finite",
    "cross_entropy",
    "dropout",
    "elman_backward",
    "elman_forward",
    "gru_backward",
    "gru_forward",
    "jordan_backward",
    "jordan_forward",
    "lstm_backward",
    "lstm_forward",
    "sgd",
    "squared_error",
    "squared_norms",
]


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
    return np.maximum(z, 0) if activation == RELU else logistic(z)


def slope(h: np.ndarray, activation: int) -> np.ndarray:
    """f'(z) from h = f(z); 0 for relu at 0."""
    if activation == TANH:
        return 1 - h * h
    return (h > 0).astype(h.dtype) if activation == RELU else h * (1 - h)


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
        h = np.where(on[:, step], activate(z_in[:, :, step] + product(h, W_rec, precision), activation), 0)
        hidden[:, :, step] = h


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
    given = np.where(on, d_hidden, 0)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_h = given[:, :, step] + d_state
        d_z[:, :, step] = np.where(on[:, step], d_h * slope(hidden[:, :, step], activation), 0)
        d_state[:] = np.where(on[:, step], back(d_z[:, :, step], W_rec, precision), d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_z, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(before(state, hidden), d_z, precision), sums(d_z)


def jordan_forward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    b: np.ndarray,
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    hidden: np.ndarray,
    outputs: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Fill hidden with h' = f(x W_in + y W_rec + b) and outputs (k, b, t, o) with y' = h' W_out + b_out.

    state (k, b, o) is y before the first step; W_rec (k, o, h), W_out (k, h, o), b_out (k, o).
    """
    on = valid(lengths, hidden.shape[2])
    z_in, y = project(x, tokens, on, W_in, precision) + b[:, None, None], state
    for step in range(hidden.shape[2]):
        h = np.where(on[:, step], activate(z_in[:, :, step] + product(y, W_rec, precision), activation), 0)
        y = np.where(on[:, step], product(h, W_out, precision) + b_out[:, None], 0)
        hidden[:, :, step], outputs[:, :, step] = h, y


def jordan_backward(
    x: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    outputs: np.ndarray,
    W_in: np.ndarray,
    W_rec: np.ndarray,
    W_out: np.ndarray,
    activation: int,
    d_hidden: np.ndarray,
    d_outputs: np.ndarray,
    d_last: np.ndarray,
    d_z: np.ndarray,
    d_y: np.ndarray,
    d_x: np.ndarray,
    d_state: np.ndarray,
    d_W_in: np.ndarray,
    d_W_rec: np.ndarray,
    d_b: np.ndarray,
    d_W_out: np.ndarray,
    d_b_out: np.ndarray,
    flow: np.ndarray,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `jordan_forward`, d_hidden and d_outputs being through neither y nor the next step.

    d_z (k, b, t, h), of the argument of f, may be d_hidden itself; d_y (k, b, t, o), the total dE/dy, may be
    d_outputs.
    """
    on = valid(lengths, hidden.shape[2])
    given, given_y = np.where(on, d_hidden, 0), np.where(on, d_outputs, 0)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        d_y[:, :, step] = np.where(on[:, step], given_y[:, :, step] + d_state, 0)
        d_h = given[:, :, step] + back(d_y[:, :, step], W_out, precision)
        d_z[:, :, step] = np.where(on[:, step], d_h * slope(hidden[:, :, step], activation), 0)
        d_state[:] = np.where(on[:, step], back(d_z[:, :, step], W_rec, precision), d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_z, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(before(state, outputs), d_z, precision), sums(d_z)
    d_W_out[:], d_b_out[:] = products(hidden, d_y, precision), sums(d_y)


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
        in_r, in_z, in_n = np.split(z_in[:, :, step], 3, axis=2)
        rec_r, rec_z, rec_n = np.split(product(h, W_rec, precision), 3, axis=2)
        r, z, q = logistic(in_r + rec_r), logistic(in_z + rec_z), rec_n + b_n[:, None]
        n = np.tanh(in_n + r * q)
        h = (1 - z) * n + z * h
        hidden[:, :, step] = np.where(on[:, step], h, 0)
        keep(gates, step, on, np.concatenate([r, z, n, q], axis=2))


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
    given, kept, start = np.where(on, d_hidden, 0), np.where(on, gates, 0), before(state, hidden)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        r, z, n, q = np.split(kept[:, :, step], 4, axis=2)
        d_h = given[:, :, step] + d_state
        d_n = d_h * (1 - z) * (1 - n * n)
        d_z = d_h * (start[:, :, step] - n) * z * (1 - z)
        d_r, d_q = d_n * q * r * (1 - r), d_n * r
        d_gates[:, :, step] = np.where(on[:, step], np.concatenate([d_r, d_z, d_n, d_q], axis=2), 0)
        d_before = d_h * z + back(np.concatenate([d_r, d_z, d_q], axis=2), W_rec, precision)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    d_r, d_z, d_n, d_q = np.split(d_gates, 4, axis=3)
    d_in = np.concatenate([d_r, d_z, d_n], axis=3)
    input_gradients(x, tokens, on, W_in, d_in, d_x, d_W_in, precision)
    d_W_rec[:] = products(start, np.concatenate([d_r, d_z, d_q], axis=3), precision)
    d_b[:], d_b_n[:] = sums(d_in), sums(d_q)


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
    on = valid(lengths, hidden.shape[2])
    z_in = project(x, tokens, on, W_in, precision) + b[:, None, None]
    h, c = np.split(state, 2, axis=2)
    for step in range(hidden.shape[2]):
        z_i, z_f, z_g, z_o = np.split(z_in[:, :, step] + product(h, W_rec, precision), 4, axis=2)
        i, f, g, o = logistic(z_i), logistic(z_f), np.tanh(z_g), logistic(z_o)
        c = f * c + i * g
        h = o * np.tanh(c)
        hidden[:, :, step] = np.where(on[:, step], h, 0)
        keep(cells, step, on, c)
        keep(gates, step, on, np.concatenate([i, f, g, o], axis=2))


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
    given, kept, c = np.where(on, d_hidden, 0), np.where(on, gates, 0), np.where(on, cells, 0)
    h_start, c_start = before(state[..., :width], hidden), before(state[..., width:], c)
    d_state[:] = d_last
    for step in reversed(range(hidden.shape[2])):
        i, f, g, o = np.split(kept[:, :, step], 4, axis=2)
        tanh_c = np.tanh(c[:, :, step])
        d_h = given[:, :, step] + d_state[..., :width]
        d_c = d_state[..., width:] + d_h * o * (1 - tanh_c * tanh_c)
        d_i, d_f = d_c * g * i * (1 - i), d_c * c_start[:, :, step] * f * (1 - f)
        d_g, d_o = d_c * i * (1 - g * g), d_h * tanh_c * o * (1 - o)
        d_gates[:, :, step] = np.where(on[:, step], np.concatenate([d_i, d_f, d_g, d_o], axis=2), 0)
        d_before = np.concatenate([back(d_gates[:, :, step], W_rec, precision), d_c * f], axis=2)
        d_state[:] = np.where(on[:, step], d_before, d_state)
        if flow.shape[2]:
            flow[:, :, step] = np.where(on[:, step, 0], squares(d_h), 0)
    input_gradients(x, tokens, on, W_in, d_gates, d_x, d_W_in, precision)
    d_W_rec[:], d_b[:] = products(h_start, d_gates, precision), sums(d_gates)


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


def dropout(key: int, layer: int, threshold: int, values: np.ndarray) -> None:
    """Set values (k, b, t, n) to 0 where a draw of 16 bits is below threshold, 0..2^16 - 1, in place.

    The others are divided by the share that stays on average, 1 - threshold / 2^16, so that the mean does
    (Srivastava et al., JMLR 15, 1929, 2014).  Draws are those of stream DROPOUT, key, network, row t + step
    and layer: a second call with other values meets the same units.
    """
    k, b, t, n = values.shape
    scale = values.dtype.type(2**16 / (2**16 - threshold))
    for net, row, step in np.ndindex(k, b, t):
        four = draws(key, -(-n // 4), row * t + step, net, DROPOUT, layer)
        parts = four[:, None] >> np.arange(0, 64, 16, dtype=np.uint64) & np.uint64(0xFFFF)
        kept = parts.reshape(-1)[:n] >= threshold
        values[net, row, step] = np.where(kept, scale * values[net, row, step], 0)


def cross_entropy(
    outputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Fill losses (k, b) float64 with the sums of log sum exp y - y[target] over the steps in mask (b, t).

    outputs (k, b, t, o) = y, targets (m, b, t) int32.  d_outputs (k, b, t, o) gets the gradient of the sums
    times scale (k,) float64, 0 off the mask, and may be outputs itself or (k, b, t, 0): not wanted.
    """
    y = np.where(mask[..., None], outputs, 0)
    y = y - y.max(axis=3, keepdims=True)
    chosen = np.broadcast_to(np.where(mask, targets, 0), y.shape[:3])[..., None]
    e = np.exp(y)
    total = e.sum(axis=3, keepdims=True)
    step_losses = (np.log(total) - np.take_along_axis(y, chosen, axis=3))[..., 0]
    losses[:] = np.where(mask, step_losses, 0).sum(axis=2, dtype=np.float64)
    if d_outputs.shape[3]:
        d = e / total - (np.arange(y.shape[3]) == chosen)
        d_outputs[:] = np.where(mask[..., None], scale[:, None, None, None].astype(y.dtype) * d, 0)


def squared_error(
    outputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    scale: np.ndarray,
    losses: np.ndarray,
    d_outputs: np.ndarray,
) -> None:
    """Half the sum of (y - target)^2, targets (m, b, t, o); else as in `cross_entropy`."""
    on = mask[..., None]
    d = np.where(on, outputs, 0) - np.where(on, targets, 0)
    losses[:] = squares(d).sum(axis=2) / 2
    if d_outputs.shape[3]:
        d_outputs[:] = scale[:, None, None, None].astype(d.dtype) * d


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
