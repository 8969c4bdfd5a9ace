"""The layer that turns a context vector c into the state c W + b in which a decoder starts."""

from __future__ import annotations

from math import prod

import numpy as np

from ..backend import move
from ..rnn.config import Array
from ..rnn.device import ComputeDevice
from ..rnn.validation import fits_kernels
from ..streams import generator
from ..validation import require_memory
from .sizes import Sizes


def draw_context(sizes: Sizes, seed: int) -> dict[str, Array]:
    """Draw the first weights as those of the networks (Glorot & Bengio, AISTATS 2010); biases are 0."""
    W, b = (sizes.shapes[f"context.{key}"] for key in "Wb")
    require_memory("the weights of the context", prod(W) * (8 + sizes.dtype.itemsize))
    limit = (6 / (sizes.source_size + sizes.hidden_size)) ** 0.5
    rng = generator(seed)
    weights = rng.uniform(-limit, limit, W).astype(sizes.dtype)
    return {"W": weights, "b": np.zeros(b, sizes.dtype)}


def context_states(sizes: Sizes, at: ComputeDevice, context: dict[str, Array], contexts: Array) -> Array:
    """Return the states (layers, 1, n, s) of checked contexts (1, n, c), where computed."""
    n, layers = contexts.shape[1], sizes.num_layers
    state = at.xp.empty((1, n, 1, layers * sizes.decoder.state), dtype=sizes.dtype)
    at.kernels.affine_forward(*affine_arguments(sizes, at, context, contexts), state)
    return at.xp.ascontiguousarray(state.reshape(n, layers, 1, -1).transpose(1, 2, 0, 3))


def context_gradients(
    sizes: Sizes, at: ComputeDevice, context: dict[str, Array], contexts: Array, d_state: Array
) -> dict[str, Array]:
    """Return the gradients of W and b from those of the states (layers, n, s), where computed."""
    x, steps, W, b = affine_arguments(sizes, at, context, contexts)
    d_out = at.xp.ascontiguousarray(d_state.swapaxes(0, 1)).reshape(1, len(steps), 1, -1)
    d_x, d_W, d_b = (at.xp.empty_like(array) for array in (x, W, b))
    at.kernels.affine_backward(x, steps, W, d_out, d_x, d_W, d_b)
    return {"W": d_W[0], "b": d_b[0]}


def affine_arguments(
    sizes: Sizes, at: ComputeDevice, context: dict[str, Array], contexts: Array
) -> tuple[Array, ...]:
    """Return contexts as one step each, their lengths and the checked weights, as kernels take them."""
    for key in "Wb":
        array, shape = context.get(key), sizes.shapes[f"context.{key}"]
        if array is None or array.shape != shape or array.dtype != sizes.dtype or not fits_kernels(array):
            raise ValueError(
                f'context["{key}"] must be an array {shape}, {sizes.dtype}, C-contiguous, writable'
            )
        context[key] = move(array, at.backend)
    steps = at.xp.ones(contexts.shape[1], dtype=np.int64)
    return at.take(contexts)[:, :, None], steps, context["W"][None], context["b"][None]
