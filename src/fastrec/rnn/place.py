"""Where a network computes: a backend, with what is needed of it."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, kernels, lacking, move, on_device
from .config import Array


class Place(NamedTuple):
    """A backend that `resolve` returned.

    xp: the module that makes arrays there.  kernels: those of recurrent networks.
    host: kernels that read arrays of the host, the same but on the gpu.
    no_tokens: (1, 0, 0) int32, what kernels take beside numbers.
    """

    backend: str
    xp: Any
    kernels: ModuleType
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


@functools.cache
def place(backend: str) -> Place:
    """The place of a backend that `resolve` returned."""
    module, xp = kernels("rnn", backend), array_module(backend)
    beside = "reference" if lacking("cpu") else "cpu"
    host = kernels("rnn", beside) if backend == "gpu" else module
    return Place(backend, xp, module, host, xp.empty((1, 0, 0), dtype=np.int32))
