"""Networks that take a step at a time on the GPU, or go on by reading their own outputs, in one launch.

A block takes a few rows of a network and walks through all layers and steps; it reads the weights from L2.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import cupy

from .module import CELLS, launch, multiprocessors, pieces_a_launch
from .recurrent import (
    BARRIER,
    CHAIN,
    LOAD,
    MULTIPLY_ADDS,
    PRODUCTS,
    THREADS,
    Layout,
    kind_of,
    layout,
    pack,
    parts_for,
    rows_of_block,
    whole_pieces,
)

__all__ = ["pack_network", "take_steps"]


class Network(NamedTuple):
    """A network as its kernel reads it.

    kind: its product.  cell: the struct of its cell.  layers, h: their number, and hidden units.  parts,
    placed: of the products with inputs, with states, and of W_out.  arrays: see cuda/stepping.cu.
    """

    kind: str
    cell: str
    layers: int
    h: int
    activation: int
    feeds_back: bool
    parts: tuple[int, ...]
    placed: tuple[Layout, ...]
    arrays: tuple[Any, ...]


def pack_network(
    cell: str,
    layers: tuple[tuple[Any, ...], ...],
    W_out: Any,
    b_out: Any,
    activation: int,
    feeds_back: bool,
    reads_tokens: bool,
    *,
    precision: str = "float32",
) -> Network:
    """Copy the parameters to the form in which `take_steps` reads them."""
    struct, kind, (_, h, o) = (
        import_module(f".{cell}", __package__).CELL,
        kind_of(W_out, precision),
        W_out.shape,
    )
    product, gates, (W_in, W_rec, *_) = PRODUCTS[kind], CELLS[struct].gates, layers[0]
    inputs = 0 if reads_tokens else W_in.shape[1]
    sizes = ((inputs, gates * h), (W_rec.shape[1], gates * h), (h, o or h))
    works = [(whole_pieces(each, product.operand), columns) for each, columns in sizes]
    parts = tuple(parts_for(product, *work)[-1] for work in works)
    placed = tuple(layout(product, *work, part) for work, part in zip(works, parts, strict=True))
    matrices = [(W_in, gates, parts[0])] * (not reads_tokens)
    matrices += [(layer[1], gates, parts[1]) for layer in layers]
    matrices += [(layer[0], gates, parts[1]) for layer in layers[1:]]
    matrices += [(W_out, 1, parts[2])] * (o > 0)
    packed = cupy.concatenate([pack(W, kind, g, 1, part, 1, False) for W, g, part in matrices])
    biases = cupy.stack([layer[2] for layer in layers])
    of_units = cupy.stack([layer[3] for layer in layers]) if len(layers[0]) == 4 else None
    rows = W_in.copy() if reads_tokens else cupy.empty((len(W_in), 0, gates * h), W_in.dtype)
    arrays = (rows, biases, of_units, packed, b_out.copy() if o else None)
    return Network(kind, struct, len(layers), h, activation, feeds_back, parts, placed, arrays)


def take_steps(
    network: Network, x: Any, tokens: Any, state: Any, outputs: Any, last: Any, fault: Any
) -> None:
    """Read an input, then n - 1 times the last output."""
    kind, cell, layers, h, activation, feeds_back, parts, (inward, own, out), arrays = network
    (k, b, n, o), product = outputs.shape, PRODUCTS[kind]
    late = CELLS[cell].late
    operands = inward.pitch + (layers + late) * own.pitch + out.pitch
    sums = [part * each.width for part, each in zip(parts, network.placed, strict=True)]
    row = operands * product.operand + ((1 + late) * sums[1] + max(sums)) * product.real
    rows = rows_of_block(kind, k * b, row, h)
    blocks = k * -(-b // rows)
    entries = arrays[3].nbytes / k / product.operand + late * layers * own.depth * own.jobs
    step = (2 + late) * layers * (LOAD + CHAIN + 2 * BARRIER) + rows * entries / MULTIPLY_ADDS
    pieces_a_launch(f"{n} steps of a network", n * step * -(-blocks // multiprocessors()))
    inputs = x.shape[2]
    sizes = (k, b, n, len(x if inputs else tokens), inputs, arrays[0].shape[1], h, o, layers)
    launch(
        *("stepping", f"take_steps<{kind}, {cell}, {rows}>", blocks, THREADS),
        *(x, tokens, state, *arrays, *sizes, feeds_back, activation, *parts, outputs, last, fault),
        shared=rows * row,
    )
