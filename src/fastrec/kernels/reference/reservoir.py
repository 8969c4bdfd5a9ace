"""Echo states, reservoirs of fixed weights whose states a linear readout sees, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import LINEAR
from ..interruption import uninterrupted
from .time_loop import activate, valid

__all__ = ["pack_reservoir", "reservoir_outputs", "reservoir_products", "reservoir_states"]


class Reservoir(NamedTuple):
    """What `pack_reservoir` was given, copied."""

    W_in: np.ndarray
    W_fb: np.ndarray
    b: np.ndarray
    W_rec: np.ndarray
    offsets: np.ndarray
    leak: np.ndarray
    activation: int


def pack_reservoir(
    W_in: np.ndarray,
    W_fb: np.ndarray,
    b: np.ndarray,
    W_rec: np.ndarray,
    offsets: np.ndarray,
    leak: np.ndarray,
    activation: int,
) -> Reservoir:
    """Copy the weights of k reservoirs to where, and in the form in which, the other kernels read them.

    Unit j takes h_j to (1 - leak_j) h_j + leak_j f(z_j), with the sum z = x W_in + y W_fb + h W_rec + b of
    inputs x, the outputs y of the step before, and h.  W_in (k, i, h), W_fb (k, o, h) or (k, 0, h) without
    feedback, b and leak (k, h).  W_rec is (k, h, h), with offsets (k, 0) int64; or (k, c, h) with offsets
    (k, c) from 0 to h - 1: then unit j reads h_l with the weight W_rec_cj, l = (j + offset_c) mod h.
    activation: that of recurrent networks, or LINEAR.
    """
    return Reservoir(
        W_in.copy(), W_fb.copy(), b.copy(), W_rec.copy(), offsets.copy(), leak.copy(), activation
    )


def reservoir_states(
    reservoir: Reservoir,
    x: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    states: np.ndarray,
    last: np.ndarray,
) -> None:
    """Fill states (k, b, t, h), 0 after the end of a row, and last (k, b, s), the state after each row.

    x (m, b, t, i), lengths (b,) int64 in 0..t.  state (k, b, s) before the first step is h and, with
    feedback, y beside it: s = h + o.  targets (m, b, t, o) are the outputs that are fed back; without
    feedback they are not read.
    """
    states[:] = 0

    def keep(step: int, on: np.ndarray, read: np.ndarray, h: np.ndarray) -> np.ndarray:
        states[:, :, step] = np.where(on, h, 0)
        return targets[:, :, step] if reservoir.W_fb.shape[1] else h

    run(reservoir, x, lengths, state, x.shape[2], last, keep)


def reservoir_products(
    reservoir: Reservoir,
    x: np.ndarray,
    targets: np.ndarray,
    lengths: np.ndarray,
    washout: np.ndarray,
    state: np.ndarray,
    products: np.ndarray,
    last: np.ndarray,
) -> None:
    """Fill products (k, f, f) float64, f = 1 + i + h + o, with the sum of v v' of all v = [1, x, h, target].

    It is taken over the steps from washout (b,) int64 to the length of each row; targets (m, b, t, o) are fed
    back where there is feedback.  The other arguments are those of `reservoir_states`.
    """
    products[:] = 0

    def add(step: int, on: np.ndarray, read: np.ndarray, h: np.ndarray) -> np.ndarray:
        counted = on & (step >= washout)[:, None]
        one = np.ones((*h.shape[:2], 1))
        parts = [np.broadcast_to(a, (*h.shape[:2], a.shape[2])) for a in (one, read, h, targets[:, :, step])]
        v = np.where(counted, np.concatenate(parts, axis=2, dtype=np.float64), 0)
        products[:] += v.swapaxes(1, 2) @ v
        return targets[:, :, step]

    run(reservoir, x, lengths, state, x.shape[2], last, add)


def reservoir_outputs(
    reservoir: Reservoir,
    x: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    readout: np.ndarray,
    outputs: np.ndarray,
    last: np.ndarray,
) -> None:
    """Fill outputs (k, b, n, o) with [1, x, h] readout, readout (k, 1 + i + h, o), 0 after the end of a row.

    Outputs are fed back where there is feedback.  x has n steps, or fewer: after them the inputs are the last
    outputs, o = i.  lengths (b,) are in 0..n.  The other arguments are those of `reservoir_states`.
    """
    outputs[:] = 0
    i = x.shape[3]

    def answer(step: int, on: np.ndarray, read: np.ndarray, h: np.ndarray) -> np.ndarray:
        y = readout[:, :1] + read @ readout[:, 1 : 1 + i] + h @ readout[:, 1 + i :]
        outputs[:, :, step] = np.where(on, y, 0)
        return y

    run(reservoir, x, lengths, state, outputs.shape[2], last, answer)


def run(
    reservoir: Reservoir,
    x: np.ndarray,
    lengths: np.ndarray,
    state: np.ndarray,
    n: int,
    last: np.ndarray,
    take: Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Take n steps.  take(step, on, x_t, h_t) returns y, on (b, 1) are the rows that have this step."""
    W_in, W_fb, b, W_rec, offsets, leak, activation = reservoir
    last[:], size, running = state, b.shape[1], valid(lengths, n)
    h, fed, y = last[:, :, :size], last[:, :, size:], last[:, :, :0]
    for step in range(n):
        on = running[:, step]
        with uninterrupted(), np.errstate(over="ignore", invalid="ignore"):
            read = np.where(on, x[:, :, step] if step < x.shape[2] else y, 0)
            z = read @ W_in + fed @ W_fb + recurrent_sums(h, W_rec, offsets) + b[:, None]
            f = z if activation == LINEAR else activate(z, activation)
            h[:] = np.where(on, (1 - leak[:, None]) * h + leak[:, None] * f, h)
            y = take(step, on, read, h)
        if W_fb.shape[1]:
            fed[:] = np.where(on, y, fed)


def recurrent_sums(h: np.ndarray, W_rec: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """h W_rec, or the sums of the connections at the offsets."""
    if not offsets.shape[1]:
        return h @ W_rec
    size, sums = h.shape[2], np.zeros_like(h)
    for c in range(offsets.shape[1]):
        read = (np.arange(size) + offsets[:, c, None]) % size
        sums += W_rec[:, c, None] * np.take_along_axis(h, np.broadcast_to(read[:, None], h.shape), axis=2)
    return sums
