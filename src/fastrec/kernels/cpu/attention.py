"""Attention of the steps of one network over those of another, on the CPU.

A row costs the products of the steps that it has: keys and values are packed by the task that reads them.
"""

from __future__ import annotations

from .affine import STEPS
from .arrays import borrow, copy, empty, fill, keep, zeros
from .elementwise import elementwise, summed
from .functions import exp, tanh
from .jit import jit
from .matrix import RATE, multiply, pack_panel, padded, panel_width, weight_gradient_rows
from .parallel import tasks
from .time_loop import clear_after
from .values import fma

STRETCH = 4096  # numbers at a time
SUMS = 1.5  # nanoseconds of v tanh(query + key), a number

additive_score = summed(lambda query, key, v: v * tanh(query + key))
in_place_tanh = elementwise(tanh)
tanh_slope = elementwise(lambda y, d: d * (1.0 - y * y))


@elementwise
def additive_back(query, key, v, d_score, d_query, d_key, d_v):
    """Add the gradients of d_score v tanh(query + key) to three sums."""
    z = tanh(query + key)
    d = d_score * v * (1.0 - z * z)
    return d_query + d, d_key + d, fma(d_score, z, d_v)


@jit
def multiply_by(a, at, stride, rows, matrices, row, transposed, depth, columns, c):
    """c += a B, with B the first depth rows and columns of matrices[row], or of its transpose.

    Row r of a begins at `at` + r stride of its flat view; c is padded.
    """
    panels = empty((1, depth * c.shape[1]), c)
    for begin in range(0, columns, panel_width(c)):
        pack_panel(matrices[row : row + 1], 0, 0, transposed, depth, columns, panels, 0, begin)
    multiply(a, at, stride, rows, panels[0], depth, c)


@jit
def softmax(scores, weights):
    """weights = softmax of as many scores."""
    n, top, total = len(weights), scores[0], scores.dtype.type(0)
    for j in range(n):
        top = scores[j] if not scores[j] <= top else top
    for j in range(n):
        weights[j] = exp(scores[j] - top)
    for j in range(n):
        total += weights[j]
    part = scores.dtype.type(1) / total
    for j in range(n):
        weights[j] *= part


def products(queries, keys, values, v):
    """Nanoseconds of one product of each query with each key and value."""
    b, u, d = queries.shape
    pairs = b * u * keys.shape[1]
    return pairs * values.shape[2] / RATE + pairs * d * (SUMS if v.size else 1 / RATE)


def query_blocks(queries, steps, keys, values, lengths, v, weights, contexts):
    """Blocks of the queries of all rows."""
    return len(queries) * -(-queries.shape[1] // STEPS), products(queries, keys, values, v)


@tasks(query_blocks)
def attention_forward(task, queries, steps, keys, values, lengths, v, weights, contexts):
    """Softmax over the keys of each query, and the sums of the values so weighed."""
    u, d = queries.shape[1:]
    (_, t, h), blocks = values.shape, -(-u // STEPS)
    row, begin = task // blocks, task % blocks * STEPS
    end, n = min(begin + STEPS, u), lengths[row]
    running = max(0, min(end, steps[row]) - begin)
    live = running if n else 0
    at = row * u + begin
    scratch = zeros((live, padded(n, v)), v), zeros((live, padded(h, v)), v)
    scores, sums = borrow(scratch)
    if live and v.size:
        for i in range(live):
            for j in range(n):
                score = additive_score((queries[row, begin + i], keys[row, j], v))
                scores[i, j] = score
    elif live:
        multiply_by(queries, at * d, d, live, keys, row, True, d, n, scores)
    for i in range(live):
        softmax(scores[i], weights[row, begin + i, :n])
        fill(weights[row, begin + i], n, 0)
    if live:
        multiply_by(weights, at * t, t, live, values, row, False, n, h, sums)
    for i in range(live):
        copy(sums[i, :h], contexts[row, begin + i])
    clear_after(weights[row, begin:end], live)
    clear_after(contexts[row, begin:end], live)
    keep(scratch)


def attention_backward(
    queries, steps, keys, values, lengths, v, weights, d_contexts, d_queries, d_keys, d_values, d_v
):
    """Gradients of attention_forward."""
    backward_rows(
        *(queries[:, None], steps, keys, values, lengths, v, weights[:, None], d_contexts[:, None]),
        *(d_queries, d_keys, d_values, d_v),
    )


def rows_of(queries, steps, keys, values, lengths, v, *rest):
    """Rows, whose work is twice that of forward."""
    return len(queries), 2 * products(queries[:, 0], keys, values, v)


@tasks(rows_of)
def backward_rows(
    row, queries, steps, keys, values, lengths, v, weights, d_contexts, d_queries, d_keys, d_values, d_v
):
    """Gradients of the row of a batch, whose queries, weights and contexts have another axis for networks."""
    u, d = queries.shape[2:]
    h, m, n = values.shape[2], steps[row], lengths[row]
    clear_after(d_queries[row], m if n else 0)
    fill(d_v[row], 0, 0)
    if m == 0 or n == 0:
        clear_after(d_keys[row], 0)
        clear_after(d_values[row], 0)
        return
    clear_after(d_keys[row], n)
    clear_after(d_values[row], n)
    one = steps[row : row + 1]
    scratch = (
        zeros((1, 1, m, padded(n, v)), v),
        zeros((m, padded(d, v)), v),
        empty((d,), v),
        empty((0, 0, 0), v),
    )
    d_scores, sums, scale, nothing = borrow(scratch)
    multiply_by(d_contexts, row * u * h, h, m, values, row, True, h, n, d_scores[0, 0])
    for i in range(m):
        along = v.dtype.type(0)
        of_query, shares = d_scores[0, 0, i], weights[row, 0, i]
        for j in range(n):
            along += shares[j] * of_query[j]
        for j in range(n):
            of_query[j] = shares[j] * (of_query[j] - along)
    none = nothing[0, 0]
    weight_gradient_rows(
        none, weights, nothing, d_contexts, row, one, 0, h, 0, n, d_values, 0, False, nothing[0], 0
    )
    if v.size:
        clear_after(d_queries[row], 0)
        clear_after(d_keys[row], 0)
        for i in range(m):
            for j in range(n):
                fill(scale, 0, d_scores[0, 0, i, j])
                totals = d_queries[row, i], d_keys[row, j], d_v[row]
                additive_back((queries[row, 0, i], keys[row, j], v, scale, *totals), totals)
    else:
        multiply_by(d_scores, 0, d_scores.shape[3], m, keys, row, False, n, d, sums)
        for i in range(m):
            copy(sums[i, :d], d_queries[row, i])
        weight_gradient_rows(
            none, d_scores, nothing, queries, row, one, 0, d, 0, n, d_keys, 0, False, nothing[0], 0
        )
    keep(scratch)


def stretches(values, *rest):
    """Stretches of all numbers, two nanoseconds each."""
    return -(-len(values) // STRETCH), 2 * len(values)


@tasks(stretches)
def tanh_parts(task, values):
    """tanh in place."""
    part = values[task * STRETCH : min((task + 1) * STRETCH, len(values))]
    in_place_tanh((part,), (part,))


@tasks(stretches)
def slope_parts(task, values, d_values):
    """From the gradient of tanh to that of its argument, in place."""
    first, last = task * STRETCH, min((task + 1) * STRETCH, len(values))
    tanh_slope((values[first:last], d_values[first:last]), (d_values[first:last],))


def tanh_forward(values):
    """tanh(z) in place of z."""
    tanh_parts(values.reshape(-1))


def tanh_backward(values, d_values):
    """The gradient of z in place of that of values = tanh(z)."""
    slope_parts(values.reshape(-1), d_values.reshape(-1))
