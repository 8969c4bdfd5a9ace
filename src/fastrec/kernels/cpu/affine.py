"""The affine map of a readout, over all steps, on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import copy, fill, zeros
from .matrix import (
    RATE,
    multiply_in_place,
    multiply_rounded,
    pack_below,
    pack_transposed,
    padded,
    read_in_place,
    room_for,
    weight_gradient,
)
from .parallel import tasks

STEPS = 64  # of a row at a time


def step_blocks(a, lengths, b, out, in_place, weights):
    """Blocks of the steps of all rows."""
    k, rows, steps, o = out.shape
    return k * rows * -(-steps // STEPS), k * rows * steps * o * a.shape[3] / RATE


@tasks(step_blocks)
def affine_parts(task, a, lengths, b, out, in_place, weights):
    """out = a W + b with packed W, or in place, the steps of every row in blocks."""
    rows, steps, n = a.shape[1:]
    o = out.shape[3]
    width, blocks = padded(o, out), -(-steps // STEPS)
    net, row, begin = task // blocks // rows, task // blocks % rows, task % blocks * STEPS
    end = min(begin + STEPS, steps)
    running = max(0, min(end, lengths[row]) - begin)
    sums = zeros((running, width), out)
    for s in range(running):
        copy(b[net], sums[s])
    at = ((net * rows + row) * steps + begin) * n
    if in_place:
        multiply_in_place(a, at, n, running, weights[net], o, 0, n, o, sums)
    else:
        room = room_for(running, n, weights)
        multiply_rounded(a, at, n, running, weights[net], n, sums, room)
    for s in range(running):
        copy(sums[s, :o], out[net, row, begin + s])
    for t in range(begin + running, end):
        fill(out[net, row, t], 0, 0)


def affine_forward(a, lengths, W, b, out, *, precision="float32"):
    """out = a W + b."""
    in_place = read_in_place(precision, out, W)
    (weights,) = in_place or [pack_below(precision, 0, W.shape[2], W)]
    affine_parts(a, lengths, b, out, in_place is not None, weights)


def affine_backward(a, lengths, W, d_out, d_a, d_W, d_b, *, precision="float32"):
    """Gradients of affine_forward."""
    k, n, o = W.shape
    affine_parts(d_out, lengths, np.zeros((k, n), d_a.dtype), d_a, False, pack_transposed(precision, W, n))
    weight_gradient(precision, a, a[:0, 0], d_out, lengths, 0, o, d_W, 0, d_b, 0)
