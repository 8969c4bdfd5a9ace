"""The affine map of a readout, over all steps, on the GPU."""

from __future__ import annotations

from typing import Any

import cupy

from .matrix import multiply
from .time_loop import add_bias, flat, products, sums


def affine_forward(a: Any, lengths: Any, W: Any, b: Any, out: Any, *, precision: str = "float32") -> None:
    """out = a W + b."""
    multiply(flat(a), W, flat(out), precision)
    add_bias(lengths, b, out)


def affine_backward(
    a: Any, lengths: Any, W: Any, d_out: Any, d_a: Any, d_W: Any, d_b: Any, *, precision: str = "float32"
) -> None:
    """Gradients of affine_forward."""
    d = cupy.empty(d_out.shape, d_out.dtype)
    sums(d_out, d_b, lengths, d)
    multiply(flat(d), W.swapaxes(1, 2), flat(d_a), precision)
    products(a, d, d_W, precision)
