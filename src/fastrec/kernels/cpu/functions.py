"""exp, logistic, softplus and tanh as straight-line arithmetic, for numbers and for vectors.

All rest on e^t = 2^n e^r with |r| <= ln(2)/2: n is t / ln 2 rounded by adding and taking away 1.5 * 2^m
(m bits of mantissa), e^r - 1 a Taylor polynomial.  NaN passes through.  Greatest relative errors with fused
multiply-adds, found by search (tests/test_functions.py): tanh 1.9e-7 in float32 and 3.6e-16 in float64,
logistic 1.8e-7 and 3.3e-16, softplus 3e-7 and 5.5e-16, exp 9e-8 and 1.6e-16, e^x - 1 9e-8 and 2.2e-16; exp
(and with it logistic and softplus) is 0 for arguments under -87 (-708).
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from .values import Value, constant, fma, magnitude, quotient, where, with_sign

# Mantissa bits, terms of the polynomial, ln 2 in two parts (the first times any n is exact), where e^x is 0
# and where tanh x is 1.
FORMATS = {
    "float": (23, 7, 0.693359375, -2.12194440054690583e-4, -87.0, 9.1),
    "double": (52, 13, 0.693145751953125, 1.42860682030941723e-6, -708.0, 19.1),
}
SERIES = {
    "float": 8,
    "double": 16,
}  # terms of artanh s / s = 1 + s^2 / 3 + s^4 / 5 + ... for s <= 1/3


def split_exp(t: Value) -> tuple[Value, Value]:
    """(2^n, e^r - 1) with t = n ln 2 + r, for |n| less than the greatest exponent."""
    magic = 1.5 * 2.0 ** FORMATS[t.element][0]
    shifted = fma(t, 1 / math.log(2), magic)
    n = shifted - magic
    return power_of(shifted), expm1_reduced(remainder(t, n))


def power_of(shifted: Value) -> Value:
    """2^n of a whole n to which 1.5 * 2^m was added, for |n| less than the greatest exponent."""
    mantissa = FORMATS[shifted.element][0]
    builder, kind, words = shifted.builder, shifted.kind, words_of(shifted)
    one = (1 << (62 if mantissa == 52 else 30)) - (1 << mantissa)  # the bits of 1.0
    power = builder.shl(builder.bitcast(shifted.value, words), constant(words, mantissa))
    return shifted.made(builder.bitcast(builder.add(power, constant(words, one)), kind))


def words_of(x: Value) -> ir.Type:
    """The type of the bits of floats, in as many lanes."""
    word = ir.IntType(32 if x.element == "float" else 64)
    return ir.VectorType(word, x.kind.count) if isinstance(x.kind, ir.VectorType) else word


def remainder(t: Value, n: Value) -> Value:
    """t - n ln 2."""
    high, low = FORMATS[t.element][2:4]
    return fma(n, -low, fma(n, -high, t))


def expm1_reduced(r: Value) -> Value:
    """e^r - 1 for |r| <= ln(2)/2."""
    terms = FORMATS[r.element][1]
    series = r.made(constant(r.kind, 1 / math.factorial(terms)))
    for k in range(terms - 1, 1, -1):
        series = fma(series, r, 1 / math.factorial(k))
    return fma(r * r, series, r)


def exp_negative(x: Value) -> Value:
    """e^x for x <= 0."""
    least = FORMATS[x.element][4]
    power, rest = split_exp(where(x, "<", least, least, x))
    return where(x, "<", least, 0.0, fma(power, rest, power))


def logistic(x: Value) -> Value:
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows and both tails are exact."""
    e = exp_negative(-magnitude(x))
    return quotient(where(x, "<", 0.0, e, 1.0), 1.0 + e)


def softplus(x: Value) -> Value:
    """max(x, 0) + log(1 + u) with u = e^-|x|; log(1 + u) is a series, 2 artanh(u / (2 + u))."""
    u = exp_negative(-magnitude(x))
    s = quotient(u, u + 2.0)
    square = s * s  # at most 1/9
    terms = SERIES[x.element]
    series = s.made(constant(s.kind, 2 / (2 * terms - 1)))
    for k in range(2 * terms - 3, 0, -2):
        series = fma(series, square, 2 / k)
    return fma(s, series, where(x, "<=", 0.0, 0.0, x))


def expm1_negative(x: Value) -> Value:
    """e^x - 1 for x <= 0, without cancellation."""
    least = FORMATS[x.element][4]
    power, rest = split_exp(where(x, "<", least, least, x))
    return fma(power, rest, power - 1.0)


def tanh(x: Value) -> Value:
    """(e^2|x| - 1) / (e^2|x| + 1), with the sign of x."""
    bound, size = FORMATS[x.element][5], magnitude(x)
    size = where(size, ">", bound, bound, size)
    power, rest = split_exp(size + size)
    e = fma(power, rest, power - 1.0)  # e^2|x| - 1 without cancellation
    return with_sign(quotient(e, e + 2.0), x)


@intrinsic
def exp(typingctx, x):
    """e^x for x <= 0, of one number."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return exp_negative(Value(builder, args[0])).value

    return x(x), body
