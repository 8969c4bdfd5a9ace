"""Formulas that are applied to arrays element by element, in vectors of the CPU's full width.

LLVM would vectorise a loop, too, but to half the width of the registers on some CPUs, and one loop for each
result.  A formula has all of its results while its arguments are in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from .simd import (
    I8,
    I32,
    I64,
    MASK_REGISTERS,
    VECTOR_BYTES,
    bytes_of,
    constant,
    data,
    lanes_of,
    load,
    splat,
    store,
    suffix,
    variable,
)
from .values import Value

Formula = Callable[..., Value | Sequence[Value]]


def elementwise(formula: Formula) -> Any:
    """Intrinsic (sources, targets): the elements of arrays become a formula of those of other arrays.

    sources, targets: tuples of one-dimensional contiguous arrays of one dtype, as many as the formula has
        arguments and results; all have as many elements as the first target, or more.  A target may be a
        source.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        sources, targets = (
            [data(context, builder, kind, array) for kind, array in zip(kinds, arrays, strict=True)]
            for kinds, arrays in zip(
                signature.args, (cgutils.unpack_tuple(builder, each) for each in args), strict=True
            )
        )
        first = context.make_array(signature.args[1][0])(context, builder, builder.extract_value(args[1], 0))
        size, element = first.nitems, targets[0].type.pointee
        lanes = VECTOR_BYTES // bytes_of(element)
        vector = ir.VectorType(element, lanes)
        with cgutils.for_range_slice(builder, I64(0), size, I64(lanes), inc=True) as (begin, _):
            left = builder.sub(size, begin)
            whole = builder.icmp_signed(">=", left, I64(lanes))
            places = [[builder.gep(array, [begin]) for array in arrays] for arrays in (sources, targets)]
            held = lanes_below(builder, left, lanes)
            with builder.if_else(whole, likely=True) as (all_lanes, some_lanes):
                with all_lanes:
                    full = [load(builder, place, vector) for place in places[0]]
                    full_end = builder.block
                with some_lanes:
                    partial = [load_some(builder, place, held, left) for place in places[0]]
                    partial_end = builder.block
            values = []
            for one, other in zip(full, partial, strict=True):
                value = builder.phi(vector)
                value.add_incoming(one, full_end)
                value.add_incoming(other, partial_end)
                values.append(Value(builder, value))
            made = formula(*values)
            results = [made] if isinstance(made, Value) else list(made)
            with builder.if_else(whole, likely=True) as (all_lanes, some_lanes):
                with all_lanes:
                    for result, place in zip(results, places[1], strict=True):
                        store(builder, result.value, place)
                with some_lanes:
                    for result, place in zip(results, places[1], strict=True):
                        store_some(builder, result.value, place, held, left)
        return context.get_dummy_value()

    def typed(typingctx, sources, targets):
        arrays = [*sources, *targets]
        if any(array.layout != "C" or array.ndim != 1 or array.dtype != arrays[0].dtype for array in arrays):
            raise TypingError(f"elementwise takes contiguous vectors of one dtype, not {arrays}")
        return types.void(sources, targets), body

    typed.__doc__ = formula.__doc__
    return intrinsic(typed)


def summed(formula: Callable[..., Value]) -> Any:
    """Intrinsic (sources): the sum, in float64, of a formula of the elements of arrays; it is 0 of zeros.

    sources: a tuple of one-dimensional contiguous arrays of one dtype, as long as the first or longer.
        The lanes of vectors are summed apart, in the arrays' dtype, then in halves.
    """

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        (kinds,) = signature.args
        arrays = cgutils.unpack_tuple(builder, args[0])
        size = context.make_array(kinds[0])(context, builder, arrays[0]).nitems
        sources = [data(context, builder, kind, array) for kind, array in zip(kinds, arrays, strict=True)]
        element = sources[0].type.pointee
        lanes = VECTOR_BYTES // bytes_of(element)
        vector = ir.VectorType(element, lanes)
        total = variable(builder, vector, ir.Constant(vector, None))

        def add(loads: list[ir.Value]) -> None:
            made = formula(*(Value(builder, value) for value in loads))
            builder.store(builder.fadd(builder.load(total), made.value), total)

        whole = builder.and_(size, I64(-lanes))
        with cgutils.for_range_slice(builder, I64(0), whole, I64(lanes), inc=True) as (begin, _):
            add([load(builder, builder.gep(array, [begin]), vector) for array in sources])
        left = builder.sub(size, whole)
        with builder.if_then(builder.icmp_signed(">", left, I64(0))):
            held = lanes_below(builder, left, lanes)
            add([load_some(builder, builder.gep(array, [whole]), held, left) for array in sources])
        value = builder.load(total)
        while value.type.count > 1:  # the upper half to the lower one
            half = value.type.count // 2
            value = builder.fadd(*(lanes_of(builder, value, list(range(at, at + half))) for at in (0, half)))
        value = builder.extract_element(value, I32(0))
        return value if element == ir.DoubleType() else builder.fpext(value, ir.DoubleType())

    def typed(typingctx, sources):
        if any(
            array.layout != "C" or array.ndim != 1 or array.dtype != sources[0].dtype for array in sources
        ):
            raise TypingError(f"summed takes contiguous vectors of one dtype, not {sources}")
        return types.float64(sources), body

    typed.__doc__ = formula.__doc__
    return intrinsic(typed)


def lanes_below(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """A mask of the lanes whose number is below a count."""
    numbers = constant(I32, lanes, list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(count, I32), lanes))


def masked_load(builder: ir.IRBuilder, place: ir.Value, held: ir.Value) -> ir.Value:
    """The vector at a place where the mask has a 1, and 0 elsewhere, where nothing is read."""
    vector = ir.VectorType(place.type.pointee, held.type.count)
    pointer = builder.bitcast(place, I8.as_pointer())
    kinds = [I8.as_pointer(), I32, held.type, vector]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, kinds), f"llvm.masked.load.{suffix(vector)}.p0"
    )
    align = I32(bytes_of(vector.element))
    return builder.call(function, [pointer, align, held, ir.Constant(vector, None)])


def load_some(builder: ir.IRBuilder, place: ir.Value, held: ir.Value, count: ir.Value) -> ir.Value:
    """The first `count` lanes of a vector, those where the mask has a 1, and 0 in the others."""
    if VECTOR_BYTES >= 32:
        return masked_load(builder, place, held)
    vector = ir.VectorType(place.type.pointee, held.type.count)
    slot = variable(builder, vector)
    lanes = builder.bitcast(slot, place.type)
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(place, [loop.index])), builder.gep(lanes, [loop.index]))
    return builder.load(slot)


def store_some(
    builder: ir.IRBuilder, value: ir.Value, place: ir.Value, held: ir.Value, count: ir.Value
) -> None:
    """Store the first `count` lanes of a vector, those where the mask has a 1."""
    if MASK_REGISTERS:
        masked_store(builder, value, place, held)
        return
    # Without mask registers that takes AMD's processors longer than to store the lanes one by one.
    element = value.type.element
    lanes = builder.bitcast(variable(builder, value.type, value), element.as_pointer())
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(lanes, [loop.index])), builder.gep(place, [loop.index]))


def masked_store(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, held: ir.Value) -> None:
    """Store the lanes of a vector where the mask has a 1."""
    pointer = builder.bitcast(place, I8.as_pointer())
    kinds = [value.type, I8.as_pointer(), I32, held.type]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), kinds), f"llvm.masked.store.{suffix(value.type)}.p0"
    )
    builder.call(function, [value, pointer, I32(bytes_of(value.type.element)), held])
