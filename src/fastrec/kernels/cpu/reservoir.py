"""Echo states on the CPU: states are never stored, the sums that a readout needs are taken while they run.

A step of a row is the product of [x | y], or of [x | y | h] where every unit reads every other one, with
packed weights.  Connections at the same offsets from all units are rows of weights that multiply h as it
lies in memory from an offset on: h stands there twice, one copy after the other.

The Gram matrix of [1, x, h, target] is a sum over steps of products of float64, which takes longer than the
steps themselves where connections are few.  The rows are run in pieces of so many steps, into one of two
buffers, while other threads add the products of the piece before from the other one: each thread takes some
rows of the matrix, so that every sum has the order of the steps whatever the number of threads.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import LINEAR, RELU, TANH, memory
from .arrays import borrow, copy, keep, zeros
from .elementwise import elementwise
from .functions import logistic, tanh
from .jit import jit
from .matrix import (
    RATE,
    ROWS,
    VECTORS,
    has_halves,
    lanes_in,
    move,
    multiply,
    multiply_tile,
    pack_below,
    padded,
    pair,
    panel_step,
    panel_width,
    parts_of,
)
from .parallel import parallel
from .simd import I64, VECTOR_BYTES, data, load, store, variable
from .time_loop import clear_after, count_running, longest_first, own_rows, read
from .values import Value, call, fma, where

__all__ = ["pack_reservoir", "reservoir_outputs", "reservoir_products", "reservoir_states"]

WIDE = 4  # vectors of sums over connections at a time, so that they do not wait for each other
GRAM_ROWS = min(ROWS, VECTORS * VECTOR_BYTES // 8)  # of a tile, which no panel of float64 is narrower than
DEPTH = 128  # steps of two panels that stay in the first cache
ROWS_AT_ONCE = 64  # sequences of a piece
STEPS = (128, 1024)  # of all rows of a piece: fewest and most
PIECE = 2**18  # numbers of a piece, where they leave that choice
NETWORKS_PIECE = 2**23  # numbers of a piece of all networks at once


class Reservoir(NamedTuple):
    """Reservoirs as their kernels read them.

    weights (k, size): W_in, W_fb and a dense W_rec below each other, packed; numbers of 8 bits two to a word.
    bias (k, whole panels).  diagonals (k, size): weights of connections at offsets (k, c), see `in_blocks`.
    leak (k, h).  feedback: o, or 0 without it.
    """

    weights: Any
    bias: Any
    diagonals: Any
    offsets: Any
    leak: Any
    activation: int
    feedback: int


def in_panels(values):
    """values (..., n) with 0 up to whole panels."""
    wide = np.zeros((*values.shape[:-1], padded(values.shape[-1], values)), values.dtype)
    wide[..., : values.shape[-1]] = values
    return wide


def pack_reservoir(W_in, W_fb, b, W_rec, offsets, leak, activation):
    """Copy the weights to the form in which the other kernels read them."""
    dense = offsets.shape[1] == 0
    weights = pack_below("float32", 0, b.shape[1], W_in, W_fb, *[W_rec] * dense)
    if dense and has_halves(weights):
        weights = pair(weights)
    diagonals = in_blocks(W_rec[:, :0] if dense else W_rec)
    return Reservoir(weights, in_panels(b), diagonals, offsets.copy(), leak.copy(), activation, W_fb.shape[1])


def in_blocks(W):
    """W (k, c, h) as (k, size): columns in blocks of WIDE vectors, the rest in panels, each by rows."""
    wide = in_panels(W)
    (k, _, columns), panel = wide.shape, panel_width(W)
    block = WIDE * panel // VECTORS
    edges = [*range(0, columns - block + 1, block), *range(columns // block * block, columns + 1, panel)]
    blocks = [wide[:, :, a:b].reshape(k, -1) for a, b in itertools.pairwise(dict.fromkeys(edges))]
    return np.concatenate(blocks, axis=1)


def diagonal_tile(vectors: int) -> Any:
    """Intrinsic (weights, at, stride, offsets, first, count, h, h_at, z, z_at): add sums over connections.

    z[z_at:] += the sum over c < count of weights[at + c stride:] h[h_at + offsets[first + c]:], so many
    vectors of each, of flat views.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        weights, offsets, h, z = (
            builder.gep(data(context, builder, signature.args[a], args[a]), [args[at]], inbounds=True)
            for a, at in ((0, 1), (3, 4), (6, 7), (8, 9))
        )
        lanes = lanes_in(signature.args[8].dtype)
        vector = ir.VectorType(z.type.pointee, lanes)

        def part(pointer: ir.Value, v: int) -> ir.Value:
            return builder.gep(pointer, [I64(v * lanes)], inbounds=True)

        sums = [variable(builder, vector, load(builder, part(z, v), vector)) for v in range(vectors)]
        with cgutils.for_range(builder, args[5]) as loop:
            row = builder.gep(weights, [builder.mul(loop.index, args[2])], inbounds=True)
            offset = builder.load(builder.gep(offsets, [loop.index], inbounds=True))
            read = builder.gep(h, [offset], inbounds=True)
            for v, slot in enumerate(sums):
                factors = (load(builder, part(pointer, v), vector) for pointer in (row, read))
                builder.store(call(builder, "fmuladd", *factors, builder.load(slot)), slot)
        for v, slot in enumerate(sums):
            store(builder, builder.load(slot), part(z, v))
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, weights, at, stride, offsets, first, count, h, h_at, z, z_at):
        i = types.int64
        return types.void(weights, i, i, offsets, i, i, h, i, z, i), body

    return tile


wide_sums, panel_sums = diagonal_tile(WIDE), diagonal_tile(VECTORS)
gram_tile = multiply_tile(GRAM_ROWS, 1, transposed=True)


@jit
def add_connections(net, diagonals, offsets, h, h_at, z, z_at):
    """z[z_at:] += the sums over connections at offsets, of h (twice) at h_at."""
    count, step, size = offsets.shape[1], panel_step(z), diagonals.shape[1]
    first, columns, wide, j = net * count, size // count, WIDE * step // VECTORS, 0
    while j + wide <= columns:
        at = net * size + j * count
        wide_sums(diagonals, at, wide, offsets, first, count, h, h_at + j, z, z_at + j)
        j += wide
    while j < columns:
        at = net * size + j * count
        panel_sums(diagonals, at, step, offsets, first, count, h, h_at + j, z, z_at + j)
        j += step


def leaked(f: Any) -> Any:
    """Formula of (z, h, leak) that gives h' = (1 - leak) h + leak f(z) twice."""

    def formula(z: Value, h: Value, leak: Value) -> list[Value]:
        return [fma(leak, f(z), (1.0 - leak) * h)] * 2

    return elementwise(formula)


leaking_tanh = leaked(tanh)
leaking_relu = leaked(lambda z: where(z, "<=", 0.0, 0.0, z))
leaking_logistic = leaked(logistic)
leaking_linear = leaked(lambda z: z)


@jit
def leak_on(activation, z, h, leak, again):
    """h = again = (1 - leak) h + leak f(z)."""
    if activation == TANH:
        leaking_tanh((z, h, leak), (h, again))
    elif activation == RELU:
        leaking_relu((z, h, leak), (h, again))
    elif activation == LINEAR:
        leaking_linear((z, h, leak), (h, again))
    else:
        leaking_logistic((z, h, leak), (h, again))


@jit
def run_rows(
    net,
    rows,
    begin,
    end,
    weights,
    bias,
    diagonals,
    offsets,
    leak,
    activation,
    feedback,
    x,
    targets,
    lengths,
    outward,
    b_out,
    states,
    outputs,
    last,
    washout,
    places,
    features,
):
    """The steps begin..end - 1 of some rows of a reservoir, the longest first.

    last has the state before them, and after.  states, outputs (k, b, t, ..) and features get what they are
    for unless they are empty: features panels (steps, panel) of the numbers [1, x, h, target] of float64,
    each row's from places[row] on.
    """
    i, h, o, depth, count = x.shape[3], leak.shape[1], outputs.shape[3], len(rows), offsets.shape[1]
    own, t_of = min(net, len(targets) - 1), targets.shape[3]
    unit, wide = i + feedback, padded(h, last)
    wanted, chosen = 1 + i + h + t_of, panel_width(features)
    panels = (wanted + chosen - 1) // chosen
    steps = features.shape[1] // (panels * chosen)
    scratch = (
        zeros((depth, unit + (h + wide if count else h)), last),
        zeros((depth, wide), last),
        zeros((depth, padded(o, last)), last),
        zeros((h,), last),
        zeros((panels * chosen,), features),
    )
    left, z, y, unused, v = borrow(scratch)
    width = left.shape[1]
    v[0] = 1
    for s in range(depth):
        row = rows[s]
        copy(last[net, row, :h], left[s, unit:])
        if count:
            copy(last[net, row, :h], left[s, unit + h :])
        copy(last[net, row, h:], left[s, i:unit])
    for t in range(begin, end):
        running = count_running(lengths, rows, t)
        for s in range(running):
            if t < x.shape[2]:
                read(x, net, rows[s], t, left[s, :i])
            else:
                copy(outputs[net, rows[s], t - 1], left[s, :i])
            copy(bias[net], z[s])
        multiply(left, 0, width, running, weights[net], unit if count else unit + h, z)
        for s in range(running):
            row = rows[s]
            if count:
                add_connections(net, diagonals, offsets, left, s * width + unit, z, s * wide)
            again = left[s, unit + h : unit + 2 * h] if count else unused
            leak_on(activation, z[s, :h], left[s, unit : unit + h], leak[net], again)
            if states.size:
                copy(left[s, unit : unit + h], states[net, row, t])
            if features.size and t >= washout[row]:
                for j in range(i):
                    v[1 + j] = left[s, j]
                for j in range(h):
                    v[1 + i + j] = left[s, unit + j]
                for j in range(t_of):
                    v[1 + i + h + j] = targets[own, row, t, j]
                to = net * features.shape[1] + (places[row] + t - max(begin, washout[row])) * chosen
                for p in range(panels):
                    move(v, p * chosen, features, to + p * steps * chosen)
        if outputs.size:
            for s in range(running):
                copy(b_out[net], y[s])
            multiply(left, 0, width, running, outward[net], unit + h, y)
            for s in range(running):
                copy(y[s, :o], outputs[net, rows[s], t])
                if feedback:
                    copy(y[s, :o], left[s, i:unit])
        elif feedback:
            for s in range(running):
                copy(targets[own, rows[s], t], left[s, i:unit])
    for s in range(depth):
        row = rows[s]
        copy(left[s, unit : unit + h], last[net, row])
        copy(left[s, i:unit], last[net, row, h:])
        if states.size:
            clear_after(states[net, row], lengths[row])
        if outputs.size:
            clear_after(outputs[net, row], lengths[row])
    keep(scratch)


@jit
def add_panel(net, p, count, features, products):
    """products += the sums over `count` steps of a panel of features times itself and those after it."""
    width = products.shape[1]
    step = panel_step(features)
    steps = features.shape[1] // width
    for first in range(0, count, DEPTH):
        depth = min(DEPTH, count - first)
        left = net * features.shape[1] + (p * steps + first) * step
        for q in range(p, width // step):
            right, out = left + (q - p) * steps * step, (net * width + p * step) * width + q * step
            for r in range(0, step, GRAM_ROWS):
                to = out + r * width
                gram_tile(features, left + r, step, features, right, step, 0, depth, products, to, width)


@parallel
def reservoir_tasks(
    task,
    runs,
    parts,
    order,
    begin,
    end,
    weights,
    bias,
    diagonals,
    offsets,
    leak,
    activation,
    feedback,
    x,
    targets,
    lengths,
    outward,
    b_out,
    states,
    outputs,
    last,
    washout,
    places,
    features,
    count,
    before,
    products,
):
    """`run_rows` of a part of the rows in `order`, or `add_panel` of what was run before."""
    if task < runs:
        run_rows(
            task // parts,
            own_rows(order, task % parts, parts),
            begin,
            end,
            weights,
            bias,
            diagonals,
            offsets,
            leak,
            activation,
            feedback,
            x,
            targets,
            lengths,
            outward,
            b_out,
            states,
            outputs,
            last,
            washout,
            places,
            features,
        )
    else:
        panels = products.shape[1] // panel_width(before)
        add_panel((task - runs) // panels, (task - runs) % panels, count, before, products)


def run_work(reservoir, inputs):
    """Nanoseconds of a step of a row."""
    h = reservoir.leak.shape[1]
    return h * (inputs + reservoir.feedback + (reservoir.offsets.shape[1] or h)) / RATE + h + 30


def run_all(reservoir, x, targets, lengths, outward, b_out, states, outputs, last, n):
    """All steps of all rows, without products."""
    k, b, _ = last.shape
    work = k * b * n * run_work(reservoir, x.shape[3])
    parts, nothing = parts_of(k, b, work), np.empty((k, 0))
    none = np.empty(0, np.int64)
    run = (parts, longest_first(lengths), 0, n, *reservoir, x, targets, lengths)
    made = (outward, b_out, states, outputs, last, none, none, nothing, 0, nothing, np.empty((k, 0, 0)))
    reservoir_tasks.deal(k * parts, work, k * parts, *run, *made)


def reservoir_states(reservoir, x, targets, lengths, state, states, last):
    """Fill states with those of all steps."""
    last[:] = state
    none = np.empty((len(last), 0), last.dtype)
    run_all(reservoir, x, targets, lengths, none, none, states, none[..., None, None], last, x.shape[2])


def reservoir_outputs(reservoir, x, lengths, state, readout, outputs, last):
    """Fill outputs with those of all steps."""
    last[:] = state
    k, _, o = readout.shape
    i, fed = x.shape[3], np.zeros((k, reservoir.feedback, o), readout.dtype)
    below = np.concatenate([readout[:, 1 : 1 + i], fed, readout[:, 1 + i :]], axis=1)
    outward, b_out = pack_below("float32", 0, o, below), in_panels(readout[:, 0])
    none = np.empty((1, 0, 0, 0), x.dtype)
    run_all(reservoir, x, none, lengths, outward, b_out, none, outputs, last, outputs.shape[2])


def reservoir_products(reservoir, x, targets, lengths, washout, state, products, last):
    """Add the products of [1, x, h, target] over all steps after the washout."""
    last[:] = state
    k, f, _ = products.shape
    fewest, most = STEPS
    at_once = max(fewest, min(most, PIECE // f))
    networks = max(1, NETWORKS_PIECE // (at_once * f))
    for first in range(0, k, networks):
        some = slice(first, first + networks)
        given, goal = (array if len(array) == 1 else array[some] for array in (x, targets))
        own = reservoir._replace(**{key: getattr(reservoir, key)[some] for key in reservoir._fields[:5]})
        products_of(own, given, goal, lengths, washout, at_once, products[some], last[some])


def products_of(reservoir, x, targets, lengths, washout, at_once, products, last):
    """`reservoir_products` for networks that run at once, in pieces of `at_once` steps."""
    k, f, _ = products.shape
    width = padded(f, products)
    sums = np.zeros((k, width, width))
    buffers = [memory.empty((k, width * max(at_once, ROWS_AT_ONCE)), np.float64) for _ in range(2)]
    panels = width // panel_width(sums)
    none = np.empty((k, 0), last.dtype)
    nothing, order, count, work = none[..., None, None], longest_first(lengths), 0, 0.0
    pieces = []
    for first in range(0, len(order), ROWS_AT_ONCE):
        rows = order[first : first + ROWS_AT_ONCE]
        steps = max(1, at_once // len(rows))
        pieces += [(rows, begin, begin + steps) for begin in range(0, int(lengths[rows[0]]), steps)]
    for rows, begin, end in [*pieces, (order[:0], 0, 0)]:
        end = min(end, int(lengths[rows[0]])) if len(rows) else 0
        runs = k * len(rows) * (end - begin) * run_work(reservoir, x.shape[3])
        parts = parts_of(k, len(rows), runs + work) if len(rows) else 0
        counts = np.clip(np.minimum(lengths[rows], end) - np.maximum(washout[rows], begin), 0, None)
        places = np.zeros_like(lengths)
        places[rows] = np.cumsum(counts) - counts
        reservoir_tasks.deal(
            *(k * (parts + panels * (count > 0)), runs + work),
            *(k * parts, parts, rows, begin, end, *reservoir, x, targets, lengths),
            *(none, none, nothing, nothing, last, washout, places, buffers[0], count, buffers[1], sums),
        )
        buffers.reverse()
        count = int(counts.sum())
        work = k * count * width * width / RATE
    upper = np.triu(sums[:, :f, :f])
    products[:] = upper + np.triu(upper, 1).swapaxes(1, 2)
