"""What the kernels of all cells share: the order of rows, what a step begins with, gradients of the inputs.

The rows of a batch are dealt to the threads, longest first, and each thread walks through time with its own
rows: the running rows of a step are always the first ones, so that a sequence costs its own length.  A step
is one product [x_t | h_{t-1}] [W_in; W_rec] and a pass over the sums while they are in the first cache.
Weight gradients are products over all steps, once the reverse pass has left the gradients of the sums.
"""

from __future__ import annotations

from importlib import import_module

import numpy as np

from .. import LOGISTIC, RELU, TANH
from .arrays import add, copy, empty, fill
from .elementwise import elementwise
from .functions import expm1_negative, logistic, softplus, tanh
from .jit import jit
from .matrix import RATE, column_sums, multiply_in_place, multiply_rounded, parts_of, weight_gradient
from .parallel import parallel
from .values import where

FIRST_ROW = np.zeros(1, np.int64)


def longest_first(lengths):
    """Rows by falling length, equal ones in order."""
    return np.argsort(-lengths, kind="stable") if len(lengths) > 1 else FIRST_ROW


def step_of(cell):
    """The step of some units of a row of a cell; a function of what the product of its last gate reads in
    place of the state, or None; and the number of such gates, 0 or 1."""
    module = import_module(f".{cell}", __package__)
    reset = getattr(module, f"{cell}_reset", None)
    return getattr(module, f"{cell}_step"), reset, int(reset is not None)


def spread(kernel, hidden, lengths, operations, args):
    """Call a kernel for the rows of all networks, longest first, in parts that threads take.

    operations: multiply-adds of a step of one row.
    """
    networks, rows, steps, _ = hidden.shape
    work = networks * rows * steps * (operations / RATE + 20)
    parts = parts_of(networks, rows, work)
    kernel.deal(networks * parts, work, longest_first(lengths), parts, *args)


@jit
def own_rows(order, part, parts):
    """The rows of `order` that a part of so many takes."""
    rows = empty(((len(order) - part + parts - 1) // parts,), np.int64)
    for s in range(len(rows)):
        rows[s] = order[part + s * parts]
    return rows


@jit
def clear_after(values, length):
    """values[length:] = 0, of two dimensions."""
    for t in range(length, len(values)):
        fill(values[t], 0, 0)


@jit
def count_running(lengths, order, t):
    """Rows of `order` (longest first) that have a step t."""
    running = 0
    while running < len(order) and lengths[order[running]] > t:
        running += 1
    return running


@jit
def read(x, net, row, t, left):
    """left = x_t."""
    copy(x[min(net, len(x) - 1), row, t], left)


@jit
def begin_sums(tokens, net, row, t, W_in, b, first, sums):
    """sums = the bias from column `first` on, plus the weights of the token, if tokens are read."""
    last = first + len(sums)
    copy(b[net, first:last], sums)
    if tokens.size:
        add(W_in[net, tokens[min(net, len(tokens) - 1), row, t], first:last], sums)


@jit
def squared_norm(a, b):
    """Sum of squares of a + b, in float64."""
    total = 0.0
    for j in range(len(a)):
        value = np.float64(a[j] + b[j])
        total += value * value
    return total


# Functions of the sums z, and twice what their gradients are from those of what they give, which are sums of
# two parts, and from what they gave; a third result clears the second part.
tanh_twice = elementwise(lambda z: [tanh(z)] * 2)
relu_twice = elementwise(lambda z: [where(z, "<=", 0.0, 0.0, z)] * 2)
logistic_twice = elementwise(lambda z: [logistic(z)] * 2)
softplus_twice = elementwise(lambda z: [softplus(z)] * 2)
tanh_back = elementwise(lambda d, e, h: [(d + e) * (1.0 - h * h)] * 2 + [d.zero()])
relu_back = elementwise(lambda d, e, h: [where(h, ">", 0.0, d + e, 0.0)] * 2 + [d.zero()])
logistic_back = elementwise(lambda d, e, h: [(d + e) * (h - h * h)] * 2 + [d.zero()])
softplus_back = elementwise(lambda d, e, h: [-(d + e) * expm1_negative(-h)] * 2 + [d.zero()])


@jit
def activate(activation, z, h, copied):
    """h = copied = f(z)."""
    if activation == TANH:
        tanh_twice((z,), (h, copied))
    elif activation == RELU:
        relu_twice((z,), (h, copied))
    elif activation == LOGISTIC:
        logistic_twice((z,), (h, copied))
    else:
        softplus_twice((z,), (h, copied))


@jit
def through_activation(activation, d_h, carry, h, d, copied):
    """d = copied = (d_h + carry) f'(z), told from h = f(z), and carry = 0."""
    if activation == TANH:
        tanh_back((d_h, carry, h), (d, copied, carry))
    elif activation == RELU:
        relu_back((d_h, carry, h), (d, copied, carry))
    elif activation == LOGISTIC:
        logistic_back((d_h, carry, h), (d, copied, carry))
    else:
        softplus_back((d_h, carry, h), (d, copied, carry))


@jit
def quarters(values):
    """The four parts of values (4 h), one for each gate."""
    h = len(values) // 4
    return values[:h], values[h : 2 * h], values[2 * h : 3 * h], values[3 * h :]


@jit
def multiply_both(left, i, running, in_place, inward, recurrent, stride, first, columns, sums, room):
    """sums += [x_t | h_{t-1}] [W_in; W_rec] for the running rows of left = [x_t | h_{t-1}].

    inward is both matrices, packed; or the two are read in place, from their columns first.. on of `stride`.
    """
    width = left.shape[1]
    if in_place:
        multiply_in_place(left, 0, width, running, inward, stride, first, i, columns, sums)
        multiply_in_place(left, i, width, running, recurrent, stride, first, width - i, columns, sums)
    else:
        multiply_rounded(left, 0, width, running, inward, width, sums, room)


@jit
def pass_down(d, first, running, down, depth, inward, net, order, t, d_x, room):
    """d_x_t = d W_in^T for the running rows, of columns first.. of d and packed W_in^T, if it is wanted."""
    i = d_x.shape[3]
    if i:
        for s in range(running):
            fill(inward[s], 0, 0)
        multiply_rounded(d, first, d.shape[1], running, down, depth, inward, room)
        for s in range(running):
            copy(inward[s, :i], d_x[net, order[s], t])


@parallel
def token_gradient(task, parts, tokens, d_z, lengths, columns, d_W_in):
    """d_W_in (k, i, columns): for each token the sum of d_z over its steps, columns in parts."""
    net, part = task // parts, task % parts
    first, last = part * columns // parts, (part + 1) * columns // parts
    tokens_of_net = tokens[min(net, len(tokens) - 1)]
    for token in range(d_W_in.shape[1]):
        fill(d_W_in[net, token, first:last], 0, 0)
    for row in range(len(lengths)):
        for t in range(lengths[row]):
            add(d_z[net, row, t, first:last], d_W_in[net, tokens_of_net[row, t], first:last])


def sum_rows(d, total):
    """total (k, n) = sum of d (k, b, 1, n) over rows, in their order."""
    column_sums(d, np.ones(d.shape[1], np.int64), 0, d.shape[3], total, 0)


def input_gradient(precision, x, tokens, d_z, lengths, columns, d_W_in):
    """d_W_in (k, i, columns) = sum over steps of x_t (outer) d_z_t, of its first columns."""
    if tokens.size:
        k, b, t, _ = d_z.shape
        work = k * (b * t + d_W_in.shape[1]) * columns / 4
        parts = parts_of(k, columns, work)
        token_gradient.deal(k * parts, work, parts, tokens, d_z, lengths, columns, d_W_in)
    else:
        nothing = d_z[:0, 0]
        weight_gradient(precision, x, nothing, d_z, lengths, 0, columns, d_W_in, 0, nothing[:, 0], 0)
