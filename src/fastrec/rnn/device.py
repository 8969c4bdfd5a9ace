"""Where a network computes: a backend with its kernels and arrays."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ..backend import array_module, kernels, move, on_device, resolve
from ..kernels import memory
from ..validation import as_choice
from .cells import CELLS
from .config import Array

Precision = Literal["float32", "tf32", "bf16"]


class ComputeDevice(NamedTuple):
    """A backend that `choose_backend` returned, with what computing on it takes.

    xp: the module that makes arrays there, NumPy or CuPy.
    kernels: those of recurrent networks, bound to a precision.
    host_kernels: kernels that read arrays of the host; on the gpu they are those of the reference.
    no_tokens: (1, 0, 0) int32, which kernels take beside inputs that are numbers.
    """

    backend: str
    precision: Precision
    xp: Any
    kernels: SimpleNamespace
    host_kernels: ModuleType
    no_tokens: Array

    def __reduce__(self) -> tuple[Any, ...]:
        return compute_device, (self.backend, self.precision)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array that holds anything."""
        return memory.empty(shape, dtype) if self.backend == "cpu" else self.xp.empty(shape, dtype)

    def empty_like(self, array: Array) -> Array:
        """An array of the shape and dtype of another one, that holds anything."""
        return self.empty(array.shape, array.dtype)

    def holds(self, array: object) -> bool:
        """Whether an array is where the backend computes."""
        return self.backend != "gpu" or on_device(array)

    def take(self, array: Array) -> Array:
        """The array itself if it is where the backend computes, else a copy there."""
        return array if self.backend != "gpu" else move(array, "gpu")

    def all_finite(self, array: Array) -> bool:
        """Whether a C-contiguous array of floats holds neither NaN nor infinity; it stays where it is."""
        module = self.kernels if on_device(array) else self.host_kernels
        return module.all_finite(array.reshape(-1))

    def read(self, *arrays: Array) -> Any:
        """Arrays of this device, of one shape and dtype, as NumPy arrays: one copy, which is waited for."""
        return move(self.xp.stack(arrays), "cpu") if self.backend == "gpu" else arrays


def choose_backend(backend: str | None, precision: Precision, dtype: np.dtype[Any], *arrays: object) -> str:
    """The name of the backend to run on, as `resolve`; ValueError if it cannot multiply in that precision."""
    if precision == "float32":
        return resolve(backend, *arrays, domain="rnn")
    as_choice("precision", precision, get_args(Precision))
    name = resolve(backend, *arrays, domain="rnn")
    fault = f'precision is "{precision}"'
    if dtype != np.float32:
        raise ValueError(f"{fault}, which is for float32, and dtype is {dtype}; leave precision out")
    if name == "cpu" and (why := unavailable_on_cpu(precision)):
        raise ValueError(f'{fault}, and {why}; use backend="gpu" or "reference"')
    return name


def unavailable_on_cpu(precision: Precision) -> str | None:
    """Why the cpu does not multiply in "tf32" or "bf16", or None if it does."""
    if precision == "bf16":
        from ..kernels.cpu import bfloat16

        return bfloat16.fault()
    return "the cpu multiplies in float32"


@functools.cache
def compute_device(backend: str, precision: Precision = "float32") -> ComputeDevice:
    """The device of a backend that `choose_backend` returned."""
    module, xp = kernels("rnn", backend), array_module(backend)
    cells = [kernels(cell, backend) for cell in (*CELLS, "normalised")]
    # Those of the cpu would be compiled for a look at the arrays that are sent.
    host_kernels = kernels("rnn", "reference") if backend == "gpu" else module
    no_tokens = xp.empty((1, 0, 0), dtype=np.int32)
    return ComputeDevice(
        backend, precision, xp, multiplying(precision, module, *cells), host_kernels, no_tokens
    )


def multiplying(precision: Precision, *modules: ModuleType) -> SimpleNamespace:
    """The kernels of some modules, those that multiply matrices bound to a precision."""
    bound = {name: getattr(module, name) for module in modules for name in module.__all__}
    for name, kernel in bound.items():
        if precision != "float32" and "precision" in inspect.signature(kernel).parameters:
            bound[name] = functools.partial(kernel, precision=precision)
    return SimpleNamespace(**bound)
