"""exp, logistic and tanh as straight-line arithmetic that LLVM turns into vectors.

All rest on e^t = 2^n e^r with |r| <= ln(2)/2: n is t / ln 2 rounded by adding and taking away 1.5 * 2^m
(m bits of mantissa), e^r - 1 a Taylor polynomial.  NaN passes through.  Greatest relative errors with fused
multiply-adds, found by search (tests/test_functions.py): tanh 1.9e-7 in float32 and 3.6e-16 in float64,
logistic 1.8e-7 and 3.3e-16, exp 9e-8 and 1.6e-16; exp (and with it logistic) is 0 for arguments under -87
(-708).
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

# Mantissa bits, terms of the polynomial, ln 2 in two parts (the first times any n is exact), where e^x is 0
# and where tanh x is 1.
FORMATS = {
    "float": (23, 7, 0.693359375, -2.12194440054690583e-4, -87.0, 9.1),
    "double": (52, 13, 0.693145751953125, 1.42860682030941723e-6, -708.0, 19.1),
}


def call(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """Call the LLVM intrinsic `name` on floats or vectors of floats, all of one type."""
    kind = values[0].type
    lanes, element = (f"v{kind.count}", kind.element) if isinstance(kind, ir.VectorType) else ("", kind)
    suffix = f"{lanes}f{32 if isinstance(element, ir.FloatType) else 64}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, values)


def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a b + c, in one rounding where the CPU has the instruction."""
    return call(builder, "fmuladd", a, b, c)


def select_less(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """x where a < b, else y; y where either is NaN."""
    return builder.select(builder.fcmp_ordered("<", a, b), x, y)


def split_exp(builder: ir.IRBuilder, t: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(2^n, e^r - 1) with t = n ln 2 + r, for |n| less than the greatest exponent."""
    real = t.type
    mantissa, terms, high, low, _, _ = FORMATS[str(real)]
    word = ir.IntType(32 if mantissa == 23 else 64)
    magic = real(1.5 * 2.0**mantissa)
    shifted = fma(builder, t, real(1 / math.log(2)), magic)
    n = builder.fsub(shifted, magic)
    r = fma(builder, n, real(-low), fma(builder, n, real(-high), t))
    series = real(1 / math.factorial(terms))
    for k in range(terms - 1, 1, -1):
        series = fma(builder, series, r, real(1 / math.factorial(k)))
    one = word((1 << word.width - 2) - (1 << mantissa))  # the bits of 1.0
    power = builder.add(builder.shl(builder.bitcast(shifted, word), word(mantissa)), one)
    return builder.bitcast(power, real), fma(builder, builder.fmul(r, r), series, r)


def exp_negative(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """e^x for x <= 0."""
    least = x.type(FORMATS[str(x.type)][4])
    power, rest = split_exp(builder, select_less(builder, x, least, least, x))
    return select_less(builder, x, least, x.type(0.0), fma(builder, power, rest, power))


@intrinsic
def exp(typingctx, x):
    """e^x for x <= 0."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return exp_negative(builder, args[0])

    return x(x), body


@intrinsic
def logistic(typingctx, x):
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows and both tails are exact."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        (x,) = args
        zero, one = x.type(0.0), x.type(1.0)
        e = exp_negative(builder, builder.fneg(call(builder, "fabs", x)))
        return builder.fdiv(select_less(builder, x, zero, e, one), builder.fadd(one, e))

    return x(x), body


@intrinsic
def tanh(typingctx, x):
    """(e^2|x| - 1) / (e^2|x| + 1), with the sign of x."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        (x,) = args
        bound = x.type(FORMATS[str(x.type)][5])
        size = call(builder, "fabs", x)
        size = select_less(builder, bound, size, bound, size)
        power, rest = split_exp(builder, builder.fadd(size, size))
        e = fma(builder, power, rest, builder.fsub(power, x.type(1.0)))  # e^2|x| - 1 without cancellation
        return call(builder, "copysign", builder.fdiv(e, builder.fadd(e, x.type(2.0))), x)

    return x(x), body
