"""Cells whose steps need whole rows, as for two products in turn, on the GPU: weights come from L2."""

from __future__ import annotations

from typing import Any

from .module import BLOCK_ROWS, launch, multiprocessors, pieces_a_launch
from .recurrent import (
    BARRIER,
    CHAIN,
    LOAD,
    MULTIPLY_ADDS,
    PRODUCTS,
    THREADS,
    kind_of,
    layout,
    pack,
    parts_for,
    rows_of_block,
    split_work,
    this_card,
)


def launch_linked(
    cell: str,
    way: str,
    rows: Any,
    matrices: tuple[Any, ...],
    values: int,
    precision: str,
    before: tuple[Any, ...],
    between: tuple[Any, ...],
    widths: tuple[int, ...],
    after: tuple[Any, ...],
    struct: str = "",
) -> None:
    """Launch a kernel of cuda/<cell>.cu on rows (k, b, t, h), a block for few of them or, of many, for more.

    struct: that of cuda/cells.cuh which the kernel is an instance for, if it has instances for several.

    matrices (k, n, u): of the products, which go from n to u values or back.  values: that a block keeps of
    each row besides.  The arguments are before, the packed weights, between, the sizes, with widths, and
    after.  Raises ValueError if a row does not fit the shared memory of a block.
    """
    k, b, t, h = rows.shape
    kind, back = kind_of(rows, precision), way == "backward"
    product = PRODUCTS[kind]
    works = [split_work(product, W.shape[1], W.shape[2], 1, 1, 1, back) for W in matrices]
    options = [parts_for(product, work.inputs, work.columns) for work in works]
    for parts in reversed(list(zip(*options, strict=True))):  # the most of which the sums fit
        placed = [layout(product, w.inputs, w.columns, p) for w, p in zip(works, parts, strict=True)]
        sums = max(part * each.width for part, each in zip(parts, placed, strict=True)) + values
        row = sum(each.pitch for each in placed) * product.operand + sums * product.real
        if BLOCK_ROWS[kind][0] * row <= this_card().shared:
            break
    each = rows_of_block(kind, k * b, row, h)
    entries = sum(W.shape[1] * W.shape[2] for W in matrices)
    step = len(matrices) * (LOAD + CHAIN + 2 * BARRIER) + each * entries / MULTIPLY_ADDS
    clocks = t * step * -(-k * b // (each * multiprocessors()))
    pieces_a_launch(f"{t} steps of cell {cell!r}", clocks)
    packed = (pack(W, kind, 1, 1, part, 1, back) for W, part in zip(matrices, parts, strict=True))
    arguments = (*before, *packed, *between, b, t, *widths, *parts, *after)
    instance = ", ".join(filter(None, (kind, struct, str(each))))
    launch(
        *(cell, f"{cell}_{way}<{instance}>", k * -(-b // each), THREADS, *arguments),
        shared=each * row,
    )
