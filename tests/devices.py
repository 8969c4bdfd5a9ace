"""Where "gpu" runs under test: on a card, else on the emulator of CUDA, else not at all."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import emulator
import numpy as np

from fastrec.backend import kernels, lacking, move, on_device


def prepare() -> None:
    """Have CUDA emulated from now on if it does not run here and can be emulated."""
    if lacking("gpu") is not None and emulator.lacking() is None:
        emulator.install()
        lacking.cache_clear()


def fault() -> str | None:
    """What keeps "gpu" from running here, a sentence, or None."""
    found = lacking("gpu")
    return found and "; ".join(filter(None, (found, emulator.lacking())))


def emulated(backend: str) -> bool:
    """Whether this is a "gpu" that takes about 10 ms a launch."""
    return backend == "gpu" and sys.modules.get("cupy") is sys.modules.get("emulator.cupy")


def host_kernels(domain: str, backend: str) -> ModuleType | SimpleNamespace:
    """The kernels of a backend, to be called with NumPy arrays: to the device and back if it is "gpu"."""
    module = kernels(domain, backend)
    if backend != "gpu":
        return module

    def on_host(kernel: Any) -> Any:
        def run(*arguments: Any) -> None:
            moved = [move(a, "gpu") if isinstance(a, np.ndarray) else a for a in arguments]
            kernel(*moved)
            for given, array in zip(arguments, moved, strict=True):
                if on_device(array):
                    after = move(array, "cpu")
                    if given.tobytes() != after.tobytes():
                        given[...] = after

        return run

    return SimpleNamespace(**{name: on_host(getattr(module, name)) for name in module.__all__})
