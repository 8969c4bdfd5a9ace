"""The weights of reservoirs, which are drawn once and stay as they are."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..kernels.precision import rounded
from ..rnn.config import Array
from ..rnn.initialization import seed_of
from ..rnn.validation import as_array
from ..streams import generator
from ..validation import require_memory
from .config import ReservoirConfig


def draw(
    c: ReservoirConfig,
    seed: int | tuple[int, ...],
    spectral_radius: float,
    leak: Array,
    input_scaling: Array,
    bias_scaling: float,
    feedback_scaling: float,
) -> dict[str, Array]:
    """The weights (k, ...) of `fastrec.EchoState`, with offsets (k, connections) int64."""
    h, shapes = c.hidden_size, c.shapes
    # The eigenvalues take a few matrices of float64.
    needed = 2 * sum(map(prod, shapes.values())) * c.dtype.itemsize + 32 * h * h * (c.topology != "cycle")
    require_memory("the reservoir", needed)
    weights = {key: np.empty(shape, c.dtype) for key, shape in shapes.items()}
    weights["offsets"] = np.empty((c.k, c.connections), np.int64)
    weights["leak"][:] = leak
    for j in range(c.k):
        rng = generator(seed_of(seed, j))
        own = {key: array[j] for key, array in weights.items()}
        for key, scale in (
            ("W_in", input_scaling[:, None]),
            ("b", bias_scaling),
            ("W_fb", feedback_scaling),
        ):
            own[key][:] = scale * rng.uniform(-1, 1, own[key].shape)
        if c.topology == "cycle":
            own["W_in"][:] = np.where(own["W_in"] < 0, -1, 1) * input_scaling[:, None]
            own["offsets"][:], own["W_rec"][:] = h - 1, spectral_radius
            continue
        own["offsets"][:] = np.sort(rng.permutation(h)[: c.connections])
        W = rng.standard_normal(own["W_rec"].shape)
        own["W_rec"][:] = W * (
            spectral_radius / np.abs(np.linalg.eigvals(as_matrix(W, own["offsets"]))).max()
        )
    if c.topology == "dense" and c.dtype == np.float32:
        for key in ("W_in", "W_fb", "W_rec"):
            weights[key] = rounded(weights[key], "bf16")
    return weights


def as_matrix(W_rec: Array, offsets: Array) -> Array:
    """The matrix (h, h) of recurrent weights W_rec (connections, h) at offsets, or the dense one itself."""
    if not len(offsets):
        return W_rec
    h = W_rec.shape[1]
    matrix, units = np.zeros((h, h), W_rec.dtype), np.arange(h)
    for row, offset in zip(W_rec, offsets, strict=True):
        matrix[(units + offset) % h, units] = row
    return matrix


def read_each(name: str, value: Any, size: int, low: float, most: float) -> Array:
    """A number above low (0 for low < 0) and up to most, or one for each of `size`, as (size,) float64."""
    array = as_array(name, value)
    fine = array.dtype.kind in "fiu" and array.shape in ((), (size,))
    if not fine or not (np.all(array > low) and np.all(array <= most)):
        least = f"above {low:g}" if low >= 0 else "from 0"
        top = f" and at most {most:g}" if np.isfinite(most) else " and finite"
        raise ValueError(f"{name} must be a number {least}{top}, or {size} of them in an array ({size},)")
    return np.broadcast_to(array.astype(np.float64), size)
