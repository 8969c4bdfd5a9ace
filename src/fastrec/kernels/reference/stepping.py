"""Networks that take a step at a time, or go on by reading their own outputs, in plain NumPy."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import numpy as np

from ..interruption import uninterrupted
from .affine import affine_forward
from .time_loop import project

__all__ = ["pack_network", "take_steps"]


class Network(NamedTuple):
    """What `pack_network` was given, copied."""

    cell: str
    layers: tuple[tuple[np.ndarray, ...], ...]
    W_out: np.ndarray
    b_out: np.ndarray
    activation: int
    feeds_back: bool
    precision: str


def pack_network(
    cell: str,
    layers: tuple[tuple[np.ndarray, ...], ...],
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    feeds_back: bool,
    reads_tokens: bool,
    *,
    precision: str = "float32",
) -> Network:
    """Copy the parameters of k networks to where, and in the form in which, `take_steps` reads them.

    cell: name of the file with its step.  layers: of each the parameters as its forward kernel takes them,
    without W_out (k, h, o) and b_out (k, o); with o = 0 the hidden units are the outputs.  feeds_back:
    whether the outputs are the state of the next step.  reads_tokens: whether inputs are tokens.
    """
    copies = tuple(tuple(array.copy() for array in layer) for layer in layers)
    return Network(cell, copies, W_out.copy(), b_out.copy(), activation, feeds_back, precision)


def take_steps(
    network: Network,
    x: np.ndarray,
    tokens: np.ndarray,
    state: np.ndarray,
    outputs: np.ndarray,
    last: np.ndarray,
    fault: np.ndarray,
) -> None:
    """Read an input, then n - 1 times the last output: fill outputs (k, b, n, o) and last, the state then.

    network: made by `pack_network`.  x (m, b, i), beside tokens (m, 0) int64; or x (m, b, 0) and tokens
    (m, b), with n = 1.  state, last (layers, k, b, s).  fault (1,) int32 is set to 1 where an input is not
    finite or no token, or an output is not finite; outputs and last may then hold anything.
    """
    i = x.shape[2]
    last[:] = state
    if not np.isfinite(x).all() or ((tokens < 0) | (tokens >= network.layers[0][0].shape[1])).any():
        fault[0] = 1
        return
    for t in range(outputs.shape[2]):
        with uninterrupted(), np.errstate(over="ignore", invalid="ignore"):
            outputs[:, :, t], last[:] = step(x, tokens, last, *network)
        x = outputs[:, :, t, :i]
    if not np.isfinite(outputs).all():
        fault[0] = 1


def step(
    x: np.ndarray,
    tokens: np.ndarray,
    state: np.ndarray,
    cell: str,
    layers: tuple[tuple[np.ndarray, ...], ...],
    W_out: np.ndarray,
    b_out: np.ndarray,
    activation: int,
    feeds_back: bool,
    precision: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (k, b, o) after reading x (m, b, i), or tokens (m, b) if i is 0, and the state then."""
    unit_step = getattr(import_module(f".{cell}", __package__), f"{cell}_step")
    b, h, after = state.shape[2], W_out.shape[1], np.empty_like(state)
    on, read, token = np.ones((b, 1, 1), np.bool_), x[:, :, None], tokens[:, :, None]
    for layer, (W_in, W_rec, bias, *more) in enumerate(layers):
        z = project(read, token, on, W_in, precision)[:, :, 0] + bias[:, None]
        weights = (W_rec, *more, W_out, b_out) if feeds_back else (W_rec, *more)
        after[layer], *_ = unit_step(z, state[layer], weights, activation, precision)
        read = after[layer, :, :, None, :h]
    if feeds_back or not W_out.shape[2]:
        return after[-1, :, :, : W_out.shape[2] or h], after
    y = np.empty((*read.shape[:3], W_out.shape[2]), W_out.dtype)
    affine_forward(read, np.ones(b, np.int64), W_out, b_out, y, precision=precision)
    return y[:, :, 0], after
