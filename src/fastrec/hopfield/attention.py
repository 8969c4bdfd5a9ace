"""Recall of continuous states from binary patterns: softmax attention."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ..backend import array_module, move
from ..validation import as_array
from .packed import PackedPatterns
from .states import Coding, PackedStates, unpack_states

BLOCK_BYTES = 2**23  # of unpacked patterns that are multiplied at once, and of their products
BLOCK_ROWS = 2**11  # of states that they are multiplied with
LARGEST_STATE = 1e290  # sums of so many units as there can be stay far below the largest float64
STILL = 1e-9  # what no component moves by at a fixed point


def read_continuous(name: str, states: Any, n: int, coding: Coding) -> Any:
    """States (..., n) between -1 and +1, or beyond, as float64 where they are; ValueError for others."""
    if isinstance(states, PackedStates):
        if states.n != n:
            raise ValueError(f"{name} has n = {states.n} units a state; the network has n = {n}")
        return states.unpack().astype(np.float64)
    array = as_array(name, states)
    if array.dtype.kind not in "biuf" or array.shape[-1:] != (n,) or not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}, dtype {array.dtype}; attention takes numbers (..., {n})"
        )
    doubled = array.dtype.kind == "b" or coding == "01"
    with np.errstate(over="ignore"):  # of wider types
        array = array.astype(np.float64)
    if not bool(abs(array).max() <= LARGEST_STATE):
        raise ValueError(
            f"{name} holds numbers that are not finite, or beyond {LARGEST_STATE:g}; give each unit a state"
        )
    return 2.0 * array - 1.0 if doubled else array


def require_finite(states: Any, n: int, beta: float) -> None:
    """Raise ValueError if beta times overlaps of states (..., n) could pass float64."""
    largest = n * max(1.0, float(abs(states).max()))
    if not 2 * max(beta, 1.0) * largest < np.inf:
        raise ValueError(
            f"beta is {beta:g}; times overlaps of up to {largest:g} it passes float64, take less"
        )


def attend(stored: PackedPatterns, backend: str, states: Any, beta: float) -> Any:
    """X softmax(beta X'xi) of states xi (k, b, n) float64, with the patterns of each network as columns of X.

    The patterns are unpacked in blocks, and sums over them scaled by the largest exponent so far.  Blocks
    take some 5 `BLOCK_BYTES`, whatever k, b and the number of patterns.
    """
    xp, (k, b, n) = array_module(backend), states.shape
    packed, result = stored.packed(), xp.empty_like(states)
    step = max(1, BLOCK_BYTES // (8 * max(n, min(b, BLOCK_ROWS))))
    for network, begin in product(range(k), range(0, b, BLOCK_ROWS)):
        rows = states[network, begin : begin + BLOCK_ROWS]
        largest = xp.full((len(rows), 1), -np.inf)
        weights, total = xp.zeros((len(rows), 1)), xp.zeros((len(rows), n))
        for first in range(0, stored.p, step):
            x = unpack_states(packed[network, first : first + step], n, backend, backend).astype(np.float64)
            exponents = beta * xp.matmul(rows, x.T)
            most = xp.maximum(largest, exponents.max(axis=1, keepdims=True))
            shares, past = xp.exp(exponents - most), xp.exp(largest - most)
            weights = weights * past + shares.sum(axis=1, keepdims=True)
            total = total * past + xp.matmul(shares, x)
            largest = most
        result[network, begin : begin + BLOCK_ROWS] = total / weights
    return result


def recall_by_attention(
    stored: PackedPatterns, backend: str, states: Any, beta: float, max_sweeps: int
) -> tuple[Any, Any, Any, Any]:
    """States (k, b, n) after at most so many iterations from states, and period, sweeps and flips (k, b).

    A row stops when no component moves by more than `STILL`.  A flip is a change of sign.
    """
    xp, (k, b, _) = array_module(backend), states.shape
    states = move(states, backend).copy()
    period, sweeps = xp.zeros((k, b), dtype=np.int32), xp.zeros((k, b), dtype=np.int32)
    flips = xp.zeros((k, b), dtype=np.int64)
    for _ in range(max_sweeps):
        active = (period == 0).any(axis=0)
        rows = xp.flatnonzero(active)
        if not rows.size:
            break
        before = states[:, rows]
        new, moving = attend(stored, backend, before, beta), period[:, rows] == 0
        new = xp.where(moving[..., None], new, before)
        states[:, rows] = new
        sweeps[:, rows] += moving
        flips[:, rows] += ((new > 0) != (before > 0)).sum(axis=-1)
        period[:, rows] = (abs(new - before) <= STILL).all(axis=-1)
    return states, period, sweeps, flips
