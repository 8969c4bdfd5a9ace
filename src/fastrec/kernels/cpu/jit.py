"""How kernels are compiled: once each and kept on disk, inner functions as part of their callers only.

Numba compiles each function that a kernel calls as a module of its own: optimised, turned into machine code,
and then optimised again inside its caller, at every level of calls.  Here a function that kernels call is
only lowered (`Function`), and LLVM optimises it as part of the kernel (`Kernel`).  That takes a third of
the time, for the same machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import types
from numba.core import compiler, sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from ..compilation import Compilation, not_timed, note_function
from ..interruption import heard, uninterrupted
from .cache import Cache

# IEEE arithmetic in order, and no exception where a divisor is 0.
OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy"}


def jit(function: Callable[..., Any]) -> Function:
    """Compile a function into the kernels that call it; Python calls it as it is written."""
    return Function(function)


def kernel(function: Callable[..., Any]) -> KernelFunction:
    """Compile a function for calls from Python too."""
    return KernelFunction(function)


class InnerLibrary(JITCodeLibrary):
    """The unoptimised code of a function, to be linked into that of a kernel."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalized = True


class Function(CPUDispatcher):
    """A function that kernels call."""

    def __init__(self, function):
        super().__init__(function, targetoptions=OPTIONS)

    def __call__(self, *args):
        return self.py_func(*args)

    def get_call_template(self, args, kws):
        # A literal is typed as any other number, so that it needs no compilation of its own.
        return super().get_call_template([types.unliteral(arg) for arg in args], kws)

    def compile(self, sig):
        args, result = sigutils.normalize_signature(sig)
        with global_compiler_lock:
            note_function(self)
            if args not in self.overloads:
                target = self.targetdescr.target_context
                flags = compiler.Flags()
                self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
                flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
                library = InnerLibrary(target.codegen(), self.py_func.__qualname__)
                typing = self.targetdescr.typing_context
                compiled = compiler.compile_extra(
                    typing, target, self.py_func, args, result, flags, {}, library=library
                )
                target.insert_user_function(library, compiled.fndesc, [library])
                self.overloads[args] = compiled

    def get_overload(self, sig):
        args, _ = sigutils.normalize_signature(sig)
        return self.overloads[args].library


class KernelFunction(Function):
    """A function that kernels and Python call."""

    def __init__(self, function):
        super().__init__(function)
        self.kernel = Kernel(function)

    def __call__(self, *args):
        return self.kernel(*args)


class Kernel(CPUDispatcher):
    """A kernel called from Python: compiled on its first call with all that it calls, or read from disk."""

    def __init__(self, function):
        super().__init__(function, targetoptions=OPTIONS | {"no_cfunc_wrapper": True})
        self.cache = Cache(function)

    def compile(self, sig):
        args, result = sigutils.normalize_signature(sig)
        with not_timed(), global_compiler_lock:
            if args not in self.overloads:
                compiled = self.cache.load(args)
                if compiled is None:
                    part = self.py_func.__module__.rpartition(".")[2]
                    functions = len(called(self.py_func))
                    # The end of a compilation is always told, or it would be shown for ever.
                    with (
                        uninterrupted() as block,
                        Compilation(part, self.py_func.__qualname__, functions),
                        heard(block),
                    ):
                        compiled = self._compiler.compile(args, result)
                    self.cache.save(args, compiled)
                self.add_overload(compiled)
        return self.overloads[args].entry_point


def called(function: FunctionType) -> set[Function]:
    """All functions that a function calls, at any depth."""
    functions: set[Function] = set()
    waiting = [function]
    while waiting:
        function = waiting.pop()
        names = [function.__globals__.get(name) for name in function.__code__.co_names]
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        new = {value for value in names + cells if isinstance(value, Function)} - functions
        functions |= new
        waiting += [each.py_func for each in new]
    return functions
