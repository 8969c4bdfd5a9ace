"""Losses, dropout and optimisers on the CPU: one pass over each array, stretches of it spread over the
threads."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from .. import DROPOUT
from .functions import exp
from .jit import jit
from .random import block

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


@jit(parallel=True)
def cross_entropy(outputs, targets, mask, scale, losses, d_outputs):
    """Sum of log sum exp y - y[target] over the steps of each row, and its gradient times scale."""
    networks, rows, steps, o = outputs.shape
    for task in prange(networks * rows):
        net, row = task // rows, task % rows
        own, factor = min(net, len(targets) - 1), outputs.dtype.type(scale[net])
        scratch = np.empty(o, outputs.dtype)
        total = 0.0
        for t in range(steps):
            if mask[row, t]:
                total += cross_entropy_row(outputs[net, row, t], targets[own, row, t], scratch)
                for j in range(d_outputs.shape[3]):
                    d_outputs[net, row, t, j] = factor * scratch[j]
            else:
                d_outputs[net, row, t] = 0
        losses[net, row] = total


@jit(parallel=True)
def squared_error(outputs, targets, mask, scale, losses, d_outputs):
    """Half the sum of (y - target)^2 over the steps of each row, and its gradient times scale."""
    networks, rows, steps, o = outputs.shape
    for task in prange(networks * rows):
        net, row = task // rows, task % rows
        own, factor = min(net, len(targets) - 1), outputs.dtype.type(scale[net])
        total = 0.0
        for t in range(steps):
            if mask[row, t]:
                for j in range(o):
                    d = outputs[net, row, t, j] - targets[own, row, t, j]
                    total += np.float64(d) * np.float64(d)
                    if d_outputs.shape[3]:
                        d_outputs[net, row, t, j] = factor * d
            else:
                d_outputs[net, row, t] = 0
        losses[net, row] = total / 2


@jit(parallel=True)
def dropout(key, layer, threshold, values):
    """values = 0 where a draw of 16 bits is below threshold, the others divided by the share of them."""
    k, b, t, n = values.shape
    scale = values.dtype.type(2**16 / (2**16 - threshold))
    for task in prange(k * b):
        net, row = task // b, task % b
        draws = np.empty(-(-n // 8) * 2, np.uint64)
        parts = draws.view(np.uint16)
        for step in range(t):
            for i in range(len(draws) // 2):
                draws[2 * i], draws[2 * i + 1] = block(key, i, row * t + step, net, DROPOUT | layer << 8)
            own = values[net, row, step]
            for j in range(n):
                own[j] = scale * own[j] if parts[j] >= threshold else own.dtype.type(0)


@jit
def squared_norms(gradient, norms):
    """norms += squared norms of the rows of gradient, in float64, 16 sums at a time."""
    for net in range(len(gradient)):
        values = gradient[net]
        sums = np.zeros(16)
        whole = len(values) // 16 * 16
        for first in range(0, whole, 16):
            for j in range(16):
                sums[j] += np.float64(values[first + j]) * np.float64(values[first + j])
        for j in range(whole, len(values)):
            sums[j - whole] += np.float64(values[j]) * np.float64(values[j])
        norms[net] += sums.sum()


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


@jit(parallel=True)
def sgd(parameter, gradient, velocity, scale, rate, momentum, nesterov):
    """v = momentum v + scale g; p -= rate v, or rate (scale g + momentum v) after Nesterov."""
    networks, n = parameter.shape
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    for task in prange(networks * parts):
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


@jit
def adam_stretch(p, g, m, v, scale, rate, beta1, beta2, rest1, rest2, unbias1, unbias2, epsilon, shrink):
    """adam of some numbers of a network."""
    for j in range(len(p)):
        step = scale * g[j]
        m[j] = beta1 * m[j] + rest1 * step
        v[j] = beta2 * v[j] + rest2 * step * step
        p[j] -= shrink * p[j]
        p[j] -= rate * (m[j] / unbias1) / (np.sqrt(v[j] / unbias2) + epsilon)


@jit(parallel=True)
def adam(parameter, gradient, mean, square, scale, rate, beta1, beta2, epsilon, decay, step):
    """Adam with bias corrections for step 1, 2, .. and decoupled weight decay."""
    networks, n = parameter.shape
    real = parameter.dtype.type
    parts = -(-n // STRETCH)
    for task in prange(networks * parts):
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


@jit
def all_finite(values):
    """Whether values hold neither NaN nor infinity, which times 0 are NaN; 64 sums at a time."""
    zero = values.dtype.type(0)
    sums = np.zeros(64, values.dtype)
    whole = len(values) // 64 * 64
    for first in range(0, whole, 64):
        for j in range(64):
            sums[j] += zero * values[first + j]
    for j in range(whole, len(values)):
        sums[j - whole] += zero * values[j]
    return sums.sum() == 0
