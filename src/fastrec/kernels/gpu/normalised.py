"""Cells whose products are normalised, on the GPU."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import cupy

from .linked import launch_linked
from .module import CELLS
from .recurrent import norms
from .time_loop import input_gradients, project, recurrent_products, sums

__all__ = ["normalised_backward", "normalised_forward"]


def struct_of(cell: str) -> str:
    """The struct of a cell in cuda/cells.cuh."""
    return import_module(f".{cell}", __package__).CELL


def normalised_forward(
    cell: str,
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    W_in: Any,
    W_rec: Any,
    b: Any,
    own: Any,
    g_in: Any,
    g_rec: Any,
    activation: int,
    noise: Any,
    hidden: Any,
    cells: Any,
    kept: Any,
    scales: Any,
    inward: Any,
    recurrent: Any,
    *,
    precision: str = "float32",
) -> None:
    """A cell with N(x W_in) g_in + b and N(h W_rec) g_rec: see the reference."""
    k, rows, t, h = hidden.shape
    z = inward if kept.shape[2] == t else cupy.empty((k, rows, t, W_rec.shape[2]), dtype=hidden.dtype)
    project(x, tokens, lengths, W_in, cupy.zeros_like(b), z, precision)
    struct = struct_of(cell)
    held = h * (CELLS[struct].before or CELLS[struct].states == 2)
    between = (b, own, g_in if g_in.shape[1] else None, g_rec, noise if noise.shape[3] else None)
    outputs = (z, hidden, cells, kept, scales, recurrent)
    launch_linked(
        *("normalised", "forward", hidden, (W_rec,), held, precision, (lengths, state), between, (h,)),
        *((activation, kept.shape[2], *outputs), struct),
    )


def normalised_backward(
    cell: str,
    x: Any,
    tokens: Any,
    lengths: Any,
    state: Any,
    hidden: Any,
    cells: Any,
    kept: Any,
    scales: Any,
    inward: Any,
    recurrent: Any,
    W_in: Any,
    W_rec: Any,
    own: Any,
    g_in: Any,
    g_rec: Any,
    activation: int,
    d_hidden: Any,
    d_last: Any,
    d_inward: Any,
    d_recurrent: Any,
    d_x: Any,
    d_state: Any,
    d_W_in: Any,
    d_W_rec: Any,
    d_b: Any,
    d_own: Any,
    d_g_in: Any,
    d_g_rec: Any,
    flow: Any,
    *,
    precision: str = "float32",
) -> None:
    """Gradients of `normalised_forward`: see the reference."""
    (k, rows, _, h), columns, struct = hidden.shape, W_rec.shape[2], struct_of(cell)
    d_total = cupy.empty_like(hidden) if flow.shape[2] else None
    work = cupy.empty((k, rows, 2, columns), hidden.dtype)
    totals = (d_b, d_own, d_g_in, d_g_rec)
    d_each = [cupy.zeros((k, rows, 1, total.shape[1]), hidden.dtype) for total in totals]  # of each row
    before = (lengths, state, hidden, cells, kept, scales, inward, recurrent)
    between = (own, g_in if g_in.shape[1] else None, g_rec, d_hidden, d_last)
    outputs = (work, d_inward, d_recurrent, d_state, *d_each, d_total)
    launch_linked(
        *("normalised", "backward", hidden, (W_rec,), CELLS[struct].states * h, precision, before),
        *(between, (h,), (activation, *outputs), struct),
    )
    norms(d_total, flow)
    input_gradients(x, tokens, lengths, W_in, d_inward, d_x, d_W_in, precision)
    recurrent_products(state[..., :h], hidden, d_recurrent, d_W_rec, precision)
    for each, total in zip(d_each, totals, strict=True):
        if total.shape[1]:
            sums(each, total)
