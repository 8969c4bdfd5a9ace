"""Sequences that are read backwards, or both ways: turned round before kernels read them, and after.

Kernels know nothing of it: each direction is a network of its own to them, and both run at once.
"""

from __future__ import annotations

from .config import Array, Config
from .validation import Batch


def turned(batch: Batch, array: Array) -> Array:
    """(n, b, t, ...) with the steps of each row in reverse order, and those after its end where they are."""
    if batch.valid is None:
        return array[:, :, ::-1]
    xp, (b, t) = batch.device.xp, array.shape[1:3]
    steps, valid = xp.arange(t), batch.device.take(batch.valid)
    order = xp.where(valid, batch.lengths[:, None] - 1 - steps, steps)
    return array[:, xp.arange(b)[:, None], order]


def each_way(c: Config, batch: Batch, array: Array) -> Array:
    """What kernels read of sequences (m, b, t, ...): (nets, b, t, ...), or m of them that all share."""
    if c.direction == "forward":
        return array
    return for_each_way(c, batch, array, array)


def for_each_way(c: Config, batch: Batch, ahead: Array, back: Array) -> Array:
    """`each_way` of sequences of their own for the networks that read ahead and those that read back."""
    m = len(back) if c.directions == 1 else c.k
    both = batch.device.empty((m, c.directions, *back.shape[1:]), back.dtype)
    both[:, -1] = turned(batch, back)
    if c.directions == 2:
        both[:, 0] = ahead
    return both.reshape(m * c.directions, *back.shape[1:])


def ways(c: Config, batch: Batch, array: Array) -> tuple[Array, ...]:
    """What each direction wrote, of (nets, b, t, ...), as (k, b, t, ...) in the order of the sequences."""
    if c.direction == "forward":
        return (array,)
    return (*(array[::2],) * (c.directions == 2), turned(batch, array[c.directions - 1 :: c.directions]))


def in_order(c: Config, batch: Batch, array: Array) -> Array:
    """What the networks wrote of each step, (nets, b, t, ...), each in the order of the sequences."""
    if c.direction == "forward":
        return array
    return batch.device.xp.stack(ways(c, batch, array), axis=1).reshape(array.shape)


def side_by_side(c: Config, batch: Batch, array: Array) -> Array:
    """Hidden units (nets, b, t, h) of each direction as (k, b, t, directions * h)."""
    if c.direction == "forward":
        return array
    h, joined = c.hidden_size, batch.device.empty((c.k, *array.shape[1:3], c.hidden_width), array.dtype)
    for way, part in enumerate(ways(c, batch, array)):
        joined[..., way * h : (way + 1) * h] = part
    return joined


def apart(c: Config, batch: Batch, array: Array) -> Array:
    """The inverse of `side_by_side`."""
    if c.direction == "forward":
        return array
    h = c.hidden_size
    return for_each_way(c, batch, array[..., :h], array[..., -h:])


def added(c: Config, batch: Batch, array: Array) -> Array:
    """The sum (k, b, t, ...) of what the networks of each direction wrote, (nets, b, t, ...), for kernels."""
    first, *second = ways(c, batch, array)
    return batch.device.xp.ascontiguousarray(first + second[0] if second else first)
