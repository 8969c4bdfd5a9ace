"""Losses, dropout, noise and optimisers on the GPU: one pass over each array."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import launch
from .random import THREADS, blocks
from .time_loop import float_type

STRETCH = 1024  # as in cuda/training.cu
PART = 4096  # numbers, at least, that a block sums
PARTS = 256  # parts of a gradient at most


def cross_entropy(outputs: Any, targets: Any, weights: Any, scale: Any, losses: Any, d_outputs: Any) -> None:
    """Weighted sum of log sum exp y - y[target] over the steps of each row, and its gradient times scale."""
    k, b, t, o = outputs.shape
    steps = cupy.empty((k, b, t), dtype=np.float64)
    width = 8 if o <= 32 else 32 if o <= 2048 else THREADS
    kernel = f"cross_entropy<{float_type(outputs)}, {width}>"
    inputs = (outputs, targets, weights, scale, len(targets), k, b, t, o)
    launch("training", kernel, blocks(width * k * b * t), THREADS, *inputs, steps, wanted(d_outputs))
    sum_rows(steps.reshape(k * b, t), 1.0, False, losses)


def squared_error(
    outputs: Any, targets: Any, weights: Any, output_weights: Any, scale: Any, losses: Any, d_outputs: Any
) -> None:
    """Half the weighted sum of (y - target)^2 over the steps of each row, and its gradient times scale."""
    sum_elements("squared_error", 0.5, outputs, targets, weights, output_weights, scale, losses, d_outputs)


def binary_cross_entropy(
    outputs: Any, targets: Any, weights: Any, output_weights: Any, scale: Any, losses: Any, d_outputs: Any
) -> None:
    """Weighted sum of -z log p - (1 - z) log(1 - p), p = 1 / (1 + exp(-y)), and its gradient times scale."""
    given = (outputs, targets, weights, output_weights, scale)
    sum_elements("binary_cross_entropy", 1.0, *given, losses, d_outputs)


def sum_elements(
    name: str,
    factor: float,
    outputs: Any,
    targets: Any,
    weights: Any,
    output_weights: Any,
    scale: Any,
    losses: Any,
    d_outputs: Any,
) -> None:
    """Launch the kernel of a loss that is a sum over outputs, and add up its parts times a factor."""
    k, b, t, o = outputs.shape
    part = max(1, min(PART, t * o))
    parts = -(-t * o // part)
    partial = cupy.empty((k * b, parts), dtype=np.float64)
    threads = min(THREADS, -(-part // 32) * 32)
    inputs = (outputs, targets, weights, output_weights, scale, len(targets), b, t, o, part, parts)
    kernel = f"{name}<{float_type(outputs)}>"
    launch("training", kernel, k * b * parts, threads, *inputs, partial, wanted(d_outputs))
    sum_rows(partial, factor, False, losses)


def wanted(d_outputs: Any) -> Any:
    """The array, or None if it has no columns because its gradient is not needed."""
    return d_outputs if d_outputs.shape[3] else None


def sum_rows(values: Any, factor: float, add: bool, out: Any) -> None:
    """out, (r) in any shape, = factor times the sums of the rows of values (r, n) float64, or += that."""
    rows, n = values.shape
    launch("training", "sum_rows", blocks(32 * rows), THREADS, values, rows, n, factor, add, out)


def squared_norms(gradient: Any, norms: Any) -> None:
    """norms += squared norms of the rows of gradient, in float64."""
    k, n = gradient.shape
    part = max(PART, -(-n // PARTS))
    parts = -(-n // part)
    partial = cupy.empty((k, parts), dtype=np.float64)
    kernel = f"sum_squares<{float_type(gradient)}>"
    launch("training", kernel, k * parts, THREADS, gradient, n, part, parts, partial)
    sum_rows(partial, 1.0, True, norms)


def sgd(
    parameter: Any, gradient: Any, velocity: Any, scale: Any, rate: Any, momentum: float, nesterov: bool
) -> None:
    """v = momentum v + scale g; p -= rate v, or rate (scale g + momentum v) after Nesterov."""
    k, n = parameter.shape
    arrays = (parameter, gradient, velocity, scale, rate)
    kernel = f"sgd<{float_type(parameter)}>"
    launch("training", kernel, k * -(-n // STRETCH), THREADS, *arrays, n, float(momentum), nesterov)


def adjust_gradient(parameter: Any, gradient: Any, scale: Any, limit: float, decay: float, out: Any) -> None:
    """out = scale g, no further from 0 than limit, + decay p."""
    k, n = parameter.shape
    kernel, numbers = f"adjust_gradient<{float_type(parameter)}>", (n, float(limit), float(decay))
    size = k * -(-n // STRETCH)
    launch("training", kernel, size, THREADS, parameter, gradient, scale, *numbers, out)


def rmsprop(
    parameter: Any,
    gradient: Any,
    square: Any,
    velocity: Any,
    scale: Any,
    rate: Any,
    alpha: float,
    epsilon: float,
    momentum: float,
) -> None:
    """square = alpha square + (1 - alpha) g^2; v = momentum v + g / (sqrt(square) + epsilon); p -= rate v."""
    k, n = parameter.shape
    numbers = (alpha, 1 - alpha, epsilon, momentum)
    arrays = (parameter, gradient, square, velocity, scale, rate)
    kernel = f"rmsprop<{float_type(parameter)}>"
    launch("training", kernel, k * -(-n // STRETCH), THREADS, *arrays, n, *map(float, numbers))


def adam(
    parameter: Any,
    gradient: Any,
    mean: Any,
    square: Any,
    scale: Any,
    rate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
    step: int,
) -> None:
    """Adam with bias corrections for step 1, 2, .. and decoupled weight decay."""
    k, n = parameter.shape
    numbers = (beta1, beta2, 1 - beta1, 1 - beta2, 1 - beta1**step, 1 - beta2**step, epsilon, decay)
    arrays = (parameter, gradient, mean, square, scale, rate)
    kernel = f"adam<{float_type(parameter)}>"
    launch("training", kernel, k * -(-n // STRETCH), THREADS, *arrays, n, *map(float, numbers))


def dropout(key: int, layer: int, threshold: int, values: Any) -> None:
    """Set values (k, b, t, n) to 0 where a draw of 16 bits is below threshold; scale the others; in place."""
    k, b, t, n = values.shape
    kernel, size = f"dropout<{float_type(values)}>", blocks(k * b * t * -(-n // 8))
    numbers = (np.uint64(key), layer, threshold, 2**16 / (2**16 - threshold))
    launch("training", kernel, size, THREADS, *numbers, k * b * t, b * t, n, values)


def normal_noise(key: int, layer: int, table: Any, deviation: float, values: Any) -> None:
    """values (k, b, t, n) = deviation times the elements of table (2^16,) that draws of 16 bits name."""
    k, b, t, n = values.shape
    kernel, size = f"normal_noise<{float_type(values)}>", blocks(k * b * t * -(-n // 8))
    numbers = (np.uint64(key), layer, float(deviation))
    launch("training", kernel, size, THREADS, *numbers, table, k * b * t, b * t, n, values)


def all_finite(values: Any) -> bool:
    """Whether values hold neither NaN nor infinity; waits for the device."""
    infinite = cupy.zeros(1, dtype=np.int32)
    size = min(blocks(values.size), 4096)
    launch("training", f"find_infinite<{float_type(values)}>", size, THREADS, values, values.size, infinite)
    return int(infinite[0]) == 0
