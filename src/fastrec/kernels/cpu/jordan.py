"""Jordan networks on the CPU."""

from __future__ import annotations

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elman import elman_step
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

__all__ = ["jordan_backward", "jordan_forward"]


@parallel
def jordan_forward_rows(
    task,
    order,
    parts,
    x,
    tokens,
    lengths,
    state,
    W_in,
    b,
    b_out,
    activation,
    hidden,
    outputs,
    in_place,
    inward,
    recurrent,
    readout,
):
    """jordan_forward of a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i, o = hidden.shape[3], x.shape[3], outputs.shape[3]
    scratch = (
        empty((len(order), i + o), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(o, hidden)), hidden),
        room_for(len(order), max(i + o, h), inward),
    )
    left, z, y, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(state[net, row], left[s, i:])
        clear_after(hidden[net, row], lengths[row])
        clear_after(outputs[net, row], lengths[row])
    for t in range(hidden.shape[2]):
        running = count_running(lengths, order, t)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, z[s, :h])
            copy(b_out[net], y[s])
        multiply_both(left, i, running, in_place, inward[net], recurrent[net], h, 0, h, z, room)
        for s in range(running):
            activate(activation, z[s, :h], hidden[net, order[s], t], z[s])
        if in_place:
            multiply_in_place(z, 0, z.shape[1], running, readout[net], o, 0, h, o, y)
        else:
            multiply_rounded(z, 0, z.shape[1], running, readout[net], h, y, room)
        for s in range(running):
            copy(y[s, :o], left[s, i:])
            copy(y[s, :o], outputs[net, order[s], t])
    keep(scratch)


def jordan_forward(
    x,
    tokens,
    lengths,
    state,
    W_in,
    W_rec,
    b,
    W_out,
    b_out,
    activation,
    hidden,
    outputs,
    *,
    precision="float32",
):
    """h_t = f(x_t W_in + y_{t-1} W_rec + b); y_t = h_t W_out + b_out."""
    h, i, o = hidden.shape[3], x.shape[3], outputs.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec, W_out)
    weights = in_place or [
        *[pack_below(precision, 0, h, W_in[:, :i], W_rec)] * 2,
        pack_below(precision, 0, o, W_out),
    ]
    flags = (activation, hidden, outputs, in_place is not None)
    args = (x, tokens, lengths, state, W_in, b, b_out, *flags, *weights)
    spread(jordan_forward_rows, hidden, lengths, (i + 2 * o) * h, args)


@parallel
def jordan_backward_rows(
    task,
    order,
    parts,
    lengths,
    hidden,
    activation,
    d_hidden,
    d_outputs,
    d_last,
    d_z,
    d_y,
    d_x,
    d_state,
    flow,
    back,
    down,
    readout,
):
    """The reverse pass of jordan_backward for a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i, o = hidden.shape[3], d_x.shape[3], d_y.shape[3]
    scratch = (
        zeros((len(order), padded(h, hidden)), hidden),
        empty((len(order), o), hidden),
        zeros((len(order), padded(o, hidden)), hidden),
        zeros((len(order), padded(i, hidden)), hidden),
        room_for(len(order), max(h, o), back),
    )
    d, d_output, carry, inward, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(d_last[net, row], carry[s])
        clear_after(d_x[net, row], lengths[row])
        fill(flow[net, row], lengths[row], 0)
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row = order[s]
            copy(d_outputs[net, row, t], d_output[s])
            add(carry[s, :o], d_output[s])
            copy(d_output[s], d_y[net, row, t])
            fill(d[s], 0, 0)
            fill(carry[s], 0, 0)
        multiply_rounded(d_output, 0, o, running, readout[net], o, d, room)
        for s in range(running):
            row = order[s]
            d_row = d_hidden[net, row, t]
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(d_row, d[s])
            made = d_z[net, row, t]
            through_activation(activation, d_row, d[s], hidden[net, row, t], made, made)
            copy(made, d[s])
        multiply_rounded(d, 0, d.shape[1], running, back[net], h, carry, room)
        pass_down(d, 0, running, down[net], h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :o], d_state[net, row])
    keep(scratch)


def jordan_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    outputs,
    W_in,
    W_rec,
    W_out,
    activation,
    d_hidden,
    d_outputs,
    d_last,
    d_z,
    d_y,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    d_W_out,
    d_b_out,
    flow,
    *,
    precision="float32",
):
    """BPTT through jordan_forward."""
    h, i, o = hidden.shape[3], d_x.shape[3], outputs.shape[3]
    packed = (pack_transposed(precision, W, n) for W, n in ((W_rec, o), (W_in, i), (W_out, h)))
    args = (lengths, hidden, activation, d_hidden, d_outputs, d_last, d_z, d_y, d_x, d_state, flow, *packed)
    spread(jordan_backward_rows, hidden, lengths, (i + 2 * o) * h, args)
    input_gradient(precision, x, tokens, d_z, lengths, h, d_W_in)
    weight_gradient(precision, outputs, state, d_z, lengths, 0, h, d_W_rec, 0, d_b, 0)
    weight_gradient(precision, hidden, state[:0], d_y, lengths, 0, o, d_W_out, 0, d_b_out, 0)


jordan_step = elman_step  # only what p is a product with differs
