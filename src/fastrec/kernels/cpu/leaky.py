"""Leaky units on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise
from .jit import jit
from .matrix import (
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
    activate,
    begin_sums,
    clear_after,
    count_running,
    input_gradient,
    multiply_both,
    own_rows,
    pass_down,
    read,
    spread,
    squared_norm,
    sum_rows,
    through_activation,
)
from .values import fma

__all__ = ["leaky_backward", "leaky_forward"]


@elementwise
def leak_to(v, leak, last):
    """h, twice, from v and the last h: v itself, to the bit, where leak is 1."""
    return [fma(leak, v, (1.0 - leak) * last)] * 2


@parallel
def leaky_forward_rows(
    task,
    order,
    parts,
    x,
    tokens,
    lengths,
    state,
    W_in,
    b,
    leak,
    activation,
    noise,
    hidden,
    values,
    in_place,
    inward,
    recurrent,
):
    """leaky_forward of a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], x.shape[3]
    scratch = (
        empty((len(order), i + h), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        room_for(len(order), i + h, inward),
    )
    left, z, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(state[net, row], left[s, i:])
        clear_after(hidden[net, row], lengths[row])
    for t in range(hidden.shape[2]):
        running = count_running(lengths, order, t)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, z[s, :h])
            if noise.shape[3]:
                add(noise[net, order[s], t], z[s, :h])
        multiply_both(left, i, running, in_place, inward[net], recurrent[net], h, 0, h, z, room)
        for s in range(running):
            row, last = order[s], left[s, i:]
            activate(activation, z[s, :h], values[net, row, min(t, values.shape[2] - 1)], z[s])
            leak_to((z[s], leak[net], last), (hidden[net, row, t], last))
    keep(scratch)


def leaky_forward(
    x,
    tokens,
    lengths,
    state,
    W_in,
    W_rec,
    b,
    leak,
    activation,
    noise,
    hidden,
    values,
    *,
    precision="float32",
):
    """h_t = (1 - leak) h_{t-1} + leak f(x_t W_in + h_{t-1} W_rec + b + noise_t)."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    weights = in_place or [pack_below(precision, 0, h, W_in[:, :i], W_rec)] * 2
    args = (x, tokens, lengths, state, W_in, b, leak, activation, noise, hidden, values)
    spread(leaky_forward_rows, hidden, lengths, (i + h) * h, (*args, in_place is not None, *weights))


@elementwise
def leak_back(d_h, carry, v, last, leak, total):
    """Gradients of v, of h_{t-1} by way of the leak alone, and of leak added to those of later steps."""
    d_h = d_h + carry
    return d_h * leak, d_h * (1.0 - leak), fma(d_h, v - last, total)


@parallel
def leaky_backward_rows(
    task,
    order,
    parts,
    lengths,
    state,
    hidden,
    values,
    leak,
    activation,
    d_hidden,
    d_last,
    d_z,
    d_leak,
    d_x,
    d_state,
    flow,
    back,
    down,
):
    """The reverse pass of leaky_backward for a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], d_x.shape[3]
    scratch = (
        empty((len(order), h), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(i, hidden)), hidden),
        zeros((1, h), hidden),
        room_for(len(order), h, back),
    )
    d, carry, inward, nothing, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(d_last[net, row], carry[s, :h])
        clear_after(d_x[net, row], lengths[row])
        fill(flow[net, row], lengths[row], 0)
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row, carried, total = order[s], carry[s, :h], d_leak[net, order[s], 0]
            d_row, v = d_hidden[net, row, t], values[net, row, t]
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(d_row, carried)
            last = hidden[net, row, t - 1] if t else state[net, row]
            leak_back((d_row, carried, v, last, leak[net], total), (d[s], carried, total))
            through_activation(activation, d[s], nothing[0], v, d[s], d_z[net, row, t])
        multiply_rounded(d, 0, h, running, back[net], h, carry, room)
        pass_down(d, 0, running, down[net], h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])
    keep(scratch)


def leaky_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    values,
    W_in,
    W_rec,
    leak,
    activation,
    d_hidden,
    d_last,
    d_z,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    d_leak,
    flow,
    *,
    precision="float32",
):
    """BPTT through leaky_forward."""
    (k, rows, _, h), i = hidden.shape, d_x.shape[3]
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (W_in, i)))
    d_each = np.zeros((k, rows, 1, h), leak.dtype)  # d_leak of each row
    args = (lengths, state, hidden, values, leak, activation, d_hidden, d_last, d_z, d_each, d_x, d_state)
    spread(leaky_backward_rows, hidden, lengths, (i + h) * h, (*args, flow, back, down))
    input_gradient(precision, x, tokens, d_z, lengths, h, d_W_in)
    weight_gradient(precision, hidden, state, d_z, lengths, 0, h, d_W_rec, 0, d_b, 0)
    sum_rows(d_each, d_leak)


@jit
def leaky_step(activation, z, p, own, before, cells, after):
    """after from before, of some units of a row, own holding the leak of each."""
    add(p, z)
    activate(activation, z[: len(after)], z, z)
    leak_to((z, own, before), (after, after))


@jit
def leaky_step_back(activation, kept, own, last, c_last, c, d_h, carry, d_c, d_own, d):
    """d = the gradient of z and p; carry: of h_{t-1} by way of the leak; adds to d_own.  d_c holds 0."""
    leak_back((d_h, carry, kept, last, own, d_own), (d, carry, d_own))
    through_activation(activation, d, d_c, kept, d, d)
