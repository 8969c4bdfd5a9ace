"""The switch between the kernel backends: "cpu" (Numba), "gpu" (CuPy), "reference" (NumPy)."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType

BACKENDS = ("reference", "cpu", "gpu")

_default: str | None = None
_scoped: contextvars.ContextVar[str | None] = contextvars.ContextVar("fastrec_backend", default=None)


class BackendError(RuntimeError):
    """The backend asked for is unknown, cannot run here, or cannot take these arrays."""


def set_backend(name: str) -> str:
    """Set the default of the process to "cpu", "gpu", "reference" or "auto" and return what it resolves to.

    It holds in every thread, except inside `use_backend` and where an object or a call names its own.
    Raises BackendError, and changes nothing, if the backend is unknown or not usable here.
    """
    global _default
    resolved = resolve(name)
    _default = resolved
    return resolved


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[str]:
    """Use a backend inside a ``with`` block, which gets its resolved name, in this thread or task only.

    Raises BackendError on entry if the backend is unknown or not usable here.
    """
    resolved = resolve(name)
    token = _scoped.set(resolved)
    try:
        yield resolved
    finally:
        _scoped.reset(token)


def get_backend() -> str:
    """The backend in force: of `use_backend`, else `set_backend`, else FASTREC_BACKEND, else of "auto"."""
    return resolve(None)


def available_backends() -> tuple[str, ...]:
    """The backends that can run here, of "reference", "cpu" and "gpu"."""
    return tuple(name for name in BACKENDS if lacking(name) is None)


def resolve(backend: str | None, *arrays: object) -> str:
    """The name of the backend to run on: `backend` if given, else the one in force.

    "auto" is "gpu" where that can run, else "cpu"; CuPy arrays among `arrays` make it "gpu".  Raises
    BackendError if the backend is unknown, cannot run here, or is not "gpu" and an array is CuPy's.
    """
    name, source = backend, "backend"
    if name is None:
        name = _scoped.get() or _default
    if name is None:
        name, source = os.environ.get("FASTREC_BACKEND") or "auto", "FASTREC_BACKEND"
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f'{source} is {name!r}; it must be "cpu", "gpu", "reference" or "auto"')
    # CuPy arrays are known by the name of their module: looking must not import CuPy.
    on_device = any(type(array).__module__.partition(".")[0] == "cupy" for array in arrays)
    if name == "auto":
        name = "gpu" if on_device or lacking("gpu") is None else "cpu"
    if fault := lacking(name):
        raise BackendError(fault)
    if on_device and name != "gpu":
        raise BackendError(f'a CuPy array was given to backend "{name}"; use "gpu" or cupy.asnumpy(array)')
    return name


def kernels(domain: str, backend: str) -> ModuleType:
    """The kernel module of a domain ("hopfield", "rnn") on a backend that `resolve` returned."""
    module = f"fastrec.kernels.{backend}.{domain}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise BackendError(f'backend "{backend}" has no {domain} kernels in this version') from None


@functools.cache
def lacking(backend: str) -> str | None:
    """What keeps a known backend from running here, a sentence, or None."""
    if backend == "reference":
        return None
    if importlib.util.find_spec(f"fastrec.kernels.{backend}") is None:
        extra = ' (they will need CuPy: pip install "fastrec[cuda13]")' if backend == "gpu" else ""
        return f'the kernels of backend "{backend}" are not part of this version of fastrec{extra}'
    if backend == "cpu":
        found = importlib.util.find_spec("numba")
        return None if found else 'backend "cpu" needs Numba, which is not installed: pip install numba'
    if importlib.util.find_spec("cupy") is None:
        return (
            'backend "gpu" needs CuPy, which is not installed: pip install "fastrec[cuda13]" '
            '(CUDA 12: "fastrec[cuda12]")'
        )
    try:
        import cupy

        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # a broken CuPy or driver fails in many ways, and each means: no gpu
        return f'backend "gpu" found no usable CUDA device: {error}'
    return None if devices else 'backend "gpu" found no CUDA device'
