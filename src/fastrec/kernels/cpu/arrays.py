"""Small array functions that compile quickly: each of NumPy's costs Numba 0.1 s or more."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_new_ref
from numba.extending import intrinsic
from numba.np.arrayobj import get_itemsize, make_array, populate_array

from .jit import jit
from .simd import I64, data

LINE = 64  # bytes of a line of the cache


def new_array(context: Any, builder: ir.IRBuilder, array: types.Array, shape: ir.Value) -> Any:
    """Allocate an array of the given type and shape that begins with a cache line.

    Vectors of a line's width that cross lines take two loads each, which costs a sum over a row up to a
    third; Numba's own arrays begin at any multiple of 32 bytes.
    """
    itemsize = context.get_constant(types.intp, get_itemsize(context, array))
    lengths: list[ir.Value] = []
    strides: list[ir.Value] = []
    nbytes = itemsize
    for axis in reversed(range(array.ndim)):
        lengths.insert(0, builder.extract_value(shape, axis))
        strides.insert(0, nbytes)
        nbytes = builder.mul(nbytes, lengths[0])
    made = make_array(array)(context, builder)
    align = context.get_constant(types.uint32, LINE)
    meminfo = context.nrt.meminfo_alloc_aligned(builder, nbytes, align)
    place = builder.bitcast(
        context.nrt.meminfo_data(builder, meminfo), context.get_data_type(array.dtype).as_pointer()
    )
    populate_array(made, data=place, shape=lengths, strides=strides, itemsize=itemsize, meminfo=meminfo)
    return made


@intrinsic(prefer_literal=False)
def empty(typingctx, shape, like):
    """A new array of a shape, a tuple, in the dtype of an array or in the dtype itself."""
    array = types.Array(like.dtype, len(shape), "C")

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        made = new_array(context, builder, array, args[0])
        return impl_ret_new_ref(context, builder, array, made._getvalue())

    return array(types.UniTuple(types.int64, len(shape)), like), body


@intrinsic(prefer_literal=False)
def zeros(typingctx, shape, like):
    """`empty` with all bytes 0."""
    array = types.Array(like.dtype, len(shape), "C")

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        made = new_array(context, builder, array, args[0])
        cgutils.memset(builder, made.data, builder.mul(made.itemsize, made.nitems), 0)
        return impl_ret_new_ref(context, builder, array, made._getvalue())

    return array(types.UniTuple(types.int64, len(shape)), like), body


@intrinsic(prefer_literal=False)
def clear(typingctx, values, first, size):
    """Set values[first : first + size] to 0."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        made = make_array(values)(context, builder, args[0])
        begin = builder.gep(made.data, [args[1]])
        cgutils.memset(builder, begin, builder.mul(made.itemsize, args[2]), 0)
        return context.get_dummy_value()

    return types.void(values, types.int64, types.int64), body


@intrinsic(prefer_literal=False)
def to_line(typingctx, values):
    """Number of leading elements before the first one that begins a cache line."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        address = builder.ptrtoint(data(context, builder, values, args[0]), I64)
        size = get_itemsize(context, values)
        return builder.udiv(builder.and_(builder.neg(address), I64(LINE - 1)), I64(size))

    return types.int64(values), body


@intrinsic(prefer_literal=False)
def matrix(typingctx, values, rows, columns):
    """View the first elements of one-dimensional values as a matrix; values must outlive the view."""
    array = types.Array(values.dtype, 2, "C")

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        made = make_array(array)(context, builder)
        size = context.get_constant(types.intp, get_itemsize(context, array))
        populate_array(
            made,
            data=data(context, builder, values, args[0]),
            shape=args[1:],
            strides=[builder.mul(args[2], size), size],
            itemsize=size,
            meminfo=None,
        )
        return made._getvalue()

    return array(values, types.int64, types.int64), body


@intrinsic(prefer_literal=False)
def borrow(typingctx, value):
    """Return the value with views that count no references in place of its arrays.

    Numba counts references by atomic additions whenever a row or slice is taken.  The caller must keep the
    arrays alive, see `keep`.
    """

    def unowned(context: Any, builder: ir.IRBuilder, kind: types.Type, made: ir.Value) -> ir.Value:
        if isinstance(kind, types.Array):
            view = make_array(kind)(context, builder, made)
            view.meminfo = cgutils.get_null_value(view.meminfo.type)
            return view._getvalue()
        if isinstance(kind, types.BaseTuple):
            parts = cgutils.unpack_tuple(builder, made, len(kind))
            parts = [unowned(context, builder, *part) for part in zip(kind, parts, strict=True)]
            return context.make_tuple(builder, kind, parts)
        return made

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return unowned(context, builder, value, args[0])

    return value(value), body


@intrinsic(prefer_literal=False)
def keep(typingctx, owners):
    """Keep a tuple of arrays alive up to here; views made of them by `borrow` must not be used later."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return context.get_dummy_value()

    return types.void(owners), body


@jit
def fill(values, first, value):
    """values[first:] = value, of one dimension."""
    for i in range(first, len(values)):
        values[i] = value


@jit
def sum_first(values, size):
    """Sum of the first `size` numbers, or the number of flags set among them, as int64."""
    total = 0
    for i in range(size):
        total += values[i]
    return total


@jit
def add(source, target):
    """target += source, of one dimension."""
    for i in range(len(target)):
        target[i] += source[i]


@jit
def copy(source, target):
    """target[: len(source)] = source, of one dimension."""
    for i in range(len(source)):
        target[i] = source[i]
