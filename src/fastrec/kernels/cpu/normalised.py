"""Cells whose products are normalised, on the CPU: one loop through time for the steps of all cells."""

from __future__ import annotations

import functools
import math
from importlib import import_module

import numpy as np

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise, summed
from .jit import jit
from .matrix import (
    multiply_in_place,
    multiply_rounded,
    pack_below,
    pack_transposed,
    padded,
    read_in_place,
    room_for,
    weight_gradient,
)
from .parallel import parallel
from .time_loop import (
    begin_sums,
    clear_after,
    count_running,
    input_gradient,
    own_rows,
    pass_down,
    read,
    spread,
    squared_norm,
    step_of,
    sum_rows,
)
from .values import fma

__all__ = ["normalised_backward", "normalised_forward"]

EPSILON = 1e-5  # is added to a variance

total = summed(lambda a: a)
dot = summed(lambda a, b: a * b)
gain = elementwise(lambda a, g: a * g)
gain_and_bias = elementwise(lambda a, g, b: fma(a, g, b))
gain_back = elementwise(lambda d, g, normal, sums: (d * g, fma(d, normal, sums)))


@jit
def normalise(sums, normal, scale):
    """normal = sums with mean 0 and variance 1, scale (1,) what they were multiplied with for that."""
    n = len(normal)
    mean = normal.dtype.type(total((sums[:n],)) / n)
    for j in range(n):
        normal[j] = sums[j] - mean
    scale[0] = 1 / math.sqrt(dot((normal, normal)) / n + EPSILON)
    for j in range(n):
        normal[j] *= scale[0]


@jit
def normalise_back(d, normal, scale):
    """From the gradient d of what `normalise` has made to that of what it read, in place."""
    n = len(d)
    mean = d.dtype.type(total((d,)) / n)
    along = d.dtype.type(dot((d, normal)) / n)
    for j in range(n):
        d[j] = scale * (d[j] - mean - normal[j] * along)


@functools.cache
def forward_rows(cell):
    """The kernel for a cell: forward, of a part of the rows of a network."""
    step, *_ = step_of(cell)

    def rows(
        task,
        order,
        parts,
        x,
        tokens,
        lengths,
        state,
        W_in,
        b,
        own,
        g_in,
        g_rec,
        activation,
        noise,
        hidden,
        cells,
        kept,
        scales,
        inward,
        recurrent,
        in_place,
        from_x,
        from_h,
    ):
        net, order = task // parts, own_rows(order, task % parts, parts)
        h, i, wide, last = hidden.shape[3], x.shape[3], g_rec.shape[1], kept.shape[2] - 1
        rest = kept.shape[3] - wide  # what the last gate keeps of its recurrent product
        scratch = (
            empty((len(order), i + h), hidden),
            empty((len(order), cells.shape[3]), hidden),
            zeros((len(order), padded(wide, hidden)), hidden),
            zeros((len(order), padded(wide, hidden)), hidden),
            zeros((len(b), wide), hidden),
            room_for(len(order), i + h, from_x),
        )
        left, c, z, p, nothing, room = borrow(scratch)
        for s, row in enumerate(order):
            copy(state[net, row, :h], left[s, i:])
            copy(state[net, row, h:], c[s])
            clear_after(hidden[net, row], lengths[row])
        for t in range(hidden.shape[2]):
            running, at = count_running(lengths, order, t), min(t, last)
            for s in range(running):
                read(x, net, order[s], t, left[s, :i])
                begin_sums(tokens, net, order[s], t, W_in, nothing, 0, z[s, :wide])
                fill(p[s], 0, 0)
            if in_place:
                multiply_in_place(left, 0, i + h, running, from_x[net], wide, 0, i, wide, z)
                multiply_in_place(left, i, i + h, running, from_h[net], wide, 0, h, wide, p)
            else:
                multiply_rounded(left, 0, i + h, running, from_x[net], i, z, room)
                multiply_rounded(left, i, i + h, running, from_h[net], h, p, room)
            for s in range(running):
                row, z_row, p_row, h_row = order[s], z[s, :wide], p[s, :wide], left[s, i:]
                scale, normal = scales[net, row, at], inward[net, row, at]
                if g_in.shape[1]:
                    normalise(z_row, normal, scale)
                    gain_and_bias((normal, g_in[net], b[net]), (z_row,))
                else:
                    scale[0] = 1
                    copy(z_row, normal)
                    add(b[net], z_row)
                if noise.shape[3]:
                    add(noise[net, row, t], z_row)
                normal = recurrent[net, row, at]
                normalise(p_row, normal, scale[1:])
                gain((normal, g_rec[net]), (p_row,))
                step(activation, z_row, p_row, own[net], h_row, c[s], h_row)
                copy(h_row, hidden[net, row, t])
                if cells.shape[3]:
                    copy(c[s], cells[net, row, at])
                copy(z_row, kept[net, row, at])
                copy(p_row[wide - rest :], kept[net, row, at, wide:])
        keep(scratch)

    rows.__qualname__ = f"normalised_forward_{cell}"  # kernels are kept on disk by this name
    return parallel(rows)


def normalised_forward(
    cell,
    x,
    tokens,
    lengths,
    state,
    W_in,
    W_rec,
    b,
    own,
    g_in,
    g_rec,
    activation,
    noise,
    hidden,
    cells,
    kept,
    scales,
    inward,
    recurrent,
    *,
    precision="float32",
):
    """A cell with N(x_t W_in) g_in + b for x_t W_in + b and N(h_{t-1} W_rec) g_rec for h_{t-1} W_rec."""
    h, i, wide = hidden.shape[3], x.shape[3], W_rec.shape[2]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    weights = in_place or [pack_below(precision, 0, wide, W) for W in (W_in[:, :i], W_rec)]
    args = (x, tokens, lengths, state, W_in, b, own, g_in, g_rec, activation, noise)
    outputs = (hidden, cells, kept, scales, inward, recurrent)
    spread(
        forward_rows(cell), hidden, lengths, (i + h) * wide, (*args, *outputs, in_place is not None, *weights)
    )


@functools.cache
def backward_rows(cell):
    """The kernel for a cell: backward, of a part of the rows of a network."""
    step_back = getattr(import_module(f".{cell}", __package__), f"{cell}_step_back")

    def rows(
        task,
        order,
        parts,
        lengths,
        state,
        hidden,
        cells,
        kept,
        scales,
        inward,
        recurrent,
        own,
        g_in,
        g_rec,
        activation,
        d_hidden,
        d_last,
        d_inward,
        d_recurrent,
        d_x,
        d_state,
        d_b,
        d_own,
        d_g_in,
        d_g_rec,
        flow,
        back,
        down,
    ):
        net, order = task // parts, own_rows(order, task % parts, parts)
        h, i, wide, keeps = hidden.shape[3], d_x.shape[3], g_rec.shape[1], kept.shape[3]
        scratch = (
            empty((len(order), keeps), hidden),
            empty((len(order), wide), hidden),
            zeros((len(order), h), hidden),
            zeros((len(order), padded(h, hidden)), hidden),
            zeros((len(order), padded(i, hidden)), hidden),
            room_for(len(order), keeps, back),
        )
        d, d_rec, d_c, carry, d_read, room = borrow(scratch)
        for s, row in enumerate(order):
            copy(d_last[net, row, :h], carry[s, :h])
            copy(d_last[net, row, h:], d_c[s])
            clear_after(d_x[net, row], lengths[row])
            fill(flow[net, row], lengths[row], 0)
        for t in range(hidden.shape[2] - 1, -1, -1):
            running = count_running(lengths, order, t)
            for s in range(running):
                row, carried, d_row = order[s], carry[s, :h], d_hidden[net, order[s], t]
                if flow.shape[2]:
                    flow[net, row, t] = squared_norm(d_row, carried)
                last = hidden[net, row, t - 1] if t else state[net, row, :h]
                c, c_last = cells[net, row, t], cells[net, row, t - 1] if t else state[net, row, h:]
                of_row = own[net], last, c_last, c, d_row, carried, d_c[s], d_own[net, row, 0]
                step_back(activation, kept[net, row, t], *of_row, d[s])
                d_in = d[s, :wide]
                copy(d[s, : 2 * wide - keeps], d_rec[s])
                copy(d[s, wide:], d_rec[s, 2 * wide - keeps :])
                add(d_in, d_b[net, row, 0])
                scale = scales[net, row, t]
                if g_in.shape[1]:
                    normal, sums = inward[net, row, t], d_g_in[net, row, 0]
                    gain_back((d_in, g_in[net], normal, sums), (d_in, sums))
                    normalise_back(d_in, normal, scale[0])
                normal, sums = recurrent[net, row, t], d_g_rec[net, row, 0]
                gain_back((d_rec[s], g_rec[net], normal, sums), (d_rec[s], sums))
                normalise_back(d_rec[s], normal, scale[1])
                copy(d_in, d_inward[net, row, t])
                copy(d_rec[s], d_recurrent[net, row, t])
            multiply_rounded(d_rec, 0, wide, running, back[net], wide, carry, room)
            pass_down(d, 0, running, down[net], wide, d_read, net, order, t, d_x, room)
        for s, row in enumerate(order):
            copy(carry[s, :h], d_state[net, row])
            copy(d_c[s, : d_state.shape[2] - h], d_state[net, row, h:])
        keep(scratch)

    rows.__qualname__ = f"normalised_backward_{cell}"  # kernels are kept on disk by this name
    return parallel(rows)


def normalised_backward(
    cell,
    x,
    tokens,
    lengths,
    state,
    hidden,
    cells,
    kept,
    scales,
    inward,
    recurrent,
    W_in,
    W_rec,
    own,
    g_in,
    g_rec,
    activation,
    d_hidden,
    d_last,
    d_inward,
    d_recurrent,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    d_own,
    d_g_in,
    d_g_rec,
    flow,
    *,
    precision="float32",
):
    """BPTT through normalised_forward."""
    (k, rows, _, h), i, wide = hidden.shape, d_x.shape[3], W_rec.shape[2]
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (W_in, i)))
    totals = (d_b, d_own, d_g_in, d_g_rec)
    d_each = [np.zeros((k, rows, 1, sums.shape[1]), sums.dtype) for sums in totals]  # of each row
    trace = (lengths, state, hidden, cells, kept, scales, inward, recurrent, own, g_in, g_rec, activation)
    gradients = (d_hidden, d_last, d_inward, d_recurrent, d_x, d_state, *d_each, flow)
    spread(backward_rows(cell), hidden, lengths, (i + h) * wide, (*trace, *gradients, back, down))
    input_gradient(precision, x, tokens, d_inward, lengths, wide, d_W_in)
    start, nothing = np.ascontiguousarray(state[:, :, :h]), d_b[:, :0]
    weight_gradient(precision, hidden, start, d_recurrent, lengths, 0, wide, d_W_rec, 0, nothing, 0)
    for each, sums in zip(d_each, totals, strict=True):
        if sums.shape[1]:
            sum_rows(each, sums)
