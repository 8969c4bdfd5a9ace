"""Sequences that a decoder writes on the GPU, all steps of all sources in one launch."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .module import CELLS, DECODED_ROWS, launch, multiprocessors, pieces_a_launch
from .recurrent import (
    BARRIER,
    CHAIN,
    LOAD,
    MULTIPLY_ADDS,
    PRODUCTS,
    THREADS,
    Layout,
    layout,
    pack,
    parts_for,
    this_card,
    whole_pieces,
)
from .stepping import pack_network

__all__ = ["beam_search", "generate_attending"]


def packed(W: Any, kind: str) -> tuple[Any, int, Layout]:
    """W as a block reads it, or None if it is empty; the parts that its inputs are summed in; its layout."""
    product = PRODUCTS[kind]
    inputs, columns = whole_pieces(W.shape[0], product.operand), max(1, W.shape[1])
    (parts,) = parts_for(product, inputs, columns)
    placed = layout(product, inputs, columns, parts)
    return (pack(W[None], kind, 1, 1, parts, 1, False) if W.size else None), parts, placed


def decode(
    network: tuple[Any, ...],
    attended: tuple[Any, ...],
    work: str,
    steps: int,
    beams: int,
    n_best: int,
    search: tuple[Any, ...],
    sampling: tuple[Any, ...],
) -> None:
    """Launch the kernel of cuda/decoding.cu, for a search of so many beams, or with 0 for draws."""
    cell, state, layers, W_out, b_out, activation, feeds_back = network
    keys, values, lengths, W_query, v, W_combine = attended
    (count, _, n, s), (_, h, o), (_, t, d) = state.shape, W_out.shape, keys.shape
    if not n:
        return
    kind, struct, *_, parts, (_, own, out), arrays = pack_network(
        cell, layers, W_out, b_out, activation, feeds_back, True
    )
    product, rows, late = PRODUCTS[kind], DECODED_ROWS[kind], CELLS[struct].late
    (query, query_parts, asked), (combine, combine_parts, joined) = (
        packed(W, kind) for W in (W_query, W_combine)
    )
    products = [own, *[asked] * (query is not None), *[joined] * (combine is not None)]
    each_parts = [parts[1], *[query_parts] * (query is not None), *[combine_parts] * (combine is not None)]
    operands = (count + late) * own.pitch + max(out.pitch, asked.pitch if query is not None else 0)
    if combine is not None:
        operands += joined.pitch
    if query is not None:
        operands += whole_pieces(d, product.real)
    sums = [part * each.width for part, each in zip(each_parts, products, strict=True)]
    nbytes = rows * (operands + (1 + late) * sums[0] + max(sums)) * product.real
    blocks, slots = (n, n * beams) if beams else (-(-n // rows), n)
    large = nbytes > this_card().shared
    dtype = W_out.dtype
    scratch = cupy.empty(blocks * nbytes, np.uint8) if large else None
    states, logits = cupy.empty((2, count, slots, s), dtype), cupy.empty((slots, o), dtype)
    out_sums, scores = (
        cupy.empty((blocks, parts[2] * rows * out.width), dtype),
        cupy.empty((blocks, rows, t), dtype),
    )
    entries = arrays[3].size + W_query.size + W_combine.size + late * count * own.depth * own.jobs
    at_once = max(1, -(-max(beams, 1) // rows))
    clocks = at_once * ((3 + late) * count * (LOAD + CHAIN + 2 * BARRIER) + rows * entries / MULTIPLY_ADDS)
    pieces_a_launch(work, steps * clocks * -(-blocks // multiprocessors()))
    sizes = (n, steps, t, d, h, o, count, feeds_back, activation, *parts[1:], query_parts, combine_parts)
    launch(
        *("decoding", f"decode<{kind}, {struct}, {rows}>", blocks, THREADS),
        *(state, *arrays, keys, values, lengths, v if v.size else None, query, combine, *sizes),
        *(beams, n_best, *search, *sampling, states, logits, out_sums, scores, scratch, nbytes),
        shared=0 if large else nbytes,
    )


def beam_search(
    cell: str,
    state: Any,
    layers: tuple[tuple[Any, ...], ...],
    W_out: Any,
    b_out: Any,
    activation: int,
    feeds_back: bool,
    keys: Any,
    values: Any,
    lengths: Any,
    W_query: Any,
    v: Any,
    W_combine: Any,
    width: int,
    penalties: Any,
    symbols: Any,
    symbol_lengths: Any,
    scores: Any,
) -> None:
    """The best hypotheses of each source."""
    n, n_best, steps = symbols.shape
    symbols.fill(W_out.shape[2] - 1)
    symbol_lengths.fill(0)
    scores.fill(-np.inf)
    sums, bases = cupy.empty((n, width)), cupy.empty((n, width))
    history, ends = cupy.empty((n, steps, width, 2), np.int32), cupy.zeros((n, n_best, 2), np.int32)
    network = (cell, state, layers, W_out, b_out, activation, feeds_back)
    attended = (keys, values, lengths, W_query, v, W_combine)
    search = (penalties, sums, bases, history, ends, symbols, symbol_lengths, scores)
    sampling = (1.0, 0, np.uint64(0), np.uint64(0), None)
    decode(network, attended, "a beam search", steps, width, n_best, search, sampling)


def generate_attending(
    cell: str,
    state: Any,
    layers: tuple[tuple[Any, ...], ...],
    W_out: Any,
    b_out: Any,
    activation: int,
    feeds_back: bool,
    keys: Any,
    values: Any,
    lengths: Any,
    W_query: Any,
    v: Any,
    W_combine: Any,
    temperature: float,
    top_k: int,
    top_p: int,
    key: int,
    drawn: Any,
) -> None:
    """Symbols drawn for each source."""
    network = (cell, state, layers, W_out, b_out, activation, feeds_back)
    attended = (keys, values, lengths, W_query, v, W_combine)
    # The first largest is the only one that top_k = 1 keeps.
    inverse = float(W_out.dtype.type(1 / temperature)) if temperature else 1.0
    sampling = (inverse, top_k if temperature else 1, np.uint64(top_p), np.uint64(key), drawn)
    decode(network, attended, "a sequence that is drawn", drawn.shape[1], 0, 0, (None,) * 8, sampling)
