"""Elman networks on the CPU."""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import jit
from .matrix import START, copy, multiply, pack, packed, padded, weight_gradient
from .sequences import (
    activate,
    add,
    begin_sums,
    count_running,
    input_gradient,
    pass_down,
    read,
    spread,
    squared_norm,
    through_activation,
)


@jit
def elman_forward_rows(net, order, x, tokens, lengths, state, W_in, b, activation, hidden, panels):
    """elman_forward of the rows `order` of a network."""
    h, i = hidden.shape[3], x.shape[3]
    left = np.empty((len(order), i + h), hidden.dtype)
    z = np.zeros((len(order), padded(h, hidden)), hidden.dtype)
    for s, row in enumerate(order):
        copy(state[net, row], left[s, i:])
        hidden[net, row, lengths[row] :] = 0
    for t in range(hidden.shape[2]):
        running = count_running(lengths, order, t)
        for s in range(running):
            read(x, net, order[s], t, left[s, :i])
            begin_sums(tokens, net, order[s], t, W_in, b, 0, z[s, :h])
        multiply(left, START, i + h, running, panels[net], i + h, z)
        for s in range(running):
            out = hidden[net, order[s], t]
            activate(activation, z[s], out)
            copy(out, left[s, i:])


@jit(parallel=True)
def elman_forward_parts(order, parts, networks, args):
    """elman_forward_rows for all networks, rows dealt to parts."""
    for task in prange(networks * parts):
        elman_forward_rows(task // parts, order[task % parts :: parts].copy(), *args)


def elman_forward(x, tokens, lengths, state, W_in, W_rec, b, activation, hidden):
    """h_t = f(x_t W_in + h_{t-1} W_rec + b)."""
    h, i = hidden.shape[3], x.shape[3]
    panels = packed(hidden, i + h, h)
    pack(W_in, 0, False, i, h, panels, 0)
    pack(W_rec, 0, False, h, h, panels, i)
    args = (x, tokens, lengths, state, W_in, b, activation, hidden, panels)
    spread(elman_forward_rows, elman_forward_parts, len(hidden), lengths, args)


@jit
def elman_backward_rows(
    net, order, lengths, hidden, activation, d_hidden, d_last, d_z, d_x, d_state, flow, back, down
):
    """The reverse pass of elman_backward for the rows `order` of a network."""
    h, i = hidden.shape[3], d_x.shape[3]
    d = np.empty((len(order), h), hidden.dtype)
    carry = np.zeros((len(order), padded(h, hidden)), hidden.dtype)
    inward = np.zeros((len(order), padded(i, hidden)), hidden.dtype)
    for s, row in enumerate(order):
        copy(d_last[net, row], carry[s, :h])
        d_x[net, row, lengths[row] :] = 0
        flow[net, row, lengths[row] :] = 0
    for t in range(hidden.shape[2] - 1, -1, -1):
        running = count_running(lengths, order, t)
        for s in range(running):
            row, own = order[s], d[s]
            copy(d_hidden[net, row, t], own)
            add(carry[s, :h], own)
            if flow.shape[2]:
                flow[net, row, t] = squared_norm(own)
            through_activation(activation, hidden[net, row, t], own)
            copy(own, d_z[net, row, t])
            carry[s] = 0
        multiply(d, START, h, running, back[net], h, carry)
        pass_down(d, START, running, down[net], h, inward, net, order, t, d_x)
    for s, row in enumerate(order):
        copy(carry[s, :h], d_state[net, row])


@jit(parallel=True)
def elman_backward_parts(order, parts, networks, args):
    """elman_backward_rows for all networks, rows dealt to parts."""
    for task in prange(networks * parts):
        elman_backward_rows(task // parts, order[task % parts :: parts].copy(), *args)


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
):
    """BPTT through elman_forward."""
    h, i = hidden.shape[3], d_x.shape[3]
    back, down = packed(hidden, h, h), packed(hidden, h, i)
    pack(W_rec, 0, True, h, h, back, 0)
    pack(W_in, 0, True, h, i, down, 0)
    args = (lengths, hidden, activation, d_hidden, d_last, d_z, d_x, d_state, flow, back, down)
    spread(elman_backward_rows, elman_backward_parts, len(hidden), lengths, args)
    input_gradient(x, tokens, d_z, lengths, h, d_W_in)
    weight_gradient(hidden, state, d_z, lengths, 0, h, d_W_rec, 0, d_b, 0)
