"""Losses, dropout and optimisers on the GPU: one pass over each array."""

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


def cross_entropy(outputs: Any, targets: Any, mask: Any, scale: Any, losses: Any, d_outputs: Any) -> None:
    """Sum of log sum exp y - y[target] over the steps of each row, and its gradient times scale."""
    k, b, t, o = outputs.shape
    steps = cupy.empty((k, b, t), dtype=np.float64)
    width = 8 if o <= 32 else 32 if o <= 2048 else THREADS
    kernel = f"cross_entropy<{float_type(outputs)}, {width}>"
    inputs = (outputs, targets, mask, scale, len(targets), k, b, t, o)
    launch("training", kernel, blocks(width * k * b * t), THREADS, *inputs, steps, wanted(d_outputs))
    sum_rows(steps.reshape(k * b, t), 1.0, False, losses)


def squared_error(outputs: Any, targets: Any, mask: Any, scale: Any, losses: Any, d_outputs: Any) -> None:
    """Half the sum of (y - target)^2 over the steps of each row, and its gradient times scale."""
    k, b, t, o = outputs.shape
    part = max(1, min(PART, t * o))
    parts = -(-t * o // part)
    partial = cupy.empty((k * b, parts), dtype=np.float64)
    threads = min(THREADS, -(-part // 32) * 32)
    inputs = (outputs, targets, mask, scale, len(targets), b, t, o, part, parts)
    kernel = f"squared_error<{float_type(outputs)}>"
    launch("training", kernel, k * b * parts, threads, *inputs, partial, wanted(d_outputs))
    sum_rows(partial, 0.5, False, losses)


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


def all_finite(values: Any) -> bool:
    """Whether values hold neither NaN nor infinity; waits for the device."""
    infinite = cupy.zeros(1, dtype=np.int32)
    size = min(blocks(values.size), 4096)
    launch("training", f"find_infinite<{float_type(values)}>", size, THREADS, values, values.size, infinite)
    return int(infinite[0]) == 0
