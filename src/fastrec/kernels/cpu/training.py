"""Losses, dropout, noise and optimisers on the CPU: one pass over each array, stretches of it spread over the
threads."""

from __future__ import annotations

import math

import numpy as np

from .. import DROPOUT, NOISE
from .arrays import empty, fill, zeros
from .functions import exp
from .jit import jit, kernel
from .parallel import tasks
from .random import U64
from .random import fill as fill_draws

STRETCH = 4096  # numbers of a network that a task of an optimiser takes


@jit
def cross_entropy_row(y, target, d):
    """Loss of one step; d gets softmax(y) less the target's one, and may be y."""
    top = y[0]
    for j in range(len(y)):
        top = y[j] if not y[j] <= top else top
    chosen = y[target] - top
    total = y.dtype.type(0)
    for j in range(len(y)):
        d[j] = exp(y[j] - top)
    for j in range(len(y)):
        total += d[j]
    part = y.dtype.type(1) / total
    for j in range(len(y)):
        d[j] *= part
    d[target] -= y.dtype.type(1)
    return math.log(np.float64(total)) - np.float64(chosen)


def rows_of(outputs, *rest):
    """Rows of all networks, and a nanosecond for each output."""
    return outputs.shape[0] * outputs.shape[1], outputs.size


@tasks(rows_of)
def cross_entropy(task, outputs, targets, weights, scale, losses, d_outputs):
    """Weighted sum of log sum exp y - y[target] over the steps of each row, and its gradient times scale."""
    _, rows, steps, o = outputs.shape
    net, row = task // rows, task % rows
    target_net = min(net, len(targets) - 1)
    scratch = empty((o,), outputs)
    total = 0.0
    for t in range(steps):
        weight = weights[row, t]
        if weight != 0:
            total += weight * cross_entropy_row(outputs[net, row, t], targets[target_net, row, t], scratch)
            factor = outputs.dtype.type(scale[net] * weight)
            for j in range(d_outputs.shape[3]):
                d_outputs[net, row, t, j] = factor * scratch[j]
        else:
            fill(d_outputs[net, row, t], 0, 0)
    losses[net, row] = total


@tasks(rows_of)
def squared_error(task, outputs, targets, weights, output_weights, scale, losses, d_outputs):
    """Half the weighted sum of (y - target)^2 over the steps of each row, and its gradient times scale."""
    _, rows, steps, o = outputs.shape
    net, row = task // rows, task % rows
    target_net = min(net, len(targets) - 1)
    total = 0.0
    for t in range(steps):
        if weights[row, t] != 0:
            for j in range(o):
                d = outputs[net, row, t, j] - targets[target_net, row, t, j]
                weight = weights[row, t] * output_weights[j]
                total += weight * (np.float64(d) * np.float64(d))
                if d_outputs.shape[3]:
                    d_outputs[net, row, t, j] = outputs.dtype.type(scale[net] * weight) * d
        else:
            fill(d_outputs[net, row, t], 0, 0)
    losses[net, row] = total / 2


@tasks(lambda outputs, *rest: (outputs.shape[0] * outputs.shape[1], 10 * outputs.size))
def binary_cross_entropy(task, outputs, targets, weights, output_weights, scale, losses, d_outputs):
    """Weighted sum of -z log p - (1 - z) log(1 - p), p = 1 / (1 + exp(-y)), and its gradient times scale."""
    _, rows, steps, o = outputs.shape
    net, row = task // rows, task % rows
    target_net, one = min(net, len(targets) - 1), outputs.dtype.type(1)
    total = 0.0
    for t in range(steps):
        if weights[row, t] != 0:
            for j in range(o):
                y, z = outputs[net, row, t, j], targets[target_net, row, t, j]
                e = exp(-abs(y))
                weight = weights[row, t] * output_weights[j]
                exact = np.float64(y)
                total += weight * (max(exact, 0.0) - exact * np.float64(z) + math.log1p(np.float64(e)))
                if d_outputs.shape[3]:
                    p = (one if y >= 0 else e) / (one + e)
                    d_outputs[net, row, t, j] = outputs.dtype.type(scale[net] * weight) * (p - z)
        else:
            fill(d_outputs[net, row, t], 0, 0)
    losses[net, row] = total


@jit
def short_draw(drawn, j):
    """Draw j of 16 bits, four of each of 64 bits, the low ones first."""
    return drawn[j >> 2] >> U64(16 * (j & 3)) & U64(0xFFFF)


@tasks(lambda key, layer, threshold, values: rows_of(values))
def dropout(task, key, layer, threshold, values):
    """values = 0 where a draw of 16 bits is below threshold, the others divided by the share of them."""
    _, b, t, n = values.shape
    scale = values.dtype.type(2**16 / (2**16 - threshold))
    net, row = task // b, task % b
    drawn = empty(((n + 3) // 4,), np.uint64)
    for step in range(t):
        row_values = values[net, row, step]
        fill_draws(key, row * t + step, net, DROPOUT | layer << 8, drawn)
        for j in range(n):
            kept = short_draw(drawn, j) >= U64(threshold)
            row_values[j] = scale * row_values[j] if kept else row_values.dtype.type(0)


@tasks(lambda key, layer, table, deviation, values: rows_of(values))
def normal_noise(task, key, layer, table, deviation, values):
    """values = deviation times the elements of table that draws of 16 bits name."""
    _, b, t, n = values.shape
    scale = values.dtype.type(deviation)
    net, row = task // b, task % b
    drawn = empty(((n + 3) // 4,), np.uint64)
    for step in range(t):
        row_values = values[net, row, step]
        fill_draws(key, row * t + step, net, NOISE | layer << 8, drawn)
        for j in range(n):
            row_values[j] = scale * table[short_draw(drawn, j)]


@tasks(lambda gradient, norms: (len(gradient), gradient.size / 4))
def squared_norms(net, gradient, norms):
    """norms += squared norms of the rows of gradient, in float64, 16 sums at a time."""
    values = gradient[net]
    sums = zeros((16,), np.float64)
    whole = len(values) // 16 * 16
    for first in range(0, whole, 16):
        for j in range(16):
            sums[j] += np.float64(values[first + j]) * np.float64(values[first + j])
    for j in range(whole, len(values)):
        sums[j - whole] += np.float64(values[j]) * np.float64(values[j])
    total = 0.0
    for j in range(16):
        total += sums[j]
    norms[net] += total


@jit
def sgd_stretch(p, g, v, scale, rate, momentum, nesterov):
    """sgd of some numbers of a network."""
    if nesterov:
        for j in range(len(p)):
            step = scale * g[j]
            v[j] = momentum * v[j] + step
            p[j] -= rate * (step + momentum * v[j])
    else:
        for j in range(len(p)):
            v[j] = momentum * v[j] + scale * g[j]
            p[j] -= rate * v[j]


def stretches(parameter, *rest):
    """Stretches of the parameters of all networks, and half a nanosecond for each parameter."""
    networks, n = parameter.shape
    return networks * -(-n // STRETCH), parameter.size / 2


@tasks(stretches)
def sgd(task, parameter, gradient, velocity, scale, rate, momentum, nesterov):
    """v = momentum v + scale g; p -= rate v, or rate (scale g + momentum v) after Nesterov."""
    n = parameter.shape[1]
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    net, first = task // parts, task % parts * STRETCH
    last = min(first + STRETCH, n)
    sgd_stretch(
        parameter[net, first:last],
        gradient[net, first:last],
        velocity[net, first:last],
        real(scale[net]),
        real(rate[net]),
        real(momentum),
        nesterov,
    )


@tasks(stretches)
def adjust_gradient(task, parameter, gradient, scale, limit, decay, out):
    """out = scale g, no further from 0 than limit, + decay p."""
    n = parameter.shape[1]
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    net, first = task // parts, task % parts * STRETCH
    factor, most, share = real(scale[net]), real(limit), real(decay)
    for j in range(first, min(first + STRETCH, n)):
        out[net, j] = min(max(factor * gradient[net, j], -most), most) + share * parameter[net, j]


@jit
def rmsprop_stretch(p, g, s, v, scale, rate, alpha, rest, epsilon, momentum):
    """rmsprop of some numbers of a network."""
    for j in range(len(p)):
        step = scale * g[j]
        s[j] = alpha * s[j] + rest * step * step
        v[j] = momentum * v[j] + step / (np.sqrt(s[j]) + epsilon)
        p[j] -= rate * v[j]


@tasks(stretches)
def rmsprop(task, parameter, gradient, square, velocity, scale, rate, alpha, epsilon, momentum):
    """square = alpha square + (1 - alpha) g^2; v = momentum v + g / (sqrt(square) + epsilon); p -= rate v."""
    n = parameter.shape[1]
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    net, first = task // parts, task % parts * STRETCH
    last = min(first + STRETCH, n)
    rmsprop_stretch(
        parameter[net, first:last],
        gradient[net, first:last],
        square[net, first:last],
        velocity[net, first:last],
        real(scale[net]),
        real(rate[net]),
        real(alpha),
        real(1 - alpha),
        real(epsilon),
        real(momentum),
    )


@jit
def adam_stretch(p, g, m, v, scale, rate, beta1, beta2, rest1, rest2, unbias1, unbias2, epsilon, shrink):
    """adam of some numbers of a network."""
    for j in range(len(p)):
        step = scale * g[j]
        m[j] = beta1 * m[j] + rest1 * step
        v[j] = beta2 * v[j] + rest2 * step * step
        p[j] -= shrink * p[j]
        p[j] -= rate * (m[j] / unbias1) / (np.sqrt(v[j] / unbias2) + epsilon)


@tasks(stretches)
def adam(task, parameter, gradient, mean, square, scale, rate, beta1, beta2, epsilon, decay, step):
    """Adam with bias corrections for step 1, 2, .. and decoupled weight decay."""
    n = parameter.shape[1]
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    net, first = task // parts, task % parts * STRETCH
    last = min(first + STRETCH, n)
    adam_stretch(
        parameter[net, first:last],
        gradient[net, first:last],
        mean[net, first:last],
        square[net, first:last],
        real(scale[net]),
        real(rate[net]),
        real(beta1),
        real(beta2),
        real(1 - beta1),
        real(1 - beta2),
        real(1 - beta1**step),
        real(1 - beta2**step),
        real(epsilon),
        real(decay * rate[net]),
    )


@kernel
def all_finite(values):
    """Whether values hold neither NaN nor infinity, which times 0 are NaN; 64 sums at a time."""
    zero = values.dtype.type(0)
    sums = zeros((64,), values)
    whole = len(values) // 64 * 64
    for first in range(0, whole, 64):
        for j in range(64):
            sums[j] += zero * values[first + j]
    for j in range(whole, len(values)):
        sums[j - whole] += zero * values[j]
    total = zero
    for j in range(64):
        total += sums[j]
    return total == 0
