"""Vector operations on packed bits that Numba cannot express, as LLVM intrinsics.

All is portable vector IR: a vector holds one word's worth of units (64 lanes), and LLVM splits it into
whatever registers the CPU has.  Only two choices look at the CPU: how a word becomes a lane mask and how
bits are counted, where the straight IR would be legal but slow.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

I1, I8, I16, I32, I64 = (ir.IntType(b) for b in (1, 8, 16, 32, 64))


def cpu_features() -> set[str]:
    """Names of the CPU features that Numba compiles for."""
    if config.CPU_FEATURES is not None:
        return {f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+")}
    if config.CPU_NAME not in (None, "host"):
        return set()
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


FEATURES = cpu_features()
MASK_REGISTERS = "avx512bw" in FEATURES
WORD_POPCOUNT = "avx512vpopcntdq" in FEATURES
LANES = 8 if WORD_POPCOUNT else 4 if "avx2" in FEATURES else 2  # 64-bit lanes of a popcount vector
VECTOR_BYTES = 64 if "avx512f" in FEATURES else 32 if "avx2" in FEATURES else 16  # of a float vector


def lanes_of(builder: ir.IRBuilder, vector: ir.Value, lanes: list[int]) -> ir.Value:
    """The vector of the lanes named."""
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A vector with `value` in every lane."""
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return lanes_of(builder, first, [0] * lanes)


def constant(type: ir.Type, lanes: int, values: int | list[int]) -> ir.Constant:
    """A constant vector."""
    return ir.Constant(ir.VectorType(type, lanes), [values] * lanes if isinstance(values, int) else values)


def lane_mask(builder: ir.IRBuilder, word: ir.Value, lane: ir.IntType) -> ir.Value:
    """<64 x i1> of the bits of an i64 word, for selecting among 64 lanes of the given type."""
    if MASK_REGISTERS:
        return builder.bitcast(word, ir.VectorType(I1, 64))
    # Spread each piece of the word over as many lanes as it has bits, then test a different bit in each.
    bits = min(lane.width, 16)
    pieces = builder.bitcast(word, ir.VectorType(ir.IntType(bits), 64 // bits))
    spread = lanes_of(builder, pieces, [i // bits for i in range(64)])
    own = constant(ir.IntType(bits), 64, [1 << i % bits for i in range(64)])
    if bits < lane.width:
        spread, own = (builder.zext(v, ir.VectorType(lane, 64)) for v in (spread, own))
    return builder.icmp_unsigned("==", builder.and_(spread, own), own)


def data(context: Any, builder: ir.IRBuilder, type: types.Array, array: ir.Value) -> ir.Value:
    """Pointer to the first element of a C-contiguous array argument."""
    return context.make_array(type)(context, builder, array).data


def bytes_of(type: ir.Type) -> int:
    """Size of an integer or float type."""
    if isinstance(type, ir.IntType):
        return type.width // 8
    return 4 if isinstance(type, ir.FloatType) else 8


def load(builder: ir.IRBuilder, pointer: ir.Value, type: ir.Type) -> ir.Value:
    """Load a vector from an element pointer, aligned only as an element is."""
    vector = builder.load(builder.bitcast(pointer, type.as_pointer()))
    vector.align = bytes_of(pointer.type.pointee)
    return vector


def store(builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value) -> None:
    """Store a vector through an element pointer, aligned only as an element is."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = bytes_of(
        pointer.type.pointee
    )


def call_vector(builder: ir.IRBuilder, name: str, value: ir.Value, result: ir.Type | None = None) -> ir.Value:
    """Call the LLVM intrinsic `name` on one vector."""
    suffix = f"v{value.type.count}i{value.type.element.width}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result or value.type, [value.type]), f"{name}.{suffix}"
    )
    return builder.call(function, [value])


def variable(builder: ir.IRBuilder, type: ir.Type, value: ir.Value | None = None) -> ir.Value:
    """A local variable; LLVM turns it into registers."""
    slot = cgutils.alloca_once(builder, type)
    builder.store(value if value is not None else ir.Constant(type, None), slot)
    return slot


def accumulate(builder: ir.IRBuilder, slot: ir.Value, value: ir.Value) -> None:
    """slot += value."""
    builder.store(builder.add(builder.load(slot), value), slot)


def pair_sums(builder: ir.IRBuilder, value: ir.Value, bits: int) -> ir.Value:
    """Sums of neighbouring fields of `bits` bits inside 64-bit lanes, in fields twice as wide."""
    lanes = value.type.count
    low = constant(I64, lanes, sum(((1 << bits) - 1) << s for s in range(0, 64, 2 * bits)))
    high = builder.lshr(value, constant(I64, lanes, bits))
    return builder.add(builder.and_(value, low), builder.and_(high, low))


def popcount_tile(rows: int, panels: int) -> Any:
    """Intrinsic (a, row, stride, b, panel, words, counts): the inner loop of a binary matrix product.

    counts[r, c], int32 (rows, panels * LANES), is the number of bits in which row `row + r` of a, at word
    offset (row + r) * stride, differs from column c of the interleaved panels b (q, words, LANES) from
    number `panel` on.  The lanes of a vector are columns, so that nothing is summed across lanes; the
    counts stay in registers over all words.
    """
    vector = ir.VectorType(I64, LANES)
    octets = ir.VectorType(I8, 8 * LANES)

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        a, row, stride, b, panel, words, counts = args
        a, b, counts = (
            data(context, builder, t, v)
            for t, v in zip((signature.args[i] for i in (0, 3, 6)), (a, b, counts), strict=True)
        )
        starts = [
            builder.gep(a, [builder.mul(builder.add(row, I64(r)), stride)], inbounds=True)
            for r in range(rows)
        ]
        tops = [
            builder.gep(b, [builder.mul(builder.mul(builder.add(panel, I64(q)), words), I64(LANES))])
            for q in range(panels)
        ]
        sums = [[variable(builder, vector) for _ in range(panels)] for _ in range(rows)]

        def differing(k: ir.Value, slots: list[list[ir.Value]], type: ir.Type) -> None:
            columns = [load(builder, builder.gep(t, [builder.mul(k, I64(LANES))]), vector) for t in tops]
            for start, own in zip(starts, slots, strict=True):
                word = splat(builder, builder.load(builder.gep(start, [k])), LANES)
                for column, slot in zip(columns, own, strict=True):
                    bits = builder.bitcast(builder.xor(word, column), type)
                    accumulate(builder, slot, call_vector(builder, "llvm.ctpop", bits))

        if WORD_POPCOUNT:
            with cgutils.for_range(builder, words) as loop:
                differing(loop.index, sums, vector)
        else:
            # Counts of bytes, at most 8 a word, are widened before 31 words of them overflow.
            partial = [[variable(builder, octets) for _ in range(panels)] for _ in range(rows)]
            with cgutils.for_range_slice(builder, I64(0), words, I64(31), inc=True) as (begin, _):
                left = builder.sub(words, begin)
                block = builder.select(builder.icmp_signed("<", left, I64(31)), left, I64(31))
                with cgutils.for_range(builder, block) as loop:
                    differing(builder.add(begin, loop.index), partial, octets)
                for own, wide in zip(partial, sums, strict=True):
                    for slot, total in zip(own, wide, strict=True):
                        value = builder.bitcast(builder.load(slot), vector)
                        for bits in (8, 16, 32):
                            value = pair_sums(builder, value, bits)
                        accumulate(builder, total, value)
                        builder.store(ir.Constant(octets, None), slot)
        for r, own in enumerate(sums):
            for q, slot in enumerate(own):
                narrow = builder.trunc(builder.load(slot), ir.VectorType(I32, LANES))
                store(builder, narrow, builder.gep(counts, [I64((r * panels + q) * LANES)]))
        return context.get_dummy_value()

    @intrinsic
    def tile(typingctx, a, row, stride, b, panel, words, counts):
        return types.void(a, types.int64, types.int64, b, types.int64, types.int64, counts), body

    return tile


@intrinsic
def masked_sum(typingctx, words, start, count, values, first):
    """Sum of values[first:] (int32, 64 a word) where words[start : start + count] have a 1, as int64.

    The caller keeps 4 * count * max|value| under 2^31.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        vector = ir.VectorType(I32, 64)
        bits = builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])
        numbers = builder.gep(data(context, builder, signature.args[3], args[3]), [args[4]])
        total = variable(builder, vector)
        with cgutils.for_range(builder, args[2]) as loop:
            mask = lane_mask(builder, builder.load(builder.gep(bits, [loop.index])), I32)
            value = load(builder, builder.gep(numbers, [builder.mul(loop.index, I64(64))]), vector)
            accumulate(builder, total, builder.select(mask, value, ir.Constant(vector, None)))
        value = builder.load(total)
        for half in (32, 16):
            first, second = list(range(half)), list(range(half, 2 * half))
            value = builder.add(lanes_of(builder, value, first), lanes_of(builder, value, second))
        return call_vector(
            builder, "llvm.vector.reduce.add", builder.sext(value, ir.VectorType(I64, 16)), I64
        )

    return types.int64(words, types.int64, types.int64, values, types.int64), body


@intrinsic
def add_signed(typingctx, words, start, count, step, values):
    """values (int32, 64 a word) += step where words[start : start + count] have a 1, -= step where a 0."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        vector = ir.VectorType(I32, 64)
        bits = builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])
        numbers = data(context, builder, signature.args[4], args[4])
        up, down = (splat(builder, v, 64) for v in (args[3], builder.neg(args[3])))
        with cgutils.for_range(builder, args[2]) as loop:
            mask = lane_mask(builder, builder.load(builder.gep(bits, [loop.index])), I32)
            pointer = builder.gep(numbers, [builder.mul(loop.index, I64(64))])
            store(
                builder, builder.add(load(builder, pointer, vector), builder.select(mask, up, down)), pointer
            )
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64, types.int32, values), body


@intrinsic
def sign_word(typingctx, states, start):
    """The word whose bits tell which of states[start : start + 64] (int8) are positive."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        pointer = builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])
        signs = load(builder, pointer, ir.VectorType(I8, 64))
        return builder.bitcast(builder.icmp_signed(">", signs, ir.Constant(signs.type, None)), I64)

    return types.uint64(states, types.int64), body


@intrinsic
def word_signs(typingctx, word, states, start):
    """Set states[start : start + 64] (int8) to +1 or -1 by the bits of a word."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        pointer = builder.gep(data(context, builder, signature.args[1], args[1]), [args[2]])
        signs = builder.select(lane_mask(builder, args[0], I8), constant(I8, 64, 1), constant(I8, 64, -1))
        store(builder, signs, pointer)
        return context.get_dummy_value()

    return types.void(types.uint64, states, types.int64), body


@intrinsic
def popcount(typingctx, word):
    """Number of ones in a word, as int64."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), body


@intrinsic
def unit_codes(typingctx, x, added, count, codes):
    """Bit b of byte i of codes (64 count,) uint8 = unit i of row added + b of packed x (rows, count)."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        x, added, count, codes = args
        x, codes = (data(context, builder, signature.args[i], v) for i, v in ((0, x), (3, codes)))
        with cgutils.for_range(builder, count) as loop:
            code = ir.Constant(ir.VectorType(I8, 64), None)
            for b in range(8):
                offset = builder.add(builder.mul(builder.add(added, I64(b)), count), loop.index)
                mask = lane_mask(builder, builder.load(builder.gep(x, [offset])), I8)
                code = builder.or_(
                    code, builder.select(mask, constant(I8, 64, 1 << b), ir.Constant(code.type, None))
                )
            store(builder, code, builder.gep(codes, [builder.mul(loop.index, I64(64))]))
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, codes), body


def join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """The lanes of vectors, a power of two of them, one after another."""
    while len(parts) > 1:
        both = ir.Constant(ir.VectorType(I32, 2 * parts[0].type.count), list(range(2 * parts[0].type.count)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [builder.shuffle_vector(low, high, both) for low, high in pairs]
    return parts[0]


class Permute:
    """Tables of 4 bits in an AVX-512 register, of int16 or int32 lanes."""

    def __init__(self, lane: ir.IntType):
        self.lane, self.lanes = lane, 512 // lane.width
        self.name = f"llvm.x86.avx512.permvar.{'hi' if lane.width == 16 else 'si'}.512"

    def indices(self, builder: ir.IRBuilder, code: ir.Value) -> list[ir.Value]:
        """What looks up the low and the high 4 bits of 64 bytes; bits above those 4 are not looked at."""
        wide = builder.zext(code, ir.VectorType(self.lane, 64))
        return [wide, builder.lshr(wide, constant(self.lane, 64, 4))]

    def look_up(self, builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
        permute = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(table.type, [table.type, table.type]), self.name
        )
        firsts = range(0, 64, self.lanes)
        parts = [lanes_of(builder, index, list(range(first, first + self.lanes))) for first in firsts]
        return join(builder, [builder.call(permute, [table, part]) for part in parts])


class ByteShuffle:
    """Tables of 4 bits of int16 as two tables of bytes in AVX2 registers."""

    lanes = 16
    octets = ir.VectorType(I8, 32)

    def __init__(self, lane: ir.IntType):
        self.lane = lane

    def indices(self, builder: ir.IRBuilder, code: ir.Value) -> list[ir.Value]:
        """The low and the high 4 bits of 64 bytes, their middle quarters swapped for `look_up`."""
        order = [half + 8 * q + i for half in (0, 32) for q in (0, 2, 1, 3) for i in range(8)]
        code = lanes_of(builder, code, order)
        return [builder.and_(code, constant(I8, 64, 15)), builder.lshr(code, constant(I8, 64, 4))]

    def look_up(self, builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
        shuffle = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.octets, [self.octets, self.octets]), "llvm.x86.avx2.pshuf.b"
        )
        high = builder.lshr(table, constant(self.lane, 16, 8))
        tables = [
            lanes_of(builder, builder.trunc(t, ir.VectorType(I8, 16)), [*range(16), *range(16)])
            for t in (table, high)
        ]
        parts = []
        for first in (0, 32):
            half = lanes_of(builder, index, list(range(first, first + 32)))
            low, high = (builder.call(shuffle, [t, half]) for t in tables)
            for quarter in (0, 8):
                # Unpacking works inside 128 bits: with the quarters swapped, units come out in order.
                octets = [*range(quarter, quarter + 8), *range(quarter + 16, quarter + 24)]
                lanes = [octet + side for octet in octets for side in (0, 32)]
                mixed = builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, 32), lanes))
                parts.append(builder.bitcast(mixed, ir.VectorType(self.lane, 16)))
        return join(builder, parts)


def tables_of(lane: ir.IntType) -> Permute | ByteShuffle | None:
    """How this CPU looks up lanes of a type, if it can."""
    if MASK_REGISTERS:
        return Permute(lane)
    return ByteShuffle(lane) if "avx2" in FEATURES and lane.width == 16 else None


def lesser(builder: ir.IRBuilder, a: ir.Value, b: ir.Value | None) -> ir.Value:
    """Lane-wise minimum; b may be None."""
    return a if b is None else builder.select(builder.icmp_signed("<", a, b), a, b)


def add_patterns(least: bool) -> Any:
    """Intrinsic (fields, row, codes, group, x, memory, count, m, limit, low): add 8 patterns to own fields.

    fields (rows, 64 count) int16 or int32, wrapping, holds own-signed fields x_i h_i; codes (groups,
    64 count) uint8 the signs of 8 patterns a byte; x (rows, count) packed patterns.  The 8 patterns of
    codes[group] are added with overlaps m (8,) to fields[row], those of memory x[memory].

    With `least`, low (count,) uint64 gets the units whose field was at most `limit` after one of the eight,
    and the value is whether there are any.

    Sums of four steps, and the least of their prefix sums, depend on 4 bits: where the CPU can look them up
    in tables held in registers, a pattern takes 1.6 instructions a vector (AVX-512) instead of 3.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        fields, row, codes, group, x, memory, count, m, limit, low = args
        fields, codes, x, m, low = (
            data(context, builder, signature.args[i], args[i]) for i in (0, 2, 4, 7, 9)
        )
        lane = fields.type.pointee
        vector = ir.VectorType(lane, 64)
        width = builder.mul(count, I64(64))
        own = builder.gep(fields, [builder.mul(row, width)])
        signs = builder.gep(x, [builder.mul(memory, count)])
        codes = builder.gep(codes, [builder.mul(group, width)])
        steps = [builder.load(builder.gep(m, [I64(b)])) for b in range(8)]
        bound = splat(builder, limit, 64)
        found = variable(builder, I64)

        lookup = tables_of(lane)

        def table(four: list[ir.Value], lanes: int) -> tuple[ir.Value, ir.Value | None]:
            total, lowest = ir.Constant(ir.VectorType(lane, lanes), None), None
            for b, step in enumerate(four):
                bits = constant(I1, lanes, [i >> b & 1 for i in range(lanes)])
                up, down = splat(builder, step, lanes), splat(builder, builder.neg(step), lanes)
                total = builder.add(total, builder.select(bits, up, down))
                lowest = lesser(builder, total, lowest)
            return total, lowest

        if lookup:
            tables = [table(steps[:4], lookup.lanes), table(steps[4:], lookup.lanes)]
        else:
            pairs = [(splat(builder, s, 64), splat(builder, builder.neg(s), 64)) for s in steps]
        with cgutils.for_range(builder, count) as loop:
            unit = builder.mul(loop.index, I64(64))
            pointer = builder.gep(own, [unit])
            field = load(builder, pointer, vector)
            code = load(builder, builder.gep(codes, [unit]), ir.VectorType(I8, 64))
            # A memory's own -1 turns all its signs round.
            sign = lane_mask(builder, builder.load(builder.gep(signs, [loop.index])), I8)
            code = builder.xor(code, builder.select(sign, constant(I8, 64, 0), constant(I8, 64, -1)))
            minimum = None
            if lookup:
                for index, (total, lowest) in zip(lookup.indices(builder, code), tables, strict=True):
                    if least:
                        dip = builder.add(field, lookup.look_up(builder, lowest, index))
                        minimum = lesser(builder, dip, minimum)
                    field = builder.add(field, lookup.look_up(builder, total, index))
            else:
                code = builder.zext(code, vector)
                for b, (up, down) in enumerate(pairs):
                    own_bit = constant(lane, 64, 1 << b)
                    agrees = builder.icmp_unsigned("==", builder.and_(code, own_bit), own_bit)
                    field = builder.add(field, builder.select(agrees, up, down))
                    minimum = lesser(builder, field, minimum)
            store(builder, field, pointer)
            if least:
                hits = builder.bitcast(builder.icmp_signed("<=", minimum, bound), I64)
                builder.store(hits, builder.gep(low, [loop.index]))
                builder.store(builder.or_(builder.load(found), hits), found)
        return builder.icmp_signed("!=", builder.load(found), I64(0))

    @intrinsic
    def add(typingctx, fields, row, codes, group, x, memory, count, m, limit, low):
        i64, lane = types.int64, fields.dtype
        return types.boolean(fields, i64, codes, i64, x, i64, i64, m, lane, low), body

    return add
