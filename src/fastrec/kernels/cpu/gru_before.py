"""Gated recurrent units that reset the state before the product, on the CPU."""

from __future__ import annotations

from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise
from .functions import logistic, tanh
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
    multiply_both,
    own_rows,
    pass_down,
    read,
    spread,
    squared_norm,
)
from .values import fma

__all__ = ["gru_before_backward", "gru_before_forward"]


@elementwise
def reset_state(r, last):
    """r h_{t-1}, twice, and r, from the sum of the gate and h_{t-1}."""
    r = logistic(r)
    return r * last, r * last, r


@elementwise
def gru_before_output(z, n, last):
    """h_t, twice, and z and n, from the sums of both and h_{t-1}."""
    z, n = logistic(z), tanh(n)
    h = fma(z, last - n, n)
    return h, h, z, n


@jit
def thirds(values):
    """The three parts of values (3 h), one for each gate."""
    h = len(values) // 3
    return values[:h], values[h : 2 * h], values[2 * h :]


@parallel
def gru_before_forward_rows(
    task,
    order,
    parts,
    x,
    tokens,
    lengths,
    state,
    W_in,
    b,
    hidden,
    reset,
    gates,
    in_place,
    inward,
    recurrent,
    both,
):
    """gru_before_forward of a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], x.shape[3]
    scratch = (
        empty((len(order), i + h), hidden),
        empty((len(order), h), hidden),
        zeros((len(order), padded(2 * h, hidden)), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        room_for(len(order), i + h, inward),
    )
    left, scaled, rz, n, room = borrow(scratch)
    for s, row in enumerate(order):
        copy(state[net, row], left[s, i:])
        clear_after(hidden[net, row], lengths[row])
    for t in range(hidden.shape[2]):
        running, kept = count_running(lengths, order, t), min(t, gates.shape[2] - 1)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, rz[s, : 2 * h])
            begin_sums(tokens, net, order[s], t, W_in, b, 2 * h, n[s, :h])
        multiply_both(left, i, running, in_place, both[net], recurrent[net], 3 * h, 0, 2 * h, rz, room)
        for s in range(running):
            row, (k_r, _, _) = order[s], thirds(gates[net, order[s], kept])
            reset_state((rz[s], left[s, i:]), (scaled[s], reset[net, row, kept], k_r))
        if in_place:
            multiply_in_place(left, 0, i + h, running, inward[net], 3 * h, 2 * h, i, h, n)
            multiply_in_place(scaled, 0, h, running, recurrent[net], 3 * h, 2 * h, h, h, n)
        else:
            multiply_rounded(left, 0, i + h, running, inward[net], i, n, room)
            multiply_rounded(scaled, 0, h, running, recurrent[net], h, n, room)
        for s in range(running):
            row, last, (_, k_z, k_n) = order[s], left[s, i:], thirds(gates[net, order[s], kept])
            gru_before_output((rz[s, h:], n[s], last), (hidden[net, row, t], last, k_z, k_n))
    keep(scratch)


def gru_before_forward(
    x, tokens, lengths, state, W_in, W_rec, b, hidden, reset, gates, *, precision="float32"
):
    """r, z = logistic(x_t W_in + h_{t-1} W_rec + b); n = tanh(x_t W_in + b + (r h_{t-1}) W_rec);
    h_t = (1 - z) n + z h_{t-1}."""
    h, i = hidden.shape[3], x.shape[3]
    in_place = read_in_place(precision, hidden, W_in, W_rec)
    if in_place:
        weights = [*in_place, in_place[0]]
    else:
        weights = [pack_below(precision, 2 * h, h, W) for W in (W_in[:, :i], W_rec)]
        weights.append(pack_below(precision, 0, 2 * h, W_in[:, :i], W_rec))
    args = (x, tokens, lengths, state, W_in, b, hidden, reset, gates, in_place is not None, *weights)
    spread(gru_before_forward_rows, hidden, lengths, 3 * (i + h) * h, args)


@elementwise
def output_back(z, n, last, d_h, carry):
    """Gradients of the sums of z and n, twice in other orders, and of h_{t-1} by way of z alone.

    They come from that of h_t, in two parts; last is h_{t-1}.
    """
    d_h = d_h + carry
    d_z, d_n = d_h * (last - n) * (z - z * z), d_h * (1.0 - z)
    d_n = d_n * (1.0 - n * n)
    return d_z, d_n, d_z, d_n, d_h * z


@elementwise
def reset_back(r, last, d_reset, carry):
    """The gradient of the sum of r, twice, that of h_{t-1} with its part by way of r h_{t-1}, and 0.

    They come from that of r h_{t-1}, and that of h_{t-1} so far.
    """
    d_r = d_reset * last * (r - r * r)
    return d_r, d_r, fma(d_reset, r, carry), r.zero()


@parallel
def gru_before_backward_rows(
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
    back_n,
    down,
):
    """The reverse pass of gru_before_backward for a part of the rows of a network."""
    net, order = task // parts, own_rows(order, task % parts, parts)
    h, i = hidden.shape[3], d_x.shape[3]
    scratch = (
        empty((len(order), 3 * h), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(h, hidden)), hidden),
        zeros((len(order), padded(i, hidden)), hidden),
        room_for(len(order), 3 * h, back),
    )
    d, carry, d_reset, inward, room = borrow(scratch)
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
            _, g_z, g_n = thirds(gates[net, row, t])
            _, d_z, d_n = thirds(d[s])
            _, k_z, k_n = thirds(d_gates[net, row, t])
            last = hidden[net, row, t - 1] if t else state[net, row]
            output_back((g_z, g_n, last, d_row, carried), (d_z, d_n, k_z, k_n, carried))
        multiply_rounded(d, 2 * h, 3 * h, running, back_n[net], h, d_reset, room)
        for s in range(running):
            row, carried = order[s], carry[s, :h]
            g_r, _, _ = thirds(gates[net, row, t])
            k_r, _, _ = thirds(d_gates[net, row, t])
            last = hidden[net, row, t - 1] if t else state[net, row]
            reset_back((g_r, last, d_reset[s], carried), (d[s, :h], k_r, carried, d_reset[s]))
        multiply_rounded(d, 0, 3 * h, running, back[net], 2 * h, carry, room)
        pass_down(d, 0, running, down[net], 3 * h, inward, net, order, t, d_x, room)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])
    keep(scratch)


def gru_before_backward(
    x,
    tokens,
    lengths,
    state,
    hidden,
    reset,
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
    """BPTT through gru_before_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    W_rz, W_n = W_rec[..., : 2 * h].copy(), W_rec[..., 2 * h :].copy()
    packed = (pack_transposed(precision, W, n) for W, n in ((W_rz, h), (W_n, h), (W_in, i)))
    args = (lengths, state, hidden, gates, d_hidden, d_last, d_gates, d_x, d_state, flow, *packed)
    spread(gru_before_backward_rows, hidden, lengths, 3 * (i + h) * h, args)
    input_gradient(precision, x, tokens, d_gates, lengths, 3 * h, d_W_in)
    weight_gradient(precision, hidden, state, d_gates, lengths, 0, 2 * h, d_W_rec, 0, d_b, 0)
    weight_gradient(precision, reset, state[:0], d_gates, lengths, 2 * h, h, d_W_rec, 2 * h, d_b, 2 * h)


@jit
def gru_before_reset(z, p, before, made):
    """made = r h of some units of a row, which the product of gate n reads; z and p hold the gates r, z, n at
    equal distances, p without n, whose products are added to z."""
    add(p, z[: len(p)])
    sums = z[: len(made)]
    reset_state((sums, before), (made, sums, sums))


@jit
def gru_before_step(activation, z, p, own, before, cells, after):
    """after from before, of some units of a row, z being what `gru_before_reset` left and p the product of
    gate n; no parameter is their own alone."""
    width = len(p)
    u, n = z[width : 2 * width], z[2 * width :]
    add(p, n)
    gru_before_output((u, n, before), (after, after, u, n))
