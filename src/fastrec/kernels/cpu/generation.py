"""Tokens drawn by a recurrent network on the CPU, all of them in one call.

Each worker owns a share of the units and of the logits, so that its weights stay in the second-level cache of
a core.  It reads them alternately forwards and backwards, because those read last are still in the cache.  A
step has one phase for each layer, one for the logits and one for the draws.  A worker that has done its part
of a phase waits for the other parts; after a while it takes over parts that no worker has begun, so that the
call completes with any number of running threads.
"""

from __future__ import annotations

import functools
from importlib import import_module

import numpy as np

from .. import SAMPLE
from .arrays import add, copy, fill, matrix
from .atomic import claim, fetch_add, give_way, look, relax
from .functions import exp
from .jit import jit, kernel
from .matrix import has_halves, multiply_rounded, pack_below, pack_panel, padded, pair, panel_width
from .pairs import elements, factors_down
from .parallel import parallel
from .random import HALF, LOW, ONE, U64, block
from .stepping import spread_gates
from .threads import get_threads

__all__ = ["generate"]

BLOCK = 2  # panels of each gate multiplied at a time
APART = 16  # words between values written by different threads, so that each has its own cache line
FEW = 4  # rows
SMALL = 1 << 17  # weights up to which a step takes less time than starting another thread
PATIENCE = 256  # polls of unfinished parts before taking one over, about the time of a part
SIGN = U64(1 << 63)


@jit
def high_product(a, b):
    """floor(a b / 2^64)."""
    a0, a1, b0, b1 = a & LOW, a >> HALF, b & LOW, b >> HALF
    cross = a1 * b0 + (a0 * b0 >> HALF)
    return a1 * b1 + (cross >> HALF) + (a0 * b1 + (cross & LOW) >> HALF)


@jit
def cut(ranks, gains, need, weights):
    """Keep the weights of the tokens of highest rank, equal ones in order, the fewest that gain `need`."""
    low, high = ranks[0], ranks[0]
    for rank in ranks:
        low, high = min(low, rank), max(high, rank)
    high += ONE  # tokens of rank >= low gain enough, and of rank >= high too little
    while high - low > ONE:
        middle = low + (high - low >> ONE)
        gained = 0
        for j in range(len(ranks)):
            gained += gains[j] if ranks[j] >= middle else 0
        if gained >= need:
            low = middle
        else:
            high = middle
    gained = 0
    for j in range(len(ranks)):
        gained += gains[j] if ranks[j] > low else 0
    for j in range(len(ranks)):
        if ranks[j] < low or (ranks[j] == low and gained >= need):
            weights[j] = 0
        elif ranks[j] == low:
            gained += gains[j]


@jit
def draw(y, temperature, top_k, top_p, random, weights, ranks, ones):
    """The token that 64 random bits choose from logits y, -1 if one is not finite."""
    best, top, finite = 0, y[0], True
    for j in range(len(y)):
        finite &= y[j] - y[j] == 0
    for j in range(len(y)):
        if y[j] > top:
            best, top = j, y[j]
    if not finite or temperature == 0:
        return best if finite else -1
    scale, unit = y.dtype.type(1 / temperature), y.dtype.type(2.0**32)
    total = 0
    for j in range(len(y)):
        weights[j] = np.int64(exp((y[j] - top) * scale) * unit)
    if top_k < len(y) or top_p < ~U64(0):
        bits = ranks.view(np.float64)
        for j in range(len(y)):
            bits[j] = np.float64(y[j]) + 0.0  # no -0
        for j in range(len(y)):
            ranks[j] = ranks[j] ^ (~U64(0) if ranks[j] & SIGN else SIGN)
        if top_k < len(y):
            cut(ranks, ones, top_k, weights)
        if top_p < ~U64(0):
            for j in range(len(y)):
                total += weights[j]
            cut(ranks, weights, np.int64(high_product(U64(total), top_p)) + 1, weights)
            total = 0
    for j in range(len(y)):
        total += weights[j]
    point = np.int64(high_product(U64(total), random))
    token, reached = 0, weights[0]
    while reached <= point:
        token += 1
        reached += weights[token]
    return token


@jit
def draw_rows(worker, workers, t, rows, rule, y, scratch):
    """What each row of a worker's share reads after step t, drawn once its prompt has ended."""
    (prompt, lengths, reading, moving, drawn, ended), (weights, ranks, ones) = rows, scratch
    temperature, top_k, top_p, stop, key, first = rule
    b, n = drawn.shape
    for row in range(worker * b // workers, (worker + 1) * b // workers):
        number = t + 1 - lengths[row]
        if number < 0:
            reading[row] = prompt[row, t + 1]
        elif moving[row]:
            i = U64(first + number)
            random = block(key, i >> ONE, row, 0, SAMPLE)[np.int64(i & ONE)]
            token = draw(y[row], temperature, top_k, top_p, random, weights, ranks, ones)
            drawn[row, number] = reading[row] = token
            if token == -1 or token == stop:
                fill(drawn[row], number, token)
                number = n - 1
            if number == n - 1:
                moving[row] = False
                fetch_add(ended, 0, 1)


@jit
def stretch(panels, held, first, numbers):
    """The panels that hold `numbers` numbers from `first` on, `held` of them in each word."""
    return panels[first // held : (first + numbers) // held]


@jit
def step_logits(worker, workers, moving, h_t, panels, b_out, outputs, sums, room):
    """A worker's share of the columns of outputs = h_t W_out + b_out."""
    (rows, h), o, unit = h_t.shape, outputs.shape[1], panel_width(h_t)
    all_panels = -(-o // unit)
    first, last = worker * all_panels // workers * unit, (worker + 1) * all_panels // workers * unit
    y = matrix(sums, rows, last - first)
    end = min(last, o)
    for row in range(rows):
        copy(b_out[first:end], y[row])
    if last > first:
        deep = elements(h, panels)
        held = deep * padded(o, h_t) // len(panels)
        own = stretch(panels, held, first * deep, (last - first) * deep)
        multiply_rounded(h_t, 0, h, rows, own, h, y, room)
    for row in range(rows):
        if moving[row]:
            copy(y[row, : end - first], outputs[row, first:end])


@functools.cache
def workers_of(cell):
    """The kernel of the workers for a cell, into which the step of its file is compiled."""
    step = getattr(import_module(f".{cell}", __package__), f"{cell}_step")

    def step_units(
        worker, workers, layer, t, net, reading, moving, outputs, hidden, cells, sums, products, room
    ):
        """Step t of a worker's share of the units of a layer: from hidden[t % 2] to the other half."""
        feeds_back, activation, W_in, b, units, inward, recurrent = net
        rows, h = hidden.shape[2:]
        gates, each = b.shape[1] // h, units.shape[1] // padded(h, hidden)
        old, new = hidden[t % 2, layer], hidden[(t + 1) % 2, layer]
        left = outputs if feeds_back else old
        depth, unit = left.shape[1], BLOCK * panel_width(hidden)
        blocks, deep = -(-h // unit), elements(depth, recurrent)
        held = deep * gates * padded(h, hidden) // recurrent.shape[1]
        first, last = worker * blocks // workers, (worker + 1) * blocks // workers
        for i in range(first, last):
            begin = (first + last - 1 - i if t % 2 else i) * unit
            n = min(unit, h - begin)
            width = padded(n, hidden)
            z = matrix(sums, rows, gates * width)
            p = matrix(products, rows, gates * width)
            for row in range(rows):
                fill(p[row], 0, 0)
                for gate in range(gates):
                    column, z_gate = gate * h + begin, z[row, gate * width : gate * width + n]
                    copy(b[layer, column : column + n], z_gate)
                    if layer == 0:
                        add(W_in[reading[row], column : column + n], z_gate)
            if layer:
                panels = stretch(inward[layer - 1], held, gates * deep * begin, gates * deep * width)
                multiply_rounded(hidden[(t + 1) % 2, layer - 1], 0, h, rows, panels, h, z, room)
            panels = stretch(recurrent[layer], held, gates * deep * begin, gates * deep * width)
            multiply_rounded(left, 0, depth, rows, panels, depth, p, room)
            own = units[layer, each * begin : each * (begin + width)]
            for row in range(rows):
                before, after = old[row, begin : begin + n], new[row, begin : begin + n]
                if moving[row]:
                    step(activation, z[row], p[row], own, before, cells[layer, row, begin : begin + n], after)
                else:
                    copy(before, after)

    # Code of two kernels read from disk may be linked by these names.
    step_units.__qualname__ = f"step_units_{cell}"
    step_units = jit(step_units)

    def work(worker, workers, phases, begun, done, net, readout, rule, rows, states, scratch):
        """Run a worker through all phases; begun and done count those of each part, and all parts done."""
        _, lengths, reading, moving, _, ended = rows
        outputs, hidden, cells = states
        sums, products, rooms, chances, ranks, ones = scratch
        own = sums[worker], products[worker], rooms[worker]
        layers, shortest = hidden.shape[1], lengths[0]
        for length in lengths:
            shortest = min(shortest, length)
        for number in range(phases):
            t, phase = number // (layers + 2), number % (layers + 2)
            part, looks = worker, 0
            while look(done, 0) < (number + 1) * workers:
                if claim(begun, part * APART, number):
                    if phase < layers:
                        of_units = (reading, moving, outputs, hidden, cells)
                        step_units(part, workers, phase, t, net, *of_units, *own)
                    elif phase == layers and (t + 1 >= shortest or net[0]):
                        top = hidden[(t + 1) % 2, layers - 1]
                        step_logits(part, workers, moving, top, *readout, outputs, own[0], own[2])
                    elif phase > layers:
                        room = (chances[worker], ranks[worker], ones)
                        draw_rows(part, workers, t, rows, rule, outputs, room)
                    fetch_add(done, 0, 1)
                else:
                    relax()
                    looks += 1
                    if looks % PATIENCE == 0:  # a thread that did not start, or waits for this core
                        part = (part + 1) % workers
                        give_way()
            if look(ended, 0) == len(lengths):
                break

    work.__qualname__ = f"generate_{cell}"  # kernels are kept on disk by this name
    return parallel(work)


@kernel
def pack_blocks(W, gates, panels):
    """Pack W (depth, gates h) into panels, those of all gates of a block of units side by side."""
    depth, h = W.shape[1], W.shape[2] // gates
    unit = BLOCK * panel_width(panels)
    for task in range(-(-h // unit) * gates):
        begin, gate = task // gates * unit, task % gates
        n = min(unit, h - begin)
        width = padded(n, panels)
        at = depth * (gates * begin + gate * width)
        block = panels[:, at : at + depth * width]
        for column in range(0, n, panel_width(panels)):
            pack_panel(W, 0, gate * h + begin, False, depth, n, block, 0, column)


def by_block(values, h):
    """Parameters (1, n h) of single units in the order of `pack_blocks`, those of each block side by side."""
    unit, spread = BLOCK * panel_width(values), spread_gates(values, h).reshape(1, -1, padded(h, values))
    blocks = [spread[:, :, begin : begin + unit].reshape(1, -1) for begin in range(0, h, unit)]
    return np.concatenate(blocks, axis=1)


def generate(
    cell,
    tokens,
    lengths,
    state,
    layers,
    W_out,
    b_out,
    activation,
    feeds_back,
    temperature,
    top_k,
    top_p,
    stop,
    key,
    first,
    drawn,
    last,
    *,
    precision="float32",
):
    """Read prompts and go on with them, each token drawn being the next input."""
    (b, n), (_, h, o), dtype = drawn.shape, W_out.shape, W_out.dtype
    L, depth, gates = len(layers), layers[0][1].shape[1], layers[0][1].shape[2] // h
    own = [factors_down(weights[1], precision) for weights in layers]
    below = [factors_down(weights[0], precision) for weights in layers[1:]]
    recurrent, inward = (
        np.empty((len(each), each[0].shape[1] * gates * padded(h, W_out) if each else 0), own[0].dtype)
        for each in (own, below)
    )
    for weights, panels in ((own, recurrent), (below, inward)):
        for layer, W in enumerate(weights):
            pack_blocks(W, gates, panels[layer : layer + 1])
    outward = pack_below(precision, 0, o, W_out)
    # Few rows are limited by memory and take half the time; with more, unpacking the numbers would cost more.
    if (
        precision == "float32"
        and b <= FEW
        and all(has_halves(panels) for panels in (outward, recurrent, inward))
    ):
        recurrent, inward, outward = pair(recurrent), pair(inward), pair(outward)
    biases = np.concatenate([weights[2] for weights in layers])
    units = np.concatenate(
        [by_block(np.concatenate([b[:, :0], *more], axis=1), h) for _, _, b, *more in layers]
    )
    net = (feeds_back, activation, layers[0][0][0], biases, units, inward, recurrent)

    unit = BLOCK * panel_width(W_out)
    blocks = -(-h // unit)
    small = recurrent.size + inward.size < SMALL
    workers = 1 if small else min(get_threads(), blocks)
    hidden, outputs = np.zeros((2, L, b, h), dtype), np.zeros((b, o), dtype)
    cells = np.zeros_like(hidden[0])
    if feeds_back:
        outputs[:] = state[0, 0]
    else:
        hidden[0], cells[..., : state.shape[3] - h] = state[:, 0, :, :h], state[:, 0, :, h:]
    width = max(gates * unit, padded(o, W_out))
    sums, products = np.empty((workers, b * width), dtype), np.empty((workers, b * gates * unit), dtype)
    chances, ranks = np.empty((workers, o), np.int64), np.empty((workers, o), np.uint64)
    rooms = np.empty((workers, b, max(h, depth)), own[0].dtype)
    scratch = (sums, products, rooms, chances, ranks, np.ones(o, np.int64))
    reading, moving, ended = tokens[:, 0].copy(), np.ones(b, np.bool_), np.zeros(APART, np.int64)
    rows = (tokens, lengths, reading, moving, drawn, ended)
    rule = (float(temperature), top_k, np.uint64(top_p), stop, np.uint64(key), first)
    begun, done = np.zeros(workers * APART, np.int64), np.zeros(APART, np.int64)
    phases = (int(lengths.max()) + n - 1) * (L + 2)
    states = (outputs, hidden, cells)
    args = (workers, phases, begun, done, net, (outward[0], b_out[0]), rule, rows, states, scratch)
    workers_of(cell).deal(workers, 1e9, *args)
    steps = int(done[0]) // workers // (L + 2)
    if feeds_back:
        last[0, 0] = outputs
    else:
        last[:, 0, :, :h], last[:, 0, :, h:] = hidden[steps % 2], cells[..., : state.shape[3] - h]
