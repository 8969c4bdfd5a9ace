"""Products of float matrices: a register tile as LLVM IR, and the loops that feed it.

The right operand is packed into panels of two vectors of columns, the last filled up with 0, so that the
tile reads it in one stream; the left one is read in place, an element at a time, by broadcasts.  A tile of 8
by 2 AVX-512 vectors does 16 fused multiply-adds for 10 loads and reaches the peak of the machine.  Every
element is summed in the order of the inner index, whatever the tile, so that a row's result does not
depend on the rows beside it or on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import memory
from . import threads
from .arrays import add, borrow, copy, empty, fill, keep, zeros
from .jit import jit
from .pairs import (
    WORD,
    add_products,
    are_words,
    elements,
    factors_across,
    factors_down,
    in_word,
    round_row,
    round_rows,
    words_or,
)
from .parallel import parallel, tasks
from .simd import FEATURES, I32, I64, VECTOR_BYTES, constant, data, load, splat, store, variable
from .threads import get_threads
from .values import call

# Accumulators must fit the 32 registers of AVX-512 and NEON, or the 16 of AVX2.
ROWS = 8 if VECTOR_BYTES == 64 or "neon" in FEATURES else 4
VECTORS = 2  # of a panel
RATE = 40  # multiply-adds a nanosecond of one core, about
GROUP = 4  # panels of a weight gradient to gather at a time, so that whole stretches are read
CHUNK = 128  # steps of a weight gradient at a time: a panel of them stays in the first cache
FEW = 8  # steps of all rows up to which a product reads a matrix as it is: packing costs as much as seven


def multiply_tile(rows: int, panels: int, transposed: bool = False) -> Any:
    """Intrinsic (a, a_at, a_stride, b, b_at, b_stride, b_panel, depth, c, c_at, c_stride): c += a b in
    registers.

    a: element (r, k) at a_at + r a_stride + k of a flat view, or r + k a_stride if transposed.
    b: panels (depth, VECTORS * lanes), element (k, j) of panel q at b_at + q b_panel + k b_stride + j; uint32
        hold two numbers each, see `pair`.  Where a has words of two factors in bfloat16, b has, too.
    c: element (r, j) at c_at + r c_stride + j.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        held = 2 if signature.args[3].dtype == types.uint32 else 1
        words = are_words(signature.args[0])
        b_at, b_stride, b_panel = (builder.sdiv(args[i], I64(held)) for i in (4, 5, 6))
        a, b, c = (
            builder.gep(data(context, builder, signature.args[i], args[i]), [at], inbounds=True)
            for i, at in ((0, args[1]), (3, b_at), (8, args[9]))
        )
        a_stride, depth, c_stride = args[2], args[7], args[10]
        lanes = lanes_in(signature.args[8].dtype)
        vector = ir.VectorType(c.type.pointee, lanes)

        def at(pointer: ir.Value, offset: ir.Value) -> ir.Value:
            return builder.gep(pointer, [offset], inbounds=True)

        cells = [
            [
                at(c, builder.add(builder.mul(c_stride, I64(r)), I64(v * lanes)))
                for v in range(panels * VECTORS)
            ]
            for r in range(rows)
        ]
        sums = [[variable(builder, vector, load(builder, cell, vector)) for cell in row] for row in cells]
        starts = [a if transposed else at(a, builder.mul(a_stride, I64(r))) for r in range(rows)]
        tops = [at(b, builder.mul(b_panel, I64(q))) for q in range(panels)]
        with cgutils.for_range(builder, depth) as loop:
            k = loop.index
            row = builder.mul(k, b_stride)
            kind = ir.VectorType(I32, lanes) if words else vector
            columns = [column for top in tops for column in load_row(builder, at(top, row), kind)]
            for r, (start, row_sums) in enumerate(zip(starts, sums, strict=True)):
                place = builder.add(builder.mul(k, a_stride), I64(r)) if transposed else k
                factor = splat(builder, builder.load(at(start, place)), lanes)
                for column, slot in zip(columns, row_sums, strict=True):
                    total = builder.load(slot)
                    if words:
                        total = add_products(builder, total, factor, column)
                    else:
                        total = call(builder, "fmuladd", factor, column, total)
                    builder.store(total, slot)
        for row, row_sums in zip(cells, sums, strict=True):
            for cell, slot in zip(row, row_sums, strict=True):
                store(builder, builder.load(slot), cell)
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, a, a_at, a_stride, b, b_at, b_stride, b_panel, depth, c, c_at, c_stride):
        i = types.int64
        return types.void(a, i, i, b, i, i, i, i, c, i, i), body

    return tile


def load_row(builder: ir.IRBuilder, row: ir.Value, vector: ir.VectorType) -> list[ir.Value]:
    """The vectors of a row of a panel."""
    if isinstance(row.type.pointee, ir.IntType) and not isinstance(vector.element, ir.IntType):
        both = load(builder, row, ir.VectorType(I32, vector.count))
        low = builder.shl(both, constant(I32, vector.count, 16))
        high = builder.and_(both, constant(I32, vector.count, 0xFFFF0000))
        return [builder.bitcast(half, vector) for half in (low, high)]
    return [
        load(builder, builder.gep(row, [I64(v * vector.count)], inbounds=True), vector)
        for v in range(VECTORS)
    ]


def lanes_in(dtype: types.Float) -> int:
    """Numbers of a Numba dtype in a vector register."""
    return VECTOR_BYTES * 8 // dtype.bitwidth


tile_8, tile_4, tile_2, tile_1 = (multiply_tile(r, 1) for r in (8, 4, 2, 1))
long_1, wide_1 = multiply_tile(1, 2), multiply_tile(1, 4)
outer_tile = multiply_tile(ROWS, 1, transposed=True)


@intrinsic
def move(typingctx, source, source_at, target, target_at):
    """Copy a panel's width of numbers between flat views of arrays."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        source, target = (
            builder.gep(data(context, builder, signature.args[i], args[i]), [args[i + 1]], inbounds=True)
            for i in (0, 2)
        )
        vector = ir.VectorType(source.type.pointee, VECTORS * lanes_in(signature.args[0].dtype))
        store(builder, load(builder, source, vector), target)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), body


@intrinsic
def transpose_block(typingctx, source, source_at, source_stride, target, target_at, target_stride):
    """Copy the transpose of a square as wide as a vector between flat views of arrays, from rows
    source_stride apart to rows target_stride apart."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        source, target = (
            builder.gep(data(context, builder, signature.args[i], args[i]), [args[i + 1]], inbounds=True)
            for i in (0, 3)
        )
        lanes = lanes_in(signature.args[0].dtype)
        vector = ir.VectorType(source.type.pointee, lanes)
        rows = [
            load(builder, builder.gep(source, [builder.mul(args[2], I64(r))], inbounds=True), vector)
            for r in range(lanes)
        ]
        # Interleaving the first half of the rows with the second, over and over, takes columns to rows.
        for _ in range(lanes.bit_length() - 1):
            halves = zip(rows[: lanes // 2], rows[lanes // 2 :], strict=True)
            mixed = [[i // 2 + i % 2 * lanes + part for i in range(lanes)] for part in (0, lanes // 2)]
            rows = [
                builder.shuffle_vector(*pair, constant(I32, lanes, order))
                for pair in halves
                for order in mixed
            ]
        for r, row in enumerate(rows):
            store(builder, row, builder.gep(target, [builder.mul(args[5], I64(r))], inbounds=True))
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, target, i, i), body


@intrinsic
def panel_step(typingctx, array):
    """`panel_width` as a constant, without a division by the size of a number."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return I64(VECTORS * lanes_in(array.dtype))

    return types.int64(array), body


@jit
def panel_width(array):
    """Columns of a packed panel of the array's dtype."""
    return VECTORS * VECTOR_BYTES // array.itemsize


@jit
def padded(columns, array):
    """Columns of a packed matrix of the array's dtype: whole panels."""
    width = panel_width(array)
    return -(-columns // width) * width


@jit
def pack_panel(source, net, first, transposed, depth, columns, panels, offset, begin):
    """The panel from column `begin` on of what `pack` packs."""
    width = panel_width(panels)
    total = panels.shape[1] // padded(columns, panels)
    held, squares = min(width, columns - begin), 0
    if transposed and held == width:
        lanes = width // VECTORS
        squares = depth // lanes * lanes
        to = net * panels.shape[1] + begin * total + offset * width
        for j in range(0, width, lanes):
            at = (net * source.shape[1] + begin + j) * source.shape[2] + first
            for k in range(0, squares, lanes):
                transpose_block(source, at + k, source.shape[2], panels, to + k * width + j, width)
    for k in range(squares, depth):
        at = begin * total + (offset + k) * width
        panel = panels[net, at : at + width]
        if transposed:
            for j in range(held):
                panel[j] = source[net, begin + j, first + k]
        elif held == width:
            row = net * source.shape[1] + k
            move(source, row * source.shape[2] + first + begin, panels, net * panels.shape[1] + at)
        else:
            copy(source[net, k, first + begin : first + begin + held], panel)
        for j in range(held, width):
            panel[j] = 0


def packed(like, depth, columns):
    """Allocate packed matrices (depth, columns), as many as `like` has networks, in its dtype."""
    return memory.empty((len(like), depth * padded(columns, like)), like.dtype)


def read_in_place(precision, outputs, *matrices):
    """The matrices (k, .., columns) as (k, size) if products that make outputs (k, b, t, ..) should read them
    with `multiply_in_place`, else None: steps must be few, and panels not reach beyond the next row."""
    k, rows, steps, _ = outputs.shape
    if rows * steps > FEW or precision != "float32":
        return None
    for W in matrices:
        if W.shape[2] * W.itemsize < VECTORS * VECTOR_BYTES:
            return None
    return [W.reshape(k, -1) for W in matrices]


def pack_below(precision, first, columns, *matrices):
    """Columns of matrices (k, depth, ..), from the first on, packed one below the other."""
    if precision == "bf16":
        k, depth = len(matrices[0]), sum(W.shape[1] for W in matrices)
        stacked = memory.empty((k, depth, matrices[0].shape[2]), matrices[0].dtype)
        np.concatenate(matrices, axis=1, out=stacked)
        matrices = (factors_down(stacked, precision),)
    panels = packed(matrices[0], sum(W.shape[1] for W in matrices), columns)
    offset = 0
    for W in matrices:
        pack(W, first, False, W.shape[1], columns, panels, offset)
        offset += W.shape[1]
    return panels


def pack_transposed(precision, W, columns):
    """The transpose of W (k, rows, depth), of its first rows as that many columns, packed."""
    W = factors_across(W, precision)
    depth = W.shape[2]
    panels = packed(W, depth, columns)
    pack(W, 0, True, depth, columns, panels, 0)
    return panels


def has_halves(W):
    """Whether numbers are float32 with 16 bits of 0 at the end: those that bfloat16 has."""
    return W.dtype == np.float32 and not (W.view(np.uint32) & 0xFFFF).any()


def pair(panels):
    """Packed panels of such numbers with half the bytes: the upper halves of those of both vectors of a row
    as uint32, the second above the first."""
    k, width = len(panels), panel_width(panels)
    rows = panels.view(np.uint32).reshape(k, panels.shape[1] // width, VECTORS, width // VECTORS)
    return (rows[:, :, 0] >> 16 | rows[:, :, 1]).reshape(k, panels.shape[1] // VECTORS)


def pack_tasks(source, first, transposed, depth, columns, panels, offset):
    """Panels, and four numbers a nanosecond."""
    tasks = len(source) * -(-columns * panels.itemsize // (VECTORS * VECTOR_BYTES))
    return tasks, len(source) * depth * columns / 4


@tasks(pack_tasks)
def pack(task, source, first, transposed, depth, columns, panels, offset):
    """Pack (depth, columns) of each matrix of source (k, .., ..), from its column `first` on, or of its
    transpose from its row `first` on, as rows offset.. of what `packed` made for that many columns."""
    width = panel_width(panels)
    parts = -(-columns // width)
    net, begin = task // parts, task % parts * width
    pack_panel(source, net, first, transposed, depth, columns, panels, offset, begin)


@jit
def multiply(a, a_at, a_stride, rows, b, depth, c):
    """c += a b in the first rows of c, for packed b (depth, c.shape[1]).

    Row r of a begins at a_at + r a_stride of its flat view.
    """
    width = panel_step(c)
    multiply_panels(a, a_at, a_stride, rows, b, 0, width, depth * width, depth, c)


@jit
def room_for(rows, depth, panels):
    """Where `multiply_rounded` puts factors."""
    return empty((rows, elements(depth, panels) if in_word(panels) == 2 else 0), panels)


@jit
def multiply_rounded(a, a_at, a_stride, rows, panels, depth, c, room):
    """`multiply`, of factors that are rounded to what the panels hold; room is for these."""
    words, held = words_or(room, a), elements(depth, panels)
    if in_word(panels) == 2:
        for r in range(rows):
            round_row(a, a_at + r * a_stride, depth, room, r * held)
        multiply(words, 0, held, rows, panels, held, c)
    else:
        multiply(words, a_at, a_stride, rows, panels, held, c)


@jit
def multiply_panels(a, a_at, a_stride, rows, b, b_at, b_stride, b_panel, depth, c):
    """`multiply` for panels of b that begin at b_at + q b_panel, with rows b_stride apart."""
    width, step, even, panel = c.shape[1], panel_step(c), rows & ~1, b_at
    for column in range(0, width if even else 0, step):
        row, left, out = 0, a_at, column
        if ROWS == 8:
            while row + 8 <= rows:
                tile_8(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)
                row, left, out = row + 8, left + 8 * a_stride, out + 8 * width
        while row + 4 <= rows:
            tile_4(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)
            row, left, out = row + 4, left + 4 * a_stride, out + 4 * width
        if row + 2 <= rows:
            tile_2(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)
        panel += b_panel
    if even < rows:  # several panels at a time, as the sums of one would wait for each other
        left, out, panel = a_at + even * a_stride, even * width, b_at
        end = out + width
        while out + 4 * step <= end:
            wide_1(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)
            out, panel = out + 4 * step, panel + 4 * b_panel
        if out + 2 * step <= end:
            long_1(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)
            out, panel = out + 2 * step, panel + 2 * b_panel
        if out < end:
            tile_1(a, left, a_stride, b, panel, b_stride, b_panel, depth, c, out, width)


@jit
def multiply_in_place(a, a_at, a_stride, rows, b, stride, first, depth, columns, c):
    """`multiply` for the columns from `first` on of a flat matrix b (depth, stride) that is not packed."""
    over = 1 if columns < c.shape[1] and depth else 0
    multiply_panels(a, a_at, a_stride, rows, b, first, stride, panel_step(c), depth - over, c)
    if over:  # the last panel of the last row may end behind the matrix
        scratch = zeros((c.shape[1],), c)
        last, begin = borrow(scratch), first + (depth - 1) * stride
        copy(b[begin : begin + columns], last)
        multiply(a, a_at + depth - 1, a_stride, rows, last, 1, c)
        keep(scratch)


@jit
def weight_gradient_rows(
    factors, left, start, d, net, lengths, first, columns, k0, k1, out, out_first, summed, sums, sums_first
):
    """out[net, k0:k1, out_first:][:columns] = sum over the steps of every row of left_t (outer) d_t.

    left (m, b, t, n) with columns k0..k1-1, d (k, b, t, g) with columns first..first+columns-1.  Where
    start (k, b, n) holds anything, left is a step late: start, then its steps but the last.  sums (k, ..)
    gets the sums of d at sums_first, if they are wanted (summed).  Steps are taken in order, in chunks.
    Where `factors` has words, both factors are rounded, and words have two steps.
    """
    rows, steps, g = d.shape[1:]
    late = start.size > 0
    left_net = min(net, len(left) - 1)
    panel = panel_width(d)
    depth = -(-(k1 - k0) // ROWS) * ROWS
    width = padded(columns, d)
    if depth * width == 0:
        return
    chunk = min(CHUNK, rows * steps)
    held = in_word(factors)
    scratch = (
        zeros((chunk, depth), d),
        empty((chunk if held == 2 else 0, depth), factors),
        zeros((chunk * width,), factors),
        zeros((depth + 1, width), d),  # and the sums of d below
        empty((chunk,), np.int64),
        empty((chunk, 2), np.int64),
    )
    a, a_words, panels, total, places, steps_of = borrow(scratch)
    sums_of_d = total[depth, :columns]
    row = t = 0
    while row < rows:
        count = 0
        while count < chunk and row < rows:
            if t >= lengths[row]:
                row, t = row + 1, 0
                continue
            if late:
                source = start[net, row, k0:k1] if t == 0 else left[left_net, row, t - 1, k0:k1]
            else:
                source = left[left_net, row, t, k0:k1]
            copy(source, a[count])
            places[count] = ((net * rows + row) * steps + t) * g + first
            steps_of[count, 0], steps_of[count, 1] = row, t
            if summed:
                add(d[net, row, t, first : first + columns], sums_of_d)
            count, t = count + 1, t + 1
        if held == 2:
            for r in range(0, count, 2):
                below = (r + 1) * depth if r + 1 < count else -1
                round_rows(a, r * depth, below, depth, a_words, r // 2 * depth)
        for group in range(0, width, GROUP * panel):
            end = min(group + GROUP * panel, width)
            for r in range(0, count, held):
                for column in range(group, end, panel):
                    to = column * chunk + r // held * panel
                    if held == 2:
                        below = places[r + 1] + column if r + 1 < count else -1
                        part = min(panel, columns - column)
                        round_rows(d, places[r] + column, below, part, panels, to)
                    elif column + panel <= columns:
                        move(d, places[r] + column, panels, to)
                    else:
                        source = d[net, steps_of[r, 0], steps_of[r, 1]]
                        copy(source[first + column : first + columns], panels[to:])
            left_factors, deep = words_or(a_words, a), (count + held - 1) // held
            for column in range(group, end, panel):
                at = column * chunk
                for k in range(0, depth, ROWS):
                    to = k * width + column
                    outer_tile(left_factors, k, depth, panels, at, panel, 0, deep, total, to, width)
    for k in range(k1 - k0):
        copy(total[k, :columns], out[net, k0 + k, out_first:])
    if summed:
        copy(sums_of_d, sums[net, sums_first:])
    keep(scratch)


@parallel
def weight_gradient_parts(
    task, parts, factors, left, start, d, lengths, first, columns, out, out_first, sums, sums_first
):
    """`weight_gradient` with the longer side of each matrix in parts."""
    n = out.shape[1]
    across = columns > n
    unit = panel_width(d) if across else ROWS
    units = -(-(columns if across else n) // unit)
    net, part = task // parts, task % parts
    begin, end = part * units // parts * unit, (part + 1) * units // parts * unit
    k0, k1, c0, c1 = 0, n, 0, columns
    if across:
        c0, c1 = begin, min(end, columns)
    else:
        k0, k1 = begin, min(end, n)
    summed = sums.size > 0 and (across or part == 0)
    first, out_first, sums_first = first + c0, out_first + c0, sums_first + c0
    weight_gradient_rows(
        factors,
        left,
        start,
        d,
        net,
        lengths,
        first,
        c1 - c0,
        k0,
        k1,
        out,
        out_first,
        summed,
        sums,
        sums_first,
    )


def weight_gradient(precision, left, start, d, lengths, first, columns, out, out_first, sums, sums_first):
    """`weight_gradient_rows` for all networks and all rows of out (k, n, ..)."""
    factors = np.empty(0, WORD if precision == "bf16" else d.dtype)
    (k, b, t, _), n = d.shape, out.shape[1]
    work = k * b * t * n * columns / RATE
    parts = parts_of(k, -(-max(columns, n) // ROWS), work)
    weight_gradient_parts.deal(
        *(k * parts, work, parts, factors, left, start, d, lengths),
        *(first, columns, out, out_first, sums, sums_first),
    )


def parts_of(networks, divisible, work):
    """Parts to cut each network's work, of so many nanoseconds in all, into to keep every thread busy."""
    return max(1, min(divisible, -(-get_threads() // networks))) if work > threads.SMALL else 1


@tasks(lambda d, lengths, first, columns, sums, sums_first: (len(d), d.size / d.shape[3] * columns / 4))
def column_sums(net, d, lengths, first, columns, sums, sums_first):
    """sums[:, sums_first:][:columns] = sum of d (k, b, t, g) over steps, of its columns from `first` on."""
    total = sums[net, sums_first : sums_first + columns]
    fill(total, 0, 0)
    for row in range(len(lengths)):
        for t in range(lengths[row]):
            source = d[net, row, t, first : first + columns]
            for j in range(columns):
                total[j] += source[j]
