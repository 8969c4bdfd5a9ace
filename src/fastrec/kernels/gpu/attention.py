"""Attention of the steps of one network over those of another, on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .module import launch
from .random import THREADS
from .time_loop import float_type

TOGETHER = 8  # queries or keys of a block, as in cuda/attention.cu


def run(name: str, steps: int, v: Any, queries: Any, *arguments: Any) -> None:
    """Launch a kernel whose blocks take so many steps of each row."""
    kernel = f"{name}<{float_type(queries)}, {'true' if v.size else 'false'}>"
    launch("attention", kernel, len(queries) * -(-steps // TOGETHER), THREADS, queries, *arguments)


def attention_forward(
    queries: Any, steps: Any, keys: Any, values: Any, lengths: Any, v: Any, weights: Any, contexts: Any
) -> None:
    """Softmax over the keys of each query, and the sums of the values so weighed."""
    (_, u, d), (_, t, h) = queries.shape, values.shape
    inputs = (steps, keys, values, lengths, v if v.size else None, u, t, d, h)
    run("attend", u, v, queries, *inputs, weights, contexts)


def attention_backward(
    queries: Any,
    steps: Any,
    keys: Any,
    values: Any,
    lengths: Any,
    v: Any,
    weights: Any,
    d_contexts: Any,
    d_queries: Any,
    d_keys: Any,
    d_values: Any,
    d_v: Any,
) -> None:
    """Gradients of attention_forward."""
    (b, u, d), (_, t, h) = queries.shape, values.shape
    factors, sizes = v if v.size else None, (u, t, d, h)
    d_scores = cupy.empty(weights.shape, weights.dtype)
    totals = cupy.empty((b, -(-u // TOGETHER), d_v.shape[1]), v.dtype)
    inputs = (steps, keys, values, lengths, factors, weights, d_contexts, *sizes)
    run("attend_back", u, v, queries, *inputs, d_scores, d_queries, totals if v.size else None)
    inputs = (steps, keys, lengths, factors, weights, d_contexts, d_scores, *sizes)
    run("attend_back_keys", t, v, queries, *inputs, d_keys, d_values)
    d_v[...] = totals.sum(axis=1)


def tanh_forward(values: Any) -> None:
    """tanh(z) in place of z."""
    values[...] = cupy.tanh(values)


def tanh_backward(values: Any, d_values: Any) -> None:
    """The gradient of z in place of that of values = tanh(z)."""
    d_values *= 1 - values * values
