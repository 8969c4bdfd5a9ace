"""Products of signed bytes with bits, as sums of rows of overlaps need them, in vectors of the CPU.

The sums of a scan are 32 units wide (`UNITS`).  A panel holds the bits of 32 units in patterns, four
patterns of a unit side by side in a lane of 32 bits, 2 where the unit is up and 0 else; so an instruction
multiplies four digits of a memory with those of as many units as a vector has lanes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import (
    FEATURES,
    I8,
    I16,
    I32,
    I64,
    accumulate,
    call_vector,
    constant,
    data,
    load,
    splat,
    store,
    variable,
)

UNITS = 32  # of a panel
PANEL = 4 * UNITS  # bytes of four patterns
MOST = 256  # patterns of one product: sums of 16 bits hold no more
DIGIT = 127  # the largest
NEVER = -1  # the width of `advance` at which no sum is near


class Dot:
    """AVX-512 VNNI, AVX-VNNI: four products of bytes are added to each lane of 32 bits."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.name = f"llvm.x86.avx512.vpdpbusd.{8 * width}"

    def begin(self, before: ir.Value) -> ir.Value:
        """What products are added to, that ends in these sums and more."""
        return before

    def add(self, builder: ir.IRBuilder, sums: ir.Value, bits: ir.Value, digits: ir.Value) -> ir.Value:
        """The sums with the products of vectors of bytes."""
        # As 32 bits: LLVM 22 would take bytes, and takes these as all before it do.
        parts = [builder.bitcast(value, sums.type) for value in (bits, digits)]
        dot = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums.type, [sums.type] * 3), self.name
        )
        return builder.call(dot, [sums, *parts])

    def end(self, builder: ir.IRBuilder, before: ir.Value, sums: ir.Value) -> ir.Value:
        """The sums of 32 bits."""
        return sums


class Pairs:
    """Two products of bytes are added to each lane of 16 bits: AVX2's instruction, or what any CPU can do."""

    def __init__(self, width: int, name: str | None) -> None:
        self.width, self.name = width, name

    def begin(self, before: ir.Value) -> ir.Value:
        return ir.Constant(ir.VectorType(I16, self.width // 2), None)

    def add(self, builder: ir.IRBuilder, sums: ir.Value, bits: ir.Value, digits: ir.Value) -> ir.Value:
        if self.name:
            kind = ir.FunctionType(sums.type, [bits.type, digits.type])
            pairs = cgutils.get_or_insert_function(builder.module, kind, self.name)
            return builder.add(sums, builder.call(pairs, [bits, digits]))
        # Bits are 0 or 2: digits where they are set, twice.
        up = builder.icmp_signed("!=", bits, ir.Constant(bits.type, None))
        chosen = builder.bitcast(builder.select(up, digits, ir.Constant(digits.type, None)), sums.type)
        # 2 x the high byte, and 2 x the low one, with their signs.
        high = builder.ashr(builder.and_(chosen, constant(I16, sums.type.count, -256)), self.places(7))
        low = builder.ashr(builder.shl(chosen, self.places(8)), self.places(7))
        return builder.add(builder.add(sums, high), low)

    def places(self, bits: int) -> ir.Constant:
        return constant(I16, self.width // 2, bits)

    def end(self, builder: ir.IRBuilder, before: ir.Value, sums: ir.Value) -> ir.Value:
        both = builder.bitcast(sums, before.type)
        half = constant(I32, before.type.count, 16)
        low = builder.ashr(builder.shl(both, half), half)
        return builder.add(before, builder.add(low, builder.ashr(both, half)))


def products_of_bytes() -> tuple[Dot | Pairs, int]:
    """How this CPU multiplies bytes, and the memories whose sums it holds in registers."""
    if "avx512vnni" in FEATURES and "avx512bw" in FEATURES:
        return Dot(64), 12
    if "avx512bw" in FEATURES:
        return Pairs(64, "llvm.x86.avx512.pmaddubs.w.512"), 12
    if "avxvnni" in FEATURES:
        return Dot(32), 6
    if "avx2" in FEATURES:
        return Pairs(32, "llvm.x86.avx2.pmadd.ub.sw"), 4
    return Pairs(16, "llvm.x86.ssse3.pmadd.ub.sw.128" if "ssse3" in FEATURES else None), 4


PRODUCTS, ROWS = products_of_bytes()
VECTORS = 2  # of a row in registers at a time


def forget(builder: ir.IRBuilder) -> None:
    """Make LLVM read memory again, where it would keep what it has read in more registers than there are."""
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)


def row_length(context: Any, builder: ir.IRBuilder, type: types.Array, array: ir.Value) -> ir.Value:
    """Numbers in a row of an array argument of two dimensions."""
    return builder.extract_value(context.make_array(type)(context, builder, array).shape, 1)


def lane_bits(builder: ir.IRBuilder, flags: ir.Value, first: int) -> ir.Value:
    """A word of 32 bits, of which those from `first` on are these flags."""
    bits = builder.zext(builder.bitcast(flags, ir.IntType(flags.type.count)), I32)
    return builder.shl(bits, I32(first)) if first else bits


@intrinsic
def split(typingctx, overlaps, row, begin, end, stop, shift, digits, at):
    """Split overlaps[row, begin:end] (int32) into digits of 8 bits, and sum what they are and leave.

    begin and end are multiples of 8; overlaps from `stop` on count as 0.  digits[at], digits[at + ROWS], ...
    (int32) get four digits each, 127 at most: overlap = 2^shift digit + rest.  The sums are those of the
    digits, of |rest| and of |overlap|, as int64; they must fit 32 bits.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        overlaps, row, begin, end, stop, shift, digits, at = args
        columns = row_length(context, builder, signature.args[0], overlaps)
        overlaps, digits = (data(context, builder, signature.args[i], args[i]) for i in (0, 6))
        vector = ir.VectorType(I32, 8)
        line = builder.gep(overlaps, [builder.mul(row, columns)])
        shift = builder.trunc(shift, I32)
        half = builder.lshr(builder.shl(I32(1), shift), I32(1))
        places, half = splat(builder, shift, 8), splat(builder, half, 8)
        slots = [variable(builder, vector) for _ in range(3)]
        out = variable(builder, I64, at)
        with cgutils.for_range_slice(builder, begin, end, I64(8), inc=True) as (nu, _):
            m = load(builder, builder.gep(line, [nu]), vector)
            left = splat(builder, builder.trunc(builder.sub(stop, nu), I32), 8)
            m = builder.select(
                builder.icmp_signed("<", constant(I32, 8, list(range(8))), left), m, ir.Constant(vector, None)
            )
            digit = builder.ashr(builder.add(m, half), places)
            for side, bound in ((">", constant(I32, 8, DIGIT)), ("<", constant(I32, 8, -DIGIT))):
                digit = builder.select(builder.icmp_signed(side, digit, bound), bound, digit)
            rest = builder.sub(m, builder.shl(digit, places))
            for slot, value in zip(slots, (digit, size_of(builder, rest), size_of(builder, m)), strict=True):
                accumulate(builder, slot, value)
            fours = builder.bitcast(builder.trunc(digit, ir.VectorType(I8, 8)), ir.VectorType(I32, 2))
            place = builder.load(out)
            for i in range(2):
                builder.store(builder.extract_element(fours, I32(i)), builder.gep(digits, [place]))
                place = builder.add(place, I64(ROWS))
            builder.store(place, out)
        sums = [
            builder.sext(call_vector(builder, "llvm.vector.reduce.add", builder.load(slot), I32), I64)
            for slot in slots
        ]
        return context.make_tuple(builder, signature.return_type, sums)

    i64 = types.int64
    return types.UniTuple(i64, 3)(overlaps, i64, i64, i64, i64, i64, digits, i64), body


def size_of(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Lane-wise |value|."""
    negative = builder.icmp_signed("<", value, ir.Constant(value.type, None))
    return builder.select(negative, builder.neg(value), value)


@intrinsic
def spread_bits(typingctx, units, start, stride, bits, at):
    """bits[at : at + 2048] (uint8) = the panel of 32 units in 64 patterns.

    The bits of a unit are a word each: units[start], units[start + stride] and so on.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        units, start, stride, bits, at = args
        units, bits = (data(context, builder, signature.args[i], v) for i, v in ((0, units), (3, bits)))
        halves = builder.bitcast(units, I32.as_pointer())
        lanes = min(PRODUCTS.width // 4, 16)
        table = [sum((i >> b & 1) << (8 * b + 1) for b in range(4)) for i in range(16)]
        for half in range(2):
            for first in range(0, UNITS, lanes):
                words: ir.Value = ir.Constant(ir.VectorType(I32, lanes), ir.Undefined)
                for i in range(lanes):
                    place = builder.add(start, builder.mul(stride, I64(first + i)))
                    place = builder.add(builder.shl(place, I64(1)), I64(half))
                    words = builder.insert_element(words, builder.load(builder.gep(halves, [place])), I32(i))
                for group in range(8):
                    four = builder.lshr(words, constant(I32, lanes, 4 * group))
                    if lanes == 16:  # a table of all cases in a register, which looks at 4 bits of each lane
                        kind = ir.FunctionType(four.type, [four.type] * 2)
                        permute = cgutils.get_or_insert_function(
                            builder.module, kind, "llvm.x86.avx512.permvar.si.512"
                        )
                        four = builder.call(permute, [constant(I32, 16, table), four])
                    else:
                        four = builder.and_(four, constant(I32, lanes, 15))
                        four = builder.mul(four, constant(I32, lanes, 2 * 0x00204081))
                        four = builder.and_(four, constant(I32, lanes, 0x02020202))
                    offset = I64((8 * half + group) * PANEL + 4 * first)
                    place = builder.gep(bits, [builder.add(at, offset)])
                    store(builder, builder.bitcast(four, ir.VectorType(I8, 4 * lanes)), place)
        return context.get_dummy_value()

    return types.void(units, types.int64, types.int64, bits, types.int64), body


@intrinsic
def advance(
    typingctx,
    digits,
    at,
    bits,
    first,
    groups,
    sums,
    place,
    centers,
    center,
    width,
    x,
    memory,
    panel,
    near,
    note,
):
    """Add products to the sums of ROWS memories at 32 units; whether a sum was near.

    sums[place:] (int32, ROWS x 32) grow by the products of digits[at:] (int32: four bytes of each memory in
    turn, groups x ROWS) and the panel bits[first:] (uint8).

    Let z = before + after + centers[center + row].  A sum is near if z < 0 where the memory, which is row
    memory + row of packed x, has the unit up, or if z > width where it has it down.  near[note:] (uint32)
    then gets a word of units for each memory, and a word of the memories that have any.  With the width NEVER
    no sum is near; a width below that says that none may be passed over by its distance.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        digits, at, bits, first, groups, sums, place, centers, center, width, x, memory, panel, near, note = (
            args
        )
        count = row_length(context, builder, signature.args[10], x)
        digits, bits, sums, centers, x, near = (
            data(context, builder, signature.args[i], args[i]) for i in (0, 2, 5, 7, 10, 13)
        )
        lanes = PRODUCTS.width // 4
        octets, words = ir.VectorType(I8, PRODUCTS.width), ir.VectorType(I32, lanes)
        digits, centers, sums, near = (
            builder.gep(array, [begin])
            for array, begin in ((digits, at), (centers, center), (sums, place), (near, note))
        )
        near_rows = variable(builder, I32)
        always = builder.icmp_signed("<", width, I32(NEVER))
        if VECTORS * lanes < UNITS:
            for r in range(ROWS):
                builder.store(I32(0), builder.gep(near, [I64(r)]))
        for begin in range(0, UNITS, VECTORS * lanes):
            columns = range(begin, begin + VECTORS * lanes, lanes)

            def sum_place(r: int, column: int) -> ir.Value:
                return builder.gep(sums, [I64(UNITS * r + column)])

            before = {(r, c): load(builder, sum_place(r, c), words) for r in range(ROWS) for c in columns}
            slots = {}
            for key, value in before.items():
                begun = PRODUCTS.begin(value)
                slots[key] = variable(builder, begun.type, begun)
            with cgutils.for_range_slice(builder, I64(0), groups, I64(2), inc=True) as (group, _):
                for half in range(2):  # steps are of 8 patterns and more
                    four = builder.gep(bits, [builder.add(first, builder.mul(group, I64(PANEL)))])
                    panels = {
                        c: load(builder, builder.gep(four, [I64(half * PANEL + 4 * c)]), octets)
                        for c in columns
                    }
                    row = builder.gep(digits, [builder.mul(group, I64(ROWS))])
                    for r in range(ROWS):
                        four = builder.load(builder.gep(row, [I64(half * ROWS + r)]))
                        many = builder.bitcast(splat(builder, four, lanes), octets)
                        for c in columns:
                            slot = slots[r, c]
                            builder.store(PRODUCTS.add(builder, builder.load(slot), panels[c], many), slot)
            after = {
                key: PRODUCTS.end(builder, before[key], builder.load(slot)) for key, slot in slots.items()
            }

            def shifted(r: int, c: int, value: ir.Value) -> ir.Value:
                both = builder.add(value, load(builder, sum_place(r, c), words))
                middle = builder.load(builder.gep(centers, [I64(r)]))
                return builder.add(both, splat(builder, middle, lanes))

            forget(builder)
            largest = None
            for (r, c), value in after.items():
                value = shifted(r, c, value)
                if largest is not None:
                    more = builder.icmp_unsigned(">", value, largest)
                    value = builder.select(more, value, largest)
                largest = value
            hits = builder.icmp_unsigned(">", largest, splat(builder, width, lanes))
            hits = builder.zext(hits, words)
            some = builder.icmp_signed("!=", call_vector(builder, "llvm.vector.reduce.or", hits, I32), I32(0))
            with builder.if_then(builder.or_(some, always), likely=False):
                forget(builder)
                many, rows = splat(builder, width, lanes), builder.load(near_rows)
                words_of = builder.bitcast(x, I32.as_pointer())
                for r in range(ROWS):
                    below = above = I32(0)
                    for c in columns:
                        value = shifted(r, c, after[r, c])
                        low = builder.icmp_signed("<", value, ir.Constant(words, None))
                        high = builder.icmp_signed(">", value, many)
                        below = builder.or_(below, lane_bits(builder, low, c))
                        above = builder.or_(above, lane_bits(builder, high, c))
                    signs = builder.mul(builder.add(memory, I64(r)), builder.shl(count, I64(1)))
                    signs = builder.load(builder.gep(words_of, [builder.add(signs, panel)]))
                    units = builder.or_(builder.and_(below, signs), builder.and_(above, builder.not_(signs)))
                    slot = builder.gep(near, [I64(r)])
                    if begin:  # registers hold a part of the panel only
                        units = builder.or_(units, builder.load(slot))
                    builder.store(units, slot)
                    any_of = builder.zext(builder.icmp_unsigned("!=", units, I32(0)), I32)
                    rows = builder.or_(rows, builder.shl(any_of, I32(r)))
                builder.store(rows, near_rows)
            for (r, c), value in after.items():
                store(builder, value, sum_place(r, c))
        rows = builder.load(near_rows)
        builder.store(rows, builder.gep(near, [I64(ROWS)]))
        return builder.icmp_unsigned("!=", rows, I32(0))

    i64 = types.int64
    return (
        types.boolean(
            digits, i64, bits, i64, i64, sums, i64, centers, i64, types.int32, x, i64, i64, near, i64
        ),
        body,
    )
