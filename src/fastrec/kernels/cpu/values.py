"""Numbers inside a kernel that is being compiled, with the operators of arithmetic."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .simd import FEATURES, suffix


class Value:
    """A float or a vector of floats in LLVM IR: operators append instructions; numbers become constants."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    @property
    def kind(self) -> ir.Type:
        """The type of the value in LLVM."""
        return self.value.type

    @property
    def element(self) -> str:
        """The type of one number in LLVM, "float" or "double"."""
        return str(self.kind.element if isinstance(self.kind, ir.VectorType) else self.kind)

    def made(self, value: ir.Value) -> Value:
        """Another value in the same place of the kernel."""
        return Value(self.builder, value)

    def lifted(self, other: Value | float) -> ir.Value:
        """The IR of another value, or a constant of this one's type."""
        return other.value if isinstance(other, Value) else constant(self.kind, other)

    def __add__(self, other: Value | float) -> Value:
        return self.made(self.builder.fadd(self.value, self.lifted(other)))

    def __radd__(self, other: float) -> Value:
        return self.made(self.builder.fadd(self.lifted(other), self.value))

    def __sub__(self, other: Value | float) -> Value:
        return self.made(self.builder.fsub(self.value, self.lifted(other)))

    def __rsub__(self, other: float) -> Value:
        return self.made(self.builder.fsub(self.lifted(other), self.value))

    def __mul__(self, other: Value | float) -> Value:
        return self.made(self.builder.fmul(self.value, self.lifted(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Value | float) -> Value:
        return self.made(self.builder.fdiv(self.value, self.lifted(other)))

    def zero(self) -> Value:
        """0, of this value's type."""
        return self.made(constant(self.kind, 0.0))

    def __neg__(self) -> Value:
        return self.made(self.builder.fneg(self.value))


def constant(kind: ir.Type, number: Any) -> ir.Constant:
    """A constant of a type, or of a vector type in every lane."""
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def call(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """Call the LLVM intrinsic `name` on floats or vectors of floats, all of one type."""
    kind = values[0].type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.{suffix(kind)}"
    )
    return builder.call(function, values)


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """a b + c, in one rounding where the CPU has the instruction."""
    return a.made(call(a.builder, "fmuladd", a.value, a.lifted(b), a.lifted(c)))


def magnitude(x: Value) -> Value:
    """|x|."""
    return x.made(call(x.builder, "fabs", x.value))


def with_sign(x: Value, sign: Value) -> Value:
    """|x| with the sign of another value."""
    return x.made(call(x.builder, "copysign", x.value, sign.value))


def where(a: Value, relation: str, b: Value | float, x: Value | float, y: Value | float) -> Value:
    """x where a < b, or another relation holds, else y; y where either is NaN."""
    holds = a.builder.fcmp_ordered(relation, a.value, a.lifted(b))
    return a.made(a.builder.select(holds, a.lifted(x), a.lifted(y)))


def quotient(a: Value, b: Value) -> Value:
    """a / b for b from 1 to 2^60, to one unit in the last place.

    Vectors of float32 get it from an approximate reciprocal, which takes a third of a division.
    """
    if a.kind != ir.VectorType(ir.FloatType(), 16) or "avx512f" not in FEATURES:
        return a / b
    i16 = ir.IntType(16)
    function = cgutils.get_or_insert_function(
        a.builder.module, ir.FunctionType(a.kind, [a.kind, a.kind, i16]), "llvm.x86.avx512.rcp14.ps.512"
    )
    inverse = a.made(a.builder.call(function, [b.value, constant(a.kind, 0.0), i16(0xFFFF)]))
    near = a * inverse
    return fma(fma(-near, b, a), inverse, near)
