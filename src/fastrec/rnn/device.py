"""Where a network computes: a backend, with what is needed of it."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ..backend import array_module, kernels, move, on_device, resolve
from .cells import CELLS
from .config import Array, one_of

Precision = Literal["float32", "tf32", "bf16"]


class Place(NamedTuple):
    """A backend that `choose` returned.

    xp: the module that makes arrays there.
    kernels: those of recurrent networks, bound to a precision.
    host: kernels that read arrays of the host, the same but on the gpu, where they are the reference's.
    no_tokens: (1, 0, 0) int32, what kernels take beside numbers.
    """

    backend: str
    xp: Any
    kernels: SimpleNamespace
    host: ModuleType
    no_tokens: Array

    def has(self, array: object) -> bool:
        """Whether an array that the backend can be given is where it computes."""
        return self.backend != "gpu" or on_device(array)

    def take(self, array: Array) -> Array:
        """An array that the backend can be given, where it computes: itself if it is there, else a copy."""
        return array if self.backend != "gpu" else move(array, "gpu")

    def all_finite(self, array: Array) -> bool:
        """Whether a C-contiguous array of floats, looked at where it is, holds neither NaN nor infinity."""
        module = self.kernels if on_device(array) else self.host
        return module.all_finite(array.reshape(-1))

    def read(self, *arrays: Array) -> Any:
        """Arrays of this place, of one shape and dtype, as NumPy's: with one copy, which is waited for."""
        return move(self.xp.stack(arrays), "cpu") if self.backend == "gpu" else arrays


def choose(backend: str | None, precision: Precision, dtype: np.dtype[Any], *arrays: object) -> str:
    """The name of the backend to run on, as `resolve`; ValueError if it does not have the precision."""
    if not (isinstance(precision, str) and precision in get_args(Precision)):
        raise ValueError(f"precision is {precision!r}; it must be {one_of(get_args(Precision))}")
    name = resolve(backend, *arrays, domain="rnn")
    given = f'precision is "{precision}"'
    if precision != "float32" and dtype != np.float32:
        raise ValueError(f"{given}, which is for float32, and dtype is {dtype}; leave precision out")
    if precision != "float32" and name == "cpu":
        raise ValueError(f'{given}, and the cpu multiplies in float32; use backend="gpu" or "reference"')
    return name


@functools.cache
def place(backend: str, precision: Precision = "float32") -> Place:
    """The place of a backend that `choose` returned."""
    module, xp = kernels("rnn", backend), array_module(backend)
    cells = [kernels(cell, backend) for cell in CELLS]
    # Those of the cpu would be compiled for a look at the arrays that are sent.
    host = kernels("rnn", "reference") if backend == "gpu" else module
    no_tokens = xp.empty((1, 0, 0), dtype=np.int32)
    return Place(backend, xp, multiplying(precision, module, *cells), host, no_tokens)


def multiplying(precision: Precision, *modules: ModuleType) -> SimpleNamespace:
    """The kernels of some modules, those that multiply matrices bound to a precision."""
    bound = {name: getattr(module, name) for module in modules for name in module.__all__}
    for name, kernel in bound.items():
        if precision != "float32" and "precision" in inspect.signature(kernel).parameters:
            bound[name] = functools.partial(kernel, precision=precision)
    return SimpleNamespace(**bound)
