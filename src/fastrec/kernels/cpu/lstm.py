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


@parallel
def lstm_forward_rows(
    task, order, parts, x, tokens, lengths, state, W_in, b, hidden, cells, gates, in_place, inward, recurrent
):
    """lstm_forward of a part of the rows of a network."""
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
            row, (g_i, g_f, g_g, g_o) = order[s], quarters(z[s, : 4 * h])
            k_i, k_f, k_g, k_o = quarters(gates[net, row, min(t, gates.shape[2] - 1)])
            kept_c = cells[net, row, min(t, cells.shape[2] - 1)]
            lstm_output(
                (g_i, g_f, g_g, g_o, c[s]),
                (hidden[net, row, t], left[s, i:], c[s], kept_c, k_i, k_f, k_g, k_o),
            )
    keep(scratch)


def lstm_forward(x, tokens, lengths, state, W_in, W_rec, b, hidden, cells, gates, *, precision="float32"):
    """i, f, g, o = logistic, logistic, tanh, logistic of x_t W_in + h_{t-1} W_rec + b;
    c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    weights = in_place or [pack_below(precision, 0, 4 * h, W_in[:, :i], W_rec)] * 2
    args = (x, tokens, lengths, state, W_in, b, hidden, cells, gates, in_place is not None, *weights)
    spread(lstm_forward_rows, hidden, lengths, 4 * (i + h) * h, args)


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


@parallel
def lstm_backward_rows(
    task,
    order,
    parts,
    lengths,
    state,
    hidden,
    cells,
    gates,
    d_hidden,
    d_last,
    d_gates,
    d_x,
    d_state,
    flow,
    back,
    down,
):
    """The reverse pass of lstm_backward for a part of the rows of a network."""
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
            g_i, g_f, g_g, g_o = quarters(gates[net, row, t])
            d_i, d_f, d_g, d_o = quarters(d[s])
            k_i, k_f, k_g, k_o = quarters(d_gates[net, row, t])
            c, last = cells[net, row, t], cells[net, row, t - 1] if t else state[net, row, h:]
            lstm_back(
                (g_i, g_f, g_g, g_o, c, last, d_row, carried, d_c[s]),
                (d_i, d_f, d_g, d_o, k_i, k_f, k_g, k_o, d_c[s], carried),
            )
        multiply_rounded(d, 0, 4 * h, running, back[net], 4 * h, carry, room)
        pass_down(d, 0, running, down[net], 4 * h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])
        copy(d_c[s], d_state[net, row, h:])
    keep(scratch)


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
    h, i = hidden.shape[3], d_x.shape[3]
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (W_in, i)))
    args = (lengths, state, hidden, cells, gates, d_hidden, d_last, d_gates, d_x, d_state, flow, back, down)
    spread(lstm_backward_rows, hidden, lengths, 4 * (i + h) * h, args)
    input_gradient(precision, x, tokens, d_gates, lengths, 4 * h, d_W_in)
    start = np.ascontiguousarray(state[:, :, :h])
    weight_gradient(precision, hidden, start, d_gates, lengths, 0, 4 * h, d_W_rec, 0, d_b, 0)


@jit
def lstm_step(activation, z, p, before, cells, after):
    """after and cells, of some units of a row, z and p holding the gates i, f, g, o at equal distances."""
    width = len(z) // 4
    add(p, z)
    i, f, g, o = z[:width], z[width : 2 * width], z[2 * width : 3 * width], z[3 * width :]
    lstm_output((i, f, g, o, cells), (after, after, cells, cells, i, f, g, o))
