"""What a decoder reads of the hidden units of an encoder: attention, and the layer behind it."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ..backend import move
from ..rnn.config import Array
from ..rnn.device import ComputeDevice
from ..rnn.randomness import Dropout
from ..rnn.validation import fits_kernels
from ..streams import generator
from ..validation import require_memory
from .sizes import Sizes

DRAW = 1  # the stream of the first weights, beside those of the networks


class Attended(NamedTuple):
    """What was computed of b rows, and what gradients need; kernels take weights with an axis of 1."""

    parameters: dict[str, Array]
    steps: Array  # (b,) int64, of the decoder
    lengths: Array  # (b,) int64, of the encoder
    queries: Array  # (1, b, u, h)
    keys: Array  # (1, b, t, h)
    values: Array  # (1, b, t, h), hidden units of the encoder
    weights: Array  # (b, u, t)
    joined: Array  # (1, b, u, 2h), contexts and hidden units of the decoder
    combined: Array  # (1, b, u, h), tanh of the product with W_combine
    read: Array  # (1, b, u, h), what the output layer reads: `combined` after dropout


def draw_attention(sizes: Sizes, seed: int) -> dict[str, Array]:
    """Draw the first weights as those of the networks (Glorot & Bengio, AISTATS 2010)."""
    shapes = sizes.attention_shapes
    require_memory("the weights of the attention", sum(map(prod, shapes.values())) * (8 + 4))
    rng = generator(seed, DRAW)
    made = {}
    for key, shape in shapes.items():
        limit = (6 / sum(shape if len(shape) == 2 else (*shape, 1))) ** 0.5
        made[key] = rng.uniform(-limit, limit, shape).astype(sizes.dtype)
    return made


def on_device(sizes: Sizes, at: ComputeDevice, parameters: dict[str, Array]) -> dict[str, Array]:
    """The weights, checked and moved to where is computed, with the axis that kernels take."""
    for key, shape in sizes.attention_shapes.items():
        array = parameters.get(key)
        if array is None or array.shape != shape or array.dtype != sizes.dtype or not fits_kernels(array):
            form = f"{shape}, {sizes.dtype}, C-contiguous, writable"
            raise ValueError(f'parameters["attention.{key}"] must be an array {form}')
        parameters[key] = move(array, at.backend)
    return {key: parameters[key][None] for key in sizes.attention_shapes}


def attend(
    sizes: Sizes,
    at: ComputeDevice,
    parameters: dict[str, Array],
    hidden: Array,
    steps: Array,
    values: Array,
    lengths: Array,
    dropout: Dropout | None,
) -> Attended:
    """Attention of hidden units (1, b, u, h) of the decoder over values (1, b, t, h) of the encoder.

    dropout: of the decoder; that of what its output layer reads counts as another layer.
    """
    (_, b, u, h), t, kernels = hidden.shape, values.shape[2], at.kernels
    require_memory(
        "the attention", b * (u * (t + 6 * h) + 2 * t * h) * sizes.dtype.itemsize, backend=at.backend
    )
    given = on_device(sizes, at, parameters)
    queries, keys = (
        projected(at, array, ends, given[key]) if key in given else array
        for key, array, ends in (("W_query", hidden, steps), ("W_key", values, lengths))
    )
    weights, contexts = at.empty((b, u, t), sizes.dtype), at.empty((b, u, h), sizes.dtype)
    v = score_weights(at, given, sizes)
    kernels.attention_forward(queries[0], steps, keys[0], values[0], lengths, v, weights, contexts)
    joined = at.xp.concatenate([contexts[None], hidden], axis=3)
    combined = projected(at, joined, steps, given["W_combine"])
    kernels.tanh_forward(combined)
    read = combined if dropout is None else combined.copy()
    leave_out(sizes, at, dropout, read)
    return Attended(given, steps, lengths, queries, keys, values, weights, joined, combined, read)


def as_decoded(
    sizes: Sizes, at: ComputeDevice, parameters: dict[str, Array], values: Array, lengths: Array
) -> tuple[Array, ...]:
    """Keys, values, lengths, W_query, v and W_combine as kernels that decode take them.

    values (1, n, t, h): hidden units of the encoder; t is 0 if the decoder does not attend.
    """
    _, n, t, h = values.shape
    require_memory("the attention", 2 * n * t * h * sizes.dtype.itemsize, backend=at.backend)
    given = on_device(sizes, at, parameters)
    keys = projected(at, values, lengths, given["W_key"]) if "W_key" in given else values
    W_query, W_combine = (
        given[key][0] if key in given else at.empty(shape, sizes.dtype)
        for key, shape in (("W_query", (h, 0)), ("W_combine", (0, h)))
    )
    return keys[0], values[0], lengths, W_query, score_weights(at, given, sizes), W_combine


def attend_back(
    sizes: Sizes, at: ComputeDevice, made: Attended, dropout: Dropout | None, d_read: Array
) -> tuple[Array, Array, dict[str, Array]]:
    """Gradients of hidden units, values and parameters from that of `read`, which is overwritten."""
    given, steps, lengths, queries, keys, values, weights, joined, combined, _ = made
    kernels, xp, h, gradients = at.kernels, at.xp, combined.shape[3], dict[str, Array]()
    leave_out(sizes, at, dropout, d_read)
    kernels.tanh_backward(combined, d_read)
    d_joined = project_back(at, joined, steps, given, "W_combine", d_read, gradients)
    d_contexts, d_hidden = (xp.ascontiguousarray(d_joined[..., half]) for half in (slice(h), slice(h, None)))
    d_queries, d_keys, d_values = (at.empty_like(array) for array in (queries, keys, values))
    v = score_weights(at, given, sizes)
    d_v = at.empty((len(steps), len(v)), sizes.dtype)
    kernels.attention_backward(
        *(queries[0], steps, keys[0], values[0], lengths, v, weights, d_contexts[0]),
        *(d_queries[0], d_keys[0], d_values[0], d_v),
    )
    if len(v):
        gradients["v"] = d_v.sum(axis=0)
    if "W_query" in given:
        d_queries = project_back(at, made.joined[..., h:], steps, given, "W_query", d_queries, gradients)
    if "W_key" in given:
        d_keys = project_back(at, values, lengths, given, "W_key", d_keys, gradients)
    d_hidden += d_queries
    d_values += d_keys
    return d_hidden, d_values, gradients


def leave_out(sizes: Sizes, at: ComputeDevice, dropout: Dropout | None, values: Array) -> None:
    """Dropout of what the output layer reads, or of its gradient, in place."""
    if dropout is not None:
        at.kernels.dropout(dropout.key, sizes.num_layers, dropout.threshold, values)


def score_weights(at: ComputeDevice, given: dict[str, Array], sizes: Sizes) -> Array:
    """What kernels take as v: (0,) where scores are products."""
    return given["v"][0] if "v" in given else at.empty((0,), sizes.dtype)


def projected(at: ComputeDevice, a: Array, lengths: Array, W: Array) -> Array:
    """a W of (1, b, t, n)."""
    out = at.empty((*a.shape[:3], W.shape[2]), a.dtype)
    at.kernels.affine_forward(a, lengths, W, at.xp.zeros((1, W.shape[2]), a.dtype), out)
    return out


def project_back(
    at: ComputeDevice,
    a: Array,
    lengths: Array,
    given: dict[str, Array],
    key: str,
    d_out: Array,
    gradients: dict[str, Array],
) -> Array:
    """The gradient of a in a W; that of W, by its key, is put beside the other gradients."""
    a, W = at.xp.ascontiguousarray(a), given[key]
    d_a, d_W, unread = at.empty_like(a), at.empty_like(W), at.empty((1, W.shape[2]), W.dtype)
    at.kernels.affine_backward(a, lengths, W, d_out, d_a, d_W, unread)
    gradients[key] = d_W[0]
    return d_a
