"""The state of an encoder that reads both ways, as that of a decoder with twice the hidden units."""

from __future__ import annotations

from ..backend import array_module, backend_of
from ..rnn.config import Array, Config


def side_by_side(c: Config, state: Array) -> Array:
    """States (layers * directions, n, s) as (layers, n, directions * s), where the directions of each part of
    a state are side by side."""
    if c.directions == 1:
        return state
    ways = state.reshape(c.num_layers, 2, -1, len(c.state_parts), c.hidden_size)
    return contiguous(ways.transpose(0, 2, 3, 1, 4).reshape(c.num_layers, -1, 2 * c.state))


def parted(c: Config, state: Array) -> Array:
    """The inverse of `side_by_side`."""
    if c.directions == 1:
        return state
    halves = state.reshape(c.num_layers, -1, len(c.state_parts), 2, c.hidden_size)
    return contiguous(halves.transpose(0, 3, 1, 2, 4).reshape(2 * c.num_layers, -1, c.state))


def contiguous(state: Array) -> Array:
    """The state as kernels read it: of halves of one hidden unit `reshape` makes no copy."""
    return array_module(backend_of(state)).ascontiguousarray(state)
