"""Gated recurrent units on the CPU."""

from __future__ import annotations

import numpy as np

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise
from .functions import logistic, tanh
from .jit import jit
from .matrix import (
    column_sums,
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
    multiply_both,
    own_rows,
    pass_down,
    quarters,
    read,
    spread,
    squared_norm,
)
from .values import fma

__all__ = ["gru_backward", "gru_forward"]


@elementwise
def gru_output(r, z, n, q, last):
    """h, twice, and r, z, n and q, from the sums of the gates, n being that of the input, and the last h."""
    r, z = logistic(r), logistic(z)
    n = tanh(fma(r, q, n))
    h = fma(z, last - n, n)
    return h, h, r, z, n, q


@parallel
def gru_forward_rows(
    task,
    order,
    parts,
    x,
    tokens,
    lengths,
    state,
    W_in,
    b,
    b_n,
    hidden,
    gates,
    in_place,
    inward,
    recurrent,
    both,
):
    """gru_forward of a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], x.shape[3]
    scratch = (
        empty((len(order), i + h), hidden),
        zeros((len(order), padded(2 * h, hidden)), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        room_for(len(order), i + h, inward),
    )
    left, rz, n, n_rec, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(state[net, row], left[s, i:])
        clear_after(hidden[net, row], lengths[row])
    for t in range(hidden.shape[2]):
        running = count_running(lengths, order, t)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, rz[s, : 2 * h])
            begin_sums(tokens, net, order[s], t, W_in, b, 2 * h, n[s, :h])
            copy(b_n[net], n_rec[s, :h])
        multiply_both(left, i, running, in_place, both[net], recurrent[net], 3 * h, 0, 2 * h, rz, room)
        if in_place:
            multiply_in_place(left, 0, i + h, running, inward[net], 3 * h, 2 * h, i, h, n)
            multiply_in_place(left, i, i + h, running, recurrent[net], 3 * h, 2 * h, h, h, n_rec)
        else:
            multiply_rounded(left, 0, i + h, running, inward[net], i, n, room)
            multiply_rounded(left, i, i + h, running, recurrent[net], h, n_rec, room)
        for s in range(running):
            row, last = order[s], left[s, i:]
            g_r, g_z = rz[s, :h], rz[s, h : 2 * h]
            k_r, k_z, k_n, k_q = quarters(gates[net, row, min(t, gates.shape[2] - 1)])
            gru_output((g_r, g_z, n[s], n_rec[s], last), (hidden[net, row, t], last, k_r, k_z, k_n, k_q))
    keep(scratch)


def gru_forward(x, tokens, lengths, state, W_in, W_rec, b, b_n, hidden, gates, *, precision="float32"):
    """r, z = logistic(x_t W_in + h_{t-1} W_rec + b); n = tanh(x_t W_in + b + r (h_{t-1} W_rec + b_n));
    h_t = (1 - z) n + z h_{t-1}."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    if in_place:
        weights = [*in_place, in_place[0]]
    else:
        weights = [pack_below(precision, 2 * h, h, W) for W in (W_in[:, :i], W_rec)]
        weights.append(pack_below(precision, 0, 2 * h, W_in[:, :i], W_rec))
    args = (x, tokens, lengths, state, W_in, b, b_n, hidden, gates, in_place is not None, *weights)
    spread(gru_forward_rows, hidden, lengths, 3 * (i + h) * h, args)


@elementwise
def gru_back(r, z, n, q, last, d_h, carry):
    """Gradients of the sums of n, r, z and of q, twice in other orders, and of h_{t-1} by way of z alone.

    They come from that of h_t, in two parts; last is h_{t-1}.
    """
    d_h = d_h + carry
    d_z, d_n = d_h * (last - n) * (z - z * z), d_h * (1.0 - z)
    d_n = d_n * (1.0 - n * n)
    d_r, d_q = d_n * q * (r - r * r), d_n * r
    return d_n, d_r, d_z, d_q, d_r, d_z, d_n, d_q, d_h * z


@parallel
def gru_backward_rows(
    task,
    order,
    parts,
    lengths,
    state,
    hidden,
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
    """The reverse pass of gru_backward for a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], d_x.shape[3]
    scratch = (
        empty((len(order), 4 * h), hidden),  # n, r, z, recurrent n: what either product needs is together
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(i, hidden)), hidden),
        room_for(len(order), 3 * h, back),
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
            g_r, g_z, g_n, g_q = quarters(gates[net, row, t])
            d_n, d_r, d_z, d_q = quarters(d[s])
            k_r, k_z, k_n, k_q = quarters(d_gates[net, row, t])
            last = hidden[net, row, t - 1] if t else state[net, row]
            gru_back(
                (g_r, g_z, g_n, g_q, last, d_row, carried),
                (d_n, d_r, d_z, d_q, k_r, k_z, k_n, k_q, carried),
            )
        multiply_rounded(d, h, 4 * h, running, back[net], 3 * h, carry, room)
        pass_down(d, 0, running, down[net], 3 * h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])
    keep(scratch)


def gru_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
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
    d_b_n,
    flow,
    *,
    precision="float32",
):
    """BPTT through gru_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    n_first = np.concatenate([W_in[..., 2 * h :], W_in[..., : 2 * h]], axis=2)  # as in d
    back, down = (pack_transposed(precision, W, n) for W, n in ((W_rec, h), (n_first, i)))
    args = (lengths, state, hidden, gates, d_hidden, d_last, d_gates, d_x, d_state, flow, back, down)
    spread(gru_backward_rows, hidden, lengths, 3 * (i + h) * h, args)
    input_gradient(precision, x, tokens, d_gates, lengths, 3 * h, d_W_in)
    weight_gradient(precision, hidden, state, d_gates, lengths, 0, 2 * h, d_W_rec, 0, d_b, 0)
    weight_gradient(precision, hidden, state, d_gates, lengths, 3 * h, h, d_W_rec, 2 * h, d_b_n, 0)
    column_sums(d_gates, lengths, 2 * h, h, d_b, 2 * h)


@jit
def gru_step(activation, z, p, own, before, cells, after):
    """after from before, of some units of a row, z and p holding the gates r, z, n at equal distances; own
    holds b_n."""
    width = len(z) // 3
    add(p[: 2 * width], z[: 2 * width])
    add(own, p[2 * width :])
    r, u, n, q = z[:width], z[width : 2 * width], z[2 * width :], p[2 * width :]
    gru_output((r, u, n, q, before), (after, after, r, u, n, q))


@jit
def gru_step_back(activation, kept, own, last, c_last, c, d_h, carry, d_c, d_own, d):
    """d = the gradients of the sums of r, z, n and of q, added to d_own; carry: of h_{t-1} by way of z."""
    (g_r, g_z, g_n, g_q), (d_r, d_z, d_n, d_q) = quarters(kept), quarters(d)
    gru_back((g_r, g_z, g_n, g_q, last, d_h, carry), (d_n, d_r, d_z, d_q, d_r, d_z, d_n, d_q, carry))
    add(d_q, d_own)
