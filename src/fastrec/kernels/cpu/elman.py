"""Elman networks on the CPU."""

from __future__ import annotations

from .arrays import add, borrow, copy, empty, fill, keep, zeros
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
    through_activation,
)

__all__ = ["elman_backward", "elman_forward"]


@parallel
def elman_forward_rows(
    task, order, parts, x, tokens, lengths, state, W_in, b, activation, hidden, in_place, inward, recurrent
):
    """elman_forward of a part of the rows of a network."""
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
        multiply_both(left, i, running, in_place, inward[net], recurrent[net], h, 0, h, z, room)
        for s in range(running):
            activate(activation, z[s, :h], hidden[net, order[s], t], left[s, i:])
    keep(scratch)


def elman_forward(x, tokens, lengths, state, W_in, W_rec, b, activation, hidden, *, precision="float32"):
    """h_t = f(x_t W_in + h_{t-1} W_rec + b)."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    weights = in_place or [pack_below(precision, 0, h, W_in[:, :i], W_rec)] * 2
    args = (x, tokens, lengths, state, W_in, b, activation, hidden, in_place is not None, *weights)
    spread(elman_forward_rows, hidden, lengths, (i + h) * h, args)


@parallel
def elman_backward_rows(
    task, order, parts, lengths, hidden, activation, d_hidden, d_last, d_z, d_x, d_state, flow, back, down
):
    """The reverse pass of elman_backward for a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], d_x.shape[3]
    scratch = (
        empty((len(order), h), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(i, hidden)), hidden),
        room_for(len(order), h, back),
    )
    d, carry, inward, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(d_last[net, row], carry[s, :h])
        clear_after(d_x[net, row], lengths[row])
        fill(flow[net, row], lengths[row], 0)
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row, carried = order[s], carry[s, :h]
            d_row = d_hidden[net, row, t]
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(d_row, carried)
            through_activation(activation, d_row, carried, hidden[net, row, t], d[s], d_z[net, row, t])
        multiply_rounded(d, 0, h, running, back[net], h, carry, room)
        pass_down(d, 0, running, down[net], h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])
    keep(scratch)


def elman_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    W_in,
    W_rec,
    activation,
    d_hidden,
    d_last,
    d_z,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    flow,
    *,
    precision="float32",
):
    """BPTT through elman_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (W_in, i)))
    args = (lengths, hidden, activation, d_hidden, d_last, d_z, d_x, d_state, flow, back, down)
    spread(elman_backward_rows, hidden, lengths, (i + h) * h, args)
    input_gradient(precision, x, tokens, d_z, lengths, h, d_W_in)
    weight_gradient(precision, hidden, state, d_z, lengths, 0, h, d_W_rec, 0, d_b, 0)


@jit
def elman_step(activation, z, p, own, before, cells, after):
    """after = f(z + p), of some units of a row; no parameter is their own alone."""
    add(p, z)
    activate(activation, z[: len(after)], after, z)


@jit
def elman_step_back(activation, kept, own, last, c_last, c, d_h, carry, d_c, d_own, d):
    """d = the gradient of z and p, from that of h_t in two parts, of which carry becomes 0."""
    through_activation(activation, d_h, carry, kept, d, d)
