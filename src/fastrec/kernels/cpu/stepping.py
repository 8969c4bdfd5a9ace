"""Networks that take a step at a time on the CPU, or go on by reading their own outputs, in one call.

A step of one row of a small network takes less than a call from Python: a call is handed few arrays, and the
weights of all layers, packed once, are one of them.  The rows of a network are dealt to the threads.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .arrays import add, borrow, copy, empty, fill, keep
from .jit import jit
from .matrix import RATE, multiply_rounded, pack_below, padded, parts_of, room_for
from .pairs import elements, factors_down
from .parallel import Parallel, parallel
from .time_loop import step_of

__all__ = ["pack_network", "take_steps"]


class Network(NamedTuple):
    """A network as its kernel reads it.

    operations: multiply-adds of a step of a row.  units: parameters that each unit has for itself.  W_in
    (k, i, g h) of the first layer, i = 0 unless it reads tokens.  biases (k, size): of each layer those added
    to the products, then these parameters, whole panels for every gate and each of them, then b_out.  panels
    (k, size): of each layer W_in, but where tokens pick its rows, and W_rec, packed gate by gate, then W_out.
    """

    kernel: Parallel
    operations: int
    layers: int
    h: int
    units: int
    activation: int
    feeds_back: bool
    has_output_layer: bool
    W_in: Any
    biases: Any
    panels: Any


@jit
def are_finite(values):
    """Whether values, of one dimension, hold neither NaN nor infinity."""
    finite = True
    for j in range(len(values)):
        finite &= values[j] - values[j] == 0
    return finite


@functools.cache
def rows_of(cell):
    """The kernel for a cell, into which the step of its file is compiled."""
    step, reset, late = step_of(cell)

    def take(
        task,
        parts,
        layers,
        h,
        units,
        activation,
        feeds_back,
        has_output_layer,
        W_in,
        biases,
        panels,
        x,
        tokens,
        state,
        outputs,
        last,
        fault,
    ):
        """All steps of a part of the rows of a network."""
        _, b, n, o = outputs.shape
        net, part, i = task // parts, task % parts, x.shape[2]
        first, end = part * b // parts, (part + 1) * b // parts
        rows, given, gates = end - first, min(net, len(x) - 1), W_in.shape[2] // h
        wide, apart, most = gates * padded(h, biases), units * padded(h, biases), max(i, h)
        bias, weights, early = biases[net], panels[net], wide - late * padded(h, biases)
        scratch = (
            empty((rows, most), biases),
            empty((rows, o if feeds_back else h), biases),
            empty((rows, wide), biases),
            empty((rows, early), biases),
            empty((rows, late * h), biases),
            empty((rows, late * padded(h, biases)), biases),
            empty((rows, padded(o, biases)), biases),
            room_for(rows, max(most, o), panels),
        )
        left, before, z, p, scaled, q, y, room = borrow(scratch)
        depth, finite = before.shape[1], True
        for layer in range(layers):
            for row in range(first, end):
                copy(state[layer, net, row], last[layer, net, row])
        for t in range(n):
            at = bias_at = 0
            for layer in range(layers):
                for s in range(rows):
                    row = first + s
                    copy(bias[bias_at : bias_at + wide], z[s])
                    fill(p[s], 0, 0)
                    copy(last[layer, net, row, :depth], before[s])
                    if layer == 0 and t:
                        copy(outputs[net, row, t - 1], left[s])
                    elif layer == 0 and i:
                        copy(x[given, row], left[s])
                        finite &= are_finite(left[s, :i])
                    elif layer == 0:
                        token = tokens[given, row]
                        if token < 0 or token >= W_in.shape[1]:
                            finite, token = False, 0
                        for gate in range(gates):
                            column = gate * (wide // gates)
                            add(W_in[net, token, gate * h : gate * h + h], z[s, column : column + h])
                inputs = h if layer else i
                size = elements(inputs, panels) * wide
                multiply_rounded(left, 0, most, rows, weights[at : at + size], inputs, z, room)
                at, bias_at = at + size, bias_at + wide
                size = elements(depth, panels) * early
                multiply_rounded(before, 0, depth, rows, weights[at : at + size], depth, p, room)
                at += size
                if late:
                    for s in range(rows):
                        reset(z[s], p[s], before[s], scaled[s])
                        fill(q[s], 0, 0)
                    size = elements(depth, panels) * (wide - early)
                    multiply_rounded(scaled, 0, depth, rows, weights[at : at + size], depth, q, room)
                    at += size
                own = bias[bias_at : bias_at + apart]
                bias_at += apart
                for s in range(rows):
                    now = last[layer, net, first + s]
                    products = q[s] if late else p[s]
                    step(activation, z[s], products, own, before[s], now[h:], left[s, :h])
                    if not feeds_back:
                        copy(left[s, :h], now)
            if has_output_layer:
                for s in range(rows):
                    copy(bias[bias_at:], y[s])
                multiply_rounded(left, 0, most, rows, weights[at:], h, y, room)
            for s in range(rows):
                made = outputs[net, first + s, t]
                copy(y[s, :o] if has_output_layer else left[s, :o], made)
                finite &= are_finite(made)
                if feeds_back:
                    copy(made, last[0, net, first + s])
        if not finite:
            fault[0] = 1
        keep(scratch)

    take.__qualname__ = f"take_steps_{cell}"  # kernels are kept on disk by this name
    return parallel(take)


def spread_gates(values, h):
    """values (k, gates h), or (k, units h), with the h of each filled up to whole panels by 0."""
    k, gates = len(values), values.shape[1] // h
    spread = np.zeros((k, gates, padded(h, values)), values.dtype)
    spread[:, :, :h] = values.reshape(k, gates, h)
    return spread.reshape(k, -1)


def pack_network(cell, layers, W_out, b_out, activation, feeds_back, reads_tokens, *, precision="float32"):
    """Copy the parameters to the form in which `take_steps` reads them."""
    _, h, o = W_out.shape
    W_in, gates = layers[0][0], layers[0][0].shape[2] // h
    matrices = [W for layer in layers for W in layer[:2]][reads_tokens:]
    biases = [spread_gates(values, h) for _, _, *more in layers for values in more]
    pieces = [
        pack_below("float32", gate * h, h, W)
        for W in (factors_down(W, precision) for W in matrices)
        for gate in range(gates)
    ]
    if o:
        pieces.append(pack_below(precision, 0, o, W_out))
        biases.append(spread_gates(b_out, o))
    return Network(
        rows_of(cell),
        sum(W.shape[1] * W.shape[2] for W in (*matrices, W_out)),
        *(
            len(layers),
            h,
            sum(values.shape[1] for values in layers[0][3:]) // h,
            activation,
            feeds_back,
            o > 0,
        ),
        W_in.copy() if reads_tokens else np.empty((len(W_in), 0, gates * h), W_in.dtype),
        np.concatenate(biases, axis=1),
        np.concatenate(pieces, axis=1),
    )


def take_steps(network, x, tokens, state, outputs, last, fault):
    """Read an input, then n - 1 times the last output."""
    kernel, operations, *arguments = network
    k, b, n, _ = outputs.shape
    work = k * b * n * (operations / RATE + 20)
    parts = parts_of(k, b, work)
    kernel.deal(k * parts, work, parts, *arguments, x, tokens, state, outputs, last, fault)
