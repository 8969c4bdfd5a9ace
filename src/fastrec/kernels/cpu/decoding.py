"""Sequences that a decoder writes on the CPU, all steps of all sources in one call.

Threads are dealt a few sources at a time.  All beams of these that go on, side by side, are the rows of the
products, so that a panel of the weights is read once for as many rows as there are.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .. import SAMPLE
from .arrays import borrow, copy, empty, fill, keep
from .attention import additive_score, in_place_tanh, softmax
from .elementwise import elementwise, summed
from .functions import exp_negative
from .generation import draw
from .jit import jit
from .matrix import RATE, multiply_rounded, pack_below, padded
from .normalised import dot
from .parallel import parallel
from .random import ONE, U64, block
from .stepping import layers_of, pack_network
from .threads import get_threads
from .values import where

__all__ = ["beam_search", "generate_attending"]

FOLDED = 4  # logits whose greatest one tells whether any of them is looked at; divides whole vectors
ROWS = 64  # of a task, where there are enough: they share what it takes to read the weights

larger = elementwise(lambda a, b: where(a, ">", b, a, b))
nothing = summed(lambda a: a - a)  # but NaN if a number is not finite
exp_sum = summed(exp_negative)  # of whole vectors


@jit
def attend(rows, sources, left, attention, room, scratch):
    """left (rows, h) = tanh([c | h] W_combine), of h = left."""
    keys, values, lengths, W_query, v, W_combine = attention
    queries, scores, weights, both, made = scratch
    h, d = left.shape[1], keys.shape[2]
    if W_query.size:
        for r in range(rows):
            fill(queries[r], 0, 0)
        multiply_rounded(left, 0, h, rows, W_query, h, queries, room)
    for r in range(rows):
        source = sources[r]
        steps, query, context = lengths[source], queries[r, :d] if W_query.size else left[r], both[r, :h]
        for j in range(steps):
            key = keys[source, j]
            scores[j] = additive_score((query, key, v)) if len(v) else dot((query, key))
        fill(context, 0, 0)
        if steps:
            softmax(scores[:steps], weights[:steps])
        for j in range(steps):
            part, value = weights[j], values[source, j]
            for i in range(h):
                context[i] += part * value[i]
        copy(left[r], both[r, h:])
        fill(made[r], 0, 0)
    multiply_rounded(both, 0, 2 * h, rows, W_combine, 2 * h, made, room)
    for r in range(rows):
        in_place_tanh((made[r, :h],), (left[r],))


@functools.cache
def decoder_of(cell, choose):
    """The kernel for a cell and a function that chooses the symbols with which rows go on."""
    step_layers, layer_scratch = layers_of(cell)

    def decode(
        task,
        each,
        width,
        steps,
        layers,
        h,
        units,
        activation,
        feeds_back,
        W_in,
        biases,
        panels,
        state,
        attention,
        rule,
    ):
        """Decode `each` sources, one row of each first and up to `width` later."""
        _, _, n, s = state.shape
        first, o, attends = task * each, W_in.shape[1], attention[5].size > 0
        end = min(first + each, n)
        most, d = (end - first) * width, attention[0].shape[2]
        scratch = (
            layer_scratch(most, 0, o if feeds_back else 0, h, W_in, biases, panels),
            (
                empty((most, padded(d, biases)), biases),
                empty((attention[0].shape[1],), biases),
                empty((attention[0].shape[1],), biases),
                empty((most * attends, 2 * h), biases),
                empty((most * attends, padded(h, biases)), biases),
            ),
            empty((most, padded(o, biases)), biases),
            empty((2 * padded(o, biases),), biases),
            empty((layers, 1, most, s), biases),
            empty((layers, 1, most, s), biases),
            empty((most,), np.int64),
            empty((most,), np.int64),
            empty((most,), np.int64),
            empty((most,), np.int64),
        )
        of_layers, of_attention, y, spare, now, then, sources, new_sources, parents, reading = borrow(scratch)
        left, room = of_layers[0], of_layers[6]
        rows, shape = end - first, (layers, h, units, activation, feeds_back, 0)
        for r in range(rows):
            sources[r], reading[r] = first + r, o - 1
            for layer in range(layers):
                copy(state[layer, 0, first + r], now[layer, 0, r])
        for t in range(steps):
            at, bias_at = step_layers(0, 0, rows, shape, W_in, biases[0], panels[0], reading, now, of_layers)
            if attends:
                attend(rows, sources, left, attention, room, of_attention)
            for r in range(rows):
                copy(biases[0, bias_at:], y[r])
            multiply_rounded(left, 0, h, rows, panels[0, at:], h, y, room)
            if feeds_back:
                for r in range(rows):
                    copy(y[r, :o], now[0, 0, r])
            rows = choose(task, t, rows, sources, y, o, spare, new_sources, parents, reading, rule)
            if not rows:
                break
            for r in range(rows):
                for layer in range(layers):
                    copy(now[layer, 0, parents[r]], then[layer, 0, r])
            now, then, sources, new_sources = then, now, new_sources, sources
        keep(scratch)

    decode.__qualname__ = f"{choose.__name__}_{cell}"  # kernels are kept on disk by this name
    return parallel(decode)


@jit
def log_total(y, o, spare, tops):
    """log sum exp of the first o of y, of whole vectors; NaN if one is not finite.

    spare: as long as y.  tops[j]: the greatest of y[j], y[j + len(tops)], ..; y is -inf behind the first o.
    """
    fault = nothing((y[:o],))
    if fault != 0:
        return fault
    fill(y, o, -math.inf)
    size = len(y) // 2
    larger((y[:size], y[size:]), (spare[:size],))
    while size > len(tops):
        size //= 2
        larger((spare[:size], spare[size : 2 * size]), (spare[:size],))
    copy(spare[:size], tops)
    while size > 1:
        half = size // 2
        larger((spare[:half], spare[size - half : size]), (spare[:half],))
        size -= half
    top = spare[0]
    for j in range(len(y)):
        spare[j] = y[j] - top
    return np.float64(top) + math.log(exp_sum((spare,)))


@jit
def finish(score, length, beam, scores, ends):
    """Take a hypothesis into the best ones of a source, behind those with its score."""
    place = len(scores)
    while place and score > scores[place - 1]:
        place -= 1
    for j in range(len(scores) - 1, place, -1):
        scores[j] = scores[j - 1]
        copy(ends[j - 1], ends[j])
    if place < len(scores):
        scores[place], ends[place, 0], ends[place, 1] = score, length, beam


@jit
def take_best(live, y, o, spare, sums, best, picks, stops):
    """The beams with which a source goes on: fill best, sums that do not rise, and picks, beam and symbol.

    y: logits of its live beams, with these sums.  stops gets the sums of those that end, NaN if not taken.
    Returns how many go on, -1 where a logit is not finite.
    """
    held, width, floor, size = 0, len(best), -math.inf, y.shape[1]
    tops = spare[size : size + size // FOLDED]
    for beam in range(live):
        total = log_total(y[beam], o, spare[:size], tops)
        if total != total:
            return -1
        base = sums[beam] - total
        stops[beam] = base + np.float64(y[beam, o - 1])
        for first in range(len(tops)):
            if held == width and base + np.float64(tops[first]) < floor:
                continue
            for symbol in range(first, o - 1, len(tops)):
                score, place = base + np.float64(y[beam, symbol]), held
                while place and goes_before(score, beam, symbol, best[place - 1], picks[place - 1]):
                    if place < width:
                        best[place] = best[place - 1]
                        copy(picks[place - 1], picks[place])
                    place -= 1
                if place < width:
                    best[place], picks[place, 0], picks[place, 1] = score, beam, symbol
                    held = min(held + 1, width)
                    floor = best[width - 1] if held == width else floor
    for beam in range(live):
        if held == width and not goes_before(stops[beam], beam, o - 1, floor, picks[width - 1]):
            stops[beam] = math.nan
    return held


@jit
def goes_before(score, beam, symbol, other, pick):
    """Whether a candidate is taken before another one: by falling score, then by beam, then by symbol."""
    return score > other or (score == other and (beam < pick[0] or (beam == pick[0] and symbol < pick[1])))


@jit
def beam_search_step(task, t, rows, sources, y, o, spare, new_sources, parents, reading, rule):
    """Extend the beams of each source, which are rows side by side; how many rows go on."""
    penalties, sums, best, picks, stops, history, ends, symbols, lengths, scores = rule
    row, made, last = 0, 0, len(penalties) - 1
    while row < rows:
        source, live = sources[row], 1
        while row + live < rows and sources[row + live] == source:
            live += 1
        own = (sums[source], best[source], picks[source], stops[source])
        held = take_best(live, y[row : row + live], o, spare, *own)
        finished, end = scores[source], ends[source]
        for beam in range(live if held >= 0 else 0):
            if stops[source, beam] == stops[source, beam]:
                finish(stops[source, beam] / penalties[t], t, beam, finished, end)
        for beam in range(held):
            sums[source, beam] = best[source, beam]
            copy(picks[source, beam], history[source, t, beam])
            if t == last:
                finish(best[source, beam] / penalties[t], t + 1, beam, finished, end)
        if held < 0:
            fill(lengths[source], 0, -1)
        elif t == last or held == 0 or best[source, 0] / penalties[last] <= finished[len(finished) - 1]:
            for rank in range(len(end)):
                beam = end[rank, 1]
                lengths[source, rank] = end[rank, 0]
                for step in range(end[rank, 0] - 1, -1, -1):
                    symbols[source, rank, step] = history[source, step, beam, 1]
                    beam = history[source, step, beam, 0]
        else:
            for beam in range(held):
                new_sources[made], parents[made] = source, row + picks[source, beam, 0]
                reading[made] = picks[source, beam, 1]
                made += 1
        row += live
    return made


@jit
def generate_attending_step(task, t, rows, sources, y, o, spare, new_sources, parents, reading, rule):
    """Draw a symbol for each row; how many rows go on."""
    temperature, top_k, top_p, key, chances, ranks, ones, drawn = rule
    made = 0
    for row in range(rows):
        source, i = sources[row], U64(t)
        random = block(key, i >> ONE, source, 0, SAMPLE)[np.int64(i & ONE)]
        symbol = draw(y[row, :o], temperature, top_k, top_p, random, chances[task], ranks[task], ones)
        if symbol == -1 or symbol == o - 1:
            fill(drawn[source], t, symbol)
            continue
        drawn[source, t] = reading[made] = symbol
        new_sources[made], parents[made] = source, row
        made += 1
    return made


def decode(choose, cell, state, layers, W_out, b_out, activation, feeds_back, attention, width, steps, rule):
    """Deal the sources to the threads; rule(tasks): the last argument of `choose`."""
    _, operations, *net = pack_network(cell, layers, W_out, b_out, activation, feeds_back, True)
    del net[5]  # there is an output layer
    keys, values, lengths, W_query, v, W_combine = attention
    query, combine = (
        pack_below("float32", 0, W.shape[1], W[None])[0] if W.size else W.reshape(-1)
        for W in (W_query, W_combine)
    )
    n, each = state.shape[2], max(1, min(-(-state.shape[2] // get_threads()), ROWS // width))
    operations += W_query.size + W_combine.size + 2 * keys.shape[1] * values.shape[2]
    work, tasks = n * width * steps * (operations / RATE + W_out.shape[2]), -(-n // each)
    attention = (keys, values, lengths, query, v, combine)
    decoder_of(cell, choose).deal(tasks, work, each, width, steps, *net, state, attention, rule(tasks))


def beam_search(
    cell,
    state,
    layers,
    W_out,
    b_out,
    activation,
    feeds_back,
    keys,
    values,
    lengths,
    W_query,
    v,
    W_combine,
    width,
    penalties,
    symbols,
    symbol_lengths,
    scores,
):
    """The best hypotheses of each source."""
    n, n_best, steps = symbols.shape
    symbols.fill(W_out.shape[2] - 1)
    symbol_lengths.fill(0)
    scores.fill(-np.inf)
    sums, best, stops = np.zeros((n, width)), np.empty((n, width)), np.empty((n, width))
    picks, history = np.empty((n, width, 2), np.int32), np.empty((n, steps, width, 2), np.int32)
    ends = np.zeros((n, n_best, 2), np.int32)
    arrays = (penalties, sums, best, picks, stops, history, ends, symbols, symbol_lengths, scores)
    network, attention = (
        (cell, state, layers, W_out, b_out, activation, feeds_back),
        (keys, values, lengths, W_query, v, W_combine),
    )
    decode(beam_search_step, *network, attention, width, steps, lambda tasks: arrays)


def generate_attending(
    cell,
    state,
    layers,
    W_out,
    b_out,
    activation,
    feeds_back,
    keys,
    values,
    lengths,
    W_query,
    v,
    W_combine,
    temperature,
    top_k,
    top_p,
    key,
    drawn,
):
    """Symbols drawn for each source."""
    o = W_out.shape[2]
    network, attention = (
        (cell, state, layers, W_out, b_out, activation, feeds_back),
        (keys, values, lengths, W_query, v, W_combine),
    )

    def rule(tasks):
        scratch = (np.empty((tasks, o), np.int64), np.empty((tasks, o), np.uint64), np.ones(o, np.int64))
        return float(temperature), top_k, np.uint64(top_p), np.uint64(key), *scratch, drawn

    decode(generate_attending_step, *network, attention, 1, drawn.shape[1], rule)
