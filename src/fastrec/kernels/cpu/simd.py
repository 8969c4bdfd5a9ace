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


# Of Philox4x32 (Salmon et al. 2011): what counters are multiplied by, and what is added to keys.
MULTIPLIERS, WEYLS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)


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
    lane_bits = constant(ir.IntType(bits), 64, [1 << i % bits for i in range(64)])
    if bits < lane.width:
        spread, lane_bits = (builder.zext(v, ir.VectorType(lane, 64)) for v in (spread, lane_bits))
    return builder.icmp_unsigned("==", builder.and_(spread, lane_bits), lane_bits)


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
    stored = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    stored.align = bytes_of(pointer.type.pointee)


def suffix(type: ir.Type) -> str:
    """What LLVM appends to the name of an intrinsic for values of a type."""
    lanes, element = (f"v{type.count}", type.element) if isinstance(type, ir.VectorType) else ("", type)
    return f"{lanes}{'i' if isinstance(element, ir.IntType) else 'f'}{8 * bytes_of(element)}"


def call_vector(builder: ir.IRBuilder, name: str, value: ir.Value, result: ir.Type | None = None) -> ir.Value:
    """Call the LLVM intrinsic `name` on one vector."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result or value.type, [value.type]), f"{name}.{suffix(value.type)}"
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


def popcount_tile(rows: int, panels: int, mirrored: bool = False) -> Any:
    """Intrinsic (a, row, stride, b, panel, words, bits, out, at, pitch, mirror, mirror_at, mirror_pitch): the
    inner loop of a product of matrices of signs.

    For row `row + r` of a, at word offset (row + r) * stride, and column c of the interleaved panels b
    (q, words, LANES) from number `panel` on, bits - 2 times the number of bits in which they differ is
    written to out, at at + r pitch + c of its flat view; if mirrored, to mirror, of the same dtype, at
    mirror_at + c mirror_pitch + r as well.  A float64 out gets it divided by bits.  The lanes of a vector are
    columns, so that nothing is summed across lanes; the counts stay in registers over all words.
    """
    vector = ir.VectorType(I64, LANES)
    octets = ir.VectorType(I8, 8 * LANES)

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        a, b, out, mirror = (data(context, builder, signature.args[i], args[i]) for i in (0, 3, 7, 10))
        (row, stride), (panel, words, bits), (at, pitch) = args[1:3], args[4:7], args[8:10]
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
            for start, row_slots in zip(starts, slots, strict=True):
                word = splat(builder, builder.load(builder.gep(start, [k])), LANES)
                for column, slot in zip(columns, row_slots, strict=True):
                    different = builder.bitcast(builder.xor(word, column), type)
                    accumulate(builder, slot, call_vector(builder, "llvm.ctpop", different))

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
                for row_slots, wide in zip(partial, sums, strict=True):
                    for slot, total in zip(row_slots, wide, strict=True):
                        value = builder.bitcast(builder.load(slot), vector)
                        for width in (8, 16, 32):
                            value = pair_sums(builder, value, width)
                        accumulate(builder, total, value)
                        builder.store(ir.Constant(octets, None), slot)

        element = out.type.pointee
        kind = ir.VectorType(element, LANES)
        whole = splat(builder, bits, LANES)
        values: list[list[ir.Value]] = []
        for r, row_slots in enumerate(sums):
            line = builder.gep(out, [builder.add(at, builder.mul(pitch, I64(r)))])
            values.append([])
            for q, slot in enumerate(row_slots):
                count = builder.load(slot)
                value = builder.sub(whole, builder.add(count, count))
                if isinstance(element, ir.IntType):
                    value = builder.trunc(value, kind) if element.width < 64 else value
                else:
                    value = builder.fdiv(builder.sitofp(value, kind), builder.sitofp(whole, kind))
                store(builder, value, builder.gep(line, [I64(q * LANES)]))
                values[r].append(value)
        if mirrored:
            for q in range(panels):
                for c, piece in enumerate(columns_of(builder, [values[r][q] for r in range(rows)])):
                    line = builder.add(args[11], builder.mul(args[12], I64(q * LANES + c)))
                    store(builder, piece, builder.gep(mirror, [line]))
        return context.get_dummy_value()

    @intrinsic
    def tile(
        typingctx, a, row, stride, b, panel, words, bits, out, at, pitch, mirror, mirror_at, mirror_pitch
    ):
        i = types.int64
        return types.void(a, i, i, b, i, i, i, out, i, i, mirror, i, i), body

    return tile


def columns_of(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The columns of a matrix that is given as vectors of its rows, a power of two of them."""
    pieces = rows
    while len(pieces) > 1:  # neighbours interleaved: element c of both becomes a run
        run = pieces[0].type.count // LANES
        pieces = [
            builder.shuffle_vector(
                low,
                high,
                constant(
                    I32,
                    2 * low.type.count,
                    [
                        half * low.type.count + c * run + j
                        for c in range(LANES)
                        for half in (0, 1)
                        for j in range(run)
                    ],
                ),
            )
            for low, high in zip(pieces[::2], pieces[1::2], strict=True)
        ]
    run = len(rows)
    return [lanes_of(builder, pieces[0], list(range(c * run, (c + 1) * run))) for c in range(LANES)]


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
        wide = builder.sext(value, ir.VectorType(I64, 16))
        return call_vector(builder, "llvm.vector.reduce.add", wide, I64)

    return types.int64(words, types.int64, types.int64, values, types.int64), body


@intrinsic
def signed_sum(typingctx, word, count, values, first):
    """Sum of values[first : first + count] (int32), count < 64, negated where word has a 0, as int64.

    values[first : first + 64] are read, and their sum fits 32 bits.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        word, count, values, first = args
        numbers = builder.gep(data(context, builder, signature.args[2], values), [first])
        value = load(builder, numbers, ir.VectorType(I32, 64))
        among = builder.sub(builder.shl(I64(1), count), I64(1))
        value = builder.select(lane_mask(builder, among, I32), value, ir.Constant(value.type, None))
        value = builder.select(lane_mask(builder, word, I32), value, builder.neg(value))
        return builder.sext(call_vector(builder, "llvm.vector.reduce.add", value, I32), I64)

    return types.int64(types.uint64, types.int64, values, types.int64), body


def part_mask(builder: ir.IRBuilder, word: ir.Value, first: int, lanes: int, lane: ir.IntType) -> ir.Value:
    """<lanes x i1> of the bits of an i64 word from number `first` on, for lanes of 32 or 64 bits."""
    if MASK_REGISTERS:
        whole = builder.bitcast(word, ir.VectorType(I1, 64))
        return lanes_of(builder, whole, list(range(first, first + lanes)))
    piece = builder.trunc(builder.lshr(word, I64(first // lane.width * lane.width)), lane)
    bits = constant(lane, lanes, [1 << (first + i) % lane.width for i in range(lanes)])
    return builder.icmp_unsigned("==", builder.and_(splat(builder, piece, lanes), bits), bits)


def masked_sums(rows: int, columns: int) -> Any:
    """Intrinsic (a, row, b, column, words, out): sums of numbers where bits are set.

    For row `row + r` of a (., n), integers, and row `column + c` of b (., w), the sum of the numbers where
    the bits are 1, over the first `words` words, is written to out[columns r + c] of a flat array, in its
    type: modulo 2^32 or 2^64.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        a, b = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2))
        out = data(context, builder, signature.args[5], args[5])
        n, w = (cgutils.unpack_tuple(builder, array.shape)[1] for array in (a, b))
        kind = out.type.pointee
        lanes = VECTOR_BYTES // bytes_of(kind)
        vector = ir.VectorType(kind, lanes)
        numbers = [
            builder.gep(a.data, [builder.mul(builder.add(args[1], I64(r)), n)], inbounds=True)
            for r in range(rows)
        ]
        bits = [builder.gep(b.data, [builder.mul(builder.add(args[3], I64(c)), w)]) for c in range(columns)]
        sums = [[variable(builder, vector) for _ in range(columns)] for _ in range(rows)]
        narrow = ir.VectorType(a.data.type.pointee, lanes)
        with cgutils.for_range(builder, args[4]) as loop:
            words = [builder.load(builder.gep(start, [loop.index])) for start in bits]
            for first in range(0, 64, lanes):
                masks = [part_mask(builder, word, first, lanes, kind) for word in words]
                at = builder.add(builder.mul(loop.index, I64(64)), I64(first))
                for start, slots in zip(numbers, sums, strict=True):
                    value = load(builder, builder.gep(start, [at]), narrow)
                    if narrow != vector:
                        wider = bytes_of(kind) > bytes_of(narrow.element)
                        value = builder.sext(value, vector) if wider else builder.trunc(value, vector)
                    for mask, slot in zip(masks, slots, strict=True):
                        accumulate(builder, slot, builder.select(mask, value, ir.Constant(vector, None)))
        for i, slot in enumerate(slot for slots in sums for slot in slots):
            total = call_vector(builder, "llvm.vector.reduce.add", builder.load(slot), kind)
            builder.store(total, builder.gep(out, [I64(i)]))
        return context.get_dummy_value()

    @intrinsic
    def sums_of(typingctx, a, row, b, column, words, out):
        i = types.int64
        return types.void(a, i, b, i, i, out), body

    return sums_of


@intrinsic
def prefetch(typingctx, array, index, count):
    """Ask for elements index..index + count - 1 of a flat view of array, to be in the first cache soon."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        start = builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])
        octet = I8.as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [octet, I32, I32, I32]), "llvm.prefetch.p0i8"
        )
        line = I64(64 // bytes_of(start.type.pointee))
        with cgutils.for_range_slice(builder, I64(0), args[2], line, inc=True) as (offset, _):
            place = builder.bitcast(builder.gep(start, [offset]), octet)
            builder.call(function, [place, I32(0), I32(3), I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), body


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
            change = builder.select(mask, up, down)
            store(builder, builder.add(load(builder, pointer, vector), change), pointer)
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
def philox_blocks(typingctx, key, first, c1, c2, c3, words, at):
    """words[at : at + 16] (uint64) = the Philox4x32-10 blocks of counters (first + i, c1, c2, c3), i < 8."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        key, first, *others, words, at = args
        low, half = constant(I64, 8, 0xFFFFFFFF), constant(I64, 8, 32)
        vectors = [splat(builder, value, 8) for value in (first, *others, key)]
        vectors[0] = builder.add(vectors[0], constant(I64, 8, list(range(8))))
        k1 = builder.lshr(vectors[4], half)
        c0, c1, c2, c3, k0 = (builder.and_(vector, low) for vector in vectors)
        for _ in range(10):
            a, b = (builder.mul(c, constant(I64, 8, m)) for c, m in zip((c0, c2), MULTIPLIERS, strict=True))
            c0 = builder.xor(builder.xor(builder.lshr(b, half), c1), k0)
            c2 = builder.xor(builder.xor(builder.lshr(a, half), c3), k1)
            c1, c3 = builder.and_(b, low), builder.and_(a, low)
            k0, k1 = (
                builder.and_(builder.add(k, constant(I64, 8, weyl)), low)
                for k, weyl in zip((k0, k1), WEYLS, strict=True)
            )
        firsts, seconds = (builder.or_(x, builder.shl(y, half)) for x, y in ((c0, c1), (c2, c3)))
        mixed = [i // 2 + 8 * (i % 2) for i in range(16)]
        both = builder.shuffle_vector(firsts, seconds, ir.Constant(ir.VectorType(I32, 16), mixed))
        store(builder, both, builder.gep(data(context, builder, signature.args[5], words), [at]))
        return context.get_dummy_value()

    u64 = types.uint64
    return types.void(u64, u64, u64, u64, u64, words, types.int64), body


@intrinsic
def transpose_square(typingctx, square):
    """Transpose 64 x 64 bits, square (64,) uint64, in place.

    Ever smaller squares off the diagonal change places (Warren, Hacker's Delight, 2nd ed., 7-3).
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        pointer = data(context, builder, signature.args[0], args[0])
        rows = load(builder, pointer, ir.VectorType(I64, 64))
        for width in (32, 16, 8, 4, 2, 1):
            low = sum(((1 << width) - 1) << begin for begin in range(0, 64, 2 * width))
            partners = lanes_of(builder, rows, [i ^ width for i in range(64)])
            moved = [
                shift(builder.and_(partners, constant(I64, 64, mask)), constant(I64, 64, width))
                for shift, mask in ((builder.shl, low), (builder.lshr, low << width))
            ]
            upper = [bool(i & width) for i in range(64)]
            kept = constant(I64, 64, [low << width if up else low for up in upper])
            chosen = builder.select(constant(I1, 64, [int(up) for up in upper]), moved[1], moved[0])
            rows = builder.or_(builder.and_(rows, kept), chosen)
        store(builder, rows, pointer)
        return context.get_dummy_value()

    return types.void(square), body
