"""Gated recurrent units on the CPU."""

from __future__ import annotations

from .arrays import borrow, copy, empty, fill, keep, zeros
from .functions import tanh
from .jit import jit
from .matrix import (
    column_sums,
    multiply,
    multiply_in_place,
    pack,
    pack_below,
    pack_transposed,
    packed,
    padded,
    read_in_place,
    weight_gradient,
)
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

__all__ = ["gru_backward", "gru_forward"]


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
    )
    left, rz, n, n_rec = borrow(scratch)
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
        multiply_both(left, i, running, in_place, both[net], recurrent[net], 3 * h, 0, 2 * h, rz)
        if in_place:
            multiply_in_place(left, 0, i + h, running, inward[net], 3 * h, 2 * h, i, h, n)
            multiply_in_place(left, i, i + h, running, recurrent[net], 3 * h, 2 * h, h, h, n_rec)
        else:
            multiply(left, 0, i + h, running, inward[net], i, n)
            multiply(left, i, i + h, running, recurrent[net], h, n_rec)
        for s in range(running):
            row, now, last = order[s], n[s, :h], left[s, i:]
            logistic_in_place(rz[s, : 2 * h])
            gru_output(rz[s, :h], rz[s, h : 2 * h], n_rec[s], last, now, hidden[net, row, t])
            copy(hidden[net, row, t], last)
            kept = gates[net, row, min(t, gates.shape[2] - 1)]
            copy(rz[s, : 2 * h], kept)
            copy(now, kept[2 * h :])
            copy(n_rec[s, :h], kept[3 * h :])
    keep(scratch)


@jit
def gru_output(r, z, n_rec, last, n, h):
    """n = tanh(n + r n_rec), n being the part of the input; h = (1 - z) n + z last."""
    for j in range(len(n)):
        n[j] = tanh(n[j] + r[j] * n_rec[j])
    for j in range(len(n)):
        h[j] = n[j] + z[j] * (last[j] - n[j])


def gru_forward(x, tokens, lengths, state, W_in, W_rec, b, b_n, hidden, gates):
    """r, z = logistic(x_t W_in + h_{t-1} W_rec + b); n = tanh(x_t W_in + b + r (h_{t-1} W_rec + b_n));
    h_t = (1 - z) n + z h_{t-1}."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(hidden, W_in, W_rec)
    if in_place:
        weights = [*in_place, in_place[0]]
    else:
        weights = [pack_below(2 * h, h, (W, depth)) for W, depth in ((W_in, i), (W_rec, h))]
        weights.append(pack_below(0, 2 * h, (W_in, i), (W_rec, h)))
    args = (x, tokens, lengths, state, W_in, b, b_n, hidden, gates, in_place is not None, *weights)
    spread(gru_forward_rows, hidden, lengths, 3 * (i + h) * h, args)


@jit
def gru_step_back(gates, last, carry, d_gates):
    """Gradients of the gates' sums from carry, the gradient of h_t, which becomes that of `last` by way of z
    alone."""
    (r, z, n, n_rec), (d_n, d_r, d_z, d_n_rec) = gates, d_gates
    for j in range(len(carry)):
        d_z[j] = carry[j] * (last[j] - n[j])
    for j in range(len(carry)):
        d_n[j] = carry[j] - carry[j] * z[j]
    for j in range(len(carry)):
        d_z[j] *= z[j] - z[j] * z[j]
    for j in range(len(carry)):
        d_n[j] -= d_n[j] * n[j] * n[j]
    for j in range(len(carry)):
        d_r[j] = d_n[j] * n_rec[j] * (r[j] - r[j] * r[j])
    for j in range(len(carry)):
        d_n_rec[j] = d_n[j] * r[j]
    for j in range(len(carry)):
        carry[j] *= z[j]


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
    )
    d, carry, inward = borrow(scratch)
    for s, row in enumerate(order):
        copy(d_last[net, row], carry[s, :h])
        clear_after(d_x[net, row], lengths[row])
        fill(flow[net, row], lengths[row], 0)
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row, sums = order[s], carry[s, :h]
            add(d_hidden[net, row, t], sums)
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(sums)
            last, made = hidden[net, row, t - 1] if t else state[net, row], d_gates[net, row, t]
            gru_step_back(quarters(gates[net, row, t]), last, sums, quarters(d[s]))
            copy(d[s, h : 3 * h], made[: 2 * h])
            copy(d[s, :h], made[2 * h : 3 * h])
            copy(d[s, 3 * h :], made[3 * h :])
        multiply(d, h, 4 * h, running, back[net], 3 * h, carry)
        pass_down(d, 0, running, down[net], 3 * h, inward, net, order, t, d_x)
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
):
    """BPTT through gru_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    back, down = pack_transposed(W_rec, h), packed(hidden, 3 * h, i)
    pack(W_in, 2 * h, True, h, i, down, 0)
    pack(W_in, 0, True, 2 * h, i, down, h)
    args = (lengths, state, hidden, gates, d_hidden, d_last, d_gates, d_x, d_state, flow, back, down)
    spread(gru_backward_rows, hidden, lengths, 3 * (i + h) * h, args)
    input_gradient(x, tokens, d_gates, lengths, 3 * h, d_W_in)
    weight_gradient(hidden, state, d_gates, lengths, 0, 2 * h, d_W_rec, 0, d_b, 0)
    weight_gradient(hidden, state, d_gates, lengths, 3 * h, h, d_W_rec, 2 * h, d_b_n, 0)
    column_sums(d_gates, lengths, 2 * h, h, d_b, 2 * h)


@jit
def gru_step(activation, z, p, before, cells, after):
    """after from before, of some units of a row, z and p holding the gates r, z, n at equal distances."""
    n, width = len(after), len(z) // 3
    rz = z[: 2 * width]
    add(p[: 2 * width], rz)
    logistic_in_place(rz)
    gru_output(rz[:n], rz[width:], p[2 * width :], before, z[2 * width : 2 * width + n], after)
