"""Words that threads of a kernel share: loads, additions and exchanges that all of them see in one order."""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import FEATURES, I32, I64, data

# What tells a core that a loop waits, by a feature of cores that have it: intrinsic and arguments.
RELAX = {"sse2": ("llvm.x86.sse2.pause", ()), "neon": ("llvm.aarch64.hint", (1,))}


def place(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
    """Pointer to the element of an int64 array that the first two arguments name."""
    return builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]], inbounds=True)


@intrinsic
def look(typingctx, words, i):
    """words[i], and all that was written before what it holds was."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.load_atomic(place(context, builder, signature, args), "acquire", 8)

    return types.int64(words, types.int64), body


@intrinsic
def fetch_add(typingctx, words, i, n):
    """words[i] += n, after all that was written before; what it was."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.atomic_rmw("add", place(context, builder, signature, args), args[2], "acq_rel")

    return types.int64(words, types.int64, types.int64), body


@intrinsic
def fetch_min(typingctx, words, i, n):
    """words[i] = min(words[i], n), after all that was written before; what it was."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.atomic_rmw("min", place(context, builder, signature, args), args[2], "acq_rel")

    return types.int64(words, types.int64, types.int64), body


@intrinsic
def claim(typingctx, words, i, n):
    """Whether words[i] was n; it then becomes n + 1."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        at, n = place(context, builder, signature, args), args[2]
        pair = builder.cmpxchg(at, n, builder.add(n, I64(1)), "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(words, types.int64, types.int64), body


@intrinsic
def relax(typingctx):
    """Let another thread of the core go on for a moment."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        for feature, (name, values) in RELAX.items():
            if feature in FEATURES:
                kind = ir.FunctionType(ir.VoidType(), [I32] * len(values))
                function = cgutils.get_or_insert_function(builder.module, kind, name)
                builder.call(function, [I32(value) for value in values])
        return context.get_dummy_value()

    return types.void(), body


@intrinsic
def give_way(typingctx):
    """Let the core run another thread, if one waits for it."""

    def body(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        if hasattr(os, "sched_yield"):
            kind = ir.FunctionType(I32, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), body
