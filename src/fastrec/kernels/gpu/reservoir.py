"""Echo states on the GPU: a block takes the steps of a row, and cuBLAS the products of its features."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy as np

from .matrix import multiply
from .module import launch, multiprocessors, pieces_a_launch
from .random import THREADS
from .recall import block_memory
from .recurrent import BARRIER, CHAIN, LOAD, MULTIPLY_ADDS
from .time_loop import flat, float_type

__all__ = ["pack_reservoir", "reservoir_outputs", "reservoir_products", "reservoir_states"]

PIECE = 2**26  # bytes of features at a time


class Reservoir(NamedTuple):
    """What `pack_reservoir` was given, copied."""

    W_in: Any
    W_fb: Any
    b: Any
    W_rec: Any
    offsets: Any
    leak: Any
    activation: int


def pack_reservoir(
    W_in: Any, W_fb: Any, b: Any, W_rec: Any, offsets: Any, leak: Any, activation: int
) -> Reservoir:
    """Copy the weights of k reservoirs."""
    return Reservoir(
        W_in.copy(), W_fb.copy(), b.copy(), W_rec.copy(), offsets.copy(), leak.copy(), activation
    )


def run(
    reservoir: Reservoir,
    x: Any,
    lengths: Any,
    n: int,
    begin: int,
    end: int,
    last: Any,
    *,
    targets: Any = None,
    washout: Any = None,
    readout: Any = None,
    states: Any = None,
    outputs: Any = None,
    features: Any = None,
) -> None:
    """Take the steps begin..end - 1 of n, from and to the state in last: see cuda/reservoir.cu."""
    W_in, W_fb, bias, W_rec, offsets, leak, activation = reservoir
    (k, b, _), (m, _, t, i), h, o = (
        last.shape,
        x.shape,
        bias.shape[1],
        (readout if targets is None else targets).shape[-1],
    )
    own = 1 if targets is None else len(targets)
    scratch, nbytes = block_memory((i + o + 2 * h) * x.dtype.itemsize, k * b)
    for first in range(begin, end, at_once := steps_of_launch(reservoir, x, last, o)):
        steps = (first, min(end, first + at_once))
        sizes = (b, m, own, t, n, *steps, i, h, o, W_fb.shape[1], offsets.shape[1], activation)
        launch(
            *("reservoir", f"run_reservoir<{float_type(x)}>", k * b, THREADS),
            *(x, targets, lengths, washout, W_in, W_fb, bias, W_rec, offsets, leak, readout, *sizes),
            *(scratch, nbytes, states, outputs, features, last),
            shared=0 if scratch is not None else nbytes,
        )


def steps_of_launch(reservoir: Reservoir, x: Any, last: Any, o: int) -> int:
    """How many steps one launch may take."""
    inputs, h = x.shape[3] + reservoir.W_fb.shape[1], reservoir.b.shape[1]
    step = LOAD + CHAIN + 3 * BARRIER + h * (inputs + (reservoir.offsets.shape[1] or h) + o) / MULTIPLY_ADDS
    rows = last.shape[0] * last.shape[1]
    return pieces_a_launch("a step of a reservoir", step * -(-rows // multiprocessors()))


def reservoir_states(
    reservoir: Reservoir, x: Any, targets: Any, lengths: Any, state: Any, states: Any, last: Any
) -> None:
    """Fill states with those of all steps."""
    last[...], steps = state, x.shape[2]
    run(reservoir, x, lengths, steps, 0, steps, last, targets=targets, states=states)


def reservoir_products(
    reservoir: Reservoir,
    x: Any,
    targets: Any,
    lengths: Any,
    washout: Any,
    state: Any,
    products: Any,
    last: Any,
) -> None:
    """Add the products of [1, x, h, target] over all steps after the washout."""
    (k, b, _), steps, f = last.shape, x.shape[2], products.shape[1]
    last[...], products[...] = state, 0
    at_once = min(max(1, PIECE // (8 * k * b * f)), steps_of_launch(reservoir, x, last, targets.shape[3]))
    for begin in range(0, steps, at_once):
        end = min(steps, begin + at_once)
        features = cupy.empty((k, b, end - begin, f), np.float64)
        made = {"targets": targets, "washout": washout, "features": features}
        run(reservoir, x, lengths, steps, begin, end, last, **made)
        multiply(flat(features).swapaxes(1, 2), flat(features), products, "float32", add=True)


def reservoir_outputs(
    reservoir: Reservoir, x: Any, lengths: Any, state: Any, readout: Any, outputs: Any, last: Any
) -> None:
    """Fill outputs with those of all steps."""
    last[...], n = state, outputs.shape[2]
    run(reservoir, x, lengths, n, 0, n, last, readout=readout, outputs=outputs)
