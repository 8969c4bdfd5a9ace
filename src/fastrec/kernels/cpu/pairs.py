"""Factors of products in bfloat16: two to a word of 32 bits, neighbours in the direction of the sum.

An instruction multiplies the pairs of 16 words and adds both products to sums in float32.  Words are int32,
by which kernels that are compiled for either kind tell them from numbers.  Denormal factors are taken as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import memory
from .elementwise import lanes_below, masked_load, masked_store
from .jit import jit
from .parallel import tasks
from .simd import FEATURES, I16, I32, I64, constant, data, splat

WORD = np.int32
AVAILABLE = "avx512bf16" in FEATURES
LANES = 16  # words of a vector


class BFloat(ir.types._BaseFloatType):
    """bfloat16 in LLVM, which llvmlite lacks."""

    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat._create_instance()
NUMBERS, ROUNDED, PAIRS = (
    ir.VectorType(ir.FloatType(), LANES),
    ir.VectorType(BFloat(), LANES),
    ir.VectorType(BFloat(), 2 * LANES),
)


def are_words(array: Any) -> bool:
    """Whether a Numba type is that of arrays of words."""
    return bool(array.dtype == types.int32)


def add_products(builder: ir.IRBuilder, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """sums + the products of both pairs of numbers in each word of a and b."""
    kind = ir.FunctionType(sums.type, [sums.type, PAIRS, PAIRS])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(function, [sums, builder.bitcast(a, PAIRS), builder.bitcast(b, PAIRS)])


def rounded_pairs(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Words of the numbers in `low`, then of those in `high`, each with its neighbour."""
    kind = ir.FunctionType(PAIRS, [NUMBERS, NUMBERS])
    name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.bitcast(builder.call(function, [high, low]), ir.VectorType(I32, LANES))


def rounded(builder: ir.IRBuilder, numbers: ir.Value) -> ir.Value:
    """The bits of the rounded numbers, as int32."""
    kind = ir.FunctionType(ROUNDED, [NUMBERS])
    name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    halves = builder.bitcast(builder.call(function, [numbers]), ir.VectorType(I16, LANES))
    return builder.zext(halves, ir.VectorType(I32, LANES))


@intrinsic
def in_word(typingctx, array):
    """Numbers in an element of an array: 2 in a word, else 1."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return I64(2 if are_words(array) else 1)

    return types.int64(array), body


@intrinsic
def words_or(typingctx, words, numbers):
    """The first array if it is one of words, else the second."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        chosen = int(not are_words(words))
        if context.enable_nrt:
            context.nrt.incref(builder, signature.return_type, args[chosen])
        return args[chosen]

    return (words if are_words(words) else numbers)(words, numbers), body


@intrinsic
def round_row(typingctx, source, at, count, target, to):
    """Words from element `to` on of a flat target = neighbours of `count` numbers of a flat source from `at`
    on, the last with a 0 if there is an odd number.  Nothing is done if the target has no words."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        if not are_words(target):
            return context.get_dummy_value()
        start, end = (
            builder.gep(data(context, builder, signature.args[i], args[i]), [args[i + 1]]) for i in (0, 3)
        )
        with cgutils.for_range_slice(builder, I64(0), args[2], I64(2 * LANES), inc=True) as (begin, _):
            left = builder.sub(args[2], begin)
            low, high = (
                masked_load(
                    builder,
                    builder.gep(start, [builder.add(begin, I64(part))]),
                    lanes_below(builder, builder.sub(left, I64(part)), LANES),
                )
                for part in (0, LANES)
            )
            words = rounded_pairs(builder, low, high)
            half = builder.lshr(builder.add(left, I64(1)), I64(1))
            place = builder.gep(end, [builder.lshr(begin, I64(1))])
            masked_store(builder, words, place, lanes_below(builder, half, LANES))
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, target, i), body


@intrinsic
def round_rows(typingctx, source, at, below, count, target, to):
    """Words from element `to` on of a flat target = pairs of `count` numbers of a flat source, from `at` and
    from `below` on; if that is negative, with 0.  Nothing is done if the target has no words."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        if not are_words(target):
            return context.get_dummy_value()
        start = data(context, builder, signature.args[0], args[0])
        end = builder.gep(data(context, builder, signature.args[4], args[4]), [args[5]])
        there = builder.icmp_signed(">=", args[2], I64(0))
        below = builder.select(there, args[2], args[1])
        with cgutils.for_range_slice(builder, I64(0), args[3], I64(LANES), inc=True) as (begin, _):
            held = lanes_below(builder, builder.sub(args[3], begin), LANES)
            also = builder.and_(held, splat(builder, there, LANES))
            first, second = (
                rounded(builder, masked_load(builder, builder.gep(start, [builder.add(row, begin)]), mask))
                for row, mask in ((args[1], held), (below, also))
            )
            words = builder.or_(first, builder.shl(second, constant(I32, LANES, 16)))
            masked_store(builder, words, builder.gep(end, [begin]), held)
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, i, target, i), body


@jit
def elements(count, array):
    """Elements of an array that hold so many numbers."""
    held = in_word(array)
    return (count + held - 1) // held


@tasks(lambda W, words: (W.shape[0] * W.shape[1], W.size / 4))
def pair_across(task, W, words):
    """Words (k, rows, half the columns) of neighbours in the rows of W (k, rows, columns)."""
    columns = W.shape[2]
    round_row(W, task * columns, columns, words, task * words.shape[2])


@tasks(lambda W, words: (words.shape[0] * words.shape[1], W.size / 4))
def pair_down(task, W, words):
    """Words (k, half the rows, columns) of neighbours in the columns of W (k, rows, columns)."""
    (_, rows, columns), half = W.shape, words.shape[1]
    at = (task // half * rows + task % half * 2) * columns
    below = at + columns if task % half * 2 + 1 < rows else -1
    round_rows(W, at, below, columns, words, task * columns)


def factors_down(W, precision):
    """W (k, rows, columns) as it is, or its words along the columns for "bf16"."""
    if precision != "bf16":
        return W
    words = memory.empty((W.shape[0], (W.shape[1] + 1) // 2, W.shape[2]), WORD)
    pair_down(W, words)
    return words


def factors_across(W, precision):
    """W (k, rows, columns) as it is, or its words along the rows for "bf16"."""
    if precision != "bf16":
        return W
    words = memory.empty((*W.shape[:2], (W.shape[2] + 1) // 2), WORD)
    pair_across(W, words)
    return words
