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
def layers_of(cell):
    """A step of the layers of some rows of a network, into which the step of the file of a cell is compiled,
    and a function that allocates what it works in."""
    step, reset, late = step_of(cell)

    def layer_scratch(rows, inputs, outputs, h, W_in, biases, panels):
        """Inputs of a layer, states, sums and products, for `step_layers`, and the factors of products.

        inputs: of the first layer.  outputs: those that are the state, 0 if the hidden units are.
        """
        wide, most = W_in.shape[2] // h * padded(h, biases), max(inputs, h)
        return (
            empty((rows, most), biases),
            empty((rows, outputs if outputs else h), biases),
            empty((rows, wide), biases),
            empty((rows, wide - late * padded(h, biases)), biases),
            empty((rows, late * h), biases),
            empty((rows, late * padded(h, biases)), biases),
            room_for(rows, max(most, outputs), panels),
        )

    def step_layers(net, first, rows, shape, W_in, bias, weights, reading, last, scratch):
        """Read the numbers in `left`, or with i = 0 the tokens `reading`: left gets the top hidden units.

        last (layers, k, b, s): states, of rows from `first` on, but for outputs that are states.  Returns
        where the weights and biases of the output layer begin.
        """
        (layers, h, units, activation, feeds_back, i), at, bias_at = shape, 0, 0
        left, before, z, p, scaled, q, room = scratch
        most, depth, wide, early = left.shape[1], before.shape[1], z.shape[1], p.shape[1]
        gates, apart = W_in.shape[2] // h, units * padded(h, z)
        for layer in range(layers):
            for s in range(rows):
                copy(bias[bias_at : bias_at + wide], z[s])
                fill(p[s], 0, 0)
                copy(last[layer, net, first + s, :depth], before[s])
                if layer == 0 and i == 0:
                    for gate in range(gates):
                        column = gate * (wide // gates)
                        add(W_in[net, reading[s], gate * h : gate * h + h], z[s, column : column + h])
            inputs = h if layer else i
            size = elements(inputs, weights) * wide
            multiply_rounded(left, 0, most, rows, weights[at : at + size], inputs, z, room)
            at, bias_at = at + size, bias_at + wide
            size = elements(depth, weights) * early
            multiply_rounded(before, 0, depth, rows, weights[at : at + size], depth, p, room)
            at += size
            if late:
                for s in range(rows):
                    reset(z[s], p[s], before[s], scaled[s])
                    fill(q[s], 0, 0)
                size = elements(depth, weights) * (wide - early)
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
        return at, bias_at

    # Code of two kernels read from disk may be linked by these names.
    layer_scratch.__qualname__, step_layers.__qualname__ = f"layer_scratch_{cell}", f"step_layers_{cell}"
    return jit(step_layers), jit(layer_scratch)


@functools.cache
def rows_of(cell):
    """The kernel for a cell."""
    step_layers, layer_scratch = layers_of(cell)

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
        rows, given = end - first, min(net, len(x) - 1)
        scratch = (
            layer_scratch(rows, i, o if feeds_back else 0, h, W_in, biases, panels),
            empty((rows, padded(o, biases)), biases),
            empty((rows,), np.int64),
        )
        of_layers, y, reading = borrow(scratch)
        left, room, finite = of_layers[0], of_layers[6], True
        for layer in range(layers):
            for row in range(first, end):
                copy(state[layer, net, row], last[layer, net, row])
        for s in range(rows):
            if i:
                copy(x[given, first + s], left[s])
                finite &= are_finite(left[s, :i])
            else:
                token = tokens[given, first + s]
                known = token >= 0 and token < W_in.shape[1]
                finite &= known
                reading[s] = token if known else 0
        shape = (layers, h, units, activation, feeds_back, i)
        for t in range(n):
            at, bias_at = step_layers(
                net, first, rows, shape, W_in, biases[net], panels[net], reading, last, of_layers
            )
            if has_output_layer:
                for s in range(rows):
                    copy(biases[net, bias_at:], y[s])
                multiply_rounded(left, 0, left.shape[1], rows, panels[net, at:], h, y, room)
            for s in range(rows):
                made = outputs[net, first + s, t]
                copy(y[s, :o] if has_output_layer else left[s, :o], made)
                finite &= are_finite(made)
                if feeds_back:
                    copy(made, last[0, net, first + s])
                if i:
                    copy(made[:i], left[s])
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
