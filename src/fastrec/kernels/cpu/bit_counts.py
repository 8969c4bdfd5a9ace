"""Counting by unit: in how many of some packed patterns a unit is +1, times a weight.

Counters are bit-sliced: bit b of the counts of 64 units is one word, a plane.  Eight patterns at a time go
through carry-save adders (Harley and Seal), five operations for as many bits as a vector holds, so that
counting costs as much for each bit as an exclusive or and a sum.

W. Mula, N. Kurz and D. Lemire, Faster population counts using AVX2 instructions, Comput. J. 61, 111 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .arrays import empty
from .jit import jit
from .simd import I8, I64, VECTOR_BYTES, constant, data, lane_mask, load, splat, store, variable

PLANES = 8
MOST = 2**PLANES - 1  # patterns that planes can count
LANES = VECTOR_BYTES // 8


def carry_save(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The sum of three bits, in each place: its low and its high bit."""
    half = builder.xor(a, b)
    return builder.xor(half, c), builder.or_(builder.and_(a, b), builder.and_(half, c))


def carry(builder: ir.IRBuilder, slots: Sequence[ir.Value], bits: ir.Value) -> None:
    """Add bits to the counters whose planes are in slots, the lowest first."""
    for slot in slots:
        plane = builder.load(slot)
        builder.store(builder.xor(plane, bits), slot)
        bits = builder.and_(plane, bits)


def counter(lanes: int) -> Any:
    """Intrinsic (packed, rows, first, last, word, planes): count the ones, by bit, of rows[first:last], MOST
    at most, of packed (p, w), in so many words from number `word` on.

    Plane b of word i is written to planes[PLANES i + b].
    """
    vector = ir.VectorType(I64, lanes)

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        packed = context.make_array(signature.args[0])(context, builder, args[0])
        width = cgutils.unpack_tuple(builder, packed.shape)[1]
        rows, planes = (data(context, builder, signature.args[i], args[i]) for i in (1, 5))
        slots = [variable(builder, vector) for _ in range(PLANES)]

        def line(at: ir.Value) -> ir.Value:
            row = builder.sext(builder.load(builder.gep(rows, [at])), I64)
            place = builder.add(builder.mul(row, width), args[4])
            return load(builder, builder.gep(packed.data, [place]), vector)

        eights = builder.and_(builder.sub(args[3], args[2]), I64(-8))
        rest = builder.add(args[2], eights)
        with cgutils.for_range_slice(builder, args[2], rest, I64(8), inc=True) as (at, _):
            pieces = [line(builder.add(at, I64(j))) for j in range(8)]
            for slot in slots[:3]:
                low, pieces_up = builder.load(slot), []
                for a, b in zip(pieces[::2], pieces[1::2], strict=True):
                    low, high = carry_save(builder, low, a, b)
                    pieces_up.append(high)
                builder.store(low, slot)
                pieces = pieces_up
            carry(builder, slots[3:], pieces[0])
        with cgutils.for_range_slice(builder, rest, args[3], I64(1), inc=True) as (at, _):
            carry(builder, slots, line(at))
        for b, slot in enumerate(slots):
            plane = builder.load(slot)
            for lane in range(lanes):
                word = builder.extract_element(plane, I64(lane))
                builder.store(word, builder.gep(planes, [I64(PLANES * lane + b)]))
        return context.get_dummy_value()

    @intrinsic
    def count(typingctx, packed, rows, first, last, word, planes):
        i = types.int64
        return types.void(packed, rows, i, i, i, planes), body

    return count


@intrinsic
def add_weighted(typingctx, planes, word, weight, sums, at):
    """sums[at : at + 64] (int64) += weight times the counts whose planes begin at planes[PLANES * word]."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        first = builder.mul(args[1], I64(PLANES))
        start = builder.gep(data(context, builder, signature.args[0], args[0]), [first])
        counts = constant(I8, 64, 0)
        for b in range(PLANES):
            mask = lane_mask(builder, builder.load(builder.gep(start, [I64(b)])), I8)
            counts = builder.or_(counts, builder.select(mask, constant(I8, 64, 1 << b), constant(I8, 64, 0)))
        wide = builder.zext(counts, ir.VectorType(I64, 64))
        pointer = builder.gep(data(context, builder, signature.args[3], args[3]), [args[4]])
        change = builder.mul(wide, splat(builder, args[2], 64))
        store(builder, builder.add(load(builder, pointer, wide.type), change), pointer)
        return context.get_dummy_value()

    i = types.int64
    return types.void(planes, i, i, sums, i), body


count_wide, count_one = counter(LANES), counter(1)


@jit
def add_rows(packed, rows, first, last, weight, sums):
    """Add to sums (64 w,) the weight for each 1 of rows[first:last] of packed (p, w)."""
    w = packed.shape[1]
    planes = empty((PLANES * LANES,), packed)
    for begin in range(first, last, MOST):
        end = min(begin + MOST, last)
        word = 0
        while word < w:
            lanes = LANES if word + LANES <= w else 1
            if lanes == LANES:
                count_wide(packed, rows, begin, end, word, planes)
            else:
                count_one(packed, rows, begin, end, word, planes)
            for lane in range(lanes):
                add_weighted(planes, lane, weight, sums, 64 * (word + lane))
            word += lanes
