"""Long short-term memory on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise
from .functions import logistic, tanh
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
    begin_sums,
    clear_after,
    count_running,
    input_gradient,
    multiply_both,
    own_rows,
    pass_down,
    quarters,
    read,
    spread,
    squared_norm,
    sum_rows,
)
from .values import fma

__all__ = ["lstm_backward", "lstm_forward"]


@elementwise
def lstm_output(i, f, g, o, c):
    """h and c, each twice, and the gates i, f, g, o, from the sums of the gates and the last c."""
    i, f, g, o = logistic(i), logistic(f), tanh(g), logistic(o)
    c = fma(f, c, i * g)
    h = o * tanh(c)
    return h, h, c, c, i, f, g, o


@jit
def lstm_units(sums, c, p, made):
    """Fill made, as `lstm_output` has it, of the units of a row; p is of peepholes, which there are not."""
    i, f, g, o = quarters(sums)
    lstm_output((i, f, g, o, c), made)


def forward_rows(name, units):
    """The kernel for cells with the gates of an LSTM: forward, of a part of the rows of a network."""

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
        p,
        hidden,
        cells,
        gates,
        in_place,
        inward,
        recurrent,
    ):
        net, order = task // parts, own_rows(order, task % parts, parts)
        h, i = hidden.shape[3], x.shape[3]
        scratch = (
            empty((len(order), i + h), hidden),
            zeros((len(order), padded(4 * h, hidden)), hidden),
            empty((len(order), h), hidden),
            room_for(len(order), i + h, inward),
        )
        left, z, c, room = borrow(scratch)
        for s, row in enumerate(order):
            copy(state[net, row, :h], left[s, i:])
            copy(state[net, row, h:], c[s])
            clear_after(hidden[net, row], lengths[row])
        for t in range(hidden.shape[2]):
            running = count_running(lengths, order, t)
            for s in range(running):
                read(x, net, order[s], t, left[s, :i])
                begin_sums(tokens, net, order[s], t, W_in, b, 0, z[s, : 4 * h])
            multiply_both(left, i, running, in_place, inward[net], recurrent[net], 4 * h, 0, 4 * h, z, room)
            for s in range(running):
                row = order[s]
                k_i, k_f, k_g, k_o = quarters(gates[net, row, min(t, gates.shape[2] - 1)])
                kept_c = cells[net, row, min(t, cells.shape[2] - 1)]
                made = (hidden[net, row, t], left[s, i:], c[s], kept_c, k_i, k_f, k_g, k_o)
                units(z[s, : 4 * h], c[s], p[net], made)
        keep(scratch)

    rows.__qualname__ = name  # kernels are kept on disk by this name
    return parallel(rows)


def forward(rows, precision, x, tokens, lengths, state, W_in, W_rec, b, p, hidden, cells, gates):
    """Fill hidden, cells and gates by a kernel of `forward_rows`; p (k, 0) if there are no peepholes."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    weights = in_place or [pack_below(precision, 0, 4 * h, W_in[:, :i], W_rec)] * 2
    args = (x, tokens, lengths, state, W_in, b, p, hidden, cells, gates, in_place is not None, *weights)
    spread(rows, hidden, lengths, 4 * (i + h) * h, args)


lstm_forward_rows = forward_rows("lstm_forward_rows", lstm_units)


def lstm_forward(x, tokens, lengths, state, W_in, W_rec, b, hidden, cells, gates, *, precision="float32"):
    """i, f, g, o = logistic, logistic, tanh, logistic of x_t W_in + h_{t-1} W_rec + b;
    c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""
    arrays = (x, tokens, lengths, state, W_in, W_rec, b, b[:, :0], hidden, cells, gates)
    forward(lstm_forward_rows, precision, *arrays)


@elementwise
def lstm_back(i, f, g, o, c, last, d_h, carry, d_c):
    """Gradients of the gates' sums, twice, and of c_{t-1}, from those of h_t, in two parts, and of c_t; 0.

    c is c_t and last c_{t-1}; d_c is by way of c_{t+1}.
    """
    d_h, squashed = d_h + carry, tanh(c)
    d_o = d_h * squashed * (o - o * o)
    d_c = d_c + d_h * (o - o * squashed * squashed)
    d_i, d_f, d_g = d_c * g * (i - i * i), d_c * last * (f - f * f), d_c * (i - i * g * g)
    return d_i, d_f, d_g, d_o, d_i, d_f, d_g, d_o, d_c * f, d_c.zero()


@jit
def lstm_units_back(gates, c, last, d_row, carry, d_c, p, d_p, made):
    """Fill made, as `lstm_back` has it, of the units of a row; p and its gradient are of peepholes."""
    i, f, g, o = quarters(gates)
    lstm_back((i, f, g, o, c, last, d_row, carry, d_c), made)


def backward_rows(name, units):
    """The kernel for cells with the gates of an LSTM: backward, of a part of the rows of a network."""

    def rows(
        task,
        order,
        parts,
        lengths,
        state,
        hidden,
        cells,
        gates,
        p,
        d_hidden,
        d_last,
        d_gates,
        d_p,
        d_x,
        d_state,
        flow,
        back,
        down,
    ):
        net, order = task // parts, own_rows(order, task % parts, parts)
        h, i = hidden.shape[3], d_x.shape[3]
        scratch = (
            empty((len(order), 4 * h), hidden),
            empty((len(order), h), hidden),
            zeros((len(order), padded(h, hidden)), hidden),
            zeros((len(order), padded(i, hidden)), hidden),
            room_for(len(order), 4 * h, back),
        )
        d, d_c, carry, inward, room = borrow(scratch)
        for s, row in enumerate(order):
            copy(d_last[net, row, :h], carry[s, :h])
            copy(d_last[net, row, h:], d_c[s])
            clear_after(d_x[net, row], lengths[row])
            fill(flow[net, row], lengths[row], 0)
        for t in range(hidden.shape[2] - 1, -1, -1):
            running = count_running(lengths, order, t)
            for s in range(running):
                row, carried = order[s], carry[s, :h]
                d_row = d_hidden[net, row, t]
                if flow.shape[2]:
                    flow[net, row, t] = squared_norm(d_row, carried)
                d_i, d_f, d_g, d_o = quarters(d[s])
                k_i, k_f, k_g, k_o = quarters(d_gates[net, row, t])
                c, last = cells[net, row, t], cells[net, row, t - 1] if t else state[net, row, h:]
                made = (d_i, d_f, d_g, d_o, k_i, k_f, k_g, k_o, d_c[s], carried)
                units(gates[net, row, t], c, last, d_row, carried, d_c[s], p[net], d_p[net, row, 0], made)
            multiply_rounded(d, 0, 4 * h, running, back[net], 4 * h, carry, room)
            pass_down(d, 0, running, down[net], 4 * h, inward, net, order, t, d_x, room)
        for s, row in enumerate(order):
            copy(carry[s, :h], d_state[net, row])
            copy(d_c[s], d_state[net, row, h:])
        keep(scratch)

    rows.__qualname__ = name  # kernels are kept on disk by this name
    return parallel(rows)


def backward(
    rows,
    precision,
    x,
    tokens,
    lengths,
    state,
    hidden,
    cells,
    gates,
    W_in,
    W_rec,
    p,
    d_hidden,
    d_last,
    d_gates,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    d_p,
    flow,
):
    """Fill gradients by a kernel of `backward_rows`; p and d_p (k, 0) if there are no peepholes."""
    (k, rows_of_all, _, h), i = hidden.shape, d_x.shape[3]
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (W_in, i)))
    d_each = np.zeros((k, rows_of_all, 1, p.shape[1]), p.dtype)  # d_p of each row
    args = (lengths, state, hidden, cells, gates, p, d_hidden, d_last, d_gates, d_each, d_x, d_state)
    spread(rows, hidden, lengths, 4 * (i + h) * h, (*args, flow, back, down))
    input_gradient(precision, x, tokens, d_gates, lengths, 4 * h, d_W_in)
    start = np.ascontiguousarray(state[:, :, :h])
    weight_gradient(precision, hidden, start, d_gates, lengths, 0, 4 * h, d_W_rec, 0, d_b, 0)
    if p.shape[1]:
        sum_rows(d_each, d_p)


lstm_backward_rows = backward_rows("lstm_backward_rows", lstm_units_back)


def lstm_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    cells,
    gates,
    W_in,
    W_rec,
    d_hidden,
    d_last,
    d_gates,
    d_x,
    d_state,
    d_W_in,
    d_W_rec,
    d_b,
    flow,
    *,
    precision="float32",
):
    """BPTT through lstm_forward."""
    trace = (x, tokens, lengths, state, hidden, cells, gates, W_in, W_rec, d_b[:, :0])
    gradients = (d_hidden, d_last, d_gates, d_x, d_state, d_W_in, d_W_rec, d_b, d_b[:, :0], flow)
    backward(lstm_backward_rows, precision, *trace, *gradients)


@jit
def lstm_step(activation, z, p, own, before, cells, after):
    """after and cells, of some units of a row, z and p holding the gates i, f, g, o at equal distances."""
    add(p, z)
    i, f, g, o = quarters(z)
    lstm_units(z, cells, own, (after, after, cells, cells, i, f, g, o))


@jit
def lstm_step_back(activation, kept, own, last, c_last, c, d_h, carry, d_c, d_own, d):
    """d = the gradients of the sums of the gates; d_c becomes that of c_{t-1} and carry 0."""
    i, f, g, o = quarters(d)
    lstm_units_back(kept, c, c_last, d_h, carry, d_c, own, d_own, (i, f, g, o, i, f, g, o, d_c, carry))
