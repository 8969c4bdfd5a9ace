"""Long short-term memory on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import borrow, copy, empty, fill, keep, zeros
from .functions import tanh
from .jit import jit
from .matrix import multiply, pack_below, pack_transposed, padded, read_in_place, weight_gradient
from .parallel import parallel
from .time_loop import (
    add,
    begin_sums,
    clear_after,
    count_running,
    input_gradient,
    logistic_in_place,
    multiply_both,
    own_rows,
    pass_down,
    quarters,
    read,
    spread,
    squared_norm,
)

__all__ = ["lstm_backward", "lstm_forward"]


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
    )
    left, z, c = borrow(scratch)
    for s, row in enumerate(order):
        copy(state[net, row, :h], left[s, i:])
        copy(state[net, row, h:], c[s])
        clear_after(hidden[net, row], lengths[row])
    for t in range(hidden.shape[2]):
        running = count_running(lengths, order, t)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, z[s, : 4 * h])
        multiply_both(left, i, running, in_place, inward[net], recurrent[net], 4 * h, 0, 4 * h, z)
        for s in range(running):
            row, made = order[s], z[s, : 4 * h]
            lstm_output(quarters(made), c[s], hidden[net, row, t])
            copy(hidden[net, row, t], left[s, i:])
            copy(made, gates[net, row, min(t, gates.shape[2] - 1)])
            copy(c[s], cells[net, row, min(t, cells.shape[2] - 1)])
    keep(scratch)


@jit
def lstm_output(sums, c, h):
    """The sums of the gates i, f, g, o become the gates; c = f c + i g; h = o tanh(c)."""
    i, f, g, o = sums
    logistic_in_place(i)
    logistic_in_place(f)
    for j in range(len(g)):
        g[j] = tanh(g[j])
    logistic_in_place(o)
    for j in range(len(c)):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(len(c)):
        h[j] = o[j] * tanh(c[j])


def lstm_forward(x, tokens, lengths, state, W_in, W_rec, b, hidden, cells, gates):
    """i, f, g, o = logistic, logistic, tanh, logistic of x_t W_in + h_{t-1} W_rec + b;
    c_t = f c_{t-1} + i g; h_t = o tanh(c_t)."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(hidden, W_in, W_rec)
    weights = in_place or [pack_below(0, 4 * h, (W_in, i), (W_rec, h))] * 2
    args = (x, tokens, lengths, state, W_in, b, hidden, cells, gates, in_place is not None, *weights)
    spread(lstm_forward_rows, hidden, lengths, 4 * (i + h) * h, args)


@jit
def lstm_step_back(gates, last, c, d_h, d_c, d_gates):
    """Gradients of the gates' sums from those of h_t and of c_t (by way of c_{t+1}); d_c becomes that of
    c_{t-1}, which is `last`."""
    (i, f, g, o), (d_i, d_f, d_g, d_o) = gates, d_gates
    for j in range(len(c)):
        d_f[j] = tanh(c[j])
    for j in range(len(c)):
        d_o[j] = d_h[j] * d_f[j] * (o[j] - o[j] * o[j])
    for j in range(len(c)):
        d_c[j] += d_h[j] * (o[j] - o[j] * d_f[j] * d_f[j])
    for j in range(len(c)):
        d_i[j] = d_c[j] * g[j] * (i[j] - i[j] * i[j])
    for j in range(len(c)):
        d_g[j] = d_c[j] * (i[j] - i[j] * g[j] * g[j])
    for j in range(len(c)):
        d_f[j] = d_c[j] * last[j] * (f[j] - f[j] * f[j])
    for j in range(len(c)):
        d_c[j] *= f[j]


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
    )
    d, d_c, carry, inward = borrow(scratch)
    for s, row in enumerate(order):
        copy(d_last[net, row, :h], carry[s, :h])
        copy(d_last[net, row, h:], d_c[s])
        clear_after(d_x[net, row], lengths[row])
        fill(flow[net, row], lengths[row], 0)
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row, sums = order[s], carry[s, :h]
            add(d_hidden[net, row, t], sums)
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(sums)
            kept, c = quarters(gates[net, row, t]), cells[net, row, t]
            last = cells[net, row, t - 1] if t else state[net, row, h:]
            lstm_step_back(kept, last, c, sums, d_c[s], quarters(d[s]))
            copy(d[s], d_gates[net, row, t])
            fill(carry[s], 0, 0)
        multiply(d, 0, 4 * h, running, back[net], 4 * h, carry)
        pass_down(d, 0, running, down[net], 4 * h, inward, net, order, t, d_x)
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
):
    """BPTT through lstm_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    back, down = pack_transposed(W_rec, h), pack_transposed(W_in, i)
    args = (lengths, state, hidden, cells, gates, d_hidden, d_last, d_gates, d_x, d_state, flow, back, down)
    spread(lstm_backward_rows, hidden, lengths, 4 * (i + h) * h, args)
    input_gradient(x, tokens, d_gates, lengths, 4 * h, d_W_in)
    start = np.ascontiguousarray(state[:, :, :h])
    weight_gradient(hidden, start, d_gates, lengths, 0, 4 * h, d_W_rec, 0, d_b, 0)


@jit
def lstm_step(activation, z, p, before, cells, after):
    """after and cells, of some units of a row, z and p holding the gates i, f, g, o at equal distances."""
    n, width = len(after), len(z) // 4
    add(p, z)
    i_f, g_o = z[: 2 * width], z[2 * width :]
    lstm_output((i_f[:n], i_f[width : width + n], g_o[:n], g_o[width : width + n]), cells, after)
